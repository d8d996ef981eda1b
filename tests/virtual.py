"""Tests that live in virtual time."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from triage.clock import run

P = ParamSpec("P")


def in_virtual_time(program: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """The same test as a plain function that runs its program in virtual time."""

    @functools.wraps(program)
    def test(*given: P.args, **named: P.kwargs) -> None:
        run(program(*given, **named), virtual=True)

    return test
