"""Promise: Redis and livekit-server may go and come back in mid-call: who talks goes on talking, and new calls are answered.

Both are killed without a word and started again by the supervisor of `triage up`, which says so on its screen, once, and
provisions them anew.
"""

import asyncio
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.line.telephony import NURSE_TONE, level, tone
from tests.line.whole_line import (
    CHEST_PAIN,
    NURSE_A,
    QUEUE,
    Ladder,
    WholeLine,
    ringing,
    spoken,
    telephone,
    until,
    whole_line,
)
from triage.bench.phones import baresip
from triage.bench.phones.hearing import sound_s
from triage.ports import RATE, Pcm

pytestmark = pytest.mark.skipif(baresip.missing() is not None, reason=str(baresip.missing()))

BACK_WITHIN_S = 15.0
LOST_WITHIN_S = 60.0
"""livekit-server waits for a participant who is silent before it gives them up."""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    folder = tmp_path_factory.mktemp("engines")
    with whole_line(folder, Ladder([(QUEUE, "refer", 6), (NURSE_A, "dial", 8)]), worker_idle_processes="1") as running:
        yield running


async def killed(line: WholeLine, name: str) -> float:
    """Kill a program of the line; returns when, once it is back and provisioned."""
    program = line.programs()[name]
    at_s = line.since()
    program.send_signal(signal.SIGKILL)
    await until(lambda: (now := line.programs().get(name)) is not None and now.pid != program.pid, BACK_WITHIN_S)
    return at_s


async def reaches_a_nurse(line: WholeLine, folder: Path, limit_s: float = 25.0) -> None:
    """A new call is answered, heard, and transferred."""
    line.begin()
    line.script(CHEST_PAIN)
    nurse_of = telephone(folder, QUEUE, spoken())
    line.nurses(queue=nurse_of.sip_port)
    caller_of = telephone(folder, "next", spoken(0.6, "sore_for_me"))
    async with baresip.phone(nurse_of) as nurse, ringing(line, caller_of) as caller:
        await nurse.event("CALL_ESTABLISHED", limit_s=limit_s)
        await asyncio.sleep(0.5)
        await caller.command("hangup")
    assert (await line.record()).outcome == "transferred"


async def accepted(line: WholeLine, nurse: baresip.Phone, caller_of: baresip.PhoneSettings, since_s: float) -> None:
    """The nurse takes the call, and the caller hears her."""
    await asyncio.sleep(2.0)
    await nurse.command("sndcode", "1")
    await asyncio.sleep(2.0)
    heard = line.audio(caller_of.sip_port, since_s=since_s)
    assert level(heard.pcm[-RATE // 2 :], NURSE_TONE, RATE) > 0.01


def quiet_tone(hz: float) -> Pcm:
    return np.asarray(tone(hz, 80.0, RATE) // 6, np.int16)


@pytest.mark.parametrize(("name", "nurse_name"), [("redis", NURSE_A), ("livekit-server", QUEUE)])
async def test_a_call_goes_on_to_its_nurse_when_an_engine_goes_and_comes_back(
    line: WholeLine, tmp_path: Path, name: str, nurse_name: str
) -> None:
    """A Redis that came back empty has forgotten the caller, whom livekit-server then refers no more: a nurse is dialled."""
    line.begin()
    line.script(CHEST_PAIN)
    began_s = line.since()
    nurse_of = telephone(tmp_path, nurse_name, quiet_tone(NURSE_TONE))
    line.nurses(**{nurse_name.replace("-", "_"): nurse_of.sip_port})
    caller_of = telephone(tmp_path, "caller", spoken(15.0, "sore_for_me"))
    async with baresip.phone(nurse_of) as nurse, ringing(line, caller_of) as caller:
        await caller.event("CALL_ESTABLISHED")
        await asyncio.sleep(3.0)
        told = len(line.screen)
        killed_s = await killed(line, name)
        await until(lambda: len(line.screen) > told)
        (words,) = line.screen[told:]
        log = re.escape(f"{line.line.logs / name}.log")
        assert re.fullmatch(rf"{name} ended with -9; (it said: .+; )?see {log}; starting it again in 0\.5 s", words)
        await nurse.event("CALL_ESTABLISHED", limit_s=40)
        heard = line.audio(caller_of.sip_port, since_s=began_s)
        await asyncio.sleep(0.5)
        if nurse_name == NURSE_A:
            await accepted(line, nurse, caller_of, began_s)
        await caller.command("hangup")
    # in between the caller's phone was in the call all the time, and heard us again
    assert sound_s(heard.pcm[heard.position(killed_s + 1.0) :]) > 0.5
    record = await line.record(limit_s=20)
    assert record.outcome == ("nurse_bridged" if nurse_name == NURSE_A else "transferred")
    for log in ("worker", "sip-bench", "keeper"):
        assert "Traceback" not in line.log(log), line.log(log)[-3000:]


async def test_new_calls_are_answered_afterwards(line: WholeLine, tmp_path: Path) -> None:
    await killed(line, "redis")
    await killed(line, "livekit-server")
    await asyncio.sleep(3.0)
    await reaches_a_nurse(line, tmp_path)


async def test_callers_who_are_lost_with_the_sip_service_are_rung_back_and_the_next_one_is_answered(
    line: WholeLine, tmp_path: Path
) -> None:
    """Both legs lie in the SIP service: what is left of its calls is that somebody must ring them."""
    line.begin()
    line.script(CHEST_PAIN)
    began_s = line.since()
    async with ringing(line, telephone(tmp_path, "caller", spoken(0.6, "sore_for_me"))) as caller:
        await caller.event("CALL_ESTABLISHED")
        await until(lambda: bool(line.network.messages(method="REFER", since_s=began_s)))
        await killed(line, "sip-bench")
        record = await line.record(limit_s=LOST_WITHIN_S)
    assert "callback" in record.events()
    assert "caller_number" in [payload.get("event") for payload in record.payloads("call")], "whom to ring"
    assert record.outcome == "outcome_unknown"
    await reaches_a_nurse(line, tmp_path)
