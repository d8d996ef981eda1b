"""Promise: `triage up` brings a whole line, on loopback alone, says where to ring, and leaves nothing when it ends."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from tests.line.conftest import DOWN_WITHIN_S, triage_up, variables
from triage.config import load
from triage.up import engines, line_files


@dataclass(frozen=True)
class Whole:
    """A whole line that is up."""

    process: "subprocess.Popen[str]"
    line: line_files.Line
    env: dict[str, str]
    said: str

    def programs(self) -> list[psutil.Process]:
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]


@pytest.fixture(scope="module")
def whole(installed: engines.Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    env = {**os.environ, **variables(tmp_path_factory.mktemp("up"))}
    with triage_up(env) as (process, said):
        assert "ring sip:" in said, said
        yield Whole(process, line_files.opened(load(env=env)), env, said)


def test_it_says_which_address_to_ring(whole: Whole) -> None:
    assert f"ring sip:+15550100@127.0.0.1:{whole.line.ports.sip} " in whole.said


def test_it_says_who_listens_to_callers_and_that_it_made_a_key(whole: Whole) -> None:
    before = whole.said.partition("ring sip:")[0]
    assert "recogniser: the local one" in before and "made a new key to read the record" in before
    assert len(before.splitlines()) == 3, before


def test_nothing_of_it_listens_or_talks_beyond_loopback(whole: Whole) -> None:
    seen = [(p.name(), c) for p in whole.programs() for c in p.net_connections(kind="inet")]
    assert {c.laddr.port for _, c in seen} >= {whole.line.ports.sip, whole.line.ports.server, whole.line.ports.redis}
    assert [(name, c.laddr) for name, c in seen if c.laddr.ip != line_files.LOOPBACK] == []
    assert [(name, c.raddr) for name, c in seen if c.raddr and c.raddr.ip != line_files.LOOPBACK] == []


def test_no_secret_is_on_a_command_line_in_an_environment_or_in_a_log(whole: Whole) -> None:
    access = whole.line.access
    shown = {p.name(): " ".join([*p.cmdline(), *p.environ().values()]) for p in whole.programs()}
    shown |= {path.name: path.read_text() for path in whole.line.logs.iterdir()}
    for name, text in shown.items():
        assert access.api_secret not in text and access.redis_password not in text, name


def test_status_agrees(whole: Whole) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "triage", "line", "status"],
        env=whole.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for name in ("redis", "livekit-server", "sip-bench", "keeper", "worker"):
        assert re.search(rf"{name} +up", told.stdout), told.stdout
    assert re.search(r"provisioned +yes", told.stdout)
    assert told.returncode == 0


def test_the_end_leaves_nothing_running(whole: Whole) -> None:
    """Last: it ends the line of the others."""
    pids = [process.pid for process in whole.programs()]
    whole.process.send_signal(signal.SIGINT)
    assert whole.process.wait(DOWN_WITHIN_S) == 0
    left = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
    assert left == []
