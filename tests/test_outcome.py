"""Promise: how a call ended is told as far as it is known, and never guessed."""

from dataclasses import replace

import pytest

from fsm.call import Attempt, Call, Handoff
from fsm.events import Rung
from fsm.states import Declared, RungKind
from triage.call import outcome_of

REFER = Attempt(number=1, rung=Rung(kind=RungKind.REFER, target="queue", declared=Declared.QUEUE))
DIAL = Attempt(number=2, rung=Rung(kind=RungKind.DIAL, target="nurse", declared=Declared.PERSON))


@pytest.mark.parametrize(
    ("handoff", "booked", "outcome"),
    [
        (Handoff(), False, "hung_up"),
        (Handoff(), True, "callback_booked"),
        (Handoff(open=(DIAL,)), False, "hung_up"),
        (Handoff(open=(REFER,)), False, "outcome_unknown"),
        (Handoff(open=(REFER, DIAL)), False, "outcome_unknown"),
        (Handoff(open=(REFER,), taken=1), False, "transferred"),
        (Handoff(open=(replace(REFER, person=True),), taken=1), False, "nurse_bridged"),
        (Handoff(open=(DIAL,), bridged=2), False, "nurse_bridged"),
    ],
)
def test_an_end_is_what_is_known_of_it(handoff: Handoff, booked: bool, outcome: str) -> None:
    assert outcome_of(replace(Call(), handoff=handoff), booked=booked) == outcome
