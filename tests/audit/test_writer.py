"""Promise: what was acknowledged is never lost, whatever the store does; and a call never waits for the store."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from audit.chain import SegmentWriter
from audit.errors import NotDurable, SegmentFinished, SpoolPending, StoreFailed
from audit.folder import AuditFolder
from audit.journal import Journal, read_file
from audit.reader import Reader
from audit.records import Stage
from audit.spool import join_spool
from audit.store import SqliteStore
from audit.trouble import TroubleKind
from audit.writer import AuditWriter
from tests.audit.forge import WALL
from tests.audit.stores import CALLS, Setup, places, say, settled

PATIENT = {"spool_after_s": 10.0, "hung_after_s": 20.0}
"""For tests that a busy machine must not turn into one of the journal."""


def open_call(writer: AuditWriter, call: str = CALLS[0]) -> SegmentWriter:
    return writer.open_call(call, monotonic_ns=0, wall_ns=WALL)


def test_a_receipt_is_given_only_when_the_store_has_the_record(tmp_path: Path) -> None:
    setup = Setup(tmp_path, **PATIENT)
    call = open_call(setup.writer)
    for turn in range(5):
        receipt = settled(say(call, turn))
        assert not receipt.spooled
        assert (CALLS[0], 0, turn + 1) in setup.stored()
    setup.writer.close()
    assert setup.troubles == []


async def test_a_loop_can_wait_for_a_receipt(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    call = open_call(setup.writer)
    receipts = [say(call, turn) for turn in range(10)]
    await asyncio.gather(*(receipt.wait() for receipt in receipts))
    assert all(receipt.done() for receipt in receipts)
    await receipts[0].wait()  # again, at once
    setup.writer.close()


def test_a_done_receipt_calls_back_at_once(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    call = open_call(setup.writer)
    receipt = say(call, 1)
    assert receipt.done()
    seen: list[object] = []
    receipt.add_done_callback(seen.append)
    assert seen == [receipt]
    setup.writer.close()


def test_fifty_calls_at_once_are_all_there_and_all_prove(tmp_path: Path) -> None:
    setup = Setup(tmp_path, hung_after_s=20.0, spool_after_s=10.0)
    start = threading.Barrier(50)

    def carry(name: str) -> None:
        start.wait()
        call = open_call(setup.writer, name)
        receipts = [say(call, turn) for turn in range(20)]
        receipts.append(call.finish(monotonic_ns=99, wall_ns=WALL))
        for receipt in receipts:
            settled(receipt)

    threads = [threading.Thread(target=carry, args=(name,)) for name in CALLS[:50]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    setup.writer.close()
    assert setup.writer.counts.commits < 50 * 22, "nothing was batched"
    reader = Reader(SqliteStore(setup.folder.database), setup.keyring)
    proven = reader.verify_all()
    assert [one.records for one in proven] == [22] * 50
    assert sorted(call.number or 0 for call in reader.calls()) == list(range(1, 51))


def test_a_store_that_raises_sends_rows_to_the_journal_and_the_pager_rings_once(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    call = open_call(setup.writer)
    settled(call.opened)
    setup.store.error = OSError("disk on fire")
    receipts = [settled(say(call, turn)) for turn in range(1, 6)]
    assert all(receipt.spooled and not receipt.failed for receipt in receipts)
    assert setup.kinds() == ["store_failed"]
    assert "fire" not in repr(setup.troubles)
    setup.store.error = None
    setup.until(lambda: "store_back" in setup.kinds())
    assert not settled(say(call, 6)).spooled
    setup.writer.close()
    assert not list(setup.folder.spool.iterdir()), "an empty journal is removed"
    proven = Reader(SqliteStore(setup.folder.database), setup.keyring).verify(CALLS[0])
    assert proven.records == proven.opened == 1 + 6 + 2, "the opening, six turns, two openings for the gap"
    assert proven.gaps == (1,), "the gap is marked"


def test_a_store_that_hangs_does_not_hold_up_a_receipt(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    call = open_call(setup.writer)
    settled(call.opened)
    setup.store.free.clear()
    first = say(call, 1)
    assert setup.store.hanging.wait(20)
    assert settled(first).spooled
    assert all(settled(say(call, turn)).spooled for turn in range(2, 5))
    setup.until(lambda: "store_hung" in setup.kinds())
    assert settled(say(call, 5)).spooled
    setup.store.free.set()
    setup.until(lambda: "store_back" in setup.kinds())
    settled(say(call, 6))
    setup.writer.close()
    proven = Reader(SqliteStore(setup.folder.database), setup.keyring).verify(CALLS[0])
    assert proven.opened == 1 + 6 + 2
    assert len(proven.gaps) == 1


def test_a_hiccup_is_no_outage(tmp_path: Path) -> None:
    """The journal takes a copy of what is late; the chain shows no gap, and nobody is paged."""
    setup = Setup(tmp_path, hung_after_s=60.0)
    call = open_call(setup.writer)
    settled(call.opened)
    setup.store.free.clear()
    assert settled(say(call, 1)).spooled
    setup.store.free.set()
    while setup.writer.spooling:
        settled(say(call, 2))
    setup.writer.close()
    assert setup.troubles == []
    proven = Reader(SqliteStore(setup.folder.database), setup.keyring).verify(CALLS[0])
    assert proven.gaps == ()
    assert proven.segments == 1


def test_a_hung_store_at_the_end_leaves_everything_in_the_journal(tmp_path: Path) -> None:
    setup = Setup(tmp_path, hung_after_s=60.0, spool_after_s=60.0)
    call = open_call(setup.writer)
    settled(call.opened)
    setup.store.free.clear()
    receipts = [say(call, turn) for turn in range(1, 4)]
    setup.store.hanging.wait(20)
    setup.writer.close(timeout_s=0.05)
    assert all(receipt.done() and receipt.spooled for receipt in receipts)
    (journal,) = setup.folder.spool.iterdir()
    assert {(CALLS[0], 0, turn) for turn in (1, 2, 3)} <= places(list(read_file(journal)))
    setup.store.free.set()
    fresh = SqliteStore(setup.folder.database)
    assert [joined.rows for joined in join_spool(fresh, setup.folder.spool)] == [3]
    assert Reader(fresh, setup.keyring).verify(CALLS[0]).opened == 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_thread_that_dies_is_replaced(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    call = open_call(setup.writer)
    settled(call.opened)
    setup.store.error = SystemExit()  # no Exception: it takes the thread down
    assert settled(say(call, 1)).spooled
    setup.until(lambda: "store_failed" in setup.kinds())
    setup.store.error = None
    setup.until(lambda: "store_back" in setup.kinds())
    settled(say(call, 2))
    setup.writer.close()
    assert Reader(SqliteStore(setup.folder.database), setup.keyring).verify(CALLS[0]).opened == 4


async def test_when_the_journal_fails_too_the_receipt_says_so_and_nothing_is_forgotten(tmp_path: Path) -> None:
    setup = Setup(tmp_path, spool_after_s=1.0, hung_after_s=20.0)  # the opening goes to the store itself
    call = open_call(setup.writer)
    await call.opened.wait()
    journal_file = setup.writer._journal
    kept, journal_file._fd = journal_file._fd, os.open("/dev/full", os.O_RDWR)
    setup.store.error = OSError(28, "No space left on device")
    receipt = say(call, 1)
    with pytest.raises(NotDurable):
        await receipt.wait()
    assert receipt.failed
    setup.until(lambda: "journal_failed" in setup.kinds())
    assert [trouble.code for trouble in setup.troubles if trouble.kind is TroubleKind.JOURNAL_FAILED] == ["ENOSPC"]
    os.close(journal_file._fd)
    journal_file._fd = kept
    assert settled(say(call, 2)).spooled, "space again: what was held goes first"
    setup.store.error = None
    setup.until(lambda: "store_back" in setup.kinds())
    setup.writer.close()
    proven = Reader(SqliteStore(setup.folder.database), setup.keyring).verify(CALLS[0])
    assert proven.opened == 1 + 2 + 1, "the opening, both turns, and the opening of the gap's segment"


def test_a_call_that_comes_in_an_outage_gets_a_provisional_number(tmp_path: Path) -> None:
    AuditFolder(tmp_path).keyring().ensure()
    setup = Setup(tmp_path)
    setup.writer.close()
    setup.store = type(setup.store)(setup.folder.database)
    setup.store.error = OSError("down since the start")
    writer = setup.another("w2")
    call = open_call(writer, CALLS[1])
    assert call.number is None
    assert settled(call.opened).spooled
    settled(call.finish(monotonic_ns=1, wall_ns=WALL))
    setup.store.error = None
    setup.until(lambda: "store_back" in setup.kinds())
    writer.close()
    reader = Reader(SqliteStore(setup.folder.database), setup.keyring)
    assert [one.records for one in reader.verify_all()] == [3]
    assert reader.calls()[0].number is None


def test_a_provisional_call_gets_its_number_with_the_summary(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    setup.writer.close()
    setup.store = type(setup.store)(setup.folder.database)
    setup.store.error = OSError("down since the start")
    writer = setup.another("w2", inline=True)
    call = open_call(writer)
    call.finish(monotonic_ns=1, wall_ns=WALL)
    setup.store.error = None
    settled(open_call(writer, CALLS[1]).opened)  # joins the journal
    state = setup.store.inner.chain_state(CALLS[0])
    assert state is not None
    assert state.number is None
    summary = writer.open_summary(state, monotonic_ns=2, wall_ns=WALL)
    summary.close(monotonic_ns=3, wall_ns=WALL)
    writer.close()
    reader = Reader(SqliteStore(setup.folder.database), setup.keyring)
    assert all(proven.opened for proven in reader.verify_all())
    assert {call.call: call.number for call in reader.calls()}[CALLS[0]] == 1


def test_numbers_go_on_where_the_last_writer_stopped(tmp_path: Path) -> None:
    setup = Setup(tmp_path, **PATIENT)
    for name in CALLS[:3]:
        settled(open_call(setup.writer, name).opened)
    setup.writer.close()
    setup.store = type(setup.store)(setup.folder.database)
    writer = setup.another("w2", **PATIENT)
    assert open_call(writer, CALLS[3]).number == 4
    writer.close()


@pytest.mark.parametrize("inline", [False, True])
def test_more_calls_than_a_block_has_numbers(tmp_path: Path, inline: bool) -> None:
    setup = Setup(tmp_path, block_size=4, inline=inline, **PATIENT)
    numbers = []
    for name in CALLS[:20]:
        call = open_call(setup.writer, name)
        settled(call.opened)
        settled(say(call, 1))
        numbers.append(call.number)
    setup.writer.close()
    assert numbers == list(range(1, 21))


def test_a_finished_call_cannot_grow_and_its_writer_cannot_open_it(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    call = open_call(setup.writer)
    last = call.finish(monotonic_ns=1, wall_ns=WALL)
    assert call.finish(monotonic_ns=2, wall_ns=WALL) is last
    with pytest.raises(SegmentFinished):
        say(call, 1)
    assert call.finished
    assert call._key is None
    setup.writer.close()


def test_the_summary_closes_the_chain_for_good(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    call = open_call(setup.writer)
    call.finish(monotonic_ns=1, wall_ns=WALL)
    state = setup.store.inner.chain_state(CALLS[0])
    assert state is not None
    summary = setup.writer.open_summary(state, monotonic_ns=2, wall_ns=WALL)
    summary.append(Stage.SUMMARY, {"lines": []}, turn=0, monotonic_ns=3, wall_ns=WALL)
    summary.close(monotonic_ns=4, wall_ns=WALL)
    with pytest.raises(SegmentFinished):
        summary.close(monotonic_ns=5, wall_ns=WALL)
    closed = setup.store.inner.chain_state(CALLS[0])
    assert closed is not None
    assert closed.closed
    with pytest.raises(SegmentFinished):
        setup.writer.open_summary(closed, monotonic_ns=6, wall_ns=WALL)
    late = setup.writer.open_rescue(CALLS[0], segment=2, opens_from=closed.heads[-1], monotonic_ns=7, wall_ns=WALL)
    assert late.opened.done()
    after = setup.store.inner.chain_state(CALLS[0])
    assert after is not None
    assert after.counts == closed.counts, "what comes after the closing is kept aside, and the chain does not grow"
    setup.writer.close()


def test_no_summary_while_the_journal_holds_records_of_the_call(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    call = open_call(setup.writer)
    setup.store.error = OSError("down")
    call.finish(monotonic_ns=1, wall_ns=WALL)
    state = setup.store.inner.chain_state(CALLS[0])
    assert state is not None
    with pytest.raises(SpoolPending, match=CALLS[0]):
        setup.writer.open_summary(state, monotonic_ns=2, wall_ns=WALL)
    setup.writer.close()


def test_a_rescue_goes_on_from_a_head_that_it_is_told(tmp_path: Path) -> None:
    setup = Setup(tmp_path, **PATIENT)
    call = open_call(setup.writer)
    settled(say(call, 1))
    rescuer = setup.another("w2", **PATIENT)
    rescue = rescuer.open_rescue(CALLS[0], segment=1, opens_from=call.head, monotonic_ns=9, wall_ns=WALL)
    settled(say(rescue, 2))
    settled(rescue.finish(monotonic_ns=10, wall_ns=WALL))
    settled(say(call, 3))  # the first writer was not quite dead
    proven = Reader(setup.store.inner, setup.keyring).verify(CALLS[0])
    assert proven.overlaps == (1,)
    assert proven.opened == 6
    rescuer.close()
    setup.writer.close()


def test_a_folder_opens_and_frees_everything(tmp_path: Path) -> None:
    folder = AuditFolder(tmp_path)
    folder.keyring().ensure()
    writer = folder.open_writer("w1")
    with pytest.raises(StoreFailed, match=r"w1\.journal"):
        Journal(folder.spool, "w1")  # one writer each
    writer.close()
    writer.close()
    folder.open_writer("w1").close()


def test_a_worker_that_starts_in_an_outage_carries_calls_all_the_same(tmp_path: Path) -> None:
    folder = AuditFolder(tmp_path)
    folder.keyring().ensure()
    folder.database.mkdir()  # cannot be opened
    with pytest.raises(StoreFailed):
        folder.open_writer("w1")
    writer = folder.open_writer("w1", deferred=True, inline=True)
    call = open_call(writer)
    assert say(call, 1).spooled
    folder.database.rmdir()
    assert not say(call, 2).spooled
    call.finish(monotonic_ns=3, wall_ns=WALL)
    writer.close()
    reader = Reader(SqliteStore(folder.database), folder.keyring())
    proven = reader.verify(CALLS[0])
    assert (proven.opened, proven.gaps) == (6, (1,)), "provisional genesis, then the gap, then back"
    assert reader.calls()[0].number is None


def test_callbacks_and_pagers_that_raise_do_not_stop_the_writer(tmp_path: Path) -> None:
    setup = Setup(tmp_path)

    def raises(_: object) -> None:
        raise RuntimeError("broken pager")

    setup.writer._on_trouble = raises
    call = open_call(setup.writer)
    setup.store.error = OSError("down")
    first = say(call, 1)
    if not first.done():
        first.add_done_callback(raises)
    settled(say(call, 2))
    setup.store.error = None
    while settled(say(call, 3)).spooled:
        pass
    setup.writer.close()
    assert first.done()
    assert setup.writer.counts.unreported >= 1
    assert Reader(SqliteStore(setup.folder.database), setup.keyring).verify(CALLS[0]).opened > 3
