"""The SQLite store: WAL, synchronous=FULL, one transaction per batch, every row safe to write twice.

The append path is plain sqlite3 and imports neither sqlmodel nor alembic (they cost a call process 50 MB). An empty
file gets the packaged schema, which a test holds equal to what the migrations make; an older file is migrated.
A chain that is closed takes no more records, and a place that is taken stays as it is: what comes too late is kept in
`stray`, where every verify reports it.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

from audit.entries import Entry, Kind
from audit.errors import StoreFailed

REVISION = "0001"
"""The newest migration."""
BUSY_MS = 1_000
"""How long a connection waits for another's lock. The writer spools meanwhile."""

_INSERT = {
    Kind.CHAIN: "INSERT INTO chain (call, number, bucket, writer) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (call) DO UPDATE SET number = coalesce(number, excluded.number)",
    Kind.KEY: "INSERT OR IGNORE INTO data_key (key, reader, call, commitment, wrapped) VALUES (?, ?, ?, ?, ?)",
    Kind.RECORD: "INSERT OR IGNORE INTO record (call, segment, sequence, header, nonce, sealed, hash, locator) "
    "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 "
    "WHERE NOT EXISTS (SELECT 1 FROM chain WHERE call = ?1 AND closed = 1)",
    Kind.CLOSED: "UPDATE chain SET closed = 1, head = ?2 WHERE call = ?1",
    Kind.JOB: "INSERT INTO job (id, call, kind, opened_ns, ready_ns) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET ready_ns = coalesce(ready_ns, excluded.ready_ns)",
    Kind.CALLBACK: "INSERT OR IGNORE INTO callback (id, call, reason, level, opened_ns, due_ns) "
    "VALUES (?, ?, ?, ?, ?, ?)",
}
_STRAY = (
    "INSERT INTO stray (call, segment, sequence, header, nonce, sealed, hash) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 "
    "WHERE NOT EXISTS (SELECT 1 FROM record WHERE call = ?1 AND segment = ?2 AND sequence = ?3 AND hash = ?7) "
    "AND NOT EXISTS (SELECT 1 FROM stray WHERE call = ?1 AND hash = ?7)"
)


@dataclass(frozen=True, slots=True)
class ChainState:
    """How far a call's chain has come: what the next segment opens from."""

    call: str
    number: int | None
    heads: tuple[bytes, ...]
    """Head of every segment."""
    counts: tuple[int, ...]
    """Records of every segment."""
    closed: bool
    whole: bool = True
    """No place up to the heads is empty. An empty one waits in a journal, or is lost."""


class Store(Protocol):
    """What a writer needs of a store. Called from the writer's thread."""

    def append(self, rows: Sequence[Entry]) -> None:
        """Write rows in one transaction; returns when they are durable. Rows that are there already are left alone.

        Raises:
            Exception: nothing was written.
        """
        ...

    def lease_numbers(self, writer: str, count: int) -> int:
        """Lease a block of the global sequence; returns its first number.

        Raises:
            Exception: none was leased.
        """
        ...

    def return_numbers(self, first: int, used: int) -> None:
        """Say how many numbers of a block were used; the rest may be leased again.

        Raises:
            Exception: it was not noted; the block then counts as used up to its last call.
        """
        ...

    def close(self) -> None:
        """Free it; idempotent."""
        ...


class SqliteStore:
    """One SQLite file."""

    def __init__(self, path: Path, *, busy_ms: int = BUSY_MS) -> None:
        """Open the file, and make or migrate its tables.

        Raises:
            StoreFailed: it cannot be used; one line with the remedy.
        """
        self.path = path
        self._busy_ms = busy_ms
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreFailed(
                f"the folder {path.parent} cannot be made ({error.strerror}): choose another with --data"
            ) from None
        with explained(path):
            self._append = self._connect()
            try:
                self._prepare()
            except BaseException:
                self._append.close()
                raise

    def append(self, rows: Sequence[Entry]) -> None:
        """Write rows in one transaction; returns when they are durable.

        Raises:
            sqlite3.Error: nothing was written.
        """
        by_kind: dict[Kind, list[tuple[object, ...]]] = {}
        for row in rows:
            by_kind.setdefault(row.kind, []).append(row.values)
        with self._lock, transaction(self._append) as connection:
            for kind in Kind:
                if values := by_kind.get(kind):
                    written = connection.executemany(_INSERT[kind], values).rowcount
                    if kind is Kind.RECORD and written < len(values):
                        connection.executemany(_STRAY, [value[:7] for value in values])

    def lease_numbers(self, writer: str, count: int) -> int:
        """Lease a block of the global sequence; returns its first number.

        Raises:
            sqlite3.Error: none was leased.
        """
        with self.connection() as connection, transaction(connection):
            (first,) = connection.execute("SELECT coalesce(max(first + count), 1) FROM number_block").fetchone()
            connection.execute(
                "INSERT INTO number_block (first, count, writer) VALUES (?, ?, ?)", (first, count, writer)
            )
            return int(first)

    def return_numbers(self, first: int, used: int) -> None:
        """Say how many numbers of a block were used; the newest block shrinks to that, so that few numbers are skipped.

        Raises:
            sqlite3.Error: it was not noted.
        """
        with self.connection() as connection, transaction(connection):
            connection.execute("UPDATE number_block SET used = ? WHERE first = ?", (used, first))
            connection.execute(
                "UPDATE number_block SET count = used WHERE first = ?1 AND first = (SELECT max(first) FROM number_block)",
                (first,),
            )
            connection.execute("DELETE FROM number_block WHERE first = ? AND count = 0", (first,))

    def chain_state(self, call: str) -> ChainState | None:
        """How far a call's chain has come; None when the store does not know the call.

        Raises:
            StoreFailed: it cannot be read.
        """
        with explained(self.path), self.connection() as connection:
            row = connection.execute("SELECT number, closed FROM chain WHERE call = ?", (call,)).fetchone()
            if row is None:
                return None
            segments = connection.execute(
                "SELECT segment, count(*), max(sequence) FROM record WHERE call = ? GROUP BY segment ORDER BY segment",
                (call,),
            ).fetchall()
            heads = [
                connection.execute(
                    "SELECT hash FROM record WHERE call = ? AND segment = ? AND sequence = ?", (call, segment, last)
                ).fetchone()[0]
                for segment, _, last in segments
            ]
        whole = [segment for segment, _, _ in segments] == list(range(len(segments)))
        whole = whole and all(count == last + 1 for _, count, last in segments)
        return ChainState(call, row[0], tuple(heads), tuple(count for _, count, _ in segments), bool(row[1]), whole)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own, for low-rate work; closed afterwards."""
        connection = self._connect()
        connection.text_factory = _text  # whoever alters a file may leave anything in it
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Free it; idempotent."""
        with self._lock:
            self._append.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._busy_ms / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self) -> None:
        found = revision_of(self._append)
        if found == REVISION:
            return
        if found is None:
            with transaction(self._append) as connection:
                if revision_of(connection) is None:  # nobody else was quicker
                    for statement in schema():
                        connection.execute(statement)
            return
        from audit.migrate import upgrade  # alembic and sqlmodel: only for a file of an older release

        upgrade(self.path)


class DeferredStore:
    """A store that is opened when it is first needed, and tried again until it opens."""

    def __init__(self, opens: Callable[[], Store]) -> None:
        self._opens = opens
        self._store: Store | None = None

    def append(self, rows: Sequence[Entry]) -> None:
        """Open if need be, then write.

        Raises:
            Exception: it did not open, or did not write.
        """
        self._opened().append(rows)

    def lease_numbers(self, writer: str, count: int) -> int:
        """Open if need be, then lease.

        Raises:
            Exception: it did not open, or did not lease.
        """
        return self._opened().lease_numbers(writer, count)

    def return_numbers(self, first: int, used: int) -> None:
        """Return numbers that were leased from it.

        Raises:
            Exception: it did not open, or did not note it.
        """
        self._opened().return_numbers(first, used)

    def close(self) -> None:
        """Free it; idempotent."""
        if self._store is not None:
            self._store.close()

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._opens()
        return self._store


def revision_of(connection: sqlite3.Connection) -> str | None:
    """The migration a file is at; None: it holds no tables of ours.

    Raises:
        StoreFailed: it is somebody else's database.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "alembic_version" in tables and "record" in tables:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None
    if tables - {"sqlite_sequence"}:
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        raise StoreFailed(f"{path} is a database, but not an audit store: choose another folder with --data")
    return None


def schema() -> list[str]:
    """The statements that make an empty file a store of REVISION."""
    text = resources.files("audit").joinpath("schema.sql").read_text(encoding="utf-8")
    return [statement.strip() for statement in text.split(";\n") if statement.strip()]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One immediate transaction: all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line that names the file and the remedy. Never repeats a statement or a value."""
    try:
        yield
    except sqlite3.Error as error:
        known = {
            "SQLITE_READONLY": "is read-only: make it writable or choose another folder with --data",
            "SQLITE_FULL": "cannot grow, the disk is full: free space or choose another folder with --data",
            "SQLITE_BUSY": "is locked by another program: end that program and try again",
            "SQLITE_LOCKED": "is locked by another program: end that program and try again",
            "SQLITE_NOTADB": "is not a database: move it away, or restore it from a copy",
            "SQLITE_CORRUPT": "is damaged: restore it from a copy",
            "SQLITE_CANTOPEN": "cannot be opened: check the folder's rights or choose another with --data",
            "SQLITE_IOERR": "cannot be read or written, the disk reports an error: check the disk",
        }
        name = getattr(error, "sqlite_errorname", "") or ""
        remedy = next((text for prefix, text in known.items() if name.startswith(prefix)), None)
        raise StoreFailed(
            f"the audit store {path} {remedy or f'cannot be used ({name or type(error).__name__})'}"
        ) from None
