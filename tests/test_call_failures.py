"""Promise P2 on whole calls: whatever fails on our side, and whoever says nothing, nobody is left in silence.

Measured at the line, in samples, on real caller audio. In virtual time computing costs nothing, so these bounds catch
every wait.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest

from fsm import effects as fx
from fsm import events as ev
from tests.calls import CLIPS, Call, Rung, rung, says
from tests.handovers import HELD, OVER_GREETING, SILENT, hang_up_after
from tests.stand_ins import Dead, Deafened, Hanging, NotedLine
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.ports import RATE, Frame, LineSignal, Pcm, SignalKind, VoiceWindow
from triage.stages.silero import SileroVoiceActivity
from triage.trace import Said


def test_a_caller_who_says_nothing_is_asked_twice_and_gets_a_nurse() -> None:
    call = Call(phones=SILENT, patience_s=300).ring(hang_up_after(60))
    greeted = len(np.trim_zeros(call.heard[: 14 * RATE], "b"))
    first, second = call.starts("are_you_there_1")[0], call.starts("are_you_there_2")[0]
    nurse = call.line.asked[0].at
    assert abs(first - greeted - 6 * RATE) < 0.2 * RATE
    for earlier, later, prompt in ((first, second, "are_you_there_1"), (second, nurse, "are_you_there_2")):
        assert later - earlier - len(CLIPS.clip(prompt).pcm) == pytest.approx(6 * RATE, abs=0.2 * RATE)
    assert call.reasons[0] == "silent"
    call.check_record()


def test_a_model_that_never_answers_is_covered_and_replaced_in_the_same_turn() -> None:
    model = Hanging()
    call = Call(script=[says("sore_no")], phones=SILENT, model=model).ring(hang_up_after(30))
    word_end = call.living.call.listening.word_end_ns(1)
    sounds = {
        said.prompt: (said.at_ns - word_end) / 1e9 for said in call.of(Said) if said.prompt and said.at_ns > word_end
    }
    heard_at = sorted(
        (call.position(step.event.at_ns) - call.position(word_end)) / RATE
        for step in call.steps
        if isinstance(step.event, ev.PlayoutStarted) and step.event.at_ns > word_end
    )
    assert heard_at[0] == pytest.approx(0.8, abs=0.1), "an acknowledgement"
    assert heard_at[1] == pytest.approx(3.0, abs=0.1), "a filler"
    assert heard_at[2] == pytest.approx(6.0, abs=0.2), "the script"
    assert any(prompt.startswith("ack") for prompt in sounds) and any(p.startswith("filler") for p in sounds)
    assert [order.scripted for order in call.effects(fx.MakeReply)][:2] == [False, True]
    assert model.asked >= 1 and model.closed == model.asked, "the hanging request was cancelled"
    assert "ask.callback" in call.prompts


@pytest.mark.parametrize("broken", [Dead, Hanging])
def test_when_the_script_is_broken_too_a_nurse_comes(broken: type) -> None:
    call = Call(script=[says("sore_no")], phones=SILENT, model=broken(), scripted=broken()).ring(hang_up_after(40))
    word_end = call.position(call.living.call.listening.word_end_ns(1))
    assert call.line.asked[0].at - word_end <= 10.3 * RATE
    assert call.reasons[0] in ("stage_failed", "no_reply")
    assert call.prompts[-1] != "ask.callback"
    call.check_record()


def test_a_recogniser_that_dies_in_the_middle_hands_over() -> None:
    def dies(patient: Any, clock: Any) -> Deafened:
        return Deafened(14.0)

    call = Call(script=[says("sore_no")], phones=SILENT, recogniser=dies).ring(hang_up_after(40))
    assert call.line.asked[0].at == pytest.approx(14 * RATE, abs=0.1 * RATE)
    assert call.reasons[0] == "stage_failed" and "apology" in call.prompts
    call.check_record()


class BreaksAt(SileroVoiceActivity):
    """A detector that raises 14 seconds into the call."""

    def feed(self, frame: Frame) -> list[VoiceWindow]:
        if frame.start >= 14 * RATE:
            raise RuntimeError("a broken session")
        return super().feed(frame)


def test_a_detector_that_breaks_leaves_nobody_unheard_for_long() -> None:
    call = Call(script=[says("sore_no")], phones=SILENT, vad=BreaksAt.load).ring(hang_up_after(40))
    assert call.line.asked[0].at == pytest.approx(14 * RATE, abs=0.1 * RATE)
    assert call.reasons[0] == "stage_failed" and "apology" in call.prompts
    call.check_record()


class DumbLine(NotedLine):
    """A line whose sender breaks for good two seconds into the call."""

    def send(self, pcm: Pcm) -> None:
        if self.position() >= 2 * RATE:
            raise RuntimeError("a broken sender")
        super().send(pcm)


def test_a_lane_that_breaks_brings_a_nurse_at_once() -> None:
    call = Call(line=DumbLine).ring(hang_up_after(20))
    assert call.line.asked[0].at == pytest.approx(2 * RATE, abs=0.1 * RATE)
    assert call.finished.outcome == HELD


class MumblingLine(NotedLine):
    """A line that reports a refusal in words."""

    def _report(self, leg: Any, signal: LineSignal) -> None:
        if signal.kind is SignalKind.REFUSED:
            signal = dataclasses.replace(signal, value="486 Busy Here")
        super()._report(leg, signal)


def test_a_line_that_reports_oddly_is_followed_all_the_same() -> None:
    phones = {"nurse": NursePhone(Behaviour.BUSY), "second": NursePhone()}
    call = Call(script=OVER_GREETING, phones=phones, ladder=(rung("nurse"), rung("second")), line=MumblingLine).ring(
        hang_up_after(20)
    )
    assert call.finished.outcome == HELD


def test_a_caller_silenced_by_a_dead_voice_and_no_clip_still_gets_a_reply() -> None:
    call = Call(script=[says("sore_no"), says("sore_number")], phones=SILENT, voice=Dead()).ring(hang_up_after(60))
    silences = quiet_spells(call)
    assert max(silences) < 10 * RATE
    call.check_record()


def quiet_spells(call: Rung) -> list[int]:
    """Lengths of the spells in which nobody at all was heard, until the call ended."""
    loud = np.flatnonzero((call.caller != 0) | (call.heard != 0))
    return [int(length) for length in np.diff(loud) if length > RATE]
