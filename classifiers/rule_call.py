"""What the rules know of one call, and how one more final changes it.

1. Words become tokens, numbers and matches (one pass over each window of the text).
2. Matches become findings with an assertion, qualifiers and measures; all are kept over the call.
3. A finding alone, an answer (`answers.py`) to the question just asked (`questions.py`), a doubt that is raised again,
   and combinations over the whole call give candidates. What the call was "about" plays no part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from classifiers.answers import dodged, refused, said_yes
from classifiers.assertion import Context, Span, written_names
from classifiers.assessment import Finding
from classifiers.given import dictated, of_numbers, spelled
from classifiers.levels import Category, Level
from classifiers.numbers import Number, find_numbers
from classifiers.patterns import Match
from classifiers.questions import Asked, asked_by
from classifiers.rulebook import Condition, Rulebook
from classifiers.tokens import Token, tokenise, without_double_negation

WINDOW, OVERLAP = 160, 40
"""Tokens per window of a long text, and how many two neighbours share."""
_DOUBT = frozenset(("hypothetical", "gone", "chronic"))
"""What leaves a finding doubtful rather than denied."""
_OF_TESTS = frozenset(("glucose",))
"""Measures whose word also names a test or a supply."""
_OTHERS = frozenset(("other",))
_PASSED = frozenset(("passed",))
"""What takes back a mere fact, not a danger: "it bled a little but it stopped"."""
_SETTLED = frozenset(("settled",))
_NEVER_SETTLED = frozenset((Category.SELF_HARM, Category.VIOLENCE))
"""That all is well now settles nothing of these."""
_NEVER_NAMES = frozenset((Category.SELF_HARM, Category.RESCUE))
"""A capital letter takes nothing from these: "Ambulance", "Help", "Suicide Bridge"."""
_LONG_OVER = frozenset(("past", "chronic", "other"))
"""What takes the danger out of a yes: "yes, years ago", "yes, my neighbor"."""
_YOUNG = frozenset(("infant", "very_young", "age_days"))
"""What makes a number of weeks the age of a child, not of a pregnancy."""
_LASTING = frozenset(("past", "gone", "chronic"))
"""What takes nothing from a qualifier: who had a stroke years ago had one."""
_FLEETING = frozenset(("recent_surgery", "recent_travel", "postpartum"))
"""Qualifiers that long ago are none."""
_DAYS_PER = {"day": 1.0, "dia": 1.0, "week": 7.0, "semana": 7.0, "month": 30.4, "mes": 30.4}
_YEAR_WORDS = ("year", "ano", "yr")
_LONGEST_AGE = 115.0
_COMPLETED = 12
"""First words of an answer that may complete a question."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reason to raise the level."""

    level: Level
    category: Category
    rule: str
    span: tuple[int, int] | None = None
    """Tokens of the final that it rests on."""


@dataclass(frozen=True, slots=True)
class _Heard:
    code: str
    first: int
    last: int
    against: frozenset[str]


def _holds(condition: Condition, value: float) -> bool:
    match condition.compare:
        case "<":
            return value < condition.value
        case "<=":
            return value <= condition.value
        case ">":
            return value > condition.value
        case _:
            return value >= condition.value


class RuleCall:
    """The accumulator of one call."""

    def __init__(self, rules: Rulebook) -> None:
        self._rules = rules
        self.findings: dict[tuple[str, str], Finding] = {}
        """By (code, assertion): the first time it was said so."""
        self.qualifiers: dict[str, tuple[str, int]] = {}
        """name to (value, turn)."""
        self._doubts: dict[str, int] = {}
        self._fired: set[str] = set()
        self._here: dict[str, tuple[int, int]] = {}

    def judge(self, text: str, question: str, turn: int) -> tuple[list[Candidate], tuple[Token, ...]]:
        """Candidates of one final, and its tokens."""
        tokens = without_double_negation(tokenise(text))
        asked = asked_by(self._rules, question)
        candidates: list[Candidate] = []
        self._here = {}
        doubtful: set[str] = set()
        for start in range(0, max(1, len(tokens) - OVERLAP), WINDOW - OVERLAP):
            window = tokens[start : start + WINDOW]
            candidates += self._window(text, window, asked if start == 0 else Asked(), turn, start, doubtful)
        candidates += self._raised_again(doubtful)
        candidates += self._combinations()
        return candidates, tokens

    def _window(
        self, text: str, tokens: Sequence[Token], asked: Asked, turn: int, offset: int, doubtful: set[str]
    ) -> list[Candidate]:
        rules = self._rules
        numbers = find_numbers(tokens)
        matches = rules.book.find(tokens, [*of_numbers(numbers), *spelled(tokens), *dictated(tokens)])
        symptoms = [(m.first, m.last) for m in matches if m.name == "<symptom>" or m.name in rules.flags]
        context = Context(tokens, matches, rules.cues, symptoms, written_names(text, tokens))
        candidates: list[Candidate] = []
        heard = self._heard(matches, context)
        for h in heard:
            flag = rules.flags[h.code]
            against = h.against | (_OTHERS if asked.family else frozenset())
            against = against - flag.counts - (_PASSED if flag.level.urgent else frozenset())
            if "gone" in flag.counts or flag.category in _NEVER_SETTLED:
                against -= _SETTLED
            span = (h.first + offset, h.last + offset)
            words = text[tokens[h.first].start : tokens[h.last - 1].end]
            if not against:
                self._note(h.code, "present", words, turn, span)
                if flag.level.urgent:
                    candidates.append(Candidate(flag.level, flag.category, f"flag:{h.code}", span))
            elif "negated" in against:
                self._note(h.code, "denied", words, turn)
            else:
                self._note(h.code, "uncertain", words, turn)
                if flag.level.urgent and against <= _DOUBT:
                    doubtful.add(h.code)
        self._qualify(matches, context, turn, offset)
        self._measure(tokens, numbers, matches, context, asked, turn, offset)
        candidates += self._completed(text, tokens, context, asked, turn, offset)
        return candidates + self._answer(text, tokens, context, asked, heard, turn, offset)

    def _heard(self, matches: Sequence[Match], context: Context) -> list[_Heard]:
        """Findings, one per code and first word, in the reading that has least against it."""
        found: dict[tuple[str, int], _Heard] = {}
        for match in matches:
            if match.name not in self._rules.flags or context.shielded(match.first, match.last):
                continue
            flag = self._rules.flags[match.name]
            against = context.judge(match.first, match.last, match.name)
            if flag.level.urgent and flag.category not in _NEVER_NAMES:
                against |= _OTHERS if context.written_as_name(match.first, match.last) else frozenset()
            heard = _Heard(match.name, match.first, match.last, against)
            known = found.get((match.name, match.first))
            if known is None or len(heard.against) < len(known.against):
                found[match.name, match.first] = heard
        return list(found.values())

    def _note(self, code: str, assertion: str, words: str, turn: int, span: tuple[int, int] | None = None) -> None:
        self.findings.setdefault((code, assertion), Finding(code=code, assertion=assertion, text=words, turn=turn))
        if span is not None:
            self._here.setdefault(code, span)

    def _answer(
        self,
        text: str,
        tokens: Sequence[Token],
        context: Context,
        asked: Asked,
        heard: Sequence[_Heard],
        turn: int,
        offset: int,
    ) -> list[Candidate]:
        if not (asked.findings or asked.qualifiers) or not tokens:
            return []
        hedge = next(
            (span for span, _ in context.kinds.get("hedge", ()) if sum(not t.soft for t in tokens[: span.first]) == 0),
            None,
        )
        said = said_yes(tokens, context)
        if any(sum(not t.soft for t in tokens[: span.first]) <= 1 for span, _ in context.kinds.get("usual", ())):
            return []
        if said is None and hedge is None:
            left_open = dodged(tokens, context, asked)
            if left_open:
                return self._dodging(text, tokens, left_open, {h.code for h in heard}, turn, offset)
            times = context.kinds.get("now", []) + context.kinds.get("numbered", [])
            if not asked.since or not times or context.kinds.get("past") or context.kinds.get("gone"):
                return []
            hedge = times[0][0]
        yes, span = said if said is not None else (True, hedge or Span(0, 1))
        codes = {h.code for h in heard}
        named = any(not h.against and any(h.code == code for code, _ in asked.findings) for h in heard)
        where = (span.first + offset, span.last + offset)
        words = text[tokens[span.first].start : tokens[span.last - 1].end]
        for name, value in asked.qualifiers:
            if name != "sex" and name not in self.qualifiers:
                self._qualifier(name, value if yes else "no", turn, where)
        candidates = []
        for code, danger_on_yes in asked.findings:
            flag = self._rules.flags.get(code)
            if flag is None or code in codes or (yes and named):
                continue
            hedged = hedge is not None and (said is None or not danger_on_yes)
            if yes != danger_on_yes and not hedged:
                self._note(code, "denied", words, turn)
                continue
            if danger_on_yes and context.judge(span.first, span.last) & _LONG_OVER - flag.counts:
                self._note(code, "uncertain", words, turn)
                continue
            self._note(code, "present", words, turn, where)
            if flag.level.urgent:
                candidates.append(Candidate(flag.level, flag.category, f"answer:{code}", where))
        return candidates

    def _dodging(
        self, text: str, tokens: Sequence[Token], codes: Sequence[str], heard: set[str], turn: int, offset: int
    ) -> list[Candidate]:
        """What such an answer is taken for."""
        span = (offset, len(tokens) + offset)
        found = []
        for code in codes:
            flag = self._rules.flags.get(code)
            if flag is None or code in heard:
                continue
            self._note(code, "present", text, turn, span)
            if flag.level.urgent:
                found.append(Candidate(Level.NURSE_NOW, flag.category, f"dodged:{code}", span))
        return found

    def _completed(
        self, text: str, tokens: Sequence[Token], context: Context, asked: Asked, turn: int, offset: int
    ) -> list[Candidate]:
        """Findings that question and answer make together: "where is the pain" and "in the middle of my chest"."""
        if not asked.opening or not tokens:
            return []
        seam = len(asked.opening)
        answer = [replace(tokens[0], after_break=False, after_comma=False), *tokens[1:_COMPLETED]]
        joined = (*asked.opening, *answer)
        matches = self._rules.book.find(joined, of_numbers(find_numbers(joined)))
        candidates = []
        for match in matches:
            flag = self._rules.flags.get(match.name)
            if flag is None or match.first >= seam or match.last <= seam or flag.category is Category.RESCUE:
                continue
            last = match.last - seam
            if context.shielded(0, last) or context.judge(0, last) - flag.counts - _PASSED or refused(context):
                continue
            span = (offset, last + offset)
            self._note(match.name, "present", text[tokens[0].start : tokens[last - 1].end], turn, span)
            if flag.level.urgent:
                candidates.append(Candidate(flag.level, flag.category, f"completed:{match.name}", span))
        return candidates

    # --- qualifiers and numbers

    def _qualify(self, matches: Sequence[Match], context: Context, turn: int, offset: int) -> None:
        for match in matches:
            row = self._rules.qualifiers.get(match.name)
            if row is None or context.shielded(match.first, match.last, errands=False):
                continue
            lasting = frozenset(("gone", "chronic")) if row[0] in _FLEETING else _LASTING
            if not context.judge(match.first, match.last) - lasting - _PASSED:
                self._qualifier(row[0], row[1], turn, (match.first + offset, match.last + offset))

    def _qualifier(self, name: str, value: str, turn: int, span: tuple[int, int]) -> None:
        self.qualifiers[name] = (value, turn)
        self._here.setdefault(name, span)

    def _measure(
        self,
        tokens: Sequence[Token],
        numbers: Sequence[Number],
        matches: Sequence[Match],
        context: Context,
        asked: Asked,
        turn: int,
        offset: int,
    ) -> None:
        """Numbers with a meaning: by the words around them, or by the question they answer."""
        rules = self._rules
        for match in matches:
            measure = rules.measures.get(match.name)
            if measure is None:
                continue
            if measure.name in _OF_TESTS and context.shielded(match.first, match.last, errands=False):
                continue  # "the glucose test, I'm twenty-six weeks"
            for number in numbers:
                if number.first >= match.first and number.last <= match.last:
                    reading = next((r for r in number.readings if measure.low <= r <= measure.high), None)
                    if reading is not None:
                        value = reading * measure.scale + measure.offset
                        self._qualifier(measure.name, f"{value:g}", turn, (match.first + offset, match.last + offset))
                        break
        answered: set[str] = set()
        for number in numbers if asked.measures else ():
            span = (number.first + offset, number.last + offset)
            if "age" in asked.measures:
                self._age(tokens, number, turn, span)
            for measure in rules.measures.values():
                if measure.name not in asked.measures - answered:
                    continue
                reading = next((r for r in number.readings if measure.low <= r <= measure.high), None)
                if reading is not None:
                    value = reading * measure.scale + measure.offset
                    self._qualifier(measure.name, f"{value:g}", turn, span)
                    answered.add(measure.name)
                    break

    def _age(self, tokens: Sequence[Token], number: Number, turn: int, span: tuple[int, int]) -> None:
        """The answer to "how old": years unless a smaller unit follows."""
        unit = tokens[number.last].text if number.last < len(tokens) else ""
        days = next((d for word, d in _DAYS_PER.items() if unit.startswith(word)), None)
        value = number.readings[0]
        if days is not None:
            self._qualifier("age_days", f"{value * days:g}", turn, span)
        elif 0 < value <= _LONGEST_AGE and (not unit or unit.startswith(_YEAR_WORDS) or number.last == len(tokens)):
            self._qualifier("age_years", f"{value:g}", turn, span)

    # --- the whole call

    def holds(self, condition: Condition) -> bool:
        """Whether a condition is met by what the call has brought so far."""
        if condition.compare:
            value = self.qualifiers.get(condition.name)
            return value is not None and _holds(condition, float(value[0]))
        if condition.name == "doubt":
            return bool(self._doubts)
        known = self.qualifiers.get(condition.name)
        if condition.name == "pregnant" and known is None:
            known = None if _YOUNG & self.qualifiers.keys() else self.qualifiers.get("pregnant_weeks")
        return (condition.name, "present") in self.findings or (known is not None and known[0] != "no")

    def _raised_again(self, doubtful: set[str]) -> list[Candidate]:
        """A danger spoken of as a mere possibility is one; on the second final it is a reason."""
        found = []
        for code in sorted(doubtful):
            self._doubts[code] = self._doubts.get(code, 0) + 1
            if self._doubts[code] >= self._rules.doubts_allowed:
                flag = self._rules.flags[code]
                found.append(Candidate(flag.level, flag.category, f"again:{code}", self._here.get(code)))
        return found

    def facts(self) -> set[str]:
        """Every name that a condition may hold by (`holds`): what is not among these need not be asked."""
        facts = {code for code, assertion in self.findings if assertion == "present"} | self.qualifiers.keys()
        if self._doubts:
            facts.add("doubt")
        if "pregnant_weeks" in facts:
            facts.add("pregnant")
        return facts

    def _combinations(self) -> list[Candidate]:
        found = []
        for combination in self._rules.begun_by(self.facts()):
            if combination.id in self._fired:
                continue
            if all(any(self.holds(c) for c in group) for group in combination.needs):
                self._fired.add(combination.id)
                spans = [self._here[c.name] for group in combination.needs for c in group if c.name in self._here]
                span = min(spans) if spans else None
                found.append(Candidate(combination.level, combination.category, f"combination:{combination.id}", span))
        return found
