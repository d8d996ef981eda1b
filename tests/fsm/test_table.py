"""Promise: every state, phase and event has a row that was decided on purpose, and no cell can fall silent."""

import itertools
from dataclasses import replace

import pytest

from fsm import effects as fx
from fsm import events as ev
from fsm.call import Call
from fsm.guards import always
from fsm.machine import step
from fsm.states import Phase, Reason, State, TimerName
from fsm.table import ANY, HANDOFF, IDLE, LIVE, TABLE, TALK, all_but
from fsm.timers import SECONDS
from tests.fsm.examples import EXAMPLES


def test_every_event_has_an_example() -> None:
    kinds = {kind for kind in vars(ev).values() if isinstance(kind, type) and issubclass(kind, ev.Event)}
    assert set(EXAMPLES) == kinds - {ev.Event}


def test_every_event_of_the_table_is_an_event_and_every_state_a_state() -> None:
    assert {rule.event for rule in TABLE} == set(EXAMPLES)
    assert all(isinstance(state, State) for rule in TABLE for state in rule.source)
    assert all(rule.dest is None or isinstance(rule.dest, State) for rule in TABLE)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.__name__)
def test_every_cell_ends_in_its_only_unguarded_row(state: State, event: type[ev.Event]) -> None:
    guards = [rule.when for rule in TABLE if rule.event is event and state in rule.source]
    assert guards, "no row"
    assert guards[-1] is always
    assert always not in guards[:-1], "rows below an unguarded one can never be reached"


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("state", State)
def test_every_event_is_taken_in_every_state_and_phase(state: State, phase: Phase) -> None:
    for event in EXAMPLES.values():
        taken = step(Call(state=state, phase=phase), event)
        assert taken.after.state in State


def test_no_row_is_written_twice() -> None:
    cells = [
        (rule.event, state, rule.when)
        for rule in TABLE
        for state in rule.source
        if rule.when.__qualname__.count("<locals>") == 0
    ]
    doubled = [cell for cell, group in itertools.groupby(sorted(cells, key=str)) if len(list(group)) > 1]
    assert doubled == []


def test_named_groups_are_what_they_say() -> None:
    assert set(LIVE) == set(State) - {State.IDLE} == set(TALK) | set(HANDOFF)
    assert set(ANY) == set(State)
    assert all_but(*LIVE) == IDLE


@pytest.mark.parametrize("state", TALK)
def test_danger_leads_to_the_nurse_from_every_state_of_the_conversation(state: State) -> None:
    for event in (ev.UrgencyRaised, ev.NurseNeeded):
        rules = [rule for rule in TABLE if rule.event is event and state in rule.source]
        assert [rule.dest for rule in rules] == [State.HANDOFF]


def test_no_row_leads_from_the_nurse_back_to_the_conversation() -> None:
    assert {rule.dest for rule in TABLE if State.HANDOFF in rule.source} <= {None, State.HANDOFF, State.IDLE}


def test_only_a_connected_call_leaves_idle() -> None:
    leaving = {rule.event for rule in TABLE if State.IDLE in rule.source and rule.dest not in (None, State.IDLE)}
    assert leaving == {ev.CallConnected}


def test_every_timer_has_a_length_and_a_row_of_its_own() -> None:
    assert set(SECONDS) == set(TimerName)
    names = " ".join(rule.when.__name__ for rule in TABLE if rule.event is ev.TimerFired)
    assert [name for name in TimerName if f"{name.value} timer" not in names] == []


def test_every_reason_but_urgent_has_a_clip() -> None:
    from fsm.prompts import FOR_REASON

    assert set(FOR_REASON) == set(Reason) - {Reason.URGENT}


def test_a_stale_timer_is_ignored_in_every_state() -> None:
    for state, name in itertools.product(State, TimerName):
        call = Call(state=state, phase=Phase.LIVE, timers=((name, 7),), token=9)
        taken = step(call, ev.TimerFired(at_ns=0, name=name, token=6))
        assert taken.after == call
        assert taken.effects == ()


def test_a_timer_that_fired_no_longer_runs() -> None:
    for state, name in itertools.product(State, TimerName):
        call = Call(state=state, phase=Phase.ENDED if state is State.IDLE else Phase.LIVE, timers=((name, 7),), token=9)
        assert step(call, ev.TimerFired(at_ns=0, name=name, token=7)).after.token_of(name) != 7


def test_a_step_changes_nothing_of_the_call_it_was_given() -> None:
    call = Call(state=State.SPEAKING, phase=Phase.LIVE, alive=3, generation=3, said=4, playback=4)
    same = replace(call)
    taken = step(call, EXAMPLES[ev.UrgencyRaised])
    assert call == same
    assert taken.before is call
    assert isinstance(taken.effects, tuple)
    assert all(isinstance(effect, fx.Effect) for effect in taken.effects)
