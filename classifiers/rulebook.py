"""Reads the rule files into one immutable `Rulebook`: what is a finding, when it is dangerous, what is played.

Every file in `classifiers/rules/` has `schema = 1` and a `version`. A broken file stops the start with an error that
names it; nothing is skipped.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from classifiers import rule_cache
from classifiers.levels import Category, Level
from classifiers.notation import PatternError
from classifiers.patterns import Book
from classifiers.rule_check import RuleFileError, check_phrases, check_shape, classes_named

__all__ = ["RuleFileError", "Rulebook", "keep_compiled", "load_rulebook", "phrases", "read_files"]

SCHEMA = 1
LANGUAGES = ("en", "es")
_MARKS = re.compile(r"[(|)]")
SYMPTOM = "symptom"
"""The one class that is told of: where a negation may end."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One finding: a lay-language family of phrases, and how dangerous it is on its own."""

    code: str
    category: Category
    level: Level
    source: str
    approved_by: str
    approved_on: str
    counts: frozenset[str]
    """Assertions that do not cancel it: past, gone, hypothetical, other, negated."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A finding code or qualifier that must be there, or a comparison of a measured one."""

    name: str
    compare: str = ""
    """One of < <= > >=, empty for mere presence."""
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Combination:
    """Facts that are only dangerous together, in any order and any number of turns apart."""

    id: str
    category: Category
    level: Level
    source: str
    approved_by: str
    approved_on: str
    needs: tuple[tuple[Condition, ...], ...]
    """All groups must hold; in a group one condition is enough."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with a meaning: temperature, age, oxygen, puffs."""

    name: str
    scale: float
    offset: float
    low: float
    high: float
    """The range of the number as said; other readings are not this measure."""


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """What a category plays and how it is ordered among waiting callers."""

    clip: str
    emergency_clip: str
    rank: int


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All rule files, compiled."""

    book: Book
    flags: Mapping[str, Flag]
    combinations: tuple[Combination, ...]
    measures: Mapping[str, Measure]
    qualifiers: Mapping[str, tuple[str, str]]
    """Pattern name to (qualifier, value)."""
    cues: Mapping[str, Mapping[str, Any]]
    """Assertion cues by pattern name: kind and scope."""
    categories: Mapping[Category, CategoryRow]
    level_rank: Mapping[Level, int]
    versions: tuple[tuple[str, str], ...]
    languages: Mapping[str, frozenset[str]]
    """Per language the names that have phrases in it."""
    doubts_allowed: int = 3
    """On this many finals with the same doubtful danger it is taken for present."""
    _beginnings: Mapping[str, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the combinations by the names in their first group."""
        beginnings: dict[str, list[int]] = {}
        for number, combination in enumerate(self.combinations):
            for name in {condition.name for condition in combination.needs[0]}:
                beginnings.setdefault(name, []).append(number)
        object.__setattr__(self, "_beginnings", {name: tuple(found) for name, found in beginnings.items()})

    def begun_by(self, facts: Iterable[str]) -> Iterator[Combination]:
        """The combinations whose first group names one of these facts, in file order; no other one can hold."""
        for number in sorted({number for fact in facts for number in self._beginnings.get(fact, ())}):
            yield self.combinations[number]


def phrases(block: str) -> list[str]:
    """The phrases of a block: one per line, or separated by ` | ` outside brackets; `#` starts a remark."""
    found: list[str] = []
    for raw in block.splitlines():
        line = raw.split("#", 1)[0]
        depth, start = 0, 0
        for mark in _MARKS.finditer(line):
            character = mark.group()
            if character == "(":
                depth += 1
            elif character == ")":
                depth -= 1
            elif depth == 0:
                found.append(line[start : mark.start()].strip())
                start = mark.end()
        found.append(line[start:].strip())
    return [phrase for phrase in found if phrase]


def read_files() -> dict[str, str]:
    """The text of every rule file in the package, by name."""
    folder = files("classifiers.rules")
    return {f.name: f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".toml")}


def _condition(text: str) -> Condition:
    for mark in ("<=", ">=", "<", ">"):
        if mark in text:
            name, value = text.split(mark, 1)
            return Condition(name.strip(), mark, float(value))
    return Condition(text.strip())


def _parsed(texts: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The rule files' tables by file name, in the order of the names."""
    parsed: dict[str, dict[str, Any]] = {}
    for name in sorted(texts):
        try:
            parsed[name] = tomllib.loads(texts[name])
        except tomllib.TOMLDecodeError as error:
            raise RuleFileError(f"{name}: {error}") from error
        if parsed[name].get("schema") != SCHEMA:
            raise RuleFileError(f"{name}: schema is not {SCHEMA}")
    check_shape(parsed)
    return parsed


def _rows(table: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(entry, name to be found as, row) of everything in one file that has phrases."""
    for entry, row in table.get("class", {}).items():
        yield entry, f"<{entry}>", row
    for row in table.get("flag", ()):
        yield row["code"], row["code"], row
    for entry, row in table.get("cue", {}).items():
        yield entry, f"!{entry}", row
    for row in table.get("qualifier", ()):
        entry = f"{row['name']}={row.get('value', 'yes')}"
        yield entry, f"@{entry}", row
    for number, row in enumerate(table.get("measure", ())):
        yield row["name"], f"#{row['name']}.{number}", row


def _compile(parsed: Mapping[str, Mapping[str, Any]]) -> tuple[Book, dict[str, frozenset[str]]]:
    """All phrases as one book, and per language the names that have phrases in it. Takes the phrases out of the rows."""
    words: dict[str, list[str]] = {"barriers": [], "noun_words": [], "noun_classes": [], "spelled": []}
    for table in parsed.values():
        for key, found in words.items():
            found += table.get(key, "").split()
    book = Book(words["barriers"], words["noun_words"], words["noun_classes"], told=(SYMPTOM,))
    for word in words["spelled"]:
        book.spell(word)
    spoken: dict[str, set[str]] = {language: set() for language in LANGUAGES}
    classes = {name for table in parsed.values() for name in table.get("class", ())}
    for file, table in parsed.items():
        entry = "top"
        try:
            for entry, name, row in _rows(table):
                for language in LANGUAGES:
                    if language not in row:
                        continue
                    said = phrases(row.pop(language))
                    check_phrases(file, entry, name, language, said)
                    for phrase in said:
                        for named in classes_named(phrase):
                            if named not in classes:
                                raise RuleFileError(f"{file}: {entry}: {phrase!r}: nobody defines <{named}>")
                        spoken[language].add(name)
                        try:
                            book.add(name, phrase)
                        except PatternError as error:
                            raise RuleFileError(f"{file}: {entry}: {phrase!r}: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise RuleFileError(f"{file}: {entry}: {error!r}") from error
    book.written()
    return book, {language: frozenset(names) for language, names in spoken.items()}


def load_rulebook(texts: Mapping[str, str] | None = None) -> Rulebook:
    """Compile the rule files (`texts` by file name; the shipped ones when not given, which are compiled once and kept).

    Raises:
        RuleFileError: a file is not well formed; names file, entry and fault.
    """
    if texts is not None:
        parsed = _parsed(texts)
        return _assembled(parsed, *_compile(parsed), texts)
    texts = read_files()
    key = rule_cache.key_of(texts)
    kept = rule_cache.read(key)
    if kept is not None:
        parsed, parts, languages = kept
        return _assembled(parsed, Book.unpacked(parts), languages, texts)
    return _kept(texts, key)


def keep_compiled() -> bool:
    """Compile the shipped rules and keep them, as an installer does; returns whether they are kept.

    Raises:
        RuleFileError: a file is not well formed.
    """
    texts = read_files()
    key = rule_cache.key_of(texts)
    if rule_cache.read(key) is None:
        _kept(texts, key, rule_cache.place())
    return rule_cache.read(key) is not None


def _kept(texts: Mapping[str, str], key: bytes, path: Path | None = None) -> Rulebook:
    parsed = _parsed(texts)
    book, languages = _compile(parsed)
    rules = _assembled(parsed, book, languages, texts)
    rule_cache.keep(key, (parsed, book.packed(), languages), path)
    return rules


def _assembled(
    parsed: Mapping[str, Mapping[str, Any]],
    book: Book,
    languages: Mapping[str, frozenset[str]],
    texts: Mapping[str, str],
) -> Rulebook:
    """The rulebook of these tables and phrases."""
    flags: dict[str, Flag] = {}
    combinations: list[Combination] = []
    measures: dict[str, Measure] = {}
    qualifiers: dict[str, tuple[str, str]] = {}
    cues: dict[str, Mapping[str, Any]] = {}
    categories: dict[Category, CategoryRow] = {}
    level_rank: dict[Level, int] = {}
    for file, table in parsed.items():
        entry = "top"
        try:
            for row in table.get("flag", ()):
                entry = row["code"]
                if entry not in flags:
                    flags[entry] = Flag(
                        entry,
                        Category(row.get("category", "none")),
                        Level(row.get("level", "routine")),
                        row.get("source", table.get("source", "")),
                        row.get("approved_by", table.get("approved_by", "")),
                        row.get("approved_on", table.get("approved_on", "")),
                        frozenset(row.get("counts", "").split()),
                    )
            for entry, row in table.get("cue", {}).items():
                cues[f"!{entry}"] = row
            for row in table.get("qualifier", ()):
                entry = f"{row['name']}={row.get('value', 'yes')}"
                qualifiers[f"@{entry}"] = (row["name"], str(row.get("value", "yes")))
            for number, row in enumerate(table.get("measure", ())):
                entry = row["name"]
                measures[f"#{entry}.{number}"] = Measure(
                    entry,
                    float(row.get("scale", 1)),
                    float(row.get("offset", 0)),
                    float(row["low"]),
                    float(row["high"]),
                )
            for row in table.get("combination", ()):
                entry = row["id"]
                combinations.append(
                    Combination(
                        entry,
                        Category(row["category"]),
                        Level(row.get("level", "nurse_now")),
                        row.get("source", table.get("source", "")),
                        row.get("approved_by", table.get("approved_by", "")),
                        row.get("approved_on", table.get("approved_on", "")),
                        tuple(tuple(_condition(c) for c in group.split("|")) for group in row["needs"]),
                    )
                )
            for entry, row in table.get("category", {}).items():
                categories[Category(entry)] = CategoryRow(
                    row["clip"], row.get("emergency_clip", row["clip"]), row["rank"]
                )
            for entry, value in table.get("level_rank", {}).items():
                level_rank[Level(entry)] = int(value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RuleFileError(f"{file}: {entry}: {error!r}") from error
    missing = [c.value for c in Category if c not in categories] + [v.value for v in Level if v not in level_rank]
    if missing:
        raise RuleFileError(f"categories.toml: no row for {', '.join(missing)}")
    digest = hashlib.sha256("\0".join(f"{n}\0{texts[n]}" for n in sorted(texts)).encode()).hexdigest()[:12]
    return Rulebook(
        book=book,
        flags=flags,
        combinations=tuple(combinations),
        measures=measures,
        qualifiers=qualifiers,
        cues=cues,
        categories=categories,
        level_rank=level_rank,
        versions=(("rules", digest),),
        languages=languages,
    )
