"""Promise: over real engines, SIP and RTP, caller and nurse hear what the line says they hear, and no more.

Phones are ours (SIP and RTP over loopback) or sipp; livekit-server and Redis are real; the SIP service is the bench.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from fsm.states import RungKind
from tests.line import rooms as line_rooms
from tests.line.livekit_calls import CALLER, Telephony, amplitude, telephony
from tests.line.stack import Stack, found_engines
from triage.bench.phones import sipp
from triage.bench.sip.ports import EndReason
from triage.lines.livekit.headers import PACKET_HEADER, caller_number
from triage.lines.livekit.signalling import Fault, ServerSignalling, SignallingError
from triage.ports import FRAME, RATE, ShownNumber, SignalKind

pytestmark = pytest.mark.line

K = SignalKind
REFER, DIAL = RungKind.REFER, RungKind.DIAL
AGENT_HZ, CALLER_HZ, NURSE_HZ, OTHER_HZ = 440.0, 700.0, 1100.0, 1700.0
WHISPER = (8000 * np.sin(2 * np.pi * AGENT_HZ * np.arange(RATE) / RATE)).astype(np.int16)


@pytest.fixture
async def world(stack: Stack) -> AsyncIterator[Telephony]:
    async with telephony(stack) as made:
        yield made


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No handler of ours breaks unseen, and nobody but the bench (as livekit-sip does) logs the caller's number."""
    caplog.set_level(logging.DEBUG)
    yield
    said = [(record.name, record.getMessage() + (record.exc_text or "")) for record in caplog.records]
    ours = [text for name, text in said if name.startswith("triage.lines")]
    assert [text for _, text in said if "user callback" in text or "never retrieved" in text] == []
    assert [text for text in ours if "broke" in text or "sip:" in text or "sip_" in text] == []
    assert [text for name, text in said if CALLER in text and not name.startswith("triage.bench")] == []


class TestCaller:
    """The caller's leg."""

    @pytest.mark.parametrize("codec", ["PCMU", "G722"])
    async def test_phone_and_line_hear_each_other_in_step_with_time(self, world: Telephony, codec: str) -> None:
        async with world.call(hz=CALLER_HZ, codec=codec) as leg:
            await asyncio.sleep(0.5)
            began = await leg.say(AGENT_HZ, 1.0)
            await asyncio.sleep(0.5)
            loud = leg.phone.loud(AGENT_HZ)
            assert 46 <= len(loud) <= 62, "a second of it; the test itself may stutter"
            assert 0.03 < loud[0] - began < 0.2
            assert [frame.start for frame in leg.frames] == [n * FRAME for n in range(len(leg.frames))]
            elapsed = leg.arrived[-1] - leg.arrived[0]
            assert abs(elapsed - 0.02 * (len(leg.frames) - 1)) < 0.1
            heard = [amplitude(frame.pcm, CALLER_HZ, RATE) for frame in leg.frames[25:]]
            assert 0.2 < float(np.median(heard)) < 0.28 and min(heard) > 0.05, "whole, at its own level"

    async def test_a_phone_that_sends_nothing_is_heard_as_silence_in_time(self, world: Telephony) -> None:
        async with world.call(hz=CALLER_HZ) as leg:
            await asyncio.sleep(0.5)
            leg.phone.mute()
            await asyncio.sleep(0.5)
            before, count = asyncio.get_running_loop().time(), len(leg.frames)
            await asyncio.sleep(2)
            passed = asyncio.get_running_loop().time() - before
            assert abs(len(leg.frames) - count - passed * 50) < 6
            assert max(amplitude(frame.pcm, 0, RATE) for frame in leg.frames[count:]) < 0.01

    async def test_what_is_dropped_stops_at_the_phone_soon(self, world: Telephony) -> None:
        async with world.call() as leg:
            stops = []
            for n in range(8):
                for _ in range(20):
                    leg.line.send(WHISPER[:FRAME])
                await asyncio.sleep(0.2 + 0.003 * n)
                assert leg.line.drop() == pytest.approx((0.2 - 0.003 * n) * RATE, abs=400)
                at = asyncio.get_running_loop().time()
                await asyncio.sleep(0.35)
                stops.append(leg.phone.loud()[-1] - at)
            assert np.median(stops) < 0.13 and max(stops) < 0.25

    async def test_keys_and_the_end_are_told(self, world: Telephony) -> None:
        async with world.call() as leg:
            leg.phone.call.send_digits("05")
            await leg.until(lambda: len(leg.signals) == 2)
            ended = asyncio.get_running_loop().time()
            await leg.phone.call.hang_up()
            await asyncio.wait_for(leg.signals_ended.wait(), 5)
            assert leg.of(0) == [(K.KEY, "0"), (K.KEY, "5"), (K.HUNG_UP, "")]
            assert leg.frames_ended.is_set() and leg.times[-1] - ended < 0.5

    async def test_hanging_up_ends_the_phones_call(self, world: Telephony) -> None:
        async with world.call() as leg:
            await leg.line.hang_up()
            await asyncio.wait_for(leg.phone.ended.wait(), 3)
            assert leg.phone.call.ended is EndReason.REMOTE_BYE
            assert leg.of(0) == [(K.HUNG_UP, "")]

    async def test_the_number_comes_from_the_headers_of_the_call(self, world: Telephony) -> None:
        async with world.call() as leg:
            assert await caller_number(leg.room, leg.identity) == ShownNumber(CALLER)

    async def test_a_room_that_subscribes_to_nobody_by_itself_will_do(self, world: Telephony) -> None:
        async with world.call(hz=CALLER_HZ, auto_subscribe=False) as leg:
            await asyncio.sleep(1)
            assert amplitude(leg.frames[-1].pcm, CALLER_HZ, RATE) > 0.1

    async def test_a_phone_that_gives_up_before_the_answer(self, world: Telephony) -> None:
        async with world.ringing() as (line, phone):
            phone.cancel()
            await asyncio.gather(phone, return_exceptions=True)
            told = []

            async def read() -> None:
                async for signal in line.signals():
                    told.append(signal.kind)

            await asyncio.wait_for(read(), 5)
            assert told == [K.HUNG_UP]


class TestNurse:
    """A nurse who is dialled."""

    @pytest.mark.parametrize("ring_s", [0.0, 0.5])
    async def test_from_the_ring_to_the_bridge_and_off(self, world: Telephony, ring_s: float) -> None:
        nurse = world.nurse("nurse", hz=NURSE_HZ, ring_s=ring_s)
        async with world.call(hz=CALLER_HZ) as leg:
            leg.transfer(1, DIAL, "nurse")
            await leg.until(lambda: K.ANSWERED in leg.kinds(1))
            assert nurse.calls[0].headers[PACKET_HEADER.lower()] == "code1"
            await asyncio.wait_for(nurse.picked_up.wait(), 5)
            assert nurse.phone is not None
            leg.line.whisper(1, WHISPER)
            await asyncio.sleep(2.5)
            assert 48 <= len(nurse.phone.loud(AGENT_HZ)) <= 55, "the whisper, whole"
            assert len(nurse.phone.loud(CALLER_HZ)) <= 15, "300 ms of the patient at most"
            assert leg.phone.loud(AGENT_HZ) == [], "and the patient hears nothing of the whisper"
            assert len(leg.phone.loud(NURSE_HZ)) <= 15
            nurse.phone.call.send_digits("21")
            await leg.until(lambda: K.NURSE_KEY in leg.kinds(1))
            bridged = asyncio.get_running_loop().time()
            leg.line.bridge(1)
            await asyncio.sleep(1.5)
            for ear, hz in ((nurse.phone, CALLER_HZ), (leg.phone, NURSE_HZ)):
                heard = [at for at in ear.loud(hz) if at > bridged]
                assert heard[0] - bridged < 0.5 and len(heard) > 45
            leg.line.release(1, WHISPER)
            await asyncio.wait_for(nurse.gone.wait(), 4)
            assert 96 <= len(nurse.phone.loud(AGENT_HZ)) <= 110, "told to the end"
            assert leg.of(1) == [(K.RINGING, ""), (K.ANSWERED, ""), (K.NURSE_KEY, "1")]
            assert leg.phone.call.ended is None

    async def test_a_held_nurse_hears_nothing_for_as_long_as_she_is_held(self, world: Telephony) -> None:
        nurse = world.nurse("nurse", hz=NURSE_HZ)
        async with world.call(hz=CALLER_HZ) as leg:
            leg.transfer(1, DIAL, "nurse")
            await leg.until(lambda: K.ANSWERED in leg.kinds(1))
            await asyncio.sleep(4)
            assert nurse.phone is not None
            assert len(nurse.phone.loud()) <= 15 and len(leg.phone.loud()) <= 15

    async def test_a_ringing_telephone_is_silenced(self, world: Telephony) -> None:
        nurse = world.nurse("nurse", answers=False)
        async with world.call() as leg:
            leg.transfer(1, DIAL, "nurse")
            await asyncio.wait_for(nurse.rang.wait(), 5)
            await leg.until(lambda: K.RINGING in leg.kinds(1))
            leg.line.release(1)
            await asyncio.wait_for(nurse.gone.wait(), 3)
            assert nurse.calls[0].ended is EndReason.CANCELLED
            assert leg.kinds(1) == [K.RINGING]

    async def test_a_telephone_that_was_only_just_rung_is_silenced_too(self, world: Telephony) -> None:
        nurse = world.nurse("nurse", answers=False)
        async with world.call() as leg:
            leg.transfer(1, DIAL, "nurse")
            leg.line.release(1)
            await asyncio.sleep(3)
            assert not nurse.calls or nurse.calls[0].ended is EndReason.CANCELLED
            assert leg.kinds(1) == [] and "nurse_1" not in leg.room.remote_participants

    async def test_nobody_answers(self, world: Telephony) -> None:
        nurse = world.nurse("nurse", answers=False)
        async with world.call() as leg:
            leg.transfer(1, DIAL, "nurse", timeout_s=3.0)
            await leg.until(lambda: K.TIMED_OUT in leg.kinds(1), 4)
            await asyncio.wait_for(nurse.gone.wait(), 3)
            assert leg.kinds(1) == [K.RINGING, K.TIMED_OUT]

    @pytest.mark.parametrize("status", [486, 503, 603])
    async def test_a_refusal_comes_with_its_status(self, world: Telephony, status: int) -> None:
        world.nurse("nurse", status=status)
        async with world.call() as leg:
            leg.transfer(1, DIAL, "nurse")
            await leg.until(lambda: bool(leg.of(1)))
            assert leg.of(1) == [(K.REFUSED, str(status))]

    async def test_a_nurse_who_hangs_up_is_lost_and_the_caller_stays(self, world: Telephony) -> None:
        nurse = world.nurse("nurse")
        async with world.call(hz=CALLER_HZ) as leg:
            leg.transfer(1, DIAL, "nurse")
            await leg.until(lambda: K.ANSWERED in leg.kinds(1))
            await asyncio.wait_for(nurse.picked_up.wait(), 5)
            assert nurse.phone is not None
            leg.line.bridge(1)
            await asyncio.sleep(0.5)
            await nurse.phone.call.hang_up()
            await leg.until(lambda: K.NURSE_LOST in leg.kinds(1), 2)
            assert leg.phone.call.ended is None and leg.line.ours

    async def test_two_nurses_at_once_hear_neither_each_other_nor_the_held_one_the_call(self, world: Telephony) -> None:
        one, two = world.nurse("one", 0, hz=NURSE_HZ), world.nurse("two", 1, hz=OTHER_HZ)
        async with world.call(hz=CALLER_HZ) as leg:
            leg.transfer(1, DIAL, "one")
            leg.transfer(2, DIAL, "two")
            await leg.until(lambda: K.ANSWERED in leg.kinds(1) and K.ANSWERED in leg.kinds(2))
            await asyncio.sleep(0.5)
            leg.line.bridge(1)
            await asyncio.sleep(2.5)
            assert one.phone is not None and two.phone is not None
            assert len(one.phone.loud(CALLER_HZ)) > 80 and len(leg.phone.loud(NURSE_HZ)) > 80
            assert len(two.phone.loud()) <= 15 and len(leg.phone.loud(OTHER_HZ)) <= 15
            assert len(one.phone.loud(OTHER_HZ)) <= 15

    async def test_a_bridge_stands_without_us(self, world: Telephony) -> None:
        nurse = world.nurse("nurse", hz=NURSE_HZ)
        async with world.call(hz=CALLER_HZ) as leg:
            leg.transfer(1, DIAL, "nurse")
            await leg.until(lambda: K.ANSWERED in leg.kinds(1))
            await asyncio.sleep(0.5)
            leg.line.bridge(1)
            await asyncio.sleep(0.7)
            await leg.line.close()
            await leg.room.disconnect()
            alone = asyncio.get_running_loop().time()
            heir, room, signalling, _ = await world.line_in(leg.room.name)
            with pytest.raises(TimeoutError):  # it stands by, silent, for as long as they talk
                async with asyncio.timeout(2.0):
                    await heir.open()
            await heir.close(keep_caller=True)
            await room.disconnect()
            await signalling.close()
            await asyncio.sleep(3)
            assert nurse.phone is not None
            for ear, hz in ((nurse.phone, CALLER_HZ), (leg.phone, NURSE_HZ)):
                assert len([at for at in ear.loud(hz) if at > alone + 0.2]) > 130


class TestRefer:
    """The caller is sent to the nurses by REFER."""

    @pytest.mark.parametrize(
        ("name", "stays_ms", "told"),
        [
            ("ok", 0, [(K.ANSWERED, 1, "")]),
            ("notify_before_202", 0, [(K.ANSWERED, 1, "")]),
            ("ok_hangs_up_first", 0, [(K.HUNG_UP, 0, ""), (K.TIMED_OUT, 1, "")]),
            ("hangs_up_while_ringing", 0, [(K.HUNG_UP, 0, ""), (K.TIMED_OUT, 1, "")]),
            ("bye_without_notify", 0, [(K.HUNG_UP, 0, ""), (K.TIMED_OUT, 1, "")]),
            ("busy_486", 600, [(K.REFUSED, 1, "486")]),
            ("down_503", 600, [(K.REFUSED, 1, "503")]),
            ("declined_603", 600, [(K.REFUSED, 1, "603")]),
            ("refused_403", 600, [(K.REFUSED, 1, "403")]),
            ("refused_603", 600, [(K.REFUSED, 1, "603")]),
            ("no_notify", 3500, [(K.TIMED_OUT, 1, "")]),
            ("trying_and_over", 3500, [(K.TIMED_OUT, 1, "")]),
            ("no_answer", 3500, [(K.TIMED_OUT, 1, "")]),
        ],
    )
    async def test_each_answer_has_its_own_word(
        self, world: Telephony, tmp_path: Path, name: str, stays_ms: int, told: list[tuple[SignalKind, int, str]]
    ) -> None:
        world.phones["queue"] = "sip:nurses@127.0.0.1:5999"
        async with world.scripted(sipp.CALLERS[name](stays_ms), tmp_path) as (leg, caller):
            leg.transfer(1, REFER, "queue", timeout_s=3.0)
            await leg.until(lambda: any(signal.attempt == 1 for signal in leg.signals))
            assert [(s.kind, s.attempt, s.value) for s in leg.signals] == told
            assert [s.takes_caller for s in leg.signals if s.kind is K.ANSWERED] == [True] * (told[0][0] is K.ANSWERED)
            assert leg.line.ours is (told[0][0] in (K.REFUSED, K.TIMED_OUT))
            result = await caller
            assert result.status == 0, result.said
            await asyncio.wait_for(leg.signals_ended.wait(), 5)
            after = [] if told[0][0] in (K.ANSWERED, K.HUNG_UP) else [(K.HUNG_UP, 0, "")]
            assert [(s.kind, s.attempt, s.value) for s in leg.signals] == [*told, *after]

    async def test_a_refer_that_is_still_pending_at_the_carrier_is_no_refusal(
        self, world: Telephony, tmp_path: Path
    ) -> None:
        world.phones.update(queue="sip:nurses@127.0.0.1:5999", other="sip:others@127.0.0.1:5998")
        async with world.scripted(sipp.CALLERS["no_answer"](6000), tmp_path) as (leg, _):
            leg.transfer(1, REFER, "queue", timeout_s=2.5)
            leg.transfer(2, REFER, "other", timeout_s=2.5)
            await leg.until(lambda: bool(leg.of(1)))
            leg.transfer(3, REFER, "other", timeout_s=2.5)
            await leg.until(lambda: bool(leg.of(3)))
            assert (leg.of(1), leg.of(2), leg.of(3)) == ([(K.TIMED_OUT, "")], [(K.PENDING, "")], [(K.PENDING, "")])

    async def test_a_target_that_is_no_sip_uri_is_refused_and_named(
        self, world: Telephony, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.phones["queue"] = "+15550111"
        async with world.call() as leg:
            for attempt, kind in ((1, REFER), (2, DIAL)):
                leg.transfer(attempt, kind, "queue")
                await leg.until(lambda n=attempt: bool(leg.of(n)))  # type: ignore[misc]  # bound now
                assert leg.of(attempt) == [(K.REFUSED, "400")]
        said = [record.getMessage() for record in caplog.records if record.name == "triage.lines.livekit"]
        assert [text for text in said if "nurse target queue" in text] and "+15550111" not in "".join(said)


class TestServer:
    """livekit-server's answers."""

    async def test_a_wrong_key_is_told_as_such(self, stack: Stack) -> None:
        asked = ServerSignalling(stack.line.api_url, "no-such-key", "x" * 32, "room", "")
        try:
            for request in (
                asked.refer("a", "sip:b@127.0.0.1", headers={}, answer_within_s=2),
                asked.dial("sip:b@127.0.0.1", "nurse_1", headers={}, answer_within_s=2),
                asked.remove("a"),
                asked.may_hear("a", False),
            ):
                with pytest.raises(SignallingError) as told:
                    await request
                assert told.value.kind is Fault.FORBIDDEN
        finally:
            await asked.close()

    async def test_no_server_and_no_sip_service_are_unknown_outcomes(self, stack: Stack) -> None:
        access = stack.line.access
        gone = ServerSignalling("http://127.0.0.1:9", access.api_key, access.api_secret, "room", "")
        here = ServerSignalling(
            stack.line.api_url, access.api_key, access.api_secret, "r", "", "127.0.0.1:1", "+15550199"
        )
        try:
            for request in (
                gone.remove("a"),
                gone.refer("a", "sip:b@127.0.0.1", headers={}, answer_within_s=2),
                here.dial("sip:b@127.0.0.1:5", "nurse_1", headers={}, answer_within_s=2),
            ):
                with pytest.raises(SignallingError) as told:
                    await request
                assert told.value.kind is Fault.UNKNOWN
            with pytest.raises(SignallingError) as told:
                await here.remove("nobody")
            assert told.value.kind is Fault.GONE
        finally:
            await gone.close()
            await here.close()


async def test_a_bridge_outlives_a_restart_of_livekit_server(tmp_path: Path) -> None:
    engines = Stack(tmp_path, found_engines())
    try:
        engines.start("redis")
        engines.start("server")
        async with telephony(engines, rooms_stay_s=30) as world, world.call(hz=CALLER_HZ) as leg:
            nurse = world.nurse("nurse", hz=NURSE_HZ)
            leg.transfer(1, DIAL, "nurse")
            await leg.until(lambda: K.ANSWERED in leg.kinds(1))
            await asyncio.sleep(0.5)
            leg.line.bridge(1)
            await asyncio.sleep(1)
            assert nurse.phone is not None
            engines.kill("server")
            await asyncio.sleep(0.3)
            await asyncio.get_running_loop().run_in_executor(None, engines.start, "server")
            back = asyncio.get_running_loop().time()
            async with asyncio.timeout(14):
                while not (  # noqa: ASYNC110 what is heard tells nobody
                    len([at for at in nurse.phone.loud(CALLER_HZ) if at > back]) > 50
                    and len([at for at in leg.phone.loud(NURSE_HZ) if at > back]) > 50
                ):
                    await asyncio.sleep(0.1)
            assert leg.kinds(1) == [K.RINGING, K.ANSWERED] and leg.of(0) == []
    finally:
        engines.stop()


async def test_a_call_outlives_a_restart_of_livekit_server(tmp_path: Path) -> None:
    engines = Stack(tmp_path, found_engines())
    try:
        engines.start("redis")
        engines.start("server")
        async with telephony(engines, rooms_stay_s=30) as world, world.call(hz=CALLER_HZ) as leg:
            await asyncio.sleep(1)
            engines.kill("server")
            await asyncio.sleep(0.3)
            await asyncio.get_running_loop().run_in_executor(None, engines.start, "server")
            back = asyncio.get_running_loop().time()
            heard = False
            while not heard and asyncio.get_running_loop().time() < back + 14:
                await leg.say(AGENT_HZ, 0.2)
                await asyncio.sleep(0.3)
                again = [at for at in leg.phone.loud(AGENT_HZ) if at > back]
                heard = bool(again) and amplitude(leg.frames[-1].pcm, CALLER_HZ, RATE) > 0.1
            assert heard, "both hear each other again"
            assert leg.signals == [] and leg.line.ours and leg.phone.call.ended is None
            assert [frame.start for frame in leg.frames] == [n * FRAME for n in range(len(leg.frames))]
            elapsed = leg.arrived[-1] - leg.arrived[0]
            assert abs(elapsed - 0.02 * len(leg.frames)) < 0.25, "time went on"
            assert await line_rooms.people(world.lk) == {leg.identity, "agent"}
    finally:
        engines.stop()
