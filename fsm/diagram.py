"""The picture of the machine, drawn from the table: nobody draws it by hand, so it cannot be wrong.

Shown are the rows that lead somewhere else; what a state does with an event while it stays is in the table only.
"""

import re
from typing import Any

from fsm.guards import always
from fsm.states import State
from fsm.table import TABLE, TALK, Rule

README_START = "<!-- diagram:start -->"
README_END = "<!-- diagram:end -->"
"""The README holds `readme_block()` between these two lines; a test compares."""

_GROUP = "conversation"
_OUTSIDE = "[*]"
"""Idle, which is new before a call and ended after it."""


def mermaid() -> str:
    """The machine as a mermaid state diagram, one arrow for each pair of states, rows of the table as its lines."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for rule in TABLE:
        if rule.dest is None:
            continue
        for source in _sources(rule):
            target = _name(rule.dest)
            if source != target:
                lines = arrows.setdefault((source, target), [])
                lines.extend(line for line in (_words(rule),) if line not in lines)
    drawn = ["stateDiagram-v2", f'    state "in conversation" as {_GROUP} {{']
    drawn += [f"        {state.name}" for state in TALK]
    drawn += ["    }"]
    drawn += [f"    {source} --> {target}: {'<br/>'.join(lines)}" for (source, target), lines in arrows.items()]
    return "\n".join(drawn) + "\n"


def readme_block() -> str:
    """The lines the README must hold, markers and code fence included."""
    return f"{README_START}\n```mermaid\n{mermaid()}```\n{README_END}"


def drawn_in(readme: str) -> str | None:
    """The block between the markers in this text, markers included; None where there is none."""
    found = re.search(f"{re.escape(README_START)}.*?{re.escape(README_END)}", readme, re.DOTALL)
    return found.group(0) if found else None


def _sources(rule: Rule[Any]) -> list[str]:
    """From where the arrows of a row start: a row of the whole conversation is one arrow."""
    if set(TALK) <= set(rule.source):
        rest = [state for state in rule.source if state not in TALK]
        inside = rule.dest in TALK
        return [*([state.name for state in TALK] if inside else [_GROUP]), *(_name(state) for state in rest)]
    return [_name(state) for state in rule.source]


def _name(state: State) -> str:
    return _OUTSIDE if state is State.IDLE else state.name


def _words(rule: Rule[Any]) -> str:
    event = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", rule.event.__name__).lower()
    if rule.when is always:
        return event
    guard = rule.when.__name__.replace("_", " ")
    if event == "timer fired":
        return guard
    return f"{event} ({guard})"
