"""Every rule of the call, one row each. Read this file to know the product."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fsm.call import Call
from fsm.effects import Effect
from fsm.events import Event
from fsm.states import State as S

E = TypeVar("E", bound=Event)
Outcome = tuple[Call, tuple[Effect, ...]]


def always(call: Call, event: Event) -> bool:
    """The guard of every cell's last row."""
    return True


@dataclass(frozen=True)
class Rule(Generic[E]):
    """On `event` in one of `source`, if `when`: do what `plan` says and go to `dest` (None: stay)."""

    event: type[E]
    source: tuple[S, ...]
    dest: S | None
    plan: Callable[[Call, E], Outcome]
    when: Callable[[Call, E], bool] = always


TABLE: tuple[Rule[Any], ...] = ()
