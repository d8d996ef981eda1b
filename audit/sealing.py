"""Sealing and opening: AES-256-GCM under a data key per writer and call, the data key wrapped to the reader.

The data key is made when a segment opens and lives in the writer's memory until the segment ends; what is stored is
only its commitment (in the chain) and the key wrapped to the reader's X25519 public key by HPKE (RFC 9180, base mode,
DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM). So a writer cannot open its own closed call, and destroying the
wrapped key erases the content while every hash still agrees.
Nonces are 96 random bits: a data key seals a few thousand records, far below the 2^32 that random nonces allow.
"""

import hashlib
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from audit.errors import SealBroken
from audit.records import Content, Header, Record

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_COMMIT_TAG = b"triage-line data key v1\x00"
_WRAP_TAG = b"triage-line wrapped data key v1\x00"
_READER_TAG = b"triage-line reader key v1\x00"


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key that only the reader can open."""

    key: str
    """Id of the data key."""
    call: str
    reader: str
    """Id of the reader's public key."""
    wrapped: bytes
    """HPKE encapsulated key (32 bytes) and ciphertext (48 bytes)."""


class DataKey:
    """The key that seals one writer's records of one call. Its bytes stay in here."""

    __slots__ = ("_aead", "_raw", "call", "commitment", "id")

    def __init__(self, call: str, raw: bytes) -> None:
        self._raw = raw
        self._aead = AESGCM(raw)
        self.call = call
        self.commitment = commitment_of(call, raw)
        self.id = self.commitment[:8].hex()

    @staticmethod
    def fresh(call: str) -> "DataKey":
        """A new random key."""
        return DataKey(call, AESGCM.generate_key(256))

    def wrap(self, public_key: bytes) -> WrappedKey:
        """Wrap it to the reader.

        Raises:
            ValueError: `public_key` is not 32 bytes.
        """
        reader = X25519PublicKey.from_public_bytes(public_key)
        wrapped = _SUITE.encrypt(self._raw, reader, info=_wrap_info(self.call, self.id))
        return WrappedKey(self.id, self.call, reader_id(public_key), wrapped)

    def seal(self, header: Header, padded: bytes) -> Record:
        """Seal one record; `padded` comes from `Content.encode`."""
        return self._seal(header, padded, os.urandom(12))

    def open(self, record: Record) -> Content:
        """Open one record.

        Raises:
            SealBroken: altered, or sealed under another key.
        """
        try:
            return Content.decode(self._aead.decrypt(record.nonce, record.sealed, record.header))
        except (InvalidTag, ValueError):
            raise SealBroken("the seal does not open under this key") from None

    def _seal(self, header: Header, padded: bytes, nonce: bytes) -> Record:
        """The private variant: test vectors choose the nonce."""
        clear = header.encode()
        return Record(clear, nonce, self._aead.encrypt(nonce, padded, clear))


def unwrap(wrapped: WrappedKey, private_key: bytes) -> DataKey:
    """Open a wrapped data key.

    Raises:
        SealBroken: wrapped to another reader, altered, or not the key it is filed as.
    """
    try:
        reader = X25519PrivateKey.from_private_bytes(private_key)
        raw = _SUITE.decrypt(wrapped.wrapped, reader, info=_wrap_info(wrapped.call, wrapped.key))
        key = DataKey(wrapped.call, raw)
    except (InvalidTag, ValueError):
        raise SealBroken("the data key does not open with this private key") from None
    if key.id != wrapped.key:
        raise SealBroken("the data key is not the one it is filed as")
    return key


def commitment_of(call: str, raw: bytes) -> bytes:
    """What the chain says about a data key without giving it away."""
    return hashlib.sha256(_COMMIT_TAG + call.encode() + b"\x00" + raw).digest()


def reader_id(public_key: bytes) -> str:
    """Short id of a reader's public key."""
    return hashlib.sha256(_READER_TAG + public_key).hexdigest()[:16]


def _wrap_info(call: str, key: str) -> bytes:
    return _WRAP_TAG + call.encode() + b"\x00" + key.encode()
