"""P1, P3: every final and every stretch is judged, in every state; nobody talks past the classifier; coughs are no words."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np
import pytest

from classifiers.assessment import Assessment, Evidence, Known
from classifiers.levels import Category, Level
from fsm import events as ev
from fsm.states import Dismissal
from triage.errors import Unavailable
from triage.listening import HearingLimits, Listening
from triage.ports import FRAME, RATE, Frame, Transcript, VoiceWindow, Word

PCM = np.zeros(FRAME, dtype=np.int16)


class Vad:
    """One window per frame; its probability is what the test says."""

    window = FRAME

    def __init__(self) -> None:
        self.p = 0.0

    def feed(self, frame: Frame) -> list[VoiceWindow]:
        return [VoiceWindow(frame.start + FRAME, self.p)]

    def reset(self) -> None:
        self.p = 0.0


class Stt:
    """Answers a finish with what the test put in its mouth."""

    name, local = "fake", True

    def __init__(self) -> None:
        self.next: list[tuple[str, float | None]] = []
        self.finished = 0
        self.voiced = 0
        self.dead = False

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def feed(self, frame: Frame, *, voiced: bool) -> None:
        self.voiced += voiced

    def finish_utterance(self) -> None:
        self.finished += 1

    async def transcripts(self) -> AsyncIterator[Transcript]:
        if self.dead:
            raise Unavailable("stt", "crashed")
        return
        yield


class Judge:
    """Urgent when the word is in it."""

    def __init__(self) -> None:
        self.judged: list[tuple[str, str]] = []

    def assess(self, text: str, *, question: str = "", turn: int = 0) -> Assessment:
        self.judged.append((text, question))
        at = text.find("danger")
        if at < 0:
            return Assessment(level=Level.ROUTINE, category=Category.NONE, score=0.0)
        return Assessment(
            level=Level.NURSE_NOW,
            category=Category.CHEST,
            score=1.0,
            evidence=(Evidence(start=at, end=at + 6, text="danger"),),
            clip="connecting_nurse",
            rank=50,
        )

    @property
    def known(self) -> Known:
        return Known()


class Ours:
    playing = False
    words: Sequence[str] = ()

    def recent_words(self, window_s: float) -> Sequence[str]:
        return self.words


class Ledger:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.withhold = False
        self.withheld: list[bool] = []
        """For each line, whether its words were to stay out of it."""

    def heard(self, transcript: Transcript, *, turn: int, promoted: bool) -> None:
        self.withheld.append(self.withhold)
        self.lines.append(f"heard {turn}{' promoted' if promoted else ''}: {transcript.text}")

    def assessed(self, kind: str, text: str, assessment: Assessment, *, turn: int, suppressed: str) -> None:
        self.withheld.append(self.withhold)
        self.lines.append(f"{kind} {assessment.level}{' ' + suppressed if suppressed else ''}")


class Beside:
    """A second opinion that answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Level]] = []
        self.answers: list[Callable[[Assessment], None]] = []

    def ask(self, text: str, question: str, first: Assessment, answer: Callable[[Assessment], None]) -> None:
        self.asked.append((text, question, first.level))
        self.answers.append(answer)


class Ear:
    """A Listening with everything around it in the test's hand; time is audio time."""

    def __init__(self, limits: HearingLimits | None = None) -> None:
        self.beside = Beside()
        self.vad, self.stt, self.judge, self.ours, self.ledger = Vad(), Stt(), Judge(), Ours(), Ledger()
        self.events: list[ev.Event] = []
        self.position = 0
        self.utterance = 1
        self.listening = Listening(
            vad=self.vad,
            stt=self.stt,
            judge=self.judge,
            ours=self.ours,
            ledger=self.ledger,
            tell=self.events.append,
            now_ns=lambda: self.position * 1_000_000_000 // RATE + 1,
            observe=lambda trace: None,
            limits=limits,
            beside=self.beside,
        )

    def hear(self, seconds: float, p: float) -> "Ear":
        self.vad.p = p
        for _ in range(round(seconds * 50)):
            self.listening.hear(Frame(PCM, self.position))
            self.position += FRAME
        return self

    def words(self, text: str, *, final: bool, confidence: float | None = 0.95, ends_turn: bool | None = None) -> "Ear":
        words = tuple(Word(word, confidence) for word in text.split())
        start = max(0, self.position - RATE)
        self.listening.take(Transcript(self.utterance, final, text, words, start, self.position, ends_turn))
        self.utterance += final
        return self

    def says(self, text: str, seconds: float = 1.0, confidence: float | None = 0.95) -> "Ear":
        """Voice, then enough silence for a final, then the final."""
        return self.hear(seconds, 0.9).hear(0.4, 0.0).words(text, final=True, confidence=confidence)

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def counts_agree(self) -> bool:
        counts = self.listening.counts
        return counts.finals + counts.stretches + counts.tails == counts.assessments == len(self.judge.judged)


def test_a_turn_is_heard_judged_and_ends_after_silence() -> None:
    ear = Ear().says("it started yesterday").hear(1.0, 0.0)
    assert ear.kinds() == ["SpeechStarted", "WordsHeard", "TurnEnded"]
    assert ear.listening.text_of(1) == "it started yesterday"
    assert ear.judge.judged == [("it started yesterday", "")]
    assert ear.counts_agree()


def test_two_finals_of_one_turn_are_joined() -> None:
    ear = Ear().says("it started").says("yesterday evening").hear(1.0, 0.0)
    assert ear.kinds().count("TurnEnded") == 1
    assert ear.listening.text_of(1) == "it started yesterday evening"


def test_the_recognisers_own_end_of_turn_is_obeyed_at_once() -> None:
    ear = Ear().hear(1.0, 0.9).words("yes it does", final=True, ends_turn=True)
    assert ear.kinds()[-1] == "TurnEnded"


def test_the_question_just_asked_is_part_of_the_judgement() -> None:
    ear = Ear()
    ear.listening.question = "Are you short of breath?"
    ear.says("yes")
    assert ear.judge.judged == [("yes", "Are you short of breath?")]


def test_an_urgent_final_is_told_before_the_turn_is_over() -> None:
    ear = Ear().says("there is danger here")
    assert ear.kinds()[-2:] == ["UrgencyRaised", "WordsHeard"]
    assert ear.ledger.lines == ["heard 1: there is danger here", "final nurse_now"]


def test_every_final_is_judged_also_the_empty_one() -> None:
    ear = Ear().says("").says("danger")
    assert [text for text, _ in ear.judge.judged] == ["", "danger"]
    assert ear.counts_agree()


def test_somebody_who_never_pauses_is_judged_by_words_and_by_time() -> None:
    ear = Ear().hear(1.0, 0.9)
    ear.words(" ".join(["word"] * 26), final=False)
    ear.hear(0.02, 0.9)
    assert ear.listening.counts.stretches == 1
    ear.words(" ".join(["word"] * 27) + " danger", final=False).hear(8.1, 0.9)
    assert "UrgencyRaised" in ear.kinds()
    assert ear.counts_agree()


def test_words_that_stand_still_are_judged_without_a_final() -> None:
    ear = Ear().hear(1.0, 0.9).words("danger", final=False).hear(1.4, 0.9)
    assert "UrgencyRaised" not in ear.kinds()
    assert "UrgencyRaised" in ear.hear(0.2, 0.9).kinds()


def test_no_phrase_falls_between_two_stretches() -> None:
    ear = Ear().hear(1.0, 0.9).words("one two three four five six seven dan", final=False).hear(1.6, 0.9)
    ear.words("one two three four five six seven dan ger eight", final=False).hear(1.6, 0.9)
    assert ear.judge.judged[-1][0].startswith("one two three")


def test_no_phrase_falls_between_two_finals() -> None:
    """A short pause in the middle of it, or a judgement in mid-voice."""
    ear = Ear().says("one two").hear(0.2, 0.0).says("three four")
    assert [text for text, _ in ear.judge.judged] == ["one two", "three four", "one two three four"]
    assert ear.ledger.lines[-1] == "stretch routine"
    assert ear.counts_agree()


def test_what_was_raised_is_not_raised_again_by_the_words_after_it() -> None:
    ear = Ear().says("there is danger and he").says("sleeps")
    assert ear.kinds().count("UrgencyRaised") == 1
    assert ear.judge.judged[-1][0] == "and he sleeps"


def test_finals_that_lie_far_apart_share_no_phrase() -> None:
    ear = Ear().says("one two").hear(4.0, 0.0).says("three")
    assert [text for text, _ in ear.judge.judged] == ["one two", "three"]


def test_a_cough_over_us_is_dismissed_and_real_words_are_not() -> None:
    ear = Ear()
    ear.ours.playing = True
    ear.says("i have", seconds=0.4, confidence=0.4)
    assert [e.why for e in ear.events if isinstance(e, ev.SpeechDismissed)] == [Dismissal.COUGH]
    assert "WordsHeard" not in ear.kinds()
    ear.says("i have pain")
    assert "WordsHeard" in ear.kinds()


def test_a_backchannel_over_us_is_dismissed_but_answers_a_question() -> None:
    over = Ear()
    over.ours.playing = True
    over.says("mm-hm", seconds=0.4)
    assert [e.why for e in over.events if isinstance(e, ev.SpeechDismissed)] == [Dismissal.BACKCHANNEL]
    assert "TurnEnded" in Ear().says("mm-hm", seconds=0.4).hear(1.5, 0.0).kinds()


def test_stop_interrupts_at_a_confidence_that_others_do_not() -> None:
    for text, counts in (("stop", True), ("shop", False)):
        ear = Ear()
        ear.ours.playing = True
        ear.says(text, seconds=0.4, confidence=0.4)
        assert ("WordsHeard" in ear.kinds()) is counts


def test_a_sound_below_the_speech_threshold_never_reaches_the_recogniser() -> None:
    ear = Ear().hear(1.0, 0.32).hear(0.5, 0.0)
    assert ear.stt.voiced == 0
    assert ear.kinds() == ["SpeechStarted", "SpeechDismissed"]


def test_a_final_that_never_comes_is_made_from_the_interim_and_judged() -> None:
    ear = Ear().hear(1.0, 0.9).words("i feel danger", final=False).hear(2.2, 0.0)
    assert "heard 1 promoted: i feel danger" in ear.ledger.lines
    assert "UrgencyRaised" in ear.kinds()
    assert ear.counts_agree()
    ear.words("i feel danger", final=True)
    assert "heard 1 promoted: i feel danger" in ear.ledger.lines


def test_a_recogniser_that_owes_two_finals_is_broken() -> None:
    ear = Ear().hear(1.0, 0.9).hear(2.2, 0.0)
    assert "EffectFailed" not in ear.kinds()
    ear.utterance += 1
    assert "EffectFailed" in ear.hear(1.0, 0.9).hear(2.2, 0.0).kinds()


def test_a_recogniser_that_dies_is_an_event() -> None:
    ear = Ear()
    ear.stt.dead = True
    asyncio.run(ear.listening.read_transcripts())
    assert ear.events == [ev.EffectFailed(at_ns=1, effect="Transcribe", stage="stt")]


def test_a_turn_that_will_not_end_is_cut() -> None:
    ear = Ear(HearingLimits(turn_cut_s=3.0)).hear(2.9, 0.9)
    assert ear.stt.finished == 0
    ear.hear(0.2, 0.9)
    assert ear.stt.finished == 1
    ear.words("and then and then", final=True).hear(0.1, 0.9)
    assert "TurnEnded" in ear.kinds()


def test_gasping_without_words_asks_for_a_nurse_once() -> None:
    ear = Ear().hear(2.1, 0.9)
    assert ear.kinds().count("WordlessVoiceHeard") == 1


def test_a_judgement_in_the_middle_of_a_voice_is_unclear_until_words_come() -> None:
    ear = Ear()
    ear.ours.playing = True
    ear.hear(0.6, 0.9)
    ear.listening.judge_speech()
    assert ear.stt.finished == 1
    ear.words("uh the", final=True, confidence=0.2)
    assert ear.kinds()[-1] == "SpeechUnclear"
    ear.hear(0.3, 0.9).words("please listen to me", final=True)
    assert ear.kinds()[-1] == "WordsHeard"


def test_a_judgement_when_nothing_is_left_dismisses() -> None:
    ear = Ear()
    ear.listening.judge_speech()
    assert ear.kinds() == ["SpeechDismissed"]


def test_our_own_red_flag_heard_back_is_suppressed_and_written_down() -> None:
    ear = Ear()
    ear.ours.words = ["In", "danger,", "hang", "up"]
    ear.says("danger hang up")
    assert "UrgencyRaised" not in ear.kinds()
    assert ear.ledger.lines[-1] == "final nurse_now echo"
    assert "TurnEnded" not in ear.hear(2.0, 0.0).kinds()


def test_a_real_one_over_it_is_raised() -> None:
    ear = Ear()
    ear.ours.words = ["hang", "up"]
    assert "UrgencyRaised" in ear.says("danger hang up").kinds()


def test_after_hang_up_the_tail_is_judged_and_told_once() -> None:
    ear = Ear().hear(1.0, 0.9)
    ear.listening.drain()
    assert "TailDrained" not in ear.kinds()
    ear.words("danger", final=True)
    ear.listening.give_up_draining()
    assert ear.kinds()[-1] == "TailDrained"
    assert ear.kinds().count("TailDrained") == 1
    assert ear.listening.counts.tails == 1
    assert ear.counts_agree()


def test_a_silent_hang_up_has_no_tail() -> None:
    ear = Ear()
    ear.listening.drain()
    assert ear.kinds() == ["TailDrained"]


def test_when_no_tail_comes_the_interim_is_judged() -> None:
    ear = Ear().hear(1.0, 0.9).words("danger", final=False)
    ear.listening.drain()
    ear.listening.give_up_draining()
    assert [e for e in ear.kinds() if e in ("UrgencyRaised", "TailDrained")] == ["UrgencyRaised", "TailDrained"]


def test_bridged_means_deaf_until_the_nurse_is_lost() -> None:
    ear = Ear()
    ear.listening.deaf = True
    ear.hear(1.0, 0.9)
    assert ear.kinds() == []
    ear.listening.listen_again()
    assert ear.hear(0.1, 0.9).kinds() == ["SpeechStarted"]


@pytest.mark.parametrize("silence", [0.1, 0.2, 0.3])
def test_a_short_pause_does_not_end_the_turn(silence: float) -> None:
    ear = Ear().hear(1.0, 0.9).hear(silence, 0.0).hear(0.5, 0.9)
    assert ear.stt.finished == 0


# --- the second opinion

WORSE = Assessment(
    level=Level.EMERGENCY_NOW, category=Category.SEPSIS, score=0.9, rule="second_opinion:implied", clip="x", rank=1050
)


def test_the_second_opinion_is_asked_about_each_final_with_the_question_and_never_about_a_stretch() -> None:
    ear = Ear()
    ear.listening.question = "How are you?"
    ear.says("so and so").says("danger").says("")
    assert ear.beside.asked == [
        ("so and so", "How are you?", Level.ROUTINE),
        ("danger", "How are you?", Level.NURSE_NOW),
    ]


def test_it_is_not_asked_about_our_own_echo() -> None:
    ear = Ear()
    ear.ours.playing, ear.ours.words = True, ("do", "you", "feel", "unwell")
    ear.says("do you feel unwell")
    assert ear.beside.asked == []


def test_its_raise_is_told_and_written_like_any_finding_under_the_turn_it_is_of() -> None:
    ear = Ear().says("so and so").hear(2.0, 0.0)
    ear.beside.answers[0](WORSE)
    told = ear.events[-1]
    assert isinstance(told, ev.UrgencyRaised)
    assert (told.level, told.category, told.rank, told.says_number) == ("emergency_now", "sepsis", 1050, True)
    assert ear.listening.gravest == (WORSE, "so and so", 1)
    assert ear.ledger.lines[-1] == "second_opinion emergency_now"
    assert ear.counts_agree()


def test_a_graver_finding_stays_the_gravest() -> None:
    ear = Ear().says("danger")
    ear.beside.answers[0](dataclasses.replace(WORSE, rank=10))
    assert ear.listening.gravest is not None and ear.listening.gravest[0].category is Category.CHEST


@pytest.mark.parametrize("over", ["a nurse has the caller", "the last words are judged"])
def test_a_raise_that_comes_too_late_for_anybody_is_stale(over: str) -> None:
    ear = Ear().says("so and so").hear(2.0, 0.0)
    if over == "a nurse has the caller":
        ear.listening.deaf = True
    else:
        ear.listening.drain()
    events, lines = list(ear.events), list(ear.ledger.lines)
    ear.beside.answers[0](WORSE)
    assert (ear.events, ear.ledger.lines, ear.listening.gravest) == (events, lines, None)
