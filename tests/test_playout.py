"""Promise: the lane loses, doubles and invents no sample, stops at the sample, and knows exactly what was audible.

The fake line plays continuously and keeps every sample with its position. Test audio is 64-bit on purpose: every sample
is a number that occurs once (`playback * MANY + index`), so that an order can be read off what came out.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsm.events import EffectFailed, Event, PlayoutFinished, PlayoutStarted
from triage.clock import NS, Clock, run
from triage.errors import Unavailable
from triage.playout import LEAD, SAMPLE_NS, Audible, Playout
from triage.ports import FRAME, RATE, Pcm, SpokenWord

MANY = 10_000_000
MS = RATE // 1000


class FakeLine:
    """Plays continuously, to the sample; remembers what left it and when."""

    def __init__(self, clock: Clock, playout_delay: int = 0) -> None:
        self.playout_delay = playout_delay
        self.clock = clock
        self.start_ns = clock.now_ns()
        self.sent: list[tuple[int, Pcm]] = []
        self.tail = 0
        self.deepest = 0
        self.broken = 0

    def position(self) -> int:
        return (self.clock.now_ns() - self.start_ns) // SAMPLE_NS

    def send(self, pcm: Pcm) -> None:
        assert 0 < len(pcm) <= FRAME
        if self.broken:
            self.broken -= 1
            raise Unavailable("line", "gone")
        start = max(self.position(), self.tail)
        self.sent.append((start, pcm.copy()))
        self.tail = start + len(pcm)
        self.deepest = max(self.deepest, self.queued())

    def queued(self) -> int:
        return max(0, self.tail - self.position())

    def drop(self) -> int:
        dropped = left = self.queued()
        while left:
            start, pcm = self.sent.pop()
            if len(pcm) > left:
                self.sent.append((start, pcm[: len(pcm) - left]))
            left -= min(left, len(pcm))
        self.tail -= dropped
        return dropped

    def out(self) -> np.ndarray[Any, Any]:
        """Every sample that left or will leave, in order."""
        return np.concatenate([pcm for _, pcm in self.sent]) if self.sent else np.zeros(0, dtype=np.int64)

    def left(self) -> np.ndarray[Any, Any]:
        """Every sample that has left until now."""
        out = self.out()
        return out[: len(out) - self.queued()]

    def times(self) -> list[int]:
        """Position of every one of them."""
        return [start + offset for start, pcm in self.sent for offset in range(len(pcm))]


class TickingLine(FakeLine):
    """A line with a grid of its own: takes whole frames, at its own ticks only."""

    def position(self) -> int:
        return super().position() // FRAME * FRAME


class SlowLine(FakeLine):
    """A line whose own clock runs 2 % slower than ours."""

    def position(self) -> int:
        return super().position() * 98 // 100


class FastLine(FakeLine):
    """A line whose own clock runs 0.05 % faster than ours."""

    def position(self) -> int:
        return super().position() * 2001 // 2000


class Bench:
    """One lane on one fake line, with everything it said."""

    def __init__(self, *, delay: int = 0, line: type[FakeLine] = FakeLine, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.line = line(self.clock, delay)
        self.events: list[Event] = []
        self.heard: list[Audible] = []
        self.lane = Playout(self.line, self.clock, self.events.append, self.heard.append)

    def seconds(self) -> float:
        return self.clock.now_ns() / NS

    def kinds(self) -> list[tuple[str, int]]:
        return [(type(event).__name__, getattr(event, "playback", 0)) for event in self.events]


def speech(playback: int, samples: int) -> Any:
    return playback * MANY + np.arange(samples, dtype=np.int64)


def words(text: str, each: int) -> tuple[SpokenWord, ...]:
    return tuple(SpokenWord(word, n * each, (n + 1) * each) for n, word in enumerate(text.split()))


def in_virtual_time(program: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """The same test as a plain function that runs its program in virtual time."""

    def test() -> None:
        run(program(), virtual=True)  # type: ignore[arg-type]

    test.__name__, test.__doc__ = program.__name__, program.__doc__
    return test


# --- starting, pacing, ending


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


# --- slow producers, late loops, broken lines


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


# --- pause, resume, flush


@in_virtual_time
async def test_pause_stops_at_the_sample_and_resume_plays_the_next_one() -> None:
    bench = Bench()
    bench.lane.append(1, speech(1, RATE), text="long")
    await asyncio.sleep(0.3333)
    paused_at = bench.line.position()
    bench.lane.pause()
    bench.lane.pause()
    assert bench.line.queued() == 0
    assert len(bench.line.left()) == paused_at
    await asyncio.sleep(7.00007)
    assert len(bench.line.out()) == paused_at
    resumed_at = bench.line.position()
    bench.lane.resume()
    bench.lane.resume()
    assert bench.line.times()[paused_at] == resumed_at
    await asyncio.sleep(1)
    assert np.array_equal(bench.line.out(), speech(1, RATE))
    assert bench.kinds() == [("PlayoutStarted", 1), ("PlayoutFinished", 1)]


@in_virtual_time
async def test_nothing_starts_or_finishes_while_paused() -> None:
    bench = Bench(delay=100 * MS)
    bench.lane.append(1, speech(1, 1000), text="short")
    await asyncio.sleep(0.1)
    bench.lane.pause()
    bench.lane.append(2, speech(2, 1000), text="later")
    bench.lane.finish(2)
    await asyncio.sleep(5)
    assert bench.kinds() == [("PlayoutStarted", 1)]
    assert (bench.lane.playing, bench.lane.paused, bench.lane.empty) == (False, True, False)
    bench.lane.resume()
    await asyncio.sleep(1)
    assert bench.kinds() == [("PlayoutStarted", 1), ("PlayoutStarted", 2), ("PlayoutFinished", 2)]


@in_virtual_time
async def test_a_lane_that_was_all_audible_when_it_was_paused_finishes_on_resume() -> None:
    bench = Bench(delay=100 * MS)
    bench.lane.append(1, speech(1, 1000), text="short")
    await asyncio.sleep(0.1)
    bench.lane.pause()
    await asyncio.sleep(1)
    bench.lane.resume()
    assert bench.kinds() == [("PlayoutStarted", 1), ("PlayoutFinished", 1)]


@in_virtual_time
async def test_flush_says_what_was_audible_and_opens_a_held_lane() -> None:
    for hold in (False, True):
        bench = Bench()
        bench.lane.append(1, speech(1, 3200), text="said whole", generation=2)
        bench.lane.append(2, speech(2, 3200), text="One, two, three, four.", words=words("one two three four", 800))
        bench.lane.append(3, speech(3, 3200), text="never begun")
        await asyncio.sleep(0.2 + 1250 / RATE)
        if hold:
            bench.lane.pause()
        cut = bench.lane.flush()
        assert [(a.playback, a.text, a.ordered, a.samples, a.cut_off) for a in cut] == [
            (2, "One, two,", "One, two, three, four.", 1250, True),
            (3, "", "never begun", 0, True),
        ]
        assert [a.playback for a in bench.heard] == [1, 2, 3]
        assert bench.lane.audible(2) == cut[0]
        assert bench.lane.audible(99) is None
        assert bench.lane.empty
        bench.lane.append(4, speech(4, 320), text="new")
        assert bench.line.out()[-1] == 4 * MANY + 319
        assert len(bench.line.left()) == 3200 + 1250


@in_virtual_time
async def test_late_pieces_of_what_was_flushed_are_not_heard() -> None:
    bench = Bench()
    bench.lane.open(1, text="old answer", generation=1)
    bench.lane.extend(1, speech(1, FRAME))
    bench.lane.flush(through=2)
    bench.lane.extend(1, speech(1, FRAME))
    bench.lane.finish(1)
    bench.lane.append(2, speech(2, FRAME), text="ordered before, rendered after")
    bench.lane.open(1, text="again")
    bench.lane.append(3, speech(3, FRAME), text="new answer")
    await asyncio.sleep(1)
    assert set(bench.line.left() // MANY) == {3}
    assert bench.kinds() == [("PlayoutStarted", 1), ("PlayoutStarted", 3), ("PlayoutFinished", 3)]


@in_virtual_time
async def test_flushing_an_empty_lane_is_nothing() -> None:
    bench = Bench()
    assert bench.lane.flush() == []
    bench.lane.append(1, speech(1, FRAME), text="first")
    await asyncio.sleep(1)
    assert bench.kinds() == [("PlayoutStarted", 1), ("PlayoutFinished", 1)]


# --- words


@in_virtual_time
async def test_a_word_counts_when_at_least_half_of_it_was_audible() -> None:
    for samples, text in ((799, ""), (800, "half"), (1599 + 800, "half"), (1600 + 800, "half a")):
        bench = Bench()
        bench.lane.append(1, speech(1, 4800), text="half a word", words=words("half a word", 1600))
        await asyncio.sleep(samples / RATE)
        assert bench.lane.flush()[0].text == text


@in_virtual_time
async def test_audible_is_what_was_pushed_less_what_is_queued_less_the_delay() -> None:
    bench = Bench(delay=50 * MS)
    bench.lane.append(1, speech(1, RATE), text="counting")
    for _ in range(40):
        await asyncio.sleep(0.0137)
        report = bench.lane.audible(1)
        assert report is not None
        assert abs(report.samples - max(0, len(bench.line.left()) - 50 * MS)) <= 1


@in_virtual_time
async def test_a_gap_does_not_shorten_the_delay() -> None:
    bench = Bench(delay=100 * MS)
    bench.lane.append(1, speech(1, 800), text="before")
    await asyncio.sleep(3)
    bench.lane.append(2, speech(2, 8000), text="after")
    await asyncio.sleep(0.0999)
    assert (bench.heard[0].samples, bench.lane.audible(2).samples) == (800, 0)  # type: ignore[union-attr]
    await asyncio.sleep(0.0101)
    assert bench.lane.audible(2).samples == 160  # type: ignore[union-attr]


@in_virtual_time
async def test_recent_words_are_those_of_the_last_two_seconds_with_their_times() -> None:
    bench = Bench(delay=10 * MS)
    bench.lane.append(1, speech(1, 6 * RATE), text="a b c d e f", words=words("a b c d e f", RATE))
    await asyncio.sleep(3.51)
    assert [word.text for word in bench.lane.recent_words()] == ["b", "c", "d"]
    third = bench.lane.recent_words()[1]
    assert (third.start_ns, third.end_ns) == (2 * NS + NS // 100, 3 * NS + NS // 100)
    await asyncio.sleep(3.5)
    assert [word.text for word in bench.lane.recent_words()] == ["f"]
    assert [word.text for word in bench.lane.recent_words(1.0, at_ns=3 * NS)] == ["b", "c"]
    await asyncio.sleep(2)
    assert bench.lane.recent_words() == []


@in_virtual_time
async def test_words_keep_their_times_over_a_pause() -> None:
    bench = Bench()
    bench.lane.append(1, speech(1, 3200), text="one two", words=words("one two", 1600))
    await asyncio.sleep(0.15)
    bench.lane.pause()
    await asyncio.sleep(1)
    bench.lane.resume()
    await asyncio.sleep(1)
    one, two = bench.heard[0].words
    assert (one.start_ns, one.end_ns) == (0, NS // 10)
    assert (two.start_ns, two.end_ns) == (NS // 10, NS + NS // 5)


@in_virtual_time
async def test_words_without_times_are_spread_by_their_letters_and_never_run_ahead() -> None:
    bench = Bench()
    bench.lane.append(1, speech(1, 16000), text="aaa bbbbbbbbbbb ccc")
    await asyncio.sleep(0.21)
    assert bench.lane.flush()[0].text == "aaa"
    bench.lane.open(2, text="a sentence of which only the beginning has been rendered")
    bench.lane.extend(2, speech(2, 8000))
    await asyncio.sleep(0.5)
    assert bench.lane.flush()[0].text == "a sentence"


# --- anything in any order

OPERATIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 4000)),
    st.tuples(st.just("open"), st.just(0)),
    st.tuples(st.just("extend"), st.integers(0, 1500)),
    st.tuples(st.just("finish"), st.just(0)),
    st.tuples(st.just("pause"), st.just(0)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("sleep"), st.integers(1, 4000)),
)


async def live_through(operations: list[tuple[str, int]]) -> None:
    """Do all that, and hold the lane to its promises at every step."""
    bench = Bench()
    lane, line = bench.lane, bench.line
    ordered: dict[int, int] = {}
    whole: set[int] = set()
    unfinished: set[int] = set()
    number, opened, flushed_through = 0, 0, 0
    for what, amount in operations:
        before = len(line.left())
        match what:
            case "append":
                number += 1
                ordered[number] = amount
                whole.add(number)
                lane.append(number, speech(number, amount), text="w", words=(SpokenWord("w", 0, amount),))
            case "open":
                number += 1
                opened, ordered[number] = number, 0
                unfinished.add(number)
                lane.open(number, text="w")
            case "extend" if opened:
                lane.extend(opened, speech(opened, ordered[opened] + amount)[ordered[opened] :])
                ordered[opened] += amount
            case "finish" if opened:
                lane.finish(opened)
                unfinished.discard(opened)
                opened = 0
            case "pause":
                lane.pause()
                assert line.queued() == 0
            case "resume":
                lane.resume()
            case "flush":
                for report in lane.flush():
                    assert report.samples == int(np.sum(line.out() // MANY == report.playback)), "history minus audible"
                    if report.playback in whole:
                        assert report.text == ("w" if 2 * report.samples >= report.length else "")
                assert line.queued() == 0
                flushed_through, opened = number, 0
            case "sleep":
                held = lane.paused
                await asyncio.sleep(amount * SAMPLE_NS / NS)
                if held:
                    assert len(line.left()) == before, "a held lane is silent"
        assert line.deepest <= FRAME + LEAD
        _in_order(line.out())
    for playback in sorted(unfinished):
        lane.finish(playback)
    lane.resume()
    await asyncio.sleep(number * 0.3 + 5)
    assert lane.empty
    _in_order(line.out())
    for playback in range(flushed_through + 1, number + 1):
        assert int(np.sum(line.out() // MANY == playback)) == ordered[playback], "nothing is lost"
    assert sorted(report.playback for report in bench.heard) == list(range(1, number + 1)), "each is reported once"
    for report in bench.heard:
        assert report.samples == int(np.sum(line.out() // MANY == report.playback)), "history minus audible is nothing"
    begun = [event.playback for event in bench.events if isinstance(event, PlayoutStarted)]
    assert begun == sorted(set(begun)), "each starts once, in order"
    if number > flushed_through:
        assert isinstance(bench.events[-1], PlayoutFinished)
        assert bench.events[-1].playback == number


def _in_order(out: np.ndarray[Any, Any]) -> None:
    """Playbacks in order, each a beginning of itself without hole or repetition."""
    if len(out):
        playbacks, index = out // MANY, out % MANY
        starts = np.flatnonzero(np.diff(playbacks, prepend=-1))
        assert np.all(np.diff(playbacks) >= 0)
        assert np.all(index[starts] == 0)
        inside = np.diff(index)
        assert np.all(inside[np.diff(playbacks) == 0] == 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(OPERATIONS, max_size=40))
def test_any_order_of_operations_keeps_the_promises(operations: list[tuple[str, int]]) -> None:
    run(live_through(operations), virtual=True)


def test_a_thousand_operations_keep_the_promises() -> None:
    dice = random.Random(2024)
    names = ["append", "open", "extend", "extend", "finish", "pause", "resume", "flush", "sleep", "sleep", "sleep"]
    run(live_through([(dice.choice(names), dice.randint(1, 1500)) for _ in range(1000)]), virtual=True)
