"""Time, real or virtual: the only file that reads a clock.

Everything waits by the running asyncio loop. In real time that loop is an ordinary one. In virtual time it is a
`VirtualLoop`, whose `time()` stands still while anything is ready to run or anybody outside is at work, and otherwise
jumps straight to the next timer. A five-minute call then takes as long as its computing takes, and the same program
runs in the same order every time.

Outside work is what the loop cannot see: a child process, a writer thread, a voice rendered in a thread. Who hands
such work out takes a token first, in the loop's thread, and gives it back when the result has been delivered
(`outside_work`, `busy`, `busy_hook`); threads started by `loop.run_in_executor` are counted without being asked.
While a token is held the loop really waits and virtual time stands still. What two outsiders deliver at one virtual
instant comes in the order in which they finish; that order alone is not repeatable.
"""

import asyncio
import selectors
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar, TypeVarTuple

from triage.errors import TriageError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

GUARD_S = 60.0
"""Real seconds a virtual loop waits for outside work before it says who is stuck."""
NS = 1_000_000_000
"""Nanoseconds per second."""


class ClockError(TriageError):
    """Virtual time cannot go on."""


class NothingToWaitFor(ClockError):
    """No timer is set and nobody outside is at work: every task waits for another one."""


class OutsideWorkStuck(ClockError):
    """Somebody outside held a token for longer than the guard allows."""


class Busy:
    """A token: while it is held, virtual time stands still."""

    def __init__(self, loop: "VirtualLoop | None", who: str) -> None:
        self._loop = loop
        self.who = who
        """Named in the error when the token is never given back."""

    def release(self) -> None:
        """Give the token back; idempotent, from any thread.

        From another thread it takes effect after everything that thread handed to the loop before.
        """
        loop, self._loop = self._loop, None
        if loop is not None:
            loop._given_back(self)


class _Jump(selectors.DefaultSelector):
    """Selects like any selector, but instead of sleeping until the next timer it moves the loop's time there."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now; else wait for outside work; else jump.

        Raises:
            NothingToWaitFor: no timer, no outside work.
            OutsideWorkStuck: the guard ran out.
        """
        arrived = super().select(0)
        if arrived or timeout == 0:
            return arrived
        if self.loop._held:
            arrived = super().select(self.loop.guard_s)
            if not arrived:
                names = ", ".join(sorted({token.who for token in self.loop._held}))
                raise OutsideWorkStuck(f"outside work did not come back within {self.loop.guard_s:g} s: {names}")
            return arrived
        if timeout is None:
            raise NothingToWaitFor(
                f"nothing is scheduled and nobody outside is at work; waiting: {self.loop._waiting()}"
            )
        self.loop._advance(timeout)
        return arrived


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time advances only when nothing is ready and nobody outside is at work."""

    def __init__(self, guard_s: float = GUARD_S) -> None:
        self._now_ns = 0
        self._held: set[Busy] = set()
        self._thread = threading.get_ident()
        self.guard_s = guard_s
        """Real seconds to wait for outside work."""
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds since this loop was made."""
        return self._now_ns / NS

    def time_ns(self) -> int:
        """The same, exactly."""
        return self._now_ns

    def busy(self, who: str) -> Busy:
        """Take a token; `release` it when the outside work has been delivered. Call it in the loop's thread."""
        token = Busy(self, who)
        self._held.add(token)
        return token

    @contextmanager
    def outside_work(self, who: str) -> Iterator[None]:
        """Hold a token for the length of a block (which may end in another thread)."""
        token = self.busy(who)
        try:
            yield
        finally:
            token.release()

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """As in asyncio, with virtual time standing still until the thread has answered."""
        token = self.busy(getattr(func, "__qualname__", "executor"))
        try:
            future = super().run_in_executor(executor, func, *args)
        except BaseException:
            token.release()
            raise
        future.add_done_callback(lambda _: token.release())
        return future

    async def shutdown_default_executor(self, *limit: float | None) -> None:
        """As in asyncio: its helper thread is outside work. Python 3.12 and later pass a time limit."""
        with self.outside_work("executor shutdown"):
            await super().shutdown_default_executor(*limit)

    # --- for _Jump and Busy

    def _given_back(self, token: Busy) -> None:
        if threading.get_ident() == self._thread:
            self._held.discard(token)
        elif not self.is_closed():
            # Counted down in the loop, behind the results: otherwise time could jump between the two.
            try:
                self.call_soon_threadsafe(self._held.discard, token)
            except RuntimeError:  # closed meanwhile: nobody waits any more
                return

    def _advance(self, seconds: float) -> None:
        self._now_ns = max(self._now_ns, round((self.time() + seconds) * NS))

    def _waiting(self) -> str:
        names = sorted(f"{task.get_name()} ({_what(task)})" for task in asyncio.all_tasks(self))
        return ", ".join(names) or "no task"


def _what(task: asyncio.Task[Any]) -> str:
    coro = task.get_coro()
    return getattr(coro, "__qualname__", type(coro).__name__)


class Clock:
    """Monotonic and wall time of one running loop, and the mapping between them."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, *, wall_start_ns: int | None = None) -> None:
        """`wall_start_ns` is what the wall clock shows now, in virtual time; default: what it really shows.

        Raises:
            RuntimeError: no loop was given and none is running.
        """
        self._loop = loop or asyncio.get_running_loop()
        self.virtual = isinstance(self._loop, VirtualLoop)
        """Whether time jumps."""
        self.start_ns = self.now_ns()
        """Monotonic time at which the mapping was taken."""
        real = time.time_ns()
        self.wall_start_ns = real if wall_start_ns is None or not self.virtual else wall_start_ns
        """Unix time in nanoseconds at `start_ns`."""

    def now_ns(self) -> int:
        """The loop's time in nanoseconds: monotonic, from an arbitrary start."""
        if isinstance(self._loop, VirtualLoop):
            return self._loop.time_ns()
        return int(self._loop.time() * NS)

    def wall_ns(self) -> int:
        """Unix time in nanoseconds; in virtual time the start plus what has passed."""
        return self.wall_of(self.now_ns()) if self.virtual else time.time_ns()

    def wall_of(self, at_ns: int) -> int:
        """Wall time of a monotonic time, by the mapping recorded at the start (it ignores later clock changes)."""
        return self.wall_start_ns + at_ns - self.start_ns

    def call_at_ns(self, at_ns: int, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call back at a monotonic time; at once when it has passed."""
        return self._loop.call_at(at_ns / NS, callback, *args)

    def outside_work(self, who: str) -> AbstractContextManager[None]:
        """Virtual time stands still inside this block; nothing happens in real time."""
        return self._loop.outside_work(who) if isinstance(self._loop, VirtualLoop) else nullcontext()

    def busy(self, who: str) -> Busy:
        """A token for work that does not fit a block; see `Busy`."""
        return self._loop.busy(who) if isinstance(self._loop, VirtualLoop) else Busy(None, who)

    def busy_hook(self, who: str = "outside work") -> Callable[[], AbstractContextManager[None]]:
        """A callable for those who know no clock; every call gives one block of outside work."""
        return lambda: self.outside_work(who)


def busy_hook(who: str = "outside work") -> Callable[[], AbstractContextManager[None]]:
    """A `busy` callable for the running loop, of either kind; made outside a loop it asks for the loop when called."""
    try:
        return Clock().busy_hook(who)
    except RuntimeError:
        return lambda: Clock().outside_work(who)


def run(main: Coroutine[Any, Any, T], *, virtual: bool, guard_s: float = GUARD_S) -> T:
    """Run a program to its end in real or in virtual time.

    Raises:
        NothingToWaitFor: virtual time only; the program waits for nothing that can happen.
        OutsideWorkStuck: virtual time only; a token was held for over `guard_s` real seconds.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] = (
        (lambda: VirtualLoop(guard_s)) if virtual else asyncio.SelectorEventLoop
    )
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def stopwatch() -> Callable[[], float]:
    """Real seconds since this call, whatever the loop's time does: for reports of computing time only."""
    began = time.perf_counter()
    return lambda: time.perf_counter() - began
