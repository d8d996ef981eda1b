"""Promise: whoever looks at `triage up` sees every program with its state, since when, its pid, restarts and address."""

import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from triage import cli_line
from triage.up.line_files import Access, Line, Ports
from triage.up.supervisor import Health, Program, State, Supervisor

NOW = 1000.0
AUDIO = "127.0.0.1:5070/udp, audio 10000-10199/udp"
FOLDER = "/srv/operator/of-this-line/share/triage"
HEALTH = (
    Health("redis", "127.0.0.1:6390", State.UP, 4201, 0, NOW - 723.4),
    Health("livekit-server", "127.0.0.1:7880", State.UNWELL, 4202, 2, NOW - 12.0),
    Health("sip-bench", AUDIO, State.STARTING, 4203),
    Health("keeper", FOLDER, State.ENDED, None, 11),
    Health("worker", "127.0.0.1:8081"),
)
SHOWN = [
    ["program", "state", "for", "pid", "restarts", "where"],
    ["redis", "up", "723 s", "4201", "", "127.0.0.1:6390"],
    ["livekit-server", "unwell", "12 s", "4202", "2", "127.0.0.1:7880"],
    ["sip-bench", "starting", "", "4203", "", AUDIO],
    ["keeper", "ended", "", "", "11", FOLDER],
    ["worker", "waiting", "", "", "", "127.0.0.1:8081"],
]


async def _yes() -> bool:
    return True


async def _done() -> None:
    return None


def screen(columns: int) -> str:
    """What a terminal of this width is sent."""
    ports = Ports(redis=1, server=2, media=3, sip=4, worker=5, rtp_first=20000, rtp_count=40)
    line = Line(Path("/nowhere"), ports, Access("k", "s", "p"))
    programs = [Program(one.name, ("true",), {}, _yes, one.where) for one in HEALTH]
    supervisor = Supervisor(line, programs, after_engines=_done)
    assert list(supervisor.health) == [one.name for one in HEALTH], "in the order of the start"
    supervisor.health.update({one.name: one for one in HEALTH})
    out = StringIO()
    Console(file=out, width=columns, force_terminal=True, color_system="standard").print(
        cli_line._table(supervisor, NOW)
    )
    return out.getvalue()


def cells(sent: str) -> list[list[str]]:
    """The table by rows and columns; what was folded into further lines is joined again, addresses without spaces."""
    lines = re.sub(r"\x1b\[[\d;]*m", "", sent).splitlines()
    begins = [found.start() for found in re.finditer(r"\S+", lines[0])]
    rows: list[list[str]] = []
    for line in lines:
        parts = [line[a:b].strip() for a, b in zip(begins, [*begins[1:], None], strict=True)]
        if parts[0]:
            rows.append(parts)
        else:
            assert not any(parts[:-1]), "only addresses are folded"
            rows[-1][-1] += parts[-1]
    return [[*row[:-1], row[-1].replace(" ", "")] for row in rows]


@pytest.mark.parametrize("columns", [160, 80])
def test_every_program_is_shown_whole_at_any_usual_width(columns: int) -> None:
    sent = screen(columns)
    assert cells(sent) == [[*row[:-1], row[-1].replace(" ", "")] for row in SHOWN]
    assert all(len(line) <= columns for line in re.sub(r"\x1b\[[\d;]*m", "", sent).splitlines())


def test_what_is_not_well_is_red() -> None:
    sent = screen(80)
    for state, colour in (("up", 32), ("unwell", 31), ("ended", 31), ("starting", 33)):
        assert f"\x1b[{colour}m{state}" in sent, state
