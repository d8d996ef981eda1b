"""Promise: the shipped language model is the one of the shipped text, is a proper distribution, and has seen no test."""

import gzip
import json
import math
import re
import tomllib
from collections import defaultdict
from functools import cache

import pytest

from tests.stages.engines import CALLERS, ROOT, SHARED, needs_pocketsphinx
from triage.stages.lm.build import HERE, GeneralModel, build, counts, expansions, sentences
from triage.stages.pocketsphinx_stt import language_files

MUST_HEAR = """peanuts drooping swollen swelling nurse chest pain breathing breathe unconscious collapsed slurred numb weak
bleeding pregnant overdose suicide die kill stiff rash fever seizure choking poison pills warfarin metformin lisinopril
ibuprofen tylenol penicillin inhaler insulin wait stop human person recorded yes no"""
NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred"""


@cache
def model() -> tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]:
    """The shipped ARPA file: probabilities and back-off weights."""
    probabilities: dict[tuple[str, ...], float] = {}
    back_off: dict[tuple[str, ...], float] = {}
    order = 0
    for line in gzip.decompress(language_files()[0].read_bytes()).decode("ascii").splitlines():
        if section := re.fullmatch(r"\\(\d)-grams:", line):
            order = int(section[1])
        elif order and line and not line.startswith("\\"):
            probability, gram, *weight = line.split("\t")
            key = tuple(gram.split())
            assert len(key) == order
            probabilities[key] = 10 ** float(probability)
            back_off[key] = 10 ** float(weight[0]) if weight else 1.0
    return probabilities, back_off


def held_out() -> list[str]:
    """Every line that a caller of ours or of the sibling folder says, and every text of a scenario."""
    lines = [line.get("text", "") for line in tomllib.loads((CALLERS / "lines.toml").read_text())["line"]]
    for scenario in sorted((ROOT / "triage" / "demo" / "scenarios").glob("*.toml")):
        lines += re.findall(r'(?m)^say = "(.*)"$', scenario.read_text())
    if (SHARED / "manifest.json").is_file():
        lines += [entry["text"] for entry in json.loads((SHARED / "manifest.json").read_text())]
    plain = (" ".join(re.sub(r"[^a-z' ]", " ", line.lower()).split()) for line in lines)
    return [line for line in plain if line.count(" ") >= 2]


def text() -> str:
    return (HERE / "triage_text.txt").read_text(encoding="ascii")


def test_no_caller_and_no_scenario_stands_in_the_training_text() -> None:
    written = {sentence for sentence, _ in sentences(text())}
    assert len(written) > 5000
    assert len(held_out()) > 50
    assert sorted(written.intersection(held_out())) == []


def test_the_shipped_model_knows_every_word_and_pair_of_the_shipped_text() -> None:
    probabilities, _ = model()
    assert [gram for gram in counts(text(), 1) if gram not in probabilities] == []
    assert [gram for gram in counts(text(), 2) if gram not in probabilities] == []
    assert [gram for gram in counts(text(), 3) if gram not in probabilities] == []


@pytest.mark.parametrize("word", f"{MUST_HEAR} {NUMBERS}".split())
def test_words_that_decide_can_be_heard(word: str) -> None:
    assert (word,) in model()[0]


def test_probabilities_after_any_word_sum_to_one() -> None:
    probabilities, back_off = model()
    single = {gram[0]: p for gram, p in probabilities.items() if len(gram) == 1 and gram != ("<s>",)}
    assert sum(single.values()) == pytest.approx(1.0, abs=0.02)
    followers: dict[str, dict[str, float]] = defaultdict(dict)
    for gram, p in probabilities.items():
        if len(gram) == 2:
            followers[gram[0]][gram[1]] = p
    for before in ("<s>", "i", "chest", "no", "window", "peanuts"):
        known = followers[before]
        rest = back_off[before,] * (1 - sum(single[word] for word in known))
        assert sum(known.values()) + rest == pytest.approx(1.0, abs=0.02)


def test_the_file_is_small() -> None:
    assert language_files()[0].stat().st_size < 2_500_000


def test_a_line_stands_for_all_its_parts() -> None:
    assert list(expansions("{a|} b {c|d e}")) == ["a b c", "a b d e", "b c", "b d e"]
    weights = dict(sentences("# not this\n{x|y|z|w} v\nq\n"))
    assert weights == {"x v": 0.5, "y v": 0.5, "z v": 0.5, "w v": 0.5, "q": 1.0}


class TestBuilding:
    pytestmark = needs_pocketsphinx

    def test_our_text_makes_its_own_words_likelier(self) -> None:
        arpa = build("my knee hurts\nmy knee is sore\n", GeneralModel(), set(), words=60, share=0.5)
        found = dict(re.findall(r"(?m)^(-\d\.\d+)\t(?:my )(\w+)", arpa))
        by_word = {word: float(p) for p, word in found.items()}
        assert by_word["knee"] > math.log10(0.2)
        assert "\\3-grams:" in arpa
        assert "my knee hurts" in arpa

    def test_the_same_text_gives_the_same_model(self) -> None:
        general = GeneralModel()
        first, second = (build("my knee hurts\n", general, set(), words=40, share=0.5) for _ in range(2))
        assert first == second

    def test_a_word_nobody_can_pronounce_is_named(self) -> None:
        with pytest.raises(SystemExit, match="no pronunciation for xyzzyx"):
            build("my xyzzyx hurts\n", GeneralModel(), set(), words=10, share=0.5)
