"""Promise of every voice detector: gapless windows, one call's state apart from another's, speech told from silence."""

import numpy as np
import pytest

from tests.stages.engines import caller
from triage.audio import frames, silence, sound_spans
from triage.ports import RATE, Frame, Pcm, VoiceActivity, VoiceWindow
from triage.stages.silero import SileroVoiceActivity


def listen(vad: VoiceActivity, pcm: Pcm, start: int = 0) -> list[VoiceWindow]:
    return [window for frame in frames(pcm, start) for window in vad.feed(frame)]


@pytest.fixture(params=[SileroVoiceActivity.load], ids=["silero"])
def vad(request: pytest.FixtureRequest) -> VoiceActivity:
    made: VoiceActivity = request.param()
    return made


class TestVoiceActivity:
    def test_windows_follow_each_other_without_gap(self, vad: VoiceActivity) -> None:
        windows = listen(vad, silence(1.0), start=4800)
        assert [w.end for w in windows] == [4800 + vad.window * (n + 1) for n in range(RATE // vad.window)]
        assert all(0.0 <= w.probability <= 1.0 for w in windows)

    def test_silence_is_no_voice(self, vad: VoiceActivity) -> None:
        assert max(w.probability for w in listen(vad, silence(2.0))) < 0.3

    def test_speech_is_heard_soon_after_it_begins_and_silence_after_it_ends(self, vad: VoiceActivity) -> None:
        pcm = np.concatenate([silence(1.0), caller("location_rms"), silence(1.0)])
        spans = sound_spans(pcm)
        begins, ends = spans[0][0], spans[-1][1]
        windows = listen(vad, pcm)
        first = next(w.end for w in windows if w.probability >= 0.5)
        last = [w.end for w in windows if w.probability >= 0.35][-1]
        assert 0 < first - begins <= 0.18 * RATE
        assert abs(last - ends) <= 0.25 * RATE

    def test_how_the_audio_is_cut_into_frames_changes_nothing(self, vad: VoiceActivity) -> None:
        pcm = caller("yes_rms")
        whole = listen(vad, pcm)
        vad.reset()
        pieces, at = [], 0
        for size in [1, 511, 700, 33] * 100:
            if at >= len(pcm):
                break
            pieces += vad.feed(Frame(pcm[at : at + size], at))
            at += size
        assert [w.end for w in pieces] == [w.end for w in whole][: len(pieces)]
        assert pieces == whole[: len(pieces)]

    def test_after_reset_nothing_is_remembered(self, vad: VoiceActivity) -> None:
        fresh = listen(vad, caller("no_rms"))
        vad.reset()
        assert listen(vad, caller("no_rms")) == fresh

    def test_two_calls_do_not_hear_each_other(self, vad: VoiceActivity) -> None:
        pcm = caller("yes_rms")
        alone = listen(vad, pcm)
        vad.reset()
        other = SileroVoiceActivity.load()
        together = []
        for frame in frames(pcm):
            together += vad.feed(frame)
            other.feed(Frame(frame.pcm[::-1].copy(), frame.start))
        assert together == alone
