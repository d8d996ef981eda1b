"""Whoever must have a nurse and goes without one is on the list of call-backs, whatever broke and in whatever order it came."""

import asyncio
from typing import Any

import pytest

from fsm import events as ev
from fsm.machine import Step
from tests.calls import CHEST, Call, says
from tests.test_runtime import URGENT, World
from tests.virtual import in_virtual_time
from triage.demo.patient import Cue, Utterance
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
