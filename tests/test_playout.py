"""Promise: what is appended to the lane leaves in order, without a gap and without a burst, and its end is told when it was audible."""

import asyncio

import numpy as np

from fsm.events import PlayoutStarted
from tests.lanes import MS, Bench, FastLine, SlowLine, TickingLine, speech, words
from tests.virtual import in_virtual_time
from triage.playout import LEAD, SAMPLE_NS
from triage.ports import FRAME, RATE


@in_virtual_time
async def test_an_idle_lane_starts_at_once_whatever_the_grid_was() -> None:
    bench = Bench()
    for number, wait in enumerate((0.0, 0.0131, 0.5007), start=1):
        await asyncio.sleep(wait)
        at = bench.clock.now_ns()
        bench.lane.append(number, speech(number, 100), text="hm")
        assert bench.events[-1] == PlayoutStarted(at_ns=at, playback=number)
        assert bench.line.sent[-1][0] == bench.line.position()
        await asyncio.sleep(0.1)


@in_virtual_time
async def test_ten_seconds_come_out_without_a_gap_and_never_more_than_a_frame_ahead() -> None:
    bench = Bench()
    await asyncio.sleep(0.00713)
    bench.lane.append(1, speech(1, 10 * RATE), text="long")
    await asyncio.sleep(11)
    assert np.array_equal(bench.line.out(), speech(1, 10 * RATE))
    times = bench.line.times()
    assert times == list(range(times[0], times[0] + 10 * RATE))
    assert bench.line.deepest <= FRAME + LEAD
    assert len(bench.line.sent) == 10 * RATE // FRAME


@in_virtual_time
async def test_a_line_with_a_grid_of_its_own_gets_everything_without_a_gap() -> None:
    for phase in (0.0, 0.003, 0.0199):
        bench = Bench(line=TickingLine)
        await asyncio.sleep(phase)
        bench.lane.append(1, speech(1, 5 * RATE), text="long")
        await asyncio.sleep(6)
        times = bench.line.times()
        assert np.array_equal(bench.line.out(), speech(1, 5 * RATE))
        assert times == list(range(times[0], times[0] + 5 * RATE))
        assert bench.line.deepest <= 2 * FRAME
        assert bench.kinds()[-1] == ("PlayoutFinished", 1)


@in_virtual_time
async def test_a_line_with_a_slower_clock_is_not_flooded() -> None:
    bench = Bench(line=SlowLine)
    bench.lane.append(1, speech(1, 20 * RATE), text="long")
    await asyncio.sleep(25)
    assert np.array_equal(bench.line.out(), speech(1, 20 * RATE))
    assert bench.line.deepest <= 2 * FRAME
    assert bench.line.times() == list(range(20 * RATE))
    assert bench.kinds()[-1] == ("PlayoutFinished", 1)


@in_virtual_time
async def test_a_line_with_a_faster_clock_hardly_ever_runs_dry() -> None:
    bench = Bench(line=FastLine)
    bench.lane.append(1, speech(1, 60 * RATE), text="long")
    await asyncio.sleep(61)
    gaps = np.diff(bench.line.times()) - 1
    assert np.array_equal(bench.line.out(), speech(1, 60 * RATE))
    assert np.count_nonzero(gaps) <= 6
    assert gaps.max() <= 10


@in_virtual_time
async def test_finished_comes_when_the_last_sample_was_audible() -> None:
    for delay in (0, 40 * MS):
        bench = Bench(delay=delay)
        begun = bench.clock.now_ns()
        bench.lane.append(1, speech(1, 5000), text="one")
        await asyncio.sleep(1)
        assert bench.kinds() == [("PlayoutStarted", 1), ("PlayoutFinished", 1)]
        assert bench.events[-1].at_ns == begun + (5000 + delay) * SAMPLE_NS
        assert [report.ended_ns for report in bench.heard] == [begun + (5000 + delay) * SAMPLE_NS]


@in_virtual_time
async def test_playbacks_follow_each_other_without_a_gap_and_only_the_last_is_finished() -> None:
    bench = Bench()
    for number in (1, 2, 3):
        bench.lane.append(number, speech(number, 1000), text="word", generation=7)
    await asyncio.sleep(1)
    times = bench.line.times()
    assert times == list(range(times[0], times[0] + 3000))
    assert bench.kinds() == [
        ("PlayoutStarted", 1),
        ("PlayoutStarted", 2),
        ("PlayoutStarted", 3),
        ("PlayoutFinished", 3),
    ]
    assert [(report.playback, report.samples, report.cut_off) for report in bench.heard] == [
        (1, 1000, False),
        (2, 1000, False),
        (3, 1000, False),
    ]


@in_virtual_time
async def test_several_clips_make_one_playback() -> None:
    bench = Bench()
    bench.lane.append(4, speech(4, 700), text="Good morning.", words=words("good morning", 350), last=False)
    bench.lane.append(4, speech(4, 1200)[700:], text="Sit down.", words=words("sit down", 250))
    await asyncio.sleep(1)
    assert np.array_equal(bench.line.out(), speech(4, 1200))
    assert bench.heard[0].text == "Good morning. Sit down."
    assert [word.start_ns // SAMPLE_NS for word in bench.heard[0].words] == [0, 350, 700, 950]
    assert bench.kinds() == [("PlayoutStarted", 4), ("PlayoutFinished", 4)]


@in_virtual_time
async def test_a_playback_is_not_said_twice() -> None:
    bench = Bench()
    bench.lane.append(1, speech(1, 1000), text="once")
    bench.lane.append(1, speech(1, 1000), text="once")
    await asyncio.sleep(1)
    bench.lane.append(1, speech(1, 1000), text="once")
    await asyncio.sleep(1)
    assert len(bench.line.out()) == 1000


@in_virtual_time
async def test_a_voice_that_gave_nothing_still_finishes_the_lane() -> None:
    bench = Bench()
    bench.lane.open(1, text="nothing came of it")
    await asyncio.sleep(1)
    assert bench.events == []
    bench.lane.finish(1)
    assert bench.kinds() == [("PlayoutFinished", 1)]
    assert (bench.heard[0].text, bench.heard[0].cut_off) == ("", True)
