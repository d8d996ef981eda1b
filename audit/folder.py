"""Where things lie in a data folder, who may look at them, and how a service opens them."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from audit.journal import Journal
from audit.keyring import PUBLIC, FileKeyring, Role
from audit.store import DeferredStore, SqliteStore, Store
from audit.trouble import Trouble
from audit.writer import AuditWriter

ROOMS = ("keys", "spool", "calls", "packets")
"""Folders of ours in a data folder; nobody but the owner has business in them."""


@dataclass(frozen=True, slots=True)
class AuditFolder:
    """Paths below a data folder."""

    root: Path

    @property
    def database(self) -> Path:
        """The store."""
        return self.root / "audit.db"

    @property
    def keys(self) -> Path:
        """The reader's key pair."""
        return self.root / "keys"

    @property
    def spool(self) -> Path:
        """The journals."""
        return self.root / "spool"

    def exposed(self) -> list[Path]:
        """What somebody other than its owner may look at: files and folders of ours, and the data folder itself."""
        return [path for path in self._ours() if _mode(path) & 0o077]

    def tighten(self) -> list[Path]:
        """Make what is exposed its owner's alone; returns what was. What we may not change stays `exposed`."""
        done = []
        for path in self.exposed():
            with suppress(OSError):  # not ours to change, or gone: `exposed` says so again
                path.chmod(_mode(path) & 0o700)
                done.append(path)
        return done

    def _ours(self) -> Iterator[Path]:
        files = sorted(self.root.glob(f"{self.database.name}*"))
        rooms = [path for name in ROOMS if (path := self.root / name).is_dir() and not path.is_symlink()]
        if (files or rooms) and self._own():
            yield self.root
        yield from files
        for room in rooms:
            yield room
            yield from (path for path in sorted(room.rglob("*")) if path.name != PUBLIC and not path.is_symlink())

    def _own(self) -> bool:
        """Whether the data folder is this user's, and no place that everybody writes to."""
        try:
            seen = self.root.stat()
        except OSError:
            return False
        return seen.st_uid == os.geteuid() and not seen.st_mode & stat.S_ISVTX and self.root.resolve() != Path.home()

    def keyring(self, role: Role = Role.READER) -> FileKeyring:
        """The file keyring of this folder."""
        return FileKeyring(self.keys, role=role)

    def open_writer(
        self,
        writer: str,
        *,
        on_trouble: Callable[[Trouble], None] | None = None,
        inline: bool = False,
        deferred: bool = False,
    ) -> AuditWriter:
        """A writer over this folder's store, journal and public key. `AuditWriter.close` frees all three.

        `writer` must be unique among the processes that record into this folder at one time. With `deferred` a store
        that cannot be opened now is tried again with every batch, and calls go to the journal meanwhile: for a worker,
        which must carry calls even when it is restarted in the middle of an outage.

        Raises:
            KeyMissing: no usable public key.
            StoreFailed: the journal cannot be used; or the store, unless `deferred`.
        """
        public_key = self.keyring(Role.WRITER).public_key()
        store: Store = DeferredStore(lambda: SqliteStore(self.database)) if deferred else SqliteStore(self.database)
        try:
            journal = Journal(self.spool, writer)
        except BaseException:
            store.close()
            raise
        return AuditWriter(store, journal, public_key, writer=writer, on_trouble=on_trouble, inline=inline)


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
