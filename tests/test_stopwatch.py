"""Promise: the latencies that are reported are those of the call: from the caller's last word or onset to what followed it."""

import pytest

from fsm import effects as fx
from fsm import events as ev
from fsm.call import Call as State_
from fsm.machine import Step, step
from fsm.states import Phase, Reason, RungKind, State
from tests.calls import CHEST, Call, Rung, answers, leaves, says
from triage.demo.patient import Cue
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.stopwatch import Stopwatch
from triage.trace import Measured, Noted, StepTaken, Trace

MS = 1_000_000
SILENT = {"nurse": NursePhone(Behaviour.SILENT)}


class Watched:
    """A stopwatch whose clock the test sets."""

    def __init__(self, delay_ms: int = 0) -> None:
        self.now = 0
        self.seen: list[Trace] = []
        self.watch = Stopwatch(
            now_ns=lambda: self.now * MS,
            onset_ns=lambda: 900 * MS,
            word_end_ns=lambda turn: {1: 1000 * MS, 2: 5000 * MS}[turn],
            playout_delay_ns=delay_ms * MS,
            observe=self.seen.append,
        )

    def take(self, decided: Step) -> None:
        self.now = decided.event.at_ns // MS
        self.watch(StepTaken(at_ns=decided.event.at_ns, step=decided))

    def told(self) -> list[tuple[str, float]]:
        return [(t.name, t.ms) for t in self.seen if isinstance(t, Measured)]


LISTENING = State_(state=State.LISTENING, phase=Phase.LIVE)


def made(event: ev.Event, *effects: fx.Effect, before: State = State.LISTENING, after: State = State.THINKING) -> Step:
    return Step(State_(state=before), event, State_(state=after), effects)


def test_turn_taking_runs_from_the_last_word_to_the_first_sample_of_the_reply() -> None:
    watched = Watched()
    watched.take(step(LISTENING, ev.TurnEnded(at_ns=1400 * MS, turn=1)))
    watched.take(
        made(
            ev.SentenceReady(at_ns=1450 * MS, generation=1, index=0, text="x"),
            fx.Speak(playback=7, generation=1, index=0, text="x"),
        )
    )
    watched.take(made(ev.PlayoutStarted(at_ns=1500 * MS, playback=7)))
    watched.take(made(ev.PlayoutStarted(at_ns=2500 * MS, playback=7)))
    assert watched.told() == [("first_sound", 500.0), ("turn_taking", 500.0)]


def test_an_acknowledgement_is_first_sound_and_no_reply() -> None:
    watched = Watched()
    watched.take(step(LISTENING, ev.TurnEnded(at_ns=1400 * MS, turn=1)))
    watched.take(made(ev.PlayoutStarted(at_ns=1800 * MS, playback=6)))
    watched.take(
        made(
            ev.SentenceReady(at_ns=2000 * MS, generation=1, index=0, text="x"),
            fx.Speak(playback=7, generation=1, index=0, text="x"),
        )
    )
    watched.take(made(ev.PlayoutStarted(at_ns=2100 * MS, playback=7)))
    assert watched.told() == [("first_sound", 800.0), ("turn_taking", 1100.0)]


def test_the_lines_own_delay_is_part_of_it() -> None:
    watched = Watched(delay_ms=60)
    watched.take(step(LISTENING, ev.TurnEnded(at_ns=1400 * MS, turn=1)))
    watched.take(made(ev.PlayoutStarted(at_ns=1500 * MS, playback=6)))
    assert watched.told() == [("first_sound", 560.0)]


def test_a_second_finding_in_the_hand_off_is_not_measured_again() -> None:
    watched = Watched()
    order = fx.Transfer(attempt=1, kind=RungKind.DIAL, target="t", answer_within_s=1, reason=Reason.URGENT, rank=1)
    urgent = ev.UrgencyRaised(at_ns=1000 * MS, level="nurse_now", category="chest", rank=1, clip="c", says_number=False)
    watched.take(made(urgent, order, after=State.HANDOFF))
    watched.take(made(ev.PlayoutStarted(at_ns=1004 * MS, playback=1), before=State.HANDOFF, after=State.HANDOFF))
    watched.take(made(urgent, order, before=State.HANDOFF, after=State.HANDOFF))
    assert watched.told() == [("refer_sent", 0.0), ("clip_audible", 4.0)]


def test_other_traces_are_nothing_to_it() -> None:
    watched = Watched()
    watched.watch(Noted(at_ns=1, text="x"))
    assert watched.seen == []


@pytest.fixture(scope="module")
def talk() -> Rung:
    return Call(
        script=[
            says("sore_no"),
            answers("ask.callback", "sore_number"),
            says("barge_in_1", Cue.AT, 25.0),
            says(CHEST, Cue.AT, 36.0),
            leaves(45),
        ],
        phones=SILENT,
    ).ring()


def test_what_is_reported_is_what_the_recording_shows(talk: Rung) -> None:
    """The last sound of the caller's answer and the first of our reply, found in the recording."""
    _, _, ended = talk.living.patient.said[0]
    first = next(at for at in talk.line.audible_from if at > ended)
    (reported, *_) = talk.measured("turn_taking")
    assert reported == pytest.approx((first - ended) / 16, abs=120), "the detector's end of voice is up to 100 ms late"
    assert 200 < reported < 1200


def test_every_latency_is_there_and_has_its_sense(talk: Rung) -> None:
    assert len(talk.measured("clip_audible")) == len(talk.measured("refer_sent")) == 1
    assert talk.measured("clip_audible")[0] <= 100 and talk.measured("refer_sent")[0] <= 200
    assert all(0 < ms <= 150 for ms in talk.measured("barge_in_pause")) and talk.measured("barge_in_pause")
    assert all(ms > 0 for ms in talk.measured("barge_in_stop")) and talk.measured("barge_in_stop")
    assert len(talk.measured("turn_taking")) <= len(talk.measured("first_sound"))
