"""Where the reader's key pair lives. A writer needs the public half only.

A folder holds two files of 32 raw bytes: `reader.public` and `reader.private` (mode 0600). They are made on the first
run, which says where; whoever loses the private file can never read the record again, and whoever copies it can.
"""

import base64
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from audit.errors import KeyMissing

PUBLIC = "reader.public"
PRIVATE = "reader.private"
SIZE = 32


class Role(StrEnum):
    """What a process may do."""

    WRITER = "writer"  # seals; never touches the private half
    READER = "reader"


class Keyring(Protocol):
    """Holds the reader's key pair, in a folder, an environment or a key service."""

    def public_key(self) -> bytes:
        """32 raw bytes to which data keys are wrapped.

        Raises:
            KeyMissing: there is none, or it is unusable.
        """
        ...

    def private_key(self) -> bytes:
        """32 raw bytes that open them.

        Raises:
            KeyMissing: this process has no right to it, there is none, or it is unusable.
        """
        ...


class FileKeyring:
    """Two files in a folder."""

    def __init__(self, folder: Path, *, role: Role = Role.READER) -> None:
        self.folder = folder
        self.role = role
        self.warning = ""
        """Set by `ensure` when it made a new pair: one line that names the file."""

    def ensure(self) -> "FileKeyring":
        """Make a pair where there is none at all; half a pair is never filled up.

        Raises:
            KeyMissing: the folder cannot be written, or holds half a pair that this role cannot work with.
        """
        private, public = self.folder / PRIVATE, self.folder / PUBLIC
        if public.exists() or private.exists():
            self.public_key()
            return self
        key = X25519PrivateKey.generate()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_once(private, key.private_bytes_raw(), 0o600)
            _write_once(public, key.public_key().public_bytes_raw(), 0o644)
        except FileExistsError:
            return self  # another process made it in this moment
        except OSError as error:
            raise KeyMissing(
                f"the keys cannot be written to {self.folder} ({error.strerror}): choose another folder with --data"
            ) from None
        self.warning = (
            f"made a new key to read the record: {private}. Keep a copy somewhere safe: without it nobody can read "
            "the record again, and with it anybody can."
        )
        return self

    def checked(self) -> "FileKeyring":
        """Look that both halves are there and belong together; returns itself.

        Raises:
            KeyMissing: they are not.
        """
        self.private_key()
        self.public_key()
        return self

    def public_key(self) -> bytes:
        """32 raw bytes; where the private half is at hand too, the two are checked against each other.

        Raises:
            KeyMissing: missing, unreadable, of the wrong size, or not the private key's other half.
        """
        public = _read(self.folder / PUBLIC, "restore it from a copy; it is needed to write the record")
        if self.role is Role.READER and (self.folder / PRIVATE).exists():
            self._check(self.private_key(), public)
        return public

    def private_key(self) -> bytes:
        """32 raw bytes.

        Raises:
            KeyMissing: a writer asked, or missing, unreadable, of the wrong size.
        """
        if self.role is Role.WRITER:
            raise KeyMissing("this process writes the record and may not read it: use a reader's keyring")
        return _read(self.folder / PRIVATE, "restore it from a copy; without it the record cannot be read")

    def _check(self, private: bytes, public: bytes) -> None:
        if X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw() != public:
            raise KeyMissing(
                f"{self.folder / PRIVATE} and {self.folder / PUBLIC} are not one pair: restore both from one copy"
            )


class EnvKeyring:
    """A pair from environment-like values, base64. The caller passes the mapping in; nothing reads the environment."""

    PUBLIC_NAME = "TRIAGE_AUDIT_PUBLIC_KEY"
    PRIVATE_NAME = "TRIAGE_AUDIT_PRIVATE_KEY"

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def public_key(self) -> bytes:
        """32 raw bytes.

        Raises:
            KeyMissing: missing or malformed; names the variable.
        """
        return self._value(self.PUBLIC_NAME)

    def private_key(self) -> bytes:
        """32 raw bytes.

        Raises:
            KeyMissing: missing or malformed; names the variable.
        """
        return self._value(self.PRIVATE_NAME)

    def _value(self, name: str) -> bytes:
        text = self._values.get(name, "")
        if not text:
            raise KeyMissing(f"{name} is not set: give the key as base64 of {SIZE} bytes")
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError:
            raw = b""
        if len(raw) != SIZE:
            raise KeyMissing(f"{name} is not base64 of {SIZE} bytes: copy the key again")
        return raw


def _read(path: Path, remedy: str) -> bytes:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise KeyMissing(f"the key {path} is missing: {remedy}") from None
    except OSError as error:
        raise KeyMissing(f"the key {path} cannot be read ({error.strerror}): check its rights") from None
    if len(raw) != SIZE:
        raise KeyMissing(f"the key {path} is damaged ({len(raw)} bytes instead of {SIZE}): {remedy}")
    return raw


def _write_once(path: Path, raw: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(fd, raw)
        os.fsync(fd)
    finally:
        os.close(fd)
