"""How long must the caller be silent before the turn is over? Decided from what they have said so far.

500 ms is the backstop. A sentence that cannot end here ("and", "my", "about twenty") gets more time, a complete short
answer to a yes-or-no question less, dictation (a number, a spelled name) more throughout. A pure function of text;
nothing here listens or waits.
"""

import re
from dataclasses import dataclass

HESITATING_MS = 1200
"""After "um", "let me see"."""
COMPLETE_MS = 300
"""After yes or no to a question that asked for just that."""
SHORT_ANSWER_WORDS = 7
"""A longer answer is a story, and gets the backstop."""
DICTATED_MS = 600
"""After a telephone number that has all its digits."""

SPELLING = "spelling"
NUMBER = "number"
YES_NO = "yes_no"
"""The phases of the dialogue that matter here; any other says nothing about the answer."""
PHONE_DIGITS = (7, 10, 11)
"""Lengths of a complete telephone number."""


def _phrases(text: str) -> frozenset[str]:
    """The comma-separated phrases of a text."""
    return frozenset(" ".join(phrase.split()) for phrase in text.split(","))


_WORD = re.compile(r"[a-z0-9']+")
_UNFINISHED = _phrases(
    """a, about, also, although, an, and, any, around, as, at, because, between, both, but, by, can, could, did, do, does,
    during, either, even, every, for, from, had, has, have, his, i, if, in, into, is, its, just, like, maybe, my, nearly, no, other, own,
    not, of, on, or, our, really, she, he, since, so, some, such, than, that's, the, their, then, they, till, to, under, until, very,
    was, we, were, when, where, whether, which, while, who, whose, will, with, without, would, your"""
)
_FINISHED = _phrases(
    """not really, think so, guess so, say so, hope so, i do, i did, i have, i can, i was, i am, it is, it was, it does,
    he is, she is, he does, she does, he has, she has, he can, she can, they do, there is, if not, think not, hope not,
    maybe not, said no, of course not, breathe in, come in, feel like"""
)
_HESITATIONS = _phrases("uh, um, er, hmm, well")
_HESITATING_ENDS = ("let me see", "let me think", "let me check", "what was it", "i mean", "you know", "hold on")
_NO = _phrases("no, nope, never")
_YES_NO = _phrases("yes, yeah, yep, yup, no, nope, correct, right, sure, okay, ok, never, none, nothing")
_YES_NO_ANSWERS = _phrases(
    """yes it is, yes i do, yes i am, yes i have, yes i can, yes he is, yes she is, yes please, yes that's right,
    yes that is right, yes that is correct, that is right, that is correct, that's right, i think so, yes i think so,
    no i'm not, no i am not, no i don't, no i do not, no i have not, no i haven't, no it is not, no it isn't,
    no he is not, no she is not, no thank you, no thanks, not really, not at all, i don't think so, i do not think so,
    i don't know, i do not know, i'm not sure, i am not sure, of course"""
)
_ASKS_YES_NO = re.compile(
    r"(?:^|[.!?,;]\s*|\b(?:and|or|so)\s+)(?:is|are|was|were|do|does|did|have|has|had|can|could|will|would|shall|should|may)\s+"
    r"(?:it|this|that|there|you|your|he|she|they|the|anyone|anybody|we|i)\b",
    re.IGNORECASE,
)
_CHOICE = re.compile(
    r"(?:(?:i am|i'm|it is|it's|this is|i am calling|i'm calling) )?(?:(?:for|about) )?"
    r"(?:a )?(?:male|female|man|woman|me|myself|my (?:wife|husband|son|daughter|mother|father|mom|dad|baby))"
)
_TENS = _phrases("twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety")
_UNITS = _phrases("zero, oh, one, two, three, four, five, six, seven, eight, nine")
_TEENS = _phrases("ten, eleven, twelve, thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen")
_NUMBER_GOES_ON = _phrases("hundred, thousand, point, half, quarter, double, triple")
_ENDS_A_MEASURE = re.compile(
    r"\b(?:ago|out of ten|years? old|years? of age|(?:for|about) .*(?:minutes?|hours?|days?|weeks?|months?|years?)"
    r"|yesterday|today|this morning|last night|last week)$"
)


@dataclass(frozen=True, slots=True)
class Silences:
    """What an operator may set, ms."""

    backstop_ms: int = 500
    """Ends a turn when the words do not say otherwise."""
    short_ms: int = 350
    """After an answer of the kind that was asked for: "no, my breathing is fine", a duration, an age, a score."""
    unfinished_ms: int = 1000
    """After words that want another one."""
    dictation_ms: int = 1200
    """Between the groups of a number or the letters of a name."""


USUAL = Silences()


def silence_needed_ms(partial: str, *, question: str = "", phase: str = "", silences: Silences = USUAL) -> int:
    """Milliseconds of silence after `partial` that end the turn.

    `question`: what was asked last, as it was said; empty when nothing was. `phase`: the kind of answer it wants
    (`yes_no`, `number`, `spelling`; anything else is open). Nothing heard yet counts as the backstop.
    """
    words = _WORD.findall(partial.lower().replace("’", "'"))
    if not words:
        return silences.backstop_ms
    said = " ".join(words)
    if words[-1] in _HESITATIONS or said.endswith(_HESITATING_ENDS):
        return max(HESITATING_MS, silences.unfinished_ms)
    asked_yes_no = phase == YES_NO or _ASKS_YES_NO.search(question) is not None
    if _is_yes_or_no(words):
        return min(COMPLETE_MS, silences.short_ms) if asked_yes_no else silences.backstop_ms
    if phase == YES_NO and _CHOICE.fullmatch(said):
        return silences.short_ms
    if phase == SPELLING:
        return silences.dictation_ms
    if phase == NUMBER and (digits := _digits(words)) >= 2:
        return DICTATED_MS if digits in PHONE_DIGITS else silences.dictation_ms
    if _ENDS_A_MEASURE.search(said):
        return silences.short_ms if question and len(words) <= SHORT_ANSWER_WORDS else silences.backstop_ms
    if _number_in_progress(words, answered=bool(question) and phase != NUMBER):
        return silences.unfinished_ms
    if words[-1] in _UNFINISHED and (words[0] in _NO or not _finished(words)):
        return silences.unfinished_ms  # "yes i have" is whole, "no i have" is not
    if asked_yes_no and words[0] in _YES_NO and 4 <= len(words) <= SHORT_ANSWER_WORDS:
        return silences.short_ms
    return silences.backstop_ms


def _is_yes_or_no(words: list[str]) -> bool:
    """A whole answer, and nothing begun after it."""
    return all(word in _YES_NO for word in words) or " ".join(words) in _YES_NO_ANSWERS


def _finished(words: list[str]) -> bool:
    """The last words are one of the endings that only look unfinished."""
    return any(" ".join(words[-length:]) in _FINISHED for length in (2, 3))


def _digits(words: list[str]) -> int:
    """How many digits were dictated one by one; "thirty four" is none, "double five" two."""
    count = 0
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        if word.isdigit():
            count += len(word)
        elif word in _UNITS and before not in _TENS and before not in {"and", "hundred", "point"}:
            count += {"double": 2, "triple": 3}.get(before, 1)
    return count


def _number_in_progress(words: list[str], *, answered: bool) -> bool:
    """More may well follow "one hundred", "thirty", "five five"; with `answered`, a bare number is a whole answer."""
    last = words[-1]
    before = words[-2] if len(words) > 1 else ""
    if last in _NUMBER_GOES_ON:
        return not (answered and last in {"hundred", "half"})
    if last in _TENS:
        return not answered
    if last in _UNITS | _TEENS or last.isdigit():
        return (
            before in _UNITS
            or before.isdigit()
            or not (answered or last == "one" or before in _TENS | {"and", "hundred", "point"})
        )
    return False
