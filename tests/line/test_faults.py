"""Promise: what the bench does wrong on demand is wrong over the whole way, from the phone's NOTIFY to LiveKit's answer.

The phone is sipp, the SIP service the bench with its own agent, livekit-server and Redis are real. The same phones without
a fault are in `test_livekit_line`.
"""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from fsm.states import RungKind
from tests.line.livekit_calls import telephony
from tests.line.stack import Stack
from triage.bench.faults import AFTER_S
from triage.bench.phones import sipp
from triage.ports import SignalKind

pytestmark = [
    pytest.mark.line,
    pytest.mark.skipif(sipp.missing() is not None, reason=str(sipp.missing())),
]

WITHIN_S = 3.0
"""Time for an attempt; livekit-server gets a little less for the REFER."""
AT_LEAST_S = 1.5
"""Long after the phone's NOTIFY."""
LATE = "dropped a late NOTIFY with 200"


async def referred(stack: Stack, folder: Path, scenario: sipp.Scenario, **faults: bool) -> tuple[list[str], float]:
    """What a client of LiveKit is told of the REFER of a call, and after how long, s. The phone follows its scenario."""
    loop = asyncio.get_running_loop()
    async with telephony(stack, **faults) as world:
        world.phones["queue"] = "sip:nurses@127.0.0.1:5999"
        async with world.scripted(scenario, folder) as (leg, caller):
            began = loop.time()
            leg.transfer(1, RungKind.REFER, "queue", timeout_s=WITHIN_S)
            await leg.until(lambda: bool(leg.signals), WITHIN_S + AFTER_S)
            told, took_s = [f"{kind} {value}".strip() for kind, value in leg.of(1)], loop.time() - began
            assert leg.line.ours, "the caller's leg still stands"
            result = await caller
            assert result.status == 0, result.said
            await asyncio.wait_for(leg.signals_ended.wait(), 5)
            assert leg.signals[1:] and leg.signals[-1].kind is SignalKind.HUNG_UP, "by the phone, and nothing else came"
            assert leg.of(1) == [(SignalKind.TIMED_OUT, "")]
    return told, took_s


async def test_a_notify_200_after_the_timeout_is_too_late_for_everybody(
    stack: Stack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "triage.bench")
    taken = sipp._accepted("taken").pause(200).notify(200, "OK", over=True)
    stays = taken.pause(round((WITHIN_S + AFTER_S + 0.7) * 1000)).bye()
    told, took_s = await referred(stack, tmp_path, stays, notify200_after_timeout=True)
    assert told == ["timed_out"] and AT_LEAST_S < took_s < WITHIN_S + 1.0
    late = [record.created for record in caplog.records if LATE in record.getMessage()]
    begun = [record.created for record in caplog.records if "transfer timed_out" in record.getMessage()]
    assert len(late) == len(begun) == 1 and AFTER_S - 0.5 < late[0] - begun[0] < AFTER_S + 0.5


async def test_a_notify_that_is_lost_leaves_nothing_but_silence(
    stack: Stack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one that brings a refusal."""
    caplog.set_level("INFO", "triage.bench")
    busy = sipp.CALLERS["busy_486"](round((WITHIN_S + 1.0) * 1000))
    told, took_s = await referred(stack, tmp_path, busy, no_notify=True)
    assert told == ["timed_out"] and AT_LEAST_S < took_s < WITHIN_S + 1.0
    assert not any("late NOTIFY" in message for message in caplog.messages)
