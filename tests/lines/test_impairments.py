"""Promise: every impairment is as bad as it says, no worse, and the same again with the same seed. All are measured."""

import asyncio
from typing import Any

import numpy as np
import pytest

from tests.lines.world import call, noise, says, tone
from tests.virtual import in_virtual_time
from triage.audio import level_db
from triage.lines.impairments import MULAW_DELAY, Impairments, Spoiler
from triage.ports import FRAME, RATE, Pcm


def through(settings: Impairments, voice: Pcm) -> Pcm:
    spoiler = Spoiler(settings)
    frames = [voice[at : at + FRAME] for at in range(0, len(voice) - FRAME + 1, FRAME)]
    return np.concatenate([spoiler.frame(n * FRAME, frame, None) for n, frame in enumerate(frames)])


def lag(later: Pcm, earlier: Pcm) -> tuple[int, float]:
    """(samples by which `later` is late, its level relative to `earlier` in dB), by cross-correlation."""
    a, b = later.astype(float), earlier.astype(float)
    size = 2 ** int(np.ceil(np.log2(len(a) + len(b))))
    correlation = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    best = int(np.argmax(correlation))
    return best, 20 * np.log10(correlation[best] / float(b @ b))


def test_a_perfect_connection_changes_no_sample() -> None:
    voice = noise(1, 1)
    assert np.array_equal(through(Impairments(), voice), voice)


@pytest.mark.parametrize("db", [-50.0, -35.0, -20.0])
def test_noise_has_the_level_it_says(db: float) -> None:
    voice = tone(440, 5)
    added = through(Impairments(noise_db=db), voice).astype(int) - voice
    assert level_db(added.astype(np.int16)) == pytest.approx(db, abs=0.1)


def test_the_signal_to_noise_ratio_is_what_the_two_levels_say() -> None:
    voice = noise(5, 3, db=-22)
    added = through(Impairments(noise_db=-42), voice).astype(int) - voice
    assert level_db(voice) - level_db(added.astype(np.int16)) == pytest.approx(20.0, abs=0.2)


def test_a_mulaw_leg_delays_by_its_filters_and_keeps_the_telephone_band() -> None:
    voice = noise(2, 4)
    assert lag(through(Impairments(mulaw=True), voice), voice)[0] == MULAW_DELAY
    for hertz, change_db, tolerance in ((400, 0.0, 0.3), (1000, 0.0, 0.3), (3000, 0.0, 1.0)):
        out = through(Impairments(mulaw=True), tone(hertz, 1))[MULAW_DELAY * 2 :]
        assert level_db(out) - level_db(tone(hertz, 1)) == pytest.approx(change_db, abs=tolerance)
    for hertz in (5000, 7000):
        assert level_db(through(Impairments(mulaw=True), tone(hertz, 1))) < level_db(tone(hertz, 1)) - 35


def test_mulaw_costs_about_as_much_as_g711_does() -> None:
    """G.711 keeps roughly 37 dB between a loud voice and its own rounding."""
    voice = tone(700, 2)
    out = through(Impairments(mulaw=True), voice)[MULAW_DELAY:].astype(float)
    reference = voice[: len(out)].astype(float)
    gain = float(out @ reference) / float(reference @ reference)
    error = out - gain * reference
    ratio = 10 * np.log10(float(reference @ reference) * gain**2 / float(error[200:-200] @ error[200:-200]))
    assert 32 < ratio < 45


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_loss_takes_its_share_of_the_frames(share: float) -> None:
    spoiler = Spoiler(Impairments(loss=share))
    voice = np.full(FRAME, 1000, dtype=np.int16)
    out = [spoiler.frame(n * FRAME, voice, None) for n in range(5000)]
    silent = [n * FRAME for n, frame in enumerate(out) if not frame.any()]
    assert silent == spoiler.lost
    assert len(silent) / 5000 == pytest.approx(share, abs=3 * (share * (1 - share) / 5000) ** 0.5)


def test_a_lost_frame_can_be_concealed_by_the_one_before() -> None:
    spoiler = Spoiler(Impairments(loss=0.2, concealment="repeat"))
    out = [spoiler.frame(n * FRAME, np.full(FRAME, 1000 + n, dtype=np.int16), None) for n in range(200)]
    lost = [at // FRAME for at in spoiler.lost if at]
    assert len(lost) > 20
    assert all(out[n][0] == out[n - 1][0] // 2 for n in lost)


def test_the_same_seed_spoils_the_same_way_and_another_does_not() -> None:
    settings: dict[str, Any] = {"noise_db": -30.0, "loss": 0.1, "jitter_ms": 30.0, "mulaw": True}
    voice = noise(2, 5)
    first = through(Impairments(seed=3, **settings), voice)
    assert np.array_equal(first, through(Impairments(seed=3, **settings), voice))
    assert not np.array_equal(first, through(Impairments(seed=4, **settings), voice))


@in_virtual_time
async def test_jitter_makes_frames_late_and_keeps_their_order() -> None:
    async with call([says(noise(1, 1), 0.0)], impairments=Impairments(jitter_ms=60)) as seen:
        await asyncio.sleep(10)
    starts = [frame.start for _, frame in seen.frames]
    assert starts == [n * FRAME for n in range(len(starts))]
    late_ms = [(at - (frame.start + FRAME) / RATE) * 1000 for at, frame in seen.frames]
    assert min(late_ms) >= -1e-6
    assert max(late_ms) <= 60.001
    assert np.mean(late_ms) > 25
    assert len(np.unique(np.round(late_ms, 3))) > 50


@in_virtual_time
async def test_echo_comes_back_at_its_level_after_its_delay() -> None:
    for delay_ms, db, ear in ((60.0, -20.0, 0), (120.0, -6.0, 800)):
        async with call(impairments=Impairments(echo_db=db, echo_ms=delay_ms), playout_delay=ear) as seen:
            await asyncio.sleep(0.1)
            ours = noise(2, 9)
            begins = seen.line.position()
            await seen.play(ours)
            await asyncio.sleep(0.5)
        late, level = lag(seen.line.received(), ours)
        assert late == begins + ear + round(delay_ms * 16)
        assert level == pytest.approx(db, abs=0.1)
        assert not seen.line.recording()[0].any(), "the caller said nothing"


@in_virtual_time
async def test_what_we_take_back_gives_no_echo() -> None:
    async with call(impairments=Impairments(echo_db=0.0, echo_ms=20)) as seen:
        seen.line.send(noise(0.02, 1))
        await asyncio.sleep(0.01)
        assert seen.line.drop() == FRAME // 2
        await asyncio.sleep(0.5)
    assert not seen.line.received()[480:].any()
    assert seen.line.received()[320:480].any()


def test_the_helper_finds_a_known_lag() -> None:
    voice = noise(1, 2)
    samples, db = lag(np.concatenate((np.zeros(123, dtype=np.int16), voice // 2)), voice)
    assert samples == 123 and db == pytest.approx(-6.0, abs=0.1)
