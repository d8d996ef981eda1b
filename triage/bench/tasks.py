"""Tasks of the bench: one that breaks is logged and takes nobody with it, and none outlives its owner."""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

log = logging.getLogger("triage.bench")


class Tasks:
    """Owner of tasks. Use as an async context manager: on leaving, what still runs is cancelled and waited for."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        # What went wrong in the body goes on as it is: the group would wrap it.
        await self._group.__aexit__(None, None, None)

    def start(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[None]:
        """Run `work` beside everything else; its result is thrown away. `name` stands in the log when it breaks."""
        task = self._group.create_task(self._guarded(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, object], name: str) -> None:
        try:
            await work
        except Exception as error:  # whatever it is, the other calls go on
            # The type alone: a message may hold a number.
            log.error("%s broke: %s", name, type(error).__name__, exc_info=log.isEnabledFor(logging.DEBUG))
