"""Promise: the reciting recogniser says its script line by line, a line for each voiced utterance, and nothing for silence."""

from pathlib import Path

import numpy as np
import pytest

from triage.clock import run
from triage.errors import SettingError
from triage.ports import FRAME, Frame, Transcript
from triage.stages.reciting_stt import RecitingSpeechToText, read_script


def recited(*utterances: tuple[int, bool], script: tuple[str, ...]) -> list[Transcript]:
    """Everything returned for stretches of (frames, voiced), each finished."""

    async def call() -> list[Transcript]:
        stt, start = RecitingSpeechToText(script), 0
        await stt.start()
        for count, voiced in utterances:
            for _ in range(count):
                stt.feed(Frame(np.zeros(FRAME, np.int16), start), voiced=voiced)
                start += FRAME
            stt.finish_utterance()
        await stt.close()
        return [transcript async for transcript in stt.transcripts()]

    return run(call(), virtual=True)


def finals(transcripts: list[Transcript]) -> list[str]:
    return [transcript.text for transcript in transcripts if transcript.final]


def test_each_voiced_utterance_uses_one_line_up_and_the_rest_is_silence() -> None:
    told = recited((30, True), (40, False), (5, True), (30, True), script=("I am well.", "My chest hurts!"))
    assert finals(told) == ["i am well", "", "my chest hurts", ""]


def test_words_come_one_by_one_while_the_voice_lasts_and_the_rest_with_the_final() -> None:
    told = recited((30, True), script=("one two three four",))
    assert [t.text for t in told] == ["one", "one two", "one two three four"]
    assert [word.confidence for word in told[0].words] == [None] and all(w.confidence for w in told[-1].words)


def test_words_lie_within_the_voice() -> None:
    (*_, final) = recited((10, False), (50, True), script=("a longer line of words",))
    assert final.words[0].start == 10 * FRAME and final.words[-1].end == 60 * FRAME
    assert all(a.end == b.start for a, b in zip(final.words, final.words[1:], strict=False))


def test_a_script_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "script.txt"
    path.write_text("I have a headache\n\n  ...  \nYes, please.\n", encoding="utf-8")
    assert read_script(path) == ("I have a headache", "Yes, please.")


@pytest.mark.parametrize("content", [None, b"", b"\n ... \n", b"\xff\xfe"])
def test_a_script_that_says_nothing_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "script.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError, match=r"script\.txt .*stt_script"):
        read_script(path)
