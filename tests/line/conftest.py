"""What the tests of the telephone line share: they are left out where its packages are missing, and say so at the end."""

import asyncio
import functools
import inspect
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.line.stack import Stack, found_engines
from triage.config import Settings, load
from triage.errors import UsageError
from triage.up import engines, line_files

PACKAGES = ("G722", "aiohttp", "livekit", "psutil", "redis", "sipmessage")
MISSING = [name for name in PACKAGES if find_spec(name) is None]

HERE = Path(__file__).parent
DOWN_WITHIN_S, HURRIED_WITHIN_S = 20, 60
"""A line has ended after the first Ctrl-C; after a second one, s."""
UP = ("ring ", "engines are up")
"""How `triage up` begins the line that says so."""


collect_ignore_glob = ["test_*.py"] if MISSING else []


QUICK = (
    *("codecs", "dialog", "figures", "hearing", "livekit_contract", "livekit_heirs", "livekit_nurse_leg"),
    *("livekit_proof", "livekit_races", "livekit_signalling", "messages", "refer", "rtp", "sdp", "sound", "transfers"),
    *("wire", "worker_offers"),
)
"""Test files that need the packages of the line only: no engine, no phone. `make test` runs them where they can be run."""
QUICK_WITH_ENGINES = ("engines_real", "provision")
"""Those that need the engines as well, and seconds: `make test` runs them too, where the engines are."""
ENVIRONMENT = HERE.parents[1] / ".venv-line"
"""Where `make line` puts the packages."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Redis and livekit-server of one test module."""
    made = Stack(tmp_path_factory.mktemp("line"), found_engines())
    try:
        made.start("redis")
        made.start("server")
        yield made
    finally:
        made.stop()


TEST_S = 150.0
"""A test that waits longer waits for ever: it fails."""


def bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The same test, which fails when it hangs."""

    @functools.wraps(test)
    async def within(*args: object, **named: object) -> None:
        async with asyncio.timeout(TEST_S):
            await test(*args, **named)

    return within


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
                item.obj = bounded(item.obj)
            item.add_marker(pytest.mark.line)
            if item.path.stem.removeprefix("test_") not in (*QUICK, *QUICK_WITH_ENGINES):
                item.add_marker(pytest.mark.realtime)


_LEFT_OUT: set[Path] = set()
"""Test files of which something was left out by its mark."""


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    _LEFT_OUT.update(item.path for item in items if item.get_closest_marker("realtime") and item.path.parent == HERE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    by_mark = len(_LEFT_OUT) if terminalreporter.config.getoption("markexpr") else 0
    if said := left_out(ENVIRONMENT, MISSING, by_mark):
        terminalreporter.write_line(said)


def left_out(environment: Path, missing: Sequence[str], files: int) -> str:
    """What is said at the end of the tests that were not run: one line, empty where none were left out.

    `environment`: where the packages of the line belong; `missing`: those that are not here; `files`: left out by a mark.
    """
    if missing and (environment / "bin" / "triage").exists():
        return f"SKIPPED tests/line: they run in {environment.name} (make test runs the quick ones there, make test-line all)"
    if missing:
        return f"SKIPPED tests/line: {', '.join(missing)} not installed; run make test-line"
    if files:
        return f"SKIPPED {files} files of tests/line: real phones and real time; run make test-line"
    return ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything was installed for these tests (`make test-line`), one that is left out is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("TRIAGE_SKIPPING") == "none" and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line(f"FAILED: {len(reporter.stats['skipped'])} tests were left out, and none may be")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def variables(folder: Path) -> dict[str, str]:
    """Settings of a line that is in nobody's way: any free ports, a stretch of free ones for audio."""
    with ExitStack() as held:
        for first in range(20000 + os.getpid() % 500 * 20, 32000, 40):
            try:
                for port in range(first, first + 40):
                    held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
            except OSError:
                continue
            break
    ports = {f"TRIAGE_LINE_{name}_PORT": "0" for name in ("REDIS", "SERVER", "MEDIA", "SIP", "WORKER")}
    return {
        **ports,
        "TRIAGE_DATA_DIR": str(folder),
        "TRIAGE_LINE_RTP_FIRST_PORT": str(first),
        "TRIAGE_LINE_RTP_PORTS": "40",
    }


@contextmanager
def triage_up(
    env: Mapping[str, str], *words: str, program: str = "triage"
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`triage up` with these words, and what it said until it was up, or until it ended; ended as a person would.

    `program`: a module that stands in its place.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", program, "up", *words],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    try:
        for line in process.stdout:
            said += line
            if line.startswith(UP):
                break
        yield process, said
    finally:
        ended(process)
        process.stdout.close()


def ended(process: "subprocess.Popen[Any]") -> None:
    """Ctrl-C; a second one for those who still talk. What does not end by that either is killed, and fails."""
    for limit_s in (DOWN_WITHIN_S, HURRIED_WITHIN_S):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(limit_s)
    if process.poll() is None:
        import psutil

        for program in (*psutil.Process(process.pid).children(recursive=True), process):
            program.kill()  # they would outlive their supervisor
        process.wait(10)
        pytest.fail("the line did not end and was killed")


@dataclass(frozen=True)
class Standing:
    """A line whose engines are up, by way of `triage up --engines`."""

    settings: Settings
    line: line_files.Line
    process: "subprocess.Popen[str]"
    env: dict[str, str]


@pytest.fixture(scope="session")
def installed() -> engines.Engines:
    """livekit-server and Redis."""
    try:
        return engines.find(os.environ)
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def standing(installed: engines.Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Engines for every test that needs some; started and ended as a person would."""
    folder = tmp_path_factory.mktemp("line")
    env = {**os.environ, **variables(folder)}
    with triage_up(env, "--engines") as (process, said):
        assert "engines are up" in said, said
        settings = load(env=env)
        yield Standing(settings, line_files.opened(settings), process, env)
