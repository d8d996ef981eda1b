"""Promise: tests of the telephone line that are not run are said to be, in one line, with what would run them."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.line.conftest import left_out

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Where the packages of the line would be."""
    return tmp_path / ".venv-line"


def test_packages_that_are_nowhere_are_named_with_the_remedy(environment: Path) -> None:
    assert left_out(environment, ["livekit", "redis"], 0) == (
        "SKIPPED tests/line: livekit, redis not installed; run make test-line"
    )


def test_packages_that_are_in_their_own_environment_are_not_called_missing(environment: Path) -> None:
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "triage").touch()
    said = left_out(environment, ["livekit", "redis"], 0)
    assert "not installed" not in said and "\n" not in said
    assert said.startswith("SKIPPED tests/line: they run in .venv-line") and "make test-line" in said


def test_files_that_are_left_out_by_their_mark_are_counted(environment: Path) -> None:
    assert (
        left_out(environment, [], 36) == "SKIPPED 36 files of tests/line: real phones and real time; run make test-line"
    )
    assert left_out(environment, [], 0) == ""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("livekit") is not None, reason="the telephone line's packages are here: they are run")
def test_the_line_is_said_at_the_end_of_a_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/line", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")] != []
