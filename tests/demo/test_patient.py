"""Promise: the simulated patient speaks exactly when the cue comes, answers what was asked, and knows when to hang up.

The patient is driven as a line drives it: frame by frame, with the stretches in which agent and nurse are audible.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from triage.demo.patient import KEY_GAP, Cue, Patient, Utterance
from triage.ports import FRAME, RATE, Pcm

Spans = Sequence[tuple[float, float]]


def voice(seconds: float, level: int = 8000) -> Pcm:
    return np.full(round(seconds * RATE), level, dtype=np.int16)


class World:
    """A patient, and what agent and nurse do over time (seconds)."""

    def __init__(self, *script: Utterance, agent: Spans = (), nurse: Spans = (), **patient: Any) -> None:
        self.cues: list[tuple[str, int, int, float]] = []
        self.patient = Patient(script, listener=lambda *cue: self.cues.append(cue), **patient)
        self.agent = [(round(a * RATE), round(b * RATE)) for a, b in agent]
        self.nurse = [(round(a * RATE), round(b * RATE)) for a, b in nurse]
        self.prompts: dict[int, list[tuple[str, str]]] = {}
        self.keys: list[tuple[float, str]] = []
        self.out: list[Pcm] = []
        self.hung_up_s: float | None = None

    def prompt(self, name: str, what: str, at_s: float) -> "World":
        self.prompts.setdefault(round(at_s * RATE) // FRAME, []).append((name, what))
        return self

    def live(self, seconds: float) -> "World":
        for number in range(round(seconds * RATE) // FRAME):
            start, end = number * FRAME, (number + 1) * FRAME
            for name, what in self.prompts.get(number, ()):
                self.patient.heard_prompt(name, what)
            self.patient.hear(_inside(self.agent, start, end), _inside(self.nurse, start, end))
            self.out.append(self.patient.speak(start, FRAME))
            self.keys += [(end / RATE, key) for key in self.patient.pressed()]
            if self.patient.hung_up:
                self.hung_up_s = end / RATE
                break
        return self

    def spoke(self) -> list[tuple[float, float]]:
        """(start, end) in seconds of every stretch of sound."""
        loud = np.concatenate(self.out) != 0
        edges = np.flatnonzero(np.diff(np.concatenate(([False], loud, [False])).astype(int)))
        return [(int(a) / RATE, int(b) / RATE) for a, b in edges.reshape(-1, 2)]

    def said(self) -> list[str]:
        return [text for text, _, _ in self.patient.said]


def _inside(spans: Sequence[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    return [(max(a, start), min(b, end)) for a, b in spans if a < end and b > start]


def line(text: str, cue: Cue = Cue.QUIET, delay_s: float = 0.5, seconds: float = 1.0, **more: Any) -> Utterance:
    return Utterance(pcm=voice(seconds), text=text, cue=cue, delay_s=delay_s, **more)


# --- cues


def test_quiet_is_counted_from_the_agents_last_sample() -> None:
    world = World(line("one"), line("two"), agent=[(0.1, 1.30007), (4.0, 5.0)]).live(9)
    assert world.spoke() == [(pytest.approx(1.80007, abs=1 / RATE), pytest.approx(2.80007, abs=1 / RATE)), (5.5, 6.5)]
    assert world.said() == ["one", "two"]


def test_quiet_waits_through_the_agents_pauses() -> None:
    world = World(line("one"), agent=[(0.0, 1.0), (1.4, 2.0), (2.45, 3.0)]).live(6)
    assert world.spoke() == [(3.5, 4.5)]


def test_quiet_needs_an_agent_who_spoke_after_the_last_utterance() -> None:
    world = World(line("one"), line("two"), agent=[(0.0, 1.0)]).live(8)
    assert world.said() == ["one"]


def test_over_begins_while_the_agent_speaks() -> None:
    world = World(line("hello", Cue.OVER, 0.8), agent=[(0.5, 6.0)]).live(8)
    assert world.spoke() == [(1.3, 2.3)]


def test_over_takes_a_new_beginning_of_the_agents_each_time() -> None:
    world = World(
        line("cough", Cue.OVER, 0.5, 0.2), line("stop", Cue.OVER, 0.5, 0.5), agent=[(0.0, 0.7), (1.5, 4.0), (9.0, 9.5)]
    ).live(10)
    assert world.spoke() == [(0.5, 0.7), (2.0, 2.5)]


def test_at_counts_from_the_connection() -> None:
    world = World(line("now", Cue.AT, 1.23456)).live(4)
    assert world.spoke()[0][0] == pytest.approx(1.23456, abs=1 / RATE)


def test_after_follows_ones_own_words_without_a_gap() -> None:
    script = [line(str(n), Cue.AT if n == 0 else Cue.AFTER, 0.0 if n else 1.0, 0.3333) for n in range(5)]
    ((start, end),) = World(*script).live(4).spoke()
    assert start == 1.0 and end == pytest.approx(1.0 + 5 * 0.3333, abs=5 / RATE)


def test_after_with_a_delay_leaves_just_that_gap() -> None:
    world = World(line("a", Cue.AT, 1.0), line("b", Cue.AFTER, 0.7)).live(5)
    assert world.spoke() == [(1.0, 2.0), (2.7, 3.7)]


def test_nurse_is_answered_when_the_nurse_falls_silent() -> None:
    world = World(line("thanks", Cue.NURSE, 0.4), agent=[(0.0, 1.0)], nurse=[(3.0, 4.5)]).live(7)
    assert world.spoke() == [(4.9, 5.9)]


# --- answers


def test_an_answer_is_given_to_its_question_as_often_as_it_is_asked() -> None:
    world = World(line("forty two", on_prompt="age"), line("next"), agent=[(0, 1), (3, 4), (6, 7)])
    world.prompt("age", "finished", 1.0).prompt("age", "finished", 4.0).live(10)
    assert world.said() == ["forty two", "forty two", "next"]
    assert world.spoke()[0] == (1.5, 2.5)


def test_several_answers_to_one_question_are_given_in_turn_and_the_last_for_ever() -> None:
    script = [line("pardon", on_prompt="age"), line("forty two", on_prompt="age")]
    world = World(*script, agent=[(0, 1), (3, 4), (6, 7)])
    for at in (1.0, 4.0, 7.0):
        world.prompt("age", "finished", at)
    assert world.live(10).said() == ["pardon", "forty two", "forty two"]


def test_of_two_questions_the_last_one_is_answered_once_the_agent_is_quiet() -> None:
    world = World(line("yes", on_prompt="a"), line("no", on_prompt="b"), agent=[(0, 1), (1.1, 2), (2.1, 3)])
    world.prompt("a", "finished", 1.0).prompt("b", "finished", 2.0).live(6)
    assert world.said() == ["no"]
    assert world.spoke() == [(3.5, 4.5)]


def test_a_question_goes_before_the_script() -> None:
    world = World(line("scripted", delay_s=0.2), line("answer", on_prompt="q", delay_s=0.9), agent=[(0, 1), (3, 4)])
    world.prompt("q", "finished", 1.0).live(7)
    assert world.said() == ["answer", "scripted"]


def test_one_who_never_pauses_is_not_stopped_by_a_question() -> None:
    script = [line(str(n), Cue.AT if n == 0 else Cue.AFTER, 0.0, 0.5) for n in range(6)]
    world = World(*script, line("answer", on_prompt="q"), agent=[(0.2, 1.2), (1.3, 9)]).prompt("q", "finished", 1.2)
    assert world.live(4).spoke() == [(0.0, 3.0)]


def test_an_answer_may_talk_over_its_prompt() -> None:
    world = World(line("a nurse", Cue.PROMPT, 0.3, on_prompt="greeting", over=True), agent=[(0.5, 5)])
    world.prompt("greeting", "started", 0.5).live(6)
    assert world.spoke() == [(0.8, 1.8)]


def test_prompts_without_an_answer_leave_the_script_alone() -> None:
    world = World(line("scripted"), agent=[(0, 1)]).prompt("other", "finished", 1.0).live(4)
    assert world.said() == ["scripted"]


def test_a_prompt_cue_must_name_its_prompt() -> None:
    with pytest.raises(ValueError, match="on_prompt"):
        Patient([Utterance(cue=Cue.PROMPT)])


# --- what the recogniser is told, keys, hanging up


def test_the_recogniser_is_told_where_the_sound_is_inside_the_utterance() -> None:
    padded = np.concatenate((np.zeros(3200, np.int16), voice(0.5), np.zeros(4800, np.int16)))
    world = World(Utterance(pcm=padded, text="my chest", cue=Cue.AT, delay_s=1.0, confidence=0.4)).live(4)
    assert world.cues == [("my chest", 16000 + 3200, 16000 + 3200 + 8000, 0.4)]
    assert world.patient.said == [("my chest", 19200, 27200)]


def test_keys_are_pressed_one_after_the_other_when_the_sound_is_over() -> None:
    world = World(line("one moment", Cue.AT, 0.5, keys="10"), Utterance(cue=Cue.AT, delay_s=3.0, keys="#")).live(5)
    first, second, third = world.keys
    assert [key for _, key in world.keys] == ["1", "0", "#"]
    assert first[0] == pytest.approx(1.5, abs=0.02)
    assert second[0] - first[0] == pytest.approx(KEY_GAP / RATE, abs=0.02)
    assert third[0] == pytest.approx(3.0, abs=0.03)
    assert world.hung_up_s is None


def test_hanging_up_comes_after_the_words_and_the_keys() -> None:
    world = World(line("bye", Cue.AT, 1.0, keys="98", hang_up=True)).live(9)
    assert [key for _, key in world.keys] == ["9", "8"]
    assert world.hung_up_s == pytest.approx(2.0 + KEY_GAP / RATE, abs=0.04)


def test_a_goodbye_is_taken_as_one() -> None:
    world = World(line("never said", delay_s=5.0), agent=[(0, 2)], goodbye_delay_s=0.4)
    world.prompt("goodbye", "started", 0.0).prompt("goodbye", "finished", 2.0).live(9)
    assert world.hung_up_s == pytest.approx(2.42, abs=0.03)
    assert world.said() == []


def test_a_patient_to_whom_nothing_happens_hangs_up() -> None:
    assert World(agent=[(0, 2)], patience_s=5.0).live(20).hung_up_s == pytest.approx(7.02, abs=0.03)
    assert World(line("x", Cue.AT, 4.0), patience_s=5.0).live(20).hung_up_s == pytest.approx(10.02, abs=0.03)
    assert World(nurse=[(4, 6)], patience_s=5.0, farewell_s=60).live(20).hung_up_s == pytest.approx(11.02, abs=0.03)


def test_after_the_nurse_and_the_last_words_the_patient_hangs_up() -> None:
    world = World(line("thanks", Cue.NURSE, 0.5), nurse=[(1, 2)], farewell_s=2.0).live(20)
    assert world.hung_up_s == pytest.approx(2.5 + 1.0 + 2.0, abs=0.03)


def test_a_patient_with_something_left_to_say_to_the_nurse_stays() -> None:
    world = World(line("later", Cue.AT, 9.0), nurse=[(1, 2)], farewell_s=2.0).live(8)
    assert world.hung_up_s is None


def test_after_hanging_up_there_is_no_sound() -> None:
    world = World(line("bye", Cue.AT, 0.5, hang_up=True), line("never", Cue.AFTER, 0.0)).live(5)
    assert world.said() == ["bye"]
