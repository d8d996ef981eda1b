"""Promise: who opened a packet is durable before it shows, the first claim holds, and a call-back's number lies in the record only."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from audit.access import AccessLog
from audit.errors import StoreFailed
from audit.outbox import Outbox
from audit.reader import Reader
from audit.store import SqliteStore
from tests.calls import CHEST, Call, Living, Rung, answers, leaves, says
from tests.handoff.test_desk import PACKET
from tests.handoff.test_shelf import PRIVATE, shelf
from triage.demo.patient import Cue
from triage.errors import Refused, UsageError
from triage.handoff.claims import Claimed, Numbers, claim, find, numbers_of, rung_back
from triage.lines.nurse_phones import Behaviour, NursePhone

NUMBER = "+15550147788"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "audit.db")) as store:
        yield store


def test_a_claim_is_on_record_with_who_when_and_why(tmp_path: Path, store: SqliteStore) -> None:
    shelf(tmp_path).deliver(PACKET, wall_ns=1)
    got = claim(shelf(tmp_path), PRIVATE, store, PACKET.code, who="ana", purpose="hand-off", at_ns=5)
    assert got.packet == PACKET and got.holds and got.claims == 1
    (reading,) = AccessLog(store).readings(PACKET.call_id)
    assert (reading.who, reading.at_ns, reading.purpose, reading.what) == ("ana", 5, "hand-off", "packet")
    assert AccessLog(store).verify() == 1


def test_a_second_claim_by_somebody_else_names_the_first_and_is_recorded_too(
    tmp_path: Path, store: SqliteStore
) -> None:
    shelf(tmp_path).deliver(PACKET, wall_ns=1)
    given = [
        claim(shelf(tmp_path), PRIVATE, store, PACKET.code, who=who, purpose="hand-off", at_ns=at_ns)
        for who, at_ns in (("ana", 5), ("ben", 9), ("ana", 12))
    ]
    assert [(c.holds, c.first.who, c.first.at_ns, c.claims) for c in given] == [
        (True, "ana", 5, 1),
        (False, "ana", 5, 2),
        (False, "ana", 5, 3),
    ]
    assert [c.namesake for c in given] == [False, False, True], "a second look of one's own is said to be none's"
    assert [reading.who for reading in AccessLog(store).readings()] == ["ana", "ben", "ana"]


def test_a_reading_that_is_no_claim_holds_no_packet(tmp_path: Path, store: SqliteStore) -> None:
    from audit.access import Access

    AccessLog(store).record(Access(1, "auditor", "audit", PACKET.call_id, "trail"))
    shelf(tmp_path).deliver(PACKET, wall_ns=1)
    assert claim(shelf(tmp_path), PRIVATE, store, PACKET.code, who="ana", purpose="p", at_ns=5).holds


def test_a_renewed_packet_is_what_the_next_claim_shows(tmp_path: Path, store: SqliteStore) -> None:
    for version in (1, 2):
        shelf(tmp_path).deliver(replace(PACKET, version=version), wall_ns=1)
    assert claim(shelf(tmp_path), PRIVATE, store, PACKET.code, who="ana", purpose="p", at_ns=5).packet.version == 2


@pytest.mark.parametrize("names", [("ana", "ben", "cleo", "dan"), ("shared@desk",) * 4], ids=["four", "one login"])
def test_of_two_at_the_same_moment_one_holds(tmp_path: Path, store: SqliteStore, names: tuple[str, ...]) -> None:
    """The log puts them in order, and both see the same first one."""
    for n in range(10):
        code = f"code-{n}"
        shelf(tmp_path).deliver(replace(PACKET, code=code, call_id=f"call-{n}"), wall_ns=1)
        ready = threading.Barrier(4)

        def claims(who: str, code: str = code, ready: threading.Barrier = ready) -> Claimed:
            ready.wait(5)
            return claim(shelf(tmp_path), PRIVATE, store, code, who=who, purpose="p", at_ns=5)

        with ThreadPoolExecutor(4) as nurses:
            given = list(nurses.map(claims, names))
        assert [c.holds for c in given].count(True) == 1 and len({c.first.who for c in given}) == 1
    assert AccessLog(store).verify() == 40


def test_what_cannot_be_recorded_is_not_shown(tmp_path: Path, store: SqliteStore) -> None:
    shelf(tmp_path).deliver(PACKET, wall_ns=1)
    with store.connection() as connection:
        connection.execute("DROP TABLE access")
    with pytest.raises(StoreFailed):
        claim(shelf(tmp_path), PRIVATE, store, PACKET.code, who="ana", purpose="p", at_ns=5)


def test_a_wrong_code_claims_nothing(tmp_path: Path, store: SqliteStore) -> None:
    with pytest.raises(Refused, match="no packet with this code"):
        claim(shelf(tmp_path), PRIVATE, store, "guessed", who="ana", purpose="p", at_ns=5)
    assert AccessLog(store).readings() == []


# --- call-backs


@pytest.fixture(scope="module")
def cut() -> Rung:
    """A caller whose number the network shows gives one, names a danger, and hangs up before a nurse answers."""
    script = [says("sore_no"), answers("ask.callback", "sore_number"), says(CHEST, Cue.AT, 22.0), leaves(30)]

    async def story(living: Living) -> None:
        await living.until(1.0)
        living.call.note_number(NUMBER)

    call = Call(script=script, phones={"nurse": NursePhone(Behaviour.SILENT)}).ring(story)
    call.settle()
    return call


def test_the_numbers_come_from_the_record_and_the_look_up_is_a_reading(cut: Rung) -> None:
    with closing(SqliteStore(cut.audit.database)) as store:
        (task,) = Outbox(store).callbacks()
        reader = Reader(store, cut.audit.keyring(), who="ana", purpose="call-back", spool=cut.audit.spool)
        numbers = numbers_of(reader, task.call, at_ns=7)
        assert numbers == Numbers(spoken=numbers.spoken, confirmed=False, network=NUMBER) and "0142" in numbers.spoken
        assert AccessLog(store).readings(task.call)[-1].what == "callback"
        row = store._append.execute("SELECT * FROM callback").fetchone()
        assert NUMBER not in str(row)


def test_a_call_back_is_struck_off_once_and_it_is_recorded_by_whom(cut: Rung) -> None:
    with closing(SqliteStore(cut.audit.database)) as store:
        outbox = Outbox(store)
        (task,) = outbox.callbacks()
        assert find(outbox, task.id[:8]) == task
        rung_back(store, task, who="ben", purpose="call-back", at_ns=9)
        assert outbox.callbacks() == []
        (done,) = outbox.callbacks(open_only=False)
        assert (done.owner, done.done_ns) == ("ben", 9)
        assert [r.who for r in AccessLog(store).readings(task.call) if r.what == "callback done"] == ["ben"]
        with pytest.raises(UsageError, match="done before, by ben"):
            rung_back(store, find(outbox, task.id), who="cleo", purpose="call-back", at_ns=10)
        with pytest.raises(UsageError, match="is not there"):
            find(outbox, "ffff")
        assert AccessLog(store).verify()


def test_a_call_back_that_somebody_took_on_stays_theirs(store: SqliteStore) -> None:
    from audit.chain import callback_task

    store.append([callback_task("c", reason="urgent", level="", opened_ns=1, due_ns=2)])
    outbox = Outbox(store)
    assert [outbox.claim_callback("c/0", owner=who) for who in ("ana", "ben", "ana")] == ["", "ana", "ana"]
    (task,) = outbox.callbacks()
    assert task.owner == "ana"
    rung_back(store, task, who="ben", purpose="call-back", at_ns=9)
    (done,) = outbox.callbacks(open_only=False)
    assert (done.owner, done.done_ns) == ("ana", 9)
    with pytest.raises(UsageError, match="done before, by ben"):
        rung_back(store, done, who="ana", purpose="call-back", at_ns=10)
    with pytest.raises(UsageError, match="done before, by ben"):
        rung_back(store, task, who="ana", purpose="call-back", at_ns=11)  # who looked before it was struck off
    assert outbox.callbacks(open_only=False) == [done]


def test_a_begin_that_fits_several_tasks_is_refused(store: SqliteStore) -> None:
    from audit.chain import callback_task

    for ordinal in (0, 1):
        store.append([callback_task("c", reason="urgent", level="", opened_ns=1, due_ns=2, ordinal=ordinal)])
    with pytest.raises(UsageError, match="fits several"):
        find(Outbox(store), "c")
    assert find(Outbox(store), "c/1").id == "c/1"
