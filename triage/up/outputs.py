"""What a program says, from its start to its end: a pipe, a scribe at the other end of it, a log, the last words.

Nobody may be stopped by what they say, nor by who listens:

1. A scribe (`triage.up.scribe`) is a process of its own. When the supervisor is killed it goes on, and ends after its
   program.
2. We keep the reading end as well: when a scribe ends before its program another one goes on at the same place. While
   none can be had we read in its stead, once the pipe is half full, and throw away.
3. The program holds the reading end of its own output too, without using it: with supervisor and scribe both gone it
   does not break with its next word, and has a pipe of `PIPE_BYTES` to fill before it has to wait.
"""

import asyncio
import fcntl
import json
import os
import select
import struct
import sys
import termios
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import triage

PIPE_BYTES = 1 << 20
"""What may wait to be read, where the system grants it."""
LEAST_PIPE_BYTES = 4096
"""What it grants in any case."""
NEXT_SCRIBE_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Before the next scribe, s: after the first that ended early, after the second ...; the last one again and again."""
TAIL_BYTES = 8192
"""Last words are looked for in this much of a log."""
STEADY_S = 60.0
"""A scribe that lived this long is no longer counted with those that ended early, s."""
_LOOK_S = 0.25
_ROOT = Path(triage.__file__).resolve().parents[1]


class Output:
    """The output of one program that is about to be started."""

    def __init__(self, log: Path, secrets: Iterable[str], say: Callable[[str], None] = lambda _: None) -> None:
        """`say` hears of a scribe that ended early. Raises OSError: no pipe is to be had."""
        self._log, self._secrets, self._say = log, list(secrets), say
        self.read, self.write = os.pipe()
        """Both ends are for the program; `given` closes ours of the writing one."""
        self.attended = asyncio.Event()
        """A scribe was started; a program that is started after it can lose us at any moment."""
        self._room = _widened(self.write)
        with suppress(OSError):  # it is there from the start, also when nothing is ever said
            os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._before = _place(log)

    def given(self) -> None:
        """The program has it, or could not be started: whoever reads shall see its end."""
        os.close(self.write)

    async def written_down(self) -> None:
        """Until everything is in the log, that is until the program, and whoever it left its output to, has ended."""
        loop, early, resumed = asyncio.get_running_loop(), 0, False
        began = loop.time()
        try:
            while True:
                scribe = await self._scribe(resumed)
                self.attended.set()
                if scribe is not None and await _read_to_its_end(scribe):
                    return
                if self._over():
                    return
                early, resumed = 0 if loop.time() - began > STEADY_S else early, True
                pause_s = NEXT_SCRIBE_S[min(early, len(NEXT_SCRIBE_S) - 1)]
                early += 1
                self._say(f"what writes {self._log} ended too early; another one goes on in {pause_s:.1f} s")
                for _ in range(round(pause_s / _LOOK_S)):
                    self._relieve()
                    await asyncio.sleep(_LOOK_S)
                began = loop.time()
        finally:
            os.close(self.read)

    def last_words(self) -> str:
        """The last line of the log, if it was written since this program was started; empty otherwise."""
        try:
            with self._log.open("rb") as log:
                inode, size = _place(self._log)
                begin = self._before[1] if inode == self._before[0] else 0
                log.seek(max(begin, size - TAIL_BYTES))
                lines = log.read(TAIL_BYTES).decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return next((line for line in reversed(lines) if line.strip()), "")

    async def _scribe(self, resumed: bool) -> asyncio.subprocess.Process | None:
        """A scribe that was just started; None where none can be had."""
        try:
            orders, ours = os.pipe()
        except OSError:
            return None
        try:
            with os.fdopen(ours, "w") as pipe:
                json.dump({"secrets": self._secrets, "resumed": resumed}, pipe)
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-S", "-P", "-m", "triage.up.scribe", str(self._log), str(orders)),
                env={"PYTHONPATH": str(_ROOT)},
                stdin=self.read,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(orders,),
                start_new_session=True,  # Ctrl-C at the terminal is for others
            )
        except OSError:
            return None
        finally:
            os.close(orders)

    def _over(self) -> bool:
        """Nobody can say anything any more, and all that was said has been read."""
        look = select.poll()
        look.register(self.read, select.POLLIN)
        return any(seen & select.POLLHUP for _, seen in look.poll(0)) and not self._waiting()

    def _waiting(self) -> int:
        """Bytes in the pipe."""
        found: int = struct.unpack("i", fcntl.ioctl(self.read, termios.FIONREAD, bytes(4)))[0]
        return found

    def _relieve(self) -> None:
        """Rather lose what a program said than let it wait."""
        if (waiting := self._waiting()) > self._room // 2:
            os.read(self.read, waiting)


async def _read_to_its_end(scribe: asyncio.subprocess.Process) -> bool:
    """A scribe's life; whether it ended as it should. Whoever gives up waiting ends it."""
    try:
        return await scribe.wait() == 0
    finally:
        if scribe.returncode is None:
            scribe.kill()
            await scribe.wait()


def _widened(pipe: int) -> int:
    """Make room in it; gives how much there is, bytes."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (AttributeError, OSError):  # not Linux; too many pipes of this size
        pass
    try:
        return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    except (AttributeError, OSError):
        return LEAST_PIPE_BYTES


def _place(log: Path) -> tuple[int, int]:
    """Which file it is, and its length, bytes."""
    try:
        found = log.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_size
