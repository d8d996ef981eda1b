"""Cut a stream of text into pieces that can be voiced: the first clause first, then whole sentences.

Nothing is cut inside "2.5 mg", "Dr. Lee" or "a.m.": a full stop ends a sentence only when what follows is known.
"""

import re

FIRST_CLAUSE_WORDS = 3
"""The first piece has at least so many words; fewer sound chopped."""
LONGEST = 400
"""Characters after which a sentence without an end is cut at a blank."""

_ABBREVIATIONS = frozenset(
    [
        "dr",
        "mr",
        "mrs",
        "ms",
        "st",
        "prof",
        "sr",
        "jr",
        "vs",
        "etc",
        "e.g",
        "i.e",
        "no",
        "nr",
        "tel",
        "ext",
        "approx",
        "dept",
        "ave",
        "rd",
        "apt",
    ]
)
_MAY_END = frozenset(["a.m", "p.m", "etc", "no", "rd", "ave", "st"])
"""Of these a capital afterwards decides whether the sentence ended; a name after "St." is no new sentence."""
_ENDS = re.compile(r"([.!?]+[\"'”’)]*)(\s+)(?=\S)")
_CLAUSE = re.compile(r"([,;:]|\s[-–—])\s+(?=\S)")
_STARTS = re.compile(
    r"(?:I|We|You|It|The|A|An|This|That|If|Is|Are|Do|Does|Did|"
    r"Can|Please|Thank|What|When|Where|Who|How|And|But|Now|Then)\b"
)


class SentenceChunker:
    """One reply's text, piece by piece. Not reusable after `close`."""

    def __init__(self) -> None:
        self._text = ""
        self._first = True

    def feed(self, delta: str) -> list[str]:
        """Take more text; return what is complete by now."""
        self._text += delta
        pieces: list[str] = []
        while (cut := self._cut()) is not None:
            piece, self._text = self._text[:cut].strip(), self._text[cut:].lstrip()
            if piece:
                pieces.append(piece)
                self._first = False
        return pieces

    def close(self) -> list[str]:
        """The text is over: return what is left."""
        rest, self._text = self._text.strip(), ""
        return [rest] if rest else []

    def _cut(self) -> int | None:
        ends = [found.end(1) for found in _ENDS.finditer(self._text) if _is_end(self._text, found)]
        sentence = ends[0] if ends else None
        if self._first:
            for found in _CLAUSE.finditer(self._text, 0, sentence if sentence is not None else len(self._text)):
                before = self._text[: found.start()]
                if len(before.split()) >= FIRST_CLAUSE_WORDS and not _inside_number(self._text, found):
                    return found.start() + len(found[1])
        if sentence is None and len(self._text) > LONGEST:
            return self._text.rfind(" ", 0, LONGEST) + 1 or None
        return sentence


def _is_end(text: str, found: "re.Match[str]") -> bool:
    if not found[1].startswith("."):
        return True
    before = text[: found.start()].split()
    word = before[-1].lstrip("(\"'“‘").lower() if before else ""
    rest = text[found.end() :]
    if len(word) == 1 and word.isalpha() and word not in ("i", "a"):
        return False  # an initial: "J. Smith"
    if word in _ABBREVIATIONS or word in _MAY_END or re.fullmatch(r"(?:[a-z]\.)+[a-z]", word):
        return word in _MAY_END and _STARTS.match(rest) is not None
    return not (word.isdigit() and rest[:1].isdigit())  # "2. 5"


def _inside_number(text: str, found: "re.Match[str]") -> bool:
    return text[: found.start()][-1:].isdigit() and text[found.end() :][:1].isdigit()
