"""Makes chains by hand, with chosen keys, nonces and times: for vectors, and for forgers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from audit.export import FORMAT
from audit.records import (
    ZERO,
    Closing,
    Content,
    Header,
    Opening,
    Purpose,
    Record,
    Stage,
    locator,
    time_bucket,
)
from audit.sealing import DataKey, reader_id
from audit.verify import Index, Stored

CALL = "0197a2b0-0000-7000-8000-00000000c0de"
OTHER = "0197a2b0-0000-7000-8000-00000000beef"
WALL = 1_750_000_000_000_000_000
PRIVATE = bytes(range(1, 33))


def public() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(PRIVATE).public_key().public_bytes_raw()


@dataclass
class Forge:
    """Builds one chain; everything about it can be bent."""

    call: str = CALL
    number: int | None = 1
    raw_key: bytes = b"\x07" * 32
    records: list[Stored] = field(default_factory=list)
    head: bytes = ZERO
    segment: int = -1
    sequence: int = 0
    nonces: int = 0
    closed: bool = False
    counts: list[int] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    wrapped: dict[str, dict[str, bytes | None]] = field(default_factory=dict)

    def open(
        self, purpose: Purpose = Purpose.LIVE, *, opens_from: bytes | None = None, spooled: bool = False
    ) -> "Forge":
        if self.segment >= 0:
            self.counts.append(self.sequence)
            self.heads.append(self.head)
        self.segment, self.sequence = self.segment + 1, 0
        self.head = self.head if opens_from is None else opens_from
        self.key = DataKey(self.call, hashlib.sha256(self.raw_key + bytes([self.segment])).digest())
        wrapped = self.key.wrap(public()).wrapped
        self.wrapped[self.key.id] = {reader_id(public()): wrapped}
        opening = Opening(
            purpose=purpose,
            writer="forge",
            number=self.number,
            commitment=self.key.commitment.hex(),
            reader=reader_id(public()),
            wrapped=hashlib.sha256(wrapped).hexdigest(),
            spooled=spooled,
        )
        return self.add(Stage.CALL, {"event": "opened"}, opens=opening)

    def add(
        self,
        stage: Stage = Stage.STT_FINAL,
        payload: Mapping[str, Any] | None = None,
        *,
        opens: Opening | None = None,
        closes: Closing | None = None,
        nonce: bytes | None = None,
        **bent: Any,
    ) -> "Forge":
        header = Header(
            call=self.call,
            segment=self.segment,
            sequence=self.sequence,
            bucket=time_bucket(WALL),
            prev=self.head,
            key=self.key.id,
            opens=opens,
            closes=closes,
        )
        header = replace(header, **bent)
        content = Content(stage, self.sequence, len(self.records), WALL + len(self.records), payload or {}, {})
        self.nonces += 1
        record = self.key._seal(header, content.encode(), nonce or self.nonces.to_bytes(12, "big"))
        self.put(record)
        return self

    def put(self, record: Record) -> None:
        self.records.append(stored(self.call, self.segment, self.sequence, record))
        self.head = record.hash
        self.sequence += 1

    def close(self, *, counts: Sequence[int] | None = None) -> "Forge":
        closing = Closing(
            heads=tuple(head.hex() for head in (*self.heads, self.head)),
            counts=tuple(counts or (*self.counts, self.sequence + 1)),
        )
        self.closed = True
        return self.add(Stage.CALL, {"event": "closed"}, closes=closing)

    def index(self) -> Index:
        return Index(self.call, self.number, self.closed, self.head if self.closed else None, (), self.wrapped)

    def keys(self) -> dict[str, DataKey]:
        made = {}
        for segment in range(self.segment + 1):
            key = DataKey(self.call, hashlib.sha256(self.raw_key + bytes([segment])).digest())
            made[key.id] = key
        return made

    def export(self) -> list[str]:
        return export_lines(self.index(), self.records)


def stored(call: str, segment: int, sequence: int, record: Record) -> Stored:
    return Stored(call, segment, sequence, record, record.hash, locator(record.body))


def whole_call(call: str = CALL, *, raw_key: bytes = b"\x07" * 32, number: int | None = 1) -> Forge:
    """Two segments, closed: eight records."""
    forge = Forge(call=call, raw_key=raw_key, number=number).open()
    for turn, words in enumerate(("it began this morning", "here, in my chest", "yes")):
        forge.add(Stage.STT_FINAL, {"text": words, "turn": turn})
    forge.add(Stage.CALL, {"event": "finished"})
    return forge.open(Purpose.SUMMARY).add(Stage.SUMMARY, {"lines": ["says: pain in the chest"]}).close()


def export_lines(index: Index, records: Sequence[Stored]) -> list[str]:
    """An export of any records, as `audit.export` writes it; also of ones that do not verify."""
    import base64

    def line(fields: dict[str, Any]) -> str:
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    lines = [
        line(
            {
                "call": index.call,
                "closed": index.closed,
                "format": FORMAT,
                "head": index.head.hex() if index.head else None,
                "kind": "call",
                "number": index.number,
            }
        )
    ]
    for key, wrapped_for in sorted((index.wrapped or {}).items()):
        for reader, wrapped in sorted(wrapped_for.items()):
            text = None if wrapped is None else base64.b64encode(wrapped).decode()
            lines.append(line({"key": key, "kind": "key", "reader": reader, "wrapped": text}))
    for item in records:
        lines.append(
            line(
                {
                    "hash": item.hash.hex(),
                    "header": item.record.header.decode(),
                    "kind": "record",
                    "locator": base64.b64encode(item.locator).decode(),
                    "nonce": item.record.nonce.hex(),
                    "sealed": base64.b64encode(item.record.sealed).decode(),
                    "segment": item.segment,
                    "sequence": item.sequence,
                }
            )
        )
    body = "".join(f"{row}\n" for row in lines).encode()
    lines.append(line({"kind": "end", "records": len(records), "sha256": hashlib.sha256(body).hexdigest()}))
    return lines


def flipped(item: Stored, offset: int, bit: int = 0) -> Stored:
    """The same record with one bit of its body flipped, as it then lies in the store."""
    body = bytearray(item.record.body)
    body[offset] ^= 1 << bit
    head = len(item.record.header)
    record = Record(bytes(body[:head]), bytes(body[head : head + 12]), bytes(body[head + 12 :]))
    return replace(item, record=record)
