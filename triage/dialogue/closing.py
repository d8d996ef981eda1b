"""How an interview ends: the disposition by the protocol's rules, the read-back, and what is booked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from triage.dialogue.numbers import read_digits
from triage.dialogue.protocols import WINDOWS, Protocol
from triage.dialogue.rules import holds, subject
from triage.dialogue.wording import DISPOSITIONS

WITHIN_S = {"1h": 3_600, "4h": 14_400, "24h": 86_400}
"""Seconds of each call-back window."""
_WORDS_READ_BACK = 12
"""Longer free text is not read back in full."""
_LEAD_IN = re.compile(
    r"^(?:(?:well|um|uh|so|hi|hello|yes) )*(?:i am|i'm|we are|we're|he is|he's|she is|she's|it is|it's|that's) ", re.I
)
"""Said before a place or a time; "I am at home" is read back as "at home"."""


@dataclass(frozen=True, slots=True)
class Disposition:
    """What the rules decided."""

    level: str
    """nurse_now, nurse_soon or routine."""
    window: str
    """Call-back window; empty for nurse_now."""
    why: tuple[str, ...] = ()
    """Every reason, for nurse and record."""


def decide(protocol: Protocol, values: Mapping[str, str]) -> Disposition:
    """The most urgent disposition that holds now. A rule about a question not asked yet is not looked at."""
    asked = {q.id for q in protocol.questions}
    found = [Disposition(protocol.disposition, protocol.window)]
    for question in protocol.questions:
        if question.yes and values.get(question.id) in ("yes", "maybe"):
            window = "" if question.yes == "nurse_now" else "4h" if question.yes == "nurse_soon" else "24h"
            found.append(Disposition(question.yes, window, (question.id,)))
    for rule in protocol.rules:
        abouts = {subject(condition) for condition in rule.when} & asked
        if abouts <= set(values) and all(holds(condition, values) for condition in rule.when):
            found.append(Disposition(rule.disposition, rule.window, (rule.why,)))
    best = min(found, key=lambda d: (DISPOSITIONS.index(d.level), WINDOWS.index(d.window) if d.window else -1))
    return Disposition(best.level, best.window, tuple(why for d in found for why in d.why))


def summary(values: Mapping[str, str], protocol: Protocol) -> str:
    """What was understood, for reading back: facts as they were given, nothing made of them."""
    parts = [f"I noted {protocol.complaint}."]
    for label, slot in (("Since when", "onset"), ("Age", "age"), ("Place", "location")):
        value = values.get(slot, "unknown")
        if value not in ("unknown", "none") and len(value.split()) <= _WORDS_READ_BACK:
            parts.append(f"{label}: {_LEAD_IN.sub('', value)}.")
    if (number := values.get("callback", "unknown")) != "unknown":
        parts.append(f"Your number: {read_digits(number)}.")
    return " ".join(parts)


def arguments(values: Mapping[str, str], protocol: Protocol, decided: Disposition, call_id: str) -> dict[str, str]:
    """What the booking tool gets. One call books once, however often it is asked to."""
    return {
        "number": values["callback"],
        "confirmed": "yes" if values.get("callback_ok") == "yes" else "no",
        "level": decided.level,
        "within_s": str(WITHIN_S[decided.window]),
        "protocol": f"{protocol.id}/{protocol.version}",
        "idempotency_key": f"{call_id}:callback",
    }
