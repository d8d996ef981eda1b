"""Promise: whoever ends a line is told at once how long it may take; a closed terminal ends it in order, and orphans nobody."""

import asyncio
import io
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import psutil
import pytest
from rich.console import Console

from tests.line.conftest import DOWN_WITHIN_S, variables
from tests.line.conftest import ended as ended_by_hand
from tests.line.test_supervisor import WAITS, line, nothing, program, supervise  # noqa: F401 `line` is a fixture
from triage import cli_line
from triage.up import engines, supervisor
from triage.up.line_files import Line
from triage.up.supervisor import Supervisor

CARRIES_A_CALL = "trap '' TERM; while :; do sleep 0.05; done"
"""A worker with a call in progress: it ends when it likes."""


class Gone(io.StringIO):
    """A terminal that is closed after the line is up."""

    gone = False

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(5, "Input/output error")
        return super().write(text)

    def fileno(self) -> int:
        raise io.UnsupportedOperation


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SECOND_TERM_S", 0.3)


@pytest.fixture
def said() -> Gone:
    return Gone()


async def ended(made: Supervisor, line: Line, said: Gone, when_up: Callable[[], None]) -> float:  # noqa: F811
    """Seconds from what happens once the line is up to its end."""
    loop, began = asyncio.get_running_loop(), []

    def up() -> None:
        if "ring sip:x" not in said.getvalue():
            loop.call_later(0.02, up)
            return
        began.append(loop.time())
        when_up()

    loop.call_soon(up)
    async with asyncio.timeout(10):
        await cli_line._run(Console(file=cast("IO[str]", cli_line.Screen(said)), width=200), made, line, "sip:x")
    return loop.time() - began[0]


def pid(made: Supervisor) -> int:
    found = made.health["one"].pid
    assert found is not None
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_every_wish_to_end_says_at_once_how_long_calls_may_take(
    line: Line,  # noqa: F811
    said: Gone,
    number: signal.Signals,
) -> None:
    made, loop, before = supervise(line, program(CARRIES_A_CALL, grace_s=60.0)), asyncio.get_running_loop(), []

    def look() -> None:
        before.append(said.getvalue())
        made.hurry()

    def wish() -> None:
        os.kill(os.getpid(), number)
        loop.call_later(0.3, look)

    took_s = await ended(made, line, said, wish)
    assert "ending: calls in progress may finish (up to 60 s); Ctrl-C again ends at once\n" in before[0]
    assert 0.3 <= took_s < 5 and said.getvalue().endswith("the line has ended\n")


async def test_a_second_ctrl_c_ends_at_once(line: Line, said: Gone) -> None:  # noqa: F811
    made, loop = supervise(line, program(CARRIES_A_CALL, grace_s=60.0)), asyncio.get_running_loop()

    def wish() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        loop.call_later(0.2, os.kill, os.getpid(), signal.SIGINT)

    assert await ended(made, line, said, wish) < 5
    assert "ending at once\n" in said.getvalue()


async def test_a_terminal_that_is_closed_says_so_twice_and_calls_still_finish(line: Line, said: Gone) -> None:  # noqa: F811
    finishing = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done"
    made, loop = supervise(line, program(finishing, grace_s=60.0)), asyncio.get_running_loop()
    programs = []

    def close() -> None:
        said.gone = True
        programs.append(pid(made))
        os.kill(os.getpid(), signal.SIGHUP)
        loop.call_later(0.2, os.kill, os.getpid(), signal.SIGHUP)

    assert 0.9 <= await ended(made, line, said, close) < 5
    assert not psutil.pid_exists(programs[0])


async def test_under_nohup_a_closed_terminal_ends_nothing(line: Line, said: Gone) -> None:  # noqa: F811
    made, before = supervise(line, program(WAITS)), []
    loop = asyncio.get_running_loop()

    def close() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        loop.call_later(0.3, end)

    def end() -> None:
        before.append(made.stopping)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        await ended(made, line, said, close)
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert before == [False]


async def test_a_line_outlives_its_screen(line: Line, said: Gone) -> None:  # noqa: F811
    """A program that ends is told on a screen that is gone; it is started again all the same."""
    made = Supervisor(
        line,
        (program(WAITS),),
        after_engines=nothing,
        say=lambda words: Console(file=cast("IO[str]", cli_line.Screen(said))).print(words),
    )
    loop, restarts = asyncio.get_running_loop(), []

    def close() -> None:
        said.gone = True
        os.kill(pid(made), signal.SIGKILL)
        loop.call_later(1.5, end)

    def end() -> None:
        restarts.append(made.health["one"].restarts)
        os.kill(os.getpid(), signal.SIGINT)

    await ended(made, line, said, close)
    assert restarts == [1]


# --- a terminal, and the real engines


@pytest.fixture
def in_a_terminal(installed: engines.Engines, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """`triage up --engines` as the one program of a terminal; the other end of it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        # A session of its own, and its first terminal is the one that signals it.
        [sys.executable, "-c", f"import os; os.setsid(); os.close(os.open({os.ttyname(theirs)!r}, os.O_RDWR)); {_UP}"],
        env={**os.environ, **variables(tmp_path), "TERM": "xterm", "COLUMNS": "120"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        ended_by_hand(process)


_UP = "import sys; os.execv(sys.executable, [sys.executable, '-m', 'triage', 'up', '--engines'])"


def test_a_window_that_is_closed_leaves_no_program(in_a_terminal: tuple["subprocess.Popen[bytes]", int]) -> None:
    process, window = in_a_terminal
    shown = b""
    while b"engines are up" not in shown:
        shown += os.read(window, 4096)
    programs = psutil.Process(process.pid).children()
    assert len(programs) == 4, "two engines, and a scribe each"
    assert not re.search(rb"Traceback", shown)
    os.close(window)
    assert process.wait(DOWN_WITHIN_S) == 0
    assert psutil.wait_procs(programs, timeout=1)[1] == []
