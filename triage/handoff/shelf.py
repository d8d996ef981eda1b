"""Packets at rest, sealed: a stolen disk or backup shows nothing.

A packet lies under a digest of its code, sealed to the reader's public key (HPKE as in `audit.sealing`), and the code
itself goes into the key derivation: opening takes the reader's private key *and* the code that travelled with the
caller. Clear are the format, the version, the time of making, the id of the reader's key, and a digest of the call's id, so
that a call can be erased with its packet; the seal covers them too.
The content is padded to steps of 1 KiB. A newer version replaces an older one and never the other way; what is older
than the setting `nurse_packet_h` is wiped, by whoever comes next.
"""

import hashlib
import json
import os
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from audit.sealing import reader_id
from triage.errors import Refused, SettingError, StorageError
from triage.handoff.post import Undelivered
from triage.ports import Packet

FOLDER = "packets"
"""Name of the shelf in the data folder."""
FORMAT = 1
PAD = 1024
SUFFIX = ".packet"
HOUR_NS = 3_600 * 1_000_000_000

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_TAG = b"triage-line packet v1\x00"


class Shelf:
    """A folder of sealed packets. Puts with the public key alone; opens with the private one."""

    name = "shelf"
    delays_s: tuple[float, ...] = (0.2, 1.0, 3.0)
    """Rests between tries to write, s: a full disk may have room again."""

    def __init__(self, folder: Path, *, public_key: bytes | None = None, keep_h: float = 24.0) -> None:
        """`keep_h`: hours after which a packet is wiped. Without `public_key` nothing can be put.

        Raises:
            SettingError: `public_key` is no key.
        """
        self._lock = threading.Lock()
        self._folder, self._keep_ns = folder, int(keep_h * HOUR_NS)
        self._reader = reader_id(public_key) if public_key else ""
        try:
            self._public = X25519PublicKey.from_public_bytes(public_key) if public_key else None
        except ValueError:
            raise SettingError("the reader's public key is damaged: restore keys/reader.public from a copy") from None

    def deliver(self, packet: Packet, *, wall_ns: int) -> None:
        """Seal and write one packet, unless a newer version lies there. Blocks on the disk: not for a call's loop.

        Raises:
            Undelivered: it could not be written.
        """
        if self._public is None:
            raise Undelivered("no key", lasting=True)
        place = self._place(packet.code)
        beside = place.with_name(f"{place.name}.{packet.version}.new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.sweep(wall_ns=wall_ns)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(self._sealed(packet))
            with self._lock:
                if (lying := _header(place)) is None or lying["version"] <= packet.version:
                    beside.replace(place)
        except OSError as error:
            raise Undelivered(f"disk: {os.strerror(error.errno or 0)}") from None
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def open(self, code: str, private_key: bytes, *, wall_ns: int) -> Packet:
        """The newest version of the packet with this code, unless it has expired.

        Raises:
            Refused: no packet has this code (any more), or it was sealed for another key, or it is damaged.
        """
        place = self._place(code)
        self.sweep(wall_ns=wall_ns)
        try:
            raw = place.read_bytes()
        except OSError:
            raise Refused("desk", "no packet with this code") from None
        clear, _, sealed = raw.partition(b"\n")
        try:
            opener = X25519PrivateKey.from_private_bytes(private_key)
            padded = _SUITE.decrypt(sealed, opener, info=_info(code, clear))
            return Packet(**json.loads(padded))
        except (InvalidTag, ValueError, TypeError):
            raise Refused("desk", "the packet with this code does not open with this key, or is damaged") from None

    def sweep(self, *, wall_ns: int) -> int:
        """Wipe what has expired (and what no longer says when it was made); returns how many."""
        wiped = 0
        for path in self._folder.glob(f"*{SUFFIX}*"):
            header = _header(path)
            if header is None and path.suffix != SUFFIX:
                continue  # being written
            if header is None or wall_ns - header["made_ns"] > self._keep_ns:
                with suppress(OSError):  # somebody else was quicker, or we may not: whoever comes next tries again
                    path.unlink()
                    wiped += 1
        return wiped

    def forget(self, call_id: str) -> int:
        """Wipe the packets of one call; returns how many.

        Raises:
            StorageError: one cannot be removed.
        """
        wiped = 0
        for path in self._folder.glob(f"*{SUFFIX}*"):
            if (_header(path) or {}).get("call") == _digest(call_id):
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise StorageError(f"{path} cannot be removed ({error.strerror}): remove it yourself") from error
                wiped += 1
        return wiped

    def _place(self, code: str) -> Path:
        return self._folder / f"{hashlib.sha256(_bytes(code)).hexdigest()[:32]}{SUFFIX}"

    def _sealed(self, packet: Packet) -> bytes:
        assert self._public is not None  # `deliver` looked
        header = {
            "call": _digest(packet.call_id),
            "made_ns": packet.made_ns,
            "reader": self._reader,
            "v": FORMAT,
            "version": packet.version,
        }
        clear = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        content = json.dumps(asdict(packet), ensure_ascii=False, default=dict).encode()
        padded = content.ljust(-(-len(content) // PAD) * PAD)  # JSON takes blanks behind it
        return clear + b"\n" + _SUITE.encrypt(padded, self._public, info=_info(packet.code, clear))


def _digest(call_id: str) -> str:
    """Of a call's id: it finds the packet of a call that is known, and names none."""
    return hashlib.sha256(_TAG + b"call " + call_id.encode()).hexdigest()[:32]


def _info(code: str, clear: bytes) -> bytes:
    """What the seal is bound to beside the key: the code, and the clear header."""
    return _TAG + hashlib.sha256(_TAG + _bytes(code)).digest() + clear


def _bytes(code: str) -> bytes:
    """A code as typed, whatever the terminal made of it."""
    return code.encode("utf-8", "surrogateescape")


def _header(path: Path) -> dict[str, Any] | None:
    """The clear line of one file; None where there is none."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(512))
        return header if isinstance(header["made_ns"], int) and isinstance(header["version"], int) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
