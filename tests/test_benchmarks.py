"""The bench measures what it says: read from the line, with stubs of known latency, and every part of it runs."""

import numpy as np
import pytest

from benchmarks import calls, sounds, tape
from benchmarks.bare import BareCall
from benchmarks.report import Count, Line, Row
from benchmarks.stubs import MARK, StubModel, StubVoice, begins, percentile, sawtooth
from triage.clips import ClipLibrary
from triage.clock import run
from triage.ports import RATE, SpokenWord

WORDS = tuple(SpokenWord(name, n * 4_000, (n + 1) * 4_000) for n, name in enumerate(["we", "have", "noted", "that"]))


def by_name(rows: list[Line]) -> dict[str, Row | Count]:
    return {row.name: row for row in rows if not isinstance(row, str)}


def test_a_sentence_is_read_back_with_its_pauses_and_the_words_that_were_heard() -> None:
    said = sawtooth(7, 16_000)
    agent = np.zeros(3 * RATE, dtype=np.int16)
    agent[1_000:6_000] = said[:5_000]
    agent[9_000:16_000] = said[5_000:12_000]
    (found,) = tape.sentences(agent, {7: WORDS})
    assert (found.number, found.start, found.samples, found.whole) == (7, 1_000, 12_000, True)
    assert found.parts == [(1_000, 6_000), (9_000, 16_000)]
    assert found.heard() == ["we", "have", "noted"]
    assert tape.old_sound_ends([found], 5_000) == 16_000
    assert tape.old_sound_ends([found], 7_000) is None  # nothing was audible just then


def test_a_sample_that_was_lost_or_said_twice_is_noticed() -> None:
    said = sawtooth(3, 16_000)
    for goes_on in (4_900, 5_100):
        agent = np.zeros(RATE, dtype=np.int16)
        agent[:5_000], agent[6_000:8_000] = said[:5_000], said[goes_on : goes_on + 2_000]
        assert not tape.sentences(agent, {3: WORDS})[0].whole


def test_sentences_that_follow_each_other_are_told_apart() -> None:
    agent = np.concatenate([sawtooth(1, 8_000)[:5_000], sawtooth(2, 8_000)])
    found = tape.sentences(agent.astype(np.int16), {1: WORDS, 2: WORDS})
    assert [(s.number, s.start, s.samples) for s in found] == [(1, 0, 5_000), (2, 5_000, 8_000)]


def test_a_clip_that_was_cut_is_found_by_its_own_samples() -> None:
    clip = ClipLibrary.load().clip("goodbye")
    agent = np.zeros(4 * RATE, dtype=np.int16)
    agent[500 : 500 + len(clip.pcm) // 2] = clip.pcm[: len(clip.pcm) // 2]
    (found,) = tape.clips(agent, [clip])
    assert found.clip == "goodbye" and found.start == 500
    assert abs(found.samples - len(clip.pcm) // 2) < RATE // 20
    assert 0 < len(found.heard()) < len(clip.text.split())


def test_the_beginning_of_a_stub_sentence_is_seen_as_it_is_sent() -> None:
    said = sawtooth(12, 16_000)
    assert begins(said[:320])
    assert begins(np.concatenate([np.zeros(100, dtype=np.int16), said[:220]]))
    assert not begins(said[320:640])
    assert said[MARK] == MARK + 1 and (said != 0).all()


@pytest.mark.parametrize(("share", "value"), [(0.5, 10), (0.95, 19), (1.0, 20), (0.05, 1)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(20, 0, -1)], share) == value


def test_in_virtual_time_our_own_overhead_is_nothing() -> None:
    """Where computing takes no time and the record is at once durable, only the stubs' latencies are left."""
    rows = by_name(run(calls.overhead(1, 1, virtual=True), virtual=True))
    found = rows["own overhead, one call"]
    assert isinstance(found, Row)
    assert len(found.values) >= 10
    assert max(abs(value) for value in found.values) < 0.001
    answered = rows["turns that were answered, one call"]
    assert isinstance(answered, Count) and answered.got == answered.of


def test_barge_ins_are_measured_at_the_line_and_history_is_what_was_audible() -> None:
    rows = by_name(run(calls.barge_in(6, 1, virtual=True), virtual=True))
    stops = rows["old audio stops after the true onset, virtual time"]
    works = rows["model and voice end after the first real word, virtual time"]
    assert isinstance(stops, Row) and isinstance(works, Row)
    assert len(stops.values) >= 5 and min(stops.values) > 0
    assert works.values
    (apart,) = [row for name, row in rows.items() if name.startswith("history")]
    assert isinstance(apart, Row) and list(apart.values) == [0.0]


def test_every_other_part_runs() -> None:
    coughs = by_name(run(calls.cough(2, virtual=True), virtual=True))
    resumed = coughs["said to the end, to the sample, in spite of a cough"]
    assert isinstance(resumed, Count) and resumed.got == resumed.of == 2
    first = by_name(run(calls.greeting(2, 2, virtual=True), virtual=True))
    heard = first["barge-in in the first second of the greeting is heard"]
    assert isinstance(heard, Count) and heard.got == heard.of == 2
    danger = by_name(run(calls.urgent(3, 3, virtual=True), virtual=True))
    clip, old = (
        danger["urgent final to first clip sample at the line"],
        danger["calls with an old sample after the clip began"],
    )
    assert isinstance(clip, Row) and len(clip.values) == 3
    assert isinstance(old, Count) and (old.got, old.of) == (0, 3)


def test_the_trivial_pipeline_answers_every_turn() -> None:
    async def two_turns() -> list[float]:
        call = BareCall(StubVoice(), StubModel())
        await call.carry([sounds.line("sore_yes"), sounds.line("name_rms")])
        return call.overheads_ms(calls.STUBS_MS)

    assert len(run(two_turns(), virtual=True)) == 2


def test_our_own_echo_does_not_hold_us() -> None:
    rows = by_name(run(calls.false_pauses(10.0, only="echo"), virtual=True))
    echo = rows["false pauses: speakerphone echo, -15 dB"]
    assert isinstance(echo, Row) and echo.values[0] == 0.0
