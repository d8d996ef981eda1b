"""Everything the machine remembers of one call between two events. No transcript, no clock, no library objects.

Numbers count up and are never reused: a `generation` is one reply, a `playback` one order to the playout lane, an
`attempt` one try to reach a nurse, a `token` one start of a timer. An event that carries an old number is stale.
"""

from dataclasses import dataclass, field

from fsm.events import Rung
from fsm.states import Phase, Reason, State, TimerName


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try to reach a nurse that may still come to something."""

    number: int
    rung: Rung
    held: bool = False
    """A nurse answered and was asked to accept by key."""
    person: bool = False
    """A person took it (key press or click at the desk)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Handoff:
    """The way to a nurse: why, how far, who has the caller."""

    reason: Reason | None = None
    """None: nobody was called yet."""
    urgent: bool = False
    level: str = ""
    category: str = ""
    """Empty where no assessment decided."""
    rank: int = 0
    attempts: int = 0
    """Number of the last attempt."""
    current: int = 0
    """The attempt we wait for; 0 between two rounds of the ladder."""
    open: tuple[Attempt, ...] = ()
    """Attempts that may still succeed, the current one among them; a late success is honoured."""
    rung: int = -1
    """Index of the rung tried last."""
    bridged: int = 0
    """The attempt whose nurse talks to the caller; 0: none."""
    taken: int = 0
    """The attempt by which the carrier took the caller away from us; 0: none."""
    emergency: bool = False
    """A finding was of the level that says the emergency number, and it was ordered aloud for that."""
    number_due_ns: int = 0
    """Monotonic time at which the number is said again while that timer runs."""
    clip_broke: bool = False
    """A clip failed during the hand-off; the emergency number was tried in its place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call. `state` and `phase` say where it is; the rest is what the rules need to decide."""

    state: State = State.IDLE
    phase: Phase = Phase.NEW
    ladder: tuple[Rung, ...] = ()
    urgent_ladder: tuple[Rung, ...] = ()

    turn: int = 0
    """Number of the caller's last finished turn."""
    generation: int = 0
    """Number of the last reply that was ordered."""
    alive: int = 0
    """The generation whose model or voice may be at work; 0: none."""
    reply_open: bool = False
    """More sentences of the living reply may come."""
    scripted: bool = False
    """The scripted interviewer has taken this turn already."""
    sentences: int = 0
    """Index of the next sentence of the living reply."""
    ends_call: bool = False
    """What is being said is the goodbye."""
    nurse_next: Reason | None = None
    """The dialogue's rules end at a nurse once the living reply was said."""

    playback: int = 0
    """Number of the last order to the lane."""
    said: int = 0
    """The playback ordered last, until it has been played to its end or was flushed; 0: the lane is empty."""
    reply_from: int = 0
    """First playback of the living reply; 0: none of its sentences was ordered yet."""
    clip: int = 0
    """The last playback that was a clip of ours and no sentence."""
    flushed: int = 0
    """Playbacks up to this number are gone."""
    paused: bool = False
    """The lane is held because somebody may be speaking."""
    unclear: int = 0
    """Verdicts "a voice, but no words" since the pause."""
    judged: int = 0
    """Judgements ordered since the pause."""

    silences: int = 0
    """Are-you-there prompts since the caller's last words."""
    hold: bool = False
    """The caller asked us to wait."""

    timers: tuple[tuple[TimerName, int], ...] = ()
    """Running timers with their tokens."""
    token: int = 0
    """Token of the timer started last."""

    handoff: Handoff = field(default_factory=Handoff)

    drained: bool = False
    """After the end: the last words were judged."""
    sealed: bool = False
    callback: bool = False
    """A call-back task was opened by the machine."""
    paged: tuple[str, ...] = ()
    """Alarms raised so far; each once per call."""

    def runs(self, name: TimerName) -> bool:
        """Whether this timer is running."""
        return any(running is name for running, _ in self.timers)

    def token_of(self, name: TimerName) -> int:
        """Token of the running timer of that name; 0 where none runs."""
        return next((token for running, token in self.timers if running is name), 0)
