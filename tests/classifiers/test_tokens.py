"""Promise: what a recogniser or a keyboard writes becomes the same plain tokens, each with its place in the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.tokens import MAX_WORD, tokenise


def words(text: str) -> str:
    return " ".join(t.text for t in tokenise(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I can't", "i can not"),
        ("i cant", "i can not"),
        ("I cannot", "i can not"),
        ("he’s", "he is"),
        ("She won't, she ISN'T", "she will not she is not"),
        ("they'll we'd i've", "they will we would i have"),
        ("no respira mi papá", "no respira mi papa"),
        ("dolor del pecho", "dolor de el pecho"),
        ("39.5 and 1,000", "39.5 and 1000"),
        ("102F", "102 f"),
        ("cafe\u0301", "cafe"),
        ("ＣＨＥＳＴ", "chest"),
        ("😀 \x00 …", ""),
        ("", ""),
    ],
)
def test_forms_are_made_one(text: str, expected: str) -> None:
    assert words(text) == expected


def test_hesitations_and_stutters_are_soft() -> None:
    assert [t.soft for t in tokenise("um my my chest")] == [True, False, True, False]


def test_sentence_ends_are_breaks_and_commas_are_marked() -> None:
    tokens = tokenise("No. My chest, yes")
    assert [t.after_break for t in tokens] == [True, True, False, False]
    assert [t.after_comma for t in tokens] == [False, False, False, True]


@given(st.text(max_size=120))
def test_every_token_lies_in_the_text_in_order(text: str) -> None:
    last = 0
    for token in tokenise(text):
        assert last <= token.start or token.start < last == token.end
        assert 0 <= token.start < token.end <= len(text)
        assert 0 < len(token.text) <= MAX_WORD
        last = token.end
