"""`triage up` and `triage line`: a whole telephone line on this machine, and what it stands on.

The line has packages of its own (`requirements-line.txt`); where they are missing, every command says so in one line.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triage.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from triage.bench.line_files import Line
    from triage.bench.supervisor import Supervisor
    from triage.config import Settings

line_app = typer.Typer(name="line", no_args_is_help=True, help="The telephone line: install, status, provision.")

DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Data folder instead of the default.", show_default=False)
]
SCREEN_EVERY_S = 0.5
NEEDED = ("aiohttp", "livekit", "psutil")
"""Packages without which no command here can do anything."""


def up(
    context: typer.Context,
    engines_only: Annotated[
        bool, typer.Option("--engines", help="Only livekit-server and Redis, provisioned; no SIP service, no worker.")
    ] = False,
    data: DataFolder = None,
) -> None:
    """Start a whole telephone line on this machine; Ctrl-C ends it, a second one at once."""
    need_packages()
    from rich.console import Console

    from triage.bench import engines
    from triage.bench import up as line_up
    from triage.handoff import desk

    settings, env = settings_of(context, data), dict(os.environ)
    desk.check(settings)
    installed = engines.provide(env, typer.echo)
    config = context.obj.config
    with line_up.reserved(settings) as line:
        console = Console()
        made = line_up.supervisor(
            settings,
            line,
            installed,
            env=env,
            config=config,
            only_engines=engines_only,
            say=lambda words: console.print(words, highlight=False, soft_wrap=True, markup=False),
        )
        asyncio.run(_run(console, made, line, "" if engines_only else line_up.line_to_ring(settings, line)))


@line_app.command()
def install() -> None:
    """Find livekit-server and Redis, or install them; what is there is never built again."""
    from triage.bench import engines

    found = engines.provide(dict(os.environ), typer.echo)
    for engine in (found.server, found.redis):
        typer.echo(f"{engine.name:<16}{engine.version:<10}{engine.path}")


@line_app.command()
def status(context: typer.Context, data: DataFolder = None) -> None:
    """Say what of the line answers now, and whether it is provisioned. Exit code 1 where something is missing."""
    need_packages()
    from triage.bench import line_files, probes, provision
    from triage.bench.up import line_to_ring

    settings = settings_of(context, data)
    line = line_files.opened(settings)

    async def ask() -> list[tuple[str, str, bool]]:
        ports = line.ports
        return [
            ("redis", f"{ports.redis}", await probes.redis_answers(ports.redis, line.access.redis_password)),
            ("livekit-server", f"{ports.server}", await probes.http_answers(ports.server)),
            (settings.line_sip, f"{ports.sip}/udp", await probes.sip_answers(ports.sip)),
            ("keeper", "", await probes.keeper_beats(settings.data_dir)),
            ("worker", f"{ports.worker}", await probes.http_answers(ports.worker)),
        ]

    answers = asyncio.run(ask())
    for name, port, answered in answers:
        where = f"{line_files.LOOPBACK}:{port}" if port else str(settings.data_dir)
        typer.echo(f"{name:<16}{'up' if answered else 'no answer':<11}{where}")
    lacking: tuple[str, ...] = ("livekit-server cannot be asked",)
    if answers[1][2]:
        lacking = asyncio.run(provision.missing(settings, line))
    typer.echo("provisioned     " + ("; ".join(lacking) or "yes"))
    complete = all(answered for _, _, answered in answers) and not lacking
    if complete:
        typer.echo(f"ring            {line_to_ring(settings, line)}")
    raise typer.Exit(0 if complete else 1)


@line_app.command("provision")
def provision_line(context: typer.Context, data: DataFolder = None) -> None:
    """Make trunks and dispatch rule at livekit-server as the settings say; running it again changes nothing."""
    need_packages()
    from triage.bench import line_files
    from triage.bench.provision import provision

    settings = settings_of(context, data)
    done = asyncio.run(provision(settings, line_files.opened(settings)))
    for change in done.changes:
        typer.echo(change)
    typer.echo(
        f"inbound trunk {done.inbound_trunk}, dispatch rule {done.dispatch_rule}, nurse trunk {done.nurse_trunk}"
    )


# --- running


async def _run(console: "Console", supervisor: "Supervisor", line: "Line", address: str) -> None:
    """Until Ctrl-C. `address`: where to ring; empty when only the engines run."""
    from rich.live import Live

    from triage.bench.supervisor import leaf

    def ready() -> None:
        what = f"ring {address}" if address else f"engines are up, livekit-server at {line.url}"
        console.print(f"{what}   (Ctrl-C ends the line)", highlight=False, soft_wrap=True)

    loop = asyncio.get_running_loop()
    console.print(f"starting; logs in {line.logs}", highlight=False, soft_wrap=True)
    try:
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(_until_cancelled(supervisor, ready))
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, _end, supervisor, work)
            with Live(console=console, auto_refresh=False, transient=True) as live:
                while not work.done():
                    if console.is_terminal:
                        live.update(_table(supervisor, loop.time()), refresh=True)
                    await asyncio.wait((work,), timeout=SCREEN_EVERY_S)
    except BaseExceptionGroup as group:
        raise leaf(group) from group
    console.print("the line has ended")


async def _until_cancelled(supervisor: "Supervisor", ready: Callable[[], None]) -> None:
    async with supervisor.running():
        ready()
        await asyncio.Event().wait()


def _end(supervisor: "Supervisor", work: "asyncio.Task[None]") -> None:
    """The first wish to end lets calls finish; the next does not."""
    if supervisor.stopping:
        supervisor.hurry()
    else:
        work.cancel()


def _table(supervisor: "Supervisor", now: float) -> "Table":
    from rich.table import Table

    colours = {"up": "green", "ended": "red", "unwell": "red", "starting": "yellow", "waiting": "dim"}
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("program", "state", "for", "pid", "restarts"):
        table.add_column(heading, no_wrap=True)
    table.add_column("where", overflow="fold")
    for health in supervisor.health.values():
        state = health.state.value
        since = "" if health.up_since is None else f"{now - health.up_since:.0f} s"
        shown = f"[{colours[state]}]{state}[/]"
        table.add_row(health.name, shown, since, str(health.pid or ""), str(health.restarts or ""), health.where)
    return table


def need_packages() -> None:
    """Raise UsageError where the packages of the line are missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"the telephone line needs packages that are not here ({', '.join(missing)}); run `make line`")


def settings_of(context: typer.Context, data: Path | None) -> "Settings":
    """The settings behind a command. Raise UsageError where it was not started as `triage ...`."""
    if context.obj is None:
        raise UsageError("this command belongs behind `triage`; run `triage --help`")
    settings: Settings = context.obj.settings(data)
    return settings
