"""Windows of latencies over the last calls, for the p95 alarms: in one process, or of all call processes of a worker.

A worker carries every call in a process of its own, so a window in memory would only ever see one call. `SharedWindow` is a
file to which every process appends eight bytes a latency; each append is one write, so no lock stands in a call's way.
"""

import math
import os
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

WINDOW = 200
"""Latencies kept."""
ENOUGH = 20
"""A p95 of fewer is one bad call, not an alarm."""

_ONE = struct.Struct("<d")


class Window(Protocol):
    """The last latencies, ms."""

    def add(self, ms: float) -> float:
        """Add one; returns the p95 of the window, ms, 0 while there are too few. Never raises."""
        ...


class OwnWindow:
    """The window of one process."""

    def __init__(self) -> None:
        self._kept: deque[float] = deque(maxlen=WINDOW)

    def add(self, ms: float) -> float:
        """Add one; returns the p95."""
        self._kept.append(ms)
        return p95(self._kept)


class SharedWindow:
    """The window of all processes that name the same file; where it cannot be used, the window of this one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = OwnWindow()

    def add(self, ms: float) -> float:
        """Add one; returns the p95 over all processes."""
        own = self._own.add(ms)
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, _ONE.pack(ms))
                return p95(_last(handle))
            finally:
                os.close(handle)
        except OSError:
            return own

    def shorten(self) -> None:
        """Forget what lies before the window; for a start, when no call is in progress."""
        with suppress(OSError):
            handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                kept = b"".join(map(_ONE.pack, _last(handle)))
                os.ftruncate(handle, 0)
                os.pwrite(handle, kept, 0)
            finally:
                os.close(handle)


def p95(kept: Sequence[float]) -> float:
    """Nearest rank; 0 while there are too few."""
    if len(kept) < ENOUGH:
        return 0.0
    return sorted(kept)[math.ceil(0.95 * len(kept)) - 1]


def _last(handle: int) -> list[float]:
    whole = os.fstat(handle).st_size // _ONE.size
    first = max(0, whole - WINDOW)
    read = os.pread(handle, (whole - first) * _ONE.size, first * _ONE.size)
    return [ms for (ms,) in _ONE.iter_unpack(read[: len(read) // _ONE.size * _ONE.size]) if math.isfinite(ms)]
