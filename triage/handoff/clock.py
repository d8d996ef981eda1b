"""When did what happen on the way to a nurse, and who says so? Collects marks; fills nothing in by assumption.

    t_word_end  t_final  t_assessed  t_clip_audible  t_refer_sent  t_refer_accepted  t_ringing  t_answered  t_person

`nurse_handoff` is t_final to t_answered: the nurse side's 200, by NOTIFY or on our dialled leg. `nurse_person` is t_final
to a person's key press or click. Both exist only where the hand-off began with an urgent final, because only then is
t_final marked. The first mark of a name stands: what a later attempt reports is in the record, not in the figure.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

NS_PER_MS = 1_000_000


class Mark(StrEnum):
    """The moments, in the order in which they usually come."""

    WORD_END = "t_word_end"
    FINAL = "t_final"
    ASSESSED = "t_assessed"
    CLIP_AUDIBLE = "t_clip_audible"
    REFER_SENT = "t_refer_sent"
    REFER_ACCEPTED = "t_refer_accepted"
    RINGING = "t_ringing"
    ANSWERED = "t_answered"
    PERSON = "t_person"


class Source(StrEnum):
    """Who says so."""

    OWN_CLOCK = "own clock"
    CARRIER = "carrier"
    DESK = "desk"
    NONE = "none"
    """Nobody: the moment is not known."""


@dataclass(frozen=True, slots=True)
class Marked:
    """One moment that somebody reported."""

    mark: Mark
    at_ns: int
    """Monotonic nanoseconds of our clock when we learned of it."""
    source: Source


@dataclass(slots=True)
class HandoffTimes:
    """The moments of one call's hand-off."""

    _marks: dict[Mark, Marked] = field(default_factory=dict)

    def mark(self, mark: Mark, at_ns: int, source: Source) -> bool:
        """Note a moment; False when it was noted before (the first stands) or nobody vouches for it."""
        if mark in self._marks or source is Source.NONE:
            return False
        self._marks[mark] = Marked(mark, at_ns, source)
        return True

    def get(self, mark: Mark) -> Marked | None:
        """The moment, if somebody reported it."""
        return self._marks.get(mark)

    def source(self, mark: Mark) -> Source:
        """Who reported it; NONE where nobody did."""
        return self._marks[mark].source if mark in self._marks else Source.NONE

    def between_ms(self, first: Mark, second: Mark) -> float | None:
        """Milliseconds from one moment to the other; None where either is not known."""
        if first not in self._marks or second not in self._marks:
            return None
        return (self._marks[second].at_ns - self._marks[first].at_ns) / NS_PER_MS

    @property
    def handoff_ms(self) -> float | None:
        """`nurse_handoff`: from the urgent final to the nurse side's answer."""
        return self.between_ms(Mark.FINAL, Mark.ANSWERED)

    @property
    def person_ms(self) -> float | None:
        """`nurse_person`: from the urgent final to a person's sign."""
        return self.between_ms(Mark.FINAL, Mark.PERSON)

    @property
    def marked(self) -> tuple[Marked, ...]:
        """What is known, in the order of `Mark`."""
        return tuple(self._marks[mark] for mark in Mark if mark in self._marks)

    @property
    def missing(self) -> tuple[Mark, ...]:
        """What nobody reported."""
        return tuple(mark for mark in Mark if mark not in self._marks)

    def stages_ms(self) -> tuple[tuple[str, float], ...]:
        """(moment, milliseconds since the known moment before it), for reports."""
        return tuple(
            (later.mark.value, (later.at_ns - earlier.at_ns) / NS_PER_MS) for earlier, later in pairwise(self.marked)
        )
