"""The trained layer: how much do these words, after that question, sound like the urgent lines of our corpus?

A linear model over `features.py`, read from one small file; no scikit-learn and no numpy in the call process. It may
raise a level and never veto one. It knows nothing of the call so far; that is the rules' part.

1. The text is cut into windows of words; the highest window decides, so that a long harmless story hides nothing.
2. Weights of the features found are summed per head (urgent, emergency_now), divided by the fourth root of the squared
   sightings (many words must not shout down few), and calibrated to 0..1 (Platt).
3. Where urgent, the category with the highest sum is named, and the features that weighed most with their spans.
"""

import gzip
import json
import math
import sys
import tomllib
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from classifiers import features
from classifiers.features import Feature, Word, WordClasses
from classifiers.levels import Category

FORMAT = 1
WEIGHTS_FILE = "urgency.gz"
MANIFEST_FILE = "urgency.toml"
WINDOW, STEP = 16, 8
"""Words per window of a text, and how far the next one starts."""
LENGTH_PRICE, PRICED_WINDOWS = 0.6, 5
"""What the highest of n windows pays, times ln n up to so many: many windows are many chances of a false alarm. Set on
validation, between equal false alarms for turns of any length (about 0.9) and hearing danger deep in a story (0)."""
MAX_WORDS = 4_000
"""Words judged of one text; what lies beyond is not looked at (no final is a tenth as long)."""
BARE_WORDS = 6
"""An answer of at most so many words to a question is judged by the question."""
TOP = 6
SCALE = {"w": 0.7, "b": 0.5, "s": 0.5, "t": 0.3, "g": 0.3, "c": 0.2, "k": 1.5, "p": 1.0, "q": 1.0}
"""By the first letter of a feature's name: how much one sighting counts. Classes carry over to words never seen; pieces
of words come in heaps."""


WORDS_KEPT = 6_000
"""Words (with their marks) whose features are kept; beyond, all are forgotten."""

_Known = tuple[tuple[int, str], ...]
"""(row, name) of features that the model knows."""
_Sighting = tuple[float, str, int, int]
"""How much it counts, its name, and where it was first seen."""


class ModelFileError(ValueError):
    """The model file is missing, broken, or made for another version; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class ModelVerdict:
    """What the model says of one text."""

    score: float
    """Calibrated on the corpus's own mixture, 0 to 1; not a risk of illness."""
    urgent: bool
    """At or above the threshold that training chose."""
    emergency: bool
    """Urgent, and the emergency head at or above its own threshold."""
    category: Category
    """`NONE` unless urgent."""
    top: tuple[tuple[str, float], ...]
    """(feature, weight) of what weighed most for urgent; the sign tells the direction."""
    version: str
    spans: tuple[tuple[int, int], ...] = ()
    """For each of `top` where its words stand in the text as given; (0, 0) for the question just asked."""
    emergency_score: float = 0.0
    """Calibrated 0 to 1."""


@dataclass(frozen=True, slots=True)
class Head:
    """One yes-or-no question put to the features."""

    weights: "array[int]"
    scale: float
    bias: float
    curve: tuple[float, float]
    """Slope and offset of the calibration."""
    threshold: float
    bare_curve: tuple[float, float]
    bare_threshold: float
    """The same for bare answers to a question, where one word carries everything."""

    def probability(self, total: float, windows: int, bare: bool = False) -> float:
        """Calibrated 0..1 for a sum of stored weights, the highest of so many windows."""
        slope, offset = self.bare_curve if bare else self.curve
        x = slope * (total * self.scale + self.bias - price(windows)) + offset
        return 1.0 / (1.0 + math.exp(-x)) if x >= -700 else 0.0

    def limit(self, bare: bool = False) -> float:
        """The threshold that counts."""
        return self.bare_threshold if bare else self.threshold


def feature_id(name: str) -> int:
    """The number a feature is stored under."""
    return zlib.crc32(name.encode("utf-8", "surrogatepass"))


def is_bare(words: Sequence[Word], question: str) -> bool:
    """Whether these words are a short answer to a question, which has a threshold of its own."""
    return bool(question.strip()) and len(words) <= BARE_WORDS


def price(windows: int) -> float:
    """What a score pays for being the highest of so many windows."""
    return LENGTH_PRICE * math.log(min(max(windows, 1), PRICED_WINDOWS))


def norm(squares: float) -> float:
    """What the sum of a window's weights is divided by, from the sum of its squared sightings."""
    return math.sqrt(math.sqrt(max(squares, 1e-9)))


class UrgencyModel:
    """The model, read once per process. Judging only keeps which features of a word it knows."""

    def __init__(self, payload: bytes, version: str, classes: WordClasses) -> None:
        """Read the content of a model file.

        Raises:
            ModelFileError: header and content do not fit together.
        """
        try:
            length = int.from_bytes(payload[:4], "little")
            header = json.loads(payload[4 : 4 + length])
            count, self._categories = int(header["features"]), [Category(c) for c in header["categories"]]
            columns = len(self._categories)
            if header["format"] != FORMAT or header["feature_version"] != features.VERSION:
                raise ModelFileError(f"{WEIGHTS_FILE} was made for another version; run `make train`")
            body = payload[4 + length :]
            if len(body) != count * (4 + 2 + 2 + columns):
                raise ModelFileError(f"{WEIGHTS_FILE} has the wrong size; run `make train`")
            ids = _array("I", body[: 4 * count])
            self._row = dict(zip(ids, range(count), strict=True))
            at = 4 * count
            heads = []
            for name in ("urgent", "emergency"):
                h = header[name]
                curve, threshold = (float(h["slope"]), float(h["offset"])), float(h["threshold"])
                bare = (float(h.get("bare_slope", curve[0])), float(h.get("bare_offset", curve[1])))
                heads.append(
                    Head(
                        weights=_array("h", body[at : at + 2 * count]),
                        scale=float(h["scale"]),
                        bias=float(h["bias"]),
                        curve=curve,
                        threshold=threshold,
                        bare_curve=bare,
                        bare_threshold=float(h.get("bare_threshold", threshold)),
                    )
                )
                at += 2 * count
            self._urgent, self._emergency = heads
            self._category_rows = _array("b", body[at:])
            self._category_bias = [float(b) for b in header["category_bias"]]
            self._category_scale = [float(s) for s in header["category_scale"]]
        except ModelFileError:
            raise
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ModelFileError(f"{WEIGHTS_FILE} is broken; run `make train`") from error
        self.version = version
        self._classes = classes
        self._words_known: dict[tuple[str, str], _Known] = {}

    @classmethod
    def load(cls, folder: Traversable | None = None) -> "UrgencyModel":
        """The shipped model, or the one in `folder`.

        Raises:
            ModelFileError: a file is missing, or its hash, size or version is not what the manifest says.
        """
        place = folder if folder is not None else files("classifiers").joinpath("model_data")
        try:
            manifest = tomllib.loads(place.joinpath(MANIFEST_FILE).read_text(encoding="utf-8"))
            payload = gzip.decompress(place.joinpath(WEIGHTS_FILE).read_bytes())
            classes = place.joinpath(features.CLASSES_FILE).read_text(encoding="utf-8")
        except (OSError, EOFError, zlib.error, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ModelFileError(f"{WEIGHTS_FILE} or its manifest cannot be read; run `make train`") from error
        for name, content in ((WEIGHTS_FILE, payload), (features.CLASSES_FILE, classes.encode())):
            expected = manifest.get("sha256", {}).get(name.partition(".")[0])
            if sha256(content).hexdigest() != expected:
                raise ModelFileError(f"{name} is not the one its manifest names; run `make train`")
        return cls(payload, str(manifest.get("version", "")), WordClasses(classes))

    @property
    def threshold(self) -> float:
        """Urgent at or above this score."""
        return self._urgent.threshold

    def judge(self, text: str, question: str = "") -> ModelVerdict:
        """Judge one text after the question just asked. Any string is accepted; work grows with its length."""
        words = features.words_of(text)[:MAX_WORDS]
        marks = features.marks_of(words)
        asked: list[Feature] = []
        if question:
            answer = features.answer_of(words)
            names = features.question_features(answer, features.words_of(question[-400:]), self._classes)
            asked = [Feature(name, -1, -1) for name in names]
        alone = [self._known_of(word.text, mark) for word, mark in zip(words, marks, strict=True)]
        best: tuple[float, int, dict[int, _Sighting], float] | None = None
        emergency = -math.inf
        for start in starts(len(words)):
            end = start + WINDOW
            joint = features.joint_features(words[start:end], marks[start:end], self._classes)
            seen, size = self._look(alone[start:end], joint + asked if start == 0 else joint)
            total = _total(seen, self._urgent.weights) / size
            emergency = max(emergency, _total(seen, self._emergency.weights) / size)
            if best is None or total > best[0]:
                best = (total, start, seen, size)
        if best is None:
            return ModelVerdict(0.0, False, False, Category.NONE, (), self.version)
        total, start, seen, size = best
        bare = is_bare(words, question)
        windows = len(starts(len(words)))
        score = self._urgent.probability(total, windows, bare)
        urgent = score >= self._urgent.limit(bare)
        emergency_score = self._emergency.probability(emergency, windows)
        top, spans = self._reasons(seen, words[start : start + WINDOW])
        return ModelVerdict(
            score=score,
            urgent=urgent,
            emergency=urgent and emergency_score >= self._emergency.threshold,
            category=self._category(seen, size) if urgent else Category.NONE,
            top=top,
            version=self.version,
            spans=spans,
            emergency_score=emergency_score,
        )

    def _look(self, alone: Sequence[_Known], joint: Sequence[Feature]) -> tuple[dict[int, _Sighting], float]:
        """Known features by their row, the first sighting of each; and what their sum is divided by."""
        rows = self._row
        seen: dict[int, _Sighting] = {}
        squares = 0.0
        for at, known in enumerate(alone):
            for row, name in known:
                if row not in seen:
                    scale = SCALE[name[0]]
                    seen[row] = (scale, name, at, at + 1)
                    squares += scale**2
        for name, first, last in joint:
            found = rows.get(feature_id(name))
            if found is not None and found not in seen:
                scale = SCALE[name[0]]
                seen[found] = (scale, name, first, last)
                squares += scale**2
        return seen, norm(squares)

    def _known_of(self, text: str, mark: str) -> _Known:
        """What one word gives by itself; kept, as the same words come again and again."""
        known = self._words_known.get((text, mark))
        if known is None:
            numbered = ((self._row.get(feature_id(name)), name) for name in features.word_features(text, mark))
            known = tuple((row, name) for row, name in numbered if row is not None)
            if len(self._words_known) >= WORDS_KEPT:
                self._words_known.clear()
            self._words_known[text, mark] = known
        return known

    def _category(self, seen: dict[int, _Sighting], size: float) -> Category:
        columns = len(self._categories)
        sums = [0.0] * columns
        for row, (scale, _, _, _) in seen.items():
            values = self._category_rows[row * columns : (row + 1) * columns]
            for column, value in enumerate(values):
                if value:
                    sums[column] += value * scale
        best = max(
            range(columns), key=lambda c: (sums[c] / size * self._category_scale[c] + self._category_bias[c], -c)
        )
        return self._categories[best]

    def _reasons(
        self, seen: dict[int, _Sighting], words: Sequence[Word]
    ) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[int, int], ...]]:
        """The features that weighed most, by absolute weight, at most one for the same words."""
        weights, scale = self._urgent.weights, self._urgent.scale
        weighed = [(weights[row] * scale * sight, name, place) for row, (sight, name, *place) in seen.items()]
        weighed.sort(key=lambda one: (-abs(one[0]), one[1]))
        top: list[tuple[str, float]] = []
        spans: list[tuple[int, int]] = []
        places: set[tuple[int, int]] = set()
        for weight, name, (first, last) in weighed:
            if (first, last) in places or (weight == 0):
                continue
            places.add((first, last))
            top.append((name, round(weight, 4)))
            spans.append((words[first].start, words[last - 1].end) if first >= 0 else (0, 0))
            if len(top) == TOP:
                break
        return tuple(top), tuple(spans)


def starts(count: int) -> range:
    """First words of the windows over a text of `count` words."""
    return range(0, max(1, count - WINDOW + STEP), STEP) if count else range(0)


def _total(seen: dict[int, _Sighting], weights: "array[int]") -> float:
    total = 0.0
    for row, (scale, _, _, _) in seen.items():
        total += weights[row] * scale
    return total


def _array(kind: str, content: bytes) -> "array[int]":
    """Little-endian numbers as stored, whatever this machine's order."""
    numbers: array[int] = array(kind)
    numbers.frombytes(content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
