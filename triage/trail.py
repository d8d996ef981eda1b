"""A call's records as an auditor reads them: one row each, the telling field first; or one line of JSON each.

Nothing here decides what is shown to whom; whoever calls has recorded the reading. Records come from a store that somebody
may have altered: what is in them is text, never markup, and no sign of it orders the terminal about.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from audit.printable import escaped, printable

if TYPE_CHECKING:
    from audit.reader import OpenedRecord

_QUIET = frozenset({"llm_request", "llm_response", "tts_input"})
"""Stages that are left out unless asked for; of the steps, those that changed the state are kept."""


def trail(call: str, records: "list[OpenedRecord]", *, everything: bool) -> Any:
    """A table of one call, turn by turn."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"call {printable(call)}"), title_justify="left", expand=True)
    table.add_column("turn", justify="right", no_wrap=True)
    table.add_column("since", justify="right", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("what", overflow="fold", ratio=1)
    began = records[0].content.monotonic_ns if records else 0
    turn: int | None = None
    for record in records:
        content = record.content
        if not everything and _quiet(content.stage.value, content.payload):
            continue
        if content.turn != turn:
            if turn is not None:
                table.add_section()
            turn = content.turn
        since = "" if record.header.opens is not None else f"{(content.monotonic_ns - began) / 1e9:.3f} s"
        table.add_row(
            str(turn),
            since,
            content.stage.value,
            Text(printable(_words_of(content.stage.value, content.payload, began), lines=True)),
        )
    return table


def _quiet(stage: str, payload: Mapping[str, Any]) -> bool:
    return stage in _QUIET or (stage == "step" and payload.get("before") == payload.get("after"))


def _words_of(stage: str, payload: Mapping[str, Any], began_ns: int) -> str:
    """One record in words: the telling field first, then the rest that is plain."""
    if stage == "step":
        event, effects = payload.get("event"), payload.get("effects")
        cause = event.get("type", "?") if isinstance(event, dict) else "?"
        orders = [str(effect.get("type", "?")) for effect in effects or () if isinstance(effect, dict)]
        return f"{payload.get('before')} -> {payload.get('after')} on {cause}: {', '.join(orders) or 'nothing to do'}"
    skipped = {"v", "words"}
    if "text_withheld" in payload:
        head = f"(withheld: {payload['text_withheld'].get('length', '?')} characters)"
        skipped.add("text_withheld")
    elif isinstance(payload.get("text"), str):
        head = f'"{payload["text"]}"'
        skipped |= {"text", *(("ordered",) if payload.get("ordered") == payload["text"] else ())}
    elif stage == "assessment":
        head = f"{payload.get('level', '?')} / {payload.get('category', '?')}"
        skipped |= {"level", "category"}
    else:
        head = str(payload.get("event", ""))
        skipped.add("event")
    if isinstance(packet := payload.get("packet"), dict):
        skipped |= {"packet"}
        sections = ("situation", "background", "assessment", "recommendation")
        head = "\n".join([head, *(f"  {name}: {_plain(packet.get(name, {}))}" for name in sections)])
    rest = [
        _named(name, value, began_ns) for name, value in sorted(payload.items()) if name not in skipped and _told(value)
    ]
    return "  ".join(part for part in (head, " ".join(rest)) if part)


def _named(name: str, value: Any, began_ns: int) -> str:
    if name == "at_ns" and isinstance(value, int):
        return f"at {(value - began_ns) / 1e9:.3f} s"
    if name.endswith("_ns") and isinstance(value, int):
        return f"{name.removesuffix('_ns')}={value / 1e6:.0f} ms"
    return f"{name}={_plain(value)}"


def _told(value: Any) -> bool:
    return value not in (None, "", [], {}, False)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(inner)}" for name, inner in value.items() if _told(inner))
    if isinstance(value, list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(value)


def json_line(record: "OpenedRecord") -> str:
    """One record, unabridged."""
    content = record.content
    line = json.dumps(
        {
            "hash": record.hash.hex(),
            "monotonic_ns": content.monotonic_ns,
            "payload": content.payload,
            "segment": record.header.segment,
            "sequence": record.header.sequence,
            "stage": content.stage.value,
            "turn": content.turn,
            "versions": content.versions,
            "wall_ns": content.wall_ns,
        },
        ensure_ascii=False,
    )
    return escaped(line)
