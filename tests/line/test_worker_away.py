"""Promise: a worker that dies drops no caller: the next one finds who stands in a room, and who rang meanwhile.

The whole line as `triage up` starts it; its supervisor starts the worker again.
"""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.line.test_worker import answered, call_process, prompts, rescued
from tests.line.whole_line import CHEST_PAIN, HEADACHE, Ladder, WholeLine, ringing, spoken, telephone, until, whole_line
from triage.bench.phones import baresip
from triage.bench.phones.hearing import find
from triage.clips import ClipLibrary

pytestmark = pytest.mark.skipif(baresip.missing() is not None, reason=str(baresip.missing()))

NURSE = Ladder(targets=(("nurse-a", "dial", 6),))
BACK_WITHIN_S = 40.0


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    with whole_line(tmp_path_factory.mktemp("away"), NURSE, worker_drain_s="8") as up:
        yield up


def kill_worker(line: WholeLine) -> psutil.Process:
    """Its main process alone, as the kernel would; gives it."""
    worker = line.programs()["worker"]
    worker.send_signal(signal.SIGKILL)
    return worker


def hung_up(line: WholeLine, port: int, since_s: float) -> bool:
    """The line ended the call of this phone."""
    return any(m.method == "BYE" for m in line.network.messages(source=line.port, target=port, since_s=since_s))


async def test_a_caller_outlives_the_worker_and_the_next_one_goes_on_with_them(line: WholeLine, tmp_path: Path) -> None:
    line.begin()
    line.script(HEADACHE)
    settings, since_s = telephone(tmp_path, "15557654501", spoken(), follows_refer=False), line.since()
    async with ringing(line, settings) as phone:
        await answered(phone)
        await asyncio.sleep(2.0)
        killed_s = line.since()
        kill_worker(line)
        await until(lambda: line.log("worker").count("rescued") >= 1, limit_s=BACK_WITHIN_S)
        print(f"another process had the caller {line.since() - killed_s:.1f} s after the worker was killed")
        await asyncio.sleep(14.0)
        assert not hung_up(line, settings.sip_port, since_s)
        await phone.command("hangup")
        record = await line.record(count=2, limit_s=30)
    heard = line.audio(settings.sip_port, since_s=since_s)
    clips = ClipLibrary.load("en", "us")
    after = heard.position(killed_s)
    assert rescued(record) and "greeting" not in prompts(record)
    assert find(clips.clip("rescued").pcm, heard.pcm, after=after).sure
    assert _rung(line, killed_s), "a nurse is rung"
    first = line.read(next(one.call for one in line.calls() if one.call not in {*line.known, record.call}))
    (end,) = [payload for payload in first.payloads("call") if "outcome" in payload]
    assert end["broken_off"], "what could be sealed is"


async def test_an_urgent_caller_on_the_way_to_a_nurse_is_on_the_list_and_still_gets_one(line: WholeLine, tmp_path: Path) -> None:  # fmt: skip
    line.begin()
    line.script(CHEST_PAIN)
    said, nurse = spoken(7.0, "chest_pain_first"), telephone(tmp_path, "nurse-a", spoken())
    settings, since_s = telephone(tmp_path, "15557654502", said, follows_refer=False), line.since()
    async with ringing(line, settings) as phone, baresip.phone(nurse):
        await answered(phone)
        await until(lambda: _rung(line, since_s), limit_s=25.0)
        await asyncio.sleep(0.5)
        killed_s, seen = line.since(), line.log("worker").count("rescued")
        kill_worker(line)
        await until(lambda: line.log("worker").count("rescued") > seen, limit_s=BACK_WITHIN_S)
        line.nurses(nurse_a=nurse.sip_port)
        await until(lambda: _answered_by(line, nurse.sip_port, killed_s), limit_s=BACK_WITHIN_S)
        assert not hung_up(line, settings.sip_port, since_s)
        await phone.command("hangup")
        record = await line.record(count=2, limit_s=30)
        line.nurses()
    assert rescued(record)
    first = line.read(next(one.call for one in line.calls() if one.call not in {*line.known, record.call}))
    assert "callback" in first.events(), "somebody must ring them, whatever becomes of the rescue"


def _rung(line: WholeLine, since_s: float) -> bool:
    """A nurse was dialled since; an earlier call's INVITE, which is repeated until somebody answers, does not count."""
    dialled = [m for m in line.network.messages(source=line.port) if m.method == "INVITE"]
    earlier = {m.call_id for m in dialled if m.sent_s < since_s}
    return any(m.call_id not in earlier for m in dialled)


def _answered_by(line: WholeLine, nurse: int, since_s: float) -> bool:
    return any(m.status == 200 and m.answers == "INVITE" for m in line.network.messages(source=nurse, since_s=since_s))


async def test_who_rings_while_no_worker_is_there_is_greeted_when_it_is_back(line: WholeLine, tmp_path: Path) -> None:
    line.begin()
    line.script(HEADACHE)
    settings, since_s = telephone(tmp_path, "15557654503", spoken(), follows_refer=False), line.since()
    kill_worker(line)
    async with ringing(line, settings) as phone:
        await phone.event("CALL_ESTABLISHED", limit_s=19.0)
        print(f"answered {line.since() - since_s:.1f} s after the ring")
        await asyncio.sleep(3.0)
        await phone.command("hangup")
        record = await line.record()
    assert not rescued(record) and record.outcome == "hung_up"
    assert find(ClipLibrary.load("en", "us").clip("greeting").pcm, line.audio(settings.sip_port, since_s=since_s).pcm).sure  # fmt: skip


async def test_who_is_cut_off_while_the_worker_ends_is_rescued_all_the_same(line: WholeLine, tmp_path: Path) -> None:
    line.begin()
    line.script(HEADACHE)
    settings, since_s = telephone(tmp_path, "15557654504", spoken(), follows_refer=False), line.since()
    seen = line.log("worker").count("rescued")
    async with ringing(line, settings) as phone:
        await answered(phone)
        await asyncio.sleep(1.0)
        carries = call_process(line)
        line.programs()["worker"].send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        carries.kill()
        await until(lambda: line.log("worker").count("rescued") > seen, limit_s=line.settings.worker_drain_s)
        await asyncio.sleep(1.0)
        assert not hung_up(line, settings.sip_port, since_s)
        await phone.command("hangup")
        record = await line.record(count=2, limit_s=30)
    assert rescued(record)
