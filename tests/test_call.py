"""Promises P1 and P2 on whole calls: an urgent final hands over at once whatever is broken, and nobody is left in silence.

Measured at the line, in samples, on real caller audio. In virtual time computing costs nothing, so these bounds catch
every wait; one call in real time holds them against the wall clock as well.
"""

import asyncio
import dataclasses
import errno
import sqlite3
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from audit.entries import Entry
from audit.journal import Journal
from audit.store import Store
from audit.writer import AuditWriter
from classifiers.second_opinion import SecondQuestion
from fsm import effects as fx
from fsm import events as ev
from fsm.states import Declared, Reason, RungKind, State
from tests.calls import (
    CHEST,
    CLIPS,
    MS,
    Call,
    Dead,
    Deafened,
    Hanging,
    Living,
    NotedLine,
    Rung,
    Slow,
    leaves,
    rules,
    rung,
    says,
    speaks,
)
from triage.demo.patient import Cue, Utterance
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.ports import RATE, Frame, LineSignal, Pcm, SignalKind, VoiceWindow
from triage.stages.silero import SileroVoiceActivity
from triage.trace import Paged, Said, Trace

SILENT = {"nurse": NursePhone(Behaviour.SILENT)}


# --- P1


class Stuck:
    """A store that takes the first batch and then hangs until it is let go."""

    def __init__(self, inner: Store) -> None:
        self._inner, self.free, self._batches = inner, threading.Event(), 0

    def append(self, rows: Sequence[Entry]) -> None:
        self._batches += 1
        if self._batches > 1:
            self.free.wait(30)
        self._inner.append(rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Full:
    """A store, or a journal, whose disk is full until `free`."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.full, self.refused = inner, False, 0

    def append(self, rows: Any) -> None:
        if self.full:
            self.refused += 1
            if isinstance(self._inner, Journal):
                raise OSError(errno.ENOSPC, "No space left on device")
            raise sqlite3.OperationalError("database or disk is full")
        self._inner.append(rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def bad_observer(trace: Trace) -> None:
    raise ValueError("an observer broke")


def handed_over(call: Rung, clip: str = "connecting_nurse") -> int:
    """P1 holds for this call; returns where the clip began. In virtual time only waits count, and there is none."""
    at = call.urgent_at
    begins = [start for start in call.starts(clip, whole=False) if start >= at]
    assert begins and begins[0] - at <= 12 * MS, "the clip's first sample"
    assert call.line.asked and 0 <= call.line.asked[0].at - at <= 12 * MS, "the transfer"
    old = call.heard[at : begins[0]]
    # what the line had accepted before the final was on its way already; nothing of it may come after the clip began
    assert np.count_nonzero(old) <= 25 * MS
    after_urgent = call.steps[[isinstance(s.event, ev.UrgencyRaised) for s in call.steps].index(True) :]
    assert not any(isinstance(effect, fx.Speak | fx.MakeReply) for step in after_urgent for effect in step.effects)
    questions = [
        said.prompt
        for said in call.of(Said)
        if said.at_ns > call.events(ev.UrgencyRaised)[0].at_ns and (said.prompt or "").startswith(("ask.", "q."))
    ]
    assert all("ask.emergency" in (question or "") for question in questions)  # the greeting, reported as cut
    return begins[0]


OVER_GREETING = [says(CHEST, Cue.AT, 1.0)]
"""Danger is said while the greeting is being played."""
AFTER_QUESTION = [speaks("no it is not", "sore_no", delay_s=0.5), says(CHEST, delay_s=0.6)]
"""Danger is said after a first reply."""

TROUBLES: dict[str, dict[str, Any]] = {
    "nothing broken": {},
    "voice dead": {"voice": Dead()},
    "voice slow": {"voice": Slow()},
    "model hanging": {"model": Hanging()},
    "model dead": {"model": Dead()},
    "model and script dead": {"model": Dead(), "scripted": Dead()},
    "observer raises": {"observers": (bad_observer,)},
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("script", [OVER_GREETING, AFTER_QUESTION], ids=["over the greeting", "in a later turn"])
def test_an_urgent_final_hands_over_whatever_is_broken(trouble: str, script: list[Utterance]) -> None:
    call = Call(script=script, phones=SILENT, **TROUBLES[trouble]).ring(hang_up_after(24))
    if trouble == "model and script dead" and script is AFTER_QUESTION:  # handed over before danger was said
        assert call.reasons[0] == Reason.STAGE_FAILED.value
        return
    begins = handed_over(call)
    clip = CLIPS.clip("connecting_nurse").pcm
    assert np.array_equal(call.heard[begins : begins + len(clip)], clip), "nothing of the old speech is mixed into it"
    call.check_record()


@pytest.mark.engine
def test_an_urgent_final_of_the_real_recogniser_hands_over() -> None:
    handed_over(Call(script=OVER_GREETING, phones=SILENT, recogniser="pocketsphinx").ring(hang_up_after(30)))


def hang_up_after(seconds: float) -> Any:
    async def story(living: Living) -> None:
        await living.until(seconds)
        living.patient.hung_up = True

    return story


def paged_at_once(call: Rung) -> bool:
    """Somebody was woken for the store while the caller was there, not when the record was to be sealed."""
    return any(t.alarm == "audit_store" and t.at_ns < call.finished.ended_ns for t in call.of(Paged))


async def after_real_time(living: Living) -> None:
    """The writer's threads live in real time: give them some before the call ends."""
    await living.until(19)
    await asyncio.to_thread(threading.Event().wait, 0.3)
    living.patient.hung_up = True


def test_an_urgent_final_waits_for_no_store() -> None:
    stores: list[Stuck] = []

    def stuck(inner: Store) -> Store:
        stores.append(Stuck(inner))
        return stores[0]

    call = Call(script=OVER_GREETING, phones=SILENT, store=stuck).ring(after_real_time)
    handed_over(call)
    assert paged_at_once(call), "the pager rings"
    stores[0].free.set()
    call.check_record()
    assert len(call.packets) == 1 and call.callbacks(), "what came while the store hung is there when it is back"


@pytest.mark.parametrize("how", ["while the process lives", "as it ends"])
def test_an_urgent_final_waits_for_no_disk_and_nothing_is_lost_when_it_is_free(how: str) -> None:
    disks: list[Full] = []

    def full(inner: Any) -> Any:
        disks.append(Full(inner))
        return disks[-1]

    async def story(living: Living) -> None:
        for disk in disks:
            disk.full = True
        await after_real_time(living)

    call = Call(script=OVER_GREETING, phones=SILENT, store=full, journal=full).ring(story)
    handed_over(call)
    assert all(disk.refused for disk in disks), "both were really tried"
    assert paged_at_once(call) and call.pages.count("audit_store") == 1, "somebody was woken, once"
    threading.Event().wait(0.1)  # the writer's threads live in real time: by now every row is in memory only
    for disk in disks:
        disk.full = False
    if how == "as it ends":  # the rows go from memory to the journal, and the next process brings them to the store
        call.settle()
        call.living.writer = call.audit.open_writer("test")
    joined(call.living.writer)
    call.check_record()


def joined(writer: AuditWriter) -> None:
    """Wait until the journal is empty; ten seconds at most."""
    for _ in range(1000):
        if not writer.spooling:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the journal did not join")


@pytest.mark.realtime
def test_an_urgent_final_hands_over_by_the_wall_clock() -> None:
    stores: list[Stuck] = []

    def stuck(inner: Store) -> Store:
        stores.append(Stuck(inner))
        return stores[0]

    call = Call(
        script=[says(CHEST, Cue.AT, 0.2)],
        phones=SILENT,
        store=stuck,
        model=Hanging(),
        voice=Dead(),
        virtual=False,
    ).ring(hang_up_after(6.5))
    at = call.urgent_at
    first = next(start for start in call.line.audible_from if start >= at)  # what comes first is the clip: see above
    assert first - at <= 100 * MS
    assert 0 <= call.line.asked[0].at - at <= 200 * MS
    assert call.measured("clip_audible")[0] <= 100 and call.measured("refer_sent")[0] <= 200
    stores[0].free.set()
    call.check_record()


def test_an_emergency_says_the_number_first_and_never_to_stay() -> None:
    call = Call(script=[says("not_breathing", Cue.AT, 1.0)], phones=SILENT).ring(hang_up_after(25))
    begins = handed_over(call, "emergency_first")
    clip = CLIPS.clip("emergency_first")
    assert "nine one one" in " ".join(word.text for word in clip.words if word.end <= 3 * RATE).lower()
    assert np.array_equal(call.heard[begins : begins + len(clip.pcm)], clip.pcm)


# --- P2: silence and failures on our side


def test_a_caller_who_says_nothing_is_asked_twice_and_gets_a_nurse() -> None:
    call = Call(phones=SILENT, patience_s=300).ring(hang_up_after(60))
    greeted = len(np.trim_zeros(call.heard[: 14 * RATE], "b"))
    first, second = call.starts("are_you_there_1")[0], call.starts("are_you_there_2")[0]
    nurse = call.line.asked[0].at
    assert abs(first - greeted - 6 * RATE) < 0.2 * RATE
    for earlier, later, prompt in ((first, second, "are_you_there_1"), (second, nurse, "are_you_there_2")):
        assert later - earlier - len(CLIPS.clip(prompt).pcm) == pytest.approx(6 * RATE, abs=0.2 * RATE)
    assert call.reasons[0] == "silent"
    call.check_record()


def test_a_model_that_never_answers_is_covered_and_replaced_in_the_same_turn() -> None:
    model = Hanging()
    call = Call(script=[says("sore_no")], phones=SILENT, model=model).ring(hang_up_after(30))
    word_end = call.living.call.listening.word_end_ns(1)
    sounds = {
        said.prompt: (said.at_ns - word_end) / 1e9 for said in call.of(Said) if said.prompt and said.at_ns > word_end
    }
    heard_at = sorted(
        (call.position(step.event.at_ns) - call.position(word_end)) / RATE
        for step in call.steps
        if isinstance(step.event, ev.PlayoutStarted) and step.event.at_ns > word_end
    )
    assert heard_at[0] == pytest.approx(0.8, abs=0.1), "an acknowledgement"
    assert heard_at[1] == pytest.approx(3.0, abs=0.1), "a filler"
    assert heard_at[2] == pytest.approx(6.0, abs=0.2), "the script"
    assert any(prompt.startswith("ack") for prompt in sounds) and any(p.startswith("filler") for p in sounds)
    assert [order.scripted for order in call.effects(fx.MakeReply)][:2] == [False, True]
    assert model.asked >= 1 and model.closed == model.asked, "the hanging request was cancelled"
    assert "ask.callback" in call.prompts


@pytest.mark.parametrize("broken", [Dead, Hanging])
def test_when_the_script_is_broken_too_a_nurse_comes(broken: type) -> None:
    call = Call(script=[says("sore_no")], phones=SILENT, model=broken(), scripted=broken()).ring(hang_up_after(40))
    word_end = call.position(call.living.call.listening.word_end_ns(1))
    assert call.line.asked[0].at - word_end <= 10.3 * RATE
    assert call.reasons[0] in ("stage_failed", "no_reply")
    assert call.prompts[-1] != "ask.callback"
    call.check_record()


def test_a_recogniser_that_dies_in_the_middle_hands_over() -> None:
    def dies(patient: Any, clock: Any) -> Deafened:
        return Deafened(14.0)

    call = Call(script=[says("sore_no")], phones=SILENT, recogniser=dies).ring(hang_up_after(40))
    assert call.line.asked[0].at == pytest.approx(14 * RATE, abs=0.1 * RATE)
    assert call.reasons[0] == "stage_failed" and "apology" in call.prompts
    call.check_record()


class BreaksAt(SileroVoiceActivity):
    """A detector that raises 14 seconds into the call."""

    def feed(self, frame: Frame) -> list[VoiceWindow]:
        if frame.start >= 14 * RATE:
            raise RuntimeError("a broken session")
        return super().feed(frame)


def test_a_detector_that_breaks_leaves_nobody_unheard_for_long() -> None:
    call = Call(script=[says("sore_no")], phones=SILENT, vad=BreaksAt.load).ring(hang_up_after(40))
    assert call.line.asked[0].at == pytest.approx(14 * RATE, abs=0.1 * RATE)
    assert call.reasons[0] == "stage_failed" and "apology" in call.prompts
    call.check_record()


class DumbLine(NotedLine):
    """A line whose sender breaks for good two seconds into the call."""

    def send(self, pcm: Pcm) -> None:
        if self.position() >= 2 * RATE:
            raise RuntimeError("a broken sender")
        super().send(pcm)


def test_a_lane_that_breaks_brings_a_nurse_at_once() -> None:
    call = Call(line=DumbLine).ring(hang_up_after(20))
    assert call.line.asked[0].at == pytest.approx(2 * RATE, abs=0.1 * RATE)
    assert call.finished.outcome == HELD


class MumblingLine(NotedLine):
    """A line that reports a refusal in words."""

    def _report(self, leg: Any, signal: LineSignal) -> None:
        if signal.kind is SignalKind.REFUSED:
            signal = dataclasses.replace(signal, value="486 Busy Here")
        super()._report(leg, signal)


def test_a_line_that_reports_oddly_is_followed_all_the_same() -> None:
    phones = {"nurse": NursePhone(Behaviour.BUSY), "second": NursePhone()}
    call = Call(script=OVER_GREETING, phones=phones, ladder=(rung("nurse"), rung("second")), line=MumblingLine).ring(
        hang_up_after(20)
    )
    assert call.finished.outcome == HELD


def test_a_caller_silenced_by_a_dead_voice_and_no_clip_still_gets_a_reply() -> None:
    call = Call(script=[says("sore_no"), says("sore_number")], phones=SILENT, voice=Dead()).ring(hang_up_after(60))
    silences = quiet_spells(call)
    assert max(silences) < 10 * RATE
    call.check_record()


def quiet_spells(call: Rung) -> list[int]:
    """Lengths of the spells in which nobody at all was heard, until the call ended."""
    loud = np.flatnonzero((call.caller != 0) | (call.heard != 0))
    return [int(length) for length in np.diff(loud) if length > RATE]


# --- P2: nurses


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


TAKEN, HELD = "transferred", "nurse_bridged"
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


# --- P2: other ways to a nurse


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


# --- the second opinion


class Opines:
    """A judge beside that says the same of every final, so many seconds later."""

    id = "vendor 1"

    def __init__(self, answer: str | Exception | None, after_s: float = 0.0) -> None:
        self.answer, self.after_s, self.asked = answer, after_s, list[str]()

    async def ask(self, question: SecondQuestion) -> str:
        self.asked.append(question.text)
        await asyncio.sleep(self.after_s)
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


WORSE = '{"level": "nurse_now", "category": "sepsis", "confidence": 0.9, "reason_code": "implied"}'
ODD = "i just do not feel right today"


def odd_call(judge: Opines | None, hangs_up_s: float = 30.0) -> Rung:
    script = [speaks(ODD, "sore_no"), leaves(hangs_up_s)]
    return Call(script=script, judge=rules(), second_opinion=judge).ring()


def test_a_second_opinion_hands_a_harmless_final_over_and_stands_in_the_record() -> None:
    rung = odd_call(Opines(WORSE, after_s=1.0))
    (said,) = {event.category for event in rung.events(ev.UrgencyRaised)}
    assert said == "sepsis"
    assert rung.reasons == ["urgent"]
    written = [found for found in rung.payloads("assessment") if found["kind"] == "second_opinion"]
    assert written[0]["rule"] == "second_opinion:implied"
    assert written[0]["versions"]["second_opinion"] == "vendor 1"
    final = next(at for at in rung.assessed() if at.text == ODD)
    assert rung.events(ev.UrgencyRaised)[0].at_ns - final.at_ns == pytest.approx(1e9, abs=1e8)


@pytest.mark.parametrize(
    "judge",
    [Opines(None), Opines(WORSE, after_s=1.6), Opines(RuntimeError("down")), Opines("nonsense")],
    ids=["never", "late", "broken", "nonsense"],
)
def test_a_second_opinion_that_fails_leaves_the_call_as_it_is_without_one(judge: Opines) -> None:
    alone, beside = odd_call(None), odd_call(judge)
    assert ODD in judge.asked
    assert not beside.events(ev.UrgencyRaised)
    assert [(type(s.event).__name__, s.event.at_ns) for s in beside.steps] == [
        (type(s.event).__name__, s.event.at_ns) for s in alone.steps
    ]
    assert beside.pages == alone.pages


def test_a_second_opinion_delays_no_finding_and_lowers_none() -> None:
    calm = WORSE.replace("nurse_now", "routine")
    alone, beside = (Call(script=[says(CHEST)], judge=rules(), second_opinion=j).ring() for j in (None, Opines(calm)))
    assert beside.urgent_at == alone.urgent_at
    assert not [found for found in beside.payloads("assessment") if found["kind"] == "second_opinion"]


def test_a_second_opinion_that_comes_after_the_call_is_stale() -> None:
    judge = Opines(WORSE, after_s=1.4)
    without = odd_call(None)
    final = next(at for at in without.assessed() if at.text == ODD)
    began_ns = without.steps[0].event.at_ns
    rung = odd_call(judge, hangs_up_s=(final.at_ns - began_ns) / 1e9 + 0.7)
    assert ODD in judge.asked
    assert not rung.events(ev.UrgencyRaised)
    assert not [found for found in rung.payloads("assessment") if found["kind"] == "second_opinion"]
