"""Who runs on a line, remembered for the supervisor after this one; and the end of what a killed one left running.

A program is the one remembered by its process id *and* its start time, as the number alone may be somebody else's by
now. It is ended as its own supervisor would have ended it: the last one started first, each with its own grace, as there
may be calls in progress and those behind them are what these stand on. The first order to end is given once, whoever
gives it: the worker takes a second one for `at once`.
"""

import contextlib
import json
import math
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from triage.up.line_files import write_private

if TYPE_CHECKING:
    import psutil

PROCESSES = "processes.json"
SECOND_TERM_S = 3.0
"""Between the second SIGTERM and SIGKILL, s."""
CALLS_FROM_S = 10.0
"""A program that may take longer than this to end carries calls, s."""
SAME_START_S = 0.05
"""Two start times closer than this are one, s."""
_LOOK_S = 0.05


@dataclass(frozen=True)
class Running:
    """One program, as it is remembered."""

    name: str
    pid: int
    began: float
    """Start time as the system tells it, s."""
    grace_s: float = SECOND_TERM_S
    """From the first SIGTERM to the second, s."""
    told: bool = False
    """The first SIGTERM was sent."""


def remember(folder: Path, running: Iterable[Running]) -> None:
    """Write down who runs, in the order in which they were started. Raises OSError."""
    write_private(folder / PROCESSES, json.dumps([asdict(one) for one in running]))


def began(pid: int) -> float | None:
    """Start time of a process, s; None where there is none."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def end_leftovers(folder: Path, say: Callable[[str], None] = lambda _: None) -> list[str]:
    """End what a supervisor that was killed left running, calls first; gives the names. Only while `alone`.

    `say` hears what is waited for. Ctrl-C while it waits: everything ends at once; Ctrl-C again is the caller's.
    """
    left, at_once = _remembered(folder), False
    there = {one.pid: process for one in left if (process := _process(one)) is not None}
    if there:
        names = ", ".join(one.name for one in left if one.pid in there)
        say(f"a line was left running here by a supervisor that was killed; ending it: {names}")
    ended = []
    for index, one in reversed(list(enumerate(left))):  # livekit-server hangs when Redis goes first
        process = there.get(one.pid)
        if process is None or not process.is_running():
            continue
        ended.append(one.name)
        if not one.told:
            left[index] = replace(one, told=True)
            with contextlib.suppress(OSError):
                remember(folder, left)
            _send(process, signal.SIGTERM)
        if one.grace_s > CALLS_FROM_S and not at_once:
            say(f"{one.name}: calls in progress may finish (up to {one.grace_s:.0f} s); Ctrl-C ends them at once")
        try:
            _wait_out(process, 0.0 if at_once else one.grace_s)
        except KeyboardInterrupt:
            at_once = True
            say("ending at once")
        _send(process, signal.SIGTERM)
        _wait_out(process, SECOND_TERM_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(one.pid, signal.SIGKILL)
        _wait_out(process, SECOND_TERM_S)
    return ended


def _remembered(folder: Path) -> list[Running]:
    try:
        known = json.loads((folder / PROCESSES).read_text(encoding="utf-8"))
        found = [
            Running(
                str(one["name"]),
                int(one["pid"]),
                float(one["began"]),
                float(one.get("grace_s", SECOND_TERM_S)),
                bool(one.get("told", False)),
            )
            for one in known
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return []
    return [one for one in found if one.pid > 0 and math.isfinite(one.grace_s)]


def _process(one: Running) -> "psutil.Process | None":
    """The program, where it still runs and leads its group."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(one.pid)
        if abs(process.create_time() - one.began) <= SAME_START_S and os.getpgid(one.pid) == one.pid:
            return process
    return None


def _send(process: "psutil.Process", order: signal.Signals) -> None:
    import psutil

    with contextlib.suppress(psutil.Error):
        process.send_signal(order)


def _wait_out(process: "psutil.Process", limit_s: float) -> None:
    """Until it runs no more, or the time is up; what its new parent has not collected yet is over too."""
    import psutil

    for _ in range(round(limit_s / _LOOK_S)):
        if not psutil.wait_procs([process], timeout=_LOOK_S)[1]:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                continue
        return
