"""The matcher: phrases over words and word classes (`notation.py`), all found in one pass from left to right.

How it stays fast however many phrases there are: all phrases share one prefix tree. What a word can be on its own (the
classes it belongs to, the phrases it begins) is worked out once per word and kept as one merged node. After that a
word is only held against what stands open just before it, by set intersection, so phrases that the words at hand do
not begin cost nothing.

Time is linear in the text for a given book: a partial match lives for at most its gap, the same partial match is kept
once, and there is no backtracking. Soft tokens cost nothing inside a phrase; breaks and barrier words end every gap.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from classifiers.notation import FAR, NEAR, NOUNS, Alternative, Item, expand, forget
from classifiers.tokens import Token

_NOUN_RUN = 8
_LEAST_SPELT = 7
"""Shorter words are too near to other words to be corrected."""
_NO_PREFIX = 99
MOST_STRANGERS = 8_192
"""Words outside the book whose reading is kept; beyond, all of these are forgotten."""


def _without_one(word: str) -> list[str]:
    """The word with one letter left out, at every place; and with two neighbours swapped."""
    shorter = [word[:at] + word[at + 1 :] for at in range(len(word))]
    swapped = [word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)]
    return shorter + swapped


_Node = list[Any]
"""A place in the tree: [ways on by the gap before them, names found here, classes found here]. A plain list, so that the
whole tree can be kept in a file as it is (`rule_cache.py`); ways are None where nothing goes on."""
_Ways = dict[int, dict[str, _Node]]


def _node() -> _Node:
    return [None, (), ()]


def _merged(nodes: Sequence[_Node]) -> _Ways | None:
    """The ways on of all these nodes together; None when none goes on."""
    going: list[_Ways] = [ways for ways, _, _ in nodes if ways]
    if len(going) < 2:
        return going[0] if going else None
    joined: dict[int, dict[str, list[_Node]]] = {}
    for ways in going:
        for gap, edges in ways.items():
            into = joined.setdefault(gap, {})
            for atom, child in edges.items():
                into.setdefault(atom, []).append(child)
    return {
        gap: {atom: children[0] if len(children) == 1 else _as_one(children) for atom, children in edges.items()}
        for gap, edges in joined.items()
    }


def _as_one(nodes: Sequence[_Node]) -> _Node:
    names = dict.fromkeys(name for _, found, _ in nodes for name in found)
    classes = dict.fromkeys(name for _, _, found in nodes for name in found)
    return [_merged(nodes), tuple(names), tuple(classes)]


class _Reading(NamedTuple):
    """What one word, or one class, is on its own."""

    atoms: frozenset[str]
    """Itself and every class it belongs to, as far as phrases go on with them."""
    names: tuple[str, ...]
    onward: _Ways | None
    """Where the phrases go on that begin with it."""
    noun: bool


_NOTHING = _Reading(frozenset(), (), None, False)


class Match(NamedTuple):
    """`name` was found over tokens `first` up to, not including, `last`."""

    name: str
    first: int
    last: int


_PACKED = (
    "_root", "_order", "_inner", "_known", "_prefixes", "_shortest", "_misspelt",
    "_barriers", "_noun_words", "_noun_classes", "_told",
)  # fmt: skip

_Open = list[tuple[dict[str, _Node], int, int]]
"""Partial matches: ways on, first token, and the token before which they ended."""
_Ended = tuple[int, list[tuple[dict[str, _Node], int]]]
"""The token before which partial matches ended, and of each its ways on and its first token."""


class Book:
    """All phrases compiled into one prefix tree. Build once, share everywhere; `find` only keeps what words are."""

    def __init__(
        self,
        barriers: Iterable[str],
        noun_words: Iterable[str],
        noun_classes: Iterable[str],
        told: Iterable[str] = (),
    ) -> None:
        """`told`: the classes that `find` tells of, beside everything that is no class."""
        self._root: dict[str, _Node] = {}
        self._order: dict[str, int] = {}
        self._only: dict[str, tuple[str]] = {}
        self._inner: set[str] = set()
        self._known: set[str] = set()
        self._prefixes: dict[str, str] = {}
        self._shortest = _NO_PREFIX
        self._groups: set[str] = set()
        self._misspelt: dict[str, str] = {}
        self._barriers = frozenset(barriers)
        self._noun_words = frozenset(noun_words)
        self._noun_classes = frozenset(f"<{name}>" for name in noun_classes)
        self._told = frozenset(f"<{name}>" for name in told)
        self._readings: dict[str, _Reading] = {}
        self._strangers: dict[str, _Reading] = {}

    def add(self, name: str, source: str) -> None:
        """Let the written phrase `source` be found as `name` (`<class>` names feed other phrases).

        Raises:
            PatternError: the phrase is not well formed.
        """
        groups: dict[str, list[Alternative]] = {}
        self._order.setdefault(name, len(self._order))
        for items in expand(source, groups):
            self._insert(name, items)
        for group, options in groups.items():
            if group not in self._groups:
                self._groups.add(group)
                for option in options:
                    if option and option[-1][1]:  # what ends in a gap is found nowhere
                        self._insert(group, option)
        if self._readings or self._strangers:
            self._readings, self._strangers = {}, {}

    def _insert(self, name: str, items: Sequence[Item]) -> None:
        atom = items[0][1]
        node = self._root.get(atom)
        if node is None:
            node = self._root[atom] = _node()
            self._know(atom)
        for gap, atom in items[1:]:
            ways = node[0]
            if ways is None:
                ways = node[0] = {}
            edges = ways.get(gap)
            if edges is None:
                edges = ways[gap] = {}
            child = edges.get(atom)
            if child is None:
                child = edges[atom] = _node()
                if atom not in self._inner:
                    self._inner.add(atom)
                    self._know(atom)
            node = child
        is_class = name[0] == "<"
        if is_class and name not in node[2]:
            node[2] = (*node[2], name) if node[2] else self._only.setdefault(name, (name,))
        if (not is_class or name in self._told) and name not in node[1]:
            node[1] = (*node[1], name) if node[1] else self._only.setdefault(name, (name,))

    def _know(self, atom: str) -> None:
        if atom.endswith("*"):
            self._prefixes[atom[:-1]] = atom
            self._shortest = min(self._shortest, len(atom) - 1)
        self._known.add(atom)

    def written(self) -> None:
        """Forget what only serves the reading of rule files; call it when all are read."""
        forget()
        self._only.clear()
        self._groups.clear()

    def packed(self) -> tuple[Any, ...]:
        """Everything the book is, as plain tuples, lists, dicts, sets and strings."""
        return tuple(getattr(self, name) for name in _PACKED)

    @classmethod
    def unpacked(cls, parts: Sequence[Any]) -> "Book":
        """The book that `packed` gave; it shares these parts.

        Raises:
            ValueError: these are not the parts of a book.
        """
        book = cls((), (), ())
        for name, part in zip(_PACKED, parts, strict=True):
            setattr(book, name, part)
        return book

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

    def _nodes(self) -> Iterator[_Node]:
        stack = list(self._root.values())
        while stack:
            node = stack.pop()
            yield node
            for edges in (node[0] or {}).values():
                stack.extend(edges.values())

    def atoms(self) -> set[str]:
        """Every atom used anywhere; lets a test find class names that nobody defines."""
        return self._inner | set(self._root)

    def emitted(self) -> set[str]:
        """Every name that can be found, classes included."""
        return {name for node in self._nodes() for name in (*node[1], *node[2])}

    @property
    def words_kept(self) -> int:
        """Words and classes whose reading is at hand; at most all of the book and MOST_STRANGERS others."""
        return len(self._readings) + len(self._strangers)

    # --- what a word is on its own

    def _read_word(self, word: str) -> _Reading:
        """The reading of a word of speech."""
        meant = [word]
        correction = self._correct(word)
        if correction is not None:
            meant.append(correction)
        seeds = list(meant)
        for form in meant:
            for length in range(self._shortest, len(form) + 1):
                prefix = self._prefixes.get(form[:length])
                if prefix is not None:
                    seeds.append(prefix)
        reading = self._close(seeds)
        if word in self._known:
            self._readings[word] = reading
        else:
            if len(self._strangers) >= MOST_STRANGERS:
                self._strangers.clear()
            self._strangers[word] = reading
        return reading

    def _read_class(self, name: str) -> _Reading:
        """The reading of a class found over several words, or given from elsewhere."""
        reading = self._readings.get(name)
        if reading is None:
            reading = self._readings[name] = self._close([name])
        return reading

    def _close(self, seeds: list[str]) -> _Reading:
        root = self._root
        atoms: set[str] = set()
        nodes: list[_Node] = []
        names: dict[str, None] = {}
        while seeds:
            atom = seeds.pop()
            if atom in atoms:
                continue
            atoms.add(atom)
            node = root.get(atom)
            if node is not None:
                nodes.append(node)
                seeds += node[2]
                for name in node[1]:
                    names[name] = None
        used = atoms & self._inner
        noun = not self._noun_classes.isdisjoint(atoms)
        onward = _merged(nodes)
        return _Reading(frozenset(used), tuple(names), onward, noun) if used or names or onward or noun else _NOTHING

    # --- one pass over a text

    def find(self, tokens: Sequence[Token], given: Iterable[Match] = ()) -> list[Match]:
        """Every phrase in the text, in order of its end, the longer first, then as the rule files name them.

        `given` are matches from elsewhere (numbers), as classes.
        """
        size = len(tokens)
        hard = [0] * (size + 1)
        fence = [0] * (size + 1)
        breaks = [0] * (size + 1)
        noun = [False] * (size + 1)
        hards = fences = broken = 0
        for at, token in enumerate(tokens):
            text = token.text
            noun[at] = token.soft or text in self._noun_words
            hards += not token.soft
            fences += text in self._barriers
            broken += token.after_break
            hard[at + 1], fence[at + 1], breaks[at + 1] = hards, fences, broken
        given_at: dict[int, list[Match]] = {}
        for match in given:
            given_at.setdefault(match.last, []).append(match)

        readings, strangers, order = self._readings, self._strangers, self._order
        adjacent: dict[tuple[int, int], _Open] = {}  # by (hard words before the end, sentence)
        near: list[_Ended] = []
        far: list[_Ended] = []
        nouns: list[_Ended] = []
        loose = {NEAR: near, FAR: far, NOUNS: nouns}
        found: list[Match] = []
        pending: list[tuple[_Reading, int]] = []
        told: set[Match] = set()
        entered: set[tuple[int, int]] = set()
        opened: set[tuple[str, int]] = set()
        end = 0

        def in_order(match: Match) -> tuple[int, int]:
            return match.first, order[match.name]

        def keep(ways: _Ways, first: int) -> None:
            for gap, edges in ways.items():
                if gap == 0:
                    adjacent.setdefault((hard[end], breaks[end]), []).append((edges, first, end))
                else:
                    ended = loose[gap]
                    if not ended or ended[-1][0] != end:
                        ended.append((end, []))
                    ended[-1][1].append((edges, first))

        def follow(edges: dict[str, _Node], atoms: frozenset[str], first: int) -> None:
            for atom in edges.keys() & atoms:
                node = edges[atom]
                key = (id(node), first)
                if key in entered:
                    continue
                entered.add(key)
                ways, names, classes = node
                for name in names:
                    told.add(Match(name, first, end))
                for name in classes:
                    if (name, first) not in opened:
                        opened.add((name, first))
                        pending.append((self._read_class(name), first))
                if ways:
                    keep(ways, first)

        for at, token in enumerate(tokens):
            end = at + 1
            text = token.text
            reading = readings.get(text) or strangers.get(text) or self._read_word(text)
            pending.append((reading, at))
            for match in given_at.get(end, ()):
                opened.add((match.name, match.first))
                pending.append((self._read_class(match.name), match.first))
            late: list[tuple[frozenset[str], int]] = []
            while pending or late:
                if not pending:  # only now is it known which of these words are nouns
                    for atoms, start in late:
                        between = hard[start]
                        for last, matches in reversed(nouns):
                            if last > start:
                                continue
                            away = between - hard[last]
                            if away > _NOUN_RUN or breaks[last] != breaks[start + 1]:
                                break
                            if not away or all(noun[last:start]):
                                for edges, first in matches:
                                    if not edges.keys().isdisjoint(atoms):
                                        follow(edges, atoms, first)
                    late = []
                    continue
                (atoms, names, onward, is_noun), start = pending.pop()
                for name in names:
                    told.add(Match(name, start, end))
                if is_noun:
                    noun[start:end] = [True] * (end - start)
                if atoms:
                    between, sentence, fenced = hard[start], breaks[start + 1], fence[start]
                    for edges, first, last in adjacent.get((between, sentence), ()):
                        if last <= start and not edges.keys().isdisjoint(atoms):
                            follow(edges, atoms, first)
                    for ended, reach in ((near, NEAR), (far, FAR)):
                        for last, matches in reversed(ended):
                            if last > start:
                                continue
                            away = between - hard[last]
                            if away > reach or breaks[last] != sentence:
                                break
                            if not away or fence[last] == fenced:
                                for edges, first in matches:
                                    if not edges.keys().isdisjoint(atoms):
                                        follow(edges, atoms, first)
                    if nouns:
                        late.append((atoms, start))
                if onward and (id(onward), start) not in entered:
                    entered.add((id(onward), start))
                    keep(onward, start)
            if told:
                found += sorted(told, key=in_order) if len(told) > 1 else told
                told.clear()
            entered.clear()
            opened.clear()
        return found
