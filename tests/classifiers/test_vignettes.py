"""Promise: every kind of danger is heard when it is there, and left alone when it is denied or somebody else's."""

from pathlib import Path

import pytest

from classifiers import Category, Classifier
from tests.classifiers.reading import Vignette, vignettes

VIGNETTES = vignettes((Path(__file__).parent / "vignettes.toml").read_text(encoding="utf-8"))
DANGERS = [c.value for c in Category if c not in (Category.NONE, Category.CLASSIFIER_FAILED)]
each_one = pytest.mark.parametrize("vignette", VIGNETTES, ids=[v.name for v in VIGNETTES])


def test_every_category_has_its_three() -> None:
    assert set(DANGERS) <= {v.name for v in VIGNETTES}
    assert {v.category.value for v in VIGNETTES} == set(DANGERS)


def test_a_further_danger_of_a_category_stands_beside_the_first() -> None:
    three = 'plain = "a"\nnegated = "b"\nother = "c"\n'
    found = vignettes(f"[eye]\n{three}[eye.arc_flash]\n{three}")
    assert [(v.name, v.category) for v in found] == [("eye", Category.EYE), ("eye.arc_flash", Category.EYE)]


def test_a_vignette_that_lacks_one_of_the_three_is_refused() -> None:
    with pytest.raises(TypeError, match="other"):
        vignettes('[eye.arc_flash]\nplain = "a"\nnegated = "b"\n')


@each_one
def test_said_plainly(classifier: Classifier, vignette: Vignette) -> None:
    assert classifier.begin().assess(vignette.plain).urgent


@pytest.mark.parametrize("way", ["negated", "other"])
@each_one
def test_denied_or_of_somebody_else(classifier: Classifier, vignette: Vignette, way: str) -> None:
    verdict = classifier.begin().assess(getattr(vignette, way))
    assert not verdict.urgent, verdict.rule


@each_one
def test_a_denial_does_not_silence_what_follows(classifier: Classifier, vignette: Vignette) -> None:
    assert classifier.begin().assess(f"no fever no cough but {vignette.plain}").urgent


@each_one
@pytest.mark.parametrize("frame", ["um yeah hi so {} please", "sorry to bother you but {}", "{} i'm so scared"])
def test_a_frame_of_small_talk_hides_nothing(classifier: Classifier, vignette: Vignette, frame: str) -> None:
    assert classifier.begin().assess(frame.format(vignette.plain)).urgent


@each_one
def test_an_earlier_harmless_turn_changes_nothing(classifier: Classifier, vignette: Vignette) -> None:
    judge = classifier.begin()
    judge.assess("hi i need a refill of my blood pressure pills", turn=1)
    assert judge.assess(vignette.plain, turn=2).urgent
