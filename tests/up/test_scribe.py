"""Promise: what a program says is written down cleaned, by a small process that nothing but its program's end ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from triage.up import scribe
from triage.up.scribe import Log, write_down
from triage.up.scrubber import LONGEST_LINE, Scrubber

ROOT = Path(__file__).resolve().parents[2]
SECRET = "k3TxQm-notreal-Wd83"


def written(path: Path, said: bytes, *, resumed: bool = False) -> list[str]:
    """What is in the log of a program that said this."""
    source = path.with_name("said")
    source.write_bytes(said)
    with source.open("rb") as opened:
        write_down(opened.fileno(), Log(str(path)), Scrubber([SECRET]), resumed=resumed)
    return path.read_text().splitlines()


def test_lines_are_cleaned_and_the_last_one_needs_no_end(tmp_path: Path) -> None:
    said = f"from=4321 key {SECRET}\n\n  \nrang +15557654321".encode()
    assert written(tmp_path / "log", said) == ["from=[caller] key [secret]", "rang [number]"]
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("length", [scribe.CHUNK - 1, scribe.CHUNK, 3 * scribe.CHUNK + 5])
def test_a_line_without_end_is_cut_and_none_of_its_rest_is_taken_for_a_line(length: int, tmp_path: Path) -> None:
    lines = written(tmp_path / "log", b"x" * length + b"15557654321\nafter\n")
    assert [len(line) for line in lines] == [LONGEST_LINE, 5] and lines[-1] == "after"


def test_a_scribe_that_goes_on_for_another_writes_nothing_of_a_line_that_was_begun(tmp_path: Path) -> None:
    half = SECRET[len(SECRET) // 2 :].encode()
    assert written(tmp_path / "log", half + b" 54321\nwhole\n", resumed=True) == ["whole"]
    assert written(tmp_path / "log", half, resumed=True) == ["whole"], "it never saw the end of that line"


def test_a_log_that_has_grown_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribe, "LOG_BYTES", 200)
    lines = written(tmp_path / "log", b"".join(b"line %d\n" % i for i in range(60)))
    older = (tmp_path / "log.1").read_text().splitlines()
    assert lines[-1] == "line 59" and older[-1] == f"line {int(lines[0].split()[1]) - 1}"
    assert max((tmp_path / name).stat().st_size for name in ("log", "log.1")) <= 220


def test_two_scribes_of_one_log_put_it_aside_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is there while children of a program that died still speak."""
    monkeypatch.setattr(scribe, "LOG_BYTES", 100)
    path = tmp_path / "log"
    old, new = Log(str(path)), Log(str(path))
    for log in (old, new):
        log.write("x" * 60)
    new.write("new")
    old.write("old")
    assert path.read_text() == "new\nold\n" and (tmp_path / "log.1").read_text() == 2 * ("x" * 60 + "\n")


def test_a_log_whose_folder_is_not_there_loses_lines_and_is_written_when_it_is(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "logs" / "log"))
    log.write("lost")
    (tmp_path / "logs").mkdir()
    log.write("kept")
    assert (tmp_path / "logs" / "log").read_text() == "kept\n"


# --- the process


class Scribe:
    """A scribe at work, and the end of its pipe at which a program speaks."""

    def __init__(self, log: Path) -> None:
        orders, ours = os.pipe()
        with os.fdopen(ours, "w") as pipe:
            json.dump({"secrets": [SECRET], "resumed": False}, pipe)
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-P", "-m", "triage.up.scribe", str(log), str(orders)],
            env={"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(orders,),
            start_new_session=True,
        )
        os.close(orders)

    def say(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words.encode())
        self.process.stdin.flush()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        self.process.kill()
        self.process.wait()

    def ended(self) -> tuple[int, bytes]:
        """Its exit code and what it said itself, once its program has ended."""
        said, _ = self.process.communicate(timeout=20)
        return self.process.returncode, said


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[Scribe]:
    with closing(Scribe(tmp_path / "log")) as made:
        yield made


def until_written(log: Path, words: str) -> None:
    """A pipe cannot tell when its reader has written."""
    for _ in range(2000):
        if log.exists() and words in log.read_text():
            return
        subprocess.run(["sleep", "0.01"], check=True)
    pytest.fail(f"{words} was not written")


def test_only_the_end_of_its_program_ends_it(at_work: Scribe, tmp_path: Path) -> None:
    at_work.say("first\n")
    until_written(tmp_path / "log", "first")
    for order in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        at_work.process.send_signal(order)
    at_work.say("second")
    assert at_work.ended() == (0, b"")
    assert (tmp_path / "log").read_text() == "first\nsecond\n"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="/proc shows it here only")
def test_it_shows_no_secret_and_is_small(at_work: Scribe, tmp_path: Path) -> None:
    at_work.say(f"{SECRET} 1555-765-4321\n")
    until_written(tmp_path / "log", "[secret] [number]")
    place = Path(f"/proc/{at_work.process.pid}")
    shown = (place / "cmdline").read_text() + (place / "environ").read_text()
    assert SECRET not in shown and "triage.up.scribe" in shown
    held_kb = int((place / "status").read_text().partition("VmRSS:")[2].split()[0])
    assert held_kb < 20_000


def test_a_full_disk_loses_lines_and_stops_nobody(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "log").symlink_to("/dev/full")
    with closing(Scribe(tmp_path / "log")) as made:
        made.say("a line that is lost\n" * 20_000)
        assert made.ended() == (0, b"")


def test_it_loads_next_to_nothing() -> None:
    code = "import sys, triage.up.scribe; print([name for name in ('asyncio', 'pathlib', 'logging', 'typing') if name in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-S", "-P", "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "[]\n"
