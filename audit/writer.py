"""The group-commit writer: many calls in, one thread to the store, receipts out.

Rules, in one place:
 1. `submit` only queues. Sealing happened before, in the caller's thread.
 2. The store thread takes what waits, up to MAX_BATCH, commits it in one transaction, then settles the receipts.
 3. A watcher looks at the batch in flight. When it is late (`spool_after_s`), the journal takes a copy of it and of
    everything that comes after, and settles the receipts from there.
 4. When the store raises, or a batch hangs longer than `hung_after_s`, the store is given up: `outages` counts up,
    the trouble is reported once, and segments written from now on say that they came by way of the journal.
 5. The store thread then joins the journal to the store, again and again, until the journal is empty. Only then does
    new work go to the store directly again. Rows are safe to write twice, so an answer that came late does no harm.
 6. When the journal fails too, rows stay in memory, their receipts fail, and both are tried again.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit.chain import SegmentWriter, summary_job
from audit.entries import Entry
from audit.errors import SegmentFinished, StoreFailed
from audit.journal import Journal
from audit.receipt import Receipt
from audit.records import Purpose
from audit.spool import refuse_pending
from audit.store import ChainState, Store
from audit.trouble import Counts, Trouble, TroubleKind, code_of

MAX_BATCH = 512
"""Receipts settled by one commit."""
BLOCK_SIZE = 64
"""Numbers of the global sequence leased at a time."""


@dataclass(slots=True, eq=False)
class _Waiting:
    entries: Sequence[Entry]
    receipt: Receipt


@dataclass(slots=True, eq=False)
class _Batch:
    items: list[_Waiting]
    ticks: int = 0
    """Of the watcher, since it is in flight."""
    taken_over: bool = False
    """The journal has it."""
    entries: list[Entry] = field(init=False)

    def __post_init__(self) -> None:
        self.entries = [entry for item in self.items for entry in item.entries]


class AuditWriter:
    """Opens calls and makes their records durable. One per process; thread-safe."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        public_key: bytes,
        *,
        writer: str,
        on_trouble: Callable[[Trouble], None] | None = None,
        spool_after_s: float = 0.04,
        hung_after_s: float = 2.0,
        retry_s: float = 0.5,
        block_size: int = BLOCK_SIZE,
        inline: bool = False,
    ) -> None:
        """Start the writer.

        - `writer`: id of this process; it shows, clear, in every segment.
        - `on_trouble`: called from the writer's threads; must not wait.
        - `spool_after_s`: a batch in flight for longer is copied to the journal.
        - `hung_after_s`: a batch in flight for longer is an outage.
        - `retry_s`: between two tries to join the journal.
        - `inline`: no threads; every row is committed in the caller's thread before `submit` returns. For virtual time
          and tests, where the order of threads would change what happens.
        """
        self.writer = writer
        self.outages = 0
        """Counts up whenever the store is given up and whenever it is back; even: the store is in use."""
        self.counts = Counts()
        self._store, self._journal, self._public_key = store, journal, public_key
        self._on_trouble = on_trouble or (lambda trouble: None)
        self._tick_s = spool_after_s / 2
        self._hung_ticks = max(2, round(hung_after_s / self._tick_s))
        self._retry_s = retry_s
        self._inline = inline
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._queue: deque[_Waiting] = deque()
        self._in_flight: _Batch | None = None
        self._spooling = journal.size > 0
        self._held: list[Entry] = []
        self._journal_down = False
        self._reports: deque[Trouble] = deque()
        self._closed = False
        self._stopping = threading.Event()
        self._stop_watching = threading.Event()
        self._store_thread: threading.Thread | None = None
        self._watcher: threading.Thread | None = None
        self._block_size = block_size
        self._blocks: list[list[int]] = []
        """[first, count, used] of every block this writer leased."""
        self._lease()
        if inline:
            return
        self._store_thread = self._start(self._run_store, "audit-store")
        self._watcher = self._start(self._watch, "audit-watch")

    # --- opening segments

    def open_call(
        self,
        call: str,
        *,
        monotonic_ns: int,
        wall_ns: int,
        payload: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> SegmentWriter:
        """Open a new call's chain. Asks nobody: its number comes from a block that is held already.

        The summary job becomes durable with the genesis, so that it exists even when this process dies.

        Raises:
            NotCanonical: the payload has no canonical bytes.
        """
        with self._lock:  # genesis records are queued in the order of their numbers
            return SegmentWriter(
                self,
                self._public_key,
                call,
                purpose=Purpose.LIVE,
                monotonic_ns=monotonic_ns,
                wall_ns=wall_ns,
                number=self._next_number(),
                payload=payload,
                versions=versions,
                also=[summary_job(call, wall_ns)],
            )

    def open_rescue(
        self,
        call: str,
        *,
        segment: int,
        opens_from: bytes,
        monotonic_ns: int,
        wall_ns: int,
        payload: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> SegmentWriter:
        """Go on with a call that another process carried. Place and head come with the dispatch: no look-up here.

        Raises:
            NotCanonical: the payload has no canonical bytes.
        """
        return SegmentWriter(
            self,
            self._public_key,
            call,
            purpose=Purpose.RESCUE,
            monotonic_ns=monotonic_ns,
            wall_ns=wall_ns,
            segment=segment,
            opens_from=opens_from,
            payload=payload,
            versions=versions,
            also=[summary_job(call, wall_ns)],
        )

    def open_summary(
        self,
        state: ChainState,
        *,
        monotonic_ns: int,
        wall_ns: int,
        payload: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> SegmentWriter:
        """Open the last segment of a chain, for the summary; end it with `SegmentWriter.close`.

        A call that came in an outage gets its number in the global sequence here, and the chain says so.

        Raises:
            SegmentFinished: the chain is closed.
            StoreFailed: the store knows no record of it, or not all.
            SpoolPending: a journal of this folder still holds records of it.
            NotCanonical: the payload has no canonical bytes.
        """
        if state.closed:
            raise SegmentFinished(f"the chain of call {state.call} is closed: nothing can be appended")
        refuse_pending(self._journal.path.parent, state.call)
        if not state.heads or not state.whole:
            raise StoreFailed(f"records of call {state.call} are missing in the store: let the journals join first")
        with self._lock:
            return SegmentWriter(
                self,
                self._public_key,
                state.call,
                purpose=Purpose.SUMMARY,
                monotonic_ns=monotonic_ns,
                wall_ns=wall_ns,
                number=self._next_number() if state.number is None else state.number,
                segment=len(state.heads),
                opens_from=state.heads[-1],
                payload=payload,
                versions=versions,
                before=(state.heads, state.counts),
            )

    # --- the queue

    def submit(self, entries: Sequence[Entry]) -> Receipt:
        """Queue rows; never waits, never raises for trouble of the store."""
        item = _Waiting(entries, Receipt())
        with self._wake:
            self.counts.submitted += len(entries)
            self._queue.append(item)
            if self._inline or self._closed:
                self._commit_inline()
            else:
                self._wake.notify()
        if self._inline:
            self._deliver()
        return item.receipt

    def close(self, timeout_s: float = 5.0) -> None:
        """Commit what waits, stop, and free store and journal. Idempotent.

        A store that hangs is left behind; the journal then has everything.
        """
        with self._wake:
            if self._closed:
                return
            self._stopping.set()
            self._wake.notify_all()
        if self._store_thread is not None and self._watcher is not None:
            self._store_thread.join(timeout_s)
            self._stop_watching.set()
            self._watcher.join(timeout_s)
        with self._lock:
            self._closed = True
            if self._in_flight is not None:
                self._take_over(self._in_flight)
            self._spool_waiting()
            if self._held:  # the disk may be free by now: a last try, as memory ends here
                self._spool([])
            if self._in_flight is None and not self._spooling:
                self._return_numbers()
            self._journal.close()
            if self._in_flight is None:
                self._store.close()
        self._deliver()

    @property
    def spooling(self) -> bool:
        """Whether rows go to the journal at the moment."""
        return self._spooling

    # --- the store thread

    def _run_store(self) -> None:
        if self._spooling:  # an earlier life of this writer left rows, or the thread before this one died
            self._join_journal()
        while not self._spooling and (batch := self._next_batch()) is not None:
            self._commit(batch)
            if self._spooling:
                self._join_journal()
            elif self._numbers_left() * 2 < self._block_size:
                self._lease()

    def _next_batch(self) -> _Batch | None:
        with self._wake:
            while not self._queue:
                if self._stopping.is_set():
                    return None
                self._wake.wait()
            items = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
            self._in_flight = _Batch(items)
            return self._in_flight

    def _commit(self, batch: _Batch) -> None:
        try:
            self._store.append(batch.entries)
        except Exception as error:  # the boundary: whatever a store raises, the rows go to the journal
            with self._lock:
                self.counts.failures += 1
                self._give_up(TroubleKind.STORE_FAILED, code_of(error))
                if not batch.taken_over:
                    self._spool(batch.items)
                self._in_flight = None
            self._deliver()
            return
        with self._lock:
            self._in_flight = None
            self.counts.commits += 1
            if batch.taken_over:
                return
            self.counts.committed += len(batch.entries)
        for item in batch.items:
            item.receipt.settle()

    def _join_journal(self) -> None:
        """Bring the journal to the store until it is empty, then go back to direct writing."""
        start = 0
        while True:
            try:
                with self._lock:
                    self._in_flight = _Batch([], taken_over=True)  # so that the watcher sees a hang here too
                    content, held = self._journal.read(start), list(self._held)
                if content.entries or held:
                    self._store.append([*content.entries, *held])
            except Exception as error:  # the boundary, again
                with self._lock:
                    self._in_flight = None
                    self.counts.failures += 1
                    self._give_up(TroubleKind.STORE_FAILED, code_of(error))
                self._deliver()
                if self._stopping.wait(self._retry_s):
                    return
                continue
            with self._lock:
                self._in_flight = None
                self.counts.joined += len(content.entries) + len(held)
                del self._held[: len(held)]
                if content.damaged:
                    self._report(TroubleKind.JOURNAL_DAMAGED, str(len(content.damaged)))
                start = content.end
                finished = start >= self._journal.size and not self._held
                if finished:
                    self._empty_journal()
            self._deliver()
            if finished:
                return

    def _empty_journal(self) -> None:
        try:
            self._journal.clear()
        except OSError as error:
            self._report(TroubleKind.JOURNAL_FAILED, code_of(error))
        self._spooling = False
        if self.outages % 2:
            self.outages += 1
            self._report(TroubleKind.STORE_BACK)

    # --- the watcher

    def _watch(self) -> None:
        while not self._stop_watching.wait(self._tick_s):
            with self._lock:
                self._look()
            self._deliver()

    def _look(self) -> None:
        thread = self._store_thread
        if thread is not None and not thread.is_alive() and not self._stopping.is_set():
            self._give_up(TroubleKind.STORE_FAILED, "thread_died")
            if self._in_flight is not None and not self._in_flight.taken_over:
                self._take_over(self._in_flight)
            self._in_flight = None
            self._spool_waiting()
            self._store_thread = self._start(self._run_store, "audit-store")
        batch = self._in_flight
        if batch is not None:
            batch.ticks += 1
            if batch.ticks >= 2 and not batch.taken_over:
                self.counts.late += 1
                self._take_over(batch)
            if batch.ticks == self._hung_ticks:
                self._give_up(TroubleKind.STORE_HUNG, "")
        if self._spooling:
            self._spool_waiting()

    def _take_over(self, batch: _Batch) -> None:
        if not batch.taken_over:
            batch.taken_over = True
            self._spooling = True
            self._spool(batch.items)

    def _spool_waiting(self) -> None:
        if self._queue:
            items = list(self._queue)
            self._queue.clear()
            self._spool(items)

    def _spool(self, items: list[_Waiting]) -> None:
        self._spooling = True
        entries = [entry for item in items for entry in item.entries]
        try:
            self._journal.append([*self._held, *entries])
        except OSError as error:
            self._held.extend(entries)
            self.counts.failed += len(entries)
            if not self._journal_down:
                self._journal_down = True
                self._report(TroubleKind.JOURNAL_FAILED, code_of(error))
            for item in items:
                item.receipt.settle(failed=True)
            return
        self._journal_down = False
        self._held.clear()
        self.counts.spooled += len(entries)
        for item in items:
            item.receipt.settle(spooled=True)

    def _give_up(self, kind: TroubleKind, code: str) -> None:
        self._spooling = True
        if self.outages % 2 == 0:
            self.outages += 1
            self._report(kind, code)

    def _commit_inline(self) -> None:
        items = list(self._queue)
        self._queue.clear()
        rows = [entry for item in items for entry in item.entries]
        try:
            while self._spooling:
                content = self._journal.read()
                self._store.append([*content.entries, *self._held])
                self.counts.joined += len(content.entries) + len(self._held)
                self._held.clear()
                self._empty_journal()
            self._store.append(rows)
        except Exception as error:  # the boundary, for want of a thread
            self.counts.failures += 1
            self._give_up(TroubleKind.STORE_FAILED, code_of(error))
            self._spool(items)
            return
        self.counts.commits += 1
        self.counts.committed += len(rows)
        if self._numbers_left() * 2 < self._block_size:
            self._lease()
        for item in items:
            item.receipt.settle()

    # --- numbers

    def _lease(self) -> None:
        try:
            first = self._store.lease_numbers(self.writer, self._block_size)
        except Exception:  # no block: calls get provisional numbers until a later try succeeds
            self.counts.failures += 1
            return
        with self._lock:
            self._blocks.append([first, self._block_size, 0])

    def _next_number(self) -> int | None:
        for block in self._blocks:
            first, count, used = block
            if used < count:
                block[2] += 1
                return first + used
        return None

    def _numbers_left(self) -> int:
        return sum(count - used for _, count, used in self._blocks)

    def _return_numbers(self) -> None:
        for first, _, used in self._blocks:
            try:
                self._store.return_numbers(first, used)
            except Exception:  # not noted: the block then counts as used up to its last call
                self.counts.failures += 1

    # --- threads and reports

    def _start(self, target: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def _report(self, kind: TroubleKind, code: str = "") -> None:
        self._reports.append(Trouble(kind, code))

    def _deliver(self) -> None:
        """Hand out reports, with no lock held."""
        while self._reports:
            try:
                report = self._reports.popleft()
            except IndexError:
                return
            try:
                self._on_trouble(report)
            except Exception:  # a broken pager must not take the writer's thread down
                self.counts.unreported += 1
