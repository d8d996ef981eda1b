"""Promise: the real engines take our configurations, listen on loopback only, and show no secret and no number."""

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.line.conftest import Standing
from triage.up import engines, line_files
from triage.up.probes import http_answers, redis_answers


def programs(standing: Standing) -> list[psutil.Process]:
    """The supervisor and everything under it."""
    top = psutil.Process(standing.process.pid)
    return [top, *top.children(recursive=True)]


def test_both_engines_run_under_the_supervisor(standing: Standing) -> None:
    names = {process.name() for process in programs(standing)}
    assert "livekit-server" in names and any(name.startswith("redis") for name in names)


def test_nothing_listens_or_talks_beyond_loopback(standing: Standing) -> None:
    seen = [connection for process in programs(standing) for connection in process.net_connections(kind="inet")]
    assert {c.laddr.ip for c in seen} == {line_files.LOOPBACK}
    assert {c.raddr.ip for c in seen if c.raddr} <= {line_files.LOOPBACK}
    ports, bound = standing.line.ports, {c.laddr.port for c in seen if not c.raddr}
    assert {ports.redis, ports.server, ports.media} == bound


def test_no_secret_is_on_a_command_line_or_in_an_environment(standing: Standing) -> None:
    access = standing.line.access
    for process in programs(standing):
        shown = " ".join([*process.cmdline(), *process.environ().values()])
        assert access.api_secret not in shown and access.redis_password not in shown, process.name()


def test_engines_get_nothing_of_our_environment_that_configures_them(standing: Standing) -> None:
    for process in programs(standing)[1:]:
        assert not [name for name in process.environ() if name.startswith(("LIVEKIT", "OTEL", "TRIAGE"))]


async def test_redis_wants_its_password(standing: Standing) -> None:
    assert await redis_answers(standing.line.ports.redis, standing.line.access.redis_password)
    assert not await redis_answers(standing.line.ports.redis, "another password")


async def test_livekit_server_answers(standing: Standing) -> None:
    assert await http_answers(standing.line.ports.server)


def test_the_server_would_refuse_a_key_that_it_does_not_know(
    installed: engines.Engines, standing: Standing, tmp_path: Path
) -> None:
    text = (standing.line.file(line_files.LIVEKIT_YAML)).read_text()
    wrong = tmp_path / "livekit.yaml"
    wrong.write_text(text + "rooms: {}\n")
    ended = subprocess.run(
        [installed.server.path, "--config", wrong], capture_output=True, text=True, timeout=20, check=False
    )
    assert "field rooms not found" in ended.stdout + ended.stderr  # it ends with 0 all the same


def test_logs_hold_no_secret(standing: Standing) -> None:
    logs = list(standing.line.logs.glob("*.log"))
    assert {path.stem for path in logs} == {"redis", "livekit-server"}
    for path in logs:
        text = path.read_text()
        assert path.stat().st_mode & 0o077 == 0
        assert standing.line.access.api_secret not in text and standing.line.access.redis_password not in text
        assert not re.search(r"\+1\d{6,}", text)


# --- the commands


def triage(standing: Standing, *words: str) -> tuple[int, str]:
    told = subprocess.run(
        [sys.executable, "-m", "triage", *words],
        env=standing.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return told.returncode, told.stdout + told.stderr


def test_status_says_what_answers_and_what_does_not(standing: Standing) -> None:
    code, said = triage(standing, "line", "status")
    assert code == 1, "no SIP service and no worker"
    assert re.search(r"redis +up +127\.0\.0\.1:", said) and re.search(r"livekit-server +up", said)
    assert re.search(r"sip-bench +no answer", said) and re.search(r"worker +no answer", said)
    assert re.search(r"provisioned +yes", said) and "ring" not in said


def test_provisioning_by_hand_is_idempotent(standing: Standing) -> None:
    first, second = triage(standing, "line", "provision"), triage(standing, "line", "provision")
    assert first == second and first[0] == 0 and "inbound trunk ST_" in first[1]


def test_a_second_line_on_the_same_folder_is_refused_and_harms_nothing(standing: Standing) -> None:
    before = {path.name: path.read_text() for path in standing.line.folder.iterdir() if path.is_file()}
    code, said = triage(standing, "up", "--engines")
    assert code == 2 and "is up on" in said and said.count("\n") == 1
    assert before == {path.name: path.read_text() for path in standing.line.folder.iterdir() if path.is_file()}


@pytest.mark.usefixtures("installed")
def test_a_port_that_is_taken_stops_the_start_in_one_line(standing: Standing, tmp_path: Path) -> None:
    taken = {**standing.env, "TRIAGE_LINE_SERVER_PORT": str(standing.line.ports.server)}
    told = subprocess.run(
        [sys.executable, "-m", "triage", "--data", str(tmp_path), "up", "--engines"],
        env=taken,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert told.returncode == 2
    assert "setting line_server_port) is taken" in told.stderr and told.stderr.count("\n") == 1
