"""What is printed when a call is over: files, verification, latencies, counts, and whether it ended as expected."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from triage.demo.call_log import CallLog
from triage.demo.scenario import Expectation, Scenario

SUMMARY_MS = 10_000.0
"""A summary must exist by then."""
CALLER_SIDE = ("turn_taking", "first_sound", "nurse_handoff", "nurse_person")
"""Latencies to which the line adds its share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a finished call left behind."""

    call_id: str
    files: Mapping[str, Path] = field(default_factory=dict)
    """What it is -> where it is."""
    verified: str = ""
    """What was verified, in words; empty when it failed."""
    verify_error: str = ""
    """Why verification failed, one line."""
    interrupted: bool = False
    """Ctrl-C ended it: expectations are not compared."""
    code: str = ""
    """Opens the nurse's packet; empty when none lies on the shelf."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One expectation beside what came."""

    name: str
    expected: str
    actual: str
    right: bool


def compare(expect: Expectation, log: CallLog) -> list[Comparison]:
    """Each expectation of a scenario beside what the call did; the empty list when nothing was expected."""
    outcome = log.closed.outcome if log.closed else "(never closed)"
    decided = log.urgent
    level = decided.assessment.level.value if decided else "-"
    category = decided.assessment.category.value if decided else "-"
    heard = log.heard_prompts
    rows: list[Comparison] = []
    if expect.outcome:
        rows.append(Comparison("outcome", " or ".join(expect.outcome), outcome, outcome in expect.outcome))
    if expect.level:
        rows.append(Comparison("level", expect.level.value, level, level == expect.level.value))
    if expect.category:
        rows.append(Comparison("category", expect.category.value, category, category == expect.category.value))
    if expect.reason:
        reason = log.reasons[0] if log.reasons else "-"
        rows.append(Comparison("reason", expect.reason.value, reason, reason == expect.reason.value))
    if expect.heard:
        right = _in_order(expect.heard, heard)
        rows.append(Comparison("heard", ", ".join(expect.heard), ", ".join(heard) or "-", right))
    if expect.unheard:
        wrong = [prompt for prompt in expect.unheard if prompt in heard]
        rows.append(Comparison("not heard", ", ".join(expect.unheard), ", ".join(wrong) or "none of them", not wrong))
    if expect.interruptions is not None:
        right = log.interruptions == expect.interruptions
        rows.append(Comparison("interruptions", str(expect.interruptions), str(log.interruptions), right))
    if expect.resumed_at_least is not None:
        right = log.resumed >= expect.resumed_at_least
        rows.append(Comparison("resumed", f"{expect.resumed_at_least} or more", str(log.resumed), right))
    if expect.paged:
        right = set(expect.paged) <= set(log.paged)
        rows.append(Comparison("paged", ", ".join(expect.paged), ", ".join(log.paged) or "-", right))
    if expect.call_back is not None:
        opened = bool(log.callbacks)
        rows.append(Comparison("call-back task", _yes(expect.call_back), _yes(opened), opened == expect.call_back))
    return rows


def counted(log: CallLog) -> Comparison:
    """Every final, stretch and tail was judged exactly once."""
    if log.closed is None:
        return Comparison("judged", "every final, stretch and tail", "the call was never closed", False)
    counts = log.closed.counts
    spoken = {name: counts.get(name, 0) for name in ("finals", "stretches", "tails")}
    judged = counts.get("assessments", 0)
    right = sum(spoken.values()) == judged == len(log.assessed)
    words = " + ".join(f"{number} {name}" for name, number in spoken.items())
    return Comparison("judged", words, f"{judged} assessments ({len(log.assessed)} seen)", right)


def summarised(log: CallLog) -> Comparison:
    """A summary was written in time."""
    took = log.measured.get("summary", [])
    actual = f"{took[0]:.0f} ms after the hang-up" if took else "none"
    return Comparison("summary", f"within {SUMMARY_MS / 1000:.0f} s", actual, bool(took) and took[0] <= SUMMARY_MS)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile, so that every figure printed is one that was measured. `values` is not empty."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def print_report(console: Console, scenario: Scenario, log: CallLog, ending: Ending, *, allowance_ms: int) -> bool:
    """Print it; returns whether the call ended as expected, its counts agree and its record verified."""
    comparisons = [] if ending.interrupted else [*compare(scenario.expect, log), counted(log), summarised(log)]
    console.print()
    _latencies(console, log.measured, allowance_ms)
    _pauses(console, log)
    _handoff(console, log)
    console.print(Text("comparison", style="bold"))
    for row in comparisons:
        words = Text(f"  {row.name}: ", style="dim")
        if row.right:
            words.append("as expected  ", style="green").append(_short(row.actual))
        else:
            words.append("NOT as expected  ", style="bold red").append(f"wanted {row.expected}; came {row.actual}")
        console.print(words)
    if ending.interrupted:
        console.print("  the call was interrupted from the terminal; nothing is compared", style="yellow")
    console.print(Text("record", style="bold"))
    if ending.verified:
        console.print(Text("  verified  ", style="green").append(ending.verified, style="default"))
    else:
        console.print(
            Text("  NOT VERIFIED  ", style="bold red").append(ending.verify_error or "no record", style="default")
        )
    console.print(Text("files", style="bold"))
    for name, path in ending.files.items():
        console.print(Text(f"  {name:<10}{path}"), soft_wrap=True)
    if ending.code:
        console.print(Text(f"  read the nurse's packet: triage nurse open {ending.code}", style="dim"), soft_wrap=True)
    console.print(Text(f"  hear or step through it again: triage replay {ending.call_id}", style="dim"), soft_wrap=True)
    return bool(ending.verified) and all(row.right for row in comparisons)


def _latencies(console: Console, measured: Mapping[str, Sequence[float]], allowance_ms: int) -> None:
    if not measured:
        return
    heading = f"{'latency, ms':<18}{'n':>4}{'p50':>10}{'p95':>10}{'max':>10}"
    console.print(Text(f"{heading}  p95 + line's {allowance_ms}", style="bold"))
    for name, values in sorted((name, values) for name, values in measured.items() if values):
        p50, p95 = percentile(values, 0.50), percentile(values, 0.95)
        row = f"  {name:<16}{len(values):>4}{p50:>10.1f}{p95:>10.1f}{max(values):>10.1f}"
        console.print(Text(row + (f"{p95 + allowance_ms:>10.1f}" if name in CALLER_SIDE else "")))


def _pauses(console: Console, log: CallLog) -> None:
    """How often our speech was held, and how often for nothing (a cough, "mm-hm", a noise)."""
    if log.pauses:
        rate = f"{log.resumed / max(log.minutes, 1e-9):.1f} per call-minute"
        console.print(Text(f"pauses of our speech {log.pauses}, of these for nothing {log.resumed} ({rate})"))


def _handoff(console: Console, log: CallLog) -> None:
    start = next((mark.at_ns for mark in log.marks if mark.mark == "t_final"), None)
    if start is None:
        return
    console.print(Text("hand-off, ms from the final", style="bold"))
    for mark in sorted(log.marks, key=lambda mark: mark.at_ns):
        attempt = f", attempt {mark.attempt}" if mark.attempt else ""
        console.print(Text(f"  {mark.mark:<18}{(mark.at_ns - start) / 1e6:>9.1f}  ({mark.source}{attempt})"))


def _yes(fact: bool) -> str:
    return "opened" if fact else "none"


def _in_order(wanted: Iterable[str], heard: Sequence[str]) -> bool:
    rest = iter(heard)
    return all(prompt in rest for prompt in wanted)


def _short(words: str) -> str:
    return words if len(words) <= 60 else words[:57] + "..."
