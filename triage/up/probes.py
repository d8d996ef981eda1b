"""Is it there? One short question to each program of the line, over loopback, answered yes or no within `ANSWER_S`."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

from triage.clock import Clock
from triage.heartbeat import beats
from triage.up.line_files import LOOPBACK

ANSWER_S = 2.0
"""No answer within this is a no, s."""


async def redis_answers(port: int, password: str) -> bool:
    """Redis lets us in and answers a ping."""
    parts = ["AUTH", password]
    auth = f"*{len(parts)}\r\n" + "".join(f"${len(part)}\r\n{part}\r\n" for part in parts)
    told = await _asked(port, f"{auth}*1\r\n$4\r\nPING\r\n".encode(), lines=2)
    return told.endswith(b"+PONG\r\n")


async def http_answers(port: int) -> bool:
    """A web server answers 200 at its root."""
    question = f"GET / HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n".encode()
    told = await _asked(port, question, lines=1)
    return told.split(b" ")[1:2] == [b"200"]


async def sip_answers(port: int, host: str = LOOPBACK) -> bool:
    """A SIP service answers OPTIONS, with whatever status."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bool] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Ear(answered), local_addr=(host, 0), remote_addr=(host, port)
    )
    try:
        own = transport.get_extra_info("sockname")[1]
        mark = secrets.token_hex(8)
        transport.sendto(
            (
                f"OPTIONS sip:{host}:{port} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {host}:{own};branch=z9hG4bK{mark};rport\r\n"
                f"Max-Forwards: 1\r\nFrom: <sip:probe@{host}:{own}>;tag={mark}\r\nTo: <sip:{host}:{port}>\r\n"
                f"Call-ID: {mark}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            ).encode()
        )
        async with asyncio.timeout(ANSWER_S):
            return await answered
    except (OSError, TimeoutError):
        return False
    finally:
        transport.close()


async def keeper_beats(data_dir: Path) -> bool:
    """The keeper of this data folder finishes its rounds."""
    return beats(data_dir, wall_ns=Clock().wall_ns())


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, answered: "asyncio.Future[bool]") -> None:
        self._answered = answered

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._settle(data.startswith(b"SIP/2.0 "))

    def error_received(self, exc: Exception) -> None:
        self._settle(False)

    def _settle(self, yes: bool) -> None:
        if not self._answered.done():
            self._answered.set_result(yes)


async def _asked(port: int, question: bytes, *, lines: int) -> bytes:
    """The first lines of what was said; nothing where they were not said."""
    told = b""
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(question)
                await writer.drain()
                for _ in range(lines):
                    told += await reader.readuntil(b"\r\n")
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return b""
    return told
