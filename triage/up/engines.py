"""The engines of the telephone line: livekit-server and Redis, found where they are or installed once.

Order for livekit-server: the PATH, when the version is exactly ours; then our cache; then `go install` into that cache.
For Redis: the PATH, when the version will do; then the system's package, without the service that comes with it (the
program lies in `redis-tools` too, under the name of its checking tool, and becomes a server by being called one).
The cache is `$XDG_CACHE_HOME/triage-line/engines` and is kept: what is there is never built again.
Settings name no programs: an engine of the wrong version is passed over, and the sentence at the end says so.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from triage.errors import UsageError

LIVEKIT_SERVER = "1.13.5"
"""The one version of livekit-server that we run; later ones cannot be built by `go install`."""
LIVEKIT_SERVER_SOURCE = f"github.com/livekit/livekit-server/cmd/server@v{LIVEKIT_SERVER}"
REDIS_OLDEST, REDIS_TOO_NEW = (7, 0), (9, 0)
"""Redis from the first version on, below the second."""

BUILD_S = 1200.0
"""A build that takes longer is given up, s. It takes 90 s on two quiet cores."""
PACKAGE_S = 300.0
"""The same for the system's package, s."""
ASK_S = 10.0
"""A program that does not tell its version within this is taken for broken, s."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Engine:
    """A program that may be started."""

    name: str
    path: Path
    version: str
    origin: str
    """path, cache or package."""


@dataclass(frozen=True)
class Engines:
    """What the telephone line stands on."""

    server: Engine
    redis: Engine


def cache_folder(env: Mapping[str, str]) -> Path:
    """Where engines that we installed are kept."""
    base = env.get("XDG_CACHE_HOME", "")
    home = Path(env["HOME"]) if env.get("HOME") else Path.home()
    return (Path(base) if base else home / ".cache") / "triage-line" / "engines"


def find_server(env: Mapping[str, str]) -> Engine | None:
    """livekit-server in our version, from the PATH or the cache; None where there is none."""
    for program, origin in ((_on_path("livekit-server", env), "path"), (_built(env), "cache")):
        version = _version(program, r"livekit-server version v?(\d+\.\d+\.\d+)", env)
        if program is not None and version == LIVEKIT_SERVER:
            return Engine("livekit-server", program, version, origin)
    return None


def find_redis(env: Mapping[str, str]) -> Engine | None:
    """A Redis that will do, from the PATH or by way of the package's tools; None where there is none."""
    for program, origin in ((_on_path("redis-server", env), "path"), (_renamed(env), "package")):
        version = _version(program, r"Redis server v=(\d+\.\d+\.\d+)", env)
        if program is not None and version and REDIS_OLDEST <= _pair(version) < REDIS_TOO_NEW:
            return Engine("redis-server", program, version, origin)
    return None


def find(env: Mapping[str, str]) -> Engines:
    """Both engines, installing nothing.

    Raises:
        UsageError: one of them is not here.
    """
    server, redis = find_server(env), find_redis(env)
    missing = [name for name, engine in (("livekit-server", server), ("redis-server", redis)) if engine is None]
    if server is None or redis is None:
        raise UsageError(f"not installed: {' and '.join(missing)}; run `make line`")
    return Engines(server, redis)


def provide(env: Mapping[str, str], say: Say) -> Engines:
    """Both engines, installed first where they are not here. `say` hears what takes long, and why.

    Raises:
        UsageError: one of them is not here and cannot be installed; names it and the remedy.
    """
    redis = find_redis(env) or _install_redis(env, say)
    return Engines(find_server(env) or _build_server(env, say), redis)


# --- livekit-server


def _built(env: Mapping[str, str]) -> Path:
    return cache_folder(env) / f"livekit-server-{LIVEKIT_SERVER}" / "livekit-server"


def _build_server(env: Mapping[str, str], say: Say) -> Engine:
    what = f"livekit-server {LIVEKIT_SERVER}"
    remedy = f"put {what} on the PATH, or install Go 1.26 or newer"
    other = _version(_on_path("livekit-server", env), r"version v?(\S+)", env)
    seen = f" (the one on the PATH is {other})" if other else ""
    go = _on_path("go", env)
    if go is None:
        raise UsageError(f"{what} is not here{seen} and cannot be built, as go is missing; {remedy}")
    target = _built(env)
    with _alone(target.parent, what):
        if built := find_server(env):  # somebody else was building it
            return built
        say(f"building {what} with {go} into {target.parent}; one to five minutes, once")
        with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as made:
            log = target.parent / "build.log"
            command = [str(go), "install", "-trimpath", "-ldflags=-s -w", LIVEKIT_SERVER_SOURCE]
            ended = _run(command, {**env, "GOBIN": made, "CGO_ENABLED": "0"}, BUILD_S, log)
            if ended or not (Path(made) / "server").is_file():
                raise UsageError(
                    f"{what} could not be built: go install {ended or 'made no program'}, see {log};"
                    f" {remedy}, or let Go reach a module registry (GOPROXY)"
                )
            os.replace(Path(made) / "server", target)
    built = find_server(env)
    if built is None:
        raise UsageError(
            f"{what} was built but does not start: {target}; remove that folder and try again, or {remedy}"
        )
    return built


# --- Redis


def _renamed(env: Mapping[str, str]) -> Path | None:
    """The checking tool of the package, under the name that makes it a server."""
    tool, link = _on_path("redis-check-rdb", env), cache_folder(env) / "redis" / "redis-server"
    if tool is None:
        return None
    if not link.is_symlink() or link.readlink() != tool:
        try:
            link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            link.unlink(missing_ok=True)
            link.symlink_to(tool)
        except OSError as error:
            raise UsageError(f"{link.parent}: cannot be written ({error.strerror}); set XDG_CACHE_HOME") from error
    return link


def _install_redis(env: Mapping[str, str], say: Say) -> Engine:
    other = _version(_on_path("redis-server", env), r"v=(\S+)", env)
    oldest = ".".join(map(str, REDIS_OLDEST))
    what = f"Redis {oldest} or newer" + (f" (the one on the PATH is {other})" if other else "")
    remedy = "install the system's package redis-server, or put such a redis-server on the PATH"
    apt = _on_path("apt-get", env)
    if apt is None or os.geteuid() != 0:
        why = "there is no apt-get" if apt is None else "only root may install packages"
        raise UsageError(f"{what} is not here, and {why}; {remedy}")
    folder = cache_folder(env) / "redis"
    with _alone(folder, "Redis"):
        if found := find_redis(env):
            return found
        say("installing the system's package redis-tools (the server program, without a service)")
        quiet, log = {**env, "DEBIAN_FRONTEND": "noninteractive"}, folder / "install.log"
        _run([str(apt), "update", "-qq"], quiet, PACKAGE_S, log)
        ended = _run(
            [str(apt), "install", "-y", "-qq", "--no-install-recommends", "redis-tools"], quiet, PACKAGE_S, log
        )
    found = find_redis(env)
    if found is None:
        why = f"apt-get {ended}, see {log}" if ended else "the package redis-tools holds no such server"
        raise UsageError(f"{what} could not be installed: {why}; {remedy}")
    return found


# --- programs


def _on_path(name: str, env: Mapping[str, str]) -> Path | None:
    found = shutil.which(name, path=env.get("PATH", ""))
    return Path(found) if found else None


def _version(program: Path | None, pattern: str, env: Mapping[str, str]) -> str:
    """What a program says of itself; empty when it is missing, broken, or says nothing of the kind."""
    if program is None or not program.exists():
        return ""
    try:
        told = subprocess.run(
            [program, "--version"],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ASK_S,
            check=False,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(pattern, told.stdout + told.stderr)
    return match[1] if match else ""


def _pair(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _run(command: list[str], env: Mapping[str, str], limit_s: float, log: Path) -> str:
    """Run to the end, output into `log`. Empty when it went well, else how it ended."""
    try:
        with log.open("ab") as out:
            ended = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=limit_s, check=False
            )
    except subprocess.TimeoutExpired:
        return f"was given up after {limit_s:.0f} s"
    except OSError as error:
        return f"could not run ({error.strerror})"
    return "" if ended.returncode == 0 else f"ended with {ended.returncode}"


@contextmanager
def _alone(folder: Path, what: str) -> Iterator[None]:
    """Only one process at a time installs into `folder`; the others wait for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise UsageError(f"{what}: {folder} cannot be written ({error.strerror}); set XDG_CACHE_HOME") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
