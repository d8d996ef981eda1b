"""Promise: numbers are understood as people say them, in both languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import Classifier
from classifiers.numbers import find_numbers
from classifiers.tokens import tokenise


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("thirty nine five", 39.5),
        ("thirty nine point five", 39.5),
        ("39.5", 39.5),
        ("a hundred and three", 103),
        ("a hundred point six", 100.6),
        ("one oh two", 102),
        ("one oh two point four", 102.4),
        ("one hundred and one point five", 101.5),
        ("ninety nine nine", 99.9),
        ("four hundred and fifty", 450),
        ("five fifty", 550),
        ("two thousand", 2000),
        ("six and a half weeks", 6.5),
        ("treinta y nueve y medio", 39.5),
        ("treinta y ocho punto cinco", 38.5),
        ("cuarenta", 40),
        ("ciento dos", 102),
        ("once meses", 11),
        ("tres semanas", 3),
    ],
)
def test_a_spoken_number_has_its_value(words: str, value: float) -> None:
    readings = [reading for number in find_numbers(tokenise(words)) for reading in number.readings]
    assert value in readings


@pytest.mark.parametrize("words", ["once in a while", "a pain", "oh no", "un dolor", "hello", ""])
def test_a_word_that_is_no_number_is_none(words: str) -> None:
    assert find_numbers(tokenise(words)) == []


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("she's three weeks old", "age_days", 21),
        ("he is five months old", "age_days", 152),
        ("my four year old", "age_years", 4),
        ("tiene tres semanas", "age_days", 21),
        ("temperature of thirty nine five", "temp_c", 39.5),
        ("a fever of a hundred and four", "temp_c", 40),
        ("fiebre de treinta y nueve", "temp_c", 39),
        ("his sugar is forty one", "glucose", 41),
        ("the pulse ox says eighty eight", "spo2", 88),
        ("my blood pressure is one sixty over one ten", "systolic", 160),
        ("i took ten puffs of my inhaler", "puffs", 10),
    ],
)
def test_a_number_gets_its_meaning_from_its_neighbours(
    classifier: Classifier, words: str, name: str, value: float
) -> None:
    judge = classifier.begin()
    judge.assess(words)
    found = {n: float(v) for n, v, _ in judge.known.qualifiers if n == name}
    assert found[name] == pytest.approx(value, abs=0.6)


@pytest.mark.parametrize(
    ("question", "words", "name", "value"),
    [
        ("How old is she?", "seven weeks", "age_days", 49),
        ("How old are you?", "sixty two", "age_years", 62),
        ("What is the temperature?", "one oh two", "temp_c", 38.9),
        ("What does the meter read?", "four fifty", "glucose", 450),
        ("How many weeks are you?", "thirty four", "pregnant_weeks", 34),
    ],
)
def test_a_number_gets_its_meaning_from_the_question(
    classifier: Classifier, question: str, words: str, name: str, value: float
) -> None:
    judge = classifier.begin()
    judge.assess(words, question=question)
    found = {n: float(v) for n, v, _ in judge.known.qualifiers}
    assert found[name] == pytest.approx(value, abs=0.1)


@pytest.mark.parametrize(
    ("finals", "urgent"),
    [
        (["she is three weeks old", "her temperature is a hundred and two"], True),
        (["her temperature is thirty seven", "she is three weeks old"], False),
        (["he is eight", "his temperature is a hundred and two"], False),
        (["his blood sugar is forty one"], True),
        (["his blood sugar is one twenty"], False),
        (["the oxygen says eighty six"], True),
        (["the oxygen says ninety eight"], False),
        (["the baby is two weeks old", "temperature is ninety six point one"], True),
    ],
)
def test_limits_decide(classifier: Classifier, finals: list[str], urgent: bool) -> None:
    judge = classifier.begin()
    assert any(judge.assess(words).urgent for words in finals) is urgent


@given(
    st.lists(
        st.sampled_from(
            [
                "one",
                "two",
                "oh",
                "hundred",
                "and",
                "point",
                "half",
                "a",
                "thirty",
                "nine",
                "y",
                "medio",
                "mil",
                "7",
                "39.5",
                "once",
            ]
        )
    )
)
def test_any_run_of_number_words_is_survived(words: list[str]) -> None:
    for number in find_numbers(tokenise(" ".join(words))):
        assert number.readings
        assert all(r >= 0 for r in number.readings)
