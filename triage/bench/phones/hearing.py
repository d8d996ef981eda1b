"""What a telephone heard, from the packets that reached it or from its own recording: when sound began, ended, and which.

A recording says *what* was heard; the packets also say *when*, on the clock of the whole machine. Positions are samples
at 16 kHz.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from triage.bench.impairer import Carried
from triage.bench.media.codecs import decoder
from triage.bench.media.rtp import Packet, parse_packet
from triage.bench.sip.sdp import RATES, STATIC
from triage.ports import RATE, Pcm

BLOCK = RATE // 100
"""Grid of levels and onsets: 10 ms."""
LOUD_DB = -45.0
"""A block of this level or more is sound, dBFS."""
PIECE_S = 0.45
"""A clip is looked for in pieces of this length from its first sound on: a hole must not hide it."""
SURE = 0.7
"""Likeness of a piece that went through Opus and a telephone codec, at least (usually 0.9); of other words it is less."""
AGREE, AGREE_STUTTERING = 3, 4
AGREE_LIKENESS, AGREE_S = 0.5, 0.06
"""Pieces of the whole clip, each found for itself, that stand where one playing of it would have them: clips that share a
phrase share two at most. A line that stutters spoils all pieces a little; then one more must agree."""
_CLOCK = 8000
_NAMES = {number: name for name, number in STATIC.items()}


@dataclass(frozen=True, slots=True)
class Heard:
    """Audio that reached a phone."""

    pcm: Pcm
    """16 kHz; silence where packets are missing."""
    arrivals: NDArray[np.float64]
    """When each 20 ms of it arrived, s; not a number where nothing did."""

    def at_s(self, position: int) -> float:
        """When this sample arrived: with its packet, at whose end a phone can play it. Not a number: it never did."""
        index = position // (RATE // 50)
        return float(self.arrivals[index]) if 0 <= index < len(self.arrivals) else float("nan")

    def position(self, at_s: float) -> int:
        """First sample that arrived at or after this moment; the length where none did."""
        later = np.flatnonzero(self.arrivals >= at_s)
        return int(later[0]) * (RATE // 50) if len(later) else len(self.pcm)


def heard(packets: Sequence[Carried], *, sent: bool = False) -> Heard:
    """Decode what arrived; `sent`: what was sent instead, lost or not, at the time it was."""
    frames: dict[int, tuple[Packet, float]] = {}
    first = None
    for carried in packets:
        at_s = carried.sent_s if sent else carried.delivered_s
        packet = parse_packet(carried.datagram) if at_s is not None else None
        if packet is None or at_s is None or packet.payload_type not in _NAMES:
            continue
        first = packet.timestamp if first is None else first
        behind = (packet.timestamp - first + 0x80000000) % 0x100000000 - 0x80000000
        frames.setdefault(round(behind / (_CLOCK // 50)), (packet, at_s))
    if not frames:
        return Heard(np.zeros(0, np.int16), np.zeros(0))
    start, end = min(frames), max(frames) + 1
    name = _NAMES[next(iter(frames.values()))[0].payload_type]
    rate, decode = RATES[name], decoder(name)
    pcm = np.zeros((end - start) * rate // 50, np.int16)
    arrivals = np.full(end - start, np.nan)
    for index in sorted(frames):
        packet, at_s = frames[index]
        part = decode.decode(packet.payload)
        place = (index - start) * rate // 50
        pcm[place : place + len(part)] = part[: len(pcm) - place]
        arrivals[index - start] = at_s
    return Heard(pcm if rate == RATE else np.asarray(soxr.resample(pcm, rate, RATE), np.int16), arrivals)


def levels_db(pcm: Pcm) -> NDArray[np.float64]:
    """Level of each 10 ms, dBFS."""
    blocks = pcm[: len(pcm) // BLOCK * BLOCK].reshape(-1, BLOCK).astype(np.float64)
    power = (blocks**2).mean(axis=1) if len(blocks) else np.zeros(0)
    return 10 * np.log10(np.maximum(power, 1e-3) / 32768.0**2)


def onset(pcm: Pcm, after: int = 0, *, at_least_ms: int = 30, loud_db: float = LOUD_DB) -> int | None:
    """Where sound begins that lasts `at_least_ms`, at or after a position; None where none does."""
    loud = levels_db(pcm) >= loud_db
    need, first = max(1, at_least_ms // 10), -(-after // BLOCK)
    run = 0
    for index in range(first, len(loud)):
        run = run + 1 if loud[index] else 0
        if run == need:
            return (index - need + 1) * BLOCK
    return None


def quiet_from(pcm: Pcm, after: int = 0, *, for_ms: int = 300, loud_db: float = LOUD_DB) -> int | None:
    """Where silence begins that lasts `for_ms`, at or after a position; None where none does."""
    loud = levels_db(pcm) >= loud_db
    need, first = for_ms // 10, -(-after // BLOCK)
    run = 0
    for index in range(first, len(loud)):
        run = 0 if loud[index] else run + 1
        if run == need:
            return (index - need + 1) * BLOCK
    return None


def sound_s(pcm: Pcm, *, loud_db: float = LOUD_DB) -> float:
    """Seconds with sound in them."""
    return float((levels_db(pcm) >= loud_db).sum()) / 100


@dataclass(frozen=True, slots=True)
class Match:
    """Where a recording is most like a clip."""

    likeness: float
    """0 to 1."""
    start: int
    """Where the clip's first sample would stand."""
    agreeing: int = 0
    """Pieces that say so."""
    pieces: int = 0
    """Pieces that were looked for."""

    @property
    def sure(self) -> bool:
        """It is that clip."""
        agreed = self.likeness >= SURE and self.agreeing >= min(AGREE, self.pieces)
        return bool(self.pieces) and (agreed or self.agreeing >= AGREE_STUTTERING)


def find(clip: Pcm, within: Pcm, *, after: int = 0) -> Match:
    """Look for a clip, whatever was done to its level on the way: where most of its pieces agree, then where one is most alike."""
    searched = soxr.resample(within[after:].astype(np.float32), RATE, _CLOCK)
    found: list[tuple[float, int]] = []
    for at in range(onset(clip) or 0, len(clip), round(PIECE_S * RATE)):
        wanted = soxr.resample(clip[at : at + round(PIECE_S * RATE)].astype(np.float32), RATE, _CLOCK)
        if round(PIECE_S * _CLOCK) <= len(wanted) <= len(searched) and sound_s(clip[at:]) > PIECE_S / 2:
            likeness, place = _most_like(wanted, searched)
            found.append((likeness, after + place * (RATE // _CLOCK) - at))
    best = Match(0.0, 0)
    for likeness, start in found:
        near = [one for one, place in found if abs(place - start) < AGREE_S * RATE and one > AGREE_LIKENESS]
        match = Match(max(near, default=likeness), start, len(near), len(found))
        best = max(best, match, key=lambda match: (match.agreeing, match.likeness))
    return best


def _most_like(wanted: NDArray[np.float32], searched: NDArray[np.float32]) -> tuple[float, int]:
    """Highest normalised correlation, and where."""
    size = 1 << (len(wanted) + len(searched) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(searched, size) * np.conj(np.fft.rfft(wanted, size)), size)
    sums = np.concatenate([[0.0], np.cumsum(searched.astype(np.float64) ** 2)])
    count = len(searched) - len(wanted) + 1
    power = sums[len(wanted) : len(wanted) + count] - sums[:count]
    floor = len(wanted) * (32768 * 10 ** (-60 / 20)) ** 2  # silence is like nothing
    own = float((wanted.astype(np.float64) ** 2).sum())
    likeness = product[:count] / np.sqrt(np.maximum(power, floor) * max(own, 1.0))
    best = int(np.argmax(likeness))
    return float(np.clip(likeness[best], 0, 1)), best
