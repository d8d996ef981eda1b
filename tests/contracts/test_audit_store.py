"""Promise: every audit store keeps whole batches or nothing, takes the same row twice without harm, and never rewrites.

One class, run over every implementation: a new store adds one line to `STORES`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audit.entries import Entry, Kind
from audit.reader import Reader
from audit.store import SqliteStore
from tests.audit.forge import CALL, WALL, whole_call

STORES: dict[str, Callable[[Path], SqliteStore]] = {"sqlite": lambda folder: SqliteStore(folder / "audit.db")}


def rows_of_a_call() -> list[Entry]:
    forge = whole_call()
    rows = [Entry(Kind.CHAIN, (CALL, 1, WALL // 3_600_000_000_000, "w"))]
    for key, kept in forge.wrapped.items():
        rows += [Entry(Kind.KEY, (key, reader, CALL, b"c" * 32, wrapped)) for reader, wrapped in kept.items()]
    for item in forge.records:
        record = item.record
        values = (
            CALL,
            item.segment,
            item.sequence,
            record.header,
            record.nonce,
            record.sealed,
            item.hash,
            item.locator,
        )
        rows.append(Entry(Kind.RECORD, values))
    rows.append(Entry(Kind.CLOSED, (CALL, forge.head)))
    rows.append(Entry(Kind.JOB, (f"{CALL}/summary", CALL, "summary", WALL, None)))
    rows.append(Entry(Kind.CALLBACK, (f"{CALL}/0", CALL, "urgent_hang_up", "nurse_now", WALL, WALL + 1)))
    return rows


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
class TestAuditStore:
    @pytest.fixture
    def store(self, make: Callable[[Path], SqliteStore], tmp_path: Path) -> Iterator[SqliteStore]:
        store = make(tmp_path)
        yield store
        store.close()

    def test_a_call_comes_back_as_it_was_written(self, store: SqliteStore) -> None:
        first = store.lease_numbers("w", 4)
        assert first == 1
        store.append(rows_of_a_call())
        proven = Reader(store).verify_all()
        assert [(one.call, one.records, one.closed) for one in proven] == [(CALL, 8, True)]

    def test_any_part_of_a_batch_may_come_again_in_any_cut(self, store: SqliteStore) -> None:
        store.lease_numbers("w", 4)
        rows = rows_of_a_call()
        store.append(rows[:6])
        store.append(rows)
        for row in rows:
            store.append([row])
        assert Reader(store).verify(CALL).records == 8

    def test_a_batch_that_fails_leaves_nothing(self, store: SqliteStore) -> None:
        rows = rows_of_a_call()
        with pytest.raises(Exception):  # noqa: B017 whatever the driver raises
            store.append([*rows, Entry(Kind.RECORD, (CALL, 0, 99, None, None, None, None, None)), Entry(Kind.JOB, ())])
        assert store.chain_state(CALL) is None
        assert Reader(store).known_calls() == []

    def test_a_place_that_is_taken_stays_and_the_second_record_is_kept_aside(self, store: SqliteStore) -> None:
        rows = rows_of_a_call()
        store.append(rows[:5])
        taken = next(row for row in rows if row.kind is Kind.RECORD)
        store.append([Entry(Kind.RECORD, (*taken.values[:6], b"\x01" * 32, taken.values[7]))])
        index, stored = Reader(store).stored(CALL)
        assert stored[0].hash == taken.values[6]
        assert index.strays == ((0, 0),)

    def test_a_closed_chain_never_grows(self, store: SqliteStore) -> None:
        rows = rows_of_a_call()
        store.append(rows)
        record = next(row for row in rows if row.kind is Kind.RECORD)
        store.append([Entry(Kind.RECORD, (CALL, 2, 0, *record.values[3:6], b"\x02" * 32, record.values[7]))])
        index, stored = Reader(store).stored(CALL)
        assert len(stored) == 8
        assert index.strays == ((2, 0),)

    def test_two_writers_never_get_the_same_number(self, store: SqliteStore) -> None:
        blocks = [store.lease_numbers(f"w{n}", 8) for n in range(5)]
        assert blocks == [1, 9, 17, 25, 33]
        store.return_numbers(33, 3)
        assert store.lease_numbers("w9", 8) == 36
        store.return_numbers(1, 0)
        assert store.lease_numbers("w9", 8) == 44

    def test_a_number_learned_later_is_kept_and_one_that_is_known_is_not_changed(self, store: SqliteStore) -> None:
        for number in (None, 7, 8):
            store.append([Entry(Kind.CHAIN, (CALL, number, 1, "w"))])
        state = store.chain_state(CALL)
        assert state is not None
        assert state.number == 7

    def test_closing_twice_is_no_error(self, store: SqliteStore) -> None:
        store.close()
        store.close()
