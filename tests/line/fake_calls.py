"""A line in a room in virtual time, watched: what the tests of its races share."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from fsm.events import Rung
from fsm.states import RungKind
from tests.line.fake_rooms import Telephone, World
from tests.virtual import in_virtual_time
from triage.errors import Unavailable
from triage.ports import RATE, Frame, LineSignal, SignalKind

K = SignalKind
REFER, DIAL, DESK = RungKind.REFER, RungKind.DIAL, RungKind.DESK
NURSE = "nurse_1"


class Seen:
    """A world, and what its line gave."""

    def __init__(self, world: World) -> None:
        self.world, self.line, self.room = world, world.line, world.room
        self.frames: list[Frame] = []
        self.signals: list[LineSignal] = []
        self.broke: Exception | None = None
        self.frames_ended = self.signals_ended = False
        self.readers = [asyncio.ensure_future(self._frames()), asyncio.ensure_future(self._signals())]

    async def _frames(self) -> None:
        try:
            async for frame in self.line.frames():
                self.frames.append(frame)
        except Unavailable as error:
            self.broke = error
        self.frames_ended = True

    async def _signals(self) -> None:
        async for signal in self.line.signals():
            self.signals.append(signal)
        self.signals_ended = True

    @property
    def kinds(self) -> list[SignalKind]:
        return [signal.kind for signal in self.signals]

    def of(self, attempt: int) -> list[tuple[SignalKind, str]]:
        return [(signal.kind, signal.value) for signal in self.signals if signal.attempt == attempt]

    def transfer(self, attempt: int, kind: RungKind, target: str = "nurse", timeout_s: float = 9.0) -> None:
        self.line.transfer(attempt, Rung(kind=kind, target=target), code=f"code{attempt}", timeout_s=timeout_s)

    async def until(self, kind: SignalKind, within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            while kind not in self.kinds:  # noqa: ASYNC110 virtual time
                await asyncio.sleep(0.001)


@asynccontextmanager
async def seen(*, up: bool = True, nurse: Telephone | None = None, **how: Any) -> AsyncIterator[Seen]:
    world = World({"nurse": nurse or Telephone(), "other": Telephone()}, **how)
    watched = Seen(world)
    try:
        if up:
            await world.line.open()
            await world.line.connect()
        yield watched
    finally:
        await world.line.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*watched.readers)
        assert [mouth.cancelled for mouth in world.studio.mouths.values() if mouth.cancelled] == []
        assert all(mouth.closed for mouth in world.studio.mouths.values())
        left = [task.get_name() for task in asyncio.all_tasks() if task.get_name() in OURS]
        await world.end()
        assert left == [], "a task of the line outlived it"


OURS = {"voice", "ear", "transfer", "whisper", "hold", "bridge", "nurse's telephone", "late nurse", "voice for a nurse"}


virtual = in_virtual_time


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Nothing breaks in the background, and no log holds an address."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    said = caplog.text
    assert "sip:" not in said and "127.0.0.1" not in said and "+1555" not in said
    assert "broke" not in said, said


def sound(seconds: float) -> Any:
    return np.full(round(seconds * RATE), 4000, np.int16)
