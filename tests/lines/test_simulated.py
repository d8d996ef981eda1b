"""Promise: the simulated carrier tells a real one's truths and falsehoods, and the recording is right to the sample."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from fsm.states import RungKind
from tests.lines.world import Call, call, found, noise, quiet_caller, says
from tests.virtual import in_virtual_time
from triage.audio import read_wav, sound_spans
from triage.clock import NS, Clock, run, stopwatch
from triage.demo.patient import Cue, Patient, Utterance
from triage.errors import AssetError
from triage.lines.impairments import Impairments
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.lines.simulated import SimulatedLine
from triage.playout import Playout
from triage.ports import FRAME, RATE

REFER, DIAL = RungKind.REFER, RungKind.DIAL
OURS, THEIRS, NURSE, REPLY, WHISPER, BYE = (noise(1.0, seed) for seed in range(6))
HELLO = NursePhone(pcm=NURSE, text="hello")


def hangs_up(at_s: float) -> Utterance:
    return Utterance(cue=Cue.AT, delay_s=at_s, hang_up=True)


# --- the recording


@in_virtual_time
async def test_both_directions_are_recorded_where_they_happened() -> None:
    async with call([says(THEIRS, 1.23456)]) as seen:
        await asyncio.sleep(0.50003)
        sent_at = seen.line.position()
        await seen.play(OURS)
        await asyncio.sleep(2)
    caller, heard = seen.line.recording()
    assert len(caller) == len(heard)
    assert found(THEIRS, caller) == [round(1.23456 * RATE)]
    assert found(OURS, heard) == [sent_at]
    assert seen.line.audible_from == [sent_at + n * FRAME for n in range(50)]
    received = np.concatenate([frame.pcm for _, frame in seen.frames])
    assert np.array_equal(received, caller[: len(received)])


@in_virtual_time
async def test_what_we_send_is_heard_later_by_the_delay_of_the_line() -> None:
    async with call(playout_delay=2240) as seen:
        await asyncio.sleep(0.1)
        await seen.play(OURS)
        await asyncio.sleep(1)
    assert found(OURS, seen.line.recording()[1]) == [1600 + 2240]
    assert seen.line.audible_from[0] == 1600 + 2240


@in_virtual_time
async def test_what_is_dropped_is_not_heard() -> None:
    async with call() as seen:
        for at in range(0, 5 * FRAME, FRAME):
            seen.line.send(OURS[at : at + FRAME])
        await asyncio.sleep(0.0335)
        dropped = seen.line.drop()
        await asyncio.sleep(1)
    heard = seen.line.recording()[1]
    assert dropped == 5 * FRAME - 536
    assert np.array_equal(heard[:536], OURS[:536])
    assert not heard[536:].any()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # wave's own, when it cannot open
def test_the_wav_is_the_recording(tmp_path: Path) -> None:
    async def main() -> Call:
        async with call([says(THEIRS, 0.5)]) as seen:
            await seen.play(OURS)
            await asyncio.sleep(1)
        return seen

    seen = run(main(), virtual=True)
    seen.line.write(tmp_path / "call.wav")
    both = (THEIRS[:100].astype(float) + OURS[8000:8100]) / 2
    assert np.abs(read_wav(tmp_path / "call.wav")[8000:8100] - both).max() <= 1.5
    with pytest.raises(AssetError, match="nowhere"):
        seen.line.write(tmp_path / "nowhere" / "call.wav")


@in_virtual_time
async def test_on_a_mulaw_leg_both_sides_sound_like_a_telephone() -> None:
    async with call([says(THEIRS, 0.0)], impairments=Impairments(mulaw=True)) as seen:
        await seen.play(OURS)
        await asyncio.sleep(0.5)
    spectrum = np.abs(np.fft.rfft(seen.line.recording()[1][:RATE].astype(float)))
    assert spectrum[5000:7500].mean() < 0.05 * spectrum[500:3000].mean()
    spectrum = np.abs(np.fft.rfft(seen.line.received()[:RATE].astype(float)))
    assert spectrum[5000:7500].mean() < 0.05 * spectrum[500:3000].mean()


# --- the carrier takes the caller


@in_virtual_time
async def test_after_a_refer_caller_and_nurse_talk_and_both_are_recorded() -> None:
    caller = Patient([says(THEIRS, 0.5), Utterance(pcm=REPLY, text="thank you", cue=Cue.NURSE, delay_s=0.4)])
    async with call(caller, phones={"nurse": HELLO}) as seen:
        await asyncio.sleep(1.99)
        seen.transfer(1, REFER)
        playing = asyncio.ensure_future(seen.play(np.tile(OURS, 3)))
        await asyncio.sleep(1.5)
        taken = round(3.19 * RATE)
        assert (seen.frames_ended, seen.signals_ended) == (True, True)
        await seen.line.close()
        await seen.line.over()
        await playing
    said, heard = seen.line.recording()
    assert len(seen.frames) == taken // FRAME
    assert found(NURSE, heard) == [taken + round(0.5 * RATE)]
    assert found(REPLY, said) == [taken + round((0.5 + 1.0 + 0.4) * RATE)]
    assert found(REPLY, seen.line.nurse_heard(1)) == found(REPLY, said)
    assert not found(THEIRS, seen.line.nurse_heard(1)), "the nurse was not there yet"
    assert not heard[taken : taken + RATE // 2].any(), "we are gone"
    assert caller.hung_up


@in_virtual_time
async def test_when_the_carrier_has_taken_the_caller_nothing_of_ours_counts_as_heard() -> None:
    async with call(phones={"nurse": HELLO}) as seen:
        events: list[object] = []
        lane = Playout(seen.line, seen.clock, events.append)
        lane.append(1, np.tile(OURS, 3), text="a b c")
        seen.transfer(1, REFER)
        await asyncio.sleep(2)
        cut = lane.flush()
        assert [report.samples for report in cut] == [round(1.2 * RATE)]


@in_virtual_time
async def test_a_refer_can_end_at_a_voicemail_or_at_a_phone_that_is_put_down() -> None:
    """Both look like a success to us: only a person's sign tells them from one."""
    for phone, spoken in (
        (NursePhone(Behaviour.VOICEMAIL, pcm=NURSE), [round(1.7 * RATE)]),
        (NursePhone(Behaviour.DROPS, pcm=NURSE, drops_after_s=0.3), []),
    ):
        async with call(phones={"nurse": phone}) as seen:
            seen.transfer(1, REFER)
            await asyncio.sleep(6)
        assert seen.kinds(1) == ["accepted", "ringing", "answered"]
        assert found(NURSE, seen.line.recording()[1]) == spoken


@in_virtual_time
async def test_a_late_success_takes_the_caller_after_our_limit() -> None:
    late = NursePhone(Behaviour.LATE, answers_after_s=7.0, pcm=NURSE)
    for told, kinds in (
        (True, ["accepted", "ringing", "timed_out", "answered"]),
        (False, ["accepted", "ringing", "timed_out"]),
    ):
        async with call(phones={"nurse": late}, late_notify=told) as seen:
            seen.transfer(1, REFER, timeout_s=4.0)
            await asyncio.sleep(6.9)
            assert not seen.frames_ended
            await asyncio.sleep(0.2)
            assert (seen.frames_ended, seen.signals_ended) == (True, True)
            await asyncio.sleep(3)
        assert seen.kinds(1) == kinds
        assert seen.kinds(0) == ([] if told else ["hung_up"])
        assert found(NURSE, seen.line.recording()[1]) == [round(7.5 * RATE)]


@in_virtual_time
async def test_an_attempt_that_was_given_up_lets_the_next_one_start_and_both_ring() -> None:
    phones = {"late": NursePhone(Behaviour.LATE, answers_after_s=10.0), "nurse": NursePhone(answers_after_s=8.0)}
    async with call(phones=phones) as seen:
        seen.transfer(1, REFER, "late", timeout_s=4.0)
        await asyncio.sleep(5)
        seen.transfer(2, REFER, "nurse")
        await asyncio.sleep(20)
    assert seen.kinds(2) == ["accepted", "ringing"], "the first one got the caller"
    assert seen.kinds(1)[-1] == "answered"


@in_virtual_time
async def test_a_caller_who_hangs_up_during_a_refer_makes_it_look_like_a_success() -> None:
    for false_success, expected in ((True, ["hung_up", "answered"]), (False, ["hung_up"])):
        async with call(
            [hangs_up(2.0)], phones={"nurse": NursePhone(answers_after_s=5.0)}, false_success=false_success
        ) as seen:
            await asyncio.sleep(1)
            seen.transfer(1, REFER)
            await asyncio.sleep(10)
            assert seen.signals_ended
        last = [str(signal.kind) for at, signal in seen.signals if at >= 2.0]
        assert last == expected
        assert not found(NURSE, seen.line.recording()[1])


@in_virtual_time
async def test_a_refer_for_a_caller_who_has_gone_is_refused() -> None:
    async with call([hangs_up(1.0)], phones={"a": NursePhone(answers_after_s=90.0), "b": HELLO}) as seen:
        seen.transfer(1, DIAL, "a", timeout_s=99)
        await asyncio.sleep(2)
        seen.transfer(2, REFER, "b")
        await asyncio.sleep(1)
    assert [(s.value) for _, s in seen.signals if s.attempt == 2] == ["481"]


# --- the carrier holds the caller


@in_virtual_time
async def test_a_carrier_that_holds_the_caller_cuts_both_ways_until_the_attempt_has_failed() -> None:
    caller = quiet_caller(*(says(THEIRS, at) for at in (0.5, 2.0, 6.0)))
    phones = {"nurse": NursePhone(Behaviour.REFUSES, answers_after_s=3.0)}
    async with call(caller, phones=phones, media_during_refer=False) as seen:
        talk = asyncio.ensure_future(seen.play(np.tile(OURS, 8)))
        await asyncio.sleep(2)
        seen.transfer(1, REFER)
        await talk
    held = (round(2.05 * RATE), round(5.0 * RATE))
    received, heard = seen.line.received(), seen.line.recording()[1]
    frame = FRAME
    assert not received[held[0] + frame : held[1] - frame].any()
    assert not heard[held[0] + frame : held[1] - frame].any()
    assert found(THEIRS, received) == [8000, 6 * RATE]
    assert np.array_equal(heard[held[1] + frame :][:RATE], np.tile(OURS, 8)[held[1] + frame :][:RATE])
    assert seen.kinds(1) == ["accepted", "ringing", "refused"]


@in_virtual_time
async def test_a_caller_who_is_held_does_not_answer_what_they_cannot_hear() -> None:
    caller = Patient([Utterance(pcm=THEIRS, text="yes", delay_s=0.5)], patience_s=3600)
    async with call(caller, phones={"nurse": NursePhone(Behaviour.SILENT)}, media_during_refer=False) as seen:
        seen.transfer(1, REFER)
        await asyncio.sleep(1)
        await seen.play(OURS)
        await asyncio.sleep(5)
        assert caller.said == []
        await asyncio.sleep(30)
        await seen.play(OURS)
        await asyncio.sleep(2)
    assert len(caller.said) == 1, "the carrier gave up at last"


# --- dialled legs


@in_virtual_time
async def test_a_held_nurse_hears_the_whisper_and_nothing_else_and_the_caller_nothing_of_it() -> None:
    caller = quiet_caller(*(says(THEIRS, at) for at in (0.5, 2.0, 4.0, 6.0)))
    async with call(caller, phones={"nurse": HELLO}) as seen:
        talk = asyncio.ensure_future(seen.play(np.tile(OURS, 5)))
        seen.transfer(1, DIAL)
        await asyncio.sleep(2.5)
        seen.line.whisper(1, WHISPER)
        await asyncio.sleep(3)
        before = seen.line.nurse_heard(1)
        at = round(2.5 * RATE)
        assert not before[:at].any()
        assert np.array_equal(before[at : at + RATE], WHISPER)
        assert not before[at + RATE :].any()
        assert seen.line.whispered(1) == [(at, at + RATE)]
        seen.line.bridge(1)
        await asyncio.sleep(3)
    await talk
    said, heard = seen.line.recording()
    assert found(THEIRS, seen.line.nurse_heard(1)) == [6 * RATE]
    assert not found(WHISPER[:FRAME], heard)
    assert not found(WHISPER[:FRAME], said)
    assert found(NURSE, heard) == [round(6.0 * RATE)]
    assert np.array_equal(heard[: 5 * RATE], np.tile(OURS, 5)), "the caller heard us, and only us, before"


@in_virtual_time
async def test_voicemail_talks_to_nobody() -> None:
    async with call(phones={"nurse": NursePhone(Behaviour.VOICEMAIL, pcm=NURSE)}) as seen:
        seen.transfer(1, DIAL)
        await asyncio.sleep(2)
        seen.line.whisper(1, WHISPER)
        await asyncio.sleep(5)
        seen.line.release(1)
        await asyncio.sleep(1)
    assert not seen.line.recording()[1].any()


@in_virtual_time
async def test_a_released_nurse_hears_the_word_and_is_not_heard_any_more() -> None:
    async with call(phones={"nurse": HELLO}) as seen:
        seen.transfer(1, DIAL)
        await asyncio.sleep(2)
        seen.line.bridge(1)
        await asyncio.sleep(1.0)
        seen.line.release(1, BYE)
        gone = seen.line.position()
        await asyncio.sleep(3)
    heard = seen.line.recording()[1]
    assert heard[gone - RATE // 2 : gone].any()
    assert not heard[gone:].any()
    assert found(BYE, seen.line.nurse_heard(1)) == [gone]


@in_virtual_time
async def test_a_nurse_who_drops_in_the_middle_of_a_word_is_cut_off() -> None:
    phone = NursePhone(Behaviour.DROPS, pcm=NURSE, key_after_s=0.5, drops_after_s=1.0, speaks_after_s=0.2)
    async with call(phones={"nurse": phone}) as seen:
        seen.transfer(1, DIAL)
        await asyncio.sleep(2)
        seen.line.whisper(1, WHISPER[:FRAME])
        await asyncio.sleep(0.6)
        seen.line.bridge(1)
        await asyncio.sleep(5)
    lost = next(at for at, signal in seen.signals if str(signal.kind) == "nurse_lost")
    assert lost == pytest.approx(3.5)
    spans = sound_spans(seen.line.recording()[1])
    assert [round(edge / RATE, 2) for edge in spans[0]] == [2.8, 3.5]


@in_virtual_time
async def test_the_packet_code_goes_with_the_request() -> None:
    async with call(phones={"nurse": HELLO}) as seen:
        seen.transfer(3, DIAL)
        assert (seen.line.code_sent(3), seen.line.code_sent(4)) == ("c3", None)
        assert len(seen.line.nurse_heard(4)) == 0
        seen.line.release(3)


# --- time


def test_the_same_call_is_the_same_to_the_sample() -> None:
    bad = Impairments(mulaw=True, noise_db=-40, loss=0.05, jitter_ms=40, echo_db=-20)

    async def main() -> tuple[bytes, list[tuple[float, int]], list[tuple[float, object]]]:
        async with call([says(THEIRS, 0.3)], phones={"nurse": HELLO}, impairments=bad) as seen:
            await seen.play(OURS)
            seen.transfer(1, REFER)
            await asyncio.sleep(4)
        return seen.line.received().tobytes(), [(at, f.start) for at, f in seen.frames], list(seen.signals)

    assert run(main(), virtual=True) == run(main(), virtual=True)


def test_five_minutes_take_seconds() -> None:
    async def main() -> int:
        async with call([says(THEIRS, at * 3.0) for at in range(90)]) as seen:
            for _ in range(60):
                await seen.play(OURS)
                await asyncio.sleep(4)
        return len(seen.frames)

    passed = stopwatch()
    assert run(main(), virtual=True) == 300 * 50
    assert passed() < 30, "it takes about 1 s"


@pytest.mark.realtime
def test_in_real_time_frames_come_every_20_ms() -> None:
    async def main() -> tuple[int, int]:
        clock = Clock()
        line = SimulatedLine(clock, quiet_caller())
        await line.connect()
        began, count = clock.now_ns(), 0
        async for _ in line.frames():
            count += 1
            if count == 50:
                break
        passed = clock.now_ns() - began
        await line.close()
        return count, passed

    count, passed = run(main(), virtual=False)
    assert count == 50
    assert 0.99 * NS < passed < 1.5 * NS


@in_virtual_time
async def test_the_lane_and_the_line_agree_to_the_sample_over_a_pause() -> None:
    """The whole chain: pause at a barge-in, resume after a cough, and the caller has heard every sample once."""
    async with call([says(THEIRS, 0.7)]) as seen:
        lane = Playout(seen.line, seen.clock, lambda event: None)
        lane.append(1, np.tile(OURS, 2), text="a b")
        await asyncio.sleep(0.7331)
        lane.pause()
        paused = seen.line.position()
        await asyncio.sleep(1.1117)
        lane.resume()
        resumed = seen.line.position()
        await asyncio.sleep(3)
    heard, source = seen.line.recording()[1], np.tile(OURS, 2)
    assert np.array_equal(heard[:paused], source[:paused])
    assert not heard[paused:resumed].any()
    assert np.array_equal(heard[resumed : resumed + len(source) - paused], source[paused:])
