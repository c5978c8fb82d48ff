"""Putting a backup back: all of it in one transaction, or nothing; never under a dashboard that runs."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mission_dashboard.errors import StartupError
from mission_dashboard.postgres.backup import is_backup, read_through
from mission_dashboard.postgres.clients import Clients, complaint_of, find_clients, open_dsn, run_client
from mission_dashboard.postgres.connections import (
    SLOW_STATEMENT_TIMEOUT_S,
    Connection,
    connect,
    fetch,
    lost_means_unavailable,
)
from mission_dashboard.postgres.migrate import ADVISORY_LOCK, MIGRATIONS, newest_step, read_migrations

CHUNK_BYTES = 1 << 20
HEAD_BYTES = 1 << 16
LOCK_WAIT_MS = 10_000
"""For tables that somebody else has open. The server gives up: a psql that was only ended would wait on in there."""
ENDING_S = 2.0
LOOK_EVERY_S = 0.05
KNOWS_TRANSACTION_TIMEOUT = 17

IN_USE = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'mission-dashboard%'
    AND application_name <> 'mission-dashboard restore'
"""
TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT EXISTS (
        SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
    )
ORDER BY relname
"""
# Locks out dashboards that start meanwhile: they migrate first, under the same lock.
BEGIN = f"""
SET client_min_messages = warning;
BEGIN;
SELECT pg_advisory_xact_lock({ADVISORY_LOCK});
SET LOCAL lock_timeout = {LOCK_WAIT_MS};
DO $check$
BEGIN
    IF ({IN_USE}) > 0 THEN
        RAISE EXCEPTION 'a dashboard uses this database: stop it first';
    END IF;
END $check$;
"""
DROP = """
DO $drop$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT oid::regclass AS name FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND relname IN (%s)
    LOOP
        EXECUTE format('DROP TABLE IF EXISTS %%s CASCADE', found.name);
    END LOOP;
    FOR found IN
        SELECT oid::regprocedure AS name FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND proname IN (%s)
    LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS %%s CASCADE', found.name);
    END LOOP;
END $drop$;
"""
# A new name makes every cursor of before unknown: whoever comes with one gets a whole picture. And who had logged out
# since must not be back, not even where this ends right after the commit. Older backups have no sessions.
END = """
RESET search_path;
DO $sessions$
BEGIN
    IF to_regclass('access_sessions') IS NOT NULL THEN
        DELETE FROM access_sessions;
    END IF;
END $sessions$;
UPDATE mission_dashboard_database
SET name = substr(md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text), 1, 8);
COMMIT;
"""


@dataclass(frozen=True)
class Restored:
    """What was put back."""

    missions: int
    tables: int
    step: int
    """The migration the backup had reached; newer steps have been applied since."""
    seconds: float


def restore(dsn: str, file: Path, *, replace: bool) -> Restored:
    """Put a backup into the database behind ``dsn``; raise `StartupError`, and then nothing was changed.

    With ``replace`` what is there of a dashboard is dropped in the same transaction.
    """
    began = time.monotonic()
    server_major, step_there, tables_there = _look(dsn)
    clients = find_clients(server_major)
    step, tables = inspect(clients, file)
    ours = _names("TABLE")
    if tables_there and not replace:
        raise StartupError("The database is not empty: say --replace to drop the missions that are in it.")
    if step_there > read_migrations()[-1].number:
        raise StartupError(
            f"The database was migrated by a newer Mission Dashboard (step {step_there}), and this version does not "
            "know all that it made: restore into an empty database; docs/deployment.md says how."
        )
    if foreign := sorted(set(tables_there) - set(ours)):
        raise StartupError(
            f"The database has tables that are not the dashboard's ({', '.join(foreign[:5])}): "
            "restore into a database of its own."
        )
    _run(clients, dsn, file, server_major, DROP % (_quoted(ours), _quoted(_names("FUNCTION"))) if tables_there else "")
    return Restored(_settle(dsn), tables, step, time.monotonic() - began)


def inspect(clients: Clients, file: Path) -> tuple[int, int]:
    """Return the migration a backup had reached and its number of tables; raise `StartupError` for a wrong file."""
    if not is_backup(file):
        raise StartupError(f"{file} is no backup: it is not in pg_dump's custom format.")
    tables = read_through(clients, file)
    options = ("--data-only", "--table=mission_dashboard_migrations", "--file=-")
    script = run_client(clients.command("pg_restore", *options, str(file)))
    copied = re.search(r"^COPY \S+ \(number, .*?\n(.*?)^\\\.$", script, re.MULTILINE | re.DOTALL)
    done = {int(line.split("\t")[0]) for line in copied[1].splitlines()} if copied else set()
    if not done:
        raise StartupError(f"{file} is no backup of a Mission Dashboard: it names no migrations.")
    if unknown := done - {step.number for step in read_migrations()}:
        raise StartupError(
            f"{file} was made by a newer Mission Dashboard (step {max(unknown)}): install that version, then restore."
        )
    return max(done), tables


def _look(dsn: str) -> tuple[int, int, Sequence[str]]:
    """Return the server's major version, the step its database has reached and the tables there.

    Raises `StartupError` while a dashboard runs.
    """
    connection = connect(dsn, "mission-dashboard restore")
    try:
        with lost_means_unavailable():
            _refuse_while_used(connection)
            tables = [row[0] for row in fetch(connection, TABLES)]
            return connection.server_version // 10_000, newest_step(connection), tables
    finally:
        connection.close()


def _refuse_while_used(connection: Connection) -> None:
    """Raise `StartupError` while a dashboard is connected; the sessions of one that was just stopped may still end."""
    ends_at = time.monotonic() + ENDING_S
    while fetch(connection, IN_USE)[0][0]:
        if time.monotonic() > ends_at:
            raise StartupError("A dashboard uses this database: stop it, then restore.")
        time.sleep(LOOK_EVERY_S)


def _names(kind: str) -> list[str]:
    """Return the tables or functions that migrations make, under all names they ever had."""
    sql = "\n".join(path.read_text(encoding="utf-8") for path in sorted(MIGRATIONS.glob("*.sql")))
    made = re.findall(rf"^CREATE (?:OR REPLACE )?(?:UNLOGGED )?{kind} (?:IF NOT EXISTS )?(\w+)", sql, re.MULTILINE)
    renamed = re.findall(rf"^ALTER {kind} \S+ RENAME TO (\w+)", sql, re.MULTILINE)
    return sorted({*made, *renamed, *(("mission_dashboard_migrations",) if kind == "TABLE" else ())})


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _run(clients: Clients, dsn: str, file: Path, server_major: int, drop: str) -> None:
    """Feed the backup's script to psql in one transaction; it commits only after all of the backup was read."""
    open_part, environment = open_dsn(dsn)
    options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", f"--dbname={open_part}")
    environment["PGAPPNAME"] = "mission-dashboard restore"
    script = clients.command("pg_restore", "--no-owner", "--no-privileges", "--no-comments", "--file=-", str(file))
    with (
        _started(script, environment, stdout=subprocess.PIPE) as reader,
        _started(clients.command("psql", *options), environment, stdin=subprocess.PIPE) as psql,
    ):
        assert reader.stdout
        assert psql.stdin
        try:
            _feed(reader.stdout, psql.stdin, drop, server_major)
            if reader.wait() != 0:
                raise StartupError(f"{file} cannot be read to its end; nothing was changed.")
            psql.stdin.write(END.encode())
            psql.stdin.close()
        except BrokenPipeError:
            pass  # psql met an error, and says so
        complaint = psql.stderr.read() if psql.stderr else b""
        if psql.wait() != 0:
            raise StartupError(f"The backup was not restored, nothing was changed: {complaint_of(complaint)}")


def _feed(script: IO[bytes], target: IO[bytes], drop: str, server_major: int) -> None:
    target.write(BEGIN.encode())
    target.write(drop.encode())
    head = script.read(HEAD_BYTES)
    if server_major < KNOWS_TRANSACTION_TIMEOUT:
        head = re.sub(rb"^SET transaction_timeout = 0;$", b"", head, count=1, flags=re.MULTILINE)
    target.write(head)
    while chunk := script.read(CHUNK_BYTES):
        target.write(chunk)


@contextmanager
def _started(
    command: Sequence[str],
    environment: dict[str, str],
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for a while; whatever happens, it is gone afterwards, and with it what it did not commit."""
    process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _settle(dsn: str) -> int:
    """Bring what was restored to today's shape, let the planner know it, and return how many missions there are."""
    from mission_dashboard.postgres.store import PostgresStore

    store = PostgresStore(dsn)
    store.open()
    try:
        connection = connect(dsn, "mission-dashboard restore")
        connection.timeout_s = SLOW_STATEMENT_TIMEOUT_S
        try:
            fetch(connection, "ANALYZE")
        finally:
            connection.close()
        return sum(store.totals().by_status.values())
    finally:
        store.close()
