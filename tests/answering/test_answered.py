"""Promise: a call that rings is answered only when all is ready, greeted once, and nothing of its caller is in a log."""

import asyncio
import logging
from typing import Any

import pytest

from tests.answering.ringing import IDENTITY, NUMBER, Make, Participant, RingingLine, payloads, prompts
from triage import answering
from triage.answering import CALLER_WITHIN_S, carry
from triage.bench.mark import MARK
from triage.clock import run
from triage.errors import TimedOut, Unavailable
from triage.lines.livekit.rooms import ACTIVE, STATUS
from triage.stages.reciting_stt import RecitingSpeechToText


def test_a_call_is_answered_greeted_recorded_and_numbered(make: Make, log: pytest.LogCaptureFixture) -> None:
    world = make()
    assert world.carry() == "hung_up"
    (records,) = world.records()
    assert "greeting" in prompts(records)
    (number,) = [p["number"] for p in payloads(records, "call") if p.get("event") == "caller_number"]
    assert number == NUMBER
    (line,) = world.lines
    assert line.steps == ["open", "connect"] and line.closed
    assert NUMBER not in log.text and IDENTITY not in log.text and "headache" not in log.text
    assert "first sound" in log.text and "closed: hung_up" in log.text
    assert world.ready.live is None


def test_nothing_is_answered_before_the_recogniser_is_ready(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world, order = make(), list[str]()

    class Slow(RecitingSpeechToText):
        async def start(self) -> None:
            if "recogniser" not in order:
                await asyncio.sleep(2)
                order.append("recogniser")

    async def enter() -> None:
        order.append("room")

    monkeypatch.setattr(answering, "RecitingSpeechToText", Slow)
    monkeypatch.setattr(RingingLine, "open", lambda self: _noted(order, "open"))
    world.enter = enter
    assert world.carry() == "hung_up"
    assert order == ["room", "recogniser", "open"]


async def _noted(order: list[str], what: str) -> None:
    order.append(what)


# --- once


def test_the_same_room_again_is_rescued_and_never_greeted(make: Make) -> None:
    world = make()
    world.carry()
    world.carry()
    first, second = world.records()
    assert "greeting" in prompts(first) and "greeting" not in prompts(second)
    assert "rescued" in prompts(second)
    assert [any(p.get("rescue") for p in payloads(r, "call")) for r in (first, second)] == [False, True]
    assert len(world.records()) == 2, "an id that has a record is not opened again"


def test_a_rescue_by_dispatch_does_not_greet(make: Make) -> None:
    world = make()
    world.carry(rescue=True)
    (records,) = world.records()
    assert "rescued" in prompts(records) and "greeting" not in prompts(records)


def test_a_caller_whom_somebody_elsewhere_had_answered_is_not_greeted_anew(make: Make) -> None:
    """Rooms are noted on each machine; that the telephone rings no more is known to all."""
    world = make()
    world.participants = [Participant(attributes={STATUS: ACTIVE})]
    world.carry()
    (records,) = world.records()
    assert "rescued" in prompts(records) and "greeting" not in prompts(records)


def test_a_room_whose_agent_lives_is_left_unless_we_are_sent_to_rescue(make: Make) -> None:
    world = make()
    living = world.ready.rooms.enter("call_+15550100_a")
    assert world.carry() == "a room that has its agent: left to that one"
    assert world.lines == [] and world.records() == []
    assert world.carry(rescue=True) == "hung_up"
    living.leave()


def test_a_disk_that_notes_no_room_lets_the_caller_in(make: Make, log: pytest.LogCaptureFixture) -> None:
    world = make()
    (world.folder / "line").mkdir()
    (world.folder / "line" / "rooms").write_text("in the way")
    assert world.carry() == "hung_up"
    assert "cannot be noted" in log.text


# --- not answered


def test_nobody_in_the_room_is_waited_for_and_left(make: Make) -> None:
    world = make()
    world.participants = []

    async def job() -> float:
        assert await carry(world.ready, world.place()) == "a room without a caller: left"
        return asyncio.get_running_loop().time()

    assert run(job(), virtual=True) == pytest.approx(CALLER_WITHIN_S, abs=0.1)
    assert world.records() == []


@pytest.mark.parametrize("profile", answering.IN_EARNEST)
def test_a_participant_of_the_bench_is_refused_in_earnest(make: Make, log: pytest.LogCaptureFixture, profile: str) -> None:  # fmt: skip
    world = make(profile=profile)
    world.participants = [Participant(attributes=dict(MARK))]
    assert "not answered" in world.carry()
    assert world.lines == [] and world.records() == []
    assert any(record.levelno >= logging.ERROR for record in log.records)


def test_the_bench_serves_its_own(make: Make) -> None:
    world = make()
    world.participants = [Participant(attributes=dict(MARK))]
    assert world.carry() == "hung_up"


@pytest.mark.parametrize("error", [Unavailable("line", "caller gone"), TimedOut("line", "never active")])
def test_a_caller_who_gives_up_while_it_rings_leaves_no_record(make: Make, error: Exception) -> None:
    world = make()
    world.breaks = error
    assert "given up" in world.carry()
    assert world.records() == [] and world.lines[0].closed == 1


def test_a_recogniser_that_cannot_start_answers_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make()

    async def fails(_: Any) -> None:
        raise Unavailable("stt", "no wheel")

    monkeypatch.setattr(RecitingSpeechToText, "start", fails)
    assert world.carry() == "a call that was not answered: stt: no wheel"
    assert world.lines == []


def test_a_room_that_cannot_be_entered_ends_the_job(make: Make) -> None:
    world = make()

    async def refused() -> None:
        raise Unavailable("line", "room cannot be entered")

    world.enter = refused
    assert "room cannot be entered" in world.carry()


def test_a_script_that_is_gone_answers_nothing(make: Make) -> None:
    world = make()
    (world.folder / "script.txt").unlink()
    assert "stt_script" in world.carry()
    assert world.lines == []


# --- the number


def test_a_number_that_is_told_late_or_after_failures_is_still_noted(make: Make) -> None:
    world, tries = make(), list[int]()

    async def slow() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError(f"no answer from {IDENTITY}")
        return NUMBER

    world.number = slow
    assert world.carry() == "hung_up"
    (records,) = world.records()
    assert [p["number"] for p in payloads(records, "call") if p.get("event") == "caller_number"] == [NUMBER]


def test_a_number_that_never_comes_holds_nothing_up_and_its_error_is_not_quoted(make: Make, log: pytest.LogCaptureFixture) -> None:  # fmt: skip
    world = make()

    async def never() -> str:
        raise RuntimeError(f"no answer from {IDENTITY} {NUMBER}")

    world.number = never
    assert world.carry() == "hung_up"
    assert IDENTITY not in log.text and NUMBER not in log.text and "RuntimeError" in log.text


def test_a_number_that_hangs_ends_with_the_call(make: Make) -> None:
    world = make()

    async def hangs() -> str:
        await asyncio.sleep(3600)
        return NUMBER

    world.number = hangs
    assert world.carry() == "hung_up"
