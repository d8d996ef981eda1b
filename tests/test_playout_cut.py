"""Promise: the lane stops at the sample, goes on with the next one, and knows exactly what was audible, to the word."""

import asyncio

import numpy as np

from tests.lanes import MANY, MS, Bench, speech, words
from tests.virtual import in_virtual_time
from triage.clock import NS
from triage.ports import FRAME, RATE

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
    assert (bench.heard[0].samples, bench.audible(2)) == (800, 0)
    await asyncio.sleep(0.0101)
    assert bench.audible(2) == 160


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
