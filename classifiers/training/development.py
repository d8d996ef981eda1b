"""Development lines become corpus: `python -m classifiers.training.development FOLDER` writes `corpus/development.txt`.

FOLDER holds JSON lines in the format of `tests/classifiers/dev`, every one of which may be learnt from. Left out are lines
after a hand-over, urgent turns of longer calls (they are urgent by what came before them) and one or two words that
answer nothing. Every line is a family of its own. What the folder holds is no measure for the model any more.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from classifiers.training.corpus import LEVELS

TARGET = Path(__file__).parent / "corpus" / "development.txt"
HEAD = "# Lines of tests/classifiers/dev, each a family of its own; written by classifiers.training.development, not by hand."
ALIKE = {
    "negation_trap": "negated", "double_negation": "negated", "denial_after_hint": "negated", "history": "past",
    "figurative": "figurative", "family": "other", "hypothetical": "hypothetical", "names_places": "names",
}  # fmt: skip
"""Kinds of the development set that are hard negatives, by their name in the corpus."""
LONG = 30
"""From so many words on a harmless line counts as a story told at length."""
_LETTERS = {level.value: letter for letter, level in LEVELS.items()}


def kind_of(row: Mapping[str, Any], words: int) -> str:
    """The corpus's kind of one line."""
    if row["label"] != "routine":
        return "answer" if row.get("agent") else "story"
    if row["kind"] in ALIKE:
        return ALIKE[row["kind"]]
    return "consult" if row.get("agent") else "told" if words >= LONG else "complaint"


def sections(calls: Iterable[list[Mapping[str, Any]]]) -> dict[str, list[str]]:
    """Section heads, sorted, each with its lines; a line that came twice stands once."""
    found: dict[str, dict[str, None]] = {}
    for rows in calls:
        for row in rows:
            text, asked = (" ".join(str(row.get(name) or "").replace("||", " ").split()) for name in ("text", "agent"))
            words = len(text.split())
            urgent = row["label"] != "routine"
            if row.get("after") or (urgent and len(rows) > 1) or text.startswith(("#", "=")):
                continue
            if not text or (words <= 2 and not asked):
                continue
            language = "en" if row["lang"] == "en" else "es"
            category = row["category"] if urgent else "none"
            head = f"= {category} {_LETTERS[row['label']]} {language} {kind_of(row, words)}"
            found.setdefault(head, {})[f"{text} || {asked}" if asked else text] = None
    return {head: list(found[head]) for head in sorted(found)}


def read(folder: Path) -> list[list[Mapping[str, Any]]]:
    """The calls of all files of a folder, in the order of names and lines."""
    calls: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                row = json.loads(line)
                calls.setdefault((path.name, row["call"]), []).append(row)
    return list(calls.values())


def written(found: Mapping[str, list[str]]) -> str:
    """Sections as a corpus file."""
    parts = [HEAD]
    for head, lines in found.items():
        parts += [head, *lines]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    """Write the corpus file; say how many lines it has."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m classifiers.training.development FOLDER", file=sys.stderr)
        return 2
    found = sections(read(Path(arguments[0])))
    TARGET.write_text(written(found), encoding="utf-8")
    print(f"{sum(map(len, found.values()))} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
