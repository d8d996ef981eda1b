"""What stands in for parts of a call: a judge that knows two dangers, engines that misbehave, a line that notes transfers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from classifiers.assessment import Assessment, Evidence, Known
from classifiers.levels import Category, Level
from fsm import events as ev
from triage.errors import Unavailable
from triage.lines.simulated import SimulatedLine
from triage.ports import FixedSentence, ReplyRequest, SpeechChunk, TextDelta, Transcript, Usage
from triage.stages.scripted_stt import ScriptedSpeechToText


class _Judge:
    """Two dangers, by their words; nothing else is urgent."""

    _DANGERS = (
        ("not breathing", Level.EMERGENCY_NOW, Category.COLLAPSE, "emergency_first", 1000),
        ("pain in my chest", Level.NURSE_NOW, Category.CHEST, "connecting_nurse", 500),
    )

    def __init__(self) -> None:
        self.known = Known()
        self.judged: list[str] = []

    def assess(self, text: str, *, question: str = "", turn: int = 0) -> Assessment:
        self.judged.append(text)
        for words, level, category, clip, rank in self._DANGERS:
            if (at := text.lower().find(words)) >= 0:
                evidence = Evidence(start=at, end=at + len(words), text=text[at : at + len(words)])
                return Assessment(
                    level=level, category=category, score=1.0, evidence=(evidence,), rule="test", clip=clip, rank=rank
                )
        return Assessment(level=Level.ROUTINE, category=Category.NONE, score=0.0)


class TwoDangers:
    """A classifier whose rules are these tests'."""

    versions: tuple[tuple[str, str], ...] = (("rules", "test"),)

    def __init__(self) -> None:
        self.layer_faults: dict[str, int] = {}

    def begin(self) -> _Judge:
        return _Judge()


class Hanging:
    """A language model that never answers; `closed` counts the requests that were cancelled."""

    name, local = "hanging", True

    def __init__(self) -> None:
        self.asked = self.closed = 0

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[TextDelta | FixedSentence | Usage, None]:
        self.asked += 1
        try:
            await asyncio.Event().wait()
            yield TextDelta("")
        finally:
            self.closed += 1

    async def close(self) -> None: ...


class Dead:
    """A language model, or a voice, that fails at once."""

    name, local = "dead", True

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[TextDelta | FixedSentence | Usage, None]:
        raise Unavailable("llm", "down")
        yield

    async def speak(self, text: str, *, language: str = "en") -> AsyncGenerator[SpeechChunk, None]:
        raise Unavailable("tts", "down")
        yield

    async def close(self) -> None: ...


class Slow:
    """A voice (and a model) that go on for ever, a chunk at a time; they note when they were stopped."""

    name, local = "slow", True

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self.now_ns = clock or (lambda: 0)
        self.stopped_ns: list[tuple[str, int]] = []

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[TextDelta | FixedSentence | Usage, None]:
        try:
            while True:
                yield TextDelta("I am looking at what you told me. ")
                await asyncio.sleep(0.5)
        finally:
            self.stopped_ns.append(("llm", self.now_ns()))

    async def speak(self, text: str, *, language: str = "en") -> AsyncGenerator[SpeechChunk, None]:
        noise = np.random.default_rng(1)
        try:
            for _ in range(200):
                yield SpeechChunk(noise.integers(-3000, 3000, 1600).astype(np.int16))
                await asyncio.sleep(0.05)
        finally:
            self.stopped_ns.append(("tts", self.now_ns()))

    async def close(self) -> None: ...


class Deafened(ScriptedSpeechToText):
    """A scripted recogniser that dies so many seconds into the call."""

    def __init__(self, after_s: float) -> None:
        super().__init__()
        self._after_s = after_s

    async def transcripts(self) -> AsyncIterator[Transcript]:
        inner = super().transcripts()
        try:
            async with asyncio.timeout(self._after_s):
                async for transcript in inner:
                    yield transcript
        except TimeoutError:
            raise Unavailable("stt", "crashed") from None


@dataclass(frozen=True)
class Asked:
    """One transfer as the line was asked for it."""

    attempt: int
    target: str
    at: int
    """Position of the line."""
    code: str


class NotedLine(SimulatedLine):
    """Notes when transfers were asked for."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.asked: list[Asked] = []

    def transfer(self, attempt: int, rung: ev.Rung, *, code: str, timeout_s: float) -> None:
        self.asked.append(Asked(attempt, rung.target, self.position(), code))
        super().transfer(attempt, rung, code=code, timeout_s=timeout_s)
