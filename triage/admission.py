"""Whether this worker takes one more call: calls in progress, processor and memory, each against its setting.

A call that nobody takes goes back to the carrier, which fails over. So a worker without calls does not refuse one for a
busy processor: whatever keeps the machine busy then is not ours, and a slow greeting is better than none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from triage.config import Settings

KEPT = 0.2
"""Weight of the newest reading of the processor in its moving average: about the last 2.5 s at two readings a second."""
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Headroom:
    """What was measured when a call was offered."""

    calls: int
    """In progress, or taken and not begun."""
    limit: int
    cpu: float
    """Share of all processors that is busy, 0 to 1."""
    free_mb: int
    refusal: str
    """Why no further call is taken; empty when one is."""

    @property
    def load(self) -> float:
        """Share of the calls that are taken, 0 to 1; 1 when no further one is."""
        return 1.0 if self.refusal else min(1.0, self.calls / self.limit)

    def __str__(self) -> str:
        return f"{self.calls} of {self.limit} calls, CPU {self.cpu:.0%}, {self.free_mb} MB free"


class Admission:
    """Measures, and decides. One per worker."""

    def __init__(self, settings: Settings, *, cpu: Callable[[], float], free_bytes: Callable[[], int]) -> None:
        """`cpu` gives the busy share since it was last asked, `free_bytes` the memory that is available."""
        self._settings, self._cpu, self._free_bytes = settings, cpu, free_bytes
        self._average = 0.0
        self._taken: list[str] = []
        self.ending = False
        """No further calls are taken; who was cut off is still rescued."""
        self.over = False
        """Nobody is taken any more."""

    @property
    def promised(self) -> Sequence[str]:
        """Rooms whose call was taken and has no process yet."""
        return self._taken

    def measure(self) -> None:
        """Take one reading of the processor."""
        reading, before = min(1.0, max(0.0, self._cpu())), self._average  # read once: LiveKit asks from two threads
        self._average = before + KEPT * (reading - before)

    def headroom(self, calls: int) -> Headroom:
        """How things stand with `calls` in progress, beside those taken and not begun."""
        settings, calls = self._settings, calls + len(self._taken)
        free_mb = self._free_bytes() // MB
        refusal = ""
        if self.ending:
            refusal = "the worker ends"
        elif calls >= settings.worker_calls:
            refusal = "as many calls as worker_calls allows"
        elif free_mb < settings.worker_free_memory_mb:
            refusal = "too little memory (worker_free_memory_mb)"
        elif calls and self._average > settings.worker_cpu_limit:
            refusal = "the processor is busy (worker_cpu_limit)"
        return Headroom(calls, settings.worker_calls, self._average, free_mb, refusal)

    def took(self, room: str) -> None:
        """The call in this room was taken; until `begun` nobody else counts it."""
        self._taken.append(room)

    def begun(self, room: str) -> None:
        """It is in progress now, or came to nothing."""
        self._taken.remove(room)
