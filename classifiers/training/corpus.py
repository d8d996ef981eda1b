"""The corpus as written: lines, templates and questions, each with its phrase family.

Files of `corpus/`: a section head "= category level language kind", then lines; an empty line ends a phrase family.
A family goes to training, validation or test as one, so that no paraphrase of a test line is learned from.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

from classifiers.features import STOP, words_of
from classifiers.levels import Category, Level
from classifiers.model import is_bare

LEVELS = {"e": Level.EMERGENCY_NOW, "n": Level.NURSE_NOW, "r": Level.ROUTINE}
TEST_SHARE = 7
"""One family in so many is test."""
FOLDS = 5
COMMON = 2
"""From so many families with nearly the same line on, they are never test."""
ALIKE = 0.6
"""Share of common content words from which two lines count as paraphrases, whatever family they were written in."""


class CorpusError(ValueError):
    """A corpus file is not well formed; names file and line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line as written, or one made from a template."""

    text: str
    question: str
    level: Level
    category: Category
    language: str
    kind: str
    family: str
    fold: int = -1
    """-1 is test, 0 and up the fold of training and validation."""

    @property
    def urgent(self) -> bool:
        """Whether a nurse must have this call now."""
        return self.level.urgent


def _read(name: str) -> str:
    return files("classifiers").joinpath("training", "corpus", name).read_text(encoding="utf-8")


def names() -> list[str]:
    """Corpus files, sorted."""
    folder = files("classifiers").joinpath("training", "corpus")
    return sorted(f.name for f in folder.iterdir() if f.name.endswith(".txt"))


def parse(name: str, content: str) -> list[Line]:
    """Lines of one file.

    Raises:
        CorpusError: a section head is not well formed, or a line stands before the first.
    """
    lines: list[Line] = []
    head: tuple[Category, Level, str, str] | None = None
    family = ""
    for number, raw in enumerate(content.splitlines(), 1):
        text = raw.strip()
        if not text:
            family = ""
            continue
        if text.startswith("#"):
            continue
        if text.startswith("="):
            try:
                category, level, language, kind = text[1:].split()
                head, family = (Category(category), LEVELS[level], language, kind), ""
            except (ValueError, KeyError) as error:
                raise CorpusError(f"{name}:{number}: section head") from error
            continue
        if head is None:
            raise CorpusError(f"{name}:{number}: line before the first section")
        said, _, asked = (part.strip() for part in text.partition("||"))
        if not family:
            family = f"{name.removesuffix('.txt')}/{zlib.crc32('|'.join((*map(str, head), text)).encode()):08x}"
        lines.append(Line(said, asked, head[1], head[0], head[2], head[3], family))
    return lines


def slots() -> dict[str, list[str]]:
    """Values of the templates' slots."""
    found: dict[str, list[str]] = {}
    for line in _read("slots.txt").splitlines():
        name, colon, values = line.partition(":")
        if colon and not line.startswith("#"):
            found[name.strip()] = [v.strip() for v in values.split("|")]
    return found


def _content(text: str) -> frozenset[str]:
    """Words that carry meaning, without their commonest endings; every word where none does ("is she with you")."""
    found = set()
    for word in words_of(text):
        if word.text not in STOP:
            stem = word.text
            for ending in ("ing", "ed", "es", "s"):
                if stem.endswith(ending) and len(stem) > len(ending) + 2:
                    stem = stem.removesuffix(ending)
                    break
            found.add(stem)
    return frozenset(found or (word.text for word in words_of(text)))


def kindred(lines: Sequence[Line]) -> dict[str, str]:
    """For every family the first family of its kin: families with nearly the same line stay together.

    Two lines are nearly the same when at least `ALIKE` of their content words, both counted once, are shared and both
    are urgent or both harmless. Bare answers are compared by their question, templates never.
    """
    chief: dict[str, str] = {line.family: line.family for line in lines}

    def find(family: str) -> str:
        while chief[family] != family:
            chief[family] = chief[chief[family]]
            family = chief[family]
        return family

    seen: dict[tuple[bool, str], list[tuple[frozenset[str], str]]] = {}
    for line in lines:
        if "template" in line.kind:
            continue
        bare = is_bare(words_of(line.text), line.question)
        words = _content(line.question if bare else line.text)
        near = {id(entry): entry for word in words for entry in seen.get((line.urgent, word), ())}
        for other, family in near.values():
            if len(words & other) >= ALIKE * len(words | other):
                first, second = sorted((find(family), find(line.family)))
                chief[second] = first
        entry = (words, line.family)
        for word in words:
            seen.setdefault((line.urgent, word), []).append(entry)
    return {family: find(family) for family in chief}


def divide(lines: Iterable[Line]) -> list[Line]:
    """Give every family its fold: every seventh of its section is test, the others go round the folds.

    Kin of `COMMON` families and more are never test: they are the plainest words for a thing, and a model without them
    would be of no use to anybody. The test families are therefore the rarer ways to say it.
    """
    lines = list(lines)
    chief = kindred(lines)
    size = Counter(chief.values())
    sections: dict[tuple[str, ...], dict[str, None]] = {}
    placed: set[str] = set()
    for line in lines:
        section = (str(line.category), str(line.level), line.language, line.kind)
        if chief[line.family] not in placed:
            placed.add(chief[line.family])
            sections.setdefault(section, {})[chief[line.family]] = None
    fold: dict[str, int] = {}
    turn = rest = 0
    for key in sorted(sections):
        for family in sorted(sections[key]):
            turn += size[family] < COMMON
            if size[family] < COMMON and turn % TEST_SHARE == 0:
                fold[family] = -1
            else:
                rest += 1
                fold[family] = rest % FOLDS
    return [replace(line, fold=fold[chief[line.family]]) for line in lines]


def written() -> list[Line]:
    """Every line written by hand, without templates and questions."""
    found: list[Line] = []
    for name in names():
        if name not in ("slots.txt", "templates.txt", "questions.txt"):
            found += parse(name, _read(name))
    return found


def templates() -> list[Line]:
    """Templates, slots unfilled."""
    return parse("templates.txt", _read("templates.txt"))


def questions() -> list[Line]:
    """Questions; `kind` is the answer that makes the section's category: yes, no, or any for none."""
    return parse("questions.txt", _read("questions.txt"))
