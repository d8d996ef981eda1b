"""`triage nurse`: open a packet by its code, and the list of callers that somebody must ring back.

Opening a packet is a claim, and looking up a number is a reading: who, when and why stands in the log of readings before
anything is shown. The list itself names nobody and needs no key.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit.printable import printable
from triage.cli_audit import DataFolder, login, opened, settings_of, wall_now_ns
from triage.errors import Refused, UsageError

if TYPE_CHECKING:
    from audit.outbox import Callback
    from triage.handoff.claims import Claimed, Numbers
    from triage.ports import Packet

nurse_app = typer.Typer(name="nurse", no_args_is_help=True, help="For nurses: open a packet, ring callers back.")

Who = Annotated[str, typer.Option("--who", help="Your name, recorded beside your login.", show_default=False)]
PARTS = ("situation", "background", "assessment", "recommendation")
WIDE = 100
"""Columns a packet takes at most: longer lines are not read in ten seconds."""
LONGEST_NAME = 80
WHOLE_LINE = 400
"""Columns in which a call-back stands on one line, whatever its names."""
PURPOSE = "call-back"
"""Why a caller's number is looked up."""
NS = 1_000_000_000


@nurse_app.command("open")
def open_packet(
    context: typer.Context,
    code: Annotated[str, typer.Argument(metavar="CODE", help="As it came with the caller, in the SIP header.")],
    who: Who = "",
    purpose: Annotated[str, typer.Option("--purpose", help="Why you open it.")] = "hand-off",
    data: DataFolder = None,
) -> None:
    """Claim a caller's packet and read it: what was said, found, asked and told. The claim is recorded first."""
    from triage.handoff.claims import claim
    from triage.handoff.desk import shelf_of

    settings = settings_of(context, data)
    with opened(context, data) as (folder, store):
        private, now_ns = folder.keyring().checked().private_key(), wall_now_ns()
        try:
            claimed = claim(
                shelf_of(settings),
                private,
                store,
                code.strip(),
                who=_name(who),
                purpose=printable(purpose),
                at_ns=now_ns,
            )
        except Refused as error:
            kept = f"packets are kept for {settings.nurse_packet_h:g} h"
            raise UsageError(f"{error.code}: check the code ({kept})") from error
        _show(claimed, now_ns=now_ns)


@nurse_app.command()
def callbacks(
    context: typer.Context,
    look_up: Annotated[
        str, typer.Option("--open", metavar="ID", help="Show this caller's numbers, and take the task on.")
    ] = "",
    done: Annotated[str, typer.Option("--done", metavar="ID", help="This caller was rung back.")] = "",
    who: Who = "",
    data: DataFolder = None,
) -> None:
    """List the callers that somebody must ring back, overdue first; or open one, or strike one off."""
    from audit.outbox import Outbox
    from audit.reader import Reader
    from triage.handoff.claims import find, numbers_of, rung_back

    if look_up and done:
        raise UsageError("--open and --done do not go together: first ring, then strike off")
    with opened(context, data) as (folder, store):
        outbox, name, now_ns = Outbox(store), _name(who), wall_now_ns()
        if done:
            task = find(outbox, done)
            rung_back(store, task, who=name, purpose=PURPOSE, at_ns=now_ns)
            typer.echo(f"recorded: {name} rang back call {printable(task.call)}")
        elif look_up:
            task = find(outbox, look_up)
            reader = Reader(store, folder.keyring().checked(), who=name, purpose=PURPOSE, spool=folder.spool)
            numbers = numbers_of(reader, task.call, at_ns=now_ns)
            before = outbox.claim_callback(task.id, owner=name) if task.done_ns is None else ""
            _show_numbers(task, numbers, name, before)
        else:
            _list(outbox.callbacks(), now_ns)


# --- on the screen


def _show(claimed: "Claimed", *, now_ns: int) -> None:
    from rich.console import Console, Group
    from rich.panel import Panel
    from rich.text import Text

    mine, first = claimed.mine, claimed.first
    holder, ago = printable(first.who).upper(), _span(mine.at_ns - first.at_ns)
    if claimed.holds:
        head = Text(f"CLAIMED BY {holder}", style="bold green")
    elif claimed.namesake:
        head = Text(f"CLAIMED BY {holder}, {ago} ago: by you, or by somebody else at this login", style="bold yellow")
    else:
        head = Text(f"CLAIMED BY {holder}, {ago} before you", style="bold red")
    note = Text(f"recorded: {mine.who} at {_utc(mine.at_ns)}, purpose: {mine.purpose}", style="dim")
    again = [Text(f"claim {claimed.claims} of this call", style="dim")] if claimed.claims > 1 else []
    packet = claimed.packet
    age = Text(
        f"call {printable(packet.call_id)}, version {packet.version}, made {_span(now_ns - packet.made_ns)} ago",
        style="dim",
    )
    console = Console()
    body = Group(head, Text(), *_parts(packet), age, note, *again)
    urgent = packet.level in ("emergency_now", "nurse_now")
    title = Text(_plain(packet.level or packet.reason).upper())
    console.print(
        Panel(
            body,
            title=title,
            border_style="red" if urgent else "cyan",
            width=min(console.width, WIDE),
            title_align="left",
        )
    )


def _parts(packet: "Packet") -> "list[Any]":
    """Situation, background, assessment, recommendation: what was said is text, never markup."""
    from rich.table import Table
    from rich.text import Text

    shown: list[Any] = []
    for part in PARTS:
        shown.append(Text(part.capitalize(), style="bold"))
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", max_width=22)
        table.add_column(overflow="fold", ratio=1)
        for name, value in getattr(packet, part).items():
            style = "bold" if part == "situation" and name in ("why", "caller's words") else ""
            table.add_row(Text(printable(name)), Text(printable(value), style=style))
        shown += [table, Text()]
    return shown


def _show_numbers(task: "Callback", numbers: "Numbers", who: str, before: str) -> None:
    spoken = f"{numbers.spoken} ({'confirmed' if numbers.confirmed else 'not confirmed'})" if numbers.spoken else "none"
    how = "WITHHELD by the caller; only to ring them back" if numbers.withheld else "shown by the network"
    network = f"{numbers.network} ({how}, not read back)" if numbers.network else "none"
    level = f", {_plain(task.level)}" if task.level else ""
    typer.echo(f"call-back {printable(task.id)}: {_plain(task.reason)}{level}")
    if before:
        who_else = "this login: you, or somebody else here" if before == who else printable(before)
        typer.echo(f"TAKEN ON BEFORE by {who_else}")
    typer.echo(f"number the caller gave: {printable(spoken)}")
    typer.echo(f"number of the network:  {printable(network)}")
    typer.echo(f"recorded: {who} opened it; strike it off with: triage nurse callbacks --done {printable(task.id)}")


def _list(tasks: "list[Callback]", now_ns: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not tasks:
        typer.echo("nobody waits for a call-back")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("due", "id", "level", "why", "owner"):  # the id within the narrowest screen: it is copied
        table.add_column(name, no_wrap=True)
    for task in sorted(tasks, key=lambda task: task.due_ns):
        late = task.due_ns < now_ns
        due = f"{_span(now_ns - task.due_ns)} OVERDUE" if late else f"in {_span(task.due_ns - now_ns)}"
        table.add_row(
            Text(due, style="bold red" if late else ""),
            Text(printable(task.id)),
            Text(_plain(task.level)),
            Text(_plain(task.reason)),
            Text(printable(task.owner or "nobody")),
        )
    Console(width=WHOLE_LINE).print(table)  # a narrower terminal breaks the line itself, and copies it whole
    overdue = sum(task.due_ns < now_ns for task in tasks)
    typer.echo(f"{len(tasks)} open, {overdue} overdue")


def _span(ns: int) -> str:
    """A length of time in its two largest units."""
    minutes, seconds = divmod(max(0, ns) // NS, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _utc(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // NS, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _name(who: str) -> str:
    """Whoever is at the terminal: as the system knows them, and the name they give beside it."""
    given = printable(who).strip()[:LONGEST_NAME]
    return f"{given} ({login()})" if given else login()


def _plain(name: str) -> str:
    return printable(name).replace("_", " ")
