"""Promise: a worker that ends waits for its calls and for whoever needs help, then hands every caller over who is left."""

import asyncio
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fsm.alarms import PACKET_UNDELIVERED
from triage import worker
from triage.admission import Admission
from triage.answering import HEARD_S, LAST_WORDS
from triage.clips import ClipLibrary
from triage.config import load
from triage.lines.livekit.line import CLOSE_S
from triage.ports import RATE
from triage.up import programs


@dataclass
class Rescues:
    """What is asked of those who send others."""

    waiting: bool = False
    ending: bool = False
    over: bool = False


@dataclass
class Server:
    """Some calls in progress."""

    active_jobs: list[Any] = field(default_factory=list)
    processes: list[Any] = field(default_factory=list)

    @property
    def _proc_pool(self) -> "Server":
        return self


async def drained(folder: Path, server: Server, rescues: Rescues, *, drain_s: str = "1") -> tuple[Admission, float]:
    """Gives how long it took, s."""
    settings = load(env={"TRIAGE_WORKER_DRAIN_S": drain_s}, data=folder)
    admission = Admission(settings, cpu=lambda: 0.0, free_bytes=lambda: 10**10)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await worker._drained(server, settings, admission, rescues)  # type: ignore[arg-type]  # stand-ins for the SDK's
    assert admission.over and rescues.over, "nobody is taken or sent any more"
    return admission, loop.time() - began_s


def test_the_last_words_fit_into_the_time_that_each_gives_the_next() -> None:
    clips = ClipLibrary.load("en", "us")
    said_s = sum(len(clips.clip(name).pcm) / RATE + HEARD_S for name in LAST_WORDS)
    assert worker.CUT_AFTER_S + said_s + CLOSE_S + worker.CLOSED_WITHIN_S < worker.HAND_OVER_S < programs.HAND_OVER_S


async def test_without_calls_it_ends_at_once(tmp_path: Path) -> None:
    _, took_s = await drained(tmp_path, Server(), Rescues())
    assert took_s < 0.1


async def test_no_call_is_taken_while_it_waits_but_rescues_are_sent(tmp_path: Path) -> None:
    server, rescues = Server([object()]), Rescues()
    waiting = asyncio.ensure_future(drained(tmp_path, server, rescues, drain_s="30"))
    await asyncio.sleep(0.3)
    assert rescues.ending and not rescues.over and not waiting.done()
    rescues.waiting = True
    server.active_jobs.clear()  # that call's process died
    await asyncio.sleep(0.3)
    assert not waiting.done(), "somebody may be alone"
    rescues.waiting = False
    async with asyncio.timeout(1):
        await waiting


async def test_who_is_left_is_handed_over_also_where_the_process_just_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "HAND_OVER_S", 5.0)
    deaf_at_first = (
        "import signal, time\n"
        f"signal.signal({worker.HAND_OVER:d}, signal.SIG_IGN)\n"
        "print(flush=True); time.sleep(1.6)\n"
        f"signal.signal({worker.HAND_OVER:d}, signal.SIG_DFL)\n"
        "time.sleep(60)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", deaf_at_first, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and await process.stdout.readline()
        server = Server([object()], [SimpleNamespace(pid=process.pid, running_job=object())])
        ending = asyncio.ensure_future(drained(tmp_path, server, Rescues()))
        async with asyncio.timeout(8):
            await process.wait()
        server.active_jobs.clear()
        async with asyncio.timeout(1):
            await ending
        assert process.returncode == -signal.SIGUSR2
    finally:
        with suppress(ProcessLookupError):
            process.kill()


class Post:
    """Packets of which so many are not taken."""

    def __init__(self, lost: int) -> None:
        self.lost, self.waited = lost, list[float]()

    def settle(self, within_s: float) -> int:
        self.waited.append(within_s)
        return self.lost


@pytest.mark.parametrize("lost", [0, 2])
async def test_packets_outlive_their_call_and_wake_somebody_where_they_are_not_taken(
    caplog: pytest.LogCaptureFixture, lost: int
) -> None:
    post = Post(lost)
    await worker.packets_settled(post)  # type: ignore[arg-type]  # what is asked of it
    assert post.waited == [worker.PACKETS_WITHIN_S]
    assert [PACKET_UNDELIVERED in record.getMessage() for record in caplog.records] == [True] * bool(lost)


async def test_a_call_without_a_place_for_packets_ends_at_once() -> None:
    await worker.packets_settled(None)
