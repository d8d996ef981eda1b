"""Promise: a second opinion can only raise; late, broken or unsure, it changes nothing."""

import asyncio
import json
from collections.abc import Awaitable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import Assessment, Category, Known, Level
from classifiers.judge import load
from classifiers.second_opinion import (
    DEADLINE_S,
    MAX_ANSWER,
    BadAnswer,
    SecondCounts,
    SecondQuestion,
    answer_schema,
    raised_by,
    read_answer,
)
from triage import clock as clocks

SHARED = load()
GOOD = {"level": "nurse_now", "category": "chest", "confidence": 0.9, "reason_code": "implied"}


class Vendor:
    """Answers what it is told to."""

    id = "vendor 1"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def ask(self, question: SecondQuestion) -> str:
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
        return self.answer  # type: ignore[return-value]  # a vendor may answer anything


def asked(first: Assessment | None = None) -> SecondQuestion:
    first = first or SHARED.begin().assess("hello there")
    return SecondQuestion(text="hello there", question="", known=Known(), first=first)


async def at_once(work: Awaitable[str], deadline_s: float) -> str:
    """Stands for a wait whose time runs out as soon as the vendor does not answer by itself."""
    assert deadline_s == DEADLINE_S
    task = asyncio.ensure_future(work)
    for _ in range(5):
        await asyncio.sleep(0)
    if not task.done():
        task.cancel()
        raise TimeoutError
    return task.result()


async def raised(answer: object, first: Assessment | None = None) -> tuple[Assessment | None, SecondCounts]:
    counts = SecondCounts()
    return await raised_by(Vendor(answer), asked(first), SHARED, counts=counts, call=at_once), counts


async def test_a_good_answer_raises_an_ordinary_final() -> None:
    verdict, counts = await raised(json.dumps(GOOD))
    assert verdict is not None
    assert (verdict.level, verdict.category, verdict.clip) == (Level.NURSE_NOW, Category.CHEST, "connecting_nurse")
    assert verdict.rule == "second_opinion:implied"
    assert counts.raised == 1


async def test_it_may_raise_an_urgent_final_to_the_emergency_number() -> None:
    first = SHARED.begin().assess("i have chest pain")
    verdict, _ = await raised(json.dumps({**GOOD, "level": "emergency_now"}), first)
    assert verdict is not None
    assert verdict.clip == "emergency_first"
    assert verdict.rank > first.rank


@pytest.mark.parametrize("level", ["routine", "nurse_soon", "nurse_now"])
async def test_it_cannot_lower_or_repeat(level: str) -> None:
    verdict, counts = await raised(json.dumps({**GOOD, "level": level}), SHARED.begin().assess("i have chest pain"))
    assert verdict is None
    assert counts.agreed == 1


async def test_an_unsure_answer_changes_nothing() -> None:
    verdict, counts = await raised(json.dumps({**GOOD, "confidence": 0.3}))
    assert (verdict, counts.agreed) == (None, 1)


async def test_a_late_answer_changes_nothing() -> None:
    verdict, counts = await raised(None)
    assert (verdict, counts.late) == (None, 1)


@pytest.mark.parametrize("answer", [RuntimeError("down"), ConnectionError(), "not json", "{}", 7, b"x", "[" * 1500])
async def test_a_broken_vendor_changes_nothing(answer: object) -> None:
    verdict, counts = await raised(answer)
    assert (verdict, counts.broken) == (None, 1)


async def test_the_vendors_own_timeout_is_only_late() -> None:
    verdict, counts = await raised(TimeoutError())
    assert (verdict, counts.late) == (None, 1)


def waited(judge: Vendor) -> tuple[Assessment | None, SecondCounts, float]:
    """What came of asking this judge, and the virtual seconds until then; never more than ten."""

    async def asks() -> tuple[Assessment | None, SecondCounts, float]:
        counts, loop = SecondCounts(), asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(10):
            verdict = await raised_by(judge, asked(), SHARED, counts=counts)
        return verdict, counts, loop.time() - began

    return clocks.run(asks(), virtual=True)


def test_the_deadline_is_a_second_and_a_half() -> None:
    assert DEADLINE_S == 1.5


def test_a_judge_that_never_returns_is_left_at_the_deadline() -> None:
    verdict, counts, took_s = waited(Vendor(None))
    assert (verdict, counts.late) == (None, 1)
    assert took_s == pytest.approx(1.5)


class Late(Vendor):
    """Answers well after so many seconds, and lets nobody stop it when `stubborn`."""

    def __init__(self, after_s: float, stubborn: bool = False) -> None:
        super().__init__(json.dumps(GOOD))
        self.after_s, self.stubborn = after_s, stubborn

    async def ask(self, question: SecondQuestion) -> str:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.after_s
        while loop.time() < until:
            try:
                await asyncio.sleep(until - loop.time())
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise
        return str(self.answer)


@pytest.mark.parametrize(("judge", "heard"), [(Late(1.4), True), (Late(1.6), False), (Late(3.0, stubborn=True), False)])
def test_only_what_comes_within_the_deadline_is_heard(judge: Late, heard: bool) -> None:
    verdict, counts, _ = waited(judge)
    assert (verdict is not None, counts.raised, counts.late) == (heard, int(heard), int(not heard))


async def test_a_raise_says_who_raised() -> None:
    verdict, _ = await raised(json.dumps(GOOD))
    assert verdict is not None and ("second_opinion", "vendor 1") in verdict.versions


async def test_our_own_cancellation_is_not_swallowed() -> None:
    task = asyncio.ensure_future(raised_by(Vendor(None), asked(), SHARED))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_by_default_there_is_none() -> None:
    assert await raised_by(None, asked(), SHARED) is None


@pytest.mark.parametrize(
    "answer",
    [
        {**GOOD, "level": "super"},
        {**GOOD, "level": 3},
        {**GOOD, "category": "classifier_failed"},
        {**GOOD, "category": "none"},
        {**GOOD, "category": []},
        {**GOOD, "confidence": 1.2},
        {**GOOD, "confidence": "high"},
        {**GOOD, "confidence": True},
        {**GOOD, "confidence": float("nan")},
        {**GOOD, "reason_code": "because the caller said so"},
        {**GOOD, "extra": 1},
        {k: v for k, v in GOOD.items() if k != "level"},
        [GOOD],
        None,
    ],
)
def test_an_answer_off_the_schema_is_refused(answer: object) -> None:
    with pytest.raises(BadAnswer):
        read_answer(json.dumps(answer))


def test_a_long_answer_is_refused() -> None:
    with pytest.raises(BadAnswer):
        read_answer(json.dumps(GOOD) + " " * MAX_ANSWER)


def test_the_schema_admits_what_the_reader_admits() -> None:
    schema = answer_schema()
    assert set(schema["required"]) == set(GOOD) == set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert "classifier_failed" not in schema["properties"]["category"]["enum"]


@given(st.text(max_size=80) | st.from_type(dict).map(str))
def test_no_answer_breaks_the_reader_and_no_error_quotes_it(raw: str) -> None:
    with pytest.raises(BadAnswer, match=r"^(not JSON|wrong fields)$"):
        read_answer(raw)
