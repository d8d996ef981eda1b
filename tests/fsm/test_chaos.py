"""Promise: with everything broken, the caller still hears the emergency number, and we never stop calling nurses.

A little world with a clock of its own: orders come back as failures, or as what really happens; timers fire in time.
"""

import heapq
import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsm import effects as fx
from fsm import events as ev
from fsm.call import Call
from fsm.machine import Step, step
from fsm.prompts import EMERGENCY_NUMBER
from fsm.states import State
from fsm.timers import SECONDS
from tests.fsm.examples import CHEST_PAIN, CONNECTED, NOT_BREATHING
from tests.fsm.moves import EFFECTS
from tests.fsm.vignettes.shorthand import ASKED, BRIDGED, GASPING, GREETED, HALF_ASKED, URGENT, Row, turn

KEY_ZERO = ev.KeyPressed(at_ns=0, digit="0")
ALL = frozenset(EFFECTS)
STAGE = {"MakeReply": "llm", "Speak": "tts", "Play": "clips", "Transfer": "line", "Seal": "store"}
CLIP_S, SENTENCE_S, MODEL_S = 2.0, 3.0, 0.5


@dataclass
class Chaos:
    """One call in a world where the orders named `broken` fail, and nobody ever answers a transfer."""

    broken: frozenset[str]
    mute: bool = False
    """Nothing but timers and failures ever comes back."""
    call: Call = field(default_factory=Call)
    now: float = 0.0
    said: list[tuple[float, fx.Play | fx.Speak]] = field(default_factory=list)
    transfers: list[float] = field(default_factory=list)
    handoff_at: float | None = None
    steps: int = 0

    def __post_init__(self) -> None:
        self._queue: list[tuple[float, int, ev.Event]] = []
        self._order = itertools.count()
        self._lane_free_at = 0.0
        for name, token in self.call.timers:  # a call that is under way has timers under way
            self.tell(ev.TimerFired(at_ns=0, name=name, token=token), SECONDS[name])

    def tell(self, event: ev.Event, after_s: float = 0.0) -> None:
        heapq.heappush(self._queue, (self.now + after_s, next(self._order), event))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._queue and self._queue[0][0] <= until:
            self.now, _, event = heapq.heappop(self._queue)
            decided = step(self.call, replace(event, at_ns=int(self.now * 1e9)))
            self.call = decided.after
            self.steps += 1
            assert self.steps < 5_000, "decisions without end"
            self._carry_out(decided)
        self.now = until

    def _carry_out(self, decided: Step) -> None:
        if self.call.state is State.HANDOFF and self.handoff_at is None:
            self.handoff_at = self.now
        for effect in decided.effects:
            name = type(effect).__name__
            match effect:  # what was ordered counts, whether or not it works
                case fx.Play() | fx.Speak():
                    self.said.append((self.now, effect))
                case fx.Transfer():
                    self.transfers.append(self.now)
                case fx.StartTimer(name=timer, token=token, seconds=seconds):
                    self.tell(ev.TimerFired(at_ns=0, name=timer, token=token), seconds)
                case _:
                    pass
            if name in self.broken:
                number = {
                    key: getattr(effect, key) for key in ("generation", "playback", "attempt") if hasattr(effect, key)
                }
                self.tell(ev.EffectFailed(at_ns=0, effect=name, stage=STAGE.get(name, "line"), **number), 0.01)
            elif not self.mute:
                self._works(effect)

    def _works(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Play(playback=playback):
                self._sound(playback, CLIP_S)
            case fx.Speak(playback=playback):
                self._sound(playback, SENTENCE_S)
            case fx.FlushPlayout():
                self._lane_free_at = self.now
            case fx.MakeReply(generation=generation):
                self.tell(ev.SentenceReady(at_ns=0, generation=generation, index=0, text="?"), MODEL_S)
                self.tell(ev.ReplyEnded(at_ns=0, generation=generation, sentences=1), MODEL_S + 0.1)
            case fx.DrainTail():
                self.tell(ev.TailDrained(at_ns=0), 0.3)
            case fx.Transfer(attempt=attempt):
                self.tell(ev.TransferTimedOut(at_ns=0, attempt=attempt), 9.0)
            case fx.JudgeSpeech():
                self.tell(ev.SpeechUnclear(at_ns=0), 0.2)
            case _:
                pass

    def _sound(self, playback: int, seconds: float) -> None:
        begins = max(self.now, self._lane_free_at)
        self._lane_free_at = begins + seconds
        self.tell(ev.PlayoutStarted(at_ns=0, playback=playback), begins - self.now)
        self.tell(ev.PlayoutFinished(at_ns=0, playback=playback), begins + seconds - self.now)

    @property
    def number_said_at(self) -> float | None:
        return next(
            (at for at, order in self.said if isinstance(order, fx.Play) and EMERGENCY_NUMBER in order.prompts), None
        )


def arrive(rows: list[Row]) -> Call:
    call = Call()
    for row in rows:
        call = step(call, row[0]).after
    return call


STARTS: dict[str, tuple[list[Row], ev.Event]] = {
    "connecting": ([], CONNECTED),
    "rescuing": ([], ev.CallConnected(at_ns=0, opening=("g",), ladder=CONNECTED.ladder, urgent_ladder=(), known=True)),
    "listening, chest pain": (GREETED, CHEST_PAIN),
    "listening, a turn": (GREETED, turn(1)),
    "thinking, chest pain": (HALF_ASKED[:3], CHEST_PAIN),
    "speaking, chest pain": (ASKED, CHEST_PAIN),
    "speaking, somebody speaks": (ASKED, ev.SpeechStarted(at_ns=0)),
    "speaking, gasping": (ASKED, GASPING),
    "interrupted, chest pain": ([*ASKED, (ev.SpeechStarted(at_ns=0), State.INTERRUPT, ...)], CHEST_PAIN),
    "waiting for a nurse": (URGENT, ev.TransferRefused(at_ns=0, attempt=1, code=486)),
    "with a nurse whose leg is lost": (BRIDGED, ev.NurseLegLost(at_ns=0, attempt=1)),
}


@pytest.mark.parametrize("mute", [True, False], ids=["and nothing answers", "and the rest answers"])
@pytest.mark.parametrize("start", STARTS)
def test_when_every_order_fails_the_number_is_said_and_nurses_are_called_on_and_on(start: str, mute: bool) -> None:
    rows, event = STARTS[start]
    chaos = Chaos(broken=ALL, mute=mute, call=arrive(rows))
    chaos.tell(event)
    chaos.run(120)
    assert chaos.call.state is State.HANDOFF
    assert chaos.handoff_at is not None
    assert chaos.number_said_at is not None
    assert chaos.number_said_at <= chaos.handoff_at + 10.0
    assert len(chaos.transfers) > 10
    assert max(chaos.transfers) > 110, "we stopped calling nurses"
    said_again = [at for at, order in chaos.said if isinstance(order, fx.Play) and EMERGENCY_NUMBER in order.prompts]
    assert max(said_again) > 95, "we stopped saying the number"


@pytest.mark.parametrize("start", STARTS)
def test_when_nothing_ever_answers_a_nurse_is_called_and_the_number_said(start: str) -> None:
    rows, event = STARTS[start]
    chaos = Chaos(broken=frozenset(), mute=True, call=arrive(rows))
    chaos.tell(event)
    chaos.run(180)
    assert chaos.call.state is State.HANDOFF
    assert chaos.number_said_at is not None
    assert max(chaos.transfers) > 150


@given(st.frozensets(st.sampled_from(EFFECTS)), st.sampled_from(sorted(STARTS)), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_breaks_a_silent_caller_is_never_left_alone(broken: frozenset[str], start: str, mute: bool) -> None:
    rows, event = STARTS[start]
    chaos = Chaos(broken=broken, mute=mute, call=arrive(rows))
    chaos.tell(event)
    chaos.run(240)
    assert chaos.call.state is State.HANDOFF, "a caller who says nothing ends with a nurse"
    assert chaos.number_said_at is not None
    assert chaos.number_said_at <= (chaos.handoff_at or 0.0) + 10.0
    assert max(chaos.transfers) > 200


def test_a_healthy_world_is_never_silent_for_more_than_ten_seconds() -> None:
    chaos = Chaos(broken=frozenset())
    chaos.tell(CONNECTED)
    chaos.tell(turn(1), 5.0)
    chaos.run(120)
    times = [at for at, _ in chaos.said]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) <= 10.0, gaps


def test_a_line_without_any_rung_still_says_the_number() -> None:
    chaos = Chaos(broken=frozenset())
    chaos.tell(ev.CallConnected(at_ns=0, opening=("g",), ladder=(), urgent_ladder=()))
    chaos.tell(CHEST_PAIN, 3.0)
    chaos.run(60)
    assert chaos.call.state is State.HANDOFF
    assert chaos.transfers == []
    assert chaos.number_said_at == pytest.approx(13.0)


DANGERS = {"chest": CHEST_PAIN, "breathing": NOT_BREATHING, "0": KEY_ZERO}


@given(
    st.lists(st.tuples(st.floats(0, 50), st.sampled_from(sorted(DANGERS))), min_size=1, max_size=5),
    st.frozensets(st.sampled_from(sorted(ALL - {"Play", "StartTimer"}))),
)
@settings(max_examples=150, deadline=None)
def test_ten_seconds_after_any_danger_the_number_was_said_whatever_was_said_before(told: list[tuple[float, str]], broken: frozenset[str]) -> None:  # fmt: skip
    chaos = Chaos(broken=broken)
    chaos.tell(CONNECTED)
    for at, name in told:
        chaos.tell(DANGERS[name], 0.5 + at)
    chaos.run(75)
    numbers = [at for at, order in chaos.said if isinstance(order, fx.Play) and EMERGENCY_NUMBER in order.prompts]
    clips = [at for at, order in chaos.said if isinstance(order, fx.Play) and NOT_BREATHING.clip in order.prompts]
    for at, name in told:
        if name != "0":
            assert any(0.5 + at - 1e-6 <= said <= 0.5 + at + 10.0 + 1e-6 for said in numbers)
    if emergencies := [0.5 + at for at, name in told if name == "breathing"]:
        assert min(emergencies) in clips + numbers, "now it is an emergency: at once, though it was said before"
