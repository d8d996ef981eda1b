"""Promise: a written phrase is found where it is said, in one pass, and nowhere else."""

import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.notation import PatternError, expand
from classifiers.patterns import MOST_STRANGERS, Book, Match
from classifiers.tokens import tokenise


def found(phrase: str, text: str, **classes: str) -> list[str]:
    book = Book(("but", "not"), ("my", "and", "left"), ("part",))
    for name, members in classes.items():
        for member in members.split("|"):
            book.add(f"<{name}>", member.strip())
    book.add("it", phrase)
    tokens = tokenise(text)
    return [" ".join(t.text for t in tokens[m.first : m.last]) for m in book.find(tokens) if m.name == "it"]


def ends(phrase: str, text: str) -> list[int]:
    book = Book((), (), ())
    book.add("it", phrase)
    return [m.last for m in book.find(tokenise(text))]


@pytest.mark.parametrize(
    ("phrase", "text", "expected"),
    [
        ("chest pain", "i have chest pain now", ["chest pain"]),
        ("chest pain", "chest and pain", []),
        ("chest pain", "chest um pain", ["chest um pain"]),
        ("chest .. pain", "chest has a dull pain", ["chest has a dull pain"]),
        ("chest .. pain", "chest has had a dull pain", []),
        ("chest ... pain", "chest one two three four five six pain", ["chest one two three four five six pain"]),
        ("chest .. pain", "chest but pain", []),
        ("chest .. pain", "my chest. pain", []),
        ("chest pain", "my chest. pain", []),
        ("swell*", "it is swelling", ["swelling"]),
        ("swell*", "it is well", []),
        ("(a|b|c) d", "b d", ["b d"]),
        ("(a|b) d", "c d", []),
        ("a b? c", "a c", ["a c"]),
        ("a (b c)? d", "a b c d", ["a b c d"]),
        ("a & z", "z one a", ["z one a"]),
        ("a & z", "a one z", ["a one z"]),
        ("can't breathe", "i cannot breathe", ["can not breathe"]),
        ("not .. breathe", "not really able to breathe", ["not really able to breathe"]),
        ("pain in .np. chest", "pain in my left chest", ["pain in my left chest"]),
        ("pain in .np. chest", "pain in a bad chest", []),
    ],
)
def test_a_phrase_is_found_where_it_is_said(phrase: str, text: str, expected: list[str]) -> None:
    assert found(phrase, text) == expected


def test_classes_stand_for_their_phrases_and_may_nest() -> None:
    assert found("<pain> in <spot>", "sore in breast bone", pain="ache | sore", spot="chest | breast bone") == [
        "sore in breast bone"
    ]
    assert found("x <outer>", "x in ner", outer="<inner> | y", inner="in ner") == ["x in ner"]


def test_a_class_of_noun_words_extends_a_noun_phrase() -> None:
    assert found("pain in .np. chest", "pain in my jaw and chest", part="jaw | arm") == ["pain in my jaw and chest"]


@pytest.mark.parametrize("phrase", ["(a", "a)", "", "a & b & c", "& a", "<open", "(a|b)(c|d)" * 40])
def test_a_phrase_that_is_not_well_formed_is_refused(phrase: str) -> None:
    with pytest.raises(PatternError):
        expand(phrase if "open" in phrase or len(phrase) < 20 else "a? " * 12)


def test_matches_from_elsewhere_serve_as_classes() -> None:
    book = Book((), (), ())
    book.add("it", "<num> weeks")
    tokens = tokenise("twenty one weeks")
    assert Match("it", 0, 3) in book.find(tokens, [Match("<num>", 0, 2)])


@given(st.text(alphabet="ab .x", max_size=60))
def test_adjacent_words_are_found_exactly_where_a_plain_search_finds_them(text: str) -> None:
    words = [t for t in tokenise(text) if not t.soft]
    plain = sum(one.text == "a" and other.text == "b" and not other.after_break for one, other in pairwise(words))
    assert len(set(ends("a b", text))) == plain


def test_time_grows_with_the_length_of_the_text_and_not_faster() -> None:
    book = Book((), (), ())
    book.add("it", "a .. a .. a .. a")
    counts = [len(book.find(tokenise("a x " * n))) for n in (50, 100, 200)]
    assert counts[2] - counts[1] == 2 * (counts[1] - counts[0])


def test_one_wrong_letter_in_a_long_key_word_is_forgiven() -> None:
    book = Book((), (), ())
    book.add("it", "unconscious*")
    book.spell("unconscious")
    for text in ("uncoscious", "unconsciuos", "unconnscious", "unconscioux"):
        assert [m.name for m in book.find(tokenise(text))] == ["it"]
    assert book.find(tokenise("conscience")) == []


def test_a_word_that_a_phrase_knows_is_never_corrected() -> None:
    book = Book((), (), ())
    book.add("it", "drooping")
    book.add("other", "dropping")
    book.spell("drooping")
    assert [m.name for m in book.find(tokenise("dropping"))] == ["other"]


def calls_made(book: Book, text: str) -> int:
    """Calls of functions, C ones included, that finding all phrases in the text takes."""
    tokens = tokenise(text)
    book.find(tokens)  # what the words are is worked out once
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        book.find(tokens)
    finally:
        sys.setprofile(None)
    return count


def test_phrases_that_a_text_does_not_begin_cost_it_nothing() -> None:
    text = "my chest hurts and it will not stop since this morning"
    small, large = Book((), (), ()), Book((), (), ())
    for book, phrases in ((small, 10), (large, 3_000)):
        for number in range(phrases):
            book.add(f"it{number}", f"my (knee|toe|arm) w{number} .. hurts | chest w{number} hurts")
    assert calls_made(large, text) <= calls_made(small, text) + 2


def test_among_phrases_that_end_together_the_longer_comes_first_then_the_one_written_first() -> None:
    book = Book((), (), ())
    for name, phrase in (("b", "chest pain"), ("a", "chest pain"), ("c", "my chest pain"), ("d", "pain")):
        book.add(name, phrase)
    assert [m.name for m in book.find(tokenise("my chest pain"))] == ["c", "b", "a", "d"]


def test_only_the_classes_that_are_asked_for_are_told_of() -> None:
    book = Book((), (), (), told=("pain",))
    book.add("<pain>", "ache | sore")
    book.add("<part>", "chest")
    book.add("it", "<part> <pain>")
    assert book.find(tokenise("chest ache")) == [Match("it", 0, 2), Match("<pain>", 1, 2)]


def test_a_class_that_begins_before_a_gap_has_run_out_is_found_at_its_end() -> None:
    assert found("no .. <long>", "no one two a b c d e f g h", long="a b c d e f g h") == ["no one two a b c d e f g h"]


def test_phrases_added_after_a_text_was_read_are_found_in_the_next() -> None:
    book = Book((), (), ())
    book.add("it", "chest pain")
    book.find(tokenise("chest pain"))
    book.add("other", "chest")
    assert {m.name for m in book.find(tokenise("chest pain"))} == {"it", "other"}


def test_words_never_heard_before_do_not_pile_up() -> None:
    book = Book((), (), ())
    book.add("it", "swell*")
    texts = (
        " ".join(f"swell{''.join(chr(97 + int(d)) for d in str(n))}" for n in range(k, k + 100))
        for k in range(0, 9_000, 100)
    )
    assert all(len(book.find(tokenise(text))) == 100 for text in texts)
    assert book.words_kept <= MOST_STRANGERS + 1
