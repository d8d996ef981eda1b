"""What one call's interview knows and where it stands: frozen values, no decisions (those are in `interview`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fsm.states import Reason
from triage.dialogue import answers as read
from triage.dialogue.protocols import GENERAL, Protocol, load_protocols, match
from triage.dialogue.wording import Question, Wording, load_wording
from triage.ports import Saying


class Stage(StrEnum):
    """How far the interview is."""

    ASKING = "asking"
    CHANGING = "changing"  # asked what the read-back got wrong
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing learned, and from which words."""

    slot: str
    """Id of the question."""
    value: str
    """As rules read it; "unknown" where it could not be understood."""
    text: str
    """The caller's words."""
    turn: int
    status: str = "given"
    """given, inferred (not asked for), unknown, corrected, unconfirmed."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the rules want run before the sayings."""

    name: str
    arguments: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """What to say and do about one turn."""

    sayings: tuple[Saying, ...] = ()
    question: str = ""
    """The question now asked; empty when none is."""
    question_id: str = ""
    phase: str = "open"
    """Kind of answer expected: yes_no, number, spelling, open."""
    ends_call: bool = False
    nurse: Reason | None = None
    tool: ToolCall | None = None
    otherwise: "Plan | None" = None
    """Instead of all this, when the tool fails: nothing may be promised then."""
    hold: bool = False
    """The caller asked for time."""
    withhold: bool = False
    """The caller declined the record."""
    findings: tuple[Answer, ...] = ()


@dataclass(frozen=True, eq=False)
class Book:
    """Everything fixed: wording, protocols, order of the questions."""

    wording: Wording
    protocols: tuple[Protocol, ...]
    steps: tuple[str, ...]

    @classmethod
    def load(cls, region: str = "us", *, order: str = "full") -> "Book":
        """Read what ships.

        Raises:
            AssetError: a file or field is missing or wrong.
        """
        wording = load_wording(region)
        return cls(wording, load_protocols(), wording.orders[order])

    def general(self) -> Protocol:
        """For a complaint that no other protocol knows."""
        return next(p for p in self.protocols if p.id == GENERAL)


@dataclass(frozen=True)
class Interview:
    """Where the interview stands."""

    book: Book
    call_id: str = ""
    answers: tuple[Answer, ...] = ()
    pending: str = "emergency"
    """Id of the question that was asked last."""
    tries: int = 1
    """How often it was asked."""
    unheard: int = 0
    last_slot: str = ""
    """What a correction would correct."""
    stage: Stage = Stage.ASKING
    said: tuple[Saying, ...] = field(default=(), compare=False)
    """For "say that again"."""
    asked: int = 1
    """Questions put so far, each once."""
    disclosures: int = 0
    rejected: int = 0
    """Read-backs of the number that were wrong."""
    sorry: bool = False
    foreign: int = 0
    questions: int = 0
    """Questions of the caller's after the goodbye."""

    @classmethod
    def begin(cls, book: Book, *, call_id: str = "") -> "Interview":
        """A call's beginning: the greeting has been ordered, and with it the first question."""
        return cls(book, call_id, said=(book.wording.asks["emergency"].saying(),))

    @property
    def values(self) -> dict[str, str]:
        """Slot or question id -> value."""
        return {a.slot: a.value for a in self.answers}

    def get(self, slot: str) -> Answer | None:
        """What is known about one slot."""
        return next((a for a in self.answers if a.slot == slot), None)

    @property
    def age(self) -> read.Age | None:
        """The patient's, when known."""
        value = self.values.get("age", "unknown")
        return None if value == "unknown" else read.Age.parse(value)

    @property
    def protocol(self) -> Protocol | None:
        """The complaint's; follows the age where that changes it. None until there is a complaint."""
        complaint = self.get("complaint")
        if complaint is None:
            return None
        return match(self.book.protocols, complaint.text, self.age) or self.book.general()

    @property
    def other(self) -> bool:
        """Whether the patient is not the caller."""
        return self.values.get("who", "self") not in ("self", "unknown")

    @property
    def pending_question(self) -> Question | None:
        """The question asked last."""
        if self.pending in self.book.wording.asks:
            return self.book.wording.asks[self.pending]
        protocol = self.protocol
        return next((q for q in protocol.questions if q.id == self.pending), None) if protocol else None

    @property
    def question(self) -> str:
        """Its text; empty when none is open."""
        return next((s.text for s in reversed(self.said) if s.question), "")

    @property
    def phase(self) -> str:
        """Kind of answer expected now."""
        question = self.pending_question
        return question.phase if question and self.stage is Stage.ASKING else "open"

    def with_answer(self, slot: str, value: str, text: str, turn: int, status: str = "given") -> "Interview":
        """With one answer added, or in place of the one before."""
        kept = tuple(a for a in self.answers if a.slot != slot)
        return replace(self, answers=(*kept, Answer(slot, value, text, turn, status)))

    def without(self, *slots: str) -> "Interview":
        """With these forgotten."""
        return replace(self, answers=tuple(a for a in self.answers if a.slot not in slots))
