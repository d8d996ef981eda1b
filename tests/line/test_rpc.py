"""Promise: the bench speaks LiveKit's RPC over a real Redis: claims, answers, refuses, and goes on when Redis was away."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")
pytest.importorskip("redis", reason="the telephone line's packages are not here: requirements-line.txt")

import redis.asyncio

from tests.line.stack import Stack, found_engines, free_ports
from triage.bench.seam import messages
from triage.bench.seam.bus import Bus
from triage.bench.seam.rpc import RpcClient, RpcError, RpcServer, channel, new_id, sip_error
from triage.bench.tasks import Tasks
from triage.errors import Unavailable

pytestmark = pytest.mark.line

PASSWORD = "p" * 32
_ids = itertools.count()


@pytest.fixture(scope="module")
def only_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("redis"), found_engines())
    try:
        made.start("redis")
        yield made
    finally:
        made.stop()


class Caller:
    """The other side, written apart from ours: publishes a request, confirms the first claim, keeps what comes back."""

    def __init__(self, port: int) -> None:
        self._redis: Any = redis.asyncio.Redis(port=port, password=PASSWORD)
        self._pubsub: Any = self._redis.pubsub()
        self.id = f"CLI_{next(_ids):012d}"

    async def __aenter__(self) -> "Caller":
        await self._pubsub.subscribe(f"SIPInternal|{self.id}|CLAIM", f"SIPInternal|{self.id}|RES")
        for _ in range(2):
            await self._pubsub.get_message(timeout=2)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pubsub.aclose()
        await self._redis.aclose()

    async def next(self, within_s: float = 2.0) -> Any:
        """The next message for us, or None."""
        found = await self._pubsub.get_message(timeout=within_s)
        return None if found is None else messages.unwrapped(found["data"])

    async def request(self, name: str, raw: bytes = b"question", for_s: float = 5.0) -> str:
        """Publish a request; returns its id."""
        request_id, now = f"REQ_{next(_ids):012d}", time.time_ns()
        asked = messages.Request(
            request_id=request_id, client_id=self.id, sent_at=now, expiry=now + int(for_s * 1e9), raw_request=raw
        )
        await self._redis.publish(f"SIPInternal|{name}|REQ", messages.wrapped(asked))
        return request_id

    async def confirm(self, name: str, claim: Any, server_id: str | None = None) -> None:
        answer = messages.ClaimResponse(request_id=claim.request_id, server_id=server_id or claim.server_id)
        await self._redis.publish(f"SIPInternal|{name}|RCLAIM", messages.wrapped(answer))

    async def ask(self, name: str, raw: bytes = b"question") -> Any:
        """Request, claim, confirmation, answer."""
        request_id = await self.request(name, raw)
        claim = await self.next()
        assert claim is not None and claim.DESCRIPTOR.name == "ClaimRequest" and claim.request_id == request_id
        await self.confirm(name, claim)
        answer = await self.next()
        assert answer is not None and answer.request_id == request_id and answer.server_id == claim.server_id
        return answer


@asynccontextmanager
async def serving(port: int, count: int = 1) -> AsyncIterator[list[RpcServer]]:
    async with Tasks() as tasks:
        buses = [Bus(tasks, "127.0.0.1", port, PASSWORD) for _ in range(count)]
        for bus in buses:
            await bus.start()
        try:
            yield [RpcServer(bus, tasks, "SIPInternal") for bus in buses]
        finally:
            for bus in buses:
                await bus.stop()


async def echo(raw: bytes, _: float) -> bytes:
    return raw[::-1]


async def busy(_: bytes, __: float) -> bytes:
    raise sip_error(486, "Busy Here")


async def broken(_: bytes, __: float) -> bytes:
    raise KeyError("+15557654321")


async def test_a_question_is_claimed_and_answered(only_redis: Stack) -> None:
    async with serving(only_redis.line.ports.redis) as (server,), Caller(only_redis.line.ports.redis) as caller:
        await server.serve("CreateSIPParticipant", "", echo)
        answer = await caller.ask("CreateSIPParticipant", b"abc")
        assert (answer.raw_response, answer.error, answer.code) == (b"cba", "", "")


async def test_a_topic_is_served_until_it_is_withdrawn(only_redis: Stack) -> None:
    async with serving(only_redis.line.ports.redis) as (server,), Caller(only_redis.line.ports.redis) as caller:
        await server.serve("TransferSIPParticipant", "SCL_1", echo)
        assert (await caller.ask("TransferSIPParticipant|SCL_1", b"ab")).raw_response == b"ba"
        await caller.request("TransferSIPParticipant|SCL_2")
        assert await caller.next(0.3) is None
        await server.withdraw("TransferSIPParticipant", "SCL_1")
        await caller.request("TransferSIPParticipant|SCL_1")
        assert await caller.next(0.3) is None


async def test_an_error_has_a_code_a_text_and_the_sip_status(only_redis: Stack) -> None:
    async with serving(only_redis.line.ports.redis) as (server,), Caller(only_redis.line.ports.redis) as caller:
        await server.serve("TransferSIPParticipant", "SCL_1", busy)
        answer = await caller.ask("TransferSIPParticipant|SCL_1")
        assert (answer.code, answer.error) == ("resource_exhausted", "sip status: 486: Busy Here")
        (detail,) = answer.error_details
        assert detail.type_url == "type.googleapis.com/livekit.SIPStatus"
        assert messages.SipStatus.FromString(detail.value) == messages.SipStatus(code=486, status="Busy Here")


async def test_what_breaks_is_answered_too_and_tells_nothing_of_the_caller(
    only_redis: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(only_redis.line.ports.redis) as (server,), Caller(only_redis.line.ports.redis) as caller:
        await server.serve("TransferSIPParticipant", "SCL_1", broken)
        answer = await caller.ask("TransferSIPParticipant|SCL_1")
        assert answer.code == "unknown" and "KeyError" in answer.error
        assert "555" not in answer.error + caplog.text and "KeyError" in caplog.text


async def test_an_empty_text_never_goes_out_as_success() -> None:
    assert RpcError("canceled", "").text == "canceled"


async def test_a_request_that_is_over_is_not_claimed(only_redis: Stack) -> None:
    async with serving(only_redis.line.ports.redis) as (server,), Caller(only_redis.line.ports.redis) as caller:
        await server.serve("TransferSIPParticipant", "SCL_1", echo)
        await caller.request("TransferSIPParticipant|SCL_1", for_s=-0.1)
        assert await caller.next(0.3) is None


async def test_of_two_servers_one_claims(only_redis: Stack) -> None:
    async with serving(only_redis.line.ports.redis, 2) as servers, Caller(only_redis.line.ports.redis) as caller:
        for server in servers:
            await server.serve("TransferSIPParticipant", "SCL_1", echo)
        for _ in range(6):
            assert (await caller.ask("TransferSIPParticipant|SCL_1", b"ab")).raw_response == b"ba"
            assert await caller.next(0.05) is None


async def test_who_was_not_chosen_does_not_work(only_redis: Stack) -> None:
    worked = []

    async def work(raw: bytes, _: float) -> bytes:
        worked.append(raw)
        return raw

    async with serving(only_redis.line.ports.redis) as (server,), Caller(only_redis.line.ports.redis) as caller:
        await server.serve("TransferSIPParticipant", "SCL_1", work)
        await caller.request("TransferSIPParticipant|SCL_1")
        await caller.confirm("TransferSIPParticipant|SCL_1", await caller.next(), server_id="SRV_somebodyelse")
        assert await caller.next(0.3) is None
        assert worked == []


async def test_garbage_on_the_bus_is_survived(only_redis: Stack) -> None:
    async with serving(only_redis.line.ports.redis) as (server,), Caller(only_redis.line.ports.redis) as caller:
        await server.serve("TransferSIPParticipant", "SCL_1", echo)
        for garbage in (b"", b"\xff" * 40, messages.wrapped(messages.ClaimResponse(request_id="x"))):
            for kind in ("REQ", "RCLAIM"):
                await caller._redis.publish(f"SIPInternal|TransferSIPParticipant|SCL_1|{kind}", garbage)
        assert (await caller.ask("TransferSIPParticipant|SCL_1", b"ab")).raw_response == b"ba"


def test_names_of_channels() -> None:
    assert channel("SIPInternal", "CreateSIPParticipant", "", "REQ") == "SIPInternal|CreateSIPParticipant|REQ"
    assert channel("SIPInternal", "T", "SCL_a-b.c", "REQ") == "SIPInternal|T|SCL_au+002dbu+002ec|REQ"
    assert len(new_id("SCL_")) == 16 and new_id("SCL_") != new_id("SCL_")


# --- questions of ours


@asynccontextmanager
async def asking(port: int) -> AsyncIterator[tuple[RpcClient, RpcServer]]:
    async with Tasks() as tasks:
        bus = Bus(tasks, "127.0.0.1", port, PASSWORD)
        await bus.start()
        try:
            client = RpcClient(bus, tasks, "IOInfo")
            await client.start()
            yield client, RpcServer(bus, tasks, "IOInfo")
        finally:
            await bus.stop()


async def test_our_question_is_answered(only_redis: Stack) -> None:
    async def verdict(raw: bytes, _: float) -> bytes:
        asked = messages.DispatchRequest.FromString(raw)
        out: bytes = messages.DispatchResponse(room_name=f"for {asked.sip_trunk_id}").SerializeToString()
        return out

    async with asking(only_redis.line.ports.redis) as (client, server):
        await server.serve("EvaluateSIPDispatchRules", "", verdict)
        question = messages.DispatchRequest(sip_trunk_id="ST_1")
        answer = await client.ask("EvaluateSIPDispatchRules", question, messages.DispatchResponse)
        assert answer.room_name == "for ST_1"


async def test_nobody_there_is_unavailable_after_a_second(only_redis: Stack) -> None:
    async with asking(only_redis.line.ports.redis) as (client, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(RpcError) as caught:
            await client.ask("EvaluateSIPDispatchRules", messages.DispatchRequest(), messages.DispatchResponse)
        assert caught.value.code == "unavailable" and 0.9 < loop.time() - began < 2.0


async def test_an_answer_that_does_not_come_is_a_deadline(only_redis: Stack) -> None:
    async def never(_: bytes, __: float) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with asking(only_redis.line.ports.redis) as (client, server):
        await server.serve("EvaluateSIPDispatchRules", "", never)
        with pytest.raises(RpcError) as caught:
            await client.ask(
                "EvaluateSIPDispatchRules", messages.DispatchRequest(), messages.DispatchResponse, within_s=0.5
            )
        assert caught.value.code == "deadline_exceeded"


async def test_an_error_reaches_us_with_its_code(only_redis: Stack) -> None:
    async with asking(only_redis.line.ports.redis) as (client, server):
        await server.serve("EvaluateSIPDispatchRules", "", busy)
        with pytest.raises(RpcError) as caught:
            await client.ask("EvaluateSIPDispatchRules", messages.DispatchRequest(), messages.DispatchResponse)
        assert caught.value.code == "resource_exhausted"


# --- Redis away


async def test_no_redis_is_said_at_once() -> None:
    async with Tasks() as tasks:
        bus = Bus(tasks, "127.0.0.1", free_ports_of_one(), PASSWORD)
        with pytest.raises(Unavailable, match="Redis does not answer"):
            await bus.start()
        await bus.stop()


def free_ports_of_one() -> int:
    import socket

    return free_ports(socket.SOCK_STREAM, 1)[0]


async def test_redis_gone_and_back_in_the_middle_of_a_call(tmp_path: Path) -> None:
    stack = Stack(tmp_path, found_engines())
    stack.start("redis")
    release = asyncio.Event()

    async def slow(raw: bytes, _: float) -> bytes:
        await release.wait()
        return raw

    try:
        port = stack.line.ports.redis
        async with serving(port) as (server,):
            await server.serve("TransferSIPParticipant", "SCL_1", slow)
            async with Caller(port) as caller:
                await caller.request("TransferSIPParticipant|SCL_1", b"ab", for_s=20)
                await caller.confirm("TransferSIPParticipant|SCL_1", await caller.next())
                await asyncio.sleep(0.1)
            stack.kill("redis")
            bus = server._bus
            with pytest.raises(Unavailable, match="away"):
                await bus.publish("anything", b"", within_s=0.3)
            stack.start("redis")
            again = Caller(port)
            again.id = caller.id
            async with again:
                release.set()  # our pooled connection is a dead one; the answer must go out all the same
                answer = await again.next(5.0)
                assert answer is not None and answer.raw_response == b"ab"
            async with Caller(port) as caller:  # and the next one is served as if nothing had been
                await asyncio.sleep(0.5)
                assert (await caller.ask("TransferSIPParticipant|SCL_1", b"x")).raw_response == b"x"
    finally:
        stack.stop()
