"""Promise: a program's page says 200 or 503 and one line, on loopback; a port that is taken is named with its setting."""

import asyncio
import socket
from contextlib import closing

import aiohttp
import pytest

from triage.errors import UsageError
from triage.up.status_page import served


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(("well", "status"), [(True, 200), (False, 503)])
async def test_well_or_not_is_told_in_one_line(well: bool, status: int) -> None:
    port = free_port()
    async with (
        served(port, "line_worker_port", lambda: (well, "so it is")),
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/") as answer,
    ):
        assert (answer.status, await answer.text()) == (status, "so it is\n")


async def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken:
        with pytest.raises(UsageError, match=rf"port {port} \(setting line_worker_port\)"):
            async with served(port, "line_worker_port", lambda: (True, "")):
                pass
