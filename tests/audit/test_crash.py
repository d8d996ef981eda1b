"""Promise: a process killed at any moment loses nothing that it was told is durable, with and without a working store."""

import subprocess
import sys
from pathlib import Path

import pytest

from audit.folder import AuditFolder
from audit.outbox import Outbox
from audit.reader import Reader
from audit.spool import join_spool
from audit.store import SqliteStore
from tests.audit.stores import CALLS

pytestmark = pytest.mark.realtime

CHILD = """
import sys
from pathlib import Path
from tests.audit.stores import CALLS, Setup, say, settled
setup = Setup(Path(sys.argv[1]))
call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=0)
settled(call.opened)
for turn in range(1, 100000):
    if turn == int(sys.argv[2]):
        setup.store.error = OSError("down")
    settled(say(call, turn))
    print(f"{call.segment} {call.sequence - 1}", flush=True)
"""


@pytest.mark.parametrize("fails_at", [0, 10], ids=["store works", "store fails after ten"])
@pytest.mark.parametrize("seen", [1, 25])
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, fails_at: int, seen: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), str(fails_at)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        acknowledged = [next(child.stdout) for _ in range(seen)]
        child.kill()
        acknowledged += child.stdout.readlines()
    told = {tuple(map(int, line.split())) for line in acknowledged if line.endswith("\n")}
    assert len(told) >= seen
    folder = AuditFolder(tmp_path)
    store = SqliteStore(folder.database)
    join_spool(store, folder.spool)
    reader = Reader(store, folder.keyring(), spool=folder.spool)
    proven = reader.verify(CALLS[0])
    assert proven.opened == proven.records >= len(told) + 1
    _, stored = reader.stored(CALLS[0])
    assert told <= {(item.segment, item.sequence) for item in stored}
    assert Outbox(store).unfinished() == [CALLS[0]], "the summary is still owed"
    store.close()
