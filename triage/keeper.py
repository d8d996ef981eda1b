"""The keeper's work on a call that has ended: read its record, write the summary as its last segment, close the chain.

A call leaves a durable job with its very first record; the job is ready when the call's own writer has finished. The
keeper reads through the reader's service like everybody else, so its reading is on record too. The summary lies sealed in
the chain and nowhere else (`triage audit summary` shows it, as a reading). A job that fails is free for the next try, and
has added nothing to the chain; a chain that is closed already only needs its job struck off.
"""

from collections.abc import Callable
from dataclasses import dataclass

from audit.errors import SegmentFinished
from audit.folder import AuditFolder
from audit.outbox import Job, Outbox
from audit.reader import Reader
from audit.records import Stage, canonical
from audit.store import SqliteStore
from audit.writer import AuditWriter
from triage.summary import Summary, SummarySource, summarise

LEASE_NS = 30 * 1_000_000_000
"""How long a job taken is nobody else's."""
RETRY_NS = 2 * 1_000_000_000
WHO, PURPOSE = "keeper", "summary"


@dataclass(frozen=True, slots=True)
class Summarised:
    """One summary, sealed."""

    call_id: str
    summary: Summary
    waited_ns: int = 0
    """From the sealed record to the sealed summary."""


class Keeper:
    """Works through the outbox of one data folder."""

    def __init__(
        self,
        folder: AuditFolder,
        writer: AuditWriter,
        *,
        now_ns: Callable[[], int],
        wall_ns: Callable[[], int],
    ) -> None:
        self._folder, self._writer = folder, writer
        self._now_ns, self._wall_ns = now_ns, wall_ns
        self.failed = 0
        """Jobs of the last round that did not work out."""
        self.troubles: dict[str, str] = {}
        """Call to kind of error, of those."""

    def work(self) -> list[Summarised]:
        """Write every summary that is due; returns what was written.

        A job whose call cannot be read is given back for another try and counted in `failed`.

        Raises:
            StoreFailed: the store cannot be used at all.
        """
        store = SqliteStore(self._folder.database)
        self.failed, self.troubles = 0, {}
        try:
            outbox = Outbox(store)
            done = []
            for job in outbox.take(at_ns=self._wall_ns(), lease_ns=LEASE_NS):
                try:
                    if (written := self._summarise(store, job)) is not None:
                        done.append(written)
                    outbox.done(job.id, at_ns=self._wall_ns())
                except Exception as error:  # the boundary: a record may hold anything, and holds up no other call
                    self.failed += 1
                    self.troubles[job.call] = type(error).__name__
                    outbox.failed(job.id, retry_ns=self._wall_ns() + RETRY_NS)
            return done
        finally:
            store.close()

    def _summarise(self, store: SqliteStore, job: Job) -> Summarised | None:
        reader = Reader(store, self._folder.keyring(), who=WHO, purpose=PURPOSE, spool=self._folder.spool)
        opened = reader.records(job.call, at_ns=self._wall_ns(), what="summary")
        summary = summarise(SummarySource.of(job.call, opened))
        state = store.chain_state(job.call)
        if state is None or state.closed:
            return None
        payload = summary.payload()
        canonical(payload)  # raises here, before the chain has a segment that nobody closes
        try:
            segment = self._writer.open_summary(state, monotonic_ns=self._now_ns(), wall_ns=self._wall_ns())
        except SegmentFinished:
            return None
        segment.append(Stage.SUMMARY, payload, turn=0, monotonic_ns=self._now_ns(), wall_ns=self._wall_ns())
        segment.close(monotonic_ns=self._now_ns(), wall_ns=self._wall_ns())
        return Summarised(job.call, summary, self._wall_ns() - (job.ready_ns or self._wall_ns()))
