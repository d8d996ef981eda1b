"""Promise: the model file says what was fitted, in both heads, and training the same lines twice gives the same bytes."""

from collections import Counter

import pytest

pytest.importorskip("sklearn", reason="the train extra is not installed")

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from classifiers import features
from classifiers.features import WordClasses
from classifiers.levels import Category
from classifiers.model import WINDOW, UrgencyModel, feature_id
from classifiers.training import corpus, fit, generate, plain
from classifiers.training.fit import Trained
from classifiers.training.generate import Example


@pytest.fixture(scope="module")
def few() -> list[Example]:
    lines = corpus.written()
    urgent = [line for line in lines if line.category in (Category.CHEST, Category.STROKE, Category.SEIZURE)]
    return generate.examples([*urgent[::3], *[line for line in lines if line.category is Category.NONE][::12]])


@pytest.fixture(scope="module")
def trained(few: list[Example]) -> Trained:
    return fit.train(few, WordClasses.load(), lambda _: None)


def test_training_twice_gives_the_same_bytes(few: list[Example], trained: Trained) -> None:
    classes = WordClasses.load()
    again = fit.train(few, classes, lambda _: None)
    assert again.payload == trained.payload and again.version == trained.version
    assert UrgencyModel(again.payload, again.version, classes).judge("my chest hurts").version == again.version


def test_the_first_head_in_the_file_says_what_was_fitted(few: list[Example], trained: Trained) -> None:
    """Tolerance: 0.002 of a raw score, of which a spread is about three.

    Features are stored under 32 bits of their name: a text with a feature that another one's bits stand for is left out.
    """
    classes = WordClasses.load()
    model = UrgencyModel(trained.payload, trained.version, classes)
    table = fit.tabulate(few, classes)
    dev = np.flatnonzero(table.fold >= 0)
    columns = fit.common(table, dev)
    known = {table.names[column] for column in columns}
    stored = Counter(feature_id(name) for name in known)
    x = fit.normed(table.whole, columns)
    machine = LogisticRegression(C=fit.C_URGENT, solver="liblinear", tol=1e-4, max_iter=200, random_state=0)
    machine.fit(x[dev], table.urgent[dev], sample_weight=table.weight[dev])
    compared = shared = 0
    for e, expected in zip(few, machine.decision_function(x), strict=True):
        words = features.words_of(e.text)
        if e.question or len(words) > WINDOW:
            continue
        found = features.extract(words, features.marks_of(words), classes)
        if any(stored[feature_id(f.name)] > (f.name in known) for f in found):
            shared += 1
            continue
        assert model._urgent.raw(*model._look((), model._rows.places(found))) == pytest.approx(expected, abs=0.002)
        compared += 1
    assert compared > 300 and shared < compared / 100


def test_the_second_head_in_the_file_says_what_scikit_learn_says(few: list[Example], trained: Trained) -> None:
    """Against scikit-learn's own weighing by rarity. Tolerance: 0.06 of a raw score (rarity is stored in steps)."""
    model = UrgencyModel(trained.payload, trained.version, WordClasses.load())
    dev = [e for e in few if e.line.fold >= 0]

    def names(e: Example) -> list[str]:
        return list(plain.rows_of(e.text, e.question, fit.WHOLE)[0])

    weighing = TfidfVectorizer(analyzer=names, min_df=plain.SEEN, binary=True)
    x = weighing.fit_transform(dev)
    weight = [e.weight * (1.0 if e.line.urgent else fit.HARMLESS_WEIGHT) for e in dev]
    machine = LogisticRegression(C=fit.C_PLAIN, solver="liblinear", tol=1e-4, max_iter=200, random_state=0)
    machine.fit(x, [e.line.urgent for e in dev], sample_weight=weight)
    compared = 0
    for e, expected in zip(few, machine.decision_function(weighing.transform(few)), strict=True):
        words = features.words_of(e.text)
        if len(words) <= WINDOW:
            answer = features.answer_of(words) if e.question else ""
            raw, _, _ = model._plain.score(
                model._plain.rows.places(features.plain(words, features.words_of(e.question), answer))
            )
            assert raw == pytest.approx(expected, abs=0.06)
            compared += 1
    assert compared > 300


def test_what_both_heads_say_is_added_by_their_spread(trained: Trained) -> None:
    model = UrgencyModel(trained.payload, trained.version, WordClasses.load())
    words = features.words_of("there is a weight on my chest and my arm has gone dead")
    found = features.extract(words, features.marks_of(words), model._classes)
    first = model._urgent.raw(*model._look((), model._rows.places(found)))
    second, _, _ = model._plain.score(model._plain.rows.places(features.plain(words)))
    expected = model._urgent.probability(first * model._shares[0] + second * model._shares[1], len(words))
    verdict = model.judge("there is a weight on my chest and my arm has gone dead")
    assert verdict.score == pytest.approx(expected)
