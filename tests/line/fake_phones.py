"""A telephone side without telephones: calls ring when a test says so, and a REFER becomes what a test says."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from triage.bench.sip.ports import (
    CODECS,
    Accepted,
    CallOver,
    CallRefused,
    CallTimedOut,
    Codec,
    Done,
    EndReason,
    IncomingCall,
    Late,
    Pcm,
    Progress,
    Transfer,
    TransferEvent,
    TransferOutcome,
)

PCMU = Codec("PCMU", 8000, 0)
CALLER, CALLED = "+15557654321", "+15550100"


class FakeTransfer:
    """A REFER that the test decides with `happens`."""

    def __init__(
        self, target_uri: str, headers: Mapping[str, str], timeout_s: float, on_event: Callable[[TransferEvent], None]
    ) -> None:
        self.target_uri = target_uri
        self.headers = dict(headers)
        self.timeout_s = timeout_s
        self.done: Done | None = None
        self._tell = on_event
        self._result: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(timeout_s, self.decide, Done(TransferOutcome.TIMED_OUT, None, ""))

    def accept(self) -> None:
        self._tell(Accepted(202))
        self._tell(Progress(100, "Trying"))

    def decide(self, done: Done) -> None:
        if self.done is None:
            self.done = done
            self._result.set_result(done)
            self._tell(done)
        elif done.status is not None:
            self._tell(Late(done.status, done.reason))

    async def wait(self) -> Done:
        return await asyncio.shield(self._result)


class FakeCall:
    """A call whose phone is the test."""

    from_host, to_host, source_ip = "127.0.0.1", "127.0.0.1", "127.0.0.1"
    via: Sequence[tuple[str, int]] = (("127.0.0.1", 5080),)
    local_tag = "ours"
    held = False

    def __init__(
        self,
        from_user: str = CALLER,
        to_user: str = CALLED,
        headers: Mapping[str, str] | None = None,
        codec: Codec = PCMU,
    ) -> None:
        self.call_id = f"fake-{id(self):x}"
        self.from_user, self.to_user, self.codec = from_user, to_user, codec
        self.headers: Mapping[str, str] = {
            "from": f"<sip:{from_user}@127.0.0.1>;tag=theirs",
            "to": f"<sip:{to_user}@127.0.0.1>",
            "via": "SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bK1",
            "call-id": self.call_id,
            **(headers or {}),
        }
        self.on_audio: Callable[[Pcm], None] | None = None
        self.on_digit: Callable[[str], None] | None = None
        self.on_hold: Callable[[bool], None] | None = None
        self.notify_delay: Callable[[int], float | None] | None = None
        self.media_timeout_s = 0.0
        self.ended: EndReason | None = None
        self.sent: list[Pcm] = []
        self.pressed = ""
        self.rings = 0
        self.answered = asyncio.Event()
        self.over = asyncio.Event()
        self.rejected: tuple[int, str] | None = None
        self.bye_headers: Mapping[str, str] | None = None
        self.transfers: list[FakeTransfer] = []
        self.on_refer: Callable[[FakeTransfer], None] = lambda _: None
        self._on_end: Callable[[EndReason], None] | None = None

    @property
    def transfer(self) -> Transfer | None:
        return next((t for t in self.transfers if t.done is None), None)

    @property
    def on_end(self) -> Callable[[EndReason], None] | None:
        return self._on_end

    @on_end.setter
    def on_end(self, listener: Callable[[EndReason], None] | None) -> None:
        self._on_end = listener
        if listener is not None and self.ended is not None:
            listener(self.ended)

    def end(self, reason: EndReason) -> None:
        """The call is over; a pending transfer hears of it, as with the real agent."""
        if self.ended is None:
            self.ended = reason
            self.over.set()
            for transfer in self.transfers:
                transfer.decide(Done(TransferOutcome.ENDED_BEFORE_RESULT, None, ""))
            if self._on_end is not None:
                self._on_end(reason)

    def send_audio(self, pcm: Pcm) -> None:
        self.sent.append(pcm)

    def flush(self) -> None:
        self.sent.clear()

    def send_digits(self, digits: str) -> None:
        self.pressed += digits

    async def hang_up(self, headers: Mapping[str, str] | None = None) -> None:
        self.bye_headers = headers
        self.end(EndReason.LOCAL)

    def refer(
        self,
        target_uri: str,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float,
        on_event: Callable[[TransferEvent], None] | None = None,
    ) -> FakeTransfer:
        if self.ended is not None or not self.answered.is_set():
            raise CallOver("no answered call")
        transfer = FakeTransfer(target_uri, headers or {}, timeout_s, on_event or (lambda _: None))
        self.transfers.append(transfer)
        self.on_refer(transfer)
        return transfer

    def ring(self) -> None:
        self.rings += 1

    async def answer(self) -> None:
        if self.ended is not None:
            raise CallOver("gave up")
        self.answered.set()

    def reject(self, status: int = 486, reason: str = "Rejected") -> None:
        self.rejected = (status, reason)
        self.end(EndReason.LOCAL)


class FakeAgent:
    """A `SipAgent` without a network."""

    address = ("127.0.0.1", 5070)

    def __init__(self) -> None:
        self.on_call: Callable[[IncomingCall], None] | None = None
        self.dialled: list[str] = []
        self.dial_headers: list[Mapping[str, str]] = []
        self.phone: FakeCall | tuple[int, str] | None = None
        """What a dialled number is: a phone that answers, a status that refuses, or nobody."""
        self.answers_after_s = 0.0
        self.calls: list[FakeCall] = []
        self.cancelled = 0

    async def start(self) -> None:
        """Nothing to bind."""

    async def stop(self) -> None:
        for call in self.calls:
            call.end(EndReason.STOPPED)

    def ring(self, call: FakeCall) -> FakeCall:
        """A phone rings."""
        assert self.on_call is not None
        self.calls.append(call)
        self.on_call(call)
        return call

    async def dial(
        self,
        target_uri: str,
        *,
        from_user: str,
        headers: Mapping[str, str] | None = None,
        codecs: Sequence[str] = CODECS,
        ring_timeout_s: float,
        on_ringing: Callable[[], None] | None = None,
    ) -> FakeCall:
        self.dialled.append(target_uri)
        self.dial_headers.append(headers or {})
        try:
            async with asyncio.timeout(ring_timeout_s):
                if on_ringing is not None:
                    on_ringing()
                await asyncio.sleep(self.answers_after_s)
                if self.phone is None:
                    await asyncio.Event().wait()
        except TimeoutError as error:
            raise CallTimedOut("nobody") from error
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.phone, tuple):
            raise CallRefused(*self.phone)
        assert self.phone is not None
        self.phone.answered.set()
        self.calls.append(self.phone)
        return self.phone
