"""`SipBench`: the telephone side and the room side joined; takes livekit-sip's place beside livekit-server."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from triage.bench.faults import Faults
from triage.bench.legs import Around, DialledLeg, InboundLeg
from triage.bench.seam import messages
from triage.bench.seam.bus import Bus
from triage.bench.seam.calls import IOINFO
from triage.bench.seam.room import Access
from triage.bench.seam.rpc import RpcClient, RpcError, RpcServer, new_id
from triage.bench.sip.ports import IncomingCall, SipAgent
from triage.bench.tasks import Tasks
from triage.bench.transfers import Transfers

SERVICE = "SIPInternal"
CREATE = "CreateSIPParticipant"
PARTING_S = 3.0
"""How long the calls get to leave their rooms at the end."""


class SipBench:
    """A whole SIP service on one machine. Use as an async context manager; it takes calls inside."""

    def __init__(
        self,
        agent: SipAgent,
        access: Access,
        *,
        redis: tuple[str, int],
        redis_password: str = "",
        faults: Faults | None = None,
    ) -> None:
        """`redis` is host and port of the Redis that livekit-server uses."""
        self._agent, self._access = agent, access
        self._redis, self._password = redis, redis_password
        self._faults = faults or Faults()
        self._inside = AsyncExitStack()
        self._around: Around | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()

    @property
    def calls(self) -> int:
        """Calls with a participant in a room."""
        return len(self._around.legs) if self._around is not None else 0

    async def __aenter__(self) -> Self:
        """Start. Raises: Unavailable when Redis does not answer, BenchError when the SIP port cannot be had."""
        async with AsyncExitStack() as inside:
            tasks = await inside.enter_async_context(Tasks())
            bus = Bus(tasks, *self._redis, self._password)
            inside.push_async_callback(bus.stop)
            await bus.start()
            io, server = RpcClient(bus, tasks, IOINFO), RpcServer(bus, tasks, SERVICE)
            await io.start()
            self._around = Around(
                tasks,
                self._agent,
                self._access,
                io,
                server,
                Transfers(tasks, self._faults),
                self._faults,
            )
            await server.serve(CREATE, "", self._create)
            self._agent.on_call = self._rang
            inside.push_async_callback(self._part)
            await self._agent.start()
            self._inside = inside.pop_all()
        return self

    async def drained(self) -> None:
        """Take no new calls from now on; return when the last one has ended."""
        self._agent.on_call = None
        while self._running:
            self._idle.clear()
            await self._idle.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inside.aclose()

    async def _part(self) -> None:
        """Hang up everywhere, and leave every room before the rtc library goes."""
        self._agent.on_call = None
        await self._agent.stop()
        if self._running:
            await asyncio.wait(self._running, timeout=PARTING_S)

    def _rang(self, call: IncomingCall) -> None:
        around = self._around
        assert around is not None
        self._carry(InboundLeg(around, new_id("SCL_"), call).run(), "call that came in")

    def _carry(self, run: Coroutine[Any, Any, None], name: str) -> None:
        assert self._around is not None
        task = self._around.tasks.start(run, name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: self._tell_when_idle())

    def _tell_when_idle(self) -> None:
        if not self._running:
            self._idle.set()

    async def _create(self, raw: bytes, _: float) -> bytes:
        around = self._around
        assert around is not None
        request = messages.CreateRequest.FromString(raw)
        if not request.room_name:
            raise RpcError("invalid_argument", "room name must be set")
        leg = DialledLeg(around, request)
        await leg.join()
        assert leg.room is not None
        answer = messages.CreateResponse(
            participant_id=leg.room.participant_id,
            participant_identity=request.participant_identity,
            sip_call_id=request.sip_call_id,
        )
        if request.wait_until_answered:
            await leg.dial()
            self._carry(leg.run(), "call that was dialled")
            if self._faults.late_answer_s:
                await asyncio.sleep(self._faults.late_answer_s)
        else:
            self._carry(leg.dial_and_run(), "call that was dialled")
        return bytes(answer.SerializeToString())
