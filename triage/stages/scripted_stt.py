"""A recogniser that is told what will be said, and says it back at the audio's own times.

For callers whom the local engine cannot follow: 8 kHz, noise, echo, someone who never pauses. The simulated patient
cues each utterance when its audio begins; every word is heard when its share of that audio has passed. What the voice
detector thinks changes nothing here: this is a stand-in for a recogniser that hears well.
"""

from triage.ports import Frame, Word
from triage.stages.told_stt import CONFIDENCE, ToldSpeechToText, tokens_of


class ScriptedSpeechToText(ToldSpeechToText):
    """Interims word by word, a final for each `finish_utterance()`; what was not yet said belongs to the next one."""

    name = "scripted"

    def __init__(self, *, confident_interims: bool = False) -> None:
        """`confident_interims`: interims carry the cue's confidence too, as some vendors' do; else None."""
        super().__init__()
        self._confident_interims = confident_interims
        self._to_come: list[Word] = []
        self._heard: list[Word] = []

    def cue(self, text: str, start_sample: int, end_sample: int, confidence: float = CONFIDENCE) -> None:
        """An utterance's speech lies between these positions; each word takes its share by length.

        Words come without capitals and marks. An empty text is a sound without words (a cough): nothing is heard of it.
        """
        tokens = tokens_of(text)
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
        self._pass(frame)
        passed = 0
        while passed < len(self._to_come) and self._to_come[passed].end <= self._position:
            passed += 1
        if passed and not self._closed:
            self._heard += self._to_come[:passed]
            del self._to_come[:passed]
            self._say(final=False)

    def finish_utterance(self) -> None:
        """Return a final of the words whose time has passed, be it in the middle of a cue."""
        if self._closed:
            return
        self._say(final=True)
        self._heard = []

    def _say(self, *, final: bool) -> None:
        words = [
            word if final or self._confident_interims else Word(word.text, None, word.start, word.end)
            for word in self._heard
        ]
        self._put(words, start=words[0].start if words else self._began, final=final)
