"""Promise: a program counts as there only when it answers in its own language, and a silent one is asked no longer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from triage.up import probes
from triage.up.line_files import LOOPBACK


@asynccontextmanager
async def answering(answer: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """A TCP server that says one thing to the first thing it hears."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(await reader.read(1024)))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def phone(answer: bytes | None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A UDP socket that answers everything, or nothing."""
    heard: list[bytes] = []

    class Phone(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.DatagramTransport", transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            heard.append(data)
            if answer is not None:
                self.transport.sendto(answer, addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Phone, local_addr=(LOOPBACK, 0))
    try:
        yield transport.get_extra_info("sockname")[1], heard
    finally:
        transport.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "ANSWER_S", 0.05)


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        (b"+OK\r\n+PONG\r\n", True),
        (b"-WRONGPASS\r\n-NOAUTH Authentication required.\r\n", False),
        (b"", False),
        (b"HTTP/1.1 400\r\n", False),
    ],
)
async def test_redis_must_let_us_in(answer: bytes, there: bool) -> None:
    async with answering(lambda asked: answer if b"AUTH" in asked and b"PING" in asked else b"") as port:
        assert await probes.redis_answers(port, "secret") is there


@pytest.mark.parametrize(("status", "there"), [(b"200 OK", True), (b"503 Down", False), (b"404 x", False)])
async def test_a_web_server_must_answer_200(status: bytes, there: bool) -> None:
    async with answering(lambda _: b"HTTP/1.1 " + status + b"\r\n\r\n") as port:
        assert await probes.http_answers(port) is there


async def test_a_sip_service_may_answer_options_with_anything() -> None:
    async with phone(b"SIP/2.0 405 Method Not Allowed\r\n\r\n") as (port, heard):
        assert await probes.sip_answers(port)
    assert heard[0].startswith(b"OPTIONS sip:127.0.0.1:") and heard[0].endswith(b"\r\n\r\n")


async def test_something_else_on_the_sip_port_is_no_sip_service() -> None:
    async with phone(b"hello") as (port, _):
        assert not await probes.sip_answers(port)


@pytest.mark.usefixtures("impatient")
async def test_silence_is_a_no() -> None:
    async with phone(None) as (port, _):
        assert not await probes.sip_answers(port)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, LOOPBACK, 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert not await probes.http_answers(port)
        assert not await probes.redis_answers(port, "secret")


async def test_nobody_there_is_a_no() -> None:
    async with answering(lambda _: b"") as port:
        pass
    assert not await probes.http_answers(port)
    assert not await probes.redis_answers(port, "secret")
    assert not await probes.sip_answers(port)
