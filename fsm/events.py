"""What can happen to a call: facts in the past tense, already judged.

Nothing here decides. Whether a sound was a word, whether words are urgent, whether a turn is over, is judged in
`triage/` and `classifiers/`; the machine only hears the verdict. Every event carries the monotonic time at which
it became known; nothing in `fsm` reads a clock. Events with a number (`turn`, `generation`, `playback`, `attempt`,
`token`) answer one order; an old number is dropped by the table, on purpose and in writing.
"""

from dataclasses import dataclass

from fsm.states import Declared, Dismissal, Reason, RungKind, TimerName


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Base of everything the machine may be told."""

    at_ns: int
    """Monotonic nanoseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """One way to reach a nurse, as the directory declares it (not an event: data of `CallConnected`)."""

    kind: RungKind
    target: str
    """Opaque name in the nurse directory; never a telephone number."""
    declared: Declared = Declared.UNKNOWN
    answer_within_s: float = 8.0
    """The line gives up after this (REFER: API timeout is one second longer)."""
    gives_person_sign: bool = False
    """The desk can tell us when a person took the call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallConnected(Event):
    """The line is up. `opening` are the prompts of the greeting, `ladder` the rungs in order for each kind of reason."""

    opening: tuple[str, ...]
    ladder: tuple[Rung, ...]
    urgent_ladder: tuple[Rung, ...]
    """Differs where the carrier cuts our audio during a REFER: then dialling comes first."""
    known: bool = False
    """A record of this call exists: its process died, this one rescues the caller."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechStarted(Event):
    """The VAD crossed its pause threshold. Not yet words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechDismissed(Event):
    """What started was no speech that counts."""

    why: Dismissal


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechUnclear(Event):
    """Answer to `JudgeSpeech`: a voice goes on and no word of it can be trusted yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WordsHeard(Event):
    """Real words (by confidence, or on the always-interrupt list). Once per utterance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnEnded(Event):
    """The caller gave up the floor, after real words."""

    turn: int
    """Counts up. The same number comes again only where the caller went on speaking (the joined turn)."""
    silent_ns: int = 0
    """Silence that had already passed when the end was decided."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UrgencyRaised(Event):
    """A final, a stretch or a tail was judged urgent."""

    level: str
    category: str
    rank: int
    """Order among waiting callers; higher goes first. `classifier_failed` ranks behind every finding."""
    clip: str
    """Prompt id for this level and category."""
    says_number: bool
    """The clip says the emergency number (level `emergency_now`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NurseNeeded(Event):
    """A nurse must take this call for a reason that is not an urgent finding."""

    reason: Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class WordlessVoiceHeard(Event):
    """Gasping, crying, choking: voice for over 2 s, or three bursts over 700 ms in 20 s, without words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyPressed(Event):
    """DTMF from the caller's leg (a nurse's digits come as `NurseAccepted`)."""

    digit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldRequested(Event):
    """The caller said "hold on": their silence is meant. Comes in place of a reply (or of `TurnEnded`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SentenceReady(Event):
    """One sentence of a reply passed the gate and may be spoken."""

    generation: int
    index: int
    text: str
    prompt: str | None = None
    """Id of the fixed wording when the sentence is one; then a rendered clip exists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplyEnded(Event):
    """The reply has no more sentences."""

    generation: int
    sentences: int
    ends_call: bool = False
    """The protocol is finished: what is being said is the goodbye."""
    nurse: Reason | None = None
    """The dialogue's rules end at a nurse (never set by a model)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlayoutStarted(Event):
    """The first sample of this playback left towards the caller."""

    playback: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PlayoutFinished(Event):
    """The lane is empty; `playback` is the last one that was audible to its end. Never sent while paused."""

    playback: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TimerFired(Event):
    """A timer came back; stale when its token is not the one in `Call`."""

    name: TimerName
    token: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EffectFailed(Event):
    """An order broke. `effect` is the order's class name; `stage` the engine (stt, llm, tts, line, store, clips)."""

    effect: str
    stage: str
    generation: int = 0
    playback: int = 0
    attempt: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferAccepted(Event):
    """The far side took the request (202, or 100 on a dialled leg)."""

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferRinging(Event):
    """A nurse phone rings."""

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferAnswered(Event):
    """The nurse side answered. On a REFER the carrier has taken the caller; on a dialled leg the nurse is held."""

    attempt: int
    takes_caller: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferRefused(Event):
    """Busy, declined, not found, out of service."""

    attempt: int
    code: int
    """SIP status; 0 when the line gave none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferTimedOut(Event):
    """No answer in time: outcome unknown, a late success remains possible."""

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferPending(Event):
    """The line says "already being transferred": the earlier attempt stands, and this one was not made; not a refusal."""

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NurseAccepted(Event):
    """A person: key press on the dialled leg, or a click at the desk."""

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NurseLegLost(Event):
    """A dialled leg ended (before or after it was bridged)."""

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NurseFinished(Event):
    """The nurse says the call is done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HungUp(Event):
    """The caller's leg ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TailDrained(Event):
    """After hang-up: the last words went through recogniser and classifier (or two seconds passed)."""
