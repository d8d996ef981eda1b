"""The written summary of a call: SBAR, by template, from its records. No model, nothing inferred, the same for the same records.

Every statement points at the turns it rests on, and at the records (segment/sequence). What the records do not say is
not stated; what was not asked is called so. The caller's words are quoted, or named as withheld where they declined the
record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from audit.reader import OpenedRecord
from fsm.states import Reason
from triage.handoff.clock import Mark
from triage.handoff.packet import ESSENTIAL, NOT_ASKED, TOLD, UNKNOWN, WHY, shown_number

VERSION = 1
FINDING = "note_finding"
"""Name of the tool record that holds one answer of the interview: slot, value, text, status."""
BOOKED = "book_callback"
DIED = "process_died"
"""Outcome of a call that nobody could end; its process said none."""
OUTCOMES = {
    "nurse_bridged": "a nurse took the call",
    "transferred": "the carrier transferred the caller to the nurses",
    "outcome_unknown": "the caller's leg ended during a transfer: nobody told whether a nurse has them",
    "callback_booked": "a call-back was booked and the call was ended with a goodbye",
    "hung_up": "the caller hung up",
    "failed": "the call failed",
    DIED: "the process that carried the call died",
}
LABELS = {
    "callback": "call-back number",
    "callback_ok": "number confirmed",
    "who": "patient",
    "background": "conditions, medicines",
    "summary_ok": "read-back confirmed",
}
"""Plain names of the interview's slots; the others are their own."""
QUOTE_WORDS = 40
WITHHELD = "(words withheld: the caller declined the record)"
_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


class Part(StrEnum):
    """The four parts."""

    SITUATION = "Situation"
    BACKGROUND = "Background"
    ASSESSMENT = "Assessment"
    RECOMMENDATION = "Recommendation"


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One record of the call, opened."""

    stage: str
    payload: Mapping[str, Any]
    turn: int = 0
    segment: int = 0
    sequence: int = 0

    @property
    def place(self) -> str:
        """Where it lies in the call's chain."""
        return f"{self.segment}/{self.sequence}"


@dataclass(frozen=True, slots=True)
class Death:
    """What is known of a call whose process died in the middle of it."""

    last: str
    """When the last thing was written, UTC, and how far into the call."""
    place: str
    """Where that lies in the chain."""
    level: str
    """The gravest level found by then; empty: nothing urgent."""
    nurse: bool
    """Somebody of the nurses had the caller."""
    owed: bool = False
    """Nobody had the caller and no task stood: one is opened with this summary."""
    heir: str = ""
    """The call in which another process went on with the caller."""


@dataclass(frozen=True, slots=True)
class SummarySource:
    """What a summary is made from: one call's records, in the order of its chain."""

    call_id: str
    records: tuple[SourceRecord, ...]
    death: Death | None = None
    """Where the call's process died in the middle of it."""

    @classmethod
    def of(cls, call_id: str, opened: Iterable[OpenedRecord], death: Death | None = None) -> "SummarySource":
        """From what the reader opened."""
        return cls(
            call_id,
            tuple(
                SourceRecord(
                    stage=record.content.stage.value,
                    payload=record.content.payload,
                    turn=record.content.turn,
                    segment=record.header.segment,
                    sequence=record.header.sequence,
                )
                for record in opened
            ),
            death,
        )


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence and what it rests on."""

    part: Part
    text: str
    turns: tuple[int, ...] = ()
    """Turns of the call; empty where a statement rests on no turn (the way the call ended)."""
    records: tuple[str, ...] = ()
    """Places in the chain."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A finished summary."""

    call_id: str
    statements: tuple[Statement, ...]
    outcome: str = ""

    def text(self) -> str:
        """As a page of Markdown."""
        lines = [f"# Call {self.call_id}", ""]
        for part in Part:
            lines += [f"## {part.value}", ""]
            lines += [f"- {_line(statement)}" for statement in self.statements if statement.part is part] or [
                "- nothing"
            ]
            lines.append("")
        lines.append(
            "Made from the record by template; no model worded it. Turns in brackets; the record has every word."
        )
        return "\n".join(lines) + "\n"

    def payload(self) -> dict[str, Any]:
        """As canonical content for sealing: text and whole numbers only."""
        return {
            "v": VERSION,
            "made_by": "template",
            "outcome": self.outcome,
            "statements": [
                {"part": s.part.value, "text": s.text, "turns": list(s.turns), "records": list(s.records)}
                for s in self.statements
            ],
        }


def page_of(call_id: str, payload: Mapping[str, Any]) -> str:
    """The page of a sealed summary. Reads whatever an altered store may hold: what is no statement is left out."""
    statements = [
        Statement(
            Part(found["part"]),
            str(found.get("text", "")),
            tuple(turn for turn in found.get("turns") or () if isinstance(turn, int)),
            tuple(map(str, found.get("records") or ())),
        )
        for found in payload.get("statements") or ()
        if isinstance(found, Mapping) and found.get("part") in set(Part)
    ]
    return Summary(call_id, tuple(statements), str(payload.get("outcome", ""))).text()


def summarise(source: SummarySource) -> Summary:
    """Make the summary of one call. Never raises for what a record lacks: then the statement is left out."""
    notes = _Notes(source)
    statements = (*_situation(notes), *_background(notes), *_assessment(notes), *_recommendation(notes))
    return Summary(source.call_id, statements, notes.outcome)


# --- reading the records


@dataclass
class _Notes:
    """The records, sorted by what they are about."""

    source: SummarySource
    finals: list[SourceRecord] = field(default_factory=list)
    verdicts: list[SourceRecord] = field(default_factory=list)
    answers: dict[str, SourceRecord] = field(default_factory=dict)
    tools: list[SourceRecord] = field(default_factory=list)
    said: list[SourceRecord] = field(default_factory=list)
    errors: list[SourceRecord] = field(default_factory=list)
    marks: dict[str, SourceRecord] = field(default_factory=dict)
    callbacks: list[SourceRecord] = field(default_factory=list)
    packet: SourceRecord | None = None
    handover: SourceRecord | None = None
    """The step that first called a nurse."""
    finished: SourceRecord | None = None
    number: SourceRecord | None = None
    """What the network showed of the caller."""
    outcome: str = ""

    def __post_init__(self) -> None:
        if self.source.death is not None:
            self.outcome = DIED
        for record in self.source.records:
            self._sort(record)

    def _sort(self, record: SourceRecord) -> None:
        payload = record.payload
        match record.stage:
            case "stt_final":
                self.finals.append(record)
            case "assessment":
                self.verdicts.append(record)
            case "tool" if payload.get("name") == FINDING:
                self.answers[str(payload.get("slot", ""))] = record
            case "tool":
                self.tools.append(record)
            case "playout":
                self.said.append(record)
            case "error":
                self.errors.append(record)
            case "handoff":
                self._sort_handoff(record)
            case "step" if self.handover is None and _effects(record, "SendPacket"):
                self.handover = record
            case "call" if payload.get("event") == "finished":
                self.finished, self.outcome = record, str(payload.get("outcome", ""))
            case "call" if payload.get("event") == "caller_number":
                self.number = record
            case _:
                pass

    def _sort_handoff(self, record: SourceRecord) -> None:
        event = str(record.payload.get("event", ""))
        if event == "packet":
            self.packet = record
        elif event == "callback":
            self.callbacks.append(record)
        elif event in {mark.value for mark in Mark}:
            self.marks.setdefault(event, record)

    @property
    def urgent(self) -> list[SourceRecord]:
        """Urgent verdicts that were acted on."""
        urgent = ("emergency_now", "nurse_now")
        return [v for v in self.verdicts if v.payload.get("level") in urgent and not v.payload.get("suppressed")]

    def packet_part(self, part: str) -> Mapping[str, Any]:
        """One part of the last packet."""
        packet = self.packet.payload.get("packet") if self.packet else None
        found = packet.get(part) if isinstance(packet, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def words_of(self, turn: int) -> list[SourceRecord]:
        """The finals of one turn."""
        return [final for final in self.finals if final.turn == turn]


def _effects(step: SourceRecord, kind: str) -> list[Mapping[str, Any]]:
    effects = step.payload.get("effects", [])
    return [effect for effect in effects if isinstance(effect, Mapping) and effect.get("type") == kind]


# --- the four parts


def _situation(notes: _Notes) -> list[Statement]:
    found = []
    if notes.finished is not None:
        how = OUTCOMES.get(notes.outcome, notes.outcome or UNKNOWN)
        found.append(_state(Part.SITUATION, f"How it ended: {how}.", notes.finished))
    elif notes.source.death is not None:
        found += _death(notes.source.death)
    else:
        found.append(Statement(Part.SITUATION, "How it ended: not on record; the process that carried the call died."))
    if notes.handover is not None:
        order = _effects(notes.handover, "SendPacket")[0]
        found.append(_state(Part.SITUATION, f"Handed over: {_why(order)}.", notes.handover))
    for verdict in _first_of_each(notes.urgent):
        found.append(_verdict(verdict, notes))
    first = next((final for final in notes.finals if _words(final)), None)
    if "complaint" in notes.answers:
        answer = notes.answers["complaint"]
        found.append(_state(Part.SITUATION, f"Complaint: {_quoted(str(answer.payload.get('text', '')))}.", answer))
    elif first is not None:
        found.append(_state(Part.SITUATION, f"The caller's first words: {_quoted(_words(first))}.", first))
    else:
        found.append(Statement(Part.SITUATION, "No words of the caller were recognised."))
    return found


def _death(death: Death) -> list[Statement]:
    nurse = "a nurse had the caller" if death.nurse else "no nurse is known to have had the caller"
    known = f"{_plain(death.level)} had been found" if death.level else "nothing urgent had been found"
    found = [
        f"How it ended: {OUTCOMES[DIED]}. The last thing was written {death.last}; what came after is not on record.",
        f"By then {known}, and {nurse}.",
    ]
    if death.heir:
        found.append(f"Another process went on with the caller, in call {death.heir}.")
    return [Statement(Part.SITUATION, text, records=(death.place,)) for text in found]


def _why(order: Mapping[str, Any]) -> str:
    reason = str(order.get("reason", ""))
    why = WHY[Reason(reason)] if reason in {r.value for r in Reason} else reason
    level, category = str(order.get("level", "")), str(order.get("category", ""))
    return f"{why} ({_plain(level)}, {_plain(category)})" if category else why


def _verdict(verdict: SourceRecord, notes: _Notes) -> Statement:
    payload = verdict.payload
    quoted = [_quoted(span[2]) for span in payload.get("evidence", []) if len(span) > 2 and span[2]]
    on = f" on {', '.join(dict.fromkeys(quoted))}" if quoted else ""
    text = f"Found {_plain(str(payload.get('level')))}: {_plain(str(payload.get('category')))}{on}, by {payload.get('rule') or 'no rule'}."
    return _state(Part.SITUATION, text, verdict, *notes.words_of(verdict.turn))


def _background(notes: _Notes) -> list[Statement]:
    found = [
        _state(Part.BACKGROUND, f"{LABELS.get(slot, _plain(slot)).capitalize()}: {_answer(record)}.", record)
        for slot, record in notes.answers.items()
        if slot != "complaint"
    ]
    if not notes.answers and notes.packet is not None:
        told = {name: value for name, value in notes.packet_part("background").items() if name != NOT_ASKED}
        found += [
            _state(Part.BACKGROUND, f"{name.capitalize()}: {value}.", notes.packet) for name, value in told.items()
        ]
    if notes.number is not None:
        number = str(notes.number.payload.get("number", ""))
        shown = shown_number(number, withheld=notes.number.payload.get("withheld") is True)
        found.append(_state(Part.BACKGROUND, f"Caller's number: {shown}.", notes.number))
    if missing := _missing(notes):
        found.append(Statement(Part.BACKGROUND, f"Not asked, or not understood: {missing}."))
    return found


def _missing(notes: _Notes) -> str:
    """The first questions that have no answer: from the interview, else as the packet says."""
    if not notes.answers and notes.packet is not None:
        outstanding = str(notes.packet_part("recommendation").get("outstanding", ""))
        return "" if outstanding.startswith("nothing") else outstanding
    answered = {slot for slot, record in notes.answers.items() if record.payload.get("value") != UNKNOWN}
    return ", ".join(name for slot, name in ESSENTIAL if slot not in answered)


def _answer(record: SourceRecord) -> str:
    payload = record.payload
    value, words = str(payload.get("value", UNKNOWN)), str(payload.get("text", ""))
    how = {"inferred": "said without being asked", "corrected": "corrected", "unconfirmed": "not confirmed"}
    status = how.get(str(payload.get("status", "")), "")
    parts = [value, _quoted(words) if words and words != value else "", status]
    return ", ".join(part for part in parts if part)


def _assessment(notes: _Notes) -> list[Statement]:
    found = []
    for name in ("reported", "denied", "uncertain"):
        value = notes.packet_part("assessment").get(name)
        if notes.packet is not None and value and value != "nothing":
            found.append(_state(Part.ASSESSMENT, f"{name.capitalize()}: {value}.", notes.packet))
    suppressed = [v for v in notes.verdicts if v.payload.get("suppressed")]
    for verdict in suppressed:
        why = str(verdict.payload.get("suppressed"))
        found.append(_state(Part.ASSESSMENT, f"Found urgent and not raised: {why}.", verdict))
    judged = {
        kind: [v for v in notes.verdicts if v.payload.get("kind") == kind] for kind in ("final", "stretch", "tail")
    }
    turns = tuple(sorted({final.turn for final in notes.finals}))
    counted = f"{len(notes.finals)} finals, {len(notes.verdicts)} verdicts ({len(judged['stretch'])} on stretches, {len(judged['tail'])} on the last words)"
    found.append(Statement(Part.ASSESSMENT, f"Heard and judged: {counted}; {len(notes.urgent)} urgent.", turns))
    if notes.errors:
        codes = dict.fromkeys(f"{e.payload.get('where')}: {e.payload.get('code')}" for e in notes.errors)
        found.append(_state(Part.ASSESSMENT, f"Broke during the call: {', '.join(codes)}.", *notes.errors))
    return found


def _recommendation(notes: _Notes) -> list[Statement]:
    found = []
    for tool in notes.tools:
        if tool.payload.get("name") == BOOKED:
            found.append(_booking(tool))
    if notes.source.death is not None:
        found.append(_task(notes, notes.source.death))
    for task in notes.callbacks:
        minutes = int(task.payload.get("within_ns", 0)) // _NS_PER_S // 60
        reason = _plain(str(task.payload.get("reason", "")))
        found.append(
            _state(Part.RECOMMENDATION, f"Somebody must ring this caller within {minutes} min: {reason}.", task)
        )
    if notes.handover is not None:
        found += _told(notes)
        found += _times(notes)
    advice = [
        said
        for said in notes.said
        if str(said.payload.get("prompt", "")).split("+")[0].startswith(("again.", "close."))
    ]
    for said in advice:
        if said.payload.get("text"):
            cut = " (cut off)" if said.payload.get("cut_off") else ""
            text = f"The caller heard: {_quoted(str(said.payload['text']))}{cut}."
            found.append(_state(Part.RECOMMENDATION, text, said))
    return found


def _task(notes: _Notes, death: Death) -> Statement:
    if death.owed:
        text = "A call-back task was opened with this summary, as nobody is known to have had the caller; strike it off where somebody had."
    elif notes.callbacks:
        text = "A call-back task stands."
    else:
        text = "No call-back task stands in this call."
    return Statement(Part.RECOMMENDATION, text)


def _booking(tool: SourceRecord) -> Statement:
    arguments, values = tool.payload.get("arguments", {}), tool.payload.get("values", {})
    if not tool.payload.get("ok"):
        return _state(Part.RECOMMENDATION, "A nurse's call-back could not be booked.", tool)
    seconds = str(values.get("within_s") or arguments.get("within_s") or "")
    within = f" within {int(seconds) // 3600} h" if seconds.isdigit() and int(seconds) >= 3600 else ""
    reference = f", reference {values['reference']}" if values.get("reference") else ""
    level = f" ({_plain(str(arguments['level']))})" if arguments.get("level") else ""
    return _state(Part.RECOMMENDATION, f"A nurse rings back{within}{level}{reference}.", tool)


def _told(notes: _Notes) -> list[Statement]:
    """What the caller heard of us from the hand-off on."""
    begin = notes.source.records.index(notes.handover) if notes.handover else 0
    heard = [r for r in notes.source.records[begin:] if r.stage == "playout" and r.payload.get("text")]
    prompts = dict.fromkeys(str(r.payload.get("prompt") or "") for r in heard)
    known = [TOLD.get(prompt, _plain(prompt)) for prompt in prompts if prompt]
    if not known:
        return [Statement(Part.RECOMMENDATION, "After the hand-off began, nothing of ours was audible to the caller.")]
    return [_state(Part.RECOMMENDATION, f"The caller was told: {'; '.join(known)}.", *heard)]


def _times(notes: _Notes) -> list[Statement]:
    """The hand-off clock, from the urgent final; only what somebody reported."""
    begun = notes.marks.get(Mark.FINAL.value)
    if begun is None:
        return []
    parts = []
    for mark in (Mark.CLIP_AUDIBLE, Mark.REFER_SENT, Mark.ANSWERED, Mark.PERSON):
        name = mark.value.removeprefix("t_").replace("_", " ")
        if (record := notes.marks.get(mark.value)) is None:
            parts.append(f"{name}: not reported")
            continue
        ms = (int(record.payload.get("at_ns", 0)) - int(begun.payload.get("at_ns", 0))) // _NS_PER_MS
        parts.append(f"{name} after {ms} ms ({record.payload.get('source')})")
    return [_state(Part.RECOMMENDATION, f"From the urgent words: {'; '.join(parts)}.", *notes.marks.values())]


# --- wording


def _state(part: Part, text: str, *rests_on: SourceRecord) -> Statement:
    turns = tuple(sorted({record.turn for record in rests_on if record.turn}))
    return Statement(part, _sentence(text), turns, tuple(dict.fromkeys(record.place for record in rests_on)))


def _line(statement: Statement) -> str:
    if not statement.turns:
        return statement.text
    word = "turn" if len(statement.turns) == 1 else "turns"
    return f"{statement.text} [{word} {_ranges(statement.turns)}]"


def _ranges(turns: tuple[int, ...]) -> str:
    spans: list[list[int]] = []
    for turn in turns:
        if spans and turn == spans[-1][1] + 1:
            spans[-1][1] = turn
        else:
            spans.append([turn, turn])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in spans)


def _words(final: SourceRecord) -> str:
    if "text_withheld" in final.payload:
        return WITHHELD
    return str(final.payload.get("text", "")).strip()


def _quoted(text: str) -> str:
    if text == WITHHELD:
        return text
    words = text.split()
    return f'"{" ".join(words[:QUOTE_WORDS])}{" ..." if len(words) > QUOTE_WORDS else ""}"'


def _sentence(text: str) -> str:
    """End a statement once, also where it ends in a quotation that has its own full stop."""
    return text[:-1] if text.endswith(('.".', '?".', '!".')) else text


def _first_of_each(verdicts: list[SourceRecord]) -> list[SourceRecord]:
    first: dict[tuple[Any, Any], SourceRecord] = {}
    for verdict in verdicts:
        first.setdefault((verdict.payload.get("level"), verdict.payload.get("category")), verdict)
    return list(first.values())


def _plain(name: str) -> str:
    return name.replace("_", " ")
