"""Bring a database to today's shape: numbered SQL files, forward only, each in a transaction of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from mission_dashboard.errors import StartupError, first_line
from mission_dashboard.postgres.connections import Connection, fetch, patience

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"
# One number for all processes of all versions: whoever holds it migrates, the others wait and find it done.
ADVISORY_LOCK = 5_002_2025
OLDEST_SERVER = 130_000
PATIENCE_S = 3600.0
LOOK_S = 10.0
"""For looking what there is."""
LOCK_WAIT_MS = 5_000
"""After so long somebody keeps the table of steps locked. The server has to give up, not we: a session that we only
left would go on waiting there, with the advisory lock, and the next process for it."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step."""

    number: int
    name: str
    sql: str


def read_migrations(folder: Path = MIGRATIONS) -> Sequence[Migration]:
    """Read the steps from the folder, in order."""
    return [
        Migration(int(path.stem[:4]), path.stem[5:], path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]


def migrate(connection: Connection, migrations: Sequence[Migration] | None = None) -> int:
    """Apply the steps the database lacks and return how many; raise `StartupError` when one cannot be applied."""
    steps = read_migrations() if migrations is None else migrations
    if connection.server_version < OLDEST_SERVER:
        raise StartupError(
            f"The PostgreSQL server behind POSTGRES_DSN is version {connection.server_version // 10_000}; "
            "Mission Dashboard needs 13 or newer."
        )
    _lock(connection)
    try:
        missing = _missing(connection, steps)
        with patience(connection, PATIENCE_S):
            for step in missing:
                _apply_one(connection, step)
        return len(missing)
    finally:
        if not connection.closed:
            fetch(connection, "SELECT pg_advisory_unlock(%s)", (ADVISORY_LOCK,))


def newest_step(connection: Connection) -> int:
    """Return the step that the database has reached, 0 where no dashboard used it yet."""
    if not fetch(connection, "SELECT to_regclass('mission_dashboard_migrations') IS NOT NULL")[0][0]:
        return 0
    return int(fetch(connection, "SELECT coalesce(max(number), 0) FROM mission_dashboard_migrations")[0][0])


def _lock(connection: Connection) -> None:
    """Wait until no other process migrates or restores."""
    if fetch(connection, "SELECT pg_try_advisory_lock(%s)", (ADVISORY_LOCK,))[0][0]:
        return
    logger.warning("another process upgrades or restores the database; this one waits for it")
    with patience(connection, PATIENCE_S):
        fetch(connection, "SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))


def _missing(connection: Connection, steps: Sequence[Migration]) -> Sequence[Migration]:
    with patience(connection, LOOK_S):
        fetch(connection, f"SET lock_timeout = {LOCK_WAIT_MS}")
        fetch(
            connection,
            "CREATE TABLE IF NOT EXISTS mission_dashboard_migrations ("
            "number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        )
        done = {row[0] for row in fetch(connection, "SELECT number FROM mission_dashboard_migrations")}
        fetch(connection, "RESET lock_timeout")
    _refuse_newer(done, steps)
    return [step for step in steps if step.number not in done]


def _refuse_newer(done: set[int], steps: Sequence[Migration]) -> None:
    if unknown := done - {step.number for step in steps}:
        raise StartupError(
            f"The database was migrated by a newer Mission Dashboard (step {max(unknown)}); start that version."
        )


def _apply_one(connection: Connection, step: Migration) -> None:
    logger.info("migrating the database: %04d %s", step.number, step.name)
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(step.sql)
            cursor.execute(
                "INSERT INTO mission_dashboard_migrations (number, name) VALUES (%s, %s)", (step.number, step.name)
            )
            cursor.execute("COMMIT")
    except psycopg2.Error as error:
        if not connection.closed:
            fetch(connection, "ROLLBACK")
        raise StartupError(
            f"Migration {step.number:04d} ({step.name}) cannot be applied to the database; nothing was changed by it: "
            f"{first_line(error)}."
        ) from error
