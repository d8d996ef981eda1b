"""Promise: between a phone and LiveKit's API it makes no difference which SIP service stands: this is the contract.

`sip-bench` fulfils it always; a real livekit-sip, where one is on the PATH, runs through the same tests.
"""

import asyncio
import dataclasses
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from google.protobuf.duration_pb2 import Duration
from livekit import api

from tests.line import rooms as line_rooms
from tests.line.rooms import ANSWERED, FOREIGN, UNANSWERED, UNKNOWN, RoomAgent, agent_in_next_room
from tests.line.stack import Stack, free_ports
from tests.line.telephony import AGENT_TONE, CALLER_TONE, NURSE_TONE, baresip, heard_s, recording, tone
from triage.bench.media.codecs import encoder
from triage.bench.phones import baresip as phones
from triage.bench.phones import sipp
from triage.bench.seam.room import Access
from triage.bench.service import SipBench
from triage.bench.sip.agent import Agent
from triage.config import Settings
from triage.up import line_files

pytestmark = [
    pytest.mark.line,
    pytest.mark.skipif(sipp.missing() is not None, reason=str(sipp.missing())),
    pytest.mark.skipif(phones.missing() is not None, reason=str(phones.missing())),
]

REAL = shutil.which("livekit-sip")
PROVIDERS = ("sip-bench", *(("livekit-sip",) if REAL else ()))


class Line:
    """One SIP service on the stack, and an API client; what a test of the contract may use."""

    def __init__(self, engines: Stack, lk: Any, folder: Path) -> None:
        self.stack, self.lk, self.folder = engines, lk, folder
        self.address = ("127.0.0.1", engines.line.ports.sip)
        self.nurse_port = engines.line.ports.worker  # free for UDP too

    async def caller(self, scenario: sipp.Scenario, number: str = ANSWERED, limit_s: float = 40) -> sipp.Result:
        (self.folder / sipp.TONE).write_bytes(encoder("PCMU").encode(tone(CALLER_TONE, 1.0, 8000)))
        port, media = free_ports(socket.SOCK_DGRAM, 2)
        return await sipp.run(
            scenario,
            self.folder,
            port=port,
            media_port=media & ~1,
            remote=self.address,
            limit_s=limit_s,
            service=number,
        )

    async def nurse(self, scenario: sipp.Scenario) -> sipp.Result:
        (self.folder / sipp.TONE).write_bytes(encoder("PCMU").encode(tone(NURSE_TONE, 1.0, 8000)))
        (media,) = free_ports(socket.SOCK_DGRAM, 1)
        return await sipp.run(scenario, self.folder, port=self.nurse_port, media_port=media & ~1, limit_s=30)

    async def dial(self, room: str, *, ring_s: float = 8.0, **more: Any) -> Any:
        return await self.lk.sip.create_sip_participant(
            api.CreateSIPParticipantRequest(
                trunk=api.SIPOutboundConfig(hostname=f"127.0.0.1:{self.nurse_port}"),
                sip_number=ANSWERED,
                sip_call_to="nurse",
                room_name=room,
                participant_identity="nurse",
                wait_until_answered=True,
                ringing_timeout=Duration(nanos=int(ring_s % 1 * 1e9), seconds=int(ring_s)),
                **more,
            )
        )

    async def transfer(
        self, room: str, identity: str, *, to: str = "sip:nurses@127.0.0.1:5999", ring_s: int = 8
    ) -> Any:
        return await self.lk.sip.transfer_sip_participant(
            api.TransferSIPParticipantRequest(
                room_name=room,
                participant_identity=identity,
                transfer_to=to,
                play_dialtone=False,
                headers={"X-Triage-Code": "K7Q2"},
                ringing_timeout=Duration(seconds=ring_s),
            )
        )


@pytest.fixture(params=PROVIDERS)
async def line(request: pytest.FixtureRequest, stack: Stack, tmp_path: Path) -> AsyncIterator[Line]:
    lk = line_rooms.client(stack)
    try:
        if not (await lk.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())).items:
            await line_rooms.provision(lk)
        made = Line(stack, lk, tmp_path)
        if request.param == "sip-bench":
            async with sip_bench(stack, made.nurse_port):
                yield made
        else:
            assert REAL is not None
            config = tmp_path / "sip.yaml"
            config.write_text(line_files.sip_yaml(Settings(), stack.line))
            running = await asyncio.create_subprocess_exec(
                REAL, "--config", str(config), env={"PATH": os.environ["PATH"]}
            )
            try:
                await asyncio.sleep(2)
                yield made
            finally:
                running.kill()
                await running.wait()
    finally:
        await lk.aclose()


def sip_bench(engines: Stack, nurse_port: int, **options: Any) -> SipBench:
    conf = engines.line
    first = 21_000 + conf.ports.sip % 200 * 100
    agent = Agent(port=conf.ports.sip, rtp_ports=(first, first + 98), allowed_targets=(f"127.0.0.1:{nurse_port}",))
    access = Access(conf.url, conf.access.api_key, conf.access.api_secret)
    return SipBench(
        agent, access, redis=("127.0.0.1", conf.ports.redis), redis_password=conf.access.redis_password, **options
    )


def staying(ms: int) -> sipp.Scenario:
    return sipp.calling("staying").pause(ms).bye()


class TestSeam:
    """The contract."""

    # --- a call comes in

    async def test_a_caller_is_a_sip_participant_with_what_is_known_of_the_call(self, line: Line) -> None:
        async with agent_in_next_room(line.stack, line.lk) as joining:
            caller = asyncio.ensure_future(line.caller(staying(1500)))
            agent: RoomAgent = await joining
            phone = await agent.active()
            assert agent.statuses[-1:] == ["active"]
            attributes = dict(phone.attributes)
            assert attributes["sip.callID"].startswith("SCL_")
            assert attributes["sip.trunkID"].startswith("ST_") and attributes["sip.ruleID"].startswith("SDR_")
            assert attributes["sip.callIDFull"] and attributes["sip.callTag"] and attributes["channel"] == "pstn"
            assert phone.metadata == "of the rule" and agent.name.startswith("call")
            assert "sip.phoneNumber" not in attributes  # the rule hides it
            info = await line.lk.room.get_participant(
                api.RoomParticipantIdentity(room=agent.name, identity=phone.identity)
            )
            assert info.kind == 3 and dict(info.attributes) == attributes
            assert (await caller).status == 0
            await agent.until(lambda: agent.phone() is None)
            assert "hangup" in agent.statuses

    async def test_it_rings_until_somebody_speaks_in_the_room(self, line: Line) -> None:
        async with agent_in_next_room(line.stack, line.lk, publish=False) as joining:
            caller = asyncio.ensure_future(line.caller(staying(300)))
            agent: RoomAgent = await joining
            await asyncio.sleep(0.7)
            assert agent.phone().attributes["sip.callStatus"] == "ringing" and not caller.done()
            await agent.publish()
            await agent.active()
            assert (await caller).status == 0

    async def test_where_nobody_speaks_in_time_the_carrier_gets_its_call_back(self, line: Line) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await line.caller(sipp.refused("refused", "486"), UNANSWERED)).status == 0
        assert 0.9 < loop.time() - began < 4.0
        assert await line_rooms.people(line.lk) == set()

    @pytest.mark.parametrize("number", [FOREIGN, UNKNOWN])
    async def test_a_call_that_is_not_for_us_starts_nothing(self, line: Line, number: str) -> None:
        before = await line_rooms.rooms(line.lk)
        caller = asyncio.ensure_future(line.caller(sipp.giving_up(700), number))
        seen = set()
        while not caller.done():
            seen |= await line_rooms.rooms(line.lk) - before
            await asyncio.sleep(0.05)
        assert seen == set()

    async def test_a_caller_who_gives_up_while_it_rings_is_gone(self, line: Line) -> None:
        async with agent_in_next_room(line.stack, line.lk, publish=False) as joining:
            caller = asyncio.ensure_future(line.caller(sipp.giving_up(500)))
            agent: RoomAgent = await joining
            assert (await caller).status == 0
            await agent.until(lambda: agent.phone() is None)

    @pytest.mark.parametrize("codec", ["PCMU", "G722"])
    async def test_phone_and_room_hear_each_other_and_keys_arrive(self, line: Line, codec: str) -> None:
        async with (
            agent_in_next_room(line.stack, line.lk) as joining,
            phones.phone(baresip(line.folder, "caller", CALLER_TONE, codec)) as caller,
        ):
            await caller.command("dial", f"sip:{ANSWERED}@127.0.0.1:{line.address[1]}")
            agent: RoomAgent = await joining
            identity = (await agent.active()).identity
            for key in "120":
                await caller.command("sndcode", key)
                await asyncio.sleep(0.3)
            await agent.until(lambda: len(agent.keys) >= 3)
            await asyncio.sleep(1.0)
            assert agent.keys == ["1", "2", "0"]
            assert heard_s(agent.audio(identity), CALLER_TONE, 16_000) > 1.0
            await caller.command("hangup")
            await agent.until(lambda: agent.phone() is None)
        (heard,) = caller.recordings("dec")
        assert heard_s(recording(heard), AGENT_TONE, 16_000) > 1.0

    # --- room RPCs

    async def test_the_headers_of_the_call_are_told_to_who_asks_in_the_room(self, line: Line) -> None:
        async with agent_in_next_room(line.stack, line.lk) as joining:
            caller = asyncio.ensure_future(line.caller(staying(1500)))
            agent: RoomAgent = await joining
            identity = (await agent.active()).identity

            async def headers(asked: str) -> dict[str, str]:
                told = await agent.room.local_participant.perform_rpc(
                    destination_identity=identity, method="lk.sip.GetRemoteHeaders", payload=asked
                )
                return {name.lower(): value for name, value in json.loads(told)["headers"].items()}

            everything = await headers("")
            assert "sip:" in everything["from"] and not {"via", "cseq", "content-type"} & everything.keys()
            assert set(await headers('{"include": ["FROM"]}')) == {"from"}
            assert "from" not in await headers('{"exclude": ["From"]}')
            assert (await caller).status == 0

    async def test_a_call_can_be_ended_from_the_room(self, line: Line) -> None:
        async with agent_in_next_room(line.stack, line.lk) as joining:
            caller = asyncio.ensure_future(line.caller(sipp.calling("ended").expect_bye()))
            agent: RoomAgent = await joining
            identity = (await agent.active()).identity
            await agent.room.local_participant.perform_rpc(
                destination_identity=identity, method="lk.sip.EndCall", payload="{}"
            )
            assert (await caller).status == 0
            await agent.until(lambda: agent.phone() is None)

    async def test_a_deleted_room_hangs_up(self, line: Line) -> None:
        async with agent_in_next_room(line.stack, line.lk) as joining:
            caller = asyncio.ensure_future(line.caller(sipp.calling("ended").expect_bye()))
            agent: RoomAgent = await joining
            await agent.active()
            await line.lk.room.delete_room(api.DeleteRoomRequest(room=agent.name))
            assert (await caller).status == 0

    # --- transfers

    @pytest.mark.parametrize(
        ("name", "stays_ms", "ring_s", "told"),
        [
            ("ok", 0, 8, "success"),
            ("notify_before_202", 0, 8, "success"),
            ("busy_486", 300, 8, "resource_exhausted 486 Busy Here"),
            ("down_503", 300, 8, "failed_precondition 503 Service Unavailable"),
            ("declined_603", 300, 8, "permission_denied 603 Decline"),
            ("refused_403", 300, 8, "permission_denied 403 Forbidden"),
            ("refused_603", 300, 8, "permission_denied 603 Decline"),
            ("no_notify", 2500, 2, "deadline_exceeded"),
            ("trying_and_over", 2500, 2, "deadline_exceeded"),
            ("no_answer", 2500, 2, "deadline_exceeded"),
            ("hangs_up_while_ringing", 0, 8, "success"),
            ("bye_without_notify", 0, 8, "success"),
        ],
    )
    async def test_a_transfer_is_told_as_it_went_or_as_livekit_sip_tells_it(
        self, line: Line, name: str, stays_ms: int, ring_s: int, told: str
    ) -> None:
        async with agent_in_next_room(line.stack, line.lk) as joining:
            caller = asyncio.ensure_future(line.caller(sipp.CALLERS[name](stays_ms)))
            agent: RoomAgent = await joining
            identity = (await agent.active()).identity
            assert await outcome(line.transfer(agent.name, identity, ring_s=ring_s)) == told
            if told != "success":
                assert agent.phone() is not None  # a caller who was not transferred is still here
            result = await caller
            assert result.status == 0, result.said
            await agent.until(lambda: agent.phone() is None)

    async def test_while_a_transfer_is_pending_another_target_is_refused_and_the_same_joins(self, line: Line) -> None:
        async with agent_in_next_room(line.stack, line.lk) as joining:
            caller = asyncio.ensure_future(line.caller(sipp.CALLERS["no_notify"](4000)))
            agent: RoomAgent = await joining
            identity = (await agent.active()).identity
            first = asyncio.ensure_future(outcome(line.transfer(agent.name, identity, ring_s=3)))
            await asyncio.sleep(0.5)
            other = await outcome(line.transfer(agent.name, identity, to="tel:+15550111", ring_s=3))
            assert other == "invalid_argument"
            same = asyncio.ensure_future(outcome(line.transfer(agent.name, identity, ring_s=2)))
            assert await same == "deadline_exceeded" and await first == "deadline_exceeded"
            assert (await caller).status == 0

    async def test_the_refer_really_brings_the_caller_to_the_nurse(self, line: Line) -> None:
        nurses_phone = baresip(line.folder, "nurse", NURSE_TONE)
        async with (
            agent_in_next_room(line.stack, line.lk) as joining,
            phones.phone(nurses_phone) as nurse,
            phones.phone(baresip(line.folder, "caller", CALLER_TONE)) as caller,
        ):
            await caller.command("dial", f"sip:{ANSWERED}@127.0.0.1:{line.address[1]}")
            agent: RoomAgent = await joining
            identity = (await agent.active()).identity
            await asyncio.sleep(1.2)  # a recording that begins in the same second as another one is lost
            assert await outcome(line.transfer(agent.name, identity, to=nurses_phone.uri)) == "success"
            await agent.until(lambda: agent.phone() is None)  # our leg is hung up after a second's grace
            await asyncio.sleep(1.5)
            await caller.command("hangup")
            await nurse.event("CALL_CLOSED")
        heard = [recording(path) for path in caller.recordings("dec")]
        assert sum(heard_s(pcm, AGENT_TONE, 16_000) for pcm in heard) > 0.5
        assert sum(heard_s(pcm, NURSE_TONE, 16_000) for pcm in heard) > 1.0
        assert sum(heard_s(recording(path), CALLER_TONE, 16_000) for path in nurse.recordings("dec")) > 1.0

    # --- a nurse is dialled

    async def test_a_dialled_phone_hears_the_whole_room_and_is_heard(self, line: Line) -> None:
        agent = RoomAgent(line.stack, "dialled")
        await agent.join()
        settings = dataclasses.replace(baresip(line.folder, "nurse", NURSE_TONE), sip_port=line.nurse_port)
        try:
            async with phones.phone(settings) as nurse:
                info = await line.dial("dialled", participant_attributes={"role": "nurse"})
                assert info.sip_call_id.startswith("SCL_") and info.participant_identity == "nurse"
                await agent.until(lambda: agent.phone("nurse") is not None)
                await agent.until(lambda: agent.phone("nurse").attributes["sip.callStatus"] == "active")
                attributes = agent.phone("nurse").attributes
                assert attributes["role"] == "nurse" and attributes["sip.callID"] == info.sip_call_id
                await asyncio.sleep(2.0)
                await nurse.command("hangup")
                await agent.until(lambda: agent.phone("nurse") is None)
            (heard,) = nurse.recordings("dec")
            assert heard_s(recording(heard), AGENT_TONE, 16_000) > 1.0
            assert heard_s(agent.audio("nurse"), NURSE_TONE, 16_000) > 1.0
        finally:
            await agent.leave()

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("busy_486", "resource_exhausted 486"),
            ("down_503", "failed_precondition 503"),
            ("declined_603", "permission_denied 603"),
        ],
    )
    async def test_a_refusal_is_told_with_its_status(self, line: Line, name: str, told: str) -> None:
        agent = RoomAgent(line.stack, "refused")
        await agent.join()
        try:
            nurse = asyncio.ensure_future(line.nurse(sipp.NURSES[name](0)))
            await asyncio.sleep(0.3)
            assert (await outcome(line.dial("refused"))).startswith(told)
            assert (await nurse).status == 0
            await agent.until(lambda: agent.phone("nurse") is None)
        finally:
            await agent.leave()

    async def test_a_phone_that_nobody_answers_stops_ringing(self, line: Line) -> None:
        agent = RoomAgent(line.stack, "unanswered")
        await agent.join()
        try:
            nurse = asyncio.ensure_future(line.nurse(sipp.NURSES["rings_out"](0)))
            await asyncio.sleep(0.3)
            dialling = asyncio.ensure_future(outcome(line.dial("unanswered", ring_s=2)))
            await agent.until(lambda: agent.phone("nurse") is not None)
            await agent.until(lambda: agent.phone("nurse").attributes["sip.callStatus"] == "ringing")
            assert await dialling in ("canceled", "failed_precondition")
            assert (await nurse).status == 0
            await agent.until(lambda: agent.phone("nurse") is None)
        finally:
            await agent.leave()


async def outcome(call: Any) -> str:
    """What the Python caller of LiveKit's API sees."""
    try:
        answer = await call
    except api.SipCallError as error:
        return f"{error.code} {error.sip_status_code} {error.sip_status}"
    except api.ServerError as error:
        return str(error.code)
    assert answer.ByteSize() == 0  # on this version of the server: empty
    return "success"
