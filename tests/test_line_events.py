"""Promise: whatever a line reports becomes exactly one event of the machine, with every number it carried."""

import dataclasses

import pytest

from fsm import events as ev
from triage.line_events import event_of
from triage.ports import LineSignal, SignalKind

EXPECTED = {
    SignalKind.KEY: ev.KeyPressed(at_ns=5, digit="486"),
    SignalKind.HUNG_UP: ev.HungUp(at_ns=5),
    SignalKind.ACCEPTED: ev.TransferAccepted(at_ns=5, attempt=3),
    SignalKind.RINGING: ev.TransferRinging(at_ns=5, attempt=3),
    SignalKind.ANSWERED: ev.TransferAnswered(at_ns=5, attempt=3, takes_caller=True),
    SignalKind.REFUSED: ev.TransferRefused(at_ns=5, attempt=3, code=486),
    SignalKind.TIMED_OUT: ev.TransferTimedOut(at_ns=5, attempt=3),
    SignalKind.PENDING: ev.TransferPending(at_ns=5, attempt=3),
    SignalKind.NURSE_KEY: ev.NurseAccepted(at_ns=5, attempt=3),
    SignalKind.NURSE_LOST: ev.NurseLegLost(at_ns=5, attempt=3),
    SignalKind.NURSE_DONE: ev.NurseFinished(at_ns=5),
}


@pytest.mark.parametrize("kind", SignalKind)
def test_every_signal_has_its_event(kind: SignalKind) -> None:
    assert event_of(LineSignal(kind, 3, "486", takes_caller=True), 5) == EXPECTED[kind]


def test_a_held_leg_does_not_take_the_caller() -> None:
    event = event_of(LineSignal(SignalKind.ANSWERED, 1), 0)
    assert dataclasses.asdict(event)["takes_caller"] is False


@pytest.mark.parametrize("value", ["", "0", "busy", "4xx"])
def test_a_refusal_without_a_readable_status_is_a_refusal_all_the_same(value: str) -> None:
    event = event_of(LineSignal(SignalKind.REFUSED, 2, value), 0)
    assert isinstance(event, ev.TransferRefused) and event.code == 0 and event.attempt == 2
