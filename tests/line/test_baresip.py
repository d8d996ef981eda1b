"""Promise: a real phone and the agent hear each other in every codec, and a REFER really brings the caller to a nurse."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.line.telephony import (
    AGENT_TONE,
    CALLER_TONE,
    NURSE_TONE,
    Answering,
    agent,
    baresip,
    heard_s,
    play,
    recording,
)
from triage.bench.phones.baresip import missing, phone
from triage.bench.sip.agent import Agent
from triage.bench.sip.ports import (
    CODECS,
    Accepted,
    CallTimedOut,
    EndReason,
    Pcm,
    Progress,
    TransferEvent,
    TransferOutcome,
)

pytestmark = [pytest.mark.line, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


LONGEST_HOLE_S = 0.1
"""In a tone that a test feeds from a busy loop; the beat itself is measured by triage.bench.media.gaps."""


def longest_silence_s(pcm: Pcm) -> float:
    """Between the first and the last loud sample."""
    return float(np.diff(np.flatnonzero(np.abs(pcm) > 2000)).max()) / 16_000


def line_of(running: Agent) -> str:
    return f"sip:+15550199@127.0.0.1:{running.address[1]}"


@pytest.mark.parametrize("codec", CODECS)
async def test_both_hear_each_other(codec: str, tmp_path: Path) -> None:
    async with agent() as running:
        desk = Answering(running, ring_s=0.2)
        async with phone(baresip(tmp_path, "caller", CALLER_TONE, codec)) as caller:
            await caller.command("dial", line_of(running))
            call = await desk.next_call()
            assert call.codec.name == codec
            assert (call.to_user, call.from_user, call.source_ip) == ("+15550199", "caller", "127.0.0.1")
            await asyncio.sleep(1.5)
            await caller.command("hangup")
            assert await desk.end() is EndReason.REMOTE_BYE
        assert heard_s(desk.audio(), CALLER_TONE, call.codec.rate) > 1.0
        assert heard_s(desk.audio(), AGENT_TONE, call.codec.rate) == 0
        (heard,) = caller.recordings("dec")
        assert heard_s(recording(heard), AGENT_TONE, 16_000) > 1.0
        assert longest_silence_s(recording(heard)) < LONGEST_HOLE_S


async def test_keys_arrive_once_each_and_in_order(tmp_path: Path) -> None:
    async with agent() as running:
        desk = Answering(running)
        async with phone(baresip(tmp_path, "caller", CALLER_TONE)) as caller:
            await caller.command("dial", line_of(running))
            call = await desk.next_call()
            for key in "120#":
                await caller.command("sndcode", key)
                await asyncio.sleep(0.3)
            await call.hang_up()
            assert await desk.end() is EndReason.LOCAL
            await caller.event("CALL_CLOSED")
    assert desk.digits == "120#"


async def test_keys_of_ours_reach_the_phone(tmp_path: Path) -> None:
    async with agent() as running:
        desk = Answering(running)
        async with phone(baresip(tmp_path, "caller", CALLER_TONE)) as caller:
            await caller.command("dial", line_of(running))
            call = await desk.next_call()
            call.send_digits("5*")
            with pytest.raises(ValueError):
                call.send_digits("x")
            await caller.event("CALL_DTMF_START", 2)
            assert [event["param"] for event in caller.events if event["type"] == "CALL_DTMF_START"] == ["5", "*"]


async def test_a_phone_holds_and_resumes(tmp_path: Path) -> None:
    async with agent() as running:
        desk = Answering(running)
        async with phone(baresip(tmp_path, "caller", CALLER_TONE)) as caller:
            await caller.command("dial", line_of(running))
            call = await desk.next_call()
            await caller.command("hold")
            await desk.held()
            assert call.held
            await caller.command("resume")
            await asyncio.sleep(0.3)
            assert desk.holds == [True, False] and not call.held


async def test_a_caller_hangs_up_while_it_rings(tmp_path: Path) -> None:
    async with agent() as running:
        desk = Answering(running, answers=False)
        async with phone(baresip(tmp_path, "caller", CALLER_TONE)) as caller:
            await caller.command("dial", line_of(running))
            await desk.next_call()
            await caller.event("CALL_RINGING")
            await caller.command("hangup")
            assert await desk.end() is EndReason.CANCELLED


@pytest.mark.parametrize("codec", CODECS)
async def test_a_refer_is_followed_to_the_nurse(codec: str, tmp_path: Path) -> None:
    """The agent's tone goes on until the caller has a nurse; then caller and nurse hear each other and nobody else."""
    events: list[TransferEvent] = []
    async with agent() as running:
        desk = Answering(running)
        caller_of, nurse_of = (
            baresip(tmp_path, *who, codec) for who in (("caller", CALLER_TONE), ("nurse", NURSE_TONE))
        )
        async with phone(nurse_of) as nurse, phone(caller_of) as caller:
            await caller.command("dial", line_of(running))
            call = await desk.next_call()
            await asyncio.sleep(1.1)  # recordings are named by the second
            transfer = call.refer(nurse_of.uri, timeout_s=8, on_event=events.append)
            done = await asyncio.wait_for(transfer.wait(), 8)
            assert (done.outcome, done.status) == (TransferOutcome.TRANSFERRED, 200)
            assert call.ended is None
            assert await desk.end() is EndReason.TRANSFERRED
            await asyncio.sleep(1.5)
            await caller.command("hangup")
            await nurse.event("CALL_CLOSED")
        assert {type(event) for event in events} >= {Accepted, Progress}
        before, after = caller.recordings("dec")
        assert heard_s(recording(before), AGENT_TONE, 16_000) > 1.2
        assert longest_silence_s(recording(before)) < LONGEST_HOLE_S
        assert heard_s(recording(after), NURSE_TONE, 16_000) > 1.2
        assert heard_s(recording(after), AGENT_TONE, 16_000) == 0
        (nurse_heard,) = nurse.recordings("dec")
        assert heard_s(recording(nurse_heard), CALLER_TONE, 16_000) > 1.2
        assert heard_s(recording(nurse_heard), AGENT_TONE, 16_000) == 0


async def test_a_nurse_is_dialled_and_rings_in_vain_or_answers(tmp_path: Path) -> None:
    nurse_of = baresip(tmp_path, "nurse", NURSE_TONE, answers=False)
    async with phone(nurse_of) as nurse, agent(allowed_targets=[f"127.0.0.1:{nurse_of.sip_port}"]) as running:
        with pytest.raises(CallTimedOut):
            await running.dial(nurse_of.uri, from_user="line", ring_timeout_s=0.7)
        await nurse.event("CALL_CLOSED")
        dialling = asyncio.ensure_future(
            running.dial(nurse_of.uri, from_user="line", headers={"X-Triage-Code": "abc"}, ring_timeout_s=5)
        )
        await nurse.event("CALL_INCOMING", 2)
        await nurse.command("accept")
        call = await dialling
        heard: list[Pcm] = []
        call.on_audio = heard.append
        playing = asyncio.ensure_future(play(call, AGENT_TONE))
        await asyncio.sleep(1.5)
        await nurse.command("hangup")
        await playing
        assert call.ended is EndReason.REMOTE_BYE
        assert heard_s(np.concatenate(heard), NURSE_TONE, 8000) > 1.0
    assert heard_s(recording(nurse.recordings("dec")[-1]), AGENT_TONE, 16_000) > 1.0
