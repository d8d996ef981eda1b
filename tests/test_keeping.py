"""Promise: the keeper's process writes what is due, outlives trouble of the store, is seen to work, and ends cleanly."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from audit.chain import summary_job
from audit.folder import AuditFolder
from audit.outbox import Outbox
from audit.reader import Reader
from audit.store import SqliteStore
from tests.calls import CHEST, Call, Rung, leaves, says, scratch
from tests.handoff.test_desk import PACKET
from tests.handoff.test_shelf import PRIVATE, PUBLIC
from triage import heartbeat, keeping
from triage.demo.patient import Cue
from triage.handoff.shelf import Shelf
from triage.lines.nurse_phones import Behaviour, NursePhone

pytestmark = pytest.mark.realtime

DEAD_JOURNAL = """
import os, sys
from pathlib import Path
from audit.entries import Entry
from audit.journal import Journal
Journal(Path(sys.argv[1]), "dead").append([Entry.from_json(sys.argv[2].encode())])
os._exit(9)
"""
SILENT = {"nurse": NursePhone(Behaviour.SILENT)}
WITHIN_S = 15.0


class Running:
    """A keeper on this folder, as `triage up` starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.parent / f"{folder.name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "triage", "--data", str(folder), "keeper"], stdout=log, stderr=log
            )

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def until(self, true: Callable[[], bool]) -> None:
        limit = time.perf_counter() + WITHIN_S
        while not true():
            assert time.perf_counter() < limit and self.process.poll() is None, self.said()
            time.sleep(0.03)  # noqa: TID251 a process outside our clocks

    def works(self) -> bool:
        return heartbeat.beats(self.folder, wall_ns=time.time_ns())

    def end(self, order: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(order)
        return self.process.wait(WITHIN_S)


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
        with suppress(ProcessLookupError):
            running.process.kill()
        running.process.wait()


def a_call(folder: Path, writer: str = "test") -> Rung:
    """A call that has ended; its summary is due."""
    rang = Call(script=[says(CHEST, Cue.AT, 1.0), leaves(9)], phones=SILENT, folder=folder, writer=writer).ring()
    rang.settle()
    return rang


def closed_in(folder: Path, call: str) -> bool:
    with closing(SqliteStore(AuditFolder(folder).database)) as store:
        return next(listed.closed for listed in Reader(store).calls() if listed.call == call)


def test_it_writes_what_is_due_says_so_by_id_and_ends_cleanly(folder: Path, keeper: Callable[[], Running]) -> None:
    before = a_call(folder)
    running = keeper()
    running.until(lambda: closed_in(folder, before.finished.call_id))
    running.until(running.works)
    after = a_call(folder, "later")
    running.until(lambda: closed_in(folder, after.finished.call_id))
    assert running.end() == 0
    assert not (folder / heartbeat.BEAT).exists()
    for call in (before, after):
        assert re.search(rf"call {call.finished.call_id}: summary written", running.said())
    assert "chest" not in running.said() and "Traceback" not in running.said()


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
def test_the_end_still_writes_what_became_due_meanwhile(
    folder: Path, keeper: Callable[[], Running], order: signal.Signals
) -> None:
    running = keeper()
    running.until(running.works)
    call = a_call(folder)
    assert running.end(order) == 0
    assert closed_in(folder, call.finished.call_id)


def test_a_second_keeper_is_refused_in_one_line(folder: Path, keeper: Callable[[], Running]) -> None:
    first = keeper()
    first.until(first.works)
    second = subprocess.run(
        [sys.executable, "-m", "triage", "--data", str(folder), "keeper"], capture_output=True, text=True, check=False
    )
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1 and "a keeper works on" in second.stderr
    assert first.works()


def test_a_locked_store_is_said_once_and_waited_for(folder: Path, keeper: Callable[[], Running]) -> None:
    call = a_call(folder)
    lock = sqlite3.connect(AuditFolder(folder).database, isolation_level=None)
    with closing(lock):
        lock.execute("BEGIN IMMEDIATE")
        running = keeper()
        running.until(lambda: "tried again" in running.said())
        assert not closed_in(folder, call.finished.call_id) and not running.works()
        lock.execute("ROLLBACK")
    running.until(lambda: closed_in(folder, call.finished.call_id) and "works again" in running.said())
    running.until(running.works)
    assert running.said().count("tried again") == 1
    assert running.end() == 0


def test_a_locked_store_that_a_dead_writers_journal_waits_for_ends_nothing(
    folder: Path, keeper: Callable[[], Running]
) -> None:
    call = a_call(folder)
    rows = [summary_job("01a1feb9-9ae6-7515-8123-456f0e789012", 1)]
    journal = subprocess.Popen(
        [sys.executable, "-c", DEAD_JOURNAL, str(AuditFolder(folder).spool), rows[0].to_json().decode()]
    )
    assert journal.wait(WITHIN_S) == 9
    lock = sqlite3.connect(AuditFolder(folder).database, isolation_level=None)
    with closing(lock):
        lock.execute("BEGIN IMMEDIATE")
        running = keeper()
        running.until(lambda: "is locked by another program" in running.said())
        assert not running.works()
        lock.execute("ROLLBACK")
    running.until(lambda: "1 records of a writer that died joined" in running.said())
    running.until(lambda: closed_in(folder, call.finished.call_id))
    assert running.end() == 0 and "Traceback" not in running.said()


def test_a_store_that_is_no_store_ends_nothing(folder: Path, keeper: Callable[[], Running]) -> None:
    database = AuditFolder(folder).database
    database.write_bytes(b"this is no database at all" * 100)
    running = keeper()
    running.until(lambda: "tried again" in running.said())
    assert not running.works()
    database.unlink()
    running.until(running.works)
    assert running.end() == 0


def test_a_store_that_is_replaced_is_seen(folder: Path, keeper: Callable[[], Running]) -> None:
    running = keeper()
    running.until(running.works)
    for path in folder.glob("audit.db*"):
        path.unlink()
    call = a_call(folder)
    running.until(lambda: closed_in(folder, call.finished.call_id))


def test_a_chain_of_whose_writer_nobody_can_tell_is_left_open_and_holds_up_nobody(
    folder: Path, keeper: Callable[[], Running]
) -> None:
    program = (
        "import os, sys; from pathlib import Path; from audit.folder import AuditFolder;"
        "folder = AuditFolder(Path(sys.argv[1])); folder.keyring().ensure(); writer = folder.open_writer('dead');"
        "writer.open_call('01a1feb9-9ae6-7515-8123-456f0e789012', monotonic_ns=1, wall_ns=2)\n"
        "import time\n"
        "while not writer.counts.committed: time.sleep(0.01)\n"
        "os._exit(9)"
    )
    dead = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    call = a_call(folder)
    running = keeper()
    running.until(lambda: closed_in(folder, call.finished.call_id))
    running.until(running.works)  # the heart beats at the end of the round that closed the chain
    assert running.end() == 0, dead.stderr
    with closing(SqliteStore(AuditFolder(folder).database)) as store:
        assert not next(c.closed for c in Reader(store).calls() if c.call.startswith("01a1feb9"))
        assert Outbox(store).take(at_ns=time.time_ns(), lease_ns=1) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(folder: Path, keeper: Callable[[], Running]) -> None:
    folder.chmod(0o500)
    running = keeper()
    assert running.process.wait(WITHIN_S) == 2
    assert str(folder) in running.said()


def test_a_data_folder_that_is_a_file_is_refused_in_one_line(folder: Path) -> None:
    place = folder / "file"
    place.write_text("in the way")
    told = subprocess.run(
        [sys.executable, "-m", "triage", "--data", str(place), "keeper"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 2 and told.stderr.count("\n") == 1 and str(place) in told.stderr


def test_its_pace_leaves_room_for_the_promise() -> None:
    """Ten seconds from hang-up: a round, the sealing's two, a lock of five."""
    assert keeping.EVERY_S + 2 + 5 < 10


def test_nurses_packets_that_have_expired_are_wiped(keeper: Callable[[], Running], folder: Path) -> None:
    shelf = Shelf(folder / "packets", public_key=PUBLIC)
    for code, made_ns in (("old", 1), ("new", time.time_ns())):
        shelf.deliver(replace(PACKET, code=code, made_ns=made_ns), wall_ns=1)
    running = keeper()
    running.until(lambda: len(list((folder / "packets").iterdir())) == 1)
    running.until(running.works)
    assert shelf.open("new", PRIVATE, wall_ns=time.time_ns()).code == "new"
