"""The command `triage`. Commands import what they need when they run, so that `--help` answers at once.

`main` is the one place where an error becomes a line and an exit code: 1 when something failed, 2 when the person at
the terminal can mend it, 130 after Ctrl-C. Nobody sees a traceback who did not ask for it with `--debug`.
"""

import errno
import os
import resource
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from audit.errors import AuditError
from triage.bench.sip_bench import sip_bench
from triage.cli_audit import audit_app
from triage.cli_line import line_app, up
from triage.cli_nurse import nurse_app
from triage.cli_worker import keeper, worker
from triage.errors import AssetError, SettingError, TriageError, UsageError

if TYPE_CHECKING:
    from triage.config import Settings

app = typer.Typer(
    name="triage",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A telephone line that listens for danger and brings a nurse.",
)
app.add_typer(audit_app)
app.add_typer(line_app)
app.add_typer(nurse_app)
app.command()(up)
app.command()(sip_bench)
app.command()(worker)
app.command()(keeper)


CARRY_CALLS = frozenset({"worker", "keeper", "sip-bench"})
"""Commands whose unexpected ends leave no file behind: their log has the line."""

PROGRAMS = CARRY_CALLS | {"up"}
"""Commands that say at their start which settings file they took: one in the current folder is taken unasked."""


@dataclass
class Common:
    """Options that stand before the command."""

    config: Path | None = None
    data: Path | None = None
    debug: bool = False
    command: str = ""
    """The command that was called; empty where none was."""

    def settings(self, data: Path | None = None, *, as_demo: bool = False) -> "Settings":
        """Read the settings; `as_demo`: without what another profile demands of them.

        A program of the line says which file they are of, and `config` is its whole path from then on.

        Raises:
            SettingError: one of them is wrong.
        """
        from triage.config import load, settings_file

        if as_demo:
            return load(self.config, data=data or self.data, env={**os.environ, "TRIAGE_PROFILE": "demo"})
        read = load(self.config, data=data or self.data)
        if self.command in PROGRAMS and (file := settings_file(self.config, os.environ)) is not None:
            self.config = file.absolute()
            print(f"triage: settings of {self.config}", file=sys.stderr)
        return read


DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Data folder instead of the default.", show_default=False)
]


@app.callback(invoke_without_command=True)
def _common(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Settings file (default: ./triage.toml).", show_default=False)
    ] = None,
    data: DataFolder = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    os.umask(0o077)  # whatever we leave is its owner's alone
    _leave_no_core()
    common: Common = context.obj
    common.config, common.data, common.debug = config, data, debug
    common.command = context.invoked_subcommand or ""
    if version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as version_of

        try:
            typer.echo(f"triage-line {version_of('triage-line')}")
        except PackageNotFoundError:
            typer.echo("triage-line, run from its source folder")
        raise typer.Exit


@app.command()
def demo(
    context: typer.Context,
    scenario: Annotated[str, typer.Argument(help="Which call; --list shows all.")] = "whole_way",
    show_list: Annotated[bool, typer.Option("--list", help="List the scenarios and exit.")] = False,
    fast: Annotated[bool, typer.Option("--fast/--realtime", help="Virtual clock instead of the wall clock.")] = False,
    play: Annotated[bool, typer.Option("--play", help="Play the call when it is over.")] = False,
    say: Annotated[
        list[str] | None, typer.Option(help="Be the caller: text for the local voice, once per turn.")
    ] = None,
    wav: Annotated[list[Path] | None, typer.Option(help="Be the caller: an audio file, once per turn.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of noise, loss and jitter.", show_default=False)] = None,
    data: DataFolder = None,
) -> None:
    """Run one simulated call: ring, talk, danger, nurse, sealed record, summary."""
    if show_list:
        from triage.demo.scenario import load as load_scenario
        from triage.demo.scenario import names

        for name in names():
            found = load_scenario(name)
            typer.echo(f"{name:<17}{found.recogniser:<14}{found.title}")
        return
    from triage.demo.run import DemoOrder, run_demo

    order = DemoOrder(scenario=scenario, fast=fast, play=play, say=tuple(say or ()), wav=tuple(wav or ()), seed=seed)
    raise typer.Exit(run_demo(order, _common_of(context).settings(data)))


@app.command()
def replay(
    context: typer.Context,
    call: Annotated[str, typer.Argument(metavar="CALL", help="Id of the call, or how it begins.")],
    hear: Annotated[bool, typer.Option("--hear", help="Play the recording instead (the demo keeps it).")] = False,
    step: Annotated[bool, typer.Option("--step", help="Wait for Enter after every decision.")] = False,
    data: DataFolder = None,
) -> None:
    """Decide a recorded call again, decision by decision, and compare; or hear it again."""
    from triage.demo.again import hear_again, step_again

    settings = _common_of(context).settings(data)
    raise typer.Exit(hear_again(call, settings) if hear else step_again(call, settings, wait=step))


@app.command()
def classify(
    explain: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Show a person why this text is judged so.")
    ] = None,
    agent: Annotated[str, typer.Option(metavar="QUESTION", help="With --explain: the question just asked.")] = "",
) -> None:
    """Judge JSON lines (or plain lines) from standard input; one JSON line out for each.

    A line that cannot be read gets {"id", "line", "error"} in its place. Exit code 0 when
    the input was read to its end, also where lines were errors.
    """
    from triage import cli_classify

    with _rule_files():
        cli_classify.classify(explain, agent)


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines with a label.")],
    misses: Annotated[bool, typer.Option("--misses/--no-misses", help="List the misses and false alarms.")] = True,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write PNG plots here.")] = None,
) -> None:
    """Judge a labelled file: sensitivity, false alarms, calibration, the misses."""
    from triage import cli_classify

    with _rule_files():
        cli_classify.evaluate(file, misses, plots)


@app.command()
def settings(context: typer.Context) -> None:
    """Show every setting: its value here, and what it means."""
    from triage.config import documented

    values = _common_of(context).settings().model_dump(mode="json")
    for name, _, meaning in documented():
        typer.echo(f"{name} = {values[name]}\n    {meaning}")


@app.command()
def diagram(
    write: Annotated[
        Path | None, typer.Option(help="Renew diagram and settings in this README.", show_default=False)
    ] = None,
) -> None:
    """Draw the machine (mermaid), from its own table."""
    from fsm.diagram import mermaid
    from triage.readme import renewed

    if write is None:
        typer.echo(mermaid(), nl=False)
        return
    write.write_text(renewed(write.read_text(encoding="utf-8")), encoding="utf-8")


@app.command()
def doctor(context: typer.Context, data: DataFolder = None) -> None:
    """Say what is installed, which stages are local, what is missing, what would stop a production start."""
    from triage import doctor as looking

    common = _common_of(context)
    try:
        settings = common.settings(data)
    except SettingError as error:  # the profile's own demands are what this command is asked about
        typer.echo(f"refused  settings        {error}")
        settings = common.settings(data, as_demo=True)
    findings = looking.examine(settings)
    for finding in findings:
        typer.echo(f"{finding.verdict.value:<9}{finding.subject:<16}{finding.words}")
    typer.echo("\nstages")
    for stage in looking.stages(settings):
        where = "local" if stage.local else "vendor"
        typer.echo(f"  {stage.port:<16}{stage.engine:<14}{where:<8}{stage.remark}")
    missing = looking.missing_settings(settings)
    typer.echo("\nsettings missing: " + ("; ".join(missing) or "none"))
    typer.echo("\na production start would be refused for")
    for obstacle in looking.production_obstacles(settings):
        typer.echo(f"  {obstacle}")
    raise typer.Exit(0 if looking.demo_can_run(findings) else 1)


def main() -> NoReturn:
    """Run the command line; never returns, never shows a traceback unasked."""
    common = Common()
    try:
        code = app(prog_name="triage", obj=common, standalone_mode=False) or 0
    except typer.TyperException as error:  # wrong usage
        command = getattr(getattr(error, "ctx", None), "command_path", "triage")
        message = getattr(error, "format_message", str)()
        code = _refuse(f"{message} (see: {command} --help)", 2) if message else 2
    except typer.Abort:
        code = 130
    except TriageError as error:
        code = _refuse(str(error), error.exit_code)
    except AuditError as error:
        code = _refuse(str(error), 1)
    except BrokenPipeError:  # `triage ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        code = _refuse(_os_error(error), 1) if not common.debug else _unexpected(error, common)
    except Exception as error:  # the one place where anything unexpected ends
        code = _unexpected(error, common)
    sys.exit(code)


@contextmanager
def _rule_files() -> Iterator[None]:
    """A broken rule or model file is one line, like every broken file."""
    from classifiers.model import ModelFileError
    from classifiers.rulebook import RuleFileError

    try:
        yield
    except (RuleFileError, ModelFileError) as error:
        raise AssetError(f"the classifier cannot be used: {error}; mend that file") from error


def _leave_no_core() -> None:
    """Neither we nor what we start write down our memory, in which callers speak, when we crash.

    The limit is one byte, as Linux takes 0 for "no file" and still hands the core to a program that collects them.
    """
    limit = min(1, resource.getrlimit(resource.RLIMIT_CORE)[1] % 2**64)  # -1 is no limit
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def _common_of(context: typer.Context) -> Common:
    common = context.obj
    if not isinstance(common, Common):
        raise UsageError("this command belongs behind `triage`; run `triage --help`")
    return common


def _refuse(message: str, code: int) -> int:
    print(f"triage: {' '.join(message.split())}", file=sys.stderr)
    return code


def _os_error(error: OSError) -> str:
    remedy = {
        errno.ENOSPC: "free some space or name another folder with --data",
        errno.EROFS: "it is read-only; name another folder with --data",
        errno.EACCES: "mend its permissions or name another folder with --data",
    }.get(error.errno or 0, "see --debug")
    return f"{error.filename or 'the system'}: {error.strerror or type(error).__name__}; {remedy}"


def _unexpected(error: Exception, common: Common) -> int:
    """One line, and (unless calls were carried) a file with kinds and places. What an exception says is in neither."""
    from triage.privacy import place_of

    if common.debug:
        traceback.print_exception(error)
        return 1
    if common.command in CARRY_CALLS:
        return _refuse(f"unexpected {place_of(error)}", 1)
    where = "nowhere, as no file could be written; run again with --debug"
    try:
        handle, where = tempfile.mkstemp(prefix="triage-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for one in reversed([error, *_causes(error)]):
                file.writelines([*traceback.format_tb(one.__traceback__), f"{type(one).__name__}\n\n"])
    except OSError:
        pass  # the one line is said all the same
    return _refuse(f"unexpected {place_of(error)}; details are in {where}", 1)


def _causes(error: BaseException) -> Iterator[BaseException]:
    while (before := error.__cause__ or error.__context__) is not None:
        yield before
        error = before
