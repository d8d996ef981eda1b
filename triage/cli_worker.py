"""`triage worker` and `triage keeper`: the two programs that carry calls and finish their records."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from triage.cli_line import need_packages, settings_of

DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Data folder instead of the default.", show_default=False)
]


def worker(context: typer.Context, data: DataFolder = None) -> None:
    """Answer telephone calls of the line on this data folder; SIGTERM lets calls in progress end."""
    need_packages()
    settings = settings_of(context, data)
    from triage.worker import work

    raise typer.Exit(work(settings, dict(os.environ)))


def keeper(context: typer.Context, data: DataFolder = None) -> None:
    """Write the summary of every call that has ended; one keeper for each data folder."""
    from triage import privacy
    from triage.keeping import keep

    settings = settings_of(context, data)
    privacy.install(sys.stderr)
    raise typer.Exit(keep(settings))
