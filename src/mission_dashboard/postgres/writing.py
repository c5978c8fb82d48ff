"""The connection that writes: it holds the process's shard, and the batch statement prepared.

It is opened when it is needed, and let go of when it was lost or its server stopped taking writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2

from mission_dashboard.errors import StoreUnavailable, VersionConflict, WriteRefused
from mission_dashboard.postgres.connections import Connection, connect, fetch, lost_means_unavailable
from mission_dashboard.postgres.record_rows import kept_row
from mission_dashboard.postgres.rows import (
    as_json,
    created_row,
    delta_rows,
    has_new_seldom_values,
    moved_row,
    rewritten_row,
    touched_row,
)
from mission_dashboard.store import Batch

# The batch statement must find missions by their key however small the table was when its plan was made.
WRITER_OPTIONS = (
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan"
)
BATCH_PARAMETERS = {
    "created": "json",
    "moved": "json",
    "rewritten": "json",
    "events": "json",
    "facets": "json",
    "totals": "json",
    "minutes": "json",
    "spend": "json",
    "days": "json",
    "keys": "json",
    "touched": "json",
    "lines": "json",
    "spans": "json",
    "kept": "json",
    "shard": "smallint",
}
OTHER_WAS_FIRST = (
    psycopg2.errors.SerializationFailure,
    psycopg2.errors.UniqueViolation,
    # Two writers waited for each other, and this one was chosen to give way.
    psycopg2.errors.DeadlockDetected,
)
NO_SHARD = -1
"""The shard of no process that writes events."""


class WritingConnection:
    """Writes batches, and reads for the thread that writes. Every method raises `StoreUnavailable` when it is lost."""

    def __init__(self, dsn: str, sql: Mapping[str, str]) -> None:
        self._dsn = dsn
        self._sql = sql
        self._connection: Connection | None = None
        self.shard = 0
        """The number under which this process writes, which no other one has at the same time."""

    def open(self) -> Connection:
        """Connect, unless it is connected: from then on the shard is this process's."""
        if self._connection is None:
            with lost_means_unavailable():
                connection = connect(self._dsn, "mission-dashboard writer", WRITER_OPTIONS)
                try:
                    self.shard = fetch(connection, self._sql["claim_shard"])[0][0]
                    fetch(connection, self._sql["skip_transactions"])
                    fetch(connection, self._prepare_write)
                except BaseException:
                    connection.close()
                    raise
                self._connection = connection
        return self._connection

    def write(self, parameters: Mapping[str, str]) -> None:
        """Commit a batch, made into parameters; see `PostgresStore.write_batch`."""
        connection = self.open()
        with lost_means_unavailable(self.close):
            try:
                fetch(connection, self._execute_write, {**parameters, "shard": self.shard})
            except OTHER_WAS_FIRST as error:
                raise VersionConflict(str(error)) from error
            except psycopg2.errors.ReadOnlySqlTransaction as error:
                self.close()  # the next connection may lead to a server that writes
                raise StoreUnavailable("The database is read-only. Nothing was written; try again later.") from error
            except (psycopg2.DataError, psycopg2.IntegrityError) as error:
                raise WriteRefused("The database refused the values.") from error

    def ping(self) -> None:
        """Ask the server for a sign of life, and whether it takes writes."""
        with lost_means_unavailable(self.close):
            ((read_only,),) = fetch(self.open(), "SELECT current_setting('transaction_read_only')")
        if read_only == "on":
            self.close()
            raise StoreUnavailable("The database is read-only. Try again later.")

    def fetch(self, query: str, parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement by its name."""
        connection = self.open()
        with lost_means_unavailable(self.close):
            return fetch(connection, self._sql[query], parameters)

    def close(self) -> None:
        """Let go of the connection; what comes next opens another one, with a shard of its own."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _prepare_write(self) -> str:
        numbered = {name: f"${number}" for number, name in enumerate(BATCH_PARAMETERS, 1)}
        types = ", ".join(BATCH_PARAMETERS.values())
        return f"PREPARE write_batch ({types}) AS {self._sql['write_batch'] % numbered}"

    @property
    def _execute_write(self) -> str:
        return f"EXECUTE write_batch ({', '.join(f'%({name})s' for name in BATCH_PARAMETERS)})"


def batch_parameters(batch: Batch) -> dict[str, str]:
    """Make a batch into the parameters of its statement, but for the shard."""
    moved: list[dict[str, Any]] = []
    rewritten: list[dict[str, Any]] = []
    for before, after in batch.steps:
        if before is not None and has_new_seldom_values(before, after):
            rewritten.append(rewritten_row(before, after))
        elif before is not None:
            moved.append(moved_row(before, after))
    parts: dict[str, Sequence[Any]] = {
        "created": [created_row(step.after) for step in batch.steps if step.before is None],
        "moved": moved,
        "rewritten": rewritten,
        "events": batch.events,
        "keys": batch.keys,
        "touched": [touched_row(mission) for mission in batch.touched],
        "lines": batch.lines,
        "spans": batch.spans,
        "kept": [kept_row(kept) for kept in batch.kept],
        **delta_rows(batch.delta),
    }
    return {name: as_json(rows) for name, rows in parts.items()}
