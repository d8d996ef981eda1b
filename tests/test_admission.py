"""Promise: a worker takes a call while there is room for it, says why when there is none, and never refuses the first for a busy machine."""

import pytest

from triage.admission import MB, Admission
from triage.config import load

PLENTY = 8000 * MB


def admission(cpu: float = 0.1, free: int = PLENTY, **settings: str) -> Admission:
    made = Admission(load(env={f"TRIAGE_{k.upper()}": v for k, v in settings.items()}), cpu=lambda: cpu, free_bytes=lambda: free)  # fmt: skip
    for _ in range(40):
        made.measure()
    return made


def test_calls_are_taken_up_to_the_setting() -> None:
    made = admission(worker_calls="3")
    assert [bool(made.headroom(calls).refusal) for calls in range(5)] == [False, False, False, True, True]
    assert "worker_calls" in made.headroom(3).refusal


def test_calls_that_ring_together_count_before_they_begin() -> None:
    made = admission(worker_calls="2")
    made.took("a")
    assert not made.headroom(0).refusal
    made.took("b")
    assert made.promised == ["a", "b"] and made.headroom(0).refusal
    made.begun("a")
    assert not made.headroom(0).refusal, "one came to nothing"
    assert made.headroom(1).refusal, "or is in progress now"


def test_a_busy_processor_refuses_a_further_call_but_not_the_first() -> None:
    made = admission(cpu=1.0)
    assert not made.headroom(0).refusal
    assert "worker_cpu_limit" in made.headroom(1).refusal


def test_one_busy_moment_refuses_nobody() -> None:
    readings = [0.2] * 40 + [1.0]
    made = Admission(load(env={}), cpu=lambda: readings.pop(0), free_bytes=lambda: PLENTY)
    for _ in range(41):
        made.measure()
    assert not made.headroom(1).refusal


def test_a_limit_of_one_switches_the_processor_off() -> None:
    assert not admission(cpu=1.0, worker_cpu_limit="1").headroom(1).refusal


@pytest.mark.parametrize("calls", [0, 1])
def test_too_little_memory_refuses_every_call(calls: int) -> None:
    assert "worker_free_memory_mb" in admission(free=100 * MB).headroom(calls).refusal


def test_the_load_told_to_others_is_the_share_of_calls_and_full_when_refusing() -> None:
    made = admission(worker_calls="4")
    assert [made.headroom(calls).load for calls in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert admission(free=0).headroom(1).load == 1.0


def test_the_figures_are_one_line() -> None:
    assert str(admission(cpu=0.5).headroom(1)) == "1 of 4 calls, CPU 50%, 8000 MB free"


def test_a_worker_that_ends_takes_no_further_call() -> None:
    made = admission()
    made.ending = True
    assert made.headroom(0).refusal == "the worker ends"
