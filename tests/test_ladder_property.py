"""P2: whatever becomes of each rung, no person by 10 s after the final means the emergency number aloud, a page, an open line.

Whole hand-offs through the real machine, runtime, playout and simulated line in virtual time (`tests/ladders.py`):
one and two rungs exhaustively over every behaviour, three over everything that the ladder can tell apart, and drawn at
random with timings of any kind.
"""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsm.alarms import HANDOFF_UNANSWERED, URGENT_HANGUP
from fsm.states import RungKind
from tests.ladders import (
    ANSWERS,
    CLASSES,
    DROPS,
    EVERY,
    FAST,
    LATE,
    RECOGNISED_S,
    RINGS_OUT,
    SILENT,
    VOICEMAIL,
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
LONG_S = 1000.0
KINDS = (RungKind.DIAL, RungKind.REFER)


def holds(climbed: Climbed) -> None:
    """What is true of every hand-off."""
    never_two_together(climbed.steps)
    if climbed.person_s is not None and climbed.person_s <= DEADLINE_S:
        return
    if climbed.gone_s is not None and climbed.gone_s <= DEADLINE_S:
        assert len(climbed.nursing.callbacks) == 1, "gone without a nurse that we know of"
        return
    assert climbed.number_ordered_s is not None, "no person, and the number was not said"
    assert climbed.number_ordered_s <= DEADLINE_S
    if min(climbed.person_s or LONG_S, climbed.gone_s or LONG_S) > DEADLINE_S + RECOGNISED_S:
        assert climbed.number_heard_s is not None, "the number was ordered, and nobody could hear it"
        assert climbed.number_heard_s <= DEADLINE_S + TOLERANCE_S
    assert [alarm for at_s, alarm in climbed.paged if at_s <= DEADLINE_S + TOLERANCE_S].count(HANDOFF_UNANSWERED) == 1
    if climbed.person_s is None and climbed.gone_s is None:
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


@pytest.mark.slow
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
@settings(max_examples=100, deadline=None)
def test_timings_of_any_kind_keep_the_deadline(drawn: list[Rung], late_notify: bool) -> None:
    holds(climb(Ladder(tuple(drawn), late_notify=late_notify)))


def test_a_nurse_who_is_lost_again_gives_the_ladder_a_deadline_of_its_own() -> None:
    """The leg is lost 4.2 s after the finding; ten seconds later the number is said, with the line open."""
    lost_s = 4.2
    climbed = climb(Ladder((Rung(RungKind.DIAL, DROPS), Rung(RungKind.DIAL, SILENT, 15.0))), watched_s=16.0)
    never_two_together(climbed.steps)
    assert [at_s for at_s, _ in climbed.transfers][:2] == [0.0, lost_s], "the next nurse at once"
    assert climbed.number_heard_s is not None
    assert lost_s + DEADLINE_S <= climbed.number_heard_s <= lost_s + DEADLINE_S + TOLERANCE_S
    assert climbed.line_open and climbed.on_the_way


def test_without_any_target_the_number_is_said_all_the_same() -> None:
    climbed = climb(Ladder(()))
    holds(climbed)
    assert climbed.transfers == []


# --- a carrier that holds the caller, deaf to us, while it refers them


@pytest.mark.parametrize("second", EVERY, ids=lambda phone: phone.behaviour.value)
def test_a_carrier_that_silences_us_gets_no_refer_while_anybody_can_be_dialled(second: NursePhone) -> None:
    """The number would be said, and nobody would hear it."""
    for first in (FAST, RINGS_OUT, VOICEMAIL):
        rungs = (Rung(RungKind.REFER, SILENT), Rung(RungKind.DIAL, first), Rung(RungKind.REFER, second))
        climbed = climb(Ladder(rungs, media_during_refer=False, silent=False))
        holds(climbed)
        assert {target for _, target in climbed.transfers} == {"nurse-1"}


# --- a carrier that still transfers when our time for it is over


def test_a_carrier_that_still_transfers_keeps_nobody_from_a_nurse_who_can_be_dialled() -> None:
    """20 ladders: "already being transferred" is no attempt of ours, and nothing is waited for."""
    for first, second in product((SILENT, RINGS_OUT), EVERY):
        rungs = (Rung(RungKind.REFER, first), Rung(RungKind.REFER, second), Rung(RungKind.DIAL, ANSWERS))
        climbed = climb(Ladder(rungs, stubborn=True))
        holds(climbed)
        assert climbed.transfers[:3] == [(0.0, "nurse-0"), (5.0, "nurse-1"), (5.0, "nurse-2")]
        assert climbed.person_s == pytest.approx(7.2, abs=0.01)


def test_an_earlier_refer_that_succeeds_after_all_is_honoured() -> None:
    rungs = (Rung(RungKind.REFER, LATE), Rung(RungKind.REFER, FAST))
    climbed = climb(Ladder(rungs, stubborn=True))
    assert climbed.person_s == pytest.approx(6.0, abs=0.01)
    holds(climbed)


def test_of_a_stubborn_carrier_every_ladder_keeps_the_deadline() -> None:
    """121 ladders."""
    for ladder in ladders(CLASSES, 2):
        holds(climb(replace(ladder, stubborn=True)))


# --- danger again, and hanging up


def test_a_second_finding_never_transfers_again() -> None:
    """121 ladders, each with and without a graver finding 2.5 s after the first: the same transfers at the same times."""
    for ladder in ladders(CLASSES, 2):
        calm, twice = climb(ladder), climb(replace(ladder, again_s=2.5))
        holds(twice)
        assert twice.transfers == calm.transfers
        if calm.person_s is None or calm.person_s > 2.5:
            assert len(twice.nursing.packets) == len(calm.nursing.packets) + 1, "the packet is renewed"
            assert twice.number_heard_s is not None and twice.number_heard_s <= 2.5 + TOLERANCE_S


@pytest.mark.parametrize("leaves_s", [0.05, 1.0, 3.0, 11.0])
def test_who_hangs_up_before_a_nurse_had_them_is_rung_back_and_no_nurse_phone_goes_on_ringing(leaves_s: float) -> None:
    """100 ladders. The carrier may say "transferred" of a call that has ended: that is no nurse."""
    stay = tuple(option for option in CLASSES if option[1].behaviour is not Behaviour.DROPS)
    for ladder in ladders(stay, 2):
        left = climb(replace(ladder, leaves_s=leaves_s), watched_s=leaves_s + 3)
        alone = left.person_s is None or left.person_s > leaves_s
        assert len(left.nursing.callbacks) == int(alone)
        assert [alarm for _, alarm in left.paged].count(URGENT_HANGUP) == int(alone)
        assert left.pending_legs == 0, "a nurse's phone rings for nobody"
        assert all(at_s <= leaves_s for at_s, _ in left.transfers)


def test_who_was_with_a_nurse_is_not_rung_back() -> None:
    left = climb(Ladder((Rung(RungKind.DIAL, ANSWERS),), leaves_s=6.0), watched_s=8.0)
    assert left.person_s is not None and left.nursing.callbacks == [] and left.pending_legs == 0
