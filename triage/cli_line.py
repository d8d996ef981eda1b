"""`triage up` and `triage line`: a whole telephone line on this machine, and what it stands on.

The line has packages of its own (`requirements-line.txt`); where they are missing, every command says so in one line.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, TextIO, cast

import typer

from triage.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from triage.config import Settings
    from triage.up.line_files import Line
    from triage.up.supervisor import Supervisor

line_app = typer.Typer(name="line", no_args_is_help=True, help="The telephone line: install, status, provision.")

DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Data folder instead of the default.", show_default=False)
]
SCREEN_EVERY_S = 0.5
NEEDED = ("aiohttp", "livekit", "psutil")
"""Packages without which no command here can do anything."""
LISTENS = {
    "pocketsphinx": "recogniser: the local one, for demos and tests on synthetic 16 kHz voices only; "
    "it makes nothing of real voices or of telephone audio at 8 kHz",
    "scripted": "recogniser: scripted, it says the lines of stt_script in turn; nobody listens to what callers say",
}
"""Setting stt -> what whoever starts a line must know of it."""


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

    from triage.handoff import desk
    from triage.up import engines, programs

    settings, env = settings_of(context, data), dict(os.environ)
    desk.check(settings)
    notes = () if engines_only else _looked_at(settings)
    installed = engines.provide(env, typer.echo)
    config = context.obj.config
    console = Console(file=cast("IO[str]", Screen(sys.stdout)))

    def say(words: str) -> None:
        console.print(words, highlight=False, soft_wrap=True, markup=False)

    with programs.reserved(settings, say) as line:
        for note in notes:
            console.print(note, style="yellow", highlight=False, soft_wrap=True, markup=False)
        made = programs.supervisor(
            settings,
            line,
            installed,
            env=env,
            config=config,
            only_engines=engines_only,
            say=say,
        )
        asyncio.run(_run(console, made, line, "" if engines_only else programs.line_to_ring(settings, line)))


@line_app.command()
def install() -> None:
    """Find livekit-server and Redis, or install them; what is there is never built again."""
    from triage.up import engines

    found = engines.provide(dict(os.environ), typer.echo)
    for engine in (found.server, found.redis):
        typer.echo(f"{engine.name:<16}{engine.version:<10}{engine.path}")


@line_app.command()
def status(context: typer.Context, data: DataFolder = None) -> None:
    """Say what of the line answers now, and whether it is provisioned. Exit code 1 where something is missing."""
    need_packages()
    from triage.up import line_files, probes, provision
    from triage.up.programs import line_to_ring

    settings = settings_of(context, data)
    line = line_files.opened(settings)

    async def ask() -> list[tuple[str, str, bool]]:
        ports = line.ports
        return [
            ("redis", f"{ports.redis}", await probes.redis_answers(ports.redis, line.access.redis_password)),
            ("livekit-server", f"{ports.server}", await probes.http_answers(ports.server)),
            (settings.line_sip, f"{ports.sip}/udp", await probes.sip_answers(ports.sip, settings.line_sip_address)),
            ("keeper", "", await probes.keeper_beats(settings.data_dir)),
            ("worker", f"{ports.worker}", await probes.http_answers(ports.worker)),
        ]

    answers = asyncio.run(ask())
    for name, port, answered in answers:
        host = settings.line_sip_address if name == settings.line_sip else line_files.LOOPBACK
        where = f"{host}:{port}" if port else str(settings.data_dir)
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
    from triage.up import line_files
    from triage.up.provision import provision

    settings = settings_of(context, data)
    done = asyncio.run(provision(settings, line_files.opened(settings)))
    for change in done.changes:
        typer.echo(change)
    typer.echo(
        f"inbound trunk {done.inbound_trunk}, dispatch rule {done.dispatch_rule}, nurse trunk {done.nurse_trunk}"
    )


# --- running


def _looked_at(settings: "Settings") -> tuple[str, ...]:
    """Look, before anything starts, at what worker and SIP service would stumble over; gives what the operator must know.

    Raises:
        SettingError: the nurses' address or the script is wrong; names the setting.
        StorageError: the folder cannot be written, or its keys are missing.
    """
    from triage.answering import script_of
    from triage.engines import keys
    from triage.up.programs import check

    check(settings)
    script_of(settings)
    made = keys(settings)
    return (*((made,) if made else ()), LISTENS[settings.stt])


class Screen:
    """A terminal that may go away: what is written then goes nowhere, and nothing breaks.

    Closing the window of a line must end it in order, and a call stands on a line whose screen is lost.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.encoding = file.encoding

    def write(self, text: str) -> int:
        """As a file's."""
        try:
            self._file.write(text)
        except OSError:
            self._lost()
        return len(text)

    def flush(self) -> None:
        """As a file's."""
        try:
            self._file.flush()
        except OSError:
            self._lost()

    def isatty(self) -> bool:
        """False as well once it is gone."""
        return self._file.isatty()

    def fileno(self) -> int:
        """As a file's."""
        return self._file.fileno()

    def _lost(self) -> None:
        """What is left in its buffer would break the end of the program."""
        with suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self._file.fileno())


async def _run(console: "Console", supervisor: "Supervisor", line: "Line", address: str) -> None:
    """Until Ctrl-C. `address`: where to ring; empty when only the engines run."""
    from rich.live import Live

    from triage.up.supervisor import leaf

    def ready() -> None:
        what = f"ring {address}" if address else f"engines are up, livekit-server at {line.url}"
        console.print(f"{what}   (Ctrl-C ends the line)", highlight=False, soft_wrap=True)

    loop = asyncio.get_running_loop()
    console.print(f"starting; logs in {line.logs}", highlight=False, soft_wrap=True)
    try:
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(_until_cancelled(supervisor, ready))
            end = Ending(supervisor, work, lambda words: console.print(words, highlight=False, soft_wrap=True))
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, end.wished)
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: the line stays
                loop.add_signal_handler(signal.SIGHUP, end.screen_lost)
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


class Ending:
    """How a running line is told to end: the first wish lets calls finish, the next does not."""

    def __init__(self, supervisor: "Supervisor", work: "asyncio.Task[None]", say: Callable[[str], None]) -> None:
        self._supervisor, self._work, self._say = supervisor, work, say
        self._begun = False

    def wished(self) -> None:
        """Ctrl-C, or SIGTERM."""
        if self._begun or self._supervisor.stopping:
            self._say("ending at once")
            self._supervisor.hurry()
        else:
            self._begin()

    def screen_lost(self) -> None:
        """SIGHUP. A terminal that is closed sends it more than once: that is one wish, and no hurry."""
        if not (self._begun or self._supervisor.stopping):
            self._begin()

    def _begin(self) -> None:
        from triage.up.leftovers import CALLS_FROM_S

        self._begun = True
        grace_s = self._supervisor.grace_s
        calls = f": calls in progress may finish (up to {grace_s:.0f} s)" if grace_s > CALLS_FROM_S else ""
        self._say(f"ending{calls}; Ctrl-C again ends at once")
        self._work.cancel()


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
