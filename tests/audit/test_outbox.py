"""Promise: the summary of a call is owed from its first record on, whoever dies; and a call-back is never forgotten."""

from pathlib import Path

from audit.chain import callback_task
from audit.outbox import Outbox
from audit.records import Stage
from tests.audit.forge import WALL
from tests.audit.stores import CALLS, Setup

HOUR = 3_600_000_000_000


def test_a_job_exists_with_the_genesis_and_is_ready_with_the_last_record(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    outbox = Outbox(setup.store.inner)
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    assert outbox.take(at_ns=WALL, lease_ns=1) == []
    assert outbox.unfinished() == [CALLS[0]]
    call.finish(monotonic_ns=1, wall_ns=WALL + 5)
    (job,) = outbox.take(at_ns=WALL + 6, lease_ns=10)
    assert (job.call, job.kind, job.opened_ns, job.ready_ns, job.attempts) == (CALLS[0], "summary", WALL, WALL + 5, 0)
    assert outbox.take(at_ns=WALL + 7, lease_ns=10) == [], "somebody has it"
    (again,) = outbox.take(at_ns=WALL + 16, lease_ns=10)
    assert again.attempts == 1, "the lease ran out"
    outbox.failed(job.id, retry_ns=WALL + 100)
    assert outbox.take(at_ns=WALL + 99, lease_ns=10) == []
    assert len(outbox.take(at_ns=WALL + 100, lease_ns=10)) == 1
    outbox.done(job.id, at_ns=WALL + 101)
    assert outbox.take(at_ns=WALL + HOUR, lease_ns=10) == []
    assert outbox.unfinished() == [] == outbox.take_orphan(CALLS[0], at_ns=WALL + HOUR, lease_ns=10)
    setup.writer.close()


def test_an_orphans_job_is_taken_by_its_call_once_and_not_when_it_got_ready_after_all(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    calls = [setup.writer.open_call(name, monotonic_ns=0, wall_ns=WALL) for name in CALLS[:2]]
    outbox = Outbox(setup.store.inner)
    assert outbox.unfinished() == list(CALLS[:2])
    (job,) = outbox.take_orphan(CALLS[0], at_ns=WALL, lease_ns=10)
    assert (job.call, job.ready_ns) == (CALLS[0], None)
    assert outbox.take_orphan(CALLS[0], at_ns=WALL + 9, lease_ns=10) == [], "somebody has it"
    assert outbox.unfinished() == list(CALLS[:2]), "a lease ends nothing"
    outbox.done(job.id, at_ns=WALL + 9)
    calls[1].finish(monotonic_ns=1, wall_ns=WALL + 10)
    assert outbox.take_orphan(CALLS[1], at_ns=WALL + 11, lease_ns=10) == []
    assert outbox.unfinished() == []
    setup.writer.close()


def test_a_job_that_went_by_way_of_the_journal_is_owed_too(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    setup.store.error = OSError("down")
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    call.finish(monotonic_ns=1, wall_ns=WALL + 1)
    setup.store.error = None
    setup.writer.open_call(CALLS[1], monotonic_ns=0, wall_ns=WALL)
    assert [job.call for job in Outbox(setup.store.inner).take(at_ns=WALL + 2, lease_ns=1)] == [CALLS[0]]
    setup.writer.close()


def test_call_backs_come_most_urgent_first_until_done(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    outbox = Outbox(setup.store.inner)
    for name, due in ((CALLS[0], 900), (CALLS[1], 100)):
        call = setup.writer.open_call(name, monotonic_ns=0, wall_ns=WALL)
        task = callback_task(name, reason="urgent_hang_up", level="nurse_now", opened_ns=WALL, due_ns=WALL + due)
        call.append(Stage.HANDOFF, {"outcome": "hung_up"}, turn=1, monotonic_ns=1, wall_ns=WALL, also=[task, task])
    first, second = outbox.callbacks()
    assert [first.call, second.call] == [CALLS[1], CALLS[0]]
    assert (first.reason, first.level, first.due_ns, first.owner) == ("urgent_hang_up", "nurse_now", WALL + 100, None)
    outbox.claim_callback(first.id, owner="desk 2")
    assert outbox.callbacks()[0].owner == "desk 2"
    outbox.callback_done(first.id, at_ns=WALL + 50)
    assert [task.call for task in outbox.callbacks()] == [CALLS[0]]
    assert len(outbox.callbacks(open_only=False)) == 2
    setup.writer.close()
