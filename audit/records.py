"""What one record is, byte by byte. Everything that decides the format lives here.

A record is a clear header, a nonce, and sealed bytes:

    header   canonical JSON: v, call, segment, sequence, bucket, prev, key; the first record of a segment adds `opens`,
             the last record of a finished call adds `closes`
    nonce    12 random bytes
    sealed   AES-256-GCM over the padded content, with the header as associated data

Its hash is SHA-256 over a fixed tag, the length of the header, and the three parts. `prev` is the hash of the record
before it; for the first record of a segment it is the head that the segment opens from (zeros in the first of a call).
Canonical JSON: keys sorted, no blanks, integers only (times in ns, ratios in ppm), UTF-8. Floats are refused, because
two machines may write the same float differently.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from audit.errors import NotCanonical, SealBroken

VERSION = 1
ZERO = bytes(32)
"""`prev` of the first record of a call."""
PAD = 1024
"""Content is padded to a multiple of this, so that its length tells little."""
BUCKET_NS = 3_600 * 1_000_000_000
"""The clear time bucket: whole hours since 1970, UTC."""
BLOCK = 64
"""Bytes per entry of the locator."""

_HASH_TAG = b"triage-line record v1\x00"
_LENGTH = struct.Struct(">I")


class Stage(StrEnum):
    """What a record is about. Sealed, like all content."""

    CALL = "call"
    CONSENT = "consent"
    STT_FINAL = "stt_final"
    ASSESSMENT = "assessment"
    STEP = "step"
    LLM_REQUEST = "llm_request"
    LLM_RESPONSE = "llm_response"
    TTS_INPUT = "tts_input"
    PLAYOUT = "playout"
    INTERRUPT = "interrupt"
    HANDOFF = "handoff"
    TOOL = "tool"
    SUMMARY = "summary"
    ERROR = "error"


class Purpose(StrEnum):
    """Why a segment was opened. Clear: a gap must show without a key."""

    LIVE = "live"  # the first segment of a call
    RESCUE = "rescue"  # another process took the call over
    CONTINUED = "continued"  # the store was given up, or is back: `spooled` says which
    SUMMARY = "summary"  # the keeper's; ends with the closing record


@dataclass(frozen=True, slots=True)
class Opening:
    """Clear fields of the first record of a segment."""

    purpose: Purpose
    writer: str
    number: int | None
    """Place in the global sequence of calls; None: provisional, or not known to this writer."""
    commitment: str
    """SHA-256 commitment to the data key, hex; the genesis binds the call to its key with it."""
    reader: str
    """Id of the public key to which the data key is wrapped."""
    wrapped: str
    """SHA-256 of the wrapped data key as first stored, hex; so its damage shows without a key."""
    spooled: bool = False
    """The store had been given up: these records came by way of the journal. This marks the gap."""


@dataclass(frozen=True, slots=True)
class Closing:
    """Clear fields of the closing record: the chain never grows again."""

    heads: tuple[str, ...]
    """Head of every segment, hex, in order; the last is the closing record's own `prev`."""
    counts: tuple[int, ...]
    """Records of every segment; the last counts the closing record too."""


def is_call_id(text: str) -> bool:
    """Whether this is an id as ours are: a UUID in canonical text. What names a file or a folder must be one."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Header:
    """The clear fields of a record."""

    call: str
    """UUIDv7 of the call, canonical text."""
    segment: int
    """From 0; one writer each."""
    sequence: int
    """From 0 within the segment."""
    bucket: int
    """Hours since 1970, UTC."""
    prev: bytes
    """Hash of the record before."""
    key: str
    """Id of the data key."""
    opens: Opening | None = None
    closes: Closing | None = None
    version: int = VERSION

    def encode(self) -> bytes:
        """Canonical bytes; also the associated data of the seal."""
        fields: dict[str, Any] = {
            "bucket": self.bucket,
            "call": self.call,
            "key": self.key,
            "prev": self.prev.hex(),
            "segment": self.segment,
            "sequence": self.sequence,
            "v": self.version,
        }
        if self.opens is not None:
            fields["opens"] = {
                "commitment": self.opens.commitment,
                "number": self.opens.number,
                "purpose": self.opens.purpose.value,
                "reader": self.opens.reader,
                "spooled": self.opens.spooled,
                "wrapped": self.opens.wrapped,
                "writer": self.opens.writer,
            }
        if self.closes is not None:
            fields["closes"] = {"counts": list(self.closes.counts), "heads": list(self.closes.heads)}
        return _dump(fields)

    @staticmethod
    def decode(raw: bytes) -> "Header":
        """Parse canonical bytes.

        Raises:
            NotCanonical: not a header of a version we know, or not in canonical form.
        """
        try:
            fields = json.loads(raw)
            opens, closes = fields.get("opens"), fields.get("closes")
            header = Header(
                call=_text(fields["call"]),
                segment=_count(fields["segment"]),
                sequence=_count(fields["sequence"]),
                bucket=_count(fields["bucket"]),
                prev=bytes.fromhex(fields["prev"]),
                key=_text(fields["key"]),
                opens=None if opens is None else _opening(opens),
                closes=None
                if closes is None
                else Closing(tuple(map(_text, closes["heads"])), tuple(map(_count, closes["counts"]))),
                version=_count(fields["v"]),
            )
            canonical = header.encode()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise NotCanonical("the header cannot be parsed") from None
        if header.version != VERSION:
            raise NotCanonical("the header has a format version that this program does not know")
        if canonical != raw:
            raise NotCanonical("the header is not in canonical form")
        return header


@dataclass(frozen=True, slots=True)
class Record:
    """One sealed record, exactly as stored."""

    header: bytes
    nonce: bytes
    sealed: bytes

    @property
    def body(self) -> bytes:
        """The bytes that offsets count in."""
        return self.header + self.nonce + self.sealed

    @property
    def hash(self) -> bytes:
        """SHA-256 of the record; the next record's `prev`."""
        return record_hash(self.header, self.nonce, self.sealed)

    def clear(self) -> Header:
        """The parsed header.

        Raises:
            NotCanonical: it cannot be parsed.
        """
        return Header.decode(self.header)

    def part_of(self, offset: int) -> str:
        """Which part of the record a byte offset lies in."""
        if offset < len(self.header):
            return "header"
        return "nonce" if offset < len(self.header) + len(self.nonce) else "sealed"


@dataclass(frozen=True, slots=True)
class Content:
    """What a seal holds."""

    stage: Stage
    turn: int
    monotonic_ns: int
    """The call's monotonic clock."""
    wall_ns: int
    """Nanoseconds since 1970, UTC."""
    payload: Mapping[str, Any]
    versions: Mapping[str, str]
    """Versions of rules, model and prompt in force."""

    def encode(self) -> bytes:
        """Canonical bytes, padded.

        Raises:
            NotCanonical: the payload holds something that has no canonical bytes.
        """
        return padded(
            canonical(
                {
                    "monotonic_ns": self.monotonic_ns,
                    "payload": self.payload,
                    "stage": self.stage.value,
                    "turn": self.turn,
                    "versions": self.versions,
                    "wall_ns": self.wall_ns,
                }
            )
        )

    @staticmethod
    def decode(raw: bytes) -> "Content":
        """Parse what a seal held.

        Raises:
            SealBroken: padding or content are not what a writer of this format makes.
        """
        try:
            fields = json.loads(unpadded(raw))
            return Content(
                stage=Stage(fields["stage"]),
                turn=fields["turn"],
                monotonic_ns=fields["monotonic_ns"],
                wall_ns=fields["wall_ns"],
                payload=fields["payload"],
                versions=fields["versions"],
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            raise SealBroken("the content under the seal is malformed") from None


def record_hash(header: bytes, nonce: bytes, sealed: bytes) -> bytes:
    """SHA-256 over tag, length of the header, header, nonce and sealed bytes."""
    digest = hashlib.sha256(_HASH_TAG)
    digest.update(_LENGTH.pack(len(header)))
    digest.update(header)
    digest.update(nonce)
    digest.update(sealed)
    return digest.digest()


def time_bucket(wall_ns: int) -> int:
    """The clear time bucket of a wall-clock time."""
    return wall_ns // BUCKET_NS


def canonical(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON of plain data: dicts with text keys, lists, tuples, text, integers, booleans, None.

    Raises:
        NotCanonical: anything else; the message names the path, never the value.
    """
    _refuse_uncanonical(value, "")
    try:
        return _dump(value)
    except UnicodeEncodeError:
        raise NotCanonical("a text holds half a surrogate pair: replace it before recording") from None


def padded(content: bytes) -> bytes:
    """Length, content, zeros up to the next multiple of PAD."""
    size = _LENGTH.size + len(content)
    return _LENGTH.pack(len(content)) + content + bytes(-size % PAD)


def unpadded(raw: bytes) -> bytes:
    """Undo `padded`.

    Raises:
        ValueError: not padded by it.
    """
    if len(raw) < PAD or len(raw) % PAD:
        raise ValueError("not padded")
    (size,) = _LENGTH.unpack_from(raw)
    end = _LENGTH.size + size
    if end > len(raw) or len(raw) - end >= PAD or any(raw[end:]):
        raise ValueError("not padded")
    return raw[_LENGTH.size : end]


def locator(body: bytes) -> bytes:
    """CRC-32 of every BLOCK bytes of a record's body: tells where an edit lies, never whether there is one.

    It carries no security: the hash detects, this only points.
    """
    return b"".join(_LENGTH.pack(zlib.crc32(body[at : at + BLOCK])) for at in range(0, len(body), BLOCK))


def _opening(fields: Mapping[str, Any]) -> Opening:
    number = fields["number"]
    return Opening(
        purpose=Purpose(fields["purpose"]),
        writer=_text(fields["writer"]),
        number=None if number is None else _count(number),
        commitment=_text(fields["commitment"]),
        reader=_text(fields["reader"]),
        wrapped=_text(fields["wrapped"]),
        spooled=bool(fields["spooled"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("not a count")
    return value


def _dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _refuse_uncanonical(value: Any, path: str) -> None:
    if value is None or isinstance(value, str | int):
        return
    if isinstance(value, float):
        raise NotCanonical(f"{path or 'payload'} is a float: record whole units instead (ns, ppm, samples)")
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise NotCanonical(f"{path or 'payload'} has a key that is not text")
            _refuse_uncanonical(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            _refuse_uncanonical(inner, f"{path}[{at}]")
    else:
        raise NotCanonical(f"{path or 'payload'} is a {type(value).__name__}: record plain values")
