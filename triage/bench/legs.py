"""Calls between a phone and a room: one that came in, one that we dialled. Order of steps as in livekit-sip v1.11.0.

Came in: ask whose it is (100 was sent) · ring · ask where it goes · be there for transfers · join · publish · subscribe
to everybody · wait for a voice · answer · wait for the phone's first packet, 1 s at most · status active.

Dialled: be there for transfers · join and publish with status dialing · INVITE · status ringing · answered · status
active · subscribe to everybody in the room, whoever they are.

Either ends with its phone, its room, a room RPC or its longest duration: status hangup, BYE, out of the room.
"""

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from triage.bench.faults import Faults
from triage.bench.seam import messages
from triage.bench.seam.calls import (
    CALL_ID,
    LONGEST_CALL_S,
    MEDIA_TIMEOUT_S,
    RING_S,
    STATUS,
    CallStatus,
    HeaderRules,
    Verdict,
    dispatch,
    marked,
    remote_headers,
)
from triage.bench.seam.room import Access, JoinFailed, RoomLeg, Seat
from triage.bench.seam.rpc import RpcClient, RpcError, RpcServer, sip_error
from triage.bench.seam.sound import RingTone
from triage.bench.sip.ports import (
    BenchError,
    Call,
    CallOver,
    CallRefused,
    CallTimedOut,
    EndReason,
    IncomingCall,
    Pcm,
    SipAgent,
)
from triage.bench.tasks import Tasks
from triage.bench.transfers import DEFAULT_S, Order, Transfers
from triage.errors import Unavailable

log = logging.getLogger("triage.bench.sip_bench")

FIRST_PACKET_S = 1.0
"""A call is active this long after its answer at the latest, whether the phone has sent audio or not."""
DROPPED_S = 32.0
"""A call that is not meant for us gets no answer for this long; then the phone is told, so that it is forgotten here."""
MOST_DROPPED = 8
"""So many calls wait without an answer at the most; a flood of them must not keep others out."""
TRANSFER = "TransferSIPParticipant"


def quoted(text: str) -> str:
    """What a stranger wrote, for a log line: it neither ends its quotation marks nor the line."""
    return json.dumps(text)


@dataclass(frozen=True)
class Around:
    """What every leg needs."""

    tasks: Tasks
    agent: SipAgent
    access: Access
    io: RpcClient
    server: RpcServer
    transfers: Transfers
    faults: Faults
    legs: "dict[str, Leg]" = field(default_factory=dict)
    """Calls with a participant, by LiveKit's id."""
    dropped: set[str] = field(default_factory=set)
    """Calls that wait for an answer which will not come."""


class Leg(ABC):
    """One call and its participant."""

    def __init__(self, around: Around, call_id: str) -> None:
        self.id = call_id
        """LiveKit's id of the call, `SCL_...`."""
        self.call: Call | None = None
        self.room: RoomLeg | None = None
        self._around = around
        self._rules = HeaderRules()
        self._news = asyncio.Event()
        self._asked_to_end: dict[str, str] | None = None
        self._held = False
        self._tone: RingTone | None = None
        self._heard = False

    # --- for transfers

    def hold(self, held: bool) -> None:
        """Cut the audio both ways, or give it back."""
        self._held = held

    def ring_tone(self, on: bool) -> None:
        """Let the phone hear a ring tone instead of the room, or the room again."""
        self._tone = RingTone(self.call.codec.rate) if on and self.call is not None else None

    async def transfer(self, raw: bytes, _: float) -> bytes:
        """Answer a transfer request for this call. Raises: RpcError."""
        asked = messages.TransferRequest.FromString(raw)
        log.info("transferring call callID=%s transferTo=%s", self.id, quoted(asked.transfer_to))
        if self._around.legs.get(self.id) is not self:
            raise RpcError("not_found", "unknown call")
        attributes = self.room.attributes() if self.room is not None else {}
        order = Order(
            asked.transfer_to,
            self._rules.headers(attributes, asked.headers),
            asked.ringing_timeout.ToNanoseconds() / 1e9 or DEFAULT_S,
            asked.play_dialtone,
        )
        await self._around.transfers.transfer(self.id, self, order)
        return b""

    # --- for both kinds

    async def _enter(self, seat: Seat) -> RoomLeg:
        """Register, then join. Raises: JoinFailed, Unavailable."""
        room = self.room = RoomLeg(self._around.tasks, self._around.access, seat)
        room.on_subscribed = room.on_gone = self._news.set
        self._around.legs[self.id] = self
        await self._around.server.serve(TRANSFER, self.id, self.transfer)
        await room.join()
        room.serve("lk.sip.GetRemoteHeaders", self._remote_headers)
        room.serve("lk.sip.EndCall", self._end_call)
        log.info("joined callID=%s room=%s participant=%s", self.id, quoted(seat.room), quoted(seat.identity))
        return room

    def _connect(self, call: Call, room: RoomLeg) -> None:
        """Join the two directions of audio and of keys."""
        room.phone_speaks_at(call.codec.rate)
        room.on_audio = self._to_phone
        room.on_digit = call.send_digits
        call.on_audio = self._to_room
        call.on_digit = lambda key: self._press(room, key)

    def _press(self, room: RoomLeg, key: str) -> None:
        self._around.tasks.start(room.press(key), "key of a phone")

    def _to_phone(self, pcm: Pcm) -> None:
        if self.call is not None and not self._held:
            self.call.send_audio(self._tone.next(len(pcm)) if self._tone is not None else pcm)

    def _to_room(self, pcm: Pcm) -> None:
        if not self._heard:
            self._heard = True
            self._news.set()
        if self.room is not None and not self._held:
            self.room.push(pcm)

    async def _remote_headers(self, payload: str) -> str:
        asked = json.loads(payload) if payload else {}
        return json.dumps({"headers": remote_headers(self.call.headers if self.call else {}, asked)})

    async def _end_call(self, payload: str) -> str:
        asked = json.loads(payload) if payload else {}
        self._asked_to_end = {str(k): str(v) for k, v in (asked.get("headers") or {}).items()}
        self._news.set()
        return "{}"

    @property
    def _over(self) -> bool:
        ended = self.call is not None and self.call.ended is not None
        return ended or self._asked_to_end is not None or (self.room is not None and self.room.gone)

    async def _until(self, true: Callable[[], bool], within_s: float) -> bool:
        """Wait until something is true or the call is over; say whether it became true."""
        try:
            async with asyncio.timeout(within_s):
                while not (true() or self._over):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass  # then it is not true
        return true()

    async def _live(self, longest_s: float) -> None:
        await self._until(lambda: False, min(longest_s or LONGEST_CALL_S, LONGEST_CALL_S))

    async def _close(self, *, hangup: bool) -> None:
        """End what is left of the call. `hangup`: it ended as calls do, not because something failed."""
        self._around.legs.pop(self.id, None)
        room, call = self.room, self.call
        telling = None
        if room is not None and hangup:
            told = room.set_attributes({STATUS: CallStatus.HANGUP})
            telling = self._around.tasks.start(told, "status of a call")
        if call is not None and call.ended is None:
            attributes = room.attributes() if room is not None else {}
            try:
                await call.hang_up(self._rules.headers(attributes, self._asked_to_end or {}))
            except ValueError:  # a header that may not be sent
                await call.hang_up()
        await self._around.server.withdraw(TRANSFER, self.id)
        if telling is not None:
            await asyncio.wait([telling])
        if room is not None:
            await room.leave()
        log.info("closed callID=%s reason=%s", self.id, call.ended if call is not None else "never answered")

    def _ended(self, _: EndReason) -> None:
        self._news.set()

    @abstractmethod
    async def run(self) -> None:
        """Carry the call to its end."""


class InboundLeg(Leg):
    """A call that came in."""

    def __init__(self, around: Around, call_id: str, call: IncomingCall) -> None:
        super().__init__(around, call_id)
        self.call: IncomingCall = call
        call.on_end = self._ended

    async def run(self) -> None:
        """Carry the call to its end."""
        answered = False
        try:
            if (answer := await self._dispatched()) is not None:
                answered = await self._answered(answer)
                if answered:
                    await self._live(answer.max_call_duration.ToNanoseconds() / 1e9)
        except (JoinFailed, Unavailable) as error:
            log.warning("closing callID=%s: %s", self.id, error)
        finally:
            await self._close(hangup=answered and not (self.room is not None and self.room.gone))

    async def _dispatched(self) -> Any:
        """Where the call goes, or None when it was refused."""
        call, around = self.call, self._around
        log.info(
            "processing invite callID=%s sipCallID=%s fromIP=%s fromHost=%s fromUser=%s toHost=%s toUser=%s",
            *(self.id, quoted(call.call_id), call.source_ip, quoted(call.from_host), quoted(call.from_user)),
            *(quoted(call.to_host), quoted(call.to_user)),
        )
        try:
            found = await dispatch(around.io, self.id, call, around.agent.address, self._ring)
        except RpcError as error:
            log.warning("rejecting callID=%s: livekit-server gave no verdict (%s)", self.id, error.code)
            self._reject(503, "Try again later")
            return None
        match found.verdict:
            case Verdict.ACCEPT:
                return found.answer
            case Verdict.REJECT:
                self._reject(404, "Does not match Trunks or Dispatch Rules")
            case Verdict.DROP:
                log.info("dropping callID=%s: no rule for it", self.id)
                if len(around.dropped) < MOST_DROPPED:
                    around.dropped.add(self.id)
                    await self._until(lambda: False, DROPPED_S)
                    around.dropped.discard(self.id)
                self._reject(408, "Request Timeout")
            case Verdict.DIGEST | Verdict.PIN:
                log.warning("rejecting callID=%s: the bench asks nobody for a %s", self.id, found.verdict)
                self._reject(501, "Not Implemented")
        return None

    def _ring(self) -> None:
        if self.call.ended is None:
            self.call.ring()

    def _reject(self, status: int, reason: str) -> None:
        if self.call.ended is None:
            self.call.reject(status, reason)

    async def _answered(self, answer: Any) -> bool:
        """Join, wait for a voice, answer. False when nobody answered, or the caller gave up."""
        call = self.call
        self._rules = HeaderRules.of(answer)
        if answer.HasField("media") and answer.media.HasField("media_timeout"):
            call.media_timeout_s = answer.media.media_timeout.ToNanoseconds() / 1e9
        else:
            call.media_timeout_s = MEDIA_TIMEOUT_S
        attributes = {**answer.participant_attributes, **self._rules.attributes(call), CALL_ID: self.id}
        room = await self._enter(
            Seat(
                answer.room_name,
                answer.participant_identity,
                answer.participant_name,
                answer.participant_metadata,
                marked(attributes, CallStatus.RINGING),
                answer.room_config if answer.HasField("room_config") else None,
                answer.room_preset,
            )
        )
        await room.publish(call.codec.rate)
        self._connect(call, room)
        room.subscribe()
        ring_s = answer.ringing_timeout.ToNanoseconds() / 1e9 or RING_S
        if not await self._until(lambda: room.subscribed, ring_s) or self._over:
            return False
        try:
            await call.answer()
        except CallOver:
            return False
        await self._until(lambda: self._heard, FIRST_PACKET_S)
        await room.set_attributes({STATUS: CallStatus.ACTIVE})
        return True


class DialledLeg(Leg):
    """A phone that we dialled into a room."""

    def __init__(self, around: Around, request: Any) -> None:
        super().__init__(around, request.sip_call_id)
        self._request = request
        self._rules = HeaderRules.of(request)
        self._failed: RpcError | None = None

    async def join(self) -> None:
        """Take the seat, before the phone is rung. Raises: RpcError."""
        request = self._request
        seat = Seat(
            request.room_name,
            request.participant_identity,
            request.participant_name,
            request.participant_metadata,
            marked({**request.participant_attributes, CALL_ID: self.id}, CallStatus.DIALING),
        )
        log.info(
            "creating SIP participant callID=%s room=%s participant=%s fromUser=%s toUser=%s toHost=%s",
            *(self.id, quoted(seat.room), quoted(seat.identity), quoted(request.number)),
            *(quoted(request.call_to), quoted(request.address)),
        )
        try:
            room = await self._enter(seat)
            await room.publish(16000)  # before the codec is known; a phone at 8000 is doubled
        except (JoinFailed, Unavailable) as error:
            await self._close(hangup=False)
            raise RpcError("internal", f"update room failed: {error}") from error

    async def dial(self) -> None:
        """Ring the phone until it answers. Raises: RpcError when it does not; the seat is given up then."""
        dialling = self._around.tasks.start(self._dial(), "dialling")
        dialling.add_done_callback(lambda _: self._news.set())
        await self._until(dialling.done, RING_S * 2)
        dialling.cancel()
        await asyncio.wait([dialling])
        room, call = self.room, self.call
        assert room is not None
        if call is None or room.gone:
            await self._close(hangup=False)
            raise self._failed or RpcError("canceled", "sip request timed out")
        call.on_end = self._ended
        call.media_timeout_s = self._media_timeout_s()
        self._connect(call, room)
        await room.set_attributes(self._rules.attributes(call))
        if self._request.dtmf:
            await room.set_attributes({STATUS: CallStatus.AUTOMATION})
            call.send_digits("".join(key for key in self._request.dtmf if key not in "wW"))
        await room.set_attributes({STATUS: CallStatus.ACTIVE})
        room.subscribe()

    async def run(self) -> None:
        """Carry the answered call to its end."""
        try:
            await self._live(self._request.max_call_duration.ToNanoseconds() / 1e9)
        finally:
            await self._close(hangup=not (self.room is not None and self.room.gone))

    async def dial_and_run(self) -> None:
        """Both, for a client that does not wait for the answer."""
        try:
            await self.dial()
        except RpcError as error:
            log.info("callID=%s was not answered: %s, status %s", self.id, error.code, error.status)
            return
        await self.run()

    async def _dial(self) -> None:
        request = self._request
        room = self.room
        assert room is not None

        def ringing() -> None:
            self._around.tasks.start(room.set_attributes({STATUS: CallStatus.RINGING}), "status of a leg")

        try:
            self.call = await self._around.agent.dial(
                f"sip:{request.call_to}@{request.address}",
                from_user=request.number,
                headers=self._rules.headers(request.participant_attributes, request.headers),
                ring_timeout_s=request.ringing_timeout.ToNanoseconds() / 1e9 or RING_S,
                on_ringing=ringing,
            )
        except CallRefused as error:
            self._failed = sip_error(error.status, error.reason)
        except CallTimedOut:
            self._failed = RpcError("canceled", "sip request timed out")
        except (BenchError, ValueError) as error:
            log.warning("callID=%s cannot be dialled: %s", self.id, type(error).__name__)
            self._failed = RpcError("invalid_argument", "the bench dials the listed SIP addresses only")

    def _media_timeout_s(self) -> float:
        media = self._request.media
        given = media.media_timeout.ToNanoseconds() / 1e9 if media.HasField("media_timeout") else 0
        return given or MEDIA_TIMEOUT_S
