"""Promise: a final says which of our languages it is in, or that it is in neither."""

import pytest

from classifiers import Classifier


@pytest.mark.parametrize(
    ("words", "language"),
    [
        ("i have chest pain and i need help", "en"),
        ("me duele mucho el pecho desde ayer", "es"),
        ("mi hijo can not breathe please ayuda", "mixed"),
        ("je ne peux pas respirer", "unknown"),
        ("ich habe schmerzen", "unknown"),
        ("胸が痛い", "unknown"),
        ("five five five one two", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_language_of_a_final(classifier: Classifier, words: str, language: str) -> None:
    assert classifier.begin().assess(words).language == language
