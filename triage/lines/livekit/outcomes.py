"""What a failed request to reach a nurse means for the attempt."""

import logging

from triage.lines.livekit.signalling import Fault, SignallingError
from triage.ports import LineSignal, SignalKind

log = logging.getLogger("triage.lines.livekit")

NOT_FOUND, GONE, BAD_REQUEST, FORBIDDEN = "404", "481", "400", "403"
"""SIP statuses that stand for what never reached SIP: no such target, no call left, a target or header that cannot be
sent, a key that is refused."""


def outcome_of(error: SignallingError, attempt: int, target: str) -> LineSignal:
    """The signal for an error of livekit-server. `target` is the name in the directory; it may stand in a log."""
    match error.kind:
        case Fault.REFUSED:
            return LineSignal(SignalKind.REFUSED, attempt, str(error.sip_status))
        case Fault.PENDING:
            return LineSignal(SignalKind.PENDING, attempt)
        case Fault.GONE:
            return LineSignal(SignalKind.REFUSED, attempt, GONE)
        case Fault.INVALID:
            log.error("nurse target %s: livekit-server does not take its address", target)
            return LineSignal(SignalKind.REFUSED, attempt, BAD_REQUEST)
        case Fault.FORBIDDEN:
            log.error("nurse target %s: livekit-server refuses our key", target)
            return LineSignal(SignalKind.REFUSED, attempt, FORBIDDEN)
    log.warning("nurse target %s: nobody says what became of the attempt", target)
    return LineSignal(SignalKind.TIMED_OUT, attempt)
