"""Promise: at the terminal every line gets its answer or a clear error, and the stream goes on."""

import io
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from classifiers import Classifier
from triage.cli_classify import MAX_LINE, Fault, answers, classify, evaluate, labelled_lines, lines_of, read_line
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
        b'{"text": "x", "turn": NaN}',
        b'{"text": "x", "turn": 1e400}',
        b'{"text": "x", "turn": "99999999999999999999"}',
        b'{"text": "x", "call": ["a"]}',
        b'{"text": "x"} {"text": "y"}',
        b"a" * (MAX_LINE + 5),
    ],
)
def test_a_bad_line_gets_an_error_and_the_stream_goes_on(classifier: Classifier, bad: bytes) -> None:
    answered = judged(classifier, b"hello", bad, b"i have chest pain")
    assert len(answered) == 3
    assert set(answered[1]) == {"id", "line", "error"}
    assert answered[1]["line"] == 2
    assert answered[2]["urgent"] is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "pain",
        "word " * 2000,
        "😀😀",
        "胸が痛い",
        "\x00\x07\x1b[31m",
        "pain\x00",
        "\r",
        "\u2028",
        "\ufeff",
        "ملح",
        "\ud800",
    ],
)
def test_any_text_is_answered(classifier: Classifier, text: str) -> None:
    (answer,) = judged(classifier, row(text=text))
    assert "error" not in answer


def test_no_error_quotes_the_caller() -> None:
    assert read_line(b'{"text": "my name is Zebulon", "turn": "x"', 1) == Fault("1", "broken JSON")
    assert "Zebulon" not in str(read_line(b'{"agent": "Zebulon", "turn": 1}', 1))


def test_the_command_reads_and_writes_lines() -> None:
    result = RUN.invoke(APP, ["classify"], input="i have chest pain\nhello\n")
    assert result.exit_code == 0
    assert [json.loads(line)["urgent"] for line in result.stdout.splitlines()] == [True, False]


def test_no_input_gives_no_output() -> None:
    result = RUN.invoke(APP, ["classify"], input="")
    assert (result.exit_code, result.stdout) == (0, "")


def test_an_error_carries_the_id_that_was_given(classifier: Classifier) -> None:
    answered = judged(classifier, row(id="first"), b"{broken", row(text="x", id="third", turn="soon"))
    assert [(a["id"], a["line"]) for a in answered] == [("first", 1), ("2", 2), ("third", 3)]


@pytest.mark.parametrize("between", [b"", b"plain words", b"{broken", row(id="x"), row(text="no call", id="y")])
def test_lines_without_a_call_and_lines_that_cannot_be_read_disturb_no_call(
    classifier: Classifier, between: bytes
) -> None:
    answered = judged(
        classifier,
        row(id=1, call="a", turn=1, text="she is three weeks old"),
        between,
        row(id=2, call="a", turn=2, text="temperature is a hundred and two"),
    )
    assert len(answered) == 3
    assert answered[2]["urgent"] is True


def test_a_call_that_comes_again_after_another_begins_anew(classifier: Classifier) -> None:
    answered = judged(
        classifier,
        row(call="a", text="she is three weeks old"),
        row(call="b", text="hello"),
        row(call="a", text="temperature is a hundred and two"),
    )
    assert [a["urgent"] for a in answered] == [False] * 3


def test_every_way_to_end_a_line_and_a_mark_at_the_beginning(classifier: Classifier) -> None:
    stream = io.BytesIO(
        b"\xef\xbb\xbfi have chest pain\r\n" + row(text="i have chest pain") + b"\r\n\ni have chest pain"
    )
    answered = list(answers(classifier, lines_of(stream)))
    assert [a["urgent"] for a in answered] == [True, True, False, True]
    assert answered[0]["evidence"] == [{"start": 7, "end": 17, "text": "chest pain"}]


def test_the_longest_line_that_is_read(classifier: Classifier) -> None:
    longest = b"a" * MAX_LINE
    answered = list(answers(classifier, lines_of(io.BytesIO(longest + b"\r\n" + longest + b"a\nhello"))))
    assert ["error" in a for a in answered] == [False, True, False]


@pytest.mark.parametrize(
    "rows",
    [
        '{"text": "chest \\ud800 pain"}',
        "le duele el corazón 😀",
        '{"text": "i have chest pain", "id": "\\udfff"}',
    ],
)
def test_what_the_terminal_cannot_write_is_answered_all_the_same(rows: str) -> None:
    result = RUN.invoke(APP, ["classify"], input=rows + "\nhello\n")
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert json.loads(first)["urgent"] is True
    assert json.loads(second)["urgent"] is False


def test_explain_is_a_text_at_the_terminal() -> None:
    told = RUN.invoke(APP, ["classify", "--explain", "he is not breathing"])
    assert told.stdout.startswith("level      emergency_now")
    asked = RUN.invoke(APP, ["classify", "--explain", "yes", "--agent", "Any chest pain?"])
    assert "answer:chest_pain" in asked.stdout


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


@pytest.mark.parametrize("label", ["urgent!!", None, 1, ["nurse_now"]])
def test_a_label_that_is_no_level_is_not_counted_as_harmless(tmp_path: Path, label: object) -> None:
    path = labelled(tmp_path, {"text": "x", "label": label}, {"text": "y", "label": "routine"})
    fault, good, broken = labelled_lines(path)
    assert isinstance(fault, str) and fault.startswith("line 1: label is none of emergency_now, nurse_now")
    assert not isinstance(good, str) and good.label == "routine"
    assert broken == "line 3: broken JSON"
