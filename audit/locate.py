"""Where in a record an edit lies. Detection is the hash's; this only points.

A record is stored with the CRC-32 of every 64 bytes. The first block that disagrees is where the edit begins; when one
byte was changed, trying every byte of that block finds it exactly, and undoing it must give back the hash.
"""

import struct
import zlib

from audit.records import BLOCK, Record, record_hash


def altered_at(record: Record, digest: bytes, locator: bytes) -> int | None:
    """Offset of the first altered byte of a record, or of the 64 bytes it lies in.

    None: the locator agrees everywhere (it was altered too, or the stored hash was).
    """
    body = record.body
    known = [crc for (crc,) in struct.iter_unpack(">I", locator[: len(locator) // 4 * 4])]
    for number, start in enumerate(range(0, len(body), BLOCK)):
        block = body[start : start + BLOCK]
        if number >= len(known):
            return start
        if zlib.crc32(block) == known[number]:
            continue
        found = _single_edits(block, known[number])
        proven = [at for at, old in found if _undone(record, start + at, old) == digest]
        candidates = proven or [at for at, _ in found]
        return start + (candidates[0] if len(candidates) == 1 else 0)
    return len(body) if len(known) * BLOCK - BLOCK >= len(body) else None


def _single_edits(block: bytes, crc: int) -> list[tuple[int, int]]:
    """Every (offset, old byte) that would have given the block its old checksum."""
    found = []
    trial = bytearray(block)
    for at, present in enumerate(block):
        for old in range(256):
            trial[at] = old
            if old != present and zlib.crc32(trial) == crc:
                found.append((at, old))
        trial[at] = present
    return found


def _undone(record: Record, at: int, old: int) -> bytes:
    body = bytearray(record.body)
    body[at] = old
    head, nonce = len(record.header), len(record.nonce)
    return record_hash(bytes(body[:head]), bytes(body[head : head + nonce]), bytes(body[head + nonce :]))
