"""`triage classify` and `triage evaluate`: the urgency classifier at the terminal.

Lines come in and lines go out, one each; a line that cannot be read gets an error line and the stream goes on.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Annotated, Any, BinaryIO

import typer

from classifiers import Classifier, Level, load
from classifiers.evaluation import Judged, Labelled, plots, report
from classifiers.explanation import explain
from classifiers.judge import Judge
from triage.errors import UsageError

MAX_LINE = 1_000_000
"""Bytes of one line that are read; a longer one is an error line."""
_LONGEST_TURN = 10
_LEVELS = tuple(level.value for level in Level)


@dataclass(frozen=True, slots=True)
class Line:
    """One readable line of input."""

    id: str
    call: str | None
    """None for a line that is a call of its own."""
    turn: int
    text: str
    agent: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line of input, in words that never quote it."""

    id: str
    """As given, where it could be read; otherwise the number of the line."""
    words: str


def read_line(raw: bytes, number: int) -> Line | Fault:
    """A line of input, or what is wrong with it. A plain line is a call of its own, named by its number."""
    if len(raw.rstrip(b"\r\n")) > MAX_LINE:
        return Fault(str(number), f"longer than {MAX_LINE} bytes")
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff").rstrip("\r\n")
    except UnicodeDecodeError:
        return Fault(str(number), "not UTF-8")
    if not text.lstrip().startswith("{"):
        return Line(id=str(number), call=None, turn=1, text=text, agent="")
    try:
        fields = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return Fault(str(number), "broken JSON")
    return _from_fields(fields, number)


def _no_number(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are not JSON


def _from_fields(fields: dict[str, Any], number: int) -> Line | Fault:
    given = fields.get("id")
    if isinstance(given, dict | list | bool):
        return Fault(str(number), "field id is not a string")
    name = str(number) if given is None else str(given)
    if "text" not in fields:
        return Fault(name, "field text is missing")
    if not isinstance(fields["text"], str):
        return Fault(name, "field text is not a string")
    if not isinstance(fields.get("agent"), str | None):
        return Fault(name, "field agent is not a string")
    call = fields.get("call")
    if isinstance(call, dict | list | bool):
        return Fault(name, "field call is not a string")
    turn = fields.get("turn", 0) or 0
    if isinstance(turn, str) and turn.isascii() and turn.isdecimal() and len(turn) < _LONGEST_TURN:
        turn = int(turn)
    if isinstance(turn, bool) or not isinstance(turn, int):
        return Fault(name, "field turn is not a whole number")
    return Line(
        id=name,
        call=None if call is None else str(call),
        turn=turn,
        text=fields["text"],
        agent=fields.get("agent") or "",
    )


def lines_of(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; an empty line is an empty final, the end of the file is not. Of an overlong line the head."""
    number = 0
    while raw := stream.readline(MAX_LINE + 2):
        number += 1
        rest = raw
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE + 2)
        yield number, raw


def answers(classifier: Classifier, stream: Iterable[tuple[int, bytes]]) -> Iterator[dict[str, Any]]:
    """One answer (or error) per line, in order.

    State is kept while `call` stays the same; lines without a call, and lines that cannot be read, do not disturb it.
    """
    judge: Judge = classifier.begin()
    call: str | None = None
    for number, raw in stream:
        line = read_line(raw, number)
        if isinstance(line, Fault):
            yield {"id": line.id, "line": number, "error": line.words}
            continue
        if line.call is not None and line.call != call:
            judge, call = classifier.begin(), line.call
        listening = judge if line.call is not None else classifier.begin()
        began = perf_counter_ns()
        verdict = listening.assess(line.text, question=line.agent, turn=line.turn)
        latency_us = (perf_counter_ns() - began) // 1000
        yield {
            "id": line.id,
            "urgent": verdict.urgent,
            "score": round(verdict.score, 4),
            "level": verdict.level.value,
            "category": verdict.category.value,
            "evidence": [{"start": e.start, "end": e.end, "text": e.text} for e in verdict.evidence],
            "rule": verdict.rule,
            "latency_us": latency_us,
        }


def as_line(answer: dict[str, Any]) -> bytes:
    """An answer as one line of UTF-8; half a surrogate pair, which JSON can carry and UTF-8 cannot, is escaped."""
    try:
        return json.dumps(answer, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(answer).encode() + b"\n"


def labelled_lines(path: Path) -> list[Labelled | str]:
    """The lines of an evaluation file; a line that cannot be used is what is wrong with it.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        raw_lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); name a file of JSON lines") from error
    found: list[Labelled | str] = []
    for number, raw in enumerate(raw_lines, start=1):
        if not raw.strip():
            continue
        line = read_line(raw, number)
        if isinstance(line, Fault):
            found.append(f"line {number}: {line.words}")
            continue
        try:
            fields = json.loads(raw.decode("utf-8").removeprefix("\ufeff"))
            if fields["label"] not in _LEVELS:
                found.append(f"line {number}: label is none of {', '.join(_LEVELS)}")
                continue
            found.append(
                Labelled(
                    id=line.id,
                    call=f"line {number}" if line.call is None else line.call,
                    turn=line.turn,
                    text=line.text,
                    agent=line.agent,
                    label=str(fields["label"]),
                    category=str(fields.get("category", "none")),
                    kind=str(fields.get("kind", "")),
                    language=str(fields.get("lang", "")),
                    after=bool(fields.get("after", False)),
                )
            )
        except (ValueError, KeyError, TypeError):
            found.append(f"line {number}: field label is missing")
    return found


def judge_all(classifier: Classifier, lines: Iterable[Labelled]) -> list[Judged]:
    """Every line judged in order, state kept within a call."""
    judged: list[Judged] = []
    judge: Judge = classifier.begin()
    call: str | None = None
    for line in lines:
        if line.call != call:
            judge, call = classifier.begin(), line.call
        began = perf_counter_ns()
        verdict = judge.assess(line.text, question=line.agent, turn=line.turn)
        judged.append(Judged(line, verdict, (perf_counter_ns() - began) // 1000))
    return judged


def classify(
    explain_text: Annotated[
        str | None, typer.Option("--explain", metavar="TEXT", help="Show a person why this text is judged as it is.")
    ] = None,
    agent: Annotated[str, typer.Option(metavar="QUESTION", help="With --explain: the question just asked.")] = "",
) -> None:
    """Judge JSON lines (or plain lines) from standard input; one JSON line out for each.

    A line that cannot be read gets `{"id", "line", "error"}` in its place and the stream goes on. The exit code is 0
    when the input was read to its end, also where lines were errors; 1 when the reader of the answers went away.
    """
    classifier = load(clock=perf_counter)
    if explain_text is not None:
        typer.echo(explain(classifier, explain_text, agent))
        return
    for answer in answers(classifier, lines_of(sys.stdin.buffer)):
        sys.stdout.buffer.write(as_line(answer))
        sys.stdout.buffer.flush()


def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines with a label.")],
    show_text: Annotated[bool, typer.Option("--misses/--no-misses", help="List the misses and false alarms.")] = True,
    plot_folder: Annotated[Path | None, typer.Option("--plots", metavar="FOLDER", help="Write PNG plots here.")] = None,
) -> None:
    """Judge a labelled file: sensitivity, false alarms, calibration, the misses."""
    lines = labelled_lines(file)
    bad = [line for line in lines if isinstance(line, str)]
    good = [line for line in lines if isinstance(line, Labelled)]
    for fault in bad:
        typer.echo(f"{file.name}: {fault}", err=True)
    if not good:
        raise UsageError(f"{file}: no line with a label; each needs text and label")
    judged = judge_all(load(clock=perf_counter), good)
    typer.echo(report(judged, show_text=show_text, unreadable=len(bad)))
    typer.echo(plots(judged, plot_folder or Path(f"{file.stem}_plots")))
