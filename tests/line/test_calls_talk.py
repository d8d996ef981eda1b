"""Promise: callers can interrupt us, ask for a person by key, and are never left without the number when nobody comes.

baresip over PCMU with a scripted recogniser, on the whole line; nobody answers for the nurses.
"""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.line.whole_line import (
    CHEST_PAIN,
    HEADACHE,
    NURSE_A,
    QUEUE,
    Ladder,
    WholeLine,
    ringing,
    spoken,
    telephone,
    whole_line,
)
from triage.bench.phones import baresip
from triage.bench.phones.hearing import find, onset, quiet_from, sound_s
from triage.clips import ClipLibrary
from triage.ports import RATE

pytestmark = pytest.mark.skipif(baresip.missing() is not None, reason=str(baresip.missing()))

CLIPS = ClipLibrary.load()
DEADLINE_S = 10.0
ROOM_S = 0.6
"""From our order to the caller's ear on a busy machine; the figures say what it is on a quiet one."""
STOPS_WITHIN_S = 1.0


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    ladder = Ladder([(QUEUE, "refer", 8), (NURSE_A, "dial", 4)])
    with whole_line(tmp_path_factory.mktemp("talk"), ladder, worker_idle_processes="1") as running:
        yield running


async def test_urgent_twice_is_one_transfer_and_nobody_by_10_s_is_the_number_aloud(
    line: WholeLine, tmp_path: Path
) -> None:
    line.begin()
    line.script(CHEST_PAIN, "My left arm feels heavy and I am sweating and I can not breathe")
    began_s = line.since()
    caller_of = telephone(tmp_path, "caller", spoken(0.6, "chest_pain_first", 1.5, "chest_pain_2"))
    async with ringing(line, caller_of) as caller:
        refer = await line.network.message(15, method="REFER", since_s=began_s)
        await asyncio.sleep(DEADLINE_S + 4.0)
        heard = line.audio(caller_of.sip_port, since_s=began_s)
        refers = {m.headers["cseq"] for m in line.network.messages(method="REFER", since_s=began_s) if m.sent_s < refer.sent_s + 8}  # fmt: skip
        assert not line.network.messages(method="BYE", since_s=began_s, source=line.port)  # the line stays open
        await caller.command("hangup")
    record = await line.record()
    assert len(refers) == 1
    assert sum(p.get("level") in ("nurse_now", "emergency_now") for p in record.payloads("assessment")) >= 2
    clip = CLIPS.clip("emergency_number").pcm
    final_s = record.mark_s("t_final")
    match = find(clip, heard.pcm, after=heard.position(final_s + DEADLINE_S - 1))
    assert match.sure, match
    said_s = heard.at_s(match.start + (onset(clip) or 0)) - final_s
    assert DEADLINE_S - 0.5 < said_s < DEADLINE_S + ROOM_S
    assert "page nurse_handoff_unanswered" in line.log("worker")
    assert record.outcome == "outcome_unknown", "nobody ever told what became of the REFER"
    assert "callback" in record.events()


async def test_key_0_asks_for_a_person(line: WholeLine, tmp_path: Path) -> None:
    line.begin()
    began_s = line.since()
    async with ringing(line, telephone(tmp_path, "caller", spoken())) as caller:
        await caller.event("CALL_ESTABLISHED")
        await asyncio.sleep(1.5)
        pressed_s = line.since()
        await caller.command("sndcode", "0")
        refer = await line.network.message(5, method="REFER", since_s=began_s)
        assert refer.sent_s - pressed_s < 1.0
        await asyncio.sleep(1.5)
        heard = line.audio(caller.settings.sip_port, since_s=began_s)
        await caller.command("hangup")
    assert find(CLIPS.clip("connecting_nurse").pcm, heard.pcm, after=heard.position(pressed_s)).sure
    record = await line.record()
    packets = [p["packet"] for p in record.payloads("handoff") if p.get("event") == "packet"]
    assert packets[0]["reason"] == "pressed_zero"


async def test_a_caller_who_speaks_over_us_is_let_speak(line: WholeLine, tmp_path: Path) -> None:
    """And what the phone hears of us ends within a second of the first sound that the phone sent."""
    line.begin()
    line.script(HEADACHE)
    began_s = line.since()
    caller_of = telephone(tmp_path, "caller", spoken(3.0, "third_turn_1"))
    async with ringing(line, caller_of) as caller:
        await caller.event("CALL_ESTABLISHED")
        await asyncio.sleep(8.0)
        heard = line.audio(caller_of.sip_port, since_s=began_s)
        spoke = line.audio(caller_of.sip_port, since_s=began_s, to_line=True)
        await caller.command("hangup")
    voice = onset(spoke.pcm)
    assert voice is not None
    spoke_s = spoke.at_s(voice)
    until_then = heard.pcm[: heard.position(spoke_s)]
    assert sound_s(until_then) > 1.0  # we were speaking
    stopped = quiet_from(heard.pcm, heard.position(spoke_s))
    assert stopped is not None
    assert 0 <= heard.at_s(stopped) - spoke_s < STOPS_WITHIN_S
    record = await line.record()
    cut = record.payloads("playout")[0]
    assert cut["cut_off"] and len(str(cut["text"])) < len(str(cut["ordered"]))
    # and then we answer
    assert sound_s(heard.pcm[stopped + 2 * RATE :]) > 0.3


def test_the_greeting_begins_within_300_ms_of_the_active_call(line: WholeLine) -> None:
    """Of every call of this file, as the worker saw it; last, as it reads what the others left."""
    began_ms = [int(ms) for ms in re.findall(r"first sound (\d+) ms after active", line.log("worker"))]
    assert len(began_ms) >= 3 and max(began_ms) < 300
