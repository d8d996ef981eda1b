"""A recogniser that is told what will be said, and says it back at the audio's own times.

For callers whom the local engine cannot follow: 8 kHz, noise, echo, someone who never pauses. The simulated patient
cues each utterance when its audio begins; every word is heard when its share of that audio has passed. What the voice
detector thinks changes nothing here: this is a stand-in for a recogniser that hears well.
"""

import asyncio
from collections.abc import AsyncIterator

from triage.ports import Frame, Transcript, Word

CONFIDENCE = 0.95
"""Confidence of a cued word unless its cue says otherwise."""

_MARKS = '.,;:!?"()-'


class ScriptedSpeechToText:
    """Interims word by word, a final for each `finish_utterance()`; what was not yet said belongs to the next one."""

    name = "scripted"
    local = True

    def __init__(self, *, confident_interims: bool = False) -> None:
        """`confident_interims`: interims carry the cue's confidence too, as some vendors' do; else None."""
        self._confident_interims = confident_interims
        self._to_come: list[Word] = []
        self._heard: list[Word] = []
        self._position = 0
        self._began = 0
        self._utterance = 1
        self._out: asyncio.Queue[Transcript | None] = asyncio.Queue()
        self._closed = False

    async def start(self) -> None:
        """Nothing to wait for."""

    def cue(self, text: str, start_sample: int, end_sample: int, confidence: float = CONFIDENCE) -> None:
        """An utterance's speech lies between these positions; each word takes its share by length.

        Words come without capitals and marks. An empty text is a sound without words (a cough): nothing is heard of it.
        """
        tokens = [token for written in text.split() if (token := written.strip(_MARKS).lower())]
        letters = sum(len(token) + 1 for token in tokens)
        start = passed = 0
        for token in tokens:
            passed += len(token) + 1
            end = (end_sample - start_sample) * passed // letters
            self._to_come.append(Word(token, confidence, start_sample + start, start_sample + end))
            start = end
        self._to_come.sort(key=lambda word: word.end)

    def feed(self, frame: Frame, *, voiced: bool) -> None:
        """Let the frame's time pass; at most one interim comes of it."""
        if not self._position:
            self._began = frame.start
        self._position = frame.start + len(frame.pcm)
        passed = 0
        while passed < len(self._to_come) and self._to_come[passed].end <= self._position:
            passed += 1
        if passed and not self._closed:
            self._heard += self._to_come[:passed]
            del self._to_come[:passed]
            self._out.put_nowait(self._transcript(final=False))

    def finish_utterance(self) -> None:
        """Return a final of the words whose time has passed, be it in the middle of a cue."""
        if self._closed:
            return
        self._out.put_nowait(self._transcript(final=True))
        self._heard = []
        self._utterance += 1
        self._began = self._position

    async def transcripts(self) -> AsyncIterator[Transcript]:
        """Interims and finals in order; ends after close()."""
        while (transcript := await self._out.get()) is not None:
            yield transcript

    async def close(self) -> None:
        """End the stream after what is already in it."""
        if not self._closed:
            self._closed = True
            self._out.put_nowait(None)

    def _transcript(self, *, final: bool) -> Transcript:
        words = tuple(
            word if final or self._confident_interims else Word(word.text, None, word.start, word.end)
            for word in self._heard
        )
        return Transcript(
            utterance=self._utterance,
            final=final,
            text=" ".join(word.text for word in words),
            words=words,
            start=words[0].start if words else self._began,
            end=self._position,
        )
