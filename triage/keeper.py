"""The keeper's work on a call that has ended: read its record, write the summary as its last segment, close the chain.

A call leaves a durable job with its very first record; the job is ready when the call's own writer has finished. The
keeper reads through the reader's service like everybody else, so its reading is on record too. The summary lies sealed in
the chain and nowhere else (`triage audit summary` shows it, as a reading). A job that fails is free for the next try, and
has added nothing to the chain; a chain that is closed already only needs its job struck off.

The job of a call whose process died never gets ready. `triage.orphans` tells which calls those are; their summary says so,
and a caller whom nobody is known to have had gets a call-back task with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from audit.chain import SegmentWriter, callback_task
from audit.errors import SegmentFinished
from audit.folder import AuditFolder
from audit.outbox import Job, Outbox
from audit.reader import Reader
from audit.records import Stage, canonical
from audit.store import SqliteStore
from audit.writer import AuditWriter
from triage.clock import NS
from triage.orphans import Left, Orphans, left_behind
from triage.recorder import VERSION
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
    """From the sealed record to the sealed summary; of a call whose process died, from the last thing it wrote."""
    died: bool = False
    """Its process died."""
    owed: bool = False
    """A call-back task was opened with it."""


class Keeper:
    """Works through the outbox of one data folder."""

    def __init__(
        self,
        folder: AuditFolder,
        writer: AuditWriter,
        *,
        now_ns: Callable[[], int],
        wall_ns: Callable[[], int],
        orphans: Orphans | None = None,
    ) -> None:
        """`orphans`: tells whose process died; None: those calls are left to somebody else."""
        self._orphans = orphans
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
            done = self._worked(store, outbox, outbox.take(at_ns=self._wall_ns(), lease_ns=LEASE_NS))
            for call in self._orphans.due(store) if self._orphans else ():
                jobs = outbox.take_orphan(call, at_ns=self._wall_ns(), lease_ns=LEASE_NS)
                done += self._worked(store, outbox, jobs)
            return done
        finally:
            store.close()

    def _worked(self, store: SqliteStore, outbox: Outbox, jobs: list[Job]) -> list[Summarised]:
        done = []
        for job in jobs:
            try:
                if (written := self._summarise(store, job)) is not None:
                    done.append(written)
                outbox.done(job.id, at_ns=self._wall_ns())
            except Exception as error:  # the boundary: a record may hold anything, and holds up no other call
                self.failed += 1
                self.troubles[job.call] = type(error).__name__
                outbox.failed(job.id, retry_ns=self._wall_ns() + RETRY_NS)
        return done

    def _summarise(self, store: SqliteStore, job: Job) -> Summarised | None:
        reader = Reader(store, self._folder.keyring(), who=WHO, purpose=PURPOSE, spool=self._folder.spool)
        opened = reader.records(job.call, at_ns=self._wall_ns(), what="summary")
        left = None
        if job.ready_ns is None and self._orphans is not None:
            left = left_behind(opened, heir=self._orphans.heir(job.call))
        summary = summarise(SummarySource.of(job.call, opened, left.death if left else None))
        state = store.chain_state(job.call)
        if state is None or state.closed:
            return None
        payload = summary.payload()
        canonical(payload)  # raises here, before the chain has a segment that nobody closes
        try:
            segment = self._writer.open_summary(state, monotonic_ns=self._now_ns(), wall_ns=self._wall_ns())
        except SegmentFinished:
            return None
        if left is not None:
            self._open_callback(segment, left)
        segment.append(Stage.SUMMARY, payload, turn=0, monotonic_ns=self._now_ns(), wall_ns=self._wall_ns())
        segment.close(monotonic_ns=self._now_ns(), wall_ns=self._wall_ns())
        ended_ns = left.last_ns if left else job.ready_ns or self._wall_ns()
        owed = left is not None and left.owed is not None
        return Summarised(job.call, summary, self._wall_ns() - ended_ns, left is not None, owed)

    def _open_callback(self, segment: SegmentWriter, left: Left) -> None:
        """As the call's own process would have, durable together with its record."""
        if (order := left.owed) is None:
            return
        wall_ns, within_ns = self._wall_ns(), order.within_s * NS
        task = callback_task(
            segment.call,
            reason=order.reason.value,
            level=order.level,
            opened_ns=wall_ns,
            due_ns=wall_ns + within_ns,
            ordinal=left.tasks,
        )
        payload = {"event": "callback", "reason": order.reason.value, "level": order.level, "within_ns": within_ns}
        segment.append(
            Stage.HANDOFF,
            {"v": VERSION, **payload, "by": WHO},
            turn=0,
            monotonic_ns=self._now_ns(),
            wall_ns=wall_ns,
            also=[task],
        )
