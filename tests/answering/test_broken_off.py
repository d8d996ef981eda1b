"""Promise: a worker that ends or a call that breaks leaves no caller alone, and its record is sealed."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fsm.events as ev
from tests.answering.ringing import CLIPS, Make, RingingLine, payloads
from tests.lines.world import found
from triage.answering import LAST_WORDS, carry
from triage.clock import run
from triage.errors import Unavailable
from triage.keeper import Keeper
from triage.lines.simulated import SimulatedLine
from triage.ports import RATE
from triage.runtime import Runtime


def test_the_end_of_the_worker_brings_a_nurse(make: Make) -> None:
    world = make()
    world.patience_s = 20.0

    async def job() -> None:
        async def later() -> None:
            await asyncio.sleep(4)
            world.ready.end()

        async with asyncio.TaskGroup() as group:
            group.create_task(later())
            await carry(world.ready, world.place())

    run(job(), virtual=True)
    (records,) = world.records()
    effects = [effect for payload in payloads(records, "step") for effect in payload["effects"]]
    assert any(effect.get("reason") == "stage_failed" for effect in effects)
    assert any(effect["type"] == "Transfer" for effect in effects)


@pytest.mark.parametrize("has_nurse", [False, True])
def test_who_has_no_nurse_when_the_worker_must_go_hears_where_to_turn_and_is_rung_back(make: Make, monkeypatch: pytest.MonkeyPatch, has_nurse: bool) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    async def job() -> None:
        carried = asyncio.ensure_future(carry(world.ready, world.place()))
        await asyncio.sleep(4)
        world.ready.end()
        await asyncio.sleep(5)
        if has_nurse:
            assert world.ready.live is not None, "in the middle of a call"
            runtime = world.ready.live.runtime
            runtime.call = replace(runtime.call, handoff=replace(runtime.call.handoff, bridged=1))
        await asyncio.sleep(2)
        carried.cancel()
        with pytest.raises(asyncio.CancelledError):
            await carried

    run(job(), virtual=True)
    (line,) = world.lines
    told = [found(CLIPS.clip(prompt).pcm, line.recording()[1]) for prompt in LAST_WORDS]
    assert [len(where) for where in told] == [not has_nurse] * len(LAST_WORDS)
    assert line.kept == [False]
    (records,) = world.records()
    tasks = [p["reason"] for p in payloads(records, "handoff") if p.get("event") == "callback"]
    assert tasks == ([] if has_nurse else ["stage_failed"])


def test_a_second_order_to_go_ends_the_last_words(make: Make) -> None:
    world = make()
    world.patience_s = 600.0

    async def job() -> float:
        carried = asyncio.ensure_future(carry(world.ready, world.place()))
        await asyncio.sleep(4)
        world.ready.end()
        for _ in range(2):
            await asyncio.sleep(2)
            carried.cancel()
        with pytest.raises(asyncio.CancelledError):
            await carried
        return asyncio.get_running_loop().time()

    assert run(job(), virtual=True) < 9.0
    assert world.lines[0].kept == [False]


def test_an_end_while_it_still_rings_answers_nothing(make: Make) -> None:
    world = make()

    async def enter() -> None:
        world.ready.end()

    world.enter = enter
    assert "left to the carrier" in world.carry()
    assert world.lines == [] and world.records() == []


def test_an_end_in_the_moment_of_the_answer_still_brings_a_nurse(make: Make) -> None:
    world = make()
    world.patience_s = 20.0

    async def answer(line: RingingLine) -> None:
        await line.answered()
        world.ready.ending = True

    world.answer = answer
    assert world.carry() in ("hung_up", "transferred")
    (records,) = world.records()
    effects = [effect for payload in payloads(records, "step") for effect in payload["effects"]]
    assert any(effect["type"] == "Transfer" for effect in effects)


def test_what_breaks_after_the_answer_comes_out_as_it_is_and_frees_the_room(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    world = make()

    def breaks(*_: Any) -> Coroutine[Any, Any, None]:
        raise ZeroDivisionError

    monkeypatch.setattr("triage.call.Runtime.run", breaks)
    with pytest.raises(ZeroDivisionError):
        world.carry()
    assert world.ready.live is None
    assert world.ready.rooms.enter("call_+15550100_a").visit == "again"


def broken_after(monkeypatch: pytest.MonkeyPatch, seconds: float, *, bridged: int = 0, urgent: bool = False) -> None:
    """The runtime lets something escape so long after the answer."""

    async def breaks(self: Runtime, connected: Callable[[], ev.CallConnected]) -> Any:
        self.call = replace(self.call, handoff=replace(self.call.handoff, bridged=bridged, urgent=urgent))
        await asyncio.sleep(seconds)
        raise ExceptionGroup("tasks", [ZeroDivisionError()])

    monkeypatch.setattr("triage.call.Runtime.run", breaks)


def heard(line: RingingLine, prompt: str) -> bool:
    return bool(found(CLIPS.clip(prompt).pcm, line.recording()[1]))


@pytest.mark.parametrize("after_s", [0.4, 20.0])
def test_the_caller_of_a_call_that_broke_hears_it_and_stands_for_whoever_comes(make: Make, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, after_s: float) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0
    sealed = list[bool]()

    async def rescue() -> None:
        sealed.append(world.ready.live is not None and world.ready.live._segment.finished)
        await asyncio.sleep(after_s)

    async def job() -> None:
        with pytest.raises(ExceptionGroup):
            await carry(world.ready, world.place())
        (line,) = world.lines
        assert line.talking and not line.ours and line.closed
        await asyncio.sleep(10)
        assert line.talking, "nobody hung up"
        assert heard(line, "apology") is (after_s > 5)
        assert not heard(line, "goodbye")

    broken_after(monkeypatch, 2.0)
    world.rescue = rescue
    run(job(), virtual=True)
    assert world.rescues == 1 and sealed == [True], "the record first"
    assert "broken off (ZeroDivisionError)" in log.text


@pytest.mark.parametrize("why", ["nobody comes", "a bug", "we are the rescue"])
def test_where_nobody_else_can_be_sent_the_number_is_said_and_then_hung_up(make: Make, monkeypatch: pytest.MonkeyPatch, why: str) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    async def rescue() -> None:
        await asyncio.sleep(8.0)
        raise Unavailable("worker", "nobody came") if why == "nobody comes" else RuntimeError

    broken_after(monkeypatch, 2.0)
    world.rescue = rescue
    with pytest.raises(ExceptionGroup):
        world.carry(rescue=why == "we are the rescue")
    (line,) = world.lines
    (number,) = found(CLIPS.clip("greeting_number").pcm, line.recording()[1])
    assert number / RATE < 2.0 + 8.0 + 0.1
    assert heard(line, "goodbye") and not line.talking
    assert world.rescues == (why != "we are the rescue")


@pytest.mark.parametrize("comes", [True, False])
def test_nurse_and_caller_who_talk_hear_nothing_of_a_call_that_broke(make: Make, monkeypatch: pytest.MonkeyPatch, comes: bool) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    async def rescue() -> None:
        await asyncio.sleep(6.0)
        if not comes:
            raise Unavailable("worker", "nobody came")

    broken_after(monkeypatch, 2.0, bridged=1)
    world.rescue = rescue
    with pytest.raises(ExceptionGroup):
        world.carry()
    (line,) = world.lines
    assert world.rescues == 1 and not np.any(line.recording()[1])


@pytest.mark.parametrize("comes", [True, False])
@pytest.mark.parametrize("rescue", [True, False])
def test_an_urgent_caller_whose_call_breaks_is_on_the_list_whoever_comes(make: Make, monkeypatch: pytest.MonkeyPatch, comes: bool, rescue: bool) -> None:  # fmt: skip
    """The record is sealed before anybody knows who comes; a task too many is struck off."""
    world = make()
    world.patience_s = 600.0

    async def asked() -> None:
        if not comes:
            raise Unavailable("worker", "nobody came")

    broken_after(monkeypatch, 2.0, urgent=True)
    world.rescue = asked
    with pytest.raises(ExceptionGroup):
        world.carry(rescue=rescue)
    (records,) = world.records()
    assert [p["reason"] for p in payloads(records, "handoff") if p.get("event") == "callback"] == ["urgent"]


def test_nobody_is_sent_for_a_caller_who_is_gone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make()
    broken_after(monkeypatch, 6.0)
    with pytest.raises(ExceptionGroup):
        world.carry()
    assert world.rescues == 0 and world.lines[0].closed


def test_a_line_that_breaks_too_is_closed_and_the_first_error_comes_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    def breaks(*_: Any) -> None:
        raise KeyError

    async def rescue() -> None:
        await asyncio.sleep(1)
        raise Unavailable("worker", "nobody came")

    broken_after(monkeypatch, 2.0)
    world.rescue = rescue
    monkeypatch.setattr(RingingLine, "send", breaks)
    with pytest.raises(ExceptionGroup, match="tasks"):
        world.carry()
    assert world.lines[0].closed and not world.lines[0].talking


def test_a_call_that_is_cut_off_is_sealed_and_summarised(make: Make, log: pytest.LogCaptureFixture) -> None:
    world = make()
    world.patience_s = 60.0

    async def job() -> None:
        async def cut() -> None:
            await asyncio.sleep(4)
            job_task.cancel()

        async with asyncio.TaskGroup() as group:
            job_task = group.create_task(carry(world.ready, world.place()))
            group.create_task(cut())

    run(job(), virtual=True)
    (records,) = world.records()
    (end,) = [payload for payload in payloads(records, "call") if "outcome" in payload]
    assert end["outcome"] == "failed" and end["broken_off"]
    assert "broken off (CancelledError)" in log.text
    keeper = Keeper(world.ready.folder, world.ready.engines.writer, now_ns=lambda: 1, wall_ns=time.time_ns)
    assert [summarised.call_id for summarised in keeper.work()] == [records[0].header.call]


def test_a_call_that_is_cut_off_is_sealed_before_its_line_closes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that closes may wait for a server that is gone, and the worker does not wait for it."""
    world, sealed = make(), list[bool]()
    world.patience_s = 60.0

    async def close(line: RingingLine, *, keep_caller: bool = False) -> None:
        assert not keep_caller and world.ready.live is not None
        sealed.append(world.ready.live._segment.finished)
        await SimulatedLine.close(line)

    async def job() -> None:
        asyncio.get_running_loop().call_later(3, setattr, world.ready, "ending", True)
        with suppress(TimeoutError):
            async with asyncio.timeout(4):
                await carry(world.ready, world.place())

    monkeypatch.setattr(RingingLine, "close", close)
    run(job(), virtual=True)
    assert sealed == [True]


@pytest.mark.parametrize("how", ["cancelled", "cancelled, and something breaks"])
@pytest.mark.parametrize("urgent", [True, False])
def test_a_worker_that_is_gone_leaves_its_caller_standing_and_an_urgent_one_on_the_list(make: Make, monkeypatch: pytest.MonkeyPatch, how: str, urgent: bool) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    async def lives(self: Runtime, connected: Callable[[], ev.CallConnected]) -> Any:
        self.call = replace(self.call, handoff=replace(self.call.handoff, urgent=urgent))
        try:
            await asyncio.sleep(60)
        finally:
            if how != "cancelled":
                raise ExceptionGroup("tasks", [ZeroDivisionError()])

    async def job() -> None:
        carried = asyncio.ensure_future(carry(world.ready, world.place()))
        await asyncio.sleep(3)
        world.orphaned = True
        carried.cancel()
        with pytest.raises((asyncio.CancelledError, ExceptionGroup)):
            await carried
        (line,) = world.lines
        await asyncio.sleep(5)
        assert line.closed and line.talking, "nobody hung up"

    monkeypatch.setattr("triage.call.Runtime.run", lives)
    run(job(), virtual=True)
    assert world.rescues == 0, "there is nobody to send"
    (records,) = world.records()
    (end,) = [payload for payload in payloads(records, "call") if "outcome" in payload]
    assert end["broken_off"]
    assert [p["reason"] for p in payloads(records, "handoff") if p.get("event") == "callback"] == ["urgent"] * urgent


def test_a_worker_that_goes_while_another_process_is_waited_for_leaves_the_caller_standing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    async def job() -> None:
        carried = asyncio.ensure_future(carry(world.ready, world.place()))
        await asyncio.sleep(5)
        carried.cancel()
        with pytest.raises(asyncio.CancelledError):
            await carried
        await asyncio.sleep(5)
        assert world.lines[0].talking and world.lines[0].closed

    async def rescue() -> None:
        await asyncio.sleep(60)

    broken_after(monkeypatch, 2.0)
    world.rescue = rescue
    run(job(), virtual=True)


@pytest.mark.parametrize("ending", [True, False])
def test_a_telephone_that_was_being_answered_when_the_worker_went_rings_on(make: Make, ending: bool) -> None:
    world = make()

    async def never(line: RingingLine) -> None:
        await asyncio.sleep(60)

    async def job() -> None:
        carried = asyncio.ensure_future(carry(world.ready, world.place()))
        await asyncio.sleep(2)
        world.ready.ending = ending
        carried.cancel()
        with pytest.raises(asyncio.CancelledError):
            await carried

    world.answer = never
    run(job(), virtual=True)
    assert world.lines[0].kept == [not ending]
