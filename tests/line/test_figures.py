"""Promise: the figures of the line are read as they are: a turn from the last sound said to the first heard, a tone as a tone."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import line as figures
from benchmarks import line_load as load
from tests.line.telephony import CALLER_TONE, NURSE_TONE, tone
from tests.line.whole_line import spoken
from triage.bench.phones.hearing import Heard
from triage.ports import RATE, Pcm

SECONDS = 12


def arrived(pcm: Pcm, late_s: float = 0.0) -> Heard:
    return Heard(pcm, 100.0 + late_s + np.arange(len(pcm) // 320) / 50)


def at(*sounds: tuple[float, float]) -> Pcm:
    """Sound from one second to another, each."""
    pcm = np.zeros(SECONDS * RATE, np.int16)
    for begin, end in sounds:
        pcm[round(begin * RATE) : round(end * RATE)] = tone(500, end - begin, RATE)
    return pcm


def turns(said: Pcm, heard: Pcm, since_s: float = 0.0) -> list[float]:
    line: Any = SimpleNamespace(audio=lambda _, to_line=False: arrived(said if to_line else heard))
    return load.turns_ms(line, SimpleNamespace(port=5080), since_s)  # type: ignore[arg-type]  # nothing else of it is asked


def test_a_turn_is_from_the_last_sound_said_to_the_first_heard() -> None:
    assert turns(at((1, 2), (6, 7)), at((2.7, 4), (8.2, 9))) == pytest.approx([700, 1200], abs=25)
    assert turns(at((1, 2), (6, 7)), at((2.7, 4), (8.2, 9)), since_s=105.0) == pytest.approx([1200], abs=25)


def test_where_we_spoke_anyway_or_never_there_is_no_turn() -> None:
    assert turns(at((1, 2)), at((0.5, 4))) == []
    assert turns(at((1, 2)), at()) == []
    assert turns(at((1, 2), (2.5, 3)), at((3.5, 4))) == pytest.approx([500], abs=25)  # a pause within an utterance


def test_a_tone_is_told_from_a_voice() -> None:
    voice = spoken("nurse_hello", seconds=2.0)
    assert not any(figures.has_tone(voice[at : at + 320], CALLER_TONE) for at in range(0, RATE, 320))
    beside = figures.quiet_tone(CALLER_TONE, 1.0)
    assert figures.first_tone_s(arrived(np.concatenate([at((0, 1))[: 2 * RATE], beside])), CALLER_TONE, 0) == 102.0
    assert np.isnan(figures.first_tone_s(arrived(beside), NURSE_TONE, 0))
