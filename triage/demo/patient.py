"""The simulated patient: says what the script says when its cue comes, presses keys, hangs up.

The patient lives on the line's own time, in samples, and hears what the caller's ear gets: when the agent speaks and
when a nurse does. Which words those are the patient does not know, unless the demo says which prompt began and ended
(`heard_prompt`); then questions are answered by their prompt id, and everything else by the script's order.

Rules, in the order in which they are asked whenever the patient is not speaking:

1. told goodbye: hang up; also when nothing at all was heard or said for `patience_s`, and when a nurse has spoken, the
   script is over and it has been quiet for `farewell_s`;
2. an answer whose prompt has ended (with `over`: has begun) is given `delay_s` later, once the agent is quiet
   (with `over`: at once); of several questions the last one is answered; answers may be used again and again, and
   several answers to one prompt are given in turn, the last one for ever;
3. else the next utterance of the script, when its cue has come; one that waits for the agent's silence lets the question
   go first, the others do not wait for anybody's question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from triage.audio import first_sound, last_sound
from triage.ports import RATE, Pcm

NEW_SPELL = RATE // 5
"""Samples (200 ms) of quiet after which speech counts as having begun anew."""
KEY_GAP = RATE // 8
"""Samples between two key presses."""


class Cue(StrEnum):
    """When an utterance begins; `delay_s` counts from the moment named here."""

    QUIET = "quiet"  # the agent fell silent, having spoken since the last utterance
    OVER = "over"  # the agent began to speak, or began anew, since the last utterance; the patient talks over it
    AT = "at"  # the call was connected
    PROMPT = "prompt"  # the prompt named by `on_prompt`; the same as giving `on_prompt` alone
    NURSE = "nurse"  # the nurse fell silent, having spoken since the last utterance
    AFTER = "after"  # the patient's own previous utterance ended (no pause: 0)


def _no_sound() -> Pcm:
    return np.zeros(0, dtype=np.int16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One thing the patient does. Without sound it may still be keys, or hanging up."""

    pcm: Pcm = field(default_factory=_no_sound)
    text: str = ""
    """The words in it; empty for a cough."""
    cue: Cue = Cue.QUIET
    delay_s: float = 0.6
    on_prompt: str | None = None
    """This is the answer to that prompt, not part of the script's order."""
    over: bool = False
    """An answer that does not wait for the prompt's end."""
    keys: str = ""
    """DTMF, pressed when the sound is over."""
    hang_up: bool = False
    """Ends the call after this."""
    confidence: float = 0.95
    """What a scripted recogniser shall report for its words."""

    @property
    def is_answer(self) -> bool:
        """Given whenever its prompt asks for it."""
        return self.on_prompt is not None


Listener = Callable[[str, int, int, float], None]
"""Told when an utterance's audio begins: text, first and last position of its sound, confidence."""


class Patient:
    """One simulated caller; the line drives it, frame by frame."""

    def __init__(
        self,
        script: Sequence[Utterance],
        *,
        patience_s: float = 30.0,
        farewell_s: float = 2.0,
        goodbyes: Sequence[str] = ("goodbye",),
        goodbye_delay_s: float = 0.4,
        listener: Listener | None = None,
    ) -> None:
        """`goodbyes` are the prompt ids after whose end the patient hangs up.

        Raises:
            ValueError: an utterance has the cue `prompt` and names none.
        """
        if any(item.cue is Cue.PROMPT and not item.is_answer for item in script):
            raise ValueError("an utterance with the cue 'prompt' names no prompt; give it on_prompt")
        self._script = [item for item in script if not item.is_answer]
        self._answers: dict[str, list[Utterance]] = {}
        for item in script:
            if item.on_prompt is not None:
                self._answers.setdefault(item.on_prompt, []).append(item)
        self._patience = round(patience_s * RATE)
        self._farewell = round(farewell_s * RATE)
        self._goodbyes = frozenset(goodbyes)
        self._goodbye_delay = round(goodbye_delay_s * RATE)
        self.listener = listener
        """May be set until the first utterance begins."""
        self.said: list[tuple[str, int, int]] = []
        """Every utterance begun: text, and the first and last position of its sound."""
        self.hung_up = False
        """The patient has put the phone down."""
        self._position = 0
        self._agent = _Voice()
        self._nurse = _Voice()
        self._next = 0
        self._speaking: Utterance | None = None
        self._began = 0
        self._free_since = 0
        self._asked: tuple[Utterance, int] | None = None
        self._given: dict[str, int] = {}
        self._leaves_at: int | None = None
        self._keys: list[tuple[int, str]] = []

    # --- what reaches the patient

    def heard_prompt(self, prompt: str, what: str) -> None:
        """The demo saw a prompt begin (`started`) or end (`finished`) at the caller's ear."""
        answers = self._answers.get(prompt)
        if answers:
            answer = answers[min(self._given.get(prompt, 0), len(answers) - 1)]
            if what == ("started" if answer.over else "finished"):
                self._asked = (answer, self._position)
        if what == "finished" and prompt in self._goodbyes:
            self._leaves_at = self._position + self._goodbye_delay

    def hear(self, agent: Sequence[tuple[int, int]], nurse: Sequence[tuple[int, int]]) -> None:
        """Where, within the coming frame, the agent and the nurse are audible; (start, end) positions in order."""
        for start, end in agent:
            self._agent.hear(start, end)
        for start, end in nurse:
            self._nurse.hear(start, end)

    # --- what comes from the patient

    def speak(self, start: int, length: int) -> Pcm:
        """The patient's voice from position `start` on; every position is asked for once, in order."""
        out = np.zeros(length, dtype=np.int16)
        at, end = start, start + length
        while at < end and not self.hung_up:
            if self._speaking is None:
                begins = self._begin(at, end)
                if begins is None:
                    break
                at = begins
            at = self._say(out, start, at, end)
        self._position = end
        return out

    def pressed(self) -> list[str]:
        """Keys pressed up to now, each returned once."""
        ready = [key for at, key in self._keys if at <= self._position]
        self._keys = [(at, key) for at, key in self._keys if at > self._position]
        return ready

    # --- inside

    def _begin(self, at: int, end: int) -> int | None:
        """Decide what comes next within [at, end); returns where it begins."""
        if self._leaves(end):
            self.hung_up = True
            return None
        due_next = [deed for deed in (self._due_script(), self._due_answer()) if deed is not None]
        if not due_next:
            return None
        utterance, due = min(due_next, key=lambda deed: deed[1])
        if due >= end:
            return None
        begins = max(at, due)
        if utterance.is_answer:
            prompt = utterance.on_prompt or ""
            self._given[prompt] = self._given.get(prompt, 0) + 1
        else:
            self._next += 1
        self._asked = None
        self._speaking, self._began = utterance, begins
        if len(utterance.pcm):
            first = begins + (first_sound(utterance.pcm) or 0)
            last = begins + (last_sound(utterance.pcm) or len(utterance.pcm))
            self.said.append((utterance.text, first, last))
            if self.listener is not None:
                self.listener(utterance.text, first, last, utterance.confidence)
        return begins

    def _say(self, out: Pcm, start: int, at: int, end: int) -> int:
        """Write the current utterance into [at, end); returns where it stopped."""
        utterance = self._speaking
        assert utterance is not None
        pcm = utterance.pcm[at - self._began : end - self._began]
        out[at - start : at - start + len(pcm)] = pcm
        at += len(pcm)
        if at >= self._began + len(utterance.pcm):
            self._speaking = None
            self._free_since = at
            self._agent.forget(at)
            self._nurse.forget(at)
            self._keys += [(at + number * KEY_GAP, key) for number, key in enumerate(utterance.keys)]
            if utterance.hang_up:
                self._leaves_at = at
        return at

    def _leaves(self, end: int) -> bool:
        if self._keys:
            return False
        if self._leaves_at is not None:
            return self._leaves_at < end
        quiet_since = max(self._free_since, self._agent.last_end, self._nurse.last_end)
        if self._nurse.ever and self._next >= len(self._script) and end - quiet_since > self._farewell:
            return True
        return end - quiet_since > self._patience

    def _due_answer(self) -> tuple[Utterance, int] | None:
        if self._asked is None:
            return None
        answer, since = self._asked
        if not answer.over:
            since = max(since, self._agent.last_end)
        return answer, since + round(answer.delay_s * RATE)

    def _due_script(self) -> tuple[Utterance, int] | None:
        if self._next >= len(self._script):
            return None
        utterance = self._script[self._next]
        if utterance.cue is Cue.QUIET and self._asked is not None:
            return None  # the question goes first
        since = {
            Cue.QUIET: self._agent.fell_silent,
            Cue.OVER: self._agent.began,
            Cue.AT: 0,
            Cue.NURSE: self._nurse.fell_silent,
            Cue.AFTER: self._free_since,
        }.get(utterance.cue)
        return None if since is None else (utterance, since + round(utterance.delay_s * RATE))


class _Voice:
    """When one party was heard, since the patient's last utterance ended."""

    def __init__(self) -> None:
        self.ever = False
        self.last_end = 0
        """Just after the last audible sample; 0 before the first."""
        self.began: int | None = None
        """Where it began to speak, or began anew."""
        self.fell_silent: int | None = None
        """Just after its last sample; moves on while it speaks."""

    def hear(self, start: int, end: int) -> None:
        if not self.ever or start - self.last_end >= NEW_SPELL:
            self.began = start
        self.ever = True
        self.last_end = self.fell_silent = end

    def forget(self, at: int) -> None:
        """What was heard before `at` is no cue any more."""
        if self.began is not None and self.began < at:
            self.began = None
        if self.last_end <= at:
            self.fell_silent = None
