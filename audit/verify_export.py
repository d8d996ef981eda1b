"""A second verifier for exported calls that shares no code with the first: the standard library and `cryptography`.

    python -m audit.verify_export FILE [--key READER_PRIVATE_FILE]

It can be copied out of the package and run elsewhere. Exit code 0: proven; 1: altered, the line says where; 2: the
file or the key cannot be used. The private key is needed only to open the seals; HPKE is written out here from
RFC 9180 (base mode, X25519, HKDF-SHA256, AES-256-GCM).
"""

import base64
import hashlib
import hmac
import json
import struct
import sys
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Finding(Exception):
    """What is wrong, and where."""


def _printable(text: object) -> str:
    """Without signs that a terminal would obey: a file may come from anybody."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text))


def check(raw: bytes, private_key: bytes | None = None) -> str:
    """Prove an export; returns one line that says what was proven.

    Raises:
        Finding: it does not verify.
    """
    lines = raw.split(b"\n")
    if lines[-1] != b"" or len(lines) < 4:
        raise Finding("the file is cut short")
    rows = [_row(at, line) for at, line in enumerate(lines[:-1], 1)]
    first, end = rows[0], rows[-1]
    if first.get("kind") != "call" or first.get("format") != 1:
        raise Finding("line 1 does not begin an export of format 1")
    if end.get("kind") != "end":
        raise Finding("the file is cut short: its last line is gone")
    body = raw[: len(raw) - len(lines[-2]) - 1]
    wrapped = {row["key"]: row for row in rows[1:-1] if row.get("kind") == "key"}
    records = [row for row in rows[1:-1] if row.get("kind") == "record"]
    if len(records) + sum(row.get("kind") == "key" for row in rows[1:-1]) != len(rows) - 2:
        raise Finding("a line of unknown kind")
    closed = _walk(str(first["call"]), records)
    if bool(first["closed"]) != closed:
        raise Finding("the chain was closed, and its closing record is gone" if not closed else "the index says open")
    if closed and first["head"] != records[-1]["hash"]:
        raise Finding("the index names another head")
    opened = 0
    if private_key is not None:
        opened = _open_all(str(first["call"]), records, wrapped, private_key)
    if end.get("records") != len(records) or end.get("sha256") != hashlib.sha256(body).hexdigest():
        raise Finding("the file's last line does not agree with the lines before")
    state = "closed" if closed else "open"
    return f"call {first['call']}: {len(records)} records proven, chain {state}, {opened} seals opened"


def _row(at: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise Finding(f"line {at} is not JSON")
    return row


def _walk(call: str, records: list[dict[str, Any]]) -> bool:
    """Every record by itself, then each against the one before. Whether the chain ends closed."""
    if not records:
        raise Finding(f"call {call}: no record")
    before = "00" * 32
    place = (0, -1)
    nonces: set[tuple[str, str]] = set()
    counts: dict[int, int] = {}
    heads: dict[int, str] = {}
    known: set[str] = set()
    key, closes = "", None
    for row in records:
        where = f"call {call}, segment {row.get('segment')}, record {row.get('sequence')}"
        if closes is not None:
            raise Finding(f"{where}: stands behind the closing record")
        header_raw = row["header"].encode()
        digest = hashlib.sha256(
            b"triage-line record v1\x00"
            + struct.pack(">I", len(header_raw))
            + header_raw
            + bytes.fromhex(row["nonce"])
            + base64.b64decode(row["sealed"])
        ).hexdigest()
        if digest != row["hash"]:
            raise Finding(f"{where}: altered")
        header = json.loads(header_raw)
        if header["v"] != 1 or header["call"] != call:
            raise Finding(f"{where}: of another call or format")
        if (header["segment"], header["sequence"]) != (row["segment"], row["sequence"]):
            raise Finding(f"{where}: moved")
        follows = (header["segment"], header["sequence"])
        opens = header.get("opens")
        if opens is None:
            if follows != (place[0], place[1] + 1) or header["prev"] != before or header["key"] != key:
                raise Finding(f"{where}: does not follow record {place[1]} of segment {place[0]}")
        else:
            starts = (0, 0) if place == (0, -1) else (place[0] + 1, 0)
            if follows != starts or (header["prev"] != before and header["prev"] not in known):
                raise Finding(f"{where}: a segment that does not open from a record before")
            key = header["key"]
            if opens["commitment"][:16] != key:
                raise Finding(f"{where}: its key is not the committed one")
        if (key, row["nonce"]) in nonces:
            raise Finding(f"{where}: a nonce is used twice")
        nonces.add((key, row["nonce"]))
        closes = header.get("closes")
        counts[follows[0]] = counts.get(follows[0], 0) + 1
        heads[follows[0]] = header["prev"] if closes else digest
        known.add(digest)
        before, place = digest, follows
    if closes is None:
        return False
    if closes["counts"] != [counts[at] for at in sorted(counts)]:
        raise Finding(f"call {call}: the closing record counts other records")
    if closes["heads"] != [heads[at] for at in sorted(heads)]:
        raise Finding(f"call {call}: the closing record names other heads")
    return True


def _open_all(call: str, records: list[dict[str, Any]], wrapped: dict[str, Any], private_key: bytes) -> int:
    keys: dict[str, AESGCM] = {}
    for key, row in wrapped.items():
        if row["wrapped"] is None:
            continue  # erased on purpose
        info = b"triage-line wrapped data key v1\x00" + call.encode() + b"\x00" + key.encode()
        try:
            raw = _hpke_open(base64.b64decode(row["wrapped"]), private_key, info)
        except InvalidTag:
            raise Finding(f"call {call}: data key {key} does not open with this private key") from None
        if hashlib.sha256(b"triage-line data key v1\x00" + call.encode() + b"\x00" + raw).hexdigest()[:16] != key:
            raise Finding(f"call {call}: data key {key} is not the committed one")
        keys[key] = AESGCM(raw)
    opened = 0
    for row in records:
        aead = keys.get(json.loads(row["header"])["key"])
        if aead is None:
            continue
        try:
            padded = aead.decrypt(bytes.fromhex(row["nonce"]), base64.b64decode(row["sealed"]), row["header"].encode())
        except InvalidTag:
            where = f"call {call}, segment {row['segment']}, record {row['sequence']}"
            raise Finding(f"{where}: its seal does not open") from None
        (size,) = struct.unpack_from(">I", padded)
        json.loads(padded[4 : 4 + size])
        opened += 1
    return opened


def _hpke_open(sealed: bytes, private_key: bytes, info: bytes) -> bytes:
    """RFC 9180, base mode: decapsulate (4.1), key schedule (5.1), open at sequence 0 (5.2)."""
    mine = X25519PrivateKey.from_private_bytes(private_key)
    enc, ciphertext = sealed[:32], sealed[32:]
    shared = mine.exchange(X25519PublicKey.from_public_bytes(enc))
    kem = b"KEM" + struct.pack(">H", 0x0020)
    eae = _extract(kem, b"", b"eae_prk", shared)
    secret = _expand(kem, eae, b"shared_secret", enc + mine.public_key().public_bytes_raw(), 32)
    suite = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0002)
    context = b"\x00" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    prk = _extract(suite, secret, b"secret", b"")
    key = _expand(suite, prk, b"key", context, 32)
    nonce = _expand(suite, prk, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
    return hmac.digest(prk, struct.pack(">H", size) + b"HPKE-v1" + suite + label + info + b"\x01", "sha256")[:size]


def main(arguments: list[str]) -> int:
    """Check the file named on the command line."""
    key = None
    try:
        if "--key" in arguments:
            at = arguments.index("--key")
            with open(arguments[at + 1], "rb") as file:
                key = file.read()
            del arguments[at : at + 2]
            if len(key) != 32:
                raise OSError("the key is not 32 bytes")
        with open(arguments[0], "rb") as file:
            raw = file.read()
    except (OSError, IndexError) as error:
        print(f"usage: python -m audit.verify_export FILE [--key READER_PRIVATE_FILE] ({error})", file=sys.stderr)
        return 2
    try:
        print(_printable(check(raw, key)))
    except Finding as finding:
        print(f"NOT PROVEN. {_printable(finding)}", file=sys.stderr)
        return 1
    except (KeyError, TypeError, ValueError, AttributeError):
        print("NOT PROVEN. A line of the file is malformed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
