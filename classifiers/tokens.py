"""From a recogniser's words to tokens that rules can match.

1. Case, accents, apostrophes and exotic characters go; every token keeps its span in the text as given.
2. Contractions are opened ("can't", "cant" and "cannot" are all "can not"), so that a rule is written once.
3. Hesitations and repeated words become *soft*: they may stand anywhere inside a phrase at no cost.
4. Sentence ends become *breaks*: no phrase and no negation reaches across them. Unpunctuated speech simply has none;
   dots in a row are a pause for breath, not an end.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

MAX_WORD = 40
"""Longer runs of letters are cut; no word of either language is longer."""

_CONTRACTIONS: dict[str, str] = {
    "cant": "can not", "cannot": "can not", "cani": "can i", "wont": "will not", "dont": "do not", "doesnt": "does not",
    "didnt": "did not", "isnt": "is not", "arent": "are not", "wasnt": "was not", "werent": "were not",
    "hasnt": "has not", "havent": "have not", "hadnt": "had not", "couldnt": "could not", "wouldnt": "would not",
    "shouldnt": "should not", "aint": "is not", "im": "i am", "ive": "i have", "hes": "he is", "shes": "she is",
    "its": "it is", "theyre": "they are", "weve": "we have", "theyve": "they have", "youre": "you are",
    "youve": "you have", "thats": "that is", "theres": "there is", "whats": "what is", "whos": "who is",
    "hows": "how is", "wheres": "where is", "itll": "it will", "theyll": "they will",
    "shouldve": "should have", "couldve": "could have", "wouldve": "would have", "mustve": "must have",
    "gonna": "going to", "wanna": "want to", "gotta": "got to", "gotten": "got", "kinda": "kind of",
    "sorta": "sort of", "outta": "out of", "lotta": "lot of", "dunno": "do not know", "lemme": "let me",
    "gimme": "give me", "whatcha": "what are you", "yall": "you all", "innit": "is not it", "dyou": "do you",
    "tryna": "trying to", "finna": "going to", "mustnt": "must not", "neednt": "need not", "cuz": "because",
    "cos": "because", "coz": "because", "til": "until", "em": "them", "mums": "mum is", "al": "a el", "del": "de el",
}  # fmt: skip
_WITH_APOSTROPHE: dict[str, str] = {
    "ill": "i will", "id": "i would", "hell": "he will", "shell": "she will", "well": "we will", "were": "we are",
    "wed": "we would", "hed": "he would", "shed": "she would", "youll": "you will", "youd": "you would",
    "lets": "let us", "theyd": "they would", "itd": "it would",
}  # fmt: skip
_SOFT = frozenset(
    [
        "um",
        "uh",
        "er",
        "erm",
        "ah",
        "oh",
        "hmm",
        "mm",
        "mhm",
        "uhm",
        "like",
        "just",
        "really",
        "very",
        "so",
        "actually",
        "basically",
        "literally",
        "please",
        "okay",
        "ok",
        "pretty",
        "quite",
        "totally",
        "well",
        "right",
        "now",
        "still",
        "also",
        "god",
        "gosh",
        "gee",
        "jeez",
        "honestly",
        "seriously",
        "super",
        "too",
        "maam",
        "sir",
        "hey",
        "alright",
        "look",
        "eh",
        "este",
        "pues",
        "bueno",
        "muy",
        "ya",
        "tambien",
        "oiga",
        "mire",
        "senora",
        "senor",
        "ay",
        "entonces",
        "ahora",
        "ahorita",
        "mismo",
        "tan",
        "asi",
    ]
)
_THOUSANDS = re.compile(r"[0-9]{3}(?![0-9])")
_BREAKS = frozenset(".?!;\n。¿¡")


@dataclass(frozen=True, slots=True)
class Token:
    """One normalised word. Opened contractions share the span of their source."""

    text: str
    start: int
    end: int
    soft: bool = False
    """May be skipped inside a phrase at no cost."""
    after_break: bool = False
    """A sentence ended just before."""
    after_comma: bool = False


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    """One character without case or accent; empty for what is neither letter nor digit."""
    folded = unicodedata.normalize("NFKD", character).casefold()
    return "".join(c for c in folded if c.isalnum())


def is_opened(word: str) -> bool:
    """Whether this word stands for more than one, without an apostrophe to show it."""
    return word in _CONTRACTIONS


def _open(word: str, apostrophe: bool) -> tuple[str, ...]:
    if word in _CONTRACTIONS:
        return tuple(_CONTRACTIONS[word].split())
    if apostrophe:
        if word in _WITH_APOSTROPHE:
            return tuple(_WITH_APOSTROPHE[word].split())
        for tail, full in (("ll", "will"), ("ve", "have"), ("nt", "not")):
            if word.endswith(tail) and len(word) > len(tail) + 1:
                return (word[: -len(tail)], full)
        if word.endswith("s") and len(word) > 2:
            return (word[:-1], "is")
    return (word,)


def tokenise(text: str) -> tuple[Token, ...]:
    """Split and normalise. Total: any string gives tokens, possibly none. Linear in the length of the text."""
    tokens: list[Token] = []
    broke, comma = True, False
    letters: list[str] = []
    start = 0
    apostrophe = False

    def flush(end: int) -> None:
        nonlocal broke, comma, apostrophe
        if not letters:
            return
        word = "".join(letters)[:MAX_WORD]
        letters.clear()
        for piece in _open(word, apostrophe):
            soft = piece in _SOFT or (bool(tokens) and tokens[-1].text == piece and not broke and not piece.isdigit())
            tokens.append(Token(piece, start, end, soft, broke, comma))
            broke = comma = False
        apostrophe = False

    for at, character in enumerate(text):
        if character in "'’`´" and letters:
            apostrophe = True
            continue
        if character in ".,:" and letters and letters[-1].isdigit() and at + 1 < len(text) and text[at + 1].isdigit():
            thousands = character == "," and _THOUSANDS.match(text, at + 1) is not None
            letters.append("" if thousands else ".")
            continue
        if unicodedata.combining(character):
            continue
        folded = _fold(character) if not character.isascii() else character.lower() if character.isalnum() else ""
        if folded:
            if not letters:
                start, apostrophe = at, False
            elif folded[0].isdigit() != letters[-1].isdigit() and letters[-1] not in (".", ""):
                flush(at)
                start = at
            letters.append(folded)
            continue
        flush(at)
        if character in _BREAKS and text[at + 1 : at + 2] != "." and text[max(0, at - 1) : at] != ".":
            broke = True
        elif character in ",—–:" or (character == "-" and at > 0 and text[at - 1] == " "):
            comma = True
    flush(len(text))
    return tuple(tokens)


_SAYING = frozenset(("say", "claim", "tell", "swear", "promise", "pretend", "think", "believe", "suppose", "decir"))
_SAYERS = frozenset(("i", "you", "we", "one", "nobody", "they"))
_INNER_NO = frozenset(("not", "never", "no", "without", "sin"))
_CUT_OFF = frozenset(("and", "but", "or", "if", "whether", "because", "when", "so", "y", "pero", "si"))
_INNER_REACH = 6
"""Tokens from the saying to the negation that it takes back."""


def _outer_no(tokens: Sequence[Token], at: int) -> int:
    """Where a saying that is itself negated by token `at` ends ("I could not say"), or 0 when it is none."""
    before = [token.text for token in tokens[max(0, at - 2) : at]]
    after = [token.text for token in tokens[at + 1 : at + 4]]
    match tokens[at].text:
        case "not":
            if after[:1] == ["that"] and before[-1:] in (["is"], ["was"], []):
                return at + 2
            if after and after[0] in _SAYING and before and before[0] in _SAYERS:
                return at + 2
        case "nobody":
            if len(after) > 1 and after[0] in ("can", "could", "will", "would") and after[1] in _SAYING:
                return at + 3
        case "no":
            if after[:1] == ["way"] or after[:2] == ["es", "que"]:
                return at + len(after[:1]) + 1 + (after[0] == "es")
    return 0


def without_double_negation(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """The words with both negations of "you could not say his face is not drooping" made soft, as they cancel out."""
    found = list(tokens)
    for at in range(len(found)):
        end = _outer_no(found, at)
        if not end:
            continue
        for inner in range(end, min(end + _INNER_REACH, len(found))):
            if found[inner].after_break or found[inner].after_comma or found[inner].text in _CUT_OFF:
                break
            if found[inner].text in _INNER_NO:
                for no in (at, inner):
                    found[no] = replace(found[no], text="so", soft=True)
                break
    return tuple(found)
