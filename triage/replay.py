"""Decide a recorded call again: the events of its record through today's machine, beside what was decided then.

A Step is recorded as its event, its effects, and a hash of the call as it was afterwards. The events are rebuilt from
the record, stepped from a new call on, and compared. What differs is a change of the rules since then, or a fault.
A record whose words were withheld is compared without them.
"""

import hashlib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from fsm import events as ev
from fsm.call import Call
from fsm.machine import Step, step
from triage.errors import StorageError
from triage.recorder import plain

EVENTS: dict[str, type[ev.Event]] = {kind.__name__: kind for kind in ev.Event.__subclasses__()}
"""Every event by its recorded name."""


@dataclass(frozen=True, slots=True)
class Redecided:
    """One recorded decision and the one that the machine makes today."""

    number: int
    """Counts from 1."""
    step: Step
    """Today's."""
    recorded: Mapping[str, Any]
    difference: str
    """Empty when both agree, else what differs: state, effects or memory."""


def redecide(recorded: Iterable[Mapping[str, Any]]) -> Iterator[Redecided]:
    """Step through recorded decisions (payloads of stage `step`, in order).

    Raises:
        StorageError: a payload is none that this version wrote.
    """
    call = Call()
    for number, payload in enumerate(recorded, start=1):
        event = restored(payload)
        taken = step(call, event)
        yield Redecided(number, taken, payload, _difference(payload, taken))
        call = taken.after


def restored(payload: Mapping[str, Any]) -> ev.Event:
    """The event of one recorded decision.

    Raises:
        StorageError: its type is unknown, or a field is missing or of another kind.
    """
    recorded = payload.get("event")
    kind = EVENTS.get(recorded["type"]) if isinstance(recorded, Mapping) and "type" in recorded else None
    if not isinstance(recorded, Mapping) or kind is None:
        raise StorageError(
            "a recorded step has an event that this version does not know; replay it with its own version"
        )
    try:
        return typing.cast(ev.Event, _restore(kind, recorded))
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"a recorded {kind.__name__} does not fit this version; replay it with its own version"
        ) from error


def _restore(kind: Any, value: Any) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{f.name: _restore_field(f.name, hints[f.name], value) for f in fields(kind)})
    origin = typing.get_origin(kind)
    if origin is tuple:
        (inner, *_) = typing.get_args(kind)
        return tuple(_restore(inner, part) for part in value)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _restore(next(part for part in typing.get_args(kind) if part is not type(None)), value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if not isinstance(value, kind):
        raise TypeError(kind)
    return value


def _restore_field(name: str, kind: Any, recorded: Mapping[str, Any]) -> Any:
    """Seconds were written as nanoseconds, shares as millionths (see `recorder.plain`)."""
    if kind is float:
        if name.endswith("_s"):
            return recorded[f"{name.removesuffix('_s')}_ns"] / 1e9
        return recorded[f"{name}_ppm"] / 1e6
    return _restore(kind, recorded[name])


def _difference(payload: Mapping[str, Any], taken: Step) -> str:
    if payload["after"] != taken.after.state.value:
        return f"state: {payload['after']} then, {taken.after.state.value} now"
    then = [dict(effect) for effect in payload["effects"]]
    now = [plain(effect) for effect in taken.effects]
    if payload["event"].get("text") == "" and "text" in payload["event"]:  # withheld
        for effect in (*then, *now):
            effect.pop("text", None)
    if then != now:
        names = [[str(effect.get("type", "?")) for effect in effects] for effects in (then, now)]
        return f"effects: {', '.join(names[0]) or 'none'} then, {', '.join(names[1]) or 'none'} now"
    after = hashlib.sha256(repr(sorted(plain(taken.after).items())).encode()).hexdigest()
    return "" if payload["after_sha256"] == after else "memory: same state and effects, another call afterwards"
