"""Promise: 500 ms of silence is the backstop, not the rule; what was said decides how long we wait for more."""

import pytest

from triage.stages.endpointing import (
    COMPLETE_MS,
    DICTATED_MS,
    HESITATING_MS,
    USUAL,
    Silences,
    silence_needed_ms,
)


@pytest.mark.parametrize(
    "partial",
    ["", "i slipped on the wet stairs", "my knee is swollen", "he seems confused", "they will not wake her"],
)
def test_a_finished_sentence_gets_the_backstop(partial: str) -> None:
    assert silence_needed_ms(partial) == USUAL.backstop_ms == 500


@pytest.mark.parametrize(
    "partial",
    [
        "i slipped on the wet stairs and",
        "it hurts but",
        "i think it is in my",
        "it is because",
        "the pain goes to the",
        "I was out with",
        "we drove there so",
    ],
)
def test_a_sentence_that_cannot_end_here_gets_more_time(partial: str) -> None:
    assert silence_needed_ms(partial) == USUAL.unfinished_ms == 1000


@pytest.mark.parametrize(
    "partial",
    [
        "i would say so",
        "well i think so",
        "yes it is i guess so",
        "it hurts when i breathe in",
        "maybe not",
        "my arm hurts too",
        "i said no",
    ],
)
def test_endings_that_only_look_unfinished_do_not(partial: str) -> None:
    assert silence_needed_ms(partial) == USUAL.backstop_ms


@pytest.mark.parametrize("partial", ["um", "it was um", "so let me see", "about a week hold on"])
def test_hesitation_gets_the_longest_wait(partial: str) -> None:
    assert silence_needed_ms(partial, question="When did that begin?") == HESITATING_MS > USUAL.unfinished_ms


@pytest.mark.parametrize("partial", ["yes", "No.", "Yeah", "no no", "yes it is", "no I don't", "not really"])
@pytest.mark.parametrize("question", ["Is it bleeding?", "All right. Do you feel dizzy?", "And have you got a rash?"])
def test_yes_or_no_to_such_a_question_is_answered_quickly(partial: str, question: str) -> None:
    assert silence_needed_ms(partial, question=question) == COMPLETE_MS == 300


def test_the_phase_alone_tells_that_yes_or_no_was_asked_for() -> None:
    assert silence_needed_ms("no", phase="yes_no") == COMPLETE_MS
    assert silence_needed_ms("about myself", question="For you, or for another?", phase="yes_no") == USUAL.short_ms


@pytest.mark.parametrize(("partial", "question"), [("yes", ""), ("yes", "Where does it hurt?")])
def test_yes_out_of_place_gets_the_backstop(partial: str, question: str) -> None:
    assert silence_needed_ms(partial, question=question) == USUAL.backstop_ms


@pytest.mark.parametrize(
    "partial",
    ["no my breathing is normal", "yes since about an hour ago", "no i have no rash", "i'm calling for my wife"],
)
def test_a_short_answer_to_such_a_question_is_answered_quickly(partial: str) -> None:
    assert silence_needed_ms(partial, question="Is there a rash?", phase="yes_no") == USUAL.short_ms


@pytest.mark.parametrize("partial", ["no i have", "no i do not take any", "no there is no", "yes but some"])
def test_a_short_answer_in_the_making_is_waited_for(partial: str) -> None:
    assert silence_needed_ms(partial, question="Is there a rash?", phase="yes_no") == USUAL.unfinished_ms


def test_a_story_that_begins_with_yes_gets_the_backstop() -> None:
    story = "yes it was at my sister's place where they have a very old dog"
    assert silence_needed_ms(story, question="Is there a rash?", phase="yes_no") == USUAL.backstop_ms


@pytest.mark.parametrize("partial", ["yes and", "no but", "yes my", "no i took the"])
def test_yes_and_something_begun_is_no_complete_answer(partial: str) -> None:
    assert silence_needed_ms(partial, question="Is it bleeding?") == USUAL.unfinished_ms


@pytest.mark.parametrize("partial", ["for two weeks", "three days ago", "seven out of ten", "since yesterday"])
def test_a_measure_that_was_asked_for_is_answered_quickly(partial: str) -> None:
    assert silence_needed_ms(partial, question="Since when?") == USUAL.short_ms == 350
    assert silence_needed_ms(partial) == USUAL.backstop_ms


@pytest.mark.parametrize(
    ("partial", "needed"),
    [
        ("i am forty", USUAL.unfinished_ms),
        ("i am forty six", USUAL.backstop_ms),
        ("one hundred", USUAL.unfinished_ms),
        ("one hundred and", USUAL.unfinished_ms),
        ("one hundred and four", USUAL.backstop_ms),
        ("a hundred point", USUAL.unfinished_ms),
        ("i took three", USUAL.unfinished_ms),
        ("the left one", USUAL.backstop_ms),
    ],
)
def test_a_number_in_progress_gets_more_time(partial: str, needed: int) -> None:
    assert silence_needed_ms(partial) == needed


def test_a_bare_number_is_a_whole_answer_to_an_open_question() -> None:
    assert silence_needed_ms("forty", question="How many did you take?") == USUAL.backstop_ms


@pytest.mark.parametrize(
    ("partial", "needed"),
    [
        ("five five five", USUAL.dictation_ms),
        ("five five five oh one two", USUAL.dictation_ms),
        ("five five five oh one two three", DICTATED_MS),
        ("555 0123", DICTATED_MS),
        ("it is double five five oh one two three", DICTATED_MS),
        ("forty six", USUAL.backstop_ms),
        ("forty", USUAL.unfinished_ms),
        ("i am forty six years old", USUAL.short_ms),
    ],
)
def test_dictated_numbers_are_waited_for_by_their_length(partial: str, needed: int) -> None:
    assert silence_needed_ms(partial, question="What is it?", phase="number") == needed


def test_spelling_gets_the_time_of_a_dictation() -> None:
    assert silence_needed_ms("w a l", phase="spelling") == USUAL.dictation_ms


def test_apostrophes_and_capitals_do_not_matter() -> None:
    assert silence_needed_ms("No I DON’T", phase="yes_no") == COMPLETE_MS


def test_an_operators_settings_are_obeyed() -> None:
    patient = Silences(backstop_ms=800, short_ms=200, unfinished_ms=1500, dictation_ms=2000)
    assert silence_needed_ms("it hurts", silences=patient) == 800
    assert silence_needed_ms("it hurts and", silences=patient) == 1500
    assert silence_needed_ms("five five", phase="number", silences=patient) == 2000
    assert silence_needed_ms("yes", question="Is it bad?", silences=patient) == 200
