"""Errors of the record.

AuditError
├── NotCanonical        a payload holds something that has no canonical bytes (a float, a key that is no text)
├── SealBroken          a seal does not open: altered, or sealed under another key
├── SegmentFinished     somebody appended after the segment had ended
├── NotDurable          neither store nor journal has taken a record (yet)
├── StoreFailed         the store cannot be used: names it and the remedy
│   └── SpoolPending    the journal still holds records of this call: join it first
├── KeyMissing          no key where one is needed: names the file and the remedy
│   └── KeyErased       the data key of this call was destroyed on purpose
├── UnknownCall         no such call in this store
└── ChainBroken         the record was altered; says where
    ├── RecordAltered   bytes of a record differ from what was sealed
    ├── RecordMissing   a record that was written is gone (or the chain was cut short)
    ├── RecordForeign   a record stands where it does not belong: inserted, copied, moved, of another call
    ├── NonceReused     two records of one key carry the same nonce
    ├── CallMissing     a whole call is gone from the global sequence
    └── AccessBroken    the log of readings was altered

No message carries a payload, a caller's words, names or numbers: call ids, positions and fixed wording only. A call id may
come from a store that somebody altered: no sign of it orders a terminal about.
"""

from audit.printable import printable


class AuditError(Exception):
    """Base of everything this package raises on purpose."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class NotCanonical(AuditError):
    """A payload has no canonical bytes; the message names the path, never the value."""


class SealBroken(AuditError):
    """A seal does not open."""


class SegmentFinished(AuditError):
    """The segment has ended; it never grows again."""


class NotDurable(AuditError):
    """Neither the store nor the journal has taken the record."""


class StoreFailed(AuditError):
    """The store cannot be used; the message names it and the remedy."""


class SpoolPending(StoreFailed):
    """The journal still holds records of this call."""


class KeyMissing(AuditError):
    """No usable key; the message names the file and the remedy."""


class KeyErased(KeyMissing):
    """The data key of this call was destroyed: its content is gone for good, the chain still verifies."""


class UnknownCall(AuditError):
    """No such call in this store."""


class ChainBroken(AuditError):
    """The record was altered.

    `offset` counts bytes within the record as hashed: header, then nonce, then sealed bytes. None: the whole record.
    """

    def __init__(
        self,
        what: str,
        *,
        call: str = "",
        segment: int | None = None,
        sequence: int | None = None,
        offset: int | None = None,
        part: str = "",
    ) -> None:
        self.what = what
        self.call = call
        self.segment = segment
        self.sequence = sequence
        self.offset = offset
        self.part = part
        """header, nonce or sealed; empty where the offset is unknown."""
        super().__init__(f"{what}: {self.place}" if self.place else what)

    @property
    def place(self) -> str:
        """Where, in words."""
        words = []
        if self.call:
            words.append(f"call {self.call}")
        if self.segment is not None:
            words.append(f"segment {self.segment}")
        if self.sequence is not None:
            words.append(f"record {self.sequence}")
        if self.offset is not None:
            words.append(f"byte {self.offset}" + (f" ({self.part})" if self.part else ""))
        return printable(", ".join(words))


class RecordAltered(ChainBroken):
    """Bytes of a record differ from what was sealed."""


class RecordMissing(ChainBroken):
    """A record that was written is gone, or the chain was cut short."""


class RecordForeign(ChainBroken):
    """A record stands where it does not belong."""


class NonceReused(ChainBroken):
    """Two records of one key carry the same nonce."""


class CallMissing(ChainBroken):
    """A whole call is gone from the global sequence."""


class AccessBroken(ChainBroken):
    """The log of readings was altered."""
