"""The promise: the development set is sound, shares no line with the judging sets, and README.md carries its real counts."""

from tests.classifiers.dev import check_dev


def test_the_development_set_has_no_fault() -> None:
    assert check_dev.faults(check_dev.read_all()) == []


def test_the_readme_carries_the_counts() -> None:
    readme = (check_dev.FOLDER / "README.md").read_text(encoding="utf-8")
    assert check_dev.table(check_dev.read_all()) in readme
