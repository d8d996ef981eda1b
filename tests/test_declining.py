"""A caller who does not want to be written down is obeyed from those very words on, in every state; danger is acted on all the same."""

import json

import pytest

from fsm import events as ev
from tests.calls import Call, Rung, leaves, speaks
from tests.test_listening import Ear
from triage.declining import declines_record
from triage.demo.patient import Cue, Utterance
from triage.lines.nurse_phones import Behaviour, NursePhone

SILENT = {"nurse": NursePhone(Behaviour.SILENT)}
SECRET = "quackenbush"
"""A word of the caller's that may stand nowhere."""
REFUSAL = f"do not record this call i am {SECRET}"
DANGER = f"please don't record this {SECRET} has a pain in my chest"
LONG = "chest_pain_first"


def on_record(call: Rung) -> str:
    """Everything that can be read of the call, by whoever has the key, and its summary."""
    (written,) = call.kept()
    return (json.dumps([record.content.payload for record in call.records()]) + written.summary.text()).lower()


def test_a_refusal_in_the_same_breath_as_danger_is_kept_and_a_nurse_called() -> None:
    call = Call(script=[speaks(DANGER, LONG, Cue.AT, 1.0), leaves(12)], phones=SILENT).ring()
    (urgent,) = call.events(ev.UrgencyRaised)
    assert urgent.level == "nurse_now" and call.reasons == ["urgent"]
    packet = call.packets[-1]
    assert (packet.level, packet.rank) == ("nurse_now", 500) and SECRET in str(packet.situation), "the nurse reads it"
    told = on_record(call)
    assert SECRET not in told and "pain in my" not in told
    written = [p["packet"] for p in call.payloads("handoff") if p["event"] == "packet"]
    assert [p["level"] for p in written] == ["nurse_now"], "that it was urgent stands on record"
    assert [p["level"] for p in call.payloads("assessment")][-1] == "nurse_now"
    assert [task.level for task in call.callbacks()] == ["nurse_now"]
    call.check_record()


WAITING: dict[str, Utterance] = {
    "a nurse was asked for": Utterance(cue=Cue.AT, delay_s=1.0, keys="0"),
    "it is urgent": speaks("i have a pain in my chest", LONG, Cue.AT, 1.0),
}


@pytest.mark.parametrize("why", WAITING)
def test_a_refusal_while_a_nurse_is_awaited_is_kept(why: str) -> None:
    refuses, goes_on = (speaks(text, LONG, Cue.AFTER, 1.0) for text in (REFUSAL, f"again {SECRET}"))
    script = [WAITING[why], refuses, goes_on, leaves(20)]
    call = Call(script=script, phones=SILENT).ring()
    assert ["text_withheld" in p for p in call.payloads("stt_final")][-2:] == [True, True]
    assert SECRET not in on_record(call)


def test_a_refusal_is_none_of_the_words_that_are_written_down() -> None:
    call = Call(script=[speaks(REFUSAL, LONG), leaves(30)], phones=SILENT).ring()
    assert call.reasons[0] == "declined_record"
    assert ["text_withheld" in p for p in call.payloads("stt_final")] == [True]
    assert SECRET not in on_record(call)


def test_a_refusal_among_the_last_words_is_kept() -> None:
    call = Call(script=[speaks(REFUSAL, LONG, Cue.AT, 1.0, hang_up=True)], phones=SILENT).ring()
    assert call.finished.counts["tails"] == 1 and SECRET not in on_record(call)


def test_who_declined_is_declined_to_the_operators_own_system_too() -> None:
    call = Call(script=[speaks(DANGER, LONG, Cue.AT, 1.0), leaves(9)], phones=SILENT).ring()
    assert [packet.declined for packet in call.packets] == [True]
    spared = Call(script=[speaks("i have a pain in my chest", LONG, Cue.AT, 1.0), leaves(9)], phones=SILENT).ring()
    assert [packet.declined for packet in spared.packets] == [False]


# --- the ear alone


@pytest.mark.parametrize("long", [0, 100])
def test_it_is_minded_before_the_final_is_written_however_long_it_is(long: int) -> None:
    ear = Ear().says(" ".join(["well"] * long) + " " + REFUSAL + " well" * long)
    assert ear.ledger.withheld == [True, True]


def test_it_is_minded_before_a_stretch_of_somebody_who_never_pauses_is_written() -> None:
    ear = Ear().hear(1.0, 0.9).words(REFUSAL, final=False).hear(2.0, 0.9)
    assert ear.listening.counts.stretches == 1 and ear.ledger.withheld == [True]


def test_two_halves_of_a_refusal_are_one() -> None:
    ear = Ear().says("i would rather not have").says("you recording any of it")
    assert ear.ledger.withhold


def test_our_own_words_coming_back_decline_nothing() -> None:
    ear = Ear()
    ear.ours.words = ["say", "do", "not", "record"]
    ear.says("do not record")
    assert not ear.ledger.withhold


def test_who_declined_nothing_is_written_down() -> None:
    ear = Ear().says("it has hurt since i woke up and i wrote that down").says("danger")
    assert not ear.ledger.withhold


# --- the words


@pytest.mark.parametrize("around", [0, 25, 45, 200])
@pytest.mark.parametrize("said", ["please don't record me", "i do not want this written down", "no recording"])
def test_a_refusal_is_found_whatever_is_said_around_it(said: str, around: int) -> None:
    talk = " ".join(["it", "hurts", "when", "i", "walk"] * (around // 5))
    assert declines_record(f"{talk} {said} {talk}")


@pytest.mark.parametrize("said", ["", "it started on monday", "my doctor has my records", "nobody wrote me back"])
def test_ordinary_words_decline_nothing(said: str) -> None:
    assert not declines_record(said)
