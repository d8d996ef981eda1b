"""What needs livekit-server's API: transfers, dialled legs, who is subscribed to whom. `ServerSignalling` is the real one.

Every failure is a `SignallingError` of one of few kinds; the library's own texts may hold numbers and go no further.
"""

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, Protocol

import aiohttp
from google.protobuf.duration_pb2 import Duration
from livekit import api

log = logging.getLogger("triage.lines.livekit")

ANSWER_S = 4.0
"""How long livekit-server may take for anything that rings no telephone."""
LEEWAY_S = 1.0
"""A request that rings a telephone outlives the ringing by this."""
SUCCESSFUL = 2
"""`STS_TRANSFER_SUCCESSFUL`, in the answers of servers after 1.13.5."""


class Fault(StrEnum):
    """Why livekit-server did not do what it was asked."""

    REFUSED = "refused"  # a SIP answer; `sip_status` is its status
    PENDING = "pending"  # the caller is being transferred already
    GONE = "gone"  # no such participant, or no SIP call behind it
    INVALID = "invalid"  # the request itself: a target that is no SIP URI, a header that may not be sent
    FORBIDDEN = "forbidden"  # our key
    UNKNOWN = "unknown"  # no answer in time, no SIP service, no server, Redis gone: nobody knows what became of it


class SignallingError(Exception):
    """livekit-server did not do it, or nobody knows whether it was done."""

    def __init__(self, kind: Fault, sip_status: int = 0) -> None:
        super().__init__(f"{kind.value} {sip_status or ''}".rstrip())
        self.kind = kind
        self.sip_status = sip_status
        """0 where no SIP answer came."""


class Signalling(Protocol):
    """The API of livekit-server, as far as one call needs it. Everything raises SignallingError and nothing else."""

    async def refer(self, caller: str, uri: str, *, headers: Mapping[str, str], answer_within_s: float) -> bool:
        """Send the caller elsewhere by SIP REFER, our sound going on; returns when the service says that it succeeded.

        True: the answer says so itself. False: it was empty, which the end of the call before any result gives as well.
        """
        ...

    async def dial(self, uri: str, identity: str, *, headers: Mapping[str, str], answer_within_s: float) -> None:
        """Ring a telephone and let it into the room as `identity`; returns when it was answered."""
        ...

    async def subscribe(self, identity: str, tracks: Sequence[str], on: bool) -> None:
        """Let a participant hear these tracks, or no longer. Its own later wish overrides it."""
        ...

    async def may_hear(self, identity: str, may: bool) -> None:
        """Whether a participant may be subscribed to anything at all. No wish of its own overrides that."""
        ...

    async def mark(self, identity: str, attributes: Mapping[str, str]) -> None:
        """Give a participant attributes beside those it has."""
        ...

    async def remove(self, identity: str) -> None:
        """Put a participant out of the room; the SIP service hangs up, or stops ringing."""
        ...

    async def end_call(self, identity: str) -> None:
        """End a participant's telephone call."""
        ...


class ServerSignalling:
    """`Signalling` over livekit-api, for one room."""

    def __init__(
        self,
        url: str,
        api_key: str,
        api_secret: str,
        room: str,
        nurse_trunk: str,
        nurse_address: str = "",
        our_number: str = "triage",
        media_timeout_s: float = 600.0,
    ) -> None:
        """`url` is http or ws; `nurse_trunk` the id of the outbound trunk, `nurse_address` its host and port.

        A target at another host than `nurse_address` is dialled there, past the trunk and with `our_number` (what the
        nurse's telephone shows); without `nurse_address` every target goes by the trunk, without a trunk none does. `media_timeout_s`: a nurse's telephone may be silent for
        so long, on hold or muted; said with every leg, as one that goes past the trunk has nothing from it.
        """
        self._where = (url, api_key, api_secret)
        self._room, self._trunk, self._address, self._number = room, nurse_trunk, nurse_address, our_number
        self._media = api.SIPMediaConfig(media_timeout=_duration(media_timeout_s))
        self._client: Any = None

    async def refer(  # noqa: D102 see Signalling
        self, caller: str, uri: str, *, headers: Mapping[str, str], answer_within_s: float
    ) -> bool:
        request = api.TransferSIPParticipantRequest(
            participant_identity=caller,
            room_name=self._room,
            transfer_to=uri,
            play_dialtone=False,
            headers=dict(headers),
            ringing_timeout=_duration(answer_within_s),
        )
        async with self._asked():
            answer = await self._service().sip.transfer_sip_participant(request, timeout=answer_within_s + LEEWAY_S)
            if answer.status != SUCCESSFUL and (answer.transfer_id or answer.status or answer.reason):
                status = answer.sip_status.code if answer.HasField("sip_status") else 0
                raise SignallingError(Fault.REFUSED if status else Fault.UNKNOWN, status)
            return bool(answer.status == SUCCESSFUL)

    async def dial(  # noqa: D102 see Signalling
        self, uri: str, identity: str, *, headers: Mapping[str, str], answer_within_s: float
    ) -> None:
        user, host = _parts(uri)
        if self._trunk and (not host or not self._address or host == self._address):
            through: dict[str, Any] = {"sip_trunk_id": self._trunk}
        elif host or self._address:
            through = {"trunk": api.SIPOutboundConfig(hostname=host or self._address), "sip_number": self._number}
        else:
            raise SignallingError(Fault.INVALID)
        request = api.CreateSIPParticipantRequest(
            **through,
            sip_call_to=user,
            room_name=self._room,
            participant_identity=identity,
            participant_name="nurse",
            headers=dict(headers),
            media=self._media,
            hide_phone_number=True,
            ringing_timeout=_duration(answer_within_s),
            wait_until_answered=True,
        )
        try:
            async with self._asked():
                await self._service().sip.create_sip_participant(request, timeout=answer_within_s + LEEWAY_S)
        except SignallingError as error:
            if error.kind is not Fault.GONE:
                raise
            if not (self._trunk and (host or self._address)):
                raise SignallingError(Fault.INVALID) from None
            self._trunk = ""  # a Redis that came back empty knows it no more, and after provisioning it has another id
            await self.dial(uri, identity, headers=headers, answer_within_s=answer_within_s)

    async def subscribe(self, identity: str, tracks: Sequence[str], on: bool) -> None:  # noqa: D102 see Signalling
        if not tracks:
            return
        async with self._asked():
            await self._service().room.update_subscriptions(
                api.UpdateSubscriptionsRequest(
                    room=self._room, identity=identity, track_sids=list(tracks), subscribe=on
                )
            )

    async def may_hear(self, identity: str, may: bool) -> None:  # noqa: D102 see Signalling
        async with self._asked():
            await self._service().room.update_participant(
                api.UpdateParticipantRequest(
                    room=self._room,
                    identity=identity,
                    permission=api.ParticipantPermission(
                        can_subscribe=may, can_publish=True, can_publish_data=True, can_update_metadata=True
                    ),
                )
            )

    async def mark(self, identity: str, attributes: Mapping[str, str]) -> None:  # noqa: D102 see Signalling
        async with self._asked():
            await self._service().room.update_participant(
                api.UpdateParticipantRequest(room=self._room, identity=identity, attributes=dict(attributes))
            )

    async def remove(self, identity: str) -> None:  # noqa: D102 see Signalling
        async with self._asked():
            await self._service().room.remove_participant(
                api.RoomParticipantIdentity(room=self._room, identity=identity)
            )

    async def end_call(self, identity: str) -> None:
        """As `remove`: the SIP service answers it with a BYE. The room RPC that ends calls needs the leg's own help."""
        await self.remove(identity)

    async def close(self) -> None:
        """Give up the connections; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _service(self) -> Any:
        if self._client is None:
            self._client = api.LiveKitAPI(*self._where, timeout=aiohttp.ClientTimeout(total=ANSWER_S), failover=False)
        return self._client

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[None]:
        try:
            yield
        except api.ServerError as error:
            raise fault_of(error) from None
        except SignallingError:
            raise
        except Exception as error:  # no server, no answer in time, an answer that cannot be read
            log.warning("livekit-server gave no answer of use: %s", type(error).__name__)
            raise SignallingError(Fault.UNKNOWN) from None


def fault_of(error: Any) -> SignallingError:
    """What an error of the API means."""
    status = getattr(error, "sip_status_code", None)
    if status:
        return SignallingError(Fault.REFUSED, int(status))
    match error.code:
        case "not_found":
            return SignallingError(Fault.GONE)
        case "invalid_argument" if "already being transferred" in error.message:
            return SignallingError(Fault.PENDING)
        case "invalid_argument" if "no SIP session" in error.message:
            return SignallingError(Fault.GONE)
        case "failed_precondition" if "non established" in error.message:
            return SignallingError(Fault.GONE)
        case "invalid_argument" | "malformed" | "failed_precondition":
            return SignallingError(Fault.INVALID)
    return SignallingError(Fault.FORBIDDEN if error.status in (401, 403) else Fault.UNKNOWN)


def _parts(uri: str) -> tuple[str, str]:
    """User part and host with port of a SIP URI over UDP; of a tel URI the number and no host."""
    if sip := re.fullmatch(r"<?sip:([^@;?>]+)@([^;?>]+)([^>]*)>?", uri.strip(), re.IGNORECASE):
        if not re.search(r";transport=(?!udp(?:[;?]|$))", sip[3], re.IGNORECASE):
            return sip[1], sip[2]
    elif tel := re.fullmatch(r"<?tel:([^;?>@]+)[^>]*>?", uri.strip(), re.IGNORECASE):
        return tel[1], ""
    raise SignallingError(Fault.INVALID)


def _duration(seconds: float) -> Any:
    made = Duration()
    made.FromNanoseconds(round(seconds * 1e9))
    return made
