"""Promise: engines that go away take no call with them: it goes on, ends sealed, and the next caller is greeted when they are back."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from audit.folder import AuditFolder
from tests.line.whole_line import CallRecord, WholeLine, ringing, spoken, telephone, whole_line
from triage.bench.phones import baresip
from triage.bench.phones.hearing import find
from triage.clips import ClipLibrary
from triage.errors import UsageError
from triage.up import provision

pytestmark = pytest.mark.skipif(baresip.missing() is not None, reason=str(baresip.missing()))

BACK_WITHIN_S = 30.0
ANSWERED_WITHIN_S = 20.0
TRIES = 3


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    with whole_line(tmp_path_factory.mktemp("trouble")) as up:
        yield up


async def provisioned(line: WholeLine) -> None:
    """The line stands again: engines, trunks, the worker known to the server."""
    async with asyncio.timeout(BACK_WITHIN_S):
        while True:
            with suppress(UsageError):
                if not await provision.missing(line.settings, line.line):
                    break
            await asyncio.sleep(0.2)


async def greeted(line: WholeLine, folder: Path) -> CallRecord:
    """Ring until somebody answers: right after an outage a ring may find nobody and go back to the carrier."""
    for attempt in range(TRIES):
        line.begin()
        settings, since_s = telephone(folder, f"1555765440{attempt}", spoken(), follows_refer=False), line.since()
        async with ringing(line, settings) as phone:
            try:
                await phone.event("CALL_ESTABLISHED", limit_s=ANSWERED_WITHIN_S)
            except TimeoutError:
                continue
            await asyncio.sleep(2.5)
            await phone.command("hangup")
            record = await line.record()
        assert find(ClipLibrary.load("en", "us").clip("greeting").pcm, line.audio(settings.sip_port, since_s=since_s).pcm).sure  # fmt: skip
        return record
    raise AssertionError(line.log("worker")[-3000:])


async def test_a_call_in_progress_outlives_redis_and_the_next_one_comes_through(
    line: WholeLine, tmp_path: Path
) -> None:
    line.begin()
    settings, since_s = telephone(tmp_path, "15557654401", spoken(), follows_refer=False), line.since()
    async with ringing(line, settings) as phone:
        await phone.event("CALL_ESTABLISHED", limit_s=ANSWERED_WITHIN_S)
        await asyncio.sleep(1.0)
        line.programs()["redis"].kill()
        await asyncio.sleep(3.0)
        await phone.command("hangup")
        record = await line.record()
    assert record.outcome == "hung_up"
    assert len(line.audio(settings.sip_port, since_s=since_s).pcm) > 3.5 * 16_000, "it went on"
    await provisioned(line)
    assert (await greeted(line, tmp_path)).outcome == "hung_up"


async def test_a_call_outlives_its_server_and_is_left_to_the_agent_it_has(line: WholeLine, tmp_path: Path) -> None:
    """The server that comes back knows the room's dispatch, and sends a second job."""
    line.begin()
    settings = telephone(tmp_path, "15557654402", spoken(), follows_refer=False)
    async with ringing(line, settings) as phone:
        await phone.event("CALL_ESTABLISHED", limit_s=ANSWERED_WITHIN_S)
        await asyncio.sleep(1.0)
        line.programs()["livekit-server"].kill()
        await provisioned(line)
        await asyncio.sleep(4.0)
        (during,) = [listed for listed in line.calls() if listed.call not in line.known]
        assert not during.closed, "it goes on"
        await phone.command("hangup")
        record = await line.record(limit_s=30)
    assert record.outcome == "hung_up"
    assert (await greeted(line, tmp_path)).outcome == "hung_up"


async def test_a_store_that_is_locked_delays_neither_greeting_nor_end(line: WholeLine, tmp_path: Path) -> None:
    line.begin()
    settings, since_s = telephone(tmp_path, "15557654403", spoken(), follows_refer=False), line.since()
    with closing(sqlite3.connect(AuditFolder(line.settings.data_dir).database, isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        async with ringing(line, settings) as phone:
            await phone.event("CALL_ESTABLISHED", limit_s=ANSWERED_WITHIN_S)
            await asyncio.sleep(2.5)
            await phone.command("hangup")
            await asyncio.sleep(3.0)
        lock.execute("ROLLBACK")
    record = await line.record(limit_s=20)
    assert record.outcome == "hung_up"
    assert find(ClipLibrary.load("en", "us").clip("greeting").pcm, line.audio(settings.sip_port, since_s=since_s).pcm).sure  # fmt: skip
