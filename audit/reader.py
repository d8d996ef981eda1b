"""Reading the record: who reads is written down before anything is shown.

Listing and verifying show no content and are not readings; both work without a private key.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audit.access import Access, AccessLog
from audit.entries import COLUMNS, Entry, Kind
from audit.errors import CallMissing, KeyErased, KeyMissing, RecordForeign, SealBroken, UnknownCall
from audit.journal import SUFFIX, read_file
from audit.keyring import Keyring
from audit.records import Content, Header, Record
from audit.sealing import DataKey, WrappedKey, reader_id, unwrap
from audit.store import SqliteStore, explained
from audit.verify import Index, Stored, Verified, verify_chain


@dataclass(frozen=True, slots=True)
class CallListed:
    """One call, as far as it can be told without a key."""

    call: str
    number: int | None
    """Place in the global sequence; None: provisional until the journal has joined."""
    bucket: int
    """Hour since 1970 in which it began, UTC."""
    segments: int
    records: int
    closed: bool
    erased: bool


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """One record with its content."""

    header: Header
    content: Content
    hash: bytes


class Reader:
    """Reads one store on behalf of somebody.

    `keyring` None: no key; listing and verifying only.
    """

    def __init__(
        self,
        store: SqliteStore,
        keyring: Keyring | None = None,
        *,
        who: str = "",
        purpose: str = "",
        spool: Path | None = None,
    ) -> None:
        self.access = AccessLog(store)
        self._store, self._keyring, self._spool = store, keyring, spool
        self._who, self._purpose = who, purpose

    def calls(self) -> list[CallListed]:
        """Every call the store knows, in the order of the global sequence, provisional ones last.

        Raises:
            StoreFailed: the store cannot be read.
        """
        with explained(self._store.path), self._store.connection() as connection:
            rows = connection.execute(
                "SELECT c.call, c.number, c.bucket, c.closed, "
                "(SELECT count(*) FROM record r WHERE r.call = c.call), "
                "(SELECT coalesce(max(segment) + 1, 0) FROM record r WHERE r.call = c.call), "
                "(SELECT count(*) FROM data_key k WHERE k.call = c.call AND k.wrapped IS NULL) "
                "FROM chain c ORDER BY c.number IS NULL, c.number, c.call"
            ).fetchall()
        return [
            CallListed(
                call=call,
                number=number,
                bucket=bucket,
                segments=segments,
                records=records,
                closed=bool(closed),
                erased=erased > 0,
            )
            for call, number, bucket, closed, records, segments, erased in rows
        ]

    def find(self, begin: str) -> str:
        """The one call whose id begins like this.

        Raises:
            UnknownCall: none, or several.
        """
        found = [listed.call for listed in self.calls() if listed.call.startswith(begin)]
        if begin in found:
            return begin
        if len(found) != 1:
            why = "fits several calls: give more of its id" if found else "is not in this store: see the list of calls"
            raise UnknownCall(f"call {begin} {why}")
        return found[0]

    def records(self, call: str, *, at_ns: int, what: str = "trail") -> list[OpenedRecord]:
        """Open a call's records, in order. The reading is recorded first. `at_ns` is wall time.

        Raises:
            UnknownCall: no such call.
            KeyErased: its data key was destroyed.
            KeyMissing: no private key, or not the one this call was sealed for.
            RecordForeign: a seal does not open; `verify` says more.
            StoreFailed: the store cannot be read, or the reading cannot be recorded.
        """
        index, stored = self.stored(call)
        keys = self._data_keys(index)
        self.access.record(Access(at_ns, self._who, self._purpose, call, what))
        opened = []
        for item in stored:
            header = item.record.clear()
            key = keys.get(header.key)
            try:
                if key is None:
                    raise SealBroken("no key")
                opened.append(OpenedRecord(header, key.open(item.record), item.hash))
            except SealBroken:
                raise RecordForeign(
                    "the record does not open", call=call, segment=item.segment, sequence=item.sequence
                ) from None
        return opened

    def verify(self, call: str) -> Verified:
        """Prove one call's chain; with a private key every seal is opened too.

        Raises:
            ChainBroken: one of its kinds; says where.
            UnknownCall: neither the index nor any record knows this call.
            KeyMissing: there is a keyring, and its key does not fit.
            StoreFailed: the store cannot be read.
        """
        index, stored = self.stored(call)
        proven = verify_chain(index, stored)
        if self._keyring is None or proven.erased:
            return proven
        return verify_chain(index, stored, self._data_keys(index))

    def verify_all(self) -> list[Verified]:
        """Prove every chain, the global sequence and the log of readings; stops at the first finding.

        Raises:
            ChainBroken: one of its kinds; says where.
            KeyMissing: there is a keyring, and its key does not fit.
            StoreFailed: the store cannot be read.
        """
        self.verify_numbers()
        self.access.verify()
        return [self.verify(call) for call in self.known_calls()]

    def known_calls(self) -> list[str]:
        """Every call that the index or any record names.

        Raises:
            StoreFailed: the store cannot be read.
        """
        with explained(self._store.path), self._store.connection() as connection:
            rows = connection.execute(
                "SELECT call FROM chain UNION SELECT call FROM record UNION SELECT call FROM stray ORDER BY call"
            ).fetchall()
        return [call for (call,) in rows]

    def verify_numbers(self) -> int:
        """Prove that no call is gone as a whole; returns the number of calls.

        Calls that wait in a journal of this folder count as there. The newest calls of a block whose writer still
        runs (or died) can be missed only by a checkpoint kept elsewhere.

        Raises:
            CallMissing: a number was given out, and its call is gone.
            RecordForeign: two calls have one number, or a number that was never given out.
            StoreFailed: the store cannot be read.
        """
        with explained(self._store.path), self._store.connection() as connection:
            connection.execute("BEGIN")  # one view of all tables
            blocks = connection.execute('SELECT first, "count", used FROM number_block ORDER BY first').fetchall()
            numbered = dict(connection.execute("SELECT call, number FROM chain WHERE number IS NOT NULL").fetchall())
            recorded = {call for (call,) in connection.execute("SELECT DISTINCT call FROM record")}
        numbered.update(
            (entry.values[0], entry.values[1])
            for entry in self._waiting()
            if entry.kind is Kind.CHAIN and entry.values[1] is not None and entry.values[0] not in numbered
        )
        holders: dict[int, str] = {}
        for call, number in numbered.items():
            if number in holders:
                raise RecordForeign(f"two calls have number {number}", call=call)
            holders[number] = call
        expected = 1
        for first, count, used in blocks:
            if first != expected:
                raise CallMissing(f"the numbers {expected} to {first - 1} are not accounted for")
            expected = first + count
            top = max((number - first + 1 for number in holders if first <= number < expected), default=0)
            for number in range(first, first + max(top, used or 0)):
                if number not in holders:
                    raise CallMissing(f"call number {number} is gone")
        if beyond := [number for number in holders if not 1 <= number < expected]:
            raise RecordForeign(f"number {beyond[0]} was never given out", call=holders[beyond[0]])
        if unlisted := recorded - set(numbered) - self._provisional():
            raise RecordForeign("the index does not know this call", call=min(unlisted))
        return len(holders)

    def stored(self, call: str) -> tuple[Index, list[Stored]]:
        """A call's index entry and sealed records, as they lie there. Shows no content.

        Raises:
            UnknownCall: neither the index nor any record knows this call.
            StoreFailed: the store cannot be read.
        """
        with explained(self._store.path), self._store.connection() as connection:
            connection.execute("BEGIN")
            chain = connection.execute("SELECT number, closed, head FROM chain WHERE call = ?", (call,)).fetchone()
            rows = connection.execute(
                f"SELECT {', '.join(COLUMNS[Kind.RECORD])} FROM record WHERE call = ? ORDER BY segment, sequence",
                (call,),
            ).fetchall()
            strays = connection.execute("SELECT segment, sequence FROM stray WHERE call = ?", (call,)).fetchall()
            keys = connection.execute("SELECT key, reader, wrapped FROM data_key WHERE call = ?", (call,)).fetchall()
        if chain is None and not rows and not strays:
            raise UnknownCall(f"call {call} is not in this store: see the list of calls")
        wrapped: dict[str, dict[str, bytes | None]] = {}
        for key, reader, value in keys:
            wrapped.setdefault(key, {})[reader] = value
        number, closed, head = chain or (None, False, None)
        index = Index(call, number, bool(closed), head, tuple(strays), wrapped)
        stored = [
            Stored(row[0], row[1], row[2], Record(*map(_blob, row[3:6])), _blob(row[6]), _blob(row[7])) for row in rows
        ]
        return index, stored

    def _provisional(self) -> set[str]:
        with explained(self._store.path), self._store.connection() as connection:
            return {call for (call,) in connection.execute("SELECT call FROM chain WHERE number IS NULL")}

    def _waiting(self) -> Iterable[Entry]:
        if self._spool is None or not self._spool.is_dir():
            return
        for path in sorted(self._spool.glob(f"*{SUFFIX}")):
            yield from read_file(path)

    def _data_keys(self, index: Index) -> dict[str, DataKey]:
        if self._keyring is None:
            raise KeyMissing("reading needs the private key, and this reader has none")
        private = self._keyring.private_key()
        reader = reader_id(self._keyring.public_key())
        keys: dict[str, DataKey] = {}
        for key, wrapped_for in (index.wrapped or {}).items():
            if index.erased(key):
                raise KeyErased(f"the data key of call {index.call} was destroyed: its content is gone for good")
            wrapped = wrapped_for.get(reader)
            if wrapped is None:
                raise KeyMissing(
                    f"call {index.call} was sealed for another key than this one: use the keyring it was written with"
                )
            keys[key] = _unwrapped(index.call, key, reader, wrapped, private)
        return keys


def _blob(value: object) -> bytes:
    """SQLite keeps whatever type somebody puts into a column; what is no blob cannot have been written by us."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def _unwrapped(call: str, key: str, reader: str, wrapped: bytes, private: bytes) -> DataKey:
    try:
        return unwrap(WrappedKey(key=key, call=call, reader=reader, wrapped=wrapped), private)
    except SealBroken:
        raise KeyMissing(
            f"a data key of call {call} does not open with this private key: restore reader.private from a copy"
        ) from None
