"""Promise: whatever is done in whatever order, the lane loses, doubles and invents no sample."""

import asyncio
import random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fsm.events import PlayoutFinished, PlayoutStarted
from tests.lanes import MANY, Bench, speech
from triage.clock import NS, run
from triage.playout import LEAD, SAMPLE_NS
from triage.ports import FRAME, SpokenWord

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
