"""Promise: a recorded call can be decided again, and any decision that differs is found."""

import hashlib
import json
from typing import Any

import pytest

from fsm import events as ev
from fsm.call import Call
from fsm.machine import step
from fsm.states import Declared, Dismissal, Reason, RungKind
from triage.errors import StorageError
from triage.recorder import plain
from triage.replay import EVENTS, redecide, restored

LADDER = (
    ev.Rung(
        kind=RungKind.REFER, target="nurse_line", declared=Declared.QUEUE, answer_within_s=8.0, gives_person_sign=True
    ),
    ev.Rung(kind=RungKind.DIAL, target="desk_1", answer_within_s=15.0),
)


def a_call() -> list[ev.Event]:
    """Greeting, a cough, danger, the carrier takes the caller."""
    at = iter(range(0, 10**12, 10**9))
    return [
        ev.CallConnected(at_ns=next(at), opening=("greeting",), ladder=LADDER, urgent_ladder=LADDER),
        ev.PlayoutStarted(at_ns=next(at), playback=1),
        ev.SpeechStarted(at_ns=next(at)),
        ev.SpeechDismissed(at_ns=next(at), why=Dismissal.COUGH),
        ev.SpeechStarted(at_ns=next(at)),
        ev.WordsHeard(at_ns=next(at)),
        ev.UrgencyRaised(
            at_ns=next(at), level="nurse_now", category="chest", rank=80, clip="connecting_nurse", says_number=False
        ),
        ev.TransferRefused(at_ns=next(at), attempt=1, code=486),
        ev.TransferAnswered(at_ns=next(at), attempt=2, takes_caller=False),
        ev.HungUp(at_ns=next(at)),
        ev.TailDrained(at_ns=next(at)),
    ]


def written(events: list[ev.Event]) -> list[dict[str, Any]]:
    """What the recorder writes of these decisions, as it comes back from the store."""
    call, payloads = Call(), []
    for event in events:
        taken = step(call, event)
        after = plain(taken.after)
        payloads.append(
            {
                "before": taken.before.state.value,
                "event": plain(taken.event),
                "after": taken.after.state.value,
                "after_sha256": hashlib.sha256(repr(sorted(after.items())).encode()).hexdigest(),
                "effects": [plain(effect) for effect in taken.effects],
            }
        )
        call = taken.after
    return list(json.loads(json.dumps(payloads)))


def test_the_same_machine_decides_the_same() -> None:
    again = list(redecide(written(a_call())))
    assert [one.difference for one in again] == [""] * len(a_call())
    assert [one.step.event for one in again] == a_call()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda p: p.update(after="thinking"), "state: thinking then"),
        (lambda p: p["effects"].pop(), "effects"),
        (lambda p: p["effects"][0].update(type="HangUp"), "HangUp"),
        (lambda p: p.update(after_sha256="0" * 64), "memory"),
    ],
)
def test_a_decision_that_differs_is_found_where_it_is(change: Any, found: str) -> None:
    payloads = written(a_call())
    change(payloads[6])
    differing = [one for one in redecide(payloads) if one.difference]
    assert [one.number for one in differing] == [7]
    assert found in differing[0].difference


def test_a_changed_event_shows_in_what_follows() -> None:
    payloads = written(a_call())
    payloads[6]["event"]["clip"] = "nurse_will_talk"
    assert any(one.difference for one in redecide(payloads))


def test_every_event_can_be_restored() -> None:
    examples: list[ev.Event] = [
        *a_call(),
        ev.SpeechUnclear(at_ns=1),
        ev.TurnEnded(at_ns=1, turn=2, silent_ns=5),
        ev.NurseNeeded(at_ns=1, reason=Reason.CHILD_ALONE),
        ev.SentenceReady(at_ns=1, generation=1, index=0, text="Hello.", prompt="greeting"),
        ev.SentenceReady(at_ns=1, generation=1, index=0, text="Hello."),
        ev.ReplyEnded(at_ns=1, generation=1, sentences=1, nurse=Reason.DISPOSITION),
        ev.EffectFailed(at_ns=1, effect="Speak", stage="tts"),
    ]
    for event in examples:
        assert restored({"event": json.loads(json.dumps(plain(event)))}) == event
    assert {type(event).__name__ for event in examples} <= set(EVENTS)


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"type": "Sneezed", "at_ns": 1},
        {"type": "TurnEnded", "at_ns": 1},
        {"type": "TurnEnded", "at_ns": 1, "turn": "two", "silent_ns": 0},
        {"type": "NurseNeeded", "at_ns": 1, "reason": "bored"},
    ],
)
def test_what_this_version_does_not_know_is_refused(event: object) -> None:
    with pytest.raises(StorageError, match="its own version"):
        restored({"event": event})


def test_withheld_words_are_not_compared() -> None:
    events = [
        *a_call()[:1],
        ev.PlayoutFinished(at_ns=1, playback=1),
        ev.TurnEnded(at_ns=2, turn=1),
        ev.SentenceReady(at_ns=3, generation=1, index=0, text="Thank you, Ann."),
    ]
    payloads = written(events)
    payloads[3]["event"]["text"] = ""
    assert list(redecide(payloads))[3].difference == ""
