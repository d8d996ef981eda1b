"""The model alone on a JSON-lines file: `python -m classifiers.training.score FILE`; figures only, never texts.

Fields of a line: id, call, turn, text, agent, label, category, kind, lang, after. Labels: emergency_now, nurse_now,
routine. Lines with `after` are left out: their call had left the classifier's hands.
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifiers.model import ModelVerdict, UrgencyModel


@dataclass(frozen=True, slots=True)
class Scored:
    """One line of the file with its verdict."""

    row: Mapping[str, Any]
    verdict: ModelVerdict

    @property
    def due(self) -> bool:
        """Whether the line is labelled urgent."""
        return self.row.get("label") in ("emergency_now", "nurse_now")


def wilson(hits: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share; (0, 1) when nothing was counted."""
    if n <= 0:
        return 0.0, 1.0
    p = hits / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def score_lines(lines: Iterable[str], model: UrgencyModel) -> list[Scored]:
    """Judge every line but those that come after the due turn.

    Raises:
        ValueError: a line is not a JSON object with a text.
    """
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            text, agent = row["text"], row.get("agent") or ""
        except (json.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"line {number} is not a JSON object with a text") from error
        if not row.get("after"):
            found.append(Scored(row, model.judge(str(text), str(agent))))
    return found


def rates(scored: Iterable[Scored], key: Callable[[Scored], str]) -> dict[str, tuple[int, int, int, int]]:
    """By group: (urgent heard, urgent lines, false alarms, harmless lines)."""
    found: dict[str, list[int]] = {}
    for s in scored:
        group = found.setdefault(key(s), [0, 0, 0, 0])
        group[0 if s.due else 2] += s.verdict.urgent
        group[1 if s.due else 3] += 1
    return {k: (v[0], v[1], v[2], v[3]) for k, v in sorted(found.items())}


def table(groups: Mapping[str, tuple[int, int, int, int]]) -> str:
    """Groups as a Markdown table with Wilson intervals."""
    out = [
        "| group | heard | of | sensitivity | 95 % | false alarms | of | rate | 95 % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (hits, due, alarms, harmless) in groups.items():
        low, high = wilson(hits, due)
        low_f, high_f = wilson(alarms, harmless)
        first = f"{hits} | {due} | {hits / due:.1%} | {low:.0%}–{high:.0%}" if due else "– | 0 | – | –"
        second = (
            f"{alarms} | {harmless} | {alarms / harmless:.1%} | {low_f:.1%}–{high_f:.1%}"
            if harmless
            else "– | 0 | – | –"
        )
        out.append(f"| {name} | {first} | {second} |")
    return "\n".join(out)


def main(paths: list[str]) -> int:
    """Print figures of each file by kind and language."""
    if not paths:
        print("usage: python -m classifiers.training.score FILE...", file=sys.stderr)
        return 2
    model = UrgencyModel.load()
    for path in paths:
        with Path(path).open(encoding="utf-8") as lines:
            scored = score_lines(lines, model)
        print(f"\n{Path(path).name} (model {model.version})")
        print(table({"all": rates(scored, lambda _: "all").get("all", (0, 0, 0, 0)), **rates(scored, lambda s: str(s.row.get("kind"))),
                     **rates(scored, lambda s: "language " + str(s.row.get("lang")))}))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
