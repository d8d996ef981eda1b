"""P2: a machine that breaks still brings a nurse, and a second failure leaves the caller's leg to somebody else, never to silence."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import fsm.effects as fx
import fsm.events as ev
import triage.runtime as runtime_module
from fsm.call import Call
from fsm.machine import Step, step
from fsm.states import TimerName
from tests.ladders import caller_leaves
from tests.test_runtime import DIAL, REFER, URGENT, Desk, World, live
from triage.clock import run
from triage.last_ladder import FIRST, KEY_WITHIN_S
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.ports import LineSignal, SignalKind


def broken(call: Call, event: ev.Event) -> Step:
    raise RuntimeError("a hole in the table")


@pytest.fixture
def hole(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], None]:
    """Break the machine of a world."""

    def breaks(world: World) -> None:
        monkeypatch.setattr(runtime_module, "step", broken)
        world.runtime.tell(ev.WordsHeard(at_ns=world.clock.now_ns()))

    return breaks


def test_a_nurse_who_answers_is_told_accepts_and_gets_the_caller(hole: Callable[[World], None]) -> None:
    async def story(world: World) -> None:
        hole(world)
        await asyncio.sleep(8)
        (attempt,) = world.line.whispered(FIRST + 1)
        assert attempt
        assert world.runtime.call.handoff.bridged == FIRST + 1
        heard = world.prompts()
        await asyncio.sleep(25)
        assert world.prompts() == heard, "the two are alone"

    world = live(story, nurse=NursePhone())
    assert world.prompts()[1:] == ["apology"]
    assert world.sealed == 1


def test_a_nurse_who_is_lost_is_followed_by_another(hole: Callable[[World], None]) -> None:
    async def story(world: World) -> None:
        hole(world)
        await asyncio.sleep(12)

    world = live(story, nurse=NursePhone(Behaviour.DROPS, drops_after_s=1.0))
    assert world.prompts()[1:3] == ["apology", "reconnecting"]
    assert world.line.code_sent(FIRST + 2) is not None


def test_a_nurse_who_is_done_ends_the_call(hole: Callable[[World], None]) -> None:
    async def story(world: World) -> None:
        hole(world)
        await asyncio.sleep(20)
        assert world.sealed == 1 and world.line.code_sent(FIRST + 2) is None

    assert live(story, nurse=NursePhone(done_after_s=3.0)).nursing.callbacks == []


def test_a_nurse_who_has_the_caller_keeps_them_in_peace(hole: Callable[[World], None]) -> None:
    async def story(world: World) -> None:
        world.runtime.tell(URGENT)
        async with asyncio.timeout(30):
            while not world.runtime.call.handoff.bridged:  # noqa: ASYNC110 virtual time
                await asyncio.sleep(0.1)
        hole(world)
        heard = world.prompts()
        await asyncio.sleep(30)
        assert world.prompts() == heard
        assert world.line.code_sent(FIRST + 1) is None

    live(story, queue=NursePhone(Behaviour.BUSY), nurse=NursePhone())


def test_voicemail_is_let_go_and_the_number_is_said_within_10_s_and_again(hole: Callable[[World], None]) -> None:
    async def story(world: World) -> None:
        hole(world)
        await asyncio.sleep(45)

    world = live(story, nurse=NursePhone(Behaviour.VOICEMAIL))
    assert world.prompts()[1:5] == ["apology", "emergency_number", "emergency_number", "emergency_number"]
    assert world.line.code_sent(FIRST + 2) is not None


def test_a_caller_whom_the_carrier_takes_ends_the_call_as_transferred(hole: Callable[[World], None], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(Desk, "ladder", lambda *_, **__: (REFER,))

    async def story(world: World) -> None:
        hole(world)
        await asyncio.sleep(6)
        assert world.sealed == 1 and world.runtime.call.handoff.taken == FIRST + 1
        world.patient.hung_up = True

    live(story, queue=NursePhone())


def test_whoever_takes_the_caller_reads_what_is_known_of_them(hole: Callable[[World], None]) -> None:
    async def story(world: World) -> None:
        hole(world)
        assert [packet.reason.value for packet in world.nursing.packets] == ["stage_failed"]
        await asyncio.sleep(1)
        world.runtime.tell(URGENT)
        assert (world.nursing.packets[-1].level, world.nursing.packets[-1].rank) == ("nurse_now", 100)
        world.runtime.tell(replace(URGENT, rank=1))
        assert len(world.nursing.packets) == 2, "a lighter finding changes nothing"

    live(story, nurse=NursePhone(Behaviour.SILENT))


# --- a nurse who was held when the machine broke


def held(key_after_s: float, behaviour: Behaviour = Behaviour.ANSWERS) -> NursePhone:
    return NursePhone(behaviour, answers_after_s=1.0, key_after_s=key_after_s)


async def until_held(world: World) -> None:
    world.runtime.tell(URGENT)
    async with asyncio.timeout(30):
        while not any(attempt.held for attempt in world.runtime.call.handoff.open):  # noqa: ASYNC110 virtual time
            await asyncio.sleep(0.1)


def test_a_nurse_who_is_held_when_the_machine_breaks_accepts_as_always(hole: Callable[[World], None]) -> None:
    async def story(world: World) -> None:
        await until_held(world)
        hole(world)
        await asyncio.sleep(8)
        assert world.runtime.call.handoff.bridged == 2
        assert world.line.code_sent(FIRST + 1) is None, "her phone was rung while she held it"

    world = live(story, queue=NursePhone(Behaviour.BUSY), nurse=held(6.0))
    assert world.nursing.callbacks == []


def test_voicemail_that_is_held_when_the_machine_breaks_is_let_go_and_others_are_rung(hole: Callable[[World], None]) -> None:  # fmt: skip
    async def story(world: World) -> None:
        await until_held(world)
        hole(world)
        await asyncio.sleep(KEY_WITHIN_S + 1)
        assert world.line._legs[2].settled
        assert world.line.code_sent(FIRST + 1) is not None

    live(story, queue=NursePhone(Behaviour.BUSY), nurse=held(99.0, Behaviour.VOICEMAIL))


def test_a_nurse_who_is_lost_while_she_is_held_is_followed_by_another_at_once(hole: Callable[[World], None]) -> None:
    async def story(world: World) -> None:
        await until_held(world)
        hole(world)
        world.line._report(world.line._legs[2], LineSignal(SignalKind.NURSE_LOST, 2))
        await asyncio.sleep(1)
        assert world.line.code_sent(FIRST + 1) is not None

    live(story, queue=NursePhone(Behaviour.BUSY), nurse=held(99.0))


@pytest.mark.parametrize(
    "first", [NursePhone(), NursePhone(Behaviour.DROPS, drops_after_s=2.0)], ids=["stays", "is lost"]
)
def test_whatever_event_breaks_it_a_nurse_who_accepts_gets_the_caller(first: NursePhone, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Her answer, her key, the loss of her leg may be what breaks the machine: it is followed all the same."""
    second = replace(DIAL, target="second")
    monkeypatch.setattr(Desk, "ladder", lambda *_, **__: (second,))

    async def main(breaks_at: int) -> int:
        seen = 0

        def breaks(call: Call, event: ev.Event) -> Step:
            nonlocal seen
            seen += 1
            return step(call, event) if seen < breaks_at else broken(call, event)

        monkeypatch.setattr(runtime_module, "step", breaks)
        world = World({"nurse": first, "second": NursePhone()})
        running = asyncio.ensure_future(
            world.runtime.run(lambda: replace(world.connected(), urgent_ladder=(DIAL, second)))
        )
        await asyncio.sleep(0.1)
        world.runtime.tell(URGENT)
        await asyncio.sleep(60)
        bridged = world.runtime.call.handoff.bridged
        assert bridged and world.line._legs[bridged].connected, (
            f"nobody has the caller when event {breaks_at} breaks it"
        )
        caller_leaves(world.line)
        await running
        assert world.nursing.callbacks == []
        return seen

    for breaks_at in range(1, 1 + run(main(10**6), virtual=True)):
        run(main(breaks_at), virtual=True)


# --- a caller who has gone


@pytest.mark.parametrize("breaks_on", [ev.HungUp, ev.TailDrained, ev.TransferAnswered])
def test_who_has_gone_is_climbed_for_by_nobody_and_the_record_is_sealed(breaks_on: type[ev.Event], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    def breaks(call: Call, event: ev.Event) -> Step:
        if isinstance(event, breaks_on):
            raise RuntimeError("a hole in the table")
        return step(call, event)

    monkeypatch.setattr(runtime_module, "step", breaks)
    taken = breaks_on is ev.TransferAnswered

    async def main() -> World:
        world = World({"queue": NursePhone() if taken else NursePhone(Behaviour.SILENT), "nurse": NursePhone(Behaviour.RINGS_OUT)})  # fmt: skip
        running = asyncio.ensure_future(world.runtime.run(world.connected))
        await asyncio.sleep(0.1)
        world.runtime.tell(URGENT)
        await asyncio.sleep(6)
        if not taken:
            caller_leaves(world.line)
        async with asyncio.timeout(5):
            await running
        assert world.sealed == 1 and world.runtime.ended_ns
        assert world.pages.count("machine_failed") == 1
        assert world.line.code_sent(FIRST + 1) is None
        assert all(leg.is_refer or leg.settled for leg in world.line._legs.values()), "a nurse's phone rings for nobody"
        world.patient.hung_up = True
        return world

    assert len(run(main(), virtual=True).nursing.callbacks) == int(not taken)


@pytest.mark.parametrize("where", ["ladder", "clip", "transfer"])
def test_a_second_failure_comes_out_at_once_and_the_callers_leg_stands(monkeypatch: pytest.MonkeyPatch, where: str) -> None:  # fmt: skip
    def breaks(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    async def main() -> None:
        world = World({"nurse": NursePhone()})
        running = asyncio.ensure_future(world.runtime.run(world.connected))
        await asyncio.sleep(0.1)
        if where == "ladder":
            monkeypatch.setattr(Desk, "ladder", breaks)
        elif where == "clip":
            monkeypatch.setattr(runtime_module.Runtime, "_say_clip", breaks)
        else:
            monkeypatch.setattr(world.line, "transfer", breaks)
        monkeypatch.setattr(runtime_module, "step", broken)
        world.runtime._start_timer(fx.StartTimer(name=TimerName.CALLER_SILENCE, seconds=1.0, token=7))
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.timeout(5):
                await running
        assert raised.group_contains(ZeroDivisionError)
        assert world.line.ours and world.line.talking, "nobody hung up"
        assert "last ladder ZeroDivisionError" in world.record.errors
        await world.line.close()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == []

    run(main(), virtual=True)


def test_a_record_that_breaks_is_answered_like_a_machine_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        def breaks(step: Step) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(world.record, "step", breaks)
        world.runtime.tell(ev.WordsHeard(at_ns=world.clock.now_ns()))
        await asyncio.sleep(6)

    assert "apology" in live(story, nurse=NursePhone(Behaviour.BUSY)).prompts()
