"""Promise: who comes into a room after a process that died or broke disturbs nobody, and nobody is left there in silence.

In virtual time, with a room of ours; the last ones over real engines and telephones.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from fsm.events import Rung
from tests.line.fake_calls import DIAL, NURSE, K, Seen, quiet, seen  # noqa: F401 a fixture
from tests.line.fake_rooms import CALLER, TIMED_OUT, Telephone
from tests.virtual import in_virtual_time
from triage.errors import Unavailable
from triage.lines.livekit import headers, studio
from triage.lines.livekit.line import RETURN_S, LiveKitLine
from triage.lines.livekit.rooms import BRIDGED
from triage.lines.livekit.signalling import Fault, SignallingError

DIAL_RUNG = Rung(kind=DIAL, target="nurse")


@asynccontextmanager
async def bridged() -> AsyncIterator[tuple[Seen, LiveKitLine, "asyncio.Future[None]"]]:
    """Nurse and caller who talk, joined by a process that is gone, and another one that opens its line."""
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        call.line.bridge(1)
        await asyncio.sleep(0.5)
        await call.line.close(keep_caller=True)
        world = call.world
        world.studio.allowed.clear()
        world.asked.clear()
        for publication in call.room.remote_participants[CALLER].track_publications.values():
            publication.subscribed = False  # who enters anew is subscribed to nothing
        heir = LiveKitLine(
            call.room, CALLER, signalling=world, clock=world.clock, address_of=world.address_of, studio=world.studio
        )
        opening = asyncio.ensure_future(heir.open())
        try:
            yield call, heir, opening
        finally:
            opening.cancel()
            await asyncio.wait([opening])
            await heir.close()


@in_virtual_time
async def test_nurse_and_caller_who_talk_are_left_alone_for_as_long_as_they_do() -> None:
    async with bridged() as (call, heir, opening):
        await asyncio.sleep(1800)
        call.room.remote_participants[CALLER].publish()
        await asyncio.sleep(1800)
        assert not opening.done()
        assert CALLER in call.world.hears(NURSE) and NURSE in call.world.hears(CALLER)
        assert call.world.studio.allowed == {}, "nothing of ours is to be heard"
        assert call.world.requests("remove") == call.world.requests("end_call") == []
        for publication in call.room.remote_participants[CALLER].track_publications.values():
            assert not publication.subscribed, "and we do not listen"
        opening.cancel()
        await asyncio.wait([opening])
        await heir.close()
        await asyncio.sleep(1)
        assert set(call.room.remote_participants) == {CALLER, NURSE}, "nor when the worker ends"


@pytest.mark.parametrize("how", ["left", "cut off", "hung up"])
@in_virtual_time
async def test_the_caller_of_a_nurse_who_is_gone_is_ours_again(how: str) -> None:
    async with bridged() as (call, heir, opening):
        await asyncio.sleep(10)
        if how == "hung up":
            call.room.remote_participants[NURSE].status("hangup")
        else:
            call.room.leave(NURSE, TIMED_OUT if how == "cut off" else 1)
        began = call.world.clock.now_ns()
        await opening
        await heir.connect()
        assert call.world.clock.now_ns() - began < 1.5e9, "reconnecting you is said within 2 s"
        assert set(call.room.remote_participants) == {CALLER}
        assert CALLER in call.world.studio.allowed
        heir.transfer(1, DIAL_RUNG, code="code1", timeout_s=9.0)
        async with asyncio.timeout(5):
            async for signal in heir.signals():
                if signal.kind is K.ANSWERED:
                    break
        (there,) = set(call.room.remote_participants) - {CALLER}
        assert there != NURSE and there.startswith(NURSE), "whoever still puts the old leg out does not hit the new one"


@in_virtual_time
async def test_a_nurse_whose_caller_hangs_up_is_let_go() -> None:
    async with bridged() as (call, heir, opening):
        await asyncio.sleep(10)
        call.world.hang_up()
        with pytest.raises(Unavailable, match="to the end"):
            await opening
        await heir.close()
        assert call.room.remote_participants == {}


@in_virtual_time
async def test_an_heir_whose_own_room_is_lost_leaves_them_to_each_other() -> None:
    async with bridged() as (call, heir, opening):
        await asyncio.sleep(10)
        call.room.emit("disconnected", TIMED_OUT)
        with pytest.raises(Unavailable, match="our own room"):
            await opening
        await heir.close()
        await asyncio.sleep(5)
        assert CALLER in call.world.hears(NURSE) and NURSE in call.world.hears(CALLER)
        assert call.world.requests("remove") == call.world.requests("end_call") == []


@in_virtual_time
async def test_a_caller_who_is_cut_off_and_comes_back_is_joined_to_the_nurse_again() -> None:
    async with bridged() as (call, _, opening):
        await asyncio.sleep(10)
        call.room.leave(CALLER, TIMED_OUT)
        await asyncio.sleep(RETURN_S - 1)
        call.world.wished.clear()
        call.room.join(CALLER, "active")
        await asyncio.sleep(0.5)
        assert CALLER in call.world.hears(NURSE) and NURSE in call.world.hears(CALLER)
        assert not opening.done()


@in_virtual_time
async def test_a_line_that_is_kept_leaves_a_ringing_nurse_to_nobody_and_the_caller_to_the_next() -> None:
    async with seen(nurse=Telephone(answers_s=5.0)) as call:
        call.transfer(1, DIAL)
        await asyncio.sleep(1)
        await call.line.close(keep_caller=True)
        assert set(call.room.remote_participants) == {CALLER}
        assert call.world.requests("end_call") == [] and K.HUNG_UP not in call.kinds


@in_virtual_time
async def test_a_caller_who_is_kept_stands_though_the_server_does_nothing() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        call.world.failing["remove"] = SignallingError(Fault.UNKNOWN)
        call.room.rpc_answer = RuntimeError("no")
        await call.line.close(keep_caller=True)
        assert CALLER in call.room.remote_participants
        assert BRIDGED not in call.room.remote_participants[NURSE].attributes, "whoever comes puts her out"


# --- an SDK that never answers


async def never(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


@in_virtual_time
async def test_no_wait_on_the_sdk_is_without_end() -> None:
    source = SimpleNamespace(aclose=never)
    participant = SimpleNamespace(publish_track=never, unpublish_track=never, perform_rpc=never)
    room = SimpleNamespace(local_participant=participant)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studio.rtc, "AudioSource", lambda *_, **__: source)
        patch.setattr(studio.rtc.LocalAudioTrack, "create_audio_track", lambda *_: None)
        async with asyncio.timeout(studio.PUBLISH_S + studio.CLOSE_S + 0.1):
            with pytest.raises(Unavailable, match="not published"):
                await studio.RtcStudio(room).publish("agent")
    async with asyncio.timeout(2 * studio.CLOSE_S + 0.1):
        await studio._RtcMouth(room, source, SimpleNamespace(sid="TR_1")).close()
    async with asyncio.timeout(headers.ANSWER_S + headers.LEEWAY_S + 0.1):
        with pytest.raises(TimeoutError):
            await headers.caller_number(room, CALLER)


@in_virtual_time
async def test_hanging_up_ends_though_nobody_answers_at_all() -> None:
    async with seen() as call:
        call.world.failing["end_call"] = SignallingError(Fault.UNKNOWN)
        call.room.local_participant.perform_rpc = never
        began = call.world.clock.now_ns()
        await call.line.hang_up()
        assert call.world.clock.now_ns() - began < 15e9
        assert call.kinds == [K.HUNG_UP], "and it was told at once"
