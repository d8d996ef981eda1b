"""Promise: asking for a second opinion costs a final nothing: it returns at once, and a call that is over is left alone."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from classifiers import Assessment, Known, load
from classifiers.second_opinion import SecondQuestion
from triage import clock as clocks
from triage.second_hearing import SecondHearing

SHARED = load()
RAISES = '{"level": "nurse_now", "category": "sepsis", "confidence": 0.9, "reason_code": "implied"}'


class Vendor:
    """Raises every final after a second."""

    id = "vendor 1"

    def __init__(self) -> None:
        self.shown: list[SecondQuestion] = []

    async def ask(self, question: SecondQuestion) -> str:
        self.shown.append(question)
        await asyncio.sleep(1.0)
        return RAISES


def test_it_returns_before_the_judge_is_asked_and_answers_in_the_finals_language() -> None:
    vendor, raised = Vendor(), list[Assessment]()
    known = Known(qualifiers=(("diabetes", "yes", 1),))

    async def asks() -> None:
        tasks: list[asyncio.Task[None]] = []

        def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            tasks.append(asyncio.ensure_future(work))
            return tasks[-1]

        hearing = SecondHearing(vendor, SHARED, known=lambda: known, spawn=spawn)
        first = SHARED.begin().assess("quiero cambiar mi cita con el doctor")
        hearing.ask("quiero cambiar mi cita con el doctor", "¿Cómo está?", first, raised.append)
        assert vendor.shown == [] and raised == []
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks)
        assert hearing.counts.raised == 1

    clocks.run(asks(), virtual=True)
    (shown,) = vendor.shown
    assert (shown.text, shown.question, shown.known, shown.language) == (
        "quiero cambiar mi cita con el doctor",
        "¿Cómo está?",
        known,
        "es",
    )
    assert [(r.category.value, r.language) for r in raised] == [("sepsis", "es")]


def test_a_call_without_room_for_tasks_is_not_troubled() -> None:
    def refuses(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        work.close()
        raise RuntimeError("the group is closed")

    hearing = SecondHearing(Vendor(), SHARED, known=Known, spawn=refuses)
    hearing.ask("hello", "", SHARED.begin().assess("hello"), lambda raised: None)
    assert hearing.counts.raised == 0
