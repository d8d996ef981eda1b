"""What a writer reports: counts, and troubles for the pager. None of it carries a payload."""

import errno
from dataclasses import dataclass
from enum import StrEnum


class TroubleKind(StrEnum):
    """What a pager wants to know."""

    STORE_FAILED = "store_failed"  # it raised
    STORE_HUNG = "store_hung"  # it did not answer
    STORE_BACK = "store_back"  # the journal has joined; nothing is missing
    JOURNAL_FAILED = "journal_failed"  # rows live in memory only
    JOURNAL_DAMAGED = "journal_damaged"  # a line that was written does not read back


@dataclass(frozen=True, slots=True)
class Trouble:
    """One report. Carries no payload."""

    kind: TroubleKind
    code: str = ""
    """Class of the error, or its SQLite or system name."""


@dataclass(slots=True)
class Counts:
    """What the writer has done. Read only."""

    submitted: int = 0
    """Rows."""
    committed: int = 0
    """Rows settled by the store."""
    spooled: int = 0
    """Rows settled by the journal."""
    failed: int = 0
    """Rows settled by neither."""
    joined: int = 0
    """Rows that went from the journal to the store."""
    commits: int = 0
    late: int = 0
    """Batches that the journal took over because the store was late."""
    failures: int = 0
    """Errors of the store."""
    unreported: int = 0
    """Troubles whose report raised."""


def code_of(error: BaseException) -> str:
    """A short code for a log line: never the error's text, which may quote values."""
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, type(error).__name__)
    return str(getattr(error, "sqlite_errorname", "") or type(error).__name__)
