"""One call's participant in a LiveKit room: of kind `sip`, with its attributes, audio and keys both ways, room RPCs.

It joins without subscribing to anything; `subscribe` takes the whole room from then on, whoever is in it. What others
publish is summed for the phone. Settings as measured best: the source takes 10 ms frames without a queue, streams give
20 ms at the codec's rate, RED and DTX are off. A frame that is being handed over is never cancelled: the SDK breaks.
"""

import asyncio
import datetime
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import livekit.api as api
import livekit.rtc as rtc
import numpy as np
from livekit.rtc.participant import PublishDTMFError, PublishTrackError

from triage.bench.seam.sound import Doubler, Mixer
from triage.bench.sip.ports import Pcm
from triage.bench.tasks import Tasks

log = logging.getLogger("triage.bench.seam")

KEYS = "0123456789*#ABCD"
"""Keys in the order of their codes."""
TOKEN_TTL = datetime.timedelta(hours=24)
LEAVE_S = 2.0
"""Leaving a room takes this at most."""
TELL_S = 1.0
"""A change of attributes that the server has not confirmed within this is left at that."""
LONGEST_QUEUE = 20
"""Frames of 10 ms from the phone that may wait for the SDK; older ones are dropped."""

RoomRpc = Callable[[str], Awaitable[str]]
"""Gets a payload, returns one."""


class JoinFailed(Exception):
    """The room could not be entered or the track not published."""


@dataclass(frozen=True)
class Access:
    """Where livekit-server is, and as whom we sign."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)


@dataclass(frozen=True)
class Seat:
    """Who joins which room."""

    room: str
    identity: str
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    room_config: Any = None
    """livekit.RoomConfiguration, used when the join makes the room."""
    room_preset: str = ""


def token_for(access: Access, seat: Seat) -> str:
    """Sign what lets a call into its room."""
    token = (
        api.AccessToken(access.api_key, access.api_secret)
        .with_identity(seat.identity)
        .with_name(seat.name)
        .with_metadata(seat.metadata)
        .with_attributes(dict(seat.attributes))
        .with_kind("sip")
        .with_ttl(TOKEN_TTL)
        .with_grants(
            api.VideoGrants(
                room_join=True,
                room=seat.room,
                can_publish=True,
                can_subscribe=True,
                can_publish_data=True,
                can_update_own_metadata=True,
            )
        )
    )
    if seat.room_config is not None:
        token = token.with_room_config(seat.room_config)
    if seat.room_preset:
        token = token.with_room_preset(seat.room_preset)
    signed: str = token.to_jwt()
    return signed


class RoomLeg:
    """The room's end of a call."""

    def __init__(self, tasks: Tasks, access: Access, seat: Seat) -> None:
        self.seat = seat
        self.on_audio: Callable[[Pcm], None] | None = None
        """Gets the sum of the room's voices, 20 ms at the phone's rate."""
        self.on_digit: Callable[[str], None] | None = None
        """Gets keys that a participant sent into the room."""
        self.on_gone: Callable[[], None] | None = None
        """Called once when we were put out, the room was deleted or the server lost; not after `leave`."""
        self.on_subscribed: Callable[[], None] | None = None
        """Called when `subscribed` has become true."""
        self.subscribed = False
        """Somebody's audio is subscribed, or another SIP participant is there."""
        self.gone = False
        """We were put out of the room, or it is no more."""
        self._tasks, self._access = tasks, access
        self._room: Any = rtc.Room()
        self._subscribing = False
        self._leaving = False
        self._mixer = Mixer()
        self._phone_rate = 8000
        self._source: Any = None
        self._doubler: Doubler | None = None
        self._frames: deque[Pcm] = deque(maxlen=LONGEST_QUEUE)
        self._more = asyncio.Event()
        self._pusher: asyncio.Task[None] | None = None

    @property
    def participant_id(self) -> str:
        """Id that the server gave us; empty before the join."""
        return str(self._room.local_participant.sid) if self._room.isconnected() else ""

    async def join(self) -> None:
        """Enter the room, hearing nothing yet. Raises: JoinFailed."""
        room = self._room
        room.on("track_published", self._track_published)
        room.on("track_subscribed", self._track_subscribed)
        room.on("participant_connected", self._participant_came)
        room.on("sip_dtmf_received", self._key_received)
        room.on("disconnected", self._disconnected)
        room.on("reconnected", self._reconnected)
        try:
            await room.connect(
                self._access.url, token_for(self._access, self.seat), rtc.RoomOptions(auto_subscribe=False)
            )
        except rtc.ConnectError as error:
            raise JoinFailed("the room could not be entered") from error

    async def publish(self, rate: int) -> None:
        """Publish the phone's voice, at 8000 or 16000 samples per second. Raises: JoinFailed."""
        self._source = rtc.AudioSource(rate, 1, queue_size_ms=0)
        track = rtc.LocalAudioTrack.create_audio_track(self.seat.identity, self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, red=False, dtx=False)
        try:
            await self._room.local_participant.publish_track(track, options)
        except PublishTrackError as error:
            raise JoinFailed("the track could not be published") from error
        self._pusher = self._tasks.start(self._push_frames(), "voice of a phone")

    def phone_speaks_at(self, rate: int) -> None:
        """Say at what rate the phone's audio comes, and wants the room's. Before `subscribe` and `push`."""
        self._phone_rate = rate
        self._doubler = Doubler() if self._source is not None and self._source.sample_rate == 2 * rate else None

    def subscribe(self) -> None:
        """Hear everybody who is in the room and everybody who will come."""
        self._subscribing = True
        for participant in self._room.remote_participants.values():
            self._participant_came(participant)

    def push(self, pcm: Pcm) -> None:
        """Hand on the phone's voice, a multiple of 10 ms."""
        if self._doubler is not None:
            pcm = self._doubler.double(pcm)
        size = self._source.sample_rate // 100
        for at in range(0, len(pcm) - size + 1, size):
            self._frames.append(pcm[at : at + size])
        self._more.set()

    async def press(self, key: str) -> None:
        """Send a key of the phone into the room."""
        if key in KEYS and self._room.isconnected():
            with suppress(PublishDTMFError):
                await self._room.local_participant.publish_dtmf(code=KEYS.index(key), digit=key)

    async def set_attributes(self, attributes: Mapping[str, str]) -> None:
        """Change attributes; the others see it some 10 ms later. Nothing happens once we are out of the room."""
        if self._room.isconnected():
            with suppress(Exception):  # a bare Exception is what the SDK raises when the room is lost meanwhile
                async with asyncio.timeout(TELL_S):
                    await self._room.local_participant.set_attributes(dict(attributes))

    def attributes(self) -> dict[str, str]:
        """Our attributes as the server has them."""
        return dict(self._room.local_participant.attributes) if self._room.isconnected() else {}

    def serve(self, method: str, answer: RoomRpc) -> None:
        """Answer a room RPC. After `join`."""

        async def called(invocation: Any) -> str:
            return await answer(str(invocation.payload))

        self._room.local_participant.register_rpc_method(method, called)

    async def leave(self) -> None:
        """Leave the room. Bounded in time; nothing happens the second time."""
        if self._leaving:
            return
        self._leaving = True
        self._more.set()
        if self._pusher is not None:
            await asyncio.wait([self._pusher], timeout=LEAVE_S)
        with suppress(Exception):  # gone is gone, whatever the SDK says of it
            async with asyncio.timeout(LEAVE_S):
                await self._room.disconnect()
        if self._source is not None:
            await self._source.aclose()

    # --- what the room tells

    def _participant_came(self, participant: Any) -> None:
        # Two phones in one room would otherwise wait for each other's voice for ever.
        if self._subscribing and participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP:
            self._is_subscribed()
        for publication in participant.track_publications.values():
            self._track_published(publication, participant)

    def _track_published(self, publication: Any, _: Any) -> None:
        if self._subscribing and publication.kind == rtc.TrackKind.KIND_AUDIO:
            publication.set_subscribed(True)

    def _track_subscribed(self, track: Any, publication: Any, _: Any) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._tasks.start(self._hear(track, str(publication.sid)), "voice of the room")
            self._is_subscribed()

    def _is_subscribed(self) -> None:
        self.subscribed = True
        if self.on_subscribed is not None:
            self.on_subscribed()

    def _key_received(self, received: Any) -> None:
        if self.on_digit is not None and received.digit in KEYS:
            self.on_digit(received.digit)

    def _reconnected(self) -> None:
        # A new server knows nothing of what we wanted to hear.
        if self._subscribing:
            self.subscribe()

    def _disconnected(self, *_: object) -> None:
        if not self._leaving and not self.gone:
            self.gone = True
            if self.on_gone is not None:
                self.on_gone()

    async def _hear(self, track: Any, voice: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=self._phone_rate, num_channels=1, frame_size_ms=20)
        try:
            async for event in stream:
                if self._leaving:
                    return
                frame = np.frombuffer(event.frame.data, np.int16)
                for due in self._mixer.push(voice, frame):
                    if self.on_audio is not None:
                        self.on_audio(due)
        finally:
            self._mixer.remove(voice)
            await stream.aclose()

    async def _push_frames(self) -> None:
        rate = self._source.sample_rate
        while not self._leaving:
            await self._more.wait()
            self._more.clear()
            while self._frames and not self._leaving:
                pcm = self._frames.popleft()
                await self._source.capture_frame(rtc.AudioFrame(pcm.tobytes(), rate, 1, len(pcm)))
