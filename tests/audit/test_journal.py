"""Promise: what a journal has acknowledged comes back, whatever happened to the end or the middle of its file."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.entries import Entry, Kind
from audit.errors import StoreFailed
from audit.journal import Journal, _line, parse, read_file
from audit.reader import Reader
from audit.spool import join_spool, writers_alive
from audit.store import SqliteStore
from tests.audit.forge import CALL
from tests.audit.stores import CALLS, Setup, say, settled


def row(number: int) -> Entry:
    return Entry(Kind.RECORD, (CALL, 0, number, b"h", b"n" * 12, os.urandom(100), b"d" * 32, b"l"))


def abandoned(tmp_path: Path, rows: list[Entry]) -> Path:
    journal = Journal(tmp_path, "dead")
    journal.append(rows)
    raw = journal.path.read_bytes()
    journal.close()
    path = tmp_path / "dead.journal"
    path.write_bytes(raw)
    return path


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w")
    journal.append([row(1), row(2)])
    journal.append([row(3)])
    content = journal.read()
    assert [entry.values[2] for entry in content.entries] == [1, 2, 3]
    assert (content.torn_tail, content.damaged, content.end) == (0, (), journal.size)
    journal.clear()
    assert journal.read().entries == ()
    journal.close()
    journal.close()
    assert not journal.path.exists()


@pytest.mark.parametrize("limit", [1, 100, 300, 1 << 20])
def test_a_long_journal_is_read_in_pieces(tmp_path: Path, limit: int) -> None:
    journal = Journal(tmp_path, "w")
    journal.append([row(number) for number in range(20)])
    seen, start = [], 0
    while start < journal.size:
        content = journal.read(start, limit)
        seen += [entry.values[2] for entry in content.entries]
        assert content.end > start
        start = content.end
    assert seen == list(range(20))
    journal.clear()
    journal.close()


ROWS = [row(number) for number in range(4)]
RAW = b"".join(_line(entry) for entry in ROWS)
ENDS = [at + 1 for at, byte in enumerate(RAW) if byte == 10]


@given(cut=st.integers(0, len(RAW)))
def test_a_torn_tail_drops_only_the_line_that_was_not_finished(cut: int) -> None:
    content = parse(RAW[:cut])
    whole = sum(end <= cut for end in ENDS)
    assert list(content.entries) == ROWS[:whole]
    assert content.damaged == ()
    assert content.torn_tail == cut - ([0, *ENDS][whole])


@given(at=st.integers(0, len(RAW) - 1), bit=st.integers(0, 7))
def test_a_damaged_line_is_reported_and_its_neighbours_survive(at: int, bit: int) -> None:
    raw = bytearray(RAW)
    raw[at] ^= 1 << bit
    content = parse(bytes(raw))
    kept = set(content.entries)
    assert len(kept & set(ROWS)) >= 2
    assert kept <= set(ROWS), "nothing that was not written"
    assert content.damaged or content.torn_tail or kept == set(ROWS)


def test_a_failed_write_leaves_no_half_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w")
    journal.append([row(1)])
    kept, journal._fd = journal._fd, os.open("/dev/full", os.O_RDWR)
    with pytest.raises(OSError, match="space"):
        journal.append([row(2)])
    os.close(journal._fd)
    journal._fd = kept
    journal.append([row(3)])
    assert [entry.values[2] for entry in journal.read().entries] == [1, 3]
    journal.clear()
    journal.close()


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreFailed, match=r"file/spool.*--data") as told:
        Journal(tmp_path / "file" / "spool", "w")
    assert "\n" not in str(told.value)


def test_a_living_writers_journal_is_left_alone(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.store.error = OSError("down")
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=0)
    settled(say(call, 1))
    fresh = SqliteStore(setup.folder.database)
    assert join_spool(fresh, setup.folder.spool) == []
    assert [path.name for path in writers_alive(setup.folder.spool)] == ["w1.journal"]
    setup.writer.close()
    assert writers_alive(setup.folder.spool) == []
    assert [joined.rows for joined in join_spool(fresh, setup.folder.spool)] == [5]
    assert join_spool(fresh, setup.folder.spool) == []
    assert Reader(fresh, setup.keyring).verify(CALLS[0]).opened == 2


def test_the_next_life_of_a_writer_joins_what_the_last_one_left(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.store.error = OSError("down")
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=0)
    settled(say(call, 1))
    setup.writer.close()
    setup.store.inner.close()
    setup.store = type(setup.store)(setup.folder.database)
    setup.another("w1").close()
    assert Reader(SqliteStore(setup.folder.database), setup.keyring).verify(CALLS[0]).opened == 2
    assert list(setup.folder.spool.iterdir()) == []


def test_a_damaged_journal_is_kept_and_what_is_whole_joins(tmp_path: Path) -> None:
    path = abandoned(tmp_path / "spool", [row(1), row(2), row(3)])
    raw = bytearray(path.read_bytes())
    second = raw.index(b"\n") + 20
    raw[second] ^= 1
    path.write_bytes(bytes(raw) + b"deadbeef [tor")
    store = SqliteStore(tmp_path / "audit.db")
    (joined,) = join_spool(store, tmp_path / "spool")
    assert (joined.rows, len(joined.damaged), joined.torn_tail) == (2, 1, 13)
    assert [left.name for left in (tmp_path / "spool").iterdir()] == ["dead.journal.damaged"]
    assert list(read_file(path)) == []
    store.close()


def test_a_store_that_fails_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    path = abandoned(tmp_path / "spool", [row(1)])
    raw = path.read_bytes()
    store = SqliteStore(tmp_path / "audit.db")
    store.close()
    with pytest.raises(Exception, match="closed"):
        join_spool(store, tmp_path / "spool")
    assert path.read_bytes() == raw


@given(st.binary(max_size=60))
def test_no_line_makes_the_parser_stumble(raw: bytes) -> None:
    try:
        Entry.from_json(raw)
    except ValueError:
        pass  # the one error it may raise
    parse(raw + b"\n")
