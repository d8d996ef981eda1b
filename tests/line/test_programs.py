"""Promise: the line's programs run our own code, whatever lies in the folder from which the line was started."""

import subprocess
from pathlib import Path

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from triage.config import load
from triage.up import programs


@pytest.mark.parametrize("name", ["triage.py", "audit.py", "typer.py"])
def test_a_file_of_the_current_folder_is_not_run(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("raise SystemExit('a stranger')\n", encoding="utf-8")
    settings = load(data=tmp_path / "data", env={})
    done = subprocess.run(
        programs.ours("settings", settings, None), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"data_dir = {tmp_path / 'data'}" in done.stdout
