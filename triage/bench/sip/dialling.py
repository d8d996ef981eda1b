"""One INVITE of ours: until a phone answers it, refuses it, or we give up.

Giving up is not the end of it. A phone may answer just then, and an INVITE that nobody has answered yet must not be
cancelled before a provisional answer; so the attempt stays responsible and ends every late answer with ACK and BYE.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence

from triage.bench.media.pacer import MediaSession
from triage.bench.sip import sdp
from triage.bench.sip.call import TYPE_SDP, Dialled, NotAcceptable, Surroundings, understood
from triage.bench.sip.dialog import ALLOW, Dialog
from triage.bench.sip.ports import BenchError, CallRefused, CallTimedOut, EndReason
from triage.bench.sip.transactions import COOKIE
from triage.bench.sip.wire import SipResponse


class Attempt:
    """Rings one phone."""

    def __init__(
        self,
        around: Surroundings,
        dialog: Dialog,
        media: MediaSession,
        codecs: Sequence[str],
        headers: Mapping[str, str] | None,
        on_ringing: Callable[[], None] | None,
    ) -> None:
        """Raises: ValueError for a header that cannot be added."""
        self._around = around
        self._dialog = dialog
        self._media = media
        self._codecs = codecs
        self._on_ringing = on_ringing
        self._answer: asyncio.Future[Dialled] = asyncio.get_running_loop().create_future()
        self._ended_tags: set[str] = set()
        self._given_up = False
        self._cancelled = False
        offer = sdp.offer(around.host, media.port, codecs, 1)
        own = [("Contact", dialog.contact), ("Allow", ALLOW), TYPE_SDP]
        invite = dialog.request("INVITE", headers, own, offer)
        self._invite = around.transactions.request(invite, dialog.address, self._responded, self._unanswered)

    async def answered(self, ring_timeout_s: float) -> Dialled:
        """Wait for the answer. Raises: CallRefused, CallTimedOut; cancelling it gives the attempt up."""
        try:
            call = await asyncio.wait_for(self._answer, ring_timeout_s)
        except TimeoutError:
            self.give_up()
            raise CallTimedOut("nobody answered") from None
        except BaseException:
            self.give_up()
            raise
        return call

    def give_up(self) -> None:
        """Stop ringing; whoever answers now is hung up on."""
        if self._given_up:
            return
        self._given_up = True
        if self._answer.done() and not self._answer.cancelled() and self._answer.exception() is None:
            self._answer.result().close(EndReason.LOCAL)  # answered in the moment in which the wait was cancelled
        self._around.media.close(self._media)
        self._cancel()

    def _cancel(self) -> None:
        if self._invite.over or self._cancelled or not self._invite.provisional:
            return
        self._cancelled = True
        cancel = self._dialog.same_number("CANCEL", self._invite.outgoing)
        layer = self._around.transactions
        layer.request(cancel, self._dialog.address, lambda _: None, lambda: None, self._invite.branch)
        layer.forget_later(self._invite)

    def _unanswered(self) -> None:
        self._fail(CallTimedOut("nobody answered"))

    def _fail(self, error: BenchError) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)

    def _responded(self, response: SipResponse) -> None:
        if response.status < 200:
            if self._given_up:
                self._cancel()
            elif response.status >= 180 and self._on_ringing is not None:
                self._on_ringing()
        elif response.status < 300:
            self._picked_up(response)
        else:
            self._fail(CallRefused(response.status, response.reason))

    def _picked_up(self, response: SipResponse) -> None:
        if self._answer.done() and not self._given_up and response.to.tag == self._dialog.remote_tag:
            self._acknowledge(self._dialog)  # ours was lost: the phone repeats itself
            return
        if self._answer.done() or self._given_up:
            self._turn_away(response)
            return
        try:
            agreed = understood(response.body, self._codecs)
        except NotAcceptable:
            self._turn_away(response)
            self._fail(CallRefused(488, "Not Acceptable Here"))
            return
        self._dialog.established(response)
        self._acknowledge(self._dialog)
        self._answer.set_result(Dialled(self._around, self._dialog, self._media, response, agreed))

    def _turn_away(self, response: SipResponse) -> None:
        """Acknowledge an answer that nobody waits for, and hang up on it, once."""
        stray = self._dialog.beside()
        stray.established(response)
        self._acknowledge(stray)
        if response.to.tag not in self._ended_tags:
            self._ended_tags.add(response.to.tag)
            self._around.transactions.request(stray.request("BYE"), stray.address, lambda _: None, lambda: None)

    def _acknowledge(self, dialog: Dialog) -> None:
        ack = dialog.same_number("ACK", self._invite.outgoing)
        layer = self._around.transactions
        layer.send(ack.render(layer.via(COOKIE + secrets.token_hex(8))), dialog.address)
