"""Promise: the local tools know little and behave like real ones: one booking per key, deadlines, one-line refusals."""

import asyncio
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from triage.errors import Refused, StorageError, TimedOut, Unavailable
from triage.tools import APPROVED_TEXT, BOOK, DEADLINE_S, PATIENT, FakeTools

BOOKING = {
    "idempotency_key": "call-1:callback",
    "number": "5550100",
    "confirmed": "yes",
    "level": "routine",
    "within_s": "14400",
    "protocol": "sore_throat/1",
}


async def test_a_call_back_is_booked_once_however_often_it_is_asked_for() -> None:
    tools = FakeTools()
    first = await tools.call(BOOK, BOOKING)
    again = await tools.call(BOOK, {**BOOKING, "within_s": "3600"})
    assert first.ok
    assert first == again, "the first booking stands"
    assert first.values == {"reference": "CB-0001", "within_s": "14400"}
    other = await tools.call(BOOK, {**BOOKING, "idempotency_key": "call-2:callback"})
    assert other.values["reference"] == "CB-0002"
    assert [row["key"] for row in tools.bookings()] == ["call-1:callback", "call-2:callback"]


async def test_bookings_outlive_the_process(tmp_path: Path) -> None:
    tools = FakeTools(tmp_path / "tools.db")
    await tools.call(BOOK, BOOKING)
    tools.close()
    later = FakeTools(tmp_path / "tools.db")
    assert later.bookings() == [{"key": "call-1:callback", "reference": "CB-0001", "within_s": 14400}]
    assert (await later.call(BOOK, BOOKING)).values["reference"] == "CB-0001"
    later.close()


async def test_the_file_says_nothing_of_the_caller(tmp_path: Path) -> None:
    """Their number and what was found stand in the record, sealed; here they would lie in clear, and outlive its key."""
    tools = FakeTools(tmp_path / "tools.db", patients={"5550100": "P-7"})
    await tools.call(BOOK, BOOKING)
    assert (await tools.call(PATIENT, {"number": "5550100"})).ok
    tools.close()
    written = (tmp_path / "tools.db").read_bytes()
    assert [word for word in ("5550100", "P-7", "routine", "sore_throat") if word.encode() in written] == []


async def test_a_file_of_an_earlier_version_forgets_what_it_said(tmp_path: Path) -> None:
    path = tmp_path / "tools.db"
    with closing(sqlite3.connect(path)) as base:
        base.executescript(
            "CREATE TABLE patient (number TEXT PRIMARY KEY, reference TEXT NOT NULL);"
            "CREATE TABLE callback (key TEXT PRIMARY KEY, reference TEXT NOT NULL, number TEXT NOT NULL,"
            " confirmed TEXT NOT NULL, level TEXT NOT NULL, within_s INTEGER NOT NULL, protocol TEXT NOT NULL);"
            "INSERT INTO patient VALUES ('5550100', 'P-7');"
            "INSERT INTO callback VALUES ('call-1:callback', 'CB-0001', '5550100', 'yes', 'routine', 14400, 'x/1');"
        )
    for _ in range(2):
        tools = FakeTools(path)
        assert (await tools.call(BOOK, BOOKING)).values["reference"] == "CB-0001"
        tools.close()
    assert b"5550100" not in path.read_bytes()


async def test_a_disk_that_is_slow_holds_up_no_call(tmp_path: Path) -> None:
    """A sound every 20 ms comes from the same loop."""
    tools, ticks = FakeTools(tmp_path / "tools.db"), list[float]()
    loop = asyncio.get_running_loop()

    async def tick() -> None:
        while True:
            ticks.append(loop.time())
            await asyncio.sleep(0.01)

    with closing(sqlite3.connect(tmp_path / "tools.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        ticking = asyncio.ensure_future(tick())
        with pytest.raises(Unavailable):
            await tools.call(BOOK, BOOKING)
        ticking.cancel()
    assert len(ticks) > 5 and max(b - a for a, b in pairwise(ticks)) < 0.1
    tools.close()


async def test_two_bookings_at_once_are_one() -> None:
    tools = FakeTools(delay_s={BOOK: 0.001})
    results = await asyncio.gather(*(tools.call(BOOK, BOOKING) for _ in range(5)))
    assert {result.values["reference"] for result in results} == {"CB-0001"}
    assert len(tools.bookings()) == 1


async def test_a_known_number_finds_its_patient_and_an_unknown_one_does_not() -> None:
    tools = FakeTools(patients={"5550100": "P-7"})
    assert (await tools.call(PATIENT, {"number": "5550100"})).values == {"reference": "P-7"}
    missing = await tools.call(PATIENT, {"number": "5550199"})
    assert (missing.ok, missing.values) == (False, {})


async def test_only_approved_texts_are_given_with_the_name_of_who_approved_them() -> None:
    tools = FakeTools(texts={"fever": ("Drink enough.", "clinical lead")})
    found = await tools.call(APPROVED_TEXT, {"id": "fever"})
    assert found.values == {"text": "Drink enough.", "approved_by": "clinical lead"}
    assert not (await tools.call(APPROVED_TEXT, {"id": "other"})).ok


@pytest.mark.parametrize("missing", ["idempotency_key", "number", "within_s"])
async def test_a_booking_without_what_it_needs_is_refused(missing: str) -> None:
    tools = FakeTools()
    with pytest.raises(Refused, match=f"{missing} is missing"):
        await tools.call(BOOK, {key: value for key, value in BOOKING.items() if key != missing})
    assert tools.bookings() == []


@pytest.mark.parametrize("within", ["soon", "-5", "1.5", "٣"])
async def test_a_window_must_be_whole_seconds(within: str) -> None:
    with pytest.raises(Refused, match="within_s"):
        await FakeTools().call(BOOK, {**BOOKING, "within_s": within})


async def test_a_tool_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Refused, match="no such tool"):
        await FakeTools().call("prescribe", {})


async def test_a_tool_past_its_deadline_has_failed_and_done_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = FakeTools(delay_s={BOOK: 3_600.0})
    for latency in DEADLINE_S:
        monkeypatch.setitem(DEADLINE_S, latency, 0.005)
    with pytest.raises(TimedOut):
        await tools.call(BOOK, BOOKING)
    assert tools.bookings() == []


async def test_a_file_that_fails_is_an_engine_that_is_not_there() -> None:
    tools = FakeTools()
    tools.close()
    with pytest.raises(Unavailable):
        await tools.call(BOOK, BOOKING)


def test_a_file_that_cannot_be_used_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "tools.db").write_bytes(b"this is no database, and long enough to be seen as none" * 50)
    with pytest.raises(StorageError, match="move it away") as refused:
        FakeTools(tmp_path / "tools.db")
    assert "\n" not in str(refused.value)


async def test_no_error_carries_the_callers_number() -> None:
    with pytest.raises(Refused) as refused:
        await FakeTools().call(BOOK, {"number": "5550100", "idempotency_key": "k", "within_s": "x"})
    assert "5550100" not in str(refused.value)
