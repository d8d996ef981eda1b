"""Promise: the calls in `vignettes/` go exactly as it is written there, and together they show every way out of a state."""

from dataclasses import replace

import pytest

from fsm import effects as fx
from fsm import events as ev
from fsm.call import Call
from fsm.machine import Step, step
from fsm.states import Declared, TimerName
from fsm.table import TABLE
from tests.fsm.examples import CONNECTED, EXAMPLES, QUEUE
from tests.fsm.vignettes import VIGNETTES
from tests.fsm.vignettes.shorthand import GREETED, LISTENING, THINKING, Row, heard_to_its_end, turn


def play_through(rows: list[Row]) -> list[tuple[Row, Step]]:
    call, taken = Call(), []
    for row in rows:
        event = row[0]
        if isinstance(event, ev.TimerFired):  # the vignette does not count tokens
            assert call.runs(event.name), f"{event.name} does not run"
            event = replace(event, token=call.token_of(event.name))
        taken.append((row, step(call, event)))
        call = taken[-1][1].after
    return taken


@pytest.mark.parametrize("name", VIGNETTES)
def test_vignette(name: str) -> None:
    for number, (row, decided) in enumerate(play_through(VIGNETTES[name]), start=1):
        where = f"row {number}, {type(row[0]).__name__}"
        assert decided.after.state is row[1], where
        if row[2] is not ...:
            orders = [order for order in decided.effects if not isinstance(order, fx.StartTimer | fx.CancelTimer)]
            assert orders == row[2], where
        if len(row) == 4:
            assert {running for running, _ in decided.after.timers} == row[3], where


def test_together_they_show_every_row_that_orders_or_leads_somewhere() -> None:
    shown = set()
    for rows in VIGNETTES.values():
        for _, decided in play_through(rows):
            for number, rule in enumerate(TABLE):
                here = type(decided.event) is rule.event and decided.before.state in rule.source
                if here and rule.when(decided.before, decided.event):
                    shown.add(number)
                    break
    missing = [
        (rule.event.__name__, [state.value for state in rule.source], rule.plan.__name__, rule.when.__name__)
        for number, rule in enumerate(TABLE)
        if number not in shown and (rule.dest is not None or rule.plan.__name__ not in ("nothing", "expire"))
    ]
    assert missing == []


def started(rows: list[Row]) -> dict[str, float]:
    last = play_through(rows)[-1][1]
    return {order.name.value: order.seconds for order in last.effects if isinstance(order, fx.StartTimer)}


def test_our_silence_counts_from_the_end_of_the_callers_speech() -> None:
    lengths = started([*GREETED, (turn(1, silent_ms=500), THINKING, ...)])
    assert lengths == pytest.approx({"ours_ack": 0.3, "ours_filler": 2.5, "ours_scripted": 5.5, "ours_nurse": 9.5})
    lengths = started([*GREETED, (turn(1, silent_ms=2_000), THINKING, ...)])
    assert lengths["ours_ack"] == 0.3  # a reply that comes at once is not kept waiting behind an acknowledgement


def test_hold_on_stretches_the_callers_silence_once() -> None:
    hold = VIGNETTES["hold on"]
    assert started(hold[:-1]) == {"caller_silence": 60.0}
    assert started([*hold, (heard_to_its_end(4), LISTENING, ...)]) == {"caller_silence": 6.0}


@pytest.mark.parametrize(
    ("declared", "sign", "awaited"),
    [
        (Declared.QUEUE, True, True),
        (Declared.UNKNOWN, True, True),
        (Declared.PERSON, True, False),  # its 200 is a person's
        (Declared.QUEUE, False, False),  # nobody there could tell us
    ],
)
def test_a_persons_sign_is_awaited_where_it_can_come_and_is_needed(
    declared: Declared, sign: bool, awaited: bool
) -> None:
    rung = replace(QUEUE, declared=declared, gives_person_sign=sign)
    call = step(Call(), replace(CONNECTED, ladder=(rung,))).after
    call = step(call, EXAMPLES[ev.NurseNeeded]).after
    call = step(call, EXAMPLES[ev.TransferAnswered]).after
    assert call.runs(TimerName.PERSON_SIGN) is awaited
    assert step(call, EXAMPLES[ev.TailDrained]).after.sealed is not awaited


def test_the_guard_over_an_attempt_never_ends_before_the_rung_itself() -> None:
    slow = VIGNETTES["chest pain in the middle of our question"]
    assert started(slow)["attempt"] >= 16.0
