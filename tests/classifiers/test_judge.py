"""Promise: a classifier is always there, judges every final, and hands a call over when its rules break."""

import classifiers
from classifiers import Category, Level
from classifiers.judge import Judge


def test_a_plain_red_flag_is_heard() -> None:
    verdict = classifiers.load().begin().assess("i have chest pain")
    assert (verdict.level, verdict.category, verdict.clip) == (Level.NURSE_NOW, Category.CHEST, "connecting_nurse")
    assert [e.text for e in verdict.evidence] == ["chest pain"]


def test_a_yes_counts_only_after_the_question() -> None:
    judge = classifiers.load().begin()
    assert not judge.assess("yes").urgent
    assert judge.assess("yes", question="Do you have any chest pain?").urgent


def test_broken_rules_hand_the_call_over_behind_every_real_finding(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    real = classifiers.load().begin().assess("my ankle is cold and white")
    monkeypatch.setattr(Judge, "_assess", lambda *_: 1 / 0)
    broken = classifiers.load().begin().assess("hello")
    assert (broken.level, broken.category) == (Level.NURSE_NOW, Category.CLASSIFIER_FAILED)
    assert 0 < broken.rank < 100
    del real
