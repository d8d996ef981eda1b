"""Reads the development lines and calls beside it."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from classifiers import Category


@dataclass(frozen=True, slots=True)
class Vignette:
    """One danger said plainly, said not to be there, and said of somebody who is not the patient."""

    name: str
    """The category, or category.code for a further one of it."""
    category: Category
    plain: str
    negated: str
    other: str


LINES = Path(__file__).parent / "lines"


def vignettes(text: str) -> list[Vignette]:
    """The vignettes of a file: `[category]`, and `[category.code]` for every further flag of that category."""
    found = []
    for name, table in tomllib.loads(text).items():
        further = {key: row for key, row in table.items() if isinstance(row, dict)}
        own = {key: words for key, words in table.items() if key not in further}
        rows = [(name, own)] if own or not further else []
        rows += [(f"{name}.{code}", row) for code, row in further.items()]
        found += [Vignette(called, Category(name), **row) for called, row in rows]
    return found


def urgent_lines(name: str) -> list[tuple[str, bool, str]]:
    """(category, whether the emergency number comes first, words) of one file of dangers."""
    found = []
    for row in (LINES / name).read_text(encoding="utf-8").splitlines():
        if row.strip() and not row.startswith("#"):
            category, level, words = (part.strip() for part in row.split("|", 2))
            found.append((category, level == "e", words))
    return found


def harmless_lines() -> list[str]:
    """The lines that must not interrupt a call."""
    rows = (LINES / "harmless.txt").read_text(encoding="utf-8").splitlines()
    return [row.strip() for row in rows if row.strip() and not row.startswith("#")]


def calls() -> list[tuple[str, int, list[tuple[str, str]]]]:
    """(name, turn that is due or 0, [(question, words)]) of every development call."""
    table = tomllib.loads((LINES / "calls.toml").read_text(encoding="utf-8"))
    found = []
    for row in table["call"]:
        turns = [tuple(part.strip() for part in turn.split("|", 1)) for turn in row["turns"]]
        found.append((row["name"], row["due"], [(question, words) for question, words in turns]))
    return found
