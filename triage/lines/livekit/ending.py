"""Ending a telephone's leg: over livekit-server's API, and past it, by the leg itself, where the API does not do it.

livekit-server looks in Redis for whom it is asked to put out: a Redis that came back empty has it say that there is nobody
of that name, though the leg stands in the room. The room then knows better, and the leg answers a room RPC.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from triage.lines.livekit.signalling import LEEWAY_S, Fault, SignallingError

log = logging.getLogger("triage.lines.livekit")

ENDING_TRIES, ENDING_PAUSE_S = 3, 0.5
"""How often the end of a leg is asked for, and the pause between."""
TOLD_S = 0.1
"""Who is gone for livekit-server may be gone from the room this much later."""
RPC_S = 3.0


async def ended(room: Any, identity: str, ask: Callable[[str], Awaitable[None]]) -> bool:
    """End a leg, in one try; says whether it is gone, or is going. `ask` is the request to livekit-server."""
    try:
        await ask(identity)
    except SignallingError as error:
        if error.kind is Fault.GONE:
            if identity in room.remote_participants:
                await asyncio.sleep(TOLD_S)
            if identity not in room.remote_participants:
                return True
        log.warning("a leg is not ended by livekit-server (%s): asking the leg itself", error.kind.value)
        return await _ends_itself(room, identity)
    return True


async def end(room: Any, identity: str, ask: Callable[[str], Awaitable[None]]) -> None:
    """The same, several times."""
    for n in range(ENDING_TRIES):
        if await ended(room, identity, ask):
            return
        if n + 1 < ENDING_TRIES:
            await asyncio.sleep(ENDING_PAUSE_S)
    log.error("a leg could not be ended")


async def _ends_itself(room: Any, identity: str) -> bool:
    with suppress(Exception):  # the SDK raises what it likes, or never answers
        async with asyncio.timeout(RPC_S + LEEWAY_S):
            await room.local_participant.perform_rpc(
                destination_identity=identity, method="lk.sip.EndCall", payload="{}", response_timeout=RPC_S
            )
        return True
    return False
