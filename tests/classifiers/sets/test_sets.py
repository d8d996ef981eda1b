"""The judging sets are sound: every line is labelled as README.md says, and the counts it gives are the real ones."""

from typing import Any

import pytest

from tests.classifiers.sets import check_sets


@pytest.fixture(scope="module")
def sets() -> dict[str, list[dict[str, Any]]]:
    return check_sets.read_all()


def test_no_faults(sets: dict[str, list[dict[str, Any]]]) -> None:
    assert check_sets.faults(sets) == []


def test_readme_carries_the_real_counts(sets: dict[str, list[dict[str, Any]]]) -> None:
    assert check_sets.table(sets) in (check_sets.FOLDER / "README.md").read_text(encoding="utf-8")


def broken_label(row: dict[str, Any]) -> None:
    row["label"], row["category"] = "routine", "chest"


def broken_field(row: dict[str, Any]) -> None:
    row["turn"] = "1"


def broken_turn(row: dict[str, Any]) -> None:
    row["turn"] = 2


def broken_after(row: dict[str, Any]) -> None:
    row["after"] = True


def broken_kind(row: dict[str, Any]) -> None:
    row["kind"] = "level"


@pytest.mark.parametrize("fault", [broken_label, broken_field, broken_turn, broken_after, broken_kind])
def test_one_broken_line_is_found(fault: Any) -> None:
    sets = check_sets.read_all()
    row = sets["natural_first_turns"][0]
    fault(row)
    assert any(row["id"] in found for found in check_sets.faults(sets))


def test_the_same_line_twice_is_found_whatever_its_case() -> None:
    sets = check_sets.read_all()
    rows = sets["natural_first_turns"]
    rows[1]["text"] = rows[0]["text"].upper() + "!"
    assert any("same text" in found for found in check_sets.faults(sets))


def test_an_id_used_twice_is_found() -> None:
    sets = check_sets.read_all()
    sets["level"][1]["id"] = sets["level"][0]["id"]
    assert any("used 2 times" in found for found in check_sets.faults(sets))
