"""Callers with whom nobody of us is: which rooms they stand in, and who is sent there. One per worker.

A call's process that dies leaves its caller in a silent room; so does a worker that dies, and who rings while no worker
is there rings in a room that nobody was told of. So the worker looks at the rooms whenever livekit-server has taken it
on, and every few seconds: a caller who is alone for a moment gets a process, a rescue where the room had a call of ours.

Asking for a process is not having one: only somebody in the room ends the tries. Where a caller was cut off and nobody
comes, their call is ended and somebody is woken, as an open line that says nothing helps nobody.

Nothing here imports LiveKit: what is in the rooms comes from outside, so that tests can bring their own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from triage.answering import RESCUE
from triage.once import UsedRooms, Visit
from triage.watch import CALLER_LEFT_ALONE

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
RESCUES = 3
"""How often somebody is sent to a caller who was cut off."""
RESCUE_EVERY_S = 8.0
"""Whoever is sent there has this long, unless it is known to have died, s."""

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
    """Have a process sent to this room, with this metadata. TimeoutError: it may come all the same."""
    busy: Callable[[], Collection[str]]
    """Rooms that a process of this worker is in, or was promised to."""
    end: Callable[[str], Awaitable[None]]
    """End the call of the caller in this room, unless a nurse has them."""


@dataclass(slots=True)
class _Sent:
    """Who was sent to one room."""

    rescues: int = 0
    greeters: int = 0
    next_s: float = 0.0
    """Loop time before which nobody else is, s."""
    given_up: bool = False


class Rescues:
    """Sends a process to callers who are alone, again a few times while nobody is there."""

    def __init__(self, server: Server, rooms: UsedRooms, group: asyncio.TaskGroup) -> None:
        self._server, self._rooms, self._group = server, rooms, group
        self.over = False
        """The worker ends: who is left is being brought to a nurse, or nobody can help."""
        self.ending = False
        """The worker takes no more calls: who rings is left to others, who was cut off is not."""
        self._sent: dict[str, _Sent] = {}
        self._alone: dict[str, float] = {}
        """Loop time from which on a caller counts as alone, by room, s."""
        self._taken_on = asyncio.Event()
        self._blind = False

    @property
    def waiting(self) -> bool:
        """A caller is alone, or somebody who was sent may not be there yet."""
        now_s = asyncio.get_running_loop().time()
        sent = (one for one in self._sent.values() if one.rescues and not one.given_up)
        return bool(self._alone) or any(now_s < one.next_s for one in sent)

    def taken_on(self) -> None:
        """livekit-server knows us (again): look at once."""
        self._taken_on.set()

    def died(self, room: str, *, rescuing: bool) -> None:
        """A call's process died in this room; `rescuing`: it had been sent as a rescue."""
        if self.over or not room:
            return
        sent = self._sent.setdefault(room, _Sent())
        if rescuing:  # by us, or by a call that broke
            sent.rescues = max(sent.rescues, 1)
        if sent.rescues < RESCUES:
            log.error("a call's process died; another is sent to its caller")
            self._rescue(room, sent)
        else:
            log.error("a process that rescued a caller died too; nobody else is sent")

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
                await self._look()
            self._blind = False
        except Exception as error:  # whatever it is, it must not end the worker
            if not self._blind:
                log.warning("livekit-server does not tell who is alone (%s); asked again", type(error).__name__)
            self._blind = True

    async def _look(self) -> None:
        """Look once, and send to whom it is time. Raises what the server's questions raise."""
        now_s = asyncio.get_running_loop().time()
        there = await self._server.rooms()
        self._sent = {name: sent for name, sent in self._sent.items() if name in there or sent.next_s > now_s}
        alone = [name for name in there if self._ours_to_help(name) and await self._server.alone(name)]
        self._alone = {name: self._alone.get(name, now_s + ALONE_S) for name in alone}
        for name in alone:
            if now_s >= self._alone[name] and not self.over and self._ours_to_help(name):
                self._help(name, now_s)

    def _ours_to_help(self, room: str) -> bool:
        """Nobody of this machine is there or on the way, and we have not done all that we do."""
        if room in self._server.busy():
            return False
        visit, sent = self._rooms.visit(room), self._sent.get(room, _Sent())
        greeted = visit is Visit.AGAIN or bool(sent.rescues)
        return visit is not Visit.TAKEN and (greeted or (sent.greeters < GREETERS and not self.ending))

    def _help(self, room: str, now_s: float) -> None:
        sent = self._sent.setdefault(room, _Sent())
        if now_s < sent.next_s:
            return
        if self._rooms.visit(room) is not Visit.AGAIN and not sent.rescues:
            log.warning("a telephone rings and nobody was sent; somebody is")
            sent.greeters += 1
            sent.next_s = now_s + GREETER_EVERY_S
            self._group.create_task(self._send(room, "", sent))
        elif sent.rescues < RESCUES:
            log.error("a caller whose process is gone is alone; another is sent")
            self._rescue(room, sent)
        else:
            self._give_up(room, sent)

    def _rescue(self, room: str, sent: _Sent) -> None:
        sent.rescues += 1
        sent.next_s = asyncio.get_running_loop().time() + RESCUE_EVERY_S
        self._group.create_task(self._send(room, RESCUE, sent))

    def _give_up(self, room: str, sent: _Sent) -> None:
        if not sent.given_up:
            log.error("page %s: nobody came to a caller who is alone; their call is ended", CALLER_LEFT_ALONE)
        sent.given_up = True
        sent.next_s = asyncio.get_running_loop().time() + RESCUE_EVERY_S
        self._group.create_task(self._end(room))

    async def _send(self, room: str, metadata: str, sent: _Sent) -> None:
        try:
            await self._server.send(room, metadata)
        except TimeoutError:
            log.error("nobody says whether somebody was sent to a caller who is alone")
        except Exception as error:  # whatever it is, it must not end the worker
            log.error("nobody could be sent to a caller who is alone (%s)", type(error).__name__)
            if metadata == RESCUE:  # the next look sends again
                sent.rescues, sent.next_s = sent.rescues - 1, 0.0

    async def _end(self, room: str) -> None:
        try:
            await self._server.end(room)
        except Exception as error:  # as above
            log.error("the call of a caller who is alone cannot be ended (%s); tried again", type(error).__name__)
