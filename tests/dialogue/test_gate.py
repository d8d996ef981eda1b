"""Nothing reaches the voice that names or rules out an illness, calms, doses, treats, promises or pretends."""

import pytest

from triage.clips import ClipLibrary
from triage.dialogue.gate import LONGEST_WORDS, Gate, refusal
from triage.dialogue.wording import spoken_lines
from triage.ports import Saying

MUST_NOT: dict[str, list[str]] = {
    "diagnosis": [
        "You have the flu.", "It sounds like a migraine.", "This could be a heart attack.", "You may have strep.",
        "That is probably a virus.",
        "You don't have pneumonia.", "We can rule out a stroke.", "These are symptoms of an infection.",
        "It's a cold.", "You are having a panic attack.",
        "Your son has chickenpox or maybe an allergy.", "It looks like an allergic reaction to me.",
        "That's not a stroke.", "There is no sign of infection.",
    ],
    "reassurance": [
        "Don't worry.", "You'll be fine.", "That is normal.", "It's nothing serious.", "That's perfectly okay.",
        "It's just a cough.", "This is not dangerous.",
        "It will pass.", "It sounds fine.", "That is very common.", "A mild fever like that.", "There is no danger.",
        "She will be okay.",
        "It's only a scratch.", "This can wait.", "There is nothing to worry about.", "This is harmless.",
        "I am sure it is all right.",
    ],
    "dose": [
        "Two tablets every six hours.", "That is 400 mg.", "500mg is the usual amount.",
        "One puff, then another puff.", "Use five milliliters.",
        "Twice a day with food.", "Ten milligrams per kilo.", "Every four to six hours.",
    ],
    "treatment": [
        "Take an aspirin.", "You should drink plenty of water.", "Stop taking your medicine.", "Try some ibuprofen.",
        "I recommend rest.",
        "Put ice on it.", "You could use your inhaler.", "Gargle with salt water.", "Drive to the hospital.",
        "Give him paracetamol.",
        "You need to lie down.", "Please eat something.", "Keep her warm.", "Warm compresses and bed rest work.",
    ],
    "promise": [
        "Help is on the way.", "An ambulance has been sent.", "A nurse will be there in five minutes.",
        "The doctor is coming.", "I have called an ambulance.",
        "I promise.", "The paramedics will arrive soon.", "A nurse will call you back within ten minutes.",
        "I have booked a call for you.",
    ],
    "human": [
        "I am a nurse.", "I'm not a robot.", "As a doctor, I know this.", "This is nurse Amy speaking.",
        "I am a real person.", "In my experience that goes well.",
        "You are speaking with a human.", "I'm a trained medical professional.",
    ],
    "self_harm": [
        "You said you would cut your wrists.", "Are you going to take the pills, jump off the bridge?",
        "Do you have the gun there?", "So you want to hang yourself.",
    ],
    "waiting": ["Stay on the line.", "Wait until tomorrow.", "Let us see how it goes.", "Call back later.",
    "There is no need to call anyone."],
    "markup": ["**Where** are you?", "See https://example.org please.", "<speak>Hello</speak>"],
    "empty": ["", "...", " "],
}  # fmt: skip
MAY: list[str] = [
    "Where is the patient right now?", "And how old is your daughter?", "Could you tell me when it started?",
    "Thank you. When did the pain begin?",
    "I am sorry you are going through this.", "Is there any trouble breathing?",
    "Have you noticed a fever, or chills?",
    "Does the pain go into the arm, the neck or the jaw?", "I have five five five, one two three. Is that right?",
    "A nurse will talk to you.",
    "I am an automated assistant.", "Take your time.", "Can you say the number again, slowly?",
    "Is anyone there with you?",
    "Which medicine does he take every day?", "Are there any allergies, for example to penicillin?",
    "What was the highest temperature?",
    "Do you have a long-term illness, such as diabetes or asthma?", "Has she been able to drink today?",
    "I did not catch that.",
    "You said since yesterday, did I get that right?", "How far along is the pregnancy?",
    "Let me connect you with a nurse.",
    "In an emergency, hang up and dial nine one one.", "Did the fall hurt the head or the neck?",
    "You said it started two days ago.",
]  # fmt: skip


@pytest.mark.parametrize(("why", "sentence"), [(why, s) for why, many in MUST_NOT.items() for s in many])
def test_must_not_be_said(why: str, sentence: str) -> None:
    assert refusal(sentence) is not None, f"{why}: {sentence}"


@pytest.mark.parametrize("why", MUST_NOT)
def test_each_kind_is_refused_for_its_own_reason(why: str) -> None:
    assert why in {refusal(sentence) for sentence in MUST_NOT[why]}


@pytest.mark.parametrize("sentence", MAY)
def test_may_be_said(sentence: str) -> None:
    assert refusal(sentence) is None


def test_a_sentence_without_end_is_refused() -> None:
    assert refusal("and then " * LONGEST_WORDS) == "too_long"


def test_typography_is_no_way_around() -> None:
    assert refusal("You’ll be fine.") == "reassurance"
    assert refusal("DON’T   WORRY") == "reassurance"


def test_our_own_wording_holds_to_the_same_rules() -> None:
    library = ClipLibrary.load()
    refused = {}
    for prompt in sorted(library.ids):
        if (why := refusal(library.clip(prompt).text)) is not None:
            refused[prompt] = why
    # The one promise we make, and only after the booking stands.
    assert refused == {"close.1h": "promise", "close.4h": "promise", "close.24h": "promise"}
    assert len(spoken_lines()) > 80


def test_fixed_wording_passes_by_id_and_only_to_the_letter() -> None:
    gate = Gate({"close.24h": "I have booked a nurse."})
    assert gate.refusal(Saying("I have booked a nurse.", "close.24h")) is None
    assert gate.refusal(Saying("I have booked a doctor.", "close.24h")) == "not_the_fixed_wording"
    assert gate.refusal(Saying("Where are you?", "no.such.prompt")) == "not_the_fixed_wording"
    assert gate.refusal(Saying("Where are you?")) is None
    assert gate.refusal(Saying("You have the flu.")) == "diagnosis"
