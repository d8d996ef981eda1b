"""`python -m triage.up.scribe LOG ORDERS`: writes what one program says into its log, without numbers, names and secrets.

A process of its own, so that the program can go on speaking when the supervisor is killed: a call stands on it. It reads
the program's output as its standard input and ends when nobody can speak any more, not before: signals that ask it to
end are for its program. ORDERS is the number of a pipe that tells it, in JSON, `secrets`: what must never be written
(no command line shows that), and `resumed`: whether it begins where another scribe ended, perhaps within a line.
It loads next to nothing, as there is one for each program.
"""

import json
import os
import signal
import sys

from triage.up.scrubber import Scrubber

LOG_BYTES = 5_000_000
"""A log is put aside when it has grown to this; one older one is kept."""
CHUNK = 65536
"""Bytes read at once; also the longest line that is held together."""


class Log:
    """One program's log: only its owner may read it; put aside when it has grown."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle: int | None = None

    def write(self, line: str) -> None:
        """Add a line. A disk that is full or gone loses lines of the log, never the telephone line."""
        try:
            if self._handle is None or os.fstat(self._handle).st_size > LOG_BYTES:
                self._turn()
            if self._handle is not None:
                os.write(self._handle, line.encode() + b"\n")
        except OSError:
            pass

    def _turn(self) -> None:
        """Put aside what has grown, unless another scribe of the same log has done so, and open the log (anew)."""
        if self._handle is not None:
            grown, self._handle = self._handle, None
            try:
                if os.path.samestat(os.fstat(grown), os.stat(self._path)):
                    os.replace(self._path, f"{self._path}.1")
            finally:
                os.close(grown)
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def write_down(source: int, log: Log, scrubber: Scrubber, *, resumed: bool = False) -> None:
    """Everything that can be read, line by line, cleaned, into the log; returns at the end of it.

    `resumed`: nothing is written of the first line, as half a number or half a secret is not known for what it is.
    """

    def note(line: bytes) -> None:
        if said := scrubber.clean(line.decode("utf-8", "replace").strip()):
            log.write(said)

    rest, skipping = b"", resumed
    while chunk := os.read(source, CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines and skipping:  # the end of a line whose beginning is written already
            lines, skipping = lines[1:], False
        if len(rest) > CHUNK:
            lines += [] if skipping else [rest]
            rest, skipping = b"", True
        for line in lines:
            note(line)
    if not skipping:
        note(rest)


def main() -> None:
    """Be one program's scribe until it has said its last."""
    for order in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(order, signal.SIG_IGN)
    log, orders = sys.argv[1:]
    with os.fdopen(int(orders), "rb") as pipe:
        told = json.load(pipe)
    write_down(sys.stdin.fileno(), Log(log), Scrubber(told["secrets"]), resumed=told["resumed"])


if __name__ == "__main__":
    main()
