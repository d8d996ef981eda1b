"""One call as a file of JSON lines, still sealed: for an auditor, another site, a court.

Line 1 names the call; then its wrapped data keys, its records in order, and a last line with their number and the
SHA-256 of all lines before it. `verify_file` proves such a file with this package; `audit.verify_export` is a second
verifier that shares no code with it.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from audit.access import Access
from audit.errors import ChainBroken, RecordAltered, RecordMissing, SealBroken, StoreFailed
from audit.reader import Reader
from audit.records import Record
from audit.sealing import DataKey, WrappedKey, unwrap
from audit.verify import Index, Stored, Verified, verify_chain

FORMAT = 1


def export_call(reader: Reader, call: str, path: Path, *, at_ns: int, who: str, purpose: str) -> int:
    """Write one call's sealed records to a file; returns their number. The export is recorded as a reading first.

    Raises:
        ChainBroken: the call does not verify; copy the whole store as evidence instead.
        UnknownCall: no such call.
        StoreFailed: the store cannot be read, or the file cannot be written.
    """
    index, stored = reader.stored(call)
    verify_chain(index, stored)
    reader.access.record(Access(at_ns, who, purpose, call, "export"))
    lines: list[dict[str, Any]] = [
        {
            "call": call,
            "closed": index.closed,
            "format": FORMAT,
            "head": index.head.hex() if index.head else None,
            "kind": "call",
            "number": index.number,
        }
    ]
    for key, wrapped_for in sorted((index.wrapped or {}).items()):
        lines += [
            {"key": key, "kind": "key", "reader": reader_key, "wrapped": _text(wrapped)}
            for reader_key, wrapped in sorted(wrapped_for.items())
        ]
    for item in stored:
        lines.append(
            {
                "hash": item.hash.hex(),
                "header": item.record.header.decode(),
                "kind": "record",
                "locator": _text(item.locator),
                "nonce": item.record.nonce.hex(),
                "sealed": _text(item.record.sealed),
                "segment": item.segment,
                "sequence": item.sequence,
            }
        )
    body = b"".join(_line(line) for line in lines)
    end = {"kind": "end", "records": len(stored), "sha256": hashlib.sha256(body).hexdigest()}
    try:
        path.write_bytes(body + _line(end))
    except OSError as error:
        raise StoreFailed(f"the export {path} cannot be written ({error.strerror}): choose another place") from None
    return len(stored)


def verify_file(path: Path, private_key: bytes | None = None) -> Verified:
    """Prove an exported file, offline. With the private key every seal is opened too.

    Raises:
        ChainBroken: one of its kinds; says where.
        StoreFailed: the file cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StoreFailed(f"the export {path} cannot be read ({error.strerror}): check the path") from None
    index, stored, end = _parse(raw)
    keys: dict[str, DataKey] = {}
    if private_key is not None:
        for key, wrapped_for in (index.wrapped or {}).items():
            for reader, wrapped in wrapped_for.items():
                if wrapped is not None:
                    keys[key] = _opened(WrappedKey(key, index.call, reader, wrapped), private_key)
    verified = verify_chain(index, stored, keys)
    if end is None or end["records"] != len(stored):
        last = stored[-1]
        raise RecordMissing("the file was cut short", call=index.call, segment=last.segment, sequence=last.sequence + 1)
    body = raw[: raw[:-1].rfind(b"\n") + 1]
    if end["sha256"] != hashlib.sha256(body).hexdigest():
        raise RecordAltered("the file's own lines were altered", call=index.call)
    return verified


def _parse(raw: bytes) -> tuple[Index, list[Stored], dict[str, Any] | None]:
    call, number, closed, head = "", None, False, None
    stored: list[Stored] = []
    end: dict[str, Any] | None = None
    wrapped: dict[str, dict[str, bytes | None]] = {}
    for at, line in enumerate(raw.split(b"\n")[:-1], 1):
        try:
            fields = json.loads(line)
            kind = fields["kind"]
            if at == 1:
                if kind != "call" or fields["format"] != FORMAT:
                    raise ValueError("format")
                call, closed = str(fields["call"]), bool(fields["closed"])
                head = bytes.fromhex(fields["head"]) if fields["head"] else None
                number = fields["number"]
            elif kind == "key":
                wrapped.setdefault(fields["key"], {})[fields["reader"]] = _bytes(fields["wrapped"])
            elif kind == "record":
                record = Record(
                    fields["header"].encode(), bytes.fromhex(fields["nonce"]), _bytes(fields["sealed"]) or b""
                )
                stored.append(
                    Stored(
                        call,
                        int(fields["segment"]),
                        int(fields["sequence"]),
                        record,
                        bytes.fromhex(fields["hash"]),
                        _bytes(fields["locator"]) or b"",
                    )
                )
            elif kind == "end" and isinstance(fields["records"], int):
                end = fields
            else:
                raise ValueError("kind")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ChainBroken(f"line {at} of the file is no line of an export", call=call) from None
    if not call:
        raise ChainBroken("the file is empty")
    return Index(call, number, closed, head, (), wrapped), stored, end


def _opened(wrapped: WrappedKey, private_key: bytes) -> DataKey:
    try:
        return unwrap(wrapped, private_key)
    except SealBroken:
        raise ChainBroken("a data key does not open with this private key", call=wrapped.call) from None


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value, validate=True)
