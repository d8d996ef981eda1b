"""Promise: at the terminal every line gets its answer or a clear error, and the stream goes on."""

import io
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from classifiers import Classifier
from triage.cli_classify import MAX_LINE, answers, classify, evaluate, explain, labelled_lines, lines_of, read_line
from triage.errors import UsageError

APP = typer.Typer()
APP.command()(classify)
APP.command()(evaluate)
RUN = CliRunner()


def judged(classifier: Classifier, *rows: bytes) -> list[dict[str, object]]:
    return list(answers(classifier, lines_of(io.BytesIO(b"".join(row + b"\n" for row in rows)))))


def row(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_every_answer_has_the_agreed_fields(classifier: Classifier) -> None:
    (answer,) = judged(classifier, row(id="7", call="a", turn=1, text="i have chest pain", agent=""))
    assert set(answer) == {"id", "urgent", "score", "level", "category", "evidence", "rule", "latency_us"}
    assert (answer["id"], answer["urgent"], answer["level"]) == ("7", True, "nurse_now")
    assert answer["evidence"] == [{"start": 7, "end": 17, "text": "chest pain"}]


def test_a_call_is_remembered_until_the_next_call_begins(classifier: Classifier) -> None:
    answered = judged(
        classifier,
        row(id=1, call="a", turn=1, text="she is three weeks old"),
        row(id=2, call="a", turn=2, text="temperature is a hundred and two"),
        row(id=3, call="b", turn=1, text="temperature is a hundred and two"),
    )
    assert [a["urgent"] for a in answered] == [False, True, False]


def test_the_question_is_part_of_the_line(classifier: Classifier) -> None:
    rows = [
        row(id=i, call=str(i), text="yes", agent=q) for i, q in enumerate(["Any chest pain?", "Any allergies?", None])
    ]
    assert [a["urgent"] for a in judged(classifier, *rows)] == [True, False, False]


def test_plain_lines_are_calls_of_their_own(classifier: Classifier) -> None:
    answered = judged(classifier, b"she is three weeks old", b"temperature is a hundred and two", b"")
    assert [(a["id"], a["urgent"]) for a in answered] == [("1", False), ("2", False), ("3", False)]


@pytest.mark.parametrize(
    "bad",
    [
        b"{broken",
        b'{"id": 1}',
        b'{"text": 5}',
        b'{"text": "x", "agent": []}',
        b'{"text": "x", "turn": "first"}',
        b'{"text": "x", "id": {}}',
        b"\xff\xfe\xfa",
        b"{" * 5000,
        b"a" * (MAX_LINE + 5),
    ],
)
def test_a_bad_line_gets_an_error_and_the_stream_goes_on(classifier: Classifier, bad: bytes) -> None:
    answered = judged(classifier, b"hello", bad, b"i have chest pain")
    assert len(answered) == 3
    assert set(answered[1]) == {"id", "error"}
    assert answered[1]["id"] == "2"
    assert answered[2]["urgent"] is True


@pytest.mark.parametrize(
    "text", ["", " ", "pain", "word " * 2000, "😀😀", "胸が痛い", "\x00\x07\x1b[31m", "ملح", "\ud800"]
)
def test_any_text_is_answered(classifier: Classifier, text: str) -> None:
    (answer,) = judged(classifier, row(text=text))
    assert "error" not in answer


def test_no_error_quotes_the_caller() -> None:
    assert read_line(b'{"text": "my name is Zebulon", "turn": "x"', 1) == "broken JSON"
    assert "Zebulon" not in str(read_line(b'{"agent": "Zebulon", "turn": 1}', 1))


def test_the_command_reads_and_writes_lines() -> None:
    result = RUN.invoke(APP, ["classify"], input="i have chest pain\nhello\n")
    assert result.exit_code == 0
    assert [json.loads(line)["urgent"] for line in result.stdout.splitlines()] == [True, False]


def test_no_input_gives_no_output() -> None:
    result = RUN.invoke(APP, ["classify"], input="")
    assert (result.exit_code, result.stdout) == (0, "")


def test_explain_tells_a_person_why(classifier: Classifier) -> None:
    told = explain(classifier, "no cough just a crushing feeling in my chest")
    for word in ("nurse_now", "chest", "flag:chest_pain", "crushing feeling", "source", "approved", "version"):
        assert word in told
    assert "none fired" in explain(classifier, "hello")
    assert RUN.invoke(APP, ["classify", "--explain", "he is not breathing"]).stdout.startswith(
        "level      emergency_now"
    )


def labelled(tmp_path: Path, *rows: dict[str, object]) -> Path:
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in rows) + "\n{broken\n", encoding="utf-8")
    return path


def test_evaluate_prints_the_figures_and_the_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = labelled(
        tmp_path,
        {"id": "1", "call": "1", "text": "i have chest pain", "label": "nurse_now", "category": "chest", "kind": "k"},
        {"id": "2", "call": "2", "text": "blorp", "label": "nurse_now", "category": "chest", "kind": "k"},
        {"id": "3", "call": "3", "text": "i need a refill", "label": "routine", "kind": "k"},
        {"id": "4", "call": "4", "text": "no label here"},
    )
    result = RUN.invoke(APP, ["evaluate", str(path)])
    assert result.exit_code == 0
    assert "50.0 % (9.5 to 90.5), 1 of 2" in result.stdout
    assert "false alarms per final   0.0 %" in result.stdout
    assert "blorp" in result.stdout
    assert "reliability" in result.stdout
    assert "plots:" in result.stdout
    assert "label is missing" in result.output
    assert "broken JSON" in result.output


def test_evaluate_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        labelled_lines(tmp_path / "none.jsonl")


def test_evaluate_refuses_a_file_without_labels(tmp_path: Path) -> None:
    path = labelled(tmp_path, {"text": "x"})
    result = RUN.invoke(APP, ["evaluate", str(path)])
    assert isinstance(result.exception, UsageError)
