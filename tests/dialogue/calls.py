"""Walk an interview with typed answers."""

from dataclasses import dataclass, field, replace
from typing import Any

from triage.dialogue.interview import Book, Interview, Plan, take_turn

BOOKS = {order: Book.load("us", order=order) for order in ("full", "brief")}

ANSWERS = {
    "emergency": "no",
    "callback": "five five five one two three four five six seven",
    "callback_ok": "yes",
    "location": "twelve mill lane",
    "who": "me",
    "age": "forty two",
    "sex": "male",
    "pregnant": "no",
    "onset": "since yesterday",
    "temperature": "thirty eight point two",
    "med_name": "metformin",
    "background": "no",
    "allergies": "none",
    "summary_ok": "yes",
    # questions whose good answer is yes
    "safe": "yes",
    "alone": "yes",
    "inj_use": "yes",
    "child_drinks": "yes",
}
"""Answers of somebody who is well enough; every other question is answered with no."""


@dataclass
class Walk:
    """What a walk went through."""

    state: Interview
    plan: Plan
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    turns: int = 0

    def say(self, text: str, **circumstances: Any) -> Plan:
        """One turn of the caller's."""
        self.turns += 1
        self.state, self.plan = take_turn(self.state, text, turn=self.turns, **circumstances)
        self.said += [saying.text for saying in self.plan.sayings]
        if self.plan.question_id:
            self.asked.append(self.plan.question_id)
        return self.plan

    @property
    def values(self) -> dict[str, str]:
        """What is known."""
        return self.state.values


def begin(order: str = "full") -> Walk:
    """A call that has just been greeted."""
    return Walk(Interview.begin(BOOKS[order], call_id="call-1"), Plan(), asked=["emergency"])


def walk(complaint: str, answers: dict[str, str] | None = None, order: str = "full", limit: int = 40) -> Walk:
    """Answer every question until the plan ends the call or brings a nurse."""
    given = ANSWERS | {"complaint": complaint} | (answers or {})
    going = begin(order)
    for _ in range(limit):
        going.say(given.get(going.asked[-1], "no"))
        if going.plan.ends_call or going.plan.nurse:
            return going
    raise AssertionError(f"no end after {limit} turns: {going.asked}")


def until(question: str, answers: dict[str, str] | None = None, complaint: str = "i have a sore throat") -> Walk:
    """Walk up to the moment at which this question has just been asked."""
    given = ANSWERS | {"complaint": complaint} | (answers or {})
    going = begin()
    for _ in range(40):
        if going.asked[-1] == question and going.state.pending == question:
            return going
        going.say(given.get(going.asked[-1], "no"))
    raise AssertionError(f"{question} was never asked: {going.asked}")


def at(going: Walk, **changed: Any) -> Walk:
    """The same walk in another state."""
    return replace(going, state=replace(going.state, **changed))
