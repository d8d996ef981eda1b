"""Promise: what we say leaves to the sample and can be taken back to the sample; the caller's frames never leave a gap."""

import asyncio

import numpy as np
import pytest

from tests.virtual import in_virtual_time
from triage.clock import Clock, run
from triage.lines.livekit.sound import BLOCK, FORGIVEN, Hearing, Voice
from triage.ports import FRAME, Frame, Pcm


def counted(length: int, first: int = 1) -> Pcm:
    return np.arange(first, first + length, dtype=np.int16)


class Spoken:
    """A voice, and the blocks that left it with their times."""

    def __init__(self, takes_s: float = 0.0005) -> None:
        self.clock = Clock()
        self.start_ns = self.clock.now_ns()
        self.blocks: list[tuple[int, Pcm]] = []
        self.takes_s = takes_s
        self.inside = 0
        self.voice = Voice(self._capture, self.clock)
        self.pushing = asyncio.ensure_future(self.voice.push())

    async def _capture(self, pcm: Pcm) -> None:
        self.inside += 1
        assert self.inside == 1, "one block at a time"
        await asyncio.sleep(self.takes_s)
        self.inside -= 1
        self.blocks.append((self.clock.now_ns() - self.start_ns, pcm))

    async def end(self) -> Pcm:
        self.voice.end()
        await asyncio.wait_for(self.pushing, 1)
        return np.concatenate([pcm for _, pcm in self.blocks]) if self.blocks else np.zeros(0, np.int16)


# --- our voice


@in_virtual_time
async def test_silence_and_sound_leave_block_by_block_each_when_its_time_is_over() -> None:
    spoken = Spoken()
    await asyncio.sleep(0.025)
    spoken.voice.say(counted(FRAME))
    await asyncio.sleep(0.1)
    out = await spoken.end()
    assert [at for at, _ in spoken.blocks] == [n * 10_000_000 + 500_000 for n in range(1, 13)]
    assert {len(pcm) for _, pcm in spoken.blocks} == {BLOCK}
    assert list(np.nonzero(out)[0]) == list(range(400, 400 + FRAME)), "25 ms after the beginning, to the sample"
    assert (out[400 : 400 + FRAME] == counted(FRAME)).all()


@in_virtual_time
async def test_what_comes_while_something_is_queued_follows_without_a_seam() -> None:
    spoken = Spoken()
    spoken.voice.say(counted(FRAME))
    await asyncio.sleep(0.015)
    assert spoken.voice.queued() == 80
    spoken.voice.say(counted(FRAME, 1 + FRAME))
    spoken.voice.say(counted(3, 1 + 2 * FRAME))
    assert spoken.voice.queued() == 80 + FRAME + 3
    await asyncio.sleep(0.1)
    out = await spoken.end()
    assert (out[: 2 * FRAME + 3] == counted(2 * FRAME + 3)).all() and not out[2 * FRAME + 3 :].any()
    assert spoken.voice.queued() == 0


@pytest.mark.parametrize("late_ms", [1, 5, 9])
def test_a_frame_that_comes_a_little_late_follows_without_a_seam(late_ms: int) -> None:
    async def main() -> None:
        spoken = Spoken()
        spoken.voice.say(counted(FRAME))
        await asyncio.sleep(0.02 + late_ms / 1000)
        spoken.voice.say(counted(FRAME, 1 + FRAME))
        assert spoken.voice.queued() == FRAME - late_ms * 16
        await asyncio.sleep(0.1)
        out = await spoken.end()
        assert (out[: 2 * FRAME] == counted(2 * FRAME)).all()

    run(main(), virtual=True)


@in_virtual_time
async def test_a_frame_that_comes_later_than_that_leaves_a_gap_and_starts_at_once() -> None:
    spoken = Spoken()
    spoken.voice.say(counted(FRAME))
    await asyncio.sleep(0.035)
    spoken.voice.say(counted(FRAME, 1 + FRAME))
    await asyncio.sleep(0.1)
    out = await spoken.end()
    assert not out[FRAME:560].any() and (out[560 : 560 + FRAME] == counted(FRAME, 1 + FRAME)).all()


@pytest.mark.parametrize("after_ms", [0, 3, 10, 13, 19])
def test_what_is_dropped_is_exactly_what_was_queued_and_never_leaves(after_ms: int) -> None:
    async def main() -> None:
        spoken = Spoken()
        await asyncio.sleep(0.0123)
        for n in range(3):
            spoken.voice.say(counted(FRAME, 1 + n * FRAME))
        await asyncio.sleep(after_ms / 1000)
        queued = spoken.voice.queued()
        assert spoken.voice.drop() == queued and spoken.voice.queued() == 0 and spoken.voice.drop() == 0
        await asyncio.sleep(0.2)
        out = await spoken.end()
        left = out[np.nonzero(out)]
        assert (left == counted(3 * FRAME - queued)).all() and len(left) == 3 * FRAME - queued
        assert abs(len(left) - after_ms * 16) <= 1

    run(main(), virtual=True)


@in_virtual_time
async def test_after_a_drop_the_next_sound_starts_at_once() -> None:
    spoken = Spoken()
    spoken.voice.say(counted(FRAME))
    await asyncio.sleep(0.005)
    spoken.voice.drop()
    spoken.voice.say(counted(10, 1000))
    await asyncio.sleep(0.05)
    out = await spoken.end()
    assert (out[80:90] == counted(10, 1000)).all()


@in_virtual_time
async def test_a_stalled_loop_loses_no_sound_and_does_not_catch_up_in_silence() -> None:
    spoken = Spoken(takes_s=0.0)
    gate = asyncio.Event()
    capture = spoken._capture

    async def stuck(pcm: Pcm) -> None:
        await gate.wait()
        await capture(pcm)

    spoken.voice._capture = stuck
    spoken.voice.say(counted(FRAME))
    await asyncio.sleep(1.0)
    gate.set()
    await asyncio.sleep(0.001)
    blocks = len(spoken.blocks)
    out = await spoken.end()
    assert (out[:FRAME] == counted(FRAME)).all()
    assert 2 <= blocks <= 2 + FORGIVEN + 1


@in_virtual_time
async def test_a_block_that_is_refused_is_lost_and_the_voice_goes_on_unless_all_are() -> None:
    clock = Clock()
    broken = asyncio.Event()
    taken: list[Pcm] = []

    async def capture(pcm: Pcm) -> None:
        if broken.is_set():
            raise RuntimeError("InvalidState")
        taken.append(pcm)

    voice = Voice(capture, clock)
    pushing = asyncio.ensure_future(voice.push())
    broken.set()
    await asyncio.sleep(2.9)
    broken.clear()
    await asyncio.sleep(1)
    assert not pushing.done() and 99 <= len(taken) <= 101
    broken.set()
    await asyncio.sleep(3.1)
    with pytest.raises(RuntimeError):
        await pushing


@in_virtual_time
async def test_ending_waits_for_the_block_under_way_and_hands_over_no_other() -> None:
    spoken = Spoken(takes_s=0.3)
    spoken.voice.say(counted(FRAME))
    await asyncio.sleep(0.05)
    await spoken.end()
    assert len(spoken.blocks) == 1


@in_virtual_time
async def test_a_frozen_voice_keeps_what_it_has() -> None:
    spoken = Spoken()
    spoken.voice.say(counted(FRAME))
    await asyncio.sleep(0.0101)
    spoken.voice.freeze()
    queued = spoken.voice.queued()
    await asyncio.sleep(1)
    assert spoken.voice.queued() == queued > 100
    spoken.voice.say(counted(5))
    assert spoken.voice.drop() == queued + 5 and spoken.voice.queued() == 0
    await spoken.end()


# --- the caller's voice


class Heard:
    def __init__(self) -> None:
        self.hearing = Hearing(Clock())
        self.frames: list[Frame] = []
        self.error: Exception | None = None
        self.reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        try:
            async for frame in self.hearing.frames():
                self.frames.append(frame)
        except ValueError as error:
            self.error = error

    async def feed(self, count: int, value: int = 7, every_s: float = 0.02) -> None:
        for _ in range(count):
            await asyncio.sleep(every_s)
            self.hearing.take(np.full(FRAME, value, np.int16))

    async def end(self) -> list[int]:
        self.hearing.end()
        await asyncio.wait_for(self.reading, 1)
        assert [frame.start for frame in self.frames] == [n * FRAME for n in range(len(self.frames))]
        return [int(frame.pcm[0]) for frame in self.frames]


@in_virtual_time
async def test_frames_come_through_as_they_are_and_count_from_the_beginning() -> None:
    heard = Heard()
    await heard.feed(5, 3)  # before the beginning: nobody hears it
    heard.hearing.begin()
    heard.hearing.begin()
    await heard.feed(100)
    assert await heard.end() == [7] * 100
    heard.hearing.take(np.full(FRAME, 9, np.int16))
    heard.hearing.begin()
    assert (heard.hearing.filled, heard.hearing.left_out) == (0, 0)


@in_virtual_time
async def test_where_nothing_comes_there_is_silence_in_step_with_time() -> None:
    heard = Heard()
    heard.hearing.begin()
    await asyncio.sleep(10)
    assert 494 <= len(heard.frames) <= 500
    await heard.feed(10)
    values = await heard.end()
    assert values[-10:] == [7] * 10 and not any(values[:-10])
    assert 504 <= len(values) <= 511


@in_virtual_time
async def test_frames_that_are_late_for_a_moment_are_heard_all_the_same() -> None:
    heard = Heard()
    heard.hearing.begin()
    await heard.feed(10)
    await asyncio.sleep(0.09)
    for _ in range(4):
        heard.hearing.take(np.full(FRAME, 7, np.int16))
    await heard.feed(10)
    assert await heard.end() == [7] * 24


@in_virtual_time
async def test_a_burst_that_comes_after_silence_took_its_place_does_not_put_the_caller_ahead_of_time() -> None:
    heard = Heard()
    heard.hearing.begin()
    await heard.feed(10)
    await asyncio.sleep(1.0)
    for _ in range(50):
        heard.hearing.take(np.full(FRAME, 8, np.int16))
    assert len(heard.frames) + heard.hearing._queue.qsize() <= 64 + 3
    await heard.feed(50)
    values = await heard.end()
    assert 105 <= len(values) <= 114
    assert heard.hearing.left_out > 30


@in_virtual_time
async def test_sound_that_the_network_swallowed_leaves_no_lasting_lag() -> None:
    heard = Heard()
    heard.hearing.begin()
    await heard.feed(10)
    await asyncio.sleep(0.09)  # shorter than our patience, and nobody brings it later
    await heard.feed(400)
    values = await heard.end()
    assert heard.hearing.filled in (3, 4) and values.count(7) == 410


@in_virtual_time
async def test_an_error_reaches_whoever_reads() -> None:
    heard = Heard()
    heard.hearing.begin()
    await heard.feed(2)
    heard.hearing.fail(ValueError("broke"))
    heard.hearing.end()
    await asyncio.wait_for(heard.reading, 1)
    assert isinstance(heard.error, ValueError) and len(heard.frames) == 2


def test_a_loop_that_stood_still_reads_what_came_meanwhile_before_it_puts_silence_in() -> None:
    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        heard = Heard()
        heard.hearing.begin()
        until = loop.time() + 0.3
        while loop.time() < until:  # what a stuck loop looks like to its timers
            pass

        async def backlog() -> None:
            for _ in range(3):  # as the SDK's own tasks pass it on
                await asyncio.sleep(0)
            for _ in range(15):
                heard.hearing.take(np.full(FRAME, 7, np.int16))

        await backlog()
        values = await heard.end()
        return heard.hearing.filled, values.count(7)

    filled, came = run(main(), virtual=False)
    assert (filled, came) == (0, 15)
