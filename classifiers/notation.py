"""The notation of phrases, as rule files write them: what each one stands for.

One phrase per line, or several separated by ` | `:
    word        that word (normalised as speech is)
    word*       any word that begins so
    <name>      any phrase of the class `name`
    (a|b c)     one of these
    x?          may be missing; also (a b)?
    ..          up to 3 other words            ...   up to 6 other words
    .np.        any run of words that only extend a noun phrase ("my left", "jaw and")
    a & b       both, in either order, up to 6 other words between
"""

import re
from collections.abc import Sequence
from functools import cache

from classifiers.tokens import is_opened, tokenise

NEAR, FAR, NOUNS = 3, 6, -1
"""Gaps: words that may stand between two items; NOUNS counts no words but admits only noun-phrase words."""
MAX_VARIANTS = 400
"""Alternatives one written phrase may expand to; more is a mistake in the rule file."""
_INLINE = 2
"""Brackets with more choices become a class of their own, so that phrases stay short and the tree small."""
Item = tuple[int, str]
"""(gap before, atom): atom is a word, `word*` or `<class>`."""
Alternative = list[Item]
_GAPS = {"..": NEAR, "...": FAR, ".np.": NOUNS}
_PIECES = re.compile(r"\([^()?&]*\)|[()|?&]|[^\s()|?&]+")
"""A bracket without brackets in it, a mark, or a word."""
_MARKS = re.compile(r"[()|?&]")


class PatternError(ValueError):
    """A phrase in a rule file is not well formed."""


def _run(words: Sequence[str]) -> Alternative:
    """The items of plain words and gaps."""
    items: Alternative = []
    gap = 0
    for word in words:
        if word in _GAPS:
            gap = _GAPS[word]
            continue
        atoms = _atoms(word)
        if not gap:
            items += atoms
        elif atoms:
            items.append((gap, atoms[0][1]))
            items += atoms[1:]
            gap = 0
    return items


@cache
def _flat(piece: str) -> tuple[str, list[Alternative]]:
    """Name and choices of a bracket without brackets in it."""
    return f"<{piece[1:-1]}>", [_run(choice.split()) for choice in piece[1:-1].split("|")]


def _parse(
    pieces: Sequence[str], at: int, closing: bool, groups: dict[str, list[Alternative]]
) -> tuple[list[Alternative], int]:
    """Alternatives from `at` up to the closing bracket or the end; wide brackets become classes in `groups`."""
    done: list[Alternative] = []
    current: list[Alternative] = [[]]
    gap = 0
    while at < len(pieces):
        piece = pieces[at]
        at += 1
        if piece == ")":
            if not closing:
                raise PatternError("unbalanced )")
            return done + current, at
        if piece == "|":
            done, current, gap = done + current, [[]], 0
            continue
        if piece in _GAPS:
            gap = _GAPS[piece]
            continue
        if piece[0] == "(":
            if len(piece) > 1:
                name, options = _flat(piece)
            else:
                opened = at
                options, at = _parse(pieces, at, True, groups)
                name = f"<{' '.join(pieces[opened : at - 1])}>"
            if len(options) > _INLINE:
                groups[name] = options
                options = [[(0, name)]]
        else:
            options = [list(_atoms(piece))]
        if at < len(pieces) and pieces[at] == "?":
            options = [*options, []]
            at += 1
        if len(options) == len(current) == 1 and options[0]:
            current[0] = _join(current[0], gap, options[0])
        else:
            current = [_join(left, gap, right) for left in current for right in options]
            if len(current) > MAX_VARIANTS:
                raise PatternError("too many variants")
        gap = 0
    if closing:
        raise PatternError("missing )")
    return done + current, at


def _join(left: list[Item], gap: int, right: list[Item]) -> list[Item]:
    if not right:
        return [*left, (gap, "")] if gap else left
    if left and left[-1][1] == "":
        left, gap = left[:-1], gap or left[-1][0]
    return [*left, (gap, right[0][1]), *right[1:]]


@cache
def _atoms(word: str) -> tuple[Item, ...]:
    if word.startswith("<"):
        if not word.endswith(">"):
            raise PatternError(f"class name in {word!r}")
        return ((0, word),)
    if word.endswith("*"):
        return ((0, word.lower()),)
    if word.isascii() and word.isalpha() and word.islower() and not is_opened(word):
        return ((0, word),)
    return tuple((0, token.text) for token in tokenise(word))


def expand(source: str, groups: dict[str, list[Alternative]] | None = None) -> list[tuple[Item, ...]]:
    """Every sequence that a written phrase stands for; wide brackets in it are added to `groups` as classes.

    Raises:
        PatternError: the phrase is not well formed.
    """
    groups = {} if groups is None else groups
    variants: list[Alternative]
    if _MARKS.search(source) is None:
        variants = [_run(source.split())]
    else:
        pieces = _PIECES.findall(source)
        if "&" in pieces:
            cut = pieces.index("&")
            left, right = pieces[:cut], pieces[cut + 1 :]
            if "&" in right or not left or not right:
                raise PatternError("one & per phrase")
            variants = [
                variant
                for side in ([*left, "...", *right], [*right, "...", *left])
                for variant in _parse(side, 0, False, groups)[0]
            ]
        else:
            variants = _parse(pieces, 0, False, groups)[0]
    found: list[tuple[Item, ...]] = []
    for variant in variants:
        items = [item for item in variant if item[1]]
        if not items:
            raise PatternError("a phrase may not be empty")
        found.append(((0, items[0][1]), *items[1:]))
    return found


def forget() -> None:
    """Forget the words and brackets seen; call it when all phrases are read."""
    _flat.cache_clear()
    _atoms.cache_clear()
