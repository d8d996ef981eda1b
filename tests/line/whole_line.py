"""The whole telephone line as `triage up` starts it, in a folder of its own, and telephones on the other side of a wire.

Every phone's packets pass through the impairer (`network`), which spoils them where a test asks for it and notes every
message. The line is rung at 127.0.0.2; nurses are behind one address, told apart by name:

    queue     a REFER sends callers there
    nurse-a   dialled into the caller's room
    nurse-b   the next one

A test says who is there (`nurses`); where nobody is, nobody answers. What a caller of PCMU says is in the script.
"""

import asyncio
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soxr

from audit.folder import AuditFolder
from audit.reader import CallListed, OpenedRecord, Reader
from audit.store import SqliteStore
from tests.line.conftest import triage_up, variables
from triage.audio import write_wav
from triage.bench.impairer import ALIAS, Impairer, Network, Seen
from triage.bench.media.codecs import encoder
from triage.bench.phones import sipp
from triage.bench.phones.baresip import RATES, Phone, PhoneSettings, free_ports, phone
from triage.bench.phones.hearing import Heard, heard
from triage.config import Settings, load
from triage.demo.cast import CallerLines
from triage.ports import RATE, Pcm
from triage.up import line_files
from triage.up.leftovers import PROCESSES

QUEUE, NURSE_A, NURSE_B = "queue", "nurse-a", "nurse-b"
CHEST_PAIN = "I have got a bad pain in my chest and it will not go away"
HEADACHE = "I have had a headache since this morning"
WANTS_PERSON = "I want to talk to a person please"
UP_WITHIN_S = 90.0
ROOT = Path(__file__).resolve().parents[2]
"""Where programs that stand in for `triage` are found."""
PRIORITY = -10
"""Niceness of the line and of the telephones, where we may set one."""
CALM_S = 90.0
"""How long a caller's sound file is at least, s: the call of a phone ends with it."""

_LINES = CallerLines()


def spoken(*parts: float | str | Pcm, seconds: float = CALM_S) -> Pcm:
    """What a caller says at 16 kHz: pauses in seconds, recordings by name or as they are; silence to the end."""
    pieces: list[Pcm] = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(_LINES.get(part).pcm)
        else:
            pieces.append(np.zeros(round(part * RATE), np.int16) if isinstance(part, float | int) else part)
    said = sum(len(piece) for piece in pieces)
    return np.concatenate([*pieces, np.zeros(max(0, round(seconds * RATE) - said), np.int16)])


@dataclass
class Ladder:
    """Who is called, in which order; seconds for an answer."""

    targets: Sequence[tuple[str, str, float]] = ((QUEUE, "refer", 4), (NURSE_A, "dial", 6), (NURSE_B, "dial", 6))

    def toml(self, port: int) -> str:
        rows = [
            f'[[target]]\nname = "{name}"\nkind = "{kind}"\ndeclared = "{"person" if kind == "dial" else "queue"}"\n'
            f'answer_within_s = {within}\nuri = "sip:{name}@{ALIAS}:{port}"\n'
            for name, kind, within in self.targets
        ]
        return "\n".join(["schema = 1", *rows])


@dataclass(frozen=True)
class CallRecord:
    """What the record of one call holds."""

    call: str
    records: Sequence[OpenedRecord]

    def payloads(self, stage: str) -> list[Mapping[str, Any]]:
        """Contents of one stage, in order."""
        return [r.content.payload for r in self.records if r.content.stage == stage]

    def events(self, *, attempt: int = 0) -> list[str]:
        """What the hand-off went through: signals and marks, with their value."""
        return [
            " ".join(filter(None, (str(p["event"]), str(p.get("value") or ""))))
            for p in self.payloads("handoff")
            if "event" in p and (not attempt or p.get("attempt") == attempt)
        ]

    def mark_s(self, name: str) -> float:
        """When a moment of the hand-off was, s of the machine's clock; not a number where nobody said."""
        found = [p["at_ns"] for p in self.payloads("handoff") if p.get("event") == name]
        return found[0] / 1e9 if found else float("nan")

    @property
    def pid(self) -> int:
        """Of the process that carried the call; the id of a writer begins with its kind and this."""
        opened = next(r.header.opens for r in self.records if r.header.opens is not None)
        return int(opened.writer.split("-")[1])

    @property
    def outcome(self) -> str:
        """How the call ended."""
        return next((str(p["outcome"]) for p in self.payloads("call") if "outcome" in p), "")


@dataclass
class WholeLine:
    """A line that is up."""

    process: "subprocess.Popen[str]"
    settings: Settings
    line: line_files.Line
    network: Impairer
    queue: int
    """Port of the nurses' address."""
    env: dict[str, str]
    said: str
    """By `triage up`, until the line was up."""
    screen: list[str] = field(default_factory=list)
    """What it says from then on, line by line."""
    known: set[str] = field(default_factory=set)

    @property
    def port(self) -> int:
        """SIP port of the line."""
        return self.line.ports.sip

    @property
    def uri(self) -> str:
        """What a phone dials."""
        return f"sip:{self.settings.line_number}@{ALIAS}:{self.port}"

    def script(self, *utterances: str) -> None:
        """What the recogniser of the next calls returns, utterance by utterance."""
        assert self.settings.stt_script is not None
        self.settings.stt_script.write_text("\n".join(utterances or (HEADACHE,)) + "\n", encoding="utf-8")

    def nurses(self, **ports: int) -> None:
        """Who is there, by name (with _ for -) and SIP port; the others are gone."""
        self.network.route(self.queue, {name.replace("_", "-"): port for name, port in ports.items()})

    # --- what is left of a call

    def calls(self) -> list[CallListed]:
        """All calls on record."""
        with closing(SqliteStore(AuditFolder(self.settings.data_dir).database)) as store:
            return Reader(store).calls()

    def begin(self) -> None:
        """Whatever is on record by now belongs to earlier calls."""
        self.known = {listed.call for listed in self.calls()} if AuditFolder(self.settings.data_dir).database.exists() else set()  # fmt: skip

    async def record(self, *, closed: bool = True, limit_s: float = 15.0, count: int = 1) -> CallRecord:
        """The record of the call since `begin` (of `count` calls the last), once its chain is closed by the summary."""
        async with asyncio.timeout(limit_s):
            while True:
                new = [listed for listed in self.calls() if listed.call not in self.known]
                if len(new) >= count and (new[count - 1].closed or not closed):
                    break
                await asyncio.sleep(0.1)
        return self.read(new[count - 1].call)

    def read(self, call: str) -> CallRecord:
        """The record of one call, opened and verified."""
        folder = AuditFolder(self.settings.data_dir)
        with closing(SqliteStore(folder.database)) as store:
            reader = Reader(store, folder.keyring(), who="test", purpose="test", spool=folder.spool)
            reader.verify(call)
            return CallRecord(call, reader.records(call, at_ns=time.time_ns()))

    # --- what was on the wire

    def since(self) -> float:
        """Now, for messages."""
        return time.perf_counter()

    def audio(self, caller: int, *, since_s: float = 0.0, to_line: bool = False, line: int = 0) -> Heard:
        """What a phone (by SIP port) heard of the line, or said to it (as it sent it), in its last call since."""
        line = line or self.port
        ours, theirs = self.ports_of(caller, since_s=since_s, line=line)
        return heard(self.network.packets(theirs, ours), sent=True) if to_line else heard(self.network.packets(ours, theirs))  # fmt: skip

    def heard_between(self, source: int, target: int, *, since_s: float = 0.0) -> Heard:
        """What one phone heard of another, both by SIP port."""
        return self.audio(target, since_s=since_s, line=source)

    def ports_of(self, caller: int, *, since_s: float = 0.0, line: int = 0) -> tuple[int, int]:
        """Audio ports (the line's, the phone's) of the last call of a phone since."""
        line = line or self.port
        sides = []
        for source, target in ((line, caller), (caller, line)):
            with_audio = [
                m
                for m in self.network.messages(source=source, target=target, since_s=since_s)
                if self.network.audio_port(m) and (m.method == "INVITE" or m.answers == "INVITE")
            ]
            assert with_audio, f"no audio was agreed from {source} to {target}"
            sides.append(self.network.audio_port(with_audio[-1]))
        return sides[0], sides[1]

    # --- its programs

    def log(self, name: str) -> str:
        """What a program of the line said, scrubbed."""
        path = self.line.logs / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def programs(self) -> dict[str, psutil.Process]:
        """The line's own programs by name."""
        told = json.loads((self.line.folder / PROCESSES).read_text(encoding="utf-8"))
        return {one["name"]: psutil.Process(int(one["pid"])) for one in told if psutil.pid_exists(int(one["pid"]))}


@contextmanager
def whole_line(
    folder: Path, ladder: Ladder | None = None, *, seed: int = 1, program: str = "triage", **settings: str
) -> Iterator[WholeLine]:
    """A line with its worker, up inside. `settings` are more of its settings, by name; `program` a module in its place.

    Raises: AssertionError with what it said when it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (queue,) = free_ports(1)
    directory, script = folder / "nurses.toml", folder / "script.txt"
    directory.write_text((ladder or Ladder()).toml(queue), encoding="utf-8")
    script.write_text(HEADACHE + "\n", encoding="utf-8")
    env = {
        **os.environ,
        **variables(folder),
        "PYTHONPATH": str(ROOT),
        "TRIAGE_PROFILE": "bench",
        "TRIAGE_STT": "scripted",
        "TRIAGE_STT_SCRIPT": str(script),
        "TRIAGE_NURSE_DIRECTORY": str(directory),
        "TRIAGE_LINE_NURSE_ADDRESS": f"{ALIAS}:{queue}",
        "TRIAGE_LINE_CARRIER_ADDRESSES": "127.0.0.0/8",
        "TRIAGE_WORKER_CALLS": "40",
        "TRIAGE_WORKER_CPU_LIMIT": "1",
        "TRIAGE_WORKER_DRAIN_S": "3",
        **{f"TRIAGE_{name.upper()}": value for name, value in settings.items()},
    }
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):  # neighbours on this machine are not what is tested; phones inherit it too
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    try:
        with triage_up(env, program=program) as (process, said):
            made = load(env=env)
            assert "ring sip:" in said, said + _logs(folder)
            with Impairer(seed) as network:
                running = WholeLine(process, made, line_files.opened(made), network, queue, env, said)
                threading.Thread(target=_read, args=(process, running.screen), daemon=True).start()
                network.stand_for(running.port)
                running.nurses()
                running.begin()
                limit = time.perf_counter() + UP_WITHIN_S
                while running.log("worker").count("stands ready") < made.worker_idle_processes:
                    assert time.perf_counter() < limit, _logs(folder)
                    time.sleep(0.05)  # noqa: TID251 programs outside our clocks
                yield running
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


def _read(process: "subprocess.Popen[str]", into: list[str]) -> None:
    """Until it has ended. A line that is not read would have to wait for its reader some day."""
    assert process.stdout is not None
    with suppress(ValueError):  # closed meanwhile
        for words in process.stdout:
            into.append(words.rstrip())


def _logs(folder: Path) -> str:
    return "".join(f"\n--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted(folder.glob("line/logs/*.log")))


# --- telephones


def telephone(
    folder: Path, user: str, said: Pcm, codec: str = "PCMU", *, answers: bool = True, follows_refer: bool = True
) -> PhoneSettings:
    """A phone with ports of its own that says this when a call stands."""
    home = folder / user
    home.mkdir(parents=True, exist_ok=True)
    rate = RATES[codec]
    wave = said if rate == RATE else np.asarray(soxr.resample(said, RATE, rate), np.int16)
    write_wav(home / "says.wav", wave, rate=rate)
    sip_port, control, rtp = free_ports(3)
    rtp = 45_000 + rtp % 100 * 100
    return PhoneSettings(
        home, user, sip_port, control, (rtp, rtp + 40), home / "says.wav", codec, answers, follows_refer
    )


@asynccontextmanager
async def ringing(line: WholeLine, settings: PhoneSettings, network: Network | None = None) -> AsyncIterator[Phone]:
    """A phone that has just dialled the line."""
    if network is not None:
        line.network.impair(settings.sip_port, network)
    async with phone(settings) as running:
        await running.command("dial", line.uri)
        yield running


@dataclass
class SippCaller:
    """sipp as the caller: one scenario, one sound file."""

    folder: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])
    media_port: int = field(default_factory=lambda: free_ports(1)[0] & ~1)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    async def ring(
        self, line: WholeLine, scenario: sipp.Scenario, said: Pcm, *, limit_s: float = 60.0, number: str = "+15550111"
    ) -> sipp.Result:
        """Follow the scenario to its end, saying this from the moment of the answer."""
        wave = np.asarray(soxr.resample(said, RATE, 8000), np.int16)
        (self.folder / sipp.TONE).write_bytes(encoder("PCMU").encode(wave))
        return await sipp.run(
            scenario,
            self.folder,
            port=self.port,
            media_port=self.media_port,
            remote=(ALIAS, line.port),
            limit_s=limit_s,
            service=line.settings.line_number,
            number=number,
        )


@asynccontextmanager
async def nurse_with_sipp(
    line: WholeLine, folder: Path, name: str, scenario: sipp.Scenario, *, calls: int = 1, limit_s: float = 120.0
) -> AsyncIterator["asyncio.Task[sipp.Result]"]:
    """A nurse's phone under this name that does what the scenario says, so many times; nobody else is there."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    port, media = free_ports(2)
    wave = np.asarray(soxr.resample(spoken("nurse_hello", seconds=20.0), RATE, 8000), np.int16)
    (home / sipp.TONE).write_bytes(encoder("PCMU").encode(wave))
    running = asyncio.ensure_future(
        sipp.run(scenario, home, port=port, media_port=media & ~1, calls=calls, limit_s=limit_s)
    )
    try:
        await until(lambda: _taken(port))
        line.network.route(line.queue, {name: port})
        yield running  # type: ignore[misc]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        line.nurses()


def _taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


async def until(true: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Wait until something of other processes is true. Raises: TimeoutError."""
    async with asyncio.timeout(limit_s):
        while not true():  # noqa: ASYNC110 other processes tell nobody
            await asyncio.sleep(0.02)


def said(message: Seen) -> str:
    """Method, or status and what it answers."""
    return message.method or f"{message.status} {message.answers}"
