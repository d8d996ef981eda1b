"""Promise: a caller with whom nobody is gets somebody, tried a few times; where nobody comes the call is ended, and somebody is woken."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from triage.answering import RESCUE
from triage.clock import run
from triage.once import Entered, UsedRooms
from triage.rescues import ALONE_S, GREETERS, LOOK_EVERY_S, LOOK_SOON_S, RESCUE_EVERY_S, RESCUES, Rescues, Server
from triage.watch import CALLER_LEFT_ALONE

ROOM, OTHER = "call_+15550100_a", "call_+15550100_b"
SOON_S = LOOK_EVERY_S + ALONE_S + 1.0


@dataclass
class World:
    """A livekit-server, and a worker that watches its rooms."""

    used: UsedRooms
    alone: set[str] = field(default_factory=set)
    carried: set[str] = field(default_factory=set)
    """Rooms with a caller and an agent."""
    busy: set[str] = field(default_factory=set)
    known: bool = True
    broken: Exception | None = None
    refuses: Exception | None = None
    broken_end: Exception | None = None
    hangs: bool = False
    sent: list[tuple[str, str]] = field(default_factory=list)
    sent_s: list[float] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    on_sent: Callable[[str], None] = lambda room: None

    async def rooms(self) -> list[str]:
        if self.broken:
            raise self.broken
        return sorted(self.alone | self.carried | self.busy)

    async def is_alone(self, room: str) -> bool:
        self.asked.append(room)
        return room in self.alone

    async def send(self, room: str, metadata: str) -> None:
        if self.refuses:
            raise self.refuses
        self.sent.append((room, metadata))
        self.sent_s.append(asyncio.get_running_loop().time())
        if self.hangs:
            await asyncio.sleep(200.0)
        self.on_sent(room)

    async def end(self, room: str) -> None:
        self.ended.append(room)
        if self.broken_end:
            raise self.broken_end
        self.alone.discard(room)

    def enters(self, room: str) -> None:
        """Whoever was sent is in the room."""
        self.alone, self.carried = self.alone - {room}, self.carried | {room}

    def watched(self, story: Callable[[Rescues], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            async with asyncio.TaskGroup() as group:
                server = Server(lambda: self.known, self.rooms, self.is_alone, self.send, lambda: self.busy, self.end)
                rescues = Rescues(server, self.used, group)
                watching = group.create_task(rescues.watch())
                await story(rescues)
                watching.cancel()

        run(whole(), virtual=True)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(UsedRooms(tmp_path))


def used(world: World, room: str = ROOM) -> Entered:
    """A process of ours is in this room, until it leaves."""
    return world.used.enter(room)


async def taken_on(rescues: Rescues) -> None:
    rescues.taken_on()
    await asyncio.sleep(60.0)


def test_nothing_is_looked_at_before_the_server_knows_us(world: World) -> None:
    async def story(rescues: Rescues) -> None:
        await asyncio.sleep(30.0)

    world.alone = {ROOM}
    world.watched(story)
    assert not world.asked and not world.sent


def test_a_caller_whose_process_is_gone_is_rescued_once(world: World) -> None:
    used(world).leave()
    world.alone, world.on_sent = {ROOM}, world.enters
    world.watched(taken_on)
    assert world.sent == [(ROOM, RESCUE)] and not world.ended


@pytest.mark.parametrize("why", ["nobody comes", "the request hangs"])
def test_a_rescue_counts_only_once_somebody_is_there(world: World, why: str) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.taken_on()
        await asyncio.sleep(RESCUE_EVERY_S + LOOK_EVERY_S)
        world.on_sent, world.hangs = world.enters, False
        await asyncio.sleep(60.0)

    used(world).leave()
    world.alone, world.hangs = {ROOM}, why == "the request hangs"
    world.watched(story)
    assert world.sent == [(ROOM, RESCUE)] * 3 and not world.ended
    assert all(b - a >= RESCUE_EVERY_S for a, b in zip(world.sent_s, world.sent_s[1:], strict=False))


def test_where_nobody_ever_comes_the_call_is_ended_and_somebody_is_woken(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(rescues: Rescues) -> None:
        await taken_on(rescues)
        world.broken_end = None
        await asyncio.sleep(60.0)

    used(world).leave()
    world.alone, world.broken_end = {ROOM}, ConnectionError("tells a number")
    world.watched(story)
    assert world.sent == [(ROOM, RESCUE)] * RESCUES
    assert len(world.ended) > 1 and not world.alone, "tried until it is done"
    assert caplog.text.count(f"page {CALLER_LEFT_ALONE}") == 1 and "tells a number" not in caplog.text


def test_a_request_that_hangs_holds_up_nobody_else(world: World) -> None:
    used(world).leave()
    used(world, OTHER).leave()
    world.alone, world.hangs = {ROOM, OTHER}, True

    async def story(rescues: Rescues) -> None:
        rescues.taken_on()
        await asyncio.sleep(ALONE_S + 2 * LOOK_SOON_S)
        assert sorted(world.sent) == [(ROOM, RESCUE), (OTHER, RESCUE)]

    world.watched(story)


def test_who_rings_is_greeted_as_soon_as_the_worker_is_there(world: World) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.taken_on()
        await asyncio.sleep(ALONE_S - 0.1)
        assert not world.sent, "whoever was sent already has a moment"
        await asyncio.sleep(0.7)
        assert world.sent == [(ROOM, "")]

    def enters(room: str) -> None:
        world.alone, world.carried = set(), {room}
        used(world, room)

    world.alone, world.on_sent = {ROOM}, enters
    world.watched(story)


def test_who_rings_and_is_not_answered_is_tried_again_but_not_for_ever(world: World) -> None:
    world.alone = {ROOM}
    world.watched(taken_on)
    assert world.sent == [(ROOM, "")] * GREETERS


def test_between_looks_a_room_is_found_too(world: World) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.taken_on()
        await asyncio.sleep(20.0)
        world.alone, world.on_sent = {ROOM}, world.enters
        await asyncio.sleep(SOON_S)
        assert world.sent == [(ROOM, RESCUE)]

    used(world).leave()
    world.watched(story)


@pytest.mark.parametrize("why", ["taken", "busy", "carried"])
def test_a_room_that_has_somebody_gets_nobody(world: World, why: str) -> None:
    visit = used(world)
    match why:
        case "taken":  # its process lives, and enters the room anew with a server that was restarted
            world.alone = {ROOM}
        case "busy":
            visit.leave()
            world.alone = world.busy = {ROOM}
        case "carried":
            visit.leave()
            world.carried = {ROOM}
    world.watched(taken_on)
    assert not world.sent
    assert bool(world.asked) is (why == "carried"), "nothing is asked of rooms that are known to have somebody"


def test_a_caller_who_is_alone_for_a_moment_is_left_to_whom_they_go(world: World) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.taken_on()
        await asyncio.sleep(ALONE_S - 0.3)
        world.alone = set()
        await asyncio.sleep(60.0)
        world.alone = {OTHER}
        await asyncio.sleep(1.0)
        world.alone = set()
        await asyncio.sleep(20.0)

    used(world).leave()
    world.alone = {ROOM}
    world.watched(story)
    assert not world.sent


def test_a_process_that_died_is_replaced_at_once_and_not_twice(world: World) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.taken_on()
        await asyncio.sleep(10)
        world.alone = {ROOM}
        rescues.died(ROOM, rescuing=False)
        await asyncio.sleep(0.1)
        assert world.sent == [(ROOM, RESCUE)]
        await asyncio.sleep(30)

    used(world).leave()
    world.on_sent = world.enters
    world.watched(story)
    assert world.sent == [(ROOM, RESCUE)]


def test_rescues_that_die_are_replaced_at_once_but_not_for_ever(world: World) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.taken_on()
        rescues.died(ROOM, rescuing=False)
        for count in range(1, RESCUES):
            await asyncio.sleep(1.0)
            assert world.sent == [(ROOM, RESCUE)] * count
            rescues.died(ROOM, rescuing=True)
        await asyncio.sleep(1.0)
        rescues.died(ROOM, rescuing=True)
        await asyncio.sleep(1.0)
        assert not world.ended, "whoever was sent last has its time"
        await asyncio.sleep(RESCUE_EVERY_S + LOOK_EVERY_S)

    used(world).leave()
    world.alone = {ROOM}
    world.watched(story)
    assert world.sent == [(ROOM, RESCUE)] * RESCUES and world.ended == [ROOM]


def test_a_rescue_of_somebody_elses_that_died_is_replaced(world: World) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.taken_on()
        rescues.died(ROOM, rescuing=True)
        await asyncio.sleep(0.1)
        assert world.sent == [(ROOM, RESCUE)]

    used(world).leave()
    world.alone = {ROOM}
    world.watched(story)


def test_a_server_that_fails_is_asked_again_and_says_so_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.taken_on()
        await asyncio.sleep(30)
        world.broken, world.refuses = None, ConnectionError("tells a number")
        await asyncio.sleep(30)
        world.refuses, world.on_sent = None, world.enters
        await asyncio.sleep(SOON_S)

    caplog.set_level(logging.DEBUG)
    used(world).leave()
    world.alone, world.broken = {ROOM}, TimeoutError()
    world.watched(story)
    assert world.sent == [(ROOM, RESCUE)]
    assert caplog.text.count("does not tell who is alone") == 1
    assert "nobody could be sent" in caplog.text and "tells a number" not in caplog.text and ROOM not in caplog.text


@pytest.mark.parametrize("why", ["ending", "not known"])
def test_who_ends_or_is_not_known_sends_nobody(world: World, why: str) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.over, world.known = why == "ending", why != "not known"
        rescues.died(ROOM, rescuing=False) if why == "ending" else None
        await taken_on(rescues)

    used(world).leave()
    world.alone = {ROOM}
    world.watched(story)
    assert not world.sent


@pytest.mark.parametrize("cut_off", [True, False])
def test_a_worker_that_takes_no_more_calls_still_helps_who_was_cut_off(world: World, cut_off: bool) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.ending = True
        await taken_on(rescues)

    if cut_off:
        used(world).leave()
    world.alone, world.on_sent = {ROOM}, world.enters
    world.watched(story)
    assert world.sent == [(ROOM, RESCUE)] * cut_off


def test_it_is_known_how_long_somebody_may_still_need_help(world: World) -> None:
    async def story(rescues: Rescues) -> None:
        rescues.taken_on()
        assert not rescues.waiting
        world.alone = {ROOM}
        rescues.died(ROOM, rescuing=False)
        assert rescues.waiting, "whoever was sent is on the way"
        await asyncio.sleep(3 * RESCUE_EVERY_S + LOOK_EVERY_S)
        assert world.ended and not rescues.waiting

    used(world).leave()
    world.watched(story)
