"""Promise: nobody is dropped when the supervisor is killed: the call goes on, new callers come in, and the next `triage up` brings them to a nurse.

The whole line as `triage up` starts it, with real phones; one test, as it costs a line.
"""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.line.conftest import triage_up
from tests.line.test_supervisor import _dead
from tests.line.test_worker import answered
from tests.line.whole_line import QUEUE, Ladder, ringing, spoken, telephone, whole_line
from triage.bench.phones import baresip
from triage.bench.phones.hearing import find, onset
from triage.clips import ClipLibrary
from triage.up.leftovers import end_leftovers
from triage.up.programs import HAND_OVER_S

pytestmark = pytest.mark.skipif(baresip.missing() is not None, reason=str(baresip.missing()))

SPEAKS_AGAIN_S = 12.0
"""A caller who says nothing is asked again within this, s."""
DRAIN_S = 4
TALK_S = 2.0


async def test_callers_outlive_their_supervisor_and_are_brought_to_a_nurse_by_the_next(tmp_path: Path) -> None:
    first_of = telephone(tmp_path, "15557654601", spoken())
    second_of = telephone(tmp_path, "15557654602", spoken(), follows_refer=False)
    nurse_of = telephone(tmp_path, QUEUE, spoken(0.5, "nurse_hello"))
    ladder = Ladder([(QUEUE, "refer", 8)])
    with ExitStack() as second_line, whole_line(tmp_path / "line", ladder, worker_drain_s=str(DRAIN_S)) as line:
        second_line.callback(end_leftovers, line.line.folder)  # where it fails half way
        line.nurses(queue=nurse_of.sip_port)
        begun_s, killed = line.since(), line.programs()
        async with baresip.phone(nurse_of) as nurse, ringing(line, first_of) as first:
            await answered(first)
            await asyncio.sleep(2.0)
            line.process.kill()
            line.process.wait()
            killed_s = line.since()

            async with ringing(line, second_of) as second:  # it comes in as if nothing had happened
                await answered(second)
                await asyncio.sleep(3.0)
                await second.command("hangup")
            await asyncio.sleep(max(0.0, killed_s + SPEAKS_AGAIN_S - line.since()))
            ended_s = line.since()

            _, said = await asyncio.to_thread(second_line.enter_context, triage_up(line.env))
            assert "a line was left running here by a supervisor that was killed" in said, said
            assert (
                f"worker: calls in progress may finish (up to {DRAIN_S + HAND_OVER_S:.0f} s); Ctrl-C" in said
                and "ring sip:" in said
            )

            (refer,) = line.network.messages(method="REFER", since_s=begun_s)
            assert refer.sent_s > ended_s + DRAIN_S - 0.5, "they had their time first"
            await nurse.event("CALL_ESTABLISHED", limit_s=1)
            await asyncio.sleep(TALK_S)
            await first.command("hangup")
            await nurse.event("CALL_CLOSED")
        assert all(_dead(process.pid) for process in killed.values())
        assert {"redis", "livekit-server", "sip-bench", "keeper", "worker"} == set(killed) == set(line.programs())

    clips = ClipLibrary.load("en", "us")
    greeting = clips.clip("greeting").pcm
    assert find(greeting, line.audio(second_of.sip_port, since_s=killed_s).pcm).sure
    heard = line.audio(first_of.sip_port, since_s=begun_s)
    spoke = onset(heard.pcm[heard.position(killed_s + SPEAKS_AGAIN_S / 2) : heard.position(ended_s)])
    assert spoke is not None, "the line still speaks to the first"
