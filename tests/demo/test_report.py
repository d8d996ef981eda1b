"""Promise: the report compares what came with what was expected, counts what was judged, and prints measured figures only."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.demo import recorded
from triage.demo.call_log import CallLog
from triage.demo.report import Ending, compare, counted, percentile, print_report, summarised
from triage.demo.scenario import Expectation, Scenario
from triage.trace import CallClosed

SCENARIO = Scenario.model_validate(
    {"schema": 1, "name": "chest", "title": "Chest", "expect": {"outcome": ["nurse_bridged"]}}
)
WHOLE = Ending(call_id="call-1", files={"audio": Path("/d/call.wav")}, verified="41 records, chain whole")


@pytest.fixture
def log() -> CallLog:
    kept = CallLog()
    for trace in recorded.chest_call():
        kept.observe(trace)
    return kept


def printed(log: CallLog, ending: Ending = WHOLE, scenario: Scenario = SCENARIO) -> tuple[bool, str]:
    out = io.StringIO()
    right = print_report(Console(file=out, width=80), scenario, log, ending, allowance_ms=280)
    return right, out.getvalue()


def test_the_log_counts_pauses_interruptions_and_resumptions(log: CallLog) -> None:
    assert (log.pauses, log.interruptions, log.resumed) == (2, 1, 1)
    assert log.heard_prompts == ["greeting", "connecting_nurse"]
    assert log.reasons == ["urgent"]


@pytest.mark.parametrize(
    "right",
    [
        {"outcome": ["transferred", "nurse_bridged"]},
        {"level": "nurse_now", "category": "chest", "reason": "urgent"},
        {"heard": ["greeting", "connecting_nurse"], "unheard": ["apology"]},
        {"call_back": True},
        {"interruptions": 1, "resumed_at_least": 1, "paged": ["audit_store"]},
        {},
    ],
)
def test_what_came_as_expected_is_right(right: dict[str, object], log: CallLog) -> None:
    rows = compare(Expectation.model_validate(right), log)
    assert len(rows) == len(right)
    assert all(row.right for row in rows)


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": ["callback_booked"]},
        {"level": "emergency_now"},
        {"category": "stroke"},
        {"reason": "silent"},
        {"heard": ["connecting_nurse", "greeting"]},
        {"unheard": ["greeting"]},
        {"interruptions": 2},
        {"resumed_at_least": 2},
        {"paged": ["urgent_hangup"]},
        {"call_back": False},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_each_expectation_can_fail(wrong: dict[str, object], log: CallLog) -> None:
    (row,) = compare(Expectation.model_validate(wrong), log)
    assert not row.right
    scenario = SCENARIO.model_copy(update={"expect": Expectation.model_validate(wrong)})
    right, text = printed(log, scenario=scenario)
    assert not right and "NOT as expected" in text


def test_counts_that_do_not_agree_fail_the_call(log: CallLog) -> None:
    assert counted(log).right
    assert log.closed is not None
    log.closed = CallClosed(at_ns=0, call_id="c", outcome="nurse_bridged", counts={"finals": 2, "assessments": 1})
    assert not counted(log).right
    assert not printed(log)[0]


@pytest.mark.parametrize("took", [[], [10_001.0]], ids=["none", "late"])
def test_a_summary_that_is_missing_or_late_fails_the_call(took: list[float], log: CallLog) -> None:
    assert summarised(log).right
    log.measured["summary"] = took
    assert not summarised(log).right
    assert not printed(log)[0]


def test_a_call_that_never_closed_fails() -> None:
    assert not counted(CallLog()).right
    assert not printed(CallLog())[0]


def test_a_record_that_does_not_verify_fails_the_call(log: CallLog) -> None:
    right, text = printed(log, Ending(call_id="call-1", verify_error="record 17 was altered"))
    assert not right and "NOT VERIFIED  record 17 was altered" in text


def test_files_verification_and_the_way_back_are_named(log: CallLog) -> None:
    right, text = printed(log)
    assert right
    for words in ("/d/call.wav", "verified  41 records, chain whole", "triage replay call-1", "t_answered"):
        assert words in text, words
    assert "triage nurse open" not in text
    assert (
        "triage nurse open the-code" in printed(log, Ending(call_id="call-1", verified="3 records", code="the-code"))[1]
    )


def test_the_lines_allowance_is_added_to_what_the_caller_hears_only(log: CallLog) -> None:
    _, text = printed(log)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["nurse_handoff"][1:] == ["1", "1900.0", "1900.0", "1900.0", "2180.0"]
    assert rows["clip_audible"][1:] == ["1", "5.0", "5.0", "5.0"]


def test_an_interrupted_call_is_not_compared(log: CallLog) -> None:
    right, text = printed(log, Ending(call_id="c", verified="3 records", interrupted=True))
    assert right and "interrupted" in text and "as expected" not in text


def test_percentiles_are_measured_values() -> None:
    assert percentile([3.0], 0.95) == 3.0
    assert [percentile([1.0, 2.0, 3.0, 4.0], p) for p in (0.5, 0.95)] == [2.0, 4.0]


def test_false_pauses_are_reported_per_call_minute() -> None:
    log = CallLog(began_ns=0, ended_ns=120_000_000_000, pauses=5, resumed=3)
    _, text = printed(log)
    assert "pauses of our speech 5, of these for nothing 3 (1.5 per call-minute)" in text
