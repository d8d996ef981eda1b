"""Conditions of protocols, a tiny language: "fever is yes", "age < 3 months", "temperature >= 39", "onset >= 10 days".

A condition about something unknown does not hold, except with `is unknown` and `is not`. An answer of "maybe" holds
for `is yes` and for `is no` alike, and for their opposites: rules only ever raise the urgency.
"""

import operator
import re
from collections.abc import Mapping

from triage.dialogue.answers import DAYS, Age, onset_days

_RULE = re.compile(
    r"(?P<what>[a-z_]+) (?P<op>is not|is|<=|>=|<|>) (?P<value>[a-z_]+|\d+(?:\.\d+)?)(?: (?P<unit>days?|weeks?|"
    r"months?|years?))?"
)
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
TIMES = frozenset({"age", "onset"})
"""Subjects whose comparison needs a unit."""


def subject(condition: str) -> str:
    """What a condition speaks of.

    Raises:
        ValueError: it is not in the language.
    """
    found = _RULE.fullmatch(condition)
    if found is None:
        raise ValueError("write it as: NAME is VALUE, or NAME < NUMBER UNIT")
    compares = found["op"] in _COMPARE
    if compares != found["value"][0].isdigit():
        raise ValueError("is and is not take a word; <, <=, > and >= take a number")
    if (found["what"] in TIMES and compares) != bool(found["unit"]):
        raise ValueError("age and onset are compared in days, weeks, months or years, and nothing else is")
    return found["what"]


def holds(condition: str, values: Mapping[str, str]) -> bool:
    """Whether it holds of these answers (question or slot id -> value; unknown ones are absent or "unknown")."""
    found = _RULE.fullmatch(condition)
    assert found is not None  # checked when the protocol was loaded
    known = values.get(found["what"], "unknown")
    if known == "maybe" and found["value"] in ("yes", "no"):
        return True
    if found["op"] == "is":
        return known == found["value"]
    if found["op"] == "is not":
        return known != found["value"]
    measured = _measure(found["what"], known)
    if measured is None:
        return False
    limit = float(found["value"]) * DAYS[found["unit"].removesuffix("s")] if found["unit"] else float(found["value"])
    return bool(_COMPARE[found["op"]](measured, limit))


def _measure(what: str, value: str) -> float | None:
    if value == "unknown":
        return None
    try:
        return Age.parse(value).days if what == "age" else onset_days(value) if what == "onset" else float(value)
    except (ValueError, KeyError):
        return None
