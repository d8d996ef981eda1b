"""Promise: a classifier judges every final, never raises, and hands a call over when its rules break."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import Assessment, Category, Classifier, Finding, Known, Level
from classifiers.judge import DEADLINE_US, SCORES, THRESHOLD, load
from classifiers.layers import Opinion
from classifiers.rule_call import Candidate, RuleCall
from classifiers.tokens import Token

SHARED = load()


class Hunch:
    """A layer that always says the same."""

    id = "hunch"
    version = "7"

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.known: list[Known] = []

    def judge(self, text: str, *, question: str, known: Known) -> Opinion | None:
        self.known.append(known)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]  # a layer may answer nonsense


def with_layer(answer: object) -> Classifier:
    return Classifier(SHARED.rules, (Hunch(answer),))


HUNCH = Opinion(level=Level.NURSE_NOW, category=Category.SEPSIS, score=0.8, rule="model:1")


def test_a_plain_red_flag_is_heard(classifier: Classifier) -> None:
    verdict = classifier.begin().assess("i have chest pain")
    assert (verdict.level, verdict.category, verdict.clip) == (Level.NURSE_NOW, Category.CHEST, "connecting_nurse")
    assert [e.text for e in verdict.evidence] == ["chest pain"]
    assert verdict.rule == "flag:chest_pain"
    assert verdict.score >= THRESHOLD
    assert dict(verdict.versions)["rules"]


def test_evidence_is_cut_from_the_final_as_given(classifier: Classifier) -> None:
    text = "Mamá… ¡NO   RESPIRA!, ayúdeme"
    (evidence,) = classifier.begin().assess(text).evidence
    assert text[evidence.start : evidence.end] == evidence.text == "NO   RESPIRA"


def test_an_ordinary_final_has_no_category_and_no_clip(classifier: Classifier) -> None:
    verdict = classifier.begin().assess("i need to change my appointment")
    assert (verdict.level, verdict.category, verdict.clip, verdict.rank) == (Level.ROUTINE, Category.NONE, "", 0)
    assert verdict.score < THRESHOLD


@pytest.mark.parametrize(
    ("words", "category", "clip"),
    [
        ("he is not breathing", Category.BREATHING, "emergency_first"),
        ("i don't want to live anymore", Category.SELF_HARM, "crisis_line"),
        ("my toddler drank some bleach", Category.POISONING, "poison_control"),
        ("he's in the next room i can't talk", Category.VIOLENCE, "nurse_will_talk"),
        ("she has a knife", Category.VIOLENCE, "nurse_will_talk"),
        ("one side of her face is drooping", Category.STROKE, "connecting_nurse"),
    ],
)
def test_level_and_category_choose_the_clip(classifier: Classifier, words: str, category: Category, clip: str) -> None:
    verdict = classifier.begin().assess(words)
    assert (verdict.category, verdict.clip) == (category, clip)


def test_emergencies_outrank_everything_and_a_broken_classifier_is_outranked_by_everything() -> None:
    rows = SHARED.rules.categories
    real = [SHARED.verdict(level, category, 0.9, "x").rank
            for level in (Level.EMERGENCY_NOW, Level.NURSE_NOW)
            for category in rows if category not in (Category.NONE, Category.CLASSIFIER_FAILED)]  # fmt: skip
    emergencies, nurses = real[: len(real) // 2], real[len(real) // 2 :]
    assert min(emergencies) > max(nurses)
    assert 0 < SHARED.failed().rank < min(nurses)


def test_two_hundred_failing_calls_and_one_real_one_the_real_one_rings_first() -> None:
    waiting = [SHARED.failed() for _ in range(200)]
    waiting.insert(117, SHARED.begin().assess("my testicle hurts so bad"))
    first = max(waiting, key=lambda a: a.rank)
    assert first.category is Category.TESTICLE


# --- a part that breaks


class Broken(RuleCall):
    def judge(self, text: str, question: str, turn: int) -> tuple[list[Candidate], tuple[Token, ...]]:
        raise ZeroDivisionError


@pytest.fixture
def broken_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classifiers.judge.RuleCall", Broken)


@pytest.mark.usefixtures("broken_rules")
def test_broken_rules_hand_the_call_over() -> None:
    sick = Classifier(SHARED.rules)
    verdict = sick.begin().assess("hello")
    assert (verdict.level, verdict.category) == (Level.NURSE_NOW, Category.CLASSIFIER_FAILED)
    assert verdict.clip == "nurse_will_talk"
    assert sick.failures == 1


@pytest.mark.usefixtures("broken_rules")
def test_a_layer_that_lives_is_heard_though_the_rules_are_broken() -> None:
    assert with_layer(HUNCH).begin().assess("hello").category is Category.SEPSIS


class Nonsense(RuleCall):
    def judge(self, text: str, question: str, turn: int) -> tuple[list[Candidate], tuple[Token, ...]]:
        real = super().judge(text, question, turn)
        return [*real[0], Candidate(Level.NURSE_NOW, Category.CHEST, "x", (500, 501))], real[1]


@pytest.fixture
def nonsense_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classifiers.judge.RuleCall", Nonsense)


@pytest.mark.usefixtures("nonsense_rules")
def test_rules_that_return_nonsense_silence_neither_a_layer_nor_what_they_found_before() -> None:
    sick = with_layer(HUNCH)
    assert sick.begin().assess("hello").category is Category.SEPSIS
    assert sick.failures == 1
    assert sick.begin().assess("he is not breathing").level is Level.EMERGENCY_NOW
    assert Classifier(SHARED.rules).begin().assess("hello").category is Category.CLASSIFIER_FAILED


def test_an_opinion_that_a_nurse_should_ring_soon_is_kept_and_interrupts_nothing() -> None:
    soon = Opinion(level=Level.NURSE_SOON, category=Category.CHEST, score=0.4, rule="model:soon")
    verdict = with_layer(soon).begin().assess("i need a refill")
    assert (verdict.level, verdict.score, verdict.rule) == (Level.NURSE_SOON, 0.4, "model:soon")
    assert (verdict.urgent, verdict.clip, verdict.rank) == (False, "", 0)


def test_a_final_that_is_no_text_hands_the_call_over() -> None:
    verdict = SHARED.begin().assess(None)  # type: ignore[arg-type]  # no text is the test
    assert verdict.category is Category.CLASSIFIER_FAILED


def test_a_layer_may_raise_the_level() -> None:
    verdict = with_layer(HUNCH).begin().assess("i feel a bit odd")
    assert (verdict.level, verdict.category, verdict.rule) == (Level.NURSE_NOW, Category.SEPSIS, "model:1")
    assert ("hunch", "7") in verdict.versions


def test_a_layer_may_raise_to_the_emergency_number() -> None:
    first = dataclasses.replace(HUNCH, level=Level.EMERGENCY_NOW, category=Category.BREATHING)
    assert with_layer(first).begin().assess("i have chest pain").clip == "emergency_first"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        Opinion(level=Level.ROUTINE, category=Category.NONE, score=0.0, rule="model:1"),
        ValueError("down"),
        "nonsense",
        42,
    ],
)
def test_no_layer_can_lower_what_the_rules_say(answer: object) -> None:
    classifier = with_layer(answer)
    verdict = classifier.begin().assess("i have chest pain")
    assert (verdict.level, verdict.category) == (Level.NURSE_NOW, Category.CHEST)
    assert classifier.failures == 0


@pytest.mark.parametrize("answer", [ValueError("down"), "nonsense", 42])
def test_a_layer_that_breaks_is_counted_and_sends_nobody_to_the_nurses(answer: object) -> None:
    classifier = with_layer(answer)
    assert not classifier.begin().assess("i need a refill").urgent
    assert classifier.layer_faults == {"hunch": 1}


def test_an_opinion_that_makes_no_sense_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="score"):
        Opinion(level=Level.ROUTINE, category=Category.NONE, score=1.5, rule="")
    with pytest.raises(ValueError, match="category"):
        Opinion(level=Level.NURSE_NOW, category=Category.NONE, score=0.9, rule="")


def test_a_layer_sees_what_the_call_knows() -> None:
    hunch = Hunch(None)
    judge = Classifier(SHARED.rules, (hunch,)).begin()
    judge.assess("i take warfarin", turn=4)
    assert ("blood_thinner", "yes", 4) in hunch.known[-1].qualifiers


def test_a_slow_verdict_is_counted() -> None:
    ticks = iter([0.0, DEADLINE_US / 1e6 * 2, 1.0, 1.0])
    classifier = Classifier(SHARED.rules, clock=lambda: next(ticks))
    judge = classifier.begin()
    judge.assess("hello")
    assert (classifier.overruns, judge.latency_us) == (1, 2 * DEADLINE_US)
    judge.assess("hello")
    assert classifier.overruns == 1


# --- properties


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=200), question=st.text(max_size=80))
def test_any_text_gets_a_verdict_and_evidence_from_that_text(text: str, question: str) -> None:
    verdict = SHARED.begin().assess(text, question=question)
    assert isinstance(verdict, Assessment)
    assert verdict.category is not Category.CLASSIFIER_FAILED
    assert all(text[e.start : e.end] == e.text for e in verdict.evidence)


WORDS = st.sampled_from(
    [
        "i",
        "he",
        "my",
        "no",
        "not",
        "chest",
        "pain",
        "and",
        "but",
        "head",
        "hit",
        "blood",
        "he's",
        "can't",
        "breathe",
        "the",
        "of",
        "fever",
        "three",
        "weeks",
        "old",
        "warfarin",
        "took",
        "pills",
        "stroke",
        "last",
        "year",
        "if",
        "call",
        "me",
        "duele",
        "el",
        "pecho",
        "no",
        "respira",
        "yes",
        "what",
        "is",
        "two",
        "hundred",
        "and",
        "one",
        "sugar",
    ]
)


@settings(max_examples=100, deadline=None)
@given(finals=st.lists(st.lists(WORDS, max_size=12).map(" ".join), max_size=4))
def test_the_same_call_is_judged_the_same_twice(finals: list[str]) -> None:
    one, other = SHARED.begin(), SHARED.begin()
    assert [one.assess(t) for t in finals] == [other.assess(t) for t in finals]
    assert one.known == other.known


def test_all_scores_are_on_their_side_of_the_threshold() -> None:
    assert all((score >= THRESHOLD) == level.urgent for level, score in SCORES.items())


def test_a_very_long_final_is_judged_to_its_end(classifier: Classifier) -> None:
    story = "and then we went to the shop to buy some bread "
    assert not classifier.begin().assess(story * 200).urgent
    verdict = classifier.begin().assess(story * 200 + "and he is not breathing")
    assert verdict.level is Level.EMERGENCY_NOW
    assert verdict.evidence[0].text == "not breathing"


@pytest.mark.parametrize("filler", range(100, 200, 7))
def test_a_window_edge_loses_no_finding(classifier: Classifier, filler: int) -> None:
    words = "bread " + "butter cheese " * (filler // 2) + "i have a crushing pain in my chest " + "tea milk " * 60
    assert classifier.begin().assess(words).urgent


def known_by(call: RuleCall, name: str) -> RuleCall:
    """The call with one more fact, whatever kind of fact the name is of."""
    call.findings[name, "present"] = Finding(code=name, assertion="present", text="", turn=1)
    call.qualifiers[name] = ("20", 1)
    return call


def test_no_combination_that_holds_is_passed_over() -> None:
    rules = SHARED.rules
    conditions = {c for combination in rules.combinations for group in combination.needs for c in group}
    names = {c.name for c in conditions} | {name for name, _ in rules.qualifiers.values()} | set(rules.flags)
    for name in sorted(names | {m.name for m in rules.measures.values()}):
        call = known_by(RuleCall(rules), name)
        assert {c.name for c in conditions if call.holds(c)} <= call.facts(), name
    for combination in rules.combinations:
        for condition in combination.needs[0]:
            assert combination in list(rules.begun_by({condition.name}))
