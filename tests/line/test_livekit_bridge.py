"""Promise: a nurse who pressed the key talks to the caller, or is told as lost; trouble of our own never parts the two.

In virtual time, with a room of ours.
"""

import asyncio
from typing import Any

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from tests.line.fake_calls import DIAL, NURSE, K, Seen, quiet, seen, virtual  # noqa: F401 a fixture
from tests.line.fake_rooms import CALLER, TIMED_OUT, Telephone
from triage.lines.livekit.nurse_leg import JOINED_WITHIN_S
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


@virtual
async def test_a_nurse_who_cannot_be_joined_is_told_as_lost_within_three_seconds_and_put_out() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await held(call)
        call.world.failing.update(dict.fromkeys(API, AWAY))
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


@virtual
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


@virtual
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


@virtual
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


@virtual
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


@virtual
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


@virtual
async def test_a_nurse_whom_a_redis_that_was_emptied_forgot_talks_to_the_caller() -> None:
    """Her permission cannot be given any more, but she has it: she heard the whisper."""
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        await held(call)
        call.world.failing.update(may_hear=SignallingError(Fault.GONE), mark=SignallingError(Fault.GONE))
        call.line.bridge(1)
        await asyncio.sleep(30)
        assert talk(call) and K.NURSE_LOST not in call.kinds


@virtual
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
