"""A page on loopback that says whether a program is well: 200 or 503, and one line."""

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from triage.errors import UsageError
from triage.up.line_files import LOOPBACK


@asynccontextmanager
async def served(port: int, setting: str, tell: Callable[[], tuple[bool, str]]) -> AsyncIterator[None]:
    """Serve the page while the block lasts. `tell`: well or not, and the words; `setting`: where the port comes from.

    Raises:
        UsageError: the port is taken.
    """

    async def answer(_: web.Request) -> web.Response:
        well, words = tell()
        return web.Response(status=200 if well else 503, text=f"{words}\n")

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise UsageError(f"port {port} (setting {setting}) is taken; end what holds it or set another") from error
    finally:
        await runner.cleanup()
