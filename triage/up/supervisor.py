"""One telephone line on one machine: its programs started in order, watched, started again, ended in reverse.

1. Nobody else runs a line on this data folder (`alone`), and what an earlier supervisor left behind when it was killed
   is ended first (`triage.up.leftovers`).
2. Each program is up when its probe says yes; only then comes the next.
3. What does not start at first ends the line. A program that ends later is started again for as long as it takes, ever
   more slowly, and the others stay: a call may stand on them. Redis keeps nothing, so provisioning is repeated after
   it, and after livekit-server, came back.
4. The end: SIGTERM, a grace of its own for each program, SIGTERM once more (livekit-server waits for its participants
   at the first one and may miss it altogether in its first 100 ms), SIGKILL.
5. No program needs us: killed, we leave a line that goes on, until the next supervisor ends it with the same graces.

Programs get their secrets by file. Their output goes through a scribe each into `data_dir/line/logs`, nowhere else.
"""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from triage.errors import TriageError, UsageError
from triage.up.leftovers import SECOND_TERM_S, Running, began, remember
from triage.up.line_files import Line
from triage.up.outputs import Output

LOCK = "up.lock"

PAUSE_S = 0.5
"""Before something is tried again, s; twice as long each time, up to the next."""
LONGEST_PAUSE_S = 10.0
STEADY_S = 60.0
"""A program that ran this long has its pause begin anew, s."""
PROBE_EVERY_S = 2.0
FIRST_PROBES_S = 0.1
"""Between probes while a program is starting, s."""

PROVISION_TRIES = 20
"""At the start; later it is tried until it works."""
LAST_WORDS_S = 3.0
"""A program that ended has its last lines written within this, s."""
NEARLY_LAST_S = 0.2
"""The same for one that is about to be started again, as its children may hold its output and callers wait, s."""


class LineFailed(TriageError):
    """A program of the line did not start; the message names it and its log."""


class State(Enum):
    """How a program is, as far as we know."""

    WAITING = "waiting"
    STARTING = "starting"
    UP = "up"
    UNWELL = "unwell"
    """Running, but its probe says no."""
    ENDED = "ended"


@dataclass(frozen=True)
class Program:
    """What to start, and how to know that it is there."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    probe: Callable[[], Awaitable[bool]]
    where: str
    """Address, for people."""
    up_within_s: float = 15.0
    grace_s: float = 1.0
    """From the first SIGTERM to the second, s."""
    engine: bool = False
    """Provisioning follows it: at the start after the last engine, later after each that came back."""


@dataclass
class Health:
    """One row of what `triage up` shows."""

    name: str
    where: str
    state: State = State.WAITING
    pid: int | None = None
    restarts: int = 0
    up_since: float | None = None
    """Loop time, s."""


class Supervisor:
    """Keeps the programs of one line."""

    def __init__(
        self,
        line: Line,
        programs: Sequence[Program],
        *,
        after_engines: Callable[[], Awaitable[None]],
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`after_engines` provisions; it may raise UsageError while livekit-server is not ready. `say` hears of ends."""
        self.health = {program.name: Health(program.name, program.where) for program in programs}
        self.stopping = False
        """The end has begun: cancelling now would leave programs behind; `hurry` instead."""
        self._line = line
        self._programs = tuple(programs)
        self._after_engines = after_engines
        self._say = say
        self._provision_again = asyncio.Event()
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._told: set[str] = set()
        """Names of those who were asked to end."""
        self._outputs: dict[str, tuple[Output, asyncio.Task[None]]] = {}
        """Of each program the last one's, and what lasts until it is written down."""
        self._died: deque[asyncio.subprocess.Process] = deque(maxlen=64)
        """Ended by themselves; children of theirs may run on."""
        self._keepers: list[asyncio.Task[None]] = []
        self._written: list[asyncio.Task[None]] = []
        """All of these that may still last."""
        self._at_once = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The line is up inside; leaving it ends every program.

        Raises:
            LineFailed: a program did not start.
            UsageError: provisioning was refused.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                try:
                    await self._start(tasks)
                    yield
                finally:
                    self.stopping = True
                    for keeper in self._keepers:
                        keeper.cancel()
                    await self._stop()
        except BaseExceptionGroup as group:
            raise leaf(group) from group

    @property
    def grace_s(self) -> float:
        """The longest that one of the programs which run now may take to end by itself, s; 0 where none runs."""
        return max((p.grace_s for p in self._programs if self.health[p.name].pid is not None), default=0.0)

    def hurry(self) -> None:
        """End everything at once instead of waiting for calls; for the second Ctrl-C."""
        self._at_once.set()

    # --- starting and keeping

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        last_engine = max((i for i, p in enumerate(self._programs) if p.engine), default=-1)
        for index, program in enumerate(self._programs):
            await self._launch(program, tasks)
            self._keepers.append(tasks.create_task(self._keep(program, tasks)))
            if index == last_engine:
                await self._provide()
        self._keepers.append(tasks.create_task(self._keep_provisioned()))

    async def _launch(self, program: Program, tasks: asyncio.TaskGroup) -> None:
        """Start a program and wait until it is there."""
        health, loop = self.health[program.name], asyncio.get_running_loop()
        health.state = State.STARTING
        process = await self._spawn(program, tasks)
        self._processes[program.name], health.pid = process, process.pid
        self._remember()
        deadline = loop.time() + program.up_within_s
        there = False
        while not there and process.returncode is None and loop.time() < deadline:
            there = await program.probe()
            if not there:
                await asyncio.sleep(FIRST_PROBES_S)
        if process.returncode is not None:  # also where somebody else answered the probe
            await self._last_words(program, LAST_WORDS_S)
            raise LineFailed(self._ended(program, process))
        if not there:
            await self._end(process, program.grace_s)
            raise LineFailed(f"{program.name} did not answer within {program.up_within_s:.0f} s; {self._see(program)}")
        health.state, health.up_since = State.UP, loop.time()

    async def _spawn(self, program: Program, tasks: asyncio.TaskGroup) -> asyncio.subprocess.Process:
        """The program, started, with a scribe for what it says.

        Raises:
            LineFailed: it cannot be started.
        """
        try:
            output = Output(self._log(program.name), self._line.access.secrets, self._say)
        except OSError as error:
            raise LineFailed(f"{program.name} cannot be started: no pipe for it: {error.strerror}") from error
        written = tasks.create_task(output.written_down())
        self._outputs[program.name] = output, written
        self._written = [*(task for task in self._written if not task.done()), written]
        try:
            await output.attended.wait()
            return await asyncio.create_subprocess_exec(
                *program.argv,
                env=dict(program.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.write,
                stderr=output.write,
                pass_fds=(output.read,),  # see triage.up.outputs, 3
                start_new_session=True,  # Ctrl-C at the terminal is for us; we end them in order
            )
        except OSError as error:
            raise LineFailed(f"{program.name} cannot be started: {program.argv[0]}: {error.strerror}") from error
        finally:
            output.given()

    async def _keep(self, program: Program, tasks: asyncio.TaskGroup) -> None:
        """Watch a program; start it again when it ends."""
        health, loop, pause_s = self.health[program.name], asyncio.get_running_loop(), PAUSE_S
        while True:
            began = loop.time()
            await self._watch(program)
            pause_s = PAUSE_S if loop.time() - began > STEADY_S else pause_s
            await self._last_words(program, NEARLY_LAST_S)
            trouble = self._ended(program, self._processes[program.name])
            while trouble:
                health.state, health.pid, health.up_since = State.ENDED, None, None
                self._died.append(self._processes[program.name])
                self._say(f"{trouble}; starting it again in {pause_s:.1f} s")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                health.restarts += 1
                try:
                    await self._launch(program, tasks)
                    trouble = ""
                except LineFailed as error:
                    trouble = str(error)
            if program.engine:
                self._provision_again.set()

    async def _watch(self, program: Program) -> None:
        """Until it has ended."""
        health, process = self.health[program.name], self._processes[program.name]
        while True:
            try:
                async with asyncio.timeout(PROBE_EVERY_S):
                    await process.wait()
                return
            except TimeoutError:
                health.state = State.UP if await program.probe() else State.UNWELL

    async def _provide(self) -> None:
        """Provision; livekit-server may need a moment after it began to answer."""
        for tries_left in reversed(range(PROVISION_TRIES)):
            try:
                await self._after_engines()
                return
            except UsageError:
                if not tries_left:
                    raise
                await asyncio.sleep(PAUSE_S)

    async def _keep_provisioned(self) -> None:
        while True:
            await self._provision_again.wait()
            self._provision_again.clear()
            try:
                await self._provide()
            except UsageError as error:
                self._say(f"not provisioned, no call can come in: {error}")
                self._provision_again.set()

    async def _last_words(self, program: Program, within_s: float) -> None:
        """Until they are in its log, or somebody else keeps its output open for longer."""
        await asyncio.wait((self._outputs[program.name][1],), timeout=within_s)

    def _ended(self, program: Program, process: asyncio.subprocess.Process) -> str:
        return f"{program.name} ended with {process.returncode}; {self._see(program)}"

    def _see(self, program: Program) -> str:
        words = self._outputs[program.name][0].last_words()
        return (f"it said: {words[:160]}; " if words else "") + f"see {self._log(program.name)}"

    def _log(self, name: str) -> Path:
        return self._line.logs / f"{name}.log"

    # --- ending

    async def _stop(self) -> None:
        for program in reversed(self._programs):
            process = self._processes.get(program.name)
            if process is None:
                continue
            self._told.add(program.name)
            self._remember()
            await self._end(process, 0.0 if self._at_once.is_set() else program.grace_s)
            self.health[program.name].state, self.health[program.name].pid = State.ENDED, None
        for process in self._died:
            await self._end(process, 0.0)
        if self._written:
            await asyncio.wait(self._written, timeout=LAST_WORDS_S)
        for task in self._written:
            task.cancel()
        self._processes.clear()
        self._remember()

    async def _end(self, process: asyncio.subprocess.Process, grace_s: float) -> None:
        import psutil

        over = process.returncode is not None
        for order, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGTERM, SECOND_TERM_S)):
            if process.returncode is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(order)
            await self._wait(process, wait_s)
        # Its group began with it and is ours. Where it ended long ago and somebody has its number, the group is theirs.
        if not over or not psutil.pid_exists(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    async def _wait(self, process: asyncio.subprocess.Process, limit_s: float) -> None:
        """Until it has ended, the time is up, or somebody is in a hurry."""
        async with asyncio.TaskGroup() as both:
            ended = both.create_task(process.wait())
            hurry = both.create_task(self._at_once.wait())
            await asyncio.wait(
                (ended, hurry) if limit_s > SECOND_TERM_S else (ended,),
                timeout=limit_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            ended.cancel()
            hurry.cancel()

    def _remember(self) -> None:
        """Who runs, for a supervisor after us. A full disk must not end a line that runs."""
        running = [
            Running(program.name, process.pid, start, program.grace_s, told=program.name in self._told)
            for program in self._programs
            if (process := self._processes.get(program.name)) and (start := began(process.pid)) is not None
        ]
        try:
            remember(self._line.folder, running)
        except OSError as error:
            self._say(f"who runs cannot be written to {self._line.folder}: {error.strerror}")


def leaf(raised: BaseException) -> BaseException:
    """What went wrong first, ours before anything else; what is no group is itself."""
    ours = raised.subgroup(TriageError) if isinstance(raised, BaseExceptionGroup) else None
    first: BaseException = ours if ours is not None else raised
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
