"""What the urgency model sees of a text: names of features, each with the words it rests on.

1. Text becomes folded words (no case, accents, apostrophes); split negations are joined ("can not" is "cant").
2. Spoken and written numbers become one word that names their range ("thirty nine five" is `#38`).
3. A scope pass marks words: n negated, h past or settled, o about somebody else, f supposed.
4. Words, word pairs and triples, word classes and their pairs, and pieces of words become features; the question just
   asked is crossed with how the answer begins.
5. Beside them, for a head of its own, the words and pairs as spoken, small words too: people in danger talk differently.

Everything here is the model's own: it shares no lists with the rules, so that the two fail in different places.
Total: any string gives features, possibly none. Linear in the length of the text.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

VERSION = "3"
"""Of this file's behaviour; a model trained for another version is refused."""
CLASSES_FILE = "word_classes.txt"
MAX_WORD = 30
REACH = 6
"""Content words between which a pair of classes still counts."""
QUESTION_WORDS = 30


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _phrases(entries: str) -> frozenset[str]:
    return frozenset(entries.split("|"))


_JOIN = {
    **{(a, "not"): a + "nt" for a in ("do", "does", "did", "is", "are", "was", "were", "has", "have", "had", "could")},
    **{("would", "not"): "wouldnt", ("should", "not"): "shouldnt", ("can", "not"): "cant", ("will", "not"): "wont"},
    **{("no", v): "cant" for v in ("puedo", "puede", "pueden", "podemos", "podia", "logro", "logra", "alcanza", "pude")},
    **{("no", v): "wont" for v in ("quiere", "quieren", "queria")},
    ("ca", "nt"): "cant", ("na", "da"): "nada", ("on", "conscious"): "unconscious", ("un", "conscious"): "unconscious",
}  # fmt: skip
_ONE = {
    "cannot": "cant", "cand": "cant", "wont": "wont", "aint": "isnt", "im": "i am", "ive": "i have", "hes": "he is",
    "shes": "she is", "its": "it is", "theyre": "they are", "theres": "there is", "thats": "that is",
    "whats": "what is", "whos": "who is", "heres": "here is", "wheres": "where is", "lets": "let us", "youre": "you are", "weve": "we have", "gonna": "going to", "wanna": "want to",
    "gotta": "got to", "dunno": "dont know", "kinda": "kind of", "sorta": "sort of", "ya": "ya", "breathin": "breathing",
    "del": "de el", "al": "a el", "dying": "dying", "mum": "mom", "mummy": "mommy", "diarrhoea": "diarrhea",
}  # fmt: skip
_FILLER = _set("um uh er erm ah oh hmm mm uhm eh este pues bueno like well so just really very please okay ok")
STOP = _FILLER | _set(
    "the a an my his her our their your to of in on at for with and or is am are was were be been being it he"
    " she they we i you this that there has have had do does did get got going go some from as its about by "
    "up out then him them el la los las un una de en y o que se me le lo su mi mis sus con por para es esta "
    "estoy tengo tiene a muy al hay he ha yo ella nos te como mas ya"
)
_ENGLISH_SUBJECT = frozenset(["i", "he", "she", "it", "they", "we", "my", "there", "his", "her"])
_SUBJECT = _set("i he she it they we my theres there his her yo ella me le tengo tiene")
_NEGATORS = _set(
    "no not never without none denies deny denied dont doesnt didnt isnt arent wasnt werent hasnt havent "
    "hadnt nor neither sin nunca ningun ninguna tampoco ni jamas niega nada nobody nadie zero"
)
_NOT_NEGATING = frozenset(["only", "just", "even", "sure", "know", "longer", "matter", "wonder", "se"])
_OPENING = frozenset(["think", "feel", "believe", "say", "said", "that", "creo", "que", "seem", "look"])
_ENDS = _set(
    "but just only except although though however still yet because until since pero solo solamente nomas "
    "sino aunque excepto menos salvo porque instead rather otherwise unless"
)
_TURN = _set("but now today tonight currently pero ahora hoy ahorita suddenly again however otra")
_PAST_ONE = frozenset(["childhood", "resolved", "previously", "formerly", "antecedentes"])
_PAST_TWO = _phrases(
    "years ago|year ago|decades ago|months ago|last year|used to|history of|as kid|as child|was kid|was "
    "little|was young|was younger|was child|back in|went away|cleared up|better now|gone now|all better|got "
    "over|for years|always had|hace anos|ano pasado|de nino|de nina|cuando era|years back|in college|se "
    "quito|ya paso|long ago|ages ago|had removed|same as|as usual|been fine|desde siempre|hace meses|previous"
    " history|no longer"
)
_OTHER_ONE = frozenset(
    [
        "neighbor",
        "neighbors",
        "neighbour",
        "vecino",
        "vecina",
        "tv",
        "movie",
        "news",
        "novela",
        "pelicula",
        "documentary",
        "podcast",
    ]
)
_OTHER_TWO = _phrases(
    "family history|runs in|mother had|father had|dad had|mom had|died of|died from|passed from|grandmother "
    "had|grandfather had|uncle had|aunt had|my dog|my cat|the dog|the cat|mi perro|mi gato|heard about|read "
    "about|saw on|murio de|en familia|friend had|cousin had|friend of"
)
_IF_ONE = frozenset(["if", "hypothetically", "whether", "suppose"])
_IF_TWO = _phrases(
    "in case|signs of|symptoms of|por si|y si|pasa si|hago si|sintomas de|senales de|warning signs|what "
    "if|difference between|how know|policy on|policy for"
)
_NOT_IF = frozenset(["know", "sure", "wondering", "see", "asking", "tell", "se"])
_BREAKS = frozenset(".?!;\n…。¿¡")
_UNITS = {
    w: i
    for words in (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen",
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis diecisiete "
        "dieciocho diecinueve",
    )
    for i, w in enumerate(words.split())
}
_TENS = {
    w: 10 * i
    for words in (
        "twenty thirty forty fifty sixty seventy eighty ninety",
        "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    )
    for i, w in enumerate(words.split(), 2)
}
_HUNDREDS = {"hundred": 100, "cien": 100, "ciento": 100, "doscientos": 200, "trescientos": 300, "cuatrocientos": 400,
             "quinientos": 500, "seiscientos": 600}  # fmt: skip
_GLUE = frozenset(["point", "punto", "oh", "y", "and", "con"])
_BANDS = (
    (0, "0"), (1, "1"), (2, "2"), (3, "3"), (6, "6"), (9, "9"), (13, "13"), (21, "21"), (29, "29"), (35.9, "36"),
    (38, "38"), (40, "40"), (43, "43"), (60, "60"), (80, "80"), (92, "92"), (96, "96"), (100.4, "100.4"),
    (102, "102"), (104, "104"), (108, "108"), (140, "140"), (180, "180"), (250, "250"), (350, "350"), (1000, "1000"),
    (1900, "1900"), (2101, "2101"),
)  # fmt: skip


class Word(NamedTuple):
    """One folded word and where it stands in the text as given."""

    text: str
    start: int
    end: int
    after_break: bool = False
    after_comma: bool = False


class Feature(NamedTuple):
    """One thing seen; `first` and `last` (excluded) count words, -1 for the question."""

    name: str
    first: int
    last: int


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", character).casefold() if c.isalnum())


_PIECES = re.compile(r"[A-Za-z]+|.", re.DOTALL)
"""A run of plain letters, or any other character."""


def _raw_words(text: str) -> list[Word]:
    found: list[Word] = []
    letters: list[str] = []
    start, broke, comma, apostrophe = 0, True, False, 0
    for match in _PIECES.finditer(text + " "):
        piece, at = match.group(), match.start()
        folded: Sequence[str]
        if piece.isascii():
            if piece == "'" and letters:
                apostrophe = len(letters)
                continue
            folded = piece.lower() if piece.isalnum() else ""
        elif piece in "’`´" or unicodedata.combining(piece):
            apostrophe = len(letters) if piece in "’`´" else apostrophe
            continue
        else:
            whole = _fold(piece)
            folded = (whole,) if whole else ()
        inside = piece in ".," and bool(letters) and letters[-1].isdigit() and text[at + 1 : at + 2].isdigit()
        if inside and piece == "." and "." not in letters:
            letters.append(".")
            continue
        if folded and (not letters or folded[0].isdigit() == letters[-1][-1:].isdigit() or letters[-1] == "."):
            if not letters:
                start = at
            letters.extend(folded)
            continue
        if letters:
            word = "".join(letters)[:MAX_WORD]
            if apostrophe > 1 and apostrophe == len(letters) - 1 and letters[-1] == "s" and word not in _ONE:
                word = word[:-1]
            letters.clear()
            apostrophe = 0
            for opened in _ONE[word].split() if word in _ONE else (word,):
                found.append(Word(opened, start, at, broke, comma))
                broke = comma = False
        if folded:
            start = at
            letters.extend(folded)
        elif piece in _BREAKS:
            broke = True
        elif piece in ",:—–":
            comma = True
    return found


def _number(words: Sequence[str]) -> str:
    """The band of a run of number words, or `#long` for telephone and other long numbers."""
    parts: list[float] = []
    fraction = False
    for word in words:
        if word in ("point", "punto"):
            fraction = True
            continue
        if word in ("and", "y", "con"):
            continue
        if word in _HUNDREDS:
            last = parts.pop() if parts and parts[-1] < 10 else 1
            parts.append(last * _HUNDREDS[word])
            continue
        value = 0.0 if word == "oh" else float(_UNITS.get(word, _TENS.get(word, -1)))
        if value < 0:
            value = float(word) if word.replace(".", "", 1).isdigit() and word.isascii() else 0.0
        if fraction and parts and value < 10:
            parts[-1] += value / 10
            fraction = False
        elif (parts and 0 < value < 10 and parts[-1] >= 20 and parts[-1] % 10 == 0 and parts[-1] < 1000) or (
            parts and value < 100 and parts[-1] >= 100 and parts[-1] % 100 == 0 and parts[-1] < 1000
        ):
            parts[-1] += value
        else:
            parts.append(value)
    if len(parts) > 3 or (len(parts) == 1 and parts[0] > 9999):
        return "#long"
    value = parts[0] if parts else 0.0
    if len(parts) == 2 and 33 <= value <= 42 and parts[1] < 10:
        value += parts[1] / 10
    elif len(parts) == 2 and value < 10 and 10 <= parts[1] < 100:
        value = value * 100 + parts[1]
    elif len(parts) >= 3 and value < 10 and parts[1] == 0 and parts[2] < 10:
        value = value * 100 + parts[2]
    elif len(parts) == 2 and value == 1 and parts[1] < 10:
        value = 100 + parts[1]
    band = "0"
    for low, name in _BANDS:
        if value < low:
            break
        band = name
    return "#" + band


def words_of(text: str) -> list[Word]:
    """Folded words with split negations joined and numbers banded. Any string is accepted."""
    raw = _raw_words(text)
    joined: list[Word] = []
    at = 0
    while at < len(raw):
        word = raw[at]
        if at + 1 < len(raw) and not raw[at + 1].after_break:
            pair = _JOIN.get((word.text, raw[at + 1].text))
            if pair:
                joined.append(Word(pair, word.start, raw[at + 1].end, word.after_break, word.after_comma))
                at += 2
                continue
        if _numeral(word.text):
            last = at + 1
            while last < len(raw) and not raw[last].after_break and last - at < 16:
                nxt = raw[last].text
                if _numeral(nxt) or (nxt in _GLUE and last + 1 < len(raw) and _numeral(raw[last + 1].text)):
                    last += 1
                else:
                    break
            band = _number([w.text for w in raw[at:last]])
            joined.append(Word(band, word.start, raw[last - 1].end, word.after_break, word.after_comma))
            at = last
            continue
        if not (joined and joined[-1].text == word.text and not word.after_break):
            joined.append(word)
        at += 1
    return joined


def _numeral(word: str) -> bool:
    return word in _UNITS or word in _TENS or word in _HUNDREDS or word[:1].isdigit()


def _clause(words: Sequence[Word], at: int, reach: int = 10) -> range:
    """The words around `at` up to a sentence end or a word that turns to the present."""
    first = at
    while first > 0 and at - first < reach and not words[first].after_break and words[first - 1].text not in _TURN:
        first -= 1
    last = at + 1
    while last < len(words) and last - at < reach and not words[last].after_break and words[last].text not in _TURN:
        last += 1
    return range(first, last)


def marks_of(words: Sequence[Word]) -> list[str]:
    """For every word the letters of the scopes it stands in: n negated, h past, o somebody else, f supposed."""
    texts = [w.text for w in words]
    scopes: list[set[str]] = [set() for _ in words]
    content = [
        i for i, t in enumerate(texts) if t not in _FILLER and t not in ("a", "the", "i", "my", "la", "el", "me", "mi")
    ]
    for here, following in zip(content, [*content[1:], -1], strict=False):
        one, two = texts[here], f"{texts[here]} {texts[following]}" if following >= 0 else ""
        if one in _PAST_ONE or two in _PAST_TWO or one in ("#1900",):
            for i in _clause(words, here):
                scopes[i].add("h")
        if one in _OTHER_ONE or two in _OTHER_TWO:
            for i in _clause(words, here):
                scopes[i].add("o")
        hypothetical = one in _IF_ONE and not any(t in _NOT_IF for t in texts[max(0, here - 2) : here])
        if hypothetical or two in _IF_TWO:
            for i in _clause(words, here):
                if i >= here:
                    scopes[i].add("f")
    at = 0
    while at < len(words):
        if texts[at] in _NEGATORS and not _answering(words, at):
            last = at + 1
            seen = 0
            while last < len(words) and seen < 6 and not words[last].after_break and texts[last] not in _ENDS:
                if texts[last] in _NEGATORS and texts[last] not in ("ni", "nor", "nada", "ningun", "ninguna", "no"):
                    break
                if texts[last] in _SUBJECT and seen >= 1 and texts[last - 1] not in _OPENING:
                    break
                seen += texts[last] not in STOP and texts[last] not in _OPENING
                last += 1
            for i in range(at + 1, last):
                scopes[i].add("n")
            at = last if last > at + 1 else at + 1
            continue
        at += 1
    return ["".join(sorted(s)) for s in scopes]


def _answering(words: Sequence[Word], at: int) -> bool:
    """Whether this negator opens an answer ("no, she is blue") or a phrase that denies nothing ("not only")."""
    if at + 1 >= len(words):
        return False
    following = words[at + 1]
    if words[at].text == "no" and (following.text in _ENGLISH_SUBJECT or following.after_comma):
        return at == 0 or words[at].after_break
    return following.text in _NOT_NEGATING


def _forms(word: str) -> tuple[str, ...]:
    """Regular other forms of a word; some do not exist, which costs nothing."""
    if len(word) < 3 or not word.isalpha():
        return ()
    stem = word[:-1] if word.endswith("e") else word
    return (word + "s", word + "es", stem + "ed", stem + "ing")


class WordClasses:
    """The word classes: which parts a word or short phrase can play."""

    def __init__(self, text: str) -> None:
        self.single: dict[str, tuple[str, ...]] = {}
        self.phrases: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = {}
        for line in text.splitlines():
            name, _, entries = line.partition(":")
            if line.startswith("#") or not entries:
                continue
            for entry in entries.split(","):
                key = tuple(w.text for w in words_of(entry))
                if len(key) == 1:
                    self.single[key[0]] = (*self.single.get(key[0], ()), name.strip())
                elif key:
                    group = self.phrases.setdefault(key[0], {})
                    group[key] = (*group.get(key, ()), name.strip())
        for word, names in list(self.single.items()):
            for form in _forms(word):
                self.single.setdefault(form, names)

    @classmethod
    def load(cls) -> "WordClasses":
        """The shipped classes."""
        return cls(files("classifiers").joinpath("model_data", CLASSES_FILE).read_text(encoding="utf-8"))

    def find(self, texts: Sequence[str]) -> list[tuple[str, int, int]]:
        """(class, first, last excluded) of everything found, in order of the text."""
        found: list[tuple[str, int, int]] = []
        for at, text in enumerate(texts):
            for name in self.single.get(text, ()):
                found.append((name, at, at + 1))
            group = self.phrases.get(text)
            if group:
                for key, names in group.items():
                    if tuple(texts[at : at + len(key)]) == key:
                        found.extend((name, at, at + len(key)) for name in names)
        return found


_YES = _set("yes yeah yep yup si sip aha aja mhm right correct claro exactly definitely sure afirmativo yea ya")
_YES_TWO = _phrases(
    "uh huh|a bit|a little|kind of|sort of|un poco|un poquito|mas menos|i think|creo que|i am|i did|i do|he "
    "is|she is|it is|it does|he does|she does|i have|he has|she has|a lot|i guess"
)
_NO = _set("no nope nah never none nothing nada nunca negative negativo ninguno ninguna tampoco")
_NO_TWO = _phrases(
    "not really|not at|i dont|he isnt|she isnt|it isnt|he doesnt|she doesnt|it doesnt|i havent|not that|i am "
    "not|he cant|she cant|i cant|dont think|para nada"
)  # fmt: skip
_SHORT = 6


def answer_of(words: Sequence[Word]) -> str:
    """How an answer begins: yes, no, both, unsure, or other; with a plus when more than a few words follow."""
    texts = [w.text for w in words if w.text not in ("um", "uh", "er", "oh", "well", "pues", "bueno", "eh")][:5]
    spoken = [w.text for w in words][:6]
    pairs = {" ".join(texts[i : i + 2]) for i in range(len(texts) - 1)} | {
        " ".join(spoken[i : i + 2]) for i in range(len(spoken) - 1)
    }
    yes = any(t in _YES for t in texts[:2]) or bool(pairs & _YES_TWO)
    no = any(t in _NO for t in texts[:2]) or bool(pairs & _NO_TWO)
    if pairs & {"not sure", "dont know", "no se", "hard to", "i guess"}:
        kind = "unsure"
    else:
        kind = {(True, True): "both", (True, False): "yes", (False, True): "no"}.get((yes, no), "other")
    return kind + ("+" if len(words) > _SHORT else "")


def question_features(answer: str, question: Sequence[Word], classes: WordClasses) -> list[str]:
    """The question just asked, crossed with how the answer begins."""
    texts = [w.text for w in question[-QUESTION_WORDS:]]
    content = [t for t in texts if t not in STOP]
    names = [f"q{answer}:{t}" for t in content]
    names += [f"q{answer}:{a} {b}" for a, b in pairwise(content)]
    names += [f"q{answer}@{name}" for name, _, _ in classes.find(texts)]
    names.append(f"q{answer}")
    return names


def plain(words: Sequence[Word], question: Sequence[Word] = (), answer: str = "") -> list[Feature]:
    """Every word and pair of words as spoken, small words too, whatever scope they stand in; then the question's.

    Those of the question carry how the answer begins (`answer_of`).
    """
    texts = [w.text for w in words]
    found = [Feature(f"u:{text}", i, i + 1) for i, text in enumerate(texts)]
    found += [Feature(f"v:{a} {b}", i, i + 2) for i, (a, b) in enumerate(pairwise(texts))]
    asked = [w.text for w in question[-QUESTION_WORDS:]]
    found += [Feature(f"x{answer}:{text}", -1, -1) for text in asked]
    found += [Feature(f"y{answer}:{a} {b}", -1, -1) for a, b in pairwise(asked)]
    return found


def extract(words: Sequence[Word], marks: Sequence[str], classes: WordClasses) -> list[Feature]:
    """Features of one window of words. Names repeat where the words do."""
    found = [Feature(name, at, at + 1) for at, word in enumerate(words) for name in word_features(word.text, marks[at])]
    return found + joint_features(words, marks, classes)


def word_features(text: str, mark: str) -> list[str]:
    """What one word gives by itself: its name and its pieces."""
    if text in _FILLER:
        return []
    names = [f"w{mark}:{text}"] if text not in STOP else []
    if len(text) >= 4 and text[0] != "#":
        padded = f"<{text}>"
        for size in (4, 5) if len(text) > 4 else (4,):
            names += [f"c{mark}:{padded[at : at + size]}" for at in range(len(padded) - size + 1)]
    return names


def joint_features(words: Sequence[Word], marks: Sequence[str], classes: WordClasses) -> list[Feature]:
    """What words give together: pairs, triples, classes and pairs of classes."""
    texts = [w.text for w in words]
    found: list[Feature] = []
    add = found.append
    spoken = [i for i, t in enumerate(texts) if t not in _FILLER]
    for a, b in pairwise(spoken):
        if texts[a] not in STOP or texts[b] not in STOP:
            add(Feature(f"b{marks[b]}:{texts[a]} {texts[b]}", a, b + 1))
    for a, b, c in zip(spoken, spoken[1:], spoken[2:], strict=False):
        add(Feature(f"t{marks[c]}:{texts[a]} {texts[b]} {texts[c]}", a, c + 1))
    content = [i for i in spoken if texts[i] not in STOP]
    for a, b in pairwise(content):
        if b > a + 1:
            add(Feature(f"s{marks[b]}:{texts[a]} {texts[b]}", a, b + 1))
    for a, b in zip(content, content[2:], strict=False):
        add(Feature(f"g{marks[b]}:{texts[a]} {texts[b]}", a, b + 1))
    position, rank = {}, 0
    for i, text in enumerate(texts):
        position[i] = rank
        rank += text not in STOP
    seen = [(f"{marks[last - 1]}@{name}", first, last) for name, first, last in classes.find(texts)]
    for i, (name, first, last) in enumerate(seen):
        add(Feature(f"k{name}", first, last))
        for other, start, end in seen[i + 1 :]:
            if position[start] - position[first] > REACH:
                break
            if start >= last and other != name:
                pair = f"{name}~{other}" if name < other else f"{other}~{name}"
                add(Feature(f"p{pair}", first, end))
    return found


_MARKS = {"n": "negated", "h": "past", "o": "of somebody else", "f": "supposed"}
_KINDS = {
    "w": "the word", "c": "a piece of a word", "b": "the words", "t": "the words", "s": "the words, apart",
    "g": "the words, further apart", "k": "the class", "p": "the classes together", "q": "the question, answered",
    "u": "the word as spoken", "v": "the words as spoken", "x": "the question, answered", "y": "the question, answered",
}  # fmt: skip


def described(name: str) -> str:
    """A feature's name in words, for a person."""
    ends = [at for at in (name.find(":"), name.find("@")) if at >= 0]
    cut = min(ends, default=len(name))
    kind, inner, rest = _KINDS.get(name[:1], "the feature"), name[1:cut], name[cut:].lstrip(":@")
    if name[:1] in ("q", "x", "y"):
        return f"{kind} {inner}{f': {rest}' if rest else ''}"
    if name[:1] == "p":
        return f"{kind} {' and '.join(part.lstrip('@') for part in name[1:].split('~'))}"
    marks = ", ".join(_MARKS[letter] for letter in inner if letter in _MARKS)
    return f"{kind} {rest!r}{f' ({marks})' if marks else ''}"
