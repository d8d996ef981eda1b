"""The room's side of a test call: who may ring where, and an agent who joins a call's room and plays a tone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.duration_pb2 import Duration
from livekit import api, rtc

from tests.line.stack import Stack
from tests.line.telephony import AGENT_TONE, tone
from triage.bench.sip.ports import Pcm

ANSWERED, UNANSWERED, FOREIGN, UNKNOWN = "+15550199", "+15550198", "+15550197", "+15550196"
"""Numbers: a voice may take 10 s, or 1 s; one whose carrier lives elsewhere; one that nobody has."""
WAIT_S = 10.0


@dataclass(frozen=True)
class Nurse:
    """How the nurse's phone is dialled."""

    port: int

    def config(self) -> Any:
        return api.SIPOutboundConfig(hostname=f"127.0.0.1:{self.port}")


def client(stack: Stack) -> Any:
    access = stack.line.access
    return api.LiveKitAPI(stack.line.api_url, access.api_key, access.api_secret)


async def provision(lk: Any, *, hide: bool = True, agents: tuple[str, ...] = ()) -> None:
    """Trunks and rules for the four numbers."""
    for number, ring_s, address in ((ANSWERED, 10, "127.0.0.1/32"), (UNANSWERED, 1, "127.0.0.1/32"), (FOREIGN, 10, "10.0.0.0/8")):  # fmt: skip
        trunk = await lk.sip.create_inbound_trunk(
            api.CreateSIPInboundTrunkRequest(
                trunk=api.SIPInboundTrunkInfo(
                    name=f"in {number}",
                    numbers=[number],
                    allowed_addresses=[address],
                    ringing_timeout=Duration(seconds=ring_s),
                    max_call_duration=Duration(seconds=900),
                )
            )
        )
        await lk.sip.create_dispatch_rule(
            api.CreateSIPDispatchRuleRequest(
                dispatch_rule=api.SIPDispatchRuleInfo(
                    name=f"rule {number}",
                    trunk_ids=[trunk.sip_trunk_id],
                    hide_phone_number=hide,
                    metadata="of the rule",
                    attributes={"channel": "pstn"},
                    rule=api.SIPDispatchRule(
                        dispatch_rule_callee=api.SIPDispatchRuleCallee(room_prefix="call", randomize=True)
                    ),
                    room_config=api.RoomConfiguration(
                        empty_timeout=5,
                        departure_timeout=1,
                        agents=[api.RoomAgentDispatch(agent_name=name, metadata="m1") for name in agents],
                    ),
                )
            )
        )


async def rooms(lk: Any) -> set[str]:
    """Names of all rooms, deserted ones too."""
    return {room.name for room in (await lk.room.list_rooms(api.ListRoomsRequest())).rooms}


async def people(lk: Any) -> set[str]:
    """Who is in any room. The count that a list of rooms gives lags by seconds."""
    found = set()
    for name in await rooms(lk):
        listed = await lk.room.list_participants(api.ListParticipantsRequest(room=name))
        found |= {participant.identity for participant in listed.participants}
    return found


class RoomAgent:
    """Somebody in the room, as the worker would be."""

    def __init__(self, stack: Stack, room: str, identity: str = "agent") -> None:
        self.name, self.identity = room, identity
        self.room: Any = rtc.Room()
        self.heard: dict[str, list[Pcm]] = {}
        self.keys: list[str] = []
        self.statuses: list[str] = []
        self.changed = asyncio.Event()
        self._stack = stack
        self._listening: set[asyncio.Future[None]] = set()
        self._source: Any = None

    async def join(self, *, publish: bool = True) -> None:
        access = self._stack.line.access
        token = (
            api.AccessToken(access.api_key, access.api_secret)
            .with_identity(self.identity)
            .with_grants(api.VideoGrants(room_join=True, room=self.name))
        )
        self.room.on("track_subscribed", self._subscribed)
        self.room.on("sip_dtmf_received", lambda key: self._note(self.keys, key.digit))
        self.room.on("participant_attributes_changed", self._attributes)
        self.room.on("participant_disconnected", lambda _: self.changed.set())
        self.room.on("participant_connected", lambda _: self.changed.set())
        await self.room.connect(self._stack.line.url, token.to_jwt())
        if publish:
            await self.publish()

    async def publish(self) -> None:
        self._source = rtc.AudioSource(16_000, 1, queue_size_ms=100)
        track = rtc.LocalAudioTrack.create_audio_track("agent", self._source)
        await self.room.local_participant.publish_track(track)
        self._start(self._play())

    def phone(self, identity: str = "") -> Any:
        """The SIP participant; None where there is none."""
        sip = [p for p in self.room.remote_participants.values() if p.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP]
        return next((p for p in sip if not identity or p.identity == identity), None)

    async def until(self, true: Callable[[], bool], within_s: float = WAIT_S) -> None:
        async with asyncio.timeout(within_s):
            while not true():
                self.changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.1)

    async def active(self) -> Any:
        """The caller, once the call is active."""
        await self.until(lambda: self.phone() is not None and self.phone().attributes["sip.callStatus"] == "active")
        return self.phone()

    def audio(self, identity: str) -> Pcm:
        return np.concatenate(self.heard[identity]) if self.heard.get(identity) else np.zeros(0, np.int16)

    async def leave(self) -> None:
        for job in self._listening:
            job.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        with suppress(Exception):
            await asyncio.wait_for(self.room.disconnect(), 3)

    def _start(self, work: Any) -> None:
        job = asyncio.ensure_future(work)
        self._listening.add(job)
        job.add_done_callback(self._listening.discard)

    def _note(self, where: list[str], what: str) -> None:
        where.append(what)
        self.changed.set()

    def _attributes(self, changed: dict[str, str], _: Any) -> None:
        if "sip.callStatus" in changed:
            self._note(self.statuses, changed["sip.callStatus"])
        self.changed.set()

    def _subscribed(self, track: Any, _: Any, participant: Any) -> None:
        self._start(self._listen(track, participant.identity))

    async def _listen(self, track: Any, identity: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=16_000, num_channels=1, frame_size_ms=20)
        async for event in stream:
            self.heard.setdefault(identity, []).append(np.frombuffer(event.frame.data, np.int16).copy())

    async def _play(self) -> None:
        wave = tone(AGENT_TONE, 0.02 * 11, 16_000)  # whole periods
        while True:
            for at in range(0, len(wave), 320):
                await self._source.capture_frame(rtc.AudioFrame(wave[at : at + 320].tobytes(), 16_000, 1, 320))


@asynccontextmanager
async def agent_in_next_room(
    stack: Stack, lk: Any, *, publish: bool = True, identity: str = "agent"
) -> AsyncIterator["asyncio.Future[RoomAgent]"]:
    """Join the room of the next call as soon as it is there; the future holds the agent then."""
    before = await rooms(lk)
    joined: list[RoomAgent] = []

    async def join() -> RoomAgent:
        async with asyncio.timeout(WAIT_S):
            while not (new := await rooms(lk) - before):  # noqa: ASYNC110 the API tells nobody of a new room
                await asyncio.sleep(0.03)
        agent = RoomAgent(stack, new.pop(), identity)
        joined.append(agent)
        await agent.join(publish=publish)
        return agent

    joining = asyncio.ensure_future(join())
    try:
        yield joining
    finally:
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        for agent in joined:
            await agent.leave()
            with suppress(Exception):  # deleted already
                await lk.room.delete_room(api.DeleteRoomRequest(room=agent.name))
