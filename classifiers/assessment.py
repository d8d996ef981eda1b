"""What a classifier says about one final or stretch: an `Assessment`, and what is known of the call so far."""

from dataclasses import dataclass, field
from typing import Protocol

from classifiers.levels import Category, Level


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """A span of the judged text that the decision rests on. `text[start:end]` of the final as given."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """The verdict on one text, in the light of the call so far."""

    level: Level
    category: Category
    score: float
    """0 to 1; urgent at or above the classifier's fixed threshold."""
    evidence: tuple[Evidence, ...] = ()
    rule: str = ""
    """Id of the rule, combination or model that decided; empty when nothing fired."""
    versions: tuple[tuple[str, str], ...] = ()
    """(part, version) of rules, lexicon and model."""
    clip: str = ""
    """Prompt id to play when urgent (data, per category and level)."""
    rank: int = 0
    """Order among waiting callers; higher goes first."""
    language: str = "en"
    """en, es, mixed or unknown."""

    @property
    def urgent(self) -> bool:
        """Whether a nurse must have this call now."""
        return self.level.urgent


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One clinical fact of the call and how it was said."""

    code: str
    """Lexicon concept, for instance chest_pain or vomiting."""
    assertion: str
    """present, denied or uncertain."""
    text: str
    """The caller's own words."""
    turn: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """Everything the accumulator keeps over one call; goes into packet and summary."""

    findings: tuple[Finding, ...] = ()
    qualifiers: tuple[tuple[str, str, int], ...] = ()
    """(name, value, turn): age_days, age_years, sex, pregnant, pregnant_weeks, postpartum, blood_thinner, diabetes, ..."""
    urgent: tuple[Assessment, ...] = field(default=())


class CallJudge(Protocol):
    """One call's accumulator. Synchronous, a few milliseconds, no network, no clock."""

    def assess(self, text: str, *, question: str = "", turn: int = 0) -> Assessment:
        """Judge one final or stretch after `question` (what we had just asked, may be empty).

        Never raises: a broken layer is an Assessment of category `classifier_failed`.
        """
        ...

    @property
    def known(self) -> Known:
        """Findings and qualifiers so far."""
        ...
