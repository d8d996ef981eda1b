"""An answer is read as it was meant, and nothing is read into it."""

import pytest

from triage.dialogue import answers


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("yes", "yes"), ("Yeah, a bit.", "yes"), ("I do", "yes"), ("uh yes he is", "yes"), ("a little", "yes"),
        ("i can a bit", "yes"), ("he can't", "no"), ("sometimes", "yes"),
        ("no", "no"), ("Nope.", "no"), ("not really", "no"), ("no just a cough", "no"), ("I don't think so", "no"),
        ("none", "no"),
        ("she doesn't", "no"), ("not that i know of", "no"),
        ("maybe", "maybe"), ("it could be", "maybe"), ("i guess", "maybe"),
        ("i don't know", None), ("not sure", None), ("no yes a bit", None), ("only when i swallow", None), ("", None),
        ("i can't say", None), ("my throat", None),
    ],
)  # fmt: skip
def test_yes_and_no(said: str, value: str | None) -> None:
    assert answers.yes_no(said) == value


@pytest.mark.parametrize(
    ("said", "asked", "value"),
    [
        ("forty two", True, "42 years"), ("42", True, "42 years"), ("three weeks", True, "3 weeks"), ("18 months",
        True, "18 months"),
        ("two and a half", True, "2.5 years"), ("she's a newborn", True, "1 day"), ("a year", True, "1 year"),
        ("i'm forty two", False, "42 years"), ("i am eight", False, "8 years"), ("my son is three weeks old",
        False, "3 weeks"),
        ("aged seventy", False, "70 years"), ("he is six months old", False, "6 months"), ("a three year old",
        False, "3 years"),
        ("two days of fever", False, None), ("i'm three days into a fever", False, None), ("eight weeks pregnant",
        False, None),
        ("two hundred", True, None), ("no idea", True, None), ("zero", True, None),
    ],
)  # fmt: skip
def test_ages(said: str, asked: bool, value: str | None) -> None:
    found = answers.age(said, asked=asked)
    assert (str(found) if found else None) == value
    if found:
        assert answers.Age.parse(str(found)) == found


@pytest.mark.parametrize(
    ("said", "asked", "value"),
    [
        ("me", True, "self"), ("it's about me", True, "self"), ("myself", True, "self"), ("for my daughter",
        True, "daughter"),
        ("somebody else", True, "someone else"), ("my two year old son", True, "son"), ("i have a sore throat",
        False, "self"),
        ("my throat hurts", False, "self"), ("my husband fell", False, "husband"), ("she is very hot",
        False, "someone else"),
        ("my son's throat hurts", False, "son"), ("i have a three year old with a rash", False, "someone else"),
        ("sore throat", False, None), ("twelve mill lane", True, None),
    ],
)  # fmt: skip
def test_who_the_patient_is(said: str, asked: bool, value: str | None) -> None:
    assert answers.who(said, asked=asked) == value


@pytest.mark.parametrize(
    ("said", "value"),
    [("female", "female"), ("a woman", "female"), ("he's a boy", "male"), ("daughter", "female"), ("male", "male"),
     ("i'm thirty", None), ("m", "male"), ("someone else", None), ("my son and my daughter", None)],
)  # fmt: skip
def test_sex(said: str, value: str | None) -> None:
    assert answers.sex(said) == value


@pytest.mark.parametrize(
    ("said", "value", "days"),
    [
        ("i have had it since yesterday", "since yesterday", 1.0), ("three days ago", "three days ago", 3.0),
        ("for about two weeks", None, 14.0),
        ("this morning", "this morning", 0.0), ("two hours ago", "two hours ago", 0.0), ("a couple of days",
        "a couple of days", 2.0),
        ("last week", "last week", 7.0), ("a month", "a month", 30.44),
    ],
)  # fmt: skip
def test_when_it_began(said: str, value: str | None, days: float) -> None:
    found = answers.onset(said)
    assert found is not None
    if value is not None:
        assert found == value
    assert answers.onset_days(found) == days
    assert answers.onset("my throat hurts") is None
    assert answers.onset_days("when i woke up") is None


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("thirty eight point five", 38.5),
        ("a hundred and two", 38.9),
        ("39", 39.0),
        ("quite hot", None),
        ("seven", None),
    ],
)
def test_temperatures_in_either_scale(said: str, value: float | None) -> None:
    assert answers.temperature_c(said) == value


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("i'm pregnant", "yes"),
        ("she is eight weeks pregnant", "yes"),
        ("i could be pregnant", "yes"),
        ("i'm not pregnant", "no"),
        ("my throat", None),
    ],
)
def test_pregnancy_only_when_it_is_spoken_of(said: str, value: str | None) -> None:
    assert answers.pregnant(said) == value


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("no", True),
        ("none at all", True),
        ("no i don't take anything", True),
        ("no just aspirin", False),
        ("asthma", False),
        ("only a puffer", False),
    ],
)
def test_none_is_told_from_something(said: str, value: bool) -> None:
    assert answers.nothing(said) is value


def test_a_hesitation_is_no_answer() -> None:
    assert answers.free_text("um, well") is None
    assert answers.free_text("at the station.") == "at the station"
    assert answers.free_text("i don't know") is None
