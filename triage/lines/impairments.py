"""What a telephone connection does to the caller's voice on its way to us: echo, noise, µ-law, loss, jitter.

Everything is seeded: the same settings spoil the same call in the same way. The order is that of a real connection:
the handset's microphone picks up our own voice and the room's noise, the leg carries 8 kHz µ-law, the network loses and
delays packets.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from triage.audio import mulaw_decode, mulaw_encode
from triage.ports import FRAME, RATE, Pcm

TAPS = 63
"""Length of the 3.4 kHz low-pass filter; two of them delay the voice by `MULAW_DELAY`."""
MULAW_DELAY = TAPS - 1
"""Samples (3.9 ms) by which the µ-law leg delays the caller's voice."""


@dataclass(frozen=True, slots=True)
class Impairments:
    """How bad the connection is; the default is a perfect one."""

    mulaw: bool = False
    """8 kHz G.711 µ-law and back."""
    noise_db: float | None = None
    """Level of white noise at the caller's, in dBFS."""
    loss: float = 0.0
    """Share of lost frames, 0 to 1."""
    concealment: Literal["silence", "repeat"] = "silence"
    """What stands in for a lost frame."""
    jitter_ms: float = 0.0
    """Frames arrive up to so much late; their order is kept."""
    echo_db: float | None = None
    """Our own voice in the caller's microphone, relative to what the caller hears (-30: faint, -6: a loud speakerphone)."""
    echo_ms: float = 60.0
    """How much later than at the caller's ear."""
    seed: int = 1


class Spoiler:
    """One call's impairments, frame by frame."""

    def __init__(self, settings: Impairments) -> None:
        self._settings = settings
        self._random = np.random.default_rng(settings.seed)
        self._before: NDArray[np.float64] = np.zeros(TAPS - 1)
        self._after: NDArray[np.float64] = np.zeros(TAPS - 1)
        self._last = np.zeros(FRAME, dtype=np.int16)
        self.echo_delay = round(settings.echo_ms * RATE / 1000)
        """Samples between the caller's ear and the echo in their microphone."""
        self.lost: list[int] = []
        """Start positions of the frames that were lost."""

    @property
    def echoes(self) -> bool:
        """The microphone picks up what the caller hears."""
        return self._settings.echo_db is not None

    def frame(self, start: int, voice: Pcm, echo: Pcm | None) -> Pcm:
        """What arrives of `voice` (FRAME samples at `start`); `echo` is what the caller heard `echo_delay` before."""
        settings = self._settings
        if settings == Impairments():
            return voice
        sound: NDArray[np.float64] = voice.astype(np.float64)
        if echo is not None and settings.echo_db is not None:
            sound += echo * 10.0 ** (settings.echo_db / 20.0)
        if settings.noise_db is not None:
            sound += self._random.normal(0.0, 32768.0 * 10.0 ** (settings.noise_db / 20.0), FRAME)
        pcm: Pcm = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
        if settings.mulaw:
            pcm = self._over_mulaw(pcm)
        return self._over_the_network(start, pcm)

    def lateness_ns(self) -> int:
        """How much later than due the next frame arrives."""
        jitter_ms = self._settings.jitter_ms
        return int(self._random.uniform(0.0, jitter_ms) * 1e6) if jitter_ms else 0

    def _over_mulaw(self, pcm: Pcm) -> Pcm:
        narrow: NDArray[np.float64] = np.concatenate((self._before, pcm.astype(np.float64)))
        self._before = narrow[FRAME:]
        coded = mulaw_decode(mulaw_encode(_to_pcm(np.convolve(narrow, _LOW_PASS, "valid")[::2])))
        stuffed = np.zeros(FRAME)
        stuffed[::2] = 2.0 * coded
        wide: NDArray[np.float64] = np.concatenate((self._after, stuffed))
        self._after = wide[FRAME:]
        return _to_pcm(np.convolve(wide, _LOW_PASS, "valid"))

    def _over_the_network(self, start: int, pcm: Pcm) -> Pcm:
        settings = self._settings
        if settings.loss and self._random.random() < settings.loss:
            self.lost.append(start)
            self._last = self._last // 2 if settings.concealment == "repeat" else np.zeros(FRAME, dtype=np.int16)
            return self._last
        self._last = pcm
        return pcm


def _to_pcm(samples: NDArray[np.float64]) -> Pcm:
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def _low_pass() -> NDArray[np.float64]:
    middle = np.arange(TAPS) - (TAPS - 1) / 2
    taps = np.sinc(middle * 2 * 3_600 / RATE) * np.hamming(TAPS)
    return np.asarray(taps / taps.sum())


_LOW_PASS = _low_pass()
