"""Promise: the scripted recogniser hears each word when its audio has passed, and never before."""

from triage.audio import frames, silence
from triage.clock import run
from triage.ports import FRAME, Transcript
from triage.stages.scripted_stt import ScriptedSpeechToText


def hear(stt: ScriptedSpeechToText, seconds: float, start: int = 0) -> None:
    for frame in frames(silence(seconds), start):
        stt.feed(frame, voiced=True)


def everything(stt: ScriptedSpeechToText) -> list[Transcript]:
    async def read() -> list[Transcript]:
        await stt.close()
        return [transcript async for transcript in stt.transcripts()]

    return run(read(), virtual=True)


def test_words_come_one_by_one_at_their_own_times() -> None:
    stt = ScriptedSpeechToText()
    stt.cue("my knee hurts", 3200, 16_000)
    hear(stt, 1.0)
    interims = everything(stt)
    assert [t.text for t in interims] == ["my", "my knee", "my knee hurts"]
    assert all(t.words[-1].end <= t.end < t.words[-1].end + FRAME for t in interims)
    assert interims[0].words[0].start == 3200
    assert interims[-1].words[-1].end == 16_000
    assert all(word.confidence is None for t in interims for word in t.words)


def test_a_finish_in_the_middle_leaves_the_rest_to_the_next_utterance() -> None:
    stt = ScriptedSpeechToText()
    stt.cue("one two three four", 0, 16_000)
    hear(stt, 0.5)
    stt.finish_utterance()
    hear(stt, 0.5, 8000)
    stt.finish_utterance()
    first, second = (t for t in everything(stt) if t.final)
    assert f"{first.text} {second.text}" == "one two three four"
    assert (first.utterance, second.utterance) == (1, 2)
    assert all(word.confidence == 0.95 for word in first.words)


def test_confidence_is_the_cues_own() -> None:
    stt = ScriptedSpeechToText(confident_interims=True)
    stt.cue("in an", 0, 4800, confidence=0.2)
    hear(stt, 0.4)
    stt.finish_utterance()
    assert {word.confidence for t in everything(stt) for word in t.words} == {0.2}


def test_a_cough_is_a_final_without_words() -> None:
    stt = ScriptedSpeechToText()
    stt.cue("", 0, 8000)
    hear(stt, 0.6)
    stt.finish_utterance()
    (final,) = everything(stt)
    assert (final.final, final.text, final.words) == (True, "", ())


def test_capitals_and_marks_are_not_heard() -> None:
    stt = ScriptedSpeechToText()
    stt.cue("Wait, I can't - no!", 0, 8000)
    hear(stt, 0.6)
    assert everything(stt)[-1].text == "wait i can't no"


def test_overlapping_cues_are_heard_in_the_order_of_their_ends() -> None:
    stt = ScriptedSpeechToText()
    stt.cue("long long long", 0, 30_000)
    stt.cue("short", 1000, 5000)
    hear(stt, 2.0)
    assert everything(stt)[-1].text == "short long long long"
