"""Promise: `triage worker` and `triage keeper` say in one line why they do not start, and what to do."""

from pathlib import Path

import pytest

from tests.terminal import terminal
from triage import cli_line, cli_worker


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line."""
    code, out, err = terminal(monkeypatch, capsys)(*arguments)
    assert code == 2 and err.count("\n") == 1 and not out
    return err


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
