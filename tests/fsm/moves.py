"""Random events for the properties: on time, late, doubled, stale, and numbers that never existed.

A move makes an event out of the call as it is; `luck` chooses which number it carries.
"""

import random
from collections.abc import Callable, Iterator

from hypothesis import strategies as st

from fsm import effects as fx
from fsm import events as ev
from fsm.call import Call
from fsm.machine import step
from fsm.states import Dismissal, Reason, State, TimerName
from tests.fsm.examples import CHEST_PAIN, CLASSIFIER_BROKE, CONNECTED, NOT_BREATHING

Move = Callable[[Call, int], ev.Event]
EFFECTS = sorted(name for name, kind in vars(fx).items() if isinstance(kind, type) and issubclass(kind, fx.Effect))
STAGES = ("clips", "llm", "tts", "line", "stt", "store")


def _pick(luck: int, *numbers: int) -> int:
    return max(0, numbers[luck % len(numbers)])


def _timer(call: Call, luck: int) -> ev.Event:
    if call.timers:
        name, token = call.timers[luck % len(call.timers)]
        return ev.TimerFired(at_ns=0, name=name, token=token)
    return _stale_timer(call, luck)


def _short_timer(call: Call, luck: int) -> ev.Event:
    short = [pair for pair in call.timers if pair[0] is not TimerName.CALL_TOO_LONG]
    if not short:
        return _stale_timer(call, luck)
    name, token = short[luck % len(short)]
    return ev.TimerFired(at_ns=0, name=name, token=token)


def _stale_timer(call: Call, luck: int) -> ev.Event:
    return ev.TimerFired(at_ns=0, name=list(TimerName)[luck % len(TimerName)], token=max(0, call.token - 5))


def _attempt(call: Call, luck: int) -> int:
    way = call.handoff
    return _pick(
        luck, way.current, way.current, way.attempts, way.bridged, way.attempts - 1, way.attempts + 1, way.taken
    )


def _failed(call: Call, luck: int) -> ev.Event:
    return ev.EffectFailed(
        at_ns=0,
        effect=EFFECTS[luck % len(EFFECTS)],
        stage=STAGES[luck % 4 if luck % 7 else 4 + luck % 2],
        generation=_pick(luck, call.alive, 0, call.generation - 1),
        attempt=_pick(luck, call.handoff.current, 0, call.handoff.attempts - 1),
    )


MOVES: dict[str, Move] = {
    "connected": lambda c, n: CONNECTED,
    "rescued": lambda c, n: ev.CallConnected(
        at_ns=0, opening=("g",), ladder=CONNECTED.ladder if n % 3 else (), urgent_ladder=(), known=True
    ),
    "speech": lambda c, n: ev.SpeechStarted(at_ns=0),
    "speech again": lambda c, n: ev.SpeechStarted(at_ns=0),
    "cough": lambda c, n: ev.SpeechDismissed(at_ns=0, why=list(Dismissal)[n % 4]),
    "unclear": lambda c, n: ev.SpeechUnclear(at_ns=0),
    "words": lambda c, n: ev.WordsHeard(at_ns=0),
    "turn": lambda c, n: ev.TurnEnded(at_ns=0, turn=_pick(n, c.turn + 1, c.turn + 1, c.turn), silent_ns=n * 10**8),
    "urgent": lambda c, n: (CHEST_PAIN, NOT_BREATHING, CLASSIFIER_BROKE)[n % 3],
    "nurse": lambda c, n: ev.NurseNeeded(at_ns=0, reason=[r for r in Reason if r is not Reason.URGENT][n % 14]),
    "wordless": lambda c, n: ev.WordlessVoiceHeard(at_ns=0),
    "key": lambda c, n: ev.KeyPressed(at_ns=0, digit="21#0"[n % 4]),
    "hold": lambda c, n: ev.HoldRequested(at_ns=0),
    "sentence": lambda c, n: ev.SentenceReady(
        at_ns=0, generation=_pick(n, c.alive, c.alive, c.generation - 1), index=_pick(n, c.sentences, 0), text="?"
    ),
    "reply ended": lambda c, n: ev.ReplyEnded(at_ns=0, generation=c.alive, sentences=c.sentences),
    "old reply ended": lambda c, n: ev.ReplyEnded(at_ns=0, generation=max(0, c.generation - 1), sentences=1),
    "goodbye": lambda c, n: ev.ReplyEnded(at_ns=0, generation=c.alive, sentences=c.sentences, ends_call=True),
    "nurse by rules": lambda c, n: ev.ReplyEnded(
        at_ns=0, generation=c.alive, sentences=c.sentences, nurse=Reason.DISPOSITION
    ),
    "started": lambda c, n: ev.PlayoutStarted(
        at_ns=0, playback=_pick(n, c.said, c.reply_from, c.playback - 1, c.playback + 1)
    ),
    "finished": lambda c, n: ev.PlayoutFinished(at_ns=0, playback=c.said),
    "old finished": lambda c, n: ev.PlayoutFinished(
        at_ns=0, playback=_pick(n, c.playback - 1, c.flushed, c.playback + 1)
    ),
    "timer": _timer,
    "short timer": _short_timer,
    "stale timer": _stale_timer,
    "failed": _failed,
    "reply failed": lambda c, n: ev.EffectFailed(
        at_ns=0, effect=("MakeReply", "Speak")[n % 2], stage="llm", generation=_pick(n, c.alive, c.alive, 0)
    ),
    "accepted": lambda c, n: ev.TransferAccepted(at_ns=0, attempt=_attempt(c, n)),
    "ringing": lambda c, n: ev.TransferRinging(at_ns=0, attempt=_attempt(c, n)),
    "taken": lambda c, n: ev.TransferAnswered(at_ns=0, attempt=_attempt(c, n), takes_caller=True),
    "answered": lambda c, n: ev.TransferAnswered(at_ns=0, attempt=_attempt(c, n), takes_caller=False),
    "refused": lambda c, n: ev.TransferRefused(at_ns=0, attempt=_attempt(c, n), code=486),
    "timed out": lambda c, n: ev.TransferTimedOut(at_ns=0, attempt=_attempt(c, n)),
    "pending": lambda c, n: ev.TransferPending(at_ns=0, attempt=_attempt(c, n)),
    "nurse accepts": lambda c, n: ev.NurseAccepted(at_ns=0, attempt=_attempt(c, n)),
    "nurse lost": lambda c, n: ev.NurseLegLost(at_ns=0, attempt=_attempt(c, n)),
    "nurse done": lambda c, n: ev.NurseFinished(at_ns=0),
    "hung up": lambda c, n: ev.HungUp(at_ns=0),
    "drained": lambda c, n: ev.TailDrained(at_ns=0),
}
LIKELY: dict[State, tuple[str, ...]] = {
    State.IDLE: ("connected", "connected", "connected", "rescued", "drained", "urgent", "short timer", "answered"),
    State.LISTENING: ("words", "turn", "turn", "turn", "short timer", "speech", "cough", "hold", "wordless", "short timer", "speech"),
    State.THINKING: ("sentence", "reply failed", "sentence", "started", "started", "reply ended", "goodbye", "nurse by rules", "short timer",
                     "speech", "cough", "unclear", "words", "turn", "finished", "speech"),
    State.SPEAKING: ("sentence", "sentence", "short timer", "reply failed", "finished", "finished", "reply ended", "goodbye", "nurse by rules", "short timer", "speech",
                     "speech", "words", "turn", "started", "speech", "key"),
    State.INTERRUPT: ("reply failed", "unclear", "short timer", "cough", "cough", "unclear", "short timer", "short timer", "words", "turn", "finished", "reply ended",
                      "goodbye", "nurse by rules", "sentence", "speech"),
    State.HANDOFF: ("short timer", "answered", "answered", "nurse accepts", "nurse accepts", "nurse lost", "refused",
                    "timed out", "urgent", "failed", "finished", "pending", "taken", "nurse done", "hung up"),
}  # fmt: skip
"""What usually happens where: without it the random calls would soon be over, and never deep."""

Choice = tuple[int, int, int]
"""How likely the move must be (0: anything at all), which one, and its luck."""


def _long_call(seed: int, length: int) -> list[Choice]:
    dice = random.Random(seed)
    return [(dice.randrange(12), dice.randrange(1000), dice.randrange(60)) for _ in range(length)]


_choice = st.tuples(st.integers(0, 4), st.integers(0, 99), st.integers(0, 60))
calls = st.one_of(
    st.lists(_choice, max_size=30),
    st.builds(_long_call, st.integers(0, 2**32), st.integers(1, 80)),  # hypothesis' own lists are short
)
"""Whole calls: most moves are likely ones, the others are anything at all."""


def events_of(choices: list[Choice]) -> Iterator[tuple[Call, ev.Event]]:
    """The call before each event, and the event."""
    call = Call()
    every = sorted(MOVES)
    for likely, which, luck in choices:
        names = LIKELY[call.state] if likely else every
        name = names[which % len(names)]
        event = MOVES[name](call, luck)
        yield call, event
        call = step(call, event).after
