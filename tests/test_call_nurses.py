"""Promise P2 on whole calls: whatever the nurses' telephones do, one nurse has the caller, and the caller is told.

Measured at the line, in samples, on real caller audio. In virtual time computing costs nothing, so these bounds catch
every wait.
"""

import numpy as np
import pytest

from fsm import events as ev
from fsm.states import Declared, RungKind, State
from tests.calls import CHEST, CLIPS, MS, Call, leaves, rung, says
from tests.handovers import HELD, SILENT, TAKEN, handed_over, hang_up_after
from triage.demo.patient import Cue, Utterance
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.ports import RATE


def test_a_nurse_who_never_answers_the_number_aloud_by_ten_seconds_and_again() -> None:
    ladder = (rung("queue", RungKind.REFER), rung("nurse"), rung("other"))
    phones = {
        "queue": NursePhone(Behaviour.RINGS_OUT),
        "nurse": NursePhone(Behaviour.RINGS_OUT),
        "other": NursePhone(Behaviour.SILENT),
    }
    call = Call(script=[says(CHEST, Cue.AT, 1.0)], phones=phones, ladder=ladder, patience_s=300).ring(hang_up_after(75))
    at, said = call.urgent_at, call.starts("emergency_number")
    assert 0 < said[0] - at <= 10.1 * RATE
    assert len(said) >= 3
    assert all(abs(gap - 20 * RATE) < 0.1 * RATE for gap in np.diff(said))
    assert "nurse_handoff_unanswered" in call.pages
    targets = [asked.target for asked in call.line.asked]
    assert targets[:3] == ["queue", "nurse", "other"] and targets.count("nurse") >= 3, "the ladder goes round"
    after = call.heard[at : len(call.heard)]
    spells = np.diff(np.flatnonzero(after))
    assert spells.max() < 8 * RATE, "never left in silence"
    call.check_record()


BY_PHONE: dict[tuple[Behaviour, RungKind], str] = {
    (Behaviour.ANSWERS, RungKind.REFER): TAKEN,
    (Behaviour.ANSWERS, RungKind.DIAL): HELD,
    (Behaviour.BUSY, RungKind.REFER): "next",
    (Behaviour.BUSY, RungKind.DIAL): "next",
    (Behaviour.REFUSES, RungKind.REFER): "next",
    (Behaviour.REFUSES, RungKind.DIAL): "next",
    (Behaviour.UNAVAILABLE, RungKind.REFER): "next",
    (Behaviour.UNAVAILABLE, RungKind.DIAL): "next",
    (Behaviour.RINGS_OUT, RungKind.REFER): "next",
    (Behaviour.RINGS_OUT, RungKind.DIAL): "next",
    (Behaviour.SILENT, RungKind.REFER): "next",
    (Behaviour.SILENT, RungKind.DIAL): "next",
    (Behaviour.VOICEMAIL, RungKind.REFER): TAKEN,  # a REFER cannot tell; that is why the number stays on record
    (Behaviour.VOICEMAIL, RungKind.DIAL): "next",
    (Behaviour.DROPS, RungKind.REFER): TAKEN,
    (Behaviour.DROPS, RungKind.DIAL): "reconnected",
    (
        Behaviour.LATE,
        RungKind.REFER,
    ): "taken late",  # the second nurse had the caller; the carrier takes them all the same
    (Behaviour.LATE, RungKind.DIAL): "next",
}


def test_every_behaviour_of_a_nurse_phone_is_looked_at() -> None:
    assert set(BY_PHONE) == {(b, k) for b in Behaviour for k in (RungKind.REFER, RungKind.DIAL)}


@pytest.mark.parametrize(("behaviour", "kind"), BY_PHONE, ids=lambda x: x.value)
def test_whatever_the_first_nurse_phone_does_a_nurse_has_the_caller(
    behaviour: Behaviour,
    kind: RungKind,
) -> None:
    phones = {"first": NursePhone(behaviour, answers_after_s=30.0 if behaviour is Behaviour.LATE else 1.2)}
    phones["second"] = NursePhone()
    call = Call(
        script=[says(CHEST, Cue.AT, 1.0)],
        phones=phones,
        ladder=(rung("first", kind), rung("second")),
        patience_s=300,
    ).ring(hang_up_after(60))
    expected = BY_PHONE[behaviour, kind]
    assert call.finished.outcome == (TAKEN if expected in (TAKEN, "taken late") else HELD)
    targets = [asked.target for asked in call.line.asked]
    assert targets == (["first"] if expected in (TAKEN, HELD) else ["first", "second"])
    accepted = call.events(ev.NurseAccepted)
    if expected != TAKEN:
        assert call.events(ev.UrgencyRaised)[0].at_ns + 20_000_000_000 > accepted[-1].at_ns
    call.check_record()


def test_a_second_finding_never_transfers_twice_and_renews_the_packet() -> None:
    script = [says(CHEST, Cue.AT, 1.0), says("not_breathing", Cue.AFTER, 1.2)]
    call = Call(script=script, phones=SILENT).ring(hang_up_after(18))
    first, second = call.events(ev.UrgencyRaised)
    assert second.rank > first.rank
    between = [a for a in call.line.asked if abs(a.at - call.position(second.at_ns)) < RATE // 10]
    assert between == [], "no transfer for the second finding"
    versions = [(packet.version, packet.rank, packet.code) for packet in call.packets]
    assert versions == [(1, first.rank, versions[0][2]), (2, second.rank, versions[0][2])]
    assert {asked.code for asked in call.line.asked} == {versions[0][2]}, "one code, and it was in the header"
    assert "not breathing" in str(call.packets[1])
    number = call.starts("emergency_number", whole=False)
    assert number and number[0] - call.position(second.at_ns) <= 100 * MS, "now it is an emergency: the number at once"


def test_a_lighter_finding_later_changes_no_rank() -> None:
    script = [says("not_breathing", Cue.AT, 1.0), says(CHEST, Cue.AFTER, 1.2)]
    call = Call(script=script, phones=SILENT).ring(hang_up_after(18))
    assert [packet.rank for packet in call.packets] == [1000, 1000]


def test_an_urgent_caller_who_hangs_up_while_it_rings_is_rung_back() -> None:
    phones = {"nurse": NursePhone(Behaviour.RINGS_OUT)}
    call = Call(script=[says(CHEST, Cue.AT, 1.0), leaves(8.0)], phones=phones).ring()
    assert call.finished.outcome == "hung_up"
    assert "urgent_hangup" in call.pages
    (task,) = call.callbacks()
    assert (task.call, task.reason, task.level) == (call.finished.call_id, "urgent", "nurse_now")
    assert 0 < task.due_ns - task.opened_ns <= 300 * 10**9
    assert call.payloads("handoff")[-1]["event"] != "bridged"
    call.check_record()


def test_last_words_that_are_urgent_open_a_call_back() -> None:
    call = Call(script=[says(CHEST, Cue.AT, 1.0, hang_up=True)], phones=SILENT).ring()
    assert call.finished.counts["tails"] == 1
    assert "urgent_tail" in call.pages
    assert [task.reason for task in call.callbacks()] == ["urgent"]
    call.check_record()


def test_a_nurse_who_is_lost_is_replaced_and_the_caller_is_told_within_two_seconds() -> None:
    phones = {"nurse": NursePhone(Behaviour.DROPS), "second": NursePhone()}
    call = Call(script=[says(CHEST, Cue.AT, 1.0)], phones=phones, ladder=(rung("nurse"), rung("second"))).ring(
        hang_up_after(30)
    )
    (lost,) = call.events(ev.NurseLegLost)
    told = call.starts("reconnecting", whole=False)
    assert 0 <= told[0] - call.position(lost.at_ns) <= 2 * RATE
    assert [asked.target for asked in call.line.asked] == ["nurse", "second"]
    assert call.line.asked[1].at - call.position(lost.at_ns) <= 2 * RATE
    assert call.finished.outcome == HELD


def test_the_caller_is_heard_again_when_the_nurse_was_lost() -> None:
    phones = {"nurse": NursePhone(Behaviour.DROPS), "second": NursePhone(Behaviour.SILENT)}
    script = [says(CHEST, Cue.AT, 1.0), says("not_breathing", Cue.AT, 13.0)]
    call = Call(script=script, phones=phones, ladder=(rung("nurse"), rung("second"))).ring(hang_up_after(25))
    lost = call.events(ev.NurseLegLost)[0].at_ns
    assert [u.level for u in call.events(ev.UrgencyRaised) if u.at_ns > lost] == ["emergency_now"]


def test_a_held_nurse_hears_no_caller_and_the_caller_no_whisper() -> None:
    script = [says(CHEST, Cue.AT, 1.0), says("never_pauses", Cue.AFTER, 0.5)]
    phones = {"nurse": NursePhone(key_after_s=5.0)}
    call = Call(script=script, phones=phones).ring(hang_up_after(25))
    key = call.position(call.events(ev.NurseAccepted)[0].at_ns)
    whisper = CLIPS.clip("nurse_whisper").pcm
    start, end = call.line.whispered(1)[0]
    ear = call.line.nurse_heard(1)
    assert np.array_equal(ear[start:end], whisper[: end - start])
    held = ear[:key].copy()
    held[start : min(end, key)] = 0
    assert not held.any(), "before her key she hears the whisper and nothing else"
    assert call.caller[start:key].any(), "the caller spoke meanwhile"
    assert ear[key : key + 5 * RATE].any(), "and then she hears the caller"
    assert not call.starts("nurse_whisper", whole=False)


# --- other ways to a nurse


def test_key_zero_is_a_nurse_at_any_time() -> None:
    call = Call(script=[Utterance(cue=Cue.AT, delay_s=1.0, keys="0")]).ring(hang_up_after(12))
    assert call.line.asked[0].at == pytest.approx(RATE, abs=0.2 * RATE)
    assert call.finished.outcome == HELD


def test_a_caller_who_hangs_up_in_the_greeting_leaves_a_whole_record() -> None:
    call = Call(script=[leaves(0.5)]).ring()
    assert call.finished.outcome == "hung_up" and call.steps[-1].after.state is State.IDLE
    call.check_record()
    assert call.kept() and call.verified().closed


def test_a_rescued_call_is_not_greeted_again() -> None:
    call = Call(known=True).ring(hang_up_after(12))
    assert "greeting" not in call.prompts and call.prompts[0] == "rescued"
    assert call.reasons[0] == "rescued" and call.finished.outcome == HELD


def test_a_queue_where_nobody_takes_the_caller_pages_and_opens_a_call_back() -> None:
    ladder = (rung("nurse", RungKind.REFER, declared=Declared.QUEUE, sign=True),)
    call = Call(script=[says(CHEST, Cue.AT, 1.0)], ladder=ladder).ring()
    assert call.finished.outcome == TAKEN
    assert "nurse_no_person_sign" in call.pages and call.callbacks()


def test_where_the_carrier_would_silence_us_an_urgent_caller_is_dialled_first() -> None:
    ladder = (rung("queue", RungKind.REFER), rung("nurse"))
    phones = {"queue": NursePhone(), "nurse": NursePhone()}
    call = Call(script=[says(CHEST, Cue.AT, 1.0)], ladder=ladder, phones=phones, media_during_refer=False).ring(
        hang_up_after(12)
    )
    assert [asked.target for asked in call.line.asked] == ["nurse"]
    handed_over(call)


def test_danger_said_while_a_nurse_is_awaited_is_heard() -> None:
    """P3: a caller who asked for a person, and says why while the clip runs."""
    script = [Utterance(cue=Cue.AT, delay_s=1.0, keys="0"), says(CHEST, Cue.AT, 1.2)]
    call = Call(script=script, phones=SILENT).ring(hang_up_after(15))
    assert call.reasons == ["pressed_zero", "urgent"]
    assert [packet.rank for packet in call.packets] == [0, 500]
    assert call.steps[-1].after.handoff.urgent


@pytest.mark.parametrize(("line", "within_s"), [(CHEST, 10.1), ("not_breathing", 0.1)])
def test_danger_after_the_number_was_said_has_a_deadline_of_its_own(line: str, within_s: float) -> None:
    """P2: key 0, and nobody for ten seconds; what is said then is urgent, or an emergency, and the number is not over for it."""
    script = [Utterance(cue=Cue.AT, delay_s=1.0, keys="0"), says(line, Cue.AT, 12.0)]
    call = Call(script=script, phones=SILENT).ring(hang_up_after(40))
    at, said = call.urgent_at, call.starts("emergency_number", whole=False)
    assert said[0] < at, "it had been said"
    assert any(0 <= start - at <= within_s * RATE for start in said)
