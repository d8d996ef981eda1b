"""Everyday words that only resemble a danger send nobody to a nurse, and a danger gets its own category."""

import pytest

import classifiers
from classifiers import Level

HARMLESS = (
    "thick yellow stuff i don't have a fever",
    "I keep needing to go every half hour and it stings when I pee",
    "her ear hurts but nothing comes out of her ear",
    "nothing came out when I squeezed the spot",
    "I've got a cold sore tingling on my lip",
    "my period's a few days late and I have mild cramps",
    "a bit of clear fluid coming out of his ear",
    "I don't get out of breath on the stairs",
    "my nose runs like a tap every spring",
    "my brother got the same cough and they switched him to something else",
)
OWN_CATEGORY = (
    ("he fell off a ladder onto his back and he can't move his legs", "injury spine"),
    ("my belly's swollen up like a drum and I've been vomiting green", "abdomen"),
    ("the dog bit my kid's face and it's hanging open", "injury"),
    ("I can't pee and my legs are weak with the back pain", "spine"),
    ("my son woke up screaming with pain in one of his balls", "testicle"),
    ("I got a bee sting and now I have hives all over and my lips are puffing up", "anaphylaxis"),
    ("he ate peanuts and now his face is blowing up and he's wheezing", "anaphylaxis"),
)
STILL_URGENT = (
    "he's yelled at and poked and he will not wake up",
    "she opens her mouth to talk and nothing comes out",
    "I found my mother lying on the floor and she can't get up",
    "it's like somebody's squeezing me inside my chest",
    "my daughter has been cutting again",
    "he hit his head and there's clear fluid coming out of his ear",
    "my lips aren't swollen but I can't breathe after the bee sting",
    "I'm thirty weeks and the baby has stopped moving",
    "I'm thirty weeks and there's a bit of fluid leaking",
    "please help my mom is down on the floor",
    "she's lying on the floor please help",
    "a bit of black tarry stuff came out when I went",
)


@pytest.fixture(scope="module")
def classifier() -> classifiers.Classifier:
    return classifiers.load()


@pytest.mark.parametrize("said", HARMLESS)
def test_everyday_words_send_nobody_to_a_nurse(classifier: classifiers.Classifier, said: str) -> None:
    assert not classifier.begin().assess(said, question="", turn=0).urgent


@pytest.mark.parametrize(("said", "categories"), OWN_CATEGORY)
def test_a_danger_gets_the_category_of_its_cause(
    classifier: classifiers.Classifier, said: str, categories: str
) -> None:
    heard = classifier.begin().assess(said, question="", turn=0)
    assert heard.urgent and heard.category.value in categories.split()


@pytest.mark.parametrize("said", STILL_URGENT)
def test_the_danger_that_these_words_resemble_is_still_heard(classifier: classifiers.Classifier, said: str) -> None:
    assert classifier.begin().assess(said, question="", turn=0).urgent


def test_one_pulled_from_water_who_does_not_move_is_an_emergency(classifier: classifiers.Classifier) -> None:
    heard = classifier.begin().assess("my son was pulled out of the pool and isn't moving", question="", turn=0)
    assert heard.level is Level.EMERGENCY_NOW
