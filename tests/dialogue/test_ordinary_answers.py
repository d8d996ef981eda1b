"""Promise: what callers ordinarily answer to the questions of every call sends nobody to a nurse."""

import pytest

import classifiers
from classifiers import Classifier
from classifiers.training import corpus

LINES = corpus.parse("harmless_dialogue.txt", corpus._read("harmless_dialogue.txt"))


@pytest.fixture(scope="module")
def both() -> Classifier:
    return classifiers.load()


def test_there_are_answers_to_every_question_of_a_call() -> None:
    assert len({line.question for line in LINES}) >= 15 and len(LINES) >= 150


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.question[:24]}: {line.text[:40]}")
def test_an_ordinary_answer_is_no_danger(line: corpus.Line, both: Classifier) -> None:
    found = both.begin().assess(line.text, question=f"{line.question.capitalize()}?", turn=1)
    assert not found.urgent, f"{found.rule} at {found.score:.2f}"
