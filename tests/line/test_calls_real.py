"""Promise: a telephone rings, danger is heard in what is really said, and caller and nurse really hear each other.

baresip is the caller, and the nurse it is referred to, over G.722; the recogniser listens. Whole line, real time. What
the caller says comes from the project's own recordings and, where the sibling data folder is there, from its callers.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.line.telephony import CALLER_TONE, level, recording, tone
from tests.line.whole_line import QUEUE, Ladder, WholeLine, ringing, spoken, telephone, whole_line
from triage.audio import read_wav
from triage.bench.impairer import ALIAS
from triage.bench.phones import baresip
from triage.bench.phones.hearing import find, onset
from triage.clips import ClipLibrary
from triage.ports import RATE, Pcm

pytestmark = pytest.mark.skipif(baresip.missing() is not None, reason=str(baresip.missing()))

ROOT = Path(__file__).resolve().parents[2]
CALLERS = Path(os.environ.get("TRIAGE_SHARED", ROOT.parent / "shared")) / "callers"
SUMMARY_WITHIN_S = 10.0
GREETING_S = 12.0
"""The caller hears us out: greeting, number, question."""
RINGS_S, TALKS_S = 2.0, 2.5
WAITS_S = GREETING_S + 15
NURSE_WORDS = "nurse_hello"


def listening() -> Pcm:
    """A caller who lets us finish, with a tone beside them that is no voice: what the nurse will know them by."""
    pcm = np.zeros(round(GREETING_S * RATE), np.int16)
    pcm[RATE // 2 : 6 * RATE] = tone(CALLER_TONE, 5.5, RATE) // 4
    return pcm


def own_chest_pain() -> Pcm:
    return spoken(listening(), "chest_pain_first", 1.2, "chest_pain_2")


def other_chest_pain() -> Pcm:
    return spoken(listening(), read_wav(OTHER))


OTHER = CALLERS / "c01_chest-pain_1.wav"
"""Another voice, where the folder of shared recordings is here (TRIAGE_SHARED)."""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    folder = tmp_path_factory.mktemp("real")
    with whole_line(folder, Ladder([(QUEUE, "refer", 8)]), stt="pocketsphinx", worker_idle_processes="1") as running:
        yield running


@pytest.mark.parametrize("says", [own_chest_pain, *([other_chest_pain] if OTHER.exists() else [])])
async def test_from_ring_to_nurse(line: WholeLine, tmp_path: Path, says: Callable[[], Pcm]) -> None:
    line.begin()
    began_s = line.since()
    caller_of = telephone(tmp_path, "caller", says(), "G722")
    nurse_of = telephone(tmp_path, QUEUE, spoken(0.5, NURSE_WORDS), "G722", answers=False)
    line.nurses(queue=nurse_of.sip_port)
    async with baresip.phone(nurse_of) as nurse, ringing(line, caller_of) as caller:
        await nurse.event("CALL_INCOMING", limit_s=WAITS_S + 10)
        await asyncio.sleep(RINGS_S)
        await nurse.command("accept")
        await nurse.event("CALL_ESTABLISHED")
        await asyncio.sleep(TALKS_S)
        # the caller's phone has let go of the line, and talks to the nurse
        assert [m.source for m in line.network.messages(method="BYE", since_s=began_s)] == [line.port]
        ended_s = line.network.messages(method="BYE", since_s=began_s)[0].sent_s
        record = await line.record(limit_s=SUMMARY_WITHIN_S)
        summary_s = line.since() - ended_s
        await caller.command("hangup")
        await nurse.event("CALL_CLOSED")

    # what was heard and decided
    assert record.outcome == "transferred"
    assert any("chest" in str(p.get("text", "")) for p in record.payloads("stt_final")), record.payloads("stt_final")
    assert record.events()[-1:] and "answered" in record.events()
    assert summary_s < SUMMARY_WITHIN_S

    # the wire: one REFER, followed for real, answered by the nurse's phone
    (refer,) = line.network.messages(method="REFER", since_s=began_s)
    assert refer.headers["refer-to"] == f"<sip:{QUEUE}@{ALIAS}:{line.queue}>"
    (invite,) = line.network.messages(method="INVITE", target=nurse_of.sip_port, since_s=began_s)
    assert invite.source == caller_of.sip_port and invite.sent_s > refer.sent_s
    notified = line.network.messages(method="NOTIFY", since_s=began_s)
    assert any("SIP/2.0 200" in message.body for message in notified)

    # the caller's own recordings: our greeting, then the clip; with the nurse, her words and nothing of ours
    clips = ClipLibrary.load()
    with_us, with_nurse = (recording(path) for path in caller.recordings("dec"))
    assert find(clips.clip("greeting").pcm, with_us).sure
    clip = find(clips.clip("connecting_nurse").pcm, with_us, after=round(GREETING_S * RATE))
    assert clip.sure, clip  # it ran on while her phone rang
    hello = spoken(NURSE_WORDS, seconds=0)
    assert find(hello, with_nurse).sure and not find(clips.clip("connecting_nurse").pcm, with_nurse).sure
    # the nurse's: what comes from the caller's phone, which begins its sound file anew
    (nurse_heard,) = (recording(path) for path in nurse.recordings("dec"))
    assert level(nurse_heard[RATE : 2 * RATE], CALLER_TONE, RATE) > 0.03
    assert not find(clips.clip("connecting_nurse").pcm, nurse_heard).sure

    # the clip at the phone, on the machine's clock
    heard = line.audio(caller_of.sip_port, since_s=began_s)
    match = find(clips.clip("connecting_nurse").pcm, heard.pcm)
    audible_s = heard.at_s(match.start + (onset(clips.clip("connecting_nurse").pcm) or 0))
    assert 0 < audible_s - record.mark_s("t_final") < 0.6

    # the code that came with the caller opens their packet
    opened = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "triage", "nurse", "open", refer.headers["x-triage-packet"], "--who", "nurse-1"],
        env=line.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert opened.returncode == 0, opened.stdout + opened.stderr
    assert record.call in opened.stdout and "chest" in opened.stdout
