"""Everything one call told its observers, kept for the report at its end."""

from dataclasses import dataclass, field

from fsm import effects as fx
from fsm import events as ev
from fsm.states import State
from triage.trace import (
    Assessed,
    CallbackOpened,
    CallClosed,
    HandoffClock,
    Heard,
    Measured,
    PacketMade,
    Paged,
    Said,
    StepTaken,
    Trace,
)


@dataclass(slots=True)
class CallLog:
    """Observer that forgets nothing and judges nothing."""

    steps: int = 0
    states: list[State] = field(default_factory=list)
    """Each state entered, in order."""
    finals: list[Heard] = field(default_factory=list)
    assessed: list[Assessed] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    """Prompt ids ordered by themselves, in order."""
    measured: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds by name."""
    marks: list[HandoffClock] = field(default_factory=list)
    packets: list[PacketMade] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """Why nurses were called for, first reason first."""
    paged: list[str] = field(default_factory=list)
    callbacks: list[CallbackOpened] = field(default_factory=list)
    interruptions: int = 0
    """Times our speech was cancelled by real words."""
    pauses: int = 0
    resumed: int = 0
    """Times our speech paused for nothing and went on."""
    closed: CallClosed | None = None
    began_ns: int | None = None
    """Of the first trace; None before."""
    ended_ns: int = 0
    """Of the newest trace."""

    @property
    def minutes(self) -> float:
        """Length of the call so far."""
        return (self.ended_ns - (self.began_ns or 0)) / 60e9

    def observe(self, trace: Trace) -> None:
        """Take one trace."""
        self.began_ns = trace.at_ns if self.began_ns is None else self.began_ns
        self.ended_ns = max(self.ended_ns, trace.at_ns)
        match trace:
            case StepTaken():
                self._step(trace)
            case Heard() if trace.transcript.final:
                self.finals.append(trace)
            case Assessed():
                self.assessed.append(trace)
            case Said():
                self.said.append(trace)
            case Measured():
                self.measured.setdefault(trace.name, []).append(trace.ms)
            case HandoffClock():
                self.marks.append(trace)
            case PacketMade():
                self.packets.append(trace)
            case Paged():
                self.paged.append(trace.alarm)
            case CallbackOpened():
                self.callbacks.append(trace)
            case CallClosed():
                self.closed = trace
            case _:
                pass

    def _step(self, trace: StepTaken) -> None:
        step = trace.step
        self.steps += 1
        if step.before.state is not step.after.state or not self.states:
            self.states.append(step.after.state)
        flushed = any(isinstance(effect, fx.FlushPlayout) for effect in step.effects)
        if flushed and isinstance(step.event, ev.WordsHeard | ev.TurnEnded):
            self.interruptions += 1
        for effect in step.effects:
            match effect:
                case fx.PausePlayout():
                    self.pauses += 1
                case fx.ResumePlayout():
                    self.resumed += 1
                case fx.Play():
                    self.ordered.extend(effect.prompts)
                case fx.SendPacket() if effect.reason.value not in self.reasons:
                    self.reasons.append(effect.reason.value)
                case _:
                    pass

    @property
    def heard_prompts(self) -> list[str]:
        """Prompts of which the caller heard at least a word, in order."""
        return [said.prompt for said in self.said if said.prompt and said.text]

    @property
    def urgent(self) -> Assessed | None:
        """The verdict that decided: the first urgent one that was raised."""
        return next((a for a in self.assessed if a.assessment.urgent and not a.suppressed), None)
