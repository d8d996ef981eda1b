"""Local stand-ins for the operator's tools, on SQLite: patient look-up, approved texts, booking a call-back.

They keep what a real server must keep: a deadline per latency class, and one booking per idempotency key, however often
it is asked for. They are fakes in what they know, not in how they behave.
"""

import asyncio
import sqlite3
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
_SCHEMA = """
CREATE TABLE IF NOT EXISTS patient (number TEXT PRIMARY KEY, reference TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS approved_text (id TEXT PRIMARY KEY, text TEXT NOT NULL, approved_by TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS callback (
    key TEXT PRIMARY KEY, reference TEXT NOT NULL, number TEXT NOT NULL, confirmed TEXT NOT NULL,
    level TEXT NOT NULL, within_s INTEGER NOT NULL, protocol TEXT NOT NULL
);
"""
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
        place = ":memory:" if path is None else str(path)
        try:
            self._base = sqlite3.connect(place, check_same_thread=False, timeout=0.2)
            self._base.executescript(_SCHEMA)
            with self._base:
                self._base.executemany("INSERT OR REPLACE INTO patient VALUES (?, ?)", (patients or {}).items())
                self._base.executemany(
                    "INSERT OR REPLACE INTO approved_text VALUES (?, ?, ?)",
                    [(name, text, approved) for name, (text, approved) in (texts or {}).items()],
                )
        except sqlite3.Error as error:
            raise StorageError(f"tools file {place} cannot be used; move it away or choose another --data") from error

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
                return self._run(name, arguments)
        except TimeoutError as error:
            raise TimedOut("tools", "too slow") from error
        except sqlite3.Error as error:
            raise Unavailable("tools", "store") from error

    def bookings(self) -> list[dict[str, Any]]:
        """Every call-back that was booked, oldest first."""
        cursor = self._base.execute("SELECT * FROM callback ORDER BY rowid")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

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
        return runs[name](arguments)

    def _find_patient(self, arguments: Mapping[str, str]) -> ToolResult:
        number = _needed(arguments, "number")
        row = self._base.execute("SELECT reference FROM patient WHERE number = ?", (number,)).fetchone()
        return ToolResult(ok=row is not None, values={"reference": row[0]} if row else {})

    def _approved_text(self, arguments: Mapping[str, str]) -> ToolResult:
        wanted = _needed(arguments, "id")
        row = self._base.execute("SELECT text, approved_by FROM approved_text WHERE id = ?", (wanted,)).fetchone()
        return ToolResult(ok=row is not None, values={"text": row[0], "approved_by": row[1]} if row else {})

    def _book(self, arguments: Mapping[str, str]) -> ToolResult:
        key = _needed(arguments, "idempotency_key")
        number, within = _needed(arguments, "number"), _whole(_needed(arguments, "within_s"))
        given = arguments.get
        with self._base:
            self._base.execute(
                "INSERT INTO callback SELECT ?, 'CB-' || printf('%04d', count(*) + 1), ?, ?, ?, ?, ? FROM callback "
                "WHERE true ON CONFLICT (key) DO NOTHING",
                (key, number, given("confirmed", "no"), given("level", ""), within, given("protocol", "")),
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
