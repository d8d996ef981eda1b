"""Promise: the figures are counted as they say, and uncertainty goes with them."""

import sys
from pathlib import Path

import pytest

from classifiers.assessment import Assessment
from classifiers.evaluation import Judged, Labelled, calls_of, plots, reliability, report, roc, share, wilson
from classifiers.levels import Category, Level


def judged(call: str, label: str, urgent: bool, *, after: bool = False, score: float | None = None) -> Judged:
    level = Level.NURSE_NOW if urgent else Level.ROUTINE
    score = score if score is not None else 0.9 if urgent else 0.02
    line = Labelled(
        id=f"{call}-{label}", call=call, turn=1, text="words", agent="", label=label, category="chest", after=after
    )
    return Judged(line, Assessment(level=level, category=Category.CHEST, score=score), 100)


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 0, 0, 1), (10, 10, 0.7225, 1), (95, 100, 0.8882, 0.9785), (0, 20, 0, 0.1611)]
)
def test_wilson_intervals(hits: int, of: int, low: float, high: float) -> None:
    assert wilson(hits, of) == pytest.approx((low, high), abs=1e-3)


def test_a_share_says_of_how_many() -> None:
    assert share(1, 2).endswith("1 of 2")
    assert share(0, 0) == "none counted"


def test_lines_after_the_hand_over_are_not_counted() -> None:
    told = report([judged("a", "nurse_now", True), judged("a", "nurse_now", False, after=True)])
    assert "1 of 1" in told
    assert "not counted 1" in told


def test_a_call_of_several_turns_counts_when_heard_by_the_due_turn() -> None:
    rows = [
        judged("a", "routine", False), judged("a", "nurse_now", True),
        judged("b", "routine", True), judged("b", "nurse_now", False),
        judged("c", "routine", False), judged("c", "nurse_now", False),
    ]  # fmt: skip
    told = report(rows)
    assert "2 of 3; before it was due 1" in told


def test_calls_are_lines_that_stand_together() -> None:
    assert [len(c) for c in calls_of([judged("a", "routine", False), judged("b", "routine", False)] * 2)] == [1] * 4


def test_reliability_bins_hold_mean_score_and_share_of_dangers() -> None:
    bins = reliability([judged("a", "nurse_now", True), judged("b", "routine", True), judged("c", "routine", False)])
    assert bins == [(0.0, 0.02, 0.0, 1), (0.9, 0.9, 0.5, 2)]


def test_the_roc_goes_from_nothing_to_everything() -> None:
    points = roc([judged("a", "nurse_now", True), judged("b", "routine", False)])
    assert points == [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]


def test_plots_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    rows = [judged("a", "nurse_now", True), judged("b", "routine", False), judged("c", "nurse_now", False)]
    said = plots(rows, tmp_path / "deep" / "figures")
    for name in ("roc.png", "calibration.png", "categories.png"):
        assert str(tmp_path / "deep" / "figures" / name) in said
        assert (tmp_path / "deep" / "figures" / name).read_bytes().startswith(b"\x89PNG\r\n")
    assert "\n" not in said


@pytest.mark.parametrize("labels", [["nurse_now"], ["routine"], []])
def test_plots_of_one_kind_of_line_only(tmp_path: Path, labels: list[str]) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    assert "roc.png" in plots([judged("a", label, True) for label in labels], tmp_path)


def test_without_matplotlib_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    said = plots([judged("a", "nurse_now", True)], tmp_path / "figures")
    assert "not installed" in said and "triage-line[plots]" in said and "\n" not in said
    assert not (tmp_path / "figures").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    (tmp_path / "taken").write_bytes(b"")
    said = plots([judged("a", "nurse_now", True)], tmp_path / "taken")
    assert said.startswith("plots: none, ") and "cannot be written" in said
