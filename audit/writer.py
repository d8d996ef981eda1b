"""The group-commit writer: many calls in, one thread to the store, receipts out.

Rules, in one place:
 1. `submit` only queues, under a lock that nobody holds while a disk works. Sealing came before, in the caller's thread.
 2. The store thread takes what waits, up to MAX_BATCH, commits it in one transaction, then settles the receipts.
 3. A watcher looks at the batch in flight. When it is late (`spool_after_s`), the journal takes a copy of it and of
    everything that comes after, and settles the receipts from there.
 4. When the store raises, or a batch hangs longer than `hung_after_s`, the store is given up: `outages` counts up,
    the trouble is reported once, and segments written from now on say that they came by way of the journal.
 5. The store thread then joins the journal to the store, again and again, until the journal is empty. Only then does
    new work go to the store directly again. Rows are safe to write twice, so an answer that came late does no harm.
 6. When the journal fails too, rows stay in memory, their receipts fail, and both are tried again.

Locks, always taken in this order: `_opening` (numbers in the order of the queue), `_disk` (the journal, and what memory
holds for it), `_lock` (the queue; memory only, for microseconds). What goes to the journal is taken from the queue while
`_disk` is held, so it lies there in order; and direct writing is taken up again only under `_disk`, with nothing left.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from audit.chain import SegmentWriter, summary_job
from audit.entries import Entry
from audit.errors import SegmentFinished, StoreFailed
from audit.journal import Journal
from audit.numbers import BLOCK_SIZE, Numbers
from audit.receipt import Batch, Receipt, Waiting
from audit.records import Purpose
from audit.spool import refuse_pending
from audit.store import ChainState, Store
from audit.trouble import Counts, Trouble, TroubleKind, code_of

MAX_BATCH = 512
"""Receipts settled by one commit."""


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
        self._opening, self._disk = threading.RLock(), threading.RLock()
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._queue: deque[Waiting] = deque()
        self._in_flight: Batch | None = None
        self._spooling = journal.size > 0
        self._held: list[Entry] = []
        self._journal_down = False
        self._reports: deque[Trouble] = deque()
        self._closed = self._left_behind = False
        self._stopping = threading.Event()
        self._stop_watching = threading.Event()
        self._store_thread: threading.Thread | None = None
        self._watcher: threading.Thread | None = None
        self._numbers = Numbers(store, writer, block_size)
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
        with self._opening:  # genesis records are queued in the order of their numbers
            return SegmentWriter(
                self,
                self._public_key,
                call,
                purpose=Purpose.LIVE,
                monotonic_ns=monotonic_ns,
                wall_ns=wall_ns,
                number=self._numbers.next(),
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
        with self._opening:
            return SegmentWriter(
                self,
                self._public_key,
                state.call,
                purpose=Purpose.SUMMARY,
                monotonic_ns=monotonic_ns,
                wall_ns=wall_ns,
                number=self._numbers.next() if state.number is None else state.number,
                segment=len(state.heads),
                opens_from=state.heads[-1],
                payload=payload,
                versions=versions,
                before=(state.heads, state.counts),
            )

    # --- the queue

    def submit(self, entries: Sequence[Entry]) -> Receipt:
        """Queue rows; never waits for a disk, never raises for trouble of the store."""
        item = Waiting(entries, Receipt())
        with self._wake:
            self.counts.submitted += len(entries)
            self._queue.append(item)
            direct = self._inline or self._closed
            self._wake.notify()
        if direct and self._left_behind:
            self._fail([item])
        elif direct:
            self._commit_inline()
            self._deliver()
        return item.receipt

    def close(self, timeout_s: float = 5.0) -> None:
        """Commit what waits, stop, and free store and journal. Idempotent.

        A store that hangs is left behind; the journal then has everything. Where the journal's disk hangs as well, what
        waits is said to be in neither, and everything is left behind.
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
        at_hand = self._disk.acquire(timeout=timeout_s)
        try:
            self._end(at_hand)
        finally:
            if at_hand:
                self._disk.release()
        self._deliver()

    def _end(self, disk: bool) -> None:
        with self._lock:
            self._closed = True
            items = self._taken_over() + self._waiting()
            in_use = self._in_flight is not None
        if not disk:
            self._left_behind = True
            self._report(TroubleKind.JOURNAL_FAILED, "hung")
            self._fail(items)
            return
        if items or self._held:  # the disk may be free by now: a last try, as memory ends here
            self._spool(items)
        if not in_use and not self._spooling:
            self.counts.failures += self._numbers.give_back()
        self._journal.close()
        if not in_use:
            self._store.close()

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
            if self._numbers.low and not self._spooling:
                self._lease()

    def _next_batch(self) -> Batch | None:
        with self._wake:
            while not self._queue:
                if self._stopping.is_set():
                    return None
                self._wake.wait()
            items = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
            self._in_flight = Batch(items)
            return self._in_flight

    def _commit(self, batch: Batch) -> None:
        try:
            self._store.append(batch.entries)
        except Exception as error:  # the boundary: whatever a store raises, the rows go to the journal
            with self._disk:
                with self._lock:
                    self.counts.failures += 1
                    self._give_up(TroubleKind.STORE_FAILED, code_of(error))
                    items = [] if batch.taken_over else batch.items
                    self._in_flight = None
                if items:
                    self._spool(items)
            self._deliver()
            return
        with self._lock:
            self._in_flight = None
            self.counts.commits += 1
            if not batch.taken_over:
                self.counts.committed += len(batch.entries)
        for item in batch.items:  # also of a batch that the journal is writing at this moment, or has
            item.receipt.settle()

    def _join_journal(self) -> None:
        """Bring the journal to the store until it is empty, then go back to direct writing."""
        start = 0
        while True:
            try:
                with self._disk:
                    with self._lock:
                        self._in_flight = Batch([], taken_over=True)  # so that the watcher sees a hang here too
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
            with self._disk:
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
        """With `_disk` held."""
        try:
            self._journal.clear()
        except OSError as error:
            self._report(TroubleKind.JOURNAL_FAILED, code_of(error))
        with self._lock:
            self._spooling = False
            if self.outages % 2:
                self.outages += 1
                self._report(TroubleKind.STORE_BACK)

    # --- the watcher

    def _watch(self) -> None:
        while not self._stop_watching.wait(self._tick_s):
            with self._lock:
                dead = self._look()
                late = self._in_flight is not None and self._in_flight.late
            self._deliver()  # before the journal, whose disk may hang as well
            if dead or late or self._spooling:
                with self._disk:
                    self._spool_late(dead)
                self._deliver()
            if dead:
                self._store_thread = self._start(self._run_store, "audit-store")

    def _look(self) -> bool:
        """Count for how long the batch has been in flight; returns whether the store thread has died."""
        thread = self._store_thread
        if thread is not None and not thread.is_alive() and not self._stopping.is_set():
            self._give_up(TroubleKind.STORE_FAILED, "thread_died")
            return True
        if self._in_flight is not None:
            self._in_flight.ticks += 1
            if self._in_flight.ticks == self._hung_ticks:
                self._give_up(TroubleKind.STORE_HUNG, "")
        return False

    def _spool_late(self, dead: bool) -> None:
        """Bring what is late, and what waits behind it, to the journal. With `_disk` held."""
        with self._lock:
            items: list[Waiting] = []
            if dead or (self._in_flight is not None and self._in_flight.late):
                self.counts.late += not dead
                items = self._taken_over()
            if dead:
                self._in_flight = None
            if self._spooling:
                items += self._waiting()
        if items:
            self._spool(items)

    def _taken_over(self) -> list[Waiting]:
        """What is in flight, now the journal's. With `_lock` held."""
        batch = self._in_flight
        if batch is None or batch.taken_over:
            return []
        batch.taken_over = self._spooling = True
        return list(batch.items)

    def _waiting(self) -> list[Waiting]:
        """What waits, taken from the queue. With `_lock` held."""
        items = list(self._queue)
        self._queue.clear()
        return items

    def _spool(self, items: list[Waiting]) -> None:
        """Write to the journal and settle. With `_disk` held, and `_lock` not."""
        self._spooling = True
        entries = [entry for item in items for entry in item.entries]
        try:
            self._journal.append([*self._held, *entries])
        except OSError as error:
            self._held.extend(entries)
            if not self._journal_down:
                self._journal_down = True
                self._report(TroubleKind.JOURNAL_FAILED, code_of(error))
            self._fail(items)
            return
        self._journal_down = False
        self._held.clear()
        self.counts.spooled += len(entries)
        for item in items:
            item.receipt.settle(spooled=True)

    def _fail(self, items: list[Waiting]) -> None:
        for item in items:
            self.counts.failed += len(item.entries)
            item.receipt.settle(failed=True)

    def _give_up(self, kind: TroubleKind, code: str) -> None:
        self._spooling = True
        if self.outages % 2 == 0:
            self.outages += 1
            self._report(kind, code)

    def _commit_inline(self) -> None:
        with self._disk:
            with self._lock:
                items = self._waiting()
            if not items:
                return  # another thread took them along, and settles them
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
        if self._numbers.low:
            self._lease()
        for item in items:
            item.receipt.settle()

    def _lease(self) -> None:
        if not self._numbers.lease():
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
