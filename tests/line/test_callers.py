"""Promise: who stands alone in a room of ours is seen from outside; their call can be ended, that of who talks to a nurse cannot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from livekit.protocol.models import ParticipantInfo, Room
from livekit.protocol.room import ListParticipantsResponse, ListRoomsResponse, RoomParticipantIdentity

from tests.line.test_worker_pins import SECRET
from triage.lines.livekit.callers import Callers
from triage.lines.livekit.rooms import AGENT, BRIDGED, RULE, SIP
from triage.up.line_files import Access, Line, Ports

CALLER = ParticipantInfo(identity="sip_caller", kind=SIP, attributes={RULE: "SDR_1"})
NURSE = ParticipantInfo(identity="nurse_1", kind=SIP)
BRIDGED_NURSE = ParticipantInfo(identity="nurse_1", kind=SIP, attributes={BRIDGED: "yes"})
OURS = ParticipantInfo(identity="agent-1", kind=AGENT)
LISTENER = ParticipantInfo(identity="somebody", kind=0)


@asynccontextmanager
async def callers(folder: Path, *there: ParticipantInfo, put_out: list[str] | None = None) -> AsyncIterator[Callers]:
    """A livekit-server with some rooms, one of ours with these in it."""

    async def answer(request: web.Request) -> web.Response:
        match request.path.rsplit("/", 1)[1]:
            case "ListRooms":
                rooms = [
                    Room(name="call_a", num_participants=2),
                    Room(name="call_b"),
                    Room(name="x", num_participants=1),
                ]
                body = ListRoomsResponse(rooms=rooms).SerializeToString()
            case "ListParticipants":
                body = ListParticipantsResponse(participants=there).SerializeToString()
            case _:
                asked = RoomParticipantIdentity.FromString(await request.read())
                (put_out if put_out is not None else []).append(asked.identity)
                body = b""
        return web.Response(body=body, content_type="application/protobuf")

    app = web.Application()
    app.router.add_post("/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ports = Ports(redis=1, server=runner.addresses[0][1], media=3, sip=4, worker=5, rtp_first=20000, rtp_count=40)
    try:
        yield Callers(Line(folder, ports, Access("key-of-the-tests", SECRET, "p" * 32)), "triage")
    finally:
        await runner.cleanup()


async def test_rooms_are_those_of_our_calls_with_somebody_in_them(tmp_path: Path) -> None:
    async with callers(tmp_path) as seen:
        assert await seen.rooms() == ["call_a"]


@pytest.mark.parametrize(
    ("there", "alone"),
    [
        ((CALLER,), True),
        ((CALLER, LISTENER), True),
        ((CALLER, NURSE), True),
        ((CALLER, BRIDGED_NURSE), True),
        ((CALLER, OURS), False),
        ((NURSE,), False),
        ((), False),
    ],
)
async def test_a_caller_is_alone_where_nobody_of_ours_is(
    tmp_path: Path, there: tuple[ParticipantInfo, ...], alone: bool
) -> None:
    async with callers(tmp_path, *there) as seen:
        assert await seen.alone("call_a") is alone


@pytest.mark.parametrize(
    ("there", "ended"),
    [
        ((CALLER,), ["sip_caller"]),
        ((CALLER, NURSE, LISTENER), ["sip_caller"]),
        ((CALLER, BRIDGED_NURSE), []),
        ((CALLER, OURS), []),
    ],
)
async def test_only_the_call_of_a_caller_whom_nobody_has_is_ended(
    tmp_path: Path, there: tuple[ParticipantInfo, ...], ended: list[str]
) -> None:
    put_out: list[str] = []
    async with callers(tmp_path, *there, put_out=put_out) as seen:
        await seen.end("call_a")
    assert put_out == ended
