"""Promise: the hand-off clock holds what somebody reported, and nothing that nobody did."""

import pytest

from triage.handoff.clock import HandoffTimes, Mark, Source

MS = 1_000_000


def test_an_urgent_hand_off_from_the_word_to_the_person() -> None:
    times = HandoffTimes()
    for mark, ms, source in (
        (Mark.WORD_END, 600, Source.OWN_CLOCK),
        (Mark.FINAL, 1_000, Source.OWN_CLOCK),
        (Mark.CLIP_AUDIBLE, 1_012, Source.OWN_CLOCK),
        (Mark.REFER_SENT, 1_005, Source.OWN_CLOCK),
        (Mark.ANSWERED, 2_200, Source.CARRIER),
        (Mark.PERSON, 5_000, Source.DESK),
    ):
        assert times.mark(mark, ms * MS, source)
    assert times.handoff_ms == 1_200.0
    assert times.person_ms == 4_000.0
    assert times.source(Mark.ANSWERED) is Source.CARRIER
    assert times.missing == (Mark.ASSESSED, Mark.REFER_ACCEPTED, Mark.RINGING)
    assert dict(times.stages_ms())["t_answered"] == pytest.approx(1_195.0)


def test_what_nobody_reported_is_not_known() -> None:
    times = HandoffTimes()
    assert times.handoff_ms is None
    assert times.get(Mark.RINGING) is None
    assert times.source(Mark.RINGING) is Source.NONE
    assert not times.mark(Mark.RINGING, 5, Source.NONE), "a moment without a witness is no moment"
    assert times.get(Mark.RINGING) is None


def test_without_an_urgent_final_there_is_no_hand_off_figure() -> None:
    times = HandoffTimes()
    times.mark(Mark.REFER_SENT, 1, Source.OWN_CLOCK)
    times.mark(Mark.ANSWERED, 2, Source.CARRIER)
    times.mark(Mark.PERSON, 3, Source.DESK)
    assert (times.handoff_ms, times.person_ms) == (None, None)


def test_the_first_mark_of_a_name_stands() -> None:
    times = HandoffTimes()
    assert times.mark(Mark.REFER_SENT, 10, Source.OWN_CLOCK)
    assert not times.mark(Mark.REFER_SENT, 99, Source.OWN_CLOCK)
    marked = times.get(Mark.REFER_SENT)
    assert marked is not None
    assert marked.at_ns == 10


def test_marks_come_out_in_their_order_however_they_came_in() -> None:
    times = HandoffTimes()
    for mark in reversed(Mark):
        times.mark(mark, list(Mark).index(mark), Source.OWN_CLOCK)
    assert [marked.mark for marked in times.marked] == list(Mark)
    assert times.missing == ()
