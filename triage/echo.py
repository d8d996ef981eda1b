"""Is this our own voice, heard back over a speakerphone?

Two questions, two answers. *Sound*: a stretch of the caller's audio that is a delayed, scaled copy of what we played
explains itself; it must not hold our playout. *Words*: an urgent finding whose every evidence word stands in what we
played in the last two seconds is our own wording, not the caller's. A caller who talks over the echo leaves a residual
that no copy explains, and a word that we never played is never suppressed.
"""

import re
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from triage.ports import RATE, Pcm

REACH = RATE * 6 // 10
"""Longest echo delay looked for, in samples."""
BLOCK = 1024
"""Samples of the caller's audio compared at a time (64 ms)."""
EXPLAINED = 0.75
"""Share of the block's energy that our own signal must explain to be called an echo, at a delay not seen before."""
EXPLAINED_AT_KNOWN_DELAY = 0.5
FAINT = 3.0
"""RMS (int16) below which a block is nobody's voice."""
LINGER = RATE // 5
"""Samples for which the voice detector may go on hearing an echo that has ended."""
TAIL = 0.1
"""What follows an echo within that time, and has less than this share of its energy, is its end."""
SAME_DELAY = 16
"""Delays this close (samples) are the same acoustic path."""
_WORD = re.compile(r"[a-z0-9áéíóúñü]+(?:'[a-z]+)?")


class EchoDetector:
    """Compares what comes in with what went out. Both are fed in step with the caller's audio positions."""

    def __init__(self) -> None:
        self._out = np.zeros(REACH + 2 * BLOCK, dtype=np.float32)
        self._in = np.zeros(BLOCK, dtype=np.float32)
        self._delay: int | None = None
        self._quiet = len(self._out)
        self._echoed, self._since = 0.0, LINGER

    def feed(self, played: Pcm | None, heard: Pcm) -> None:
        """Take one frame of each side, of equal length; `played` is None where nothing was."""
        n = len(heard)
        self._quiet = 0 if played is not None else self._quiet + n
        if self._quiet < len(self._out):
            self._out[:-n] = self._out[n:]
            self._out[-n:] = 0.0 if played is None else played
        self._in[:-n] = self._in[n:]
        self._in[-n:] = heard
        self._since += n

    def hears_us(self) -> bool:
        """Whether the last block is explained by our own voice, or by the end of it."""
        energy = float(self._in @ self._in)
        if self._quiet >= len(self._out) or not energy:
            return False
        if energy < FAINT * FAINT * BLOCK or (self._since < LINGER and energy < TAIL * self._echoed):
            return True
        shares = copies(self._in, self._out)
        if self._delay is None or _share_at(shares, self._delay) < EXPLAINED_AT_KNOWN_DELAY:
            best = int(np.argmax(shares))
            if shares[best] < EXPLAINED:
                return False
            self._delay = best
        self._echoed, self._since = energy, 0
        return True


def copies(heard: NDArray[np.float32], played: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share (0 to 1) of the energy of `heard` that a scaled piece of `played` explains, by delay in samples."""
    size = 1 << (len(played) + len(heard) - 1).bit_length()
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(heard, size))
    products = np.fft.irfft(spectrum, size)[: len(played) - len(heard) + 1]
    running = np.concatenate(([0.0], np.cumsum(played.astype(np.float64) ** 2)))
    power = running[len(heard) :] - running[: -len(heard)]
    # Small: the end of a word is 30 dB below its middle, and it is ours too.
    floor = max(float(power.max()) * 1e-6, float(len(heard)))
    shares: NDArray[np.float64] = products**2 / (np.maximum(power, floor) * float(heard @ heard))
    return np.minimum(shares, 1.0)[::-1]


def _share_at(shares: NDArray[np.float64], delay: int) -> float:
    """The best share on the acoustic path of this delay."""
    return float(shares[max(0, delay - SAME_DELAY) : delay + SAME_DELAY + 1].max())


def words_of(text: str) -> list[str]:
    """Lower-case words of `text`, punctuation dropped."""
    return _WORD.findall(text.lower())


def only_our_words(evidence: Iterable[str], played: Iterable[str]) -> bool:
    """Whether every word of the evidence stands in what we played. No evidence is never an echo."""
    ours = {word for text in played for word in words_of(text)}
    theirs = [word for text in evidence for word in words_of(text)]
    return bool(theirs) and all(word in ours for word in theirs)


class Outlet(Protocol):
    """The part of a `Line` that playout needs."""

    playout_delay: int

    def send(self, pcm: Pcm) -> None: ...  # noqa: D102 see ports.Line
    def queued(self) -> int: ...  # noqa: D102 see ports.Line
    def drop(self) -> int: ...  # noqa: D102 see ports.Line


class EchoTap:
    """An outlet that remembers what left through it, so that the ear can tell it from the caller."""

    def __init__(self, line: Outlet) -> None:
        self._line = line
        self.playout_delay = line.playout_delay
        self._sent: NDArray[np.int16] = np.zeros(0, dtype=np.int16)
        self._flowing = False

    def send(self, pcm: Pcm) -> None:
        """Pass one frame on."""
        self._line.send(pcm)
        self._sent = np.concatenate((self._sent, pcm))

    def queued(self) -> int:
        """Samples still at the line."""
        return self._line.queued()

    def drop(self) -> int:
        """Take back what is still at the line."""
        dropped = self._line.drop()
        self._sent = self._sent[: max(0, len(self._sent) - dropped)]
        return dropped

    def went_out(self, length: int) -> Pcm | None:
        """What left the line during the last `length` samples of the caller's time; None when nothing did.

        Speech that begins inside the frame stands at its end, speech that ends inside it at its beginning, so that
        what lies between is in step.
        """
        left = min(length, max(0, len(self._sent) - self._line.queued()))
        if not left:
            self._flowing = False
            return None
        piece, self._sent = self._sent[:left], self._sent[left:]
        frame = np.zeros(length, dtype=np.int16)
        if self._flowing:
            frame[:left] = piece
        else:
            frame[-left:] = piece
        self._flowing = True
        return frame
