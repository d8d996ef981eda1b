"""`triage sip-bench`: takes livekit-sip's place for development, tests and drills. Never for production.

It reads what `triage up` settled for this data folder (ports, secrets), binds SIP and RTP to loopback only, and dials
nobody but the nurse queue of the settings. SIGTERM lets the calls end, a second one or Ctrl-C ends them at once.
"""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triage import privacy
from triage.errors import SettingError, UsageError

if TYPE_CHECKING:
    from triage.bench.faults import Faults
    from triage.config import Settings
    from triage.up.line_files import Line

WARNING = "sip-bench: a stand-in for livekit-sip, NOT FOR PRODUCTION; loopback only, no encryption, participants marked"
"""First line of its log, always."""

log = logging.getLogger("triage.bench.sip_bench")


def sip_bench(
    context: typer.Context,
    hold_on_202: Annotated[
        bool, typer.Option("--hold-on-202", help="Fault: the caller hears nothing once a REFER was accepted.")
    ] = False,
    notify200_after_timeout: Annotated[
        bool, typer.Option("--notify200-after-timeout", help="Fault: success is told after the time for it is over.")
    ] = False,
    no_notify: Annotated[bool, typer.Option("--no-notify", help="Fault: no result of a REFER is ever told.")] = False,
    late_answer: Annotated[
        float, typer.Option("--late-answer", help="Fault: answers to transfers and dialled calls come so late, s.")
    ] = 0.0,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder instead of the default.", show_default=False)
    ] = None,
) -> None:
    """Run the bench's SIP service for the telephone line of this data folder. Not for production."""
    from triage.up import line_files

    settings = context.obj.settings(data)
    if settings.profile in ("staging", "production"):
        raise SettingError(f"sip-bench does not run under the profile {settings.profile}; use livekit-sip")
    try:
        from triage.bench.faults import Faults
        from triage.bench.service import SipBench  # noqa: F401 says now what is missing
    except ImportError as error:
        raise UsageError(f"the telephone line needs {error.name}; pip install -r requirements-line.txt") from error
    try:
        faults = Faults(hold_on_202, notify200_after_timeout, no_notify, late_answer)
    except ValueError as error:
        raise UsageError(f"faults: {error}") from error
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    logging.getLogger("livekit").setLevel(logging.WARNING)
    privacy.be_discreet()  # the caller's number it tells, as livekit-sip does; what breaks may hold more
    asyncio.run(run(settings, line_files.opened(settings), faults))


async def run(settings: "Settings", line: "Line", faults: "Faults") -> None:
    """Serve until a signal comes.

    Raises:
        UsageError: the SIP port cannot be had, or the nurse queue is not on loopback.
        Unavailable: Redis does not answer.
    """
    from triage.bench.seam.room import Access
    from triage.bench.service import SipBench
    from triage.bench.sip.agent import Agent
    from triage.bench.sip.ports import BenchError

    ports, access = line.ports, line.access
    log.warning(WARNING)
    if str(faults) != "none":
        log.warning("faults: %s", faults)
    asked = asyncio.Event()
    again = asyncio.Event()
    loop = asyncio.get_running_loop()

    def at_once() -> None:
        asked.set()
        again.set()

    loop.add_signal_handler(signal.SIGINT, at_once)
    loop.add_signal_handler(signal.SIGTERM, lambda: again.set() if asked.is_set() else asked.set())
    try:
        agent = Agent(
            port=ports.sip,
            rtp_ports=(ports.rtp_first, ports.rtp_last),
            allowed_targets=(settings.line_nurse_address,),
        )
        bench = SipBench(
            agent,
            Access(line.url, access.api_key, access.api_secret),
            redis=("127.0.0.1", ports.redis),
            redis_password=access.redis_password,
            faults=faults,
        )
        async with bench:
            # What was loaded stays: looking through it for garbage would stop the voices for some 20 ms each time.
            gc.collect()
            gc.freeze()
            log.info("listening on %s:%d/udp", *agent.address)
            await asked.wait()
            log.info("ending; calls in progress: %d", bench.calls)
            await _first(bench.drained(), again.wait())
    except BenchError as error:
        raise UsageError(f"sip-bench: {error} (settings line_sip_port, line_nurse_address)") from error


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when the first has come; give up the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait) for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
