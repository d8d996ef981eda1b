"""What the agent's question is after, read with the same rules as its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classifiers.assertion import Context
from classifiers.levels import Category
from classifiers.patterns import Match
from classifiers.rulebook import Rulebook
from classifiers.tokens import Token, tokenise

_LONGEST = 160
"""So many tokens of a question are read."""
_OPENING = 8
"""Last words of an open question that its answer may complete."""
_CLOSED = frozenset((
    "is", "are", "was", "were", "does", "do", "did", "can", "could", "has", "have", "had", "will", "would", "any", "able",
    "still", "esta", "estan", "puede", "tiene", "ha",
))  # fmt: skip
"""First words of a question that wants a yes or a no."""
_WHEN = frozenset(("when", "cuando"))
"""A question for a time has no dangerous no."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the question just asked was after."""

    findings: tuple[tuple[str, bool], ...] = ()
    """(code, whether yes is the dangerous answer)."""
    measures: frozenset[str] = frozenset()
    qualifiers: tuple[tuple[str, str], ...] = ()
    """(name, value) that a yes would bring."""
    opening: tuple[Token, ...] = ()
    """The words of an open question ("where is the pain"), which its answer completes."""
    since: bool = False
    """Whether it takes the finding for granted ("when did it start")."""
    closed: bool = False
    """Whether it wants a yes or a no."""
    family: bool = False
    """Whether it asks after relatives, so that what is told is not the patient's."""


def last_question(question: str) -> str:
    """The sentence of an agent's turn that wants the answer: the last one that ends in a question mark, else the last."""
    pieces = [piece for piece in question.replace("?", "?\n").replace(". ", ".\n").split("\n") if piece.strip()]
    asking = [piece for piece in pieces if piece.rstrip().endswith("?")]
    return (asking or pieces or [""])[-1]


def asked_by(rules: Rulebook, question: str) -> Asked:
    """What the question is after; nothing when it is no question or only an announcement."""
    if not question.strip():
        return Asked()
    tokens = tokenise(last_question(question))[:_LONGEST]
    matches = _widest_asks(rules.book.find(tokens), rules.cues)
    context = Context(tokens, matches, rules.cues)
    findings: dict[tuple[str, bool], None] = {}
    qualifiers: dict[tuple[str, str], None] = {}
    measures: set[str] = set()
    for match in matches:
        if match.name in rules.flags:
            rescue = rules.flags[match.name].category is Category.RESCUE
            if not rescue and not context.shielded(match.first, match.last):
                findings[match.name, True] = None
        elif match.name in rules.qualifiers:
            qualifiers[rules.qualifiers[match.name]] = None
        elif match.name.startswith("!"):
            row = rules.cues[match.name]
            if row["kind"] == "asks":
                findings[row["code"], row.get("danger", "yes") == "yes"] = None
            elif row["kind"] == "asks_number":
                measures.update(str(row["measures"]).split())
    turned = {code for code, yes in findings if not yes}
    kept = tuple((code, yes) for code, yes in findings if not (yes and code in turned))
    if tokens and tokens[0].text in _WHEN:
        kept = tuple((code, yes) for code, yes in kept if yes)
    kinds = {rules.cues[m.name]["kind"] for m in matches if m.name[0] == "!"}
    is_open = any(rules.cues[m.name]["kind"] == "asks_open" and m.first <= 1 for m in matches if m.name[0] == "!")
    opening = tokens[-_OPENING:] if is_open and "asks_list" not in kinds else ()
    return Asked(
        kept,
        frozenset(measures),
        tuple(qualifiers),
        tuple(opening),
        "asks_since" in kinds,
        _closed(tokens),
        "asks_family" in kinds,
    )


def _widest_asks(matches: Sequence[Match], cues: Mapping[str, Mapping[str, Any]]) -> list[Match]:
    """Without the questions that are only part of a longer one: "is he breathing" in "is he breathing faster"."""
    asks = [m for m in matches if m.name[0] == "!" and cues[m.name]["kind"] == "asks"]
    return [
        m
        for m in matches
        if m not in asks
        or not any(
            o.first <= m.first and m.last <= o.last and o.last - o.first > m.last - m.first and o.name != m.name
            for o in asks
        )
    ]


def _closed(tokens: Sequence[Token]) -> bool:
    """Whether a question opens so, be it after an "and" or an "okay"."""
    return any(token.text in _CLOSED for token in [t for t in tokens if not t.soft][:2])
