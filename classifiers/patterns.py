"""The matcher: phrases over words and word classes, all found in one pass from left to right.

Notation of a phrase (one per line or separated by ` | ` in the rule files):
    word        that word (normalised as speech is)
    word*       any word that begins so
    <name>      any phrase of the class `name`
    (a|b c)     one of these
    x?          may be missing; also (a b)?
    ..          up to 3 other words            ...   up to 6 other words
    .np.        any run of words that only extend a noun phrase ("my left", "jaw and")
    a & b       both, in either order, up to 6 other words between

Time is linear in the text for a given book: phrases share one prefix tree, a partial match lives for at most its gap,
and there is no backtracking. Soft tokens cost nothing inside a phrase; breaks and barrier words end every gap.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from classifiers.tokens import Token, is_opened, tokenise

NEAR, FAR, NOUNS = 3, 6, -1
"""Gaps: words that may stand between two items; NOUNS counts no words but admits only noun-phrase words."""
MAX_VARIANTS = 400
"""Alternatives one written phrase may expand to; more is a mistake in the rule file."""
_NOUN_RUN = 8
_LEAST_SPELT = 7
"""Shorter words are too near to other words to be corrected."""
_NO_PREFIX = 99
_BROAD = 8
"""Nodes with more ways on than this are scanned; the others wait under each word they could go on with."""

_INLINE = 2
"""Brackets with more choices become a class of their own, so that phrases stay short and the tree small."""

Item = tuple[int, str]
"""(gap before, atom): atom is a word, `word*` or `<class>`."""
Alternative = list[Item]


class PatternError(ValueError):
    """A phrase in a rule file is not well formed."""


def _split_words(source: str) -> list[str]:
    padded = source
    for mark in "()|?&":
        padded = padded.replace(mark, f" {mark} ")
    return padded.split()


def _parse(
    words: Sequence[str], at: int, closing: bool, groups: dict[str, list[Alternative]]
) -> tuple[list[Alternative], int]:
    """Alternatives from `at` up to the closing bracket or the end; wide brackets become classes in `groups`."""
    done: list[Alternative] = []
    current: list[Alternative] = [[]]
    gap = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == ")":
            if not closing:
                raise PatternError("unbalanced )")
            return done + current, at
        if word == "|":
            done, current, gap = done + current, [[]], 0
            continue
        if word in ("..", "...", ".np."):
            gap = {"..": NEAR, "...": FAR, ".np.": NOUNS}[word]
            continue
        if word == "(":
            opened = at
            options, at = _parse(words, at, True, groups)
            if len(options) > _INLINE:
                name = f"<{' '.join(words[opened : at - 1])}>"
                groups[name] = options
                options = [[(0, name)]]
        else:
            options = [list(_atoms(word))]
        if at < len(words) and words[at] == "?":
            options = [*options, []]
            at += 1
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
    words = _split_words(source)
    if "&" in words:
        cut = words.index("&")
        left, right = words[:cut], words[cut + 1 :]
        if "&" in right or not left or not right:
            raise PatternError("one & per phrase")
        sides = [[*left, "...", *right], [*right, "...", *left]]
    else:
        sides = [words]
    found: list[tuple[Item, ...]] = []
    for side in sides:
        variants, _ = _parse(side, 0, False, groups)
        for variant in variants:
            items = [item for item in variant if item[1]]
            if not items:
                raise PatternError("a phrase may not be empty")
            found.append(((0, items[0][1]), *items[1:]))
    return found


def _without_one(word: str) -> list[str]:
    """The word with one letter left out, at every place; and with two neighbours swapped."""
    shorter = [word[:at] + word[at + 1 :] for at in range(len(word))]
    swapped = [word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)]
    return shorter + swapped


@dataclass(slots=True)
class _Node:
    edges: dict[str, list[tuple[int, "_Node"]]] = field(default_factory=dict)
    emits: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Match:
    """`name` was found over tokens `first` up to, not including, `last`."""

    name: str
    first: int
    last: int


class Book:
    """All phrases compiled into one prefix tree. Build once, share everywhere; `find` changes nothing in it."""

    def __init__(self, barriers: Iterable[str], noun_words: Iterable[str], noun_classes: Iterable[str]) -> None:
        self._root = _Node()
        self._prefixes: dict[str, str] = {}
        self._groups: set[str] = set()
        self._misspelt: dict[str, str] = {}
        self._known: set[str] = set()
        self._shortest = _NO_PREFIX
        self._barriers = frozenset(barriers)
        self._noun_words = frozenset(noun_words)
        self._noun_classes = frozenset(f"<{name}>" for name in noun_classes)

    def add(self, name: str, source: str) -> None:
        """Let the written phrase `source` be found as `name` (`<class>` names feed other phrases).

        Raises:
            PatternError: the phrase is not well formed.
        """
        groups: dict[str, list[Alternative]] = {}
        sequences: list[tuple[str, Sequence[Item]]] = [(name, items) for items in expand(source, groups)]
        for group, options in groups.items():
            if group not in self._groups:
                self._groups.add(group)
                sequences += [(group, option) for option in options if option]
        for emitted, items in sequences:
            node = self._root
            for gap, atom in items:
                if atom.endswith("*"):
                    self._prefixes[atom[:-1]] = atom
                    self._shortest = min(self._shortest, len(atom) - 1)
                self._known.add(atom)
                edges = node.edges.setdefault(atom, [])
                child = next((known for given, known in edges if given == gap), None)
                if child is None:
                    child = _Node()
                    edges.append((gap, child))
                node = child
            if emitted not in node.emits:
                node.emits.append(emitted)

    def spell(self, word: str) -> None:
        """Let `word` also be recognised with one letter wrong, missing, too many or swapped, where that is no word of ours."""
        for form in (word, *_without_one(word)):
            self._misspelt.setdefault(form, word)

    def _correct(self, text: str) -> str | None:
        """The word that was meant by one that no phrase knows; None when there is none."""
        if len(text) < _LEAST_SPELT or text in self._known:
            return None
        meant = next((self._misspelt[f] for f in (text, *_without_one(text)) if f in self._misspelt), None)
        return meant if meant is not None and abs(len(meant) - len(text)) <= 1 else None

    def atoms(self) -> set[str]:
        """Every atom used anywhere; lets a test find class names that nobody defines."""
        used: set[str] = set()
        stack = [self._root]
        while stack:
            node = stack.pop()
            used.update(node.edges)
            stack.extend(child for options in node.edges.values() for _, child in options)
        return used

    def emitted(self) -> set[str]:
        """Every name that can be found."""
        names: set[str] = set()
        stack = [self._root]
        while stack:
            node = stack.pop()
            names.update(node.emits)
            stack.extend(child for options in node.edges.values() for _, child in options)
        return names

    def find(self, tokens: Sequence[Token], given: Iterable[Match] = ()) -> list[Match]:
        """Every phrase in the text, in order of its end. `given` are matches from elsewhere (numbers), as classes."""
        size = len(tokens)
        hard = [0] * (size + 1)
        fence = [0] * (size + 1)
        breaks = [0] * (size + 1)
        noun = [False] * (size + 1)
        for at, token in enumerate(tokens):
            hard[at + 1] = hard[at] + (not token.soft)
            fence[at + 1] = fence[at] + (token.text in self._barriers)
            breaks[at + 1] = breaks[at] + token.after_break
            noun[at] = token.soft or token.text in self._noun_words
        given_at: dict[int, list[Match]] = {}
        for match in given:
            given_at.setdefault(match.last, []).append(match)

        found: dict[tuple[str, int, int], None] = {}
        narrow: dict[str, list[tuple[_Node, int, int, int]]] = {}
        broad: list[tuple[dict[str, list[tuple[int, _Node]]], int, int]] = []
        root = self._root.edges

        def reach(gap: int, last: int, start: int) -> bool:
            """Whether an item at `start` may follow one that ended before `last`."""
            if breaks[start + 1] != breaks[last]:
                return False
            between = hard[start] - hard[last]
            if not between:
                return True
            if gap == NOUNS:
                return between <= _NOUN_RUN and all(noun[last:start])
            return between <= gap and fence[start] == fence[last]

        def enter(node: _Node, first: int, end: int) -> None:
            for name in node.emits:
                if name[0] == "<":
                    queue.append((name, first))
                found[name, first, end] = None
            edges = node.edges
            if len(edges) > _BROAD:
                broad.append((edges, first, end))
            else:
                for atom, options in edges.items():
                    waiting = narrow.setdefault(atom, [])
                    for gap, following in options:
                        waiting.append((following, gap, first, end))

        for at, token in enumerate(tokens):
            end = at + 1
            text = token.text
            queue: list[tuple[str, int]] = []
            for word in (text, self._correct(text)):
                if word is not None:
                    queue.append((word, at))
                    for length in range(self._shortest, len(word) + 1):
                        prefix = self._prefixes.get(word[:length])
                        if prefix is not None:
                            queue.append((prefix, at))
            queue.extend((match.name, match.first) for match in given_at.get(end, ()))
            broad = [state for state in broad if hard[at] - hard[state[2]] <= _NOUN_RUN]
            seen: set[tuple[str, int]] = set()
            while queue:
                item = queue.pop()
                if item in seen:
                    continue
                seen.add(item)
                atom, start = item
                for _, node in root.get(atom, ()):
                    enter(node, start, end)
                for node, gap, first, last in narrow.get(atom, ()):
                    if last <= start and reach(gap, last, start):
                        enter(node, first, end)
                for edges, first, last in broad:
                    if last <= start and atom in edges:
                        for gap, node in edges[atom]:
                            if reach(gap, last, start):
                                enter(node, first, end)
                if atom in self._noun_classes:
                    noun[start:end] = [True] * (end - start)
        return [Match(*key) for key in found]
