"""Promise P7: a call whose process was killed has its summary within 10 s too; and nobody ends a call whose process lives."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit.folder import AuditFolder
from audit.outbox import Callback, Outbox
from audit.reader import Reader
from audit.spool import join_spool
from audit.store import SqliteStore
from audit.writers import TOLD, Life, life_of, writer_id
from tests.calls import scratch
from tests.test_keeping import Running, closed_in
from triage.keeper import Keeper, Summarised
from triage.once import UsedRooms
from triage.orphans import GRACE_S, Orphans, left_behind

pytestmark = pytest.mark.realtime

ROOT = Path(__file__).resolve().parents[1]
CARRIES = """
import os, signal, sys
from pathlib import Path
from tests.calls import CHEST, Call, says
from triage.demo.patient import Cue
from triage.lines.nurse_phones import Behaviour, NursePhone

folder, story, at_s, writer, end = sys.argv[1:]
silent = {"nurse": NursePhone(Behaviour.SILENT)}
calls = {
    "urgent": lambda **more: Call(script=[says(CHEST, Cue.AT, 1.0)], phones=silent, **more),
    "nurse": lambda **more: Call(script=[says(CHEST, Cue.AT, 1.0)], **more),
    "harmless": lambda **more: Call(script=[says("sore_no")], phones=silent, **more),
}
async def ends(living):
    await living.until(float(at_s))
    print(living.call.call_id, flush=True)
    os.kill(os.getpid(), int(end))
calls[story](folder=Path(folder), writer=writer).ring(ends)
"""
HOLDS = """
import sys
from pathlib import Path
from audit.journal import Journal
journal = Journal(Path(sys.argv[1]), sys.argv[2])
print("in", flush=True)
sys.stdin.read()
"""
WITHIN_S = 10.0


@pytest.fixture
def folder() -> Path:
    made = scratch() / "data"
    made.mkdir()
    return made


@pytest.fixture
def keeper(folder: Path) -> Iterator[Callable[[], Running]]:
    started: list[Running] = []

    def start() -> Running:
        started.append(Running(folder))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.process.wait()


@dataclass
class Carried:
    """A call in a process of its own that stops in the middle of it."""

    call: str
    process: "subprocess.Popen[str]"
    writer: str


def carried(
    folder: Path, story: str = "urgent", *, at_s: float = 9.0, writer: str = "", end: int = signal.SIGKILL
) -> Carried:
    # what a process calls itself is made here, so that a test can name its journal
    writer = writer or writer_id("call")
    process = subprocess.Popen(
        [sys.executable, "-c", CARRIES, str(folder), story, str(at_s), writer, str(int(end))],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    call = process.stdout.readline().strip()
    assert call, "the call did not come to where it was to be killed"
    if end == signal.SIGKILL:
        process.wait()
    return Carried(call, process, writer)


class Rounds:
    """A keeper in this process whose clock the test turns; journals have joined, unless it says otherwise."""

    def __init__(self, folder: Path, *, joined: bool = True) -> None:
        self.folder, self.now_ns = AuditFolder(folder), 1
        if joined:
            self.join()
        self.rooms = UsedRooms(folder / "line" / "rooms")
        self.orphans = Orphans(self.folder.spool, self.rooms, now_ns=lambda: self.now_ns)

    def join(self) -> None:
        with closing(SqliteStore(self.folder.database)) as store:
            join_spool(store, self.folder.spool)

    def round(self, later_s: float = 0.0) -> list[Summarised]:
        self.now_ns += round(later_s * 1e9)
        with closing(self.folder.open_writer("keeper", inline=True)) as writer:
            at = Keeper(self.folder, writer, now_ns=lambda: self.now_ns, wall_ns=time.time_ns, orphans=self.orphans)
            return at.work()

    def read(self, call: str) -> tuple[str, list[dict[str, Any]]]:
        """The summary's statements, and what its segment says of call-backs; the chain is proven."""
        with closing(SqliteStore(self.folder.database)) as store:
            reader = Reader(store, self.folder.keyring(), who="test", purpose="test", spool=self.folder.spool)
            proven = reader.verify(call)
            assert proven.closed and proven.segments == 2
            contents = [r.content for r in reader.records(call, at_ns=1) if r.header.segment == 1]
        (summary,) = [c.payload for c in contents if c.stage == "summary"]
        assert summary["outcome"] == "process_died"
        tasks = [dict(c.payload) for c in contents if c.payload.get("event") == "callback"]
        return " ".join(s["text"] for s in summary["statements"]), tasks


def tasks_of(folder: Path, call: str) -> list[Callback]:
    with closing(SqliteStore(AuditFolder(folder).database)) as store:
        return [task for task in Outbox(store).callbacks() if task.call == call]


def test_a_killed_call_is_summarised_within_ten_seconds_and_its_caller_rung_back(
    folder: Path, keeper: Callable[[], Running]
) -> None:
    running = keeper()
    running.until(running.works)
    dead = carried(folder)
    killed_s = time.perf_counter()
    running.until(lambda: closed_in(folder, dead.call))
    after_s = time.perf_counter() - killed_s
    assert GRACE_S <= after_s < WITHIN_S
    (task,) = tasks_of(folder, dead.call)
    assert (task.reason, task.level) == ("urgent", "nurse_now")
    running.until(lambda: "page caller_left_alone" in running.said())
    assert re.search(rf"call {dead.call}: its process died; summary written", running.said())
    running.until(running.works)
    assert running.end() == 0 and "Traceback" not in running.said() and "chest" not in running.said()
    print(f"summary {after_s:.1f} s after the kill")


def test_a_call_whose_process_lives_is_never_ended_however_long_it_says_nothing(
    folder: Path, keeper: Callable[[], Running]
) -> None:
    running = keeper()
    running.until(running.works)
    held = carried(folder, end=signal.SIGSTOP)
    try:
        until_s = time.perf_counter() + GRACE_S + 3.0
        running.until(lambda: time.perf_counter() > until_s)
        assert not closed_in(folder, held.call) and tasks_of(folder, held.call) == []
    finally:
        held.process.kill()
        held.process.wait()
    running.until(lambda: closed_in(folder, held.call))


def test_the_grace_is_kept_and_the_call_is_ended_once(folder: Path) -> None:
    dead = carried(folder)
    rounds = Rounds(folder)
    assert [len(rounds.round(later_s)) for later_s in (0.0, GRACE_S - 0.1, 0.1, 9.0)] == [0, 0, 1, 0]
    told, tasks = rounds.read(dead.call)
    assert "the process that carried the call died. The last thing written was" not in told  # one sentence, not two
    assert re.search(r"The last thing was|The last thing written", told)
    assert re.search(r"written at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, \d+ s into the call", told)
    assert "By then nurse now had been found, and no nurse is known to have had the caller." in told
    assert "A call-back task was opened with this summary" in told
    assert [(task["reason"], task["level"]) for task in tasks] == [("urgent", "nurse_now")]
    assert len(tasks_of(folder, dead.call)) == 1


def test_a_journal_that_has_not_joined_is_waited_for(folder: Path) -> None:
    dead = carried(folder)
    rounds = Rounds(folder, joined=False)
    assert rounds.round() == rounds.round(GRACE_S) == rounds.round(60.0) == []
    rounds.join()
    assert [one.call_id for one in rounds.round()] == [dead.call]


def test_a_caller_who_had_a_nurse_is_owed_nothing(folder: Path) -> None:
    dead = carried(folder, "nurse", at_s=14.0)
    rounds = Rounds(folder)
    rounds.round()
    (done,) = rounds.round(GRACE_S)
    told, tasks = rounds.read(dead.call)
    assert "a nurse had the caller" in told and "No call-back task stands" in told
    assert tasks == [] and tasks_of(folder, dead.call) == [] and done.died and not done.owed


def test_a_caller_of_whom_nothing_urgent_was_known_is_owed_nothing(folder: Path) -> None:
    dead = carried(folder, "harmless", at_s=25.0)
    rounds = Rounds(folder)
    rounds.round()
    rounds.round(GRACE_S)
    told, tasks = rounds.read(dead.call)
    assert "By then nothing urgent had been found" in told and "No words of the caller" not in told
    assert tasks == [] and tasks_of(folder, dead.call) == []


def test_a_task_that_stands_is_not_opened_twice(folder: Path) -> None:
    """What was recorded of it counts, whoever ordered it."""
    dead = carried(folder)
    rounds = Rounds(folder)
    rounds.round()
    first = rounds.round(GRACE_S)
    assert [one.owed for one in first] == [True]
    with closing(SqliteStore(rounds.folder.database)) as store:
        reader = Reader(store, rounds.folder.keyring(), who="test", purpose="test", spool=rounds.folder.spool)
        opened = reader.records(dead.call, at_ns=1)
    again = left_behind(opened)
    assert again.tasks == 1 and again.owed is None and again.death.level == "nurse_now"
    assert left_behind([r for r in opened if r.content.payload.get("event") != "callback"]).owed is not None


def test_the_heir_of_the_room_owes_what_the_dead_call_did(folder: Path) -> None:
    dead = carried(folder)
    rounds = Rounds(folder)
    room = rounds.rooms.enter("call_a")
    room.note(dead.call)
    assert rounds.rooms.heir(dead.call) == ""
    room.note("the-heir")
    room.leave()
    rounds.round()
    rounds.round(GRACE_S)
    told, tasks = rounds.read(dead.call)
    assert "Another process went on with the caller, in call the-heir." in told
    assert tasks == [] and tasks_of(folder, dead.call) == []


def test_a_writer_of_another_machine_counts_as_living_until_somebody_says_otherwise(folder: Path) -> None:
    dead = carried(folder, writer="call-7-abc@elsewhere")
    rounds = Rounds(folder)
    assert rounds.round() == rounds.round(GRACE_S * 100) == []
    assert rounds.orphans.elsewhere == {dead.call}
    (rounds.folder.spool / f"{dead.writer}{TOLD}").touch()
    assert [len(rounds.round()), len(rounds.round(GRACE_S))] == [0, 1]
    assert rounds.read(dead.call)


def test_a_journal_tells_of_its_writer(tmp_path: Path) -> None:
    mine, other = writer_id("call"), "call-1@elsewhere"
    assert [life_of(tmp_path, w) for w in (mine, other, "call-1", "", "../x")] == [Life.DEAD, *[Life.ELSEWHERE] * 4]
    for writer in (mine, other):
        with subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(tmp_path), writer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        ) as holder:
            assert holder.stdout is not None and holder.stdout.readline()
            assert life_of(tmp_path, writer) is Life.LIVING
            holder.kill()
    assert [life_of(tmp_path, w) for w in (mine, other)] == [Life.UNJOINED, Life.ELSEWHERE]
    (tmp_path / f"{other}{TOLD}").touch()
    assert life_of(tmp_path, other) is Life.UNJOINED
    (tmp_path / f"{mine}.journal").unlink()
    assert life_of(tmp_path, mine) is Life.DEAD


def test_no_two_writers_have_one_id() -> None:
    ids = {writer_id("call") for _ in range(50)}
    assert len(ids) == 50 and all(str(os.getpid()) in one for one in ids)
