"""Promise: the classifier answers line for line at the terminal, and a line it cannot read stops nothing."""

import io
import json
import sys
from pathlib import Path

import pytest

from classifiers import load
from classifiers.evaluation import report
from triage.cli import main
from triage.cli_classify import Fault, answers, judge_all, labelled_lines, read_line


def test_each_line_gets_one_answer_and_a_bad_one_an_error() -> None:
    lines = [b"I can't breathe\n", b"\xff\xfe\n", b"{broken\n", b'{"text": "my toe itches", "id": 7}\n', b'{"id": 1}\n']
    told = list(answers(load(), enumerate(lines, start=1)))
    assert len(told) == len(lines)
    assert (told[0]["urgent"], told[0]["category"], told[3]["urgent"]) == (True, "breathing", False)
    assert all("error" in told[at] for at in (1, 2, 4))
    assert not any("breathe" in json.dumps(told[at]) for at in (1, 2, 4))


def test_a_fault_is_told_without_quoting_the_line() -> None:
    fault = read_line(b"{secret words", 1)
    assert isinstance(fault, Fault) and fault.words == "broken JSON"


def test_the_turns_of_one_call_are_judged_together(tmp_path: Path) -> None:
    file = tmp_path / "labelled.jsonl"
    rows = [
        {"id": 1, "call": "a", "turn": 1, "text": "my stomach is upset", "label": "routine"},
        {"id": 2, "call": "a", "turn": 2, "text": "I can't breathe", "label": "nurse_now"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = labelled_lines(file)
    good = [line for line in read if not isinstance(line, str)]
    assert good, read
    assert "I can't breathe" not in report(judge_all(load(), good), show_text=False, unreadable=0)


def test_the_command_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["triage", "classify"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"my chest feels crushed\nhello\n")))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert [json.loads(line)["urgent"] for line in capsys.readouterr().out.splitlines()] == [True, False]


def test_a_file_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["triage", "evaluate", "absent.jsonl"])
    with pytest.raises(SystemExit) as ended:
        main()
    err = capsys.readouterr().err
    assert ended.value.code == 2 and "absent.jsonl" in err and err.count("\n") == 1
