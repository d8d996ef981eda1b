"""Stages of known latency, and a simulated caller, for measuring what is ours and nothing else.

The detector is the real Silero on real audio; recogniser, model and voice are stubs that wait for exactly as long as they
say. Everything runs on the wall clock.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import numpy as np

from triage.ports import (
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
SENTENCE = "Thank you for telling me that."


def now() -> float:
    """Seconds on the loop's clock."""
    return asyncio.get_running_loop().time()


class StubRecogniser:
    """The scripted recogniser with confident interims, as a vendor's; finals come STT_MS after they were asked for."""

    name, local = "stub", True

    def __init__(self) -> None:
        self._script = ScriptedSpeechToText(confident_interims=True)
        self.cue = self._script.cue

    async def start(self) -> None:
        """Nothing to wait for."""

    def feed(self, frame: Frame, *, voiced: bool) -> None:
        """Pass on."""
        self._script.feed(frame, voiced=voiced)

    def finish_utterance(self) -> None:
        """Pass on, late."""
        asyncio.get_running_loop().call_later(STT_MS / 1000, self._script.finish_utterance)

    def transcripts(self) -> "AsyncGenerator[Transcript, None]":
        """The script's."""
        return self._script.transcripts()  # type: ignore[return-value]

    async def close(self) -> None:
        """Pass on."""
        await self._script.close()


@dataclass
class StubModel:
    """Says one sentence after LLM_MS; notes when work began and ended."""

    name: str = "stub"
    local: bool = True
    ended: list[float] = field(default_factory=list)
    sentences: int = 1

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[TextDelta | FixedSentence | Usage, None]:
        """One reply."""
        try:
            for _ in range(self.sentences):
                await asyncio.sleep(LLM_MS / 1000)
                yield TextDelta(SENTENCE + " ")
        finally:
            self.ended.append(now())

    async def close(self) -> None:
        """Nothing to free."""


@dataclass
class StubVoice:
    """A steady tone after TTS_MS, in pieces of 100 ms made four times faster than they play."""

    seconds: float = 0.8
    name: str = "stub"
    local: bool = True
    ended: list[float] = field(default_factory=list)

    async def speak(self, text: str, *, language: str = "en") -> AsyncGenerator[SpeechChunk, None]:
        """One sentence; words are spread evenly."""
        try:
            await asyncio.sleep(TTS_MS / 1000)
            words = text.split()
            total = int(self.seconds * RATE)
            times = tuple(
                SpokenWord(word, total * n // len(words), total * (n + 1) // len(words)) for n, word in enumerate(words)
            )
            tone = tone_of(total)
            for at in range(0, total, RATE // 10):
                yield SpeechChunk(tone[at : at + RATE // 10], times if at == 0 else ())
                await asyncio.sleep(0.025)
        finally:
            self.ended.append(now())

    async def close(self) -> None:
        """Nothing to free."""


def tone_of(samples: int) -> Pcm:
    """A tone that no sample of which is zero for long: silence in a recording is a gap of ours."""
    n = np.arange(samples)
    return (6000 * np.sin(2 * np.pi * 220 * n / RATE)).astype(np.int16)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))] if ordered else float("nan")


def line_of(name: str, values: list[float], limit: str, unit: str = "ms") -> str:
    """One row of a report."""
    if not values:
        return f"{name:<44} n=0"
    return (
        f"{name:<44} n={len(values):<4} p50 {percentile(values, 0.5):7.1f}  p95 {percentile(values, 0.95):7.1f}"
        f"  max {max(values):7.1f} {unit}   (aim {limit})"
    )


Watcher = Callable[[object], None]
