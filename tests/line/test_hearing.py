"""Promise: what a phone heard is told from its packets: which clip, when it began, when it fell silent, what was missing."""

import numpy as np
import pytest
import soxr

from tests.line.telephony import tone
from triage.bench.impairer import Carried
from triage.bench.media.codecs import encoder
from triage.bench.phones.hearing import find, heard, onset, quiet_from, sound_s
from triage.clips import ClipLibrary
from triage.ports import RATE, Pcm

CLIPS = ClipLibrary.load("en", "us")
TYPES = {"PCMU": (0, 8000), "PCMA": (8, 8000), "G722": (9, 16000)}


def packets(pcm: Pcm, codec: str = "PCMU", *, lost: frozenset[int] = frozenset(), began_s: float = 100.0) -> list[Carried]:  # fmt: skip
    """The samples as a phone gets them, 16 kHz in, one packet every 20 ms."""
    kind, rate = TYPES[codec]
    wave = pcm if rate == RATE else np.asarray(soxr.resample(pcm, RATE, rate), np.int16)
    encode, size = encoder(codec), rate // 50
    made = []
    for number in range(len(wave) // size):
        payload = encode.encode(wave[number * size : (number + 1) * size])
        head = bytes([0x80, kind]) + (number % 65536).to_bytes(2, "big") + (number * 160).to_bytes(4, "big") + b"ssrc"
        at_s = began_s + number / 50
        made.append(Carried(at_s, None if number in lost else at_s + 0.1, head + payload))
    return made


def silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * RATE), np.int16)


@pytest.mark.parametrize("codec", TYPES)
def test_a_clip_is_found_where_it_was_played(codec: str) -> None:
    clip, other = CLIPS.clip("greeting").pcm, CLIPS.clip("connecting_nurse").pcm
    reached = heard(packets(np.concatenate([silence(1.0), other, silence(0.5)]), codec))
    match = find(other, reached.pcm)
    assert match.sure and abs(match.start - RATE) < RATE // 50
    assert not find(clip, reached.pcm).sure
    began = onset(other)
    assert began is not None
    assert abs(reached.at_s(match.start + began) - (101.1 + began / RATE)) < 0.03


def test_what_was_lost_is_silence_and_never_arrived() -> None:
    wave = tone(500, 2.0, RATE)
    reached = heard(packets(wave, lost=frozenset(range(30, 50))))
    assert 1.5 < sound_s(reached.pcm) < 1.65
    assert np.isnan(reached.at_s(40 * 320)) and reached.at_s(0) == pytest.approx(100.1)
    assert heard(packets(wave, lost=frozenset(range(30, 50))), sent=True).at_s(40 * 320) == pytest.approx(100.8)
    assert reached.position(100.1 + 1.0) == 50 * 320


def test_onset_and_end_of_sound() -> None:
    pcm = np.concatenate([silence(0.5), tone(500, 0.02, RATE), silence(0.5), tone(500, 1.0, RATE), silence(1.0)])
    assert onset(pcm) == round(1.02 * RATE)
    assert onset(pcm, at_least_ms=10) == round(0.5 * RATE)
    assert quiet_from(pcm, round(1.1 * RATE)) == round(2.02 * RATE)
    assert onset(pcm, round(2.5 * RATE)) is None and quiet_from(pcm[: round(1.5 * RATE)], RATE) is None


def test_no_packets_are_no_sound() -> None:
    nothing = heard([])
    assert len(nothing.pcm) == 0 and np.isnan(nothing.at_s(0)) and onset(nothing.pcm) is None
    assert not find(CLIPS.clip("greeting").pcm, nothing.pcm).sure


def test_a_clip_that_stutters_is_found_by_its_pieces_and_another_one_is_not() -> None:
    clip, other = CLIPS.clip("rescued").pcm, CLIPS.clip("greeting").pcm
    began = 50 + (onset(clip) or 0) // 320
    stutters = frozenset(n for n in range(began, began + len(clip) // 320) if n % 5 < 3)
    reached = heard(packets(np.concatenate([silence(1.0), clip, silence(0.5)]), lost=stutters))
    match = find(clip, reached.pcm)
    assert match.likeness < 0.7, "no piece came through whole"
    assert match.sure and abs(match.start - RATE) < RATE // 20
    assert not find(other, reached.pcm).sure
