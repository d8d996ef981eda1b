"""When does the caller's voice begin and end? Follows the detector's windows; counts in samples, reads no clock.

Two thresholds on purpose: a low one (`pause`) that holds our playout at once, a higher one (`speech`) that must be
reached before the sound counts as a voice at all. A voice has stopped after `HANG` samples below `off`; how long a
*turn* may pause is not decided here (see `triage.stages.endpointing`).
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from triage.ports import RATE, VoiceWindow

HANG = RATE * 200 // 1000
"""Samples below the off threshold before a voice has stopped."""


class VoiceChange(StrEnum):
    """What one window changed."""

    STARTED = "started"  # crossed the pause threshold
    CONFIRMED = "confirmed"  # crossed the speech threshold
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Probabilities, 0 to 1."""

    pause: float = 0.3
    speech: float = 0.5
    off: float = 0.35


class VoiceTracker:
    """One caller's voice."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._off = min(thresholds.off, thresholds.pause)
        self.active = False
        """Between STARTED and STOPPED."""
        self.confirmed = False
        """This voice reached the speech threshold."""
        self.onset = 0
        """Position at which the active (or last) voice began."""
        self.last_voice = 0
        """Position just after the last voiced window."""

    def window(self, window: VoiceWindow, size: int) -> list[VoiceChange]:
        """Take one window of `size` samples; at most two changes."""
        changes: list[VoiceChange] = []
        p = window.probability
        if not self.active:
            if p < self._thresholds.pause:
                return changes
            self.active, self.confirmed, self.onset = True, False, window.end - size
            changes.append(VoiceChange.STARTED)
        if p >= self._off:
            self.last_voice = window.end
        if not self.confirmed and p >= self._thresholds.speech:
            self.confirmed = True
            changes.append(VoiceChange.CONFIRMED)
        if window.end - self.last_voice >= HANG:
            self.active = False
            changes.append(VoiceChange.STOPPED)
        return changes

    @property
    def voiced(self) -> int:
        """Samples of the active (or last) voice so far."""
        return self.last_voice - self.onset


@dataclass(frozen=True, slots=True)
class WordlessLimits:
    """When a voice without words asks for a nurse."""

    voice_s: float = 2.0
    """One voice of this length."""
    burst_ms: int = 700
    """A burst counts from this length; coughs are shorter."""
    bursts: int = 3
    window_s: float = 20.0
    """So many bursts within this time."""


class WordlessVoice:
    """Gasping, crying, choking: is there a voice that never makes a word?"""

    def __init__(self, limits: WordlessLimits) -> None:
        self._limits = limits
        self._bursts: deque[int] = deque()
        self._counted_from = self._raised_from = -1

    def forget(self) -> None:
        """Real words came (or a nurse was offered): what was heard before counts no more."""
        self._bursts.clear()

    def burst(self, start: int, end: int) -> bool:
        """A voice without words lasted from `start` to `end` (samples); True when a nurse must be offered.

        The same voice may be reported again while it lasts; it counts once.
        """
        limits, length = self._limits, end - start
        if length >= limits.voice_s * RATE:
            new, self._raised_from = start != self._raised_from, start
            return new
        if length * 1000 < limits.burst_ms * RATE or start == self._counted_from:
            return False
        self._counted_from = start
        self._bursts.append(end)
        while end - self._bursts[0] > limits.window_s * RATE:
            self._bursts.popleft()
        return len(self._bursts) >= limits.bursts
