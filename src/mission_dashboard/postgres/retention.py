"""Removing missions and their records from PostgreSQL, on a connection of its own. Statements are in retention.sql."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiosql
import psycopg2

from mission_dashboard.errors import StoreUnavailable
from mission_dashboard.keep import EPOCH, FINAL, Keep
from mission_dashboard.postgres.connections import (
    LOST,
    SLOW_STATEMENT_TIMEOUT_S,
    Connection,
    connect,
    fetch,
)
from mission_dashboard.retention import Due, Removed, State

QUERIES = Path(__file__).parent / "sql" / "retention.sql"
# What a crash undoes is simply removed again, so nobody waits for the disk. And no step may wait for a lock.
OPTIONS = "-c synchronous_commit=off -c enable_seqscan=off -c lock_timeout=500 -c plan_cache_mode=force_generic_plan"
# Planning these takes as long as removing 50 missions, so it is done once.
PREPARED = {"thin_records": {"ids": "text[]", "limit": "bigint"}, "remove_missions": {"ids": "text[]"}}
LOCKED = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected)


def read_queries() -> dict[str, str]:
    """Return the statements by name."""
    queries = aiosql.from_path(QUERIES, "psycopg2", mandatory_parameters=False)
    names = [name for name in queries.available_queries if not name.endswith("_cursor")]
    return {name: getattr(queries, name).sql.rstrip().rstrip(";") for name in names}


class PostgresRemover:
    """Removes on one connection, which it has only between ``open`` and ``close``."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._sql = read_queries()
        self._prepare = {name: _prepared(name, self._sql[name]) for name in PREPARED}
        self._sql |= {name: _execute(name) for name in PREPARED}
        self._connection: Connection | None = None

    def open(self) -> bool:
        """Connect; false where another process removes just now. Raises `StoreUnavailable`."""
        self._connection = connect(self._dsn, "mission-dashboard retention", OPTIONS)
        self._connection.timeout_s = SLOW_STATEMENT_TIMEOUT_S
        with _lost_means_unavailable():
            for statement in self._prepare.values():
                fetch(self._connection, statement)
        return bool(self._fetch("claim_retention")[0][0])

    def close(self) -> None:
        """Disconnect, which lets another process remove."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fetch(self, query: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        assert self._connection is not None
        with _lost_means_unavailable():
            return fetch(self._connection, self._sql[query], parameters)

    def state(self) -> State:
        """Return what was done so far."""
        return state_of(self._fetch("retention_row")[0])

    def note_seen(self, at: datetime, hold_until: datetime | None) -> None:
        """Remember that a pass looked."""
        self._fetch("note_seen", at=at, hold_until=hold_until)

    def note_began(self, at: datetime) -> None:
        """Remember that a pass deletes."""
        self._fetch("note_began", at=at)
        self._fetch("drop_old_keys")

    def note_ended(self, at: datetime) -> None:
        """Remember that a pass is done, and forget what all processes know."""
        self._fetch("note_ended", at=at)
        self._fetch("drop_old_removals")

    def mark(self, at: datetime, longest: timedelta) -> None:
        """Note which transactions have ended by now."""
        self._fetch("drop_wrong_marks", at=at, before=at - longest)
        self._fetch("make_mark", at=at)
        self._fetch("drop_old_marks", before=at - longest)

    def mark_at(self, at: datetime) -> int | None:
        """Return the transaction before which everything is older than a moment, if that is known."""
        rows = self._fetch("mark_at", at=at)
        return int(rows[0][0]) if rows else None

    def due(self, status: str, before: datetime, after: Due | None, limit: int) -> list[Due]:
        """Return the next missions that finished before a moment and have no parts, the oldest first."""
        parameters = {"after_at": after.ended_at if after else EPOCH, "after_id": after.id if after else ""}
        rows = self._fetch("due_missions", status=status, before=before, limit=limit, **parameters)
        return [Due(*row) for row in rows]

    def due_endless(self, status: str, before: datetime, after: Due | None, limit: int) -> list[Due]:
        """Return the same of missions whose end is not known, by their last change."""
        after_id = after.id if after else ""
        rows = self._fetch("due_endless", status=status, before=before, after_id=after_id, limit=limit)
        return [Due(*row) for row in rows]

    def thin(self, ids: Sequence[str], limit: int) -> Removed:
        """Delete up to ``limit`` records of each kind of these missions."""
        return Removed(0, *self._step("thin_records", ids=list(ids), limit=limit))

    def remove(self, ids: Sequence[str]) -> Removed:
        """Delete these missions, as far as nobody writes to them just now."""
        return Removed(*self._step("remove_missions", ids=list(ids)) or (0, 0, 0, 0))

    def remove_records(self, kind: str, position: int, before: int, limit: int) -> tuple[int, int | None]:
        """Delete up to ``limit`` records of transactions before one; return how many, and where to go on if so."""
        row = self._step(f"remove_{kind}", position=str(position), before=str(before), limit=limit)
        if not row or row[0] < limit:
            return (row[0] if row else 0), None
        return int(row[0]), int(row[1])

    def _step(self, query: str, /, **parameters: Any) -> tuple[Any, ...]:
        """Delete something; nothing where that would wait for somebody's lock: it comes at the next pass."""
        try:
            return self._fetch(query, **parameters)[0]
        except LOCKED:
            return ()

    def note_spans(self, until: datetime, at: datetime) -> None:
        """Remember that missions created before a moment may lose spans."""
        self._fetch("note_spans", until=until, at=at)


def _prepared(name: str, sql: str) -> str:
    numbered = {parameter: f"${number}" for number, parameter in enumerate(PREPARED[name], 1)}
    return f"PREPARE {name} ({', '.join(PREPARED[name].values())}) AS {sql % numbered}"


def _execute(name: str) -> str:
    return f"EXECUTE {name} ({', '.join(f'%({parameter})s' for parameter in PREPARED[name])})"


def state_of(row: Sequence[Any]) -> State:
    """Build a state from retention_row."""
    return State(row[3], row[4], row[5], row[6], Removed(*row[7:11]), row[11])


@contextmanager
def _lost_means_unavailable() -> Iterator[None]:
    try:
        yield
    except LOCKED:
        raise
    except LOST as error:
        raise StoreUnavailable("The database does not answer.") from error


def count_due(dsn: str, keep: Keep, now: datetime) -> tuple[dict[str, Mapping[str, Any]], State]:
    """Count what would be removed now, and tell what was removed so far. Reads much; not for each minute."""
    queries = read_queries()
    connection = connect(dsn, "mission-dashboard retention preview")
    connection.timeout_s = SLOW_STATEMENT_TIMEOUT_S
    try:
        with _lost_means_unavailable():
            state = state_of(fetch(connection, queries["retention_row"])[0])
            now = min(now, state.server_now)
            before = {status: now - span if span else EPOCH for status, span in _spans(keep).items()}
            due: dict[str, Mapping[str, Any]] = {}
            for status in FINAL:
                wanted = {"status": status, "before": before[status]}
                count, oldest = fetch(connection, queries["count_due_missions"], wanted)[0]
                due[status] = {"count": count, "oldest": oldest}
            condition = queries["due_filter"].partition("WHERE ")[2]
            for kind in ("events", "logs", "spans"):
                span = getattr(keep, kind)
                rows = fetch(connection, queries["mark_at"], {"at": now - span}) if span else []
                sql = queries[f"count_old_{kind}"].replace("{due}", f"({condition})")
                parameters = {**before, "before": str(rows[0][0] if rows else 0)}
                due[kind] = {"count": fetch(connection, sql, parameters)[0][0]}
            return due, state
    finally:
        connection.close()


def _spans(keep: Keep) -> dict[str, timedelta | None]:
    return {status: keep.missions.get(status) for status in FINAL}
