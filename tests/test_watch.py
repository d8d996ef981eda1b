"""Promise: slow turns, every slow hand-off, and a broken classifier or stage wake somebody, once per call."""

from pathlib import Path

import pytest

from classifiers.assessment import Assessment
from classifiers.levels import Category, Level
from fsm import effects as fx
from fsm import events as ev
from fsm.call import Call
from fsm.machine import Step
from fsm.states import Reason, State
from triage import watch
from triage.latencies import ENOUGH, SharedWindow
from triage.trace import Assessed, Measured, StepTaken, Trace


def took(name: str, ms: float) -> Measured:
    return Measured(at_ns=0, name=name, ms=ms)


def verdict(category: Category, took_us: int) -> Assessed:
    found = Assessment(level=Level.NURSE_NOW, category=category, score=1.0)
    return Assessed(at_ns=0, kind="final", text="", assessment=found, turn=1, took_us=took_us)


def called_for(reason: Reason) -> StepTaken:
    order = fx.SendPacket(reason=reason, level="", category="", rank=0)
    call = Call(state=State.HANDOFF)
    return StepTaken(at_ns=0, step=Step(call, ev.HungUp(at_ns=0), call, (order,)))


def test_a_slow_p95_is_paged_and_the_line_counts() -> None:
    for allowance, expected in ((0.0, []), (280.0, [watch.TURN_TAKING_P95])):
        paged: list[str] = []
        observe = watch.Watch().observer(paged.append, allowance_ms=allowance)
        for _ in range(ENOUGH):
            observe(took("turn_taking", 800.0))
        assert paged == expected


def test_a_few_slow_turns_are_no_p95() -> None:
    paged: list[str] = []
    observe = watch.Watch().observer(paged.append)
    for _ in range(ENOUGH - 1):
        observe(took("turn_taking", 5000.0))
    assert paged == []


def test_the_window_goes_over_calls_and_each_call_is_paged_once() -> None:
    watching, paged = watch.Watch(), []
    for call in range(4):
        alarms: list[str] = []
        observe = watching.observer(alarms.append)
        for _ in range(10):
            observe(took("turn_taking", 1100.0))
        paged.append((call, alarms))
    assert [len(alarms) for _, alarms in paged] == [0, 1, 1, 1]


def test_processes_that_share_windows_page_together(tmp_path: Path) -> None:
    paged: list[str] = []
    for _ in range(ENOUGH):  # as many processes, each with one call of one slow turn
        watching = watch.Watch(SharedWindow(tmp_path / "turns"), SharedWindow(tmp_path / "handoffs"))
        watching.observer(paged.append)(took("turn_taking", 1100.0))
    assert paged == [watch.TURN_TAKING_P95]


def test_every_single_slow_handoff_is_paged() -> None:
    paged: list[str] = []
    watching = watch.Watch()
    for ms in (2400.0, 3000.0, 2999.0):
        watching.observer(paged.append)(took("nurse_handoff", ms))
    assert paged == [watch.NURSE_HANDOFF_SLOW]


def test_handoffs_near_the_limit_are_paged_as_a_p95() -> None:
    paged: list[str] = []
    observe = watch.Watch().observer(paged.append)
    for _ in range(ENOUGH):
        observe(took("nurse_handoff", 2600.0))
    assert paged == [watch.NURSE_HANDOFF_P95]


@pytest.mark.parametrize(
    ("trace", "alarm"),
    [
        (verdict(Category.CLASSIFIER_FAILED, 10), watch.CLASSIFIER_FAILED),
        (verdict(Category.CHEST, 50_000), watch.CLASSIFIER_SLOW),
        (called_for(Reason.STAGE_FAILED), watch.STAGE_FAILED),
        (called_for(Reason.NO_REPLY), watch.STAGE_FAILED),
    ],
)
def test_what_broke_is_paged(trace: Trace, alarm: str) -> None:
    paged: list[str] = []
    watch.Watch().observer(paged.append)(trace)
    assert paged == [alarm]


def test_an_ordinary_call_wakes_nobody() -> None:
    paged: list[str] = []
    observe = watch.Watch().observer(paged.append)
    for trace in (
        verdict(Category.CHEST, 900),
        called_for(Reason.URGENT),
        took("turn_taking", 9000.0),
        took("tts", 1e6),
    ):
        observe(trace)
    assert paged == []
