"""Promise: every scenario of the demo ends as it says, is on record whole and sealed, and has its summary.

The demo's own cast and stage, in virtual time; what is compared here is what came of the call, not what was printed.
"""

import asyncio
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from audit.reader import OpenedRecord, Reader
from audit.store import SqliteStore
from audit.verify import Verified
from fsm import effects as fx
from fsm import events as ev
from fsm.machine import Step
from fsm.states import State
from tests.calls import rules, scratch
from triage.audio import read_wav
from triage.call import Finished
from triage.clock import run as run_loop
from triage.config import load
from triage.demo import run as demo
from triage.demo.call_log import CallLog
from triage.demo.report import SUMMARY_MS, compare, counted
from triage.demo.run import DemoOrder
from triage.demo.scenario import load as load_scenario
from triage.demo.scenario import names
from triage.trace import Said, StepTaken, Trace

NAMES = names()
SCRIPTED = [name for name in NAMES if load_scenario(name).recogniser == "scripted"]


@dataclass
class Everything(CallLog):
    """Keeps every trace."""

    traces: list[Trace] = field(default_factory=list)

    def observe(self, trace: Trace) -> None:
        self.traces.append(trace)
        super().observe(trace)


@dataclass(frozen=True)
class Ran:
    """One scenario, lived through."""

    finished: Finished
    log: Everything
    records: tuple[OpenedRecord, ...]
    verified: Verified
    folder: Path
    left: tuple[str, ...]

    @property
    def steps(self) -> list[Step]:
        return [trace.step for trace in self.log.traces if isinstance(trace, StepTaken)]

    def payloads(self, stage: str) -> list[dict[str, Any]]:
        return [dict(r.content.payload) for r in self.records if r.content.stage.value == stage]


def lived(name: str, **settings: str) -> Ran:
    """Run one scenario in virtual time."""
    console = Console(file=StringIO(), width=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("triage.engines.load_classifier", rules)  # the real one, read once
        stage = demo._prepared(DemoOrder(scenario=name, fast=True), load(env=settings, data=scratch()), console)
    stage.log = log = Everything()
    left: list[str] = []

    async def live() -> Finished:
        finished = await demo._live(stage, console)
        left.extend(task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task())
        return finished

    try:
        finished = run_loop(live(), virtual=True)
    finally:
        if stage.screen:
            stage.screen.stop()
        stage.engines.writer.close()
    with closing(SqliteStore(stage.folder.database)) as store:
        reader = Reader(store, stage.folder.keyring(), who="test", purpose="test", spool=stage.folder.spool)
        verified, records = reader.verify(stage.call_id), reader.records(stage.call_id, at_ns=1)
    return Ran(finished, log, tuple(records), verified, stage.folder.root, tuple(left))


OF_WHAT_IS_MISSING = ("Not asked", "No words of the caller", "After the hand-off began, nothing")
"""Statements that can point nowhere."""


@cache
def ran(name: str) -> Ran:
    return lived(name)


pytestmark = pytest.mark.slow
every = pytest.mark.parametrize("name", NAMES)


def test_there_are_enough_scenarios() -> None:
    assert len(NAMES) >= 10
    real = {"chest_pain", "third_turn", "sore_throat", "barge_in", "asks_person"}
    assert real <= set(NAMES) - set(SCRIPTED), "these run on the real recogniser"


@every
def test_it_ends_as_it_says(name: str) -> None:
    rows = compare(load_scenario(name).expect, ran(name).log)
    assert rows, "a scenario expects something"
    assert [f"{row.name}: wanted {row.expected}, came {row.actual}" for row in rows if not row.right] == []


@every
def test_every_word_was_judged_and_every_verdict_is_on_record(name: str) -> None:
    call = ran(name)
    counts, assessments = call.finished.counts, call.payloads("assessment")
    assert counted(call.log).right
    assert counts["finals"] + counts["stretches"] + counts["tails"] == counts["assessments"] == len(assessments)
    by_kind = {kind: sum(p["kind"] == kind for p in assessments) for kind in ("final", "stretch", "tail")}
    assert by_kind == {"final": counts["finals"], "stretch": counts["stretches"], "tail": counts["tails"]}
    assert len(call.payloads("stt_final")) == counts["finals"] + counts["tails"]
    assert counts["records_failed"] == 0


@every
def test_the_record_is_whole_closed_and_says_what_was_decided(name: str) -> None:
    call = ran(name)
    assert call.verified.closed and call.verified.opened == call.verified.records == len(call.records)
    assert not call.verified.gaps
    steps = call.payloads("step")
    assert [(p["event"]["type"], p["before"], p["after"]) for p in steps] == [
        (type(s.event).__name__, s.before.state.value, s.after.state.value) for s in call.steps
    ]
    assert [[e["type"] for e in p["effects"]] for p in steps] == [
        [type(e).__name__ for e in s.effects] for s in call.steps
    ]
    first, (finished,) = call.records[0], [p for p in call.payloads("call") if p["event"] == "finished"]
    assert first.header.segment == first.header.sequence == 0
    assert finished["outcome"] == call.finished.outcome
    said = [t for t in call.log.traces if isinstance(t, Said)]
    written = " ".join(p["text"] for p in call.payloads("playout")).split()
    assert written == " ".join(t.text for t in said).split(), "what was audible, word for word"


@every
def test_the_summary_rests_on_turns_that_exist(name: str) -> None:
    call = ran(name)
    (summary,) = call.payloads("summary")
    turns = {record.content.turn for record in call.records if record.content.stage.value != "summary"}
    places = {f"{r.header.segment}/{r.header.sequence}" for r in call.records if r.content.stage.value != "summary"}
    assert {s["part"] for s in summary["statements"]} >= {"Situation", "Recommendation"}
    for statement in summary["statements"]:
        assert statement["text"] and set(statement["turns"]) <= turns and set(statement["records"]) <= places
        assert statement["records"] or statement["turns"] or statement["text"].startswith(OF_WHAT_IS_MISSING)
    assert summary["outcome"] == call.finished.outcome
    (took,) = call.log.measured["summary"]
    assert took <= SUMMARY_MS
    page = call.folder / "calls" / call.finished.call_id / "summary.md"
    assert page.stat().st_mode & 0o777 == 0o600
    assert all(s["text"] in page.read_text(encoding="utf-8") for s in summary["statements"])


@every
def test_nothing_is_left_running_and_both_sides_were_recorded(name: str) -> None:
    call = ran(name)
    assert call.left == ()
    audio = read_wav_sides(call)
    assert (np.abs(audio).max(axis=0) > 1000).all()
    assert call.steps[-1].after.state is State.IDLE and call.steps[-1].after.sealed


def read_wav_sides(call: Ran) -> Any:
    import soundfile

    path = call.folder / "calls" / call.finished.call_id / "call.wav"
    assert len(read_wav(path))
    audio, rate = soundfile.read(path, dtype="int16")
    assert rate == 16_000 and audio.shape[1] == 2
    return audio


@every
def test_no_question_is_asked_after_danger_was_found(name: str) -> None:
    call = ran(name)
    urgent = [n for n, s in enumerate(call.steps) if isinstance(s.event, ev.UrgencyRaised)]
    if not urgent:
        return
    ordered = [effect for step in call.steps[urgent[0] :] for effect in step.effects]
    assert not any(isinstance(effect, fx.Speak | fx.MakeReply) for effect in ordered)
    prompts = [prompt for effect in ordered if isinstance(effect, fx.Play) for prompt in effect.prompts]
    assert prompts and not any(prompt.startswith(("ask.", "q.", "are_you")) for prompt in prompts)


@every
def test_what_lies_on_the_disk_gives_no_word_away(name: str) -> None:
    call = ran(name)
    heard = {word for p in call.payloads("stt_final") for word in str(p.get("text", "")).split() if len(word) >= 6}
    sealed = b"".join(
        path.read_bytes()
        for path in call.folder.rglob("*")
        if path.is_file() and path.suffix not in (".wav", ".md")  # the demo's own; its caller is a machine
    ).lower()
    assert len(sealed) > 10_000
    assert [word for word in heard if word.lower().encode() in sealed] == []


@pytest.mark.parametrize("name", SCRIPTED)
def test_the_same_call_is_decided_in_the_same_way(name: str) -> None:
    """Every event, effect and state, to the nanosecond."""
    assert lived(name).steps == ran(name).steps


def test_without_any_local_voice_and_recogniser_the_demo_still_speaks() -> None:
    """All fixed wording ships rendered."""
    call = lived("sore_throat", TRIAGE_TTS="clips", TRIAGE_STT="scripted")
    assert call.finished.outcome == "callback_booked"
    said = [t for t in call.log.traces if isinstance(t, Said)]
    assert len(said) > 15 and all(t.prompt for t in said if t.text)
    assert not [s.event for s in call.steps if isinstance(s.event, ev.EffectFailed)]
