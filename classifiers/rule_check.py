"""What a rule file may hold, as closed lists: whatever is missing, misspelt or said twice is named, never passed over.

Runs once, where the files are compiled. A fault is a `RuleFileError` of one line: file, entry, reason.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from classifiers.notation import PatternError, expand

_SIGNED = frozenset(("source", "approved_by", "approved_on"))
_SPOKEN = frozenset(("en", "es"))
_TABLES = frozenset(("class", "cue", "category"))
"""Named entries: `[class.person]`."""
_LISTS = frozenset(("flag", "qualifier", "measure", "combination"))
"""Entries in a row: `[[flag]]`."""
_TOP = (
    _TABLES
    | _LISTS
    | _SIGNED
    | {"schema", "version", "level_rank", "barriers", "noun_words", "noun_classes", "spelled"}
)
_KEYS: Mapping[str, frozenset[str]] = {
    "class": _SPOKEN,
    "flag": _SPOKEN | _SIGNED | {"code", "category", "level", "counts"},
    "cue": _SPOKEN | {"kind", "code", "danger", "measures", "scope", "backward", "whole", "firm", "of"},
    "qualifier": _SPOKEN | {"name", "value"},
    "measure": _SPOKEN | {"name", "scale", "offset", "low", "high"},
    "combination": _SIGNED | {"id", "category", "level", "needs"},
    "category": frozenset(("clip", "emergency_clip", "rank")),
}
_NAMED_BY = {"flag": "code", "qualifier": "name", "measure": "name", "combination": "id"}
_NEEDED = {"flag": ("code", "en"), "qualifier": ("name",), "measure": ("name", "low", "high"), "cue": ("kind",)}
_WITHOUT_PHRASES = frozenset(("combination", "category"))
_FINDS = frozenset(("flag", "qualifier", "measure"))
"""Kinds whose phrases are facts of the call: one letter is none."""
_BUILT_IN = frozenset(("num", "many", "year", "decade", "fevernum", "longnum", "spelled"))
"""Classes that the numbers of a final fill, not a file."""
_CLASS = re.compile(r"<(\w+)>")


class RuleFileError(ValueError):
    """A rule file is missing or not well formed; the message names file, entry and fault."""


def _entries(file: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(kind, entry, row) of everything in one file, each known to be a table."""
    for kind in _KEYS:
        if kind not in table:
            continue
        found = table[kind]
        if kind in _LISTS:
            if not isinstance(found, list):
                raise RuleFileError(f"{file}: {kind}: write [[{kind}]], one for each")
            rows = [(_name(kind, number, row), row) for number, row in enumerate(found, 1)]
        else:
            if not isinstance(found, dict):
                raise RuleFileError(f"{file}: {kind}: write [{kind}.name], one for each")
            rows = list(found.items())
        for entry, row in rows:
            if not isinstance(row, dict):
                raise RuleFileError(f"{file}: {entry}: not a table")
            yield kind, entry, row


def _name(kind: str, number: int, row: Any) -> str:
    name = row.get(_NAMED_BY[kind]) if isinstance(row, dict) else None
    return name if isinstance(name, str) and name else f"{kind} number {number}"


def check_shape(parsed: Mapping[str, Mapping[str, Any]]) -> None:
    """Every entry has the keys of its kind and no other, and no code is told two ways.

    Raises:
        RuleFileError: the first that has not.
    """
    dangers: dict[str, tuple[str, tuple[Any, Any]]] = {}
    names: dict[tuple[str, str], str] = {}
    for file, table in parsed.items():
        for key in table:
            if key not in _TOP:
                raise RuleFileError(f"{file}: top: unknown key {key!r}")
        here: set[str] = set()
        for kind, entry, row in _entries(file, table):
            _check_keys(f"{file}: {entry}", kind, row)
            if kind in ("cue", "combination"):
                if (kind, entry) in names:
                    raise RuleFileError(f"{file}: {entry}: {kind} stands in {names[kind, entry]} already")
                names[kind, entry] = file
            if kind == "flag" and not (entry in here and "category" not in row):
                here.add(entry)
                meant = (row.get("category"), row.get("level"))
                first = dangers.setdefault(entry, (file, meant))
                if first[1] != meant:
                    raise RuleFileError(
                        f"{file}: {entry}: code stands in {first[0]} with another category or level; choose a new code"
                    )


def _check_keys(where: str, kind: str, row: Mapping[str, Any]) -> None:
    for key in row:
        if key not in _KEYS[kind]:
            raise RuleFileError(f"{where}: unknown key {key!r}; a {kind} has {', '.join(sorted(_KEYS[kind]))}")
    for key in _NEEDED.get(kind, ()):
        if key not in row:
            raise RuleFileError(f"{where}: no {key}")
    if kind == "flag" and ("category" in row) != ("level" in row):
        there, lacks = ("category", "level") if "category" in row else ("level", "category")
        raise RuleFileError(f"{where}: {there} without {lacks}")
    for language in sorted(_SPOKEN & set(row)):
        if not isinstance(row[language], str):
            raise RuleFileError(f"{where}: {language} is not a text")
    if kind not in _WITHOUT_PHRASES and not _SPOKEN & set(row):
        raise RuleFileError(f"{where}: no phrase in any language")


def check_phrases(file: str, entry: str, name: str, language: str, phrases: list[str]) -> None:
    """A language that is named has phrases, and none that is to be a fact of the call is a single letter.

    `name` is what the entry is found as in the book.

    Raises:
        RuleFileError: one is not so.
    """
    if not phrases:
        raise RuleFileError(f"{file}: {entry}: {language} has no phrase")
    if name[0] in "<!":
        return
    for phrase in phrases:
        try:
            variants = expand(phrase)
        except PatternError as error:
            raise RuleFileError(f"{file}: {entry}: {phrase!r}: {error}") from error
        if any(len(items) == 1 and len(items[0][1].rstrip("*")) < 2 for items in variants):
            raise RuleFileError(f"{file}: {entry}: {phrase!r}: one letter is no phrase")


def classes_named(phrase: str) -> list[str]:
    """The classes that a phrase rests on, which some file must define."""
    return [name for name in _CLASS.findall(phrase) if name not in _BUILT_IN]
