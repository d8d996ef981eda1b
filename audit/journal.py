"""The local journal: where rows go when the store fails or hangs, until they can join it.

One append-only file per writer, one line per row: CRC-32 in hex, a blank, the row, a line end; fsync after each batch.
A torn last line was never acknowledged and is dropped. A damaged line in the middle is kept aside and reported, and
the lines around it still join: the chain then shows which record is missing.
Rows hold sealed records, so the file gives nothing away. A lock on the file tells whether its writer lives.
"""

import fcntl
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from audit.entries import Entry
from audit.errors import StoreFailed

SUFFIX = ".journal"
CHUNK = 4 << 20
"""Bytes read at a time."""


@dataclass(frozen=True, slots=True)
class JournalContent:
    """What a journal file holds."""

    entries: tuple[Entry, ...]
    torn_tail: int
    """Bytes of an unfinished last line."""
    damaged: tuple[int, ...]
    """Byte offsets of damaged lines that have an end."""
    end: int = 0
    """Offset just after the last whole line read."""


class Journal:
    """One writer's journal. Calls come from one thread at a time; the writer sees to that."""

    def __init__(self, folder: Path, writer: str) -> None:
        """Create the file at once, so that a folder that cannot be used shows at start and not in an outage.

        Raises:
            StoreFailed: the folder or file cannot be written.
        """
        self.path = folder / f"{writer}{SUFFIX}"
        self.size = 0
        """Bytes that were written and not yet joined."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = _locked(self.path)
            self.size = os.fstat(self._fd).st_size
            _sync_folder(folder)
        except BlockingIOError:
            raise StoreFailed(
                f"the journal {self.path} is in use: another program records into this folder under the same name; "
                "end it or choose another folder with --data"
            ) from None
        except OSError as error:
            raise StoreFailed(
                f"the journal {self.path} cannot be written ({os.strerror(error.errno or 0)}): "
                "free the folder or choose another with --data"
            ) from None

    def append(self, entries: Iterable[Entry]) -> None:
        """Write rows; returns when they are on disk.

        Raises:
            OSError: they are not; what was half written is cut off again.
        """
        raw = b"".join(_line(entry) for entry in entries)
        written = 0
        try:
            while written < len(raw):
                written += os.pwrite(self._fd, raw[written:], self.size + written)
            os.fsync(self._fd)
        except OSError:
            try:
                os.ftruncate(self._fd, self.size)
            except OSError:
                pass  # the next batch overwrites the torn line
            raise
        self.size += len(raw)

    def read(self, start: int = 0, limit: int = CHUNK) -> JournalContent:
        """Rows from a byte offset (a line's begin) on, about `limit` bytes at a time."""
        return read_chunk(self._fd, start, self.size, limit)

    def clear(self) -> None:
        """Everything has joined the store: empty the file.

        Raises:
            OSError: it could not be emptied; joining again does no harm.
        """
        os.ftruncate(self._fd, 0)
        os.fsync(self._fd)
        self.size = 0

    def close(self) -> None:
        """Release the file, and remove it when nothing is left to join. Idempotent."""
        if self._fd < 0:
            return
        if self.size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1


def read_chunk(fd: int, start: int, size: int, limit: int = CHUNK) -> JournalContent:
    """Rows of a journal file from `start` on. At the end of the file, `end` is `size` even when the tail is torn."""
    raw = os.pread(fd, min(limit, size - start), start)
    while b"\n" not in raw and start + len(raw) < size:  # a line longer than the limit
        limit *= 2
        raw = os.pread(fd, min(limit, size - start), start)
    content = parse(raw, start)
    if start + len(raw) >= size:
        return replace(content, end=size)
    return replace(content, torn_tail=0, end=start + len(raw) - content.torn_tail)


def parse(raw: bytes, start: int = 0) -> JournalContent:
    """Rows of a journal's bytes, with what is torn or damaged. Offsets count from `start` on."""
    entries: list[Entry] = []
    damaged: list[int] = []
    at = 0
    while (end := raw.find(b"\n", at)) >= 0:
        line = raw[at:end]
        try:
            if int(line[:8], 16) != zlib.crc32(line[9:]):
                raise ValueError("damaged")
            entries.append(Entry.from_json(line[9:]))
        except ValueError:
            damaged.append(start + at)
        at = end + 1
    return JournalContent(tuple(entries), len(raw) - at, tuple(damaged))


def read_file(path: Path) -> Iterator[Entry]:
    """Rows of a journal file, whoever writes it; stops quietly where it ends or is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        start, size = 0, os.fstat(fd).st_size
        while start < size:
            content = read_chunk(fd, start, size)
            yield from content.entries
            start = content.end
    finally:
        os.close(fd)


def _line(entry: Entry) -> bytes:
    raw = entry.to_json()
    return b"%08x %s\n" % (zlib.crc32(raw), raw)


def _locked(path: Path) -> int:
    """The file, ours alone. Who joined and removed an older one between our two calls leaves us one without a name."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
