"""Promise P3: every word of the caller is heard and judged, and our own voice heard back is neither speech nor danger.

Our clips come back through the caller's microphone at several levels and delays, over good lines and bad ones; the
red-flag rules are the real ones.
"""

import asyncio

import numpy as np
import pytest

from fsm import events as ev
from fsm.states import Dismissal
from tests.calls import CHEST, CLIPS, MS, Call, Living, Rung, leaves, rules, says
from triage.demo.patient import Cue
from triage.lines.impairments import Impairments
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.ports import RATE, Transcript, Word
from triage.trace import Assessed

SILENT = {"nurse": NursePhone(Behaviour.SILENT)}
ECHOES = [
    Impairments(echo_db=-6, echo_ms=40),
    Impairments(echo_db=-12, echo_ms=80),
    Impairments(echo_db=-18, echo_ms=150),
    Impairments(echo_db=-24, echo_ms=300),
    Impairments(echo_db=-12, echo_ms=120, mulaw=True),
    Impairments(echo_db=-15, echo_ms=180, noise_db=-55),
    Impairments(echo_db=-12, echo_ms=100, loss=0.01, jitter_ms=15),
]
NAMES = [
    f"{e.echo_db:.0f} dB {e.echo_ms:.0f} ms{' mulaw' * e.mulaw}{' noise' * bool(e.noise_db)}{' loss' * bool(e.loss)}"
    for e in ECHOES
]


def raised(call: Rung) -> list[str]:
    return [assessed.text for assessed in call.assessed() if assessed.assessment.urgent and not assessed.suppressed]


@pytest.mark.parametrize("echo", ECHOES, ids=NAMES)
def test_our_own_voice_heard_back_is_no_turn_no_danger_and_hardly_a_pause(echo: Impairments) -> None:
    call = Call(script=[leaves(22)], phones=SILENT, impairments=echo, judge=rules(), patience_s=300).ring()
    assert call.line.received()[:RATE].any(), "the echo was really there"
    assert not call.events(ev.TurnEnded) and not call.events(ev.WordsHeard) and not raised(call)
    spoiled = echo.noise_db is not None or echo.loss > 0  # then it is no plain copy any more
    assert call.finished.counts["pauses"] <= (5 if spoiled else 2), "22 s with some 12 s of our voice"
    assert call.finished.counts["pauses"] - call.finished.counts["false_pauses"] in (0, 1)  # 1: held as the call ended
    assert {"greeting", "ask.emergency", "are_you_there_1"} <= set(call.prompts)


@pytest.mark.engine
@pytest.mark.parametrize("echo", ECHOES[:1], ids=NAMES[:1])
def test_the_real_recogniser_finds_no_caller_in_our_echo(echo: Impairments) -> None:
    call = Call(
        script=[leaves(20)], phones=SILENT, impairments=echo, judge=rules(), recogniser="pocketsphinx", patience_s=300
    ).ring()
    assert not call.events(ev.TurnEnded) and not raised(call)


@pytest.mark.parametrize("echo", ECHOES[::2], ids=NAMES[::2])
def test_a_call_for_help_over_our_echo_is_heard_at_once(echo: Impairments) -> None:
    call = Call(
        script=[says("nine_one_one", Cue.AT, 2.0), leaves(10)], phones=SILENT, impairments=echo, judge=rules()
    ).ring()
    assert raised(call)
    _, began, ended = call.living.patient.said[0]
    assert call.urgent_at - ended <= 1.2 * RATE, "not later than without an echo"
    assert call.line.asked[0].at - call.urgent_at <= 200 * MS
    stopped = next(
        s for s in call.steps if isinstance(s.event, ev.SpeechStarted) and call.position(s.event.at_ns) >= began
    )
    assert call.position(stopped.event.at_ns) - began <= 400 * MS, "and our voice gave way"


ASKED = CLIPS.clip("ask.emergency").text
OURS_THAT_SOUND_URGENT = [p for p in CLIPS.ids if rules().begin().assess(CLIPS.clip(p).text, question=ASKED).urgent]


def test_some_of_our_own_words_would_be_red_flags() -> None:
    """Else the next test shows nothing."""
    assert len(OURS_THAT_SOUND_URGENT) >= 1


@pytest.mark.parametrize("prompt", [*OURS_THAT_SOUND_URGENT, "emergency_first", "emergency_number", "greeting"])
def test_our_own_words_recognised_perfectly_raise_nothing_and_that_is_recorded(prompt: str) -> None:
    clip = CLIPS.clip(prompt)

    async def story(living: Living) -> None:
        await living.until(13)
        call = living.call
        start = living.line.position()
        call.playout.append(90, clip.pcm, text=clip.text, words=clip.words, prompt=prompt)
        await asyncio.sleep(len(clip.pcm) / RATE + 0.2)
        words = tuple(Word(word.text.strip(".,?").lower(), 0.95) for word in clip.words)
        text = " ".join(word.text for word in words)
        call.listening.take(Transcript(1, True, text, words, start, living.line.position()))
        await asyncio.sleep(0.5)
        living.patient.hung_up = True

    call = Call(phones=SILENT, judge=rules(), patience_s=300).ring(story)
    assert not raised(call) and not call.events(ev.UrgencyRaised) and not call.events(ev.TurnEnded)
    assert [e.why for e in call.events(ev.SpeechDismissed)] == [Dismissal.ECHO]
    if prompt in OURS_THAT_SOUND_URGENT:
        assert [p["suppressed"] for p in call.payloads("assessment")] == ["echo"]
    call.check_record()


def test_the_same_words_are_danger_when_we_have_not_said_them() -> None:
    async def story(living: Living) -> None:
        await living.until(13)
        words = tuple(Word(word, 0.95) for word in ["he", "is", "not", "breathing"])
        living.call.listening.take(Transcript(1, True, "he is not breathing", words, 12 * RATE, 13 * RATE))
        await asyncio.sleep(1)
        living.patient.hung_up = True

    assert raised(Call(phones=SILENT, judge=rules(), patience_s=300).ring(story))


def test_danger_said_over_the_clip_is_heard_and_raises_the_rank() -> None:
    """On a speakerphone, while the clip plays."""
    script = [says(CHEST, Cue.AT, 1.0), says("not_breathing", Cue.AFTER, 0.9), leaves(25)]
    call = Call(script=script, phones=SILENT, judge=rules(), impairments=ECHOES[1]).ring()
    first, *later = call.events(ev.UrgencyRaised)
    clip = call.starts("connecting_nurse", whole=False)[0]
    assert call.living.patient.said[1][1] < clip + len(CLIPS.clip("connecting_nurse").pcm), "it began over the clip"
    assert any(event.rank > first.rank and event.level == "emergency_now" for event in later)
    assert call.packets[-1].rank > call.packets[0].rank
    assert call.starts("emergency_number", whole=False)


def test_nobody_talks_past_the_classifier() -> None:
    """Somebody who never pauses: judged while they speak, long before their first final."""
    call = Call(script=[says("never_pauses", delay_s=0.3), leaves(60)], phones=SILENT, judge=rules()).ring()
    kinds = [assessed.kind for assessed in call.of(Assessed)]
    assert kinds[0] == "stretch" and raised(call)
    _, began, ended = call.living.patient.said[0]
    assert began < call.urgent_at < ended
    spoken = [p for p in call.payloads("assessment") if p["kind"] == "stretch"]
    assert spoken and all(p["text"] for p in spoken), "a stretch has its words on record"
    call.check_record()


def test_words_over_every_part_of_the_hand_off_are_judged() -> None:
    """While it rings, over "still connecting", over the number aloud: nothing is lost."""
    script = (
        [says(CHEST, Cue.AT, 1.0)] + [says("thank_you", Cue.AT, at) for at in (6.0, 10.0, 15.0, 21.0)] + [leaves(27)]
    )
    call = Call(script=script, phones=SILENT, judge=rules()).ring()
    heard = [payload["text"] for payload in call.payloads("stt_final")]
    said = [text for text, _, _ in call.living.patient.said]
    assert len(said) == 5
    words = " ".join(heard).split()
    assert words == [word.strip(".,!?").lower() for text in said for word in text.split()]
    assert np.all(call.caller[: RATE // 2] == 0)
    call.check_record()
