"""Promise: what a transfer is said to have become is what happened, whatever comes in whatever order; it is said once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.bench.sip.ports import Accepted, Done, Late, Progress, TransferEvent, TransferOutcome
from triage.bench.sip.refer import Answered, CallEnded, Happening, Notified, TimeUp, TransferState, step

O = TransferOutcome  # noqa: E741 a column heading
ACCEPTED, TRYING, RINGING = Answered(202, "Accepted"), Notified(100, "Trying"), Notified(180, "Ringing")
UP = Notified(200, "OK")


def run(happenings: list[Happening]) -> list[TransferEvent]:
    state, events = TransferState(), list[TransferEvent]()
    for happening in happenings:
        state, new = step(state, happening)
        events += new
    return events


TABLE: dict[str, tuple[list[Happening], list[TransferEvent]]] = {
    "a nurse answers": (
        [ACCEPTED, TRYING, RINGING, UP],
        [Accepted(202), Progress(100, "Trying"), Progress(180, "Ringing"), Done(O.TRANSFERRED, 200, "OK")],
    ),
    "the NOTIFY overtakes the 202": (
        [TRYING, ACCEPTED, UP],
        [Progress(100, "Trying"), Accepted(202), Done(O.TRANSFERRED, 200, "OK")],
    ),
    "even the last NOTIFY overtakes the 202": ([UP, ACCEPTED], [Accepted(202), Done(O.TRANSFERRED, 200, "OK")]),
    "the last NOTIFY overtakes a refusal": ([UP, Answered(603, "Decline")], [Done(O.REFUSED, 603, "Decline")]),
    "200 accepts as 202 does": ([Answered(200, "OK"), UP], [Accepted(200), Done(O.TRANSFERRED, 200, "OK")]),
    "busy": ([ACCEPTED, Notified(486, "Busy Here")], [Accepted(202), Done(O.FAILED, 486, "Busy Here")]),
    "another 2xx is no success": ([ACCEPTED, Notified(202, "Hm")], [Accepted(202), Done(O.FAILED, 202, "Hm")]),
    "refused": ([Answered(403, "Forbidden")], [Done(O.REFUSED, 403, "Forbidden")]),
    "another 2xx is no acceptance": ([Answered(204, "No")], [Done(O.REFUSED, 204, "No")]),
    "no word after the 202": ([ACCEPTED, TimeUp()], [Accepted(202), Done(O.TIMED_OUT, None, "")]),
    "no answer at all": ([TimeUp()], [Done(O.TIMED_OUT, None, "")]),
    "a nurse answers too late": (
        [ACCEPTED, TimeUp(), UP],
        [Accepted(202), Done(O.TIMED_OUT, None, ""), Late(200, "OK")],
    ),
    "ringing goes on too late": ([ACCEPTED, TimeUp(), RINGING], [Accepted(202), Done(O.TIMED_OUT, None, "")]),
    "hung up while it rings": (
        [ACCEPTED, RINGING, CallEnded()],
        [Accepted(202), Progress(180, "Ringing"), Done(O.ENDED_BEFORE_RESULT, None, "")],
    ),
    "hung up before any answer": ([CallEnded(), ACCEPTED], [Done(O.ENDED_BEFORE_RESULT, None, "")]),
    "the call ends after success": ([ACCEPTED, UP, CallEnded()], [Accepted(202), Done(O.TRANSFERRED, 200, "OK")]),
    "a second 202": ([ACCEPTED, ACCEPTED, UP], [Accepted(202), Done(O.TRANSFERRED, 200, "OK")]),
    "a late 202": ([TimeUp(), ACCEPTED], [Done(O.TIMED_OUT, None, "")]),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_is_reported(name: str) -> None:
    happenings, expected = TABLE[name]
    assert run(happenings) == expected


STATUS = st.sampled_from([100, 180, 199, 200, 202, 204, 302, 403, 486, 503, 603])
HAPPENING = st.one_of(
    st.builds(Answered, STATUS, st.just("")),
    st.builds(Notified, STATUS, st.just("")),
    st.just(CallEnded()),
    st.just(TimeUp()),
)


@given(st.lists(HAPPENING, max_size=12))
def test_one_decision_at_most_and_nothing_but_late_news_after_it(happenings: list[Happening]) -> None:
    events = run(happenings)
    decisions = [i for i, event in enumerate(events) if isinstance(event, Done)]
    assert len(decisions) <= 1
    assert sum(isinstance(event, Accepted) for event in events) <= 1
    if decisions:
        assert all(isinstance(event, Late) for event in events[decisions[0] + 1 :])
    elif any(isinstance(h, CallEnded | TimeUp) for h in happenings):
        pytest.fail("undecided although the call or the time ended")


@given(st.lists(HAPPENING, max_size=12))
def test_each_decision_has_its_reason(happenings: list[Happening]) -> None:
    done = next((event for event in run(happenings) if isinstance(event, Done)), None)
    if done is None:
        return
    finals = {h.status for h in happenings if isinstance(h, Notified) and h.status >= 200}
    answers = {h.status for h in happenings if isinstance(h, Answered) and h.status >= 200}
    match done.outcome:
        case O.TRANSFERRED:
            assert 200 in finals and answers & {200, 202}
        case O.FAILED:
            assert done.status in finals - {200} and answers & {200, 202}
        case O.REFUSED:
            assert done.status in answers - {200, 202}
        case O.TIMED_OUT:
            assert TimeUp() in happenings and done.status is None
        case O.ENDED_BEFORE_RESULT:
            assert CallEnded() in happenings and done.status is None


@given(st.lists(HAPPENING, max_size=12), st.lists(HAPPENING, max_size=4))
def test_what_comes_later_changes_nothing_that_was_reported(first: list[Happening], more: list[Happening]) -> None:
    before = run(first)
    assert run(first + more)[: len(before)] == before
