"""Shared by the tests of lines: sounds that can be told apart, and a watched simulated call."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from fsm.events import Rung
from fsm.states import RungKind
from triage.clock import NS, Clock
from triage.demo.patient import Cue, Patient, Utterance
from triage.lines.simulated import SimulatedLine
from triage.ports import FRAME, RATE, Frame, LineSignal, Pcm


def noise(seconds: float, seed: int, db: float = -20.0) -> Pcm:
    """White noise: every piece of it is unlike every other."""
    samples = np.random.default_rng(seed).normal(0, 32768 * 10 ** (db / 20), round(seconds * RATE))
    return np.clip(samples, -32768, 32767).astype(np.int16)


def tone(hertz: float, seconds: float, db: float = -12.0) -> Pcm:
    samples = np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    pcm: Pcm = (samples * np.sqrt(2) * 32768 * 10 ** (db / 20)).astype(np.int16)
    return pcm


def found(needle: Pcm, hay: Pcm) -> list[int]:
    """Every position at which `needle` stands in `hay`, sample by sample."""
    first = np.flatnonzero(hay[: max(0, len(hay) - len(needle) + 1)] == needle[0])
    return [int(at) for at in first if np.array_equal(hay[at : at + len(needle)], needle)]


def quiet_caller(*deeds: Utterance) -> Patient:
    return Patient(deeds, patience_s=3600)


def says(pcm: Pcm, at_s: float, text: str = "words") -> Utterance:
    return Utterance(pcm=pcm, text=text, cue=Cue.AT, delay_s=at_s)


class Call:
    """A connected line, and what it gave with the (virtual) second at which it came."""

    def __init__(self, line: SimulatedLine, clock: Clock) -> None:
        self.line, self.clock = line, clock
        self.start_ns = clock.now_ns()
        self.frames: list[tuple[float, Frame]] = []
        self.signals: list[tuple[float, LineSignal]] = []
        self.frames_ended = self.signals_ended = False

    def seconds(self) -> float:
        """Since this call began."""
        return (self.clock.now_ns() - self.start_ns) / NS

    def kinds(self, attempt: int) -> list[str]:
        return [str(signal.kind) for _, signal in self.signals if signal.attempt == attempt]

    def transfer(self, attempt: int, kind: RungKind, target: str = "nurse", timeout_s: float = 9.0) -> None:
        self.line.transfer(attempt, Rung(kind=kind, target=target), code=f"c{attempt}", timeout_s=timeout_s)

    async def play(self, pcm: Pcm) -> None:
        """Send whole frames in real time, from now on; returns when the last one was sent."""
        for at in range(0, len(pcm), FRAME):
            self.line.send(pcm[at : at + FRAME])
            await asyncio.sleep(FRAME / RATE)

    async def _frames(self) -> None:
        async for frame in self.line.frames():
            self.frames.append((self.seconds(), frame))
        self.frames_ended = True

    async def _signals(self) -> None:
        async for signal in self.line.signals():
            self.signals.append((self.seconds(), signal))
        self.signals_ended = True


@asynccontextmanager
async def call(caller: Patient | Sequence[Utterance] = (), **line: Any) -> AsyncIterator[Call]:
    """A connected call; closed at the end."""
    clock = Clock()
    who = caller if isinstance(caller, Patient) else quiet_caller(*caller)
    watched = Call(SimulatedLine(clock, who, **line), clock)
    await watched.line.connect()
    readers = [asyncio.ensure_future(watched._frames()), asyncio.ensure_future(watched._signals())]
    try:
        yield watched
    finally:
        await watched.line.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*readers)
