"""Numbers as people say them: words to integers, spoken telephone numbers to digits, and back for reading aloud."""

import re
from collections.abc import Sequence

_UNITS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_DIGIT_WORDS = {**{w: str(n) for w, n in _UNITS.items() if n < 10}, "oh": "0", "o": "0", "nought": "0", "zero": "0"}
_TIMES = {"double": 2, "triple": 3, "treble": 3}
_SPOKEN_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PHONE_DIGITS = (7, 15)
"""Digits of a number somebody can be called back on (local at least; E.164 at most)."""


def words_of(text: str) -> list[str]:
    """Lower-case words and numbers; apostrophes and decimal points inside stay, hyphens part words."""
    folded = text.lower().replace("’", "'").replace("-", " ")
    return re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+(?:'[^\W\d_]+)*", folded)


def whole(words: Sequence[str]) -> tuple[int, int] | None:
    """The number that begins at `words[0]`, and how many words it took; None when there is none. Below 1000."""
    if not words:
        return None
    if words[0].isdigit():
        return int(words[0]), 1
    total, used = _below_hundred(words)
    if words[0] == "a" and len(words) > 1 and words[1] == "hundred":
        total, used = 1, 1
    if used and len(words) > used and words[used] == "hundred" and 0 < total < 10:
        total, used = total * 100, used + 1
        skip = used + (1 if len(words) > used and words[used] == "and" else 0)
        rest, more = _below_hundred(words[skip:])
        if more and rest:
            total, used = total + rest, skip + more
    return (total, used) if used else None


def _below_hundred(words: Sequence[str]) -> tuple[int, int]:
    if not words:
        return 0, 0
    if words[0] in _TENS:
        if len(words) > 1 and 0 < _UNITS.get(words[1], 0) < 10:
            return _TENS[words[0]] + _UNITS[words[1]], 2
        return _TENS[words[0]], 1
    if words[0] in _UNITS:
        return _UNITS[words[0]], 1
    return 0, 0


def numbers_in(words: Sequence[str]) -> list[tuple[float, int, int]]:
    """Every number with its first word and the one after it; "point five" and "and a half" included."""
    found: list[tuple[float, int, int]] = []
    at = 0
    while at < len(words):
        value, used = _number(words[at:])
        if used:
            found.append((value, at, at + used))
        at += max(used, 1)
    return found


def _number(words: Sequence[str]) -> tuple[float, int]:
    if re.fullmatch(r"\d+\.\d+", words[0]):
        return float(words[0]), 1
    if (first := whole(words)) is None:
        return 0.0, 0
    value, used = float(first[0]), first[1]
    rest = list(words[used : used + 3])
    if rest[:1] == ["point"]:
        decimals = []
        for word in words[used + 1 :]:
            if (digit := _DIGIT_WORDS.get(word) or (word if word.isdigit() and len(word) == 1 else None)) is None:
                break
            decimals.append(digit)
        if decimals:
            return float(f"{int(value)}.{''.join(decimals)}"), used + 1 + len(decimals)
    if rest[:3] == ["and", "a", "half"]:
        return value + 0.5, used + 3
    return value, used


def phone_digits(text: str) -> str | None:
    """The one telephone number in `text` ("five five five, double one, oh nine...") as digits; None if there is none.

    A leading plus is kept. Words between the digits end the number; the longest run counts.
    """
    runs: list[str] = [""]
    words: list[str] = re.findall(r"\+?\d+|[^\W\d_]+", text.lower())
    at = 0
    while at < len(words):
        piece, used = _phone_piece(words[at:])
        if used:
            runs[-1] += piece
        elif words[at] not in ("uh", "um", "er", "then", "and", "area", "code", "dash"):
            runs.append("")
        at += max(used, 1)
    best = max(runs, key=len)
    return best if PHONE_DIGITS[0] <= len(best.lstrip("+")) <= PHONE_DIGITS[1] else None


def _phone_piece(words: Sequence[str]) -> tuple[str, int]:
    word = words[0]
    if word.lstrip("+").isdigit():
        return word, 1
    if word == "plus":
        return "+", 1
    if word in _TIMES and len(words) > 1 and words[1] in _DIGIT_WORDS:
        return _DIGIT_WORDS[words[1]] * _TIMES[word], 2
    if word in _DIGIT_WORDS:
        if len(words) > 1 and words[1] == "hundred":
            return f"{_DIGIT_WORDS[word]}00", 2
        return _DIGIT_WORDS[word], 1
    value, used = _below_hundred(words)
    return (str(value), used) if used else ("", 0)


def read_digits(number: str) -> str:
    """A telephone number for reading aloud, digit by digit in groups: "five five five, one two three, ..."."""
    digits = [d for d in number if d.isdigit()]
    groups = []
    while digits:
        take = 4 if len(digits) in (4, 8) else min(3, len(digits)) if len(digits) != 5 else 3
        groups.append(" ".join(_SPOKEN_DIGITS[int(d)] for d in digits[:take]))
        digits = digits[take:]
    spoken = ", ".join(groups)
    return f"plus {spoken}" if number.startswith("+") else spoken
