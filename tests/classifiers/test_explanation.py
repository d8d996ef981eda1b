"""Promise: a person is shown why, layer by layer, and nothing that a terminal would obey."""

from classifiers import Classifier, load
from classifiers.explanation import explain, shown

WHOLE = load()


def test_a_verdict_is_told_with_its_rule_its_source_and_its_words(classifier: Classifier) -> None:
    told = explain(classifier, "no cough just a crushing feeling in my chest")
    for words in (
        "nurse_now",
        "flag:chest_pain",
        "[crushing feeling]",
        "source",
        "approved",
        "version",
        "cough: denied",
    ):
        assert words in told
    assert "none fired" in explain(classifier, "hello")


def test_it_says_whether_the_emergency_number_comes_first(classifier: Classifier) -> None:
    first, second = (
        explain(classifier, words).splitlines()[0] for words in ("he is not breathing", "i have chest pain")
    )
    assert "emergency_now" in first and "the emergency number first" in first
    assert "nurse_now  (a nurse now)" in second and "number" not in second


def test_every_layer_says_what_it_heard() -> None:
    told = explain(WHOLE, "yes a bit", "Do you have any chest pain?")
    assert "nurse_now chest by answer:chest_pain: yes" in told
    assert "model      " in told
    assert "the question, answered yes" in told


def test_negation_shows_in_the_features_of_the_model() -> None:
    assert "(negated)" in explain(WHOLE, "no chest pain at all and no fever")


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    told = explain(WHOLE, "\x1b[31mmy chest\x07 hurts\r\n\u202e now", "\x1b]0;x\x07 Any chest pain?")
    assert "chest" in told
    assert all(line.isprintable() for line in told.split("\n"))
    assert shown("a\tb\x1b") == "a b\N{REPLACEMENT CHARACTER}"


def test_no_words_at_all_are_told_of_too() -> None:
    told = explain(WHOLE, "")
    assert told.splitlines()[0].split() == ["level", "routine"]
    assert "nothing to raise" in told
