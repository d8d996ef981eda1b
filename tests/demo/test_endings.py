"""However a demo ends, the terminal says what is kept: one line, no traceback, nothing claimed that is not there."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TRIAGE = (sys.executable, "-m", "triage")


def told(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TRIAGE, *arguments], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("signals", "endings"),
    [
        ((signal.SIGTERM,), ("chain closed",)),
        # two that fall together are one to the system: then the call was sealed after all
        ((signal.SIGINT, signal.SIGINT), ("stopped at once", "chain closed")),
    ],
    ids=["asked to end", "Ctrl-C twice"],
)
def test_a_demo_that_is_stopped_says_what_it_left(
    signals: tuple[int, ...], endings: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = [*TRIAGE, "demo", "silent", "--data", str(tmp_path / "data")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        while "speaking" not in (line := running.stdout.readline()):
            assert line, "it ended before the call began"
        for each in signals:
            running.send_signal(each)
        rest = running.stdout.read()
        code = running.wait(timeout=60)
    assert code == 130
    assert "Traceback" not in rest
    assert "audit.db" in rest
    assert any(ending in rest for ending in endings)


def test_calls_sealed_for_another_key_are_proven_without_it(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    assert told("demo", "asks_person", "--fast", "--data", data).returncode == 0
    shutil.rmtree(tmp_path / "data" / "keys")
    assert told("demo", "asks_person", "--fast", "--data", data).returncode == 0
    proven = told("audit", "verify", "--all", "--data", data)
    assert proven.returncode == 0, proven.stderr
    assert proven.stdout.count("proven   call") == 2
    assert proven.stdout.count("sealed for another key") == 1


def test_the_packet_quotes_a_caller_whom_no_red_flag_brought(tmp_path: Path) -> None:
    shown = told("demo", "asks_person", "--fast", "--data", str(tmp_path / "data")).stdout
    assert "none heard" not in shown
    assert 'caller\'s words: "can i please speak to a real person"' in " ".join(shown.split())
    assert "language: English" in shown


def test_doctor_answers_in_a_profile_that_may_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_PROFILE", "production")
    shown = told("doctor", "--data", str(tmp_path / "data")).stdout
    assert "refused" in shown
    assert "a production start would be refused for" in shown
