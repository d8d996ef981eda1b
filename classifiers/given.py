"""What phrases are given beside words: kinds of numbers, spelled letters and dictated digits, each as a class."""

from collections.abc import Sequence

from classifiers.numbers import Number
from classifiers.patterns import Match
from classifiers.tokens import Token

YEARS = (1930, 2035)
DECADES = (40, 100)
"""Years as people shorten them: "in ninety-eight"."""
_FEVER_C, _FEVER_F = (38.0, 42.0), (100.3, 106.0)
_MANY = 7
"""So many tablets are no ordinary dose."""
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


def of_numbers(numbers: Sequence[Number]) -> list[Match]:
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


def spelled(tokens: Sequence[Token]) -> list[Match]:
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


def dictated(tokens: Sequence[Token]) -> list[Match]:
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
