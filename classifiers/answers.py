"""How an answer answers: with a yes, with a no, with neither, or by a way round both."""

from collections.abc import Sequence

from classifiers.assertion import Context, Span
from classifiers.questions import Asked
from classifiers.tokens import Token

_ANSWER_WORDS = 3
"""A yes or no counts when it begins within so many words."""
_SHORT_ANSWER = 9
"""Up to so many words an answer that is neither yes nor no is a way round one."""
_HARM = frozenset(("self_harm", "attempt", "violence"))
"""Asked after these, only a no is a no."""
_FUNCTIONS = frozenset(
    ("infant_danger", "new_confusion", "unsafe", "limb_danger", "pregnancy_danger", "cannot_swallow")
)
"""Asked whether these are well, only a yes is a yes."""
_CLOSING_YES = frozenset(("yes", "yeah", "yep", "yup", "si"))
"""A yes that counts as the last word of an answer too: "my bottom lip, yeah"."""
_SECOND_NO = frozenset(("no", "nope", "nah", "not", "never"))
_NO_TROUBLE = frozenset(("problem", "problems", "trouble", "issues", "worries", "bother"))
_GOING_ON = frozenset(("and", "but", "y", "pero", "because", "since", "when", "on", "in", "of", "yes", "if", "after"))
_TURNING = frozenset(("but", "well", "actually", "except", "though", "pero", "bueno", "maybe", "now"))


def said_yes(tokens: Sequence[Token], context: Context) -> tuple[bool, Span] | None:
    """Whether the final begins with a yes (True) or a no, and where; None when with neither."""

    def spans(kind: str) -> list[Span]:
        kept = []
        for span, row in context.kinds.get(kind, ()):
            hard = sum(not t.soft for t in tokens[: span.first])
            ends = span.last >= len(tokens) or tokens[span.last].after_break or tokens[span.last].after_comma
            after = tokens[span.last].text if span.last < len(tokens) else ""
            if kind == "affirm" and after in ("not", "no") and not tokens[span.last].after_break:
                continue  # "definitely not"
            if kind == "refuse" and after in _NO_TROUBLE:
                continue  # "yes, no problem"
            if hard < _ANSWER_WORDS and (ends or not row.get("whole") or tokens[span.last].text in _GOING_ON):
                kept.append(span)
        return kept

    yes, no = spans("affirm"), spans("refuse")
    if _grunted_no(tokens):
        return False, Span(0, 2)
    if not yes and not no:
        last = _last_word(tokens)
        return (True, Span(last, last + 1)) if last >= 0 and tokens[last].text in _CLOSING_YES else None
    first = min((*yes, *no), key=lambda s: (s.first, s.first - s.last))
    plain = [span for span, row in context.kinds.get("affirm", ()) if not row.get("whole")]
    firm = {span for span, row in context.kinds.get("affirm", ()) if row.get("firm")}
    if first in firm:
        return True, first
    second = next((s for s in (*yes, *no) if s.first == first.last and (s in yes) != (first in yes)), None)
    if second is not None and first in no and tokens[second.first].text == "a" and second.last < len(tokens):
        going_on = tokens[second.last].after_break or tokens[second.last].text in _GOING_ON
        second = second if going_on else None  # "no, a little washed out" is no yes
    if second is not None and second in no and tokens[second.first].text not in _SECOND_NO:
        second = None  # "yes, nothing new" is no no
    if second is not None and first in no and tokens[first.first].text not in _SECOND_NO:
        second = None  # "just a grumble now and then" is no yes
    if second is not None and second in yes and second not in plain:
        second = None  # "no, worse" is no yes
    if second is not None:
        return second in yes, second  # "yeah no", "no yeah": the second word is the answer
    if first in no and first not in yes:
        after = [
            span
            for span, _ in context.kinds.get("affirm", ())
            if span.first > first.last - 1 and any(t.text in _TURNING for t in tokens[first.last : span.first])
        ]
        if after:
            return True, after[0]
    return first in yes, first


def dodged(tokens: Sequence[Token], context: Context, asked: Asked) -> list[str]:
    """Findings that a short answer leaves open though a plain yes (or, of harm, a plain no) was to be had."""
    kinds = context.kinds
    hard = sum(not token.soft for token in tokens)
    if not asked.closed or not 1 < hard <= _SHORT_ANSWER:
        return []
    if any(kinds.get(kind) for kind in ("reassure", "evasive", "refuse", "usual", "negate", "other")):
        return []
    return [code for code, yes in asked.findings if (code in _HARM if yes else code in _FUNCTIONS)]


def refused(context: Context) -> bool:
    """Whether the answer begins with a no."""
    return any(span.first == 0 for span, _ in context.kinds.get("refuse", ()))


def _grunted_no(tokens: Sequence[Token]) -> bool:
    """Whether an answer is "uh-uh", and not the "uh, uh" of somebody who looks for words."""
    alone = len(tokens) == 2 or (len(tokens) > 2 and (tokens[2].after_break or tokens[2].after_comma))
    return alone and [token.text for token in tokens[:2]] == ["uh", "uh"]


def _last_word(tokens: Sequence[Token]) -> int:
    """Index of the last token that is not soft, or -1."""
    return next((at for at in range(len(tokens) - 1, -1, -1) if not tokens[at].soft), -1)
