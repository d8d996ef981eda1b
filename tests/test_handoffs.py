"""Promise: hand-offs that run at the same time never swap packets, and key 0 is a nurse in every live state."""

import asyncio
import itertools
from pathlib import Path

import pytest

from fsm.states import Reason, RungKind, State
from tests.calls import CHEST, Call, Living, Rung, leaves, rung, says
from tests.handoff.test_shelf import PRIVATE, PUBLIC
from triage.demo.patient import Cue
from triage.errors import Refused
from triage.handoff.post import Post
from triage.handoff.shelf import Shelf
from triage.lines.nurse_phones import NursePhone
from triage.ports import LineSignal, SignalKind
from triage.trace import StepTaken, Trace


@pytest.fixture
def together(tmp_path: Path) -> list[Rung]:
    """Four calls in one loop, on one shelf, through one post: two dangers, by REFER and dialled, at the same moment."""
    post = Post([Shelf(tmp_path, public_key=PUBLIC)])
    calls = [
        Call(
            script=[says(line, Cue.AT, 1.0), leaves(25)],
            ladder=(rung(kind=kind),),
            phones={"nurse": NursePhone(answers_after_s=2.0 + 0.1 * n)},
            post=post,
            writer=f"test-{n}",
            alone=False,
        )
        for n, (line, kind) in enumerate(itertools.product((CHEST, "not_breathing"), (RungKind.REFER, RungKind.DIAL)))
    ]
    ended = Call.ring_together(*calls)
    assert post.close(5.0)
    return ended


def test_the_code_in_each_transfer_opens_exactly_its_own_calls_packet(together: list[Rung], tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    codes = [asked.code for call in together for asked in call.line.asked]
    assert len(codes) == len(set(codes)) == 4
    for call, code in zip(together, codes, strict=True):
        packet = shelf.open(code, PRIVATE, wall_ns=call.packets[-1].made_ns)
        assert packet.call_id == call.finished.call_id
        assert packet == call.packets[-1] == call.desk.claim(code)
    words = [call.packets[-1].situation["caller's words"] for call in together]
    assert words[0] == words[1] != words[2] == words[3]


def test_no_desk_opens_a_code_of_another_call(together: list[Rung]) -> None:
    for mine, other in itertools.permutations(together, 2):
        with pytest.raises(Refused):
            mine.desk.claim(other.line.asked[0].code)


def test_each_call_asks_for_one_nurse_and_gets_its_own(together: list[Rung]) -> None:
    assert [call.finished.outcome for call in together] == ["transferred", "nurse_bridged"] * 2
    assert all(len(call.line.asked) == 1 for call in together)


# --- key 0


def press_zero_in(state: State) -> Rung:
    """A caller who presses 0 the moment the call is in this state."""
    living: list[Living] = []
    pressed: list[State] = []

    def press(trace: Trace) -> None:
        if isinstance(trace, StepTaken) and trace.step.after.state is state and living and not pressed:
            pressed.append(state)
            key = LineSignal(SignalKind.KEY, value="0")
            asyncio.get_running_loop().call_soon(living[0].line._signal, key)

    async def story(call: Living) -> None:
        living.append(call)

    script = [says("sore_no", Cue.AT, 2.0), says(CHEST if state is State.HANDOFF else "sore_no"), leaves(45)]
    call = Call(script=script, observers=[press]).ring(story)
    assert pressed == [state], f"the call was never in {state}"
    return call


@pytest.mark.parametrize("state", [State.SPEAKING, State.INTERRUPT, State.LISTENING, State.THINKING])
def test_zero_is_a_nurse_in_every_state_in_which_we_talk(state: State) -> None:
    call = press_zero_in(state)
    (step,) = [s for s in call.steps if type(s.event).__name__ == "KeyPressed"]
    assert (step.before.state, step.after.state) == (state, State.HANDOFF)
    assert call.reasons[0] == Reason.PRESSED_ZERO.value and len(call.line.asked) == 1
    assert call.finished.outcome == "nurse_bridged"


def test_zero_while_a_nurse_is_called_calls_no_second_one() -> None:
    call = press_zero_in(State.HANDOFF)
    (step,) = [s for s in call.steps if type(s.event).__name__ == "KeyPressed"]
    assert step.before.state is State.HANDOFF and step.effects == ()
    assert len(call.line.asked) == 1 and call.reasons == ["urgent"]


def test_another_key_is_no_nurse() -> None:
    async def story(living: Living) -> None:
        for n, digit in enumerate("23456789*#"):
            await living.until(1.0 + n / 10)
            living.line._signal(LineSignal(SignalKind.KEY, value=digit))

    call = Call(script=[leaves(5.0)]).ring(story)
    assert call.line.asked == []


def test_every_live_state_is_pressed_here() -> None:
    assert {State.SPEAKING, State.INTERRUPT, State.LISTENING, State.THINKING, State.HANDOFF} == set(State) - {
        State.IDLE
    }
