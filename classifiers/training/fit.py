"""Fit, calibrate, choose thresholds, write the model file. Deterministic: one thread, fixed order, liblinear.

1. Every example becomes a row of features; a feature must occur in at least two phrase families of what is fitted on.
2. Five models, each fitted without one fold, score that fold: these held-out scores say how far the two urgent heads
   spread, calibrate their sum (Platt) and choose the thresholds. No family is scored by a model that saw it.
3. The model that ships is fitted on all five folds; the test families are used by nothing here.
4. Weights are rounded to 16-bit (heads) and 8-bit (categories) integers; all figures are of the rounded model.
"""

import gzip
import json
import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from classifiers import features
from classifiers.levels import Category, Level
from classifiers.model import FORMAT, SCALE, WEIGHTS_FILE, WINDOW, feature_id, is_bare, norm, price, starts
from classifiers.training import plain
from classifiers.training.corpus import FOLDS
from classifiers.training.generate import Example
from classifiers.training.plain import Floats, Ints, Plain

COST_OF_MISS = 20
"""A missed emergency costs as much as so many false alarms."""
ROUTINE_CAP = 0.01
"""At most this share of ordinary routine speech may alarm, misheard copies and longer turns counted, whatever the cost
says: single lines as written then alarm well below it."""
TOLD_CAP = 0.015
"""At most this share of harmless stories told at length may alarm, their copies counted."""
ALIKE_CAP = 0.04
"""At most this share of the hard negatives may alarm."""
ANSWER_CAP = 0.01
"""At most this share of harmless bare answers may alarm."""
EMERGENCY_CAP = 0.005
"""At most this share of harmless lines may be called emergency_now."""
ALIKE = frozenset(
    ["negated", "past", "longterm", "hypothetical", "other", "figurative", "names", "pets", "resolved", "scary_mild",
     "negtemplate", "hyptemplate", "othertemplate", "nametemplate"]
)  # fmt: skip
"""Kinds of hard negatives; every other harmless line is ordinary routine speech."""
C_URGENT, C_PLAIN, C_EMERGENCY, C_CATEGORY = 5.0, 10.0, 5.0, 3.0
HARMLESS_WEIGHT = 3.0
"""Harmless examples weigh more: on the line most words are harmless."""
MAX_FEATURES = 80_000
FAMILIES = 2
WHOLE = 80
"""Words of an example that are fitted on."""


@dataclass(frozen=True)
class Table:
    """Examples as rows of features, values not yet divided by the norm."""

    whole: csr_matrix
    """One row an example, the first words and the question together: what is fitted on."""
    windows: csr_matrix
    """One row a window, as a call would see it: what is scored."""
    owner: Ints
    """The example each window belongs to."""
    words: Ints
    """By example: how many words its text has."""
    names: list[str]
    squares: Floats
    """By column: the square of one sighting."""
    urgent: Floats
    emergency: Floats
    weight: Floats
    fold: Ints
    family: list[str]


@dataclass(frozen=True)
class Fitted:
    """One head before rounding."""

    weights: Floats
    bias: float


def rows_of(text: str, question: str, classes: features.WordClasses) -> list[dict[str, None]]:
    """Names of the features of the whole text (its first words), then of every window."""
    words = features.words_of(text)
    marks = features.marks_of(words)
    asked: dict[str, None] = {}
    if question:
        answer = features.answer_of(words)
        asked = dict.fromkeys(features.question_features(answer, features.words_of(question), classes))
    rows = []
    for start, end in ((0, WHOLE), *((at, at + WINDOW) for at in starts(len(words)))):
        found = dict.fromkeys(f.name for f in features.extract(words[start:end], marks[start:end], classes))
        rows.append({**found, **asked} if start == 0 else found)
    return rows


def _matrix(rows: Sequence[dict[str, None]], column: dict[str, int]) -> csr_matrix:
    """Values by the first letter of the name; 1 for plain words."""
    indptr, indices, values = [0], [], []
    for row in rows:
        found = sorted((column[name], SCALE.get(name[0], 1.0)) for name in row)
        indices += [at for at, _ in found]
        values += [value for _, value in found]
        indptr.append(len(indices))
    return csr_matrix((np.array(values), np.array(indices), np.array(indptr)), shape=(len(rows), len(column)))


def tabulate(examples: Sequence[Example], classes: features.WordClasses) -> Table:
    """Rows for all examples; columns in the order of the features' names."""
    found = [rows_of(e.text, e.question, classes) for e in examples]
    names = sorted({name for rows in found for row in rows for name in row})
    column = {name: i for i, name in enumerate(names)}
    return Table(
        whole=_matrix([rows[0] for rows in found], column),
        windows=_matrix([row for rows in found for row in rows[1:]], column),
        words=np.array([len(features.words_of(e.text)) for e in examples]),
        owner=np.array([i for i, rows in enumerate(found) for _ in rows[1:]]),
        names=names,
        squares=np.array([SCALE[name[0]] ** 2 for name in names]),
        urgent=np.array([float(e.line.urgent) for e in examples]),
        emergency=np.array([float(e.line.level is Level.EMERGENCY_NOW) for e in examples]),
        weight=np.array([e.weight * (1.0 if e.line.urgent else HARMLESS_WEIGHT) for e in examples]),
        fold=np.array([e.line.fold for e in examples]),
        family=[e.line.family for e in examples],
    )


def common(table: Table, rows: Ints) -> Ints:
    """Columns whose feature occurs in at least `FAMILIES` phrase families of these rows, the commonest first to stay."""
    number = {f: i for i, f in enumerate(sorted(set(table.family)))}
    families = np.array([number[f] for f in table.family])[rows]
    present = csr_matrix(
        (np.ones(len(families)), (families, np.arange(len(families)))), shape=(len(number), len(families))
    ) @ (table.whole[rows] > 0).astype(np.float64)
    counts = np.asarray((present > 0).sum(axis=0)).ravel()
    asked = np.array([name[0] == "q" for name in table.names])
    kept = np.flatnonzero((counts >= FAMILIES) | (asked & (counts >= 1)))
    if len(kept) > MAX_FEATURES:
        kept = np.sort(kept[np.argsort(-counts[kept], kind="stable")[:MAX_FEATURES]])
    return kept


def normed(matrix: csr_matrix, columns: Ints) -> csr_matrix:
    """These columns, every row divided by the norm of what is left of it."""
    x = matrix[:, columns]
    squares = np.asarray(x.multiply(x).sum(axis=1)).ravel()
    return diags(np.array([1.0 / norm(float(q)) for q in squares])) @ x


def _fit(x: csr_matrix, y: Floats, weight: Floats, c: float) -> Fitted:
    model = LogisticRegression(C=c, solver="liblinear", tol=1e-4, max_iter=200, random_state=0)
    with threadpool_limits(limits=1):
        model.fit(x, y, sample_weight=weight)
    return Fitted(model.coef_[0].astype(np.float64), float(model.intercept_[0]))


def held_out(table: Table, y: Floats, c: float, say: Callable[[str], None]) -> Floats:
    """Raw score of every window by the model fitted without its example's fold; NaN for those of test rows."""
    scores = np.full(len(table.owner), math.nan)
    for fold in range(FOLDS):
        train = np.flatnonzero((table.fold >= 0) & (table.fold != fold))
        columns = common(table, train)
        fitted = _fit(normed(table.whole[train], columns), y[train], table.weight[train], c)
        rest = np.flatnonzero(table.fold[table.owner] == fold)
        scores[rest] = normed(table.windows[rest], columns) @ fitted.weights + fitted.bias
        say(f"  fold {fold + 1}/{FOLDS}: {len(train)} rows, {len(columns)} features")
    return scores


def held_out_plain(table: Table, found: Plain, say: Callable[[str], None]) -> Floats:
    """The same for the plain words."""
    scores = np.full(len(table.owner), math.nan)
    for fold in range(FOLDS):
        train = np.flatnonzero((table.fold >= 0) & (table.fold != fold))
        columns, rarity = plain.common(found, train)
        x = plain.weighed(found.whole[train], columns, rarity)
        fitted = _fit(x, table.urgent[train], table.weight[train], C_PLAIN)
        rest = np.flatnonzero(table.fold[table.owner] == fold)
        scores[rest] = plain.weighed(found.windows[rest], columns, rarity) @ fitted.weights + fitted.bias
        say(f"  fold {fold + 1}/{FOLDS}: {len(train)} rows, {len(columns)} plain features")
    return scores


def highest(table: Table, by_window: Floats) -> Floats:
    """Raw score of every example: its highest window, less the price of its length; NaN for test rows."""
    scores = np.full(len(table.fold), -math.inf)
    known = np.flatnonzero(~np.isnan(by_window))
    np.maximum.at(scores, table.owner[known], by_window[known])
    paid = scores - np.array([price(int(n)) for n in table.words])
    return np.where(table.fold >= 0, paid, math.nan)


def platt(scores: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """(slope, offset) of the logistic curve from raw score to probability; Newton's method on two numbers."""
    a, b = 1.0, 0.0
    target = np.where(y > 0, 1 - 1e-3, 1e-3)
    for _ in range(60):
        p = 1 / (1 + np.exp(-np.clip(a * scores + b, -40, 40)))
        g, h = (p - target) * weight, np.maximum(p * (1 - p), 1e-9) * weight
        ga, gb = float(g @ scores), float(g.sum())
        haa, hab, hbb = float(h @ scores**2) + 1e-9, float(h @ scores), float(h.sum()) + 1e-9
        determinant = haa * hbb - hab * hab
        da, db = (hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant
        a, b = a - da, b - db
        if abs(da) + abs(db) < 1e-10:
            break
    return round(a, 6), round(b, 6)


def choose(p: Floats, y: Floats, weight: Floats, capped: Sequence[tuple[np.ndarray[Any, Any], float]]) -> float:
    """The threshold of least cost among those that keep every cap, rounded up to three places."""
    best, at = math.inf, 1.0
    for threshold in np.round(np.arange(0.02, 1.0, 0.005), 3):
        alarms = p >= threshold
        if any(float(np.average(alarms[m], weights=weight[m])) > cap for m, cap in capped if m.any()):
            continue
        cost = COST_OF_MISS * float(weight[(y > 0) & ~alarms].sum()) + float(weight[(y == 0) & alarms].sum())
        if cost < best - 1e-9:
            best, at = cost, float(threshold)
    return at


def _round(weights: Floats, top: int) -> tuple[np.ndarray[Any, Any], float]:
    scale = float(f"{float(np.abs(weights).max() or 1.0) / top:.6e}")
    return np.clip(np.rint(weights / scale), -top, top).astype(np.int64), scale


@dataclass(frozen=True)
class Trained:
    """The model file's content and what was measured on the way."""

    payload: bytes
    version: str
    urgent_scores: Floats
    """Held-out, calibrated; NaN for test rows."""
    thresholds: tuple[float, float, float]
    """Urgent, urgent for bare answers, emergency."""
    bare: Any
    """Which examples are bare answers to a question."""
    feature_names: list[str]
    plain_features: int
    weights: Floats


def train(examples: Sequence[Example], classes: features.WordClasses, say: Callable[[str], None]) -> Trained:
    """Everything of the head of this file, in that order."""
    table = tabulate(examples, classes)
    words = plain.tabulate(examples, WHOLE, _matrix)
    dev = table.fold >= 0
    say(f"{len(examples)} examples, {len(table.names)} features and {len(words.names)} plain ones seen")
    harmless = np.array([not e.line.urgent for e in examples])
    alike = np.array([e.line.kind in ALIKE for e in examples]) & harmless
    told = np.array([e.line.kind == "told" for e in examples]) & harmless
    bare = np.array([is_bare(features.words_of(e.text), e.question) for e in examples])
    columns = common(table, np.flatnonzero(dev))
    whole = normed(table.whole, columns)
    fitted = {
        name: _fit(whole[dev], y[dev], table.weight[dev], c)
        for name, y, c in (("urgent", table.urgent, C_URGENT), ("emergency", table.emergency, C_EMERGENCY))
    }
    heads = {name: {"bias": round(head.bias, 6)} for name, head in fitted.items()}

    say("head urgent")
    by_window, by_plain = held_out(table, table.urgent, C_URGENT, say), held_out_plain(table, words, say)
    spreads = [round(float(np.nanstd(scores)), 6) for scores in (by_window, by_plain)]
    heads["urgent"]["spread"] = spreads[0]
    raw = highest(table, by_window / spreads[0] + by_plain / spreads[1])
    calibrated = np.full(len(raw), math.nan)
    for prefix, rows, caps in (
        ("", dev & ~bare, [(harmless & ~alike, ROUTINE_CAP), (told, TOLD_CAP), (alike, ALIKE_CAP)]),
        ("bare_", dev & bare, [(harmless, ANSWER_CAP)]),
    ):
        calibrated[rows], found = _curve(
            raw[rows], table.urgent[rows], table.weight[rows], [(m[rows], c) for m, c in caps]
        )
        heads["urgent"] |= {prefix + name: value for name, value in found.items()}

    say("head emergency")
    raw = highest(table, held_out(table, table.emergency, C_EMERGENCY, say))
    _, found = _curve(raw[dev], table.emergency[dev], table.weight[dev], [(harmless[dev], EMERGENCY_CAP)])
    heads["emergency"] |= found

    say("categories")
    urgent_rows = np.flatnonzero(dev & (table.urgent > 0))
    kinds, rows8, scales, biases = _categories(
        whole[urgent_rows], [examples[int(i)].line.category for i in urgent_rows]
    )
    ids, positions = _kept([table.names[i] for i in columns])
    body = ids.tobytes()
    for name in ("urgent", "emergency"):
        rounded, heads[name]["scale"] = _round(fitted[name].weights, 32767)
        body += array("h", rounded[positions].tolist()).tobytes()
    body += np.stack(rows8, axis=1)[positions].astype(np.int8).tobytes()
    plain_header, plain_body = _plain_part(table, words, np.flatnonzero(dev))
    header = {
        "format": FORMAT, "feature_version": features.VERSION, "features": len(positions),
        "categories": [c.value for c in kinds], "category_bias": biases, "category_scale": scales, **heads,
        "plain": {**plain_header, "spread": spreads[1]},
    }  # fmt: skip
    head = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    payload = len(head).to_bytes(4, "little") + head + body + plain_body
    return Trained(
        payload=payload,
        version=f"{FORMAT}.{features.VERSION}+{sha256(payload).hexdigest()[:12]}",
        urgent_scores=calibrated,
        thresholds=(
            heads["urgent"]["threshold"],
            heads["urgent"]["bare_threshold"],
            heads["emergency"]["threshold"],
        ),
        bare=bare,
        feature_names=[table.names[i] for i in columns],
        plain_features=int(plain_header["features"]),
        weights=fitted["urgent"].weights,
    )


def _curve(
    raw: Floats, y: Floats, weight: Floats, caps: Sequence[tuple[np.ndarray[Any, Any], float]]
) -> tuple[Floats, dict[str, float]]:
    """Calibrated scores, and slope, offset and threshold as they are stored."""
    slope, offset = platt(raw, y, weight)
    p = 1 / (1 + np.exp(-np.clip(slope * raw + offset, -40, 40)))
    return p, {"slope": slope, "offset": offset, "threshold": choose(p, y, weight, caps)}


def _kept(names: Sequence[str]) -> tuple["array[int]", list[int]]:
    """The features' numbers, ascending, and where each stands in `names`; of two with one number the first."""
    unique: dict[int, int] = {}
    for at, name in enumerate(names):
        unique.setdefault(feature_id(name), at)
    ids = sorted(unique)
    return array("I", ids), [unique[number] for number in ids]


def _categories(
    x: csr_matrix, which: Sequence[Category]
) -> tuple[list[Category], list[np.ndarray[Any, Any]], list[float], list[float]]:
    """For each category: the rounded weights, their scale, the bias."""
    kinds: list[Category] = [c for c in Category if c not in (Category.NONE, Category.CLASSIFIER_FAILED)]
    rows8, scales, biases = [], [], []
    for kind in kinds:
        y = np.array([float(k is kind) for k in which])
        if not 0 < y.sum() < len(y):
            rows8.append(np.zeros(x.shape[1], dtype=np.int64))
            scales.append(0.0)
            biases.append(-99.0)
            continue
        one = _fit(x, y, np.ones(len(y)), C_CATEGORY)
        rounded, scale = _round(one.weights, 127)
        rows8.append(rounded)
        scales.append(scale)
        biases.append(round(one.bias, 6))
    return kinds, rows8, scales, biases


def _plain_part(table: Table, words: Plain, dev: Ints) -> tuple[dict[str, float], bytes]:
    """Header and bytes of the second head, fitted on the rows `dev`."""
    columns, rarity = plain.common(words, dev)
    x = plain.weighed(words.whole[dev], columns, rarity)
    fitted = _fit(x, table.urgent[dev], table.weight[dev], C_PLAIN)
    ids, positions = _kept([words.names[i] for i in columns])
    rounded, scale = _round(fitted.weights * rarity, 32767)
    steps = np.rint(rarity * plain.RARITY_STEPS).astype(np.uint8)
    body = ids.tobytes() + array("h", rounded[positions].tolist()).tobytes() + steps[positions].tobytes()
    header = {"features": len(positions), "scale": scale, "rarity_scale": 1.0 / plain.RARITY_STEPS,
              "bias": round(fitted.bias, 6)}  # fmt: skip
    return header, body


def manifest(trained: Trained, classes_text: str) -> str:
    """What stands beside the model file: its version and hashes (of the content before compression)."""
    name, classes = WEIGHTS_FILE.partition(".")[0], features.CLASSES_FILE.partition(".")[0]
    return (
        "# Written by `make train`; not by hand.\n"
        f'version = "{trained.version}"\n\n[sha256]\n'
        f'{name} = "{sha256(trained.payload).hexdigest()}"\n'
        f'{classes} = "{sha256(classes_text.encode()).hexdigest()}"\n'
    )


def packed(payload: bytes) -> bytes:
    """Compressed without a time stamp."""
    return gzip.compress(payload, compresslevel=9, mtime=0)
