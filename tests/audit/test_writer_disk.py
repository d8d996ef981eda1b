"""Promise: whoever records never waits for a disk: not for the store's, and not for the journal's."""

import os
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.journal import read_file
from audit.reader import Reader
from audit.receipt import Receipt
from audit.store import SqliteStore
from tests.audit.forge import WALL
from tests.audit.stores import CALLS, SOON_S, Setup, places, say, settled

SLOW_S = 0.25
QUICK_S = 0.005


class Disk:
    """What the journal syncs to: quick, slow, or stuck until let go."""

    def __init__(self) -> None:
        self.slow_s = 0.0
        self.syncing = threading.Event()
        self.free = threading.Event()
        self.free.set()

    def fsync(self, fd: int) -> None:
        if self.slow_s:
            threading.Event().wait(self.slow_s)
        if not self.free.is_set():
            self.syncing.set()
            assert self.free.wait(SOON_S)
        REAL(fd)


REAL = os.fsync


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk()
    monkeypatch.setattr("audit.journal.os.fsync", made.fsync)
    yield made
    made.free.set()


@pytest.fixture
def setup(tmp_path: Path, disk: Disk) -> Iterator[Setup]:
    """A writer whose store hangs: everything goes to the journal."""
    made = Setup(tmp_path)
    made.store.free.clear()
    yield made
    disk.free.set()
    made.store.free.set()
    made.writer.close()


def test_a_journal_that_is_stuck_holds_up_no_record_and_no_new_call(setup: Setup, disk: Disk) -> None:
    """The disk lets go only after everything was submitted: were one of them to wait, nothing would come back."""
    disk.free.clear()
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    assert disk.syncing.wait(SOON_S)
    receipts: list[Receipt] = []

    def records() -> None:
        receipts.extend(say(call, turn) for turn in range(1, 200))
        receipts.append(setup.writer.open_call(CALLS[1], monotonic_ns=0, wall_ns=WALL).opened)

    caller = threading.Thread(target=records, daemon=True)
    caller.start()
    caller.join(SOON_S / 4)
    assert len(receipts) == 200 and not any(receipt.done() for receipt in receipts)
    disk.free.set()
    assert all(settled(receipt).spooled for receipt in receipts)


def test_a_slow_sync_is_not_felt(setup: Setup, disk: Disk) -> None:
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    disk.slow_s = SLOW_S
    took, receipts = [], []
    for turn in range(1, 120):
        began = time.perf_counter()
        receipts.append(say(call, turn))
        took.append(time.perf_counter() - began)
        threading.Event().wait(0.01)
    assert all(settled(receipt).spooled for receipt in receipts)
    assert statistics.median(took) < QUICK_S
    assert sum(one > SLOW_S / 2 for one in took) <= 1, "one may meet a busy machine; were it the disk, it were many"


def test_what_waited_for_a_slow_disk_lies_there_in_order_and_joins(setup: Setup, disk: Disk) -> None:
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    disk.slow_s = 0.02
    receipts = [say(call, turn) for turn in range(1, 30)]
    for receipt in receipts:
        settled(receipt)
    (journal,) = setup.folder.spool.iterdir()
    lying = [entry.values[:3] for entry in read_file(journal) if entry.values[:3] in places(list(read_file(journal)))]
    assert lying == sorted(lying) and len(lying) >= 30
    disk.slow_s = 0.0
    setup.store.free.set()
    while settled(say(call, 30)).spooled:
        pass
    setup.writer.close()
    proven = Reader(SqliteStore(setup.folder.database), setup.keyring).verify(CALLS[0])
    assert proven.opened == proven.records > 30


def test_a_store_that_answers_while_the_journal_is_stuck_settles_its_receipts(setup: Setup, disk: Disk) -> None:
    disk.free.clear()
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    assert disk.syncing.wait(SOON_S)
    setup.store.free.set()
    assert not settled(call.opened).failed
    assert (CALLS[0], 0, 0) in setup.stored()


def test_the_end_does_not_wait_for_a_disk_for_ever(setup: Setup, disk: Disk) -> None:
    disk.free.clear()
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    assert disk.syncing.wait(SOON_S)
    last = say(call, 1)
    setup.writer.close(timeout_s=0.05)
    assert last.done() and last.failed, "said to be in neither"
    assert say(call, 2).failed, "and at once"


def test_calls_at_once_over_a_store_and_a_journal_that_come_and_go_lose_nothing(setup: Setup, disk: Disk) -> None:
    over = threading.Event()

    def weather() -> None:
        while not over.is_set():
            for error, hangs, slow_s in ((None, False, 0.0), (OSError("down"), False, 0.01), (None, True, 0.0)):
                setup.store.error, disk.slow_s = error, slow_s
                setup.store.free.clear() if hangs else setup.store.free.set()
                over.wait(0.03)

    def carry(name: str) -> None:
        call = setup.writer.open_call(name, monotonic_ns=0, wall_ns=WALL)
        for turn in range(1, 60):
            receipt = say(call, turn)
            if turn % 3 == 0:
                assert not settled(receipt).failed
        settled(call.finish(monotonic_ns=99, wall_ns=WALL))

    threads = [threading.Thread(target=carry, args=(name,)) for name in CALLS[:6]]
    storm = threading.Thread(target=weather)
    for thread in (storm, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    storm.join()
    setup.store.error, disk.slow_s = None, 0.0
    setup.store.free.set()
    assert settled(setup.writer.open_call(CALLS[7], monotonic_ns=0, wall_ns=WALL).opened)
    setup.writer.close()
    assert not list(setup.folder.spool.iterdir()), "everything has joined"
    reader = Reader(SqliteStore(setup.folder.database), setup.keyring)
    proven = {one.call: one for one in reader.verify_all()}
    for name in CALLS[:6]:
        assert proven[name].records - proven[name].segments == 60, "every turn and the end, once"
