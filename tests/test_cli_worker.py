"""Promise: `triage worker` and `triage keeper` say in one line why they do not start, and what to do."""

import sys
from pathlib import Path

import pytest

from triage import cli_line, cli_worker
from triage.cli import main


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line."""
    monkeypatch.setattr(sys, "argv", ["triage", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 2 and told.err.count("\n") == 1 and not told.out
    return told.err


def test_a_worker_without_its_packages_names_the_command_that_brings_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli_line, "find_spec", lambda name: None)
    assert "run `make line`" in refused(monkeypatch, capsys, "--data", str(tmp_path), "worker")


def test_a_keeper_needs_none_of_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli_line, "find_spec", lambda name: None)
    (tmp_path / "file").write_text("")
    assert "file" in refused(monkeypatch, capsys, "--data", str(tmp_path / "file"), "keeper")


@pytest.mark.parametrize("command", [cli_worker.worker, cli_worker.keeper])
def test_both_say_in_one_line_what_they_are_for(command: object) -> None:
    assert command.__doc__ and command.__doc__.count("\n") == 0
