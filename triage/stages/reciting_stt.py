"""A recogniser that recites: it hears voice but no words, and returns the next line of a script for each utterance.

For telephone calls of the bench whose audio no local recogniser understands (8 kHz), and for many calls at a time, as it
costs nothing. The script is plain text, one utterance a line; when it is used up, every further final is empty. While the
voice lasts the words come one by one, at the pace of quick speech; the final holds the whole line. What opens the voice
gate uses up a line, be it a cough: the script must fit the caller.
"""

from collections import deque
from collections.abc import Iterable
from pathlib import Path

from triage.errors import SettingError
from triage.ports import RATE, Frame, Word
from triage.stages.told_stt import CONFIDENCE, ToldSpeechToText, tokens_of

WORD = RATE * 24 // 100
"""Samples of voice for each word of an interim."""
LONGEST_SCRIPT = 1_000_000
"""Characters."""


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
    lines = tuple(line.strip() for line in text.splitlines() if tokens_of(line))
    if not lines:
        raise SettingError(f"script {path} holds no utterance; write one a line (setting stt_script)")
    return lines


class RecitingSpeechToText(ToldSpeechToText):
    """One call's recogniser, with a script of its own."""

    name = "reciting"

    def __init__(self, script: Iterable[str] = ()) -> None:
        super().__init__()
        self._script: deque[tuple[str, ...]] = deque()
        self._voice: tuple[int, int] | None = None
        """Where the utterance's voice began, and where it was last heard."""
        self._voiced = 0
        """Samples of voice in this utterance."""
        self._said = 0
        """Words of the last interim."""
        for line in script:
            self.add(line)

    def add(self, line: str) -> None:
        """One more utterance at the end of the script."""
        if tokens := tokens_of(line):
            self._script.append(tokens)

    def feed(self, frame: Frame, *, voiced: bool) -> None:
        """Take audio in order; at most one interim comes of it."""
        self._pass(frame)
        if not voiced or self._closed:
            return
        self._voice = (self._voice[0] if self._voice else frame.start, self._position)
        self._voiced += len(frame.pcm)
        due = min(self._voiced // WORD, len(self._script[0]) if self._script else 0)
        if due > self._said:
            self._said = due
            self._say(self._script[0][:due], final=False)

    def finish_utterance(self) -> None:
        """Return the whole line where there was voice since the last final, else an empty final."""
        if self._closed:
            return
        line = self._script.popleft() if self._voice and self._script else ()
        self._say(line, final=True)
        self._voice, self._voiced, self._said = None, 0, 0

    def _say(self, tokens: tuple[str, ...], *, final: bool) -> None:
        """Words share the voice by their length."""
        start, end = self._voice or (self._began, self._began)
        letters = sum(map(len, tokens))
        words, passed = [], 0
        for token in tokens:
            at = start + (end - start) * passed // letters
            passed += len(token)
            until = start + (end - start) * passed // letters
            words.append(Word(token, CONFIDENCE if final else None, at, until))
        self._put(words, start=start, final=final)
