"""Promise: a room is greeted once: the second visit knows of the first, whatever became of the process that made it."""

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from triage.clock import run
from triage.once import KEPT_NS, TIDIED_EVERY_S, UsedRooms, Visit

ROOM = "call_+15550100_a1B2c3"
HOLDS = "import sys; from pathlib import Path; from triage.once import UsedRooms; kept = UsedRooms(Path(sys.argv[1])).enter(sys.argv[2]); print('in', flush=True); sys.stdin.read()"  # fmt: skip


def test_the_first_visit_is_the_first_and_the_next_is_not(tmp_path: Path) -> None:
    rooms = UsedRooms(tmp_path)
    first = rooms.enter(ROOM)
    assert first.visit is Visit.FIRST
    first.leave()
    assert [rooms.enter(ROOM).visit, rooms.enter("call_+15550100_other").visit] == [Visit.AGAIN, Visit.FIRST]


@pytest.mark.realtime
def test_a_room_with_a_living_process_is_taken_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path), ROOM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline()
        assert UsedRooms(tmp_path).enter(ROOM).visit is Visit.TAKEN
        other.kill()
        other.wait()
    assert UsedRooms(tmp_path).enter(ROOM).visit is Visit.AGAIN


def test_leaving_twice_frees_nothing_of_somebody_else(tmp_path: Path) -> None:
    first = UsedRooms(tmp_path).enter(ROOM)
    first.leave()
    second = UsedRooms(tmp_path).enter(ROOM)
    first.leave()
    assert second.visit is Visit.AGAIN and UsedRooms(tmp_path).enter(ROOM).visit is Visit.TAKEN


def test_no_file_shows_what_the_room_was_called(tmp_path: Path) -> None:
    UsedRooms(tmp_path / "rooms").enter(ROOM).leave()
    (path,) = (tmp_path / "rooms").iterdir()
    assert "5550100" not in path.name and path.read_bytes() == b""
    assert path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0


def test_rooms_that_are_long_over_are_forgotten(tmp_path: Path) -> None:
    rooms = UsedRooms(tmp_path)
    for name in (ROOM, "call_+15550100_new"):
        rooms.enter(name).leave()
    now_ns = max(path.stat().st_mtime_ns for path in tmp_path.iterdir())
    old = next(tmp_path.iterdir())
    os.utime(old, ns=(now_ns - KEPT_NS - 1, now_ns - KEPT_NS - 1))
    assert rooms.forget(wall_ns=now_ns) == 1
    assert not old.exists() and len(list(tmp_path.iterdir())) == 1
    assert UsedRooms(tmp_path / "none").forget(wall_ns=now_ns) == 0


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "rooms").write_text("in the way")
    with pytest.raises(OSError):
        UsedRooms(tmp_path / "rooms").enter(ROOM)


def test_looking_tells_how_a_room_would_be_found_and_notes_nothing(tmp_path: Path) -> None:
    rooms = UsedRooms(tmp_path)
    assert [rooms.visit(ROOM), rooms.visit(ROOM)] == [Visit.FIRST, Visit.FIRST]
    first = rooms.enter(ROOM)
    assert UsedRooms(tmp_path).visit(ROOM) is Visit.TAKEN
    first.leave()
    assert [rooms.visit(ROOM), rooms.visit(ROOM), rooms.enter(ROOM).visit] == [Visit.AGAIN] * 3


def test_whoever_looks_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    UsedRooms(tmp_path).enter(ROOM).leave()
    (path,) = tmp_path.iterdir()
    looking = os.open(path, os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)
    waits: list[float] = []

    def passes(self: threading.Event, timeout: float) -> bool:
        waits.append(timeout)
        os.close(looking)
        return False

    monkeypatch.setattr("threading.Event.wait", passes)
    assert UsedRooms(tmp_path).enter(ROOM).visit is Visit.AGAIN
    assert len(waits) == 1


def test_a_worker_that_runs_for_long_forgets_as_one_that_begins(tmp_path: Path) -> None:
    rooms, now_ns = UsedRooms(tmp_path), list[int]([1])
    forgotten: list[int] = []

    async def hours() -> None:
        def forget(*, wall_ns: int) -> int:
            forgotten.append(wall_ns)
            return 0

        rooms.forget = forget  # type: ignore[method-assign]  # what is counted is when it is asked
        tidying = asyncio.ensure_future(rooms.tidied(lambda: now_ns[0]))
        await asyncio.sleep(0.1)
        now_ns[0] = 2
        await asyncio.sleep(TIDIED_EVERY_S)
        tidying.cancel()

    run(hours(), virtual=True)
    assert forgotten == [1, 2]
