"""The tables, as sqlmodel classes: what migrations are checked against, and what low-rate readers query through.

There are no foreign keys on purpose: a record whose call is unknown (its row was lost with a damaged journal line) is
kept, and the verifier reports it. Importing this costs about 40 MB and a third of a second, so the writer's path does without it (`audit.store`).
"""

from sqlalchemy import BigInteger, Index, LargeBinary, MetaData
from sqlmodel import Field, SQLModel

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class AuditTable(SQLModel):
    """Base: a metadata of our own, so that nobody else's tables are migrated with ours."""

    metadata = MetaData(naming_convention=_NAMES)


class ChainRow(AuditTable, table=True):
    """One call: its place in the global sequence, and whether its chain is closed."""

    __tablename__ = "chain"
    call: str = Field(primary_key=True)
    number: int | None = Field(default=None, index=True, sa_type=BigInteger)
    bucket: int = Field(sa_type=BigInteger)
    writer: str
    closed: bool = Field(default=False, sa_column_kwargs={"server_default": "0"})
    head: bytes | None = Field(default=None, sa_type=LargeBinary)


class RecordRow(AuditTable, table=True):
    """One sealed record."""

    __tablename__ = "record"
    call: str = Field(primary_key=True)
    segment: int = Field(primary_key=True)
    sequence: int = Field(primary_key=True)
    header: bytes = Field(sa_type=LargeBinary)
    nonce: bytes = Field(sa_type=LargeBinary)
    sealed: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary)
    locator: bytes = Field(sa_type=LargeBinary)


class StrayRow(AuditTable, table=True):
    """A record whose place was taken, or whose chain was closed: kept, never lost, and reported by every verify."""

    __tablename__ = "stray"
    id: int | None = Field(default=None, primary_key=True)
    call: str = Field(index=True)
    segment: int
    sequence: int
    header: bytes = Field(sa_type=LargeBinary)
    nonce: bytes = Field(sa_type=LargeBinary)
    sealed: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary)


class DataKeyRow(AuditTable, table=True):
    """A data key wrapped to one reader. `wrapped` empty: destroyed, the call is erased."""

    __tablename__ = "data_key"
    __table_args__ = (Index("ix_data_key_call", "call"),)
    key: str = Field(primary_key=True)
    reader: str = Field(primary_key=True)
    call: str
    commitment: bytes = Field(sa_type=LargeBinary)
    wrapped: bytes | None = Field(default=None, sa_type=LargeBinary)


class NumberBlockRow(AuditTable, table=True):
    """A block of the global sequence, leased to one writer. `used` is known when the writer gave the rest back."""

    __tablename__ = "number_block"
    first: int = Field(primary_key=True, sa_type=BigInteger)
    count: int
    writer: str
    used: int | None = None


class JobRow(AuditTable, table=True):
    """A durable job of the outbox."""

    __tablename__ = "job"
    id: str = Field(primary_key=True)
    call: str = Field(index=True)
    kind: str
    opened_ns: int = Field(sa_type=BigInteger)
    ready_ns: int | None = Field(default=None, sa_type=BigInteger)
    leased_until_ns: int | None = Field(default=None, sa_type=BigInteger)
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    done_ns: int | None = Field(default=None, sa_type=BigInteger)


class CallbackRow(AuditTable, table=True):
    """Somebody must ring this caller; the number lies sealed in the record."""

    __tablename__ = "callback"
    id: str = Field(primary_key=True)
    call: str = Field(index=True)
    reason: str
    level: str
    opened_ns: int = Field(sa_type=BigInteger)
    due_ns: int = Field(sa_type=BigInteger)
    owner: str | None = None
    done_ns: int | None = Field(default=None, sa_type=BigInteger)


class AccessRow(AuditTable, table=True):
    """Who read what: written before it is shown, each row chained to the one before."""

    __tablename__ = "access"
    id: int | None = Field(default=None, primary_key=True)
    at_ns: int = Field(sa_type=BigInteger)
    who: str
    purpose: str
    call: str = Field(index=True)
    what: str
    prev: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary)
