"""Tasks of one line: none outlives it, and one that breaks is told by its kind alone."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

END_S = 2.0
"""A task that the SDK never wakes again is not waited for any longer."""


class Tasks:
    """Owner of a line's tasks. They belong to the line, not to the call's TaskGroup: some end after it."""

    def __init__(self, broke: Callable[[str, Exception], None]) -> None:
        """`broke` gets the name of a task that let an exception escape."""
        self._broke = broke
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Run `work` beside everything else."""
        task = asyncio.get_running_loop().create_task(self._guarded(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before it began, it was never awaited
        return task

    async def end(self, *, spare: "set[asyncio.Task[None]]") -> None:
        """Cancel what still runs, but for `spare`, which ends by itself, and wait for all of it, 2 s at most."""
        for task in self._running - spare:
            task.cancel()
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=END_S)

    async def _guarded(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except Exception as error:  # nobody awaits these tasks: whoever started them is told
            self._broke(name, error)
