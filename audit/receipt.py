"""Durability of one record, as its writer's caller sees it.

A receipt is settled once, from the writer's thread: durable in the store, durable in the journal (`spooled`), or in
neither (`lost` until a later try succeeds). It never goes back.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from audit.entries import Entry
from audit.errors import NotDurable

_LOCK = threading.Lock()


class Receipt:
    """Says when a record is durable. Thread-safe."""

    __slots__ = ("_callbacks", "_settled", "failed", "spooled")

    def __init__(self) -> None:
        self._settled = False
        self._callbacks: list[Callable[[Receipt], None]] | None = None
        self.spooled = False
        """It lies in the journal, not (yet) in the store."""
        self.failed = False
        """Neither store nor journal took it; the writer keeps it in memory and goes on trying."""

    def done(self) -> bool:
        """Whether the record is durable (or has failed)."""
        return self._settled

    def add_done_callback(self, callback: Callable[["Receipt"], None]) -> None:
        """Call back once when settled: from the writer's thread, or at once when it is settled already.

        A callback must not wait; what it raises in the writer's thread is dropped.
        """
        with _LOCK:
            if not self._settled:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        callback(self)

    async def wait(self) -> None:
        """Wait until the record is durable in the store or the journal.

        Raises:
            NotDurable: neither took it.
        """
        if not self._settled:
            loop = asyncio.get_running_loop()
            settled: asyncio.Future[None] = loop.create_future()

            def wake() -> None:
                if not settled.done():
                    settled.set_result(None)

            def from_thread(_: Receipt) -> None:
                try:
                    loop.call_soon_threadsafe(wake)
                except RuntimeError:
                    pass  # the loop was closed meanwhile: nobody waits any more

            self.add_done_callback(from_thread)
            await settled
        if self.failed:
            raise NotDurable("neither the store nor the journal has taken the record")

    def settle(self, *, spooled: bool = False, failed: bool = False) -> None:
        """For the writer: the record's fate is known. Later calls are ignored."""
        with _LOCK:
            if self._settled:
                return
            self.spooled, self.failed = spooled, failed
            self._settled = True
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback(self)
            except Exception:  # somebody else's trouble must not take the writer's thread down
                continue


@dataclass(slots=True, eq=False)
class Waiting:
    """Rows in a writer's queue, and the receipt that their owner holds."""

    entries: Sequence[Entry]
    receipt: Receipt


@dataclass(slots=True, eq=False)
class Batch:
    """What a store is writing in one transaction."""

    items: list[Waiting]
    ticks: int = 0
    """Of the watcher, since it is in flight."""
    taken_over: bool = False
    """The journal has it, or is writing it."""
    entries: list[Entry] = field(init=False)

    def __post_init__(self) -> None:
        self.entries = [entry for item in self.items for entry in item.entries]

    @property
    def late(self) -> bool:
        """Whether the journal should take it over."""
        return self.ticks >= 2 and not self.taken_over
