"""Protocols as data: a complaint, its questions, its rules of disposition, and when to call again.

What ships is a sample, and each file says so (`status`). A file that does not fit this schema is refused at start.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from triage.dialogue.answers import Age
from triage.dialogue.numbers import words_of
from triage.dialogue.rules import subject
from triage.dialogue.wording import DISPOSITIONS, Question, question_of, read_toml, table_list, text_of, texts_of
from triage.errors import AssetError

SCHEMA = 1
SLOTS = frozenset({"age", "sex", "pregnant", "onset", "background", "allergies", "who"})
"""What rules may speak of beside the protocol's own questions."""
WINDOWS = ("1h", "4h", "24h")
"""Call-back windows; each has a line `close.<window>`."""
GENERAL = "general"
"""The protocol of a complaint that no other one knows."""
_NEGATIONS = frozenset({"no", "not", "without", "never", "isn't", "don't", "doesn't", "nor", "haven't", "hasn't"})
_FIELDS = frozenset(
    {
        "schema",
        "id",
        "complaint",
        "status",
        "version",
        "priority",
        "entry",
        "min_age",
        "max_age",
        "question",
        "rule",
        "else",
    }
)


@dataclass(frozen=True)
class Rule:
    """A disposition, and when: all conditions hold."""

    when: tuple[str, ...]
    disposition: str
    window: str
    why: str
    """For the nurse and the auditor; never spoken."""


@dataclass(frozen=True)
class Protocol:
    """One complaint."""

    id: str
    complaint: str
    """As it is read back: "a sore throat"."""
    status: str
    version: str
    priority: int
    """Lower wins when the words fit several: the more dangerous one."""
    entry: tuple[tuple[str, ...], ...]
    """Phrases, word by word."""
    min_age: Age | None
    max_age: Age | None
    """Below this."""
    questions: tuple[Question, ...]
    rules: tuple[Rule, ...]
    disposition: str
    """When no rule holds."""
    window: str
    again: str
    """When to ring again; fixed wording."""

    @property
    def again_prompt(self) -> str:
        """Id of its clip."""
        return f"again.{self.id}"

    def suits(self, age: Age | None) -> bool:
        """Whether the patient's age is in its range; an unknown age suits where there is no upper limit."""
        if age is None:
            return self.max_age is None
        low = self.min_age.days if self.min_age else 0.0
        return low <= age.days < (self.max_age.days if self.max_age else float("inf"))

    def speaks_of(self, words: list[str]) -> bool:
        """Whether an entry phrase is in the words, not negated just before it."""
        there = frozenset(words)
        return any(_said(phrase, words) for phrase in self.entry if _possible(phrase, there))


def _possible(phrase: tuple[str, ...], words: frozenset[str]) -> bool:
    """Whether all plain words of the phrase are there at all: spares most phrases the search."""
    return all(want in words or want.endswith("*") for want in phrase)


def _said(phrase: tuple[str, ...], words: list[str]) -> bool:
    size = len(phrase)
    for at in range(len(words) - size + 1):
        if all(_fits(want, word) for want, word in zip(phrase, words[at : at + size], strict=True)) and not (
            _NEGATIONS & set(words[max(0, at - 3) : at])
        ):
            return True
    return False


def _fits(want: str, word: str) -> bool:
    return word.startswith(want[:-1]) if want.endswith("*") else word == want


def match(protocols: Iterable[Protocol], text: str, age: Age | None) -> Protocol | None:
    """The protocol of a complaint: the most dangerous one that words and age fit; None when none does."""
    words = words_of(text)
    fitting = [p for p in protocols if p.id != GENERAL and p.suits(age) and p.speaks_of(words)]
    return min(fitting, key=lambda p: p.priority, default=None)


@cache
def load_protocols(folder: Traversable | None = None) -> tuple[Protocol, ...]:
    """Every protocol in the folder (default: the sample that ships), ordered by priority.

    Raises:
        AssetError: a file or field is missing or wrong; names both.
    """
    place = folder if folder is not None else resources.files("triage.dialogue") / "protocols"
    try:
        files = sorted((f for f in place.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    except OSError as error:
        raise AssetError(f"{place}: cannot be read ({error.strerror}); name the folder of your protocols") from error
    protocols = [_protocol(file) for file in files]
    names = [p.id for p in protocols]
    for name in names:
        if names.count(name) > 1:
            raise AssetError(f"{place}: two protocols have the id {name}; give one of them another")
    if GENERAL not in names:
        raise AssetError(f"{place}: {GENERAL}.toml is missing; a complaint that fits nothing else needs it")
    return tuple(sorted(protocols, key=lambda p: (p.priority, p.id)))


def _protocol(file: Traversable) -> Protocol:
    read = read_toml(file, SCHEMA)
    for name in read:
        if name not in _FIELDS:
            raise AssetError(f"{file}: field {name}: is unknown; take it out")
    questions = tuple(
        question_of(row, f"{file}: question {number}", prefix="q.")
        for number, row in enumerate(table_list(read, "question", file), 1)
    )
    ids = [q.id for q in questions]
    for name in ids:
        if ids.count(name) > 1 or name in SLOTS:
            raise AssetError(f"{file}: question {name}: field id: is used twice; give it another")
    priority = read.get("priority")
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise AssetError(f"{file}: field priority: must be a whole number")
    last = read.get("else")
    if not isinstance(last, dict):
        raise AssetError(f"{file}: field else: must be a table with disposition, callback and again")
    name = text_of(read, "id", file)
    for question in questions:
        _check_conditions(question.when, frozenset(ids) | SLOTS, f"{file}: question {question.id}")
    return Protocol(
        id=name,
        complaint=text_of(read, "complaint", file),
        status=text_of(read, "status", file),
        version=text_of(read, "version", file),
        priority=priority,
        entry=tuple(_entry(p) for p in texts_of(read, "entry", file, needed=name != GENERAL)),
        min_age=_age(read, "min_age", file),
        max_age=_age(read, "max_age", file),
        questions=questions,
        rules=tuple(
            _rule(row, f"{file}: rule {number}", frozenset(ids) | SLOTS)
            for number, row in enumerate(table_list(read, "rule", file), 1)
        ),
        disposition=_one_of(last, "disposition", DISPOSITIONS[1:], f"{file}: else"),
        window=_one_of(last, "callback", WINDOWS, f"{file}: else"),
        again=text_of(last, "again", f"{file}: else"),
    )


def _entry(phrase: str) -> tuple[str, ...]:
    return tuple(phrase.lower().replace("-", " ").split())


def _rule(row: Any, place: str, names: frozenset[str]) -> Rule:
    when = texts_of(row, "when", place, needed=True)
    _check_conditions(when, names, place)
    disposition = _one_of(row, "disposition", DISPOSITIONS, place)
    window = "" if disposition == "nurse_now" else _one_of(row, "callback", WINDOWS, place)
    return Rule(when, disposition, window, text_of(row, "why", place))


def _check_conditions(when: tuple[str, ...], names: frozenset[str], place: str) -> None:
    for condition in when:
        try:
            about = subject(condition)
        except ValueError as error:
            raise AssetError(f"{place}: field when: {condition!r}: {error}") from error
        if about not in names:
            raise AssetError(f"{place}: field when: {about} is no question of this protocol; ask it or take it out")


def _one_of(row: Any, name: str, allowed: tuple[str, ...], place: str) -> str:
    value = text_of(row, name, place)
    if value not in allowed:
        raise AssetError(f"{place}: field {name}: must be one of {', '.join(allowed)}")
    return value


def _age(read: Any, name: str, place: object) -> Age | None:
    value = text_of(read, name, place, needed=False)
    if not value:
        return None
    try:
        age = Age.parse(value)
        return age if age.days > 0 else None
    except (ValueError, KeyError) as error:
        raise AssetError(f'{place}: field {name}: must be an age such as "12 years"') from error
