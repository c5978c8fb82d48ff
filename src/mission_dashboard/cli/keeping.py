"""The commands of whoever runs a dashboard, on its machine: `retention`, `storage`, `backup`, `restore`.

They speak to the database of the settings itself, whether a dashboard runs or not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mission_dashboard.cli import environment
from mission_dashboard.cli.outcomes import Exit, Told
from mission_dashboard.cli.serving import require_server

if TYPE_CHECKING:
    from mission_dashboard.config import Settings
    from mission_dashboard.retention import Removed, State

F = TypeVar("F", bound=Callable[..., Any])
UNITS = ("bytes", "kB", "MB", "GB", "TB")
KINDS = {"events": "events", "logs": "log lines", "spans": "spans"}


def of_database(function: F) -> F:
    """Give a command --data-dir, --dsn and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout, errors too."),
        click.option("--dsn", help="The PostgreSQL server, else POSTGRES_DSN, else the embedded one."),
        click.option(
            "--data-dir", help="Where the embedded database lies, else MISSION_DASHBOARD_DATA_DIR, else ./data."
        ),
    ):
        function = option(function)
    return function


def _settings(data_dir: str | None, dsn: str | None) -> Settings:
    require_server()
    environment.set_server(host=None, port=None, data_dir=data_dir, dsn=dsn)
    from mission_dashboard import concurrency
    from mission_dashboard.config import load_settings

    concurrency.prepare("threading")
    # What they would log, the commands say.
    logging.getLogger("mission_dashboard").setLevel(logging.ERROR)
    return load_settings(environment.server_settings())


@contextmanager
def _database(settings: Settings, *, may_make: bool = False) -> Iterator[tuple[str, bool]]:
    """Give the DSN, and whether another process runs the embedded database; start and stop that where none does."""
    if settings.postgres_dsn:
        yield settings.postgres_dsn, False
        return
    from mission_dashboard.postgres.embedded import EmbeddedPostgres
    from mission_dashboard.postgres.places import known_place

    try:
        is_there = known_place(settings.data_dir).cluster.exists()
    except OSError as error:
        raise Told(f"{settings.data_dir} cannot be looked into: {error.strerror}.") from error
    if not may_make and not is_there:
        raise Told(
            f"There is no database in {settings.data_dir}: name its folder with --data-dir, or a server with --dsn."
        )
    embedded = EmbeddedPostgres(settings.data_dir)
    try:
        dsn = embedded.start()
        yield dsn, not embedded.is_owner
    finally:
        embedded.stop()


@click.command()
@click.option("--run", "run_now", is_flag=True, help="Remove it now, also where that is held.")
@of_database
@click.pass_context
def retention(context: click.Context, run_now: bool, data_dir: str | None, dsn: str | None, as_json: bool) -> int:
    """Show what is too old to keep.

    Tells what would be removed now, how long what is kept, and when a dashboard last removed something. Only --run
    removes; a dashboard does so by itself.

    \b
    Examples:
      mission-dashboard retention
      mission-dashboard retention --run
      MISSION_DASHBOARD_KEEP_LOGS=7 mission-dashboard retention --json
    """
    settings = _settings(data_dir, dsn)
    from mission_dashboard.mission_dashboard import keep_of
    from mission_dashboard.postgres.retention import PostgresRemover, count_due
    from mission_dashboard.postgres.store import PostgresStore
    from mission_dashboard.retention import Retention

    keep = keep_of(settings)
    now = datetime.now(timezone.utc)
    removed: Removed | None = None
    with _database(settings) as (its_dsn, _):
        store = PostgresStore(its_dsn)
        store.open()
        store.close()
        due, state = count_due(its_dsn, keep, now)
        if run_now:
            removed = Retention(PostgresRemover(its_dsn), keep, lambda: now).look(hold=False)
            if removed is None:
                raise Told("A dashboard is removing just now; it needs no help.", Exit.BUSY)
    if as_json or context.obj["as_json"]:
        document = {
            "days": keep.in_days(),
            "due": due,
            "state": asdict(state),
            "removed_now": removed and asdict(removed),
        }
        click.echo(json.dumps(document, default=_as_text))
        return Exit.OK
    _tell_due(keep.in_days(), due)
    _tell_state(state, now)
    if removed is not None:
        click.echo(f"Removed now: {_amounts(asdict(removed))}.")
    return Exit.OK


def _tell_due(days: Mapping[str, Any], due: Mapping[str, Mapping[str, Any]]) -> None:
    for status, its_days in days["missions"].items():
        _tell_row(f"{status} missions", its_days, due[status])
    for kind, words in KINDS.items():
        _tell_row(words, days[kind], due[kind])


def _tell_row(what: str, days: float | None, due: Mapping[str, Any]) -> None:
    kept = "kept for ever" if days is None else f"kept {days:g} days"
    oldest = f", the oldest from {due['oldest']:%Y-%m-%d}" if due.get("oldest") else ""
    click.echo(f"{what:<20} {kept:<16} {due['count']:>12,} to remove{oldest}")


def _tell_state(state: State, now: datetime) -> None:
    if state.ended_at:
        click.echo(f"Last removed {state.ended_at:%Y-%m-%d %H:%M} UTC. In all: {_amounts(asdict(state.removed))}.")
    elif state.began_at:
        click.echo(f"Removing since {state.began_at:%Y-%m-%d %H:%M} UTC. So far: {_amounts(asdict(state.removed))}.")
    else:
        click.echo("Nothing was ever removed.")
    if state.hold_until and state.hold_until > now:
        click.echo(f"Held until {state.hold_until:%Y-%m-%d %H:%M} UTC: no dashboard had looked for a while.")


def _amounts(counts: Mapping[str, int]) -> str:
    words = {"missions": "missions", **KINDS}
    return ", ".join(f"{counts[kind]:,} {words[kind]}" for kind in words)


@click.command()
@of_database
@click.pass_context
def storage(context: click.Context, data_dir: str | None, dsn: str | None, as_json: bool) -> int:
    """Show what each table takes.

    Rows are PostgreSQL's estimates; dead ones are those whose room will be used again.

    \b
    Examples:
      mission-dashboard storage
      mission-dashboard storage --dsn "$POSTGRES_DSN" --json
    """
    settings = _settings(data_dir, dsn)
    from mission_dashboard.postgres.store import PostgresStore

    with _database(settings) as (its_dsn, _):
        store = PostgresStore(its_dsn)
        store.open()
        try:
            total, tables = store.sizes()
        finally:
            store.close()
    if as_json or context.obj["as_json"]:
        click.echo(json.dumps({"database_bytes": total, "tables": [asdict(table) for table in tables]}))
        return Exit.OK
    click.echo(f"{'table':<30} {'rows':>12} {'dead':>10} {'table':>10} {'indexes':>10}")
    for table in tables:
        sizes = f"{size(table.table_bytes):>10} {size(table.index_bytes):>10}"
        click.echo(f"{table.name:<30} {table.rows:>12,} {table.dead_rows:>10,} {sizes}")
    click.echo(f"The whole database: {size(total)}")
    return Exit.OK


def size(count: float) -> str:
    """Return a number of bytes for people."""
    unit = UNITS[0]
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if count >= 10 or unit == UNITS[0] else f"{count:.1f} {unit}"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@of_database
@click.pass_context
def backup(context: click.Context, file: Path, data_dir: str | None, dsn: str | None, as_json: bool) -> int:
    """Back up all missions into FILE.

    A dashboard may run meanwhile; the file holds the database as it was at one moment. It is in pg_dump's custom
    format, readable by you only, and appears under its name once it is whole and has been read back.

    \b
    Examples:
      mission-dashboard backup missions-$(date +%F).dump
      mission-dashboard backup --dsn "$POSTGRES_DSN" missions.dump
    """
    settings = _settings(data_dir, dsn)
    from mission_dashboard.postgres.backup import back_up

    with _database(settings) as (its_dsn, _):
        done = back_up(its_dsn, file)
    if as_json or context.obj["as_json"]:
        click.echo(json.dumps(asdict(done), default=_as_text))
    else:
        click.echo(f"Backed up {done.tables} tables ({size(done.size_bytes)}) to {done.file} and read them back.")
    return Exit.OK


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Drop the missions that are in the database.")
@of_database
@click.pass_context
def restore(
    context: click.Context, file: Path, replace: bool, data_dir: str | None, dsn: str | None, as_json: bool
) -> int:
    """Put a backup back.

    Stop the dashboard first. All of it is restored in one transaction, or nothing. The database must be empty unless
    --replace drops what is in it. Open pages load everything anew.

    \b
    Examples:
      mission-dashboard restore missions-2026-01-31.dump
      mission-dashboard restore --replace missions-2026-01-31.dump
      mission-dashboard restore --dsn postgresql://ai_user:ai_password@localhost/ai_agency missions.dump
    """
    settings = _settings(data_dir, dsn)
    from mission_dashboard.postgres.restore import restore as put_back

    with _database(settings, may_make=True) as (its_dsn, is_shared):
        if is_shared:
            raise Told("A dashboard uses this database: stop it, then restore.")
        done = put_back(its_dsn, file, replace=replace)
    if as_json or context.obj["as_json"]:
        click.echo(json.dumps(asdict(done)))
    else:
        click.echo(f"Restored {done.missions:,} missions in {done.seconds:.1f} s. Start the dashboard again.")
    return Exit.OK


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


COMMANDS: Mapping[str, click.Command] = {
    "retention": retention,
    "storage": storage,
    "backup": backup,
    "restore": restore,
}
