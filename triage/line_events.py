"""What a line reports, as events of the machine. The one place where the two vocabularies meet."""

from fsm import events as ev
from triage.ports import LineSignal, SignalKind


def event_of(signal: LineSignal, at_ns: int) -> ev.Event:
    """The event for this signal, stamped `at_ns` (monotonic)."""
    attempt = signal.attempt
    match signal.kind:
        case SignalKind.KEY:
            return ev.KeyPressed(at_ns=at_ns, digit=signal.value)
        case SignalKind.HUNG_UP:
            return ev.HungUp(at_ns=at_ns)
        case SignalKind.ACCEPTED:
            return ev.TransferAccepted(at_ns=at_ns, attempt=attempt)
        case SignalKind.RINGING:
            return ev.TransferRinging(at_ns=at_ns, attempt=attempt)
        case SignalKind.ANSWERED:
            return ev.TransferAnswered(at_ns=at_ns, attempt=attempt, takes_caller=signal.takes_caller)
        case SignalKind.REFUSED:
            status = signal.value if signal.value.isascii() and signal.value.isdigit() else "0"
            return ev.TransferRefused(at_ns=at_ns, attempt=attempt, code=int(status))
        case SignalKind.TIMED_OUT:
            return ev.TransferTimedOut(at_ns=at_ns, attempt=attempt)
        case SignalKind.PENDING:
            return ev.TransferPending(at_ns=at_ns, attempt=attempt)
        case SignalKind.NURSE_KEY:
            return ev.NurseAccepted(at_ns=at_ns, attempt=attempt)
        case SignalKind.NURSE_LOST:
            return ev.NurseLegLost(at_ns=at_ns, attempt=attempt)
        case SignalKind.NURSE_DONE:
            return ev.NurseFinished(at_ns=at_ns)
