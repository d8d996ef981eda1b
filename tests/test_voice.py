"""P2, P8: a voice is noticed at once, counts only when it is one, and gasping without words asks for a nurse."""

from triage.ports import RATE, VoiceWindow
from triage.voice import Thresholds, VoiceChange, VoiceTracker, WordlessLimits, WordlessVoice

SIZE = 512


def follow(*probabilities: float) -> tuple[VoiceTracker, list[tuple[int, VoiceChange]]]:
    tracker, seen = VoiceTracker(Thresholds()), []
    for n, p in enumerate(probabilities):
        seen += [(n, change) for change in tracker.window(VoiceWindow((n + 1) * SIZE, p), SIZE)]
    return tracker, seen


def test_the_low_threshold_starts_and_the_high_one_confirms() -> None:
    _, seen = follow(0.1, 0.32, 0.4, 0.55, 0.9)
    assert seen == [(1, VoiceChange.STARTED), (3, VoiceChange.CONFIRMED)]


def test_a_sound_that_never_reaches_speech_stops_unconfirmed() -> None:
    tracker, seen = follow(0.35, *[0.0] * 10)
    assert [change for _, change in seen] == [VoiceChange.STARTED, VoiceChange.STOPPED]
    assert not tracker.confirmed


def test_a_short_dip_does_not_stop_a_voice() -> None:
    _, seen = follow(0.9, 0.9, 0.0, 0.0, 0.0, 0.9, 0.9)
    assert VoiceChange.STOPPED not in [change for _, change in seen]


def test_the_voice_ends_where_it_was_last_heard_not_where_that_was_noticed() -> None:
    tracker, seen = follow(0.9, 0.9, 0.9, *[0.0] * 10)
    assert seen[-1][1] is VoiceChange.STOPPED
    assert (tracker.onset, tracker.last_voice) == (0, 3 * SIZE)


def s(seconds: float) -> int:
    return int(seconds * RATE)


def test_one_long_wordless_voice_is_enough() -> None:
    wordless = WordlessVoice(WordlessLimits())
    assert not wordless.burst(0, s(1.9))
    assert wordless.burst(0, s(2.0))


def test_three_bursts_in_twenty_seconds_are_enough_and_coughs_are_not() -> None:
    wordless = WordlessVoice(WordlessLimits())
    assert [wordless.burst(s(t), s(t + 0.4)) for t in range(8)] == [False] * 8
    assert [wordless.burst(s(t), s(t + 0.8)) for t in (10, 14, 18)] == [False, False, True]


def test_bursts_far_apart_or_broken_by_words_do_not_add_up() -> None:
    wordless = WordlessVoice(WordlessLimits())
    assert not any(wordless.burst(s(t), s(t + 0.8)) for t in (0, 12, 24, 36))
    wordless = WordlessVoice(WordlessLimits())
    wordless.burst(0, s(0.8))
    wordless.burst(s(2), s(2.8))
    wordless.forget()
    assert not wordless.burst(s(4), s(4.8))


def test_the_same_voice_reported_twice_counts_once() -> None:
    wordless = WordlessVoice(WordlessLimits())
    assert not any(wordless.burst(0, s(length)) for length in (0.8, 1.0, 1.2, 1.4))
