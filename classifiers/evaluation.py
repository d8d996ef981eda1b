"""How well does the classifier hear? Figures over labelled lines, with their uncertainty, and the lines it got wrong.

Counting: a line labelled `emergency_now` or `nurse_now` is a danger, every other a harmless one. Lines marked `after`
(the call has been handed over by then) are judged, so that the call's state is right, and not counted. A call is a hit
when it is urgent at the turn that is due or the first later one; urgent before the due turn counts as early.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifiers.assessment import Assessment
from classifiers.judge import THRESHOLD
from classifiers.levels import Level

URGENT = ("emergency_now", "nurse_now")
BINS = 10
Z = 1.959963984540054
"""Standard normal quantile of a 95 % interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """One line of a labelled file."""

    id: str
    call: str
    turn: int
    text: str
    agent: str
    label: str
    category: str = "none"
    kind: str = ""
    language: str = ""
    after: bool = False

    @property
    def danger(self) -> bool:
        """Whether a nurse is due by this line."""
        return self.label in URGENT


@dataclass(frozen=True, slots=True)
class Judged:
    """A labelled line and what the classifier said."""

    line: Labelled
    verdict: Assessment
    latency_us: int


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Wilson 95 % interval of a share; (0, 1) when nothing was counted."""
    if of <= 0:
        return 0.0, 1.0
    share = hits / of
    centre = (share + Z * Z / (2 * of)) / (1 + Z * Z / of)
    half = Z * math.sqrt(share * (1 - share) / of + Z * Z / (4 * of * of)) / (1 + Z * Z / of)
    return max(0.0, centre - half), min(1.0, centre + half)


def share(hits: int, of: int) -> str:
    """A share in words: `95.0 % (90.1 to 97.9), 95 of 100`."""
    if not of:
        return "none counted"
    low, high = wilson(hits, of)
    return f"{100 * hits / of:5.1f} % ({100 * low:.1f} to {100 * high:.1f}), {hits} of {of}"


def counted(judged: Iterable[Judged]) -> list[Judged]:
    """The lines that count."""
    return [j for j in judged if not j.line.after]


def calls_of(judged: Sequence[Judged]) -> list[list[Judged]]:
    """Lines that stand together and share a call."""
    calls: list[list[Judged]] = []
    for j in judged:
        if calls and calls[-1][-1].line.call == j.line.call:
            calls[-1].append(j)
        else:
            calls.append([j])
    return calls


def _harmless_calls(judged: Sequence[Judged]) -> tuple[int, int]:
    """(falsely alarmed, all) of the calls without any danger."""
    harmless = [call for call in calls_of(judged) if not any(j.line.danger for j in call)]
    return sum(any(j.verdict.urgent for j in call) for call in harmless), len(harmless)


def _due_calls(judged: Sequence[Judged]) -> tuple[int, int, int]:
    """(urgent by the due turn, urgent before it, all) of the calls of several turns that hold a danger."""
    by_due = early = total = 0
    for call in calls_of(judged):
        due = next((at for at, j in enumerate(call) if j.line.danger), None)
        if due is None or len(call) < 2:
            continue
        total += 1
        early += any(j.verdict.urgent for j in call[:due])
        by_due += any(j.verdict.urgent for j in call[: due + 1])
    return by_due, early, total


def _table(judged: Sequence[Judged], key: Callable[[Judged], str], title: str) -> list[str]:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for j in judged:
        groups[key(j) or "(none given)"].append(j)
    rows = [title]
    for name in sorted(groups):
        danger = [j for j in groups[name] if j.line.danger]
        harmless = [j for j in groups[name] if not j.line.danger]
        found, false = sum(j.verdict.urgent for j in danger), sum(j.verdict.urgent for j in harmless)
        row = f"  {name:22} "
        if danger:
            row += f"heard {share(found, len(danger)):42}"
        if harmless:
            row += f" false {share(false, len(harmless))}"
        rows.append(row.rstrip())
    return rows


def reliability(judged: Sequence[Judged]) -> list[tuple[float, float, float, int]]:
    """(lowest score of the bin, mean score, share of dangers, n) for every bin that has lines."""
    bins: dict[int, list[Judged]] = defaultdict(list)
    for j in judged:
        bins[min(BINS - 1, int(j.verdict.score * BINS))].append(j)
    return [
        (
            number / BINS,
            sum(j.verdict.score for j in rows) / len(rows),
            sum(j.line.danger for j in rows) / len(rows),
            len(rows),
        )
        for number, rows in sorted(bins.items())
    ]


def report(judged: Sequence[Judged], *, show_text: bool = True, unreadable: int = 0) -> str:
    """All figures as text. `show_text` lists the misses and the false alarms with their words."""
    lines = counted(judged)
    danger = [j for j in lines if j.line.danger]
    harmless = [j for j in lines if not j.line.danger]
    missed = [j for j in danger if not j.verdict.urgent]
    false = [j for j in harmless if j.verdict.urgent]
    rows = [
        f"lines {len(lines)} ({len(danger)} dangers, {len(harmless)} harmless), not counted {len(judged) - len(lines)}"
        f", unreadable {unreadable}; threshold {THRESHOLD}",
        f"sensitivity            {share(len(danger) - len(missed), len(danger))}",
        f"false alarms per final {share(len(false), len(harmless))}",
        f"false alarms per call  {share(*_harmless_calls(judged))}",
    ]
    by_due, early, total = _due_calls(judged)
    if total:
        rows.append(f"calls heard when due   {share(by_due, total)}; before it was due {early}")
    first = [j for j in danger if j.line.label == Level.EMERGENCY_NOW.value]
    if first:
        right = sum(j.verdict.level is Level.EMERGENCY_NOW for j in first)
        rows.append(f"emergency_now heard so {share(right, len(first))}")
    alarms = sum(j.verdict.level is Level.EMERGENCY_NOW for j in harmless)
    rows.append(f"emergency_now, harmless {share(alarms, len(harmless))}")
    latencies = sorted(j.latency_us for j in judged)
    at99 = latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))]
    rows.append(f"latency                median {latencies[len(latencies) // 2]} us, p99 {at99} us, n {len(latencies)}")
    rows += ["", *_table(danger, lambda j: j.line.category, "by category")]
    rows += ["", *_table(lines, lambda j: j.line.kind, "by kind")]
    rows += ["", *_table(lines, lambda j: j.line.language, "by language")]
    rows += ["", "reliability: score of the bin, mean score, share of dangers, n"]
    rows += [f"  {low:.1f}  {mean:.3f}  {rate:.3f}  {n}" for low, mean, rate, n in reliability(lines)]
    if show_text:
        rows += ["", f"missed ({len(missed)})"]
        rows += [f"  {j.line.id} [{j.line.category}] {j.line.text}" for j in missed]
        rows += ["", f"false alarms ({len(false)})"]
        rows += [f"  {j.line.id} [{j.verdict.rule}] {j.line.text}" for j in false]
    return "\n".join(rows)


def roc(judged: Sequence[Judged]) -> list[tuple[float, float]]:
    """(false-alarm rate, sensitivity) at every threshold from strict to loose."""
    danger = sum(j.line.danger for j in judged) or 1
    harmless = sum(not j.line.danger for j in judged) or 1
    points = [(0.0, 0.0)]
    for cut in sorted({j.verdict.score for j in judged}, reverse=True):
        above = [j for j in judged if j.verdict.score >= cut]
        points.append((sum(not j.line.danger for j in above) / harmless, sum(j.line.danger for j in above) / danger))
    return points


def _operating_point(judged: Sequence[Judged]) -> tuple[float, float]:
    """(false-alarm rate, sensitivity) at the fixed threshold."""
    harmless = [j.verdict.urgent for j in judged if not j.line.danger]
    danger = [j.verdict.urgent for j in judged if j.line.danger]
    return sum(harmless) / max(1, len(harmless)), sum(danger) / max(1, len(danger))


def plots(judged: Sequence[Judged], folder: Path) -> str:
    """Write roc.png, calibration.png and categories.png; returns one line that says where, or why not and what helps."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return (
            "plots: none, matplotlib is not installed (the extra `plots` brings it: pip install 'triage-line[plots]')"
        )
    lines = counted(judged)
    drawn = {"roc.png": _draw_roc, "calibration.png": _draw_calibration, "categories.png": _draw_categories}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in drawn.items():
            figure = Figure(figsize=(8, 7), layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure.subplots(), lines)
            figure.savefig(folder / name)
    except OSError as error:
        return f"plots: none, {folder} cannot be written ({error.strerror})"
    return f"plots: {', '.join(str(folder / name) for name in drawn)}"


def _draw_roc(axes: Any, lines: Sequence[Judged]) -> None:
    false, sensitivity = _operating_point(lines)
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.step(*zip(*roc(lines), strict=True), where="post")
    axes.plot(
        false, sensitivity, "o", label=f"threshold {THRESHOLD}: {sensitivity:.1%} heard, {false:.1%} false alarms"
    )
    axes.set(xlabel="false alarms per harmless line", ylabel="sensitivity", title=f"ROC, {len(lines)} lines")
    axes.legend(loc="lower right")


def _draw_calibration(axes: Any, lines: Sequence[Judged]) -> None:
    axes.plot([0, 1], [0, 1], ":", color="grey")
    for _, mean, rate, n in reliability(lines):
        low, high = wilson(round(rate * n), n)
        axes.plot([mean, mean], [low, high], "-", color="black")
        axes.plot(mean, rate, "o", color="C0")
        axes.annotate(f"n {n}", (mean, rate), xytext=(6, -3), textcoords="offset points")
    axes.axvline(THRESHOLD, linestyle="--", color="grey")
    axes.set(
        xlabel="mean score of the bin", ylabel="share of dangers, Wilson 95 %", title="calibration", xlim=(0, 1.08)
    )


def _draw_categories(axes: Any, lines: Sequence[Judged]) -> None:
    names = sorted({j.line.category for j in lines if j.line.danger}, reverse=True)
    labels = []
    for at, name in enumerate(names):
        rows = [j for j in lines if j.line.danger and j.line.category == name]
        found = sum(j.verdict.urgent for j in rows)
        low, high = wilson(found, len(rows))
        axes.barh(at, found / len(rows), color="C0")
        axes.plot([low, high], [at, at], "-", color="black")
        labels.append(f"{name} ({found} of {len(rows)})")
    axes.set_yticks(range(len(names)), labels)
    axes.set(xlabel="sensitivity, Wilson 95 %", title="per category", xlim=(0, 1.02))
