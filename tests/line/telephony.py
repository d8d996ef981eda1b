"""What the tests with telephones share: an agent with ports of its own, tones, and what a recording holds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from triage.audio import read_wav, write_wav
from triage.bench.media.codecs import encoder
from triage.bench.phones import sipp
from triage.bench.phones.baresip import RATES, PhoneSettings, free_ports
from triage.bench.sip.agent import Agent
from triage.bench.sip.ports import Call, EndReason, IncomingCall, Pcm

AGENT_TONE, CALLER_TONE, NURSE_TONE = 440, 700, 1100
"""Hz; far enough apart to be told from each other after any codec."""


def tone(hz: float, seconds: float, rate: int) -> Pcm:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


def level(pcm: Pcm, hz: float, rate: int) -> float:
    """Amplitude of one frequency, full scale 1."""
    if not len(pcm):
        return 0.0
    wave = np.exp(-2j * np.pi * hz * np.arange(len(pcm)) / rate)
    return float(abs(np.mean(pcm / 32768 * wave))) * 2


def heard_s(pcm: Pcm, hz: float, rate: int) -> float:
    """Seconds of a recording in which a tone sounds (of tenths of a second)."""
    block = rate // 10
    return sum(level(pcm[at : at + block], hz, rate) > 0.05 for at in range(0, len(pcm) - block, block)) / 10


def recording(path: Path) -> Pcm:
    """A phone's recording at 16 kHz."""
    return read_wav(path)


@asynccontextmanager
async def agent(**options: Any) -> AsyncIterator[Agent]:
    """An agent on a free port, with RTP ports that nobody else has."""
    start = 20_000 + free_ports(1)[0] % 200 * 100
    running = Agent(port=0, rtp_ports=(start, start + 98), **options)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


class Answering:
    """Takes calls as a receptionist would: rings, answers, plays a tone, keeps what it hears."""

    def __init__(self, running: Agent, *, ring_s: float = 0.0, answers: bool = True) -> None:
        self.heard: list[Pcm] = []
        self.digits = ""
        self.holds: list[bool] = []
        self.calls: asyncio.Queue[IncomingCall] = asyncio.Queue()
        self.ends: asyncio.Queue[EndReason] = asyncio.Queue()
        self._first_hold = asyncio.Event()
        self._ring_s = ring_s
        self._answers = answers
        self._jobs: set[asyncio.Future[None]] = set()
        running.on_call = self._take

    def _take(self, call: IncomingCall) -> None:
        call.on_audio = self.heard.append
        call.on_digit = self._digit
        call.on_hold = self._hold
        call.on_end = self.ends.put_nowait
        job = asyncio.ensure_future(self._serve(call))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def _digit(self, digit: str) -> None:
        self.digits += digit

    def _hold(self, held: bool) -> None:
        self.holds.append(held)
        self._first_hold.set()

    async def held(self) -> None:
        await asyncio.wait_for(self._first_hold.wait(), 10)

    async def _serve(self, call: IncomingCall) -> None:
        call.ring()
        if not self._answers:
            self.calls.put_nowait(call)
            return
        await asyncio.sleep(self._ring_s)
        if call.ended is None:
            await call.answer()
            self.calls.put_nowait(call)
            await play(call, AGENT_TONE)

    async def next_call(self) -> IncomingCall:
        return await asyncio.wait_for(self.calls.get(), 10)

    async def end(self) -> EndReason:
        return await asyncio.wait_for(self.ends.get(), 40)

    def audio(self) -> Pcm:
        return np.concatenate(self.heard) if self.heard else np.zeros(0, np.int16)


async def play(call: Call, hz: float) -> None:
    """Play a tone until the call ends."""
    rate = call.codec.rate
    wave, at = tone(hz, 1.0, rate), 0
    loop = asyncio.get_running_loop()
    due = loop.time()
    while call.ended is None:
        call.send_audio(wave[at : at + rate // 50])
        at = (at + rate // 50) % rate
        due += 0.02
        await asyncio.sleep(max(0.0, due - loop.time()))


def baresip(folder: Path, user: str, hz: float, codec: str = "PCMU", **options: bool) -> PhoneSettings:
    """A phone that says a tone for a minute."""
    home = folder / user
    home.mkdir()
    rate = RATES[codec]
    write_wav(home / "says.wav", tone(hz, 60, rate), rate=rate)
    sip_port, control_port, rtp = free_ports(3)
    rtp = 45_000 + rtp % 100 * 100
    return PhoneSettings(home, user, sip_port, control_port, (rtp, rtp + 40), home / "says.wav", codec, **options)


async def sipp_caller(scenario: sipp.Scenario, folder: Path, running: Agent, limit_s: float = 30) -> sipp.Result:
    """Ring the agent with a scenario."""
    (folder / sipp.TONE).write_bytes(encoder("PCMU").encode(tone(CALLER_TONE, 1.0, 8000)))
    port, media = free_ports(2)
    return await sipp.run(scenario, folder, port=port, media_port=media & ~1, remote=running.address, limit_s=limit_s)
