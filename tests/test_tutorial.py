"""Promise: the tutorial works as it is written: before, after, and in all four sentences."""

import re
from pathlib import Path

import pytest

from classifiers.judge import Classifier
from classifiers.rulebook import load_rulebook, read_files

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "first-red-flag.md").read_text(encoding="utf-8")
VIGNETTES = re.findall(r"^\| (.+?) \| (yes|no) \|$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def taught() -> Classifier:
    """The shipped rules with the page's flag appended."""
    (flag,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (name,) = re.findall(r"`(flags_\w+\.toml)` will do", PAGE)
    texts = dict(read_files())
    texts[name] += "\n" + flag
    return Classifier(load_rulebook(texts))


def test_the_line_does_not_know_it_yet() -> None:
    before = Classifier(load_rulebook()).begin().assess("I think I have the bends")
    assert not before.urgent


def test_there_is_a_plain_a_negated_and_a_foreign_one() -> None:
    assert [answer for _, answer in VIGNETTES] == ["yes", "yes", "no", "no"]


@pytest.mark.parametrize(("said", "urgent"), VIGNETTES)
def test_each_sentence_is_judged_as_the_page_says(said: str, urgent: str, taught: Classifier) -> None:
    found = taught.begin().assess(said)
    assert found.urgent is (urgent == "yes"), found
    if found.urgent:
        assert found.rule == "flag:diving_illness"
