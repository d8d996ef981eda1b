"""Callers with whom nobody of us is: which rooms they stand in, and who is sent there. One per worker.

A call's process that dies leaves its caller in a silent room; so does a worker that dies, and who rings while no worker
is there rings in a room that nobody was told of. So the worker looks at the rooms whenever livekit-server has taken it
on, and every few seconds: a caller who is alone for a moment gets a process, a rescue where the room had a call of ours.

Nothing here imports LiveKit: what is in the rooms comes from outside, so that tests can bring their own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from triage.answering import RESCUE
from triage.once import UsedRooms, Visit

ALONE_S = 1.5
"""Whoever is sent by others is in the room within this; a caller who is carried on stands there no longer, s."""
LOOK_EVERY_S = 5.0
LOOK_SOON_S = 0.5
"""Between looks while a caller is alone, s."""
LOOK_WITHIN_S = 5.0
"""A look that takes longer is given up, s."""
GREETERS = 4
"""How often somebody is sent to a telephone that rings."""
GREETER_EVERY_S = 4.0
"""Whoever is sent there has this long to load and to enter, s."""

log = logging.getLogger("triage.worker")


@dataclass(frozen=True, slots=True)
class Server:
    """What the worker asks of livekit-server. Each raises what the library raises."""

    known: Callable[[], bool]
    """It knows us: whom it is told to send comes."""
    rooms: Callable[[], Awaitable[Sequence[str]]]
    """Names of the rooms of our calls."""
    alone: Callable[[str], Awaitable[bool]]
    """There is a caller in this room, and no agent."""
    send: Callable[[str, str], Awaitable[None]]
    """Have a process sent to this room, with this metadata."""
    busy: Callable[[], Collection[str]]
    """Rooms that a process of this worker was sent to and that has not ended."""


class Rescues:
    """Sends a process to callers who are alone: a rescue once per room, somebody to greet a few times."""

    def __init__(self, server: Server, rooms: UsedRooms, group: asyncio.TaskGroup) -> None:
        self._server, self._rooms, self._group = server, rooms, group
        self.over = False
        """The worker ends: who is left has been brought to a nurse, or nobody can help."""
        self._rescued: set[str] = set()
        self._greeters: dict[str, int] = {}
        self._alone: dict[str, float] = {}
        """Loop time from which on a caller counts as alone, by room, s."""
        self._taken_on = asyncio.Event()
        self._blind = False

    def taken_on(self) -> None:
        """livekit-server knows us (again): look at once."""
        self._taken_on.set()

    def died(self, room: str, *, rescuing: bool) -> None:
        """A call's process died in this room; `rescuing`: it had been sent as a rescue."""
        if self.over or not room:
            return
        if rescuing:
            self._rescued.add(room)
            log.error("a process that rescued a caller died too; nobody else is sent")
        elif room not in self._rescued:
            log.error("a call's process died; another is sent to its caller")
            self._rescued.add(room)
            self._group.create_task(self._send(room, RESCUE))

    async def watch(self) -> None:
        """Look at the rooms, for ever, from the first time that livekit-server has taken us on."""
        await self._taken_on.wait()
        while not self.over:
            self._taken_on.clear()
            if self._server.known():
                await self._look_safely()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SOON_S if self._alone else LOOK_EVERY_S):
                    await self._taken_on.wait()

    async def _look_safely(self) -> None:
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                await self.look()
            self._blind = False
        except Exception as error:  # whatever it is, it must not end the worker
            if not self._blind:
                log.warning("livekit-server does not tell who is alone (%s); asked again", type(error).__name__)
            self._blind = True

    async def look(self) -> None:
        """Look once, and send to whom it is time. Raises what the server's questions raise."""
        now_s = asyncio.get_running_loop().time()
        alone = [
            name for name in await self._server.rooms() if self._ours_to_help(name) and await self._server.alone(name)
        ]
        self._alone = {name: self._alone.get(name, now_s + ALONE_S) for name in alone}
        for name in alone:
            if now_s >= self._alone[name] and not self.over and self._ours_to_help(name):
                await self._help(name, now_s)

    def _ours_to_help(self, room: str) -> bool:
        """Nobody of this machine is there or on the way, and we have not done all that we do."""
        if room in self._rescued or room in self._server.busy() or self._greeters.get(room, 0) >= GREETERS:
            return False
        return self._rooms.visit(room) is not Visit.TAKEN

    async def _help(self, room: str, now_s: float) -> None:
        if self._rooms.visit(room) is Visit.AGAIN:
            log.error("a caller whose process is gone is alone; another is sent")
            self._rescued.add(room)
            await self._send(room, RESCUE)
        else:
            log.warning("a telephone rings and nobody was sent; somebody is")
            self._greeters[room] = self._greeters.get(room, 0) + 1
            self._alone[room] = now_s + GREETER_EVERY_S
            await self._send(room, "")

    async def _send(self, room: str, metadata: str) -> None:
        try:
            await self._server.send(room, metadata)
        except Exception as error:  # whatever it is, it must not end the worker
            log.error("nobody could be sent to a caller who is alone (%s)", type(error).__name__)
            self._rescued.discard(room)  # the next look sends again
