"""Promise: the set-up picks a Python that can run us, and otherwise says in one line what to do."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("bash", "cat", "cksum", "cut", "dirname", "id", "tr")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout on a machine that has the barest tools and no Python."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    for name in ("pyproject.toml", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for program in PROGRAMS:
        place = shutil.which(program)
        assert place is not None
        (tmp_path / "bin" / program).symlink_to(place)
    return tmp_path


def give_python(bare: Path, name: str, version: str) -> Path:
    """A program that only claims to be a Python."""
    program = bare / "bin" / name
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    return program


def set_up(bare: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(bare / "bin"), "HOME": str(bare), **variables}
    return subprocess.run(
        [bare / ".ci" / "setup", *arguments],
        cwd=bare,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def refused(told: subprocess.CompletedProcess[str], *words: str) -> None:
    assert told.returncode != 0
    assert told.stderr.startswith("set-up: ") and told.stderr.count("\n") == 1
    assert all(word in told.stderr for word in words), told.stderr


def test_a_machine_with_3_12_only_is_told_why_and_what(bare: Path) -> None:
    give_python(bare, "python3", "3.12")
    refused(set_up(bare, "run"), "pocketsphinx", "no wheel", "3.11 or 3.13", "make PYTHON=")


def test_a_machine_without_python_is_told_what(bare: Path) -> None:
    refused(set_up(bare, "dev"), "install", "python3.11")


def test_a_python_that_is_named_and_too_old_is_refused(bare: Path) -> None:
    old = give_python(bare, "python3.9", "3.9")
    refused(set_up(bare, "run", PYTHON=str(old)), "3.9", "3.11 or 3.13")


def test_3_12_is_refused_when_it_is_named_too(bare: Path) -> None:
    give_python(bare, "python3.11", "3.11")
    named = give_python(bare, "python3.12", "3.12")
    refused(set_up(bare, "run", PYTHON=str(named)), "pocketsphinx")


def test_an_unknown_errand_is_refused(bare: Path) -> None:
    refused(set_up(bare, "everything"), "neither run nor dev nor line")


def test_ci_calls_make_test_without_a_keyboard() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "exec </dev/null" in text and "make --no-print-directory test" in text and 'exit "$result"' in text
