"""Whoever must have a nurse and goes without one is on the list of call-backs, whatever broke and in whatever order it came."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import triage.runtime as runtime_module
from fsm import events as ev
from fsm.call import Call as CallState
from fsm.machine import Step, step
from fsm.states import Reason
from tests.calls import CHEST, Call, says
from tests.ladders import GRAVER, caller_leaves
from tests.test_runtime import URGENT, World
from tests.virtual import in_virtual_time
from triage.clock import run
from triage.demo.patient import Cue, Utterance
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.ports import Receipt
from triage.recorder import Recorder
from triage.stages.scripted_stt import ScriptedSpeechToText

LAST_WORDS = [says(CHEST), Utterance(cue=Cue.AFTER, delay_s=0.2, hang_up=True)]
"""Danger, and the phone is put down with it: its final is not there yet."""


class NeverFinal(ScriptedSpeechToText):
    """A recogniser that has the words and never ends an utterance."""

    def finish_utterance(self) -> None: ...


class Later:
    """A receipt that is there 8 ms after its record was made, as on an ordinary disk."""

    def __init__(self) -> None:
        self._due = asyncio.get_running_loop().time() + 0.008

    def done(self) -> bool:
        return asyncio.get_running_loop().time() >= self._due

    async def wait(self) -> None:
        await asyncio.sleep(self._due - asyncio.get_running_loop().time())


@pytest.fixture(params=["at once", "later"])
def receipts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a Step is known to be durable."""
    if request.param == "at once":
        return
    write = Recorder.step

    def step(self: Recorder, decided: Step) -> Receipt:
        write(self, decided)
        return Later()

    monkeypatch.setattr(Recorder, "step", step)


def breaking_on(breaks: Callable[[ev.Event], bool]) -> Callable[[CallState, ev.Event], Step]:
    """A machine with a hole in its table."""

    def decide(call: CallState, event: ev.Event) -> Step:
        if breaks(event):
            raise RuntimeError("a hole in the table")
        return step(call, event)

    return decide


@pytest.mark.usefixtures("receipts")
@pytest.mark.parametrize("recogniser", [ScriptedSpeechToText, NeverFinal])
def test_last_words_that_are_urgent_open_a_call_back(recogniser: type[ScriptedSpeechToText]) -> None:
    def made(*_: Any) -> ScriptedSpeechToText:
        return recogniser(confident_interims=True)

    call = Call(script=LAST_WORDS, recogniser=made).ring()
    assert call.finished.counts["tails"] == 1
    assert call.pages == ["urgent_tail"]
    assert [task.reason for task in call.callbacks()] == ["urgent"]
    call.check_record()


@pytest.mark.usefixtures("receipts")
@pytest.mark.parametrize("breaks_on", [ev.WordsHeard, ev.HungUp, ev.UrgencyRaised, ev.TailDrained])
@pytest.mark.parametrize("recogniser", [ScriptedSpeechToText, NeverFinal])
def test_last_words_open_a_call_back_where_the_machine_breaks(recogniser: type[ScriptedSpeechToText], breaks_on: type[ev.Event], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(runtime_module, "step", breaking_on(lambda event: isinstance(event, breaks_on)))
    phones = {"nurse": NursePhone(Behaviour.SILENT)}
    call = Call(script=LAST_WORDS, phones=phones, recogniser=lambda *_: recogniser(confident_interims=True)).ring()
    assert call.finished.counts["tails"] == 1
    assert "machine_failed" in call.pages
    assert [(task.reason, task.level) for task in call.callbacks()] == [("urgent", "nurse_now")]


TOLD: dict[str, Callable[[int], ev.Event]] = {
    "urgent": lambda at_ns: replace(URGENT, at_ns=at_ns),
    "graver": lambda at_ns: replace(GRAVER, at_ns=at_ns),
    "words": lambda at_ns: ev.WordsHeard(at_ns=at_ns),
    "turn": lambda at_ns: ev.TurnEnded(at_ns=at_ns, turn=1),
    "gasping": lambda at_ns: ev.WordlessVoiceHeard(at_ns=at_ns),
    "0": lambda at_ns: ev.KeyPressed(at_ns=at_ns, digit="0"),
    "1": lambda at_ns: ev.KeyPressed(at_ns=at_ns, digit="1"),
    "asks": lambda at_ns: ev.NurseNeeded(at_ns=at_ns, reason=Reason.ASKED_PERSON),
}
"""What a call may be told before its caller puts the phone down."""


@given(
    told=st.lists(st.tuples(st.sampled_from(sorted(TOLD)), st.floats(0.0, 9.0)), max_size=5),
    rescued=st.booleans(),
    breaks_at=st.one_of(st.none(), st.integers(1, 40)),
    nurse=st.sampled_from([Behaviour.BUSY, Behaviour.VOICEMAIL, Behaviour.ANSWERS, Behaviour.DROPS]),
)
@settings(max_examples=150, deadline=None)
def test_whoever_must_have_a_nurse_and_goes_without_is_rung_back(told: list[tuple[str, float]], rescued: bool, breaks_at: int | None, nurse: Behaviour) -> None:  # fmt: skip
    """Urgent, rescued or unable to speak, in any order, on a machine that is whole or breaks at any event from some on."""
    seen, happened = 0, []

    def breaks(event: ev.Event) -> bool:
        nonlocal seen
        seen += 1
        return breaks_at is not None and seen > breaks_at

    async def main() -> World:
        world = World({"nurse": NursePhone(nurse)})
        running = asyncio.ensure_future(world.runtime.run(lambda: replace(world.connected(), known=rescued)))
        await asyncio.sleep(0.1)
        for name, wait_s in told:
            if not world.line.talking:  # they left the nurse who had them
                break
            happened.append(name)
            world.runtime.tell(TOLD[name](world.clock.now_ns()))
            await asyncio.sleep(wait_s)
        caller_leaves(world.line)
        async with asyncio.timeout(5):
            await running
        return world

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime_module, "step", breaking_on(breaks))
        world = run(main(), virtual=True)
    danger = rescued or not {"urgent", "graver"}.isdisjoint(happened)
    handoff = world.runtime.call.handoff
    must = danger or handoff.reason is Reason.WORDLESS
    assert len(world.nursing.callbacks) == int(must and not handoff.bridged)
    assert world.sealed == 1


@in_virtual_time
async def test_a_call_back_that_waits_for_the_record_is_opened_when_the_call_is_cut_off() -> None:
    world = World()
    running = asyncio.ensure_future(world.runtime.run(world.connected))
    await asyncio.sleep(0.1)
    world.runtime.tell(URGENT)
    await asyncio.sleep(0.1)
    world.record.durable.clear()
    world.runtime.tell(ev.HungUp(at_ns=world.clock.now_ns()))
    assert world.nursing.callbacks == []
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled() and len(world.nursing.callbacks) == 1
    await world.line.close()
