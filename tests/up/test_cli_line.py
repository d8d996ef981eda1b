"""Promise: without the packages or the engines of the telephone line, its commands say in one line what to do."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from triage import cli_line
from triage.cli import Common, app
from triage.errors import UsageError
from triage.up import engines


def refused(*words: str) -> str:
    """What a command answers that cannot do anything."""
    told = CliRunner().invoke(app, list(words), obj=Common())
    assert isinstance(told.exception, UsageError), told.output
    assert "\n" not in str(told.exception)
    return str(told.exception)


@pytest.mark.parametrize("command", [("up",), ("up", "--engines"), ("line", "status"), ("line", "provision")])
def test_missing_packages_are_named(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_line, "find_spec", lambda name: None if name == "livekit" else name)
    assert refused(*command, "--data", str(tmp_path)) == (
        "the telephone line needs packages that are not here (livekit); run `make line`"
    )


def test_installing_shows_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, says in (
        ("livekit-server", f"livekit-server version {engines.LIVEKIT_SERVER}"),
        ("redis-server", "Redis server v=7.2.1 sha=0"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {says}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    told = CliRunner().invoke(app, ["line", "install"], obj=Common())
    assert told.exit_code == 0
    assert [row.split() for row in told.output.splitlines()] == [
        ["livekit-server", "1.13.5", str(tmp_path / "livekit-server")],
        ["redis-server", "7.2.1", str(tmp_path / "redis-server")],
    ]


def test_what_cannot_be_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert "redis-server" in refused("line", "install")


def test_the_rest_of_the_program_does_not_load_the_line() -> None:
    code = (
        "import sys, triage.cli; "
        "print([name for name in sys.modules if name.split('.')[0] in ('livekit', 'redis', 'psutil', 'aiohttp')])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
