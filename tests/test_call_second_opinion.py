"""Promise: a second opinion can only raise a call; one that fails or comes late leaves it as it is without one."""

import asyncio

import pytest

from classifiers.second_opinion import SecondQuestion
from fsm import events as ev
from tests.calls import CHEST, Call, Rung, leaves, rules, says, speaks


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
