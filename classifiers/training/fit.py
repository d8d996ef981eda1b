"""Fit, calibrate, choose thresholds, write the model file. Deterministic: one thread, fixed order, liblinear.

1. Every example becomes a row of features; a feature must occur in at least two phrase families of what is fitted on.
2. Five models, each fitted without one fold, score that fold: these held-out scores calibrate (Platt) and choose the
   thresholds. No family is scored by a model that saw it.
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
from classifiers.training.corpus import FOLDS
from classifiers.training.generate import Example

COST_OF_MISS = 20
"""A missed emergency costs as much as so many false alarms."""
ROUTINE_CAP = 0.01
"""At most this share of ordinary routine speech may alarm, misheard copies and longer turns counted, whatever the cost
says: single lines as written then alarm well below it."""
ALIKE_CAP = 0.04
"""At most this share of the hard negatives may alarm."""
ANSWER_CAP = 0.01
"""At most this share of harmless bare answers may alarm."""
EMERGENCY_CAP = 0.005
"""At most this share of harmless lines may be called emergency_now."""
ALIKE = frozenset(
    ["negated", "past", "longterm", "hypothetical", "other", "figurative", "names", "resolved", "scary_mild",
     "negtemplate", "hyptemplate", "othertemplate", "nametemplate"]
)  # fmt: skip
"""Kinds of hard negatives; every other harmless line is ordinary routine speech."""
C_URGENT, C_EMERGENCY, C_CATEGORY = 1.0, 0.7, 2.0
HARMLESS_WEIGHT = 3.0
"""Harmless examples weigh more: on the line most words are harmless."""
MAX_FEATURES = 42_000
FAMILIES = 2
WHOLE = 40
"""Words of an example that are fitted on."""

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Table:
    """Examples as rows of features, values not yet divided by the norm."""

    whole: csr_matrix
    """One row an example, the first words and the question together: what is fitted on."""
    windows: csr_matrix
    """One row a window, as a call would see it: what is scored."""
    owner: Ints
    """The example each window belongs to."""
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
    indptr, indices, values = [0], [], []
    for row in rows:
        found = sorted((column[name], SCALE[name[0]]) for name in row)
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
    """Raw score (highest window) of every training row by the model fitted without its fold; NaN for test rows."""
    scores = np.full(len(y), -math.inf)
    for fold in range(FOLDS):
        train = np.flatnonzero((table.fold >= 0) & (table.fold != fold))
        columns = common(table, train)
        fitted = _fit(normed(table.whole[train], columns), y[train], table.weight[train], c)
        rest = np.flatnonzero(table.fold[table.owner] == fold)
        np.maximum.at(
            scores, table.owner[rest], normed(table.windows[rest], columns) @ fitted.weights + fitted.bias
        )  # fmt: skip
        say(f"  fold {fold + 1}/{FOLDS}: {len(train)} rows, {len(columns)} features")
    windows = np.bincount(table.owner, minlength=len(y))
    paid = scores - np.array([price(int(n)) for n in windows])
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
    weights: Floats


def train(examples: Sequence[Example], classes: features.WordClasses, say: Callable[[str], None]) -> Trained:
    """Everything of the head of this file, in that order."""
    table = tabulate(examples, classes)
    dev = table.fold >= 0
    say(f"{len(examples)} examples, {len(table.names)} features seen")
    harmless = np.array([not e.line.urgent for e in examples])
    alike = np.array([e.line.kind in ALIKE for e in examples]) & harmless
    bare = np.array([is_bare(features.words_of(e.text), e.question) for e in examples])
    columns = common(table, np.flatnonzero(dev))
    whole = normed(table.whole, columns)
    heads: dict[str, dict[str, float]] = {}
    fitted: dict[str, Fitted] = {}
    calibrated: dict[str, Floats] = {}
    for name, y, c, caps in (
        ("urgent", table.urgent, C_URGENT, [(harmless & ~alike & ~bare, ROUTINE_CAP), (alike & ~bare, ALIKE_CAP)]),
        ("emergency", table.emergency, C_EMERGENCY, [(harmless, EMERGENCY_CAP)]),
    ):
        say(f"head {name}")
        raw = held_out(table, y, c, say)
        fitted[name] = _fit(whole[dev], y[dev], table.weight[dev], c)
        heads[name] = {"bias": round(fitted[name].bias, 6)}
        calibrated[name] = np.full(len(y), math.nan)
        parts = [("", dev & ~bare, caps), ("bare_", dev & bare, [(harmless, ANSWER_CAP)])]
        for prefix, rows, limits in parts if name == "urgent" else [("", dev, caps)]:
            slope, offset = platt(raw[rows], y[rows], table.weight[rows])
            p = 1 / (1 + np.exp(-np.clip(slope * raw[rows] + offset, -40, 40)))
            calibrated[name][rows] = p
            threshold = choose(p, y[rows], table.weight[rows], [(mask[rows], cap) for mask, cap in limits])
            heads[name] |= {prefix + "slope": slope, prefix + "offset": offset, prefix + "threshold": threshold}
    say("categories")
    kinds = [c for c in Category if c not in (Category.NONE, Category.CLASSIFIER_FAILED)]
    urgent_rows = np.flatnonzero(dev & (table.urgent > 0))
    x = whole[urgent_rows]
    which = [examples[int(i)].line.category for i in urgent_rows]
    rows8, scales, biases = [], [], []
    for kind in kinds:
        y = np.array([float(k is kind) for k in which])
        if not 0 < y.sum() < len(y):
            rows8.append(np.zeros(len(columns), dtype=np.int64))
            scales.append(0.0)
            biases.append(-99.0)
            continue
        one = _fit(x, y, np.ones(len(y)), C_CATEGORY)
        rounded, scale = _round(one.weights, 127)
        rows8.append(rounded)
        scales.append(scale)
        biases.append(round(one.bias, 6))
    ids = [feature_id(table.names[i]) for i in columns]
    unique: dict[int, int] = {}
    for at, number in enumerate(ids):
        unique.setdefault(number, at)
    positions = list(unique.values())
    body = array("I", [ids[p] for p in positions]).tobytes()
    for name in ("urgent", "emergency"):
        rounded, scale = _round(fitted[name].weights, 32767)
        heads[name]["scale"] = scale
        body += array("h", [int(rounded[p]) for p in positions]).tobytes()
    body += np.stack(rows8, axis=1)[positions].astype(np.int8).tobytes()
    header = {
        "format": FORMAT, "feature_version": features.VERSION, "features": len(positions),
        "categories": [c.value for c in kinds], "category_bias": biases, "category_scale": scales, **heads,
    }  # fmt: skip
    head = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    payload = len(head).to_bytes(4, "little") + head + body
    return Trained(
        payload=payload,
        version=f"{FORMAT}.{features.VERSION}+{sha256(payload).hexdigest()[:12]}",
        urgent_scores=calibrated["urgent"],
        thresholds=(
            heads["urgent"]["threshold"],
            heads["urgent"]["bare_threshold"],
            heads["emergency"]["threshold"],
        ),
        bare=bare,
        feature_names=[table.names[i] for i in columns],
        weights=fitted["urgent"].weights,
    )


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
