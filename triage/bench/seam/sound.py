"""Sums the voices of a room for one phone, and doubles a telephone's rate for the room. No clock, no I/O."""

from collections import deque

import numpy as np

from triage.bench.sip.ports import Pcm

PATIENCE = 2
"""Frames a voice may be ahead of another before that one is no longer waited for."""
TAPS = 31
"""Length of the doubling filter; it delays by half of that, 1 ms at 16 kHz."""


class Mixer:
    """Voices come frame by frame, each in its own time; out come their sums, as few frames late as possible.

    One voice alone goes straight through. Several are summed frame by frame; a voice that falls behind (its network, its
    end) is left out until it speaks again, so that it holds up nobody.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Pcm]] = {}
        self._behind: set[str] = set()

    def push(self, voice: str, frame: Pcm) -> list[Pcm]:
        """Take a frame of one voice; return what is due for the phone. All frames have one length."""
        queue = self._waiting.setdefault(voice, deque())
        queue.append(frame)
        self._behind.discard(voice)
        if len(queue) > PATIENCE:
            self._behind |= {name for name, others in self._waiting.items() if not others}
        due = []
        while self._complete():
            due.append(self._sum())
        return due

    def remove(self, voice: str) -> None:
        """A voice is gone."""
        self._waiting.pop(voice, None)
        self._behind.discard(voice)

    def _complete(self) -> bool:
        awaited = [queue for name, queue in self._waiting.items() if name not in self._behind]
        return bool(awaited) and all(awaited)

    def _sum(self) -> Pcm:
        frames = [queue.popleft() for queue in self._waiting.values() if queue]
        if len(frames) == 1:
            return frames[0]
        total = np.sum(frames, axis=0, dtype=np.int32)
        summed: Pcm = np.clip(total, -32768, 32767).astype(np.int16)
        return summed


class Doubler:
    """8 kHz to 16 kHz, block by block without seams: zeros between the samples, then a half-band low-pass."""

    def __init__(self) -> None:
        place = np.arange(TAPS) - TAPS // 2
        kernel = np.sinc(place / 2) * np.hamming(TAPS)
        self._kernel = 2 * kernel / kernel.sum()
        self._before = np.zeros(TAPS - 1)

    def double(self, pcm: Pcm) -> Pcm:
        """Return twice as many samples."""
        spread = np.zeros(2 * len(pcm))
        spread[::2] = pcm
        joined = np.concatenate((self._before, spread))
        self._before = joined[len(joined) - (TAPS - 1) :]
        out: Pcm = np.clip(np.rint(np.convolve(joined, self._kernel, "valid")), -32768, 32767).astype(np.int16)
        return out


class RingTone:
    """What a caller hears while somebody else's phone rings: 425 Hz, 1 s on and 4 s off, without seams."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._at = 0

    def next(self, samples: int) -> Pcm:
        """Return the next stretch."""
        when = (self._at + np.arange(samples)) / self._rate
        self._at += samples
        tone: Pcm = (np.sin(2 * np.pi * 425 * when) * (when % 5 < 1) * 8000).astype(np.int16)
        return tone
