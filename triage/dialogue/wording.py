"""The dialogue's fixed wording: loaded once, checked at start, numbers of the region filled in."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from triage.errors import AssetError
from triage.ports import Saying

SCHEMA = 1
KINDS = ("yes_no", "phone", "open", "name", "who", "age", "sex", "onset", "temperature")
"""How an answer is read (see `triage.dialogue.reading`)."""
DISPOSITIONS = ("nurse_now", "nurse_soon", "routine")
"""Most urgent first."""
PHASES = {
    "yes_no": "yes_no",
    "who": "yes_no",
    "sex": "yes_no",
    "phone": "number",
    "age": "number",
    "temperature": "number",
    "name": "spelling",
}
"""Kind of answer expected, for endpointing; everything else is open."""


@dataclass(frozen=True)
class Question:
    """One question in fixed wording."""

    id: str
    prompt: str
    """Id of its clip; `prompt`.other and `prompt`.again for its other wordings."""
    text: str
    kind: str = "yes_no"
    other: str = ""
    """When the patient is not the caller; empty: `text` suits both."""
    again: str = ""
    """The second time; empty: the same."""
    red_flag: bool = False
    """Yes, "maybe" and an answer that cannot be understood twice are all positive."""
    yes: str = ""
    """Disposition of a yes, or empty."""
    finding: str = ""
    """Code of the classifier's finding that answers it already."""
    look_for: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Value -> phrases that mean it, beside what its kind reads anyway (`yes_no`: yes and no)."""
    when: tuple[str, ...] = ()
    """Asked only when all of these hold (see `triage.dialogue.rules`)."""

    @property
    def phase(self) -> str:
        """Kind of answer expected (endpointing)."""
        return PHASES.get(self.kind, "open")

    def saying(self, *, other: bool = False, again: bool = False) -> Saying:
        """The wording that fits."""
        if again and self.again:
            return Saying(self.again, f"{self.prompt}.again", question=True)
        if other and self.other:
            return Saying(self.other, f"{self.prompt}.other", question=True)
        return Saying(self.text, self.prompt, question=True)

    def wordings(self) -> list[tuple[str, str]]:
        """(prompt id, text) of every way it is asked."""
        pairs = [(self.prompt, self.text), (f"{self.prompt}.other", self.other), (f"{self.prompt}.again", self.again)]
        return [(prompt, text) for prompt, text in pairs if text]


@dataclass(frozen=True)
class Wording:
    """Questions, lines and order of the interview."""

    asks: Mapping[str, Question]
    lines: Mapping[str, str]
    orders: Mapping[str, tuple[str, ...]]

    def saying(self, prompt: str, *, question: bool = False) -> Saying:
        """One fixed line by its id."""
        return Saying(self.lines[prompt], prompt, question=question)


@cache
def numbers(region: str) -> dict[str, str]:
    """How the region's numbers are said in English: emergency, crisis, poison.

    Raises:
        AssetError: no such region.
    """
    read = _read(resources.files("audio_assets") / "wording.toml")
    try:
        return {kind: read["spoken"]["en"][number] for kind, number in read["numbers"][region].items()}
    except KeyError as error:
        raise AssetError(
            f"audio_assets/wording.toml has no numbers for region {region}; add [numbers.{region}]"
        ) from error


def _of_the_machine(*prompts: str) -> dict[str, str]:
    """The machine's own lines that the dialogue says too."""
    read = _read(resources.files("audio_assets") / "wording.toml")
    return {line["id"]: line["en"] for line in read["line"] if line["id"] in prompts}


def load_wording(region: str = "us", file: Traversable | None = None) -> Wording:
    """Read `wording.toml` and fill in the region's numbers; with an empty region the places stay as they are.

    Raises:
        AssetError: unreadable, or a field that is missing or wrong; names file and field.
    """
    place = file if file is not None else resources.files("triage.dialogue") / "wording.toml"
    read = _read(place)
    asks: dict[str, Question] = {}
    for number, row in enumerate(table_list(read, "ask", place), 1):
        question = question_of(row, f"{place}: ask {number}", prefix="ask.")
        asks[question.id] = question
    lines = {str(k): str(v) for k, v in table(read, "line", place).items()}
    orders = {str(k): tuple(str(s) for s in v) for k, v in table(read, "order", place).items()}
    for name, steps in orders.items():
        for step in steps:
            if step != "protocol" and step not in asks:
                raise AssetError(f"{place}: order.{name} names {step}, which is no ask; add it or take it out")
    if region:
        lines |= _of_the_machine("disclosure_short", "goodbye")
        lines = {prompt: text.format(**numbers(region)) for prompt, text in lines.items()}
    return Wording(asks, lines, orders)


def spoken_lines() -> list[tuple[str, str]]:
    """(prompt id, text with its places for numbers) of everything the dialogue says in fixed wording, each once.

    Raises:
        AssetError: a file is broken, or one prompt has two wordings.
    """
    from triage.dialogue.protocols import load_protocols

    wording = load_wording("")
    pairs = [pair for question in wording.asks.values() for pair in question.wordings()]
    pairs += wording.lines.items()
    for protocol in load_protocols():
        pairs += [pair for question in protocol.questions for pair in question.wordings()]
        pairs.append((protocol.again_prompt, protocol.again))
    found: dict[str, str] = {}
    for prompt, text in pairs:
        if found.setdefault(prompt, text) != text:
            raise AssetError(f"prompt {prompt} has two wordings in triage/dialogue; give one of them another id")
    return list(found.items())


# --- reading TOML, field by field


def _read(place: Traversable) -> dict[str, Any]:
    return read_toml(place, SCHEMA)


def read_toml(place: Traversable, schema: int) -> dict[str, Any]:
    """A TOML file of this schema version.

    Raises:
        AssetError: unreadable, no TOML or another schema; names the file and the remedy.
    """
    try:
        read = tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise AssetError(f"{place}: cannot be read ({error.strerror}); install the package again") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AssetError(f"{place}: is no TOML ({error}); mend that line") from error
    if read.get("schema") != schema:
        raise AssetError(f"{place}: field schema: is not {schema}; this program reads schema {schema} only")
    return read


def table(read: Mapping[str, Any], name: str, place: object) -> Mapping[str, Any]:
    """A TOML table that must be there.

    Raises:
        AssetError: it is missing; names file and field.
    """
    found = read.get(name)
    if not isinstance(found, dict) or not found:
        raise AssetError(f"{place}: field {name}: must be a table with entries")
    return found


def table_list(read: Mapping[str, Any], name: str, place: object) -> list[Mapping[str, Any]]:
    """A TOML array of tables; missing is empty.

    Raises:
        AssetError: it is of another kind; names file and field.
    """
    found = read.get(name, [])
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise AssetError(f"{place}: field {name}: must be an array of tables ([[{name}]])")
    return found


def text_of(row: Mapping[str, Any], name: str, place: object, *, needed: bool = True) -> str:
    """A text field.

    Raises:
        AssetError: missing (when needed), empty or no text; names file and field.
    """
    value = row.get(name, "")
    if not isinstance(value, str) or (needed and not value.strip()):
        raise AssetError(f"{place}: field {name}: must be a text")
    return value


def texts_of(row: Mapping[str, Any], name: str, place: object, *, needed: bool = False) -> tuple[str, ...]:
    """A list of texts.

    Raises:
        AssetError: of another kind, or empty when needed; names file and field.
    """
    value = row.get(name, [])
    if (
        not isinstance(value, list)
        or not all(isinstance(v, str) and v.strip() for v in value)
        or (needed and not value)
    ):
        raise AssetError(f"{place}: field {name}: must be a list of texts")
    return tuple(value)


_QUESTION_FIELDS = frozenset(
    {"id", "prompt", "text", "kind", "other", "again", "red_flag", "yes", "finding", "look_for", "when"}
)


def question_of(row: Mapping[str, Any], place: str, *, prefix: str) -> Question:
    """A question from its table.

    Raises:
        AssetError: an unknown, missing or wrong field; names it.
    """
    for name in row:
        if name not in _QUESTION_FIELDS:
            raise AssetError(f"{place}: field {name}: is unknown; take it out")
    name = text_of(row, "id", place)
    kind = text_of(row, "kind", place, needed=False) or "yes_no"
    if kind not in KINDS:
        raise AssetError(f"{place} ({name}): field kind: must be one of {', '.join(KINDS)}")
    yes = text_of(row, "yes", place, needed=False)
    if yes and (yes not in DISPOSITIONS or kind != "yes_no"):
        raise AssetError(f"{place} ({name}): field yes: must be one of {', '.join(DISPOSITIONS)}, of a yes_no question")
    look_for = row.get("look_for", {})
    if not isinstance(look_for, dict) or (look_for and (kind != "yes_no" or set(look_for) - {"yes", "no"})):
        raise AssetError(
            f"{place} ({name}): field look_for: belongs to kind yes_no, as yes = [phrases], no = [phrases]"
        )
    red_flag = row.get("red_flag", False)
    if not isinstance(red_flag, bool) or (red_flag and not yes):
        raise AssetError(f"{place} ({name}): field red_flag: must be true or false, and true needs a field yes")
    return Question(
        id=name,
        prompt=text_of(row, "prompt", place, needed=False) or f"{prefix}{name}",
        text=text_of(row, "text", place),
        kind=kind,
        other=text_of(row, "other", place, needed=False),
        again=text_of(row, "again", place, needed=False),
        red_flag=red_flag,
        yes=yes,
        finding=text_of(row, "finding", place, needed=False),
        look_for={value: texts_of(look_for, value, f"{place} ({name}).look_for", needed=True) for value in look_for},
        when=texts_of(row, "when", place),
    )
