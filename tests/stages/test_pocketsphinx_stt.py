"""Promise: the offline recogniser hears the key phrases of synthetic callers, is fed only voice, and its end is told."""

import gzip
import json
import os
import signal
import tomllib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.stt_wer import errors, plain
from tests.stages.engines import CALLERS, SHARED, caller, needs_pocketsphinx
from triage.audio import frames, read_wav, silence
from triage.clock import busy_hook, run
from triage.errors import TimedOut, Unavailable
from triage.ports import FRAME, RATE, Pcm, Transcript
from triage.stages.pocketsphinx_stt import HESITATIONS, NO_WHEEL, PocketsphinxSpeechToText, language_files


async def final_of(stt: PocketsphinxSpeechToText) -> Transcript:
    async for transcript in stt.transcripts():
        if transcript.final:
            return transcript
    raise AssertionError("no final came")


async def heard(*pieces: tuple[Pcm, bool]) -> Transcript:
    """The final of one utterance made of pieces, each voiced or not."""
    stt, position = PocketsphinxSpeechToText(busy=busy_hook("stt")), 0
    await stt.start()
    for pcm, voiced in pieces:
        for frame in frames(pcm, position):
            stt.feed(frame, voiced=voiced)
            position += FRAME
    stt.finish_utterance()
    final = await final_of(stt)
    await stt.close()
    return final


class TestEngine:
    pytestmark = needs_pocketsphinx

    def test_unvoiced_audio_is_not_decoded(self) -> None:
        final = run(heard((caller("location_rms"), False), (silence(1.0), False)), virtual=False)
        assert final.text == ""

    def test_300_ms_before_the_gate_opened_are_decoded_too(self) -> None:
        pcm = caller("yes_rms")
        gate = round(0.3 * RATE)
        assert run(heard((pcm[:gate], False), (pcm[gate:], True)), virtual=False).text == "yes"

    def test_words_keep_their_place_in_the_call_over_a_gap_in_the_voice(self) -> None:
        pause = silence(3.0)
        final = run(heard((caller("name_rms"), True), (pause, False), (caller("name_awb"), True)), virtual=False)
        first = next(word for word in final.words if word.text == "walker")
        last = next(word for word in final.words if word.text == "david")
        assert first.end < len(caller("name_rms")) + FRAME
        assert last.start > len(caller("name_rms")) + len(pause)

    def test_a_cough_gives_no_word_that_counts(self) -> None:
        for line in ("cough", "cough_2", "mm_hm"):
            final = run(heard((caller(line), True)), virtual=False)
            assert all((word.confidence or 0) < 0.7 for word in final.words)
            assert not HESITATIONS & {word.text for word in final.words}

    @pytest.mark.parametrize("line", ["chest_pain_first", "barge_in_2", "third_turn_3"])
    def test_what_was_written_beside_a_caller_line_is_what_is_heard(self, line: str) -> None:
        entry = next(e for e in tomllib.loads((CALLERS / "lines.toml").read_text())["line"] if e["id"] == line)
        written = " ".join(word.partition("/")[0] for word in entry["heard"].split())
        final = run(heard((silence(0.2), True), (caller(line), True), (silence(0.2), True)), virtual=True)
        assert errors(written.split(), final.text.split()) <= 1

    def test_the_death_of_the_child_ends_the_stream_with_an_error(self) -> None:
        async def call() -> None:
            stt = PocketsphinxSpeechToText(busy=busy_hook("stt"))
            await stt.start()
            assert stt.pid is not None
            for frame in frames(caller("yes_rms")):
                stt.feed(frame, voiced=True)
            os.kill(stt.pid, signal.SIGKILL)
            try:
                with pytest.raises(Unavailable, match="stt: the recogniser's process died"):
                    await final_of(stt)
                stt.finish_utterance()
            finally:
                await stt.close()

        for virtual in (False, True):
            run(call(), virtual=virtual)

    def test_an_engine_that_does_not_keep_up_is_given_up(self) -> None:
        async def call() -> None:
            stt = PocketsphinxSpeechToText()
            await stt.start()
            for frame in frames(np.concatenate([caller("never_pauses")] * 2)):
                stt.feed(frame, voiced=True)  # without ever letting the loop run
            with pytest.raises(TimedOut, match="does not keep up"):
                await final_of(stt)
            await stt.close()

        run(call(), virtual=False)

    def test_ctrl_c_in_the_terminal_does_not_end_the_child(self) -> None:
        async def call() -> Transcript:
            stt = PocketsphinxSpeechToText()
            await stt.start()
            assert stt.pid is not None
            os.kill(stt.pid, signal.SIGINT)
            for frame in frames(caller("yes_rms")):
                stt.feed(frame, voiced=True)
            stt.finish_utterance()
            final = await final_of(stt)
            await stt.close()
            return final

        assert run(call(), virtual=False).text == "yes"

    @pytest.mark.parametrize("content", [None, b"", b"no gzip", gzip.compress(b"no ARPA", mtime=0)])
    def test_a_missing_or_broken_language_model_is_told_with_the_remedy(
        self, content: bytes | None, tmp_path: Path
    ) -> None:
        model, extra = tmp_path / "model.gz", language_files()[1]
        if content is not None:
            model.write_bytes(content)

        async def call() -> None:
            stt = PocketsphinxSpeechToText(busy=busy_hook("stt"), language=(model, extra))
            with pytest.raises(Unavailable) as caught:
                await stt.start()
            assert str(caught.value) == "stt: its language model is missing or broken; install the package again"
            await stt.close()
            with pytest.raises(Unavailable):
                await final_of(stt)

        run(call(), virtual=True)

    @pytest.mark.skipif(not SHARED.is_dir(), reason="no sibling data folder; set TRIAGE_SHARED")
    @pytest.mark.parametrize(
        ("file", "phrase"),
        [
            ("c01_chest-pain_1.wav", "chest pain"),
            ("c12_stroke-third-party_1.wav", "drooping"),
            ("c16_allergy_1.wav", "swelling"),
            ("c20_negated_1.wav", "no chest pain"),
        ],
    )
    def test_key_phrases_of_other_callers_are_heard(self, file: str, phrase: str) -> None:
        (entry,) = (e for e in json.loads((SHARED / "manifest.json").read_text()) if e["file"] == file)
        final = run(heard((read_wav(SHARED / file), True)), virtual=False)
        assert phrase in final.text
        assert errors(plain(entry["text"]), plain(final.text)) <= 3


def test_a_python_without_a_wheel_is_told_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(Unavailable) as caught:
        run(PocketsphinxSpeechToText().start(), virtual=False)
    assert str(caught.value) == f"stt: {NO_WHEEL}"
    assert "Python 3.11 or 3.13" in NO_WHEEL
