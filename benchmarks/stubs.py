"""Stages of known latency: a recogniser, a model and a voice that wait for exactly as long as they say.

What the stub voice says can be read back from a recording, sample by sample (`benchmarks.tape`), so that what was audible
is measured at the line and not taken from anybody's books. The detector is never a stub.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

import numpy as np

from triage.ports import (
    FRAME,
    RATE,
    FixedSentence,
    Frame,
    Pcm,
    ReplyRequest,
    SpeechChunk,
    SpokenWord,
    TextDelta,
    Transcript,
    Usage,
)
from triage.stages.scripted_stt import ScriptedSpeechToText

STT_MS, LLM_MS, TTS_MS = 90, 120, 80
"""Latencies of the stubs: final after the end was asked for, first token, first audio."""
MARK = 8
"""Samples at the start of a stub's sentence that carry its number."""
MARK_BASE = 2_000
"""A mark's samples are -(MARK_BASE + number)."""
NUMBERS = 28_000
"""Numbers there are; they come round again."""
PERIOD = 8_000
"""After the mark, sample i has the value i % PERIOD + 1: a sawtooth in which every sample knows its place."""
WORDS = ("we", "have", "noted", "that", "and", "now", "we", "come", "to", "the", "next", "question", "for", "you")
"""What the stub model says, again and again."""


def now() -> float:
    """Seconds on the loop's clock."""
    return asyncio.get_running_loop().time()


class StubRecogniser:
    """The scripted recogniser; finals come STT_MS after they were asked for."""

    name, local = "stub", True

    def __init__(self, *, sure: bool = True) -> None:
        """`sure`: interims carry confidence, as a vendor's do."""
        self._script = ScriptedSpeechToText(confident_interims=sure)
        self.cue = self._script.cue
        self.finals: list[int] = []
        """When each final was given out, ns."""

    async def start(self) -> None:
        """Nothing to wait for."""

    def feed(self, frame: Frame, *, voiced: bool) -> None:
        """Pass on."""
        self._script.feed(frame, voiced=voiced)

    def finish_utterance(self) -> None:
        """Pass on, late."""
        asyncio.get_running_loop().call_later(STT_MS / 1000, self._finish)

    def _finish(self) -> None:
        self.finals.append(round(now() * 1e9))
        self._script.finish_utterance()

    def transcripts(self) -> AsyncIterator[Transcript]:
        """The script's."""
        return self._script.transcripts()

    async def close(self) -> None:
        """Pass on."""
        await self._script.close()


@dataclass
class StubModel:
    """Its first two sentences come LLM_MS apart, each further one `gap_s` later; notes when work began and ended.

    (A sentence is known to be whole when the next one begins, or the reply ends.)
    """

    sentences: int = 1
    gap_s: float = 0.6
    name: str = "stub"
    local: bool = True
    work: list[tuple[float, float]] = field(default_factory=list)
    """(began, ended) of every reply, seconds."""

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[TextDelta | FixedSentence | Usage, None]:
        """One reply."""
        began = now()
        try:
            for number in range(self.sentences):
                await asyncio.sleep(self.gap_s if number > 1 else LLM_MS / 1000)
                yield TextDelta(" ".join(WORDS).capitalize() + ". ")
        finally:
            self.work.append((began, now()))

    async def close(self) -> None:
        """Nothing to free."""


@dataclass
class StubVoice:
    """A sawtooth after TTS_MS, in pieces of 100 ms, made `speed` times as fast as they play."""

    seconds: float = 0.8
    speed: float = 4.0
    sound: Pcm | None = None
    """Said instead of the sawtooth."""
    name: str = "stub"
    local: bool = True
    work: list[tuple[float, float]] = field(default_factory=list)
    """(began, ended) of every sentence, seconds."""
    spoken: dict[int, tuple[SpokenWord, ...]] = field(default_factory=dict)
    """The words of every sentence that was asked for, by number."""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def speak(self, text: str, *, language: str = "en") -> AsyncGenerator[SpeechChunk, None]:
        """One sentence; its words are spread evenly."""
        began, number = now(), next(self._numbers) % NUMBERS
        words, total = text.split(), int(self.seconds * RATE)
        times = tuple(
            SpokenWord(word, total * n // len(words), total * (n + 1) // len(words)) for n, word in enumerate(words)
        )
        self.spoken[number] = times
        sound = sawtooth(number, total) if self.sound is None else self.sound
        try:
            await asyncio.sleep(TTS_MS / 1000)
            for at in range(0, total, RATE // 10):
                yield SpeechChunk(sound[at : at + RATE // 10], times if at == 0 else ())
                await asyncio.sleep(0.1 / self.speed)
        finally:
            self.work.append((began, now()))

    async def close(self) -> None:
        """Nothing to free."""


def sawtooth(number: int, samples: int) -> Pcm:
    """Sentence `number`: its mark, then the sawtooth; no sample is zero."""
    sound = (np.arange(samples) % PERIOD + 1).astype(np.int16)
    sound[:MARK] = -(MARK_BASE + number)
    return sound


def begins(frame: Pcm) -> bool:
    """Whether a frame for the line holds the beginning of a stub's sentence."""
    if len(frame) < 2 * MARK or len(frame) > FRAME:
        return False
    marked = np.flatnonzero((frame[:-1] <= -MARK_BASE) & (frame[1:] == MARK + 1))
    return bool(len(marked))


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else float("nan")
