"""Rooms are used once: a room that has had a call of ours is never greeted again, whoever sends us there.

Each room gets a file on disk before its caller hears a word, made exclusively, and locked for as long as the call's
process lives: the kernel frees the lock however that process ends. No database is asked. Names are digested, as a room's
name may hold what was dialled.
"""

import asyncio
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from triage.clock import NS

KEPT_NS = 72 * 3600 * NS
"""A room's file is kept this long: longer than any call may last."""
TIDIED_EVERY_S = 3600.0
TRIES, PAUSE_S = 3, 0.01
"""How often a lock is tried, and the pause between, s: whoever only looks has it for less."""


class Visit(StrEnum):
    """How a room was found."""

    FIRST = "first"
    AGAIN = "again"
    """A call of ours was here, and its process is gone."""
    TAKEN = "taken"
    """A process of ours is in it now."""


@dataclass
class Entered:
    """One process's visit; keep it until the call is over."""

    visit: Visit
    _handle: int = field(default=-1, repr=False)

    def note(self, call_id: str) -> None:
        """Whose call is carried here, after those that were: who looks for a dead call's heir finds it. Never raises."""
        if self._handle >= 0:
            with suppress(OSError):  # nobody is told then that a dead call's caller was carried on
                os.pwrite(self._handle, f"{call_id}\n".encode(), os.fstat(self._handle).st_size)

    def leave(self) -> None:
        """Free the lock; the file stays. Idempotent."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class UsedRooms:
    """The files of one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def enter(self, room: str) -> Entered:
        """Note that we are in this room, durably.

        Raises:
            OSError: it cannot be noted; nothing is known of the room.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(room)
        visit = Visit.FIRST
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            visit, handle = Visit.AGAIN, os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            _lock(handle)
            if visit is Visit.FIRST:
                _durable(self._folder)
        except BlockingIOError:
            os.close(handle)
            return Entered(Visit.TAKEN)
        except OSError:
            os.close(handle)
            raise
        return Entered(visit, handle)

    def visit(self, room: str) -> Visit:
        """How this room would be found by whoever enters it now; nothing is noted.

        A file that cannot be looked at counts as none: whoever is sent there finds out.
        """
        try:
            handle = os.open(self._path(room), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return Visit.FIRST
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Visit.TAKEN
        finally:
            os.close(handle)
        return Visit.AGAIN

    def heir(self, call_id: str) -> str:
        """The call that came after this one in the same room: its caller was carried on there. Empty: none is known."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                noted = path.read_text(encoding="ascii", errors="replace").split()
                if call_id in noted[:-1]:
                    return noted[noted.index(call_id) + 1]
        return ""

    def _path(self, room: str) -> Path:
        return self._folder / hashlib.sha256(room.encode()).hexdigest()[:32]

    def forget(self, *, wall_ns: int) -> int:
        """Remove the files of rooms that are long over; returns how many."""
        removed = 0
        with suppress(OSError):
            for path in self._folder.iterdir():
                if wall_ns - path.stat().st_mtime_ns > KEPT_NS:
                    path.unlink()
                    removed += 1
        return removed

    async def tidied(self, wall_ns: Callable[[], int]) -> None:
        """Forget what is long over, now and every hour, for ever. For a worker."""
        while True:
            await asyncio.to_thread(self.forget, wall_ns=wall_ns())
            await asyncio.sleep(TIDIED_EVERY_S)


def _lock(handle: int) -> None:
    """Raises BlockingIOError where a process has it."""
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            threading.Event().wait(PAUSE_S)


def _durable(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
