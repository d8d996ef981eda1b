"""Promise: whether a finding is meant as present is heard from how it is said."""

import pytest

from classifiers import Classifier

PRESENT = [
    # negation ends
    "no cough just a crushing feeling in my chest",
    "no fever but my chest hurts",
    "no fever chest pain for an hour",
    "i don't have a headache i have chest pain",
    "no i have chest pain",
    "no my chest hurts",
    "No. My chest hurts.",
    "not coughing but he can't breathe",
    "no tengo tos pero me duele el pecho",
    "no, me duele el pecho",
    # double negation
    "i can't say i don't have chest pain",
    "i wouldn't say no chest pain",
    "i'm not denying i have chest pain",
    "you couldn't say his face isn't drooping",
    "it's not that i don't have chest pain",
    "there's no way it's not a stroke his face is drooping",
    "nobody could tell me she hasn't swallowed the battery",
    "he can't say his name and can't move his arm",
    "i can't walk to the bathroom without gasping for air",
    # denial after a hint
    "i've thought about killing myself but i'm fine",
    "sometimes i don't want to wake up no forget it i'm ok",
    # the negation belongs to something else
    "the chest pain is not going away",
    "i can't sleep my chest hurts so bad",
    "i've never had chest pain like this",
    "i don't feel well my chest is tight",
    "not sure if it's chest pain or heartburn",
    "i don't want to bother anyone but my chest hurts",
    "nobody is here and my chest hurts",
    # inside the finding
    "he isn't breathing",
    "she won't wake up",
    "i can't feel my legs",
    # past made present
    "i had a heart attack last year and now i have the same chest pain",
    "i had chest pain two years ago and it's back again today",
    "he used to have seizures as a kid and he's having one right now",
    "i had surgery last week and now my chest hurts",
    # gone, but a sign that counts
    "my arm went numb and my speech was slurred for ten minutes but it's gone now",
    "she passed out this morning she's fine now",
    # relatives are patients
    "my father has chest pain",
    "it's my grandmother her face is drooping",
    "i'm calling for my neighbor he can't breathe",
    "mi papá tiene dolor de pecho",
    # asked, but of now
    "what should i do my husband has chest pain",
    "could this be a heart attack",
    "is this a stroke his face is drooping",
    "how would i know if it's a heart attack",
    "my dog bit me and the blood won't stop",
    # supposed, then owned up to
    "what would happen if someone swallowed a battery because my son just did",
    # frightened figures of speech
    "i feel like i'm dying",
    "it's killing me this pain in my chest",
]  # fmt: skip

ABSENT = [
    "no chest pain and no fever",
    "no chest pain no shortness of breath no dizziness",
    "i don't have chest pain or trouble breathing",
    "no chest pain, shortness of breath, or fainting",
    "there was no chest pain at all",
    "i'm not having any chest pain",
    "he denies chest pain",
    "chest pain no",
    "without any chest pain",
    "never had chest pain",
    "i don't think i have chest pain",
    "no tengo dolor de pecho ni falta de aire",
    "sin dolor de pecho",
    "nunca he tenido dolor de pecho",
    "i had chest pain two years ago",
    "i had a stroke in twenty eighteen",
    "he used to have seizures as a child",
    "as a kid i had convulsions",
    "history of heart attack in two thousand and ten",
    "tuve un infarto hace cinco años",
    "if i ever get chest pain what should i do",
    "what are the warning signs of a stroke",
    "how do you know if a baby is dehydrated",
    "can this medicine cause chest pain",
    "is chest pain a side effect",
    "what if he has a seizure at school",
    "cuáles son los síntomas de un infarto",
    "heart attacks run in my family",
    "my father died of a heart attack",
    "my neighbor had a stroke last month",
    "i read an article about overdoses",
    "i'm writing a paper on suicide",
    "mi abuelo murió de un derrame",
    "the wait is killing me",
    "i nearly had a heart attack when i saw the price",
    "my phone died",
    "i'm dying of boredom",
    "i've got an appointment at the stroke clinic",
    "can you transfer me to the chest clinic",
    "doctor payne's office please",
    "i need to change my emergency contact",
    "i've had this same chest pain for years nothing new",
    "my last name is B-L-O-O-D-S-O-E",
    "the form asks about chest pain and fainting, I ticked no",
    "i was choking with laughter when he said that",
    "i thought he'd swallowed a coin but here it is under the bed",
    "i had meningitis at nineteen and i need a hearing test",
    "he had a seizure when he was small, none since, he needs his camp form",
    "i'd like a volunteer form for the suicide prevention walk",
    "my niece's friend killed herself last year and i need grief counselling",
]  # fmt: skip


@pytest.mark.parametrize("words", PRESENT)
def test_meant_as_present(classifier: Classifier, words: str) -> None:
    assert classifier.begin().assess(words).urgent


@pytest.mark.parametrize("words", ABSENT)
def test_not_meant_as_present(classifier: Classifier, words: str) -> None:
    verdict = classifier.begin().assess(words)
    assert not verdict.urgent, verdict.rule


def test_a_denied_finding_is_kept_as_denied(classifier: Classifier) -> None:
    judge = classifier.begin()
    judge.assess("no chest pain", turn=3)
    (finding,) = [f for f in judge.known.findings if f.code == "chest_pain"]
    assert (finding.assertion, finding.text, finding.turn) == ("denied", "chest pain", 3)


def test_a_supposed_finding_is_kept_as_uncertain(classifier: Classifier) -> None:
    judge = classifier.begin()
    judge.assess("what if i get chest pain")
    assert ("chest_pain", "uncertain") in {(f.code, f.assertion) for f in judge.known.findings}


def test_what_is_supposed_again_and_again_is_taken_for_present(classifier: Classifier) -> None:
    judge = classifier.begin()
    words = ["what are the signs of a stroke", "how to recognize a stroke", "and if i get a stroke"]
    verdicts = [judge.assess(w, turn=n) for n, w in enumerate(words, 1)]
    assert [v.urgent for v in verdicts] == [False, False, True]
    assert verdicts[-1].rule == "again:stroke_sign"


ANSWERS = [
    ("Do you have any chest pain?", "yes", True),
    ("Do you have any chest pain?", "yeah", True),
    ("Do you have any chest pain?", "a bit", True),
    ("Do you have any chest pain?", "a little when i walk", True),
    ("Do you have any chest pain?", "i do", True),
    ("Do you have any chest pain?", "i think so", True),
    ("Do you have any chest pain?", "no yeah", True),
    ("Do you have any chest pain?", "no well maybe a little", True),
    ("Do you have any chest pain?", "not really but sometimes", True),
    ("Do you have any chest pain?", "no", False),
    ("Do you have any chest pain?", "no not at all", False),
    ("Do you have any chest pain?", "yeah no", False),
    ("Do you have any chest pain?", "nope", False),
    ("Do you have any chest pain?", "not that i know of", False),
    ("Do you have any chest pain?", "i am calling about my knee", False),
    ("Do you have any chest pain?", "what do you mean", False),
    ("Do you have chest pain, fever or a cough?", "yes a cough", False),
    ("Do you have chest pain, fever or a cough?", "yes", True),
    ("Is he breathing?", "no", True),
    ("Is he breathing?", "yes", False),
    ("Is she awake and responding?", "no she isn't", True),
    ("Can you feel your legs?", "no", True),
    ("Are you safe?", "no", True),
    ("Are you safe?", "yes", False),
    ("Has the baby had a wet diaper today?", "no", True),
    ("Does the rash fade when you press it?", "no it stays", True),
    ("Is this an emergency?", "yes", True),
    ("Is this an emergency?", "no", False),
    ("If this is an emergency, hang up and dial 911. How can I help?", "yes i need a form", False),
    ("What is your name?", "yes", False),
    ("Do you have any chest pain?", "yes years ago", False),
    ("Is there any swelling of your lips or tongue?", "my bottom lip, yeah", True),
    ("Is he breathing any faster than usual?", "no", False),
    ("Is he breathing any faster than usual?", "a fair bit", True),
    ("Has the shaking stopped?", "no, worse", True),
    ("Has the shaking stopped?", "yes it has", False),
    ("Is the inhaler helping?", "not any more", True),
    ("Is the inhaler helping?", "yes", False),
    ("Have you had thoughts of killing yourself?", "do i have to answer that", True),
    ("Have you had thoughts of killing yourself?", "no", False),
    ("Have you taken anything for the headache?", "yes, ibuprofen", False),
    ("Have you eaten anything today?", "yes some toast", False),
    ("Do you remember what it was called?", "no", False),
    ("Has he been sick since the fall?", "twice", True),
    ("¿Tiene dolor de pecho?", "sí", True),
    ("¿Tiene dolor de pecho?", "un poquito", True),
    ("¿Tiene dolor de pecho?", "no", False),
    ("", "yes", False),
]  # fmt: skip


@pytest.mark.parametrize(("question", "words", "urgent"), ANSWERS)
def test_a_short_answer_means_what_the_question_asked(
    classifier: Classifier, question: str, words: str, urgent: bool
) -> None:
    verdict = classifier.begin().assess(words, question=question)
    assert verdict.urgent is urgent, verdict.rule


@pytest.mark.parametrize(
    ("harmless", "danger"),
    [
        ("I know I said chest pain, I meant the chest freezer.", "I said I was fine, I meant I have chest pain."),
        ("He was turning blue, he'd been at the popsicles.", "He is turning blue, it isn't the popsicles."),
        ("We're at the Coma Bar on Fifth.", "We're at the bar and he's in a coma."),
        ("Is that the seizure and sleep center", "he's having a seizure outside the sleep center"),
        ("I choked on a bone once, they took it out, years back.", "I'm choking on a bone, they can't get it out."),
        (
            "I had a stroke and my hand's been weak ever since, no change.",
            "I had a stroke and my hand's weak again today.",
        ),
    ],
)
def test_what_is_taken_back_explained_settled_or_named_is_no_danger(
    classifier: Classifier, harmless: str, danger: str
) -> None:
    assert not classifier.begin().assess(harmless).urgent
    assert classifier.begin().assess(danger).urgent


def test_a_text_that_writes_every_word_with_a_capital_names_nobody(classifier: Classifier) -> None:
    assert classifier.begin().assess("He Had A Seizure And He Is Not Waking Up").urgent
    assert classifier.begin().assess("Please send an Ambulance to the Park").urgent
