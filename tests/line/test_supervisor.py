"""Promise: the line's programs start in order, are started again when they end, and never outlive their supervisor."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.line.conftest import variables
from triage.config import load
from triage.errors import UsageError
from triage.up import engines, programs, supervisor
from triage.up.line_files import Access, Line, Ports
from triage.up.supervisor import LineFailed, Program, State, Supervisor

WAITS = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


@pytest.fixture
def line(tmp_path: Path) -> Line:
    (tmp_path / "logs").mkdir()
    ports = Ports(redis=1, server=2, media=3, sip=4, worker=5, rtp_first=6, rtp_count=8)
    return Line(tmp_path, ports, Access("key", "api-secret-for-tests", "redis-password-for-tests"))


async def yes() -> bool:
    return True


async def nothing() -> None:
    pass


def program(script: str, name: str = "one", *, probe: Callable[[], Awaitable[bool]] = yes, **more: Any) -> Program:
    argv = ("/bin/sh", "-c", script)
    return Program(name, argv, {"PATH": os.environ["PATH"]}, probe, "nowhere", **more)


def supervise(line: Line, *programs: Program, after_engines: Callable[[], Awaitable[None]] = nothing) -> Supervisor:
    return Supervisor(line, programs, after_engines=after_engines)


async def until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    """Poll what other processes do; there is nothing to be told by."""
    async with asyncio.timeout(15):
        while True:
            seen = true()
            if seen if isinstance(seen, bool) else await seen:
                return
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "SECOND_TERM_S", 0.3)
    monkeypatch.setattr(supervisor, "PROBE_EVERY_S", 0.1)


async def test_each_starts_when_the_one_before_answers_and_they_end_in_reverse(line: Line, tmp_path: Path) -> None:
    story = tmp_path / "story"

    def teller(name: str) -> Program:
        script = f"trap 'echo -{name} >> {story}; exit 0' TERM; echo +{name} >> {story}; while :; do sleep 0.05; done"

        async def told() -> bool:
            return story.exists() and f"+{name}" in story.read_text()

        return program(script, name, probe=told)

    async with supervise(line, teller("a"), teller("b"), teller("c")).running():
        assert story.read_text().split() == ["+a", "+b", "+c"]
    assert story.read_text().split() == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_provisioning_comes_after_the_engines_and_before_the_rest(line: Line) -> None:
    states: list[list[State]] = []

    async def provide() -> None:
        states.append([health.state for health in watched.health.values()])

    watched = supervise(line, program(WAITS, "engine", engine=True), program(WAITS, "service"), after_engines=provide)
    async with watched.running():
        assert states == [[State.UP, State.WAITING]]


async def test_a_program_that_will_not_start_is_named_with_its_last_words_cleaned(line: Line) -> None:
    speaks = "echo no luck with +15557654321 and api-secret-for-tests; exit 3"

    async def no() -> bool:
        return False

    before = _running()
    with pytest.raises(LineFailed) as told:
        async with supervise(line, program(WAITS, "first"), program(speaks, "second", probe=no)).running():
            pytest.fail("it is not up")
    assert "second ended with 3; it said: no luck with [number] and [secret]" in str(told.value)
    assert _running() <= before


def _running() -> set[int]:
    return {p.pid for p in psutil.Process().children(recursive=True) if not _dead(p.pid)}


async def test_a_program_that_never_answers_is_given_up(line: Line) -> None:
    async def no() -> bool:
        return False

    with pytest.raises(LineFailed, match="one did not answer within 0 s"):
        async with supervise(line, program(WAITS, probe=no, up_within_s=0.2)).running():
            pytest.fail("it is not up")


async def test_a_program_that_is_not_there_is_named(line: Line) -> None:
    missing = Program("ghost", ("/nowhere/ghost",), {}, yes, "nowhere")
    with pytest.raises(LineFailed, match="ghost cannot be started: /nowhere/ghost"):
        async with supervise(line, missing).running():
            pytest.fail("it is not up")


async def test_provisioning_that_is_refused_ends_the_start(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PROVISION_TRIES", 3)
    tries = []

    async def refuse() -> None:
        tries.append(1)
        raise UsageError("livekit-server refuses")

    with pytest.raises(UsageError, match="livekit-server refuses"):
        async with supervise(line, program(WAITS, engine=True), after_engines=refuse).running():
            pytest.fail("it is not up")
    assert len(tries) == 3


async def test_a_program_that_ends_is_started_again_and_an_engine_provisioned_again(line: Line) -> None:
    provisioned = []

    async def provide() -> None:
        provisioned.append(1)

    watched = supervise(line, program(WAITS, engine=True), after_engines=provide)
    async with watched.running():
        health = watched.health["one"]
        first = health.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(provisioned) == 2)
        assert health.pid not in (None, first) and (health.restarts, health.state) == (1, State.UP)


async def test_a_program_that_keeps_ending_is_tried_ever_more_slowly_and_the_others_stay(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.04)
    told: list[str] = []
    flighty = program("sleep 0.05; exit 7", "flighty")
    watched = Supervisor(line, (program(WAITS, "steady"), flighty), after_engines=nothing, say=told.append)
    async with watched.running():
        steady = watched.health["steady"].pid
        await until(lambda: watched.health["flighty"].restarts >= 5)
        assert (watched.health["steady"].pid, watched.health["steady"].restarts) == (steady, 0)
    pauses = [words.rpartition("in ")[2] for words in told]
    assert pauses[:2] == ["0.0 s", "0.0 s"] and told[0].startswith("flighty ended with 7; see ")
    assert {health.state for health in watched.health.values()} == {State.ENDED}


async def test_a_program_that_comes_back_deaf_is_ended_and_tried_again(line: Line) -> None:
    deaf = [False]

    async def probe() -> bool:
        return not deaf[0]

    told: list[str] = []
    watched = Supervisor(line, (program(WAITS, probe=probe, up_within_s=0.1),), after_engines=nothing, say=told.append)
    async with watched.running():
        health = watched.health["one"]
        before = _running()
        deaf[0] = True
        assert health.pid is not None
        os.kill(health.pid, signal.SIGKILL)
        await until(lambda: any("did not answer" in words for words in told))
        deaf[0] = False
        await until(lambda: health.state is State.UP)
        await until(lambda: len(_running()) == len(before))


async def test_provisioning_that_fails_later_is_told_and_tried_until_it_works(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "PROVISION_TRIES", 2)
    told: list[str] = []
    answers = iter([True, *[False] * 5, True])
    done: list[bool] = []

    async def provide() -> None:
        done.append(next(answers))
        if not done[-1]:
            raise UsageError("livekit-server on port 2 does not answer")

    watched = Supervisor(line, (program(WAITS, engine=True),), after_engines=provide, say=told.append)
    async with watched.running():
        pid = watched.health["one"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: len(done) == 7)
    assert done[-1] and "not provisioned, no call can come in: livekit-server on port 2 does not answer" in told


async def test_a_program_that_stops_answering_shows_as_unwell_and_is_left_alone(line: Line) -> None:
    well = [True]

    async def probe() -> bool:
        return well[0]

    watched = supervise(line, program(WAITS, probe=probe))
    async with watched.running():
        health = watched.health["one"]
        before, well[0] = health.pid, False
        await until(lambda: health.state is State.UNWELL)
        well[0] = True
        await until(lambda: health.state is State.UP)
        assert health.pid == before


async def test_who_misses_the_first_order_to_end_gets_a_second(line: Line, tmp_path: Path) -> None:
    orders = tmp_path / "orders"
    deaf = f"trap 'echo x >> {orders}; [ $(wc -l < {orders}) -ge 2 ] && exit 0' TERM; while :; do sleep 0.02; done"
    async with supervise(line, program(f"touch {orders}; {deaf}", grace_s=0.3)).running():
        await asyncio.sleep(0.1)
    assert orders.read_text().split() == ["x", "x"]


async def test_who_will_not_end_is_killed_with_its_children(line: Line, tmp_path: Path) -> None:
    child = tmp_path / "child"
    stubborn = (
        f"trap '' TERM; (trap '' TERM; while :; do sleep 0.05; done) & echo $! > {child}; while :; do sleep 0.05; done"
    )
    async with supervise(line, program(stubborn, grace_s=0.1)).running():
        await until(lambda: child.exists() and child.read_text() != "")
    await until(lambda: not psutil.pid_exists(int(child.read_text())) or _dead(int(child.read_text())))


async def test_children_of_a_program_that_died_end_with_the_line(line: Line, tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"(while :; do sleep 0.05; done) & [ -e {child} ] || echo $! > {child}; {WAITS}"
    watched = supervise(line, program(script))
    async with watched.running():
        await until(lambda: child.exists() and child.read_text() != "")
        health = watched.health["one"]
        assert health.pid is not None
        os.kill(health.pid, signal.SIGKILL)
        await until(lambda: health.restarts == 1 and health.state is State.UP)
        assert not _dead(int(child.read_text())), "it may carry a call"
    await until(lambda: _dead(int(child.read_text())))


def _dead(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_whoever_is_in_a_hurry_does_not_wait_for_calls_to_finish(line: Line) -> None:
    watched, loop = supervise(line, program("trap '' TERM; while :; do sleep 0.05; done", grace_s=60.0)), None
    loop = asyncio.get_running_loop()
    async with watched.running():
        began = loop.time()
        loop.call_later(0.2, watched.hurry)
    assert watched.stopping and loop.time() - began < 5


async def test_what_a_program_says_reaches_its_log_cleaned_and_cut(line: Line) -> None:
    says = "echo from=4321; printf 'x%.0s' $(seq 70000); printf '15557654321\\nafter\\n'; " + WAITS
    log = line.logs / "one.log"
    async with supervise(line, program(says)).running():
        await until(lambda: log.exists() and "after" in log.read_text())
    lines = log.read_text().splitlines()
    assert lines[0] == "from=[caller]" and lines[-1] == "after"
    assert max(map(len, lines)) <= 4000 and "4321" not in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


async def test_the_scribe_of_a_program_ends_with_it(line: Line) -> None:
    watched = supervise(line, program(WAITS))
    async with watched.running():
        before = _running()
        pid = watched.health["one"].pid
        assert pid is not None and len(before) >= 2
        os.kill(pid, signal.SIGKILL)
        await until(lambda: watched.health["one"].restarts == 1 and watched.health["one"].state is State.UP)
        await until(lambda: len(_running()) == len(before) and not before & _running())
    assert not _running() & before


async def test_a_folder_that_cannot_be_written_any_more_ends_no_line(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    told: list[str] = []
    watched = Supervisor(line, (program(WAITS),), after_engines=nothing, say=told.append)
    async with watched.running():
        monkeypatch.setattr(supervisor, "remember", full)
        health = watched.health["one"]
        assert health.pid is not None
        os.kill(health.pid, signal.SIGKILL)
        await until(lambda: health.restarts == 1 and health.state is State.UP)
        pid = health.pid
    assert _dead(pid)
    assert any("No space left on device" in words for words in told)


# --- one supervisor


def test_only_one_supervisor_has_a_folder(tmp_path: Path) -> None:
    settings = load(env=variables(tmp_path))
    with programs.reserved(settings), pytest.raises(UsageError, match="is up on"), programs.reserved(settings):
        pytest.fail("there are two")
    with programs.reserved(settings):
        pass


# --- the real engines


async def test_redis_and_the_server_come_back_and_are_provisioned_again(
    installed: engines.Engines, tmp_path: Path
) -> None:
    from triage.up.provision import missing

    settings = load(env=variables(tmp_path))
    with programs.reserved(settings) as line:
        made = programs.supervisor(settings, line, installed, env=os.environ, only_engines=True)
        async with made.running():
            for name in ("redis", "livekit-server"):
                health = made.health[name]
                assert health.pid is not None
                os.kill(health.pid, signal.SIGKILL)
                await until(lambda health=health: health.restarts == 1 and health.state is State.UP)  # type: ignore[misc]  # bound now
                await until(lambda: _nothing_lacks(missing(settings, line)))


async def _nothing_lacks(lacking: Awaitable[tuple[str, ...]]) -> bool:
    try:
        return not await lacking
    except UsageError:
        return False


def test_livekits_own_sip_service_must_be_on_the_path(installed: engines.Engines, tmp_path: Path) -> None:
    settings = load(env={**variables(tmp_path), "TRIAGE_LINE_SIP": "livekit-sip"})
    with programs.reserved(settings) as line:
        with pytest.raises(UsageError, match=r"livekit-sip .* is not on the PATH"):
            programs.supervisor(settings, line, installed, env={"PATH": str(tmp_path)})
        (tmp_path / "livekit-sip").write_text("#!/bin/sh\n")
        (tmp_path / "livekit-sip").chmod(0o755)
        program = programs.sip_program(settings, line, {"PATH": str(tmp_path), "LIVEKIT_API_KEY": "x"}, None)
        assert program.argv == (str(tmp_path / "livekit-sip"), "--config", str(line.folder / "sip.yaml"))
        assert set(program.env) == {"PATH"}


def test_our_own_programs_get_the_same_settings_and_nothing_of_livekits_environment(tmp_path: Path) -> None:
    settings = load(env=variables(tmp_path))
    assert programs.ours("worker", settings, Path("t.toml"))[1:] == (
        "-P",
        "-m",
        "triage",
        "--config",
        "t.toml",
        "--data",
        str(tmp_path),
        "worker",
    )
    env = {"LIVEKIT_OBSERVABILITY_URL": "x", "OTEL_EXPORTER_OTLP_ENDPOINT": "x", "TRIAGE_REGION": "uk", "PATH": "/bin"}
    assert programs.own_environment(env) == {"TRIAGE_REGION": "uk", "PATH": "/bin"}
