"""Who writes a chain, and whether they live: what must be known before anybody else may end it.

A process that records holds its journal, locked, from before its first record until after its last; the kernel frees the
lock however the process ends. So where the lock is seen, the writer lives. Where it is not, the writer has died, if it
was one of this machine: ids say which. Of another machine's writer nobody here can tell, so it counts as living until
somebody says that it does not, with an empty file `<writer>.dead` beside the journals.
"""

import fcntl
import os
import re
import secrets
import socket
from enum import StrEnum
from pathlib import Path

from audit.journal import SUFFIX
from audit.records import Header, Purpose
from audit.store import SqliteStore, explained

TOLD = ".dead"
"""Ends the name of the file that says of another machine's writer that it lives no more."""
_FOREIGN_TO_NAMES = re.compile(r"[^A-Za-z0-9.-]")


class Life(StrEnum):
    """What is known of a writer."""

    LIVING = "living"
    DEAD = "dead"
    """And its journal, if it left one, has joined the store."""
    UNJOINED = "unjoined"
    """Dead, and its journal still lies there."""
    ELSEWHERE = "elsewhere"
    """Not of this machine, or nobody can tell: counts as living."""


def writer_id(kind: str) -> str:
    """An id for this process that no other has, on this machine or on another, now or later."""
    return f"{kind}-{os.getpid()}-{secrets.token_hex(3)}@{_host()}"


def life_of(spool: Path, writer: str) -> Life:
    """What the journals of this folder tell of a writer.

    Raises:
        OSError: the journal cannot be looked at.
    """
    if not writer or "/" in writer:
        return Life.ELSEWHERE
    told = writer.endswith(f"@{_host()}") or (spool / f"{writer}{TOLD}").exists()
    try:
        handle = os.open(spool / f"{writer}{SUFFIX}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Life.DEAD if told else Life.ELSEWHERE
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Life.LIVING
    finally:
        os.close(handle)
    return Life.UNJOINED if told else Life.ELSEWHERE


def writers_of(store: SqliteStore, call: str) -> list[str]:
    """Whoever carried this call: the writers of its segments, without the keeper that may have begun its summary.

    Raises:
        NotCanonical: the opening of a segment cannot be read.
        StoreFailed: the store cannot be read.
    """
    with explained(store.path), store.connection() as connection:
        rows = connection.execute(
            "SELECT header FROM record WHERE call = ? AND sequence = 0 ORDER BY segment", (call,)
        ).fetchall()
    openings = [Header.decode(row[0]).opens for row in rows]
    carried = (opening.writer for opening in openings if opening and opening.purpose in (Purpose.LIVE, Purpose.RESCUE))
    return list(dict.fromkeys(carried))


def _host() -> str:
    return _FOREIGN_TO_NAMES.sub("-", socket.gethostname()) or "here"
