"""Promises P5 and P6: the model only words; what fails in mid-turn is replaced in mid-turn; what nobody heard never happened."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from fsm import effects as fx
from fsm import events as ev
from tests.calls import CLIPS, TO_THE_END, Call, Living, Rung, leaves, says
from tests.stand_ins import Dead
from triage.demo.patient import Cue, Utterance
from triage.errors import Unavailable
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.ports import RATE, FixedSentence, ReplyRequest, SpeechChunk, TextDelta, ToolResult, Usage
from triage.tools import FakeTools
from triage.trace import Said

SILENT = {"nurse": NursePhone(Behaviour.SILENT)}
NO = [says("sore_no", delay_s=0.5), leaves(32)]


class Says:
    """A model that says what the test wants, a piece at a time."""

    name, local = "test", True

    def __init__(self, *pieces: str, breaks: bool = False, gap_s: float = 0.0) -> None:
        self.pieces, self.breaks, self.gap_s = pieces, breaks, gap_s
        self.requests: list[ReplyRequest] = []

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[TextDelta | FixedSentence | Usage, None]:
        self.requests.append(request)
        for piece in self.pieces:
            yield TextDelta(piece)
            await asyncio.sleep(self.gap_s)
        if self.breaks:
            raise Unavailable("llm", "cut")

    async def close(self) -> None: ...


class Hums:
    """A voice: a tone as long as the text; `breaks` after the first chunk, in a way no engine should."""

    name, local = "hums", True

    def __init__(self, *, breaks: Exception | None = None) -> None:
        self.spoken: list[str] = []
        self.breaks = breaks

    async def speak(self, text: str, *, language: str = "en") -> AsyncIterator[SpeechChunk]:
        self.spoken.append(text)
        for _ in range(len(text) // 4):
            yield SpeechChunk(np.full(RATE // 20, 1000, dtype=np.int16))
            if self.breaks is not None:
                raise self.breaks

    async def close(self) -> None: ...


def ring(model: Says | Dead, voice: Hums | Dead | None = None, script: Sequence[Utterance] = NO, **more: Any) -> Rung:
    return Call(script=script, phones=SILENT, model=model, voice=voice or Hums(), **more).ring()


def said(call: Rung) -> list[str]:
    return [trace.text for trace in call.of(Said) if trace.text and trace.prompt is None]


def test_what_a_model_words_is_spoken_sentence_by_sentence() -> None:
    call = ring(Says("Thank you for ", "telling me. What", " number can I call you on?"))
    assert said(call)[:2] == ["Thank you for telling me.", "What number can I call you on?"]
    first, second = call.effects(fx.Speak)[:2]
    assert (first.index, second.index) == (0, 1)


@pytest.mark.parametrize(
    "stray",
    [
        "You are having a heart attack.",
        "Take 400 milligrams of ibuprofen.",
        "This is not serious, you can wait until tomorrow.",
        "You should take two tablets now.",
    ],
)
def test_a_model_that_diagnoses_or_doses_is_stopped_and_the_script_speaks(stray: str) -> None:
    call = ring(Says(stray))
    assert stray not in " ".join(said(call)) and stray not in str(call.effects(fx.Speak))
    assert "ask.callback" in call.prompts, "the rules' own question, in the same turn"
    assert [p["where"] for p in call.payloads("error")][:1] == ["gate"]
    assert stray not in str(call.payloads("error")), "the record says why, in fixed wording"


def test_a_stray_second_sentence_is_never_spoken() -> None:
    call = ring(Says("Thank you. ", "Take 400 milligrams of ibuprofen. ", "What is your number?"))
    assert "ibuprofen" not in " ".join(said(call)).lower()
    assert "ask.callback" in call.prompts


@pytest.mark.parametrize("model", [Dead(), Says("Thank you. And ", breaks=True)], ids=["at once", "in the middle"])
def test_a_model_that_breaks_is_replaced_in_the_same_turn(model: Says | Dead) -> None:
    call = ring(model)
    assert [order.scripted for order in call.effects(fx.MakeReply)][:2] == [False, True]
    assert "ask.callback" in call.prompts and not call.line.asked
    turns = {order.turn for order in call.effects(fx.MakeReply)[:2]}
    assert len(turns) == 1


@pytest.mark.parametrize(
    "error", [Unavailable("tts", "gone"), KeyError("boom"), OSError(5, "io")], ids=lambda e: type(e).__name__
)
def test_a_voice_that_breaks_in_mid_sentence_ends_no_call(error: Exception) -> None:
    call = ring(Says("Thank you for telling me about it. What number can I call you on?"), Hums(breaks=error))
    assert [e.effect for e in call.events(ev.EffectFailed)][:1] == ["Speak"]
    assert any(p.startswith("ask.callback") for p in call.prompts), "a rendered clip in its place"
    assert call.finished.outcome == "hung_up"
    call.check_record()


def test_the_voice_is_not_asked_for_what_is_rendered() -> None:
    voice = Hums()
    call = Call(script=NO, phones=SILENT, voice=voice).ring()
    assert voice.spoken == [] and "ask.callback" in call.prompts
    assert call.starts("ask.callback")


class Breaking(FakeTools):
    """Tools that raise what no tool should."""

    async def call(self, name: str, arguments: Mapping[str, str]) -> ToolResult:
        raise KeyError("boom")


def test_a_booking_that_breaks_leads_to_a_nurse_or_says_so_and_claims_nothing() -> None:
    call = Call(script=TO_THE_END, tools=Breaking(), patience_s=40).ring()
    booked = [p for p in call.payloads("tool") if p["name"] == "book_callback"]
    assert booked and booked[0]["ok"] is False
    assert call.finished.outcome != "callback_booked"
    assert call.line.asked, "nobody is left without a way on"


def test_a_reply_that_nobody_heard_never_happened() -> None:
    """The caller goes on before its first sample: both halves are answered together."""

    class Late(Says):
        async def reply(self, request: ReplyRequest) -> AsyncGenerator[TextDelta | FixedSentence | Usage, None]:
            await asyncio.sleep(1.5)
            async for part in super().reply(request):
                yield part

    model = Late("Thank you. What is your number?")
    script = [says("sore_no", delay_s=0.5), says("sore_for_me", Cue.AFTER, 1.2), leaves(32)]
    ring(model, script=script)
    assert len(model.requests) == 2
    first, second = model.requests
    assert second.heard.startswith(first.heard) and "myself" in second.heard
    assert [line.text for line in second.history if line.speaker == "caller"] == []


def test_history_holds_what_was_audible_on_both_sides() -> None:
    model = Says("Thank you. What is your number?")
    script = [says("sore_no", delay_s=0.5), says("sore_number", delay_s=0.5), leaves(40)]
    call = ring(model, script=script)
    last = model.requests[-1]
    spoken = [line.text for line in last.history if line.speaker == "agent"]
    assert spoken[0].startswith("Hello.") and "What is your number?" in spoken
    caller = [line.text for line in last.history if line.speaker == "caller"]
    assert caller[0] == "no"
    assert next(trace.text for trace in call.of(Said) if trace.text).startswith("Hello")


def test_a_task_that_breaks_ends_nothing_but_itself() -> None:
    async def boom() -> None:
        raise RuntimeError("boom")

    async def story(living: Living) -> None:
        living.call.runtime.spawn(boom())
        await living.until(15)
        living.patient.hung_up = True

    call = Call(phones=SILENT).ring(story)
    assert ("task", "RuntimeError") in [(p["where"], p["code"]) for p in call.payloads("error")]
    assert call.finished.outcome == "hung_up" and len(CLIPS.clip("greeting").pcm) < len(call.heard)
