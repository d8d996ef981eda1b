"""Promise: nobody reads without leaving a trace; a call that is gone is missed; an erased call still verifies."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from audit.access import Access, AccessLog
from audit.errors import (
    AccessBroken,
    CallMissing,
    ChainBroken,
    KeyErased,
    KeyMissing,
    RecordAltered,
    RecordForeign,
    StoreFailed,
    UnknownCall,
)
from audit.keyring import FileKeyring
from audit.reader import Reader
from audit.records import Stage
from tests.audit.forge import WALL
from tests.audit.stores import CALLS, Setup, say


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    setup = Setup(tmp_path, inline=True, block_size=8)
    for name in CALLS[:4]:
        call = setup.writer.open_call(name, monotonic_ns=0, wall_ns=WALL)
        say(call, 1, "here, in my chest")
        call.finish(monotonic_ns=2, wall_ns=WALL)
    yield setup
    setup.writer.close()


def reader_of(setup: Setup, **options: Any) -> Reader:
    given: dict[str, Any] = {"who": "auditor", "purpose": "complaint", "spool": setup.folder.spool, **options}
    return Reader(setup.store.inner, setup.keyring, **given)


def change(setup: Setup, statement: str, *values: object) -> None:
    with setup.store.inner.connection() as connection:
        connection.execute(statement, values)


def test_a_reading_shows_the_content_and_is_recorded_first(setup: Setup) -> None:
    reader = reader_of(setup)
    records = reader.records(CALLS[1], at_ns=WALL + 5)
    assert [record.content.stage for record in records] == [Stage.CALL, Stage.STT_FINAL, Stage.CALL]
    assert records[1].content.payload == {"text": "here, in my chest"}
    assert reader.access.readings(CALLS[1]) == [Access(WALL + 5, "auditor", "complaint", CALLS[1], "trail")]
    assert reader.access.readings(CALLS[0]) == []


def test_a_reading_that_cannot_be_recorded_shows_nothing(setup: Setup) -> None:
    change(setup, "DROP TABLE access")
    with pytest.raises(StoreFailed):
        reader_of(setup).records(CALLS[0], at_ns=WALL)


def test_a_wrong_key_shows_nothing_and_names_the_remedy(setup: Setup, tmp_path: Path) -> None:
    wrong = FileKeyring(tmp_path / "other").ensure()
    with pytest.raises(KeyMissing, match="another key"):
        Reader(setup.store.inner, wrong).records(CALLS[0], at_ns=WALL)
    with pytest.raises(KeyMissing, match="this reader has none"):
        Reader(setup.store.inner).records(CALLS[0], at_ns=WALL)
    assert AccessLog(setup.store.inner).readings() == []


def test_verification_needs_no_key(setup: Setup) -> None:
    assert [proven.opened for proven in Reader(setup.store.inner).verify_all()] == [0] * 4
    assert [proven.opened for proven in reader_of(setup).verify_all()] == [3] * 4


def test_an_erased_call_verifies_and_cannot_be_read(setup: Setup) -> None:
    change(setup, "UPDATE data_key SET wrapped = NULL WHERE call = ?", CALLS[2])
    reader = reader_of(setup)
    assert [proven.erased for proven in reader.verify_all()] == [False, False, True, False]
    with pytest.raises(KeyErased):
        reader.records(CALLS[2], at_ns=WALL)
    assert [call.erased for call in reader.calls()] == [False, False, True, False]


@pytest.mark.parametrize(
    ("statement", "error", "words"),
    [
        ("DELETE FROM chain WHERE call = ?1", CallMissing, "call number 2 is gone"),
        ("UPDATE chain SET number = 1 WHERE call = ?1", RecordForeign, "two calls have number 1"),
        ("UPDATE chain SET number = 99 WHERE call = ?1", CallMissing, "call number 2 is gone"),
        ("UPDATE number_block SET first = 3 WHERE ?1 = ?1", CallMissing, "1 to 2 are not accounted for"),
        ("DELETE FROM number_block WHERE ?1 = ?1", RecordForeign, "never given out"),
        ("UPDATE data_key SET wrapped = x'00' WHERE call = ?1", RecordAltered, "wrapped data key"),
        ("UPDATE record SET sealed = 'text' WHERE call = ?1 AND sequence = 1", RecordAltered, "record 1"),
        ("UPDATE record SET sealed = zeroblob(1040) WHERE call = ?1 AND sequence = 1", RecordAltered, "byte"),
        ("UPDATE record SET call = ?1 || 'x' WHERE call = ?1", ChainBroken, "call"),
    ],
)
def test_what_is_done_to_the_tables_is_found(setup: Setup, statement: str, error: type[Exception], words: str) -> None:
    change(setup, statement, CALLS[1])
    with pytest.raises(error, match=words):
        Reader(setup.store.inner, spool=setup.folder.spool).verify_all()


def test_a_call_that_was_removed_whole_is_missed(setup: Setup) -> None:
    for table in ("chain", "record", "data_key", "job"):
        change(setup, f"DELETE FROM {table} WHERE call = ?", CALLS[2])
    with pytest.raises(CallMissing, match="call number 3 is gone"):
        reader_of(setup).verify_all()


def test_the_newest_call_is_missed_once_its_writer_has_gone(setup: Setup) -> None:
    setup.writer.close()
    setup.store = type(setup.store)(setup.folder.database)
    for table in ("chain", "record", "data_key", "job"):
        change(setup, f"DELETE FROM {table} WHERE call = ?", CALLS[3])
    with pytest.raises(CallMissing, match="call number 4 is gone"):
        reader_of(setup).verify_all()


def test_calls_that_wait_in_a_journal_are_not_missing(setup: Setup) -> None:
    setup.store.error = OSError("down")
    setup.writer.open_call(CALLS[5], monotonic_ns=0, wall_ns=WALL)
    reader = reader_of(setup)
    assert reader.verify_numbers() == 5
    with pytest.raises(UnknownCall):
        reader.verify(CALLS[5])
    setup.store.error = None


def test_a_call_is_found_by_how_its_id_begins(setup: Setup) -> None:
    reader = reader_of(setup)
    assert reader.find(CALLS[0][:13]) == CALLS[0]
    assert reader.find(CALLS[0]) == CALLS[0]
    with pytest.raises(UnknownCall, match="several"):
        reader.find("0197")
    with pytest.raises(UnknownCall, match="not in this store"):
        reader.find("zz")


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE access SET who = 'nobody' WHERE id = 2", 2),
        ("DELETE FROM access WHERE id = 2", 2),
        ("UPDATE access SET prev = zeroblob(32) WHERE id = 3", 3),
        ("UPDATE access SET at_ns = at_ns + 1 WHERE id = 1", 1),
    ],
)
def test_the_log_of_readings_cannot_be_altered_unseen(setup: Setup, statement: str, row: int) -> None:
    reader = reader_of(setup)
    for at in range(3):
        reader.records(CALLS[at], at_ns=WALL + at)
    assert reader.access.verify() == 3
    change(setup, statement)
    with pytest.raises(AccessBroken) as found:
        reader.access.verify()
    assert found.value.sequence == row


def test_no_error_of_reading_repeats_a_word(setup: Setup) -> None:
    with closing(setup.store.inner), setup.store.inner.connection() as connection:
        raw = connection.execute("SELECT sealed FROM record WHERE call = ? AND sequence = 1", (CALLS[0],)).fetchone()[0]
        connection.execute(
            "UPDATE record SET sealed = ? WHERE call = ? AND sequence = 1", (raw[:-1] + b"\x00", CALLS[0])
        )
        for ask in (lambda: reader_of(setup).verify(CALLS[0]), lambda: reader_of(setup).records(CALLS[0], at_ns=1)):
            with pytest.raises(ChainBroken) as told:
                ask()
            assert "chest" not in str(told.value)
            assert "record 1" in str(told.value)
