"""One job's way to its room and to livekit-server: enter, see who rings, have a line to them, have somebody else sent."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from livekit import rtc

from triage.answering import RESCUE
from triage.clock import Clock
from triage.config import Settings
from triage.errors import Unavailable, UsageError
from triage.handoff.desk import FileDesk
from triage.lines.livekit.callers import Callers
from triage.lines.livekit.line import LiveKitLine
from triage.lines.livekit.rooms import RULE
from triage.lines.livekit.signalling import ServerSignalling
from triage.up import provision
from triage.up.line_files import Line
from triage.up.supervisor import leaf

TRUNK_WITHIN_S = 3.0
"""livekit-server has told the nurse trunk within this, or the call does without, s."""
ENTERED_WITHIN_S = 10.0
"""A room that cannot be entered within this is not entered at all; who rings goes back to the carrier, s."""
CLOSED_WITHIN_S = 2.0
RESCUED_LOOK_S = 0.05
RESCUED_WITHIN_S = 8.0
"""The process that is sent to the caller of a call that broke is in the room within this, or it never comes, s."""

log = logging.getLogger("triage.worker")


class Access:
    """Of one job."""

    def __init__(
        self,
        room: rtc.Room,
        job: str,
        line: Line,
        settings: Settings,
        *,
        rescuing: bool,
        connect: Callable[[], Awaitable[None]],
    ) -> None:
        """`job`: its id. `connect`: into the room, as the library does it."""
        self._room, self._job, self._line, self._settings = room, job, line, settings
        self._rescuing, self._connect = rescuing, connect
        self._trunk = ""
        self._signalling: ServerSignalling | None = None

    async def enter(self) -> None:
        """Connect to the room, asking for the nurse trunk meanwhile."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask_trunk())
                async with asyncio.timeout(ENTERED_WITHIN_S):
                    await self._connect()
        except* Exception as raised:  # the SDK's own; what it says may name the room
            log.error("the room cannot be entered (%s)", type(leaf(raised)).__name__)
            raise Unavailable("line", "room cannot be entered") from None

    async def _ask_trunk(self) -> None:
        try:
            async with asyncio.timeout(TRUNK_WITHIN_S):
                self._trunk = await provision.nurse_trunk_id(self._line)
        except (UsageError, TimeoutError):  # a REFER needs none
            log.warning("livekit-server tells no nurse trunk: nurses cannot be dialled in this call")

    def callers(self) -> list[Any]:
        """Who came in by a dispatch rule; the nurses that we dial did not."""
        sip = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
        found = self._room.remote_participants.values()
        return [one for one in found if one.kind == sip and one.attributes.get(RULE)]

    async def line_to(self, caller: str, clock: Clock, desk: FileDesk) -> LiveKitLine:
        """The line to one of them."""
        line, room = self._line, self._room
        self._signalling = ServerSignalling(
            line.url,
            line.access.api_key,
            line.access.api_secret,
            room.name,
            self._trunk,
            self._settings.line_nurse_address,
            self._settings.line_number,
            self._settings.line_media_timeout_s,
        )
        return LiveKitLine(
            room,
            caller,
            signalling=self._signalling,
            clock=clock,
            address_of=desk.uri,
            series=self._job[-6:] if self._rescuing else "",
        )

    async def rescue(self) -> None:
        """Have another process sent to the caller, and wait until it is in the room.

        Raises:
            Unavailable: nobody could be asked, or none came.
        """
        room = self._room
        agent = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        before = set(room.remote_participants)
        try:
            async with asyncio.timeout(RESCUED_WITHIN_S):
                await Callers(self._line, self._settings.line_agent).send(room.name, RESCUE)
                while not any(  # noqa: ASYNC110 events would need a handler for a thing that happens once
                    one.kind == agent for name, one in room.remote_participants.items() if name not in before
                ):
                    await asyncio.sleep(RESCUED_LOOK_S)
        except TimeoutError:
            raise Unavailable("worker", "nobody came") from None
        except Exception as error:  # the library's own
            raise Unavailable("worker", type(error).__name__) from None

    async def close(self) -> None:
        """Give up the connections to the server's API; the room is left by the job's end."""
        if self._signalling is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSED_WITHIN_S):
                    await self._signalling.close()
