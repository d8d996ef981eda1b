"""A scenario: one made-up call, as data. Who rings, over what line, what they say and when, who answers, what is expected.

Scenarios are TOML files in `triage/demo/scenarios/`, named after themselves. What the caller says is named by line id
(`triage/demo/callers/lines.toml`); `say` gives a text of one's own instead, which the local voice speaks.
"""

import difflib
import tomllib
from importlib import resources
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from classifiers.levels import Category, Level
from fsm.states import Declared, Reason, RungKind
from triage.errors import AssetError, UsageError
from triage.lines.nurse_phones import Behaviour

FORMAT = 1
"""Version of this schema; stands in every file as `schema`."""

Outcome = Literal["nurse_bridged", "transferred", "outcome_unknown", "callback_booked", "hung_up", "failed"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class LineSpec(_Strict):
    """The telephone line between caller and us."""

    kind: Literal["simulated", "web", "telephone"] = "simulated"
    """Whose latency allowance is added in the report."""
    mu_law: bool = False
    """8 kHz G.711 and back, both directions."""
    noise_db: float | None = None
    """Level of white noise at the caller's, dBFS (their speech is at -22); none when absent."""
    loss: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of frames lost."""
    jitter_ms: Annotated[int, Field(ge=0, le=200)] = 0
    """Frames arrive late by up to this much."""
    echo_db: float | None = None
    """Our own voice in the caller's microphone, dB relative to what the caller hears; none when absent."""
    echo_ms: Annotated[float, Field(ge=0, le=500)] = 60.0
    """How much later than at the caller's ear."""
    media_during_refer: bool = True
    """Whether the carrier lets us be heard while a REFER is under way."""


class NurseSpec(_Strict):
    """One nurse phone, as the directory names it and as it behaves."""

    target: str = "nurse_line"
    kind: RungKind = RungKind.DIAL
    declared: Declared = Declared.PERSON
    phone: Behaviour = Behaviour.ANSWERS
    answers_after_s: Annotated[float, Field(ge=0, le=60)] = 1.2
    accepts_after_s: Annotated[float, Field(ge=0, le=60)] = 1.0
    """From the beginning of the whisper to the accepting key."""
    answer_within_s: Annotated[float, Field(gt=0, le=30)] = 8.0
    """The line gives up after this."""
    gives_person_sign: bool = True
    says: str = "nurse_hello"
    """Line id that the nurse says once bridged."""


class Utterance(_Strict):
    """Something the caller does, once, in the order of the file."""

    when: Literal["quiet", "over", "at", "prompt", "nurse", "after"] = "quiet"
    """quiet: the agent said something and fell silent. over: the agent began to speak. at: the call was connected.
    prompt: `prompt` was heard to its end, as often as it is. nurse: the nurse said something and fell silent.
    after: the utterance before this one ended."""
    delay_s: Annotated[float, Field(ge=0, le=600)] = 0.5
    """Seconds from that moment."""
    prompt: str = ""
    line: str = ""
    """What is said, by line id."""
    say: str = ""
    """What is said, as text."""
    key: str = Field(default="", pattern=r"^[0-9*#]?$")
    """A telephone key pressed instead."""
    hang_up: bool = False

    @model_validator(mode="after")
    def _one_deed(self) -> Self:
        if sum(map(bool, (self.line, self.say, self.key, self.hang_up))) != 1:
            raise ValueError("name exactly one of line, say, key, hang_up")
        if (self.when == "prompt") != bool(self.prompt):
            raise ValueError('`prompt` goes with when = "prompt", and only with it')
        return self


class Expectation(_Strict):
    """What must come out; everything that is absent is not compared."""

    outcome: tuple[Outcome, ...] = ()
    """One of these."""
    level: Level | None = None
    category: Category | None = None
    reason: Reason | None = None
    """Why the call was handed over."""
    heard: tuple[str, ...] = ()
    """Prompts that were audible, in this order, others between them allowed."""
    unheard: tuple[str, ...] = ()
    """Prompts that must not have been audible."""
    interruptions: int | None = None
    """Times our speech was cancelled by real words."""
    resumed_at_least: int | None = None
    """Times our speech paused for nothing and went on."""
    paged: tuple[str, ...] = ()
    """Alarms that must have been raised."""
    call_back: bool | None = None
    """Whether a task to ring this caller was opened by the machine (not one that the caller booked)."""


class Scenario(_Strict):
    """One made-up call."""

    format: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    watch: str = ""
    """What to look at."""
    recogniser: Literal["pocketsphinx", "scripted"] = "pocketsphinx"
    """scripted: for what the local recogniser cannot follow (8 kHz, noise, echo, never pausing)."""
    seed: int = 1
    patience_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    """The caller hangs up when nobody has spoken for this long."""
    line: LineSpec = LineSpec()
    nurses: tuple[NurseSpec, ...] = (NurseSpec(),)
    caller: tuple[Utterance, ...] = ()
    answers: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """Prompt id -> line id said whenever that prompt was heard to its end; several are said in turn, the last for ever."""
    expect: Expectation = Expectation()

    def line_ids(self) -> set[str]:
        """Every caller or nurse line this scenario needs."""
        return {u.line for u in self.caller if u.line} | set(self.answer_lines()) | {n.says for n in self.nurses}

    def answer_lines(self) -> list[str]:
        """The lines of all answers, in order."""
        return [line for said in self.answers.values() for line in ((said,) if isinstance(said, str) else said)]


def names() -> list[str]:
    """Every scenario there is, in alphabetical order."""
    folder = resources.files("triage.demo") / "scenarios"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(name: str) -> Scenario:
    """Read one scenario.

    Raises:
        UsageError: there is none of this name.
        AssetError: its file is broken.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"there is no scenario {name!r}; {hint}(triage demo --list shows all)")
    file = resources.files("triage.demo") / "scenarios" / f"{name}.toml"
    return parse(file.read_text(encoding="utf-8"), f"scenario {name}")


def parse(text: str, source: str) -> Scenario:
    """Read one scenario from TOML text.

    Raises:
        AssetError: not TOML, or not of this schema; names source and field.
    """
    try:
        return Scenario.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise AssetError(f"{source}: is no TOML ({error}); mend that line") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise AssetError(f"{source}: {field}: {first['msg']}; mend the file") from error
