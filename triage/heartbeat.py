"""The keeper's heartbeat: a small file, written anew after every round that reached its end, read by who watches."""

import json
import os
from pathlib import Path

from triage.clock import NS

BEATS_WITHIN_S = 6.0
"""A keeper whose heartbeat is older does not work, s. A locked store alone may take 5."""
BEAT = "keeper.beat"


def beat(folder: Path) -> None:
    """Say that this process works.

    Raises:
        OSError: it cannot be said.
    """
    (folder / BEAT).write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")


def stop(folder: Path) -> None:
    """Say that it works no longer. Never raises."""
    try:
        (folder / BEAT).unlink(missing_ok=True)
    except OSError:
        return


def beats(folder: Path, *, wall_ns: int) -> bool:
    """Whether a keeper works on this data folder now."""
    path = folder / BEAT
    try:
        pid = int(json.loads(path.read_text(encoding="utf-8"))["pid"])
        age_ns = wall_ns - path.stat().st_mtime_ns
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return -NS < age_ns < BEATS_WITHIN_S * NS
