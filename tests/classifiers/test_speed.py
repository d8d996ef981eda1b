"""Promise: a final is judged within its deadline, whatever its length mix, and time grows with the words and no faster.

Measured in processor time of this thread and against loose bounds: these tests find a rule or a change that costs many
times what it should; `python -m benchmarks.classifier` gives the figures.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from time import thread_time

from classifiers import load
from classifiers.judge import DEADLINE_US

DEV = Path(__file__).with_name("dev")
WHOLE = load()
SLACK = 4
"""A laptop on battery, a runner beside seven others."""


def said() -> list[dict[str, str]]:
    files = sorted(DEV.glob("*.jsonl"))
    return [json.loads(row) for file in files for row in file.read_text(encoding="utf-8").splitlines() if row.strip()]


def cost_us(text: str, question: str = "") -> float:
    began = thread_time()
    WHOLE.begin().assess(text, question=question)
    return 1e6 * (thread_time() - began)


def at99(costs: Sequence[float]) -> float:
    return sorted(costs)[int(0.99 * len(costs))]


def test_finals_of_every_length_keep_the_deadline() -> None:
    lines = said()[::4]
    for line in lines:
        cost_us(line["text"], line.get("agent") or "")  # what the words are is worked out once
    costs = [cost_us(line["text"], line.get("agent") or "") for line in lines]
    assert len(costs) > 400
    assert at99(costs) < SLACK * DEADLINE_US


def test_ten_times_the_words_cost_about_ten_times_as_much() -> None:
    words = " ".join(line["text"] for line in said()).split()
    short, long = " ".join(words[:200]), " ".join(words[:2_000])
    for text in (short, long):
        cost_us(text)
    assert min(cost_us(long) for _ in range(3)) < 10 * 2.5 * min(cost_us(short) for _ in range(3))


def test_the_same_words_over_and_over_cost_no_more_than_others() -> None:
    other = " ".join(line["text"] for line in said()[:400]).split()[:600]
    cost_us(" ".join(other))
    usual = min(cost_us(" ".join(other)) for _ in range(3))
    for words in ("no ", "my chest ", "pain in my ", "1 ", "if ", "the ", "uh ", "a b "):
        text = " ".join((words * 600).split()[:600])
        cost_us(text)
        assert min(cost_us(text) for _ in range(3)) < 4 * usual, words
