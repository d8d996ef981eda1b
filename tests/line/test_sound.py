"""Promise: a phone hears everybody in the room, summed once and in time, and a telephone's voice is doubled cleanly."""

import numpy as np
import pytest

from triage.bench.seam.sound import PATIENCE, Doubler, Mixer, RingTone
from triage.bench.sip.ports import Pcm


def frame(value: int) -> Pcm:
    return np.full(160, value, np.int16)


def values(frames: list[Pcm]) -> list[int]:
    return [int(f[0]) for f in frames]


def test_one_voice_goes_straight_through() -> None:
    mixer = Mixer()
    assert [values(mixer.push("agent", frame(n))) for n in (1, 2, 3)] == [[1], [2], [3]]


def test_two_voices_are_summed_frame_by_frame() -> None:
    mixer = Mixer()
    mixer.push("agent", frame(1))
    assert values(mixer.push("nurse", frame(10))) == []  # the agent's first frame went before the nurse was there
    assert values(mixer.push("agent", frame(2))) == [12]
    assert values(mixer.push("agent", frame(3))) == []
    assert values(mixer.push("nurse", frame(20))) == [23]


def test_loud_voices_do_not_wrap_around() -> None:
    mixer = Mixer()
    mixer.push("agent", frame(0))
    for value in (30_000, -30_000):
        mixer.push("nurse", frame(value))
        assert values(mixer.push("agent", frame(value))) == [32_767 if value > 0 else -32_768]


def test_a_voice_that_falls_behind_holds_up_nobody_for_long() -> None:
    mixer = Mixer()
    mixer.push("agent", frame(1))
    mixer.push("nurse", frame(1))
    heard = [len(mixer.push("agent", frame(n))) for n in range(2, 12)]
    assert heard == [1, *[0] * PATIENCE, PATIENCE + 1, *[1] * (8 - PATIENCE)]  # the first went with the nurse's


def test_a_voice_that_comes_back_is_summed_again() -> None:
    mixer = Mixer()
    mixer.push("agent", frame(1))
    mixer.push("nurse", frame(1))
    for _ in range(10):
        mixer.push("agent", frame(1))
    heard = [
        value for n in range(10) for value in values(mixer.push("nurse", frame(5)) + mixer.push("agent", frame(1)))
    ]
    assert heard.count(6) >= 8


def test_a_voice_that_left_is_not_waited_for() -> None:
    mixer = Mixer()
    mixer.push("agent", frame(1))
    mixer.push("nurse", frame(1))
    mixer.remove("nurse")
    assert values(mixer.push("agent", frame(2))) == [2]


@pytest.mark.parametrize("hz", [300, 1000, 3000])
def test_a_doubled_tone_is_that_tone_without_seams(hz: int) -> None:
    at_8k = (10_000 * np.sin(2 * np.pi * hz * np.arange(8000) / 8000)).astype(np.int16)
    doubler = Doubler()
    doubled = np.concatenate([doubler.double(at_8k[at : at + 160]) for at in range(0, 8000, 160)])
    assert len(doubled) == 16_000 and doubled.dtype == np.int16
    spectrum = np.abs(np.fft.rfft(doubled[2000:].astype(float) * np.hanning(14_000)))
    peak = int(np.argmax(spectrum))
    assert abs(peak * 16_000 / 14_000 - hz) < 2
    spectrum[max(0, peak - 4) : peak + 5] = 0
    assert spectrum.max() < 0.02 * np.max(np.abs(np.fft.rfft(doubled[2000:].astype(float) * np.hanning(14_000))))
    assert abs(int(np.abs(doubled[2000:].astype(int)).max()) - 10_000) < 600


def test_the_ring_tone_sounds_for_one_second_of_five() -> None:
    ringing = RingTone(8000)
    heard = np.concatenate([ringing.next(160) for _ in range(500)])  # 10 s
    loud = np.abs(heard.reshape(-1, 800).astype(int)).max(axis=1) > 4000  # tenths of a second
    assert list(np.flatnonzero(loud)) == [*range(10), *range(50, 60)]
