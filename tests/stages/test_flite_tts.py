"""Promise: the local voice starts at once, says every kind of text, and names its remedy where it is missing."""

import subprocess
import sys

import numpy as np
import pytest

from tests.stages.engines import ROOT, needs_flite
from triage.audio import first_sound
from triage.errors import Unavailable
from triage.ports import RATE
from triage.stages.flite_tts import VOICES, synthesise


@pytest.mark.parametrize("voice", [pytest.param(voice, marks=needs_flite) for voice in VOICES])
def test_every_voice_speaks_and_times_its_words(voice: str) -> None:
    pcm, words = synthesise("A nurse is on her way to you.", voice)
    assert len(words) == 8
    assert words[-1].end <= len(pcm)
    assert all(word.end > word.start for word in words)


class TestSlt:
    pytestmark = needs_flite

    def test_the_engines_leading_silence_is_cut_to_some_milliseconds(self) -> None:
        pcm, words = synthesise("Now.")
        begins = first_sound(pcm)
        assert begins is not None
        assert begins <= 0.08 * RATE
        assert words[0].start <= 0.03 * RATE

    @pytest.mark.parametrize(
        "text",
        [
            "At 10:30 it’s “fine” — really, no no!",
            "Call 555-0123, $5.50 (or 3/4)?",
            "Café naïve … übermäßig",
            "- lone dash -",
        ],
    )
    def test_words_are_those_that_were_written(self, text: str) -> None:
        pcm, words = synthesise(text)
        assert [word.text for word in words] == text.split()
        assert [word.start for word in words] == sorted(word.start for word in words)
        assert words[-1].end <= len(pcm)

    def test_the_same_text_gives_the_same_samples(self) -> None:
        assert np.array_equal(synthesise("Again and again.")[0], synthesise("Again and again.")[0])

    def test_pace_stretches(self) -> None:
        slow, plain = synthesise("Slowly now.", pace=1.5)[0], synthesise("Slowly now.")[0]
        assert 1.3 < len(slow) / len(plain) < 1.7
        assert len(synthesise("Slowly now.")[0]) == len(plain)


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(Unavailable, match="choose one of slt"):
        synthesise("Hello", "nobody")


def test_without_the_library_the_remedy_is_named() -> None:
    script = (
        "import ctypes\n"
        "def missing(*a, **k): raise OSError('not found')\n"
        "ctypes.CDLL = missing\n"
        "from triage.stages.flite_tts import synthesise\n"
        "try: synthesise('Hello')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "Unavailable tts: flite is not installed; run: apt-get install libflite1"
