"""Promise: the development lines are heard or left alone as a nurse would, in words of many kinds of callers.

Rules were tuned on these lines, so this guards against losing what was won; it says nothing of lines never seen.
"""

import pytest

from classifiers import Classifier, Level
from tests.classifiers.reading import calls, harmless_lines, urgent_lines

DANGERS = urgent_lines("urgent_en.txt") + urgent_lines("urgent_es.txt")


@pytest.mark.parametrize(("category", "first", "words"), DANGERS, ids=[d[2][:60] for d in DANGERS])
def test_a_danger_is_heard(classifier: Classifier, category: str, first: bool, words: str) -> None:
    verdict = classifier.begin().assess(words)
    assert verdict.urgent, category
    if first:
        assert verdict.level is Level.EMERGENCY_NOW


@pytest.mark.parametrize("words", harmless_lines(), ids=lambda words: words[:60])
def test_an_ordinary_line_interrupts_nothing(classifier: Classifier, words: str) -> None:
    verdict = classifier.begin().assess(words)
    assert not verdict.urgent, verdict.rule


@pytest.mark.parametrize(("name", "due", "turns"), calls(), ids=[c[0] for c in calls()])
def test_a_call_is_heard_at_the_turn_that_is_due(
    classifier: Classifier, name: str, due: int, turns: list[tuple[str, str]]
) -> None:
    judge = classifier.begin()
    verdicts = [judge.assess(words, question=q, turn=n) for n, (q, words) in enumerate(turns, start=1)]
    urgent = [n for n, verdict in enumerate(verdicts, start=1) if verdict.urgent]
    assert (urgent[0] if urgent else 0) == due, name


def test_most_dangers_are_put_into_the_right_category(classifier: Classifier) -> None:
    right = sum(classifier.begin().assess(words).category.value == category for category, _, words in DANGERS)
    assert right / len(DANGERS) > 0.75
