"""`triage up` whose worker breaks calls, for tests: `python -m tests.line.breaking_line up`.

In a call whose script holds `BREAKS` the machine raises once the caller has said something, and so does the last ladder behind
it. What is raised holds what must be seen nowhere: the caller's number and the words of the script. The same text is
raised where nobody catches it: in a callback of the loop, in a task that nobody awaits, and in a thread.
"""

import asyncio
import gc
import sys
import threading
from pathlib import Path
from typing import Any

BREAKS = "and now it breaks"
NAME = "tests.line.breaking_line"


def main() -> None:
    """The command line of `triage`, with this change."""
    from tests.line import breaking_line
    from triage import cli
    from triage.up import programs

    started = programs.ours

    def ours(command: str, *more: Any) -> tuple[str, ...]:
        argv = started(command, *more)
        return tuple(NAME if command == "worker" and word == "triage" else word for word in argv)

    programs.ours = ours
    if "worker" in sys.argv:
        from triage import worker

        worker.entry = breaking_line.entry
    cli.main()


async def entry(context: Any) -> None:
    """One job, in its process."""
    from triage import worker
    from triage.answering import RESCUE

    script = context.proc.userdata[worker.READY].settings.stt_script
    words = script.read_text(encoding="utf-8") if isinstance(script, Path) else ""
    if BREAKS in words and context.job.metadata != RESCUE:
        break_calls(words)
    await worker.entry(context)


def break_calls(words: str) -> None:
    """From now on calls of this process break as soon as their caller has said something."""
    from fsm import events as ev
    from triage import runtime
    from triage.call import LiveCall
    from triage.last_ladder import LastLadder

    told: list[str] = []
    noted, stepped = LiveCall.note_number, runtime.step

    def note_number(call: LiveCall, number: str, *, withheld: bool = False) -> None:
        told.append(f"{number} says {words}")
        noted(call, number, withheld=withheld)

    def step(call: Any, event: ev.Event) -> Any:
        if told and isinstance(event, ev.TurnEnded | ev.UrgencyRaised):
            uncaught(told[0])
            raise ValueError(told[0])
        return stepped(call, event)

    def apologise(_: LastLadder) -> None:
        raise ValueError(told[0])

    LiveCall.note_number = note_number  # type: ignore[method-assign]  # broken on purpose
    runtime.step = step
    LastLadder.apologise = apologise  # type: ignore[method-assign]  # broken on purpose


def uncaught(text: str) -> None:
    """Raise it everywhere where nobody catches it."""

    def broken() -> None:
        raise ValueError(text)

    async def task() -> None:
        broken()

    loop = asyncio.get_running_loop()
    loop.call_soon(broken)
    asyncio.ensure_future(task())  # noqa: RUF006 nobody awaits it
    loop.call_later(0.2, gc.collect)
    threading.Thread(target=broken).start()


if __name__ == "__main__":
    main()
