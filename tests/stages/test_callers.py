"""Promise: the demo's caller speech is the rendered one, is redistributable, is heard by the offline recogniser."""

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stt_wer import errors, plain
from tests.stages.engines import CALLERS, caller, needs_flite
from triage.audio import first_sound, last_sound, level_db, sound_spans, write_wav
from triage.demo.callers.render import SOUNDS, check, complete, render
from triage.errors import AssetError
from triage.ports import RATE
from triage.stages.flite_tts import VOICES

LINES: list[dict[str, Any]] = tomllib.loads((CALLERS / "lines.toml").read_text(encoding="utf-8"))["line"]


def test_every_line_has_its_file_and_every_file_its_line() -> None:
    check(LINES)
    assert sorted(path.stem for path in CALLERS.glob("*.wav")) == sorted(line["id"] for line in LINES)
    assert len({line["id"] for line in LINES}) == len(LINES)


def test_all_voices_may_be_redistributed_and_all_sounds_are_ours() -> None:
    assert {line["voice"] for line in LINES if "voice" in line} <= set(VOICES)
    assert {line["sound"] for line in LINES if "sound" in line} == set(SOUNDS)


def test_the_whole_speech_stays_small() -> None:
    assert sum(path.stat().st_size for path in CALLERS.glob("*.wav")) < 8_000_000


@pytest.mark.parametrize("line", LINES, ids=[line["id"] for line in LINES])
def test_every_file_is_speech_at_the_common_level_with_short_edges(line: dict[str, Any]) -> None:
    pcm = caller(line["id"])
    begins, ends = first_sound(pcm), last_sound(pcm)
    assert begins is not None
    assert ends is not None
    assert level_db(pcm[begins:ends]) == pytest.approx(-22, abs=1.5)
    assert begins <= 0.25 * RATE
    assert len(pcm) - ends <= 0.35 * RATE
    assert line["seconds"] == pytest.approx(len(pcm) / RATE, abs=0.01)


def test_what_the_recogniser_made_of_the_lines_is_close_to_what_they_say() -> None:
    wrong = words = 0
    for line in LINES:
        if "text" in line and line.get("recognised", True):
            heard = " ".join(word.partition("/")[0] for word in line["heard"].split())
            wrong += errors(plain(line["text"]), plain(heard))
            words += len(plain(line["text"]))
    assert words > 400
    assert wrong / words < 0.08


@pytest.mark.parametrize(
    ("line", "phrase"),
    [
        ("chest_pain_first", "pain in my chest"),
        ("not_breathing", "not breathing"),
        ("third_turn_3", "right arm suddenly went weak"),
        ("asks_person", "real person"),
        ("low_mood_2", "killing myself"),
        ("nine_one_one", "cannot breathe"),
        ("sore_throat_1", "sore throat"),
        ("declines_record", "recorded"),
    ],
)
def test_the_words_that_a_scenario_turns_on_were_heard(line: str, phrase: str) -> None:
    (entry,) = (e for e in LINES if e["id"] == line)
    assert phrase in re.sub(r"/\d+", "", entry["heard"])


def test_never_pauses_never_pauses() -> None:
    pcm = caller("never_pauses")
    assert 30 < len(pcm) / RATE < 40
    assert len(sound_spans(pcm, join_ms=250)) == 1


class TestRendering:
    pytestmark = needs_flite

    @pytest.mark.parametrize("line", ["stop", "sore_bye", "cough", "gasping", "nurse_hello"])
    def test_rendering_again_gives_the_same_file(self, line: str, tmp_path: Path) -> None:
        (entry,) = (e for e in LINES if e["id"] == line)
        write_wav(tmp_path / "again.wav", render(entry))
        assert hashlib.sha256((tmp_path / "again.wav").read_bytes()).hexdigest() == entry["sha256"]


def test_an_altered_or_missing_file_is_named_with_the_remedy() -> None:
    with pytest.raises(AssetError, match=r"nobody\.wav is missing; run python -m triage\.demo\.callers\.render nobody"):
        check([{"id": "nobody", "sha256": ""}])
    with pytest.raises(AssetError, match=r"stop\.wav is not the rendered one"):
        check([{"id": "stop", "sha256": "0" * 64}])


def test_found_fields_replace_old_ones_and_leave_the_rest() -> None:
    toml = '# top\n\n[[line]]\nid = "a"\ntext = "x"\nheard = "old"\n\n# next\n[[line]]\nid = "b"\ntext = "y"\n'
    done = complete(toml, {"a": {"seconds": "1.00", "heard": '"new"'}})
    assert done == (
        '# top\n\n[[line]]\nid = "a"\ntext = "x"\nseconds = 1.00\nheard = "new"\n\n# next\n[[line]]\nid = "b"\ntext = "y"\n'
    )
    assert complete(done, {"a": {"seconds": "1.00", "heard": '"new"'}}) == done
