"""Our own voice heard back is no barge-in and no red flag; a caller over it is both."""

import numpy as np
import pytest
from numpy.typing import NDArray

from triage.echo import BLOCK, EchoDetector, EchoTap, only_our_words
from triage.ports import FRAME, RATE, Pcm

Sound = NDArray[np.float64]


def voice_like(seconds: float, pitch: float, seed: int) -> Sound:
    """Harmonics with a wandering pitch and syllables: periodic enough to tempt a correlator."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    wander = pitch * (1 + 0.08 * np.interp(np.arange(n), np.linspace(0, n, 12), rng.standard_normal(12)))
    phase = 2 * np.pi * np.cumsum(wander) / RATE
    weights = rng.uniform(0.2, 1.0, 12)
    sound = sum(w * np.sin((k + 1) * phase + rng.uniform(0, 6)) for k, w in enumerate(weights))
    syllables = np.interp(np.arange(n), np.linspace(0, n, int(seconds * 8)), rng.uniform(0.2, 1, int(seconds * 8)))
    return np.asarray(sound * syllables * 1500)


def decisions(played: Sound, heard: Sound) -> list[bool]:
    detector, said = EchoDetector(), []
    for start in range(0, len(heard) - FRAME, FRAME):
        detector.feed(played[start : start + FRAME].astype(np.int16), heard[start : start + FRAME].astype(np.int16))
        said.append(detector.hears_us())
    return said[10:]


def delayed(sound: Sound, milliseconds: int, db: float) -> Sound:
    late = np.zeros_like(sound)
    shift = milliseconds * RATE // 1000
    late[shift:] = sound[:-shift] * 10 ** (db / 20)
    return late


@pytest.mark.parametrize(("milliseconds", "db"), [(60, -6), (180, -20), (420, -26)])
def test_a_delayed_scaled_copy_is_us(milliseconds: int, db: float) -> None:
    ours = voice_like(2, 190, 1)
    noise = np.random.default_rng(9).standard_normal(len(ours)) * 10
    said = decisions(ours, delayed(ours, milliseconds, db) + noise)
    after = said[milliseconds // 20 + 4 :]
    assert np.mean(after) > 0.9


def test_somebody_else_is_not_us() -> None:
    assert np.mean(decisions(voice_like(2, 190, 1), voice_like(2, 120, 2))) < 0.05


def test_the_same_kind_of_voice_saying_something_else_is_not_us() -> None:
    assert np.mean(decisions(voice_like(2, 190, 1), voice_like(2, 185, 3))) < 0.1


def test_a_caller_over_the_echo_is_not_us() -> None:
    ours, caller = voice_like(2, 190, 1), voice_like(2, 120, 4)
    assert np.mean(decisions(ours, delayed(ours, 120, -14) + caller)) < 0.1


def test_silence_and_a_silent_lane_are_not_us() -> None:
    detector = EchoDetector()
    detector.feed(None, np.ones(FRAME, dtype=np.int16))
    assert not detector.hears_us()


def test_a_hit_is_ours_only_when_every_evidence_word_was_ours() -> None:
    played = ["hang", "up", "and", "dial", "9", "1", "1"]
    assert only_our_words(["dial 9 1 1"], played)
    assert not only_our_words(["dial 9 1 1", "now"], played)
    assert not only_our_words([], played)


class Wire:
    playout_delay = 0

    def __init__(self) -> None:
        self.waiting = 0

    def send(self, pcm: Pcm) -> None:
        self.waiting += len(pcm)

    def queued(self) -> int:
        return self.waiting

    def drop(self) -> int:
        dropped, self.waiting = self.waiting, 0
        return dropped


def test_the_tap_gives_back_what_left_in_step_and_forgets_what_was_dropped() -> None:
    wire = Wire()
    tap = EchoTap(wire)
    assert tap.went_out(FRAME) is None
    tap.send(np.arange(1, FRAME + 1, dtype=np.int16))
    wire.waiting = 220  # 100 samples have left
    first = tap.went_out(FRAME)
    assert first is not None
    assert list(first[-100:]) == list(range(1, 101))
    assert not first[:-100].any()
    assert tap.drop() == 220
    assert tap.went_out(FRAME) is None


def test_the_quiet_end_of_our_own_words_is_ours_too() -> None:
    """A word ends 40 dB below its middle, and the voice detector hears it to its end."""
    detector, rng = EchoDetector(), np.random.default_rng(5)
    ours = (rng.normal(0, 9000, RATE) * np.exp(-np.arange(RATE) / 1700.0)).astype(np.int16)
    echo = (0.5 * np.concatenate([np.zeros(960), ours[:-960]])).astype(np.int16)
    heard = []
    for at in range(0, RATE * 6 // 10, FRAME):
        detector.feed(ours[at : at + FRAME], echo[at : at + FRAME])
        heard.append(detector.hears_us())
    assert all(heard[8:])


def test_only_noise_is_left_when_our_word_is_over() -> None:
    detector, rng = EchoDetector(), np.random.default_rng(6)
    ours = rng.normal(0, 3000, RATE).astype(np.int16)
    noise = rng.normal(0, 25, RATE).astype(np.int16)
    for at in range(0, RATE // 2, FRAME):
        detector.feed(ours[at : at + FRAME], (0.3 * ours[at : at + FRAME]).astype(np.int16) + noise[at : at + FRAME])
        heard = detector.hears_us()
    assert heard
    for at in range(0, BLOCK + FRAME, FRAME):  # until the block holds nothing of the word
        detector.feed(None, noise[at : at + FRAME])
    assert detector.hears_us()


def test_a_caller_fainter_than_the_echo_is_not_missed_for_long() -> None:
    """What is much fainter than the echo before it counts as its end for a fifth of a second, no longer."""
    detector, rng = EchoDetector(), np.random.default_rng(7)
    ours = rng.normal(0, 3000, RATE).astype(np.int16)
    for at in range(0, RATE // 2, FRAME):
        detector.feed(ours[at : at + FRAME], ours[at : at + FRAME])
        heard = detector.hears_us()
    assert heard
    caller = rng.normal(0, 300, RATE).astype(np.int16)
    missed = 0
    for at in range(0, RATE, FRAME):
        detector.feed(None, caller[at : at + FRAME])
        missed += detector.hears_us()
    assert missed <= 14
