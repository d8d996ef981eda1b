"""Callers of a livekit-server, seen from outside their rooms: where they stand, alone or not, and what helps them there.

For the worker, which carries no call itself.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aiohttp
from livekit import api
from livekit.protocol import models

from triage.errors import UsageError
from triage.lines.livekit.rooms import AGENT, BRIDGED, RULE, SIP
from triage.up import provision
from triage.up.line_files import Line

WITHIN_S = 5.0
"""livekit-server has answered within this, or it has not, s."""

log = logging.getLogger("triage.worker")


class Callers:
    """Of one line. Everything raises what the library raises, TimeoutError among it."""

    def __init__(self, line: Line, agent: str) -> None:
        """`agent`: the name under which processes of ours are sent for."""
        self._line, self._agent = line, agent

    async def rooms(self) -> list[str]:
        """Rooms of our calls with somebody in them, by their names."""
        async with self._asking() as client:
            rooms = (await client.room.list_rooms(api.ListRoomsRequest())).rooms
        beginning = f"{provision.ROOM_PREFIX}_"
        return [room.name for room in rooms if room.num_participants and room.name.startswith(beginning)]

    async def alone(self, room: str) -> bool:
        """A caller is in this room, and no agent."""
        async with self._asking() as client:
            there = await self._there(client, room)
        return not any(one.kind == AGENT for one in there) and any(_callers(there))

    async def send(self, room: str, metadata: str) -> None:
        """Have a process sent to the caller in this room."""
        async with self._asking() as client:
            await client.agent_dispatch.create_dispatch(
                api.CreateAgentDispatchRequest(agent_name=self._agent, room=room, metadata=metadata)
            )

    async def end(self, room: str) -> None:
        """End the call of the caller in this room, where no agent is, and no nurse has them."""
        async with self._asking() as client:
            there = await self._there(client, room)
            if any(one.kind == AGENT or BRIDGED in one.attributes for one in there):
                return
            for caller in _callers(there):
                await client.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=caller.identity))

    async def _there(self, client: api.LiveKitAPI, room: str) -> list[models.ParticipantInfo]:
        told: api.ListParticipantsResponse = await client.room.list_participants(api.ListParticipantsRequest(room=room))
        return list(told.participants)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[api.LiveKitAPI]:
        line = self._line
        client = api.LiveKitAPI(line.api_url, line.access.api_key, line.access.api_secret, failover=False)
        try:
            async with asyncio.timeout(WITHIN_S):
                yield client
        finally:
            await client.aclose()


def _callers(there: Iterable[models.ParticipantInfo]) -> list[models.ParticipantInfo]:
    """Who came in by a dispatch rule; the nurses that we dial did not."""
    return [one for one in there if one.kind == SIP and one.attributes.get(RULE)]


async def greeted(line: Line) -> None:
    """Our key is right. A server that is not there is no reason to end: it may come.

    Raises:
        UsageError: it refuses our key.
    """
    client = api.LiveKitAPI(
        line.api_url,
        line.access.api_key,
        line.access.api_secret,
        timeout=aiohttp.ClientTimeout(total=WITHIN_S),
        failover=False,
    )
    try:
        await client.room.list_rooms(api.ListRoomsRequest(names=["none"]))
    except api.ServerError as error:
        if error.status in (401, 403):
            raise UsageError(
                f"livekit-server on port {line.ports.server} refuses our key; it was started with other secrets: "
                "end it and run `triage up`"
            ) from None
        log.warning("livekit-server on port %d is not well (%s); going on", line.ports.server, error.code)
    except (aiohttp.ClientError, TimeoutError):
        log.warning("livekit-server on port %d does not answer yet; it is tried again and again", line.ports.server)
    finally:
        await client.aclose()
