"""Promise: a p95 goes over the last calls of all processes, a file that cannot be used costs only that, and it stays small."""

import math
from pathlib import Path

import pytest

from triage.latencies import ENOUGH, WINDOW, OwnWindow, SharedWindow, Window


@pytest.fixture(params=["own", "shared"])
def window(request: pytest.FixtureRequest, tmp_path: Path) -> Window:
    return OwnWindow() if request.param == "own" else SharedWindow(tmp_path / "window")


def test_too_few_are_no_p95(window: Window) -> None:
    assert [window.add(500.0) for _ in range(ENOUGH)] == [0.0] * (ENOUGH - 1) + [500.0]


def test_p95_is_the_nearest_rank_of_the_last(window: Window) -> None:
    for _ in range(WINDOW):
        window.add(9000.0)
    for ms in range(WINDOW - 1):
        window.add(float(ms))
    assert window.add(float(WINDOW - 1)) == math.ceil(0.95 * WINDOW) - 1


def test_processes_share_a_window(tmp_path: Path) -> None:
    for _ in range(ENOUGH - 1):
        SharedWindow(tmp_path / "window").add(700.0)
    assert SharedWindow(tmp_path / "window").add(700.0) == 700.0
    assert (tmp_path / "window").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there_costs_only_the_sharing(tmp_path: Path) -> None:
    window = SharedWindow(tmp_path / "none" / "window")
    assert [window.add(600.0) for _ in range(ENOUGH)][-1] == 600.0


def test_half_a_number_at_the_end_and_no_number_at_all_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "window").write_bytes(b"\xff" * 16)
    window = SharedWindow(tmp_path / "window")
    assert [window.add(600.0) for _ in range(ENOUGH)][-1] == 600.0


def test_it_is_cut_to_the_window(tmp_path: Path) -> None:
    window = SharedWindow(tmp_path / "window")
    for ms in range(WINDOW + 50):
        window.add(float(ms))
    before = window.add(0.0)
    window.shorten()
    assert (tmp_path / "window").stat().st_size == WINDOW * 8
    assert SharedWindow(tmp_path / "window").add(0.0) <= before
