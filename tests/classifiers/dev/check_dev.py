"""Checks the development set: fields, ids, turn order, labels against categories, no text twice, none of the judging sets'.

Run from the repository root: `python -m tests.classifiers.dev.check_dev`. Exit status 1 and one line per fault, otherwise
the table of counts that README.md carries. The judging sets are read only to compare; of a line that both hold, only
the id here is printed.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.classifiers.sets import check_sets

FOLDER = Path(__file__).parent
SHORT_WORDS = 3
"""An answer of up to this many words may stand in both sets, and may come again here after another question."""


def read_all() -> dict[str, list[dict[str, Any]]]:
    """Every file of the set by name without its ending."""
    return {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(FOLDER.glob("*.jsonl"))
    }


def faults(files: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Every fault of the set, one line each; empty when it is sound."""
    found: list[str] = []
    ids: Counter[str] = Counter()
    first_seen: dict[tuple[bool, str, str], str] = {}
    judged = {check_sets.spoken_words(row["text"]) for rows in check_sets.read_all().values() for row in rows}
    for name, rows in files.items():
        kinds = tuple({row["kind"] for row in rows})
        for row in rows:
            found += [f"{name}: {row.get('id')}: {fault}" for fault in check_sets.line_faults(row, kinds)]
            ids[row["id"]] += 1
            if not row["id"].startswith("dev-"):
                found.append(f"{name}: {row['id']}: id does not begin with dev-")
            words = check_sets.spoken_words(row["text"])
            short = len(words.split()) <= SHORT_WORDS
            # The opened sets were written apart from the rest: a plain answer that came out alike in both may stay.
            opened = name.startswith("opened_")
            key = (opened, check_sets.spoken_words(row["agent"]) if short else "", words)
            if key in first_seen:
                found.append(f"{name}: {row['id']}: same text as {first_seen[key]}")
            first_seen.setdefault(key, row["id"])
            if words in judged and not short:
                found.append(f"{name}: {row['id']}: also in the judging sets")
        for call, lines in check_sets.by_call(rows).items():
            found += [f"{name}: {call}: {fault}" for fault in check_sets.call_faults(lines)]
        share = sum(check_sets.as_recognised(row["text"]) for row in rows) / len(rows)
        if not 0.4 <= share <= 0.6:
            found.append(f"{name}: {share:.0%} of lines in a recogniser's form, wanted about half")
    found += [f"id {name} used {n} times" for name, n in ids.items() if n > 1]
    categories = {row["category"] for rows in files.values() for row in rows}
    found += [f"no line of {category}" for category in sorted(check_sets.DANGERS - categories)]
    return found


def table(files: dict[str, list[dict[str, Any]]]) -> str:
    """Counts per file and kind as a Markdown table. Lines marked `after` count in `lines` only."""
    out = ["| file | kind | lines | calls | emergency_now | nurse_now | routine |", "|---|---|---|---|---|---|---|"]

    def counted(name: str, kind: str, rows: list[dict[str, Any]]) -> str:
        labels = Counter(row["label"] for row in rows if "after" not in row)
        cells = [name, kind, len(rows), len(check_sets.by_call(rows)), *(labels[label] for label in check_sets.LABELS)]
        return "| " + " | ".join(str(cell) for cell in cells) + " |"

    for name, rows in files.items():
        kinds = dict.fromkeys(row["kind"] for row in rows)
        out += [counted(name, kind, [row for row in rows if row["kind"] == kind]) for kind in kinds]
    out.append(counted("all", "", [row for rows in files.values() for row in rows]))
    return "\n".join(out)


def main() -> int:
    """Print faults or the table; the exit status."""
    files = read_all()
    found = faults(files)
    print("\n".join(found) if found else table(files))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
