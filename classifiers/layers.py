"""The seam for further layers beside the rules: each may raise a level, none may lower another's.

A layer that raises or returns nonsense is counted and otherwise ignored (the rules live on; somebody is paged). Layers
are shared by all calls and keep nothing of a call; what the call knows comes in.
"""

from dataclasses import dataclass
from typing import Protocol

from classifiers.assessment import Evidence, Known
from classifiers.levels import Category, Level


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """What one layer says of one text."""

    level: Level
    category: Category
    score: float
    """0 to 1; urgent levels are at or above the classifier's threshold."""
    rule: str
    """Id of what decided, for the record."""
    evidence: tuple[Evidence, ...] = ()

    def __post_init__(self) -> None:
        """Refuse nonsense.

        Raises:
            ValueError: a score outside 0 to 1, or an urgent level without a category.
        """
        if not 0.0 <= self.score <= 1.0:
            raise ValueError("score outside 0 to 1")
        if self.level.urgent and self.category in (Category.NONE, Category.CLASSIFIER_FAILED):
            raise ValueError("an urgent opinion names its category")


class Layer(Protocol):
    """One further way of hearing danger: a model, for instance. Synchronous, a few milliseconds, no network."""

    @property
    def id(self) -> str:
        """Short fixed name: goes into versions and counters."""
        ...

    @property
    def version(self) -> str:
        """Of what it decides by."""
        ...

    def judge(self, text: str, *, question: str, known: Known) -> Opinion | None:
        """Judge one final; None when it has nothing to raise."""
        ...
