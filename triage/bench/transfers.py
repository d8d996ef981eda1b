"""Transfers as livekit-sip v1.11.0 does them, awkward parts included.

- While one is pending, a second request for the same target joins it; for another target it is refused.
- Success is a NOTIFY with exactly 200, or the end of the call at any time after the REFER was accepted.
- The answer to success is empty.
- Nothing ever cancels a REFER. After the time-out a result is dropped; a REFER that nobody has answered by then stays
  pending, against other targets too, as long as it is repeated.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from triage.bench.faults import Faults
from triage.bench.seam.rpc import RpcError, sip_error
from triage.bench.sip.ports import (
    Accepted,
    Call,
    CallOver,
    Done,
    InvalidTarget,
    Late,
    TransferEvent,
    TransferOutcome,
    TransferPending,
)
from triage.bench.tasks import Tasks

log = logging.getLogger("triage.bench.sip_bench")

DEFAULT_S = 120.0
"""Time for a transfer whose request names none."""
REPEATED_S = 32.0
"""How long a REFER without an answer is repeated (64 times T1, RFC 3261)."""


class Transferable(Protocol):
    """A leg, as far as a transfer needs to know it."""

    call: Call | None

    def hold(self, held: bool) -> None:
        """Cut the audio both ways, or give it back; for the fault."""

    def ring_tone(self, on: bool) -> None:
        """Let the phone hear a ring tone instead of the room, or the room again."""


@dataclass(frozen=True)
class Order:
    """What a transfer request asks for."""

    target: str
    headers: Mapping[str, str]
    timeout_s: float
    play_dialtone: bool


class Transfers:
    """All transfers of the bench that are pending."""

    def __init__(self, tasks: Tasks, faults: Faults) -> None:
        self._tasks, self._faults = tasks, faults
        self._pending: dict[str, _Pending] = {}

    async def transfer(self, call_id: str, leg: Transferable, order: Order) -> None:
        """Transfer a call and return when it has succeeded. Raises: RpcError when it has not."""
        pending = self._pending.get(call_id)
        if pending is None:
            pending = self._pending[call_id] = _Pending(order.target)
            self._tasks.start(self._run(call_id, leg, order, pending), "transfer")
        elif pending.target != order.target:
            raise RpcError("invalid_argument", "call already being transferred elsewhere")
        error = await asyncio.shield(pending.result)
        if self._faults.late_answer_s:
            await asyncio.sleep(self._faults.late_answer_s)
        if error is not None:
            raise error

    async def _run(self, call_id: str, leg: Transferable, order: Order, pending: "_Pending") -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            done = await self._referred(call_id, leg, order, pending)
            if done.outcome is TransferOutcome.ENDED_BEFORE_RESULT and not pending.accepted:
                await asyncio.sleep(began + order.timeout_s - loop.time())  # the REFER of a call that is gone
            pending.result.set_result(self._error(done, pending))
            if done.outcome is TransferOutcome.TIMED_OUT and not pending.accepted:
                await asyncio.sleep(began + REPEATED_S - loop.time())
        except RpcError as error:
            pending.result.set_result(error)
        finally:
            if not pending.result.done():  # broken, or the bench ends
                pending.result.set_result(RpcError("internal", "the bench could not transfer"))
            del self._pending[call_id]

    async def _referred(self, call_id: str, leg: Transferable, order: Order, pending: "_Pending") -> Done:
        def heard(event: TransferEvent) -> None:
            if isinstance(event, Accepted):
                pending.accepted = True
                if self._faults.hold_on_202:
                    leg.hold(True)
            elif isinstance(event, Late):
                log.info("%s: dropped a late NOTIFY with %d", call_id, event.status)

        if leg.call is None:
            raise RpcError("failed_precondition", "can't transfer non established call")
        leg.call.notify_delay = lambda status: self._faults.notify_delay(status, order.timeout_s)
        try:
            transfer = leg.call.refer(order.target, order.headers, timeout_s=order.timeout_s, on_event=heard)
        except InvalidTarget as error:
            raise RpcError("invalid_argument", "invalid transfer target") from error
        except ValueError as error:
            raise RpcError("invalid_argument", "invalid header") from error
        except (CallOver, TransferPending) as error:
            raise RpcError("failed_precondition", "can't transfer non established call") from error
        if order.play_dialtone:
            leg.ring_tone(True)
        done = await transfer.wait()
        if done.outcome not in (TransferOutcome.TRANSFERRED, TransferOutcome.ENDED_BEFORE_RESULT):
            leg.ring_tone(False)
            leg.hold(False)
        log.info("%s: transfer %s, status %s", call_id, done.outcome, done.status)
        return done

    @staticmethod
    def _error(done: Done, pending: "_Pending") -> RpcError | None:
        match done.outcome:
            case TransferOutcome.TRANSFERRED:
                return None
            case TransferOutcome.ENDED_BEFORE_RESULT if pending.accepted:
                return None  # nobody knows what became of it; livekit-sip says success
            case TransferOutcome.REFUSED | TransferOutcome.FAILED:
                return sip_error(done.status or 500, done.reason)
        return RpcError("canceled", "refer canceled")


class _Pending:
    def __init__(self, target: str) -> None:
        self.target = target
        self.accepted = False
        self.result: asyncio.Future[RpcError | None] = asyncio.get_running_loop().create_future()
