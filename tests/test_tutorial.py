"""Promise: the tutorial works as it is written: before, after, in all four sentences, and once somebody has followed it."""

import re
import tomllib
from pathlib import Path

import pytest

from classifiers import Category
from classifiers.judge import Classifier
from classifiers.rulebook import load_rulebook, read_files
from tests.classifiers.reading import vignettes

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "first-red-flag.md").read_text(encoding="utf-8")
SENTENCES = re.findall(r"^\| (.+?) \| (yes|no) \|$", PAGE, re.MULTILINE)
FLAG, ROWS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
(FILE,) = re.findall(r"`(flags_\w+\.toml)` will do", PAGE)
CODE = tomllib.loads(FLAG)["flag"][0]["code"]


def untaught(texts: dict[str, str]) -> dict[str, str]:
    """The rule files without the page's own flag, which a reader may have written already."""
    entry = rf"""^\[\[flag\]\]\s*\ncode *= *["']{CODE}["'].*?(?=^\[|\Z)"""
    return {name: re.sub(entry, "", text, flags=re.DOTALL | re.MULTILINE) for name, text in texts.items()}


def taught(texts: dict[str, str]) -> dict[str, str]:
    """The rule files as they are when step 2 was followed."""
    return {**texts, FILE: f"{texts[FILE]}\n{FLAG}"}


@pytest.fixture(scope="module")
def before() -> Classifier:
    return Classifier(load_rulebook(untaught(read_files())))


@pytest.fixture(scope="module")
def after() -> Classifier:
    return Classifier(load_rulebook(taught(untaught(read_files()))))


def test_the_line_does_not_know_it_yet(before: Classifier) -> None:
    found = before.begin().assess("I think I have the bends")
    assert (found.urgent, found.rule) == (False, "")


def test_a_page_that_was_followed_can_be_followed_again() -> None:
    plain = untaught(read_files())
    assert untaught(taught(plain)) == {**plain, FILE: plain[FILE] + "\n"}
    assert not any(CODE in text for text in plain.values())


def test_there_is_a_plain_a_negated_and_a_foreign_one() -> None:
    assert [answer for _, answer in SENTENCES] == ["yes", "yes", "no", "no"]


@pytest.mark.parametrize(("said", "urgent"), SENTENCES)
def test_each_sentence_is_judged_as_the_page_says(said: str, urgent: str, after: Classifier) -> None:
    found = after.begin().assess(said)
    assert found.urgent is (urgent == "yes"), found
    if found.urgent:
        assert found.rule == f"flag:{CODE}"


def test_its_vignettes_fit_beside_those_of_their_category(after: Classifier) -> None:
    shipped = (Path(__file__).parent / "classifiers" / "vignettes.toml").read_text(encoding="utf-8")
    if f"[{next(iter(tomllib.loads(ROWS)))}." not in shipped:
        shipped += f"\n{ROWS}"
    (row,) = [row for row in vignettes(shipped) if row.name.endswith(f".{CODE}")]
    assert row.category is Category(tomllib.loads(FLAG)["flag"][0]["category"])
    assert after.begin().assess(row.plain).rule == f"flag:{CODE}"
    for harmless in (row.negated, row.other):
        assert not after.begin().assess(harmless).urgent
