"""Which programs make a telephone line on this machine, in the order in which they need each other."""

import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from triage.alone import alone
from triage.config import Settings
from triage.errors import SettingError, StorageError, UsageError
from triage.up import line_files, probes, provision
from triage.up.engines import Engines
from triage.up.leftovers import end_leftovers
from triage.up.line_files import LOOPBACK, Line
from triage.up.supervisor import LOCK, Program, Supervisor

ENGINE_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""What an engine gets of our environment: LIVEKIT_* and the like would change its configuration behind our back."""
NEVER_PASSED_ON = ("LIVEKIT_", "OTEL_", "SIP_CONFIG_", "REDIS_")
"""Beginnings of variables that our own programs don't get either: they could send a caller's words elsewhere."""

WORKER_UP_S = 60.0
"""A worker has loaded its models within this, s."""
SIP_GRACE_S = 5.0
"""The SIP service says goodbye to the calls that are left within this, s. The worker's have ended by then."""
KEEPER_GRACE_S = 10.0
"""The keeper writes the summaries that are due within this, s."""
HAND_OVER_S = 36.0
"""Beyond `worker_drain_s`: callers who are left then have been brought to a nurse, or told where to turn, within this, s."""


LAST_PORT = 65535


def check(settings: Settings) -> None:
    """Look at what a SIP service would refuse after the engines have started.

    Raises:
        SettingError: nurses cannot be dialled at `line_nurse_address`.
    """
    host, _, port = settings.line_nurse_address.rpartition(":")
    if not 0 < int(port) <= LAST_PORT:
        raise SettingError(f"setting line_nurse_address: its port must be 1 to {LAST_PORT}; set another")
    if settings.line_sip == "sip-bench" and not _is_loopback(host):
        raise SettingError(
            "setting line_nurse_address: sip-bench dials loopback alone; set an address such as 127.0.0.1:5090"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return IPv4Address(host).is_loopback
    except ValueError:
        return False


def line_to_ring(settings: Settings, line: Line) -> str:
    """Where a telephone calls this line."""
    host = settings.line_public_address or settings.line_sip_address
    return f"sip:{settings.line_number}@{host}:{line.ports.sip}"


@contextmanager
def reserved(settings: Settings, say: Callable[[str], None] = lambda _: None) -> Iterator[Line]:
    """A line of these settings with its files written, which nobody else may start meanwhile.

    What an earlier supervisor left running is ended first; calls in progress have their time, and `say` hears of it.

    Raises:
        UsageError: somebody else runs it, or a port is taken.
        StorageError: its folder cannot be written.
    """
    folder = line_files.folder_of(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}; mend it or name another folder with --data") from error
    taken = f"a telephone line is up on {folder} already; end it with Ctrl-C there, or use another --data"
    with alone(folder / LOCK, taken):
        end_leftovers(folder, say)  # before the ports are looked at: they may hold them
        yield line_files.prepare(settings)


def supervisor(
    settings: Settings,
    line: Line,
    engines: Engines,
    *,
    env: Mapping[str, str],
    config: Path | None = None,
    only_engines: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Supervisor:
    """A line, ready to be started. `config` is the settings file to hand on, `env` our environment, `say` hears of what goes wrong.

    Raises:
        UsageError: the SIP service of the settings is not here.
    """

    async def after_engines() -> None:
        await provision.provision(settings, line)

    programs = engine_programs(line, engines, env)
    if not only_engines:
        programs.append(sip_program(settings, line, env, config))
        programs.append(keeper_program(settings, env, config))
        programs.append(worker_program(settings, line, env, config))
    return Supervisor(line, programs, after_engines=after_engines, say=say)


def engine_programs(line: Line, engines: Engines, env: Mapping[str, str]) -> list[Program]:
    """Redis, then livekit-server."""
    bare = {name: env[name] for name in ENGINE_VARIABLES if name in env}
    return [
        Program(
            name="redis",
            argv=(str(engines.redis.path), str(line.file(line_files.REDIS_CONF))),
            env=bare,
            probe=partial(probes.redis_answers, line.ports.redis, line.access.redis_password),
            where=f"{LOOPBACK}:{line.ports.redis}",
            engine=True,
        ),
        Program(
            name="livekit-server",
            argv=(str(engines.server.path), "--config", str(line.file(line_files.LIVEKIT_YAML))),
            env=bare,
            probe=partial(probes.http_answers, line.ports.server),
            where=f"{LOOPBACK}:{line.ports.server}, media {line.ports.media}/udp",
            engine=True,
        ),
    ]


def sip_program(settings: Settings, line: Line, env: Mapping[str, str], config: Path | None) -> Program:
    """Our bench, or LiveKit's own service.

    Raises:
        UsageError: livekit-sip is asked for and not on the PATH.
    """
    probe: Callable[[], Awaitable[bool]] = partial(probes.sip_answers, line.ports.sip, settings.line_sip_address)
    where = f"{settings.line_sip_address}:{line.ports.sip}/udp, audio {line.ports.rtp_first}-{line.ports.rtp_last}/udp"
    if settings.line_sip == "sip-bench":
        argv = ours("sip-bench", settings, config)
        return Program("sip-bench", argv, own_environment(env), probe, where, grace_s=SIP_GRACE_S)
    program = shutil.which("livekit-sip", path=env.get("PATH", ""))
    if program is None:
        raise UsageError("livekit-sip (setting line_sip) is not on the PATH; put it there, or set sip-bench")
    bare = {name: env[name] for name in ENGINE_VARIABLES if name in env}
    argv = (program, "--config", str(line.file(line_files.SIP_YAML)))
    return Program("livekit-sip", argv, bare, probe, where, grace_s=SIP_GRACE_S)


def keeper_program(settings: Settings, env: Mapping[str, str], config: Path | None) -> Program:
    """What writes the summaries; it ends after the worker's last call, and finishes what is due."""
    return Program(
        name="keeper",
        argv=ours("keeper", settings, config),
        env=own_environment(env),
        probe=partial(probes.keeper_beats, settings.data_dir),
        where=str(settings.data_dir),
        grace_s=KEEPER_GRACE_S,
    )


def worker_program(settings: Settings, line: Line, env: Mapping[str, str], config: Path | None) -> Program:
    """What answers the calls; it ends when its calls have ended."""
    return Program(
        name="worker",
        argv=ours("worker", settings, config),
        env=own_environment(env),
        probe=partial(probes.http_answers, line.ports.worker),
        where=f"{LOOPBACK}:{line.ports.worker}",
        up_within_s=WORKER_UP_S,
        grace_s=settings.worker_drain_s + HAND_OVER_S,
    )


def ours(command: str, settings: Settings, config: Path | None) -> tuple[str, ...]:
    """A command of ours as a program of its own, with the same settings; `-P`: nothing of the current folder is run."""
    options = ("--config", str(config)) if config else ()
    return (sys.executable, "-P", "-m", "triage", *options, "--data", str(settings.data_dir), command)


def own_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Our environment without what would configure LiveKit or telemetry behind the settings."""
    return {name: value for name, value in env.items() if not name.startswith(NEVER_PASSED_ON)}
