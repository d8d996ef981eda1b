"""Promise: what README says about settings and machine is made from the code and renewed by one command."""

from pathlib import Path

import pytest

from fsm import diagram
from triage.config import Settings
from triage.readme import SETTINGS_END, SETTINGS_START, renewed, settings_table

OLD = f"# x\n{SETTINGS_START}\nold\n{SETTINGS_END}\nbetween\n{diagram.README_START}\nold\n{diagram.README_END}\nafter\n"


def test_both_parts_are_renewed_and_nothing_else() -> None:
    text = renewed(OLD)
    assert settings_table() in text and diagram.readme_block() in text
    assert text.startswith("# x\n") and "\nbetween\n" in text and text.endswith("\nafter\n")
    assert "old" not in text.splitlines()
    assert renewed(text) == text


@pytest.mark.parametrize("text", ["", "no markers", SETTINGS_START + " never closed"])
def test_without_markers_nothing_changes(text: str) -> None:
    assert renewed(text) == text


def test_the_table_has_every_setting() -> None:
    for name in Settings.model_fields:
        assert f"| `{name}` |" in settings_table()


def test_the_command_renews_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from triage.cli import main

    file = tmp_path / "README.md"
    file.write_text(OLD)
    monkeypatch.setattr("sys.argv", ["triage", "diagram", "--write", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert file.read_text() == renewed(OLD)
