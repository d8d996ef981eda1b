"""Promises P4 and P7: what was heard and decided is on record, sealed; a caller who declines the record leaves no word in it.

The counts agree all the same, nothing of a caller's words comes out in the clear anywhere, and a record that cannot be
made never holds up a call.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from audit.records import Stage
from classifiers.assessment import Assessment, Evidence
from classifiers.levels import Category, Level
from fsm import effects as fx
from fsm import events as ev
from fsm.call import Call as State_
from fsm.machine import step
from fsm.states import RungKind, TimerName
from tests.calls import Call, Rung, answers, leaves, rules, rung, says, speaks
from triage.demo.patient import Cue
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.ports import Transcript, Word
from triage.recorder import Recorder, plain

SILENT = {"nurse": NursePhone(Behaviour.SILENT)}
SEED = "Zebulon Quackenbush seven marmalade"
"""Words that no file of ours contains."""


class Pen:
    """Takes records; breaks where the test wants it."""

    def __init__(self) -> None:
        self.records: list[tuple[Stage, Mapping[str, Any], int]] = []
        self.broken = False

    def append(self, stage: Stage, payload: Mapping[str, Any], *, turn: int, monotonic_ns: int, wall_ns: int) -> Any:
        if self.broken:
            raise OSError("disk")
        json.dumps(payload)  # canonical: text, whole numbers, lists and dicts
        assert ".".join(map(str, floats(payload))) == "", "no floats in a record"
        self.records.append((stage, payload, turn))
        return self

    def done(self) -> bool:
        return False


def floats(thing: Any) -> list[float]:
    if isinstance(thing, float):
        return [thing]
    parts = thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, list | tuple) else ()
    return [found for part in parts for found in floats(part)]


@pytest.fixture
def pen() -> Pen:
    return Pen()


@pytest.fixture
def recorder(pen: Pen) -> Recorder:
    return Recorder(pen, now_ns=lambda: 7, wall_ns=lambda: 9)


FINAL = Transcript(3, True, SEED, tuple(Word(w, 0.5, 10, 20) for w in SEED.split()), 10, 900)
URGENT = Assessment(
    level=Level.NURSE_NOW,
    category=Category.CHEST,
    score=0.123456,
    evidence=(Evidence(start=0, end=7, text="Zebulon"),),
    rule="r1",
    versions=(("rules", "1"),),
    clip="connecting_nurse",
    rank=5,
)


def test_a_final_is_written_as_the_recogniser_returned_it(recorder: Recorder, pen: Pen) -> None:
    recorder.heard(FINAL, turn=4, promoted=True)
    stage, payload, turn = pen.records[0]
    assert (stage, turn, payload["text"], payload["promoted"]) == (Stage.STT_FINAL, 4, SEED, True)
    assert payload["words"][1] == ["Quackenbush", 500_000, 10, 20]


def test_a_verdict_is_written_with_rule_versions_and_evidence(recorder: Recorder, pen: Pen) -> None:
    recorder.assessed("stretch", SEED, URGENT, turn=4, suppressed="echo")
    _, payload, _ = pen.records[0]
    assert payload["evidence"] == [[0, 7, "Zebulon"]] and payload["versions"] == {"rules": "1"}
    assert (payload["score_ppm"], payload["suppressed"], payload["text"]) == (123_456, "echo", SEED)


def test_a_declined_record_has_hash_and_length_and_no_word(recorder: Recorder, pen: Pen) -> None:
    recorder.withhold = True
    recorder.heard(FINAL, turn=1, promoted=False)
    recorder.assessed("final", SEED, URGENT, turn=1, suppressed="")
    recorder.assessed("stretch", SEED, URGENT, turn=1, suppressed="")
    recorder.answer("who", "Zebulon", SEED, "given", turn=1)
    recorder.answer("age", "unknown", SEED, "unknown", turn=1)
    recorder.step(step(State_(), ev.SentenceReady(at_ns=1, generation=1, index=0, text=SEED)))
    told = json.dumps([payload for _, payload, _ in pen.records])
    assert not any(word in told for word in SEED.split())
    withheld = pen.records[0][1]["text_withheld"]
    assert withheld == {"sha256": hashlib.sha256(SEED.encode()).hexdigest(), "length": len(SEED)}
    assert len(pen.records[0][1]["words"]) == 4, "how many words, with their confidences, stays"
    assert pen.records[4][1]["value"] == "unknown" and pen.records[3][1]["value"] == "withheld"


def test_a_record_that_cannot_be_made_is_counted_and_nothing_else(recorder: Recorder, pen: Pen) -> None:
    pen.broken = True
    receipt = recorder.write(Stage.ERROR, {})
    assert receipt.done() and recorder.failed == 1
    pen.broken = False
    recorder.note_error("a", "b")
    assert recorder.written == {"error": 1}


def test_a_step_is_written_with_event_effects_and_a_hash_of_what_came_after(recorder: Recorder, pen: Pen) -> None:
    decided = step(
        State_(), ev.CallConnected(at_ns=1, opening=("greeting",), ladder=(rung(),), urgent_ladder=(rung(),))
    )
    recorder.step(decided)
    _, payload, _ = pen.records[0]
    assert (payload["before"], payload["event"]["type"], payload["after"]) == ("idle", "CallConnected", "speaking")
    assert next(effect["type"] for effect in payload["effects"]) == "Play"
    other = step(decided.after, ev.SpeechStarted(at_ns=2))
    recorder.step(other)
    assert payload["after_sha256"] != pen.records[1][1]["after_sha256"]


def test_every_event_and_every_effect_has_a_plain_form() -> None:
    order = fx.StartTimer(name=TimerName.CONFIRM, token=2, seconds=0.6)
    assert plain(order) == {
        "type": "StartTimer",
        "name": TimerName.CONFIRM.value,
        "token": 2,
        "duration_ns": 600_000_000,
    }
    assert plain(rung(kind=RungKind.REFER, within_s=8.0))["answer_within_ns"] == 8_000_000_000

    @dataclass
    class Odd:
        share: float
        parts: tuple[float, ...]

    assert plain(Odd(0.25, (0.5,))) == {"type": "Odd", "share_ppm": 250_000, "parts": [500_000]}


# --- whole calls


def opened(call: Rung) -> str:
    return json.dumps([record.content.payload for record in call.records()]).lower()


def test_the_words_of_a_caller_who_declined_the_record_are_judged_and_stand_nowhere(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Also the urgent ones: a nurse reads them on her desk, the record holds their hash."""
    caplog.set_level(logging.DEBUG)
    script = [
        says("declines_record", delay_s=0.4),
        speaks(f"my name is {SEED}", "sore_name", Cue.AFTER, 1.5),
        speaks(f"{SEED} has a pain in my chest", "chest_pain_first", Cue.AFTER, 1.0),
        leaves(34),
    ]
    call = Call(script=script, phones=SILENT).ring()
    assert call.reasons[0] == "declined_record"
    assert "urgent" in call.reasons, "the words were judged all the same"
    assert any("Zebulon".lower() in str(packet).lower() for packet in call.packets), "the nurse has them"
    finals = call.payloads("stt_final")
    assert sum("text_withheld" in p for p in finals) == 3, "the words that declined it, too"
    (written,) = call.kept()
    told = opened(call) + written.summary.text().lower()
    assert [word for word in SEED.lower().split() if word in told] == []
    out = "".join(capfd.readouterr()) + caplog.text
    assert not any(word in out.lower() for word in SEED.lower().split())
    call.check_record()
    assert call.verified().closed


def test_no_word_of_any_caller_lies_in_the_clear(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Store, journal and log, with the store failing half-way so that the journal is used."""
    caplog.set_level(logging.DEBUG)
    script = [
        speaks(f"no my name is {SEED}", "sore_emergency_no", delay_s=0.4),
        answers("ask.callback", "sore_number"),
        speaks(f"pain in my chest {SEED}", "chest_pain_first", Cue.AT, 22.0),
        leaves(40),
    ]

    class Halfway:
        def __init__(self, inner: Any) -> None:
            self.inner, self.batches = inner, 0

        def append(self, rows: Any) -> None:
            self.batches += 1
            if self.batches > 2:
                raise OSError(f"cannot write {SEED}")  # whatever a store says is not passed on
            self.inner.append(rows)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    call = Call(script=script, phones=SILENT, store=Halfway).ring()
    assert call.assessed() and "urgent" in call.reasons
    disk = call.bytes_on_disk().lower()
    assert any(path.stat().st_size > 1000 for path in call.audit.spool.iterdir()), "the journal was used"
    out = "".join(capfd.readouterr()) + caplog.text
    for word in [*SEED.lower().split(), "chest", "5550142"]:
        assert word.encode() not in disk and word not in out.lower()
    assert "Zebulon" not in str(call.effects(fx.Page)) + str(call.pages)


def test_the_number_a_caller_gives_is_sealed_and_in_no_file_name_or_header() -> None:
    call = Call(
        script=[says("sore_no"), answers("ask.callback", "sore_number"), says("asks_person", Cue.AT, 40.0)],
        judge=rules(),
    ).ring()
    assert "0142" in opened(call) or "zero one four two" in opened(call)
    assert b"0142" not in call.bytes_on_disk() and b"zero one" not in call.bytes_on_disk()
    assert all("0142" not in asked.code and "0142" not in asked.target for asked in call.line.asked)
