"""A request about the call itself is understood as one, and an answer is never taken for one."""

import pytest

from triage.dialogue.reading import Intent, correction_of, foreign, intent_of, without_particle

SAID: dict[Intent | None, list[str]] = {
    Intent.PERSON: [
        "nurse", "Nurse, please!", "i want to speak to a nurse", "can i talk to a real person", "get me a human",
        "let me talk to somebody",
        "a person please", "can i have a nurse", "put me through to a nurse", "i'd like to talk to someone please",
        "no i want a nurse",
        "talk to a nurse about my throat",
    ],
    Intent.NO_MACHINE: ["i don't want to talk to a machine", "i'm not talking to a robot", "no robots",
    "i don't want a robot"],
    Intent.NO_RECORD: [
        "i don't want this recorded", "please don't record me", "don't write this down",
        "i do not want to be recorded", "stop recording",
    ],
    Intent.NO_ENGLISH: ["no hablo inglés", "habla español", "i don't speak english"],
    Intent.CHILD: ["my mommy won't get up", "my daddy is asleep"],
    Intent.REPEAT: [
        "say that again", "sorry?", "pardon", "what did you say", "i didn't catch that", "i can't hear you", "what?",
        "could you repeat that please",
    ],
    Intent.HOLD: ["hold on", "wait a second", "one moment", "just a minute please", "hang on let me look",
    "okay hold on a second", "wait i need to get my glasses", "hold on let me ask her"],
    Intent.WHO_ARE_YOU: ["are you a real person?", "am i talking to a robot", "who is this"],
    Intent.THANKS: ["thank you, bye", "okay thanks", "no that's all"],
    None: [
        "a nurse told me to call", "i need to see a doctor about my throat", "my mom is a nurse",
        "i want someone to check my throat",
        "i have somebody with me", "about a minute ago", "a moment ago", "the doctor said to wait",
        "i can't hear on my left ear",
        "i don't have my medical record", "i don't have the cpap machine", "no records of that",
        "i'm calling for someone",
        "wait no it's forty", "wait i have a rash", "hold on my chest hurts",
        "one moment i was standing and then i fell", "my daughter needs someone to look at her",
        "yes i have a fever", "sorry to bother you i have a rash",
        "five five five one two three four", "no", "me",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("said", "intent"), [(said, intent) for intent, many in SAID.items() for said in many])
def test_requests_about_the_call(said: str, intent: Intent | None) -> None:
    found = intent_of(said)
    if intent is None:
        assert found in (None, Intent.THANKS)
        assert found is None or len(said.split()) == 1
    else:
        assert found is intent


def test_spanish_is_noticed_and_english_is_not() -> None:
    assert foreign("me duele mucho el pecho por favor")
    assert foreign("tengo fiebre desde ayer")
    assert not foreign("no")
    assert not foreign("no me please i have pain")
    assert not foreign("the fever is high")


def test_a_no_that_answers_the_question_denies_nothing_after_it() -> None:
    assert without_particle("No, my throat hurts") == "my throat hurts"
    assert without_particle("no i have a rash") == "i have a rash"
    assert without_particle("no fever") == "no fever"


@pytest.mark.parametrize(
    ("said", "rest", "plainly"),
    [
        ("no i said forty", "forty", True), ("that's wrong", "", True), ("i meant my daughter", "my daughter", True),
        ("no it's fifteen", "fifteen", False), ("actually it's five", "five", True), ("sorry she's six", "six",
        False),
    ],
)  # fmt: skip
def test_corrections(said: str, rest: str, plainly: bool) -> None:
    found = correction_of(said)
    assert found is not None
    assert (found.rest, found.plainly) == (rest, plainly)


@pytest.mark.parametrize("said", ["no", "forty", "it started on monday", "yes"])
def test_what_corrects_nothing(said: str) -> None:
    assert correction_of(said) is None
