"""What a running call tells those who watch it: terminal, report, metrics, tests. Plain data, never read back.

Observers are called synchronously from the call's loop and must not wait or raise; a raising observer is removed.
Traces may carry the caller's words (the demo shows them); nothing here is a log line.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from classifiers.assessment import Assessment
from fsm.machine import Step
from triage.ports import Packet, Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Base; `at_ns` is the call's monotonic clock."""

    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken(Trace):
    """The machine decided."""

    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard(Trace):
    """The recogniser returned an interim or final."""

    transcript: Transcript
    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed(Trace):
    """A final, stretch or tail was judged, or raised by the second opinion."""

    kind: str
    """final, stretch, tail or second_opinion."""
    text: str
    assessment: Assessment
    turn: int
    took_us: int
    suppressed: str = ""
    """Why an urgent verdict was not raised (echo); empty when it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said(Trace):
    """A playback ended: how much of it was audible."""

    playback: int
    text: str
    """The audible words."""
    ordered: str
    """All words that were ordered."""
    prompt: str | None
    cut_off: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Trace):
    """One latency."""

    name: str
    """vad, end_of_turn, stt_final, reply, tts, turn_taking, first_sound, barge_in_pause, barge_in_stop, clip_audible, refer_sent,
    nurse_handoff, nurse_person, summary."""
    ms: float
    turn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffClock(Trace):
    """One mark of the hand-off clock."""

    mark: str
    """t_word_end, t_final, t_assessed, t_clip_audible, t_refer_sent, t_refer_accepted, t_ringing, t_answered, t_person."""
    source: str
    """own clock, carrier, desk."""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketMade(Trace):
    """The nurse's packet was made or renewed."""

    packet: Packet


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged(Trace):
    """An alarm was raised."""

    alarm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackOpened(Trace):
    """A task: somebody must ring this caller."""

    reason: str
    level: str
    within_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Trace):
    """Anything else worth a line on the screen, in fixed wording."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallClosed(Trace):
    """The record is sealed."""

    call_id: str
    outcome: str
    """nurse_bridged, transferred, outcome_unknown, callback_booked, hung_up, failed."""
    counts: dict[str, int] = field(default_factory=dict)
    """finals, stretches, tails, assessments, pauses, false_pauses, records."""


Observer = Callable[[Trace], None]
