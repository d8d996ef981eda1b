"""Erasing one call: its keys in the record, and everything of it that lies beside the record in the data folder.

Refused while the call may still be going on, and while its caller waits to be rung back. What was handed to others (an
export, a packet offered to the operator's own system, a backup) is theirs to erase.
"""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass

from audit.erasure import erase_call
from audit.folder import AuditFolder
from audit.outbox import Outbox
from audit.printable import printable
from audit.reader import Reader
from audit.records import is_call_id
from audit.store import SqliteStore
from triage.errors import StorageError, UsageError
from triage.handoff.shelf import Shelf

HOUR_NS = 3_600 * 1_000_000_000
LIVES_H = 25
"""Hours after which a call whose chain was never closed is over: its process died."""
TOOLS = "tools.db"


@dataclass(frozen=True, slots=True)
class Erased:
    """What was destroyed."""

    keys: int
    files: int
    """Recordings, pages, packets."""
    bookings: int


def erase(
    folder: AuditFolder, store: SqliteStore, shelf: Shelf, call: str, *, at_ns: int, who: str, purpose: str
) -> Erased:
    """Destroy what a call contained. The log of readings has it first; the chain still verifies. Safe to say again.

    Raises:
        UsageError: `call` is no whole id of a call, or may still be going on, or a call-back of it is open.
        SpoolPending, StoreFailed: as `audit.erasure.erase_call`.
        StorageError: a file cannot be removed; the keys are destroyed.
    """
    _refuse_unless_over(store, call, at_ns)
    keys = erase_call(store, folder.spool, call, at_ns=at_ns, who=who, purpose=purpose)
    files = shelf.forget(call)
    room = folder.root / "calls" / call
    if room.is_dir() and not room.is_symlink():
        files += sum(path.is_file() for path in room.rglob("*"))
        try:
            shutil.rmtree(room)
        except OSError as error:
            raise StorageError(f"{room} cannot be removed ({error.strerror}): remove it yourself") from error
    return Erased(keys, files, _forget_bookings(folder, call))


def _refuse_unless_over(store: SqliteStore, call: str, at_ns: int) -> None:
    listed = next((listed for listed in Reader(store).calls() if listed.call == call), None)
    if listed is None or not is_call_id(call):  # it becomes part of a path
        raise UsageError(f"{printable(call)} is no whole id of a call in this record: triage audit list shows them")
    if not listed.closed and at_ns // HOUR_NS - listed.bucket < LIVES_H:
        raise UsageError(
            f"call {call} may still be going on: erase it when its chain is closed, or a day after it began"
        )
    if waiting := [task.id for task in Outbox(store).callbacks() if task.call == call]:
        raise UsageError(f"call-back {waiting[0]} is open: ring the caller and strike it off (triage nurse) first")


def _forget_bookings(folder: AuditFolder, call: str) -> int:
    """Bookings of the local tools; theirs begin with the call's id."""
    path = folder.root / TOOLS
    if not path.is_file():
        return 0
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as base:
            base.execute("PRAGMA secure_delete=ON")
            tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "callback" not in tables:
                return 0
            with base:
                return base.execute("DELETE FROM callback WHERE substr(key, 1, ?) = ?", (len(call), call)).rowcount
    except sqlite3.Error as error:
        raise StorageError(
            f"bookings in {path} cannot be erased: end what uses it, and erase the call again"
        ) from error
