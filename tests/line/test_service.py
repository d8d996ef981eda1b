"""Promise: livekit-server takes the bench for its SIP service: each answer as measured, and it outlives server and Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from google.protobuf.duration_pb2 import Duration
from livekit import api

from tests.line import rooms as line_rooms
from tests.line.fake_phones import CALLER, FakeAgent, FakeCall, FakeTransfer
from tests.line.rooms import ANSWERED, UNKNOWN, RoomAgent, agent_in_next_room
from tests.line.stack import Stack, found_engines
from triage.bench.faults import Faults
from triage.bench.legs import FIRST_PACKET_S, MOST_DROPPED
from triage.bench.mark import MARK, is_marked
from triage.bench.seam.calls import HeaderRules, remote_headers
from triage.bench.seam.room import Access
from triage.bench.service import SipBench
from triage.bench.sip.ports import Codec, Done, EndReason, TransferOutcome
from triage.errors import Unavailable

pytestmark = pytest.mark.line

OK = Done(TransferOutcome.TRANSFERRED, 200, "OK")


class World:
    """The bench on a stack, with phones that are the test."""

    def __init__(self, engines: Stack, faults: Faults | None = None) -> None:
        conf = engines.line
        self.stack, self.agent, self.lk = engines, FakeAgent(), line_rooms.client(engines)
        self.bench = SipBench(
            self.agent,
            Access(conf.url, conf.access.api_key, conf.access.api_secret),
            redis=("127.0.0.1", conf.ports.redis),
            redis_password=conf.access.redis_password,
            faults=faults,
        )

    @asynccontextmanager
    async def call(self, **options: Any) -> AsyncIterator[tuple[FakeCall, RoomAgent, str]]:
        """An answered call: phone, agent, and the identity of the caller."""
        async with agent_in_next_room(self.stack, self.lk) as joining:
            call = self.agent.ring(FakeCall(to_user=ANSWERED, **options))
            agent: RoomAgent = await joining
            await asyncio.wait_for(call.answered.wait(), 10)
            identity = (await agent.active()).identity
            try:
                yield call, agent, identity
            finally:
                call.end(EndReason.REMOTE_BYE)

    async def transfer(self, agent: RoomAgent, identity: str, *, to: str = "tel:+15550111", ring_s: int = 8) -> Any:
        return await self.lk.sip.transfer_sip_participant(
            api.TransferSIPParticipantRequest(
                room_name=agent.name,
                participant_identity=identity,
                transfer_to=to,
                headers={"X-Triage-Code": "K7Q2"},
                ringing_timeout=Duration(seconds=ring_s),
            )
        )

    async def dial(self, room: str, ring_s: int = 8, *, wait: bool = True, **more: Any) -> Any:
        return await self.lk.sip.create_sip_participant(
            api.CreateSIPParticipantRequest(
                trunk=api.SIPOutboundConfig(hostname="127.0.0.1:5090"),
                sip_number=ANSWERED,
                sip_call_to="nurse",
                room_name=room,
                participant_identity="nurse",
                wait_until_answered=wait,
                ringing_timeout=Duration(seconds=ring_s),
                headers={"X-Triage-Code": "K7Q2"},
                **more,
            )
        )


@asynccontextmanager
async def world_on(engines: Stack, faults: Faults | None = None) -> AsyncIterator[World]:
    world = World(engines, faults)
    try:
        if not (await world.lk.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())).items:
            await line_rooms.provision(world.lk)
        async with world.bench:
            yield world
    finally:
        await world.lk.aclose()


@pytest.fixture
async def world(stack: Stack) -> AsyncIterator[World]:
    async with world_on(stack) as made:
        yield made


def after(seconds: float, done: Done) -> Any:
    def referred(transfer: FakeTransfer) -> None:
        transfer.accept()
        asyncio.get_running_loop().call_later(seconds, transfer.decide, done)

    return referred


# --- a call that comes in


async def test_the_participant_is_marked_and_the_number_is_in_none_of_its_names(world: World) -> None:
    async with world.call() as (call, agent, identity):
        phone = agent.phone()
        assert is_marked(phone.attributes) and MARK.items() <= dict(phone.attributes).items()
        seen = f"{agent.name} {identity} {phone.name} {phone.metadata} {dict(phone.attributes)}"
        assert CALLER not in seen and CALLER[1:] not in seen
        assert phone.attributes["sip.callIDFull"] == call.call_id and phone.attributes["sip.callTag"] == "theirs"
        assert call.rings == 1 and call.media_timeout_s == 15.0


async def test_the_log_tells_the_callers_number_as_livekit_sip_does(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "triage.bench")
    async with world.call():
        assert any(f'fromUser="{CALLER}"' in message for message in caplog.messages)


async def test_the_second_phone_in_a_room_is_not_kept_ringing_by_the_first(world: World) -> None:
    # Two phones without an agent would wait for each other's voice.
    async with world.call() as (_, agent, _identity):
        await agent.leave()
        world.agent.phone = FakeCall()
        await world.dial(agent.name)
        assert world.agent.phone.answered.is_set()


async def test_a_call_is_active_when_the_phone_speaks_and_soon_after_the_answer_even_if_it_does_not(
    world: World,
) -> None:
    loop = asyncio.get_running_loop()
    for speaks in (True, False):
        async with agent_in_next_room(world.stack, world.lk) as joining:
            call = world.agent.ring(FakeCall(to_user=ANSWERED))
            agent = await joining
            await asyncio.wait_for(call.answered.wait(), 10)
            began = loop.time()
            if speaks:
                assert call.on_audio is not None
                call.on_audio(np.zeros(160, np.int16))
            await agent.active()
            assert (loop.time() - began < FIRST_PACKET_S / 2) == speaks
            call.end(EndReason.REMOTE_BYE)


async def test_calls_to_a_number_that_nobody_has_get_no_answer_but_a_flood_of_them_is_refused(world: World) -> None:
    calls = [world.agent.ring(FakeCall(to_user=UNKNOWN)) for _ in range(MOST_DROPPED + 4)]
    async with asyncio.timeout(5):
        while sum(call.ended is not None for call in calls) < 4:  # noqa: ASYNC110 whichever they are
            await asyncio.sleep(0.02)
    refused = [call.rejected for call in calls if call.ended is not None]
    assert refused == [(408, "Request Timeout")] * 4 and not any(call.answered.is_set() for call in calls)
    async with world.call() as (call, _, _identity):  # nobody else is kept out
        assert call.answered.is_set()


async def test_a_caller_who_hangs_up_before_anybody_spoke_leaves_the_room(world: World) -> None:
    async with agent_in_next_room(world.stack, world.lk, publish=False) as joining:
        call = world.agent.ring(FakeCall(to_user=ANSWERED))
        agent = await joining
        await agent.until(lambda: agent.phone() is not None)
        call.end(EndReason.CANCELLED)
        await agent.until(lambda: agent.phone() is None)
        assert not call.answered.is_set() and call.rejected is None


async def test_keys_go_both_ways(world: World) -> None:
    async with world.call() as (call, agent, _):
        assert call.on_digit is not None
        for key in "0#*A":
            call.on_digit(key)
        await agent.until(lambda: len(agent.keys) == 4)
        assert agent.keys == ["0", "#", "*", "A"]
        await agent.room.local_participant.publish_dtmf(code=7, digit="7")
        await agent.until(lambda: call.pressed == "7")


async def test_the_phone_hears_the_room_at_its_own_rate(world: World) -> None:
    async with world.call(codec=Codec("G722", 16_000, 9)) as (call, agent, _):
        await agent.until(lambda: len(call.sent) > 30)
        assert {len(frame) for frame in call.sent} == {320}
        assert max(int(np.abs(frame).max()) for frame in call.sent) > 4000


async def test_end_call_sends_its_headers_with_the_bye(world: World) -> None:
    async with world.call() as (call, agent, identity):
        await agent.room.local_participant.perform_rpc(
            destination_identity=identity, method="lk.sip.EndCall", payload='{"headers": {"X-Why": "done"}}'
        )
        await asyncio.wait_for(call.over.wait(), 5)
        assert call.bye_headers == {"X-Why": "done"}


async def test_an_agents_name_in_the_rule_is_dispatched(tmp_path: Path) -> None:
    engines = Stack(tmp_path, found_engines())
    try:
        engines.start("redis")
        engines.start("server")
        world = World(engines)
        await line_rooms.provision(world.lk, agents=("triage",))
        async with world.bench, agent_in_next_room(engines, world.lk, publish=False) as joining:
            call = world.agent.ring(FakeCall(to_user=ANSWERED))
            agent = await joining
            (dispatch,) = await world.lk.agent_dispatch.list_dispatch(agent.name)
            assert (dispatch.agent_name, dispatch.metadata) == ("triage", "m1")
            call.end(EndReason.CANCELLED)
        await world.lk.aclose()
    finally:
        engines.stop()


# --- transfers, as a client of LiveKit's API sees them


async def test_success_is_an_empty_answer(world: World) -> None:
    async with world.call() as (call, agent, identity):
        call.on_refer = after(0.3, OK)
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await world.transfer(agent, identity)
        assert answer.ByteSize() == 0 and 0.29 < loop.time() - began < 1.0
        (refer,) = call.transfers
        assert (refer.target_uri, refer.headers, refer.timeout_s) == ("tel:+15550111", {"X-Triage-Code": "K7Q2"}, 8.0)


@pytest.mark.parametrize(
    ("done", "code", "http", "status", "reason"),
    [
        (Done(TransferOutcome.FAILED, 486, "Busy Here"), "resource_exhausted", 429, 486, "Busy Here"),
        (Done(TransferOutcome.FAILED, 603, "Decline"), "permission_denied", 403, 603, "Decline"),
        (Done(TransferOutcome.REFUSED, 403, "Forbidden"), "permission_denied", 403, 403, "Forbidden"),
        (Done(TransferOutcome.FAILED, 503, "Unavailable"), "failed_precondition", 412, 503, "Unavailable"),
        (Done(TransferOutcome.FAILED, 480, ""), "resource_exhausted", 429, 480, "SIP_STATUS_TEMPORARILY_UNAVAILABLE"),
    ],
)
async def test_a_failure_brings_the_sip_status(
    world: World, done: Done, code: str, http: int, status: int, reason: str
) -> None:
    async with world.call() as (call, agent, identity):
        call.on_refer = after(0.1, done)
        with pytest.raises(api.SipCallError) as caught:
            await world.transfer(agent, identity)
        error = caught.value
        assert (error.code, error.status, error.sip_status_code, error.sip_status) == (code, http, status, reason)


async def test_silence_ends_with_the_servers_own_deadline(world: World) -> None:
    async with world.call() as (call, agent, identity):
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(api.ServerError) as caught:
            await world.transfer(agent, identity, ring_s=2)
        assert (caught.value.code, caught.value.status) == ("deadline_exceeded", 408)
        assert 1.9 < loop.time() - began < 3.0
        assert call.ended is None  # nobody took the REFER back, nobody hung up


async def test_two_transfers_in_a_row_on_one_call(world: World) -> None:
    async with world.call() as (call, agent, identity):
        call.on_refer = after(0.1, Done(TransferOutcome.FAILED, 486, "Busy Here"))
        with pytest.raises(api.SipCallError):
            await world.transfer(agent, identity)
        call.on_refer = after(0.1, OK)
        await world.transfer(agent, identity, to="sip:other@127.0.0.1:5091")
        assert [t.target_uri for t in call.transfers] == ["tel:+15550111", "<sip:other@127.0.0.1:5091>"]


async def test_two_transfers_at_once_are_both_answered_by_one_refer(world: World) -> None:
    async with world.call() as (call, agent, identity):
        call.on_refer = after(0.3, OK)
        await asyncio.gather(world.transfer(agent, identity), world.transfer(agent, identity))
        assert len(call.transfers) == 1


async def test_what_is_no_uri_never_reaches_the_phone(world: World) -> None:
    async with world.call() as (call, agent, identity):
        with pytest.raises(api.ServerError) as caught:
            await world.transfer(agent, identity, to="+15550111")
        assert caught.value.code == "invalid_argument" and call.transfers == []


async def test_a_call_that_is_gone_is_not_found(world: World) -> None:
    async with world.call() as (call, agent, identity):
        call.end(EndReason.REMOTE_BYE)
        await agent.until(lambda: agent.phone() is None)
        with pytest.raises(api.ServerError) as caught:
            await world.transfer(agent, identity)
        assert caught.value.code == "not_found"


async def test_nobody_at_the_seam_is_unavailable_after_a_second(stack: Stack) -> None:
    lk = line_rooms.client(stack)
    try:
        with pytest.raises(api.ServerError) as caught:
            await World(stack).dial("nobody")
        assert caught.value.code == "unavailable"
    finally:
        await lk.aclose()


# --- a phone that we dial


async def test_a_dialled_phone_gets_headers_and_is_told_of_when_it_has_answered(world: World) -> None:
    agent = RoomAgent(world.stack, "dialled")
    await agent.join()
    world.agent.phone, world.agent.answers_after_s = FakeCall(headers={"to": "<sip:nurse@h>;tag=nurses"}), 0.5
    try:
        dialling = asyncio.ensure_future(world.dial("dialled", participant_attributes={"role": "nurse"}))
        await agent.until(lambda: agent.phone("nurse") is not None)
        assert agent.phone("nurse").attributes["sip.callStatus"] in ("dialing", "ringing")
        info = await dialling
        await agent.until(lambda: agent.phone("nurse").attributes["sip.callStatus"] == "active")
        attributes = dict(agent.phone("nurse").attributes)
        assert attributes["sip.callID"] == info.sip_call_id and attributes["role"] == "nurse" and is_marked(attributes)
        assert attributes["sip.callTag"] == "nurses" and agent.statuses[-1] == "active"
        assert world.agent.dialled == ["sip:nurse@127.0.0.1:5090"]
        assert world.agent.dial_headers == [{"X-Triage-Code": "K7Q2"}]
        await agent.until(lambda: any(np.abs(frame).max() > 4000 for frame in world.agent.phone.sent))
    finally:
        await agent.leave()


async def test_without_waiting_the_answer_comes_before_the_phone_rings_out(world: World) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    info = await world.dial("at once", 2, wait=False)
    assert info.participant_id.startswith("PA_") and loop.time() - began < 1.5
    for _ in range(100):
        await asyncio.sleep(0.05)
        if world.bench.calls == 0:
            break
    assert world.bench.calls == 0 and loop.time() - began < 4.0


async def test_removing_a_ringing_participant_cancels_the_call(world: World) -> None:
    dialling = asyncio.ensure_future(world.dial("removed", 20))
    for _ in range(100):
        await asyncio.sleep(0.05)
        if "nurse" in await line_rooms.people(world.lk) and world.agent.dialled:
            break
    await world.lk.room.remove_participant(api.RoomParticipantIdentity(room="removed", identity="nurse"))
    with pytest.raises(api.ServerError) as caught:
        await dialling
    assert caught.value.code == "canceled" and world.agent.cancelled == 1


async def test_a_call_ends_at_its_longest_duration(world: World) -> None:
    phone = world.agent.phone = FakeCall()
    await world.dial("short", max_call_duration=Duration(seconds=1))
    assert phone.ended is None
    await asyncio.wait_for(phone.over.wait(), 3)
    assert phone.ended is EndReason.LOCAL


async def test_a_dialled_leg_is_transferred_like_the_other(world: World) -> None:
    world.agent.phone = FakeCall()
    world.agent.phone.on_refer = after(0.1, OK)
    await world.dial("onward")
    await world.lk.sip.transfer_sip_participant(
        api.TransferSIPParticipantRequest(
            room_name="onward", participant_identity="nurse", transfer_to="tel:+1", ringing_timeout=Duration(seconds=4)
        )
    )
    assert len(world.agent.phone.transfers) == 1


# --- faults


async def test_held_on_202_neither_side_hears_the_other_until_it_has_failed(stack: Stack) -> None:
    async with world_on(stack, Faults(hold_on_202=True)) as world, world.call() as (call, agent, identity):
        await agent.until(lambda: len(call.sent) > 5)
        call.on_refer = after(1.0, Done(TransferOutcome.FAILED, 486, "Busy Here"))
        transferring = asyncio.ensure_future(world.transfer(agent, identity))
        await agent.until(lambda: bool(call.transfers))
        call.sent.clear()
        await asyncio.sleep(0.5)
        assert call.sent == []
        with pytest.raises(api.SipCallError):
            await transferring
        await agent.until(lambda: len(call.sent) > 5)


async def test_a_late_answer_is_too_late_for_the_client(stack: Stack) -> None:
    async with world_on(stack, Faults(late_answer_s=3.0)) as world, world.call() as (call, agent, identity):
        call.on_refer = after(0.1, OK)
        with pytest.raises(api.ServerError) as caught:
            await world.transfer(agent, identity, ring_s=2)
        assert caught.value.code == "deadline_exceeded"
        assert call.transfers[0].done == OK  # the caller was transferred all the same


# --- the engines go away


async def test_without_redis_it_does_not_start(stack: Stack, tmp_path: Path) -> None:
    world = World(Stack(tmp_path, found_engines()))  # engines that were never started
    with pytest.raises(Unavailable):
        async with world.bench:
            raise AssertionError("it started")
    await world.lk.aclose()


async def test_redis_gone_and_back_in_a_transfer(tmp_path: Path) -> None:
    engines = Stack(tmp_path, found_engines())
    engines.start("redis")
    engines.start("server")
    try:
        async with world_on(engines) as world, world.call() as (call, agent, identity):
            call.on_refer = after(1.5, OK)
            transferring = asyncio.ensure_future(world.transfer(agent, identity, ring_s=10))
            await agent.until(lambda: bool(call.transfers))
            engines.kill("redis")
            await asyncio.sleep(0.3)
            await asyncio.to_thread(engines.start, "redis")
            await transferring
            # The server kept who is there in Redis; a change of the leg's attributes makes it known again.
            assert call.on_digit is not None
            call.on_digit("5")
            await agent.until(lambda: agent.keys == ["5"])  # the call itself never noticed
    finally:
        engines.stop()


async def test_a_call_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    engines = Stack(tmp_path, found_engines())
    engines.start("redis")
    engines.start("server")
    try:
        async with world_on(engines) as world, world.call() as (call, agent, _identity):
            engines.kill("server")
            await asyncio.sleep(0.3)
            await asyncio.to_thread(engines.start, "server")
            call.sent.clear()
            await agent.until(lambda: any(np.abs(frame).max() > 4000 for frame in call.sent), 30)
            assert call.ended is None and call.on_digit is not None
            call.on_digit("5")
            await agent.until(lambda: agent.keys == ["5"])
            async with world.call() as (other, _, _identity):  # and new ones come in
                assert other.ended is None
    finally:
        engines.stop()


# --- headers


def test_headers_become_attributes_as_the_rule_says() -> None:
    call = FakeCall(headers={"x-urgent": "1", "subject": "s", "x-twilio-callsid": "CA1"})
    ids = {"sip.callIDFull": call.call_id, "sip.callTag": "theirs", "sip.twilio.callSid": "CA1"}
    assert HeaderRules().attributes(call) == ids
    assert HeaderRules(include=1).attributes(call) == {**ids, "sip.h.x-urgent": "1", "sip.h.x-twilio-callsid": "CA1"}
    assert HeaderRules(include=2).attributes(call)["sip.h.subject"] == "s"
    assert HeaderRules(to_attributes={"Subject": "why"}).attributes(call) == {**ids, "why": "s"}


def test_attributes_become_headers_as_the_rule_says() -> None:
    rules = HeaderRules(from_attributes={"code": "X-Code", "absent": "X-Absent"})
    assert rules.headers({"code": "42"}, {"X-Own": "1"}) == {"X-Own": "1", "X-Code": "42"}


def test_headers_of_the_transport_are_told_to_nobody() -> None:
    told = remote_headers(FakeCall(headers={"x-a": "1", "p-asserted-identity": "<tel:+1>"}).headers, {})
    assert set(told) == {"From", "To", "Call-ID", "X-A", "P-Asserted-Identity"}
    assert set(remote_headers({"x-a": "1", "x-b": "2", "via": "v"}, {"include": ["VIA", "X-B"]})) == {"X-B"}
