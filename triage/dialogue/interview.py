"""The interview of one call: a frozen state, and `take_turn`, which decides what is said next. Rules only, no model.

Order and wording are data (`wording.toml`, `protocols/`). What a turn does, first match wins:
1. a request about the call: a person, no machine, no record, another language, a child, "say that again", "hold on";
2. a correction of the answer before;
3. everything the words give away (complaint, onset, age, who) is kept, and never asked again;
4. the answer to the question that was asked, if it was heard. What cannot be understood twice is `unknown`, and on a
   red-flag question that means a nurse;
5. a disposition of `nurse_now` ends the questions, else the next question, else read-back, booking and goodbye.
"""

from dataclasses import replace

from classifiers.assessment import Known
from fsm.states import Reason
from triage.dialogue import answers as read
from triage.dialogue.closing import arguments, decide, summary
from triage.dialogue.numbers import phone_digits, read_digits
from triage.dialogue.protocols import match
from triage.dialogue.reading import (
    Intent,
    answer,
    correction_of,
    fits,
    foreign,
    intent_of,
    is_question,
    without_particle,
)
from triage.dialogue.rules import holds
from triage.dialogue.state import Answer, Book, Interview, Plan, Stage, ToolCall
from triage.dialogue.wording import Question
from triage.ports import Saying

__all__ = ["OPENING", "Answer", "Book", "Interview", "Plan", "Stage", "ToolCall", "opening", "take_turn"]

OPENING = ("greeting", "greeting_number", "ask.emergency")
CHILD_YEARS = 13
"""A caller younger than this, calling for themselves, gets a nurse."""
FERTILE_YEARS = (12, 56)
TRIES = 2
"""How often one question is asked."""
UNHEARD = 2
"""How often a question is put again because the caller spoke over it, before their words count as the answer."""


def opening() -> tuple[str, ...]:
    """Prompts of the greeting; the last one is the first question."""
    return OPENING


def take_turn(
    state: Interview,
    heard: str,
    *,
    turn: int,
    question_heard: bool = True,
    disclosure_heard: bool = True,
    known: Known | None = None,
    language: str = "en",
) -> tuple[Interview, Plan]:
    """What the interview makes of one turn of the caller's.

    `question_heard`: enough of our question was audible before the caller spoke. `language`: as the classifier told it.
    """
    draft = _Draft(state, heard, turn, disclosure_heard)
    plan = draft.take(question_heard=question_heard, known=known, language=language)
    return draft.state, replace(plan, findings=draft.state.answers)


class _Draft:
    """One turn in the making."""

    def __init__(self, state: Interview, heard: str, turn: int, disclosure_heard: bool) -> None:
        self.state, self.heard, self.turn, self._disclosed = state, heard, turn, disclosure_heard
        self._lead: list[Saying] = []

    # --- 1. about the call

    def take(self, *, question_heard: bool, known: Known | None, language: str) -> Plan:
        if not self.heard.strip():
            return self._repeat()
        if (plan := self._about_the_call(language)) is not None:
            return plan
        if self.state.stage is Stage.CLOSED:
            return self._after_goodbye()
        if self.state.stage is Stage.CHANGING:
            return self._changed()
        if (plan := self._corrected()) is not None:
            return plan
        self._infer(known)
        if self._child_alone():
            return Plan(nurse=Reason.CHILD_ALONE)
        return self._answered(question_heard)

    def _about_the_call(self, language: str) -> Plan | None:
        strange = language in ("es", "unknown") and len(self.heard.split()) >= 3
        strange = strange or foreign(self.heard)
        self.state = replace(self.state, foreign=self.state.foreign + 1 if strange else 0)
        if self.state.foreign >= 2:
            return Plan(nurse=Reason.LANGUAGE)
        match intent_of(self.heard):
            case Intent.PERSON:
                return Plan(nurse=Reason.ASKED_PERSON)
            case Intent.NO_MACHINE:
                return Plan(nurse=Reason.DECLINED_MACHINE)
            case Intent.NO_RECORD:
                return Plan(nurse=Reason.DECLINED_RECORD, withhold=True)
            case Intent.NO_ENGLISH:
                return Plan(nurse=Reason.LANGUAGE)
            case Intent.CHILD if self.state.age is None:
                return Plan(nurse=Reason.CHILD_ALONE)
            case Intent.REPEAT:
                return replace(self._repeat(), ends_call=self.state.stage is Stage.CLOSED)
            case Intent.HOLD:
                return replace(self._plan(()), hold=True)
            case Intent.WHO_ARE_YOU:
                return self._plan((self._line("say.machine"), *self.state.said), keep=False)
        return None

    def _repeat(self) -> Plan:
        return self._plan(self.state.said, keep=False)

    def _after_goodbye(self) -> Plan:
        """Thanks end the call; a question is met once with what was said, then with a nurse; anything else is noted."""
        if intent_of(self.heard) is Intent.THANKS:
            return replace(self._plan((self._line("say.bye"),), keep=False), ends_call=True)
        if is_question(self.heard):
            self.state = replace(self.state, questions=self.state.questions + 1)
            if self.state.questions > 1:
                return Plan(nurse=Reason.DISPOSITION)
            return replace(self._repeat(), ends_call=True)
        self._note("added", self.heard, self.heard)
        return replace(self._plan((self._line("say.added"),), keep=False), ends_call=True)

    # --- 2. corrections

    def _corrected(self) -> Plan | None:
        state = self.state
        correction = correction_of(self.heard)
        question = self._question(state.last_slot)
        if correction is None or question is None or state.pending in ("summary_ok", "callback_ok"):
            return None
        value = answer(question, correction.rest) if correction.rest else None
        if value is None:
            if not correction.plainly or correction.rest:
                return None
            self.state = state.without(state.last_slot)
            return self._ask(question, again=True)
        if question.kind in ("open", "onset", "yes_no") and not correction.plainly:
            return None
        self._note(state.last_slot, value, self.heard, "corrected")
        if state.last_slot == "callback":
            self.state = self.state.without("callback_ok")
        self._lead.append(self._line("say.corrected"))
        return self._go_on()

    def _changed(self) -> Plan:
        """The read-back was wrong, and this is what is right."""
        self.state = replace(self.state, stage=Stage.ASKING)
        if number := phone_digits(self.heard):
            self._note("callback", number, self.heard, "corrected")
        elif found := read.age(self.heard):
            self._note("age", str(found), self.heard, "corrected")
        self._note("correction", self.heard, self.heard)
        self._note("summary_ok", "no", self.heard)
        self._lead.append(self._line("say.changed"))
        return self._go_on()

    # --- 3. what the words give away

    def _how(self, slot: str) -> str:
        """Whether this slot was asked for just now."""
        return "given" if self.state.pending == slot else "inferred"

    def _infer(self, known: Known | None) -> None:
        state = self.state
        text = without_particle(self.heard) if state.phase == "yes_no" else self.heard
        if state.get("complaint") is None and (match(state.book.protocols, text, None) or self._child_fever(text)):
            self._note("complaint", text, text, "inferred" if state.pending != "complaint" else "given")
            if self._open("onset") and (began := read.onset(text)):
                self._note("onset", began, text, "inferred")
            if self._open("who") and (patient := read.who(text)):
                self._note("who", patient, text, "inferred")
        if self._open("callback") and state.pending != "callback" and (number := phone_digits(text)):
            self._note("callback", number, text, "inferred")
        if self._open("age") and (found := read.age(text)):
            self._note("age", str(found), text, self._how("age"))
        patient = self.state.values.get("who", "")
        if self._open("sex") and (told := read.sex(patient)):
            self._note("sex", told, text, self._how("sex"))
        if self._open("pregnant") and (expecting := read.pregnant(text)):
            self._note("pregnant", expecting, text, self._how("pregnant"))
        if known is not None:
            self._take_over(known)

    def _child_fever(self, text: str) -> bool:
        return match(self.state.book.protocols, text, read.Age(1, "year")) is not None

    def _take_over(self, known: Known) -> None:
        """What the classifier has understood fills what nobody was asked yet; its words stay the caller's."""
        for name, value, turn in known.qualifiers:
            if name in ("age_days", "age_years") and self._open("age") and _is_number(value):
                found = read.Age(float(value), "day" if name == "age_days" else "year")
                self._note("age", str(found), value, "inferred", turn)
            elif name == "sex" and value in ("male", "female") and self._open("sex"):
                self._note("sex", value, value, "inferred", turn)
            elif name in ("pregnant", "postpartum") and value == "yes" and self._open("pregnant"):
                self._note("pregnant", "yes", name, "inferred", turn)
        protocol = self.state.protocol
        for question in protocol.questions if protocol else ():
            for finding in known.findings if question.finding and self.state.get(question.id) is None else ():
                if finding.code == question.finding and finding.assertion in ("present", "denied"):
                    value = "yes" if finding.assertion == "present" else "no"
                    self._note(question.id, value, finding.text, "inferred", finding.turn)

    def _child_alone(self) -> bool:
        age, who = self.state.age, self.state.values.get("who")
        if age is None or age.days >= CHILD_YEARS * read.DAYS["year"]:
            return False
        speaks_of_self = read.plain(self.heard).startswith(("i'm ", "i am ", "me "))
        return who == "self" or (who is None and speaks_of_self)

    # --- 4. the answer

    def _answered(self, question_heard: bool) -> Plan:
        state = self.state
        question = state.pending_question
        if question is None or (
            state.get(question.id) is not None and state.get(question.id) != self._before(question)
        ):
            return self._go_on()
        if not question_heard and state.unheard < UNHEARD and not fits(question, self.heard):
            self.state = replace(state, unheard=state.unheard + 1)
            return self._ask(question, again=False)
        self.state = replace(state, unheard=0)
        if question.id == "callback_ok":
            return self._number_confirmed()
        if question.kind == "open" and self._just_learned("callback"):
            return self._go_on()  # the words were a telephone number, not an answer
        value = answer(question, self.heard)
        if value is None and question.id == "emergency" and self.state.get("complaint") is not None:
            value = "unknown" if self.state.tries > 1 else "not_said"
        if value is None and read.dont_know(self.heard) and not question.red_flag:
            value = "unknown"
        if value is None and self.state.tries < TRIES:
            return self._ask(question, again=True)
        self._note(question.id, value or "unknown", self.heard, "given" if value else "unknown")
        if (
            question.id == "complaint"
            and value
            and self.state.get("onset") is None
            and (began := read.onset(self.heard))
        ):
            self._note("onset", began, self.heard, "inferred")
        if question.red_flag and value in (None, "yes", "maybe", "unknown"):
            return Plan(nurse=Reason.DISPOSITION)
        if question.id == "summary_ok" and value == "no":
            return self._what_to_change()
        if question.id == "who":
            self._infer(None)
        return Plan(nurse=Reason.CHILD_ALONE) if self._child_alone() else self._go_on()

    def _before(self, question: Question) -> Answer | None:
        """An answer that stood before this turn began does not count as given in it."""
        found = self.state.get(question.id)
        return found if found is not None and found.turn != self.turn else None

    def _number_confirmed(self) -> Plan:
        number = phone_digits(self.heard)
        said = answer(self.state.book.wording.asks["callback_ok"], self.heard)
        if number and number != self.state.values["callback"]:
            self._note("callback", number, self.heard, "corrected")
            self.state = replace(self.state, rejected=self.state.rejected + 1)
            if self.state.rejected <= TRIES:
                return self._go_on()
            said = "maybe"
        if said == "no" and self.state.rejected < TRIES:
            self.state = replace(self.state.without("callback"), rejected=self.state.rejected + 1)
            return self._ask(self.state.book.wording.asks["callback"], again=True)
        if said is None and number is None and self.state.tries < TRIES:
            return self._ask(self.state.book.wording.asks["callback_ok"], again=True)
        sure = said == "yes" or number is not None
        self._note("callback_ok", "yes" if sure else "unknown", self.heard, "given" if sure else "unconfirmed")
        return self._go_on()

    def _what_to_change(self) -> Plan:
        correction = correction_of(self.heard)
        if correction is not None and len(correction.rest.split()) >= 2:
            return self._changed()
        self.state = replace(self.state, stage=Stage.CHANGING)
        return self._plan((self._line("say.ask_change", question=True),))

    # --- 5. what comes next

    def _go_on(self) -> Plan:
        state, protocol = self.state, self.state.protocol
        if protocol is not None and decide(protocol, state.values).level == "nurse_now":
            return Plan(nurse=Reason.DISPOSITION)
        if protocol is not None and not state.sorry:
            self.state = replace(state, sorry=True)
            if protocol.id != "medication":
                self._lead.append(self._line("say.sorry"))
        question = self._next()
        return self._close() if question is None else self._ask(question, again=False)

    def _next(self) -> Question | None:
        state = self.state
        for step in state.book.steps:
            if step != "protocol":
                if state.get(step) is None and self._applies(step):
                    return state.book.wording.asks[step]
                continue
            for question in state.protocol.questions if state.protocol else ():
                if state.get(question.id) is None and all(holds(c, state.values) for c in question.when):
                    return question
        return None

    def _applies(self, step: str) -> bool:
        values, age = self.state.values, self.state.age
        if step == "callback_ok":
            return values.get("callback", "unknown") != "unknown"
        if step == "pregnant":
            low, high = (years * read.DAYS["year"] for years in FERTILE_YEARS)
            return values.get("sex") == "female" and (age is None or low <= age.days < high)
        return True

    def _ask(self, question: Question, *, again: bool) -> Plan:
        state = self.state
        first = question.id != state.pending
        tries = 1 if first else state.tries + (1 if again else 0)
        self.state = replace(
            state,
            pending=question.id,
            tries=tries,
            unheard=0 if first else state.unheard,
            last_slot=state.pending if first and state.get(state.pending) else state.last_slot,
            asked=state.asked + (1 if first else 0),
        )
        if again and not question.again:
            self._lead.append(self._line("say.catch"))
        asked = question.saying(other=self.state.other, again=again)
        return self._plan((*self._disclosure(), *self._lead, *self._read_back(question, again=again), asked))

    def _read_back(self, question: Question, *, again: bool) -> tuple[Saying, ...]:
        if again:
            return ()
        if question.id == "callback_ok":
            return (Saying(f"I have {read_digits(self.state.values['callback'])}.", fallback="say.number"),)
        if question.id == "summary_ok":
            assert self.state.protocol is not None
            return (Saying(summary(self.state.values, self.state.protocol), fallback="say.noted"),)
        return ()

    def _disclosure(self) -> tuple[Saying, ...]:
        """Said again before the second question when the greeting was cut, twice at most."""
        if self._disclosed or self.state.disclosures >= 2:
            return ()
        self.state = replace(self.state, disclosures=self.state.disclosures + 1)
        return (self._line("disclosure_short"),)

    def _close(self) -> Plan:
        """Book, say by when and when to ring again, and goodbye."""
        protocol = self.state.protocol or self.state.book.general()
        nurse = Plan(nurse=Reason.DISPOSITION)
        if self.state.values.get("callback", "unknown") == "unknown":
            return nurse
        decided = decide(protocol, self.state.values)
        self.state = replace(self.state, stage=Stage.CLOSED, pending="")
        said = (
            *self._lead,
            self._line(f"close.{decided.window}"),
            Saying(protocol.again, protocol.again_prompt),
            self._line("close.number"),
            self._line("goodbye"),
        )
        booking = ToolCall("book_callback", arguments(self.state.values, protocol, decided, self.state.call_id))
        return replace(self._plan(said), ends_call=True, tool=booking, otherwise=nurse)

    # --- small things

    def _question(self, slot: str) -> Question | None:
        return replace(self.state, pending=slot).pending_question if slot else None

    def _note(self, slot: str, value: str, text: str, status: str = "given", turn: int | None = None) -> None:
        self.state = self.state.with_answer(slot, value, text, self.turn if turn is None else turn, status)

    def _open(self, slot: str) -> bool:
        """Whether a slot is not known: never asked, or asked in vain."""
        return self.state.values.get(slot, "unknown") == "unknown"

    def _just_learned(self, slot: str) -> bool:
        found = self.state.get(slot)
        return found is not None and found.turn == self.turn

    def _line(self, prompt: str, *, question: bool = False) -> Saying:
        return self.state.book.wording.saying(prompt, question=question)

    def _plan(self, sayings: tuple[Saying, ...], *, keep: bool = True) -> Plan:
        if keep and sayings:
            self.state = replace(self.state, said=sayings)
        asked = next((s.text for s in reversed(sayings) if s.question), "")
        return Plan(sayings, asked, self.state.pending if asked else "", self.state.phase)


def _is_number(value: str) -> bool:
    try:
        return 0 < float(value) < 120 * 366
    except ValueError:
        return False
