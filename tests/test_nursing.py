"""Promise: the nurse reads the caller's own words before saying hello, under a code that gives nothing away, and every time is sourced."""

import asyncio
import json
import threading
from contextlib import closing
from typing import Any

import pytest

from audit.outbox import Outbox
from audit.reader import Reader
from audit.store import SqliteStore
from fsm import effects as fx
from fsm import events as ev
from fsm.states import Reason, RungKind
from tests.calls import CHEST, CLIPS, TO_THE_END, Call, Living, Rung, answers, leaves, rules, rung, says
from triage.demo.patient import Cue
from triage.handoff.claims import numbers_of
from triage.handoff.desk import FileDesk
from triage.handoff.post import Post, Undelivered
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.ports import RATE, Packet
from triage.tools import FakeTools
from triage.trace import CallbackOpened, HandoffClock, PacketMade, Said, StepTaken

SILENT = {"nurse": NursePhone(Behaviour.SILENT)}
ORDER = ["t_word_end", "t_final", "t_assessed", "t_clip_audible", "t_refer_sent"]


@pytest.fixture(scope="module")
def call() -> Rung:
    """An answered question, then danger; a nurse takes the call."""
    script = [says("sore_no"), answers("ask.callback", "sore_number"), says(CHEST, Cue.AT, 22.0), leaves(40)]
    return Call(script=script).ring()


def test_the_packet_is_there_the_moment_the_flag_fires(call: Rung) -> None:
    (made,) = call.of(PacketMade)
    assert call.position(made.at_ns) - call.urgent_at <= RATE // 10
    answered = next(mark for mark in call.of(HandoffClock) if mark.mark == "t_answered")
    assert made.at_ns < answered.at_ns


def test_the_packet_has_the_callers_words_and_what_was_not_asked(call: Rung) -> None:
    packet = call.packets[0]
    told = json.dumps([dict(part) for part in (packet.situation, packet.background, packet.assessment)])
    assert "pain in my chest" in told and "not asked" in told and "0142" in told
    assert (packet.reason, packet.level, packet.category, packet.rank) == ("urgent", "nurse_now", "chest", 500)
    assert packet.recommendation["ask"] == "nurse now"


def test_the_code_travels_and_opens_the_packet_and_stands_in_no_record(call: Rung) -> None:
    (asked,) = call.line.asked
    assert call.desk.claim(asked.code) == call.packets[0]
    assert len(asked.code) >= 16 and asked.code not in json.dumps([r.content.payload for r in call.records()])
    other = Call(script=[leaves(0.5)]).ring()
    assert other.living.call.nursing.code != asked.code


def test_every_mark_of_the_clock_is_reported_in_order_with_its_source(call: Rung) -> None:
    marks = {mark.mark: mark for mark in call.of(HandoffClock)}
    assert set(ORDER) <= set(marks)
    times = [marks[name].at_ns for name in (*ORDER[:3], "t_refer_accepted", "t_ringing", "t_answered", "t_person")]
    assert times == sorted(times) and times[0] > 0
    assert {marks[name].source for name in ORDER} == {"own clock"}
    assert {marks[name].source for name in ("t_refer_accepted", "t_ringing", "t_answered", "t_person")} == {"carrier"}
    recorded = {p["event"]: p["at_ns"] for p in call.payloads("handoff") if "at_ns" in p}
    assert recorded == {name: mark.at_ns for name, mark in marks.items()}
    assert call.measured("nurse_handoff") == [pytest.approx((marks["t_answered"].at_ns - marks["t_final"].at_ns) / 1e6)]
    assert call.measured("nurse_person") == [pytest.approx((marks["t_person"].at_ns - marks["t_final"].at_ns) / 1e6)]


def test_nothing_is_marked_that_nobody_reported() -> None:
    call = Call(script=[says(CHEST, Cue.AT, 1.0), leaves(12)], phones=SILENT).ring()
    marks = {mark.mark for mark in call.of(HandoffClock)}
    assert marks & {"t_ringing", "t_answered", "t_person"} == set()
    assert call.measured("nurse_handoff") == call.measured("nurse_person") == []


def test_a_hand_off_that_is_not_urgent_has_no_final_to_count_from() -> None:
    call = Call(script=[says("asks_person")], judge=rules()).ring()
    assert call.finished.outcome == "nurse_bridged"
    assert "t_final" not in {mark.mark for mark in call.of(HandoffClock)}
    assert call.measured("nurse_handoff") == []


def test_the_packet_says_what_the_caller_was_told(call: Rung) -> None:
    assert "nurse" in call.packets[0].recommendation["caller was told"]
    assert call.packets[0].recommendation["emergency number"] == "not said"
    other = Call(script=[says("not_breathing", Cue.AT, 1.0), leaves(9)], phones=SILENT).ring()
    assert other.packets[0].recommendation["emergency number"] == "was said"


def test_no_header_or_target_says_what_is_wrong_with_the_caller(call: Rung) -> None:
    for asked in call.line.asked:
        assert "chest" not in asked.code + asked.target and "urgent" not in asked.code + asked.target


def test_the_whisper_names_nobody_and_nothing(call: Rung) -> None:
    assert {"chest", "pain"} & set(CLIPS.clip("nurse_whisper").text.lower().split()) == set()
    assert call.effects(fx.Whisper)


def test_a_call_back_task_is_durable_with_its_record() -> None:
    call = Call(script=[says(CHEST, Cue.AT, 1.0), leaves(8)], phones=SILENT).ring()
    (opened,), (task,) = call.of(CallbackOpened), call.callbacks()
    (written,) = [p for p in call.payloads("handoff") if p["event"] == "callback"]
    assert opened.reason == written["reason"] == task.reason == Reason.URGENT.value
    assert task.due_ns - task.opened_ns == written["within_ns"] == opened.within_s * 10**9
    assert task.owner is None and task.done_ns is None


def test_the_result_of_a_write_that_was_under_way_goes_into_the_packet() -> None:
    """A call-back is being booked when danger is said: the booking ends, detached, and the nurse reads that it did."""
    tools = FakeTools(delay_s={"book_callback": 1.5})
    call = Call(
        script=TO_THE_END,
        tools=tools,
        flite=True,
        judge=rules(),
    )
    finished = call.ring()
    assert finished.finished.outcome == "callback_booked" and len(tools.bookings()) == 1

    began = next(
        finished.position(trace.at_ns)
        for trace in finished.of(StepTaken)
        if any(isinstance(e, fx.MakeReply) and e.turn == turn_of_booking(finished) for e in trace.step.effects)
    )
    tools = FakeTools(delay_s={"book_callback": 1.5})
    call = Call(script=call.script, tools=tools, flite=True, judge=rules())

    async def story(living: Living) -> None:
        await living.until(began / RATE + 0.3)
        living.call.runtime.tell(urgent(living.clock.now_ns()))
        await living.until(began / RATE + 6)
        living.patient.hung_up = True

    ended = call.ring(story)
    assert len(tools.bookings()) == 1, "the write ran on"
    assert "book_callback" in [p.get("name") for p in ended.payloads("tool")]
    assert [(p.version, p.recommendation.get("book callback")) for p in ended.packets] == [(1, None), (2, "done")]
    assert ended.desk.claim(ended.line.asked[0].code).version == 2
    handed_over = ended.events(ev.UrgencyRaised)[0].at_ns
    spoken = [said.text for said in ended.of(Said) if said.at_ns > handed_over and said.prompt is None]
    assert not "".join(spoken), "its result is not spoken"


def turn_of_booking(call: Rung) -> int:
    (turn,) = {r.content.turn for r in call.records() if r.content.payload.get("name") == "book_callback"}
    return turn


def urgent(at_ns: int) -> ev.UrgencyRaised:
    return ev.UrgencyRaised(
        at_ns=at_ns, level="nurse_now", category="chest", rank=500, clip="connecting_nurse", says_number=False
    )


def test_a_desk_that_breaks_pages_and_the_caller_still_gets_the_nurse(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(script=[says(CHEST, Cue.AT, 1.0), leaves(14)], ladder=(rung(kind=RungKind.DIAL),))

    def broken(self: FileDesk, packet: Packet) -> None:
        raise RuntimeError("no desk")

    monkeypatch.setattr("triage.handoff.desk.FileDesk.offer", broken)
    ended = call.ring()
    assert ended.finished.outcome == "nurse_bridged"
    assert "packet_undelivered" in ended.pages


# --- the number that the network shows

NUMBER = "+15550147788"


def noted(call: Call, at_s: float, *numbers: str, withheld: bool = False) -> Rung:
    """The call, told these numbers at this second."""

    async def story(living: Living) -> None:
        await living.until(at_s)
        for number in numbers:
            living.call.note_number(number, withheld=withheld)

    return call.ring(story)


def shown(call: Rung) -> list[dict[str, Any]]:
    return [p for p in call.payloads("call") if p["event"] == "caller_number"]


def test_the_number_goes_sealed_into_the_record_the_packet_and_the_summary_and_nowhere_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    call = noted(Call(script=[says(CHEST, Cue.AT, 3.0), leaves(12)], phones=SILENT), 1.0, NUMBER, NUMBER)
    assert shown(call) == [{"v": 1, "event": "caller_number", "source": "network", "number": NUMBER}]
    (packet,) = call.packets
    assert packet.situation["caller's number"] == f"{NUMBER} (number shown by the network, not read back)"
    assert "callback" in {p["event"] for p in call.payloads("handoff")} and call.callbacks()
    assert NUMBER.encode() not in call.bytes_on_disk(), "a call-back task lies in clear and points at the record"
    others = [trace for trace in call.living.traces if not isinstance(trace, PacketMade)]
    assert NUMBER not in repr(others) and NUMBER not in caplog.text
    (kept,) = call.kept()
    assert f"Caller's number: {NUMBER} (number shown by the network, not read back)." in kept.summary.text()


def test_a_number_that_comes_during_the_hand_off_renews_the_packet() -> None:
    call = noted(Call(script=[says(CHEST, Cue.AT, 1.0), leaves(16)], phones=SILENT), 7.0, NUMBER)
    assert [(p.version, "caller's number" in p.situation) for p in call.packets] == [(1, False), (2, True)]
    assert call.desk.claim(call.line.asked[0].code).version == 2


def test_a_call_cut_after_five_seconds_still_has_its_number() -> None:
    call = noted(Call(script=[leaves(5.0)]), 1.5, NUMBER)
    assert [p["number"] for p in shown(call)] == [NUMBER]


def test_a_number_that_comes_after_the_seal_is_dropped_and_breaks_nothing() -> None:
    call = Call(script=[leaves(1.0)]).ring()
    call.living.call.note_number(NUMBER)
    assert shown(call) == [] and call.living.call.counts()["records_failed"] == 0


def test_a_number_that_the_caller_withheld_is_kept_sealed_to_ring_them_back_and_named_so() -> None:
    script = [says(CHEST, Cue.AT, 3.0), leaves(12)]
    call = noted(Call(script=script, phones=SILENT), 1.0, NUMBER, withheld=True)
    assert [(p["number"], p["withheld"]) for p in shown(call)] == [(NUMBER, True)]
    said = f"{NUMBER} (withheld by the caller; only to ring them back, not read back)"
    assert call.packets[-1].situation["caller's number"] == said
    (kept,) = call.kept()
    assert f"Caller's number: {said}." in kept.summary.text()
    assert NUMBER.encode() not in call.bytes_on_disk()
    with closing(SqliteStore(call.audit.database)) as store:
        (task,) = Outbox(store).callbacks()
        reader = Reader(store, call.audit.keyring(), who="ana", purpose="call-back", spool=call.audit.spool)
        numbers = numbers_of(reader, task.call, at_ns=7)
    assert (numbers.network, numbers.withheld) == (NUMBER, True), "a nurse can ring them back"


def test_a_caller_without_a_number_is_said_to_have_none() -> None:
    call = noted(Call(script=[says(CHEST, Cue.AT, 3.0), leaves(12)], phones=SILENT), 1.0, "")
    assert shown(call) == [{"v": 1, "event": "caller_number", "source": "network"}]
    assert call.packets[0].situation["caller's number"] == "not shown by the network"


def test_what_a_stranger_wrote_into_the_header_is_cut_to_a_numbers_signs() -> None:
    call = noted(Call(script=[leaves(2.0)]), 1.0, "[red]+1555\x1b[2J\n\u202e" + "9" * 400)
    (number,) = [p["number"] for p in shown(call)]
    assert number.startswith("red+15552J999") and len(number) == 40


def test_who_declined_the_record_can_still_be_rung_back() -> None:
    """The number is none of their words; the packet's copy on record quotes nothing of them all the same."""
    script = [says("declines_record", delay_s=0.4), leaves(30)]
    call = noted(Call(script=script, judge=rules(), phones=SILENT), 1.0, NUMBER)
    assert [p["number"] for p in shown(call)] == [NUMBER]
    written = [p["packet"] for p in call.payloads("handoff") if p["event"] == "packet"]
    assert "withheld" in json.dumps(written)
    assert NUMBER in call.packets[-1].situation["caller's number"] and NUMBER not in json.dumps(written)


# --- packets leave the process


class Door:
    """A place for packets that answers in turn; then it takes them."""

    def __init__(self, *answers: Exception) -> None:
        self.name = "door"
        self.delays_s: tuple[float, ...] = (0.01, 0.01)
        self.answers, self.taken = list(answers), threading.Event()

    def deliver(self, packet: Packet, *, wall_ns: int) -> None:
        if self.answers:
            raise self.answers.pop(0)
        self.taken.set()


def urgent_call(door: Door) -> Rung:
    """An urgent call in real time, as the post has threads of its own; hung up after a second."""

    async def story(living: Living) -> None:
        living.call.runtime.tell(urgent(living.clock.now_ns()))
        await asyncio.sleep(0.3)

    return Call(script=[leaves(1.0)], phones=SILENT, post=Post([door]), virtual=False).ring(story)


def deliveries(call: Rung) -> list[tuple[str, int]]:
    return [(p["outcome"], p.get("tries", 0)) for p in call.payloads("handoff") if p["event"] == "packet_posted"]


def test_a_packet_that_was_taken_is_on_record_and_pages_nobody() -> None:
    call = urgent_call(Door(Undelivered("http 500")))
    assert deliveries(call) == [("delivered", 2)]
    assert "packet_undelivered" not in call.pages


def test_a_packet_that_no_try_delivers_pages_and_is_on_record_with_the_reason() -> None:
    call = urgent_call(Door(*(Undelivered("http 503") for _ in range(9))))
    assert deliveries(call) == [("undelivered", 3)] and call.pages.count("packet_undelivered") == 1
    (written,) = [p for p in call.payloads("handoff") if p["event"] == "packet_posted"]
    assert written["code"] == "http 503" and written["place"] == "door"


def test_what_is_not_decided_when_the_record_ends_says_so_and_goes_on() -> None:
    door = Door(Undelivered("http 500"))
    door.delays_s = (3.0,)
    call = urgent_call(door)
    assert deliveries(call) == [("pending", 0)]
    assert door.taken.wait(5)
