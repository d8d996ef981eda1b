"""Promise: `triage sip-bench` says what it is, refuses production, reads the line's files, and ends as it is asked to."""

import asyncio
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from tests.line import rooms as line_rooms
from tests.line.rooms import agent_in_next_room
from tests.line.stack import Stack, found_engines
from tests.line.telephony import sipp_caller
from triage.bench import sip_bench
from triage.bench.phones import sipp
from triage.bench.sip.agent import Agent
from triage.up import line_files, probes

pytestmark = pytest.mark.line

ROOT = Path(__file__).resolve().parents[2]


PRODUCTION = {
    "TRIAGE_PROFILE": "production",
    "TRIAGE_KEEP_AUDIO": "false",
    "TRIAGE_NURSE_DIRECTORY": "nurses.toml",
}
REAL = {"TRIAGE_LINE_SIP": "livekit-sip", "TRIAGE_LINE_PACKET_FILTER": "true"}


def files_of(engines: Stack, data: Path) -> None:
    """The files of a line in `data`, as `triage up` would have settled them, for engines that run already."""
    folder = data / "line"
    folder.mkdir(parents=True)
    line_files.write_private(folder / line_files.SECRETS, json.dumps(dataclasses.asdict(engines.line.access)))
    line_files.write_private(folder / line_files.PORTS, json.dumps(dataclasses.asdict(engines.line.ports)))


class Process:
    """The command, in a process of its own."""

    def __init__(self, data: Path, *options: str, **settings: str) -> None:
        self._argv = (sys.executable, "-m", "triage", "--data", str(data), "sip-bench", *options)
        self._env = {"PATH": os.environ["PATH"], "HOME": str(data), "PYTHONPATH": str(ROOT), **settings}
        self._data = data
        self.log = ""

    async def run_until(self, ready: str) -> None:
        """Start; return when it has written `ready`."""
        self._process = await asyncio.create_subprocess_exec(
            *self._argv,
            cwd=self._data,
            env=self._env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(30):
            while ready not in self.log:
                line = await self._line()
                if not line:
                    break

    async def _line(self) -> str:
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        self.log += line
        return line

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        async with asyncio.timeout(15):
            while await self._line():
                pass
            return await self._process.wait()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()


async def test_it_says_what_it_is_takes_calls_and_ends_when_they_have_ended(stack: Stack, tmp_path: Path) -> None:
    files_of(stack, tmp_path)
    lk = line_rooms.client(stack)
    await line_rooms.provision(lk)
    bench = Process(tmp_path, "--late-answer", "1")
    try:
        await bench.run_until("listening on")
        first, *_ = bench.log.splitlines()
        assert sip_bench.WARNING in first and "NOT FOR PRODUCTION" in first
        assert "faults: late_answer 1 s" in bench.log
        assert await probes.sip_answers(stack.line.ports.sip)
        where = Agent(port=stack.line.ports.sip)  # never started; only its address is wanted
        async with agent_in_next_room(stack, lk) as joining:
            caller = asyncio.ensure_future(sipp_caller(sipp.calling("staying").pause(1500).bye(), tmp_path, where))
            agent = await joining
            await agent.active()
            bench.send(signal.SIGTERM)  # asked to end: the call goes on
            assert (await caller).status == 0
            assert await bench.ended() == 0
        assert re.search(r'processing invite .* fromUser="\+\d+" ', bench.log), "as livekit-sip, it logs who rings"
        assert "calls in progress: 1" in bench.log and "reason=remote_bye" in bench.log
        assert "Traceback" not in bench.log
    finally:
        bench.kill()
        await lk.aclose()


async def test_a_second_sigterm_ends_the_calls_at_once(stack: Stack, tmp_path: Path) -> None:
    files_of(stack, tmp_path)
    lk = line_rooms.client(stack)
    bench = Process(tmp_path)
    try:
        await bench.run_until("listening on")
        where = Agent(port=stack.line.ports.sip)
        async with agent_in_next_room(stack, lk) as joining:
            scenario = sipp.calling("ended").expect_bye(20_000)
            caller = asyncio.ensure_future(sipp_caller(scenario, tmp_path, where))
            agent = await joining
            await agent.active()
            bench.send(signal.SIGTERM)
            await asyncio.sleep(0.5)
            bench.send(signal.SIGTERM)
            assert (await caller).status == 0
            assert await bench.ended() == 0
    finally:
        bench.kill()
        await lk.aclose()


@pytest.mark.parametrize(
    ("options", "settings", "said"),
    [
        ((), {**PRODUCTION, **REAL}, "sip-bench does not run under the profile production"),
        ((), PRODUCTION, "line_sip"),
        (("--no-notify", "--notify200-after-timeout"), {}, "not both"),
        (("--late-answer", "999"), {}, "0 to 120 s"),
        ((), {"TRIAGE_LINE_NURSE_ADDRESS": "nurses.example.org:5060"}, "line_nurse_address"),
    ],
    ids=["production", "production with the bench", "contradicting faults", "too late", "nurses elsewhere"],
)
async def test_what_cannot_be_is_one_line(
    stack: Stack,
    tmp_path: Path,
    options: tuple[str, ...],
    settings: dict[str, str],
    said: str,
) -> None:
    files_of(stack, tmp_path)
    bench = Process(tmp_path, *options, **settings)
    await bench.run_until("listening on")
    try:
        assert await bench.ended() == 2
        assert said in bench.log.splitlines()[-1] and "Traceback" not in bench.log
    finally:
        bench.kill()


async def test_without_a_line_it_names_the_remedy(tmp_path: Path) -> None:
    bench = Process(tmp_path)
    await bench.run_until("listening on")
    assert await bench.ended() == 2 and "triage up" in bench.log


async def test_without_redis_it_ends_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir()
    files_of(Stack(tmp_path / "engines", found_engines()), tmp_path)
    bench = Process(tmp_path)
    await bench.run_until("listening on")
    assert await bench.ended() == 1 and "Redis does not answer" in bench.log
    assert "Traceback" not in bench.log


BROKEN = """
import asyncio, logging
from triage import cli
from triage.bench import sip_bench

def broken():
    raise ValueError("+15558460213 says quartzite")

async def run(*_):
    try:
        broken()
    except ValueError as error:
        logging.getLogger("triage.bench.sip_bench").exception("it broke: %s", error)
    asyncio.get_running_loop().call_soon(broken)
    await asyncio.sleep(0.05)

sip_bench.run = run
cli.main()
"""


def test_an_exception_leaves_its_kind_and_place_in_its_log(tmp_path: Path) -> None:
    """It tells callers' numbers, as livekit-sip does; an exception may hold anything."""
    ports = line_files.Ports(redis=1, server=2, media=3, sip=4, worker=5, rtp_first=20000, rtp_count=40)
    line = tmp_path / "line"
    line.mkdir(mode=0o700)
    access = line_files.Access("key-of-the-tests", "s" * 32, "p" * 32)
    for name, held in ((line_files.SECRETS, access), (line_files.PORTS, ports)):
        line_files.write_private(line / name, json.dumps(dataclasses.asdict(held)))
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, "--data", str(tmp_path), "sip-bench"], capture_output=True, text=True, check=True
    )
    first, second = done.stderr.splitlines()
    assert first.endswith("ERROR triage.bench.sip_bench it broke: ValueError (ValueError at __main__:7)")
    assert second.endswith("ERROR asyncio Exception in callback (ValueError at __main__:7)")
