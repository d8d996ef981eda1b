"""The numbers that a writer gives to its calls: blocks of the global sequence, leased ahead, so that a call asks nobody."""

import threading
from typing import Protocol

BLOCK_SIZE = 64
"""Numbers of the global sequence leased at a time."""


class Lender(Protocol):
    """What lends numbers: a store."""

    def lease_numbers(self, writer: str, count: int) -> int:
        """Lease a block; returns its first number.

        Raises:
            Exception: none was leased.
        """
        ...

    def return_numbers(self, first: int, used: int) -> None:
        """Say how many numbers of a block were used.

        Raises:
            Exception: it was not noted.
        """
        ...


class Numbers:
    """Blocks of one writer. Thread-safe; only leasing and returning touch the store."""

    def __init__(self, lender: Lender, writer: str, size: int = BLOCK_SIZE) -> None:
        self._lender, self._writer, self._size = lender, writer, size
        self._lock = threading.Lock()
        self._blocks: list[list[int]] = []
        """[first, count, used] of every block this writer leased."""

    def lease(self) -> bool:
        """Lease one more block; False: none was to be had, and calls get provisional numbers until a later try."""
        try:
            first = self._lender.lease_numbers(self._writer, self._size)
        except Exception:  # the boundary: whatever a store raises
            return False
        with self._lock:
            self._blocks.append([first, self._size, 0])
        return True

    def next(self) -> int | None:
        """The next number; None: provisional. Touches memory only."""
        with self._lock:
            for block in self._blocks:
                first, count, used = block
                if used < count:
                    block[2] += 1
                    return first + used
        return None

    @property
    def low(self) -> bool:
        """Fewer than half a block is left: time to lease."""
        with self._lock:
            return sum(count - used for _, count, used in self._blocks) * 2 < self._size

    def give_back(self) -> int:
        """Return what was not used; returns for how many blocks that failed: they count as used up to their last call."""
        failed = 0
        for first, _, used in self._blocks:
            try:
                self._lender.return_numbers(first, used)
            except Exception:  # the boundary, again
                failed += 1
        return failed
