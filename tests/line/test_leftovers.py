"""Promise: a supervisor that is killed takes no program and no call with it, and the next one ends them in good order."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from tests.line.conftest import triage_up, variables
from tests.line.test_supervisor import _dead, line, program, supervise, until  # noqa: F401 `line` is a fixture
from triage.cli import Common, app
from triage.config import load
from triage.errors import UsageError
from triage.up import engines, leftovers, line_files, probes, programs
from triage.up.leftovers import PROCESSES, Running, end_leftovers, remember
from triage.up.line_files import Line

WAITS_FOR_CALLS = (
    "trap 'sleep 1; echo -{name} >> {story}; exit 0' TERM; echo +{name} >> {story}; while :; do sleep 0.05; done"
)
"""A program that ends when its calls have; it tells of its start and its end."""
COUNTS_ORDERS = "trap 'echo TERM >> {story}' TERM; echo + >> {story}; while :; do sleep 0.05; done"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "SECOND_TERM_S", 0.4)


@contextmanager
def left(script: str, story: Path, name: str = "one", **more: Any) -> Iterator[Running]:
    """A program without a supervisor, as it is remembered."""
    process = subprocess.Popen(["/bin/sh", "-c", script.format(story=story, name=name)], start_new_session=True)
    try:
        asyncio.run(until(lambda: story.exists() and "+" in story.read_text()))
        began = leftovers.began(process.pid)
        assert began is not None
        yield Running(name, process.pid, began, **more)
    finally:
        process.kill()
        process.wait()


def test_each_has_its_grace_the_calls_end_first_and_it_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    stories = [tmp_path / name for name in ("server", "worker")]
    with (
        left(WAITS_FOR_CALLS, stories[0], "server", grace_s=5.0) as server,
        left(WAITS_FOR_CALLS.replace("echo -", f"cat {stories[0]} >> {{story}}; echo -"), stories[1], "worker", grace_s=60.0) as worker,
    ):  # fmt: skip
        remember(tmp_path, [server, worker])
        assert end_leftovers(tmp_path, said.append) == ["worker", "server"]
        assert _dead(server.pid) and _dead(worker.pid)
    assert stories[1].read_text().split() == ["+worker", "+server", "-worker"], "the server was there to its end"
    assert stories[0].read_text().split() == ["+server", "-server"]
    assert said == [
        "a line was left running here by a supervisor that was killed; ending it: server, worker",
        "worker: calls in progress may finish (up to 60 s); Ctrl-C ends them at once",
    ]


def test_ctrl_c_hurries_and_what_has_no_time_any_more_is_killed_with_its_children(tmp_path: Path) -> None:
    said: list[str] = []
    deaf = "trap '' TERM; (while :; do sleep 0.05; done) & echo $! > {story}.child; echo + >> {story}; while :; do sleep 0.05; done"  # fmt: skip
    with left(deaf, tmp_path / "story", grace_s=600.0) as one:
        remember(tmp_path, [one])
        press = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        press.start()
        assert end_leftovers(tmp_path, said.append) == ["one"]
        press.join()
        assert _dead(one.pid)
    assert said[-1] == "ending at once"
    asyncio.run(until(lambda: _dead(int((tmp_path / "story.child").read_text()))))


def test_who_was_told_to_end_is_not_told_again_before_its_time(tmp_path: Path) -> None:
    """A worker takes a second order for `at once`: callers would be dropped."""
    story = tmp_path / "story"
    with left(COUNTS_ORDERS, story, grace_s=0.5) as one:
        remember(tmp_path, [one])
        end_leftovers(tmp_path)
    assert story.read_text().split() == ["+", "TERM", "TERM"]
    story.unlink()
    with left(COUNTS_ORDERS, story, grace_s=0.5, told=True) as one:
        remember(tmp_path, [one])
        end_leftovers(tmp_path)
    assert story.read_text().split() == ["+", "TERM"]


def test_a_supervisor_that_gives_up_waiting_leaves_word_that_it_told_them(tmp_path: Path) -> None:
    with left(COUNTS_ORDERS, tmp_path / "story", grace_s=60.0) as one:
        remember(tmp_path, [one])

        def killed(words: str) -> None:
            if "may finish" in words:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            end_leftovers(tmp_path, killed)
        assert json.loads((tmp_path / PROCESSES).read_text())[0]["told"]
        assert not _dead(one.pid)


async def test_a_line_that_ends_writes_down_whom_it_told_and_how_long_each_has(line: Line) -> None:  # noqa: F811
    seen: list[Any] = []
    folder = line.folder / PROCESSES
    ends = f"trap 'cp {folder} {line.folder}/seen; exit 0' TERM; while :; do sleep 0.05; done"
    async with supervise(line, program(ends, "first"), program(ends, "last", grace_s=60.0)).running():
        seen.append(json.loads(folder.read_text()))
    seen.append(json.loads((line.folder / "seen").read_text()))
    kept = [[(one["name"], one["grace_s"], one["told"]) for one in known] for known in seen]
    assert kept[0] == [("first", 1.0, False), ("last", 60.0, False)]
    assert kept[1] == [("first", 1.0, True)], "the last has ended by then"
    assert json.loads(folder.read_text()) == []


def test_whoever_starts_a_line_sees_what_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def enough(*_: object, **__: object) -> None:
        raise UsageError("that is enough")

    monkeypatch.setattr(engines, "provide", lambda *_: None)
    monkeypatch.setattr(programs, "supervisor", enough)
    for name, value in variables(tmp_path).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "line").mkdir()
    with left(WAITS_FOR_CALLS, tmp_path / "story", "worker", grace_s=60.0) as one:
        remember(tmp_path / "line", [one])
        told = CliRunner().invoke(app, ["up", "--engines"], obj=Common())
    assert isinstance(told.exception, UsageError) and str(told.exception) == "that is enough"
    assert told.output.splitlines() == [
        "a line was left running here by a supervisor that was killed; ending it: worker",
        "worker: calls in progress may finish (up to 60 s); Ctrl-C ends them at once",
    ]


def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path: Path) -> None:
    with left(COUNTS_ORDERS, tmp_path / "story") as one:
        remember(tmp_path, [Running("one", one.pid, one.began - 5)])
        assert end_leftovers(tmp_path) == []
        assert not _dead(one.pid)


def test_a_list_of_an_older_version_is_understood(tmp_path: Path) -> None:
    with left(WAITS_FOR_CALLS, tmp_path / "story") as one:
        (tmp_path / PROCESSES).write_text(json.dumps([{"name": "one", "pid": one.pid, "began": one.began}]))
        assert end_leftovers(tmp_path) == ["one"]
        assert _dead(one.pid)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"pid": "x"}]', '[{"name": "x", "pid": 0, "began": 1}]', "[null]"])
def test_a_broken_list_of_processes_ends_nobody(text: str, tmp_path: Path) -> None:
    (tmp_path / PROCESSES).write_text(text)
    assert end_leftovers(tmp_path) == []


# --- kill -9

SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from triage.up.line_files import Access, Line, Ports
from triage.up.supervisor import Program, Supervisor

async def yes():
    return True

async def nothing():
    pass

async def main():
    line = Line(Path(sys.argv[1]), Ports(1, 2, 3, 4, 5, 6, 8), Access("key", "api-secret-for-tests", "redis-password-for-tests"))
    talks = Program("talks", (sys.executable, "-S", "-c", sys.argv[2], sys.argv[1]), {}, yes, "nowhere")
    async with Supervisor(line, [talks], after_engines=nothing).running():
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
TALKS = """
import os, signal, sys, time
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as everybody has it who is not Python
while not os.path.exists(sys.argv[1] + "/killed"):
    time.sleep(0.02)
for i in range(60_000):
    os.write(2, b"line %d of many, after the supervisor has gone, +15557654321\\n" % i)
os.write(1, b"the last line\\n")
time.sleep(1000)
"""
"""It speaks when its supervisor is gone: 4 MB."""


def test_a_program_goes_on_talking_when_its_supervisor_is_killed_and_all_of_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "talks.log"
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path), TALKS], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    others = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    process.stdout.close()
    (tmp_path / "killed").touch()
    try:
        asyncio.run(until(lambda: log.exists() and "the last line" in log.read_text()))
        lines = log.read_text().splitlines()
        assert lines[:-1] == [f"line {i} of many, after the supervisor has gone, [number]" for i in range(60_000)]
        assert [_dead(one.pid) for one in others] == [False, False], "the program and its scribe"
    finally:
        assert end_leftovers(tmp_path) == ["talks"]
    asyncio.run(until(lambda: all(_dead(one.pid) for one in others)))


# --- the real engines


FORMER_PIPE_BYTES = 65536


def alarm(line: Line) -> None:  # noqa: F811
    """Have both engines write to their logs, the server more than a pipe held once."""
    with closing(socket.create_connection((line_files.LOOPBACK, line.ports.redis), 2)) as caller:
        caller.sendall(b"POST / HTTP/1.1\r\nHost: somebody\r\n\r\n")
        caller.recv(100)
    for _ in range(500):
        with closing(http.client.HTTPConnection(line_files.LOOPBACK, line.ports.server, timeout=5)) as caller:
            caller.request("POST", "/twirp/livekit.RoomService/ListRooms", "{}", {"Authorization": "Bearer nobody"})
            assert caller.getresponse().status == 401


async def test_the_engines_answer_when_their_supervisor_was_killed_and_they_have_spoken(
    installed: engines.Engines, tmp_path: Path
) -> None:
    env = {**os.environ, **variables(tmp_path)}
    with ExitStack() as second:
        with triage_up(env, "--engines") as (process, said):
            assert "engines are up" in said, said
            line = line_files.opened(load(env=env))
            second.callback(end_leftovers, line.folder)  # where it fails half way
            process.kill()
            process.wait()
        pids = {one["name"]: one["pid"] for one in json.loads((line.folder / PROCESSES).read_text())}
        assert set(pids) == {"redis", "livekit-server"}
        redis, server = (line.logs / f"{name}.log" for name in pids)
        known = len(redis.read_text()), len(server.read_text())
        alarm(line)
        await until(lambda: len(redis.read_text()) > known[0])
        await until(lambda: len(server.read_text()) > known[1] + FORMER_PIPE_BYTES)
        assert await probes.redis_answers(line.ports.redis, line.access.redis_password)
        assert await probes.http_answers(line.ports.server)

        _, said = second.enter_context(triage_up(env, "--engines"))
        assert "ending it: redis, livekit-server" in said and "engines are up" in said
        assert all(_dead(pid) for pid in pids.values())
