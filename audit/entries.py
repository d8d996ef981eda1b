"""What a writer hands to a store or a journal: rows of a few kinds, each safe to write twice.

A store applies a batch in one transaction; a journal writes the same rows as lines of text. Every kind is idempotent,
so a row that went both ways (the store answered late) does no harm.
"""

import base64
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from audit.records import Record, locator


class Kind(StrEnum):
    """Which table a row is for, in the order in which a batch is applied."""

    CHAIN = "chain"  # a call exists
    KEY = "key"  # a wrapped data key
    RECORD = "record"  # a sealed record
    CLOSED = "closed"  # the chain is closed
    JOB = "job"  # a durable job of the outbox
    CALLBACK = "callback"  # somebody must ring this caller


COLUMNS: dict[Kind, tuple[str, ...]] = {
    Kind.CHAIN: ("call", "number", "bucket", "writer"),
    Kind.KEY: ("key", "reader", "call", "commitment", "wrapped"),
    Kind.RECORD: ("call", "segment", "sequence", "header", "nonce", "sealed", "hash", "locator"),
    Kind.CLOSED: ("call", "head"),
    Kind.JOB: ("id", "call", "kind", "opened_ns", "ready_ns"),
    Kind.CALLBACK: ("id", "call", "reason", "level", "opened_ns", "due_ns"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. `values` follow COLUMNS of its kind."""

    kind: Kind
    values: tuple[Any, ...]

    @property
    def call(self) -> str:
        """The call it belongs to."""
        return str(self.values[COLUMNS[self.kind].index("call")])

    def to_json(self) -> bytes:
        """One line for a journal, without its end."""
        fields = [{"b": base64.b64encode(v).decode()} if isinstance(v, bytes) else v for v in self.values]
        return json.dumps([self.kind.value, fields], separators=(",", ":"), ensure_ascii=False).encode()

    @staticmethod
    def from_json(raw: bytes) -> "Entry":
        """Parse a journal's line.

        Raises:
            ValueError: it is none.
        """
        try:
            kind, fields = json.loads(raw)
            values = tuple(base64.b64decode(v["b"], validate=True) if isinstance(v, dict) else v for v in fields)
            entry = Entry(Kind(kind), values)
        except (KeyError, TypeError) as error:
            raise ValueError("not a row") from error
        if len(values) != len(COLUMNS[entry.kind]):
            raise ValueError("not a row")
        return entry


def record_entry(call: str, segment: int, sequence: int, record: Record, digest: bytes) -> Entry:
    """The row of a sealed record. `digest` is its hash, computed once by the writer."""
    values = (call, segment, sequence, record.header, record.nonce, record.sealed, digest, locator(record.body))
    return Entry(Kind.RECORD, values)
