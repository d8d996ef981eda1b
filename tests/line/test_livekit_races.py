"""Promise: whatever server, carrier, nurse and caller do, and in whatever order, the line tells what is known, once.

All in virtual time, with a room of ours. No log line of the line may hold a number or an address.
"""

import asyncio
from typing import Any

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from fsm.states import RungKind
from tests.line.fake_calls import DESK, DIAL, NURSE, REFER, K, quiet, seen, sound  # noqa: F401 a fixture
from tests.line.fake_rooms import CALLER, ROOM_CLOSED, TIMED_OUT, Telephone
from tests.virtual import in_virtual_time
from triage.errors import TimedOut, Unavailable
from triage.lines.livekit import line as lines
from triage.lines.livekit.ending import ENDING_TRIES
from triage.lines.livekit.headers import PACKET_HEADER
from triage.lines.livekit.nurse_leg import ACCEPTING_KEY
from triage.lines.livekit.signalling import Fault, SignallingError
from triage.ports import FRAME, LineSignal

# --- the caller's leg


@in_virtual_time
async def test_the_call_is_answered_only_after_our_voice_was_published_and_for_the_caller_alone() -> None:
    async with seen(up=False) as call:
        await call.line.open()
        assert call.world.studio.allowed == {CALLER: {"TR_ours_agent"}}
        await call.line.connect()
        await asyncio.sleep(1)
        assert call.world.hears(CALLER) == {"agent"}


@in_virtual_time
async def test_a_caller_who_is_gone_before_the_answer() -> None:
    for moment in ("before open", "before connect"):
        async with seen(up=False) as call:
            if moment == "before open":
                call.room.leave(CALLER)
            await call.line.open()
            if moment == "before connect":
                call.world.hang_up()
            with pytest.raises(Unavailable, match="caller gone"):
                await call.line.connect()
            assert call.kinds == [K.HUNG_UP] or not call.kinds


@in_virtual_time
async def test_a_caller_in_a_browser_is_there_at_once() -> None:
    async with seen(up=False) as call:
        caller = call.room.remote_participants[CALLER]
        caller.kind, caller.attributes = 0, {}
        call.world.published = lambda name: None  # type: ignore[method-assign]  # of a stand-in
        await call.line.open()
        async with asyncio.timeout(0.01):
            await call.line.connect()


@in_virtual_time
async def test_a_call_that_is_never_answered() -> None:
    async with seen(up=False) as call:
        call.world.published = lambda name: None  # type: ignore[method-assign]  # of a stand-in
        await call.line.open()
        with pytest.raises(TimedOut, match="never active"):
            await call.line.connect()


@in_virtual_time
async def test_hanging_up_is_told_once_by_status_or_departure_whichever_comes_first() -> None:
    for first in ("status", "departure"):
        async with seen() as call:
            await asyncio.sleep(0.5)
            caller = call.room.remote_participants[CALLER]
            if first == "status":
                caller.status("hangup")
            call.room.leave(CALLER)
            await asyncio.sleep(0.1)
            caller.status("hangup")
            await asyncio.sleep(1)
            assert call.kinds == [K.HUNG_UP] and call.frames_ended and call.signals_ended


@in_virtual_time
async def test_a_caller_who_was_cut_off_may_come_back_and_time_goes_on_meanwhile() -> None:
    async with seen() as call:
        await asyncio.sleep(1.001)
        for reason in (TIMED_OUT, None):
            call.room.leave(CALLER, reason)
            await asyncio.sleep(4)
            call.room.join(CALLER, "active")
            await asyncio.sleep(20)
            assert call.kinds == []
        assert [frame.start for frame in call.frames] == [n * FRAME for n in range(len(call.frames))]
        assert abs(len(call.frames) - 49 * 50) < 10
        call.room.leave(CALLER, TIMED_OUT)
        await asyncio.sleep(lines.RETURN_S - 0.1)
        assert call.kinds == []
        await asyncio.sleep(0.2)
        assert call.kinds == [K.HUNG_UP]


@in_virtual_time
async def test_while_we_are_cut_off_ourselves_nobody_is_given_up() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        call.line.bridge(1)
        await asyncio.sleep(0.5)
        call.room.emit("reconnecting")
        call.room.leave(CALLER, None)
        call.room.leave(NURSE, None)
        await asyncio.sleep(10)
        call.room.join(NURSE, "active")
        await asyncio.sleep(10)
        call.room.emit("reconnected")
        await asyncio.sleep(5)
        call.room.join(CALLER, "active")
        call.world.wished.clear()
        await asyncio.sleep(1)
        assert call.kinds == [K.RINGING, K.ANSWERED]
        call.room.remote_participants[CALLER].publish()
        await asyncio.sleep(0.1)
        assert CALLER in call.world.hears(NURSE) and NURSE in call.world.hears(CALLER)


@in_virtual_time
async def test_a_room_that_is_lost_for_good_ends_the_call() -> None:
    async with seen() as call:
        call.room.emit("disconnected", ROOM_CLOSED)
        await asyncio.sleep(0.1)
        assert call.kinds == [K.HUNG_UP] and call.frames_ended


@in_virtual_time
async def test_keys_count_by_whose_they_are() -> None:
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        call.transfer(1, DIAL)
        await call.until(K.ANSWERED)
        call.room.press(NURSE, "1")  # before she was asked
        call.room.press("somebody", "5")
        call.line.whisper(1, sound(0.5))
        call.room.press(NURSE, "2")
        call.room.press(CALLER, "1")
        call.room.press(NURSE, ACCEPTING_KEY)
        call.room.press(NURSE, ACCEPTING_KEY)
        await asyncio.sleep(0.1)
        assert [(s.kind, s.attempt, s.value) for s in call.signals if s.kind in (K.KEY, K.NURSE_KEY)] == [
            (K.KEY, 0, "1"),
            (K.NURSE_KEY, 1, "1"),
        ]


@in_virtual_time
async def test_after_a_reconnection_our_tracks_are_for_the_same_ears_again() -> None:
    async with seen() as call:
        call.world.studio.mouths["agent"].sid = "TR_new"
        call.room.emit("local_track_republished", object(), "TR_ours_agent")
        assert call.world.studio.allowed == {CALLER: {"TR_new"}}
        call.world.studio.allowed = {}
        call.room.emit("reconnected")
        assert call.world.studio.allowed == {CALLER: {"TR_new"}}


@in_virtual_time
async def test_what_is_said_after_the_end_is_heard_by_nobody_and_stays_queued_until_it_is_dropped() -> None:
    async with seen() as call:
        call.world.hang_up()
        call.line.send(sound(0.02))
        await asyncio.sleep(1)
        assert call.line.queued() == FRAME and call.line.drop() == FRAME and call.line.queued() == 0
        assert call.world.studio.mouths["agent"].loud() == []


# --- the end by us


@in_virtual_time
async def test_hanging_up_tries_again_and_another_way() -> None:
    for failing, rpc, there, ended, rpcs in (
        (Fault.UNKNOWN, "{}", True, 1, 1),
        (Fault.UNKNOWN, RuntimeError("no"), True, ENDING_TRIES, ENDING_TRIES),
        (Fault.GONE, "{}", False, 1, 0),
        (Fault.GONE, "{}", True, 1, 1),
        (Fault.GONE, RuntimeError("no"), True, ENDING_TRIES, ENDING_TRIES),
    ):
        async with seen() as call:
            call.world.failing["end_call"] = SignallingError(failing)
            call.room.rpc_answer = rpc
            if not there:
                call.room.remote_participants.clear()
            await call.line.hang_up()
            await call.line.hang_up()
            assert len(call.world.requests("end_call")) == ended
            assert call.room.rpcs == [(CALLER, "lk.sip.EndCall")] * rpcs
            assert (CALLER in call.room.remote_participants) is isinstance(rpc, RuntimeError)
            await asyncio.sleep(0)
            assert call.kinds == [K.HUNG_UP]


@in_virtual_time
async def test_closing_leaves_nurse_and_caller_who_talk_and_puts_out_everybody_else() -> None:
    async with seen(nurse=Telephone(answers_s=0.3, key_s=0.5)) as call:
        call.transfer(1, DIAL)
        call.transfer(2, DIAL, "other", 9.0)
        await call.until(K.ANSWERED)
        call.line.whisper(1, sound(0.2))
        await call.until(K.NURSE_KEY)
        call.line.bridge(1)
        await asyncio.sleep(0.2)
        await call.line.close()
        assert set(call.room.remote_participants) == {CALLER, NURSE}
        assert call.world.requests("end_call") == []


@in_virtual_time
async def test_who_comes_after_a_process_that_died_puts_out_what_it_left_behind() -> None:
    async with seen(up=False) as call:
        call.room.join("nurse_3", "ringing")
        await call.line.open()
        await call.line.connect()
        assert set(call.room.remote_participants) == {CALLER}


@in_virtual_time
async def test_legs_that_a_redis_which_was_emptied_forgot_are_put_out_all_the_same() -> None:
    """livekit-server looks for them in Redis, and says that there is nobody of that name."""
    async with seen(nurse=Telephone(answers_s=0.3)) as call:
        call.transfer(1, DIAL)
        call.transfer(2, DIAL, "other")
        await asyncio.sleep(1.7)
        call.world.failing.update(dict.fromkeys(("remove", "end_call"), SignallingError(Fault.GONE)))
        call.line.release(1)
        await asyncio.sleep(0.5)
        assert set(call.room.remote_participants) == {CALLER, "nurse_2"}
        began = call.world.clock.now_ns()
        await call.line.close()
        assert call.room.remote_participants == {} and call.world.clock.now_ns() - began < 1e9
    async with seen(up=False) as call:
        call.room.join("nurse_3", "ringing")
        call.world.failing["remove"] = SignallingError(Fault.GONE)
        await call.line.open()
        await asyncio.sleep(0.5)
        assert set(call.room.remote_participants) == {CALLER}


@in_virtual_time
async def test_closing_is_bounded_though_the_server_answers_nothing() -> None:
    async with seen(nurse=Telephone(answers_s=5.0)) as call:

        async def never(*_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

        call.transfer(1, DIAL)
        await asyncio.sleep(0.5)
        call.world.remove = call.world.end_call = never  # type: ignore[method-assign]  # of a stand-in
        began = call.world.clock.now_ns()
        await call.line.close()
        assert call.world.clock.now_ns() - began < (lines.CLOSE_S + 1) * 1e9


@in_virtual_time
async def test_closing_before_a_nurse_has_joined_still_puts_her_out() -> None:
    async with seen(nurse=Telephone(joins_s=0.2)) as call:
        call.transfer(1, DIAL)
        await asyncio.sleep(0.02)
        await call.line.close()
        await asyncio.sleep(3)
        assert call.room.remote_participants == {}


# --- REFER


@in_virtual_time
async def test_a_refer_says_the_code_and_nothing_else_and_gives_up_before_us() -> None:
    async with seen() as call:
        call.transfer(1, REFER, timeout_s=9.0)
        await asyncio.sleep(0.1)
        ((caller, uri, headers, within_s),) = call.world.requests("refer")
        assert (caller, uri, headers, within_s) == (CALLER, "sip:nurse@127.0.0.1", {PACKET_HEADER: "code1"}, 8.0)


@pytest.mark.parametrize("empty", [True, False])
@in_virtual_time
async def test_a_success_is_believed_while_the_callers_leg_stands(empty: bool) -> None:
    async with seen(empty_success=empty) as call:
        call.transfer(1, REFER)
        await asyncio.sleep(1.2 + (lines.PROOF_S if empty else 0.0) - 0.05)
        assert call.signals == []
        await asyncio.sleep(0.1)
        assert call.signals == [LineSignal(K.ANSWERED, 1, takes_caller=True)]
        assert call.frames_ended and call.signals_ended
        await asyncio.sleep(2)
        assert CALLER not in call.room.remote_participants and call.kinds == [K.ANSWERED], "and no hang-up"


@pytest.mark.parametrize("empty", [True, False])
@in_virtual_time
async def test_a_caller_who_hangs_up_in_mid_transfer_was_not_transferred_whatever_the_api_says(empty: bool) -> None:
    async with seen(empty_success=empty, nurse=Telephone(answers_s=None)) as call:
        call.transfer(1, REFER)
        await asyncio.sleep(0.7)
        call.world.hang_up()
        await asyncio.sleep(2)
        assert [(s.kind, s.attempt) for s in call.signals] == [(K.HUNG_UP, 0), (K.TIMED_OUT, 1)]
        assert call.signals_ended


@in_virtual_time
async def test_a_leg_that_ends_right_after_the_success_proves_nothing() -> None:
    """A phone that hangs up after its NOTIFY 200, and a caller who hung up: nobody can tell one from the other."""
    async with seen() as call:
        call.transfer(1, REFER)
        await asyncio.sleep(1.2 + lines.PROOF_S / 2)
        call.room.leave(CALLER)
        await asyncio.sleep(2)
        assert call.kinds == [K.HUNG_UP, K.TIMED_OUT]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (SignallingError(Fault.REFUSED, 486), (K.REFUSED, "486")),
        (SignallingError(Fault.REFUSED, 408), (K.REFUSED, "408")),
        (SignallingError(Fault.PENDING), (K.PENDING, "")),
        (SignallingError(Fault.GONE), (K.REFUSED, "481")),
        (SignallingError(Fault.INVALID), (K.REFUSED, "400")),
        (SignallingError(Fault.FORBIDDEN), (K.REFUSED, "403")),
        (SignallingError(Fault.UNKNOWN), (K.TIMED_OUT, "")),
    ],
)
@pytest.mark.parametrize("kind", [REFER, DIAL])
@in_virtual_time
async def test_every_failure_has_its_own_word(kind: RungKind, fault: SignallingError, told: Any) -> None:
    async with seen() as call:
        call.world.failing["refer" if kind is REFER else "dial"] = fault
        call.transfer(1, kind)
        await asyncio.sleep(0.1)
        assert call.of(1) == [told]
        assert call.line.ours and not call.signals_ended


@in_virtual_time
async def test_a_server_that_never_answers_is_given_up_at_our_own_limit() -> None:
    async with seen() as call:

        async def never(*_: Any, **__: Any) -> bool:
            await asyncio.Event().wait()
            return True

        call.world.refer = call.world.dial = never  # type: ignore[assignment, method-assign]  # of a stand-in
        for attempt, kind in ((1, REFER), (2, DIAL)):
            call.transfer(attempt, kind, timeout_s=5.0)
            await asyncio.sleep(4.9)
            assert call.of(attempt) == []
            await asyncio.sleep(0.2)
            assert call.of(attempt) == [(K.TIMED_OUT, "")]
            assert call.signals[-1].source == "own clock"


@in_virtual_time
async def test_targets_that_cannot_be_reached_on_this_line() -> None:
    async with seen() as call:
        call.transfer(1, DESK)
        call.transfer(2, REFER, "nobody")
        call.transfer(3, DIAL, "nobody")
        await asyncio.sleep(0.1)
        assert [call.of(n) for n in (1, 2, 3)] == [[(K.REFUSED, "404")]] * 3
        call.world.hang_up()
        call.transfer(4, REFER)
        call.transfer(5, DIAL)
        assert call.world.requests("refer") == call.world.requests("dial") == []


@in_virtual_time
async def test_an_attempt_is_started_once_and_one_refer_at_a_time() -> None:
    async with seen() as call:
        call.transfer(1, REFER)
        call.transfer(1, REFER)
        call.transfer(2, REFER, "other")
        await asyncio.sleep(0.1)
        assert len(call.world.requests("refer")) == 1
        assert [(s.kind, s.attempt) for s in call.signals] == [(K.PENDING, 2)]


@in_virtual_time
async def test_a_bug_in_an_attempt_is_told_as_an_unknown_outcome(caplog: pytest.LogCaptureFixture) -> None:
    async with seen() as call:

        async def broken(*_: Any, **__: Any) -> bool:
            raise ZeroDivisionError

        call.world.refer = broken  # type: ignore[method-assign]  # of a stand-in
        call.transfer(1, REFER)
        await asyncio.sleep(0.1)
        assert call.of(1) == [(K.TIMED_OUT, "")]
        assert isinstance(call.broke, Unavailable), "and the line says that it is no good any more"
        call.world.hang_up()
        await asyncio.sleep(0.1)
        assert call.kinds[-1] is K.HUNG_UP
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()


@in_virtual_time
async def test_a_bug_in_a_handler_is_a_failure_of_the_line_and_not_a_line_in_the_sdks_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with seen() as call:
        call.room.emit("sip_dtmf_received", object())
        await asyncio.sleep(0.1)
        assert isinstance(call.broke, Unavailable) and not call.signals_ended
    caplog.clear()
