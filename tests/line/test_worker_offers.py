"""Promise: a call is taken where there is headroom and left to another worker where there is none; a rescue is always taken."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.line.test_worker_pins import a_line
from triage import worker
from triage.admission import Admission
from triage.answering import RESCUE
from triage.config import Settings, load


class Offer:
    """A job as the library offers it; notes what is answered."""

    def __init__(self, metadata: str = "", room: str = "call_x_1") -> None:
        self.job = SimpleNamespace(metadata=metadata, room=SimpleNamespace(name=room))
        self.answers: list[tuple[str, dict[str, Any]]] = []

    async def accept(self, **more: Any) -> None:
        self.answers.append(("accept", more))

    async def reject(self, **more: Any) -> None:
        self.answers.append(("reject", more))


class Pool:
    target_idle_processes = 0

    def set_target_idle_processes(self, count: int) -> None:
        self.target_idle_processes = count


class Server:
    def __init__(self, calls: int) -> None:
        self.active_jobs = [object()] * calls
        self._proc_pool = Pool()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(env={"TRIAGE_WORKER_CALLS": "2", "TRIAGE_WORKER_FREE_MEMORY_MB": "300"}, data=tmp_path)


async def offered(settings: Settings, *, calls: int, free_mb: int = 10_000, metadata: str = "") -> list[str]:
    offer = Offer(metadata)
    admission = Admission(settings, cpu=lambda: 0.0, free_bytes=lambda: free_mb * 1_000_000)
    await worker._offered(Server(calls), admission, offer)  # type: ignore[arg-type]  # stand-ins for the SDK's
    assert admission.headroom(calls).calls == calls, "nothing stays counted beside the calls in progress"
    if offer.answers[0][0] == "reject":
        assert offer.answers[0][1] == {"terminate": False}, "another worker may take the call"
    return [answer for answer, _ in offer.answers]


async def test_a_call_is_taken_where_there_is_room_for_it(settings: Settings) -> None:
    assert await offered(settings, calls=1) == ["accept"]


async def test_a_call_beyond_worker_calls_is_left_to_another_worker(settings: Settings) -> None:
    assert await offered(settings, calls=2) == ["reject"]


async def test_a_call_for_which_memory_is_short_is_left_to_another_worker(settings: Settings) -> None:
    assert await offered(settings, calls=0, free_mb=299) == ["reject"]


@pytest.mark.parametrize("limits", [{"calls": 2}, {"calls": 0, "free_mb": 1}])
async def test_whoever_was_cut_off_is_rescued_all_the_same(settings: Settings, limits: dict[str, int]) -> None:
    assert await offered(settings, metadata=RESCUE, **limits) == ["accept"]


async def test_a_call_that_is_being_taken_counts_for_the_one_that_rings_beside_it(settings: Settings) -> None:
    admission = Admission(settings, cpu=lambda: 0.0, free_bytes=lambda: 10**10)
    server, second = Server(1), Offer()

    class First(Offer):
        async def accept(self, **more: Any) -> None:
            await worker._offered(server, admission, second)  # type: ignore[arg-type]  # stand-ins for the SDK's
            await super().accept(**more)

    first = First()
    await worker._offered(server, admission, first)  # type: ignore[arg-type]  # stand-ins for the SDK's
    assert [answer for answer, _ in first.answers + second.answers] == ["accept", "reject"]


async def test_a_room_whose_call_was_taken_has_somebody_on_the_way(settings: Settings) -> None:
    """Its process may take seconds to load: whoever looks for callers who are alone leaves it."""
    admission, promised = Admission(settings, cpu=lambda: 0.0, free_bytes=lambda: 10**10), list[list[str]]()

    class Slow(Offer):
        async def accept(self, **more: Any) -> None:
            promised.append(list(admission.promised))
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await worker._offered(Server(0), admission, Slow(room="call_x_7"))  # type: ignore[arg-type]  # stand-ins for the SDK's
    assert promised == [["call_x_7"]] and not admission.promised


@pytest.mark.parametrize(("metadata", "answer"), [("", "reject"), (RESCUE, "accept")])
async def test_a_worker_that_ends_still_rescues_whoever_was_cut_off(
    settings: Settings, metadata: str, answer: str
) -> None:
    admission, offer = Admission(settings, cpu=lambda: 0.0, free_bytes=lambda: 10**10), Offer(metadata)
    admission.ending = True
    await worker._offered(Server(0), admission, offer)  # type: ignore[arg-type]  # stand-ins for the SDK's
    assert [said for said, _ in offer.answers] == [answer]


async def test_a_worker_that_is_over_takes_nobody(settings: Settings) -> None:
    admission, offer = Admission(settings, cpu=lambda: 0.0, free_bytes=lambda: 10**10), Offer(RESCUE)
    admission.over = True
    await worker._offered(Server(0), admission, offer)  # type: ignore[arg-type]  # stand-ins for the SDK's
    assert [said for said, _ in offer.answers] == ["reject"]


def test_the_librarys_own_count_never_refuses(settings: Settings, tmp_path: Path) -> None:
    """It knows nothing of rescues, and counts calls that ring together twice."""
    admission = Admission(settings, cpu=lambda: 1.0, free_bytes=lambda: 0)
    server = worker.make_server(settings, a_line(tmp_path), admission)
    assert server._load_threshold == float("inf")
