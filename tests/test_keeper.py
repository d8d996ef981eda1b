"""Promise P7: a written summary exists soon after hang-up; a job that fails is given back and the next round finishes it."""

import json
from contextlib import closing

import pytest

from audit.errors import StoreFailed
from audit.folder import AuditFolder
from audit.outbox import Outbox
from audit.store import SqliteStore
from audit.writer import AuditWriter
from tests.calls import CHEST, Call, Living, Rung, leaves, says
from triage.demo.patient import Cue
from triage.keeper import LEASE_NS, RETRY_NS, Keeper
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.summary import Summary, SummarySource, summarise

SILENT = {"nurse": NursePhone(Behaviour.SILENT)}
HOUR = 3_600 * 1_000_000_000


class Desk:
    """A keeper whose wall clock the test turns."""

    def __init__(self, call: Rung) -> None:
        call.settle()
        self.call = call
        self.wall_ns = call.living.clock.wall_ns() + HOUR
        self.writer: AuditWriter = call.audit.open_writer("keeper", inline=True)
        self.keeper = Keeper(call.audit, self.writer, now_ns=lambda: 1, wall_ns=lambda: self.wall_ns)

    def round(self, later_ns: int = 0) -> int:
        """One round; how many summaries it wrote."""
        self.wall_ns += later_ns
        return len(self.keeper.work())


@pytest.fixture
def call() -> Rung:
    return Call(script=[says(CHEST, Cue.AT, 1.0), leaves(12)], phones=SILENT).ring()


def test_the_summary_is_the_last_segment_and_closes_the_chain(call: Rung) -> None:
    desk = Desk(call)
    assert desk.round() == 1
    assert call.verified().closed and call.verified().segments == 2
    (summary,) = call.payloads("summary")
    assert any("pain in my chest" in statement["text"] for statement in summary["statements"])


def test_the_summary_lies_sealed_in_the_chain_and_nowhere_else(call: Rung) -> None:
    desk = Desk(call)
    assert desk.round() == 1
    written = {path.relative_to(call.audit.root).parts[0] for path in call.audit.root.rglob("*") if path.is_file()}
    assert {name for name in written if not name.startswith("audit.db")} <= {"keys", "packets", "spool"}
    assert b"pain in my chest" not in call.bytes_on_disk() and b"Situation" not in call.bytes_on_disk()


def test_a_call_is_summarised_once(call: Rung) -> None:
    desk = Desk(call)
    assert [desk.round(), desk.round(), desk.round(LEASE_NS * 2)] == [1, 0, 0]
    assert len(call.payloads("summary")) == 1


def test_a_call_that_still_lives_is_left_alone() -> None:
    call = Call(script=[leaves(1)])
    looked: list[int] = []

    async def story(living: Living) -> None:
        keeper = Keeper(
            AuditFolder(call.folder), living.writer, now_ns=living.clock.now_ns, wall_ns=living.clock.wall_ns
        )
        looked.append(len(keeper.work()) + keeper.failed)

    assert call.ring(story).finished.outcome == "hung_up"
    assert looked == [0]


def test_a_job_that_fails_is_given_back_and_the_next_round_finishes_it(call: Rung) -> None:
    keys, desk = call.audit.keys, Desk(call)
    private = (keys / "reader.private").read_bytes()
    (keys / "reader.private").write_bytes(b"too short")
    assert desk.round() == 0 and desk.keeper.failed == 1
    assert desk.round() == 0 and desk.keeper.failed == 0, "not at once again"
    (keys / "reader.private").write_bytes(private)
    assert desk.round(RETRY_NS) == 1 and desk.keeper.failed == 0
    assert call.verified().closed and len(call.payloads("summary")) == 1


def test_a_summary_that_cannot_be_sealed_adds_nothing_to_the_chain(call: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can fail fails before the segment is opened: a job that is tried again and again makes no chain grow."""
    desk = Desk(call)
    with monkeypatch.context() as broken:
        broken.setattr(Summary, "payload", lambda _: {"v": 1.5})
        rounds = [(desk.round(RETRY_NS), desk.keeper.failed) for _ in range(4)]
    assert rounds == [(0, 1)] * 4
    assert call.verified().segments == 1
    assert desk.round(RETRY_NS) == 1
    assert call.verified().segments == 2 and call.verified().closed


def test_a_call_whose_seal_is_broken_holds_up_no_other(call: Rung) -> None:
    other = Call(
        script=[says(CHEST, Cue.AT, 1.0), leaves(9)], phones=SILENT, folder=call.audit.root, writer="other"
    ).ring()
    call.settle()
    other.settle()
    with closing(SqliteStore(call.audit.database)) as store, store.connection() as connection:
        connection.execute(
            "UPDATE record SET sealed = zeroblob(64) WHERE call = ? AND sequence = 4", (call.finished.call_id,)
        )
        connection.commit()
    desk = Desk(other)
    assert desk.round() == 1 and desk.keeper.failed == 1
    assert other.verified().closed
    with closing(SqliteStore(call.audit.database)) as store:
        state = store.chain_state(call.finished.call_id)
    assert state is not None and not state.closed and len(state.heads) == 1


def test_a_record_that_no_summary_can_be_made_of_holds_up_no_other(call: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write the store can seal anything; a summary that trips over it must not take the keeper down."""
    other = Call(script=[leaves(1)], folder=call.audit.root, writer="other").ring()
    desk = Desk(other)
    call.settle()

    def trips(source: SummarySource) -> Summary:
        if source.call_id == call.finished.call_id:
            raise TypeError("words of a caller")
        return summarise(source)

    monkeypatch.setattr("triage.keeper.summarise", trips)
    assert desk.round() == 1 and desk.keeper.failed == 1
    assert desk.keeper.troubles == {call.finished.call_id: "TypeError"}
    assert other.verified().closed and not call.verified().closed


def test_a_keeper_that_dies_before_the_segment_leaves_the_job_to_the_next(
    call: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(call)
    real = desk.writer.open_summary

    def dies(*arguments: object, **named: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(desk.writer, "open_summary", dies)
    with pytest.raises(KeyboardInterrupt):
        desk.round()
    monkeypatch.setattr(desk.writer, "open_summary", real)
    assert desk.round() == 0, "its lease holds"
    assert desk.round(LEASE_NS) == 1


def test_a_store_that_cannot_be_used_is_said(call: Rung) -> None:
    desk = Desk(call)
    desk.writer.close()
    call.audit.database.write_bytes(b"no database" * 500)
    for beside in call.audit.root.glob("audit.db-*"):
        beside.unlink()
    with pytest.raises(StoreFailed, match=r"audit\.db"):
        desk.round()


def test_the_keepers_reading_is_on_record(call: Rung) -> None:
    Desk(call).round()
    with closing(SqliteStore(call.audit.database)) as store, store.connection() as connection:
        rows = connection.execute("SELECT * FROM access").fetchall()
    assert "keeper" in json.dumps([[str(value) for value in row] for row in rows])


def test_the_job_exists_from_the_first_record_on() -> None:
    """A process that dies in mid-call leaves it behind; it is an orphan's, not a finished call's."""
    call = Call(script=[leaves(1)])
    found: list[int] = []

    async def story(living: Living) -> None:
        await living.until(0.5)
        with closing(SqliteStore(AuditFolder(call.folder).database)) as store:
            now = living.clock.wall_ns()
            outbox = Outbox(store)
            found.append(len(outbox.take(at_ns=now, lease_ns=1)))
            found.append(len(outbox.unfinished()))

    call.ring(story)
    assert found == [0, 1]
