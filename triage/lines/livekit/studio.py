"""The room's sound, as far as a line needs it: publish a voice, listen to a track, say who may hear which of ours.

The only place that opens streams and sources of the SDK. Settings as measured best: 16 kHz, blocks of 10 ms straight
through (the source has no queue of its own, so nothing waits where it cannot be taken back), RED and DTX off.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import livekit.rtc as rtc
import numpy as np

from triage.errors import Unavailable
from triage.ports import RATE, Pcm

CLOSE_S = 1.0
"""Taking a track back, or ending a stream, takes this at most."""
PUBLISH_S = 8.0
"""A room that has not taken a track within this takes none."""


class Mouth(Protocol):
    """One published track of ours."""

    @property
    def sid(self) -> str:
        """Its id; another one after the room was entered anew."""
        ...

    async def capture(self, pcm: Pcm) -> None:
        """Give it 10 ms of sound. One call at a time, never cancelled."""
        ...

    async def close(self) -> None:
        """Take it back; idempotent, never raises."""
        ...


class Studio(Protocol):
    """Sound of one room."""

    async def publish(self, name: str) -> Mouth:
        """Publish a track.

        Raises:
            Unavailable: the room does not take it.
        """
        ...

    def listen(self, track: Any) -> AsyncIterator[Pcm]:
        """20 ms frames of a track at 16 kHz, until it ends."""
        ...

    def permit(self, allowed: Mapping[str, Sequence[str] | None]) -> None:
        """Who may hear which of our tracks, by identity; None stands for all of them. Others hear nothing of us."""
        ...


class RtcStudio:
    """`Studio` over the rtc SDK."""

    def __init__(self, room: Any) -> None:
        self._room = room

    async def publish(self, name: str) -> Mouth:  # noqa: D102 see Studio
        source = rtc.AudioSource(RATE, 1, queue_size_ms=0)
        track = rtc.LocalAudioTrack.create_audio_track(name, source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, red=False, dtx=False)
        try:
            async with asyncio.timeout(PUBLISH_S):
                publication = await self._room.local_participant.publish_track(track, options)
        except Exception as error:  # the SDK raises bare ones too
            await _freed(source)
            raise Unavailable("line", "track not published") from error
        return _RtcMouth(self._room, source, publication)

    async def listen(self, track: Any) -> AsyncIterator[Pcm]:  # noqa: D102 see Studio
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=20)
        try:
            async for event in stream:
                yield np.frombuffer(event.frame.data, np.int16).copy()
        finally:
            await _freed(stream)

    def permit(self, allowed: Mapping[str, Sequence[str] | None]) -> None:  # noqa: D102 see Studio
        self._room.local_participant.set_track_subscription_permissions(
            allow_all_participants=False,
            participant_permissions=[
                rtc.ParticipantTrackPermission(
                    participant_identity=identity, allow_all=sids is None, allowed_track_sids=list(sids or ())
                )
                for identity, sids in allowed.items()
            ],
        )


class _RtcMouth:
    def __init__(self, room: Any, source: Any, publication: Any) -> None:
        self._room, self._source, self._publication = room, source, publication
        self._closed = False

    @property
    def sid(self) -> str:
        return str(self._publication.sid)

    async def capture(self, pcm: Pcm) -> None:
        if not self._closed:
            await self._source.capture_frame(rtc.AudioFrame(pcm.tobytes(), RATE, 1, len(pcm)))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with suppress(Exception):  # a room that is gone has no track to take back, and may not even say so
            async with asyncio.timeout(CLOSE_S):
                await self._room.local_participant.unpublish_track(self.sid)
        await _freed(self._source)


async def _freed(held: Any) -> None:
    """Free something of the SDK's, which may never say that it did."""
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_S):
            await held.aclose()
