"""Promise: the corpus is whole and fairly divided, examples are the same every time, and a score is counted right."""

import re
from collections import Counter

import pytest

from classifiers.features import words_of
from classifiers.levels import Category
from classifiers.model import UrgencyModel, is_bare
from classifiers.training import corpus, generate
from classifiers.training.score import rates, score_lines, wilson

REAL = [c for c in Category if c not in (Category.NONE, Category.CLASSIFIER_FAILED)]


def test_the_corpus_is_large_and_covers_every_category_in_both_languages() -> None:
    lines = corpus.written()
    assert len(lines) >= 1_500
    assert {line.category for line in lines if line.urgent and line.language == "en"} == set(REAL)
    assert {line.category for line in lines if line.urgent and line.language == "es"} == set(REAL)
    kinds = Counter(line.kind for line in lines if not line.urgent)
    assert all(kinds[k] >= 9 for k in ("negated", "past", "hypothetical", "other", "figurative", "names", "longterm"))


def test_no_line_is_both_harmless_and_urgent() -> None:
    lines = corpus.written()
    urgent = {line.text for line in lines if line.urgent and not line.question}
    assert not urgent & {line.text for line in lines if not line.urgent and not line.question}


def test_a_family_and_its_kin_never_part() -> None:
    folds: dict[str, set[int]] = {}
    examples = generate.examples()
    for e in examples:
        folds.setdefault(e.line.family, set()).add(e.line.fold)
    assert all(len(f) == 1 for f in folds.values())
    assert {f for found in folds.values() for f in found} == {-1, *range(corpus.FOLDS)}
    written = [e.line for e in examples if e.how == "written"]
    said = [(e.urgent, e.question if is_bare(words_of(e.text), e.question) else e.text) for e in written]
    test = {text for text, line in zip(said, written, strict=True) if line.fold == -1}
    rest = {text for text, line in zip(said, written, strict=True) if line.fold >= 0}
    assert test and not test & rest


def test_nearly_the_same_lines_are_kin() -> None:
    lines = corpus.parse(
        "x",
        "= chest n en plain\nmy chest hurts badly tonight\n\nchest hurting badly tonight\n\nhe fainted twice\n",
    )
    chief = corpus.kindred(lines)
    assert chief[lines[0].family] == chief[lines[1].family] != chief[lines[2].family]


def test_every_slot_is_known_and_filled() -> None:
    for e in generate.examples():
        if e.how == "template":
            assert not re.search(r"[{}|]", e.text), e.text


def test_examples_are_the_same_every_time() -> None:
    assert generate.examples() == generate.examples()


@pytest.mark.parametrize(
    "content", ["line before a head\n", "= chest n en\nx\n", "= toe n en plain\nx\n", "= chest z en plain\nx\n"]
)
def test_a_broken_corpus_file_is_refused(content: str) -> None:
    with pytest.raises(corpus.CorpusError, match=r"x:1"):
        corpus.parse("x", content)


def test_lines_of_the_development_set_stand_each_in_a_family_of_its_own() -> None:
    developed = [line for line in corpus.written() if line.family.startswith("development/")]
    assert len(developed) > 1_500
    assert len({line.family for line in developed}) == len(developed)


def test_scoring_counts_what_it_should() -> None:
    rows = [
        '{"id":"1","text":"my chest feels tight and the pain goes down my left arm","label":"nurse_now","kind":"a"}',
        '{"id":"2","text":"i need a refill","label":"routine","kind":"a"}',
        '{"id":"3","text":"anything","label":"nurse_now","kind":"a","after":true}',
    ]
    scored = score_lines(rows, UrgencyModel.load())
    assert rates(scored, lambda s: str(s.row["kind"])) == {"a": (1, 1, 0, 1)}
    with pytest.raises(ValueError, match="line 1"):
        score_lines(["[]"], UrgencyModel.load())


def test_wilson_interval() -> None:
    low, high = wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.49, 0.943)
    assert wilson(0, 0) == (0.0, 1.0)
