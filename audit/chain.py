"""Writing a chain: segments with one writer each.

A call's chain is a row of segments. The first is opened by the process that carries the call; a rescue, an outage of
the store and the summary open further ones, each from a head before it; nothing is ever rewritten. Each segment's
first record names its purpose, its writer and the commitment to its data key, in clear.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from audit.entries import Entry, Kind, record_entry
from audit.errors import SegmentFinished
from audit.receipt import Receipt
from audit.records import ZERO, Closing, Content, Header, Opening, Purpose, Stage, time_bucket
from audit.sealing import DataKey


class Sink(Protocol):
    """Takes rows in order and says when they are durable."""

    writer: str
    """Id of this writer."""
    outages: int
    """Counts up whenever the store is given up and whenever it is back; even: the store is in use."""

    def submit(self, entries: Sequence[Entry]) -> Receipt:
        """Queue rows; never waits, never raises for trouble of the store."""
        ...


class SegmentWriter:
    """Appends to one call. Belongs to the loop (or thread) that carries the call; not thread-safe.

    When the store is given up or comes back, the next append opens a new segment first, so that the gap shows.
    """

    def __init__(
        self,
        sink: Sink,
        public_key: bytes,
        call: str,
        *,
        purpose: Purpose,
        monotonic_ns: int,
        wall_ns: int,
        number: int | None = None,
        segment: int = 0,
        opens_from: bytes = ZERO,
        payload: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
        before: tuple[tuple[bytes, ...], tuple[int, ...]] = ((), ()),
        also: Sequence[Entry] = (),
    ) -> None:
        """Open a segment. Use `AuditWriter.open_call` and its siblings.

        `before` holds heads and counts of the segments before this one, which a closing record must name; `also` are
        rows to be made durable together with the opening record.

        Raises:
            NotCanonical: the payload has no canonical bytes.
        """
        self.call = call
        self.segment = segment
        self.head = opens_from
        """Hash of the newest record."""
        self.sequence = 0
        """Of the next record in this segment."""
        self.records = 0
        """Records this writer has made, over all its segments."""
        self.number = number
        self.versions = dict(versions or {})
        """Versions in force; put into every record."""
        self._sink = sink
        self._key: DataKey | None = DataKey.fresh(call)
        self._commitment = self._key.commitment
        self._wrapped = self._key.wrap(public_key)
        self._last: Receipt | None = None
        self._heads, self._counts = list(before[0]), list(before[1])
        self._outages = sink.outages
        entries = [
            Entry(Kind.CHAIN, (call, number, time_bucket(wall_ns), sink.writer)),
            Entry(
                Kind.KEY,
                (self._wrapped.key, self._wrapped.reader, call, self._commitment, self._wrapped.wrapped),
            ),
            self._seal_opening(purpose, payload or {}, monotonic_ns, wall_ns),
            *also,
        ]
        self.opened = sink.submit(entries)
        """Receipt of the opening record."""

    @property
    def finished(self) -> bool:
        """Whether the segment has ended."""
        return self._key is None

    def append(
        self,
        stage: Stage,
        payload: Mapping[str, Any],
        *,
        turn: int,
        monotonic_ns: int,
        wall_ns: int,
        also: Sequence[Entry] = (),
    ) -> Receipt:
        """Seal one record and queue it, in microseconds; never waits, never raises for trouble of the store.

        `also` are rows to be made durable together with it (a call-back task).

        Raises:
            NotCanonical: the payload has no canonical bytes (a float, for one). Nothing was appended.
            SegmentFinished: `finish` or `close` came before.
        """
        padded = self._content(stage, payload, turn, monotonic_ns, wall_ns)
        entries = [self._rotate(monotonic_ns, wall_ns)] if self._outages != self._sink.outages else []
        entries.append(self._seal(padded, wall_ns))
        return self._sink.submit([*entries, *also])

    def finish(
        self, *, monotonic_ns: int, wall_ns: int, payload: Mapping[str, Any] | None = None, summarise: bool = True
    ) -> Receipt:
        """End this writer's part: a last record, the summary job made ready, and the data key forgotten.

        The chain stays open for a rescue's or the keeper's segment. Idempotent: a second call gives the same receipt.

        Raises:
            NotCanonical: the payload has no canonical bytes.
        """
        if self._last is not None:
            return self._last
        also = [summary_job(self.call, wall_ns, ready_ns=wall_ns)] if summarise else []
        content = {"event": "finished", **(payload or {})}
        self._last = self.append(Stage.CALL, content, turn=0, monotonic_ns=monotonic_ns, wall_ns=wall_ns, also=also)
        self._key = None
        return self._last

    def close(self, *, monotonic_ns: int, wall_ns: int) -> Receipt:
        """Append the closing record: the chain never grows again. For the summary's segment.

        Raises:
            SegmentFinished: it was closed before, or its own part has ended.
        """
        if self._key is None:
            raise SegmentFinished(f"the chain of call {self.call} has ended: nothing can be appended")
        entries = [self._rotate(monotonic_ns, wall_ns)] if self._outages != self._sink.outages else []
        closing = Closing(
            heads=tuple(head.hex() for head in (*self._heads, self.head)),
            counts=(*self._counts, self.sequence + 1),
        )
        padded = self._content(Stage.CALL, {"event": "closed"}, 0, monotonic_ns, wall_ns)
        entries.append(self._seal(padded, wall_ns, closes=closing))
        entries.append(Entry(Kind.CLOSED, (self.call, self.head)))
        self._key = None
        self._last = self._sink.submit(entries)
        return self._last

    def _rotate(self, monotonic_ns: int, wall_ns: int) -> Entry:
        """End the segment at its head and open the next from it."""
        self._outages = self._sink.outages
        self._heads.append(self.head)
        self._counts.append(self.sequence)
        self.segment += 1
        self.sequence = 0
        return self._seal_opening(Purpose.CONTINUED, {}, monotonic_ns, wall_ns)

    def _seal_opening(self, purpose: Purpose, payload: Mapping[str, Any], monotonic_ns: int, wall_ns: int) -> Entry:
        opening = Opening(
            purpose=purpose,
            writer=self._sink.writer,
            number=self.number,
            commitment=self._commitment.hex(),
            reader=self._wrapped.reader,
            wrapped=hashlib.sha256(self._wrapped.wrapped).hexdigest(),
            spooled=self._outages % 2 == 1,
        )
        event = {"event": "opened", "purpose": purpose.value, **payload}
        return self._seal(self._content(Stage.CALL, event, 0, monotonic_ns, wall_ns), wall_ns, opens=opening)

    def _content(self, stage: Stage, payload: Mapping[str, Any], turn: int, monotonic_ns: int, wall_ns: int) -> bytes:
        if self._key is None:
            raise SegmentFinished(f"the segment of call {self.call} has ended: nothing can be appended")
        return Content(stage, turn, monotonic_ns, wall_ns, payload, self.versions).encode()

    def _seal(
        self, padded: bytes, wall_ns: int, *, opens: Opening | None = None, closes: Closing | None = None
    ) -> Entry:
        assert self._key is not None  # `_content` came first
        header = Header(
            call=self.call,
            segment=self.segment,
            sequence=self.sequence,
            bucket=time_bucket(wall_ns),
            prev=self.head,
            key=self._key.id,
            opens=opens,
            closes=closes,
        )
        record = self._key.seal(header, padded)
        digest = record.hash
        entry = record_entry(self.call, self.segment, self.sequence, record, digest)
        self.head = digest
        self.sequence += 1
        self.records += 1
        return entry


def summary_job(call: str, opened_ns: int, *, ready_ns: int | None = None) -> Entry:
    """The durable job that a call leaves for the keeper. Not ready: the call is still live, or its process died."""
    return Entry(Kind.JOB, (f"{call}/summary", call, "summary", opened_ns, ready_ns))


def callback_task(call: str, *, reason: str, level: str, opened_ns: int, due_ns: int, ordinal: int = 0) -> Entry:
    """A durable task: somebody must ring this caller. Their number lies sealed in the record, not here."""
    return Entry(Kind.CALLBACK, (f"{call}/{ordinal}", call, reason, level, opened_ns, due_ns))
