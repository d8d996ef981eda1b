"""Promise: slow producers, late loops and broken lines cost the lane no sample, and what breaks is told once."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fsm.events import EffectFailed, Event, PlayoutStarted
from tests.lanes import MANY, Bench, speech
from tests.virtual import in_virtual_time
from triage.clock import NS, Clock
from triage.playout import LEAD, SAMPLE_NS, Playout
from triage.ports import FRAME, RATE


@in_virtual_time
async def test_a_slow_producer_makes_a_gap_and_goes_on_at_once() -> None:
    bench = Bench()
    bench.lane.open(1, text="slow")
    bench.lane.append(2, speech(2, 500), text="waits")
    await asyncio.sleep(0.1)
    assert not bench.line.sent
    for piece in range(4):
        arrives = bench.line.position()
        bench.lane.extend(1, speech(1, 800)[piece * 200 : piece * 200 + 200])
        assert bench.line.sent[-1][0] == arrives
        await asyncio.sleep(0.1)
    bench.lane.finish(1)
    await asyncio.sleep(0.1)
    assert np.array_equal(bench.line.out(), np.concatenate((speech(1, 800), speech(2, 500))))
    assert bench.kinds() == [("PlayoutStarted", 1), ("PlayoutStarted", 2), ("PlayoutFinished", 2)]


@in_virtual_time
async def test_a_producer_that_is_just_fast_enough_makes_no_gap() -> None:
    bench = Bench()
    bench.lane.open(1, text="steady")
    for piece in range(50):
        bench.lane.extend(1, speech(1, 50 * FRAME)[piece * FRAME : (piece + 1) * FRAME])
        await asyncio.sleep(0.017)
    bench.lane.finish(1)
    await asyncio.sleep(1)
    times = bench.line.times()
    assert times == list(range(50 * FRAME))


class LateClock(Clock):
    """A loop that is busy with something else: timers fire late."""

    late_ns = 0

    def call_at_ns(self, at_ns: int, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        return super().call_at_ns(at_ns + self.late_ns, callback, *args)


@in_virtual_time
async def test_a_loop_that_is_a_little_late_makes_no_gap() -> None:
    clock = LateClock()
    clock.late_ns = (LEAD - 1) * SAMPLE_NS
    bench = Bench(clock=clock)
    bench.lane.append(1, speech(1, RATE), text="late")
    await asyncio.sleep(2)
    assert bench.line.times() == list(range(RATE))


@in_virtual_time
async def test_after_a_stall_there_is_no_burst() -> None:
    clock = LateClock()
    bench = Bench(clock=clock)
    bench.lane.append(1, speech(1, RATE), text="stalled")
    await asyncio.sleep(0.1)
    clock.late_ns = NS // 5
    await asyncio.sleep(0.1)
    clock.late_ns = 0
    await asyncio.sleep(2)
    assert np.array_equal(bench.line.out(), speech(1, RATE))
    assert bench.line.deepest <= FRAME + LEAD
    gaps = np.diff(bench.line.times())
    assert sum(gaps > 1) == 1


@in_virtual_time
async def test_a_line_that_takes_nothing_is_reported_once_and_loses_nothing() -> None:
    bench = Bench()
    bench.line.broken = 5
    bench.lane.append(3, speech(3, RATE), text="anyway", generation=8)
    await asyncio.sleep(2)
    assert [event for event in bench.events if isinstance(event, EffectFailed)] == [
        EffectFailed(at_ns=0, effect="Play", stage="line", playback=3, generation=8)
    ]
    assert np.array_equal(bench.line.out(), speech(3, RATE))


@in_virtual_time
async def test_an_error_in_the_pacing_ends_its_task_and_cancelling_ends_the_pacing() -> None:
    bench = Bench()

    def explode(event: Event) -> None:
        raise ArithmeticError(type(event).__name__)

    lane = Playout(bench.line, bench.clock, explode)
    task = asyncio.ensure_future(lane.run())
    lane.open(1, text="")
    with pytest.raises(ArithmeticError, match="PlayoutStarted"):
        lane.extend(1, speech(1, FRAME))
    lane.finish(1)
    with pytest.raises(ArithmeticError, match="PlayoutFinished"):
        await task

    other = Bench()
    task = asyncio.ensure_future(other.lane.run())
    await asyncio.sleep(0)
    other.lane.append(1, speech(1, RATE), text="cut short")
    task.cancel()
    await asyncio.sleep(2)
    other.lane.append(2, speech(2, RATE), text="nobody")
    await asyncio.sleep(2)
    assert len(other.line.out()) == FRAME


@in_virtual_time
async def test_whoever_hears_of_a_start_may_flush_and_append_at_once() -> None:
    """The machine steps inside the lane's own call; what it orders there must be carried out right away."""
    bench = Bench()

    def react(event: Event) -> None:
        bench.events.append(event)
        if event == PlayoutStarted(at_ns=event.at_ns, playback=2):
            lane.flush()
            lane.append(3, speech(3, RATE), text="instead")

    lane = Playout(bench.line, bench.clock, react)
    lane.append(1, speech(1, 1000), text="first")
    lane.append(2, speech(2, RATE), text="second")
    await asyncio.sleep(3)
    out, times = bench.line.out(), np.array(bench.line.times())
    assert set(out // MANY) == {1, 3}
    third = times[out // MANY == 3]
    assert third.tolist() == list(range(third[0], third[0] + RATE))
    assert bench.line.deepest <= FRAME + LEAD
    assert bench.kinds()[-1] == ("PlayoutFinished", 3)
