"""Is a finding meant as present? ConText's idea, rewritten for speech that has no punctuation.

1. A negation opens a scope. It ends at a sentence break, at a terminator ("but", "just", a new subject with its verb),
   at the next negation, after the first symptom unless a list goes on ("no fever chest pain" denies the fever only),
   or when its words are used up.
2. Cues of time, person and mood act within their segment: a stretch between breaks, "but", "because", "and now I".
3. Cues inside the finding itself ("not breathing") never act on it.
4. Double negatives that affirm ("I can't say I don't") are cues of their own and close the negations in them.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from classifiers.patterns import Match
from classifiers.tokens import Token

_CONNECTORS = frozenset(
    [
        "or",
        "nor",
        "and",
        "o",
        "ni",
        "y",
        "of",
        "in",
        "on",
        "at",
        "with",
        "from",
        "when",
        "either",
        "e",
        "u",
        "any",
        "anymore",
        "at",
        "all",
        "to",
        "de",
        "en",
    ]
)
_LISTING = frozenset(("or", "nor", "ni", "o", "and", "y", "either"))
_LIST_REACH = 8
_NEGATORS = frozenset(("no", "not", "never", "without", "sin", "nunca", "ni", "nor"))
_BARE_NO = frozenset(("no", "nope", "nah", "negative", "none"))
_LONG_SO = 25
"""Tokens back that "it's how he's been for years" reaches."""
_TAKING_BACK = frozenset(
    ("but", "and", "then", "it", "that", "they", "has", "have", "had", "is", "all", "which", "was", "were", "this")
)
_REALLY = frozenset(("really", "particularly", "exactly"))
_NAME_WORDS = 2
"""So many words before "Lane" or "Road" may be the name of it."""
_LEAST_NAME = 4
"""Letters of the shortest word that counts as written like a name."""
_MOST_NAMES = 2
"""One word in so many may be a name; a text with more writes every word so."""
_TITLE_REACH = 2
"""So many words may stand between a name and "Center", "clinic", "survivors"."""
_NEAR_CAUSE = 30
"""Tokens from a finding within which a cause that the caller names is its cause."""
_NOT_IN_TITLE = frozenset((
    "i", "my", "the", "in", "at", "on", "is", "has", "have", "was", "are", "it", "he", "she", "from", "to", "since",
    "his", "her", "a", "an", "am", "we", "they", "you", "with", "of", "this", "not", "no", "but", "now", "when", "so",
))  # fmt: skip
_OVER = frozenset(("now", "today", "ahora", "ahorita"))
"""After "it is fine" these say that it was not: over, but not denied."""
_AFTER_NAME = frozenset(
    ["i", "he", "she", "my", "and", "is", "has", "have", "it", "y", "me", "le", "tengo", "tiene", "with", "having"]
)


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens `first` up to `last`."""

    first: int
    last: int

    def overlaps(self, first: int, last: int) -> bool:
        """Whether the two stretches share a token."""
        return self.first < last and first < self.last


def written_names(text: str, tokens: Sequence[Token]) -> frozenset[int]:
    """Tokens that the text writes as names: a capital first letter within a sentence, the others small.

    None in a text that writes most words so.
    """
    words = [at for at, token in enumerate(tokens) if token.end - token.start >= _LEAST_NAME]
    titled = [at for at in words if text[tokens[at].start : tokens[at].end].istitle()]
    if len(titled) * _MOST_NAMES > len(words):
        return frozenset()
    return frozenset(at for at in titled if at and not tokens[at].after_break)


class Context:
    """The cues of one text, ready to judge any finding in it."""

    def __init__(
        self,
        tokens: Sequence[Token],
        matches: Sequence[Match],
        cues: Mapping[str, Mapping[str, Any]],
        symptoms: Sequence[tuple[int, int]] = (),
        names: AbstractSet[int] = frozenset(),
    ) -> None:
        """Take the cues out of `matches`; `names` are the tokens written as names are (`written_names`)."""
        self._tokens = tokens
        self._names = names
        self._symptoms = symptoms
        self.kinds: dict[str, list[tuple[Span, Mapping[str, Any]]]] = {}
        for match in matches:
            if match.name[0] == "!":
                row = cues[match.name]
                self.kinds.setdefault(row["kind"], []).append((Span(match.first, match.last), row))
        self._closed = [span for span, _ in self.kinds.get("closed", ())]
        self._ends = {span.first for span, _ in self.kinds.get("end", ())}
        self._negations = self._open_negations()
        self._segment, self._joined = self._cut()

    # --- negation

    def _open_negations(self) -> list[tuple[int, int, Span]]:
        """(first, last, trigger) of each negation's scope."""
        triggers = sorted(
            (span.first, span.last, int(row.get("scope", 6)))
            for span, row in self.kinds.get("negate", ())
            if not self._is_closed(span) and not self._is_answer(span.first)
        )
        merged: list[tuple[int, int, int]] = []
        for first, last, words in triggers:
            if merged and first < merged[-1][1]:
                before = merged[-1]
                reach = words if last > before[1] else max(words, before[2]) if last == before[1] else before[2]
                merged[-1] = (before[0], max(last, before[1]), reach)
            else:
                merged.append((first, last, words))
        starts = {first for first, _, _ in merged}
        return [
            (last, self._reach(Span(first, last), words, starts), Span(first, last)) for first, last, words in merged
        ]

    def _is_closed(self, trigger: Span) -> bool:
        """Whether the negating word of a trigger belongs to an idiom that negates nothing that follows."""
        words = range(trigger.first, trigger.last)
        at = next((at for at in words if self._tokens[at].text in _NEGATORS), trigger.first)
        return any(c.first <= at < c.last for c in self._closed)

    def _is_answer(self, at: int) -> bool:
        """Whether the word at `at` is a "no" that stands for itself: "no, my chest hurts"."""
        tokens = self._tokens
        if tokens[at].text == "not" and at + 2 < len(tokens) and tokens[at + 1].text in _REALLY:
            return tokens[at + 2].after_comma
        return tokens[at].text in _BARE_NO and at + 1 < len(tokens) and tokens[at + 1].after_comma

    def _listed(self, at: int) -> bool:
        """Whether a list that began before token `at` goes on with or/and further on in the sentence."""
        for token in self._tokens[at : at + _LIST_REACH]:
            if token.after_break and token is not self._tokens[at]:
                return False
            if token.text in ("or", "nor", "ni", "o", "either"):
                return True
        return False

    def _reach(self, trigger: Span, words: int, others: AbstractSet[int]) -> int:
        """Where the scope of a negation ends."""
        tokens = self._tokens
        at = trigger.last
        symptom_ends = {last for first, last in self._symptoms if first >= trigger.last}
        passed = False
        while at < len(tokens) and words > 0:
            token = tokens[at]
            if token.after_break or at in self._ends or at in others:
                break
            if at in symptom_ends:
                passed = True
            if passed and not token.soft:
                inside = any(first < at < last for first, last in self._symptoms if first >= trigger.last)
                if not inside and token.text not in _CONNECTORS and tokens[at - 1].text not in _CONNECTORS:
                    if not self._listed(at):
                        break
                    words = max(words, 3)
            elif token.after_comma and at > trigger.last and not self._listed(at):
                break
            if token.text in _LISTING:
                words = max(words, 5)
            elif not token.soft:
                words -= 1
            at += 1
        return at

    # --- segments

    def _cut(self) -> tuple[list[int], list[bool]]:
        """Segment number of every token, and for every segment whether it only goes on with "and"."""
        starts = {span.first for span, _ in self.kinds.get("segment", ())}
        number, numbers, joined = 0, [], [False]
        for at, token in enumerate(self._tokens):
            if at and (token.after_break or at in starts):
                number += 1
                joined.append(token.text in ("and", "y") and not token.after_break)
            numbers.append(number)
        return numbers, joined

    def _reaches(self, cue: Span, first: int) -> bool:
        """Whether a cue's segment, with what is joined to it by "and", holds token `first` after the cue."""
        segment = self._segment[cue.first]
        target = self._segment[first]
        return segment == target or (
            segment < target and all(self._joined[number] for number in range(segment + 1, target + 1))
        )

    # --- the verdict on one finding

    def shielded(self, first: int, last: int, *, errands: bool = True) -> bool:
        """Whether a figure of speech or a name covers begin or end, or (with `errands`) a thing to be renewed the end."""
        for span, _ in self.kinds.get("shield", ()):
            if span.first <= first < span.last or span.first < last <= span.last:
                return True
        return errands and any(span.first < last <= span.last for span, _ in self.kinds.get("errand", ()))

    def _near(self, kind: str, first: int, last: int, before: int | None = None) -> bool:
        """Whether a cue of this kind stands in the finding's own segment, outside the finding, before that token."""
        segments = {self._segment[first], self._segment[last - 1]}
        gone = (*self.kinds.get("gone", ()), *self.kinds.get("not_now", ())) if kind == "now" else ()
        return any(
            self._segment[span.first] in segments
            and (before is None or span.first < before)
            and not (first <= span.first and span.last <= last)
            and not (kind == "gone" and span.overlaps(first, last))
            and not any(over.overlaps(span.first, span.last) for over, _ in gone)
            for span, _ in self.kinds.get(kind, ())
        )

    def _takes_back(self, cue: Span, last: int) -> bool:
        """Whether a cue opens the next segment with no more than "but it": "it bled a little but it stopped"."""
        if cue.first < last or self._segment[cue.first] != self._segment[last - 1] + 1:
            return False
        between = range(last, cue.first)
        return all(
            self._tokens[at].text in _TAKING_BACK for at in between if self._segment[at] == self._segment[cue.first]
        )

    def _follows(self, kind: str, last: int) -> bool:
        """Whether such a cue stands right behind the finding: "babbling like always"."""
        return any(0 <= span.first - last <= 1 for span, _ in self.kinds.get(kind, ()))

    def _negated(self, first: int, last: int) -> bool:
        """Whether a negation from outside reaches the finding, or a bare "no" follows it."""
        tokens = self._tokens
        for start, end, trigger in self._negations:
            if start <= first < end and not trigger.overlaps(first, last):
                return True
            inner = tokens[max(first, trigger.first) : min(last, trigger.last)]
            if trigger.first < first < trigger.last and not any(t.text in _NEGATORS for t in inner):
                return True
        for span, _ in self.kinds.get("deny_after", ()):
            over = span.last < len(tokens) and tokens[span.last].text in _OVER
            if 0 <= span.first - last <= 2 and self._segment[span.first] == self._segment[last - 1] and not over:
                return True
        if last < len(tokens) and tokens[last].text in _BARE_NO:
            ends = last + 1 == len(tokens) or tokens[last + 1].after_break or tokens[last + 1].after_comma
            return ends and not any(t.text in _NEGATORS for t in tokens[first:last])
        return False

    def _verb_between(self, first: int, last: int) -> bool:
        """Whether a name has ended before token `last`: a pronoun or "and" follows it."""
        return any(token.text in _AFTER_NAME for token in self._tokens[first:last])

    def written_as_name(self, first: int, last: int) -> bool:
        """Whether all these words are written as a name is: "Coma Bar", "Gunshot Pass Road"."""
        return last - first <= _NAME_WORDS and all(at in self._names for at in range(first, last))

    def _titled(self, first: int, last: int) -> bool:
        """Whether the finding is only the beginning of a title: "Seizure and Sleep Center", "suicide mission"."""
        if last - first > _NAME_WORDS:
            return False
        for span, _ in self.kinds.get("title", ()):
            between = self._tokens[last : span.first]
            if (
                0 <= span.first - last <= _TITLE_REACH
                and not self._tokens[span.first].after_break
                and not self._tokens[span.first].after_comma
                and not any(t.text in _NOT_IN_TITLE or t.after_break or t.after_comma for t in between)
            ):
                return True
        return False

    def _afterwards(self, first: int, last: int, code: str) -> Iterator[str]:
        """What is said of the finding in a later breath: taken back, settled, explained, or in other hands.

        What "belongs" to a worse finding, told in the same words, is left to that finding's own line and category.
        """
        if any(span.first >= last for span, _ in self.kinds.get("taken_back", ())):
            yield "taken_back"
        for span, row in self.kinds.get("settled", ()):
            concerns = span.first >= last and (not row.get("of") or code in row["of"].split())
            concerns = concerns and not self._near("now", first, last, span.first)
            if concerns and not any(again.first >= span.last for again, _ in self.kinds.get("returns", ())):
                yield "settled"
        for span, row in () if self.kinds.get("differs") else self.kinds.get("explained", ()):
            away = max(span.first - last, first - span.last)
            concerns = code in row["of"].split() and away <= _NEAR_CAUSE
            inside = first <= span.first and span.last <= last
            if concerns and not inside and not any(start <= span.first < end for start, end, _ in self._negations):
                yield "explained"
        for span, row in self.kinds.get("belongs", ()):
            near = max(span.first - last, first - span.last) <= _NEAR_CAUSE
            denied = any(start <= span.first < end for start, end, _ in self._negations)
            if near and not denied and code in row["of"].split():
                yield "explained"
        if any(span.first >= last for span, _ in self.kinds.get("in_care", ())):
            segments = {self._segment[first], self._segment[last - 1]}
            if not any(t.text in ("i", "me") and self._segment[at] in segments for at, t in enumerate(self._tokens)):
                yield "other"

    def judge(self, first: int, last: int, code: str = "") -> frozenset[str]:
        """What speaks against the finding `code` over these tokens.

        negated, past, gone, passed, chronic, hypothetical, other, taken_back, settled, explained.
        """
        found: set[str] = set(self._afterwards(first, last, code))
        if self._negated(first, last):
            found.add("negated")
        over = [span for span, _ in self.kinds.get("not_now", ())]
        now = self._near("now", first, last) or any(
            span.first >= last and not any(o.overlaps(span.first, span.last) for o in over)
            for span, _ in self.kinds.get("returns", ())
        )
        for kind in ("past", "gone", "chronic"):
            if (not now and self._near(kind, first, last)) or (kind == "chronic" and self._follows(kind, last)):
                found.add(kind)
        if not now and any(0 <= span.first - last <= _LONG_SO for span, _ in self.kinds.get("long_so", ())):
            found.add("chronic")
        if any(self._takes_back(span, last) for span, _ in self.kinds.get("gone", ())):
            found.add("passed")
        if any(self._takes_back(span, last) for span, _ in self.kinds.get("past", ())):
            found.add("past")
        if self._near("other", first, last) and not self._near("here", first, last):
            found.add("other")
        for span, _ in self.kinds.get("named", ()):
            if (
                span.last <= first <= span.last + 2 and last - first <= 2 and not self._verb_between(span.last, first)
            ) or (first < span.first and span.last < last <= span.last + 2):
                found.add("other")
        if last - first <= _NAME_WORDS and any(span.first == last for span, _ in self.kinds.get("place", ())):
            found.add("other")
        if self._titled(first, last):
            found.add("other")
        for span, _ in self.kinds.get("pet", ()):
            if span.first < first and not any(
                span.last <= human.first < last for human, _ in self.kinds.get("human", ())
            ):
                found.add("other")
        present = self._near("right_now", first, last) or any(
            span.first >= last for span, _ in self.kinds.get("real", ())
        )
        for span, row in self.kinds.get("hypothetical", ()):
            if (span.first < first and self._reaches(span, first) and (row.get("firm") or not present)) or (
                row.get("backward") and span.first >= last and self._segment[span.first] == self._segment[last - 1]
            ):
                found.add("hypothetical")
        return frozenset(found)
