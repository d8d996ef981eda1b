"""One REFER on its way: joins the pure machine of `refer` to a dialog, to time, and to who wants to know."""

import asyncio
import logging
from collections.abc import Callable

from triage.bench.sip.ports import Done, TransferEvent
from triage.bench.sip.refer import Answered, CallEnded, Happening, Notified, TimeUp, TransferState, step
from triage.bench.sip.wire import SipRequest, SipResponse, parse_sipfrag

log = logging.getLogger("triage.bench.sip")


class BenchTransfer:
    """A `ports.Transfer`."""

    def __init__(
        self,
        target_uri: str,
        timeout_s: float,
        on_event: Callable[[TransferEvent], None] | None,
        on_decided: Callable[[Done], None],
        notify_delay: Callable[[int], float | None] | None,
    ) -> None:
        self._target_uri = target_uri
        self._on_event = on_event
        self._on_decided = on_decided
        self._notify_delay = notify_delay
        self._state = TransferState()
        self._loop = asyncio.get_running_loop()
        self._result: asyncio.Future[Done] = self._loop.create_future()
        self._timer = self._loop.call_later(timeout_s, self.happened, TimeUp())
        self.cseq = 0
        """Number of the REFER, which NOTIFYs may carry as their id."""

    @property
    def target_uri(self) -> str:
        """Where the phone was sent."""
        return self._target_uri

    @property
    def done(self) -> Done | None:
        """The decision, or None while it is pending."""
        return self._state.done

    async def wait(self) -> Done:
        """Return the decision as soon as there is one."""
        return await asyncio.shield(self._result)

    def answered(self, response: SipResponse) -> None:
        """The phone answered the REFER."""
        if response.status >= 200:
            self.happened(Answered(response.status, response.reason))

    def unanswered(self) -> None:
        """The REFER was repeated for 32 s without an answer."""
        self.happened(TimeUp())

    def call_ended(self) -> None:
        """The call is over."""
        self.happened(CallEnded())

    def notified(self, request: SipRequest) -> int:
        """Take a NOTIFY; return the status to answer it with."""
        event, _, parameters = request.first("event", request.first("o")).partition(";")
        if event.strip().lower() != "refer":
            return 481
        told = {
            name.strip().lower(): value.strip() for name, _, value in (p.partition("=") for p in parameters.split(";"))
        }
        if told.get("id", str(self.cseq)) != str(self.cseq):
            return 200  # about another REFER: the real service passes over it too
        found = parse_sipfrag(request.body)
        if found is None:
            return 400
        delay_s = self._notify_delay(found[0]) if self._notify_delay else 0.0
        if delay_s:
            self._loop.call_later(delay_s, self.happened, Notified(*found))
        elif delay_s is not None:
            self.happened(Notified(*found))
        return 200

    def happened(self, happening: Happening) -> None:
        """Let the machine decide, and report."""
        before = self._state.done
        self._state, events = step(self._state, happening)
        done = self._state.done
        if before is None and done is not None:
            self._timer.cancel()
            self._result.set_result(done)
            self._on_decided(done)
        for event in events:
            if self._on_event is not None:
                try:
                    self._on_event(event)
                except Exception:  # a listener's trouble must not change what becomes of the transfer
                    log.exception("a listener of a transfer failed")
