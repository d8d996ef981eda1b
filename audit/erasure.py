"""Destroying what one call contains, and keeping the proof that it took place.

A call's records can be read with its data keys alone, and these lie in the store, wrapped. Destroying every wrap makes the
content unreadable for good; headers and hashes stay, so that the chain still verifies. In this order:
 1. no journal holds rows of the call (they would bring its keys back)
 2. the log of readings says who erases it, and why
 3. wraps and call-back tasks are overwritten, not only let go; the jobs of the call are struck off
 4. the write-ahead log, which has older pages, is emptied into the store
 5. the bytes of the wraps are looked for in the store's files; were one left in a page's unused space, the store is packed
Copies of the store, and exports, are out of reach here.
"""

import mmap
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from audit.access import Access, AccessLog
from audit.errors import SpoolPending, StoreFailed
from audit.store import SqliteStore, explained, transaction

TRIES = 3
"""To empty the write-ahead log; each waits for readers as long as a connection waits for a lock."""


def erase_call(store: SqliteStore, spool: Path, call: str, *, at_ns: int, who: str, purpose: str) -> int:
    """Destroy a call's data keys; returns how many. Safe to say again.

    Raises:
        SpoolPending: a journal holds rows of the call. Nothing was destroyed.
        StoreFailed: the store cannot be used, or an older page cannot be overwritten while somebody reads it.
    """
    _refuse_pending(spool, call)
    AccessLog(store).record(Access(at_ns, who, purpose, call, "erase"))
    with explained(store.path), store.connection() as connection:
        connection.execute("PRAGMA secure_delete=ON")
        with transaction(connection):
            rows = connection.execute("SELECT wrapped FROM data_key WHERE call = ? AND wrapped NOTNULL", (call,))
            wraps = [bytes(wrapped) for (wrapped,) in rows.fetchall()]
            connection.execute("UPDATE data_key SET wrapped = NULL WHERE call = ?", (call,))
            connection.execute("DELETE FROM callback WHERE call = ?", (call,))
            connection.execute(
                "UPDATE job SET done_ns = ?, leased_until_ns = NULL WHERE call = ? AND done_ns IS NULL", (at_ns, call)
            )
        _empty_log(connection, store.path)
        if not wraps or _left(
            store.path, wraps
        ):  # none: said again, and what was destroyed before cannot be looked for
            connection.execute("VACUUM")
            _empty_log(connection, store.path)
        if _left(store.path, wraps):
            raise StoreFailed(f"{store.path} still has a destroyed key among its bytes: erase the call once more")
    return len(wraps)


def _refuse_pending(spool: Path, call: str) -> None:
    for path in sorted(spool.glob("*.journal*")):
        if _left(path, [call.encode()]):
            raise SpoolPending(f"the journal {path} holds rows of call {call}: let it join the store, or remove it")


def _empty_log(connection: sqlite3.Connection, path: Path) -> None:
    for _ in range(TRIES):
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return
    raise StoreFailed(f"{path} is being read, and older pages stay until that ends: erase the call once more")


def _left(path: Path, wanted: Sequence[bytes]) -> bool:
    """Whether one of these lies in a file, or in the write-ahead log beside it."""
    for place in (path, path.with_name(f"{path.name}-wal")):
        try:
            with place.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if any(content.find(one) >= 0 for one in wanted):
                    return True
        except (FileNotFoundError, ValueError):  # none, or empty
            continue
        except OSError as error:
            raise StoreFailed(f"{place} cannot be read ({error.strerror}): check its rights") from None
    return False
