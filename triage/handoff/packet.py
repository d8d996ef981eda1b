"""The nurse's packet: SBAR, made from findings by rules, never by a model. To be read in ten seconds.

Only what was heard or asked stands in it. The caller's words are quoted, with the turn they were said in; what was not
asked says "not asked", what was asked and not understood says "unknown". No condition is named that the caller did not
name, nothing is concluded, and nobody is told what to do but "nurse now".
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Protocol

from classifiers.assessment import Assessment, Finding, Known
from fsm import prompts
from fsm.states import Reason
from triage.ports import Packet, ToolResult

NOT_ASKED = "not asked"
UNKNOWN = "unknown"
FROM_NETWORK = "number shown by the network, not read back"
NO_NUMBER = "not shown by the network"
WITHHELD_NUMBER = "withheld by the caller; only to ring them back, not read back"
CALLERS_NUMBER = "caller's number"
QUOTE_WORDS = 30
"""A longer quotation is cut in front: the words that ended the turn are nearest to what the rule saw."""
LIST_LENGTH = 6
"""Findings named in one line; how many more there are is said."""


class Learned(Protocol):
    """One answer of the interview."""

    @property
    def slot(self) -> str:
        """Id of the question."""
        ...

    @property
    def value(self) -> str:
        """As the rules read it; "unknown" where it could not be understood."""
        ...

    @property
    def text(self) -> str:
        """The caller's words."""
        ...

    @property
    def turn(self) -> int:
        """When they were said."""
        ...

    @property
    def status(self) -> str:
        """given, inferred (not asked for), unknown, corrected or unconfirmed."""
        ...


_CODE_SIGNS, _CODE_LENGTH = "23456789ABCDEFGHJKMNPQRSTVWXYZ", 20


def new_code() -> str:
    """An opaque code that says nothing and cannot be guessed; it travels in a SIP header and opens the packet.

    Capital letters and digits that are not mistaken for each other, 98 bits: a nurse may have to type it.
    """
    return "".join(secrets.choice(_CODE_SIGNS) for _ in range(_CODE_LENGTH))


def make_packet(
    *,
    call_id: str,
    code: str,
    known: Known,
    reason: Reason,
    made_ns: int,
    level: str = "",
    category: str = "",
    rank: int = 0,
    assessment: Assessment | None = None,
    words: str = "",
    turn: int = 0,
    told: tuple[str, ...] = (),
    tools: Mapping[str, ToolResult] | None = None,
    answers: Iterable[Learned] = (),
    network_number: str | None = None,
    number_withheld: bool = False,
    language: str = "",
    version: int = 1,
) -> Packet:
    """Make one packet, or a renewed one under the same code with a higher version.

    `words` is what the caller said when `assessment` was made, in `turn`; empty when no words decided. `told` are the
    prompt ids they have been told since the hand-off began. `tools` holds results, also of a tool that ran on detached.
    `answers` is what the interview has learned: a slot may come again, then the last counts. `network_number` is what the
    network shows, which nobody has read back; empty when there is none, None as long as it is not known;
    `number_withheld`: the caller asked the network to show it to nobody. Never raises.
    """
    learned = {answer.slot: answer for answer in answers}
    qualifiers = {name: (value, heard) for name, value, heard in known.qualifiers}
    return Packet(
        code=code,
        call_id=call_id,
        made_ns=made_ns,
        rank=rank,
        level=level,
        category=category,
        reason=reason.value,
        situation=_situation(
            reason, level, category, assessment, words, turn, learned, network_number, number_withheld
        ),
        background=_background(learned, qualifiers),
        assessment=_assessment(known, assessment, learned, language),
        recommendation=_recommendation(told, tools or {}, learned),
        version=version,
    )


# --- the four parts


def _situation(
    reason: Reason,
    level: str,
    category: str,
    assessment: Assessment | None,
    words: str,
    turn: int,
    learned: Mapping[str, Learned],
    network: str | None,
    withheld: bool,
) -> dict[str, str]:
    part = {"why": _why(reason, level, category)}
    if words:
        part["caller's words"] = _quoted(words, turn)
        if marked := _evidence(assessment):
            part["of these decided"] = marked
    elif complaint := learned.get("complaint"):
        part["caller's words"] = _quoted(complaint.text, complaint.turn)
    else:
        part["caller's words"] = "none heard"
    part["call back"] = _number(learned)
    if network is not None:
        part[CALLERS_NUMBER] = shown_number(network, withheld=withheld)
    part["where"] = _answer(learned, "location")
    return part


def shown_number(number: str, *, withheld: bool) -> str:
    """The number of the network as a nurse reads it, with what it is worth."""
    return f"{number} ({WITHHELD_NUMBER if withheld else FROM_NETWORK})" if number else NO_NUMBER


def for_others(situation: Mapping[str, str]) -> dict[str, str]:
    """The first part of a packet for whoever is not a nurse of ours: without a number that the caller withheld."""
    return {
        name: "withheld" if name == CALLERS_NUMBER and text.endswith(f"({WITHHELD_NUMBER})") else text
        for name, text in situation.items()
    }


def _why(reason: Reason, level: str, category: str) -> str:
    if category and reason is Reason.URGENT:
        return f"{_plain(level)}: {_plain(category)}"
    return WHY[reason]


def _number(learned: Mapping[str, Learned]) -> str:
    answer = learned.get("callback")
    if answer is not None and answer.value != UNKNOWN:
        confirmed = learned.get("callback_ok")
        sure = confirmed is not None and confirmed.value == "yes"
        return f"{answer.value} ({'confirmed' if sure else 'not confirmed'})"
    return _answer(learned, "callback")


def _background(learned: Mapping[str, Learned], qualifiers: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    part = {"patient": _answer(learned, "who")}
    part["age"] = _either(learned, "age", _age(qualifiers))
    part["sex"] = _either(learned, "sex", _qualifier(qualifiers, "sex"))
    part["pregnant"] = _either(learned, "pregnant", _pregnancy(qualifiers))
    part["conditions, medicines"] = _either(learned, "background", _other_qualifiers(qualifiers))
    part["allergies"] = _answer(learned, "allergies")
    asked = {name: value for name, value in part.items() if value != NOT_ASKED}
    if missing := [name for name, value in part.items() if value == NOT_ASKED]:
        asked[NOT_ASKED] = "; ".join(missing)
    return asked


def _assessment(
    known: Known, assessment: Assessment | None, learned: Mapping[str, Learned], language: str
) -> dict[str, str]:
    part = {}
    if assessment is not None and assessment.rule:
        part["decided by"] = f"rule {assessment.rule}, score {assessment.score:.2f}"
    part["reported"] = _findings(known.findings, "present")
    part["denied"] = _findings(known.findings, "denied")
    if any(finding.assertion == "uncertain" for finding in known.findings):
        part["uncertain"] = _findings(known.findings, "uncertain")
    if unknown := [_plain(answer.slot) for answer in learned.values() if answer.value == UNKNOWN]:
        part["asked, not understood"] = ", ".join(unknown)
    if "onset" in learned:
        part["onset"] = _answer(learned, "onset")
    heard = assessment.language if assessment else language
    part["language"] = LANGUAGES.get(heard, heard) if heard else UNKNOWN
    earlier = [a for a in known.urgent if assessment is None or a.rule != assessment.rule]
    if earlier:
        part["also found"] = ", ".join(dict.fromkeys(f"{_plain(a.level)} {_plain(a.category)}" for a in earlier))
    return part


def _recommendation(
    told: tuple[str, ...], tools: Mapping[str, ToolResult], learned: Mapping[str, Learned]
) -> dict[str, str]:
    part = {"ask": "nurse now"}
    heard = [TOLD.get(prompt, _plain(prompt)) for prompt in dict.fromkeys(told)]
    part["caller was told"] = "; ".join(heard) or "nothing yet"
    part["emergency number"] = "was said" if SAYS_NUMBER.intersection(told) else "not said"
    for name, result in tools.items():
        part[_plain(name)] = "done" if result.ok else "failed"
    outstanding = [name for slot, name in ESSENTIAL if slot not in learned or learned[slot].value == UNKNOWN]
    part["outstanding"] = ", ".join(outstanding) or "nothing of the first questions"
    return part


# --- wording


WHY: dict[Reason, str] = {
    Reason.URGENT: "urgent finding",
    Reason.CLASSIFIER_FAILED: "the classifier failed: nothing was judged",
    Reason.ASKED_PERSON: "asked for a person",
    Reason.PRESSED_ZERO: "pressed 0 for a nurse",
    Reason.DECLINED_MACHINE: "does not want to talk to a machine",
    Reason.DECLINED_RECORD: "does not want the call written down",
    Reason.SILENT: "fell silent and did not answer twice",
    Reason.WORDLESS: "voice without words, or pressed 1: cannot speak",
    Reason.CHILD_ALONE: "a child, alone",
    Reason.LANGUAGE: "speaks a language we do not",
    Reason.STAGE_FAILED: "our own system failed",
    Reason.NO_REPLY: "our own system did not answer in time",
    Reason.TOO_LONG: "the call took too long",
    Reason.RESCUED: "our own system failed and found the caller again",
    Reason.DISPOSITION: "the protocol ends at a nurse",
}
TOLD: dict[str, str] = {
    prompts.CONNECTING: "that a nurse is being connected",
    prompts.NEUTRAL: "that a nurse will talk to them",
    prompts.STILL_CONNECTING: "that we are still connecting",
    prompts.RECONNECTING: "that we are reconnecting",
    prompts.EMERGENCY_NUMBER: "to dial the emergency number",
    "emergency_first": "to hang up and dial the emergency number first",
    "crisis_line": "the crisis line, and that a nurse is being connected",
    "poison_control": "poison control, and that a nurse is being connected",
    "child_nurse": "that a nurse is coming, in a child's words",
    prompts.APOLOGY: "that something went wrong and a nurse is coming",
    prompts.RESCUED: "that the line was found again",
}
SAYS_NUMBER = frozenset({prompts.EMERGENCY_NUMBER, "emergency_first"})
"""Clips that say the emergency number."""
LANGUAGES = {"en": "English", "es": "Spanish", "mixed": "English and Spanish", "unknown": UNKNOWN}
ESSENTIAL = (
    ("callback", "call-back number"),
    ("location", "location"),
    ("who", "who the patient is"),
    ("age", "age"),
    ("sex", "sex"),
    ("complaint", "complaint"),
    ("onset", "onset"),
)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _quoted(text: str, turn: int) -> str:
    words = text.split()
    cut = "... " if len(words) > QUOTE_WORDS else ""
    return f'"{cut}{" ".join(words[-QUOTE_WORDS:])}" (turn {turn})'


def _evidence(assessment: Assessment | None) -> str:
    spans = dict.fromkeys(e.text for e in assessment.evidence) if assessment else {}
    return ", ".join(f'"{text}"' for text in spans if text)


def _answer(learned: Mapping[str, Learned], slot: str) -> str:
    answer = learned.get(slot)
    if answer is None:
        return NOT_ASKED
    if answer.value == UNKNOWN:
        return UNKNOWN
    if not answer.text or answer.text == answer.value:
        value = answer.value
    elif len(answer.value.split()) <= 3:
        value = f"{answer.value}, {_quoted(answer.text, answer.turn)}"
    else:
        value = _quoted(answer.text, answer.turn)
    return f"{value} (not asked, said)" if answer.status == "inferred" else value


def _either(learned: Mapping[str, Learned], slot: str, heard: str) -> str:
    """The interview's answer, else what the caller said unasked, else "not asked"."""
    return _answer(learned, slot) if slot in learned or not heard else f"{heard} (not asked, said)"


def _qualifier(qualifiers: Mapping[str, tuple[str, int]], name: str) -> str:
    if name not in qualifiers:
        return ""
    value, turn = qualifiers[name]
    return f"{value} (turn {turn})"


def _age(qualifiers: Mapping[str, tuple[str, int]]) -> str:
    for name, unit in (("age_days", "days"), ("age_weeks", "weeks"), ("age_months", "months"), ("age_years", "years")):
        if name in qualifiers:
            value, turn = qualifiers[name]
            return f"{value} {unit} (turn {turn})"
    return ""


def _pregnancy(qualifiers: Mapping[str, tuple[str, int]]) -> str:
    said = [
        f"{_plain(name)} {value} (turn {turn})"
        for name, (value, turn) in qualifiers.items()
        if name in ("pregnant", "pregnant_weeks", "postpartum")
    ]
    return ", ".join(said)


def _other_qualifiers(qualifiers: Mapping[str, tuple[str, int]]) -> str:
    named = ("sex", "pregnant", "pregnant_weeks", "postpartum")
    said = [
        _plain(name) + ("" if value == "yes" else f" {value}") + f" (turn {turn})"
        for name, (value, turn) in qualifiers.items()
        if name not in named and not name.startswith("age_")
    ]
    return ", ".join(said)


def _findings(findings: tuple[Finding, ...], assertion: str) -> str:
    said = [finding for finding in findings if finding.assertion == assertion]
    shown = [f'{_plain(f.code)}: "{f.text}" (turn {f.turn})' for f in said[-LIST_LENGTH:]]
    more = [f"and {len(said) - LIST_LENGTH} more"] if len(said) > LIST_LENGTH else []
    return "; ".join([*shown, *more]) or "nothing"
