"""A stream of text is cut where a voice may pause: first clause first, then sentences, never inside "2.5 mg"."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.dialogue.sentences import LONGEST, SentenceChunker


def cut(text: str, size: int) -> list[str]:
    chunker = SentenceChunker()
    pieces = [piece for at in range(0, len(text), size) for piece in chunker.feed(text[at : at + size])]
    return pieces + chunker.close()


CASES = {
    "Thank you for that, now tell me where you are. Is it far? Yes.": ["Thank you for that,",
    "now tell me where you are.", "Is it far?", "Yes."],
    "Okay, where are you right now? And who is there?": ["Okay, where are you right now?", "And who is there?"],
    "The label says 2.5 mg for this. Which one is it?": ["The label says 2.5 mg for this.", "Which one is it?"],
    "Did you see Dr. Lee or Mrs. Jones today? Please say.": ["Did you see Dr. Lee or Mrs. Jones today?",
    "Please say."],
    "It began at 3 a.m. on Monday, right? Go on.": ["It began at 3 a.m. on Monday,", "right?", "Go on."],
    "It began at 3 a.m. Is it worse now?": ["It began at 3 a.m.", "Is it worse now?"],
    "Is that J. Smith on 5 St. James Rd. in town? Good.": ["Is that J. Smith on 5 St. James Rd. in town?", "Good."],
    "Was it more than 1,000 steps, or less? So.": ["Was it more than 1,000 steps,", "or less?", "So."],
    "One.Two": ["One.Two"],
    "No full stop at all": ["No full stop at all"],
    "": [],
    "   ": [],
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_cuts(text: str, size: int) -> None:
    assert cut(text, size) == CASES[text]


def test_the_first_clause_comes_before_the_sentence_is_over() -> None:
    chunker = SentenceChunker()
    assert chunker.feed("I have noted that, and now I") == ["I have noted that,"]
    assert chunker.feed(" want to ask, if I may,") == []
    assert chunker.feed(" one thing. N") == ["and now I want to ask, if I may, one thing."]


def test_a_sentence_without_end_is_cut_at_a_blank() -> None:
    pieces = cut("word " * 200, 11)
    assert all(len(piece) <= LONGEST for piece in pieces)
    assert " ".join(pieces).split() == ["word"] * 200


@given(st.text(alphabet="ab. ,!?D1", max_size=80), st.integers(1, 9))
def test_nothing_is_lost_and_the_pieces_do_not_depend_on_the_stream(text: str, size: int) -> None:
    pieces = cut(text, size)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(piece == piece.strip() and piece for piece in pieces)
    assert pieces == cut(text, 1)
