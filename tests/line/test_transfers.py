"""Promise: a transfer is told as livekit-sip v1.11.0 tells it: right, wrong, late, twice, or not at all."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from tests.line.fake_phones import FakeCall, FakeTransfer
from triage import clock
from triage.bench.faults import AFTER_S, Faults
from triage.bench.mark import MARK, is_marked
from triage.bench.seam.rpc import RpcError
from triage.bench.sip.ports import Done, EndReason, TransferOutcome
from triage.bench.tasks import Tasks
from triage.bench.transfers import REPEATED_S, Order, Transfers

pytestmark = pytest.mark.line

OK = Done(TransferOutcome.TRANSFERRED, 200, "OK")
BUSY = Done(TransferOutcome.FAILED, 486, "Busy Here")


class World:
    """One leg and one client, in virtual time."""

    def __init__(self, tasks: Tasks, faults: Faults) -> None:
        self.call: FakeCall | None = FakeCall()
        assert self.call is not None
        self.call.answered.set()
        self.transfers = Transfers(tasks, faults)
        self.held = False
        self.tone = False
        self.loop = asyncio.get_running_loop()

    def hold(self, held: bool) -> None:
        self.held = held

    def ring_tone(self, on: bool) -> None:
        self.tone = on

    async def transfer(self, target: str = "tel:+1", timeout_s: float = 8.0, tone: bool = False) -> tuple[str, float]:
        """What the client sees: a code or `ok`, and after how long."""
        began = self.loop.time()
        try:
            await self.transfers.transfer("SCL_1", self, Order(target, {"X-Code": "42"}, timeout_s, tone))
        except RpcError as error:
            return f"{error.code} {error.status or ''}".strip(), round(self.loop.time() - began, 3)
        return "ok", round(self.loop.time() - began, 3)

    def when_referred(self, *steps: tuple[float, Callable[[FakeTransfer], object]]) -> None:
        def referred(transfer: FakeTransfer) -> None:
            for after_s, step in steps:
                self.loop.call_later(after_s, step, transfer)

        assert self.call is not None
        self.call.on_refer = referred


def in_world(test: Callable[[World], Awaitable[None]], faults: Faults | None = None) -> None:
    async def main() -> None:
        async with Tasks() as tasks:
            await test(World(tasks, faults or Faults()))

    clock.run(main(), virtual=True)


def accept(transfer: FakeTransfer) -> None:
    transfer.accept()


def decide(done: Done) -> Callable[[FakeTransfer], object]:
    return lambda transfer: transfer.decide(done)


@pytest.mark.parametrize(
    ("done", "told"),
    [
        (OK, "ok"),
        (BUSY, "resource_exhausted 486"),
        (Done(TransferOutcome.FAILED, 503, ""), "failed_precondition 503"),
        (Done(TransferOutcome.REFUSED, 603, "Decline"), "permission_denied 603"),
        (Done(TransferOutcome.REFUSED, 403, "Forbidden"), "permission_denied 403"),
        (Done(TransferOutcome.FAILED, 404, "Not Found"), "not_found 404"),
        (Done(TransferOutcome.FAILED, 408, "Request Timeout"), "deadline_exceeded 408"),
        (Done(TransferOutcome.FAILED, 302, "Moved"), "not_found 302"),
        (Done(TransferOutcome.FAILED, 699, ""), "invalid_argument 699"),
    ],
)
def test_each_result_has_its_code(done: Done, told: str) -> None:
    async def body(world: World) -> None:
        world.when_referred((0.1, accept), (0.5, decide(done)))
        assert await world.transfer() == (told, 0.5)

    in_world(body)


def test_the_refer_carries_target_headers_and_time() -> None:
    async def body(world: World) -> None:
        world.when_referred((0.1, decide(OK)))
        await world.transfer("sip:nurses@127.0.0.1:5090", 5.0)
        assert world.call is not None
        (transfer,) = world.call.transfers
        assert (transfer.target_uri, transfer.headers, transfer.timeout_s) == (
            "sip:nurses@127.0.0.1:5090",
            {"X-Code": "42"},
            5.0,
        )

    in_world(body)


def test_silence_is_canceled_at_the_time_out() -> None:
    async def body(world: World) -> None:
        world.when_referred((0.1, accept))
        assert await world.transfer(timeout_s=3.0) == ("canceled", 3.0)

    in_world(body)


def test_a_call_that_ends_in_mid_transfer_counts_as_transferred() -> None:
    async def body(world: World) -> None:
        call = world.call
        assert call is not None
        world.when_referred((0.1, accept), (1.0, lambda _: call.end(EndReason.REMOTE_BYE)))
        assert await world.transfer() == ("ok", 1.0)

    in_world(body)


def test_but_not_before_the_refer_was_accepted() -> None:
    async def body(world: World) -> None:
        call = world.call
        assert call is not None
        world.when_referred((1.0, lambda _: call.end(EndReason.REMOTE_BYE)))
        assert await world.transfer(timeout_s=4.0) == ("canceled", 4.0)

    in_world(body)


def test_the_same_target_joins_and_another_is_refused() -> None:
    async def body(world: World) -> None:
        world.when_referred((0.1, accept), (2.0, decide(BUSY)))
        first = asyncio.ensure_future(world.transfer())
        await asyncio.sleep(0.5)
        assert await world.transfer("tel:+2") == ("invalid_argument", 0.0)
        assert await world.transfer() == ("resource_exhausted 486", 1.5)
        assert await first == ("resource_exhausted 486", 2.0)
        assert world.call is not None and len(world.call.transfers) == 1

    in_world(body)


def test_after_a_failure_there_can_be_another_one() -> None:
    async def body(world: World) -> None:
        world.when_referred((0.1, accept), (0.5, decide(BUSY)))
        await world.transfer()
        world.when_referred((0.1, accept), (0.5, decide(OK)))
        assert await world.transfer("tel:+2") == ("ok", 0.5)

    in_world(body)


def test_a_refer_that_nobody_answers_stays_pending_as_long_as_it_is_repeated() -> None:
    async def body(world: World) -> None:
        assert await world.transfer(timeout_s=3.0) == ("canceled", 3.0)
        assert await world.transfer("tel:+2") == ("invalid_argument", 0.0)
        await asyncio.sleep(REPEATED_S - 3.0 + 0.1)
        world.when_referred((0.1, accept), (0.2, decide(OK)))
        assert await world.transfer("tel:+2") == ("ok", 0.2)

    in_world(body)


def test_a_late_result_changes_nothing() -> None:
    async def body(world: World) -> None:
        world.when_referred((0.1, accept), (4.0, decide(OK)))
        assert await world.transfer(timeout_s=3.0) == ("canceled", 3.0)
        await asyncio.sleep(2.0)
        assert world.call is not None and world.call.ended is None

    in_world(body)


def test_an_unanswered_call_cannot_be_transferred() -> None:
    async def body(world: World) -> None:
        assert world.call is not None
        world.call.answered.clear()
        assert await world.transfer() == ("failed_precondition", 0.0)
        world.call = None
        assert await world.transfer() == ("failed_precondition", 0.0)

    in_world(body)


def test_the_ring_tone_sounds_only_when_it_is_asked_for_and_ends_with_a_failure() -> None:
    async def body(world: World) -> None:
        world.when_referred((0.1, accept), (1.0, decide(BUSY)))
        asked = asyncio.ensure_future(world.transfer(tone=True))
        await asyncio.sleep(0.5)
        assert world.tone
        await asked
        assert not world.tone
        plain = asyncio.ensure_future(world.transfer())
        await asyncio.sleep(0.5)
        assert not world.tone
        await plain

    in_world(body)


# --- faults


def test_hold_on_202_cuts_the_audio_until_the_transfer_has_failed() -> None:
    async def body(world: World) -> None:
        world.when_referred((0.3, accept), (1.0, decide(BUSY)))
        asked = asyncio.ensure_future(world.transfer())
        await asyncio.sleep(0.2)
        assert not world.held
        await asyncio.sleep(0.3)
        assert world.held
        await asked
        assert not world.held

    in_world(body, Faults(hold_on_202=True))


@pytest.mark.parametrize(
    ("faults", "status", "delay"),
    [
        (Faults(), 200, 0.0),
        (Faults(no_notify=True), 100, None),
        (Faults(no_notify=True), 200, None),
        (Faults(notify200_after_timeout=True), 200, 8.0 + AFTER_S),
        (Faults(notify200_after_timeout=True), 486, 0.0),
    ],
)
def test_a_notify_is_lost_or_late_as_the_fault_says(faults: Faults, status: int, delay: float | None) -> None:
    async def body(world: World) -> None:
        world.when_referred((0.1, decide(OK)))
        await world.transfer(timeout_s=8.0)
        assert world.call is not None and world.call.notify_delay is not None
        assert world.call.notify_delay(status) == delay

    in_world(body, faults)


def test_late_answers_come_late_and_are_the_same() -> None:
    async def body(world: World) -> None:
        world.when_referred((0.1, accept), (0.5, decide(OK)))
        assert await world.transfer() == ("ok", 3.5)

    in_world(body, Faults(late_answer_s=3.0))


def test_faults_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="NOTIFY"):
        Faults(no_notify=True, notify200_after_timeout=True)
    with pytest.raises(ValueError, match="late"):
        Faults(late_answer_s=-1)
    assert str(Faults()) == "none" and str(Faults(hold_on_202=True, late_answer_s=3)) == "hold_on_202, late_answer 3 s"


def test_the_mark_of_the_bench_is_recognised() -> None:
    assert is_marked({"sip.callID": "SCL_1", **MARK}) and not is_marked({"sip.callID": "SCL_1"})
