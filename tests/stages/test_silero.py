"""Promise: the shipped voice detector is the tested file, hears barge-ins in time, and hears gasps as a voice."""

from pathlib import Path

import numpy as np
import pytest

from tests.stages.engines import caller
from triage.audio import first_sound, frames, silence
from triage.errors import AssetError
from triage.ports import RATE, VoiceWindow
from triage.stages.silero import CONTEXT, WINDOW, SileroVoiceActivity, model_path

LINES = ("wait", "stop", "yes_rms", "no_awb", "barge_in_1", "asks_person", "sore_bye", "third_turn_3")


def windows_of(line: str, phase: int) -> tuple[int, list[VoiceWindow]]:
    """Where the sound begins, and the detector's windows over it."""
    pcm = np.concatenate([silence(0.5), np.zeros(phase, dtype=np.int16), caller(line), silence(0.5)])
    vad, onset = SileroVoiceActivity.load(), first_sound(pcm)
    assert onset is not None
    return onset, [window for frame in frames(pcm) for window in vad.feed(frame)]


def test_the_pause_threshold_is_crossed_within_100_ms_of_the_first_sound_but_for_rare_consonants() -> None:
    delays = []
    for line in LINES:
        for phase in range(0, WINDOW, 128):
            onset, windows = windows_of(line, phase)
            delays.append(next(w.end for w in windows if w.end > onset and w.probability >= 0.3) - onset)
    delays.sort()
    assert delays[len(delays) // 2] <= 0.06 * RATE
    assert delays[int(0.95 * len(delays))] <= 0.1 * RATE
    assert delays[-1] <= 0.16 * RATE


def test_a_cough_is_a_voice_to_the_detector_so_that_words_must_decide() -> None:
    for line in ("cough", "cough_2", "mm_hm"):
        _, windows = windows_of(line, 0)
        assert max(w.probability for w in windows) >= 0.5


def test_gasping_is_heard_as_several_long_voices() -> None:
    _, windows = windows_of("gasping", 0)
    voiced = "".join("x" if w.probability >= 0.3 else " " for w in windows)
    long = [
        burst
        for burst in voiced.replace("x x", "xxx").replace("x  x", "xxxx").split()
        if len(burst) * WINDOW > 0.7 * RATE
    ]
    assert len(long) >= 3


def test_the_model_wants_its_context_and_its_window() -> None:
    assert (WINDOW, CONTEXT) == (512, 64)


def test_a_missing_model_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"gone\.onnx cannot be read; install the package again"):
        SileroVoiceActivity.load(tmp_path / "gone.onnx")


def test_an_altered_model_is_refused(tmp_path: Path) -> None:
    altered = bytearray(model_path().read_bytes())
    altered[1000] ^= 1
    (tmp_path / "silero.onnx").write_bytes(altered)
    with pytest.raises(AssetError, match="is not the one that was tested"):
        SileroVoiceActivity.load(tmp_path / "silero.onnx")


def test_a_gap_in_the_audio_starts_afresh() -> None:
    vad = SileroVoiceActivity.load()
    pcm = caller("yes_rms")
    fresh = [w.probability for f in frames(pcm) for w in vad.feed(f)]
    again = [w.probability for f in frames(pcm, 160_000) for w in vad.feed(f)]
    assert again == fresh
