"""Checks the judging sets: fields, ids, turn order, labels against categories, counts per kind, no text twice.

Run from the repository root: `python -m tests.classifiers.sets.check_sets`. Exit status 1 and one line per fault;
otherwise the table of counts that README.md carries. Reads only the JSON lines beside it and the frozen list of categories.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from classifiers.levels import Category

FOLDER = Path(__file__).parent
URGENT = ("emergency_now", "nurse_now")
LABELS = (*URGENT, "routine")
LANGUAGES = ("en", "es", "mixed")
DANGERS = frozenset(category.value for category in Category) - {"none", "classifier_failed"}
FIELDS = {"id": str, "call": str, "turn": int, "text": str, "agent": str}
FIELDS |= {"label": str, "category": str, "kind": str, "lang": str}
WRITTEN_MARKS = frozenset(".,?!;:¿¡")

ADVERSARIAL = (
    "paraphrase", "garbled", "negation_trap", "double_negation", "figurative", "history", "family", "hypothetical",
    "names_places", "non_native", "child_speech", "broken_speech", "understatement", "denial_after_hint", "admin_urgent",
)  # fmt: skip
LEAST_LINES = {
    "natural_first_turn": 200, "single_turn": 120, "told_vignette": 90, "spanish": 140, "level": 90,
    **dict.fromkeys(ADVERSARIAL, 18),
}  # fmt: skip
LEAST_CALLS = {"consultation": 30, "building": 45}
LEAST_IN_ALL = 1_000
FILES = {
    "natural_first_turns": ("natural_first_turn",),
    "single_turns": ("single_turn",),
    "consultations": ("consultation",),
    "told_vignettes": ("told_vignette",),
    "adversarial": ADVERSARIAL,
    "building": ("building",),
    "spanish": ("spanish",),
    "level": ("level",),
}


def read(name: str) -> list[dict[str, Any]]:
    """The lines of one set, in file order."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def read_all() -> dict[str, list[dict[str, Any]]]:
    """Every set by file name without its ending."""
    return {name: read(name) for name in FILES}


def as_recognised(text: str) -> bool:
    """Whether a line is in a recogniser's form: lower-case, no punctuation but apostrophes and hyphens."""
    return text == text.lower() and not WRITTEN_MARKS & set(text)


def spoken_words(text: str) -> str:
    """The text without case and punctuation, for finding the same line twice."""
    return " ".join("".join(c if c.isalnum() or c == "'" else " " for c in text.lower()).split())


def line_faults(row: dict[str, Any], kinds: tuple[str, ...]) -> Iterable[str]:
    """What is wrong with one line by itself."""
    extra = set(row) - set(FIELDS) - {"after"}
    if extra:
        yield f"unknown fields {sorted(extra)}"
    for name, kind in FIELDS.items():
        if type(row.get(name)) is not kind:
            yield f"field {name} is missing or not {kind.__name__}"
            return
    if not row["text"].strip():
        yield "empty text"
    if row["label"] not in LABELS:
        yield f"label {row['label']}"
    if row["lang"] not in LANGUAGES:
        yield f"lang {row['lang']}"
    if row["kind"] not in kinds:
        yield f"kind {row['kind']} does not belong in this file"
    if (row["label"] in URGENT) != (row["category"] in DANGERS) or row["category"] not in {*DANGERS, "none"}:
        yield f"label {row['label']} with category {row['category']}"
    if "after" in row and row["after"] is not True:
        yield "after is present but not true"


def call_faults(rows: list[dict[str, Any]]) -> Iterable[str]:
    """What is wrong across the lines of one call: turns count from 1, and urgent stays urgent, marked `after`."""
    if [row["turn"] for row in rows] != list(range(1, len(rows) + 1)):
        yield "turns do not count 1, 2, 3"
    urgent = False
    for row in rows:
        if urgent and row["label"] not in URGENT:
            yield f"turn {row['turn']} is routine after an urgent turn"
        if urgent != row.get("after", False):
            yield f"turn {row['turn']}: after should be {urgent}"
        urgent = urgent or row["label"] in URGENT


def by_call(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Lines grouped by call, in file order."""
    calls: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        calls.setdefault(row["call"], []).append(row)
    return calls


def faults(sets: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Every fault of the sets, one line each; empty when they are sound."""
    found: list[str] = []
    ids: Counter[str] = Counter()
    first_seen: dict[tuple[str, str], str] = {}
    owner: dict[str, str] = {}
    for name, rows in sets.items():
        before = len(found)
        for row in rows:
            here = list(line_faults(row, FILES[name]))
            found += [f"{name}: {row.get('id')}: {fault}" for fault in here]
            if here:
                continue
            ids[row["id"]] += 1
            words = spoken_words(row["text"])
            # A bare answer may come again, after another question; anything longer may not come twice at all.
            key = (spoken_words(row["agent"]) if len(words.split()) <= 3 else "", words)
            if key in first_seen:
                found.append(f"{name}: {row['id']}: same text as {first_seen[key]}")
            first_seen.setdefault(key, row["id"])
            if owner.setdefault(row["call"], name) != name:
                found.append(f"{name}: {row['id']}: call {row['call']} also in {owner[row['call']]}")
        if len(found) > before:
            continue
        previous, closed = "", set()
        for row in rows:
            if row["call"] in closed:
                found.append(f"{name}: {row['id']}: call {row['call']} is broken up")
            if row["call"] != previous:
                closed.add(previous)
            previous = row["call"]
        for call, lines in by_call(rows).items():
            found += [f"{name}: {call}: {fault}" for fault in call_faults(lines)]
        share = sum(as_recognised(row["text"]) for row in rows) / len(rows)
        if not 0.4 <= share <= 0.6:
            found.append(f"{name}: {share:.0%} of lines in a recogniser's form, wanted about half")
    found += [f"id {name} used {n} times" for name, n in ids.items() if n > 1]
    everything = [row for rows in sets.values() for row in rows]
    lines_of = Counter(row["kind"] for row in everything)
    calls_of = Counter(kind for kind, _ in {(row["kind"], row["call"]) for row in everything})
    found += [
        f"kind {kind}: {lines_of[kind]} lines, wanted {n}" for kind, n in LEAST_LINES.items() if lines_of[kind] < n
    ]
    found += [
        f"kind {kind}: {calls_of[kind]} calls, wanted {n}" for kind, n in LEAST_CALLS.items() if calls_of[kind] < n
    ]
    if len(everything) < LEAST_IN_ALL:
        found.append(f"{len(everything)} lines in all, wanted {LEAST_IN_ALL}")
    missing = DANGERS - {row["category"] for row in sets["natural_first_turns"]}
    if missing:
        found.append(f"natural_first_turns: no line of {', '.join(sorted(missing))}")
    return found


def table(sets: dict[str, list[dict[str, Any]]]) -> str:
    """Counts per kind as a Markdown table. Lines marked `after` count in `lines` only."""
    head = "| file | kind | lines | calls | emergency_now | nurse_now | routine | recogniser form |"
    out = [head, "|---|---|---|---|---|---|---|---|"]
    everything = [row for rows in sets.values() for row in rows]

    def counted(file: str, kind: str, rows: list[dict[str, Any]]) -> str:
        labels = Counter(row["label"] for row in rows if "after" not in row)
        cells = [file, kind, len(rows), len(by_call(rows)), *(labels[label] for label in LABELS)]
        cells.append(f"{sum(as_recognised(row['text']) for row in rows) / len(rows):.0%}")
        return "| " + " | ".join(str(cell) for cell in cells) + " |"

    for name, kinds in FILES.items():
        out += [counted(name, kind, [row for row in sets[name] if row["kind"] == kind]) for kind in kinds]
    out.append(counted("all", "", everything))
    return "\n".join(out)


def main() -> int:
    """Print faults or the table; the exit status."""
    sets = read_all()
    found = faults(sets)
    print("\n".join(found) if found else table(sets))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
