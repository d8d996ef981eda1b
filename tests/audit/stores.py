"""Stores that fail in every way a store can, and small conveniences."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from audit.chain import SegmentWriter
from audit.entries import Entry, Kind
from audit.folder import AuditFolder
from audit.journal import Journal
from audit.receipt import Receipt
from audit.records import Stage
from audit.store import SqliteStore
from audit.trouble import Trouble
from audit.writer import AuditWriter
from tests.audit.forge import WALL

CALLS = [f"0197a2b0-{n:04x}-7000-8000-000000000000" for n in range(64)]
SOON_S = 20.0
"""A real wait for another thread gives up after this: far more than it ever takes."""


class ShakyStore:
    """A real SQLite store behind a switch: works, raises, or hangs until let go."""

    def __init__(self, path: Path) -> None:
        self.inner = SqliteStore(path)
        self.error: BaseException | None = None
        self.free = threading.Event()
        self.free.set()
        self.hanging = threading.Event()
        self.appends = 0

    def append(self, rows: Sequence[Entry]) -> None:
        self.appends += 1
        if not self.free.is_set():
            self.hanging.set()
            self.free.wait()
        if self.error is not None:
            raise self.error
        self.inner.append(rows)

    def lease_numbers(self, writer: str, count: int) -> int:
        if isinstance(self.error, Exception):
            raise self.error
        return self.inner.lease_numbers(writer, count)

    def return_numbers(self, first: int, used: int) -> None:
        self.inner.return_numbers(first, used)

    def close(self) -> None:
        self.inner.close()


class Setup:
    """A data folder, a shaky store on it, and a writer with quick reactions."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.folder = AuditFolder(root)
        self.keyring = self.folder.keyring().ensure()
        self.store = ShakyStore(self.folder.database)
        self.troubles: list[Trouble] = []
        self.seen = threading.Condition()
        self.writer = self.another("w1", **options)

    def another(self, name: str, **options: Any) -> AuditWriter:
        given: dict[str, Any] = {"spool_after_s": 0.01, "hung_after_s": 0.05, "retry_s": 0.01, **options}
        return AuditWriter(
            self.store,
            Journal(self.folder.spool, name),
            self.keyring.public_key(),
            writer=name,
            on_trouble=self._heard,
            **given,
        )

    def _heard(self, trouble: Trouble) -> None:
        with self.seen:
            self.troubles.append(trouble)
            self.seen.notify_all()

    def until(self, said: Callable[[], bool]) -> None:
        """Wait for a report that makes `said` true."""
        with self.seen:
            assert self.seen.wait_for(said, SOON_S), [trouble.kind for trouble in self.troubles]

    def kinds(self) -> list[str]:
        return [trouble.kind.value for trouble in self.troubles]

    def stored(self) -> set[tuple[str, int, int]]:
        with self.store.inner.connection() as connection:
            return set(connection.execute("SELECT call, segment, sequence FROM record"))


def say(call: SegmentWriter, turn: int, text: str = "it hurts") -> Receipt:
    return call.append(Stage.STT_FINAL, {"text": text}, turn=turn, monotonic_ns=turn, wall_ns=WALL)


def settled(receipt: Receipt) -> Receipt:
    """Wait, in a plain thread, until a receipt is settled."""
    event = threading.Event()
    receipt.add_done_callback(lambda _: event.set())
    assert event.wait(SOON_S), "the receipt was never settled"
    return receipt


def places(entries: Sequence[Entry]) -> set[tuple[str, int, int]]:
    return {entry.values[:3] for entry in entries if entry.kind is Kind.RECORD}
