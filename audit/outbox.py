"""Durable work that a call leaves behind: the summary to write, the caller to ring back.

A summary job exists from the call's first record on; it is ready when the call's writer has finished. A job whose
writer died never gets ready: the keeper looks at what is `unfinished`, and takes the job of a call whose writer it knows
to be dead as an orphan's. Times are wall time in ns since 1970.
"""

from dataclasses import dataclass

from audit.store import SqliteStore, explained, transaction

_JOB = "id, call, kind, opened_ns, ready_ns, attempts"
_CALLBACK = "id, call, reason, level, opened_ns, due_ns, owner, done_ns"


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work."""

    id: str
    call: str
    kind: str
    opened_ns: int
    ready_ns: int | None
    attempts: int
    """How often it was taken before."""


@dataclass(frozen=True, slots=True)
class Callback:
    """Somebody must ring this caller; the number lies sealed in the call's record."""

    id: str
    call: str
    reason: str
    level: str
    opened_ns: int
    due_ns: int
    owner: str | None
    done_ns: int | None


class Outbox:
    """Jobs and call-back tasks of one store."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def take(self, *, at_ns: int, lease_ns: int, limit: int = 10) -> list[Job]:
        """Take jobs that are ready and that nobody else has taken; oldest first. A lease that runs out frees the job.

        Raises:
            StoreFailed: the store cannot be used.
        """
        return self._take("ready_ns IS NOT NULL", (), at_ns, lease_ns, limit)

    def unfinished(self) -> list[str]:
        """Calls whose job is not ready: they live, or their process died; oldest first.

        Raises:
            StoreFailed: the store cannot be read.
        """
        with explained(self._store.path), self._store.connection() as connection:
            rows = connection.execute(
                "SELECT call FROM job WHERE done_ns IS NULL AND ready_ns IS NULL ORDER BY opened_ns, id"
            ).fetchall()
        return [str(call) for (call,) in rows]

    def take_orphan(self, call: str, *, at_ns: int, lease_ns: int) -> list[Job]:
        """Take the job of a call whose process died; none where it got ready after all, or somebody has it.

        Raises:
            StoreFailed: the store cannot be used.
        """
        return self._take("ready_ns IS NULL AND call = ?", (call,), at_ns, lease_ns, 1)

    def done(self, job: str, *, at_ns: int) -> None:
        """The work is done and durable.

        Raises:
            StoreFailed: it could not be noted; the job will be taken again.
        """
        self._execute("UPDATE job SET done_ns = ?, leased_until_ns = NULL WHERE id = ?", (at_ns, job))

    def failed(self, job: str, *, retry_ns: int) -> None:
        """It did not work out: free for another try from `retry_ns` on.

        Raises:
            StoreFailed: it could not be noted; the lease then runs out by itself.
        """
        self._execute("UPDATE job SET leased_until_ns = ? WHERE id = ?", (retry_ns, job))

    def callbacks(self, *, open_only: bool = True) -> list[Callback]:
        """Call-back tasks, most urgent deadline first.

        Raises:
            StoreFailed: the store cannot be read.
        """
        where = "WHERE done_ns IS NULL" if open_only else ""
        with explained(self._store.path), self._store.connection() as connection:
            rows = connection.execute(f"SELECT {_CALLBACK} FROM callback {where} ORDER BY due_ns, id").fetchall()
        return [Callback(*row) for row in rows]

    def claim_callback(self, task: str, *, owner: str) -> str:
        """Somebody takes a call-back on, unless somebody has; returns who had it before, empty: nobody.

        Raises:
            StoreFailed: it could not be noted.
        """
        with explained(self._store.path), self._store.connection() as connection, transaction(connection):
            row = connection.execute("SELECT owner FROM callback WHERE id = ?", (task,)).fetchone()
            connection.execute("UPDATE callback SET owner = ? WHERE id = ? AND owner IS NULL", (owner, task))
        return str(row[0] or "") if row else ""

    def callback_done(self, task: str, *, at_ns: int) -> bool:
        """The caller was reached; False: the task had been struck off before, and stays as it was.

        Raises:
            StoreFailed: it could not be noted.
        """
        with explained(self._store.path), self._store.connection() as connection, transaction(connection):
            done = connection.execute("UPDATE callback SET done_ns = ? WHERE id = ? AND done_ns IS NULL", (at_ns, task))
            return done.rowcount == 1

    def _take(self, ready: str, values: tuple[int | str, ...], at_ns: int, lease_ns: int, limit: int) -> list[Job]:
        with explained(self._store.path), self._store.connection() as connection, transaction(connection):
            rows = connection.execute(
                f"SELECT {_JOB} FROM job WHERE done_ns IS NULL AND {ready} "
                "AND (leased_until_ns IS NULL OR leased_until_ns <= ?) ORDER BY opened_ns, id LIMIT ?",
                (*values, at_ns, limit),
            ).fetchall()
            connection.executemany(
                "UPDATE job SET leased_until_ns = ?, attempts = attempts + 1 WHERE id = ?",
                [(at_ns + lease_ns, row[0]) for row in rows],
            )
        return [Job(*row) for row in rows]

    def _execute(self, statement: str, values: tuple[object, ...]) -> None:
        with explained(self._store.path), self._store.connection() as connection, transaction(connection):
            connection.execute(statement, values)
