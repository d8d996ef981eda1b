"""The telephone side of the bench: one UDP socket on loopback, its calls, and what is answered to whom.

Answers to what is no call of ours, by the book and as the real service gives them:

OPTIONS 200 · INFO 415 · REGISTER, MESSAGE, SUBSCRIBE, REFER, PUBLISH, UPDATE, PRACK 405 · unknown methods 501 ·
anything in a dialog that we do not have 481 (a BYE to a call that just ended 200) · an old CSeq 500 · Require 420 ·
a URI that is neither sip nor tel 416 · no SDP, no common codec, audio outside loopback 488 · too many calls 503.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from triage.bench.media.pacer import Gaps, MediaThread
from triage.bench.sip.call import BenchCall, Incoming, NotAcceptable, Surroundings, understood
from triage.bench.sip.dialling import Attempt
from triage.bench.sip.dialog import ALLOW, Dialog
from triage.bench.sip.ports import (
    CODECS,
    BenchError,
    CallOver,
    DialledCall,
    EndReason,
    IncomingCall,
    InvalidTarget,
    TargetNotListed,
)
from triage.bench.sip.transactions import ServerTransaction, Transactions
from triage.bench.sip.wire import Malformed, SipRequest, loopback_address, parse, parse_target

log = logging.getLogger("triage.bench.sip")

REFUSED_METHODS = frozenset({"REGISTER", "MESSAGE", "SUBSCRIBE", "REFER", "PUBLISH", "UPDATE", "PRACK"})
IN_DIALOG = frozenset({"BYE", "INVITE", "NOTIFY", "INFO"})
REMEMBERED_S = 32.0
"""How long a call that is over still answers a second BYE."""
FAREWELL_S = 0.5
"""How long `stop` waits for phones to confirm."""
WARN_EVERY_S = 1.0


class Agent(asyncio.DatagramProtocol):
    """A `ports.SipAgent`."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 5070,
        *,
        rtp_ports: tuple[int, int] = (10000, 10199),
        allowed_targets: Sequence[str] = (),
        max_calls: int = 50,
        first_media_timeout_s: float = 30.0,
        media_timeout_s: float = 15.0,
        transfer_grace_s: float = 1.0,
    ) -> None:
        """`allowed_targets` are "host:port" of the phones that may be dialled; port 0 takes any free SIP port.

        Raises: BenchError when the host or a target is not loopback.
        """
        if loopback_address(host, port or 1) is None:
            raise BenchError(f"{host} is not a loopback address; the bench listens nowhere else")
        self._targets = frozenset(_listed(target) for target in allowed_targets)
        self._host = "127.0.0.1" if host == "localhost" else host
        self._port = port
        self._max_calls = max_calls
        self._first_media_timeout_s = first_media_timeout_s
        self._media_timeout_s = media_timeout_s
        self._transfer_grace_s = transfer_grace_s
        self._media = MediaThread(self._host, rtp_ports)
        self._calls: dict[tuple[str, str], BenchCall] = {}
        self._over: set[tuple[str, str]] = set()
        self._attempts: set[Attempt] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._refused = 0
        self._warned_at = -WARN_EVERY_S
        self.on_call: Callable[[IncomingCall], None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that phones ring."""
        return self._host, self._port

    @property
    def calls(self) -> int:
        """Calls that live."""
        return len(self._calls)

    @property
    def gaps(self) -> Gaps:
        """Times between packets sent, of all calls together."""
        return self._media.gaps

    async def start(self) -> None:
        """Bind the SIP port and start the media."""
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self._host, self._port))
        except OSError as error:
            raise BenchError(f"cannot listen on {self._host}:{self._port}/udp; another program has it") from error
        self._transport = transport
        self._port = int(transport.get_extra_info("sockname")[1])
        self._transactions = Transactions(self._send, self._host, self._port)
        self._transactions.on_request = self._requested
        self._transactions.on_ack = self._acknowledged
        self._transactions.is_living = self._is_living
        self._media.start()
        self._around = Surroundings(
            host=self._host,
            transactions=self._transactions,
            media=self._media,
            media_timeout_s=self._media_timeout_s,
            transfer_grace_s=self._transfer_grace_s,
            up=self._up,
            over=self._ended,
        )

    async def stop(self) -> None:
        """End every call, then close everything."""
        if self._transport is None:
            return
        self.on_call = None
        for attempt in list(self._attempts):
            attempt.give_up()
        for call in list(self._calls.values()):
            call.close(EndReason.STOPPED)
        await self._transactions.settled(FAREWELL_S)
        self._transactions.stop()
        self._transport.close()
        self._transport = None
        await self._media.stop()

    async def dial(
        self,
        target_uri: str,
        *,
        from_user: str,
        headers: Mapping[str, str] | None = None,
        codecs: Sequence[str] = CODECS,
        ring_timeout_s: float,
        on_ringing: Callable[[], None] | None = None,
    ) -> DialledCall:
        """Ring a listed phone until it answers."""
        if self._transport is None:
            raise CallOver("the agent is not running")
        if not codecs or any(name not in CODECS for name in codecs):
            raise ValueError("codecs are PCMU, PCMA, G722")
        target = parse_target(target_uri)
        if not target.text.startswith("sip:"):
            raise InvalidTarget("the bench dials sip: URIs only")
        address = loopback_address(target.host, target.port)
        if address is None or address not in self._targets:
            raise TargetNotListed("this phone is not on the list of those that may be dialled")
        caller = quote(from_user, safe="+*-_.!~") or "anonymous"
        dialog = Dialog.dialling(target.text, caller, *self.address, address)
        media = self._media.open(self._first_media_timeout_s)
        try:
            attempt = Attempt(self._around, dialog, media, codecs, headers, on_ringing)
        except ValueError:
            self._media.close(media)
            raise
        self._attempts.add(attempt)
        try:
            return await attempt.answered(ring_timeout_s)
        finally:
            self._attempts.discard(attempt)

    # --- the socket

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take a datagram; whatever it holds, the agent lives on."""
        if not data.strip(b"\r\n\0 "):  # phones keep their path open with empty lines
            return
        try:
            self._transactions.receive(parse(data), addr)
        except Malformed as error:
            self._warn(str(error))
        except Exception:  # a bug of ours must not end the socket
            log.exception("a SIP message could not be dealt with")

    def error_received(self, exc: Exception) -> None:
        """Ignore: a phone that is not there is noticed by its silence."""

    def _send(self, datagram: bytes, address: tuple[str, int]) -> None:
        if self._transport is not None and loopback_address(*address) is not None:
            self._transport.sendto(datagram, address)

    def _warn(self, why: str) -> None:
        self._refused += 1
        now = asyncio.get_running_loop().time()
        if now - self._warned_at >= WARN_EVERY_S:
            log.warning("refused %d SIP message(s), the last one: %s", self._refused, why)
            self._refused, self._warned_at = 0, now

    # --- requests

    def _requested(self, transaction: ServerTransaction) -> None:
        try:
            self._answer(transaction)
        except Exception:  # a bug of ours must not leave the phone without an answer
            log.exception("a request could not be answered")
            transaction.respond(500, to_tag="failed")

    def _answer(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        method = request.method
        if method == "CANCEL":
            self._cancel(transaction)
        elif request.first("require"):
            transaction.respond(420, to_tag="none", headers=[("Unsupported", request.first("require"))])
        elif method == "OPTIONS":
            transaction.respond(200, to_tag="none", headers=[("Allow", ALLOW), ("Accept", "application/sdp")])
        elif method in REFUSED_METHODS:
            transaction.respond(405, to_tag="none", headers=[("Allow", ALLOW)])
        elif method not in IN_DIALOG:
            transaction.respond(501, to_tag="none")
        elif request.to.tag or method != "INVITE":
            self._in_dialog(transaction)
        else:
            self._invited(transaction)

    def _cancel(self, transaction: ServerTransaction) -> None:
        invite = self._transactions.invite_of(transaction.request)
        if invite is None:
            transaction.respond(481, to_tag="none")
            return
        transaction.respond(200, to_tag="none")
        for call in list(self._calls.values()):
            if isinstance(call, Incoming) and call.is_of(invite):
                call.cancelled()

    def _in_dialog(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        call = self._calls.get((request.call_id, request.to.tag))
        if call is None or not call.dialog.holds(request):
            again = request.method == "BYE" and (request.call_id, request.to.tag) in self._over
            transaction.respond(200 if again else 481, to_tag="none")
        elif not call.dialog.in_order(request):
            transaction.respond(500)
        else:
            call.take(transaction)

    def _invited(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        status = self._unwanted(request)
        if status:
            transaction.respond(status, to_tag="none")
            return
        try:
            agreed = understood(request.body, CODECS)
            media = self._media.open(self._first_media_timeout_s)
        except NotAcceptable:
            transaction.respond(488, to_tag="none")
            return
        except BenchError:
            log.warning("a call was refused: no RTP port is free")
            transaction.respond(503, to_tag="none")
            return
        transaction.respond(100)
        contact = f"<sip:{self._host}:{self._port}>"
        call = Incoming(
            self._around, transaction, Dialog.answering(request, transaction.source, contact), media, agreed
        )
        assert self.on_call is not None
        try:
            self.on_call(call)
        except Exception:  # who takes calls failed: the phone is told, the others go on
            log.exception("a new call was not taken")
            call.reject(500, "Server Internal Error")

    def _unwanted(self, request: SipRequest) -> int:
        """Return the status to refuse a new call with, or 0."""
        if not request.scheme_known:
            return 416
        if self.on_call is None:
            return 480
        if len(self._calls) >= self._max_calls:
            self._warn("an INVITE above the number of calls that are taken")
            return 503
        kind = request.first("content-type").partition(";")[0].strip().lower()
        return 415 if request.body and kind != "application/sdp" else 0

    def _is_living(self, request: SipRequest) -> bool:
        call = self._calls.get((request.call_id, request.to.tag))
        return call is not None and call.dialog.holds(request)

    def _acknowledged(self, ack: SipRequest) -> None:
        call = self._calls.get((ack.call_id, ack.to.tag))
        if call is not None and call.dialog.holds(ack):
            call.acknowledged(ack)

    def _up(self, call: BenchCall) -> None:
        self._calls[call.call_id, call.local_tag] = call

    def _ended(self, call: BenchCall) -> None:
        key = (call.call_id, call.local_tag)
        if self._calls.pop(key, None) is not None:
            self._over.add(key)
            asyncio.get_running_loop().call_later(REMEMBERED_S, self._over.discard, key)


def _listed(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    address = loopback_address(host, int(port)) if port.isdecimal() and 0 < int(port) < 65536 else None
    if address is None:
        raise BenchError("a target that may be dialled is listed as loopback address and port, as in 127.0.0.1:5090")
    return address
