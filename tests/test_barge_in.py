"""Promise: our speech stops when the caller speaks, goes on when they only coughed, and what is on record is what was audible.

Real caller audio through the real voice detector; everything is measured on the line's recording, in samples.
"""

from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fsm import effects as fx
from fsm import events as ev
from fsm.states import State
from tests.calls import CLIPS, MS, Call, Living, Rung, answers, leaves, says
from tests.sounds import played, words_heard
from tests.stand_ins import Slow
from triage.audio import first_sound
from triage.demo.patient import Cue, Utterance
from triage.dialogue.interview import OPENING
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.ports import FRAME, RATE, FixedSentence, Frame, Pcm, ReplyRequest, SpokenWord, TextDelta, Usage
from triage.stages.silero import SileroVoiceActivity
from triage.trace import Said

SILENT = {"nurse": NursePhone(Behaviour.SILENT)}
PAUSE_AT = 0.3
"""The setting `vad_pause_threshold`."""


def onset(sound: Pcm, after: int, threshold: float = PAUSE_AT) -> int:
    """Where a detector of its own, fed with what reached us, first crosses the threshold: start of that window."""
    vad = SileroVoiceActivity.load()
    for start in range(0, len(sound) - FRAME + 1, FRAME):
        for window in vad.feed(Frame(sound[start : start + FRAME], start)):
            if window.probability >= threshold and window.end > after:
                return window.end - vad.window
    raise AssertionError("no voice")


def opening_pcm() -> Pcm:
    """The greeting as it is played: every prompt of it."""
    return np.concatenate([CLIPS.clip(prompt).pcm for prompt in OPENING])


def runs(call: Rung) -> list[tuple[int, int, int]]:
    """How the greeting was played."""
    return played(call.heard, opening_pcm(), first_of(call))


def first_of(call: Rung) -> int:
    return int(np.flatnonzero(call.heard)[0]) - int(np.flatnonzero(opening_pcm())[0])


def opening_words() -> list[SpokenWord]:
    words, before = [], 0
    for prompt in OPENING:
        clip = CLIPS.clip(prompt)
        words += [SpokenWord(word.text, word.start + before, word.end + before) for word in clip.words]
        before += len(clip.pcm)
    return words


def over(line: str, at_s: float, recogniser: str, **more: Any) -> Rung:
    """The caller makes this sound over the greeting, and hangs up when it is over."""
    return Call(
        script=[says(line, Cue.AT, at_s), leaves(at_s + 12)],
        phones=SILENT,
        recogniser=recogniser,
        patience_s=300,
        **more,
    ).ring()


@pytest.mark.parametrize("at_s", [0.05, 0.4, 3.3, 5.7])
@pytest.mark.parametrize("line", ["barge_in_1", "barge_in_2", "asks_person", "wait"])
def test_speech_pauses_within_100_ms_and_words_cancel(line: str, at_s: float) -> None:
    call = over(line, at_s, "scripted")
    (start, _, length), *rest = runs(call)
    stopped = start + length
    began = call.living.patient.said[0][1]
    crossed = onset(call.line.received(), began - 512)
    assert stopped - crossed <= 100 * MS, "from the window in which the detector crossed the pause threshold"
    assert stopped - began <= 150 * MS, "from the true onset"
    assert rest == [], "it never went on"
    assert not places_after(call, stopped), "nothing of ours until the reply"


def places_after(call: Rung, stopped: int) -> bool:
    """Whether anything of the greeting came after it was stopped."""
    turn = call.events(ev.TurnEnded)[0]
    return bool(call.heard[stopped : call.position(turn.at_ns)].any())


@pytest.mark.parametrize("line", ["barge_in_1", "asks_person"])
def test_a_barge_in_in_the_first_second_is_understood_by_the_real_recogniser(line: str) -> None:
    call = over(line, 0.2, "pocketsphinx")
    assert len(runs(call)) == 1 and runs(call)[0][2] < RATE
    assert call.living.call.listening.text_of(1)
    if line == "asks_person":
        assert call.reasons[0] == "asked_person"


@pytest.mark.parametrize("line", ["cough", "cough_2", "mm_hm"])
@pytest.mark.parametrize(
    ("recogniser", "at_s"), [("scripted", 0.3), ("scripted", 2.0), ("scripted", 4.1), ("pocketsphinx", 2.0)]
)
def test_after_a_cough_it_goes_on_from_the_same_sample(line: str, at_s: float, recogniser: str) -> None:
    call = over(line, at_s, recogniser)
    parts = runs(call)
    clip = opening_pcm()
    assert sum(length for _, _, length in parts) == len(clip), "every sample was played, once"
    joined = np.concatenate([call.heard[at : at + length] for at, _, length in parts])
    assert np.array_equal(joined, clip)
    assert [done for _, done, _ in parts] == list(np.cumsum([0] + [length for _, _, length in parts])[:-1])
    assert len(parts) == 1 + call.finished.counts["false_pauses"] >= 2, "it was paused, and each pause was for nothing"
    between = [(a + n, b) for (a, _, n), (b, _, _) in pairwise(parts)]
    assert not any(call.heard[a:b].any() for a, b in between)
    assert all(b - a < 2.5 * RATE for a, b in between), "no long hole"
    assert not call.events(ev.TurnEnded) and not [a for a in call.assessed() if a.assessment.urgent]
    call.check_record()


def test_real_words_cancel_with_all_four_actions_and_both_engines_stop() -> None:
    slow = Slow()
    script = [says("sore_no", delay_s=0.5), says("barge_in_1", Cue.OVER, 1.0), leaves(30)]
    call = Call(script=script, phones=SILENT, model=slow, voice=slow).ring()
    (step,) = [
        s
        for s in call.steps
        if isinstance(s.event, ev.WordsHeard) and s.before.state in (State.INTERRUPT, State.SPEAKING)
    ][:1]
    four = [
        type(e)
        for e in step.effects
        if isinstance(e, fx.CancelReply | fx.CloseSpeech | fx.FlushPlayout | fx.TruncateHistory)
    ]
    assert four == [fx.CancelReply, fx.CloseSpeech, fx.FlushPlayout, fx.TruncateHistory]
    assert step.after.state is State.LISTENING
    first_word_ns = step.event.at_ns
    stopped = {name: at_ns for name, at_ns in reversed(slow.stopped_ns) if at_ns >= first_word_ns}
    assert set(stopped) == {"llm", "tts"}
    assert max(stopped.values()) - first_word_ns <= 200_000_000
    ended = call.position(first_word_ns)
    assert not call.heard[ended : call.position(call.events(ev.TurnEnded)[1].at_ns)].any()
    (interrupt,) = call.payloads("interrupt")[:1]
    assert interrupt["generation"] == 1


def audible_greeting(call: Rung) -> int:
    """Samples of the greeting that the caller could hear, by the recording alone."""
    return sum(length for _, _, length in runs(call))


@pytest.mark.parametrize("delay", [0, 960, 1700])
@pytest.mark.parametrize("at_s", [0.1, 1.3, 2.9, 4.4, 6.1, 7.7])
def test_history_and_record_hold_exactly_the_audible_words(at_s: float, delay: int) -> None:
    call = over("barge_in_1", at_s, "scripted", playout_delay=delay)
    audible = audible_greeting(call)
    expected = words_heard(opening_words(), audible)
    assert said_of_greeting(call) == expected
    (record,) = [p for p in call.payloads("playout") if p["prompt"].startswith("greeting")]
    assert record["text"].split() == expected
    assert record["cut_off"] is True and record["samples"] == audible
    cut = next((line for line in call.living.call.replies.history if line.speaker == "agent"), None)
    if expected:
        assert cut is not None and cut.text.split() == expected and cut.cut_off
    interrupts = call.payloads("interrupt")
    assert interrupts[0]["audible"].split() == expected


def said_of_greeting(call: Rung) -> list[str]:
    return [word for said in call.of(Said) if said.playback == 1 for word in said.text.split()]


def test_a_reply_that_was_cut_stands_in_history_as_far_as_it_was_heard() -> None:
    """The second reply is asked for with the first one cut where the caller spoke."""
    asked: list[ReplyRequest] = []

    class Noting(Slow):
        async def reply(self, request: ReplyRequest) -> AsyncGenerator[TextDelta | FixedSentence | Usage, None]:
            asked.append(request)
            async for part in super().reply(request):
                yield part

    engine = Noting()
    script = [says("sore_no", delay_s=0.5), says("barge_in_1", Cue.OVER, 1.5), leaves(30)]
    call = Call(script=script, phones=SILENT, model=engine, voice=engine).ring()
    ours = [line for line in asked[1].history if line.speaker == "agent"][-1]
    assert ours.cut_off and "I am looking at what you told me.".startswith(ours.text)
    (record,) = [p for p in call.payloads("playout") if p["generation"] == 1 and p["samples"]]
    assert ours.text == record["text"] and record["samples"] < record["length"]


def test_a_question_that_was_not_heard_is_asked_again() -> None:
    """Words over the beginning of the greeting are no answer to a question at its end."""
    call = Call(script=[says("sore_no", Cue.AT, 1.0), leaves(25)], phones=SILENT, patience_s=300).ring()
    later = [prompt for prompt in call.prompts if prompt.startswith("ask.")]
    assert later and later[0].startswith("ask.emergency")


def test_two_barge_ins_and_a_cough_in_one_call() -> None:
    script = [
        says("cough", Cue.AT, 1.0),
        says("barge_in_1", Cue.AT, 5.0),
        says("barge_in_2", Cue.OVER, 0.5),
        leaves(40),
    ]
    call = Call(script=script, phones=SILENT, patience_s=300).ring()
    cancelled = [
        s
        for s in call.steps
        if isinstance(s.event, ev.WordsHeard) and any(isinstance(e, fx.FlushPlayout) for e in s.effects)
    ]
    assert len(cancelled) == 2
    assert call.finished.counts["false_pauses"] >= 1
    assert call.finished.counts["pauses"] == call.finished.counts["false_pauses"] + 2
    call.check_record()


def test_the_disclosure_that_was_cut_off_is_said_again_before_the_second_question() -> None:
    call = Call(
        script=[says("barge_in_2", Cue.AT, 0.6), answers("ask.emergency", "sore_no"), leaves(40)],
        phones=SILENT,
        patience_s=300,
    ).ring()
    assert "disclosure_short" in call.prompts
    asks = [n for n, prompt in enumerate(call.prompts) if prompt.startswith("ask.")]
    assert call.prompts.index("disclosure_short") < asks[-1]


@pytest.mark.parametrize("delay_s", [0.6, 0.75, 0.9, 1.05, 1.2, 1.35])
def test_danger_in_the_words_that_interrupt_us_is_not_cut_in_two(delay_s: float) -> None:
    """The judgement after 0.6 s may fall into the middle of the phrase; and a caller may draw breath there."""
    spoken = says("chest_pain_first").pcm
    at = (first_sound(spoken) or 0) + round(delay_s * RATE)
    breath = np.concatenate([spoken[:at], np.zeros(RATE * 4 // 10, dtype=np.int16), spoken[at:]])
    for pcm in (spoken, breath):
        words = Utterance(pcm=pcm, text="pain in my chest and my arm", cue=Cue.AT, delay_s=delay_s)
        call = Call(script=[words, leaves(15)], phones=SILENT).ring()
        assert call.events(ev.UrgencyRaised), [assessed.text for assessed in call.assessed()]


@pytest.mark.parametrize("frame", [0, 100, 319])
def test_our_true_onset_is_that_of_the_sound(frame: int) -> None:
    """The measure itself: silence in front moves it by as much."""
    voice = np.concatenate([np.zeros(frame, dtype=np.int16), says("wait").pcm])
    assert first_sound(voice) == pytest.approx((first_sound(says("wait").pcm) or 0) + frame, abs=160)


def test_talking_over_us_while_we_are_silent_pauses_nothing() -> None:
    async def story(living: Living) -> None:
        await living.until(30)
        living.patient.hung_up = True

    call = Call(script=[Utterance(pcm=says("sore_no").pcm, text="no")], phones=SILENT).ring(story)
    assert call.finished.counts["pauses"] == 0
