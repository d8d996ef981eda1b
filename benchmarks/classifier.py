"""How fast the urgency classifier judges, starts and how much it holds: `python -m benchmarks.classifier [FOLDER ...]`.

The lines are those of `tests/classifiers/dev` (or every *.jsonl of the folders given), judged in order, calls kept; the
long texts are made by joining them. Wall time is what a caller waits; CPU time is what we cost on a busy machine.
"""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import classifiers
from benchmarks.stubs import percentile
from classifiers import Classifier

ROOT = Path(__file__).parents[1]
STARTS = 5
"""Fresh processes per figure; the median counts."""
ROUNDS = 3
FRESH = """
import time; began = time.perf_counter()
import classifiers; imported = time.perf_counter()
whole = classifiers.load(); loaded = time.perf_counter()
whole.begin().assess("my chest hurts and it will not stop"); judged = time.perf_counter()
print(1e3 * (imported - began), 1e3 * (loaded - imported), 1e3 * (judged - loaded))
"""


def rows(folders: list[Path]) -> list[dict[str, Any]]:
    """The lines to be judged."""
    files = [file for folder in folders for file in sorted(folder.glob("*.jsonl"))]
    return [json.loads(row) for file in files for row in file.read_text(encoding="utf-8").splitlines() if row.strip()]


def times(classifier: Classifier, lines: list[dict[str, Any]], clock: Callable[[], float]) -> list[float]:
    """Microseconds of every line."""
    found: list[float] = []
    judge, call = classifier.begin(), None
    for line in lines:
        if line.get("call") != call:
            judge, call = classifier.begin(), line.get("call")
        began = clock()
        judge.assess(line["text"], question=line.get("agent") or "", turn=1)
        found.append(1e6 * (clock() - began))
    return found


def joined(lines: list[dict[str, Any]], words: int, how_many: int) -> list[dict[str, Any]]:
    """Texts of so many words, cut from the lines one after another: dense with symptoms, and as long as asked."""
    every = [word for line in lines for word in line["text"].split()]
    starts = range(0, max(1, len(every) - words), max(1, (len(every) - words) // how_many))
    return [{"text": " ".join(every[at : at + words])} for at in starts][:how_many]


def told(name: str, found: list[float]) -> str:
    """One row of figures."""
    p50, p95, p99 = (percentile(found, share) for share in (0.5, 0.95, 0.99))
    return f"{name:<34} n={len(found):<6} p50 {p50:8.0f}  p95 {p95:8.0f}  p99 {p99:8.0f}  max {max(found):8.0f} us"


def fresh(command: list[str], spoken: bytes = b"") -> tuple[float, list[str]]:
    """Milliseconds of one process, and what it printed."""
    began = perf_counter()
    done = subprocess.run(command, input=spoken, capture_output=True, cwd=ROOT, check=True)
    return 1e3 * (perf_counter() - began), done.stdout.decode().split()


def report(folders: list[Path]) -> Iterator[str]:
    """Every row, as it is known."""
    fresh([sys.executable, "-c", FRESH])
    starts = [[float(part) for part in fresh([sys.executable, "-c", FRESH])[1]] for _ in range(STARTS)]
    parts = [percentile(list(part), 0.5) for part in zip(*starts, strict=True)]
    yield f"cold start, median of {STARTS}: import {parts[0]:.0f} ms, load {parts[1]:.0f} ms, first final {parts[2]:.1f} ms"
    command = [sys.executable, "-m", "triage", "classify"]
    answers = [fresh(command, b"my chest hurts\n")[0] for _ in range(STARTS)]
    yield f"`triage classify` to the end of its first answer, median of {STARTS}: {percentile(answers, 0.5):.0f} ms"
    tracemalloc.start()
    classifier = classifiers.load()
    held = tracemalloc.get_traced_memory()[0] / 1e6
    lines = rows(folders)
    first = lines[:500]
    times(classifier, first, thread_time)
    used = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    yield f"memory of rules and model {held:.1f} MB, with what {len(first)} finals left behind {used:.1f} MB"
    for name, clock in (("wall", perf_counter), ("cpu", thread_time)):
        found = [us for _ in range(ROUNDS) for us in times(classifier, lines, clock)]
        yield told(f"all lines, {name}", found)
    stories = [line for line in lines if 80 <= len(line["text"].split()) <= 130]
    if stories:
        yield told(
            "lines of 80 to 130 words, cpu",
            [us for _ in range(ROUNDS) for us in times(classifier, stories, thread_time)],
        )
    for words, how_many in ((100, 300), (500, 40), (2_000, 10)):
        yield told(
            f"{words} words of joined lines, cpu", times(classifier, joined(lines, words, how_many), thread_time)
        )


if __name__ == "__main__":
    for row in report([Path(name) for name in sys.argv[1:]] or [ROOT / "tests" / "classifiers" / "dev"]):
        print(row, flush=True)
