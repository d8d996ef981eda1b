"""The port for a judge that is slow and may be wrong: a language model that listens beside, in production only.

It runs next to each final, never before a decision. It can only raise: an answer that is late, broken, unsure or lower
than what the rules said changes nothing. There is none by default.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from classifiers.assessment import Assessment, Known
from classifiers.judge import THRESHOLD, Classifier
from classifiers.levels import Category, Level

DEADLINE_S = 1.5
"""An answer later than this changes nothing."""
FIELDS = frozenset(("level", "category", "confidence", "reason_code"))
REASON_CODES = frozenset(("present_now", "combination", "implied", "asked_for_help", "unclear"))
LEAST_CONFIDENCE = 0.7
"""Below this an answer changes nothing: a vendor's hunch must not send every call to the nurses."""
MAX_ANSWER = 2_000
"""Characters of an answer that are looked at; a longer one is nonsense."""
_ORDER = (Level.ROUTINE, Level.NURSE_SOON, Level.NURSE_NOW, Level.EMERGENCY_NOW)


class BadAnswer(ValueError):
    """The answer does not follow the schema; the message names the field and never quotes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondQuestion:
    """What the judge is shown."""

    text: str
    question: str
    known: Known
    first: Assessment
    """What rules and model said."""
    language: str = "en"


@dataclass(frozen=True, kw_only=True, slots=True)
class SecondAnswer:
    """What it may say."""

    level: Level
    category: Category
    confidence: float
    """0 to 1, as the judge claims it."""
    reason_code: str
    """One of REASON_CODES."""


class SecondOpinion(Protocol):
    """A judge beside the classifier."""

    @property
    def id(self) -> str:
        """Name and version, for the record."""
        ...

    async def ask(self, question: SecondQuestion) -> str:
        """The judge's raw answer: one JSON object. May raise anything, may take for ever; both change nothing."""
        ...


def answer_schema() -> dict[str, Any]:
    """JSON schema of an answer, to be put to the vendor in strict mode."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": sorted(FIELDS),
        "properties": {
            "level": {"type": "string", "enum": [level.value for level in _ORDER]},
            "category": {
                "type": "string",
                "enum": [c.value for c in Category if c is not Category.CLASSIFIER_FAILED],
            },
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "reason_code": {"type": "string", "enum": sorted(REASON_CODES)},
        },
    }


def read_answer(raw: str) -> SecondAnswer:
    """Check an answer against the schema; nothing is mended.

    Raises:
        BadAnswer: it is not exactly what was asked for.
    """
    if not isinstance(raw, str) or len(raw) > MAX_ANSWER:
        raise BadAnswer("not a short text")
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadAnswer("not JSON") from error
    if not isinstance(fields, Mapping) or set(fields) != FIELDS:
        raise BadAnswer("wrong fields")
    confidence = fields["confidence"]
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        raise BadAnswer("confidence")
    try:
        level, category = Level(fields["level"]), Category(fields["category"])
    except (ValueError, TypeError) as error:
        raise BadAnswer("level or category") from error
    if category is Category.CLASSIFIER_FAILED or (level.urgent and category is Category.NONE):
        raise BadAnswer("category")
    if fields["reason_code"] not in REASON_CODES:
        raise BadAnswer("reason_code")
    return SecondAnswer(
        level=level, category=category, confidence=float(confidence), reason_code=str(fields["reason_code"])
    )


@dataclass(slots=True)
class SecondCounts:
    """How the judge has been doing; a vendor that fails is seen here and nowhere else."""

    raised: int = 0
    agreed: int = 0
    late: int = 0
    broken: int = 0


async def raised_by(
    judge: SecondOpinion | None,
    question: SecondQuestion,
    classifier: Classifier,
    *,
    deadline_s: float = DEADLINE_S,
    counts: SecondCounts | None = None,
    call: Callable[[Awaitable[str], float], Awaitable[str]] | None = None,
) -> Assessment | None:
    """The assessment that the second opinion raises this final to; None when it changes nothing.

    Never raises, save for its own task's cancellation. `call` stands in for `asyncio.wait_for` in tests.
    """
    counts = counts if counts is not None else SecondCounts()
    if judge is None:
        return None
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        raw = await (call or asyncio.wait_for)(judge.ask(question), deadline_s)
        if loop.time() - began > deadline_s:
            raise TimeoutError  # it would not be stopped, and answered all the same
        answer = read_answer(raw)
        source = ("second_opinion", str(judge.id))
    except TimeoutError:
        counts.late += 1
        return None
    except Exception:  # a vendor may raise or answer anything: then there is no second opinion
        counts.broken += 1
        return None
    higher = _ORDER.index(answer.level) > _ORDER.index(question.first.level)
    if not higher or not answer.level.urgent or answer.confidence < LEAST_CONFIDENCE:
        counts.agreed += 1
        return None
    counts.raised += 1
    score = max(THRESHOLD, answer.confidence)
    raised = classifier.verdict(answer.level, answer.category, score, f"second_opinion:{answer.reason_code}")
    return replace(raised, versions=(*raised.versions, source))
