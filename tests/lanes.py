"""One playout lane on one line for a test, with everything it said.

The fake line plays continuously and keeps every sample with its position. Test audio is 64-bit on purpose: every sample
is a number that occurs once (`playback * MANY + index`), so that an order can be read off what came out.
"""

from typing import Any

import numpy as np

from fsm.events import Event
from triage.clock import NS, Clock
from triage.errors import Unavailable
from triage.playout import SAMPLE_NS, Audible, Playout
from triage.ports import FRAME, RATE, Pcm, SpokenWord

MANY = 10_000_000
MS = RATE // 1000


class FakeLine:
    """Plays continuously, to the sample; remembers what left it and when."""

    def __init__(self, clock: Clock, playout_delay: int = 0) -> None:
        self.playout_delay = playout_delay
        self.clock = clock
        self.start_ns = clock.now_ns()
        self.sent: list[tuple[int, Pcm]] = []
        self.tail = 0
        self.deepest = 0
        self.broken = 0

    def position(self) -> int:
        return (self.clock.now_ns() - self.start_ns) // SAMPLE_NS

    def send(self, pcm: Pcm) -> None:
        assert 0 < len(pcm) <= FRAME
        if self.broken:
            self.broken -= 1
            raise Unavailable("line", "gone")
        start = max(self.position(), self.tail)
        self.sent.append((start, pcm.copy()))
        self.tail = start + len(pcm)
        self.deepest = max(self.deepest, self.queued())

    def queued(self) -> int:
        return max(0, self.tail - self.position())

    def drop(self) -> int:
        dropped = left = self.queued()
        while left:
            start, pcm = self.sent.pop()
            if len(pcm) > left:
                self.sent.append((start, pcm[: len(pcm) - left]))
            left -= min(left, len(pcm))
        self.tail -= dropped
        return dropped

    def out(self) -> np.ndarray[Any, Any]:
        """Every sample that left or will leave, in order."""
        return np.concatenate([pcm for _, pcm in self.sent]) if self.sent else np.zeros(0, dtype=np.int64)

    def left(self) -> np.ndarray[Any, Any]:
        """Every sample that has left until now."""
        out = self.out()
        return out[: len(out) - self.queued()]

    def times(self) -> list[int]:
        """Position of every one of them."""
        return [start + offset for start, pcm in self.sent for offset in range(len(pcm))]


class TickingLine(FakeLine):
    """A line with a grid of its own: takes whole frames, at its own ticks only."""

    def position(self) -> int:
        return super().position() // FRAME * FRAME


class SlowLine(FakeLine):
    """A line whose own clock runs 2 % slower than ours."""

    def position(self) -> int:
        return super().position() * 98 // 100


class FastLine(FakeLine):
    """A line whose own clock runs 0.05 % faster than ours."""

    def position(self) -> int:
        return super().position() * 2001 // 2000


class Bench:
    """One lane on one fake line, with everything it said."""

    def __init__(self, *, delay: int = 0, line: type[FakeLine] = FakeLine, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.line = line(self.clock, delay)
        self.events: list[Event] = []
        self.heard: list[Audible] = []
        self.lane = Playout(self.line, self.clock, self.events.append, self.heard.append)

    def seconds(self) -> float:
        return self.clock.now_ns() / NS

    def audible(self, playback: int) -> int:
        """Samples of this playback that were audible until now."""
        report = self.lane.audible(playback)
        assert report is not None
        return report.samples

    def kinds(self) -> list[tuple[str, int]]:
        return [(type(event).__name__, getattr(event, "playback", 0)) for event in self.events]


def speech(playback: int, samples: int) -> Any:
    return playback * MANY + np.arange(samples, dtype=np.int64)


def words(text: str, each: int) -> tuple[SpokenWord, ...]:
    return tuple(SpokenWord(word, n * each, (n + 1) * each) for n, word in enumerate(text.split()))
