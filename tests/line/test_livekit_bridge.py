"""Promise: a nurse who pressed the key talks to the caller, or is told as lost; trouble of our own never parts the two.

In virtual time, with a room of ours.
"""

import asyncio
from typing import Any

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from tests.line.fake_calls import DIAL, NURSE, K, Seen, quiet, seen  # noqa: F401 a fixture
from tests.line.fake_rooms import CALLER, TIMED_OUT, Telephone
from tests.virtual import in_virtual_time
from triage.lines.livekit.nurse_leg import ALL_RETURN_S, JOINED_WITHIN_S
from triage.lines.livekit.rooms import BRIDGED
from triage.lines.livekit.signalling import Fault, SignallingError

AWAY = SignallingError(Fault.UNKNOWN)
API = ("subscribe", "may_hear", "mark", "remove")


def talk(call: Seen) -> bool:
    return CALLER in call.world.hears(NURSE) and NURSE in call.world.hears(CALLER)


async def held(call: Seen) -> None:
    call.transfer(1, DIAL)
    await call.until(K.ANSWERED)
    await asyncio.sleep(0.5)


# --- a bridge that livekit-server does not make


@in_virtual_time
async def test_a_nurse_who_cannot_be_joined_is_told_as_lost_within_three_seconds_and_put_out() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await held(call)
        call.world.failing.update(dict.fromkeys(API, AWAY))
        call.room.rpc_answer = RuntimeError("no")
        call.line.bridge(1)
        await asyncio.sleep(2.0)
        assert K.NURSE_LOST not in call.kinds, "it is tried first"
        await asyncio.sleep(1.0)
        assert call.of(1)[2:] == [(K.NURSE_LOST, "")]
        assert call.signals[-1].source == "own clock"
        assert BRIDGED not in call.room.remote_participants[NURSE].attributes
        call.world.failing.clear()
        await asyncio.sleep(3)
        assert NURSE not in call.room.remote_participants and call.line.ours
        assert call.kinds.count(K.NURSE_LOST) == 1


@in_virtual_time
async def test_a_server_that_hangs_is_no_reason_to_wait_longer() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await held(call)

        async def hangs(*_: Any, **__: Any) -> None:
            await asyncio.sleep(4)
            raise AWAY

        call.world.may_hear = call.world.subscribe = hangs  # type: ignore[method-assign]
        call.line.bridge(1)
        await asyncio.sleep(JOINED_WITHIN_S + 0.1)
        assert call.of(1)[2:] == [(K.NURSE_LOST, "")]


@in_virtual_time
async def test_a_server_that_is_back_in_time_joins_them_and_nobody_is_lost() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await held(call)
        call.world.failing.update(dict.fromkeys(API, AWAY))
        call.line.bridge(1)
        await asyncio.sleep(1.6)
        assert BRIDGED not in call.room.remote_participants[NURSE].attributes, "there is no bridge yet"
        call.world.failing.clear()
        await asyncio.sleep(1)
        assert talk(call) and call.room.remote_participants[NURSE].attributes[BRIDGED] == "yes"
        await asyncio.sleep(60)
        assert talk(call) and K.NURSE_LOST not in call.kinds


@in_virtual_time
async def test_two_who_talk_are_joined_again_however_long_the_server_is_away_and_nobody_is_lost() -> None:
    """They may well hear each other all the same: who is not heard can hang up, and is lost then."""
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await held(call)
        call.line.bridge(1)
        await asyncio.sleep(0.5)
        call.world.failing.update(dict.fromkeys(API, AWAY))
        call.world.wished[NURSE].clear()
        call.room.remote_participants[CALLER].publish()  # the caller's leg came back with a new track
        await asyncio.sleep(120)
        assert K.NURSE_LOST not in call.kinds
        call.world.failing.clear()
        await asyncio.sleep(2)
        assert talk(call)


@in_virtual_time
async def test_a_mark_that_could_not_be_set_is_set_later() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await held(call)
        call.world.failing["mark"] = AWAY
        call.line.bridge(1)
        await asyncio.sleep(20)
        assert talk(call) and K.NURSE_LOST not in call.kinds
        call.world.failing.clear()
        await asyncio.sleep(6)
        assert call.room.remote_participants[NURSE].attributes[BRIDGED] == "yes"


@in_virtual_time
async def test_a_caller_who_is_away_at_that_moment_is_joined_when_they_are_back() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await held(call)
        call.room.leave(CALLER, TIMED_OUT)
        call.line.bridge(1)
        await asyncio.sleep(4)
        assert K.NURSE_LOST not in call.kinds
        call.room.join(CALLER, "active")
        await asyncio.sleep(1.5)
        assert talk(call)


@in_virtual_time
async def test_a_nurse_whom_a_redis_that_was_emptied_forgot_talks_to_the_caller() -> None:
    """Her permission cannot be given any more, but she has it: she heard the whisper."""
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await held(call)
        call.world.failing.update(may_hear=SignallingError(Fault.GONE), mark=SignallingError(Fault.GONE))
        call.line.bridge(1)
        await asyncio.sleep(30)
        assert talk(call) and K.NURSE_LOST not in call.kinds


@in_virtual_time
async def test_a_nurse_who_came_back_as_somebody_new_is_marked_anew() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await held(call)
        call.line.bridge(1)
        await asyncio.sleep(0.5)
        call.room.leave(NURSE, TIMED_OUT)
        await asyncio.sleep(0.5)
        assert BRIDGED not in call.room.join(NURSE, "active").attributes
        await asyncio.sleep(0.5)
        assert talk(call) and call.room.remote_participants[NURSE].attributes[BRIDGED] == "yes"


# --- our own trouble


async def bridged(call: Seen) -> None:
    await held(call)
    call.line.bridge(1)
    await asyncio.sleep(0.5)
    assert talk(call)


@in_virtual_time
async def test_our_own_room_that_is_lost_for_good_ends_our_part_and_not_theirs() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await bridged(call)
        call.room.emit("disconnected", TIMED_OUT)
        await asyncio.sleep(0.1)
        assert call.kinds[-1] is K.HUNG_UP and call.frames_ended and call.signals_ended
        call.line.release(1)
        await call.line.hang_up()
        await call.line.close()
        await asyncio.sleep(20)
        assert talk(call) and call.world.requests("remove") == call.world.requests("end_call") == []


@in_virtual_time
async def test_a_nurse_who_does_not_talk_to_the_caller_yet_goes_when_our_room_is_lost() -> None:
    for accepted in (False, True):
        async with seen(nurse=Telephone(answers_s=0.3)) as call:
            await held(call)
            if accepted:
                call.world.failing.update(dict.fromkeys(API, AWAY))
                call.line.bridge(1)
                await asyncio.sleep(0.5)
            call.room.emit("disconnected", TIMED_OUT)
            call.line.release(1)
            call.world.failing.clear()
            await asyncio.sleep(3)
            assert set(call.room.remote_participants) == {CALLER}


@pytest.mark.parametrize("back_after_s", [0.05, 1.5, 5.0, 12.0])
@pytest.mark.parametrize("told_first", ["reconnecting", "everybody gone"])
@in_virtual_time
async def test_while_we_enter_the_room_anew_nobody_is_given_up(back_after_s: float, told_first: str) -> None:
    """The SDK tells that everybody is gone before it tells that it is we who are."""
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await bridged(call)
        if told_first == "reconnecting":
            call.room.emit("reconnecting")
        for identity in (NURSE, CALLER):
            call.room.leave(identity, None)
        if told_first != "reconnecting":
            call.room.emit("reconnecting")
        await asyncio.sleep(back_after_s)
        for identity in (NURSE, CALLER):
            call.room.join(identity, "active")
        call.room.emit("reconnected")
        await asyncio.sleep(20)
        assert call.kinds == [K.RINGING, K.ANSWERED] and call.line.ours
        assert talk(call)


@in_virtual_time
async def test_who_is_slower_to_come_back_than_we_is_waited_for() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await bridged(call)
        for identity in (NURSE, CALLER):
            call.room.leave(identity, None)
        call.room.emit("reconnecting")
        await asyncio.sleep(0.4)
        call.room.emit("reconnected")
        await asyncio.sleep(6.5)
        for identity in (CALLER, NURSE):
            call.room.join(identity, "active")
        await asyncio.sleep(1)
        assert call.kinds == [K.RINGING, K.ANSWERED] and talk(call)


@in_virtual_time
async def test_a_nurse_who_does_not_come_back_though_we_did_is_lost() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await bridged(call)
        call.room.leave(NURSE, None)
        call.room.emit("reconnecting")
        await asyncio.sleep(3)
        call.room.emit("reconnected")
        await asyncio.sleep(ALL_RETURN_S)
        assert call.of(1)[2:] == [(K.NURSE_LOST, "")] and call.line.ours


@in_virtual_time
async def test_when_we_are_back_we_listen_to_the_caller_again() -> None:
    async with seen() as call:
        (publication,) = call.room.remote_participants[CALLER].track_publications.values()
        call.room.emit("reconnecting")
        publication.subscribed = False  # a new server knows of no wish, and the caller's track has its old id
        call.room.emit("reconnected")
        assert publication.subscribed
