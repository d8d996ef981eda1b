"""The trained layer: how much do these words, after that question, sound like the urgent lines of our corpus?

A linear model over `features.py`, read from one small file; no scikit-learn and no numpy in the call process. It may
raise a level and never veto one. It knows nothing of the call so far; that is the rules' part.

1. The text is cut into windows of words; the highest window decides, so that a long harmless story hides nothing.
2. Weights of the features found are summed per head (urgent, emergency_now), divided by the fourth root of the squared
   sightings (many words must not shout down few).
3. Urgent has a second head over the plain words, weighed by rarity, divided by the length of the row. What both say,
   each divided by its spread on held-out lines, is added and calibrated to 0..1 (Platt).
4. Where urgent, the category with the highest sum is named, and the features that weighed most with their spans.
"""

import gzip
import json
import math
import sys
import tomllib
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from classifiers import features
from classifiers.features import Feature, Word, WordClasses
from classifiers.levels import Category

FORMAT = 2
WEIGHTS_FILE = "urgency.gz"
MANIFEST_FILE = "urgency.toml"
WINDOW, STEP = 80, 40
"""Words per window of a text, and how far the next one starts."""
LENGTH_PRICE, FREE_WORDS, PRICED_WORDS = 0.6, 15, 150
"""What a text of n words pays, times ln n/`FREE_WORDS`, up to so many: more words are more chances of a false alarm. Set on
validation, between equal false alarms for turns of any length (0.7) and hearing danger in a story (0)."""
MAX_WORDS = 4_000
"""Words judged of one text; what lies beyond is not looked at (no final is a tenth as long)."""
BARE_WORDS = 6
"""An answer of at most so many words to a question is judged by the question."""
TOP = 6
BUCKET_BITS = 12
SCALE = {"w": 1.0, "b": 0.7, "s": 0.6, "t": 0.4, "g": 0.4, "c": 0.3, "k": 1.0, "p": 0.7, "q": 1.0}
"""By the first letter of a feature's name: how much one sighting counts. Classes carry over to words never seen; pieces
of words come in heaps."""


WORDS_KEPT = 6_000
"""Words (with their marks) whose features are kept; beyond, all are forgotten."""

_Known = tuple[tuple[int, str], ...]
"""(row, name) of features that the model knows."""
_Place = tuple[int, str, int, int]
"""Row, name, first word and last (excluded) of a feature that the model knows."""
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
    """(strongest feature, weight of all) of the words that weighed most for urgent; the sign tells the direction."""
    version: str
    spans: tuple[tuple[int, int], ...] = ()
    """For each of `top` where its words stand in the text as given; (0, 0) for the question just asked."""
    emergency_score: float = 0.0
    """Calibrated 0 to 1."""


class Rows:
    """In which row a feature's weights stand, from numbers that ascend.

    Four bytes a feature; a dictionary takes twenty times as much, in every process of the line.
    """

    def __init__(self, ids: "array[int]") -> None:
        self._ids = ids
        shift, last = 32 - BUCKET_BITS, 1 << BUCKET_BITS
        self._first = [bisect_left(ids, bucket << shift) for bucket in range(last)] + [len(ids)]

    def find(self, number: int) -> int:
        """The row of this number; -1 when the model does not know it."""
        bucket = number >> (32 - BUCKET_BITS)
        end = self._first[bucket + 1]
        row = bisect_left(self._ids, number, self._first[bucket], end)
        return row if row < end and self._ids[row] == number else -1

    def places(self, found: Iterable[Feature]) -> list[_Place]:
        """Those of these features that the model knows, in their order. As `find`, written out for speed."""
        ids, starts_at, shift, known = self._ids, self._first, 32 - BUCKET_BITS, []
        for name, first, last in found:
            number = feature_id(name)
            end = starts_at[(number >> shift) + 1]
            row = bisect_left(ids, number, starts_at[number >> shift], end)
            if row < end and ids[row] == number:
                known.append((row, name, first, last))
        return known


@dataclass(frozen=True, slots=True)
class PlainHead:
    """The urgent question put to the plain words, weighed by their rarity."""

    rows: Rows
    weights: "array[int]"
    """Weight times rarity."""
    rarity: bytes
    """In steps of `rarity_scale`."""
    scale: float
    rarity_scale: float
    bias: float

    def score(self, known: Iterable[_Place]) -> tuple[float, dict[int, _Sighting], float]:
        """Raw score, the first sighting of each feature by its row, and what their sum was divided by."""
        seen: dict[int, _Sighting] = {}
        squares = 0
        total = 0
        for row, name, first, last in known:
            if row not in seen:
                seen[row] = (1.0, name, first, last)
                total += self.weights[row]
                squares += self.rarity[row] * self.rarity[row]
        size = math.sqrt(max(squares, 1)) * self.rarity_scale
        return total * self.scale / size + self.bias, seen, size


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

    def raw(self, seen: Mapping[int, _Sighting], size: float) -> float:
        """Not yet calibrated: the weights of the features found, divided by `size`."""
        total = 0.0
        for row, (scale, _, _, _) in seen.items():
            total += self.weights[row] * scale
        return total / size * self.scale + self.bias

    def probability(self, raw: float, words: int, bare: bool = False) -> float:
        """Calibrated 0..1 for a raw score, the highest window's of a text of so many words."""
        slope, offset = self.bare_curve if bare else self.curve
        x = slope * (raw - price(words)) + offset
        return 1.0 / (1.0 + math.exp(-x)) if x >= -700 else 0.0

    def limit(self, bare: bool = False) -> float:
        """The threshold that counts."""
        return self.bare_threshold if bare else self.threshold


def feature_id(name: str) -> int:
    """The number a feature is stored under."""
    return zlib.crc32(name.encode() if name.isascii() else name.encode("utf-8", "surrogatepass"))


def is_bare(words: Sequence[Word], question: str) -> bool:
    """Whether these words are a short answer to a question, which has a threshold of its own."""
    return bool(question.strip()) and len(words) <= BARE_WORDS


def price(words: int) -> float:
    """What the score of a text of so many words pays."""
    return LENGTH_PRICE * math.log(min(max(words, FREE_WORDS), PRICED_WORDS) / FREE_WORDS)


def norm(squares: float) -> float:
    """What the sum of a window's weights is divided by, from the sum of its squared sightings."""
    return math.sqrt(math.sqrt(max(squares, 1e-9)))


@dataclass(frozen=True, slots=True)
class _Window:
    """What both heads knew of one window, and what their sums were divided by."""

    seen: dict[int, _Sighting]
    size: float
    plain_seen: dict[int, _Sighting]
    plain_size: float


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
            plain = header["plain"]
            plain_count = int(plain["features"])
            if len(body) != count * (4 + 2 + 2 + columns) + plain_count * (4 + 2 + 1):
                raise ModelFileError(f"{WEIGHTS_FILE} has the wrong size; run `make train`")
            self._rows = Rows(_array("I", body[: 4 * count]))
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
            self._category_rows = _array("b", body[at : at + columns * count])
            at += columns * count
            plain_rows = Rows(_array("I", body[at : at + 4 * plain_count]))
            at += 4 * plain_count
            self._plain = PlainHead(
                rows=plain_rows,
                weights=_array("h", body[at : at + 2 * plain_count]),
                rarity=body[at + 2 * plain_count :],
                scale=float(plain["scale"]),
                rarity_scale=float(plain["rarity_scale"]),
                bias=float(plain["bias"]),
            )
            self._shares = 1 / float(header["urgent"]["spread"]), 1 / float(plain["spread"])
            self._category_bias = [float(b) for b in header["category_bias"]]
            self._category_scale = [float(s) for s in header["category_scale"]]
        except ModelFileError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
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
        asked_words = features.words_of(question[-400:]) if question else []
        answer = features.answer_of(words) if question else ""
        if question:
            names = features.question_features(answer, asked_words, self._classes)
            asked = [Feature(name, -1, -1) for name in names]
        alone = [self._known_of(word.text, mark) for word, mark in zip(words, marks, strict=True)]
        joint = self._rows.places(features.joint_features(words, marks, self._classes) + asked)
        plain = self._plain.rows.places(features.plain(words, asked_words, answer))
        best: tuple[float, _Window] | None = None
        emergency = -math.inf
        for start in starts(len(words)):
            seen, size = self._look(alone, joint, start)
            plain_raw, plain_seen, plain_size = self._plain.score(_inside(plain, start))
            raw = self._urgent.raw(seen, size) * self._shares[0] + plain_raw * self._shares[1]
            emergency = max(emergency, self._emergency.raw(seen, size))
            if best is None or raw > best[0]:
                best = (raw, _Window(seen, size, plain_seen, plain_size))
        if best is None:
            return ModelVerdict(0.0, False, False, Category.NONE, (), self.version)
        raw, window = best
        bare = is_bare(words, question)
        score = self._urgent.probability(raw, len(words), bare)
        urgent = score >= self._urgent.limit(bare)
        emergency_score = self._emergency.probability(emergency, len(words))
        top, spans = self._reasons(window, words)
        return ModelVerdict(
            score=score,
            urgent=urgent,
            emergency=urgent and emergency_score >= self._emergency.threshold,
            category=self._category(window.seen, window.size) if urgent else Category.NONE,
            top=top,
            version=self.version,
            spans=spans,
            emergency_score=emergency_score,
        )

    def _look(
        self, alone: Sequence[_Known], joint: Iterable[_Place], start: int = 0
    ) -> tuple[dict[int, _Sighting], float]:
        """Features of the window from `start` by their row, the first sighting of each; and their sum's divisor."""
        seen: dict[int, _Sighting] = {}
        squares = 0.0
        for at, known in enumerate(alone[start : start + WINDOW], start):
            for row, name in known:
                if row not in seen:
                    scale = SCALE[name[0]]
                    seen[row] = (scale, name, at, at + 1)
                    squares += scale**2
        for row, name, first, last in _inside(joint, start):
            if row not in seen:
                scale = SCALE[name[0]]
                seen[row] = (scale, name, first, last)
                squares += scale**2
        return seen, norm(squares)

    def _known_of(self, text: str, mark: str) -> _Known:
        """What one word gives by itself; kept, as the same words come again and again."""
        known = self._words_known.get((text, mark))
        if known is None:
            numbered = ((self._rows.find(feature_id(name)), name) for name in features.word_features(text, mark))
            known = tuple((row, name) for row, name in numbered if row >= 0)
            if len(self._words_known) >= WORDS_KEPT:
                self._words_known.clear()
            self._words_known[text, mark] = known
        return known

    def _category(self, seen: Mapping[int, _Sighting], size: float) -> Category:
        columns = len(self._categories)
        sums = [0.0] * columns
        alike: dict[float, list[array[int]]] = {}
        for row, (scale, _, _, _) in seen.items():
            alike.setdefault(scale, []).append(self._category_rows[row * columns : (row + 1) * columns])
        for scale, rows in alike.items():
            for column, total in enumerate(map(sum, zip(*rows, strict=True))):
                sums[column] += total * scale
        best = max(
            range(columns), key=lambda c: (sums[c] / size * self._category_scale[c] + self._category_bias[c], -c)
        )
        return self._categories[best]

    def _reasons(
        self, window: _Window, words: Sequence[Word]
    ) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[int, int], ...]]:
        """What moved the score most, both heads together: of the same words the sum.

        It stands under the name of the strongest feature that pulls its way, of the first head where there is one, as
        that knows the scope. Small words by themselves are left out: they say nothing to a person who asks why.
        """
        places: dict[tuple[int, int, str], list[tuple[float, str]]] = {}
        for weights, scale, seen in (
            (self._urgent.weights, self._urgent.scale / window.size * self._shares[0], window.seen),
            (self._plain.weights, self._plain.scale / window.plain_size * self._shares[1], window.plain_seen),
        ):
            for row, (sight, name, first, last) in seen.items():
                place = (first, last, "" if first >= 0 else name)
                places.setdefault(place, []).append((weights[row] * scale * sight, name))
        summed = [(sum(weight for weight, _ in found), place) for place, found in places.items()]
        summed.sort(key=lambda one: (-abs(one[0]), one[1]))
        top: list[tuple[str, float]] = []
        spans: list[tuple[int, int]] = []
        for weight, (first, last, own) in summed:
            if weight == 0 or (first >= 0 and _small(words[first:last])):
                continue
            found = [(w * weight > 0, name[0] in SCALE, abs(w), name) for w, name in places[first, last, own]]
            top.append((max(found)[-1], round(weight, 4)))
            spans.append((words[first].start, words[last - 1].end) if first >= 0 else (0, 0))
            if len(top) == TOP:
                break
        return tuple(top), tuple(spans)


def _small(words: Iterable[Word]) -> bool:
    """Whether these are small words only."""
    return all(word.text in features.STOP for word in words)


def _inside(places: Iterable[_Place], start: int) -> Iterable[_Place]:
    """Those in the window from `start`; the question belongs to the first."""
    end = start + WINDOW
    return (place for place in places if (place[2] >= start or (start == 0 and place[2] < 0)) and place[3] <= end)


def starts(count: int) -> range:
    """First words of the windows over a text of `count` words."""
    return range(0, max(1, count - WINDOW + STEP), STEP) if count else range(0)


def _array(kind: str, content: bytes) -> "array[int]":
    """Little-endian numbers as stored, whatever this machine's order."""
    numbers: array[int] = array(kind)
    numbers.frombytes(content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
