"""Every protocol can be walked to its end, each of its red flags ends at a nurse, a broken file is refused by name."""

from pathlib import Path

import pytest

from tests.dialogue.calls import ANSWERS, BOOKS, walk
from triage.dialogue.answers import Age
from triage.dialogue.protocols import Protocol, load_protocols, match
from triage.dialogue.rules import holds, subject
from triage.errors import AssetError
from triage.ports import Saying

PROTOCOLS = {p.id: p for p in load_protocols()}
COMPLAINTS = {
    "chest_pain": "my chest feels tight now and then",
    "breathing": "i get short of breath on the stairs",
    "abdominal_pain": "my stomach hurts",
    "fever_adult": "i have a fever",
    "fever_child": "my daughter has a fever",
    "headache": "i have a headache",
    "injury": "i twisted my ankle",
    "cough_cold": "i have a bad cough",
    "sore_throat": "i have a sore throat",
    "rash": "i have a rash on my arm",
    "medication": "i have a question about my medication",
    "low_mood": "i have been feeling down",
    "general": "my ear is ringing",
}
PATIENT = {"fever_child": {"who": "my daughter", "age": "four years"}}


def test_each_complaint_of_the_sample_is_there_and_marked_as_a_sample() -> None:
    assert set(COMPLAINTS) == set(PROTOCOLS)
    for protocol in PROTOCOLS.values():
        assert protocol.status == "sample, not for clinical use until approved by the operator's clinical lead"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_quiet_call_ends_with_a_booking_and_when_to_ring_again(name: str) -> None:
    going = walk(COMPLAINTS[name], PATIENT.get(name))
    protocol = PROTOCOLS[name]
    assert going.state.protocol is protocol
    assert going.plan.ends_call
    assert going.plan.nurse is None
    assert going.plan.tool is not None
    booked = going.plan.tool.arguments
    assert booked["number"] == "5551234567"
    assert booked["level"] in ("nurse_soon", "routine")
    assert booked["protocol"] == f"{name}/1"
    assert booked["idempotency_key"] == "call-1:callback"
    assert [s.prompt for s in going.plan.sayings][-3:] == [f"again.{name}", "close.number", "goodbye"]
    assert going.plan.sayings[-4].prompt in ("close.1h", "close.4h", "close.24h")
    assert going.plan.otherwise is not None
    assert going.plan.otherwise.nurse is not None
    assert not going.plan.otherwise.sayings
    assert {q.id for q in protocol.questions if not q.when} <= set(going.asked)
    assert len(going.asked) == len(set(going.asked)) == going.state.asked


@pytest.mark.parametrize(
    ("name", "question"), [(p.id, q.id) for p in PROTOCOLS.values() for q in p.questions if q.red_flag and not q.when]
)
@pytest.mark.parametrize("reply", ["yes", "maybe", "purple elephants"])
def test_a_red_flag_that_is_not_denied_ends_at_a_nurse(name: str, question: str, reply: str) -> None:
    going = walk(COMPLAINTS[name], PATIENT.get(name, {}) | {question: reply})
    assert going.plan.nurse is not None
    assert going.plan.nurse.value == "disposition"
    assert not going.plan.sayings
    assert going.asked.count(question) == (2 if reply == "purple elephants" else 1)


def test_the_number_of_questions_stays_humane() -> None:
    assert len(walk("i have a sore throat").asked) == 15
    assert len(walk("i have a sore throat", order="brief").asked) == 13
    assert len(walk("x", {"emergency": "no i have had a sore throat since monday"}).asked) == 12
    assert max(len(walk(COMPLAINTS[name], PATIENT.get(name)).asked) for name in PROTOCOLS) <= 19


@pytest.mark.parametrize(
    ("complaint", "answers", "level", "within"),
    [
        ("i have a sore throat", {}, "routine", "86400"),
        ("i have a sore throat", {"fever": "yes", "worse": "yes"}, "nurse_soon", "14400"),
        ("i have a sore throat", {"onset": "ten days"}, "nurse_soon", "14400"),
        ("my chest feels tight", {}, "nurse_soon", "3600"),
        ("i have a fever", {"age": "seventy"}, "nurse_soon", "3600"),
        ("i have a fever", {"temperature": "a hundred and four"}, "nurse_soon", "14400"),
        ("my stomach hurts", {"vomiting": "yes"}, "nurse_soon", "14400"),
        ("i twisted my ankle", {"inj_use": "no"}, "nurse_soon", "14400"),
        ("i feel hopeless", {"alone": "no"}, "nurse_soon", "3600"),
    ],
)
def test_dispositions(complaint: str, answers: dict[str, str], level: str, within: str) -> None:
    going = walk(complaint, answers)
    assert going.plan.tool is not None
    assert (going.plan.tool.arguments["level"], going.plan.tool.arguments["within_s"]) == (level, within)


@pytest.mark.parametrize(
    ("complaint", "answers", "last"),
    [
        ("my baby has a fever", {"who": "my baby", "age": "seven weeks"}, "complaint"),
        ("my stomach hurts", {"sex": "female", "pregnant": "yes"}, "complaint"),
        ("i hit my head", {"inj_head": "yes", "thinner": "yes"}, "thinner"),
        ("i hit my head", {"inj_head": "yes", "age": "eighty"}, "inj_head"),
        ("i have a fever", {"weak_immune": "yes"}, "weak_immune"),
        ("i feel hopeless", {"safe": "no"}, "safe"),
        ("i feel hopeless", {"safe": "maybe"}, "safe"),
    ],
)
def test_what_the_rules_give_to_a_nurse_at_once(complaint: str, answers: dict[str, str], last: str) -> None:
    going = walk(complaint, answers)
    assert going.plan.nurse is not None
    assert going.asked[-1] == last


# --- which protocol


@pytest.mark.parametrize(
    ("said", "age", "name"),
    [
        ("i have a cough and my chest hurts", None, "chest_pain"),
        ("she has a fever", Age(3, "year"), "fever_child"),
        ("she has a fever", Age(30, "year"), "fever_adult"),
        ("a fever", None, "fever_adult"),
        ("no fever, just a runny nose", None, "cough_cold"),
        ("i fell and cut my hand", None, "injury"),
        ("something about my toe nail", None, None),
        ("", None, None),
    ],
)
def test_the_words_choose_the_protocol(said: str, age: Age | None, name: str | None) -> None:
    found = match(PROTOCOLS.values(), said, age)
    assert (found.id if found else None) == name


def test_an_age_that_comes_later_changes_the_protocol() -> None:
    going = walk("x", {"emergency": "no my daughter has a fever", "age": "two years"})
    assert going.state.protocol is PROTOCOLS["fever_child"]
    assert "floppy" in going.asked


# --- the language of conditions


def test_conditions() -> None:
    values = {
        "fever": "yes",
        "age": "10 weeks",
        "temperature": "39.5",
        "onset": "three days ago",
        "worse": "maybe",
        "head": "unknown",
    }
    true = [
        "fever is yes", "fever is not no", "age < 3 months", "temperature >= 39.5", "onset >= 3 days",
        "onset < 1 weeks", "worse is yes",
        "worse is not yes", "head is unknown", "head is not yes", "absent is unknown", "absent is not yes",
    ]  # fmt: skip
    false = [
        "fever is no",
        "age >= 3 months",
        "temperature > 39.5",
        "head is yes",
        "absent is yes",
        "absent > 3",
        "head < 3",
    ]
    assert [c for c in true if not holds(c, values)] == []
    assert [c for c in false if holds(c, values)] == []


@pytest.mark.parametrize(
    "condition",
    [
        "fever",
        "fever is",
        "fever = yes",
        "age < 3",
        "fever > yes",
        "fever is 3",
        "temperature > 3 days",
        "Fever is yes",
    ],
)
def test_what_is_no_condition(condition: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        subject(condition)


# --- broken files

GOOD = """
schema = 1
id = "general"
version = "1"
status = "test"
complaint = "something"
priority = 5
entry = ["toe"]

[[question]]
id = "hurts"
text = "Does it hurt?"
red_flag = true
yes = "nurse_now"

[[rule]]
when = ["hurts is yes", "age < 3 months"]
disposition = "nurse_soon"
callback = "1h"
why = "pain"

[else]
disposition = "routine"
callback = "24h"
again = "Ring again."
"""


def load(tmp_path: Path, text: str) -> tuple[Protocol, ...]:
    (tmp_path / "general.toml").write_text(text, encoding="utf-8")
    return load_protocols.__wrapped__(tmp_path)


def test_the_good_file_is_good(tmp_path: Path) -> None:
    (protocol,) = load(tmp_path, GOOD)
    assert protocol.questions[0].saying() == Saying("Does it hurt?", "q.hurts", question=True)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("schema = 1", "schema = 2", "schema"),
        ('status = "test"', "", "status"),
        ('status = "test"', "status = 3", "status"),
        ("priority = 5", 'priority = "high"', "priority"),
        ('entry = ["toe"]', 'entry = "toe"', "entry"),
        ('entry = ["toe"]', 'min_age = "young"', "min_age"),
        ("red_flag = true", "red_flag = 1", "red_flag"),
        ('yes = "nurse_now"', "", "red_flag"),
        ('yes = "nurse_now"', 'yes = "hospital"', "yes"),
        ('text = "Does it hurt?"', 'text = ""', "text"),
        ('text = "Does it hurt?"', 'text = "Hurt?"\nkind = "riddle"', "kind"),
        ('text = "Does it hurt?"', 'text = "Hurt?"\ncolour = "red"', "colour"),
        ('text = "Does it hurt?"', 'text = "Hurt?"\nlook_for = { perhaps = ["x"] }', "look_for"),
        ('text = "Does it hurt?"', 'text = "Hurt?"\nwhen = ["nobody is yes"]', "when"),
        ('"hurts is yes"', '"hurts yes"', "when"),
        ('"hurts is yes"', '"itches is yes"', "when"),
        ('disposition = "nurse_soon"', 'disposition = "home"', "disposition"),
        ('callback = "1h"', 'callback = "2h"', "callback"),
        ('why = "pain"', "", "why"),
        ("[else]", "[other]", "other"),
        ('disposition = "routine"', 'disposition = "nurse_now"', "disposition"),
        ('again = "Ring again."', "", "again"),
        ('id = "hurts"', 'id = "age"', "id"),
    ],
)
def test_a_broken_field_is_named(tmp_path: Path, old: str, new: str, field: str) -> None:
    assert old in GOOD
    with pytest.raises(AssetError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    message = str(caught.value)
    assert "general.toml" in message
    assert f"field {field}" in message
    assert "\n" not in message


def test_a_broken_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"general\.toml: is no TOML"):
        load(tmp_path, "schema = ")
    (tmp_path / "other.toml").write_text(GOOD)
    with pytest.raises(AssetError, match="two protocols have the id general"):
        load(tmp_path, GOOD)
    (tmp_path / "general.toml").unlink()
    (tmp_path / "other.toml").write_text(GOOD.replace('id = "general"', 'id = "toe"'))
    with pytest.raises(AssetError, match=r"general\.toml is missing"):
        load_protocols.__wrapped__(tmp_path)
    with pytest.raises(AssetError, match="cannot be read"):
        load_protocols.__wrapped__(tmp_path / "nowhere")


def test_every_answer_of_the_walks_belongs_to_a_question() -> None:
    ids = {q.id for p in PROTOCOLS.values() for q in p.questions} | set(BOOKS["full"].wording.asks)
    assert set(ANSWERS) <= ids
