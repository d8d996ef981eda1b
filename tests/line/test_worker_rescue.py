"""Promise: who is sent to a caller comes, or that nobody comes is known in time; what a call's process is told is what the settings say.

The first ones beside a server of ours, the last ones on the whole line as `triage up` starts it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from aiohttp import web
from livekit import api, rtc
from livekit.protocol.agent_dispatch import CreateAgentDispatchRequest
from livekit.protocol.sip import CreateSIPParticipantRequest

from tests.line.test_worker import answered, call_process, prompts, rescued, silent
from tests.line.whole_line import WholeLine, ringing, until, whole_line
from triage.answering import RESCUE
from triage.bench.phones import baresip
from triage.clock import Clock
from triage.config import load
from triage.errors import Unavailable
from triage.handoff.desk import FileDesk
from triage.lines.livekit import access as access_room
from triage.lines.livekit.access import Access
from triage.up.line_files import Access as Keys
from triage.up.line_files import Line, Ports

AGENT, SIP = 4, 3


@asynccontextmanager
async def server(asked: list[tuple[str, bytes]], status: int = 200) -> AsyncIterator[int]:
    """A livekit-server that says yes to everything; gives its port."""

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path.rsplit("/", 1)[1], await request.read()))
        return web.Response(body=b"", status=status, content_type="application/protobuf")

    app = web.Application()
    app.router.add_post("/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def a_line(folder: Path, port: int) -> Line:
    ports = Ports(redis=1, server=port, media=3, sip=4, worker=5, rtp_first=20000, rtp_count=40)
    return Line(folder, ports, Keys("key-of-the-tests", "s" * 32, "p" * 32))


async def never(*_: Any, **__: Any) -> Any:
    """A server that is gone."""
    await asyncio.Event().wait()


def access_to(folder: Path, port: int, room: Any, *, rescuing: bool = False, **env: str) -> Access:
    settings = load(env=env, data=folder)
    return Access(room, "AJ_abcdefgh", a_line(folder, port), settings, rescuing=rescuing, connect=never)


def a_room(**participants: int) -> Any:
    there = {name: SimpleNamespace(identity=name, kind=kind) for name, kind in participants.items()}
    return SimpleNamespace(name="call_x_1", remote_participants=there, on=lambda *_: None, off=lambda *_: None)


# --- beside a server of ours


async def test_a_rescue_is_asked_for_by_name_and_waited_for(tmp_path: Path) -> None:
    asked: list[tuple[str, bytes]] = []
    room = a_room(caller=SIP, bystander=AGENT)
    async with server(asked) as port:
        access = access_to(tmp_path, port, room)
        coming = asyncio.ensure_future(access.rescue())
        await asyncio.sleep(0.5)
        assert not coming.done(), "who was there before is no help"
        room.remote_participants["agent-AJ_2"] = SimpleNamespace(identity="agent-AJ_2", kind=AGENT)
        async with asyncio.timeout(1):
            await coming
    ((what, body),) = asked
    sent = CreateAgentDispatchRequest.FromString(body)
    assert (what, sent.agent_name, sent.room, sent.metadata) == ("CreateDispatch", "triage", "call_x_1", RESCUE)


async def test_nobody_who_comes_is_known_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_room, "RESCUED_WITHIN_S", 0.3)
    async with server([]) as port:
        with pytest.raises(Unavailable, match="nobody came"):
            await access_to(tmp_path, port, a_room(caller=SIP)).rescue()


async def test_a_server_that_refuses_or_is_gone_is_nobody_too(tmp_path: Path) -> None:
    async with server([], status=503) as port:
        with pytest.raises(Unavailable):
            await access_to(tmp_path, port, a_room(caller=SIP)).rescue()
    with pytest.raises(Unavailable):
        await access_to(tmp_path, port, a_room(caller=SIP)).rescue()


async def test_a_nurse_elsewhere_is_dialled_with_our_number(tmp_path: Path) -> None:
    """Past the trunk nobody else says which number her telephone shows."""
    asked: list[tuple[str, bytes]] = []
    async with server(asked) as port:
        access = access_to(tmp_path, port, a_room(caller=SIP), TRIAGE_LINE_NUMBER="+15550142")
        line = await access.line_to("caller", Clock(), FileDesk(()))
        try:
            assert access._signalling is not None
            await access._signalling.dial("sip:nurse@192.0.2.7", "nurse_1", headers={}, answer_within_s=1.0)
        finally:
            await line.close(keep_caller=True)
            await access.close()
    (body,) = [body for what, body in asked if what == "CreateSIPParticipant"]
    sent = CreateSIPParticipantRequest.FromString(body)
    assert (sent.trunk.hostname, sent.sip_number) == ("192.0.2.7", "+15550142")


@pytest.mark.parametrize(("rescuing", "series"), [(False, ""), (True, "cdefgh")])
async def test_the_legs_of_a_rescue_have_names_of_their_own(tmp_path: Path, rescuing: bool, series: str) -> None:
    line = await access_to(tmp_path, 1, a_room(caller=SIP), rescuing=rescuing).line_to("caller", Clock(), FileDesk(()))
    assert line._series == series
    await line.close(keep_caller=True)


async def test_a_room_that_never_lets_us_in_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_room, "ENTERED_WITHIN_S", 0.1)
    monkeypatch.setattr(access_room, "TRUNK_WITHIN_S", 0.1)
    monkeypatch.setattr(access_room.provision, "nurse_trunk_id", never)
    access = access_to(tmp_path, 1, a_room(caller=SIP))
    async with asyncio.timeout(2):
        with pytest.raises(Unavailable, match="entered"):
            await access.enter()


# --- on the whole line


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    with whole_line(tmp_path_factory.mktemp("rescue")) as up:
        yield up


@asynccontextmanager
async def entered(line: WholeLine) -> AsyncIterator[rtc.Room]:
    """The newest room, entered as a call's process does."""
    keys = line.line.access
    async with api.LiveKitAPI(line.line.api_url, keys.api_key, keys.api_secret) as client:
        found = (await client.room.list_rooms(api.ListRoomsRequest())).rooms
    token = (
        api.AccessToken(keys.api_key, keys.api_secret)
        .with_identity("agent-of-the-test")
        .with_kind("agent")
        .with_grants(api.VideoGrants(room_join=True, room=max(found, key=lambda room: room.creation_time_ms).name))
    )
    room = rtc.Room()
    await room.connect(line.line.url, token.to_jwt(), rtc.RoomOptions(auto_subscribe=False))
    try:
        yield room
    finally:
        await asyncio.wait_for(room.disconnect(), 3)


@pytest.mark.skipif(baresip.missing() is not None, reason=str(baresip.missing()))
async def test_a_process_that_asks_for_another_gets_it_and_the_caller_hears_it(line: WholeLine, tmp_path: Path) -> None:
    line.begin()
    async with ringing(line, silent(tmp_path)) as phone:
        await answered(phone)
        await asyncio.sleep(1.0)
        hung = call_process(line)
        hung.suspend()
        try:
            async with entered(line) as room:
                began_s = line.since()
                await Access(room, "AJ_abcdefgh", line.line, line.settings, rescuing=False, connect=never).rescue()
                print(f"another process in the room after {line.since() - began_s:.2f} s")
            await asyncio.sleep(4.0)
            await phone.command("hangup")
        finally:
            with suppress(psutil.NoSuchProcess):
                hung.kill()  # it may have stopped in the middle of a write, with the store's lock
        record = await line.record(count=2, limit_s=30.0)
    assert rescued(record) and "rescued" in prompts(record)
    await until(lambda: line.log("worker").count("rescued") >= 1)
