"""What the rules know of one call, and how one more final changes it.

1. Words become tokens, numbers and matches (one pass over each window of the text).
2. Matches become findings with an assertion, qualifiers and measures; all are kept over the call.
3. A finding alone, an answer to the question just asked, a doubt that is raised again, and combinations over the whole
   call give candidates. What the call was "about" plays no part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from classifiers.assertion import Context, Span, written_names
from classifiers.assessment import Finding
from classifiers.levels import Category, Level
from classifiers.numbers import Number, find_numbers
from classifiers.patterns import Match
from classifiers.rulebook import Condition, Rulebook
from classifiers.tokens import Token, tokenise, without_double_negation

WINDOW, OVERLAP = 160, 40
"""Tokens per window of a long text, and how many two neighbours share."""
YEARS = (1930, 2035)
DECADES = (40, 100)
"""Years as people shorten them: "in ninety-eight"."""
_DOUBT = frozenset(("hypothetical", "gone", "chronic"))
"""What leaves a finding doubtful rather than denied."""
_SHORT_ANSWER = 9
"""Up to so many words an answer that is neither yes nor no is a way round one."""
_HARM = frozenset(("self_harm", "attempt", "violence"))
"""Asked after these, only a no is a no."""
_FUNCTIONS = frozenset(
    ("infant_danger", "new_confusion", "unsafe", "limb_danger", "pregnancy_danger", "cannot_swallow")
)
"""Asked whether these are well, only a yes is a yes."""
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
_FEVER_C, _FEVER_F = (38.0, 42.0), (100.3, 106.0)
_DAYS_PER = {"day": 1.0, "dia": 1.0, "week": 7.0, "semana": 7.0, "month": 30.4, "mes": 30.4}
_YEAR_WORDS = ("year", "ano", "yr")
_LONGEST_AGE = 115.0
_MANY = 7
"""So many tablets are no ordinary dose."""
_OPENING = 8
"""Last words of an open question that its answer may complete."""
_COMPLETED = 12
"""First words of an answer that may complete a question."""
_LONG_NUMBER = 4
"""So many number words in a row are a telephone number, a date or an account."""
_DICTATED = 5
"""So many digits in a row are dictated."""
_DIGIT_WORDS = frozenset(
    ("oh", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "double", "triple")
)
_RESCUE_DIGITS = frozenset(("nine", "one"))
_RESCUE_NUMBERS = frozenset((911911.0, 911911911.0, 911.0))
_SPELLED = 3
"""So many single letters in a row spell something."""
_ANSWER_WORDS = 3
"""A yes or no counts when it begins within so many words."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reason to raise the level."""

    level: Level
    category: Category
    rule: str
    span: tuple[int, int] | None = None
    """Tokens of the final that it rests on."""


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


def last_question(question: str) -> str:
    """The sentence of an agent's turn that wants the answer: the last one that ends in a question mark, else the last."""
    pieces = [piece for piece in question.replace("?", "?\n").replace(". ", ".\n").split("\n") if piece.strip()]
    asking = [piece for piece in pieces if piece.rstrip().endswith("?")]
    return (asking or pieces or [""])[-1]


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
        asked = self._asked(question)
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
        matches = rules.book.find(tokens, [*_given(numbers), *_spelled(tokens), *_dictated(tokens)])
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

    # --- the question just asked

    def _asked(self, question: str) -> Asked:
        """What the question is after; nothing when it is no question or only an announcement."""
        if not question.strip():
            return Asked()
        tokens = tokenise(last_question(question))[:WINDOW]
        matches = self._widest_asks(self._rules.book.find(tokens))
        context = Context(tokens, matches, self._rules.cues)
        findings: dict[tuple[str, bool], None] = {}
        qualifiers: dict[tuple[str, str], None] = {}
        measures: set[str] = set()
        for match in matches:
            if match.name in self._rules.flags:
                rescue = self._rules.flags[match.name].category is Category.RESCUE
                if not rescue and not context.shielded(match.first, match.last):
                    findings[match.name, True] = None
            elif match.name in self._rules.qualifiers:
                qualifiers[self._rules.qualifiers[match.name]] = None
            elif match.name.startswith("!"):
                row = self._rules.cues[match.name]
                if row["kind"] == "asks":
                    findings[row["code"], row.get("danger", "yes") == "yes"] = None
                elif row["kind"] == "asks_number":
                    measures.update(str(row["measures"]).split())
        turned = {code for code, yes in findings if not yes}
        kept = tuple((code, yes) for code, yes in findings if not (yes and code in turned))
        if tokens and tokens[0].text in _WHEN:
            kept = tuple((code, yes) for code, yes in kept if yes)
        kinds = {self._rules.cues[m.name]["kind"] for m in matches if m.name[0] == "!"}
        is_open = any(
            self._rules.cues[m.name]["kind"] == "asks_open" and m.first <= 1 for m in matches if m.name[0] == "!"
        )
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

    def _widest_asks(self, matches: Sequence[Match]) -> list[Match]:
        """Without the questions that are only part of a longer one: "is he breathing" in "is he breathing faster"."""
        cues = self._rules.cues
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

    def _said_yes(self, tokens: Sequence[Token], context: Context) -> tuple[bool, Span] | None:
        """Whether the final begins with a yes (True) or a no, and where; None when with neither."""

        def spans(kind: str) -> list[Span]:
            kept = []
            for span, row in context.kinds.get(kind, ()):
                hard = sum(not t.soft for t in tokens[: span.first])
                ends = span.last >= len(tokens) or tokens[span.last].after_break or tokens[span.last].after_comma
                after = tokens[span.last].text if span.last < len(tokens) else ""
                if kind == "affirm" and after in ("not", "no") and not tokens[span.last].after_break:
                    continue  # "definitely not"
                if kind == "refuse" and after in _NO_TROUBLE:
                    continue  # "yes, no problem"
                if hard < _ANSWER_WORDS and (ends or not row.get("whole") or tokens[span.last].text in _GOING_ON):
                    kept.append(span)
            return kept

        yes, no = spans("affirm"), spans("refuse")
        if _grunted_no(tokens):
            return False, Span(0, 2)
        if not yes and not no:
            last = _last_word(tokens)
            return (True, Span(last, last + 1)) if last >= 0 and tokens[last].text in _CLOSING_YES else None
        first = min((*yes, *no), key=lambda s: (s.first, s.first - s.last))
        plain = [span for span, row in context.kinds.get("affirm", ()) if not row.get("whole")]
        firm = {span for span, row in context.kinds.get("affirm", ()) if row.get("firm")}
        if first in firm:
            return True, first
        second = next((s for s in (*yes, *no) if s.first == first.last and (s in yes) != (first in yes)), None)
        if second is not None and first in no and tokens[second.first].text == "a" and second.last < len(tokens):
            going_on = tokens[second.last].after_break or tokens[second.last].text in _GOING_ON
            second = second if going_on else None  # "no, a little washed out" is no yes
        if second is not None and second in no and tokens[second.first].text not in _SECOND_NO:
            second = None  # "yes, nothing new" is no no
        if second is not None and first in no and tokens[first.first].text not in _SECOND_NO:
            second = None  # "just a grumble now and then" is no yes
        if second is not None and second in yes and second not in plain:
            second = None  # "no, worse" is no yes
        if second is not None:
            return second in yes, second  # "yeah no", "no yeah": the second word is the answer
        if first in no and first not in yes:
            after = [
                span
                for span, _ in context.kinds.get("affirm", ())
                if span.first > first.last - 1 and any(t.text in _TURNING for t in tokens[first.last : span.first])
            ]
            if after:
                return True, after[0]
        return first in yes, first

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
        said = self._said_yes(tokens, context)
        if any(sum(not t.soft for t in tokens[: span.first]) <= 1 for span, _ in context.kinds.get("usual", ())):
            return []
        if said is None and hedge is None:
            dodged = self._dodged(tokens, context, asked)
            if dodged:
                return self._dodging(text, tokens, dodged, {h.code for h in heard}, turn, offset)
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

    @staticmethod
    def _dodged(tokens: Sequence[Token], context: Context, asked: Asked) -> list[str]:
        """Findings that a short answer leaves open though a plain yes (or, of harm, a plain no) was to be had."""
        kinds = context.kinds
        hard = sum(not token.soft for token in tokens)
        if not asked.closed or not 1 < hard <= _SHORT_ANSWER:
            return []
        if any(kinds.get(kind) for kind in ("reassure", "evasive", "refuse", "usual", "negate", "other")):
            return []
        return [code for code, yes in asked.findings if (code in _HARM if yes else code in _FUNCTIONS)]

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
        matches = self._rules.book.find(joined, _given(find_numbers(joined)))
        candidates = []
        for match in matches:
            flag = self._rules.flags.get(match.name)
            if flag is None or match.first >= seam or match.last <= seam or flag.category is Category.RESCUE:
                continue
            last = match.last - seam
            if context.shielded(0, last) or context.judge(0, last) - flag.counts - _PASSED or self._refused(context):
                continue
            span = (offset, last + offset)
            self._note(match.name, "present", text[tokens[0].start : tokens[last - 1].end], turn, span)
            if flag.level.urgent:
                candidates.append(Candidate(flag.level, flag.category, f"completed:{match.name}", span))
        return candidates

    @staticmethod
    def _refused(context: Context) -> bool:
        """Whether the answer begins with a no."""
        return any(span.first == 0 for span, _ in context.kinds.get("refuse", ()))

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


_CLOSING_YES = frozenset(("yes", "yeah", "yep", "yup", "si"))
"""A yes that counts as the last word of an answer too: "my bottom lip, yeah"."""


def _grunted_no(tokens: Sequence[Token]) -> bool:
    """Whether an answer is "uh-uh", and not the "uh, uh" of somebody who looks for words."""
    alone = len(tokens) == 2 or (len(tokens) > 2 and (tokens[2].after_break or tokens[2].after_comma))
    return alone and [token.text for token in tokens[:2]] == ["uh", "uh"]


def _last_word(tokens: Sequence[Token]) -> int:
    """Index of the last token that is not soft, or -1."""
    return next((at for at in range(len(tokens) - 1, -1, -1) if not tokens[at].soft), -1)


def _spelled(tokens: Sequence[Token]) -> list[Match]:
    """Runs of single letters, which spell a name and are no words."""
    found = []
    first = 0
    for at in range(len(tokens) + 1):
        if at < len(tokens) and len(tokens[at].text) == 1 and tokens[at].text.isalpha():
            continue
        if at - first >= _SPELLED:
            found.append(Match("<spelled>", first, at))
        first = at + 1
    return found


_SECOND_NO = frozenset(("no", "nope", "nah", "not", "never"))
_CLOSED = frozenset(
    [
        "is",
        "are",
        "was",
        "were",
        "does",
        "do",
        "did",
        "can",
        "could",
        "has",
        "have",
        "had",
        "will",
        "would",
        "any",
        "able",
        "still",
        "esta",
        "estan",
        "puede",
        "tiene",
        "ha",
    ]
)
"""First words of a question that wants a yes or a no."""


def _closed(tokens: Sequence[Token]) -> bool:
    """Whether a question opens so, be it after an "and" or an "okay"."""
    return any(token.text in _CLOSED for token in [t for t in tokens if not t.soft][:2])


_WHEN = frozenset(("when", "cuando"))
"""A question for a time has no dangerous no."""
_NO_TROUBLE = frozenset(("problem", "problems", "trouble", "issues", "worries", "bother"))
_GOING_ON = frozenset(("and", "but", "y", "pero", "because", "since", "when", "on", "in", "of", "yes", "if", "after"))
_TURNING = frozenset(("but", "well", "actually", "except", "though", "pero", "bueno", "maybe", "now"))


def _dictated(tokens: Sequence[Token]) -> list[Match]:
    """Runs of digits one after another, which are a telephone number or an account; nine, one, one is none of them."""
    found = []
    first = 0
    for at in range(len(tokens) + 1):
        if at < len(tokens) and tokens[at].text in _DIGIT_WORDS:
            continue
        said = {token.text for token in tokens[first:at]}
        if at - first >= _DICTATED and not said <= _RESCUE_DIGITS:
            found.append(Match("<longnum>", first, at))
        first = at + 1
    return found


def _is_fever(reading: float) -> bool:
    """Whether a number with a fraction can only be a raised temperature, so that no word beside it need say so."""
    return reading % 1 > 0 and (_FEVER_C[0] < reading < _FEVER_C[1] or _FEVER_F[0] < reading < _FEVER_F[1])


def _given(numbers: Sequence[Number]) -> list[Match]:
    """Numbers as classes that phrases may ask for."""
    given = [Match("<num>", n.first, n.last) for n in numbers]
    given += [Match("<many>", n.first, n.last) for n in numbers if _MANY <= n.readings[0] < YEARS[0]]
    given += [Match("<decade>", n.first, n.last) for n in numbers if DECADES[0] <= n.readings[0] < DECADES[1]]
    low, high = YEARS
    given += [
        Match("<longnum>", n.first, n.last)
        for n in numbers
        if n.last - n.first >= _LONG_NUMBER and not _RESCUE_NUMBERS & set(n.readings)
    ]
    given += [Match("<fevernum>", n.first, n.last) for n in numbers if _is_fever(n.readings[0])]
    return given + [Match("<year>", n.first, n.last) for n in numbers if any(low <= r <= high for r in n.readings)]
