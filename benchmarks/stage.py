"""One bench call: the real call on a simulated line, with a caller who does what the bench says, and every time noted.

Times of what leaves for the caller are taken where the line has accepted it, positions are read from the recording.
"""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import classifiers
from audit.folder import AuditFolder
from benchmarks.stubs import StubModel, StubRecogniser, StubVoice, begins
from fsm import effects as fx
from fsm import events as ev
from fsm.states import RungKind, State
from triage.audio import first_sound, last_sound
from triage.call import Engines, Equipment, LiveCall, new_call_id
from triage.clips import Clip, ClipLibrary
from triage.clock import Clock
from triage.config import load as load_settings
from triage.dialogue.interview import Book
from triage.dialogue.scripted import ScriptedInterviewer
from triage.lines.impairments import Impairments
from triage.lines.nurse_phones import NursePhone
from triage.lines.simulated import SimulatedLine
from triage.ports import FRAME, RATE, Packet, Pcm
from triage.stages.silero import SileroVoiceActivity
from triage.tools import FakeTools
from triage.trace import StepTaken, Trace

Spans = Sequence[tuple[int, int]]
Plot = Callable[["BenchCall"], Coroutine[Any, Any, None]]
NS = 1_000_000_000
TO_NURSE = ("connecting_nurse", "nurse_will_talk", "emergency_first")
"""Clips whose first samples are timed at the line."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Something the caller can say."""

    name: str
    pcm: Pcm
    text: str
    """What the stub recogniser makes of it; empty for a sound without words."""


@dataclass(frozen=True, slots=True)
class Said:
    """Something the caller said; positions on the line."""

    sound: Sound
    onset: int
    """Its first 10 ms above -45 dBFS."""
    end: int
    first_word_ends: int
    """Where the stub recogniser knows the first word."""


class Caller:
    """Says what it is told, where it is told; a `simulated.Caller`."""

    def __init__(self) -> None:
        self.hung_up = False
        self._sounds: list[tuple[int, Pcm]] = []

    def place(self, sound: Sound, at: int) -> tuple[int, int]:
        """Say it from position `at` on, which has not passed; returns where its first and last sound lie."""
        self._sounds.append((at, sound.pcm))
        first, last = at + (first_sound(sound.pcm) or 0), at + (last_sound(sound.pcm) or len(sound.pcm))
        return first, last

    def hear(self, agent: Spans, nurse: Spans) -> None:
        """The bench listens instead."""

    def speak(self, start: int, length: int) -> Pcm:
        """The voice from position `start` on."""
        out = np.zeros(length, dtype=np.int16)
        for at, pcm in self._sounds:
            a, b = max(at, start), min(at + len(pcm), start + length)
            if a < b:
                out[a - start : b - start] = pcm[a - at : b - at]
        self._sounds = [(at, pcm) for at, pcm in self._sounds if at + len(pcm) > start + length]
        return out

    def pressed(self) -> list[str]:
        """No keys."""
        return []


class TimedLine(SimulatedLine):
    """Notes when it has accepted the first samples of each of our sounds."""

    now_ns: Callable[[], int]
    voice_began: list[int]
    """Times at which the beginning of a stub's sentence was accepted."""
    clip_heads: dict[bytes, str]
    clip_began: list[tuple[str, int]]
    """The same for clips, with their ids."""
    connected_ns = 0
    """Time of position 0."""

    async def connect(self) -> None:
        """Look at the clock, then pass on."""
        self.connected_ns = self.now_ns()
        await super().connect()

    def let_out(self) -> Pcm:
        """What the line has let out, before the telephone spoils it for the caller."""
        return self._agent.read(0, self._agent.end)

    def send(self, pcm: Pcm) -> None:
        """Pass on, then look at the clock."""
        super().send(pcm)
        if begins(pcm):
            self.voice_began.append(self.now_ns())
        elif (clip := self.clip_heads.get(pcm.tobytes())) is not None:
            self.clip_began.append((clip, self.now_ns()))


class Desk:
    """One nurse, by REFER."""

    def ladder(self, *, urgent: bool, media_during_refer: bool) -> tuple[ev.Rung, ...]:
        """Her."""
        return (ev.Rung(kind=RungKind.REFER, target="nurse", answer_within_s=20.0),)

    def offer(self, packet: Packet) -> None:
        """Nobody reads it."""


@dataclass
class House:
    """What the calls of one process share; the record goes to a store in a folder that is removed at the end."""

    voice: StubVoice = field(default_factory=StubVoice)
    model: StubModel = field(default_factory=StubModel)
    virtual: bool = False

    def __post_init__(self) -> None:
        self.folder = AuditFolder(Path(tempfile.mkdtemp(prefix="triage-bench-")))
        self.folder.keyring().ensure()
        self.engines = Engines(
            settings=load_settings(data=self.folder.root, env={}),
            clips=ClipLibrary.load(),
            classifier=classifiers.load(),
            model=self.model,
            scripted=ScriptedInterviewer(),
            voice=self.voice,
            writer=self.folder.open_writer(f"bench-{os.getpid()}", inline=self.virtual),
            book=Book.load(),
        )

    @property
    def clips(self) -> list[Clip]:
        """Every clip there is; reading them all costs 12 MB that a call does not need."""
        library = self.engines.clips
        return [library.clip(name) for name in library.ids]

    def close(self) -> None:
        """Close the record and remove it."""
        self.engines.writer.close()
        shutil.rmtree(self.folder.root, ignore_errors=True)


class BenchCall:
    """One call; drive it with `until` and `say`."""

    def __init__(
        self,
        house: House,
        *,
        sure: bool = True,
        impairments: Impairments | None = None,
        nurse_after_s: float = 15.0,
    ) -> None:
        self.house, self.clock, self.caller = house, Clock(), Caller()
        phones = {"nurse": NursePhone(answers_after_s=nurse_after_s)}
        self.line = TimedLine(self.clock, self.caller, phones, impairments=impairments)
        self.line.now_ns, self.line.voice_began, self.line.clip_began = self.clock.now_ns, [], []
        clips = [house.engines.clips.clip(name) for name in TO_NURSE]
        self.line.clip_heads = {clip.pcm[:FRAME].tobytes(): clip.id for clip in clips}
        self.stt = StubRecogniser(sure=sure)
        equipment = Equipment(self.line, SileroVoiceActivity.load(), self.stt, Desk(), FakeTools())
        self.live = LiveCall(new_call_id(self.clock.wall_ns()), house.engines, equipment, self.clock, [self._observe])
        self.turns_ended: list[int] = []
        """Times of the end-of-turn decisions, ns."""
        self.words_heard: list[int] = []
        self.urgent: list[tuple[int, int]] = []
        """Times at which urgency was raised, and at which its step had been carried out."""
        self.seconds = 0.0
        """How long the call has lasted."""
        self.outcome = ""
        self.over = asyncio.Event()
        self._awaited: list[tuple[Callable[[Trace], bool], asyncio.Future[Trace]]] = []

    async def carry(self, plot: "Plot") -> None:
        """Live through the call while `plot` drives the caller; hangs up when the plot ends."""
        began = self.clock.now_ns()

        async def drive() -> None:
            await plot(self)
            self.caller.hung_up = True

        driving = asyncio.ensure_future(drive())
        try:
            self.outcome = (await self.live.live()).outcome
        finally:
            self.over.set()
            self.seconds = (self.clock.now_ns() - began) / NS
            self.caller.hung_up = True
            await asyncio.gather(driving, return_exceptions=False)
            await self.line.over()

    # --- for plots

    def say(self, sound: Sound, after_s: float) -> "Said":
        """The caller says it so many seconds from now."""
        first, last = self.caller.place(sound, self.line.position() + round(after_s * RATE))
        self.stt.cue(sound.text, first, last)
        letters = [len(word) + 1 for word in sound.text.split()]
        return Said(sound, first, last, first + (last - first) * letters[0] // sum(letters) if letters else last)

    async def until(self, test: Callable[[Trace], bool], timeout_s: float = 8.0) -> Trace | None:
        """Wait for a trace; None when the time is up or the call is over."""
        future: asyncio.Future[Trace] = asyncio.get_running_loop().create_future()
        entry = (test, future)
        self._awaited.append(entry)
        over = asyncio.ensure_future(self.over.wait())
        try:
            await asyncio.wait((future, over), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            return future.result() if future.done() else None
        finally:
            over.cancel()
            if entry in self._awaited:
                self._awaited.remove(entry)

    async def reply_begins(self, timeout_s: float = 8.0) -> bool:
        """Wait until a sentence of a reply is audible."""
        before = len(self.line.voice_began)
        await self.until(lambda _: len(self.line.voice_began) > before, timeout_s)
        return len(self.line.voice_began) > before

    async def floor_is_free(self, timeout_s: float = 20.0) -> bool:
        """Wait until we have said all and listen."""
        return await self.until(lambda _: self.live.runtime.call.state is State.LISTENING, timeout_s) is not None

    @property
    def live_still(self) -> bool:
        """The call is not over."""
        return not self.over.is_set()

    # --- what was measured

    def _observe(self, trace: Trace) -> None:
        if isinstance(trace, StepTaken):
            match trace.step.event:
                case ev.TurnEnded(at_ns=at_ns) if any(isinstance(e, fx.MakeReply) for e in trace.step.effects):
                    self.turns_ended.append(at_ns)
                case ev.WordsHeard(at_ns=at_ns):
                    self.words_heard.append(at_ns)
                case ev.UrgencyRaised(at_ns=at_ns):
                    self.urgent.append((at_ns, self.clock.now_ns()))
        for entry in [entry for entry in self._awaited if entry[0](trace)]:
            self._awaited.remove(entry)
            if not entry[1].done():
                entry[1].set_result(trace)

    def overheads_ms(self, stubs_ms: float) -> list[float]:
        """First reply sample accepted by the line, less the end-of-turn decision before it, less `stubs_ms`."""
        found = []
        for ended, following in itertools.pairwise([*self.turns_ended, 1 << 63]):
            first = next((at for at in self.line.voice_began if at > ended), following)
            if first < following:
                found.append((first - ended) / 1e6 - stubs_ms)
        return found

    def at_s(self, position: int) -> float:
        """Clock seconds of an audio position, by the line."""
        return self.line.connected_ns / NS + position / RATE

    def history_words(self) -> list[str]:
        """Every word that history says the caller heard from us."""
        return [word for said in self.live.replies.history if said.speaker == "agent" for word in said.text.split()]


async def stagger(calls: Sequence[BenchCall], plot: "Plot") -> None:
    """Carry several calls at once; callers do not ring in step."""

    async def one(number: int, call: BenchCall) -> None:
        await asyncio.sleep(number * 0.37)
        await call.carry(plot)

    await asyncio.gather(*(one(number, call) for number, call in enumerate(calls)))
