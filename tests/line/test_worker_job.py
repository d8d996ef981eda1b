"""Promise: what the worker pins is so where calls are: in the worker that runs and in the process of a job.

The other pins are in `test_worker_pins`. Each fact here is told by the process itself (`tests.line.watched_worker`).
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from livekit import api

from tests.line.conftest import Standing
from tests.line.test_worker_pins import health, running
from tests.line.watched_worker import WATCHED

ROOM = "call_+15550100_watched"


@pytest.fixture(scope="module")
def told(standing: Standing, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Mapping[str, Any]]:
    """What the worker told, and a job that was sent to a room without a caller, when it began and when it was over."""
    folder = tmp_path_factory.mktemp("watched")
    notes = folder / "notes"

    def read() -> list[Mapping[str, Any]]:
        return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []

    with running(standing, folder / "log", "tests.line.watched_worker", **{WATCHED: str(notes)}) as up:
        up.ready()
        up.until(lambda: health(up.line) == 200)
        asyncio.run(sent(standing))
        up.until(lambda: sum(fact["of"] == "job" for fact in read()) == 2)
        assert "a room without a caller" in up.said()
    return read()


async def sent(standing: Standing) -> None:
    """A job for a room where nobody is."""
    access = standing.line.access
    async with api.LiveKitAPI(standing.line.api_url, access.api_key, access.api_secret) as client:
        wanted = api.CreateAgentDispatchRequest(agent_name=standing.settings.line_agent, room=ROOM)
        await client.agent_dispatch.create_dispatch(wanted)


def of(told: Sequence[Mapping[str, Any]], whom: str, *names: str) -> list[list[Any]]:
    return [[fact[name] for name in names] for fact in told if fact["of"] == whom]


def test_a_job_has_a_process_of_its_own(told: Sequence[Mapping[str, Any]]) -> None:
    (begun,), (over,) = of(told, "job", "pid")
    assert begun == over != of(told, "worker", "pid")[0][0]


def test_the_worker_is_no_developer_s(told: Sequence[Mapping[str, Any]]) -> None:
    """In that mode it would take whatever comes, with every default of the library that is meant for trying out."""
    assert of(told, "worker", "devmode") == [[False]]


def test_no_model_of_the_library_runs_beside_us(told: Sequence[Mapping[str, Any]]) -> None:
    assert of(told, "worker", "models", "runners", "plugins") == [[False, [], []]]
    assert of(told, "job", "runners", "plugins") == [[[], []]] * 2


def test_nobody_is_told_of_a_call_by_the_library_s_telemetry(told: Sequence[Mapping[str, Any]]) -> None:
    """Neither by spans nor by logs nor by figures; and nothing is recorded for an upload."""
    assert of(told, "worker", "providers") == [[[]]]
    assert of(told, "job", "providers", "recorded") == [[[], False]] * 2
