"""Builds triage.arpa.gz: half what callers say (triage_text.txt), half the engine's own general model.

    python -m triage.stages.lm.build [--words 5000] [--share 0.5] [--out FILE]

The general model is read word pair by word pair through the engine (its own export breaks at trigrams), cut down to the
most frequent words, and mixed in; so a caller may say what nobody wrote down, and what is often said is preferred.
Result: an ARPA file with pairs and, from our text, triples; about a minute; the same input gives the same bytes.
"""

import argparse
import gzip
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
START, END = "<s>", "</s>"
WEIGHTIEST_LINE = 24.0
"""A line of the text counts as the square root of its expansions, at most this."""
PAIR_FLOOR = 10**-2.7
"""A pair of the general model that is less likely than this is left to the back-off."""

Gram = tuple[str, ...]


def expansions(line: str) -> Iterator[str]:
    """Every sentence that a line of the text stands for."""
    parts = [part.split("|") for part in re.split(r"[{}]", line)]
    for choice in itertools.product(*parts):
        yield " ".join("".join(choice).split())


def sentences(text: str) -> Iterator[tuple[str, float]]:
    """The text's sentences with their weights; comments and blank lines are skipped."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            spoken = list(expansions(line))
            weight = min(WEIGHTIEST_LINE, math.sqrt(len(spoken)))
            for sentence in spoken:
                yield sentence, weight / len(spoken)


def counts(text: str, order: int) -> dict[Gram, float]:
    """Weighted counts of the runs of `order` words, sentence edges included."""
    counted: dict[Gram, float] = defaultdict(float)
    for sentence, weight in sentences(text):
        words = [START, *sentence.split(), END]
        for at in range(len(words) - order + 1):
            counted[tuple(words[at : at + order])] += weight
    return dict(counted)


class GeneralModel:
    """The engine's own language model, cut down to some words."""

    def __init__(self) -> None:
        from pocketsphinx import Config, LogMath, NGramModel, get_model_path

        self._base = math.log(1.0001)
        self._model: Any = NGramModel(
            Config(lm=None, loglevel="FATAL"), LogMath(base=1.0001), get_model_path("en-us/en-us.lm.bin")
        )
        with open(get_model_path("en-us/cmudict-en-us.dict"), encoding="ascii") as lines:
            entries = (line.split(maxsplit=1)[0] for line in lines)
            self.pronounced = {word for word in entries if "(" not in word}

    def frequent(self, number: int) -> list[str]:
        """The most probable words that can be pronounced."""
        plain = (word for word in self.pronounced if re.fullmatch(r"[a-z]+('[a-z]+)?", word))
        return sorted(plain, key=lambda word: (-self._model.prob([word]), word))[:number]

    def singles(self, words: list[str]) -> NDArray[np.float64]:
        """P(word), scaled to sum to one over `words`."""
        found = np.exp(np.array([self._model.prob([word]) for word in words]) * self._base)
        scaled: NDArray[np.float64] = np.maximum(found, 1e-9) / np.maximum(found, 1e-9).sum()
        return scaled

    def after(self, before: str, words: list[str]) -> NDArray[np.float64]:
        """P(word | before), scaled to sum to one over `words`."""
        prob = self._model.prob
        found = np.exp(np.array([prob([word, before]) for word in words]) * self._base)
        scaled: NDArray[np.float64] = np.maximum(found, 1e-12) / np.maximum(found, 1e-12).sum()
        return scaled


def build(text: str, general: GeneralModel, extra: set[str], words: int, share: float) -> str:
    """The mixed model as ARPA text. `share`: of our text, 0 to 1; 1 asks the general model for single words only."""
    ours = sorted({gram[0] for gram in counts(text, 1)} - {START, END})
    if unknown := [word for word in ours if word not in general.pronounced | extra]:
        raise SystemExit(f"no pronunciation for {', '.join(unknown)}; add them to extra.dict or reword the text")
    vocabulary = [*sorted({*ours, *general.frequent(words)}), END]
    place = {word: at for at, word in enumerate(vocabulary)}

    said = np.zeros(len(vocabulary))
    for (word,), weight in counts(text, 1).items():
        if word != START:
            said[place[word]] += weight
    single = share * said / said.sum() + (1 - share) * general.singles(vocabulary)

    followers: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(len(vocabulary)))
    for (before, word), weight in counts(text, 2).items():
        followers[before][place[word]] += weight
    third: dict[Gram, NDArray[np.float64]] = defaultdict(lambda: np.zeros(len(vocabulary)))
    for (first, second, word), weight in counts(text, 3).items():
        third[first, second][place[word]] += weight

    pairs: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    triples: dict[Gram, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    back_off: dict[Gram, float] = {}
    for before in [START, *vocabulary[:-1]]:
        known = general.after(before, vocabulary)
        mixed = known
        if before in followers:
            mixed = share * _smoothed(followers[before], single) + (1 - share) * known
        keep = np.flatnonzero((mixed > PAIR_FLOOR) | (followers[before] > 0 if before in followers else False))
        pairs[before] = keep, mixed[keep]
        back_off[before,] = (1 - mixed[keep].sum()) / (1 - single[keep].sum())
        for first in sorted({first for first, second in third if second == before}):
            seen = third[first, before]
            finer = share * _smoothed(seen, mixed) + (1 - share) * mixed
            keep = np.flatnonzero(seen)
            triples[first, before] = keep, finer[keep]
            back_off[first, before] = (1 - finer[keep].sum()) / max(1e-9, 1 - mixed[keep].sum())
    return _arpa(vocabulary, single, pairs, triples, back_off)


def _smoothed(seen: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Witten-Bell: as much belief in the prior as there are kinds of followers, scaled to the text's small weights."""
    belief = 0.5 * float(seen[seen > 0].mean()) * int(np.count_nonzero(seen))
    smoothed: NDArray[np.float64] = (seen + belief * prior) / (seen.sum() + belief)
    return smoothed


def _arpa(
    vocabulary: list[str],
    single: NDArray[np.float64],
    pairs: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]],
    triples: dict[Gram, tuple[NDArray[np.int64], NDArray[np.float64]]],
    back_off: dict[Gram, float],
) -> str:
    def log(value: float) -> str:
        return f"{math.log10(max(value, 1e-9)):.3f}"

    lines = ["Mixed model for a triage line; see triage/stages/lm/build.py", "\\data\\"]
    lines.append(f"ngram 1={len(vocabulary) + 1}")
    lines.append(f"ngram 2={sum(len(keep) for keep, _ in pairs.values())}")
    lines.append(f"ngram 3={sum(len(keep) for keep, _ in triples.values())}")
    lines += ["", "\\1-grams:", f"-99\t{START}\t{log(back_off[START,])}"]
    for word, probability in zip(vocabulary, single, strict=True):
        lines.append(f"{log(probability)}\t{word}" + (f"\t{log(back_off[word,])}" if word != END else ""))
    lines += ["", "\\2-grams:"]
    for before in sorted(pairs):
        for at, probability in zip(*pairs[before], strict=True):
            word = vocabulary[at]
            weight = f"\t{log(back_off[before, word])}" if (before, word) in back_off else "\t0"
            lines.append(f"{log(probability)}\t{before} {word}" + ("" if word == END else weight))
    lines += ["", "\\3-grams:"]
    for history in sorted(triples):
        for at, probability in zip(*triples[history], strict=True):
            lines.append(f"{log(probability)}\t{' '.join(history)} {vocabulary[at]}")
    return "\n".join([*lines, "", "\\end\\", ""])


def main() -> None:
    """Build and write."""
    parser = argparse.ArgumentParser(description="build the offline recogniser's language model")
    parser.add_argument("--words", type=int, default=5000, help="frequent words of the general model to keep")
    parser.add_argument("--share", type=float, default=0.5, help="share of our own text, 0 to 1")
    parser.add_argument("--out", type=Path, default=HERE / "triage.arpa.gz")
    arguments = parser.parse_args()
    text = (HERE / "triage_text.txt").read_text(encoding="ascii")
    with (HERE / "extra.dict").open(encoding="ascii") as lines:
        extra = {line.split(maxsplit=1)[0] for line in lines if line.strip() and not line.startswith("#")}
    model = build(text, GeneralModel(), extra, arguments.words, arguments.share)
    arguments.out.write_bytes(gzip.compress(model.encode("ascii"), 9, mtime=0))
    print(f"{arguments.out}: {len(model) / 1e6:.1f} MB, packed {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
