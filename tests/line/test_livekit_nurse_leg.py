"""Promise: a nurse who is dialled hears the whisper alone until she accepts, the caller hears neither, and all is told once.

In virtual time, with a room of ours.
"""

import asyncio
from typing import Any

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from tests.line.fake_calls import DESK, DIAL, NURSE, REFER, K, quiet, seen, sound  # noqa: F401 a fixture
from tests.line.fake_rooms import CALLER, CLIENT_INITIATED, TIMED_OUT, Telephone
from tests.virtual import in_virtual_time
from triage.lines.livekit.nurse_leg import HOLD_AGAIN_S
from triage.lines.livekit.signalling import Fault, SignallingError

# --- nurses who are dialled


@in_virtual_time
async def test_a_held_nurse_hears_the_whisper_alone_and_nobody_hears_her() -> None:
    async with seen(nurse=Telephone(answers_s=0.5)) as call:
        heard: set[frozenset[str]] = set()
        at_the_caller: set[frozenset[str]] = set()
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        answered = call.world.clock.now_ns()
        call.line.whisper(1, sound(0.5))
        for _ in range(3000):
            await asyncio.sleep(0.001)
            heard.add(frozenset(call.world.hears(NURSE)))
            at_the_caller.add(frozenset(call.world.hears(CALLER)))
        assert heard == {frozenset(), frozenset({NURSE})}
        assert at_the_caller == {frozenset({"agent"})}
        said = call.world.studio.mouths[NURSE].loud()
        assert len(said) in (50, 51) and 0.15 < (said[0] - answered) / 1e9 < 0.3, "to its end, and soon"
        assert call.of(1) == [(K.RINGING, ""), (K.ANSWERED, "")]


@in_virtual_time
async def test_of_a_whisper_that_is_not_over_nothing_more_is_said_once_she_is_joined() -> None:
    """She presses the key as soon as she knows who is there."""
    async with seen(nurse=Telephone(answers_s=0.5)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        call.line.whisper(1, sound(3.0))
        await asyncio.sleep(1.0)
        call.line.bridge(1)
        joined = call.world.clock.now_ns()
        await asyncio.sleep(3.0)
        said = call.world.studio.mouths[NURSE].loud()
        assert len(said) > 50 and said[-1] - joined < 20e6
        assert CALLER in call.world.hears(NURSE)


@in_virtual_time
async def test_a_telephone_that_answers_at_once_is_held_within_its_first_fifth_of_a_second() -> None:
    async with seen(nurse=Telephone(joins_s=0.0, rings_s=None, answers_s=0.0)) as call:
        call.transfer(1, DIAL)
        leaked = 0
        for _ in range(1000):
            await asyncio.sleep(0.001)
            leaked += CALLER in call.world.hears(NURSE)
        assert leaked < 200
        assert call.world.hears(NURSE) == {NURSE} and call.world.hears(CALLER) == {"agent"}


@pytest.mark.parametrize("asks_s", [0.0, 0.1, 0.17, 0.3, 0.7, 1.0])
@in_virtual_time
async def test_a_leg_that_asks_for_everybody_late_is_held_from_the_first_moment(asks_s: float) -> None:
    """The SIP service asks when its word of the answer has gone through, for which it waits up to a second."""
    async with seen(nurse=Telephone(answers_s=0.3, asks_s=asks_s)) as call:
        call.transfer(1, DIAL)
        leaked = 0
        for _ in range(4000):
            await asyncio.sleep(0.001)
            leaked += CALLER in call.world.hears(NURSE) or NURSE in call.world.hears(CALLER)
        assert leaked <= 60, leaked


@in_virtual_time
async def test_a_leg_that_asks_for_everybody_again_is_held_again() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        await asyncio.sleep(1)
        call.world.wished[NURSE] |= set(call.room.remote_participants[CALLER].track_publications)
        assert CALLER in call.world.hears(NURSE)
        await asyncio.sleep(HOLD_AGAIN_S + 0.1)
        assert call.world.hears(NURSE) == {NURSE}
        call.room.remote_participants[CALLER].publish()  # the caller's leg came back with a new track
        call.world.wished[NURSE] |= set(call.room.remote_participants[CALLER].track_publications)
        await asyncio.sleep(0.05)
        assert call.world.hears(NURSE) == {NURSE}


@pytest.mark.parametrize("who", ["nurse", "caller", "both", "all"])
@pytest.mark.parametrize("asks_after_s", [0.0, 0.03, 0.2, 0.6, 1.9, 3.4])
@in_virtual_time
async def test_a_held_nurse_and_a_caller_who_come_back_are_apart_at_once(who: str, asks_after_s: float) -> None:
    """After a restart of livekit-server everybody enters anew, and asks to hear everybody some time after that."""
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        world, room = call.world, call.room
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        await asyncio.sleep(2.3)
        back = {"nurse": [NURSE], "caller": [CALLER]}.get(who, [NURSE, CALLER])
        if who == "all":
            room.emit("reconnecting")
        for identity in back:
            room.leave(identity, TIMED_OUT)
        await asyncio.sleep(0.3)
        for identity in back:
            room.join(identity, "active")
        if who == "all":
            room.emit("reconnected")
        leaked = 0
        for now in range(8000):
            if now == round(asks_after_s * 1000):
                for identity in back:
                    world.wished.setdefault(identity, set()).update(world._everybody(identity))
            await asyncio.sleep(0.001)
            leaked += NURSE in world.hears(CALLER) or CALLER in world.hears(NURSE)
        assert leaked <= 60, leaked
        assert call.of(1)[-1] == (K.ANSWERED, ""), "and she is held still"


@in_virtual_time
async def test_a_bridge_joins_the_two_and_ours_is_heard_by_the_caller_alone() -> None:
    async with seen(nurse=Telephone(answers_s=0.3, key_s=0.5)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        call.line.bridge(1)
        call.line.whisper(1, sound(0.2))
        call.line.bridge(1)
        await asyncio.sleep(3)
        assert call.world.hears(NURSE) == {CALLER, NURSE} and call.world.hears(CALLER) == {"agent", NURSE}
        call.line.bridge(77)


@in_virtual_time
async def test_a_bridge_right_after_the_answer_is_not_undone_by_the_hold() -> None:
    for wait_s in (0.0, 0.001, 0.006, 0.1, 0.152, 0.156, 0.16, 0.165, 1.17):
        async with seen(nurse=Telephone(answers_s=0.3)) as call:
            call.transfer(1, DIAL)
            await call.until(K.ANSWERED)
            await asyncio.sleep(wait_s)
            call.line.bridge(1)
            await asyncio.sleep(2.5)
            assert CALLER in call.world.hears(NURSE) and NURSE in call.world.hears(CALLER), wait_s


@in_virtual_time
async def test_a_bridge_that_the_server_refuses_is_tried_again() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        await asyncio.sleep(0.5)
        call.world.failing["subscribe"] = SignallingError(Fault.UNKNOWN)
        call.line.bridge(1)
        await asyncio.sleep(0.3)
        del call.world.failing["subscribe"]
        await asyncio.sleep(1)
        assert CALLER in call.world.hears(NURSE) and NURSE in call.world.hears(CALLER)


@in_virtual_time
async def test_a_slow_server_cannot_leave_a_nurse_deaf() -> None:
    async with seen(nurse=Telephone(answers_s=0.1)) as call:
        may_hear = call.world.may_hear

        async def slow(identity: str, may: bool) -> None:
            await asyncio.sleep(0.0 if may else 1.0)
            await may_hear(identity, may)

        call.world.may_hear = slow  # type: ignore[method-assign]  # of a stand-in
        call.transfer(1, DIAL)
        await asyncio.sleep(4)
        assert call.world.hears(NURSE) == {NURSE}


@in_virtual_time
async def test_two_nurses_are_kept_apart_from_each_other_too() -> None:
    async with seen(nurse=Telephone(answers_s=0.3, key_s=0.3)) as call:
        call.transfer(1, DIAL)
        call.transfer(2, DIAL, "other")
        await asyncio.sleep(1.8)
        call.line.whisper(1, sound(0.2))
        await asyncio.sleep(1)
        call.line.bridge(1)
        await asyncio.sleep(0.5)
        assert call.world.hears(NURSE) == {CALLER, NURSE}
        assert call.world.hears("nurse_2") == {"nurse_2"}
        assert call.world.hears(CALLER) == {"agent", NURSE}


@in_virtual_time
async def test_a_ringing_leg_that_is_released_stops_ringing_and_is_never_told_of() -> None:
    for moment in (0.01, 0.1, 0.5):
        async with seen(nurse=Telephone(answers_s=5.0)) as call:
            call.transfer(1, DIAL)
            await asyncio.sleep(moment)
            before = list(call.kinds)
            call.line.release(1, sound(1))
            await asyncio.sleep(6)
            assert call.kinds == before and NURSE not in call.room.remote_participants
            assert NURSE not in call.world.studio.mouths or call.world.studio.mouths[NURSE].loud() == []


@in_virtual_time
async def test_an_answer_that_comes_after_the_release_or_the_time_limit_is_put_out() -> None:
    for release in (True, False):
        async with seen(nurse=Telephone(answers_s=None)) as call:
            call.world.failing["remove"] = SignallingError(Fault.UNKNOWN)
            call.transfer(1, DIAL, timeout_s=3.0)
            await asyncio.sleep(1.0)
            if release:
                call.line.release(1)
            await asyncio.sleep(3.0)
            told = call.of(1)
            assert (told[-1][0] is K.TIMED_OUT) is not release
            del call.world.failing["remove"]
            call.room.join(NURSE, "active")
            await asyncio.sleep(0.5)
            assert NURSE not in call.room.remote_participants and call.of(1) == told


@in_virtual_time
async def test_a_released_nurse_is_told_to_the_end_and_then_put_out() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        await asyncio.sleep(0.5)
        call.line.release(1, sound(1.0))
        call.line.release(1)
        call.line.bridge(1)
        call.line.whisper(1, sound(0.3))
        call.room.press(NURSE, "1")
        await asyncio.sleep(0.9)
        assert NURSE in call.room.remote_participants
        await asyncio.sleep(0.6)
        assert NURSE not in call.room.remote_participants
        assert len(call.world.studio.mouths[NURSE].loud()) in (100, 101)
        assert call.of(1) == [(K.RINGING, ""), (K.ANSWERED, "")]


@in_virtual_time
async def test_the_last_word_to_a_nurse_is_said_though_the_line_closes() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        await asyncio.sleep(0.5)
        call.world.hang_up()
        await asyncio.sleep(0.1)
        call.line.release(1, sound(1.0))
        await call.line.close()
        assert len(call.world.studio.mouths[NURSE].loud()) in (100, 101)
        assert NURSE not in call.room.remote_participants


@in_virtual_time
async def test_a_nurse_who_is_gone_after_the_answer_is_lost_once() -> None:
    for how in ("status", "left", "cut off"):
        async with seen(nurse=Telephone(answers_s=0.3)) as call:
            call.transfer(1, DIAL)
            await call.until(K.ANSWERED)
            if how == "status":
                call.room.remote_participants[NURSE].status("hangup")
            call.room.leave(NURSE, TIMED_OUT if how == "cut off" else CLIENT_INITIATED)
            await asyncio.sleep(1.5)
            assert call.of(1)[2:] == [(K.NURSE_LOST, "")]
            assert not call.frames_ended


@in_virtual_time
async def test_a_caller_who_hangs_up_while_a_nurse_rings_or_is_held_leaves_her_to_be_told() -> None:
    for wait_s in (0.5, 2.0):
        async with seen() as call:
            call.transfer(1, DIAL)
            await asyncio.sleep(wait_s)
            call.world.hang_up()
            await asyncio.sleep(0.2)
            assert call.frames_ended and not call.signals_ended
            call.line.bridge(1)
            call.line.release(1, sound(0.2))
            await asyncio.sleep(0.01)
            assert call.signals_ended
            await asyncio.sleep(2)
            assert call.room.remote_participants == {}
            assert K.NURSE_LOST not in call.kinds


@in_virtual_time
async def test_a_success_of_the_api_after_the_leg_was_seen_answered_changes_nothing() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        call.transfer(1, DIAL, timeout_s=3.0)
        await asyncio.sleep(10)
        assert call.of(1) == [(K.RINGING, ""), (K.ANSWERED, "")]


@in_virtual_time
async def test_an_answer_that_the_api_tells_too_late_was_seen_in_the_room() -> None:
    async with seen() as call:

        async def late(uri: str, identity: str, **_: Any) -> None:
            await asyncio.sleep(0.3)
            call.room.join(identity, "dialing").status("active")
            await asyncio.sleep(2)
            raise SignallingError(Fault.UNKNOWN)

        call.world.dial = late  # type: ignore[method-assign]  # of a stand-in
        call.transfer(1, DIAL)
        await asyncio.sleep(5)
        assert call.of(1) == [(K.ANSWERED, "")] and NURSE in call.room.remote_participants


# --- what a leg that is over leaves behind


def pushers() -> int:
    return sum(task.get_name() == "voice for a nurse" for task in asyncio.all_tasks())


@in_virtual_time
async def test_a_leg_that_is_over_leaves_no_track_and_no_voice_behind() -> None:
    busy = {
        "refused at once": Telephone(rings_s=None, answers_s=0.1, refuses=486),
        "refused while it rang": Telephone(rings_s=0.05, answers_s=0.12, refuses=603),
        "refused after a while": Telephone(rings_s=0.05, answers_s=1.0, refuses=603),
        "never answered": Telephone(answers_s=None),
        "hung up": Telephone(answers_s=0.3, key_s=0.2, drops_s=0.5),
        "answered without ringing, and released": Telephone(rings_s=None, answers_s=0.2),
    }
    for how, nurse in busy.items():
        async with seen(nurse=nurse) as call:
            call.transfer(1, DIAL, timeout_s=3.0)
            await asyncio.sleep(1.5)
            call.line.whisper(1, sound(0.2))
            await asyncio.sleep(2.5)
            call.line.release(1, sound(0.3))
            await asyncio.sleep(3)
            assert pushers() == 0, how
            assert [m.closed for name, m in call.world.studio.mouths.items() if name == NURSE] in ([], [True]), how
            assert call.line._legs[1].tracks == (), how


@in_virtual_time
async def test_a_telephone_that_never_rings_costs_no_track() -> None:
    async with seen(nurse=Telephone(rings_s=None, answers_s=0.1, refuses=486)) as call:
        call.transfer(1, DIAL)
        await asyncio.sleep(1)
        assert NURSE not in call.world.studio.mouths


@in_virtual_time
async def test_a_telephone_that_answers_without_ringing_hears_the_whisper_all_the_same() -> None:
    async with seen(nurse=Telephone(rings_s=None, answers_s=0.3)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        call.line.whisper(1, sound(0.5))
        await asyncio.sleep(1.5)
        assert len(call.world.studio.mouths[NURSE].loud()) in (50, 51)
