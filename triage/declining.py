"""Whether a caller says that they do not want to be written down, in whatever else they say."""

from triage.dialogue.reading import Intent, intent_of

AT_A_TIME = 40
"""Words that are read together: a request stands in few, and what is said around it may be long."""


def declines_record(text: str) -> bool:
    """Whether these words, or any stretch of them, decline the record."""
    words = text.split()
    starts = range(0, max(1, len(words) - AT_A_TIME // 2), AT_A_TIME // 2)
    return any(intent_of(" ".join(words[at : at + AT_A_TIME])) is Intent.NO_RECORD for at in starts)
