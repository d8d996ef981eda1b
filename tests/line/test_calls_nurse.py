"""Promise: a dialled nurse hears nobody's story before she accepts it by key, and then nothing of ours stands between the two.

The carrier of this line holds callers during a REFER (setting line_media_during_refer = no), so urgent calls dial first.
Caller and nurses are baresip over PCMU, each with a tone of their own; the recogniser is scripted.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.line.telephony import CALLER_TONE, NURSE_TONE, level, recording, tone
from tests.line.whole_line import (
    CHEST_PAIN,
    NURSE_A,
    NURSE_B,
    QUEUE,
    Ladder,
    WholeLine,
    nurse_with_sipp,
    ringing,
    spoken,
    telephone,
    until,
    whole_line,
)
from triage.bench.phones import baresip, sipp
from triage.bench.phones.baresip import Phone
from triage.bench.phones.hearing import SURE, Heard, find, onset
from triage.clips import ClipLibrary
from triage.ports import RATE, Pcm

pytestmark = [
    pytest.mark.skipif(baresip.missing() is not None, reason=str(baresip.missing())),
    pytest.mark.skipif(sipp.missing() is not None, reason=str(sipp.missing())),
]

ANSWER_WITHIN_S = 4
CLIPS = ClipLibrary.load()
SPEAKS = spoken(0.6, "chest_pain_first", seconds=0)
LEAK_S = 0.3
JOINED_WITHIN_S = 1.0
RECONNECTING_WITHIN_S = 2.0
TALK_S = 1.5
AWAY_S = 61.0
"""A nurse who looks something up."""

STEP = RATE // 20
TONE_LEVEL = 0.015
BAND_HZ, NOTHING_ELSE = 60.0, 0.2
"""What codecs and a network leave of a tone lies around it; what lies elsewhere is so little of it."""


def quiet_tone(hz: float, seconds: float = 120.0) -> Pcm:
    """Whom the other side is known by, all the time; no voice."""
    return np.asarray(tone(hz, seconds, RATE) // 6, np.int16)


@dataclass
class Evening:
    """One caller in a call with the line, and one nurse."""

    line: WholeLine
    caller: Phone
    nurse: Phone
    began_s: float

    def heard_by(self, phone: Phone) -> Heard:
        return self.line.audio(phone.settings.sip_port, since_s=self.began_s)

    async def accept(self) -> float:
        """The nurse hears the whisper and presses the key; returns when she did."""
        await self.nurse.event("CALL_ESTABLISHED", limit_s=15)
        await asyncio.sleep(2.5)
        pressed_s = self.line.since()
        await self.nurse.command("sndcode", "1")
        return pressed_s

    async def bridged(self, since_s: float) -> float:
        """Wait until they hear each other; returns when they began to."""
        await until(lambda: self.hears(self.nurse, CALLER_TONE, since_s) > 0.3, 5)
        await until(lambda: self.hears(self.caller, NURSE_TONE, since_s) > 0.3, 5)
        return max(self.first(self.nurse, CALLER_TONE, since_s), self.first(self.caller, NURSE_TONE, since_s))

    def first(self, phone: Phone, hz: float, since_s: float) -> float:
        """When a tone reached a phone for the first time since."""
        heard = self.heard_by(phone)
        begin = heard.position(since_s)
        return next(
            heard.at_s(at)
            for at in range(begin, len(heard.pcm) - STEP, STEP)
            if level(heard.pcm[at : at + STEP], hz, RATE) > TONE_LEVEL
        )

    def hears(self, phone: Phone, hz: float, since_s: float, until_s: float = np.inf) -> float:
        """Seconds in which a tone reached a phone."""
        heard = self.heard_by(phone)
        return _tone_s(heard.pcm[heard.position(since_s) : heard.position(until_s)], hz)


def _tone_s(pcm: Pcm, hz: float) -> float:
    """Seconds of a tone, in steps of 50 ms; at a level well below that of `heard_s`."""
    return sum(level(pcm[at : at + STEP], hz, RATE) > TONE_LEVEL for at in range(0, len(pcm) - STEP + 1, STEP)) / 20


def besides(pcm: Pcm, hz: float = 0.0) -> float:
    """Level of what is not this tone (0: of everything), full scale 1."""
    spectrum = np.fft.rfft(pcm / 32768 * np.hanning(len(pcm)))
    away = np.abs(np.fft.rfftfreq(len(pcm), 1 / RATE) - hz) > BAND_HZ if hz else slice(None)
    return float(np.sqrt(np.sum(np.abs(spectrum[away]) ** 2)) / len(pcm))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    rungs = [(NURSE_A, "dial", ANSWER_WITHIN_S), (NURSE_B, "dial", ANSWER_WITHIN_S), (QUEUE, "refer", 3)]
    folder = tmp_path_factory.mktemp("nurse")
    with whole_line(folder, Ladder(rungs), line_media_during_refer="false", worker_idle_processes="1") as running:
        yield running


def caller_of(folder: Path, speaks: Pcm = SPEAKS) -> baresip.PhoneSettings:
    said = quiet_tone(CALLER_TONE)
    said[: len(speaks)] += speaks // 2
    return telephone(folder, "caller", said)


@asynccontextmanager
async def evening(
    line: WholeLine, folder: Path, nurse_name: str = NURSE_A, speaks: Pcm = SPEAKS
) -> AsyncIterator[Evening]:
    line.begin()
    line.script(CHEST_PAIN)
    nurse_of = telephone(folder, nurse_name, quiet_tone(NURSE_TONE))
    began_s = line.since()
    line.nurses(**{nurse_name.replace("-", "_"): nurse_of.sip_port})
    try:
        async with baresip.phone(nurse_of) as nurse, ringing(line, caller_of(folder, speaks)) as caller:
            yield Evening(line, caller, nurse, began_s)
            await caller.command("hangup")
            await asyncio.sleep(0.3)
    finally:
        line.nurses()


def dialled(line: WholeLine, name: str, since_s: float) -> list[float]:
    """When a nurse was rung."""
    invites = line.network.messages(method="INVITE", source=line.port)
    first = {m.call_id: m.sent_s for m in reversed(invites) if m.first.startswith(f"INVITE sip:{name}@")}
    return sorted(at_s for at_s in first.values() if at_s >= since_s)


async def test_she_is_held_hears_the_whisper_accepts_and_is_joined(line: WholeLine, tmp_path: Path) -> None:
    """She presses the key in mid-whisper, when the caller has long been silent: what either hears then is the other."""
    async with evening(line, tmp_path, speaks=spoken(0.6, "sore_for_me", seconds=0)) as now:
        pressed_s = await now.accept()
        began_s = await now.bridged(pressed_s)
        assert began_s - pressed_s < JOINED_WITHIN_S
        joined_s = line.since()
        await asyncio.sleep(TALK_S)
        nurse_heard, caller_heard = now.heard_by(now.nurse), now.heard_by(now.caller)
        assert now.hears(now.nurse, CALLER_TONE, 0, pressed_s) <= LEAK_S
        assert now.hears(now.caller, NURSE_TONE, 0, pressed_s) == 0
        whisper = CLIPS.clip("nurse_whisper").pcm
        assert find(whisper, nurse_heard.pcm).likeness > SURE  # as far as she let it come
        assert not find(whisper, caller_heard.pcm).sure
        assert now.hears(now.nurse, CALLER_TONE, joined_s) > TALK_S - 0.4
        assert now.hears(now.caller, NURSE_TONE, joined_s) > TALK_S - 0.4
        for heard, hz in ((nurse_heard, CALLER_TONE), (caller_heard, NURSE_TONE)):  # from now on we are silent
            since = heard.pcm[heard.position(joined_s) :]
            assert besides(since, hz) < NOTHING_ELSE * besides(since), f"{besides(since, hz):.4f} beside {hz} Hz"
            assert [prompt for prompt in CLIPS.ids if find(CLIPS.clip(prompt).pcm, since).sure] == []
        (invite,) = line.network.messages(method="INVITE", target=now.nurse.settings.sip_port, since_s=now.began_s)
        assert invite.headers["x-triage-packet"]
    record = await line.record()
    assert record.outcome == "nurse_bridged"
    assert {"answered", "nurse_key 1"} <= set(record.events(attempt=1)), record.events()
    assert not line.network.messages(method="REFER", since_s=now.began_s)
    assert "callback" not in record.events()
    # the phones kept it too
    for phone, hz in ((now.caller, NURSE_TONE), (now.nurse, CALLER_TONE)):
        (file,) = phone.recordings("dec")
        assert _tone_s(recording(file), hz) > TALK_S - 0.4


async def test_a_busy_nurse_is_refused_on_record_and_the_next_one_rung_at_once(line: WholeLine, tmp_path: Path) -> None:
    line.begin()
    line.script(CHEST_PAIN)
    began_s = line.since()
    async with (
        nurse_with_sipp(line, tmp_path, NURSE_A, sipp.NURSES["busy_486"](0)) as nurse,
        ringing(line, caller_of(tmp_path)) as caller,
    ):
        await until(lambda: bool(dialled(line, NURSE_B, began_s)), 15)
        (busy,) = line.network.messages(status=486, target=line.port, since_s=began_s)
        assert 0 < dialled(line, NURSE_B, began_s)[0] - busy.sent_s < 1.0
        assert (await nurse).status == 0
        await caller.command("hangup")
    record = await line.record()
    assert "refused 486" in record.events(attempt=1)
    assert record.outcome == "hung_up" and "callback" in record.events()


async def test_voicemail_answers_and_is_no_nurse(line: WholeLine, tmp_path: Path) -> None:
    line.begin()
    line.script(CHEST_PAIN)
    began_s = line.since()
    async with (
        nurse_with_sipp(line, tmp_path, NURSE_A, sipp.NURSES["answers"](200)) as machine,
        ringing(line, caller_of(tmp_path)) as caller,
    ):
        await until(lambda: bool(dialled(line, NURSE_B, began_s)), 30)
        assert (await machine).status == 0  # it was hung up on
        heard = line.audio(caller.settings.sip_port, since_s=began_s)
        assert not find(spoken("nurse_hello", seconds=0), heard.pcm).sure
        await caller.command("hangup")
    record = await line.record()
    signals = record.events(attempt=1)
    assert "answered" in signals and "nurse_key" not in signals
    assert record.outcome == "hung_up" and "callback" in record.events()


async def test_a_lost_nurse_is_said_aloud_within_2_s_and_the_next_one_is_rung(line: WholeLine, tmp_path: Path) -> None:
    async with evening(line, tmp_path) as now:
        await now.bridged(await now.accept())
        lost_s = line.since()
        await now.nurse.command("hangup")
        await until(lambda: bool(dialled(line, NURSE_B, lost_s)), 5)
        await asyncio.sleep(2.5)
        clip = CLIPS.clip("reconnecting").pcm
        heard = now.heard_by(now.caller)
        match = find(clip, heard.pcm, after=heard.position(lost_s))
        assert match.sure, match
        assert heard.at_s(match.start + (onset(clip) or 0)) - lost_s < RECONNECTING_WITHIN_S
        assert dialled(line, NURSE_B, lost_s)[0] - lost_s < RECONNECTING_WITHIN_S
    record = await line.record()
    assert "nurse_lost" in record.events(attempt=1)


@pytest.mark.parametrize(("away", "back"), [("hold", "resume"), ("mute", "mute")])
async def test_a_nurse_who_is_on_hold_or_muted_for_a_minute_loses_nobody(
    line: WholeLine, tmp_path: Path, away: str, back: str
) -> None:
    async with evening(line, tmp_path) as now:
        await now.bridged(await now.accept())
        await now.nurse.command(away)
        await asyncio.sleep(1.0)
        away_s = line.since()
        await asyncio.sleep(AWAY_S)
        assert now.hears(now.caller, NURSE_TONE, away_s) == 0, "she was away indeed"
        await now.nurse.command(back)
        await now.bridged(line.since())
        assert not line.network.messages(method="BYE", since_s=now.began_s)
        assert not dialled(line, NURSE_B, now.began_s)
    record = await line.record()
    assert record.outcome == "nurse_bridged" and "nurse_lost" not in record.events()


async def test_the_pair_goes_on_talking_when_the_agent_dies(line: WholeLine, tmp_path: Path) -> None:
    async with evening(line, tmp_path) as now:
        await now.bridged(await now.accept())
        record = await line.record(closed=False)
        agent = psutil.Process(record.pid)
        os.kill(agent.pid, signal.SIGKILL)
        killed_s = line.since()
        await asyncio.sleep(8.0)
        assert not line.network.messages(method="BYE", since_s=now.began_s)
        assert now.hears(now.nurse, CALLER_TONE, killed_s + 6.0) > 1.5
        assert now.hears(now.caller, NURSE_TONE, killed_s + 6.0) > 1.5
        # and another process watches over them: a nurse who is lost now is followed by another
        await now.nurse.command("hangup")
        lost_s = line.since()
        await until(lambda: bool(dialled(line, NURSE_A, lost_s) or dialled(line, NURSE_B, lost_s)), 6)
