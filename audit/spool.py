"""Bringing abandoned journals to the store: those whose writer no longer lives. The keeper's, or the next start's."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from audit.errors import SpoolPending
from audit.journal import SUFFIX, read_chunk, read_file
from audit.store import Store


@dataclass(frozen=True, slots=True)
class Joined:
    """What came of one journal."""

    path: Path
    rows: int
    torn_tail: int
    """Bytes of an unfinished last line: never acknowledged, dropped."""
    damaged: tuple[int, ...]
    """Byte offsets of lines that do not read back. The file is then kept, renamed to end in `.damaged`."""


def join_spool(store: Store, folder: Path) -> list[Joined]:
    """Write every abandoned journal's rows into the store, then remove the journal. Safe to repeat.

    Raises:
        Exception: whatever the store raises; the journals stand as they were.
    """
    return [joined for path in sorted(folder.glob(f"*{SUFFIX}")) if (joined := _join(store, path)) is not None]


def refuse_pending(folder: Path, call: str) -> None:
    """Make sure that no journal holds records of a call that is about to be closed.

    Raises:
        SpoolPending: one does.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if any(entry.call == call for entry in read_file(path)):
            raise SpoolPending(f"the journal {path} still holds records of call {call}: let it join the store first")


def writers_alive(folder: Path) -> list[Path]:
    """Journals that a living writer holds."""
    alive = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                alive.append(path)
    return alive


def _join(store: Store, path: Path) -> Joined | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None  # its writer lives and joins it by itself
        rows, torn_tail = 0, 0
        damaged: list[int] = []
        start, size = 0, os.fstat(fd).st_size
        while start < size:
            content = read_chunk(fd, start, size)
            store.append(content.entries)
            rows += len(content.entries)
            torn_tail = content.torn_tail
            damaged.extend(content.damaged)
            start = content.end
        if damaged:
            path.rename(path.with_suffix(f"{SUFFIX}.damaged"))
        else:
            path.unlink()
        return Joined(path, rows, torn_tail, tuple(damaged))
    finally:
        os.close(fd)
