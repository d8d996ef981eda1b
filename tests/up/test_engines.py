"""Promise: engines are taken where they are, installed once where they are not, and otherwise one line says what to do."""

import os
import shutil
from pathlib import Path

import pytest

from triage.errors import UsageError
from triage.up import engines


class Machine:
    """A machine whose programs only claim to be what they are."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.env = {"PATH": str(self.programs), "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
        self.said: list[str] = []

    def give(self, name: str, script: str) -> Path:
        program = self.programs / name
        program.write_text(f"#!{shutil.which('sh')}\nPATH={os.environ['PATH']}\n{script}\n")
        program.chmod(0o755)
        return program

    def give_server(self, version: str = engines.LIVEKIT_SERVER) -> Path:
        return self.give("livekit-server", f"echo livekit-server version {version}")

    def give_redis(self, version: str = "7.0.15", name: str = "redis-server") -> Path:
        return self.give(name, f'[ "${{0##*/}}" = redis-server ] && echo "Redis server v={version} sha=0:0"; exit 0')

    def give_go(self, script: str) -> None:
        self.give("go", f'echo "$@" >> "{self.programs}/go.calls"; {script}')

    def go_calls(self) -> int:
        calls = self.programs / "go.calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    def provide(self) -> engines.Engines:
        return engines.provide(self.env, self.said.append)


MAKES_SERVER = (
    f'printf "#!/bin/sh\\necho livekit-server version {engines.LIVEKIT_SERVER}\\n" > "$GOBIN/server"; '
    'chmod 755 "$GOBIN/server"'
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_the_path_has_is_used_and_nothing_is_installed(machine: Machine) -> None:
    server, redis = machine.give_server(), machine.give_redis()
    found = machine.provide()
    assert (found.server.path, found.redis.path) == (server, redis)
    assert machine.said == []


def test_a_server_is_built_once_and_kept(machine: Machine) -> None:
    machine.give_redis()
    machine.give_go(MAKES_SERVER)
    first = machine.provide().server
    assert first.origin == "cache" and machine.go_calls() == 1 and "building" in machine.said[0]
    assert machine.provide().server == first
    assert machine.go_calls() == 1


def test_a_server_of_another_version_is_passed_over(machine: Machine) -> None:
    machine.give_server("1.13.11")
    machine.give_redis()
    machine.give_go(MAKES_SERVER)
    assert machine.provide().server.origin == "cache"


def test_the_build_is_the_pinned_version_without_c(machine: Machine) -> None:
    machine.give_redis()
    machine.give_go(f'echo "$CGO_ENABLED" > "{machine.programs}/cgo"; {MAKES_SERVER}')
    machine.provide()
    assert (machine.programs / "go.calls").read_text().endswith(f"/cmd/server@v{engines.LIVEKIT_SERVER}\n")
    assert (machine.programs / "cgo").read_text() == "0\n"


def refused(machine: Machine, *words: str) -> None:
    with pytest.raises(UsageError) as told:
        machine.provide()
    assert "\n" not in str(told.value)
    assert all(word in str(told.value) for word in words), str(told.value)


def test_without_go_the_sentence_says_which_version_and_what_to_do(machine: Machine) -> None:
    machine.give_redis()
    refused(machine, "livekit-server 1.13.5 is not here", "go is missing", "PATH")


def test_the_wrong_version_is_named_when_nothing_can_be_built(machine: Machine) -> None:
    machine.give_redis()
    machine.give_server("1.12.0")
    refused(machine, "the one on the PATH is 1.12.0")


def test_a_build_that_fails_leaves_its_log_and_no_program(machine: Machine) -> None:
    machine.give_redis()
    machine.give_go("echo registry says no >&2; exit 1")
    refused(machine, "go install ended with 1", "build.log", "GOPROXY")
    folder = engines.cache_folder(machine.env) / "livekit-server-1.13.5"
    assert "registry says no" in (folder / "build.log").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["build.log", "lock"]


def test_a_build_that_makes_no_program_is_refused(machine: Machine) -> None:
    machine.give_redis()
    machine.give_go("exit 0")
    refused(machine, "made no program")


def test_a_built_program_that_does_not_start_is_refused(machine: Machine) -> None:
    machine.give_redis()
    machine.give_go('printf "#!/bin/sh\\nexit 1\\n" > "$GOBIN/server"; chmod 755 "$GOBIN/server"')
    refused(machine, "does not start")


@pytest.mark.parametrize("version", ["6.2.6", "9.0.0"])
def test_a_redis_that_will_not_do_is_passed_over(version: str, machine: Machine) -> None:
    machine.give_redis(version)
    refused(machine, "Redis 7.0 or newer", f"the one on the PATH is {version}", "redis-server")


def test_the_packages_checking_tool_becomes_a_server(machine: Machine) -> None:
    machine.give_server()
    tool = machine.give_redis(name="redis-check-rdb")
    found = machine.provide().redis
    assert (found.origin, found.path.name, found.path.resolve()) == ("package", "redis-server", tool)


def test_root_installs_the_package_that_brings_no_service(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.give_server()
    tool = machine.give_redis(name="later")
    machine.give(
        "apt-get",
        f'echo "$@" >> "{machine.programs}/apt.calls"; case "$1" in install) cp {tool} {machine.programs}/redis-check-rdb;; esac',
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert machine.provide().redis.origin == "package"
    assert (machine.programs / "apt.calls").read_text().endswith("--no-install-recommends redis-tools\n")


def test_who_is_not_root_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.give_server()
    machine.give("apt-get", "exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused(machine, "only root may install packages", "redis-server")


def test_a_package_that_cannot_be_had_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.give_server()
    machine.give("apt-get", "exit 100")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    refused(machine, "apt-get ended with 100", "install.log")


def test_a_cache_that_cannot_be_written_is_named(machine: Machine, tmp_path: Path) -> None:
    machine.give_redis()
    machine.give_go(MAKES_SERVER)
    (tmp_path / "cache").write_text("a file where a folder should be")
    refused(machine, "cannot be written", "XDG_CACHE_HOME")


def test_finding_installs_nothing_and_names_all_that_is_missing(machine: Machine) -> None:
    machine.give_go(MAKES_SERVER)
    with pytest.raises(UsageError, match="not installed: livekit-server and redis-server; run `make line`"):
        engines.find(machine.env)
    assert machine.go_calls() == 0
