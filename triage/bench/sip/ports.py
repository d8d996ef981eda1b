"""What the telephone side of the bench offers to the room side: an agent that rings, answers, dials and transfers.

Every callback runs on the agent's asyncio loop, never on the media thread, and must return within a few milliseconds.
Audio is int16 mono at the rate of the call's codec; a frame from the phone is always 20 ms.
Methods are called on the loop too, but for `send_audio` and `flush`, which any thread may call.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
"""Samples of one direction of a call, mono, at the codec's rate."""

CODECS = ("PCMU", "PCMA", "G722")
"""Codecs the bench speaks, in the order in which it offers them."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec as agreed for one call."""

    name: str
    """One of CODECS."""
    rate: int
    """Samples per second of its audio: 8000, or 16000 for G722 (whose RTP clock still says 8000)."""
    payload_type: int
    """RTP payload type as the two sides agreed it."""


class EndReason(StrEnum):
    """Why a call is over. The first that happens counts."""

    REMOTE_BYE = "remote_bye"
    CANCELLED = "cancelled"
    """The phone gave up before we answered."""
    LOCAL = "local"
    """We hung up or rejected."""
    TRANSFERRED = "transferred"
    """We hung up because the phone reported its new call as answered."""
    NO_MEDIA = "no_media"
    """No RTP packet ever came within `first_media_timeout_s`."""
    MEDIA_TIMEOUT = "media_timeout"
    """RTP stopped for `media_timeout_s`; on hold too, as the real service has it."""
    NO_ACK = "no_ack"
    """Our answer was never acknowledged."""
    STOPPED = "stopped"
    """The agent was stopped."""


class TransferOutcome(StrEnum):
    """What became of a REFER."""

    TRANSFERRED = "transferred"
    """Exactly 200 in a NOTIFY."""
    REFUSED = "refused"
    """The REFER itself was answered with something else than 200 or 202."""
    FAILED = "failed"
    """It was accepted, and a NOTIFY brought another final status than 200."""
    TIMED_OUT = "timed_out"
    """No result in time. The phone may still go through with it: a REFER cannot be taken back."""
    ENDED_BEFORE_RESULT = "ended_before_result"
    """The call ended first, whoever ended it. The real service tells its client "success"; here they stay apart."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The phone answered the REFER with 200 or 202."""

    status: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A NOTIFY brought a provisional status (100 to 199). It may come before Accepted."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The transfer is decided. Comes once."""

    outcome: TransferOutcome
    status: int | None
    """SIP status that decided it; None when there was none (time ran out, call ended)."""
    reason: str
    """Reason phrase that came with it, or empty."""


@dataclass(frozen=True, slots=True)
class Late:
    """A NOTIFY with a final status came after Done(TIMED_OUT). It changes nothing."""

    status: int
    reason: str


TransferEvent = Accepted | Progress | Done | Late


class Transfer(Protocol):
    """One REFER under way or decided."""

    @property
    def target_uri(self) -> str:
        """Where the phone was sent."""

    @property
    def done(self) -> Done | None:
        """The decision, or None while it is pending."""

    async def wait(self) -> Done:
        """Return the decision as soon as there is one. Cancelling the wait leaves the transfer as it is."""


class Call(Protocol):
    """One call between the agent and a phone, whoever rang. It exists from INVITE to end."""

    on_audio: Callable[[Pcm], None] | None
    """Gets every 20 ms of the phone's voice; lost packets come as silence."""
    on_digit: Callable[[str], None] | None
    """Gets each key once: 0-9, *, #, A-D."""
    on_hold: Callable[[bool], None] | None
    """Gets True when the phone put us on hold, False when it took us back."""
    on_end: Callable[[EndReason], None] | None
    """Called once. Set after the end, it is called at once."""
    notify_delay: Callable[[int], float | None] | None
    """For faults: asked for each NOTIFY of a transfer with its status; seconds to sit on it, None to lose it."""
    media_timeout_s: float
    """Silence on the wire after which the call is ended; 0 turns it off. May be set at any time."""

    @property
    def call_id(self) -> str:
        """Call-ID of SIP."""

    @property
    def local_tag(self) -> str:
        """Our tag in the dialog."""

    @property
    def from_user(self) -> str:
        """User part of From (the caller's number); a secret."""

    @property
    def from_host(self) -> str:
        """Host part of From."""

    @property
    def to_user(self) -> str:
        """User part of the number that was called."""

    @property
    def to_host(self) -> str:
        """Host part of the number that was called."""

    @property
    def via(self) -> Sequence[tuple[str, int]]:
        """Host and port of each Via of the INVITE; empty for a call we dialled."""

    @property
    def source_ip(self) -> str:
        """Address the phone's messages come from."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the phone's INVITE, or of its 200 for a call we dialled; names in lower case, first one of each."""

    @property
    def codec(self) -> Codec:
        """Codec in force. Known before the answer; a re-INVITE may change it at the same rate only."""

    @property
    def held(self) -> bool:
        """Whether the phone has us on hold: nothing is sent to it then."""

    @property
    def ended(self) -> EndReason | None:
        """Why the call is over, or None while it lives."""

    @property
    def transfer(self) -> Transfer | None:
        """The transfer that is pending, if one is."""

    def send_audio(self, pcm: Pcm) -> None:
        """Queue audio for the pacer: any multiple of 10 ms. Dropped silently before the answer and after the end.

        Raises: ValueError for another length or type.
        """

    def flush(self) -> None:
        """Forget what is queued and not yet on the wire."""

    def send_digits(self, digits: str) -> None:
        """Send keys as RFC 4733 events, 100 ms each, through the pacer. Raises: ValueError for a key that is none."""

    async def hang_up(self, headers: Mapping[str, str] | None = None) -> None:
        """End the call with BYE, CANCEL or 486, whichever its state asks for. Nothing happens if it is over."""

    def refer(
        self,
        target_uri: str,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float,
        on_event: Callable[[TransferEvent], None] | None = None,
    ) -> Transfer:
        """Send REFER in this call. After TRANSFERRED the agent itself hangs up, 1 s later.

        Raises: CallOver when there is no answered call, TransferPending while another one is pending,
        InvalidTarget when `target_uri` is no sip:, sips: or tel: URI.
        """


class IncomingCall(Call, Protocol):
    """A call from a phone. 100 has been sent before it is handed over."""

    def ring(self) -> None:
        """Send 180 now and each second until the call is answered or over."""

    async def answer(self) -> None:
        """Send 200, start the media and return. Raises: CallOver when the phone gave up meanwhile."""

    def reject(self, status: int = 486, reason: str = "Rejected") -> None:
        """Refuse the call. Nothing happens if it is over. Raises: CallOver when it was answered."""


class DialledCall(Call, Protocol):
    """A call that we dialled and a phone answered. Its media run when it is handed over."""


class SipAgent(Protocol):
    """The telephone side of the bench, one UDP port on loopback."""

    on_call: Callable[[IncomingCall], None] | None
    """Gets each new call; where nobody listens a call is refused with 480."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that phones ring."""

    async def start(self) -> None:
        """Bind the SIP port and start the media. Raises: BenchError when the port cannot be had or is not loopback."""

    async def stop(self) -> None:
        """End every call (BYE, CANCEL, 503), then close everything."""

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
        """Ring a listed phone until it answers. Cancelling the wait sends CANCEL.

        Raises: CallRefused, CallTimedOut, TargetNotListed, InvalidTarget.
        """


class BenchError(Exception):
    """Base of what the telephone side raises. No message carries a number, a name or a header's text."""


class InvalidTarget(BenchError):
    """Not a URI that can be called."""


class TargetNotListed(BenchError):
    """The bench dials listed targets only, and this is none."""


class CallOver(BenchError):
    """The call is over, or not in the state that this needs."""


class TransferPending(BenchError):
    """Another transfer of this call is still pending."""


class CallTimedOut(BenchError):
    """Nobody answered in time; the INVITE was cancelled."""


class CallRefused(BenchError):
    """The phone answered with a final status other than 2xx."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"refused with {status}")
        self.status = status
        """300 to 699."""
        self.reason = reason
        """Reason phrase; text from outside."""
