"""Promise: with a real SIP program at the other end, each way of a transfer and of a nurse's phone ends as it is."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.line.telephony import AGENT_TONE, CALLER_TONE, NURSE_TONE, Answering, agent, heard_s, play, sipp_caller, tone
from triage.bench.media.codecs import encoder
from triage.bench.phones import sipp
from triage.bench.phones.baresip import free_ports
from triage.bench.phones.sipp import CALLERS, NURSES
from triage.bench.sip.ports import (
    Accepted,
    CallRefused,
    CallTimedOut,
    Done,
    EndReason,
    Late,
    Pcm,
    Progress,
    TargetNotListed,
    TransferEvent,
    TransferOutcome,
)

pytestmark = [pytest.mark.line, pytest.mark.skipif(sipp.missing() is not None, reason=str(sipp.missing()))]

O = TransferOutcome  # noqa: E741 a column heading
TARGET = "sip:nurses@127.0.0.1:5999"


# name: (stays or waits ms, timeout s, outcome, status, why the call ended)
TRANSFERS = {
    "ok": (0, 8.0, O.TRANSFERRED, 200, EndReason.TRANSFERRED),
    "ok_hangs_up_first": (0, 8.0, O.TRANSFERRED, 200, EndReason.REMOTE_BYE),
    "notify_before_202": (0, 8.0, O.TRANSFERRED, 200, EndReason.TRANSFERRED),
    "busy_486": (500, 8.0, O.FAILED, 486, EndReason.REMOTE_BYE),
    "down_503": (500, 8.0, O.FAILED, 503, EndReason.REMOTE_BYE),
    "declined_603": (500, 8.0, O.FAILED, 603, EndReason.REMOTE_BYE),
    "refused_403": (500, 8.0, O.REFUSED, 403, EndReason.REMOTE_BYE),
    "refused_603": (500, 8.0, O.REFUSED, 603, EndReason.REMOTE_BYE),
    "no_notify": (1500, 1.0, O.TIMED_OUT, None, EndReason.REMOTE_BYE),
    "trying_and_over": (1500, 1.0, O.TIMED_OUT, None, EndReason.REMOTE_BYE),
    "no_answer": (2500, 1.0, O.TIMED_OUT, None, EndReason.REMOTE_BYE),
    "hangs_up_while_ringing": (0, 8.0, O.ENDED_BEFORE_RESULT, None, EndReason.REMOTE_BYE),
    "bye_without_notify": (0, 8.0, O.ENDED_BEFORE_RESULT, None, EndReason.REMOTE_BYE),
    "late_200": (1500, 1.0, O.TIMED_OUT, None, EndReason.REMOTE_BYE),
    "holds_on_202": (0, 8.0, O.FAILED, 486, EndReason.REMOTE_BYE),
}


def test_every_caller_has_its_row() -> None:
    assert set(TRANSFERS) == set(CALLERS)


@pytest.mark.parametrize("name", CALLERS)
async def test_a_transfer_ends_as_it_is(name: str, tmp_path: Path) -> None:
    stays_ms, timeout_s, outcome, status, why = TRANSFERS[name]
    events: list[TransferEvent] = []
    async with agent() as running:
        desk = Answering(running)
        caller = asyncio.ensure_future(sipp_caller(CALLERS[name](stays_ms), tmp_path, running))
        call = await desk.next_call()
        await asyncio.sleep(0.5)
        transfer = call.refer(TARGET, {"X-Triage-Code": "abc"}, timeout_s=timeout_s, on_event=events.append)
        done = await asyncio.wait_for(transfer.wait(), 15)
        assert (done.outcome, done.status) == (outcome, status)
        assert await desk.end() is why
        result = await caller
        assert result.status == 0, result.said
        assert heard_s(desk.audio(), CALLER_TONE, 8000) > 0.3
        assert [event for event in events if isinstance(event, Done)] == [done]
        accepted = [event for event in events if isinstance(event, Accepted)]
        assert len(accepted) == (name not in ("refused_403", "refused_603", "no_answer"))
        assert (Late(200, "OK") in events) == (name == "late_200")
        assert desk.holds == ([True, False] if name == "holds_on_202" else [])
        if name == "notify_before_202":
            assert isinstance(events[0], Progress)


async def test_a_caller_who_cancels_gets_487(tmp_path: Path) -> None:
    async with agent() as running:
        desk = Answering(running, answers=False)
        result = await sipp_caller(sipp.giving_up(300), tmp_path, running)
        assert result.status == 0, result.said
        assert await desk.end() is EndReason.CANCELLED


@pytest.mark.parametrize(
    ("status", "sdp", "header"),
    [
        ("488", "", "X-Nothing: 1"),
        ("488", "v=0\no=a 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 4000 RTP/AVP 18\n", "X-A: 1"),
        ("488", "v=0\no=a 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0\n", "X-A: 1"),
        ("420", None, "Require: something-new"),
    ],
    ids=["no SDP", "no common codec", "audio outside loopback", "an extension we lack"],
)
async def test_a_call_that_cannot_be_is_refused(status: str, sdp: str | None, header: str, tmp_path: Path) -> None:
    async with agent() as running:
        Answering(running)
        result = await sipp_caller(sipp.refused("refused", status, sdp=sdp, header=header), tmp_path, running)
        assert result.status == 0, result.said


async def test_nobody_at_the_desk_is_480(tmp_path: Path) -> None:
    async with agent() as running:
        result = await sipp_caller(sipp.refused("refused", "480"), tmp_path, running)
        assert result.status == 0, result.said


async def test_hold_stops_what_is_sent_and_resume_brings_it_back(tmp_path: Path) -> None:
    scenario = sipp.calling("hold").pause(400).reinvite("sendonly").pause(600).reinvite("sendrecv").pause(400)
    async with agent() as running:
        desk = Answering(running)
        caller = asyncio.ensure_future(sipp_caller(scenario.bye(), tmp_path, running))
        call = await desk.next_call()
        await desk.held()
        assert call.held
        await asyncio.sleep(0.05)
        before = call.counts.sent  # type: ignore[attr-defined]  # a call of the agent's own
        await asyncio.sleep(0.4)
        assert call.counts.sent == before  # type: ignore[attr-defined]  # a call of the agent's own
        assert (await caller).status == 0
        assert desk.holds == [True, False]
        assert call.counts.sent > before + 10  # type: ignore[attr-defined]  # a call of the agent's own
        assert await desk.end() is EndReason.REMOTE_BYE


async def test_media_that_never_come_or_stop_end_the_call_also_on_hold(tmp_path: Path) -> None:
    async with agent(first_media_timeout_s=0.5, media_timeout_s=30) as running:
        desk = Answering(running)
        silent = sipp.calling("silent", talks=False).expect_bye()
        result = await sipp_caller(silent, tmp_path, running)
        assert result.status == 0 and await desk.end() is EndReason.NO_MEDIA
    async with agent(first_media_timeout_s=30, media_timeout_s=0.8) as running:
        desk = Answering(running)
        held = sipp.calling("held")
        held._steps.append('  <pause milliseconds="300"/><nop><action><exec rtp_stream="pause"/></action></nop>\n')
        result = await sipp_caller(held.reinvite("sendonly").expect_bye(), tmp_path, running)
        assert result.status == 0, result.said
        assert await desk.end() is EndReason.MEDIA_TIMEOUT


@pytest.mark.parametrize("name", [name for name in NURSES if name != "answers"])
async def test_a_nurses_phone_that_does_not_answer(name: str, tmp_path: Path) -> None:
    port, media = free_ports(2)
    nurse = asyncio.ensure_future(sipp.run(NURSES[name](200), tmp_path, port=port, media_port=media & ~1, limit_s=20))
    await asyncio.sleep(0.3)
    rang: list[bool] = []
    async with agent(allowed_targets=[f"127.0.0.1:{port}"]) as running:
        uri = f"sip:nurse@127.0.0.1:{port}"
        with pytest.raises((CallRefused, CallTimedOut)) as caught:
            await running.dial(uri, from_user="line", ring_timeout_s=1.0, on_ringing=lambda: rang.append(True))
        result = await nurse
        assert result.status == 0, result.said
        if name == "rings_out":
            assert isinstance(caught.value, CallTimedOut) and rang
        else:
            assert isinstance(caught.value, CallRefused)
            assert caught.value.status == (488 if name == "other_codec" else int(name[-3:]))


async def test_a_nurse_answers_and_both_are_heard(tmp_path: Path) -> None:
    (tmp_path / sipp.TONE).write_bytes(encoder("PCMU").encode(tone(NURSE_TONE, 1.0, 8000)))
    port, media = free_ports(2)
    nurse = asyncio.ensure_future(
        sipp.run(NURSES["answers"](100), tmp_path, port=port, media_port=media & ~1, limit_s=20)
    )
    await asyncio.sleep(0.3)
    async with agent(allowed_targets=[f"127.0.0.1:{port}"]) as running:
        call = await running.dial(f"sip:nurse@127.0.0.1:{port}", from_user="line", ring_timeout_s=3.0)
        heard: list[Pcm] = []
        call.on_audio = heard.append
        playing = asyncio.ensure_future(play(call, AGENT_TONE))
        await asyncio.sleep(1.0)
        await call.hang_up()
        await playing
        assert (await nurse).status == 0
        assert heard_s(np.concatenate(heard), NURSE_TONE, 8000) > 0.6


async def test_nobody_there_is_a_timeout_and_a_stranger_is_never_dialled() -> None:
    port = free_ports(1)[0]
    async with agent(allowed_targets=[f"127.0.0.1:{port}"]) as running:
        with pytest.raises(CallTimedOut):
            await running.dial(f"sip:nurse@127.0.0.1:{port}", from_user="line", ring_timeout_s=0.3)
        for uri in (f"sip:nurse@127.0.0.1:{port + 1}", f"sip:nurse@192.0.2.1:{port}", "sip:nurse@example.com"):
            with pytest.raises(TargetNotListed):
                await running.dial(uri, from_user="line", ring_timeout_s=0.3)
