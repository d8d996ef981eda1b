"""The classifier: `load()` once per process, `begin()` once per call, `assess()` on every final.

1. Words become tokens, numbers and matches (one pass over the text).
2. Matches become findings with an assertion, and qualifiers; both are kept over the call.
3. Findings alone, an answer to the question just asked, and combinations over the call give candidates; the highest
   level wins, then the category's rank.
4. Every layer may raise the level, none may lower another's. A layer of rules that breaks gives `classifier_failed`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from classifiers.assertion import Context, Span
from classifiers.assessment import Assessment, Evidence, Finding, Known
from classifiers.language import language_of
from classifiers.levels import Category, Level
from classifiers.numbers import Number, find_numbers
from classifiers.patterns import Match
from classifiers.rulebook import Condition, Rulebook, load_rulebook
from classifiers.tokens import Token, tokenise

THRESHOLD = 0.5
"""Fixed: urgent at or above."""
WINDOW, OVERLAP = 160, 40
"""Tokens per window of a long text, and how many two windows share."""
DEADLINE_US = 5_000
SCORES = {Level.EMERGENCY_NOW: 0.99, Level.NURSE_NOW: 0.9, Level.NURSE_SOON: 0.3, Level.ROUTINE: 0.02}
_ORDER = {Level.ROUTINE: 0, Level.NURSE_SOON: 1, Level.NURSE_NOW: 2, Level.EMERGENCY_NOW: 3}


@dataclass(frozen=True, slots=True)
class Heard:
    """One finding in one text, before it counts for anything."""

    code: str
    first: int
    last: int
    against: frozenset[str]
    """What speaks against it; empty when it is simply there."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reason to raise the level."""

    level: Level
    category: Category
    rule: str
    span: tuple[int, int] | None = None


def _compare(condition: Condition, value: float) -> bool:
    match condition.compare:
        case "<":
            return value < condition.value
        case "<=":
            return value <= condition.value
        case ">":
            return value > condition.value
        case ">=":
            return value >= condition.value
        case _:
            return True


PLAIN_YES = frozenset(
    "yes yeah yep yup yah uh mm mhm correct sure definitely absolutely aye affirmative si claro cierto".split()
)
"""Words that say yes whatever follows; "i have", "it is", "a lot" are an answer only when they are all that was said."""


def _affirms(span: Span, tokens: Sequence[Token]) -> bool:
    return tokens[span.first].text in PLAIN_YES or span.last >= len(tokens)


class RuleCall:
    """What the rules know of one call."""

    def __init__(self, rules: Rulebook) -> None:
        self._rules = rules
        self.findings: dict[tuple[str, str], Finding] = {}
        self.qualifiers: dict[str, tuple[str, int]] = {}
        self.fired: set[str] = set()

    # --- one text

    def judge(self, text: str, question: str, turn: int) -> tuple[list[Candidate], tuple[Token, ...]]:
        """Candidates of one final."""
        tokens = tokenise(text)
        candidates: list[Candidate] = []
        step = WINDOW - OVERLAP
        start = 0
        while True:
            window = tokens[start : start + WINDOW]
            candidates += self._judge_window(text, window, question if start == 0 else "", turn, start)
            if start + WINDOW >= len(tokens):
                break
            start += step
        candidates += self._combinations()
        return candidates, tokens

    def _judge_window(
        self, text: str, tokens: Sequence[Token], question: str, turn: int, offset: int
    ) -> list[Candidate]:
        numbers = find_numbers(tokens)
        given = [Match("<num>", n.first, n.last) for n in numbers]
        given += [Match("<year>", n.first, n.last) for n in numbers if any(1930 <= r <= 2035 for r in n.readings)]
        matches = self._rules.book.find(tokens, given)
        symptoms = [(m.first, m.last) for m in matches if m.name == "<symptom>" or m.name in self._rules.flags]
        context = Context(tokens, matches, self._rules.cues, symptoms)
        asked = self._asked(question)
        heard = self._heard(matches, context)
        candidates: list[Candidate] = []
        for h in heard:
            flag = self._rules.flags[h.code]
            against = h.against - flag.counts
            words = text[tokens[h.first].start : tokens[h.last - 1].end]
            self._note(h.code, "denied" if against else "present", words, turn)
            if not against and flag.level.urgent:
                candidates.append(
                    Candidate(flag.level, flag.category, f"flag:{h.code}", (h.first + offset, h.last + offset))
                )
        self._qualify(matches, context, turn)
        self._measure(tokens, numbers, matches, asked, turn)
        candidates += self._answer(text, tokens, context, asked, heard, turn, offset)
        return candidates

    def _heard(self, matches: Sequence[Match], context: Context) -> list[Heard]:
        found: dict[tuple[str, int], Heard] = {}
        for match in matches:
            if match.name not in self._rules.flags or context.shielded(match.first, match.last):
                continue
            heard = Heard(match.name, match.first, match.last, context.judge(match.first, match.last))
            known = found.get((match.name, match.first))
            if known is None or len(heard.against) < len(known.against):
                found[match.name, match.first] = heard
        return list(found.values())

    def _note(self, code: str, assertion: str, words: str, turn: int) -> None:
        self.findings.setdefault((code, assertion), Finding(code=code, assertion=assertion, text=words, turn=turn))

    # --- the question just asked

    def _asked(self, question: str) -> list[tuple[str, bool]]:
        """(code, whether yes means danger) for what the question names."""
        if not question:
            return []
        tokens = tokenise(question)
        found: dict[tuple[str, bool], None] = {}
        for match in self._rules.book.find(tokens):
            if match.name in self._rules.flags:
                found[match.name, True] = None
            elif match.name.startswith("!asks_"):
                row = self._rules.cues[match.name]
                found[row["code"], row.get("danger", "yes") == "yes"] = None
        return list(found)

    def _answer(
        self,
        text: str,
        tokens: Sequence[Token],
        context: Context,
        asked: list[tuple[str, bool]],
        heard: Sequence[Heard],
        turn: int,
        offset: int,
    ) -> list[Candidate]:
        if not asked or not tokens:
            return []
        yes = [s for s, _ in context.kinds.get("affirm", ()) if s.first <= 2 and _affirms(s, tokens)]
        no = [s for s, _ in context.kinds.get("refuse", ()) if s.first <= 2]
        if yes and no:
            said_yes = max(yes, key=lambda s: s.last - s.first).first <= min(s.first for s in no)
            if not said_yes and any(s.first > no[0].first + 1 for s in yes):
                said_yes = True
        elif yes or no:
            said_yes = bool(yes)
        else:
            return []
        codes = {h.code for h in heard}
        candidates = []
        for code, danger_on_yes in asked:
            flag = self._rules.flags.get(code)
            if flag is None or code in codes:
                continue
            present = said_yes == danger_on_yes
            span = (yes or no)[0]
            words = text[tokens[span.first].start : tokens[span.last - 1].end]
            self._note(code, "present" if present else "denied", words, turn)
            if present and flag.level.urgent:
                candidates.append(
                    Candidate(flag.level, flag.category, f"answer:{code}", (span.first + offset, span.last + offset))
                )
        return candidates

    # --- qualifiers and numbers

    def _qualify(self, matches: Sequence[Match], context: Context, turn: int) -> None:
        for match in matches:
            if match.name in self._rules.qualifiers and not context.shielded(match.first, match.last):
                name, value = self._rules.qualifiers[match.name]
                against = context.judge(match.first, match.last) - {"past", "gone"}
                if not against:
                    self.qualifiers[name] = (value, turn)

    def _measure(
        self,
        tokens: Sequence[Token],
        numbers: Sequence[Number],
        matches: Sequence[Match],
        asked: list[tuple[str, bool]],
        turn: int,
    ) -> None:
        for match in matches:
            measure = self._rules.measures.get(match.name)
            if measure is None:
                continue
            for number in numbers:
                if number.first >= match.first and number.last <= match.last:
                    for reading in number.readings:
                        if measure.low <= reading <= measure.high:
                            value = reading * measure.scale + measure.offset
                            self.qualifiers[measure.name] = (f"{value:g}", turn)
                            break
        del tokens, asked

    # --- the whole call

    def holds(self, condition: Condition) -> bool:
        """Whether a condition is met by what the call has brought so far."""
        if condition.compare:
            value = self.qualifiers.get(condition.name)
            return value is not None and _compare(condition, float(value[0]))
        return (condition.name, "present") in self.findings or (
            condition.name in self.qualifiers and self.qualifiers[condition.name][0] != "no"
        )

    def _combinations(self) -> list[Candidate]:
        found = []
        for combination in self._rules.combinations:
            if combination.id in self.fired:
                continue
            if all(any(self.holds(c) for c in group) for group in combination.needs):
                self.fired.add(combination.id)
                found.append(Candidate(combination.level, combination.category, f"combination:{combination.id}"))
        return found


class Judge:
    """One call's accumulator; fulfils `CallJudge`."""

    def __init__(self, classifier: "Classifier") -> None:
        self._classifier = classifier
        self._rules = RuleCall(classifier.rules)
        self._urgent: list[Assessment] = []

    def assess(self, text: str, *, question: str = "", turn: int = 0) -> Assessment:
        """Judge one final or stretch. Never raises."""
        try:
            assessment = self._assess(text, question, turn)
        except Exception:
            assessment = self._classifier.failed()
        if assessment.urgent:
            self._urgent.append(assessment)
        return assessment

    def _assess(self, text: str, question: str, turn: int) -> Assessment:
        candidates, tokens = self._rules.judge(text, question, turn)
        rules = self._classifier.rules
        best = max(
            candidates,
            key=lambda c: (_ORDER[c.level], rules.categories[c.category].rank, -(c.span or (0, 0))[0]),
            default=None,
        )
        language = language_of(tokens)
        if best is None:
            return Assessment(
                level=Level.ROUTINE,
                category=Category.NONE,
                score=SCORES[Level.ROUTINE],
                versions=rules.versions,
                language=language,
            )
        row = rules.categories[best.category]
        evidence: tuple[Evidence, ...] = ()
        if best.span is not None:
            first, last = tokens[best.span[0]], tokens[best.span[1] - 1]
            evidence = (Evidence(start=first.start, end=last.end, text=text[first.start : last.end]),)
        return Assessment(
            level=best.level,
            category=best.category,
            score=SCORES[best.level],
            evidence=evidence,
            rule=best.rule,
            versions=rules.versions,
            clip=row.emergency_clip if best.level is Level.EMERGENCY_NOW else row.clip,
            rank=rules.level_rank[best.level] + row.rank,
            language=language,
        )

    @property
    def known(self) -> Known:
        """Findings, qualifiers and urgent verdicts so far."""
        return Known(
            findings=tuple(self._rules.findings.values()),
            qualifiers=tuple((name, value, turn) for name, (value, turn) in self._rules.qualifiers.items()),
            urgent=tuple(self._urgent),
        )


class Classifier:
    """All rules, compiled. Immutable and shared by all calls of the process."""

    def __init__(self, rules: Rulebook) -> None:
        self.rules = rules

    def begin(self) -> Judge:
        """A fresh accumulator for one call."""
        return Judge(self)

    def failed(self) -> Assessment:
        """The verdict when the rules themselves are broken: a nurse, behind every real finding."""
        row = self.rules.categories[Category.CLASSIFIER_FAILED]
        return Assessment(
            level=Level.NURSE_NOW,
            category=Category.CLASSIFIER_FAILED,
            score=THRESHOLD,
            rule="classifier_failed",
            versions=self.rules.versions,
            clip=row.clip,
            rank=row.rank,
        )


def load(clock: Callable[[], float] | None = None) -> Classifier:
    """Compile the shipped rules.

    Raises:
        RuleFileError: a rule file is missing or broken.
    """
    del clock
    return Classifier(load_rulebook())
