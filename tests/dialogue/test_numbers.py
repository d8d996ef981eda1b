"""Spoken numbers are read as they were meant, and read back digit by digit."""

import pytest

from triage.dialogue.numbers import numbers_in, phone_digits, read_digits, words_of


@pytest.mark.parametrize(
    ("said", "values"),
    [
        ("forty two", [42]),
        ("forty-two years", [42]),
        ("a hundred and one", [101]),
        ("one hundred and two point five", [102.5]),
        ("thirty eight point five", [38.5]),
        ("38.5 degrees", [38.5]),
        ("two and a half", [2.5]),
        ("fifteen or fifty", [15, 50]),
        ("no numbers here", []),
        ("", []),
        ("twenty one twenty two", [21, 22]),
        ("zero", [0]),
    ],
)
def test_numbers_in_words(said: str, values: list[float]) -> None:
    assert [value for value, _, _ in numbers_in(words_of(said))] == values


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("five five five one two three four five six seven", "5551234567"),
        ("it's five five five, double one, oh nine two two", "5551109" + "22"),
        ("555-123-4567", "5551234567"),
        ("(555) 123 4567", "5551234567"),
        ("area code five five five then one two three four five six seven", "5551234567"),
        ("triple five one two three forty five sixty seven", "5551234567"),
        ("eight hundred five five five one two three four", "8005551234"),
        ("plus four four two zero seven nine four six zero nine five eight", "+442079460958"),
        ("my number is um five five five uh one two three four", "5551234"),
        ("i am forty two", None),
        ("five five", None),
        ("no", None),
        ("one two three four five six seven eight nine one two three four five six seven", None),
    ],
)
def test_telephone_numbers(said: str, digits: str | None) -> None:
    assert phone_digits(said) == digits


@pytest.mark.parametrize("number", ["5551234567", "5551234", "+442079460958", "911", "12345", "116123"])
def test_what_is_read_back_is_the_same_number(number: str) -> None:
    spoken = read_digits(number)
    back = (
        phone_digits(spoken) if len(number) >= 7 else "".join(str(int(v)) for v, _, _ in numbers_in(words_of(spoken)))
    )
    assert back == number
    assert all(len(group.split()) <= 4 for group in spoken.removeprefix("plus ").split(", "))
