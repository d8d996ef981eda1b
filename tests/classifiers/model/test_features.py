"""Promise: scopes (negated, past, somebody else, supposed) reach as far as they should, and numbers are read as said."""

import pytest

from classifiers.features import WordClasses, answer_of, extract, marks_of, words_of

CLASSES = WordClasses.load()


def marked(text: str) -> dict[str, str]:
    words = words_of(text)
    return dict(zip([w.text for w in words], marks_of(words), strict=True))


@pytest.mark.parametrize(
    ("text", "word", "mark"),
    [
        ("no chest pain or sweating", "pain", "n"),
        ("no fever no cough just a crushing feeling in my chest", "crushing", ""),
        ("no fever no cough just a crushing feeling in my chest", "cough", "n"),
        ("i don't have any bleeding but my head hurts", "bleeding", "n"),
        ("i don't have any bleeding but my head hurts", "hurts", ""),
        ("no fever my chest hurts", "chest", ""),
        ("no, she is blue", "blue", ""),
        ("i can't breathe", "breathe", ""),
        ("i had a heart attack ten years ago", "attack", "h"),
        ("i had a stroke years ago but today my arm is numb", "numb", ""),
        ("my neighbor had a stroke", "stroke", "o"),
        ("what if my chest hurts tonight", "chest", "f"),
        ("i'm not sure if my chest hurts", "chest", ""),
        ("no me duele el pecho pero no veo", "pecho", "n"),
        ("tuve un infarto hace años", "infarto", "h"),
    ],
)
def test_scopes(text: str, word: str, mark: str) -> None:
    assert marked(text)[word] == mark


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("thirty nine five", "#38"),
        ("38.6", "#38"),
        ("a hundred and three", "#102"),
        ("one oh two", "#102"),
        ("one oh two point five", "#102"),
        ("five forty", "#350"),
        ("eighty four", "#80"),
        ("ochenta y cinco", "#80"),
        ("three", "#3"),
        ("treinta y nueve", "#38"),
        ("five five five one two three four", "#long"),
    ],
)
def test_numbers_as_people_say_them(text: str, band: str) -> None:
    assert [w.text for w in words_of(text) if w.text.startswith("#")] == [band]


def test_words_keep_their_place() -> None:
    text = "Mi mamá can't… breathe"
    assert [text[w.start : w.end] for w in words_of(text)] == ["Mi", "mamá", "can't", "breathe"]


def test_split_negations_are_joined() -> None:
    for text in ("she can not wake", "she cannot wake", "she can't wake", "she cant wake"):
        assert [w.text for w in words_of(text)] == ["she", "cant", "wake"]


def test_both_languages_share_their_classes() -> None:
    english = {f.name for f in extract(words_of("chest pain"), ["", ""], CLASSES) if f.name[0] in "kp"}
    spanish = words_of("dolor pecho")
    assert {"k@chest", "k@pain", "p@chest~@pain"} <= english & {f.name for f in extract(spanish, ["", ""], CLASSES)}


@pytest.mark.parametrize(
    ("text", "kind"),
    [("yes", "yes"), ("uh huh", "yes"), ("a bit", "yes"), ("nope", "no"), ("not really", "no"), ("sí", "yes"),
     ("tuesday", "other"), ("i don't know", "unsure"), ("no i feel fine today thanks a lot", "no+")],
)  # fmt: skip
def test_how_an_answer_begins(text: str, kind: str) -> None:
    assert answer_of(words_of(text)) == kind
