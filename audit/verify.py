"""The verifier of one call's chain. Needs no key; with one it also opens every seal.

In this order, and each finding says where:
 1. every place from the first record to the last is there, once, in order
 2. each record's bytes give the hash that was stored with it
 3. each header belongs to its place, and carries the hash of the record before
 4. segments open from a head that exists, name their data key, and keep to it
 5. no nonce is used twice under one key
 6. a closed chain ends in its closing record, which agrees with every segment; nothing stands behind it
 7. the index agrees: number, closed, head, no strays
 8. with the reader's key: every data key is the committed one, and every seal opens
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from audit.errors import (
    NonceReused,
    NotCanonical,
    RecordAltered,
    RecordForeign,
    RecordMissing,
    SealBroken,
)
from audit.locate import altered_at
from audit.records import ZERO, Header, Purpose, Record, locator
from audit.sealing import DataKey


class Place(TypedDict):
    """Where a finding lies."""

    call: str
    segment: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as a store or an export holds it: the record, its place, and what was stored beside it."""

    call: str
    segment: int
    sequence: int
    record: Record
    hash: bytes
    locator: bytes

    @property
    def place(self) -> Place:
        """Its place, for findings."""
        return Place(call=self.call, segment=self.segment, sequence=self.sequence)


@dataclass(frozen=True, slots=True)
class Index:
    """What a store says about a chain, apart from its records."""

    call: str
    number: int | None = None
    closed: bool = False
    head: bytes | None = None
    strays: tuple[tuple[int, int], ...] = ()
    """Places (segment, sequence) of records that came too late or twice."""
    wrapped: Mapping[str, Mapping[str, bytes | None]] | None = None
    """Wrapped data keys by key id and reader id; a key of None was destroyed. None altogether: not known."""

    def erased(self, key: str) -> bool:
        """Whether a data key was destroyed for every reader."""
        kept = (self.wrapped or {}).get(key)
        return kept is not None and all(value is None for value in kept.values())


@dataclass(frozen=True, slots=True)
class Verified:
    """What was proven. A chain that does not verify raises instead."""

    call: str
    records: int
    segments: int
    closed: bool
    opened: int
    """Seals that were opened; 0 without a key."""
    erased: bool
    """A data key was destroyed: these seals can never be opened, the chain still stands."""
    gaps: tuple[int, ...]
    """Segments that came by way of the journal, because the store had failed."""
    overlaps: tuple[int, ...]
    """Segments that open from a record that was not the last of the segment before (a rescue beside a living writer)."""


def verify_chain(index: Index, stored: Sequence[Stored], keys: Mapping[str, DataKey] | None = None) -> Verified:
    """Prove one chain, records in stored order. `keys` by key id: also open every seal they fit.

    Raises:
        ChainBroken: one of its kinds; says where.
    """
    call = index.call
    _places(index, stored)
    headers = [_own(call, item) for item in stored]
    overlaps = _links(call, stored, headers)
    _keys(index, stored, headers)
    _nonces(stored, headers)
    closed = _closing(call, stored, headers)
    _index(index, stored, headers, closed)
    opened = _seals(stored, headers, keys or {})
    return Verified(
        call=call,
        records=len(stored),
        segments=headers[-1].segment + 1,
        closed=closed,
        opened=opened,
        erased=any(index.erased(header.key) for header in headers),
        gaps=tuple(header.segment for header in headers if header.opens is not None and header.opens.spooled),
        overlaps=overlaps,
    )


def _places(index: Index, stored: Sequence[Stored]) -> None:
    """Step 1."""
    call = index.call
    if not stored:
        raise RecordMissing("the call has no record", call=call, segment=0, sequence=0)
    for item in stored:
        if item.call != call:
            raise RecordForeign(
                "a record of another call stands here", call=call, segment=item.segment, sequence=item.sequence
            )
    places = [(item.segment, item.sequence) for item in stored]
    present = set(places)
    if len(present) < len(places):
        segment, sequence = next(place for at, place in enumerate(places) if place in places[:at])
        raise RecordForeign("a record stands twice", call=call, segment=segment, sequence=sequence)
    for segment in range(max(present)[0] + 1):
        last = max((sequence for owner, sequence in present if owner == segment), default=0)
        for sequence in range(last + 1):
            if (segment, sequence) not in present:
                raise RecordMissing("a record is gone", call=call, segment=segment, sequence=sequence)
    for (segment, sequence), right in zip(places, sorted(places), strict=True):
        if (segment, sequence) != right:
            raise RecordForeign("a record stands out of order", call=call, segment=segment, sequence=sequence)


def _own(call: str, item: Stored) -> Header:
    """Steps 2 and 3: the record by itself."""
    segment, sequence, record = item.segment, item.sequence, item.record
    if record.hash != item.hash:
        offset = altered_at(record, item.hash, item.locator)
        raise RecordAltered(
            "the record was altered" if offset is not None else "the record or its stored hash was altered",
            call=call,
            segment=segment,
            sequence=sequence,
            offset=offset,
            part="" if offset is None else record.part_of(offset),
        )
    if locator(record.body) != item.locator:
        raise RecordAltered("the stored locator was altered", call=call, segment=segment, sequence=sequence)
    try:
        header = record.clear()
    except NotCanonical:
        raise RecordForeign("a record of no known format", call=call, segment=segment, sequence=sequence) from None
    if header.call != call:
        raise RecordForeign("a record of another call stands here", call=call, segment=segment, sequence=sequence)
    if (header.segment, header.sequence) != (segment, sequence):
        raise RecordForeign(
            f"a record was moved here (it is record {header.sequence} of segment {header.segment})",
            call=call,
            segment=segment,
            sequence=sequence,
        )
    return header


def _links(call: str, stored: Sequence[Stored], headers: Sequence[Header]) -> tuple[int, ...]:
    """Steps 3 and 4: each record follows the one before. Returns segments that open from before a head."""
    overlaps: list[int] = []
    earlier: set[bytes] = set()
    for at, header in enumerate(headers):
        item = stored[at]
        place = item.place
        if (header.opens is not None) != (header.sequence == 0):
            raise RecordForeign("a segment's opening stands in the wrong place", **place)
        if at == 0:
            if header.prev != ZERO:
                raise RecordForeign("the first record follows something else", **place)
        elif header.prev != stored[at - 1].hash:
            if header.sequence == 0 and header.prev in earlier:
                overlaps.append(header.segment)
            else:
                _blame(call, stored, headers, at)
        earlier.add(item.hash)
    return tuple(overlaps)


def _blame(call: str, stored: Sequence[Stored], headers: Sequence[Header], at: int) -> None:
    """Record `at` does not follow the one before it: say which of the two is not what was written.

    An opening whose head is nowhere: the end of the segment before was cut off, unless the closing record says that as
    many records stand there as there should; then the last of them was replaced.
    Both agree with their own hashes, so one was replaced as a whole. The later one is vouched for when its own
    successor carries its hash; then the earlier one was replaced.
    """
    before = stored[at - 1]
    if headers[at].sequence == 0:
        closing = headers[-1].closes
        counts = closing.counts if closing is not None else ()
        if before.segment >= len(counts) or counts[before.segment] > before.sequence + 1:
            raise RecordMissing(
                "the record that the next segment opens from is gone",
                call=call,
                segment=before.segment,
                sequence=before.sequence + 1,
            )
    vouched = at + 1 >= len(stored) or headers[at + 1].prev == stored[at].hash
    guilty = before if vouched else stored[at]
    raise RecordForeign(
        "a record was replaced: its neighbour carries another hash",
        call=call,
        segment=guilty.segment,
        sequence=guilty.sequence,
    )


def _keys(index: Index, stored: Sequence[Stored], headers: Sequence[Header]) -> None:
    """Step 4: each segment keeps to the data key that its opening commits to."""
    opening = headers[0].opens
    key = headers[0].key
    for item, header in zip(stored, headers, strict=True):
        place = item.place
        if header.opens is not None:
            opening, key = header.opens, header.key
            if opening.commitment[: len(key)] != key:
                raise RecordForeign("the segment's key is not the one it commits to", **place)
            if (opening.purpose is Purpose.LIVE) != (header.segment == 0):
                raise RecordForeign("the segment's purpose does not fit its place", **place)
            if index.wrapped is not None:
                if key not in index.wrapped:
                    raise RecordMissing("the wrapped data key of this segment is gone", **place)
                wrapped = index.wrapped[key].get(opening.reader)
                if wrapped is not None and hashlib.sha256(wrapped).hexdigest() != opening.wrapped:
                    raise RecordAltered("the wrapped data key of this segment was altered", **place)
        elif header.key != key:
            raise RecordForeign("a record names another key than its segment", **place)


def _nonces(stored: Sequence[Stored], headers: Sequence[Header]) -> None:
    """Step 5."""
    seen: set[tuple[str, bytes]] = set()
    for item, header in zip(stored, headers, strict=True):
        if (header.key, item.record.nonce) in seen:
            raise NonceReused("a nonce is used twice", call=item.call, segment=item.segment, sequence=item.sequence)
        seen.add((header.key, item.record.nonce))


def _closing(call: str, stored: Sequence[Stored], headers: Sequence[Header]) -> bool:
    """Step 6. Whether the chain is closed."""
    closings = [at for at, header in enumerate(headers) if header.closes is not None]
    if not closings:
        return False
    at = closings[0]
    closing = headers[at].closes
    assert closing is not None
    counts = [0] * (headers[-1].segment + 1)
    heads = [""] * len(counts)
    for item in stored:
        counts[item.segment] += 1
        if item is not stored[at]:
            heads[item.segment] = item.hash.hex()
    if at + 1 < len(stored):
        extra = stored[at + 1]
        raise RecordForeign(
            "a record stands behind the closing record", call=call, segment=extra.segment, sequence=extra.sequence
        )
    for segment, (count, head) in enumerate(zip(closing.counts, closing.heads, strict=False)):
        if segment >= len(counts) or counts[segment] < count:
            gone = counts[segment] if segment < len(counts) else 0
            raise RecordMissing("the closing record counts more", call=call, segment=segment, sequence=gone)
        if counts[segment] > count:
            raise RecordForeign("the closing record counts fewer", call=call, segment=segment, sequence=count)
        if heads[segment] != head:
            raise RecordForeign("the closing record names another head", call=call, segment=segment, sequence=count - 1)
    if len(closing.counts) != len(counts) or len(closing.heads) != len(counts):
        raise RecordForeign("the closing record names other segments", call=call, segment=len(closing.counts))
    return True


def _index(index: Index, stored: Sequence[Stored], headers: Sequence[Header], closed: bool) -> None:
    """Step 7."""
    call, last = index.call, stored[-1]
    if index.strays:
        segment, sequence = index.strays[0]
        raise RecordForeign("a record came twice, or after the closing", call=call, segment=segment, sequence=sequence)
    for header in headers:
        if header.opens is not None and header.opens.number not in (None, index.number):
            raise RecordForeign(
                "the index gives the call another number", call=call, segment=header.segment, sequence=0
            )
    if index.closed and not closed:
        raise RecordMissing("the closing record is gone", call=call, segment=last.segment, sequence=last.sequence + 1)
    if closed and not index.closed:
        raise RecordForeign("the index says open", call=call, segment=last.segment, sequence=last.sequence)
    if index.closed and index.head != last.hash:
        raise RecordForeign("the index names another head", call=call, segment=last.segment, sequence=last.sequence)


def _seals(stored: Sequence[Stored], headers: Sequence[Header], keys: Mapping[str, DataKey]) -> int:
    """Step 8. How many seals were opened."""
    opened = 0
    for item, header in zip(stored, headers, strict=True):
        key = keys.get(header.key)
        if key is None:
            continue
        place = item.place
        if header.opens is not None and key.commitment.hex() != header.opens.commitment:
            raise RecordForeign("the data key is not the one that the segment commits to", **place)
        try:
            key.open(item.record)
        except SealBroken:
            raise RecordForeign("the seal does not open: not written by this call's writer", **place) from None
        opened += 1
    return opened
