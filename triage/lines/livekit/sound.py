"""Sound both ways, kept in step with time: `Voice` for what we say on one track, `Hearing` for what the caller says.

Both count samples at 16 kHz from their beginning, by the call's clock. Neither knows LiveKit.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np

from triage.clock import NS, Clock
from triage.ports import FRAME, RATE, Frame, Pcm

SAMPLE_NS = NS // RATE
FRAME_NS = FRAME * SAMPLE_NS
BLOCK = RATE // 100
"""Samples that are handed to the SDK at a time: 10 ms."""
BLOCK_NS = BLOCK * SAMPLE_NS
REFUSED = 300
"""So many blocks in a row (3 s) may be refused by the SDK before the voice is given up."""
FORGIVEN = 2
"""Blocks of silence that are still handed over when the loop was late; more of them are left out."""
PATIENCE_NS = 5 * FRAME_NS
"""So late a frame of the caller may be before silence takes its place."""
PUNCTUAL_NS = FRAME_NS // 2
"""A timer that fires later than this says that the loop stood still, not that the caller's sound is missing."""
AHEAD_NS = 3 * FRAME_NS
"""So far ahead of time the caller's frames may be (late ones that come in a burst); what goes beyond is left out."""
WATCHED = 50
"""Frames over which a lasting lag is looked for."""


class Voice:
    """What we say on one track: it leaves in real time, in blocks of 10 ms, to the sample.

    A block is handed over when its time is over, so until then every sample of it can be taken back. One block is under
    way at a time and is never cancelled (the SDK would break): the pusher ends by itself.
    """

    def __init__(self, capture: Callable[[Pcm], Awaitable[None]], clock: Clock) -> None:
        """`capture` takes BLOCK samples."""
        self._capture, self._clock = capture, clock
        self._origin_ns = clock.now_ns()
        self._said: deque[tuple[int, Pcm]] = deque()
        self._tail = 0
        self._next = 0
        self._ended = False
        self._frozen: int | None = None
        self.refused = 0
        """Blocks that the SDK has refused, one after the other."""
        self._wake = asyncio.Event()

    def position(self) -> int:
        """Samples since the beginning."""
        if self._frozen is not None:
            return self._frozen
        return (self._clock.now_ns() - self._origin_ns) // SAMPLE_NS

    def say(self, pcm: Pcm) -> None:
        """Add sound behind what is queued; at once when nothing is.

        Sound that comes a little late for that follows without a seam, as long as its block has not left.
        """
        now = self.position()
        start = max(self._tail if now - self._tail <= BLOCK else now, self._next * BLOCK)
        self._said.append((start, pcm))
        self._tail = start + len(pcm)

    def queued(self) -> int:
        """Samples whose time has not come."""
        return max(0, self._tail - self.position())

    def drop(self) -> int:
        """Forget them; returns how many they were."""
        dropped = self.queued()
        if dropped:
            self._tail -= dropped
            while self._said and self._said[-1][0] + len(self._said[-1][1]) > self._tail:
                start, pcm = self._said.pop()
                if start < self._tail:
                    self._said.append((start, pcm[: self._tail - start]))
        return dropped

    def freeze(self) -> None:
        """Nobody listens any more: what is queued stays queued until it is dropped, and nothing is handed over."""
        self._frozen = self.position()
        self.end()

    async def push(self) -> None:
        """Hand block after block over until `end`; belongs in a task that nobody cancels.

        Raises:
            Exception: the SDK's own, when it refused every block for 3 s.
        """
        while not self._ended:
            await self._until(self._origin_ns + (self._next + 1) * BLOCK_NS)
            if self._ended:
                return
            block = self._block()
            if block is not None:
                await self._hand_over(block)

    async def _hand_over(self, block: Pcm) -> None:
        try:
            await self._capture(block)
        except Exception:  # the SDK's own, in the middle of a reconnection; the next block may pass
            self.refused += 1
            if self.refused > REFUSED:
                raise
        else:
            self.refused = 0

    def end(self) -> None:
        """Hand over no further block."""
        self._ended = True
        self._wake.set()

    async def _until(self, at_ns: int) -> None:
        self._wake.clear()
        timer = self._clock.call_at_ns(at_ns, self._wake.set)
        try:
            if not self._ended:
                await self._wake.wait()
        finally:
            timer.cancel()

    def _block(self) -> Pcm | None:
        """The next block; None where it is silence whose time is long over."""
        start, end = self._next * BLOCK, (self._next + 1) * BLOCK
        self._next += 1
        block = np.zeros(BLOCK, dtype=np.int16)
        voiced = False
        while self._said and self._said[0][0] < end:
            at, pcm = self._said.popleft()
            piece = pcm[: end - at]
            block[at - start : at - start + len(piece)] = piece
            voiced = True
            if len(piece) < len(pcm):
                self._said.appendleft((end, pcm[len(piece) :]))
        late = self.position() // BLOCK - self._next
        return block if voiced or late <= FORGIVEN else None


class Hearing:
    """The caller's sound as frames without a gap, in step with time.

    Sound that does not come is replaced by silence, so that whoever counts time by frames goes on; a caller on hold is
    silent. Frames that come after silence took their place are heard as long as that does not put them ahead of time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._origin_ns: int | None = None
        self._count = 0
        self._queue: asyncio.Queue[Frame | Exception | None] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._due_ns = 0
        self._ended = False
        self._least_lag_ns = NS
        self._watched = 0
        self.filled = 0
        """Frames of silence that we put in."""
        self.left_out = 0
        """Frames that came too late to be heard."""

    def begin(self) -> None:
        """Position 0 is now; what came before is not heard."""
        if self._origin_ns is None and not self._ended:
            self._origin_ns = self._clock.now_ns()
            self._arm()

    def take(self, pcm: Pcm) -> None:
        """The next FRAME samples of the caller."""
        if self._origin_ns is None or self._ended:
            return
        lag_ns = self._lag_ns()
        if lag_ns < -AHEAD_NS:
            self.left_out += 1
            return
        self._least_lag_ns = min(self._least_lag_ns, lag_ns)
        self._watched += 1
        if self._watched == WATCHED:
            if self._least_lag_ns > FRAME_NS:  # sound was lost on the way and nobody will bring it
                self._fill()
            self._watched, self._least_lag_ns = 0, NS
        self._give(pcm)
        self._arm()

    async def frames(self) -> AsyncIterator[Frame]:
        """The frames, until `end`.

        Raises:
            Exception: what was given to `fail`.
        """
        while (frame := await self._queue.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            yield frame

    def end(self) -> None:
        """No frame comes after this; idempotent."""
        self._stop(None)

    def fail(self, error: Exception) -> None:
        """The same, and whoever reads the frames is told why."""
        self._stop(error)

    def _stop(self, last: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._queue.put_nowait(last)
            if self._timer is not None:
                self._timer.cancel()

    def _lag_ns(self) -> int:
        """How long the next frame is overdue; negative when it would be early."""
        assert self._origin_ns is not None
        return self._clock.now_ns() - self._origin_ns - (self._count + 1) * FRAME_NS

    def _give(self, pcm: Pcm) -> None:
        self._queue.put_nowait(Frame(pcm, self._count * FRAME))
        self._count += 1

    def _fill(self) -> None:
        self.filled += 1
        self._give(np.zeros(FRAME, dtype=np.int16))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        assert self._origin_ns is not None
        self._due_ns = self._origin_ns + (self._count + 1) * FRAME_NS + PATIENCE_NS
        self._timer = self._clock.call_at_ns(self._due_ns, self._overdue)

    def _overdue(self) -> None:
        now_ns = self._clock.now_ns()
        if now_ns - self._due_ns > PUNCTUAL_NS:  # the loop was late, the caller's frames may be here: read them first
            self._due_ns = now_ns + FRAME_NS
            self._timer = self._clock.call_at_ns(self._due_ns, self._overdue)
            return
        while self._lag_ns() >= 0:
            self._fill()
        self._arm()
