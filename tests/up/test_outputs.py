"""Promise: no program is stopped by what it says: not by the end of its scribe, of the supervisor, of both, or of the disk."""

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from triage.up import outputs
from triage.up.outputs import LEAST_PIPE_BYTES, PIPE_BYTES, Output

MANY = 3 * PIPE_BYTES
"""Bytes; no pipe holds them."""
ON_COMMAND = """
import os, sys
for order in sys.stdin:
    os.write(1, eval(order))
"""
"""A program that says what it is told to say."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at /proc")


class Speaker:
    """A program, its output, and what became of it."""

    def __init__(self, process: Process, output: Output, written: "asyncio.Task[None]", log: Path) -> None:
        self.process, self.output, self.written, self.log = process, output, written, log

    async def say(self, what: str) -> None:
        """A Python expression for some bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n".encode())
        await self.process.stdin.drain()

    async def end(self) -> int:
        """Its exit code, once its last word is in the log."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(20):
            await self.written
            return await self.process.wait()

    async def until(self, true: Callable[[str], bool]) -> None:
        """Poll the log; nobody tells of it."""
        async with asyncio.timeout(20):
            while not true(self.log.read_text()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def scribe(self) -> int:
        """The scribe's process id."""
        found = subprocess.run(["pgrep", "-f", f"triage.up.scribe {self.log} "], capture_output=True, check=True)
        return int(found.stdout)


@asynccontextmanager
async def speaker(log: Path, said: list[str] | None = None) -> AsyncIterator[Speaker]:
    output = Output(log, ["a-secret-of-the-tests"], (said if said is not None else []).append)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", ON_COMMAND, stdin=-1, stdout=output.write, stderr=DEVNULL, pass_fds=(output.read,)
    )
    output.given()
    async with asyncio.TaskGroup() as tasks:
        made = Speaker(process, output, tasks.create_task(output.written_down()), log)
        try:
            yield made
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            made.written.cancel()


async def test_everything_is_in_the_log_when_it_has_been_written_down(tmp_path: Path) -> None:
    async with speaker(tmp_path / "log") as program:
        await program.say("b'from=4321\\n' + b'a-secret-of-the-tests\\n' * 2 + b'last words'")
        assert await program.end() == 0
        assert program.output.last_words() == "last words"
    assert (tmp_path / "log").read_text().splitlines() == ["from=[caller]", "[secret]", "[secret]", "last words"]


@pytest.mark.realtime
async def test_a_scribe_that_is_killed_is_followed_by_another_and_the_program_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    async with speaker(tmp_path / "log", said) as program:
        await program.say("b'first\\nbegun a-secret-'")
        await program.until(lambda text: "first" in text)
        os.kill(program.scribe(), signal.SIGKILL)
        async with asyncio.timeout(20):  # until then it may take a last piece with it
            while not said:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await program.say("b'of-the-tests\\n' + b'again\\n' * 50_000 + b'last\\n'")
        await program.until(lambda text: text.endswith("last\n"))
        assert await program.end() == 0
    text = (tmp_path / "log").read_text()
    assert text.count("again") == 50_000 and "of-the-tests" not in text
    assert len(said) == 1 and said[0].endswith("ended too early; another one goes on in 0.0 s")


async def test_a_program_says_what_it_likes_while_no_scribe_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "_LOOK_S", 0.02)
    python, all_said = sys.executable, tmp_path / "all_said"
    async with speaker(tmp_path / "log") as program:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        await program.say(f"b'lost\\n' * {MANY // 5}")
        await program.say(f"open({str(all_said)!r}, 'w').close() or b'x'")
        async with asyncio.timeout(20):
            while not all_said.exists():  # noqa: ASYNC110 nobody tells of it
                await asyncio.sleep(0.02)
        assert program.log.read_text() == ""
        monkeypatch.setattr(sys, "executable", python)
        await program.say("b'\\nheard\\n'")
        await program.until(lambda text: "heard" in text)
        assert await program.end() == 0


async def test_with_supervisor_and_scribe_gone_the_program_does_not_break(tmp_path: Path) -> None:
    output = Output(tmp_path / "log", [])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", ON_COMMAND, stdin=-1, stdout=output.write, pass_fds=(output.read,)
    )
    for end in (output.read, output.write):
        os.close(end)
    assert process.stdin is not None
    process.stdin.write(b"b'nobody hears this'\n" * 100)
    process.stdin.close()
    async with asyncio.timeout(20):
        assert await process.wait() == 0


async def test_last_words_are_of_this_start_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("words of the start before\n")
    output = Output(log, [])
    assert output.last_words() == ""
    with log.open("a") as file:
        file.write("x" * 2 * outputs.TAIL_BYTES + "\nnew words\n\n")
    assert output.last_words() == "new words"
    log.rename(tmp_path / "log.1")
    assert output.last_words() == ""
    log.write_text("after it was put aside\n")
    assert output.last_words() == "after it was put aside"
    for end in (output.read, output.write):
        os.close(end)


async def test_no_end_of_a_pipe_is_left_open(tmp_path: Path) -> None:
    async with speaker(tmp_path / "warm") as program:
        await program.end()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        async with speaker(tmp_path / "log") as program:
            await program.say("b'x\\n'")
            await program.end()
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_line_that_ends_ends_a_scribe_whose_pipe_somebody_still_holds(tmp_path: Path) -> None:
    async with speaker(tmp_path / "log") as program:
        await program.say("b'x\\n'")
        await program.until(bool)
        scribe = program.scribe()
        program.written.cancel()
        await asyncio.wait((program.written,))
        with pytest.raises(ProcessLookupError):
            os.kill(scribe, 0)


def test_where_the_system_grants_no_room_there_is_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    ends = os.pipe()
    monkeypatch.setattr("fcntl.fcntl", refuse)
    assert outputs._widened(ends[1]) == LEAST_PIPE_BYTES
    for end in ends:
        os.close(end)
