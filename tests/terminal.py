"""The command line for a test, run in this process."""

import sys
from collections.abc import Callable

import pytest

from triage.cli import main

Told = tuple[int, str, str]
"""Exit code, stdout, stderr."""
Terminal = Callable[..., Told]
"""Takes arguments."""


def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *always: str) -> Terminal:
    """Runs `triage` with the arguments that it is `always` given and those of each call."""

    def run(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["triage", *always, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run
