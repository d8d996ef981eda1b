"""Promise: the worker starts with nothing open that leaks by default, and what stands in its way is one clear line.

Each test fails when the pin it names is taken out. What only a running job can show is in `test_worker_job`.
"""

import ast
import asyncio
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from livekit.agents.job import _observability_url
from livekit.agents.telemetry.utils import _ALLOW_PII_ENV_VAR
from livekit.agents.worker import JobExecutorType
from livekit.protocol import models

from audit.folder import AuditFolder
from tests.line.conftest import Standing
from tests.line.whole_line import spoken, telephone
from triage import privacy, worker
from triage.admission import Admission
from triage.bench.phones import baresip
from triage.bench.phones.baresip import phone
from triage.config import load
from triage.up import line_files
from triage.up.line_files import Access, Line, Ports

SECRET = "this-is-the-secret-of-the-tests"
EVIL = {
    "LIVEKIT_DEV_MODE": "1",
    "LIVEKIT_AGENT_NAME_OVERRIDE": "somebody-else",
    "LIVEKIT_TELEMETRY_ALLOW_PII": "1",
    "LIVEKIT_INFERENCE_URL": "https://inference.example",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "https://traces.example",
    "HTTPS_PROXY": "http://127.0.0.1:9",
}
READY_WITHIN_S = 60.0
NURSES = 'schema = 1\n[[target]]\nname = "queue"\nkind = "refer"\nuri = "sip:queue@127.0.0.1:5090"\n'


def a_line(folder: Path) -> Line:
    ports = Ports(redis=1, server=2, media=3, sip=4, worker=5, rtp_first=20000, rtp_count=40)
    return Line(folder, ports, Access("key-of-the-tests", SECRET, "p" * 32))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> worker.AgentServer:
    """The server as it would run, in an environment that tries to change it."""
    for name, value in {**EVIL, "HTTP_PROXY": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LIVEKIT_AGENT_NAME_OVERRIDE")  # `privacy.pinned` drops it before
    settings = load(env={}, data=tmp_path)
    admission = Admission(settings, cpu=lambda: 0.0, free_bytes=lambda: 10**10)
    return worker.make_server(settings, a_line(tmp_path), admission)


# --- what the library is told


def test_calls_are_dispatched_to_it_by_name_alone(server: worker.AgentServer) -> None:
    assert server._agent_name == "triage"


def test_its_own_health_page_is_on_loopback_and_no_figures_are_served(server: worker.AgentServer) -> None:
    assert server._host == line_files.LOOPBACK and server._prometheus_port is None


def test_no_proxy_of_the_environment_sees_our_calls(server: worker.AgentServer) -> None:
    assert server._http_proxy is None


def test_every_call_has_a_process_of_its_own_with_a_memory_limit(server: worker.AgentServer) -> None:
    assert server._job_executor_type is JobExecutorType.PROCESS
    assert 0 < server._job_memory_warn_mb < server._job_memory_limit_mb


def test_it_speaks_from_info_on(server: worker.AgentServer) -> None:
    assert server.log_level == "INFO"


def test_our_participant_may_publish_a_voice_and_no_more(server: worker.AgentServer) -> None:
    allowed = server._permissions
    assert allowed.can_publish_sources == [models.TrackSource.MICROPHONE]
    assert not allowed.can_update_metadata and not allowed.hidden


def test_a_server_that_is_gone_is_never_given_up(server: worker.AgentServer) -> None:
    assert server._max_retry >= 100_000


# --- what is not there at all


def test_of_the_library_only_the_ways_to_a_process_and_a_room_are_used() -> None:
    """No AgentSession, hence no recorder, no transcription in the room, no session host, no turn detector of theirs."""
    tree = ast.parse(Path(worker.__file__).read_text(encoding="utf-8"))
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("livekit.agents")
        for alias in node.names
    }
    assert imported == {
        "livekit.agents.AgentServer",
        "livekit.agents.AutoSubscribe",
        "livekit.agents.JobContext",
        "livekit.agents.JobProcess",
        "livekit.agents.JobRequest",
        "livekit.agents.ipc.job_executor.JobStatus",
        "livekit.agents.worker.WorkerPermissions",
    }


def test_a_line_on_loopback_has_nowhere_to_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIVEKIT_OBSERVABILITY_URL", raising=False)
    assert _observability_url(a_line(tmp_path).url) is None


def test_the_variable_that_mutes_spans_is_the_librarys() -> None:
    assert privacy.SAID[_ALLOW_PII_ENV_VAR] == "0"


# --- a worker that runs


class Running:
    """`triage worker`, or a program in its place, on the engines of the tests."""

    def __init__(self, standing: Standing, env: Mapping[str, str], log: Path, program: str = "triage") -> None:
        self.line, self.log = standing.line, log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", program, "worker"], env={**standing.env, **env}, stdout=out, stderr=out
            )

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def until(self, true: Callable[[], bool], limit_s: float = READY_WITHIN_S) -> None:
        limit = time.perf_counter() + limit_s
        while not true():
            assert time.perf_counter() < limit and self.process.poll() is None, self.said()
            time.sleep(0.05)  # noqa: TID251 a process outside our clocks

    def ready(self) -> None:
        self.until(lambda: self.said().count("stands ready") >= 1)

    def everybody(self) -> list[psutil.Process]:
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]


@contextmanager
def running(standing: Standing, log: Path, program: str = "triage", **env: str) -> Iterator[Running]:
    made = Running(standing, {"TRIAGE_WORKER_IDLE_PROCESSES": "1", **env}, log, program)
    try:
        yield made
    finally:
        children = []
        with suppress(psutil.Error):
            children = psutil.Process(made.process.pid).children(recursive=True)
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait()
        for child in children:
            with suppress(psutil.Error):
                child.kill()


def test_no_process_has_our_secret_or_a_leak_in_its_environment(standing: Standing, tmp_path: Path) -> None:
    with running(standing, tmp_path / "log", **EVIL) as up:
        up.ready()
        seen = {process.pid: process.environ() for process in up.everybody()}
        command_lines = " ".join(" ".join(process.cmdline()) for process in up.everybody())
    top = seen.pop(up.process.pid)
    assert len(seen) >= 2, "the process that forks, and a call's"
    for environ in seen.values():
        assert environ["LIVEKIT_TELEMETRY_ALLOW_PII"] == "0"
        assert environ["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] == "0"
        assert not {"LIVEKIT_DEV_MODE", "LIVEKIT_INFERENCE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"} & environ.keys()
    secret = standing.line.access.api_secret
    assert secret not in command_lines + str(seen) + str(top) + up.said()


def test_it_is_well_only_once_calls_can_come_and_listens_on_loopback_alone(standing: Standing, tmp_path: Path) -> None:
    with running(standing, tmp_path / "log") as up:
        up.ready()
        up.until(lambda: health(up.line) == 200)
        addresses = {c.laddr.ip for process in up.everybody() for c in process.net_connections(kind="inet")}
    assert addresses == {line_files.LOOPBACK}


def test_a_signal_ends_it_at_once_when_nobody_calls_and_leaves_nobody(standing: Standing, tmp_path: Path) -> None:
    with running(standing, tmp_path / "log") as up:
        up.ready()
        everybody = up.everybody()
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(15) == 0
        _gone, alive = psutil.wait_procs(everybody, timeout=5)
        assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert "worker: ended" in up.said() and "Traceback" not in up.said()


def test_what_is_sent_to_its_whole_group_ends_nothing_but_itself(standing: Standing, tmp_path: Path) -> None:
    """Ctrl-C, `systemctl stop`: its processes carry calls, and wait for what their worker says."""
    with running(standing, tmp_path / "log") as up:
        up.ready()
        _itself, *others = up.everybody()
        assert len(others) >= 3, "the process that forks, who cleans up after it, and a call's"
        for process in others:
            assert {signal.SIGTERM, signal.SIGINT} <= ignored(process), process.cmdline()


def ignored(process: psutil.Process) -> set[int]:
    """Signals that this process does not hear."""
    (mask,) = re.findall(r"^SigIgn:\s+([0-9a-f]+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return {number for number in range(1, 65) if int(mask, 16) >> (number - 1) & 1}


def test_a_second_signal_does_not_wait(standing: Standing, tmp_path: Path) -> None:
    with running(standing, tmp_path / "log") as up:
        up.until(lambda: "worker: triage at" in up.said())
        up.process.send_signal(signal.SIGTERM)
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(10) in (0, 1)


def test_processes_that_cannot_be_made_ready_are_told_and_tried_again(standing: Standing, tmp_path: Path) -> None:
    """The key is gone while the worker runs: no further call could be recorded."""
    key = AuditFolder(standing.settings.data_dir).keys / "reader.public"
    with running(standing, tmp_path / "log") as up:
        up.until(lambda: health(up.line) == 200)
        away = key.rename(tmp_path / "away")
        try:
            (idle,) = [one for one in up.everybody() if one.ppid() not in (up.process.pid, os.getpid())]
            idle.kill()
            up.until(lambda: health(up.line) == 503)
            assert re.search(r"a process cannot be made ready: .*reader\.public", up.said())
            assert up.said().count("cannot be made ready") < 20, "at a pace that leaves the processor to others"
        finally:
            away.rename(key)
        up.until(lambda: health(up.line) == 200)


def test_a_participant_of_the_bench_is_not_answered_in_earnest(standing: Standing, tmp_path: Path) -> None:
    """Staging, as production refuses to start with what serves demos only."""
    if (lack := baresip.missing()) is not None:
        pytest.skip(lack)
    (tmp_path / "nurses.toml").write_text(NURSES)
    AuditFolder(standing.settings.data_dir).keyring().ensure()
    env = {
        "TRIAGE_PROFILE": "staging",
        "TRIAGE_KEEP_AUDIO": "false",
        "TRIAGE_LINE_SIP": "livekit-sip",
        "TRIAGE_LINE_PACKET_FILTER": "true",
        "TRIAGE_NURSE_DIRECTORY": str(tmp_path / "nurses.toml"),
    }
    with running(standing, tmp_path / "log", **env) as up:
        up.ready()
        up.until(lambda: health(up.line) == 200)
        bench = subprocess.Popen(
            [sys.executable, "-m", "triage", "sip-bench"],
            env=standing.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            events = asyncio.run(_ring(up, tmp_path))
        finally:
            bench.kill()
            bench.wait()
    assert "a call of the bench under the profile staging: not answered" in up.said()
    assert "CALL_ESTABLISHED" not in events and "CALL_RINGING" in events


async def _ring(up: Running, folder: Path) -> list[str]:
    async with phone(telephone(folder, "15557654321", spoken())) as caller:
        await asyncio.sleep(1.5)  # the bench has begun
        await caller.command("dial", f"sip:+15550100@127.0.0.1:{up.line.ports.sip}")
        async with asyncio.timeout(20):
            while "not answered" not in up.said():  # noqa: ASYNC110 another process
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        return [str(event.get("type")) for event in caller.events]


def health(line: Line) -> int:
    """Status of the worker's health page; 0 where nobody answers."""
    connection = http.client.HTTPConnection(line_files.LOOPBACK, line.ports.worker, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


# --- what stands in its way


def told(standing_env: Mapping[str, str], folder: Path | None = None, **env: str) -> tuple[int, str]:
    """Exit code and last words of a worker that does not start."""
    data = ["--data", str(folder)] if folder else []
    done = subprocess.run(
        [sys.executable, "-m", "triage", *data, "worker"],
        env={**standing_env, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def test_no_line_yet_is_said_with_the_remedy(tmp_path: Path) -> None:
    code, words = told(os.environ, tmp_path)
    assert code == 2 and words.count("\n") == 1 and "triage up" in words


def test_an_upload_variable_stops_the_start(standing: Standing) -> None:
    code, words = told(standing.env, LIVEKIT_OBSERVABILITY_URL="https://elsewhere.example")
    assert code == 2 and words.count("\n") == 1 and "LIVEKIT_OBSERVABILITY_URL" in words


def test_a_wrong_key_is_refused_in_one_line(standing: Standing, tmp_path: Path) -> None:
    line = standing.line
    other = tmp_path / "line"
    other.mkdir(mode=0o700)
    for name in (line_files.SECRETS, line_files.PORTS):
        text = (line.folder / name).read_text(encoding="utf-8").replace(line.access.api_secret, "w" * 43)
        line_files.write_private(other / name, text)
    code, words = told(standing.env, tmp_path)
    assert code == 2 and "refuses our key" in words.splitlines()[-1]
    assert line.access.api_secret not in words


def test_a_port_that_is_taken_is_named_with_its_setting(standing: Standing, tmp_path: Path) -> None:
    with running(standing, tmp_path / "log") as up:
        up.until(lambda: health(up.line) != 0)
        code, words = told(standing.env)
    assert code == 2 and "line_worker_port" in words.splitlines()[-1]


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"TRIAGE_STT": "scripted"}, "stt_script"),
        ({"TRIAGE_STT": "scripted", "TRIAGE_STT_SCRIPT": "/nowhere/at/all"}, "stt_script"),
        ({"TRIAGE_NURSE_DIRECTORY": "/nowhere/at/all"}, "nurse_directory"),
        ({"TRIAGE_EMERGENCY_NUMBER": "555"}, "emergency_number"),
        ({"TRIAGE_WORKER_CALLS": "0"}, "worker_calls"),
    ],
)
def test_a_setting_that_is_wrong_is_named_before_anybody_rings(
    standing: Standing, env: dict[str, str], named: str
) -> None:
    code, words = told(standing.env, **env)
    assert code == 2 and named in words.splitlines()[-1]


def test_a_production_start_is_refused_for_what_is_true_of_this_line(standing: Standing, tmp_path: Path) -> None:
    (tmp_path / "nurses.toml").write_text(NURSES)
    production = {
        "TRIAGE_PROFILE": "production",
        "TRIAGE_KEEP_AUDIO": "false",
        "TRIAGE_LINE_SIP": "livekit-sip",
        "TRIAGE_LINE_PACKET_FILTER": "true",
        "TRIAGE_NURSE_DIRECTORY": str(tmp_path / "nurses.toml"),
    }
    code, words = told({**standing.env, **production})
    assert code == 2 and "production is refused: speech to text: pocketsphinx" in words.splitlines()[-1]
    assert "simulated" not in words


def test_a_server_that_is_not_there_is_waited_for(standing: Standing, tmp_path: Path) -> None:
    line = standing.line
    other = tmp_path / "line"
    other.mkdir(mode=0o700)
    ports = re.sub(r'("server": )\d+', r"\g<1>9", (line.folder / line_files.PORTS).read_text(encoding="utf-8"))
    line_files.write_private(other / line_files.PORTS, ports)
    line_files.write_private(other / line_files.SECRETS, (line.folder / line_files.SECRETS).read_text(encoding="utf-8"))
    with running(standing, tmp_path / "log", TRIAGE_DATA_DIR=str(tmp_path)) as up:
        up.until(lambda: "failed to connect" in up.said())
        assert "does not answer yet" in up.said() and health(up.line) == 503
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(15) == 0
    assert "Traceback" not in up.said()
