"""Promise: a telephone that rings is greeted at once and once; its record is sealed, its number in it and nowhere else.

The whole line as `triage up` starts it. Whatever happens to one call's process, the worker takes the next call.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from livekit import api

from tests.line.whole_line import CallRecord, WholeLine, ringing, spoken, telephone, until, whole_line
from triage.answering import LAST_WORDS
from triage.bench.phones import baresip
from triage.bench.phones.baresip import PhoneSettings
from triage.bench.phones.hearing import find, onset
from triage.clips import ClipLibrary
from triage.ports import RATE, Pcm
from triage.worker import CUT_AFTER_S

pytestmark = pytest.mark.skipif(baresip.missing() is not None, reason=str(baresip.missing()))

NUMBER = "15557654321"
GREETED_WITHIN_S = 0.3
SUMMARY_WITHIN_S = 10.0
TAIL_S = 0.6
"""So much of a phone's last packets may still be on their way, s."""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    with whole_line(tmp_path_factory.mktemp("worker")) as up:
        yield up


@pytest.fixture(scope="module")
def clips() -> ClipLibrary:
    return ClipLibrary.load("en", "us")


def silent(folder: Path) -> PhoneSettings:
    """A phone whose owner says nothing."""
    return telephone(folder, NUMBER, spoken(), follows_refer=False)


async def answered(phone: baresip.Phone) -> None:
    await phone.event("CALL_ESTABLISHED")


def heard_by(line: WholeLine, settings: PhoneSettings, since_s: float) -> Pcm:
    return line.audio(settings.sip_port, since_s=since_s).pcm


def greeting(clips: ClipLibrary) -> Pcm:
    return clips.clip("greeting").pcm


def call_process(line: WholeLine) -> psutil.Process:
    """The process that entered a room last: it holds the room's file."""
    rooms = str(line.line.folder / "rooms")
    holding = []
    for process in line.programs()["worker"].children(recursive=True):
        with suppress(psutil.Error):
            held = [Path(one.path).stat().st_mtime for one in process.open_files() if one.path.startswith(rooms)]
            holding += [(entered, process) for entered in held]
    return max(holding, key=lambda pair: pair[0])[1]


async def dispatch(line: WholeLine, metadata: str = "") -> None:
    """Send the worker to the newest room, as the dispatch rule did."""
    access = line.line.access
    async with api.LiveKitAPI(line.line.api_url, access.api_key, access.api_secret) as client:
        rooms = (await client.room.list_rooms(api.ListRoomsRequest())).rooms
        newest = max(rooms, key=lambda room: room.creation_time_ms)
        await client.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name=line.settings.line_agent, room=newest.name, metadata=metadata)
        )


def prompts(record: CallRecord) -> str:
    """Everything that was said, by prompt."""
    return " ".join(str(played["prompt"]) for played in record.payloads("playout"))


def rescued(record: CallRecord) -> bool:
    return any(payload.get("rescue") for payload in record.payloads("call"))


async def test_a_ring_is_greeted_and_the_hang_up_leaves_record_and_summary(
    line: WholeLine, clips: ClipLibrary, tmp_path: Path
) -> None:
    line.begin()
    settings, since_s = silent(tmp_path), line.since()
    async with ringing(line, settings) as phone:
        await answered(phone)
        await asyncio.sleep(3.0)
        await phone.command("hangup")
        hung_up_s = line.since()
        record = await line.record(limit_s=SUMMARY_WITHIN_S)
        summary_s = line.since() - hung_up_s
    heard = line.audio(settings.sip_port, since_s=since_s)
    (ok,) = [m for m in line.network.messages(source=line.port, target=settings.sip_port, since_s=since_s) if m.status == 200 and m.answers == "INVITE"]  # fmt: skip
    first = onset(heard.pcm)
    assert first is not None and heard.at_s(first) - ok.sent_s < GREETED_WITHIN_S
    assert find(greeting(clips), heard.pcm).sure
    assert record.outcome == "hung_up" and not rescued(record)
    assert record.payloads("summary")
    print(f"first sound {heard.at_s(first) - ok.sent_s:.3f} s after 200, summary {summary_s:.2f} s after hang-up")


async def test_a_call_cut_early_has_its_number_and_nothing_else_has_it(line: WholeLine, tmp_path: Path) -> None:
    line.begin()
    async with ringing(line, silent(tmp_path)) as phone:
        await answered(phone)
        await asyncio.sleep(1.0)
        await phone.command("hangup")
        record = await line.record()
    (told,) = [p for p in record.payloads("call") if p.get("event") == "caller_number"]
    assert told["number"] == NUMBER
    assert NUMBER in str(record.payloads("summary"))
    holding = [
        path.relative_to(line.settings.data_dir)
        for path in line.settings.data_dir.rglob("*")
        if path.is_file() and NUMBER.encode() in path.read_bytes()
    ]
    assert holding == []


async def test_calls_that_ring_together_are_all_greeted(line: WholeLine, clips: ClipLibrary, tmp_path: Path) -> None:
    line.begin()
    since_s = line.since()
    phones = [telephone(tmp_path, f"1555765432{n}", spoken()) for n in range(3)]

    async def ring(settings: PhoneSettings) -> None:
        async with ringing(line, settings) as phone:
            await answered(phone)
            await asyncio.sleep(5.0)

    async with asyncio.TaskGroup() as group:
        for settings in phones:
            group.create_task(ring(settings))
    for count, settings in enumerate(phones, 1):
        assert find(greeting(clips), heard_by(line, settings, since_s)).sure
        assert (await line.record(count=count)).outcome == "hung_up"


async def test_a_second_job_for_a_room_with_an_agent_leaves_it_alone(
    line: WholeLine, clips: ClipLibrary, tmp_path: Path
) -> None:
    line.begin()
    settings, since_s = silent(tmp_path), line.since()
    left = line.log("worker").count("has its agent")
    async with ringing(line, settings) as phone:
        await answered(phone)
        await dispatch(line)
        await until(lambda: line.log("worker").count("has its agent") == left + 1)
        await asyncio.sleep(3.0)
        await phone.command("hangup")
        await line.record()
    heard = heard_by(line, settings, since_s)
    first = find(greeting(clips), heard)
    again = find(greeting(clips), heard, after=first.start + RATE)  # its pieces may still be those of the first
    assert first.sure and not (again.sure and again.start > first.start + RATE / 2)
    assert len([listed for listed in line.calls() if listed.call not in line.known]) == 1


async def test_a_killed_process_takes_no_other_call_with_it_and_its_caller_is_rescued(
    line: WholeLine, clips: ClipLibrary, tmp_path: Path
) -> None:
    line.begin()
    settings, since_s = silent(tmp_path), line.since()
    worker, keeper = line.programs()["worker"].pid, line.programs()["keeper"].pid
    async with ringing(line, settings) as phone:
        await answered(phone)
        await asyncio.sleep(1.0)
        call_process(line).kill()
        killed_s = line.since()
        await asyncio.sleep(5.0)
        await phone.command("hangup")
        both = await line.record(count=2), await line.record()  # in the order of numbers that were leased before
        summed_s = line.since() - killed_s
    dead, record = sorted(both, key=rescued)
    heard = line.audio(settings.sip_port, since_s=since_s)
    after = heard.position(killed_s)
    assert rescued(record)
    assert find(clips.clip("rescued").pcm, heard.pcm, after=after).sure
    assert "greeting" not in prompts(record)
    assert not rescued(dead) and summed_s < 15.0
    told = [str(said["text"]) for summary in dead.payloads("summary") for said in summary["statements"]]
    assert "How it ended: the process that carried the call died." in " ".join(told)
    assert f"Another process went on with the caller, in call {record.call}." in told
    assert (line.programs()["worker"].pid, line.programs()["keeper"].pid) == (worker, keeper)

    line.begin()
    again, since_s = telephone(tmp_path, "15557654329", spoken()), line.since()
    async with ringing(line, again) as phone:
        await answered(phone)
        await asyncio.sleep(2.5)
        await phone.command("hangup")
        await line.record()
    assert find(greeting(clips), heard_by(line, again, since_s)).sure


async def test_a_rescue_is_told_by_its_dispatch(line: WholeLine, clips: ClipLibrary, tmp_path: Path) -> None:
    """Also where the process that hangs still has the room."""
    line.begin()
    settings, since_s = silent(tmp_path), line.since()
    async with ringing(line, settings) as phone:
        await answered(phone)
        await asyncio.sleep(1.0)
        call_process(line).suspend()
        hung = call_process(line)
        try:
            await dispatch(line, "rescue")
            await asyncio.sleep(4.0)
            await phone.command("hangup")
            record = await line.record(count=2)
        finally:
            hung.kill()
    assert rescued(record)
    assert find(clips.clip("rescued").pcm, heard_by(line, settings, since_s)).sure


async def test_a_caller_outlives_the_process_that_forks_the_others(
    line: WholeLine, clips: ClipLibrary, tmp_path: Path
) -> None:
    """The library then takes every process for dead that says something, and cuts its call off."""
    line.begin()
    settings, since_s, seen = silent(tmp_path), line.since(), line.log("worker").count("rescued")
    async with ringing(line, settings) as phone:
        await answered(phone)
        await asyncio.sleep(1.0)
        forking = call_process(line).parent()
        assert forking is not None
        forking.kill()
        killed_s = line.since()
        await phone.command("sndcode", "0")
        await until(lambda: line.log("worker").count("rescued") > seen, limit_s=20.0)
        await asyncio.sleep(7.0)
        assert not hung_up_on(line, settings, since_s)
        await phone.command("hangup")
        record = await line.record(count=2)
    heard = line.audio(settings.sip_port, since_s=since_s)
    assert rescued(record)
    assert find(clips.clip("rescued").pcm, heard.pcm, after=heard.position(killed_s)).sure


def hung_up_on(line: WholeLine, settings: PhoneSettings, since_s: float) -> bool:
    """The line ended the call of this phone."""
    told = line.network.messages(source=line.port, target=settings.sip_port, since_s=since_s)
    return any(m.method == "BYE" for m in told)


async def test_the_end_of_the_worker_lets_a_call_end_and_then_brings_a_nurse(
    line: WholeLine, clips: ClipLibrary, tmp_path: Path
) -> None:
    """Last: the supervisor starts another worker after it. Told to all its processes, as Ctrl-C and systemd do."""
    line.begin()
    worker = line.programs()["worker"]
    settings, since_s = silent(tmp_path), line.since()
    async with ringing(line, settings) as phone:
        await answered(phone)
        await asyncio.sleep(1.0)
        assert os.getpgid(call_process(line).pid) == worker.pid
        os.killpg(worker.pid, signal.SIGTERM)
        await asyncio.sleep(line.settings.worker_drain_s / 2)
        assert len([m for m in line.network.messages() if m.method == "BYE" and m.sent_s > line.since() - 1]) == 0
        await until(lambda: "nurses take over" in line.log("worker"), limit_s=line.settings.worker_drain_s + 2)
        record = await line.record(limit_s=CUT_AFTER_S + 10)
        sealed_s = line.since()
        await until(lambda: hung_up_on(line, settings, since_s), limit_s=20.0)
    (end,) = [payload for payload in record.payloads("call") if "outcome" in payload]
    assert end["broken_off"], "nobody came, and the worker had to go"
    reasons = {effect.get("reason") for p in record.payloads("step") for effect in p["effects"]}
    assert "stage_failed" in reasons
    assert "callback" in record.events(), "who waited for a nurse is rung back"
    heard = line.audio(settings.sip_port, since_s=since_s)
    for name in LAST_WORDS:
        assert find(clips.clip(name).pcm, heard.pcm, after=heard.position(sealed_s) - 2 * RATE).sure
    await until(lambda: not psutil.pid_exists(worker.pid) or worker.status() == psutil.STATUS_ZOMBIE, limit_s=20)
    assert "worker: ended" in line.log("worker")
