"""Promise: of the development set only what stands by itself is learnt from, and no line of it twice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from classifiers.levels import Category, Level
from classifiers.training import corpus
from classifiers.training.development import TARGET, main, read, sections, written

DEV = Path(__file__).parents[1] / "dev"


def row(text: str, **fields: Any) -> Mapping[str, Any]:
    given = {"text": text, "agent": "", "label": "routine", "category": "none", "kind": "story", "lang": "en"}
    return given | fields


def lines(*calls: list[Mapping[str, Any]]) -> list[corpus.Line]:
    return corpus.parse("development.txt", written(sections(calls)))


def test_a_line_keeps_its_label_language_and_question() -> None:
    urgent = row("thirty nine", label="emergency_now", category="sepsis", lang="mixed", agent="what is || the fever")
    (line,) = lines([urgent])
    assert (line.text, line.question) == ("thirty nine", "what is the fever")
    assert (line.level, line.category, line.language, line.kind) == (
        Level.EMERGENCY_NOW,
        Category.SEPSIS,
        "es",
        "answer",
    )


def test_what_needs_its_call_or_came_after_is_left_out() -> None:
    late = row("he is worse now", label="nurse_now", category="sepsis")
    assert not lines([row("he is on chemo now", after=True)])
    assert [line.text for line in lines([row("he has a cold today"), late])] == ["he has a cold today"]
    assert not lines([row("oh dear")], [row("")], [row("= a head")], [row("# a remark here")])


@pytest.mark.parametrize(
    ("text", "fields", "kind"),
    [
        ("my name is rash", {"kind": "names_places"}, "names"),
        ("a bit of a cold", {}, "complaint"),
        ("a bit", {"agent": "any pain"}, "consult"),
        ("a cold " * 20, {}, "told"),
    ],
)
def test_harmless_kinds(text: str, fields: dict[str, Any], kind: str) -> None:
    (line,) = lines([row(text, **fields)])
    assert line.kind == kind and not line.urgent


def test_the_same_line_stands_once_and_each_in_a_family_of_its_own() -> None:
    found = lines([row("i have a cold")], [row("i have a cold")], [row("i have a cough")])
    assert len(found) == len({line.family for line in found}) == 2


def test_every_line_of_the_corpus_file_is_one_of_the_development_set() -> None:
    said = {" ".join(str(r["text"]).replace("||", " ").split()) for rows in read(DEV) for r in rows}
    kept = [line for line in corpus.written() if line.family.startswith("development/")]
    assert len(kept) > 1_500
    assert TARGET.name in corpus.names()
    assert sum(line.text in said for line in kept) > 0.98 * len(kept)  # lines may have been mended since


def test_no_folder_is_told_on_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([]) == main([str(tmp_path / "none")]) == 2
    assert "usage" in capsys.readouterr().err
