"""Our questions and the classifier work together: a denial is never urgent, a red flag always reaches a nurse."""

import pytest

from classifiers.judge import Classifier
from classifiers.rulebook import load_rulebook
from tests.dialogue.calls import BOOKS
from triage.dialogue.protocols import load_protocols
from triage.dialogue.wording import Question

QUESTIONS: dict[str, Question] = {q.prompt: q for p in load_protocols() for q in p.questions} | {
    q.prompt: q for q in BOOKS["full"].wording.asks.values()
}
WORDINGS = [(prompt, text) for q in QUESTIONS.values() for prompt, text in q.wordings()]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(load_rulebook())


DANGEROUS_NO = ("q.safe",)
"""Questions whose no is the danger: the protocol's own rule calls a nurse for it too."""


@pytest.mark.parametrize(("prompt", "text"), [w for w in WORDINGS if not w[0].startswith(DANGEROUS_NO)])
def test_denying_a_question_is_not_urgent(classifier: Classifier, prompt: str, text: str) -> None:
    for answer in ("no", "no not at all", "nope"):
        assert not classifier.begin().assess(answer, question=text, turn=1).urgent


@pytest.mark.parametrize("prompt", [p for p, q in QUESTIONS.items() if q.kind == "yes_no" and not q.yes])
def test_agreeing_to_a_question_that_is_no_red_flag_is_not_urgent(classifier: Classifier, prompt: str) -> None:
    question = QUESTIONS[prompt]
    for _, text in question.wordings():
        assert not classifier.begin().assess("yes", question=text, turn=1).urgent


def test_most_red_flags_reach_the_nurse_with_the_classifiers_category(classifier: Classifier) -> None:
    """All of them reach a nurse (see test_protocols); where the classifier agrees, the packet names the danger."""
    red = [q for q in QUESTIONS.values() if q.red_flag]
    named = [q for q in red if classifier.begin().assess("yes", question=q.text, turn=1).urgent]
    assert len(named) >= 0.8 * len(red), [q.prompt for q in red if q not in named]
