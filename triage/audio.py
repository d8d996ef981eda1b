"""Audio files, rates, levels and the telephone's 8 kHz µ-law; everything here is a function of its samples.

Inside the service audio is int16 mono 16 kHz (`RATE`) in frames of 20 ms (`FRAME`); this module is where anything else
becomes that, and back. Levels are dBFS: 0 is a full-scale square wave, a full-scale sine is about -3.
"""

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from triage.errors import AssetError
from triage.ports import FRAME, RATE, Frame, Pcm

PHONE_RATE = 8_000
"""Samples per second on a G.711 leg."""
LONGEST_S = 2 * 3600
"""A longer file is no caller; it would only fill the memory."""
SILENCE_DB = -100.0
"""Level reported for samples that are all zero, and for none at all."""
HOP = RATE // 100
"""Grid of the level measurements: 10 ms."""

_FULL_SCALE = 32768.0
_BIAS = 0x84
_CLIP = 32635


# --- files


def read_wav(path: Path | str) -> Pcm:
    """The samples of an audio file as 16 kHz mono int16, whatever its rate, width and channel count.

    Channels are averaged. Despite its name it takes every container that libsndfile knows (WAV, FLAC, AIFF, OGG).

    Raises:
        AssetError: missing, unreadable, not audio, empty or absurdly long; the message names file and remedy.
    """
    path = Path(path)
    if path.is_dir():
        raise AssetError(f"{path} is a folder; give a WAV file")
    try:
        with soundfile.SoundFile(str(path)) as source:
            rate, frames = int(source.samplerate), int(source.frames)
            if frames > LONGEST_S * rate:
                raise AssetError(f"{path} is longer than {LONGEST_S // 3600} hours; cut out the part that matters")
            samples: NDArray[np.float32] = source.read(dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise AssetError(_why_unreadable(path)) from error
    if not samples.size:
        raise AssetError(f"{path} holds no audio samples; record or export it again")
    mono = np.nan_to_num(samples.mean(axis=1, dtype=np.float32), posinf=1.0, neginf=-1.0)
    return _to_int16(mono if rate == RATE else soxr.resample(mono, rate, RATE))


def write_wav(path: Path | str, *channels: Pcm, rate: int = RATE) -> None:
    """Write one (mono) or two (stereo: left, right) channels as 16-bit WAV; the shorter one is filled with silence.

    Raises:
        AssetError: the file cannot be written; names it.
        ValueError: not one or two channels.
    """
    if not 1 <= len(channels) <= 2:
        raise ValueError("one or two channels")
    length = max(len(channel) for channel in channels)
    interleaved = np.zeros((length, len(channels)), dtype="<i2")
    for column, channel in enumerate(channels):
        interleaved[: len(channel), column] = channel
    try:
        with Path(path).open("wb") as file, wave.open(file, "wb") as target:
            target.setnchannels(len(channels))
            target.setsampwidth(2)
            target.setframerate(rate)
            target.writeframes(interleaved.tobytes())
    except OSError as error:
        raise AssetError(
            f"{path} cannot be written ({error.strerror or 'I/O error'}); free space or choose a folder"
        ) from error


def _why_unreadable(path: Path) -> str:
    """One line for a file that libsndfile would not open."""
    if not path.exists():
        return f"{path} does not exist; check the path"
    try:
        with path.open("rb") as source:
            first = source.read(1)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror or 'I/O error'}); check its permissions"
    if not first:
        return f"{path} is empty; record or export it again"
    return f"{path} is not audio we can read; convert it to WAV (PCM)"


# --- rates


def resample(pcm: Pcm, from_rate: int, to_rate: int) -> Pcm:
    """The whole of `pcm` at another rate; for a stream use `StreamResampler`."""
    if from_rate == to_rate or not len(pcm):
        return pcm
    return _to_int16(soxr.resample(_to_float(pcm), from_rate, to_rate))


class StreamResampler:
    """A stream of mono int16 at another rate. Output lags by the filter's length (some milliseconds)."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="int16", quality="MQ")

    def feed(self, pcm: Pcm, *, last: bool = False) -> Pcm:
        """What the samples so far make ready; with `last`, everything that is left."""
        ready: Pcm = self._stream.resample_chunk(np.ascontiguousarray(pcm, dtype=np.int16), last=last)
        return ready


# --- telephone


def mulaw_encode(pcm: Pcm) -> NDArray[np.uint8]:
    """G.711 µ-law bytes of int16 samples (ITU-T G.711, 14-bit law, inverted bits)."""
    wide = pcm.astype(np.int32)
    sign = np.where(wide < 0, 0x80, 0).astype(np.int32)
    magnitude = np.minimum(np.abs(wide), _CLIP) + _BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    payload: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return payload


def mulaw_decode(payload: NDArray[np.uint8] | bytes) -> Pcm:
    """The int16 samples of G.711 µ-law bytes."""
    codes = np.frombuffer(payload, dtype=np.uint8) if isinstance(payload, bytes) else payload
    samples: Pcm = _MULAW[codes]
    return samples


def _mulaw_table() -> Pcm:
    codes = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((codes & 0x0F) << 3) + _BIAS << ((codes >> 4) & 0x07)) - _BIAS
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)


_MULAW = _mulaw_table()


def to_phone(pcm: Pcm) -> bytes:
    """What a G.711 leg would carry of 16 kHz samples: 8 kHz µ-law, one byte for two samples."""
    return mulaw_encode(resample(pcm, RATE, PHONE_RATE)).tobytes()


def from_phone(payload: bytes) -> Pcm:
    """16 kHz samples of a G.711 leg's 8 kHz µ-law."""
    return resample(mulaw_decode(payload), PHONE_RATE, RATE)


def over_the_phone(pcm: Pcm) -> Pcm:
    """What is left of `pcm` after a telephone leg: 300-3400 Hz at best, µ-law noise; same length, same alignment."""
    back = from_phone(to_phone(pcm))[: len(pcm)]
    return np.pad(back, (0, len(pcm) - len(back)))


# --- frames


def frames(pcm: Pcm, start: int = 0) -> Iterator[Frame]:
    """`pcm` in whole frames from position `start`; the last one is filled up with silence."""
    for offset in range(0, len(pcm), FRAME):
        piece = pcm[offset : offset + FRAME]
        if len(piece) < FRAME:
            piece = np.pad(piece, (0, FRAME - len(piece)))
        yield Frame(piece, start + offset)


def silence(seconds: float) -> Pcm:
    """That many seconds of nothing."""
    return np.zeros(round(seconds * RATE), dtype=np.int16)


# --- levels


def level_db(pcm: Pcm) -> float:
    """Root-mean-square level in dBFS; `SILENCE_DB` at least."""
    if not len(pcm):
        return SILENCE_DB
    power = float(np.mean(np.square(pcm, dtype=np.float64))) / _FULL_SCALE**2
    return max(SILENCE_DB, 10.0 * float(np.log10(power))) if power > 0 else SILENCE_DB


def at_level(pcm: Pcm, db: float) -> Pcm:
    """`pcm` scaled so that its level is `db` dBFS; clipped where that is too loud, untouched when it is silent."""
    now = level_db(pcm)
    return pcm if now <= SILENCE_DB else _to_int16(_to_float(pcm) * 10.0 ** ((db - now) / 20.0))


def mix(*voices: Pcm) -> Pcm:
    """The sum, clipped; as long as the longest."""
    total = np.zeros(max(len(voice) for voice in voices), dtype=np.int32)
    for voice in voices:
        total[: len(voice)] += voice
    return np.clip(total, -32768, 32767).astype(np.int16)


def sound_spans(pcm: Pcm, *, above_db: float = -45.0, join_ms: int = 200) -> list[tuple[int, int]]:
    """(start, end) of each stretch whose 10 ms level exceeds `above_db`; gaps shorter than `join_ms` are bridged.

    The grid is 10 ms, so an edge is known to 160 samples.
    """
    hops = -(-len(pcm) // HOP)
    if not hops:
        return []
    grid = np.pad(pcm, (0, hops * HOP - len(pcm))).reshape(hops, HOP)
    power = np.mean(np.square(grid, dtype=np.float64), axis=1) / _FULL_SCALE**2
    spans: list[tuple[int, int]] = []
    for hop in np.flatnonzero(power > 10.0 ** (above_db / 10.0)):
        start, end = int(hop) * HOP, min(int(hop + 1) * HOP, len(pcm))
        if spans and start - spans[-1][1] < join_ms * RATE // 1000:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def first_sound(pcm: Pcm, *, above_db: float = -45.0) -> int | None:
    """Position of the first 10 ms louder than `above_db`; None when there is none."""
    spans = sound_spans(pcm, above_db=above_db)
    return spans[0][0] if spans else None


def last_sound(pcm: Pcm, *, above_db: float = -45.0) -> int | None:
    """Position just after the last 10 ms louder than `above_db`; None when there is none."""
    spans = sound_spans(pcm, above_db=above_db)
    return spans[-1][1] if spans else None


def _to_float(pcm: Pcm) -> NDArray[np.float32]:
    return pcm.astype(np.float32) / np.float32(_FULL_SCALE)


def _to_int16(samples: NDArray[np.float32]) -> Pcm:
    pcm: Pcm = np.clip(np.rint(samples * _FULL_SCALE), -32768, 32767).astype(np.int16)
    return pcm
