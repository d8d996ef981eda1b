"""Every prompt that may be ordered has a clip: the right file, sounding at once, saying the right number, soon loaded."""

import hashlib
import re
import shutil
import time
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from fsm import prompts
from triage import clips_render
from triage.audio import SILENCE_DB, level_db
from triage.clips import MACHINE, ClipLibrary, digits, read_manifest
from triage.config import NUMBERS
from triage.dialogue.interview import opening
from triage.dialogue.wording import spoken_lines
from triage.errors import AssetError, SettingError, StageError
from triage.ports import RATE

FOLDER = Path(clips_render.__file__).parent.parent / "audio_assets"
AUDIBLE = 10 ** (-45 / 20) * 32768
ENTRIES = read_manifest(FOLDER)
REGIONS = ("us", "uk", "eu")


@pytest.fixture(scope="module", params=REGIONS)
def library(request: pytest.FixtureRequest) -> ClipLibrary:
    return ClipLibrary.load("en", request.param)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A few clips of our own to break."""
    kept = [e for e in ENTRIES if e["id"] in ("ack", "emergency_first") and e["language"] == "en"]
    for entry in kept:
        (tmp_path / entry["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FOLDER / entry["file"], tmp_path / entry["file"])
    (tmp_path / "manifest.toml").write_text(clips_render.manifest_text(kept), encoding="utf-8")
    return tmp_path


def load(folder: Path) -> ClipLibrary:
    return ClipLibrary.load("en", "us", folder=folder, required=("ack", "emergency_first"))


# --- complete


def test_every_prompt_of_the_machine_has_a_clip(library: ClipLibrary) -> None:
    named: set[str] = set()
    for name, value in vars(prompts).items():
        if name.isupper():
            named |= {value} if isinstance(value, str) else set(value.values() if isinstance(value, dict) else value)
    assert {"connecting_nurse", "are_you_there_2", "child_nurse"} <= named
    assert named <= MACHINE, "triage.clips.MACHINE must name every prompt that the machine orders"
    assert library.ids >= MACHINE


def test_every_clip_that_a_category_plays_exists(library: ClipLibrary) -> None:
    place = resources.files("classifiers") / "rules" / "categories.toml"
    if not place.is_file():
        pytest.skip("no categories yet")
    named: set[str] = set()

    def collect(node: object) -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                if name.endswith("clip") and isinstance(value, str) and value:
                    named.add(value)
                else:
                    collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(tomllib.loads(place.read_text(encoding="utf-8")))
    assert named
    assert named <= library.ids


def test_everything_the_dialogue_says_in_fixed_wording_has_its_clip_in_that_wording(library: ClipLibrary) -> None:
    for prompt, text in spoken_lines():
        assert prompt in library
        if "{" not in text:
            assert library.clip(prompt).text == text
    assert set(opening()) <= library.ids


def test_nothing_is_out_of_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert clips_render.main(["--check"]) == 0, capsys.readouterr().out


def test_acknowledgements_come_in_more_than_one_wording(library: ClipLibrary) -> None:
    assert library.variants("ack") == ("ack", "ack_2", "ack_3")
    assert library.variants("filler") == ("filler",)
    assert library.variants("nonsense") == ()


# --- the files


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e["file"])
def test_a_file_is_what_the_manifest_says(entry: dict[str, object]) -> None:
    content = (FOLDER / str(entry["file"])).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert entry["quality"] == ("placeholder" if entry["language"] == "es" else "local")


def test_files_and_manifest_are_the_same_set() -> None:
    assert {p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.wav")} == {e["file"] for e in ENTRIES}


def test_a_clip_sounds_within_ten_milliseconds_and_at_one_level(library: ClipLibrary) -> None:
    for prompt in library.ids:
        pcm = library.clip(prompt).pcm.astype(np.int32)
        onset = int(np.argmax(np.abs(pcm) > AUDIBLE))
        assert 0 < onset <= RATE // 100, prompt
        assert abs(pcm[0]) <= 8, prompt
        assert abs(pcm[-1]) <= 8, prompt
        assert -24 < level_db(library.clip(prompt).pcm) < -19, prompt
        assert np.abs(pcm).max() < 32768 * 10 ** (-0.9 / 20), prompt
    assert SILENCE_DB < -50


def test_word_times_lie_in_order_inside_the_clip(library: ClipLibrary) -> None:
    for prompt in library.ids:
        clip = library.clip(prompt)
        assert [w.text for w in clip.words] == clip.text.split(), prompt
        at = 0
        for word in clip.words:
            assert at <= word.start <= word.end <= len(clip.pcm), prompt
            at = word.start


def test_samples_cannot_be_written_to(library: ClipLibrary) -> None:
    with pytest.raises(ValueError, match="read-only"):
        library.clip("ack").pcm[0] = 1


# --- numbers


def test_the_emergency_number_is_said_within_three_seconds_and_nobody_is_told_to_stay(library: ClipLibrary) -> None:
    clip = library.clip("emergency_first")
    first = clips_render.wanted()  # the words of the number, from the wording
    spoken = next(c for c in first if c.id == "emergency_first" and c.text == clip.text).text.split()[1:4]
    at = next(
        i
        for i in range(len(clip.words))
        if [w.text.strip(".,") for w in clip.words[i : i + 3]] == [s.strip(".,") for s in spoken]
    )
    assert clip.words[at].start < 1.5 * RATE
    assert clip.words[at + 2].end < 3 * RATE
    assert "hang up and dial" in clip.text.lower()
    assert "beside you" in clip.text
    assert "where the patient is" in clip.text
    for prompt in library.ids:
        assert "stay on the line" not in library.clip(prompt).text.lower()


def test_the_numbers_of_the_settings_are_the_numbers_said() -> None:
    for region, (emergency, crisis, poison) in NUMBERS.items():
        ClipLibrary.load("en", region).check_numbers(emergency=emergency, crisis=crisis, poison=poison)


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"emergency": "112"}, "emergency_number"),
        ({"crisis": "111"}, "crisis_number"),
        ({"poison": "1-800"}, "poison_number"),
    ],
)
def test_other_numbers_in_the_settings_refuse_the_start(wrong: dict[str, str], setting: str) -> None:
    numbers = {"emergency": "911", "crisis": "988", "poison": "1-800-222-1222"} | wrong
    with pytest.raises(SettingError, match=f"^setting {setting}: .*; ") as caught:
        ClipLibrary.load().check_numbers(**numbers)
    assert "\n" not in str(caught.value)


def test_a_number_said_in_words_is_the_number_declared() -> None:
    read = tomllib.loads((FOLDER / "wording.toml").read_text(encoding="utf-8"))
    words = {
        "en": "zero one two three four five six seven eight nine",
        "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    }
    for language, names in words.items():
        digit = {name: str(n) for n, name in enumerate(names.split())} | {"hundred": "00"}
        for number, spoken in read["spoken"][language].items():
            assert "".join(digit[w] for w in spoken.replace(",", "").split()) == digits(number)


# --- loading


def test_loading_everything_takes_less_than_150_ms_and_keeps_no_file_open() -> None:
    took = []
    for _ in range(3):
        began = time.perf_counter()
        ClipLibrary.load()
        took.append(time.perf_counter() - began)
    assert min(took) < 0.15


def test_a_prompt_without_a_clip_is_a_stage_error() -> None:
    with pytest.raises(StageError) as caught:
        ClipLibrary.load().clip("no_such_prompt")
    assert caught.value.stage == "clips"


def test_placeholders_are_refused_in_production_and_played_elsewhere() -> None:
    assert ClipLibrary.load("es", "us").clip("connecting_nurse").quality == "placeholder"
    with pytest.raises(AssetError, match="placeholder"):
        ClipLibrary.load("es", "us", placeholders=False)
    assert ClipLibrary.load("en", "us", placeholders=False)


def test_a_language_or_region_without_clips_is_refused_by_name() -> None:
    with pytest.raises(AssetError, match="language fr, region us"):
        ClipLibrary.load("fr", "us")
    with pytest.raises(AssetError, match="region mars"):
        ClipLibrary.load("en", "mars")


def test_the_copy_is_whole(copy: Path) -> None:
    assert load(copy).ids == {"ack", "emergency_first"}


def broken(copy: Path) -> str:
    with pytest.raises(AssetError) as caught:
        load(copy)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value), "no remedy"
    return str(caught.value)


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "en/ack.wav").unlink()
    assert "en/ack.wav is missing" in broken(copy)


def test_a_changed_byte_is_found(copy: Path) -> None:
    content = bytearray((copy / "en/ack.wav").read_bytes())
    content[-100] ^= 1
    (copy / "en/ack.wav").write_bytes(content)
    assert "en/ack.wav" in broken(copy)


def _rehash(copy: Path, content: bytes, **changed: str) -> None:
    (copy / "en/ack.wav").write_bytes(content)
    entries = read_manifest(copy)
    for entry in entries:
        if entry["id"] == "ack":
            entry.update({"sha256": hashlib.sha256(content).hexdigest(), **changed})
    (copy / "manifest.toml").write_text(clips_render.manifest_text(entries), encoding="utf-8")


def test_another_rate_is_refused_even_when_the_hash_is_right(copy: Path) -> None:
    content = bytearray((copy / "en/ack.wav").read_bytes())
    content[24:28] = (8000).to_bytes(4, "little")
    _rehash(copy, bytes(content))
    assert "not 16000 Hz" in broken(copy)


def test_something_that_is_no_sound_is_refused(copy: Path) -> None:
    _rehash(copy, b"not audio")
    assert "is no WAV" in broken(copy)


def test_a_quality_that_nobody_knows_is_refused(copy: Path) -> None:
    _rehash(copy, (copy / "en/ack.wav").read_bytes(), quality="great")
    assert "quality" in broken(copy)


def test_a_manifest_that_is_missing_broken_or_of_another_schema_is_named(copy: Path) -> None:
    manifest = copy / "manifest.toml"
    whole = manifest.read_text()
    manifest.write_text("schema = ")
    assert "manifest.toml is no TOML" in broken(copy)
    manifest.write_text(whole.replace("schema = 1", "schema = 9"))
    assert "schema 1" in broken(copy)
    manifest.write_text(re.sub(r'text = ".*"', "", whole, count=1))
    assert "field text" in broken(copy)
    manifest.unlink()
    assert "manifest.toml cannot be read" in broken(copy)


def test_the_renderer_refuses_an_unknown_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    assert clips_render.main(["--check", "--only", "no_such_prompt"]) == 2
    assert "no_such_prompt is no prompt" in capsys.readouterr().err


@pytest.mark.engine
def test_rendering_again_gives_the_same_speech() -> None:
    try:
        pcm, words = clips_render.render(next(c for c in clips_render.wanted() if c.id == "connecting_nurse"))
    except StageError:
        pytest.skip("the local voice is not installed")
    clip = ClipLibrary.load().clip("connecting_nurse")
    assert abs(len(pcm) - len(clip.pcm)) < RATE // 50
    assert abs(level_db(pcm) - level_db(clip.pcm)) < 0.5
    assert [w for w, _, _ in words] == [w.text for w in clip.words]
