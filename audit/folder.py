"""Where things lie in a data folder, and how a service opens them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audit.journal import Journal
from audit.keyring import FileKeyring, Role
from audit.store import DeferredStore, SqliteStore, Store
from audit.trouble import Trouble
from audit.writer import AuditWriter


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
