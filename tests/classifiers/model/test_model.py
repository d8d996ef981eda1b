"""Promise: any string gets a verdict that can be explained; no training library; a file that is not ours is refused."""

import gzip
import json
import random
import subprocess
import sys
import time
import tracemalloc
from array import array
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.features import Feature
from classifiers.levels import Category
from classifiers.model import (
    FREE_WORDS,
    MANIFEST_FILE,
    PRICED_WORDS,
    WEIGHTS_FILE,
    WINDOW,
    ModelFileError,
    Rows,
    UrgencyModel,
    feature_id,
    price,
)

MODEL = UrgencyModel.load()
HOUSE = Path(__file__).resolve().parents[3]
FILLING = "i also wanted to ask about the parking and the opening hours on saturday "


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for file in files("classifiers").joinpath("model_data").iterdir():
        if file.name.startswith(("urgency", "word_classes")):
            tmp_path.joinpath(file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("my chest feels tight and the pain goes down my left arm", Category.CHEST),
        ("there's a crushing pressure on my chest and i'm sweating", Category.CHEST),
        ("his face is drooping on one side and he can't lift his arm", Category.STROKE),
        ("she is having a seizure right now and she won't stop shaking", Category.SEIZURE),
        ("me duele mucho el pecho y me falta el aire", Category.CHEST),
        ("my baby is two weeks old and he has a fever and won't eat", Category.INFANT),
    ],
)
def test_plain_danger_is_heard_and_named(text: str, category: Category) -> None:
    verdict = MODEL.judge(text)
    assert verdict.urgent and verdict.category is category


@pytest.mark.parametrize(
    "text",
    [
        "i need a refill of my blood pressure pills",
        "can i move my appointment to next week",
        "no chest pain no shortness of breath i just want my results",
        "i had a heart attack ten years ago and i need my records",
        "what are the warning signs of a stroke",
        "these shoes are killing me",
        "necesito cambiar mi cita del jueves",
        "my name is teresa walsh",
        "thank you so much",
    ],
)
def test_ordinary_speech_stays_ordinary(text: str) -> None:
    verdict = MODEL.judge(text)
    assert not verdict.urgent and not verdict.emergency and verdict.category is Category.NONE


def test_the_question_just_asked_counts() -> None:
    asked = "is there any trouble breathing"
    assert MODEL.judge("yes", asked).score > MODEL.judge("no", asked).score
    assert MODEL.judge("no", "is he breathing").score > MODEL.judge("yes", "is he breathing").score
    assert not MODEL.judge("yes", "is that a good number to call back").urgent


def test_danger_deep_in_a_long_story_is_heard() -> None:
    danger = "there is a crushing pressure on my chest and i'm sweating and my left arm hurts"
    for before in (0, 1, 7, 40):
        assert MODEL.judge(FILLING * before + danger + " " + FILLING * 3).urgent


def test_a_longer_text_pays_more_up_to_a_limit() -> None:
    assert price(0) == price(FREE_WORDS) == 0 < price(FREE_WORDS + 1) < price(80) < price(PRICED_WORDS)
    assert price(PRICED_WORDS) == price(4_000)


def test_reasons_point_at_the_words() -> None:
    text = "Well, um, there is this CRUSHING pressure on my chest today."
    verdict = MODEL.judge(text)
    assert len(verdict.top) == len(verdict.spans) > 0
    shown = {text[a:b].lower() for a, b in verdict.spans}
    assert any("chest" in words for words in shown)
    assert all(0 <= a < b <= len(text) for a, b in verdict.spans)
    assert [abs(w) for _, w in verdict.top] == sorted((abs(w) for _, w in verdict.top), reverse=True)


@given(st.text(max_size=400), st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_text_gets_a_verdict(text: str, question: str) -> None:
    verdict = MODEL.judge(text, question)
    assert 0.0 <= verdict.score <= 1.0
    assert verdict.urgent or not verdict.emergency


@pytest.mark.parametrize(
    "text", ["", " ", "\x00\x1f", "\ud800", "🤕🤕", "救命", "مساعدة", "...", "'" * 999, "a" * 99_999, "1 " * 5000]
)
def test_strange_text_gets_a_verdict(text: str) -> None:
    assert not MODEL.judge(text).urgent


def test_case_accents_and_punctuation_change_nothing() -> None:
    assert MODEL.judge("ME DUELE EL CORAZÓN, ¡AYUDA!").score == pytest.approx(
        MODEL.judge("me duele el corazon ¡ayuda!").score
    )


def test_the_same_words_give_the_same_verdict() -> None:
    text = "she fainted in the shower and she's still confused"
    assert MODEL.judge(text) == MODEL.judge(text) == UrgencyModel.load().judge(text)


def test_no_training_library_in_the_call_process() -> None:
    code = (
        "import sys; from classifiers.model import UrgencyModel; UrgencyModel.load().judge('my chest hurts');"
        "print([m for m in ('sklearn', 'scipy', 'numpy', 'joblib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_changed_weight_is_refused(copy: Path) -> None:
    payload = bytearray(gzip.decompress(copy.joinpath(WEIGHTS_FILE).read_bytes()))
    payload[-1] ^= 1
    copy.joinpath(WEIGHTS_FILE).write_bytes(gzip.compress(bytes(payload)))
    with pytest.raises(ModelFileError, match="not the one its manifest names"):
        UrgencyModel.load(copy)


def test_a_changed_word_class_is_refused(copy: Path) -> None:
    with copy.joinpath("word_classes.txt").open("a") as classes:
        classes.write("chest: toe\n")
    with pytest.raises(ModelFileError, match="word_classes"):
        UrgencyModel.load(copy)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, MANIFEST_FILE, "word_classes.txt"])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    copy.joinpath(name).unlink()
    with pytest.raises(ModelFileError, match="make train"):
        UrgencyModel.load(copy)


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b"", mtime=0)[:-9]])
def test_a_broken_file_is_refused(copy: Path, content: bytes) -> None:
    copy.joinpath(WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(ModelFileError):
        UrgencyModel.load(copy)


def test_a_file_of_the_wrong_shape_is_refused() -> None:
    payload = gzip.decompress(files("classifiers").joinpath("model_data", WEIGHTS_FILE).read_bytes())
    for wrong in (payload[:-1], payload + b"\0", payload[:10], b""):
        with pytest.raises(ModelFileError):
            UrgencyModel(wrong, "x", MODEL._classes)


def rewritten(payload: bytes, **changes: object) -> bytes:
    """The payload with other entries in the header of its second head."""
    length = int.from_bytes(payload[:4], "little")
    header = json.loads(payload[4 : 4 + length])
    header["plain"] |= changes
    head = json.dumps(header).encode()
    return len(head).to_bytes(4, "little") + head + payload[4 + length :]


@pytest.mark.parametrize("changes", [{"features": 1}, {"spread": 0}, {"scale": "x"}, {"bias": None}, {"features": []}])
def test_a_broken_second_head_is_refused(changes: dict[str, object]) -> None:
    payload = gzip.decompress(files("classifiers").joinpath("model_data", WEIGHTS_FILE).read_bytes())
    assert UrgencyModel(rewritten(payload), "x", MODEL._classes).judge("my chest hurts").score > 0
    with pytest.raises(ModelFileError, match="make train"):
        UrgencyModel(rewritten(payload, **changes), "x", MODEL._classes)


def test_the_second_head_adds_what_its_words_weigh() -> None:
    head = MODEL._plain
    found = [Feature(f"u:{word}", at, at + 1) for at, word in enumerate(("he", "collapsed", "zzyzx", "he"))]
    raw, seen, size = head.score(head.rows.places(found))
    assert [name for _, name, _, _ in seen.values()] == ["u:he", "u:collapsed"]
    assert size == pytest.approx(sum((head.rarity[row] * head.rarity_scale) ** 2 for row in seen) ** 0.5)
    assert raw == pytest.approx(sum(head.weights[row] for row in seen) * head.scale / size + head.bias)
    assert head.score([]) == (head.bias, {}, head.rarity_scale)


@given(st.sets(st.integers(0, 2**32 - 1), max_size=60), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_every_number_is_found_in_its_row_and_no_other(numbers: set[int], other: int) -> None:
    ordered = sorted(numbers)
    rows = Rows(array("I", ordered))
    assert [rows.find(number) for number in ordered] == list(range(len(ordered)))
    assert (rows.find(other) >= 0) is (other in numbers)


def test_many_are_found_as_one_by_one() -> None:
    names = [f"{kind}:{word}" for kind in "wuc" for word in ("chest", "zzyzx", "breathe", "ñandú", "pain")]
    rows = MODEL._rows
    one_by_one = [(rows.find(feature_id(name)), name, 0, 1) for name in names]
    assert rows.places(Feature(name, 0, 1) for name in names) == [place for place in one_by_one if place[0] >= 0] != []


def test_the_loaded_model_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        model = UrgencyModel.load()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert model._rows.find(feature_id("w:chest")) >= 0
    assert taken < 12_000_000


def test_small_and_quick() -> None:
    assert files("classifiers").joinpath("model_data", WEIGHTS_FILE).read_bytes().__len__() < 2_000_000
    started = time.perf_counter()
    model = UrgencyModel.load()
    assert time.perf_counter() - started < 0.5  # 0.1 is the aim; the test machine is shared
    rng = random.Random(1)
    words = (FILLING + "my chest hurts and he is not breathing since this morning no fever").split()
    taken = []
    for _ in range(400):
        text = " ".join(rng.choices(words, k=WINDOW + 20))
        started = time.thread_time()
        model.judge(text, "is there any trouble breathing")
        taken.append(time.thread_time() - started)
    assert sorted(taken)[200] < 0.005  # 100 words; 2 ms at the 99th percentile on a machine of its own
