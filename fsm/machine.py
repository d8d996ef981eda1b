"""Run one event through the table. `transitions` matches rows; we keep the books.

One synchronous machine serves every call. Its models are throwaway: a plan works on a copy, so when it raises, the old
`Call` still stands and nothing was ordered. Everything that changes a call's state happens in `step`.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

from transitions import EventData, Machine

from fsm.call import Call
from fsm.effects import Effect
from fsm.events import Event
from fsm.states import State
from fsm.table import TABLE, Rule


@dataclass(frozen=True, slots=True)
class Step:
    """One decision: what was, what happened, what is, what to do. It is also the record of the decision."""

    before: Call
    event: Event
    after: Call
    effects: tuple[Effect, ...]
    """Carried out in this order."""


class _Turn:
    """The throwaway model that `transitions` may mutate."""

    def __init__(self, call: Call, event: Event) -> None:
        self.state = call.state
        self.call = call
        self.event = event
        self.effects: tuple[Effect, ...] = ()


def _row(rule: Rule[Any]) -> dict[str, Any]:
    def plan(moment: EventData) -> None:
        turn = cast(_Turn, moment.model)
        turn.call, turn.effects = rule.plan(turn.call, turn.event)

    def when(moment: EventData) -> bool:
        turn = cast(_Turn, moment.model)
        return rule.when(turn.call, turn.event)

    return {
        "trigger": rule.event.__name__,
        "source": list(rule.source),
        # A row without `dest` stays where it is without leaving: `transitions` calls that an internal transition.
        "dest": rule.dest,
        "conditions": [when],
        "before": [plan],
    }


_MACHINE = Machine(
    model=None,  # see _Turn
    states=State,
    initial=State.IDLE,
    transitions=[_row(rule) for rule in TABLE],
    auto_transitions=False,  # no to_<state>() past the guards
    send_event=True,
    queued=False,
)


def step(call: Call, event: Event) -> Step:
    """Decide what `event` does to `call`. Pure: the same question gets the same answer.

    Raises:
        transitions.MachineError: the table has no row for this state and event.
        KeyError: no row of the table knows this type of event.
    """
    turn = _Turn(call, event)
    _MACHINE.events[type(event).__name__].trigger(turn)
    return Step(call, event, replace(turn.call, state=turn.state), turn.effects)
