"""Local stand-ins for the operator's tools: patient look-up, approved texts, booking a call-back.

They keep what a real server must keep: a deadline per latency class, and one booking per idempotency key, however often
it is asked for. They are fakes in what they know, not in how they behave. Bookings are on SQLite, in clear: so they hold
the key (which begins with the call's id), the reference and the window, and nothing of the caller. Whom to ring stands in
the call's record, sealed.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from triage.errors import Refused, StorageError, TimedOut, Unavailable
from triage.ports import Latency, ToolResult, ToolSpec

DEADLINE_S = {Latency.FAST: 0.5, Latency.SLOW: 2.0}
"""Seconds after which a tool has failed."""
PATIENT, APPROVED_TEXT, BOOK = "find_patient", "approved_text", "book_callback"

_SPECS = (
    ToolSpec(PATIENT, Latency.FAST, reversible=True),
    ToolSpec(APPROVED_TEXT, Latency.FAST, reversible=True),
    ToolSpec(BOOK, Latency.SLOW, reversible=False),
)
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS callback (key TEXT PRIMARY KEY, reference TEXT NOT NULL, within_s INTEGER NOT NULL)"
)
_COLUMNS = ("key", "reference", "within_s")
T = TypeVar("T")


class FakeTools:
    """`ports.Tools` on an SQLite file, or in memory."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        patients: Mapping[str, str] | None = None,
        texts: Mapping[str, tuple[str, str]] | None = None,
        delay_s: Mapping[str, float] | None = None,
    ) -> None:
        """Open or make the file.

        `patients`: call-back number to patient reference. `texts`: id to (text, who approved it). `delay_s`: how long a
        tool takes here, by name, to show what a slow one does.

        Raises:
            StorageError: the file cannot be used.
        """
        self._delay_s = dict(delay_s or {})
        self._patients, self._texts = dict(patients or {}), dict(texts or {})
        self._lock = threading.Lock()
        place = ":memory:" if path is None else str(path)
        try:
            self._base = sqlite3.connect(place, check_same_thread=False, timeout=0.2)
            self._base.execute("PRAGMA secure_delete=ON")
            with self._base:
                self._base.execute(_SCHEMA)
                self._forget_callers()
        except sqlite3.Error as error:
            raise StorageError(f"tools file {place} cannot be used; move it away or choose another --data") from error

    def _forget_callers(self) -> None:
        """A file of an earlier version said whom to ring, and why."""
        self._base.execute("DROP TABLE IF EXISTS patient")
        self._base.execute("DROP TABLE IF EXISTS approved_text")
        for column in [name for _, name, *_ in self._base.execute("PRAGMA table_info(callback)")]:
            if column not in _COLUMNS:
                self._base.execute(f"ALTER TABLE callback DROP COLUMN {column}")

    def specs(self) -> tuple[ToolSpec, ...]:
        """What exists."""
        return _SPECS

    async def call(self, name: str, arguments: Mapping[str, str]) -> ToolResult:
        """Run one tool within its deadline.

        Raises:
            StageError: no such tool, an argument is missing, it took too long, or the file failed.
        """
        spec = next((spec for spec in _SPECS if spec.name == name), None)
        if spec is None:
            raise Refused("tools", "no such tool")
        try:
            async with asyncio.timeout(DEADLINE_S[spec.latency]):
                await asyncio.sleep(self._delay_s.get(name, 0.0))
                return await asyncio.to_thread(self._run, name, arguments)  # the disk is waited for elsewhere
        except TimeoutError as error:
            raise TimedOut("tools", "too slow") from error
        except sqlite3.Error as error:
            raise Unavailable("tools", "store") from error

    def bookings(self) -> list[dict[str, Any]]:
        """Every call-back that was booked, oldest first: key, reference, window in seconds."""
        rows = self._base.execute(f"SELECT {', '.join(_COLUMNS)} FROM callback ORDER BY rowid")
        return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]

    def close(self) -> None:
        """Free the file; idempotent."""
        self._base.close()

    # --- the tools

    def _run(self, name: str, arguments: Mapping[str, str]) -> ToolResult:
        runs: dict[str, Callable[[Mapping[str, str]], ToolResult]] = {
            PATIENT: self._find_patient,
            APPROVED_TEXT: self._approved_text,
            BOOK: self._book,
        }
        with self._lock:
            return runs[name](arguments)

    def _find_patient(self, arguments: Mapping[str, str]) -> ToolResult:
        found = self._patients.get(_needed(arguments, "number"))
        return ToolResult(ok=found is not None, values={"reference": found} if found is not None else {})

    def _approved_text(self, arguments: Mapping[str, str]) -> ToolResult:
        found = self._texts.get(_needed(arguments, "id"))
        return ToolResult(ok=found is not None, values={"text": found[0], "approved_by": found[1]} if found else {})

    def _book(self, arguments: Mapping[str, str]) -> ToolResult:
        key, within = _needed(arguments, "idempotency_key"), _whole(_needed(arguments, "within_s"))
        _needed(arguments, "number")  # nobody could ring back without; it is in the record
        with self._base:
            self._base.execute(
                "INSERT INTO callback SELECT ?, 'CB-' || printf('%04d', count(*) + 1), ? FROM callback "
                "WHERE true ON CONFLICT (key) DO NOTHING",
                (key, within),
            )
        row = self._base.execute("SELECT reference, within_s FROM callback WHERE key = ?", (key,)).fetchone()
        return ToolResult(ok=True, values={"reference": row[0], "within_s": str(row[1])})


def _needed(arguments: Mapping[str, str], name: str) -> str:
    value = arguments.get(name, "")
    if not value:
        raise Refused("tools", f"{name} is missing")
    return value


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise Refused("tools", "within_s is no number of seconds")
    return int(text)
