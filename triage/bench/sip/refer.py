"""What becomes of a REFER: a pure function over the answer, the NOTIFYs, the end of the call and the time.

No sockets, no clock: `step` takes what happened and returns the new state and what to report. Rules:

- 200 and 202 accept; any other final answer refuses, and that ends it.
- The first NOTIFY can be handled before the 202 (they cross): a provisional one is reported at once, a final one is
  kept until the REFER has been accepted.
- Exactly 200 in a NOTIFY is success. Every other final status, other 2xx too, is failure.
- A subscription that is terminated with a provisional status decides nothing; the real service waits on too.
- Time and the call's end decide what is undecided. Nothing changes a decision; after TIMED_OUT a result is only noted.
"""

from dataclasses import dataclass, replace

from triage.bench.sip.ports import Accepted, Done, Late, Progress, TransferEvent, TransferOutcome


@dataclass(frozen=True, slots=True)
class Answered:
    """The REFER got a final answer."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Notified:
    """A NOTIFY brought a status line."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is over, whoever ended it."""


@dataclass(frozen=True, slots=True)
class TimeUp:
    """The time for a result has passed, or the REFER was never answered."""


Happening = Answered | Notified | CallEnded | TimeUp


@dataclass(frozen=True, slots=True)
class TransferState:
    """Where one transfer stands."""

    accepted: bool = False
    early: Notified | None = None
    """A final NOTIFY that came before the answer to the REFER."""
    done: Done | None = None


Stepped = tuple[TransferState, tuple[TransferEvent, ...]]


def step(state: TransferState, happening: Happening) -> Stepped:
    """Return the state after `happening`, and what is to be reported, in order."""
    if state.done is not None:
        return _after(state, happening)
    match happening:
        case Answered(status, reason):
            return _answered(state, status, reason)
        case Notified(status, reason) if status < 200:
            return state, (Progress(status, reason),)
        case Notified() if state.accepted:
            return _decided(state, _result(happening))
        case Notified():
            return replace(state, early=state.early or happening), ()
        case CallEnded():
            return _decided(state, Done(TransferOutcome.ENDED_BEFORE_RESULT, None, ""))
        case TimeUp():
            return _decided(state, Done(TransferOutcome.TIMED_OUT, None, ""))


def _answered(state: TransferState, status: int, reason: str) -> Stepped:
    if status < 200 or state.accepted:
        return state, ()
    if status not in (200, 202):
        return _decided(state, Done(TransferOutcome.REFUSED, status, reason))
    state = replace(state, accepted=True)
    if state.early is None:
        return state, (Accepted(status),)
    state, events = _decided(state, _result(state.early))
    return state, (Accepted(status), *events)


def _result(final: Notified) -> Done:
    outcome = TransferOutcome.TRANSFERRED if final.status == 200 else TransferOutcome.FAILED
    return Done(outcome, final.status, final.reason)


def _decided(state: TransferState, done: Done) -> Stepped:
    return replace(state, done=done), (done,)


def _after(state: TransferState, happening: Happening) -> Stepped:
    timed_out = state.done is not None and state.done.outcome is TransferOutcome.TIMED_OUT
    if timed_out and isinstance(happening, Notified) and happening.status >= 200:
        return state, (Late(happening.status, happening.reason),)
    return state, ()
