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

from classifiers import Classifier, load
from classifiers.evaluation import Judged, Labelled, plots, report
from classifiers.judge import Judge
from triage.errors import UsageError

MAX_LINE = 1_000_000
"""Bytes of one line that are read; a longer one is an error line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One readable line of input."""

    id: str
    call: str
    turn: int
    text: str
    agent: str


def read_line(raw: bytes, number: int) -> Line | str:
    """A line of input, or what is wrong with it (never quoting it). A plain line is a call of its own."""
    if len(raw) > MAX_LINE:
        return f"longer than {MAX_LINE} bytes"
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff").rstrip("\r\n")
    except UnicodeDecodeError:
        return "not UTF-8"
    if not text.lstrip().startswith("{"):
        return Line(id=str(number), call=f"line {number}", turn=1, text=text, agent="")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return "broken JSON"
    return _from_fields(fields, number)


def _from_fields(fields: dict[str, Any], number: int) -> Line | str:
    if "text" not in fields:
        return "field text is missing"
    if not isinstance(fields["text"], str):
        return "field text is not a string"
    if not isinstance(fields.get("agent"), str | None):
        return "field agent is not a string"
    for name in ("id", "call"):
        if isinstance(fields.get(name), dict | list | bool):
            return f"field {name} is not a string"
    turn = fields.get("turn", 0) or 0
    if isinstance(turn, str) and turn.isdecimal():
        turn = int(turn)
    if isinstance(turn, bool) or not isinstance(turn, int):
        return "field turn is not a whole number"
    call = fields.get("call")
    return Line(
        id=str(fields.get("id", number)),
        call=f"line {number}" if call is None else str(call),
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
    """One answer (or error) per line, in order. State is kept while `call` stays the same."""
    judge: Judge = classifier.begin()
    call: str | None = None
    for number, raw in stream:
        line = read_line(raw, number)
        if isinstance(line, str):
            yield {"id": str(number), "error": line}
            continue
        if line.call != call:
            judge, call = classifier.begin(), line.call
        began = perf_counter_ns()
        verdict = judge.assess(line.text, question=line.agent, turn=line.turn)
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


def explain(classifier: Classifier, text: str) -> str:
    """Why this text is judged as it is, for a person."""
    judge = classifier.begin()
    verdict = judge.assess(text, turn=1)
    rows = [
        f"level      {verdict.level.value}{'  (a nurse now)' if verdict.urgent else ''}",
        f"category   {verdict.category.value}",
        f"score      {verdict.score:.2f}",
        f"rule       {verdict.rule or 'none fired'}",
        f"language   {verdict.language}",
    ]
    code = verdict.rule.partition(":")[2]
    flag = classifier.rules.flags.get(code)
    if flag is not None:
        rows.append(f"source     {flag.source}")
        rows.append(f"approved   {f'{flag.approved_by}, {flag.approved_on}' if flag.approved_by else 'by nobody yet'}")
    rows += [f"evidence   characters {e.start} to {e.end}: {e.text}" for e in verdict.evidence]
    rows += [f"heard      {f.code}: {f.assertion}, {f.text!r}" for f in judge.known.findings]
    rows += [f"known      {name}: {value}" for name, value, _ in judge.known.qualifiers]
    rows += [f"version    {part} {version}" for part, version in verdict.versions]
    return "\n".join(rows)


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
        if isinstance(line, str):
            found.append(f"line {number}: {line}")
            continue
        try:
            fields = json.loads(raw)
            found.append(
                Labelled(
                    id=line.id,
                    call=line.call,
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
) -> None:
    """Judge JSON lines (or plain lines) from standard input; one JSON line out for each."""
    classifier = load(clock=perf_counter)
    if explain_text is not None:
        typer.echo(explain(classifier, explain_text))
        return
    for answer in answers(classifier, lines_of(sys.stdin.buffer)):
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        sys.stdout.flush()


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
