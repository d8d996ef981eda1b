"""Is a finding meant as present? ConText's idea, rewritten for speech that has no punctuation.

A cue opens a scope, a scope ends at a break, at a terminator ("but", "just", a new subject with its verb) or when its
words are used up. Cues inside the finding itself ("not breathing") never act on it. Double negatives that affirm are cues of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classifiers.patterns import Match
from classifiers.tokens import Token


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens `first` up to `last`."""

    first: int
    last: int

    def overlaps(self, first: int, last: int) -> bool:
        """Whether the two stretches share a token."""
        return self.first < last and first < self.last


class Context:
    """The cues of one text, ready to judge any finding in it."""

    def __init__(
        self, tokens: Sequence[Token], matches: Sequence[Match], cues: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._tokens = tokens
        self.kinds: dict[str, list[tuple[Span, Mapping[str, Any]]]] = {}
        for match in matches:
            if match.name[0] == "!":
                row = cues[match.name]
                self.kinds.setdefault(row["kind"], []).append((Span(match.first, match.last), row))
        self._closed = [span for span, _ in self.kinds.get("closed", ())]
        self._ends = sorted(span.first for span, _ in self.kinds.get("end", ()))
        self._negations = self._open_negations()
        self._segments = self._cut()

    def _open_negations(self) -> list[tuple[int, int, Span]]:
        """(first, last, trigger) of each negation's scope."""
        triggers = [
            (span, row)
            for span, row in self.kinds.get("negate", ())
            if not any(c.first <= span.first < c.last for c in self._closed)
        ]
        longest: dict[int, tuple[Span, Mapping[str, Any]]] = {}
        for span, row in triggers:
            known = longest.get(span.first)
            if known is None or span.last > known[0].last:
                longest[span.first] = (span, row)
        scopes: list[tuple[int, int, Span]] = []
        covered = 0
        starts = sorted(longest)
        for first in starts:
            span, row = longest[first]
            if first < covered:
                continue
            covered = span.last
            words = int(row.get("scope", 6))
            at = span.last
            while at < len(self._tokens) and words > 0:
                token = self._tokens[at]
                if token.after_break or at in self._ends or at in longest:
                    break
                if token.text in ("or", "nor", "and", "o", "ni", "y"):
                    words = max(words, 4)
                elif not token.soft:
                    words -= 1
                at += 1
            scopes.append((span.last, at, span))
        return scopes

    def _cut(self) -> list[int]:
        """Segment number of every token; cues of time and person act within their segment."""
        starts = {span.first for span, _ in self.kinds.get("segment", ())}
        number, found = 0, []
        for at, token in enumerate(self._tokens):
            if at and (token.after_break or at in starts):
                number += 1
            found.append(number)
        return found

    def shielded(self, first: int, last: int) -> bool:
        """Whether a figure of speech or a name covers part of these words."""
        return any(span.overlaps(first, last) for span, _ in self.kinds.get("shield", ()))

    def judge(self, first: int, last: int) -> frozenset[str]:
        """What speaks against the finding over these tokens: negated, past, gone, hypothetical, other."""
        found: set[str] = set()
        if any(start <= first < end and not trigger.overlaps(first, last) for start, end, trigger in self._negations):
            found.add("negated")
        for span, _ in self.kinds.get("deny_after", ()):
            if 0 <= span.first - last <= 2 and self._segments[span.first] == self._segments[last - 1]:
                found.add("negated")
        segment = set(self._segments[first:last])
        here = {
            kind
            for kind in ("past", "now", "hypothetical", "other", "gone")
            for span, _ in self.kinds.get(kind, ())
            if self._segments[span.first] in segment and not (first <= span.first and span.last <= last)
        }
        if "past" in here and "now" not in here:
            found.add("past")
        if "gone" in here and "now" not in here:
            found.add("gone")
        if "other" in here:
            found.add("other")
        for span, _ in self.kinds.get("hypothetical", ()):
            if (
                span.first <= first
                and self._segments[span.first] in (min(segment), min(segment) - 1)
                and "now" not in here
            ):
                found.add("hypothetical")
        return frozenset(found)
