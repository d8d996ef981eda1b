"""The log of readings: who read which call, for what, written before it is shown. A chain of its own."""

import hashlib
from dataclasses import dataclass

from audit.errors import AccessBroken
from audit.records import ZERO, canonical
from audit.store import SqliteStore, explained, transaction

_TAG = b"triage-line access v1\x00"
_COLUMNS = "at_ns, who, purpose, call, what, prev, hash"


@dataclass(frozen=True, slots=True)
class Access:
    """One reading."""

    at_ns: int
    """Wall time, ns since 1970."""
    who: str
    """Login and host of the terminal, and the name that was given there."""
    purpose: str
    call: str
    what: str
    """Fixed wording: trail, export, summary, erase; packet, callback and callback done are the nurses'."""


class AccessLog:
    """Appends to and proves the log of readings of one store."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def record(self, access: Access) -> int:
        """Write one reading down; returns its number in the log, when it is durable.

        Raises:
            StoreFailed: it could not be written; then nothing may be shown.
        """
        with explained(self._store.path), self._store.connection() as connection, transaction(connection):
            row = connection.execute("SELECT hash FROM access ORDER BY id DESC LIMIT 1").fetchone()
            prev = row[0] if row else ZERO
            written = connection.execute(
                f"INSERT INTO access ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (access.at_ns, access.who, access.purpose, access.call, access.what, prev, _hash(access, prev)),
            )
            return int(written.lastrowid or 0)

    def readings(self, call: str | None = None) -> list[Access]:
        """All readings (of one call), oldest first.

        Raises:
            StoreFailed: the store cannot be read.
        """
        return [access for _, access in self.numbered(call)]

    def numbered(self, call: str | None = None) -> list[tuple[int, Access]]:
        """All readings (of one call) with their numbers in the log, oldest first.

        Raises:
            StoreFailed: the store cannot be read.
        """
        return [(number, access) for number, access, _, _ in self._rows() if call in (None, access.call)]

    def verify(self) -> int:
        """Prove the log; returns the number of readings. Cutting its newest rows off shows only against a checkpoint.

        Raises:
            AccessBroken: a row was altered, removed or inserted; `sequence` is its id.
            StoreFailed: the store cannot be read.
        """
        head, expected = ZERO, 1
        rows = self._rows()
        for number, access, prev, digest in rows:
            if number != expected:
                raise AccessBroken("a reading is gone from the log", sequence=expected)
            if prev != head:
                raise AccessBroken("a reading in the log does not follow the one before", sequence=number)
            if _hash(access, prev) != digest:
                raise AccessBroken("a reading in the log was altered", sequence=number)
            head, expected = digest, expected + 1
        return len(rows)

    def _rows(self) -> list[tuple[int, Access, bytes, bytes]]:
        with explained(self._store.path), self._store.connection() as connection:
            found = connection.execute(f"SELECT id, {_COLUMNS} FROM access ORDER BY id").fetchall()
        return [(row[0], Access(*row[1:6]), row[6], row[7]) for row in found]


def _hash(access: Access, prev: bytes) -> bytes:
    fields = {
        "at_ns": access.at_ns,
        "call": access.call,
        "prev": prev.hex(),
        "purpose": access.purpose,
        "what": access.what,
        "who": access.who,
    }
    return hashlib.sha256(_TAG + canonical(fields)).digest()
