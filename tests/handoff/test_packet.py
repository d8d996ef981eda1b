"""Promise: the packet quotes the caller, says what was not asked, infers nothing, and is read in ten seconds."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.assessment import Assessment, Evidence, Finding, Known
from classifiers.levels import Category, Level
from fsm.states import Reason
from triage.handoff.packet import WHY, make_packet, new_code
from triage.ports import Packet, ToolResult

WORDS = "i have had this pressure on my chest since noon"
CHEST = Assessment(
    level=Level.NURSE_NOW,
    category=Category.CHEST,
    score=0.9,
    evidence=(Evidence(start=16, end=37, text="pressure on my chest"),),
    rule="chest.pressure",
    language="en",
)
KNOWN = Known(
    findings=(
        Finding(code="chest_pressure", assertion="present", text="pressure on my chest", turn=3),
        Finding(code="fainting", assertion="denied", text="no i did not faint", turn=2),
        Finding(code="sweating", assertion="uncertain", text="sweaty maybe", turn=3),
    ),
    qualifiers=(("age_years", "61", 1), ("blood_thinner", "yes", 2), ("pregnant_weeks", "30", 2)),
)


@dataclass(frozen=True)
class Said:
    slot: str
    value: str
    text: str = ""
    turn: int = 1
    status: str = "given"


def packet(**how: Any) -> Packet:
    given: dict[str, Any] = {
        "call_id": "c",
        "code": "k",
        "known": KNOWN,
        "reason": Reason.URGENT,
        "level": "nurse_now",
        "category": "chest",
        "rank": 50,
        "assessment": CHEST,
        "words": WORDS,
        "turn": 3,
        "made_ns": 7,
    }
    return make_packet(**{**given, **how})


def everything(made: Packet) -> str:
    parts = (made.situation, made.background, made.assessment, made.recommendation)
    return "\n".join(f"{name}: {value}" for part in parts for name, value in part.items())


def test_the_callers_own_words_come_with_what_decided_and_when() -> None:
    made = packet()
    assert made.situation["why"] == "nurse now: chest"
    assert made.situation["caller's words"] == f'"{WORDS}" (turn 3)'
    assert made.situation["of these decided"] == '"pressure on my chest"'
    assert made.assessment["decided by"] == "rule chest.pressure, score 0.90"
    assert (made.level, made.category, made.rank, made.reason, made.version) == ("nurse_now", "chest", 50, "urgent", 1)


def test_what_was_not_asked_says_so_and_what_was_not_understood_too() -> None:
    made = packet(answers=[Said("location", "unknown", "er"), Said("who", "self", "it's me")])
    assert made.situation["call back"] == "not asked"
    assert made.situation["where"] == "unknown"
    assert made.background["patient"] == 'self, "it\'s me" (turn 1)'
    assert made.background["not asked"] == "sex; allergies"
    assert made.assessment["asked, not understood"] == "location"
    assert made.recommendation["outstanding"] == "call-back number, location, age, sex, complaint, onset"


def test_what_was_denied_and_what_was_uncertain_is_told_apart_from_what_was_reported() -> None:
    made = packet()
    assert made.assessment["reported"] == 'chest pressure: "pressure on my chest" (turn 3)'
    assert made.assessment["denied"] == 'fainting: "no i did not faint" (turn 2)'
    assert made.assessment["uncertain"] == 'sweating: "sweaty maybe" (turn 3)'
    assert packet(known=Known()).assessment["denied"] == "nothing"


def test_what_the_caller_said_unasked_fills_the_background_and_is_marked() -> None:
    made = packet()
    assert made.background["age"] == "61 years (turn 1) (not asked, said)"
    assert made.background["pregnant"] == "pregnant weeks 30 (turn 2) (not asked, said)"
    assert made.background["conditions, medicines"] == "blood thinner (turn 2) (not asked, said)"


def test_an_answer_that_was_not_asked_for_is_marked() -> None:
    made = packet(answers=[Said("sex", "female", "female", status="inferred"), Said("who", "self", "self")])
    assert made.background["sex"] == "female (not asked, said)"
    assert made.background["patient"] == "self"


def test_the_interviews_answer_comes_before_what_was_said_in_passing() -> None:
    made = packet(answers=[Said("age", "62 years", "sixty two")])
    assert made.background["age"] == '62 years, "sixty two" (turn 1)'


@pytest.mark.parametrize(
    ("answers", "network", "call_back", "shown"),
    [
        ([], None, "not asked", None),
        ([], "", "not asked", "not shown by the network"),
        ([], "+15550100", "not asked", "+15550100 (number shown by the network, not read back)"),
        ([Said("callback", "5550100", "five five five")], None, "5550100 (not confirmed)", None),
        (
            [Said("callback", "5550100"), Said("callback_ok", "yes")],
            "+15550199",
            "5550100 (confirmed)",
            "+15550199 (number shown by the network, not read back)",
        ),
        ([Said("callback", "unknown", "mumble")], "", "unknown", "not shown by the network"),
    ],
)
def test_a_number_says_how_sure_it_is(
    answers: list[Said], network: str | None, call_back: str, shown: str | None
) -> None:
    situation = packet(answers=answers, network_number=network).situation
    assert (situation["call back"], situation.get("caller's number")) == (call_back, shown)


def test_the_nurse_reads_what_the_caller_was_told() -> None:
    made = packet(told=("connecting_nurse", "still_connecting", "still_connecting"))
    assert made.recommendation["ask"] == "nurse now"
    assert made.recommendation["caller was told"] == "that a nurse is being connected; that we are still connecting"
    assert made.recommendation["emergency number"] == "not said"
    assert packet(told=("emergency_first",)).recommendation["emergency number"] == "was said"
    assert packet(told=("connecting_nurse", "emergency_number")).recommendation["emergency number"] == "was said"


def test_a_tool_that_ran_on_detached_is_told() -> None:
    made = packet(tools={"book_callback": ToolResult(ok=True), "find_patient": ToolResult(ok=False)})
    assert made.recommendation["book callback"] == "done"
    assert made.recommendation["find patient"] == "failed"


def test_a_renewed_packet_keeps_its_code_and_names_what_was_found_before() -> None:
    earlier = Assessment(level=Level.NURSE_NOW, category=Category.BREATHING, score=0.8, rule="breathing.words")
    made = packet(known=Known(urgent=(earlier, CHEST)), version=2)
    assert made.code == "k"
    assert made.version == 2
    assert made.assessment["also found"] == "nurse now breathing"


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.URGENT])
def test_every_reason_is_told_in_words(reason: Reason) -> None:
    made = packet(reason=reason, assessment=None, words="", level="", category="", known=Known())
    assert made.situation["why"] == WHY[reason]
    assert made.situation["caller's words"] == "none heard"
    assert made.assessment["language"] == "unknown"


def test_without_trigger_words_the_complaint_is_quoted() -> None:
    made = packet(words="", assessment=None, reason=Reason.SILENT, answers=[Said("complaint", "x", "my head hurts", 4)])
    assert made.situation["caller's words"] == '"my head hurts" (turn 4)'


def test_a_long_turn_is_cut_in_front() -> None:
    made = packet(words=" ".join(f"w{n}" for n in range(100)))
    assert made.situation["caller's words"].startswith('"... w70 ')
    assert made.situation["caller's words"].endswith('w99" (turn 3)')


def test_it_is_read_in_ten_seconds() -> None:
    findings = tuple(Finding(code=f"finding_{n}", assertion="present", text="some words", turn=n) for n in range(1, 40))
    made = packet(known=Known(findings=findings))
    assert "and 33 more" in made.assessment["reported"]
    assert len(everything(made).split()) < 220
    assert len(everything(packet()).split()) < 130
    first = " ".join(f"{name} {value}" for name, value in packet().situation.items())
    assert len(first.split()) < 40, "the first part alone must do: four words a second"


@given(
    st.text(alphabet="abcdefg hij", min_size=1, max_size=60),
    st.lists(st.sampled_from(["chest pain", "sweaty", "dizzy"]), max_size=3),
)
def test_nothing_stands_in_it_that_was_not_said_or_asked(words: str, said: list[str]) -> None:
    findings = tuple(Finding(code="symptom", assertion="present", text=text, turn=1) for text in said)
    text = everything(packet(words=words, known=Known(findings=findings)))
    for unsaid in {"chest pain", "sweaty", "dizzy"} - set(said):
        assert unsaid not in text
    for never in ("heart attack", "infarction", "probably", "likely", "suspect", "diagnosis", "take ", "should"):
        assert never not in text.lower()


def test_codes_say_nothing_and_never_come_again() -> None:
    codes = {new_code() for _ in range(500)}
    assert len(codes) == 500
    assert all(len(code) >= 16 for code in codes)
    assert all(code.isalnum() and code == code.upper() for code in codes), "never an option's hyphen on a command line"
