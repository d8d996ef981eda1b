"""Numbers as people say them: "thirty nine five", "a hundred and three", "one oh two point four", "treinta y nueve".

A run of number words gives one or more readings of its value; the measure that asks for it takes the reading that lies
in its own range (39.5 and 395 are both "thirty nine five"; only one is a temperature).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from classifiers.tokens import Token

_UNITS = {
    "zero": 0, "oh": 0, "o": 0, "nought": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "cero": 0, "uno": 1, "un": 1, "una": 1, "dos": 2, "tres": 3, "cuatro": 4, "cinco": 5,
    "seis": 6, "siete": 7, "ocho": 8, "nueve": 9,
}  # fmt: skip
_TEENS = {
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "diez": 10, "once": 11, "doce": 12, "trece": 13, "catorce": 14,
    "quince": 15, "dieciseis": 16, "diecisiete": 17, "dieciocho": 18, "diecinueve": 19, "veintiuno": 21,
    "veintidos": 22, "veintitres": 23, "veinticuatro": 24, "veinticinco": 25, "veintiseis": 26, "veintisiete": 27,
    "veintiocho": 28, "veintinueve": 29, "veintiun": 21, "dozen": 12,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90, "veinte": 20, "treinta": 30, "cuarenta": 40, "cincuenta": 50, "sesenta": 60, "setenta": 70,
    "ochenta": 80, "noventa": 90,
}  # fmt: skip
_HUNDREDS = {
    "hundred": 100, "cien": 100, "ciento": 100, "doscientos": 200, "trescientos": 300, "cuatrocientos": 400,
    "quinientos": 500, "seiscientos": 600,
}  # fmt: skip
_THOUSANDS = {"thousand": 1000, "mil": 1000}
_POINT = {"point", "punto", "coma", "dot"}
_LINK = {"and", "y", "a"}
_HALF = {"half", "medio", "media"}
_SPANISH_UNITS = {"anos", "meses", "semanas", "dias", "pastillas", "horas", "y", "puffs", "minutos"}
_MAX_RUN = 9
_FEW = 3
"""Up to so many groups, the first or the last alone may be what is meant; more are a list or a telephone number."""
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Number:
    """A run of number words over tokens `first` up to `last`, with its possible values, the likeliest first."""

    first: int
    last: int
    readings: tuple[float, ...]


def _is_digit(word: str) -> bool:
    return word.replace(".", "", 1).isdecimal() and word.isascii() and len(word) < 9


def _starts(tokens: Sequence[Token], at: int) -> bool:
    word = tokens[at].text
    following = tokens[at + 1].text if at + 1 < len(tokens) else ""
    if word in ("un", "una", "o", "oh", "once"):
        return following in _SPANISH_UNITS or following in ("ano", "mes", "semana", "dia", "hora")
    if word == "a":
        return following in ("hundred", "thousand", "dozen")
    return (
        _is_digit(word) or word in _UNITS or word in _TEENS or word in _TENS or word in _HUNDREDS or word in _THOUSANDS
    )


def _continues(tokens: Sequence[Token], at: int) -> bool:
    token = tokens[at]
    word = token.text
    if token.after_break or (token.after_comma and (tokens[at - 1].text in _TEENS or tokens[at - 1].text in _TENS)):
        return False  # "one ten, one twenty" are two numbers
    following = tokens[at + 1].text if at + 1 < len(tokens) else ""
    if word in _POINT or word in ("and", "y"):
        if following == "a" and at + 2 < len(tokens) and tokens[at + 2].text in _HALF:
            return True
        return bool(following) and (
            _is_digit(following)
            or following in _UNITS
            or following in _TEENS
            or following in _TENS
            or following in _HALF
        )
    if word in ("a", "un", "una"):
        return following in _HALF and tokens[at - 1].text in ("and", "y")
    if word in _HALF:
        return tokens[at - 1].text in ("and", "y", "a")
    if word == "once":
        return following in _SPANISH_UNITS
    return (
        _is_digit(word) or word in _UNITS or word in _TEENS or word in _TENS or word in _HUNDREDS or word in _THOUSANDS
    )


def _value(words: Sequence[str]) -> tuple[float, ...]:
    """All sensible values of one run."""
    groups: list[tuple[float, int]] = []  # (value, digits it was said with)
    decimals: list[str] = []
    after_point = False
    half = 0.0
    for word in words:
        if word in _POINT:
            after_point = True
            continue
        if word in _LINK:
            continue
        if word in _HALF:
            half = 0.5
            continue
        if _is_digit(word):
            number, kind = float(word), 9
        elif word in _UNITS:
            number, kind = _UNITS[word], 1
        elif word in _TEENS:
            number, kind = _TEENS[word], 2
        elif word in _TENS:
            number, kind = _TENS[word], 3
        elif word in _HUNDREDS:
            number, kind = _HUNDREDS[word], 4
        else:
            number, kind = _THOUSANDS[word], 5
        if after_point:
            decimals.append(f"{number:g}")
        elif kind == 5:
            total = sum(g for g, _ in groups) or 1
            groups = [(total * 1000, 5)]
        elif kind == 4:
            if number == 100 and word == "hundred" and groups and groups[-1][1] == 1:
                groups[-1] = (groups[-1][0] * 100, 4)
            else:
                groups.append((number, 4))
        elif groups and ((groups[-1][1] == 3 and kind == 1) or groups[-1][1] == 4 or (groups[-1][1] == 5)):
            last, said = groups[-1]
            keep = 3 if kind == 3 else 2
            groups[-1] = (last + number, keep if said == 4 else 2)
        else:
            groups.append((number, kind))
    fraction = float("0." + "".join(decimals).replace(".", "")) if decimals else half
    if not groups:
        return (fraction,) if fraction else ()
    if len(groups) == 1:
        return (groups[0][0] + fraction,)
    readings: list[float] = []
    pieces = [f"{value:g}" for value, _ in groups]
    head, tail = "".join(pieces[:-1]), pieces[-1]
    if (head + tail).isdecimal() and len(head + tail) < _DIGITS:
        if fraction:
            readings.append(float(head + tail) + fraction)
        else:
            readings += [float(f"{head}.{tail}"), float(head + tail)]
    if len(groups) <= _FEW:
        readings.append(groups[0][0])
        readings.append(groups[-1][0] + fraction)
    return tuple(dict.fromkeys(readings))


def find_numbers(tokens: Sequence[Token]) -> list[Number]:
    """All runs of number words, left to right."""
    found: list[Number] = []
    at = 0
    while at < len(tokens):
        if not _starts(tokens, at):
            at += 1
            continue
        last = at + 1
        while last < len(tokens) and last - at < _MAX_RUN and _continues(tokens, last):
            last += 1
        readings = _value([t.text for t in tokens[at:last]])
        if readings:
            found.append(Number(at, last, readings))
        at = last
    return found
