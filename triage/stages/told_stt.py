"""What the recognisers share that are told the words instead of hearing them: where the audio stands, and what goes out."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from triage.ports import Frame, Transcript, Word

CONFIDENCE = 0.95
"""Of a word in a final, unless it is told otherwise."""

_MARKS = '.,;:!?"()-'


def tokens_of(line: str) -> tuple[str, ...]:
    """The words as a recogniser writes them: without capitals and marks."""
    return tuple(token for written in line.split() if (token := written.strip(_MARKS).lower()))


class ToldSpeechToText:
    """One call's audio position and its stream of transcripts; which words are heard when is for the subclass to say."""

    local = True

    def __init__(self) -> None:
        self._position = 0
        """End of the audio so far."""
        self._began = 0
        """Where the audio of this utterance began."""
        self._utterance = 1
        self._out: asyncio.Queue[Transcript | None] = asyncio.Queue()
        self._closed = False

    async def start(self) -> None:
        """Nothing to wait for."""

    async def transcripts(self) -> AsyncIterator[Transcript]:
        """Interims and finals in order; ends after close()."""
        while (transcript := await self._out.get()) is not None:
            yield transcript

    async def close(self) -> None:
        """End the stream after what is already in it."""
        if not self._closed:
            self._closed = True
            self._out.put_nowait(None)

    def _pass(self, frame: Frame) -> None:
        """The frame's time passes."""
        if not self._position:
            self._began = frame.start
        self._position = frame.start + len(frame.pcm)

    def _put(self, words: Sequence[Word], *, start: int, final: bool) -> None:
        """Send this out; after a final the next utterance begins."""
        self._out.put_nowait(
            Transcript(
                utterance=self._utterance,
                final=final,
                text=" ".join(word.text for word in words),
                words=tuple(words),
                start=start,
                end=self._position,
            )
        )
        if final:
            self._utterance += 1
            self._began = self._position
