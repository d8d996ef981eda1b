"""A recogniser that recites: it hears voice but no words, and returns the next line of a script for each utterance.

For telephone calls of the bench whose audio no local recogniser understands (8 kHz), and for many calls at a time, as it
costs nothing. The script is plain text, one utterance a line; when it is used up, every further final is empty. While the
voice lasts the words come one by one, at the pace of quick speech; the final holds the whole line. What opens the voice
gate uses up a line, be it a cough: the script must fit the caller.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from triage.errors import SettingError
from triage.ports import RATE, Frame, Transcript, Word

CONFIDENCE = 0.95
"""Of every word in a final."""
WORD = RATE * 24 // 100
"""Samples of voice for each word of an interim."""
LONGEST_SCRIPT = 1_000_000
"""Characters."""

_MARKS = '.,;:!?"()-'


def read_script(path: Path) -> tuple[str, ...]:
    """The utterances of a script file, in order; empty lines count for nothing.

    Raises:
        SettingError: it cannot be read, or holds no utterance; names it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST_SCRIPT)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise SettingError(f"script {path} cannot be read ({reason}); check the setting stt_script") from error
    lines = tuple(line.strip() for line in text.splitlines() if _tokens(line))
    if not lines:
        raise SettingError(f"script {path} holds no utterance; write one a line (setting stt_script)")
    return lines


class RecitingSpeechToText:
    """One call's recogniser, with a script of its own."""

    name = "reciting"
    local = True

    def __init__(self, script: Iterable[str] = ()) -> None:
        self._script: deque[tuple[str, ...]] = deque()
        self._position = 0
        self._voice: tuple[int, int] | None = None
        """Where the utterance's voice began, and where it was last heard."""
        self._voiced = 0
        """Samples of voice in this utterance."""
        self._said = 0
        """Words of the last interim."""
        self._began = 0
        self._utterance = 1
        self._out: asyncio.Queue[Transcript | None] = asyncio.Queue()
        self._closed = False
        for line in script:
            self.add(line)

    def add(self, line: str) -> None:
        """One more utterance at the end of the script."""
        if tokens := _tokens(line):
            self._script.append(tokens)

    async def start(self) -> None:
        """Nothing to wait for."""

    def feed(self, frame: Frame, *, voiced: bool) -> None:
        """Take audio in order; at most one interim comes of it."""
        if not self._position:
            self._began = frame.start
        self._position = frame.start + len(frame.pcm)
        if not voiced or self._closed:
            return
        self._voice = (self._voice[0] if self._voice else frame.start, self._position)
        self._voiced += len(frame.pcm)
        due = min(self._voiced // WORD, len(self._script[0]) if self._script else 0)
        if due > self._said:
            self._said = due
            self._out.put_nowait(self._transcript(self._script[0][:due], final=False))

    def finish_utterance(self) -> None:
        """Return the whole line where there was voice since the last final, else an empty final."""
        if self._closed:
            return
        line = self._script.popleft() if self._voice and self._script else ()
        self._out.put_nowait(self._transcript(line, final=True))
        self._voice, self._voiced, self._said = None, 0, 0
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

    def _transcript(self, tokens: tuple[str, ...], *, final: bool) -> Transcript:
        """Words share the voice by their length."""
        start, end = self._voice or (self._began, self._began)
        letters = sum(map(len, tokens))
        words, passed = [], 0
        for token in tokens:
            at = start + (end - start) * passed // letters
            passed += len(token)
            until = start + (end - start) * passed // letters
            words.append(Word(token, CONFIDENCE if final else None, at, until))
        return Transcript(
            utterance=self._utterance,
            final=final,
            text=" ".join(tokens),
            words=tuple(words),
            start=start,
            end=self._position,
        )


def _tokens(line: str) -> tuple[str, ...]:
    return tuple(token for written in line.split() if (token := written.strip(_MARKS).lower()))
