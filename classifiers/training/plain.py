"""The second urgent head: plain words and pairs, small words too, weighed by rarity, rows of length one.

The first head knows classes, scopes and pieces of words; this one knows how people talk who are in danger, and errs on
other lines. It is fitted on the same examples, weights and folds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, diags

from classifiers import features
from classifiers.model import WINDOW, starts
from classifiers.training.generate import Example

SEEN = 2
"""Examples in which a word or pair must occur."""
MOST = 60_000
RARITY_STEPS = 20
"""How finely rarity is stored: so many steps a natural logarithm, one byte each."""

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Plain:
    """The examples as plain words: rows of ones, not yet weighed."""

    whole: csr_matrix
    """One row an example: what is fitted on."""
    windows: csr_matrix
    """One row a window, in the order of `fit.Table.windows`."""
    names: list[str]


def rows_of(text: str, question: str, whole: int) -> list[dict[str, None]]:
    """Names of the plain features of the first `whole` words, then of every window."""
    words = features.words_of(text)
    asked = features.words_of(question)
    answer = features.answer_of(words) if question else ""
    return [
        dict.fromkeys(f.name for f in features.plain(words[start:end], asked if start == 0 else (), answer))
        for start, end in ((0, whole), *((at, at + WINDOW) for at in starts(len(words))))
    ]


def tabulate(
    examples: Sequence[Example], whole: int, matrix: Callable[[Sequence[dict[str, None]], dict[str, int]], csr_matrix]
) -> Plain:
    """Rows for all examples; columns in the order of the features' names."""
    found = [rows_of(e.text, e.question, whole) for e in examples]
    names = sorted({name for rows in found for row in rows for name in row})
    column = {name: i for i, name in enumerate(names)}
    return Plain(
        whole=matrix([rows[0] for rows in found], column),
        windows=matrix([row for rows in found for row in rows[1:]], column),
        names=names,
    )


def common(plain: Plain, rows: Ints) -> tuple[Ints, Floats]:
    """Columns seen in at least `SEEN` of these rows, and how rare each is: 1 + ln of one in so many, as it is stored."""
    counts = np.asarray((plain.whole[rows] > 0).sum(axis=0)).ravel()
    kept = np.flatnonzero(counts >= SEEN)
    if len(kept) > MOST:
        kept = np.sort(kept[np.argsort(-counts[kept], kind="stable")[:MOST]])
    rarity = 1.0 + np.log((1.0 + len(rows)) / (1.0 + counts[kept]))
    return kept, np.minimum(np.rint(rarity * RARITY_STEPS), 255) / RARITY_STEPS


def weighed(matrix: csr_matrix, columns: Ints, rarity: Floats) -> csr_matrix:
    """These columns weighed by rarity, every row of length one."""
    x = matrix[:, columns] @ diags(rarity)
    squares = np.asarray(x.multiply(x).sum(axis=1)).ravel()
    return diags(1.0 / np.sqrt(np.maximum(squares, 1.0 / RARITY_STEPS**2))) @ x
