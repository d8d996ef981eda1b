"""The model beside the rules: it may raise a call to a nurse, never lower one, and its failure changes nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import classifiers
from classifiers import Category, Classifier, Known, Level
from classifiers.judge import THRESHOLD
from classifiers.judge import load as load_layers
from classifiers.model import UrgencyModel
from classifiers.model_layer import ModelLayer

DEV = Path(__file__).parent / "dev"


@pytest.fixture(scope="module")
def layer() -> ModelLayer:
    return ModelLayer.load()


@pytest.fixture(scope="module")
def both() -> Classifier:
    return classifiers.load()


def lines(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DEV / name).read_text(encoding="utf-8").splitlines() if line.strip()]


def test_it_never_raises_to_the_emergency_number(layer: ModelLayer) -> None:
    said = [layer.judge(row["text"], question=row["agent"], known=Known()).level for row in lines("levels.jsonl")]
    assert Level.NURSE_NOW in said
    assert set(said) <= {Level.NURSE_NOW, Level.ROUTINE}


def test_an_opinion_names_category_rule_and_the_words_it_rests_on(layer: ModelLayer) -> None:
    text = "there is this crushing tightness across my chest and my arm has gone heavy"
    opinion = layer.judge(text, question="", known=Known())
    assert (opinion.level, opinion.rule) == (Level.NURSE_NOW, f"model:{opinion.category.value}")
    assert opinion.score >= THRESHOLD
    assert opinion.evidence
    assert all(text[e.start : e.end] == e.text for e in opinion.evidence)
    ends = [e.end for e in opinion.evidence]
    assert all(e.start >= end for e, end in zip(opinion.evidence[1:], ends, strict=False))


def test_what_it_does_not_raise_still_grades_the_score(both: Classifier) -> None:
    near = both.begin().assess("my stomach has been a bit funny")
    far = both.begin().assess("thank you very much goodbye")
    assert not near.urgent
    assert 0 < far.score < THRESHOLD
    assert near.score != far.score


def test_no_verdict_of_the_rules_is_ever_lowered(both: Classifier) -> None:
    rules, order = load_layers(), list(Level)
    for row in lines("openings.jsonl") + lines("answers.jsonl"):
        alone = rules.begin().assess(row["text"], question=row["agent"])
        beside = both.begin().assess(row["text"], question=row["agent"])
        assert order.index(beside.level) <= order.index(alone.level)


def test_both_hear_more_than_either(both: Classifier) -> None:
    rules = load_layers()
    heard = [row for name in ("openings.jsonl", "answers.jsonl", "traps.jsonl") for row in lines(name)]
    urgent = [row for row in heard if row["label"] != "routine"]
    alone = sum(rules.begin().assess(row["text"], question=row["agent"]).urgent for row in urgent)
    beside = sum(both.begin().assess(row["text"], question=row["agent"]).urgent for row in urgent)
    assert beside > alone


def test_it_adds_next_to_no_alarms_on_harmless_calls(both: Classifier) -> None:
    rules = load_layers()
    harmless = lines("harmless.jsonl")
    added = [
        row["id"]
        for row in harmless
        if both.begin().assess(row["text"], question=row["agent"]).urgent
        and not rules.begin().assess(row["text"], question=row["agent"]).urgent
    ]
    assert len(added) <= 0.01 * len(harmless)


def test_a_model_that_breaks_is_counted_and_the_rules_judge_alone() -> None:
    class Broken:
        id, version = "model", "0"

        def judge(self, text: str, *, question: str, known: Known) -> None:
            raise RuntimeError("weights are gone")

    classifier = load_layers((Broken(),))
    assert classifier.begin().assess("he is not breathing").level is Level.EMERGENCY_NOW
    assert classifier.begin().assess("i need a refill").level is Level.ROUTINE
    assert classifier.layer_faults == {"model": 2}


def test_versions_of_rules_and_model_stand_in_every_verdict(both: Classifier) -> None:
    assert [part for part, _ in both.begin().assess("hello").versions] == ["rules", "model"]


def test_an_urgent_opinion_always_has_a_category(layer: ModelLayer) -> None:
    for row in lines("spanish.jsonl"):
        opinion = layer.judge(row["text"], question=row["agent"], known=Known())
        assert opinion.level is Level.ROUTINE or opinion.category is not Category.NONE


def test_the_call_process_imports_no_scikit_learn() -> None:
    code = "import sys, classifiers; classifiers.load(); print('sklearn' in sys.modules, 'scipy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]


def test_the_layer_carries_the_models_version(layer: ModelLayer) -> None:
    assert layer.version == UrgencyModel.load().version
