"""P2: whatever becomes of each rung, no person by 10 s after the final means the emergency number aloud, a page, an open line.

Whole hand-offs through the real machine, runtime, playout and simulated line in virtual time (`tests/ladders.py`):
one and two rungs exhaustively over every behaviour, three over everything that the ladder can tell apart, and drawn at
random with timings of any kind.
"""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsm.alarms import HANDOFF_UNANSWERED
from fsm.states import RungKind
from tests.ladders import (
    CLASSES,
    EVERY,
    Climbed,
    Ladder,
    Rung,
    climb,
    never_two_together,
)
from triage.lines.nurse_phones import Behaviour, NursePhone

DEADLINE_S = 10.0
TOLERANCE_S = 0.05
"""Two frames and a timer's grain: what the deadline may be late at the caller's ear."""
KINDS = (RungKind.DIAL, RungKind.REFER)


def holds(climbed: Climbed) -> None:
    """What is true of every hand-off."""
    never_two_together(climbed.steps)
    if climbed.person_s is not None and climbed.person_s <= DEADLINE_S:
        return
    assert climbed.number_heard_s is not None, "no person, and the number was not said"
    assert climbed.number_heard_s <= DEADLINE_S + TOLERANCE_S
    assert [alarm for at_s, alarm in climbed.paged if at_s <= DEADLINE_S + TOLERANCE_S].count(HANDOFF_UNANSWERED) == 1
    if climbed.person_s is None:
        assert climbed.line_open, "the caller was put down"
        assert climbed.on_the_way, "nobody is being called any more"


def ladders(options: tuple[tuple[RungKind, NursePhone], ...], rungs: int) -> list[Ladder]:
    return [Ladder(tuple(Rung(*rung) for rung in some)) for some in product(options, repeat=rungs)]


@pytest.mark.parametrize("rungs", [1, 2])
def test_every_behaviour_on_every_rung_keeps_the_deadline(rungs: int) -> None:
    """20 and 400 ladders: ten behaviours, dialled or by REFER."""
    tried = ladders(tuple(product(KINDS, EVERY)), rungs)
    assert len(tried) == 20**rungs
    for ladder in tried:
        holds(climb(ladder))


def test_three_rungs_of_everything_that_can_be_told_apart_keep_the_deadline() -> None:
    """1,331 ladders."""
    tried = ladders(CLASSES, 3)
    assert len(tried) == 11**3
    for ladder in tried:
        holds(climb(ladder))


phones = st.builds(
    NursePhone,
    st.sampled_from(Behaviour),
    accepted_after_s=st.floats(0.01, 5),
    rings_after_s=st.floats(0.01, 6),
    answers_after_s=st.floats(0.05, 20),
    key_after_s=st.floats(0.05, 20),
    drops_after_s=st.floats(0.05, 5),
)
rungs = st.builds(Rung, st.sampled_from(RungKind), phones, st.floats(1, 15))


@given(st.lists(rungs, min_size=1, max_size=3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_timings_of_any_kind_keep_the_deadline(drawn: list[Rung], late_notify: bool) -> None:
    holds(climb(Ladder(tuple(drawn), late_notify=late_notify)))


def test_without_any_target_the_number_is_said_all_the_same() -> None:
    climbed = climb(Ladder(()))
    holds(climbed)
    assert climbed.transfers == []
