"""One call from INVITE to its end: what both kinds share, and the call that a phone makes.

Everything that ends a call goes through `finish`, which happens once: media closed, transfer told, listener told.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from triage.bench.media.pacer import MediaCounts, MediaSession, MediaSetup, MediaThread
from triage.bench.sip import sdp
from triage.bench.sip.dialog import ALLOW, Dialog
from triage.bench.sip.ports import (
    CODECS,
    CallOver,
    Codec,
    Done,
    EndReason,
    Pcm,
    Transfer,
    TransferEvent,
    TransferOutcome,
    TransferPending,
)
from triage.bench.sip.transactions import ServerTransaction, Transactions
from triage.bench.sip.transfer import BenchTransfer
from triage.bench.sip.wire import Party, SipMessage, SipRequest, SipResponse, loopback_address, parse_target

log = logging.getLogger("triage.bench.sip")

RING_EVERY_S = 1.0
TYPE_SDP = ("Content-Type", "application/sdp")


class NotAcceptable(Exception):
    """An offer or answer that no call can be made with."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a call needs of its agent."""

    host: str
    transactions: Transactions
    media: MediaThread
    media_timeout_s: float
    transfer_grace_s: float
    up: Callable[["BenchCall"], None]
    """Called once for each call that exists, before anything of its phone is dealt with."""
    over: Callable[["BenchCall"], None]
    """Called once, when the call is over."""


def understood(
    body: bytes, wanted: Sequence[str], rate: int | None = None
) -> tuple[sdp.RemoteMedia, Codec, MediaSetup]:
    """Read an offer or answer and agree on a codec. Raises: NotAcceptable."""
    try:
        remote = sdp.parse(body)
    except sdp.BadSdp as error:
        raise NotAcceptable(str(error)) from None
    codec = sdp.agreed(remote, wanted, rate)
    if codec is None:
        raise NotAcceptable("no common codec")
    held = remote.host == "0.0.0.0"  # the old way to hold: nothing is sent there
    address = ("127.0.0.1", remote.port) if held else loopback_address(remote.host, remote.port)
    if address is None:
        raise NotAcceptable("audio outside loopback")
    return remote, codec, MediaSetup(codec, remote.events_type, address, not remote.holds_us)


class BenchCall:
    """A `ports.Call`."""

    def __init__(
        self,
        around: Surroundings,
        dialog: Dialog,
        media: MediaSession,
        parties: tuple[Party, Party],
        first: SipMessage,
        codec: Codec,
        source_ip: str,
    ) -> None:
        """`parties` are who rings and who is rung; `first` is the phone's INVITE or its 200."""
        self._around = around
        self._media = media
        self._calling, self._called = parties
        self._headers = {name: values[0] for name, values in first.headers.items() if values}
        self._via = tuple((hop.host, hop.port) for hop in first.via) if isinstance(first, SipRequest) else ()
        self._codec = codec
        self._source_ip = source_ip
        self._ended: EndReason | None = None
        self._on_end: Callable[[EndReason], None] | None = None
        self._answered = False
        self._sdp_version = 1
        self._unacked: dict[int, ServerTransaction] = {}
        self._refers: BenchTransfer | None = None
        self._grace: asyncio.TimerHandle | None = None
        self.dialog = dialog
        self.on_hold: Callable[[bool], None] | None = None
        self.notify_delay: Callable[[int], float | None] | None = None
        media.media_timeout_s = around.media_timeout_s
        media.on_timeout = self._media_stopped
        around.up(self)

    # --- what is known

    @property
    def call_id(self) -> str:
        """Call-ID of SIP."""
        return self.dialog.call_id

    @property
    def local_tag(self) -> str:
        """Our tag in the dialog."""
        return self.dialog.local_tag

    @property
    def from_user(self) -> str:
        """User part of From; a secret."""
        return self._calling.uri.user

    @property
    def from_host(self) -> str:
        """Host part of From."""
        return self._calling.uri.host

    @property
    def to_user(self) -> str:
        """User part of the number that was called."""
        return self._called.uri.user

    @property
    def to_host(self) -> str:
        """Host part of the number that was called."""
        return self._called.uri.host

    @property
    def via(self) -> Sequence[tuple[str, int]]:
        """Host and port of each Via of the INVITE."""
        return self._via

    @property
    def source_ip(self) -> str:
        """Address the phone's messages come from."""
        return self._source_ip

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the phone's INVITE or 200, by lower-case name."""
        return self._headers

    @property
    def codec(self) -> Codec:
        """Codec in force."""
        return self._codec

    @property
    def held(self) -> bool:
        """Whether the phone has us on hold."""
        return self._media.setup is not None and not self._media.setup.sending

    @property
    def ended(self) -> EndReason | None:
        """Why the call is over, or None while it lives."""
        return self._ended

    @property
    def transfer(self) -> Transfer | None:
        """The transfer that is pending, if one is."""
        return self._refers if self._refers is not None and self._refers.done is None else None

    @property
    def counts(self) -> MediaCounts:
        """Packets so far."""
        return self._media.counts

    # --- who listens

    @property
    def on_audio(self) -> Callable[[Pcm], None] | None:
        """Gets every 20 ms of the phone's voice."""
        return self._media.on_audio

    @on_audio.setter
    def on_audio(self, listener: Callable[[Pcm], None] | None) -> None:
        if self._ended is None:
            self._media.on_audio = listener

    @property
    def on_digit(self) -> Callable[[str], None] | None:
        """Gets each key once."""
        return self._media.on_digit

    @on_digit.setter
    def on_digit(self, listener: Callable[[str], None] | None) -> None:
        if self._ended is None:
            self._media.on_digit = listener

    @property
    def on_end(self) -> Callable[[EndReason], None] | None:
        """Called once; at once when the call is over already."""
        return self._on_end

    @on_end.setter
    def on_end(self, listener: Callable[[EndReason], None] | None) -> None:
        self._on_end = listener
        if self._ended is not None and listener is not None:
            listener(self._ended)

    @property
    def media_timeout_s(self) -> float:
        """Silence on the wire after which the call is ended; 0 turns it off."""
        return self._media.media_timeout_s

    @media_timeout_s.setter
    def media_timeout_s(self, seconds: float) -> None:
        self._media.media_timeout_s = seconds

    # --- what can be done

    def send_audio(self, pcm: Pcm) -> None:
        """Queue audio for the pacer."""
        self._media.send(pcm)

    def flush(self) -> None:
        """Forget what is queued."""
        self._media.flush()

    def send_digits(self, digits: str) -> None:
        """Send keys as RFC 4733 events."""
        self._media.press(digits)

    async def hang_up(self, headers: Mapping[str, str] | None = None) -> None:
        """End the call."""
        self.close(EndReason.LOCAL, headers)

    def close(self, reason: EndReason, headers: Mapping[str, str] | None = None) -> None:
        """End the call from our side, without waiting for the phone."""
        if self._ended is None:
            bye = self.dialog.request("BYE", headers)
            self._around.transactions.request(bye, self.dialog.address, lambda _: None, lambda: None)
            self.finish(reason)

    def refer(
        self,
        target_uri: str,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float,
        on_event: Callable[[TransferEvent], None] | None = None,
    ) -> Transfer:
        """Send REFER in this call."""
        target = parse_target(target_uri).text
        if self._ended is not None or not self._answered:
            raise CallOver("no answered call to transfer")
        if self.transfer is not None:
            raise TransferPending("another transfer is pending")
        where = target if target.startswith("tel:") else f"<{target}>"
        own = [("Refer-To", where), ("Contact", self.dialog.contact), ("Allow", ALLOW)]
        request = self.dialog.request("REFER", headers, own)
        transfer = BenchTransfer(target, timeout_s, on_event, self._decided, self.notify_delay)
        transfer.cseq = request.cseq
        # Known before it is sent: the first NOTIFY can overtake the 202.
        self._refers = transfer
        self._around.transactions.request(request, self.dialog.address, transfer.answered, transfer.unanswered)
        return transfer

    def _decided(self, done: Done) -> None:
        if done.outcome is TransferOutcome.TRANSFERRED:
            self._grace = asyncio.get_running_loop().call_later(
                self._around.transfer_grace_s, self.close, EndReason.TRANSFERRED
            )

    # --- what the phone does

    def take(self, transaction: ServerTransaction) -> None:
        """Answer a request in this dialog that is new and in order."""
        request = transaction.request
        match request.method:
            case "BYE":
                transaction.respond(200)
                self.finish(EndReason.REMOTE_BYE)
            case "INVITE":
                self._renegotiate(transaction)
            case "NOTIFY":
                transaction.respond(self._refers.notified(request) if self._refers is not None else 481)
            case "INFO":
                transaction.respond(415)

    def acknowledged(self, ack: SipRequest) -> None:
        """The phone acknowledged a 200."""
        if (invite := self._unacked.pop(ack.cseq, None)) is not None:
            invite.acknowledged()

    def _renegotiate(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if not self._answered:
            transaction.respond(491)
            return
        try:
            remote, codec, setup = understood(request.body, CODECS, self._codec.rate)
        except NotAcceptable:
            transaction.respond(488)
            return
        was_held = self.held
        self.dialog.refreshed(request)
        self._codec = codec
        self._media.start(setup)
        self._agree(transaction, remote, codec)
        if self.held != was_held and self.on_hold is not None:
            self.on_hold(self.held)

    def _agree(self, transaction: ServerTransaction, remote: sdp.RemoteMedia, codec: Codec) -> None:
        self._sdp_version += 1
        answer = sdp.answer(remote, codec, self._around.host, self._media.port, self._sdp_version)
        self._unacked[transaction.request.cseq] = transaction
        transaction.on_unacknowledged = self._never_acknowledged
        headers = [("Contact", self.dialog.contact), ("Allow", ALLOW), TYPE_SDP]
        transaction.respond(200, to_tag=self.dialog.local_tag, headers=headers, body=answer)

    def _never_acknowledged(self) -> None:
        self.close(EndReason.NO_ACK)

    def _media_stopped(self, heard: bool) -> None:
        self.close(EndReason.MEDIA_TIMEOUT if heard else EndReason.NO_MEDIA)

    def finish(self, reason: EndReason) -> None:
        """The call is over."""
        if self._ended is not None:
            return
        self._ended = reason
        if self._grace is not None:
            self._grace.cancel()
        for transaction in self._unacked.values():
            transaction.acknowledged()
        self._around.media.close(self._media)
        if self._refers is not None:
            self._refers.call_ended()
        self._around.over(self)
        if self._on_end is not None:
            try:
                self._on_end(reason)
            except Exception:  # a listener's trouble must not keep the call alive
                log.exception("a listener of a call failed")


class Incoming(BenchCall):
    """A `ports.IncomingCall`."""

    def __init__(
        self,
        around: Surroundings,
        transaction: ServerTransaction,
        dialog: Dialog,
        media: MediaSession,
        agreed: tuple[sdp.RemoteMedia, Codec, MediaSetup],
    ) -> None:
        invite = transaction.request
        called = Party("", invite.uri, "") if invite.uri.user else invite.to
        self._invite = transaction
        self._remote, codec, self._setup = agreed
        self._ringing: asyncio.TimerHandle | None = None
        super().__init__(around, dialog, media, (invite.from_, called), invite, codec, transaction.source[0])

    def ring(self) -> None:
        """Send 180, now and each second."""
        if self._ended is not None or self._answered:
            return
        self._stop_ringing()
        self._invite.respond(180, to_tag=self.dialog.local_tag, headers=[("Contact", self.dialog.contact)])
        self._ringing = asyncio.get_running_loop().call_later(RING_EVERY_S, self.ring)

    async def answer(self) -> None:
        """Send 200, start the media and return."""
        if self._ended is not None:
            raise CallOver("the phone gave up")
        if self._answered:
            return
        self._answered = True
        self._stop_ringing()
        self._media.start(self._setup)
        self._agree(self._invite, self._remote, self._codec)

    def reject(self, status: int = 486, reason: str = "Rejected") -> None:
        """Refuse the call."""
        if self._answered:
            raise CallOver("the call was answered")
        self._refuse(status, reason, EndReason.LOCAL)

    def close(self, reason: EndReason, headers: Mapping[str, str] | None = None) -> None:
        """End the call: BYE once it is answered, a refusal before."""
        if self._answered:
            super().close(reason, headers)
        elif reason is EndReason.STOPPED:
            self._refuse(503, "Service Unavailable", reason)
        else:
            self._refuse(486, "Rejected", reason)

    def take(self, transaction: ServerTransaction) -> None:
        """Answer a request in this dialog; a BYE before the answer ends the INVITE too."""
        super().take(transaction)
        if transaction.request.method == "BYE" and not self._answered:
            self._invite.respond(487, to_tag=self.dialog.local_tag)

    def is_of(self, invite: ServerTransaction) -> bool:
        """Whether this is the call that an INVITE made."""
        return self._invite is invite

    def cancelled(self) -> None:
        """The phone gave up; nothing happens once the call is answered or over."""
        if not self._answered:
            self._refuse(487, "Request Terminated", EndReason.CANCELLED)

    def finish(self, reason: EndReason) -> None:
        """The call is over."""
        self._stop_ringing()
        super().finish(reason)

    def _refuse(self, status: int, reason: str, why: EndReason) -> None:
        if self._ended is None:
            self._invite.respond(status, to_tag=self.dialog.local_tag, reason=reason)
            self.finish(why)

    def _stop_ringing(self) -> None:
        if self._ringing is not None:
            self._ringing.cancel()
            self._ringing = None


class Dialled(BenchCall):
    """A `ports.DialledCall`: it exists from the phone's 200 on."""

    def __init__(
        self,
        around: Surroundings,
        dialog: Dialog,
        media: MediaSession,
        response: SipResponse,
        agreed: tuple[sdp.RemoteMedia, Codec, MediaSetup],
    ) -> None:
        _, codec, setup = agreed
        parties = (response.from_, response.to)
        super().__init__(around, dialog, media, parties, response, codec, dialog.address[0])
        self._answered = True
        media.start(setup)
