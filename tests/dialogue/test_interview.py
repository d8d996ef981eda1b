"""The interview is humane and safe: nothing is asked twice, nobody is argued with, what is unclear goes to a person."""

import time
from dataclasses import replace

import pytest

from classifiers.assessment import Finding, Known
from fsm.states import Reason
from tests.dialogue.calls import BOOKS, at, begin, until, walk
from triage.dialogue.interview import OPENING, Interview, Plan, Stage, opening, take_turn
from triage.dialogue.wording import load_wording
from triage.errors import AssetError


def prompts(plan: Plan) -> list[str | None]:
    return [saying.prompt for saying in plan.sayings]


# --- the order


def test_the_greeting_ends_with_the_first_question() -> None:
    assert opening() == OPENING
    state = Interview.begin(BOOKS["full"])
    assert state.question == "Is this an emergency?"
    assert (state.phase, state.pending) == ("yes_no", OPENING[-1].removeprefix("ask."))


def test_every_call_asks_in_the_same_order() -> None:
    asked = walk("i have a sore throat", {"sex": "female"}).asked
    assert asked == [
        "emergency", "callback", "callback_ok", "location", "who", "age", "sex", "pregnant", "complaint", "onset",
        "throat_closing", "fever", "worse", "background", "allergies", "summary_ok",
    ]  # fmt: skip


def test_what_the_first_words_say_is_not_asked_again() -> None:
    going = begin()
    plan = going.say("i've had a sore throat since monday")
    assert prompts(plan) == ["say.sorry", "ask.callback"]
    values = going.values
    assert values["complaint"] == "i've had a sore throat since monday"
    assert values["onset"] == "since monday"
    assert values["who"] == "self"
    asked = walk("x", {"emergency": "i've had a sore throat since monday"}).asked
    assert not {"complaint", "onset", "who"} & set(asked)


def test_a_relative_is_asked_about_the_patient_and_not_about_himself() -> None:
    going = until("age", {"who": "it's for my daughter"})
    assert going.plan.question == "How old is the patient?"
    assert going.values["sex"] == "female"
    assert "sex" not in walk("she has a rash", {"who": "my daughter"}).asked


@pytest.mark.parametrize(("answers", "asked"), [
    ({"sex": "male"}, False), ({"sex": "female"}, True), ({"sex": "female", "age": "sixty"}, False),
    ({"sex": "female", "who": "my wife"}, True), ({"sex": "female", "who": "my baby", "age": "two weeks"}, False),
])  # fmt: skip
def test_pregnancy_is_asked_of_those_it_can_concern(answers: dict[str, str], asked: bool) -> None:
    assert ("pregnant" in walk("i have a rash", answers).asked) is asked


def test_the_phase_follows_the_kind_of_answer() -> None:
    assert until("callback").plan.phase == "number"
    assert until("callback_ok").plan.phase == "yes_no"
    assert until("location").plan.phase == "open"
    assert until("age").plan.phase == "number"
    assert until("med_name", complaint="a question about my medicine").plan.phase == "spelling"


# --- who gets a nurse


REASONS = {
    "nurse": Reason.ASKED_PERSON,
    "i don't want to talk to a robot": Reason.DECLINED_MACHINE,
    "don't record me": Reason.DECLINED_RECORD,
    "no hablo inglés": Reason.LANGUAGE,
    "my mommy is asleep and i'm scared": Reason.CHILD_ALONE,
    "i am seven years old": Reason.CHILD_ALONE,
}
AGE_KNOWN = ("fever", "summary_ok")


@pytest.mark.parametrize(
    ("said", "when"),
    [
        (said, when)
        for said, reason in REASONS.items()
        for when in ("emergency", "location", *AGE_KNOWN)
        if reason is not Reason.CHILD_ALONE or when not in AGE_KNOWN
    ],
)
def test_a_nurse_without_argument_at_any_question(said: str, when: str) -> None:
    plan = until(when).say(said)
    assert plan.nurse is REASONS[said]
    assert not plan.sayings
    assert not plan.ends_call
    assert plan.withhold is (plan.nurse is Reason.DECLINED_RECORD)


def test_a_child_that_rings_for_itself_gets_a_nurse_and_a_parent_does_not() -> None:
    assert until("age").say("nine").nurse is Reason.CHILD_ALONE
    assert until("age", {"who": "my son"}).say("nine").nurse is None
    assert until("age").say("nineteen").nurse is None
    going = begin()
    going.say("i'm eight and i have a fever")
    assert going.plan.nurse is Reason.CHILD_ALONE


def test_two_turns_in_another_language_bring_a_nurse_and_one_does_not() -> None:
    going = begin()
    assert going.say("tengo mucho dolor de cabeza").nurse is None
    assert going.say("me duele desde ayer por favor").nurse is Reason.LANGUAGE
    going = begin()
    going.say("some words nobody knows", language="unknown")
    going.say("no")
    assert going.say("more words nobody knows", language="unknown").nurse is None


def test_an_emergency_that_is_affirmed_or_stays_unclear_brings_a_nurse() -> None:
    for said in ("yes", "yes it is", "maybe", "i think so"):
        assert begin().say(said).nurse is Reason.DISPOSITION
    going = begin()
    assert prompts(going.say("i don't know")) == ["ask.emergency.again"]
    assert going.say("i really cannot tell").nurse is Reason.DISPOSITION


def test_without_a_number_to_call_back_a_nurse_takes_the_call() -> None:
    going = walk("i have a sore throat", {"callback": "i don't know"})
    assert going.plan.nurse is Reason.DISPOSITION
    assert "callback_ok" not in going.asked


# --- unclear answers, repeats, holds


def test_what_is_not_understood_is_asked_once_more_and_then_left() -> None:
    going = until("age")
    assert prompts(going.say("purple")) == ["ask.age.again"]
    assert prompts(going.say("purple again")) == ["ask.sex"]
    answer = going.state.get("age")
    assert answer is not None
    assert (answer.value, answer.status) == ("unknown", "unknown")


def test_a_question_without_a_second_wording_is_put_again_after_a_word() -> None:
    going = until("med_name", complaint="a question about my medicine")
    going = until("weak", complaint="my ear is ringing")
    assert prompts(going.say("purple elephants")) == ["say.catch", "q.weak"]


def test_not_knowing_is_an_answer_where_it_may_be_one() -> None:
    going = until("onset")
    assert going.say("i don't know").question_id == "throat_closing"
    assert going.values["onset"] == "unknown"


def test_a_number_or_an_age_that_comes_late_is_still_taken() -> None:
    going = until("location", {"callback": "i don't know"})
    plan = going.say("oh it's five five five one two three four")
    assert plan.question_id == "callback_ok"
    assert going.say("yes").question_id == "location"
    going = until("sex", {"age": "purple"})
    assert going.values["age"] == "unknown"
    assert going.say("i'm thirty").question_id == "sex"
    assert (going.values["age"], going.values.get("sex")) == ("30 years", None)


def test_a_word_that_is_no_time_is_no_onset_until_it_is_said_twice() -> None:
    going = until("onset")
    assert prompts(going.say("a girl")) == ["ask.onset.again"]
    assert going.say("when i came home").question_id == "throat_closing"
    assert going.values["onset"] == "when i came home"


def test_say_that_again_says_it_again_and_counts_nothing() -> None:
    going = until("callback_ok")
    before = going.plan
    plan = going.say("sorry, what did you say?")
    assert plan.sayings == before.sayings
    assert plan.question_id == "callback_ok"
    assert going.state.tries == 1
    assert going.say("yes").question_id == "location"


def test_hold_on_says_nothing_and_keeps_the_question() -> None:
    going = until("callback")
    plan = going.say("hold on a second")
    assert plan.hold
    assert not plan.sayings
    assert going.state.pending == "callback"
    assert going.say("five five five one two three four").question_id == "callback_ok"


def test_are_you_a_person_is_answered_truthfully_and_the_question_stands() -> None:
    plan = until("location").say("are you a real person?")
    assert prompts(plan) == ["say.machine", "ask.location"]


def test_an_empty_turn_repeats_the_question() -> None:
    assert prompts(until("location").say("  ")) == ["ask.location"]


# --- corrections and read-back


def test_a_correction_replaces_the_answer_and_the_open_question_stands() -> None:
    going = until("sex")
    plan = going.say("no i said forty")
    assert prompts(plan) == ["say.corrected", "ask.sex"]
    assert going.values["age"] == "40 years"
    answer = going.state.get("age")
    assert answer is not None
    assert answer.status == "corrected"
    assert "sex" not in going.values


def test_that_is_wrong_puts_the_last_question_again() -> None:
    going = until("sex")
    assert prompts(going.say("that's wrong")) == ["ask.age.again"]
    assert going.say("forty three").question_id == "sex"
    assert going.values["age"] == "43 years"


def test_a_no_with_more_words_is_still_an_answer() -> None:
    going = until("fever")
    assert going.say("no it's only the throat").question_id == "worse"
    assert going.values["fever"] == "no"


def test_the_number_is_read_back_digit_by_digit_until_it_is_right() -> None:
    going = until("callback_ok")
    assert going.plan.sayings[0].text == "I have five five five, one two three, four five six seven."
    assert (going.plan.sayings[0].prompt, going.plan.sayings[0].fallback) == (None, "say.number")
    assert prompts(going.say("no")) == ["ask.callback.again"]
    plan = going.say("five five five one two three four five six eight")
    assert plan.sayings[0].text.endswith("four five six eight.")
    plan = going.say("no it's five five five one two three four five six nine")
    assert plan.sayings[0].text.endswith("four five six nine.")
    assert going.say("yes that's right").question_id == "location"
    assert (going.values["callback"], going.values["callback_ok"]) == ("5551234569", "yes")


def test_a_number_that_stays_wrong_is_kept_as_unconfirmed() -> None:
    going = until("callback_ok")
    for _ in range(2):
        going.say("no")
        going.say("five five five one two three four five six eight")
    assert going.say("no").question_id == "location"
    answer = going.state.get("callback_ok")
    assert answer is not None
    assert answer.status == "unconfirmed"
    tool = walk("i have a rash", {"callback_ok": "no"}).plan.tool
    assert tool is not None and tool.arguments["confirmed"] == "no"


def test_the_read_back_holds_what_was_given_and_can_be_corrected() -> None:
    going = until("summary_ok")
    text = going.plan.sayings[0].text
    assert text == (
        "I noted a sore throat. Since when: since yesterday. Age: 42 years. Place: twelve mill lane. "
        "Your number: five five five, one two three, four five six seven."
    )
    assert going.plan.sayings[0].fallback == "say.noted"
    assert prompts(going.say("no")) == ["say.ask_change"]
    assert going.state.stage is Stage.CHANGING
    plan = going.say("the number is five five five one two three four five six zero")
    assert "say.changed" in prompts(plan)
    assert going.state.get("correction") is not None
    if not plan.ends_call:
        assert plan.question_id == "callback_ok"
        plan = going.say("yes")
    assert plan.ends_call
    assert plan.tool is not None
    assert plan.tool.arguments["number"] == "5551234560"


def test_a_place_is_read_back_without_the_words_before_it() -> None:
    going = until("summary_ok", {"location": "I am at home, on Lake Street."})
    assert "Place: at home, on Lake Street." in going.plan.sayings[0].text


def test_low_mood_is_not_named_aloud() -> None:
    going = until("summary_ok", complaint="i feel hopeless")
    assert "hopeless" not in " ".join(going.said)
    assert "depress" not in " ".join(going.said).lower()


# --- questions that were not heard


def test_a_yes_over_a_question_that_was_not_heard_does_not_count() -> None:
    going = until("throat_closing")
    plan = going.say("yes", question_heard=False)
    assert prompts(plan) == ["q.throat_closing"]
    assert going.state.tries == 1
    assert going.say("no").question_id == "fever"


def test_an_answer_that_fits_by_itself_counts_though_the_question_was_not_heard() -> None:
    going = until("callback")
    assert going.say("it's five five five one two three four", question_heard=False).question_id == "callback_ok"
    going = begin()
    assert going.say("i have a sore throat", question_heard=False).question_id == "emergency"
    assert going.values["complaint"] == "i have a sore throat"


def test_a_caller_who_always_speaks_over_the_question_is_believed_in_the_end() -> None:
    going = until("throat_closing")
    for _ in range(3):
        going.say("no", question_heard=False)
    assert going.asked[-1] == "fever"


# --- disclosure


def test_a_disclosure_that_was_cut_is_said_again_before_the_second_question_and_once_more_at_most() -> None:
    going = begin()
    said = []
    for _ in range(5):
        plan = going.say(
            {"emergency": "no", "callback": "555 123 4567"}.get(going.asked[-1], "yes"), disclosure_heard=False
        )
        said.append("disclosure_short" in prompts(plan))
    assert said == [True, True, False, False, False]
    going = begin()
    assert "disclosure_short" not in prompts(going.say("no"))


def test_no_disclosure_stands_before_a_nurse() -> None:
    assert not begin().say("yes", disclosure_heard=False).sayings


# --- what the classifier knows


def test_what_the_classifier_understood_is_not_asked() -> None:
    known = Known(
        qualifiers=(
            ("age_days", "21", 1),
            ("sex", "female", 1),
            ("pregnant", "yes", 1),
            ("odd", "x", 1),
            ("age_years", "many", 1),
        )
    )
    going = begin()
    going.say("no", known=known)
    assert going.values["age"] == "21 days"
    assert going.values["sex"] == "female"
    assert going.values["pregnant"] == "yes"
    statuses = {a.status for a in going.state.answers if a.slot != "emergency"}
    assert statuses == {"inferred"}


def test_a_finding_answers_the_question_that_names_it() -> None:
    going = until("throat_closing")
    protocol = going.state.protocol
    assert protocol is not None
    asking = tuple(replace(q, finding="fever") if q.id == "fever" else q for q in protocol.questions)
    book = replace(BOOKS["full"], protocols=(replace(protocol, questions=asking), BOOKS["full"].general()))
    for assertion, value in (("denied", "no"), ("present", "yes"), ("uncertain", None)):
        known = Known(findings=(Finding(code="fever", assertion=assertion, text="fever", turn=2),))
        other = at(until("throat_closing"), book=book)
        other.say("no", known=known)
        assert other.values.get("fever") == value
        assert other.asked[-1] == ("fever" if value is None else "worse")


# --- the end


def test_after_the_goodbye_thanks_end_the_call_and_more_is_noted() -> None:
    going = walk("i have a sore throat")
    plan = going.say("thank you bye")
    assert (prompts(plan), plan.ends_call, plan.tool) == (["say.bye"], True, None)
    plan = going.say("oh and i also have a cough")
    assert (prompts(plan), plan.ends_call) == (["say.added"], True)
    assert going.values["added"] == "oh and i also have a cough"
    assert going.say("actually i want to talk to a nurse").nurse is Reason.ASKED_PERSON
    plan = going.say("say that again")
    assert (prompts(plan)[-1], plan.ends_call) == ("goodbye", True)


def test_a_question_after_the_goodbye_is_met_once_with_what_was_said_and_then_with_a_nurse() -> None:
    going = walk("i have a sore throat")
    plan = going.say("when will they call")
    assert prompts(plan) == ["close.24h", "again.sore_throat", "close.number", "goodbye"]
    assert (plan.ends_call, plan.tool) == (True, None)
    assert going.say("and what can i do until then?").nurse is Reason.DISPOSITION


def test_a_booking_asked_for_twice_has_the_same_key() -> None:
    going = until("summary_ok")
    one = take_turn(going.state, "yes", turn=9)[1].tool
    two = take_turn(going.state, "yes right", turn=10)[1].tool
    assert one is not None
    assert one == two


def test_findings_carry_the_words_and_the_turn_they_rest_on() -> None:
    going = walk("i have a sore throat")
    by_slot = {a.slot: a for a in going.plan.findings}
    assert by_slot["location"].text == "twelve mill lane"
    assert 1 < by_slot["location"].turn < by_slot["complaint"].turn
    assert len(by_slot) == len(going.plan.findings)


# --- purity


def test_the_state_is_not_changed_and_the_same_turn_gives_the_same_plan() -> None:
    state = until("age").state
    before = (state.answers, state.pending, state.tries)
    assert take_turn(state, "forty", turn=9) == take_turn(state, "forty", turn=9)
    assert (state.answers, state.pending, state.tries) == before


def test_a_state_from_anywhere_takes_any_turn() -> None:
    for question in ("emergency", "callback_ok", "age", "fever", "summary_ok"):
        for said in ("", "no", "five", "¿qué?", "that's wrong", "x " * 300, "0", "''"):
            plan = at(until(question), tries=2).say(said)
            assert plan.sayings or plan.nurse or plan.hold


def test_a_turn_takes_a_few_milliseconds_at_most() -> None:
    going = until("summary_ok")
    took = []
    for _ in range(5):
        began = time.perf_counter()
        take_turn(
            going.state, "no the number is five five five one two three four and i have been coughing " * 3, turn=9
        )
        took.append(time.perf_counter() - began)
    assert min(took) < 0.02


# --- wording


def test_wording_says_the_number_of_the_region() -> None:
    assert load_wording("uk").lines["close.number"] == "In an emergency, hang up and dial nine nine nine."
    assert "{emergency}" in load_wording("").lines["close.number"]
    with pytest.raises(AssetError, match="region mars"):
        load_wording("mars")
