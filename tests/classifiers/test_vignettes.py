"""Promise: every kind of danger is heard when it is there, and left alone when it is denied or somebody else's."""

import tomllib
from pathlib import Path

import pytest

from classifiers import Category, Classifier

VIGNETTES = tomllib.loads((Path(__file__).parent / "vignettes.toml").read_text(encoding="utf-8"))
DANGERS = [c.value for c in Category if c not in (Category.NONE, Category.CLASSIFIER_FAILED)]


def test_every_category_has_its_three() -> None:
    assert {name: set(rows) for name, rows in VIGNETTES.items()} == {
        name: {"plain", "negated", "other"} for name in DANGERS
    }


@pytest.mark.parametrize("category", DANGERS)
def test_said_plainly(classifier: Classifier, category: str) -> None:
    verdict = classifier.begin().assess(VIGNETTES[category]["plain"])
    assert verdict.urgent


@pytest.mark.parametrize("way", ["negated", "other"])
@pytest.mark.parametrize("category", DANGERS)
def test_denied_or_of_somebody_else(classifier: Classifier, category: str, way: str) -> None:
    verdict = classifier.begin().assess(VIGNETTES[category][way])
    assert not verdict.urgent, verdict.rule


@pytest.mark.parametrize("category", DANGERS)
def test_a_denial_does_not_silence_what_follows(classifier: Classifier, category: str) -> None:
    assert classifier.begin().assess(f"no fever no cough but {VIGNETTES[category]['plain']}").urgent


@pytest.mark.parametrize("category", DANGERS)
@pytest.mark.parametrize("frame", ["um yeah hi so {} please", "sorry to bother you but {}", "{} i'm so scared"])
def test_a_frame_of_small_talk_hides_nothing(classifier: Classifier, category: str, frame: str) -> None:
    assert classifier.begin().assess(frame.format(VIGNETTES[category]["plain"])).urgent


@pytest.mark.parametrize("category", DANGERS)
def test_an_earlier_harmless_turn_changes_nothing(classifier: Classifier, category: str) -> None:
    judge = classifier.begin()
    judge.assess("hi i need a refill of my blood pressure pills", turn=1)
    assert judge.assess(VIGNETTES[category]["plain"], turn=2).urgent
