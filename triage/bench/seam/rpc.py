"""LiveKit's remote calls over Redis, both sides: request, claim, confirmation of the claim, answer.

There is no registration: who is subscribed to a method's channel is a server of it. A claim must come within one
second, an answer before the request's own expiry; nobody is told when the caller gave up. An answer whose error text is
empty counts as success, so every error gets a text.
"""

import asyncio
import base64
import hashlib
import logging
import re
import secrets
import string
from collections.abc import Awaitable, Callable
from typing import Any

from triage.bench.seam import messages
from triage.bench.seam.bus import Bus
from triage.bench.tasks import Tasks
from triage.clock import Clock
from triage.errors import StageError, Unavailable

log = logging.getLogger("triage.bench.seam")

NS = 1_000_000_000
CLAIM_S = 1.0
"""A request that nobody claimed within this was in vain."""
CONFIRM_S = 5.0
"""How long a claim is kept up without confirmation."""
LOCK_S = 5
"""How long a request belongs to who took it first."""
ASK_S = 3.0
"""Default time for an answer to a question of ours."""

_LETTERS = string.ascii_letters + string.digits
_OTHER = re.compile(r"[^0-9A-Za-z_]")

Work = Callable[[bytes, float], Awaitable[bytes]]
"""Gets the request and the seconds that are left; returns the answer. May raise RpcError."""


class RpcError(Exception):
    """A call failed: a code word of the protocol, a text, and a SIP status where there was one."""

    def __init__(self, code: str, text: str, status: int | None = None, reason: str = "") -> None:
        super().__init__(code)
        self.code = code
        """not_found, canceled, deadline_exceeded, ..."""
        self.text = text or code
        """For the other side; may hold words from outside, so it goes into no log."""
        self.status = status
        """SIP status, or None."""
        self.reason = reason


# fmt: off
_CODES = {
    "permission_denied": (401, 402, 403, 433, 470, 603, 607, 608),
    "not_found": (301, 302, 404, 410, 481, 604),
    "deadline_exceeded": (408, 504),
    "resource_exhausted": (440, 480, 486, 600),
    "aborted": (487, 491),
    "unauthenticated": (407, 428, 436, 437, 438, 494),
    "failed_precondition": (409, 412, 482, 483, 500, 501, 502, 503),
    "invalid_argument": (505, 513),
}
# fmt: on
_CODE_OF = {status: code for code, statuses in _CODES.items() for status in statuses}


def sip_error(status: int, reason: str) -> RpcError:
    """The error that a SIP status becomes on the other side."""
    code = _CODE_OF.get(status) or ("failed_precondition" if 500 <= status < 600 else "invalid_argument")
    return RpcError(code, f"sip status: {status}: {reason}" if reason else f"sip status: {status}", status, reason)


def new_id(prefix: str) -> str:
    """An id as LiveKit makes them: `SCL_` and the like, then 12 letters or digits."""
    return prefix + "".join(secrets.choice(_LETTERS) for _ in range(12))


def channel(*parts: str) -> str:
    """Name of a channel; empty parts vanish, and what is no letter, digit or underscore is written as its number."""
    return "|".join(_OTHER.sub(lambda found: f"u+{ord(found[0]):04x}", part) for part in parts if part)


class RpcServer:
    """Serves methods of one service."""

    def __init__(self, bus: Bus, tasks: Tasks, service: str) -> None:
        self._bus, self._tasks, self._service = bus, tasks, service
        self._clock = Clock()
        self.id = new_id("SRV_")
        """How we are known in claims."""
        self._claims: dict[str, asyncio.Future[str]] = {}

    async def serve(self, method: str, topic: str, work: Work) -> None:
        """Answer `method` (of one call, where `topic` is its id) from now on. Raises: Unavailable."""
        await self._bus.subscribe(channel(self._service, method, topic, "RCLAIM"), self._confirmed)
        await self._bus.subscribe(
            channel(self._service, method, topic, "REQ"),
            lambda data: self._asked(method, topic, work, data),
        )

    async def withdraw(self, method: str, topic: str) -> None:
        """Answer it no longer; what is being worked on is still answered."""
        for kind in ("REQ", "RCLAIM"):
            await self._bus.unsubscribe(channel(self._service, method, topic, kind))

    def _confirmed(self, data: bytes) -> None:
        try:
            claim = messages.unwrapped(data)
        except ValueError:
            return
        waiting = self._claims.get(claim.request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(claim.server_id)

    def _asked(self, method: str, topic: str, work: Work, data: bytes) -> None:
        try:
            request = messages.unwrapped(data)
        except ValueError:
            log.warning("%s: not a request", method)
            return
        if request.DESCRIPTOR.name == "Request":
            self._tasks.start(self._answer(method, topic, work, data, request), f"answer to {method}")

    async def _answer(self, method: str, topic: str, work: Work, data: bytes, request: Any) -> None:
        left_s = self._left_s(request)
        if left_s <= 0:
            return
        lock = base64.b64encode(hashlib.sha256(data).digest()).decode()
        try:
            if not await self._bus.take(lock, LOCK_S, within_s=CLAIM_S):
                return  # another process has it
            if not await self._claim(request):
                return
            answer = await self._worked(method, work, request)
            await self._bus.publish(
                channel(self._service, request.client_id, "RES"),
                messages.wrapped(answer),
                within_s=max(self._left_s(request), CLAIM_S),
            )
        except Unavailable as error:
            log.warning("%s: no answer given, %s", method, error.code)

    async def _claim(self, request: Any) -> bool:
        waiting = self._claims[request.request_id] = asyncio.get_running_loop().create_future()
        try:
            claim = messages.ClaimRequest(request_id=request.request_id, server_id=self.id, affinity=1.0)
            await self._bus.publish(
                channel(self._service, request.client_id, "CLAIM"), messages.wrapped(claim), within_s=CLAIM_S
            )
            async with asyncio.timeout(CONFIRM_S):
                return bool(await waiting == self.id)
        except TimeoutError:
            return False
        finally:
            del self._claims[request.request_id]

    async def _worked(self, method: str, work: Work, request: Any) -> Any:
        answer = messages.Response(request_id=request.request_id, server_id=self.id)
        try:
            answer.raw_response = await work(request.raw_request, self._left_s(request))
        except RpcError as error:
            answer.code, answer.error = error.code, error.text
            if error.status is not None:
                answer.error_details.append(messages.status_detail(error.status, error.reason))
        except Exception as error:  # always answer, whatever broke
            log.error("%s broke: %s", method, type(error).__name__, exc_info=log.isEnabledFor(logging.DEBUG))
            answer.code, answer.error = "unknown", f"{method} broke: {type(error).__name__}"
        answer.sent_at = self._clock.wall_ns()
        return answer

    def _left_s(self, request: Any) -> float:
        return float(request.expiry - self._clock.wall_ns()) / NS


class RpcClient:
    """Asks methods of one service. `start` before the first question."""

    def __init__(self, bus: Bus, tasks: Tasks, service: str) -> None:
        self._bus, self._tasks, self._service = bus, tasks, service
        self._clock = Clock()
        self.id = new_id("CLI_")
        """How we are known in questions."""
        self._open: dict[str, _Question] = {}

    async def start(self) -> None:
        """Subscribe to what comes back. Raises: Unavailable."""
        await self._bus.subscribe(channel(self._service, self.id, "CLAIM"), self._claimed)
        await self._bus.subscribe(channel(self._service, self.id, "RES"), self._answered)

    async def ask(self, method: str, request: Any, answer: Any, *, topic: str = "", within_s: float = ASK_S) -> Any:
        """Return the answer, of message type `answer`.

        Raises: RpcError; its code is `unavailable` where nobody claimed, `deadline_exceeded` where nobody answered.
        """
        now = self._clock.wall_ns()
        asked = messages.Request(
            request_id=new_id("REQ_"),
            client_id=self.id,
            sent_at=now,
            expiry=now + int(within_s * NS),
            raw_request=request.SerializeToString(),
        )
        question = self._open[asked.request_id] = _Question(channel(self._service, method, topic, "RCLAIM"))
        try:
            async with asyncio.timeout(within_s):
                await self._bus.publish(
                    channel(self._service, method, topic, "REQ"), messages.wrapped(asked), within_s=within_s
                )
                async with asyncio.timeout(CLAIM_S):
                    await question.claimed.wait()
                response = await question.answer
        except TimeoutError as error:
            if question.claimed.is_set():
                raise RpcError("deadline_exceeded", "request timed out") from error
            raise RpcError("unavailable", "no response from servers") from error
        except Unavailable as error:
            raise RpcError("unavailable", error.code) from error
        finally:
            del self._open[asked.request_id]
        if response.error:
            raise RpcError(response.code or "unknown", response.error)
        return answer.FromString(response.raw_response)

    def _claimed(self, data: bytes) -> None:
        try:
            claim = messages.unwrapped(data)
        except ValueError:
            return
        question = self._open.get(claim.request_id)
        if question is None or question.claimed.is_set():
            return  # the first claim has it
        question.claimed.set()
        self._tasks.start(self._confirm(question, claim), "confirmation of a claim")

    async def _confirm(self, question: "_Question", claim: Any) -> None:
        confirmed = messages.ClaimResponse(request_id=claim.request_id, server_id=claim.server_id)
        try:
            await self._bus.publish(question.claims_to, messages.wrapped(confirmed), within_s=CLAIM_S)
        except StageError:
            log.warning("a claim was not confirmed: Redis is away")

    def _answered(self, data: bytes) -> None:
        try:
            response = messages.unwrapped(data)
        except ValueError:
            return
        question = self._open.get(response.request_id)
        if question is not None and not question.answer.done():
            question.answer.set_result(response)


class _Question:
    def __init__(self, claims_to: str) -> None:
        self.claims_to = claims_to
        self.claimed = asyncio.Event()
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
