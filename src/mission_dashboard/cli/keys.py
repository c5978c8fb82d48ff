"""The commands about keys: `keys list`, `keys create`, `keys revoke`; over the API, or in the database itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import click

from mission_dashboard.cli.connection import Connection, connected
from mission_dashboard.cli.outcomes import Told
from mission_dashboard.cli.words import printable

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
SCOPES = ("report", "read", "operate", "admin")
COLUMNS = ("id", "name", "scopes", "state", "last used")


@click.group(name="keys")
def keys() -> None:
    """Make, list and revoke the keys with which programs and people get in.

    A key may report (what agents do), read (see everything), operate (steer as well; includes both), or admin.

    \b
    Examples:
      mission-dashboard keys create "nightly agents" --scope report --days 90
      mission-dashboard keys list
      mission-dashboard keys revoke 0191e2c4-...
    """


def with_database(function: F) -> F:
    """Give a command --dsn: to work in a database without a dashboard that would ask for a key first."""

    @click.option("--dsn", help="The dashboard's PostgreSQL server, to make the first key where none is known yet.")
    @functools.wraps(function)
    def wrapped(*given: Any, **named: Any) -> Any:
        return function(*given, **named)

    return wrapped  # type: ignore[return-value]


@keys.command("list")
@connected
@with_database
def list_keys(connection: Connection, dsn: str | None) -> None:
    """List all keys, revoked ones too."""
    if dsn:
        known = _in_database(dsn, lambda access: [_shown(key) for key in access.all_keys()])
    else:
        known = connection.api().keys()["keys"]
    connection.show({"keys": known}, _table(known))


@keys.command("create")
@connected
@with_database
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="Repeatable, else report.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Ends after so many days, else never.")
@click.option("--secret-only", is_flag=True, help="Print the key alone.")
def create_key(
    connection: Connection, dsn: str | None, name: str, scopes: Sequence[str], days: float | None, secret_only: bool
) -> None:
    """Make a key called NAME, and print it this once."""
    wanted = list(scopes) or ["report"]
    if dsn:
        made = _in_database(
            dsn,
            lambda access: _create(access, name, wanted, days),
            lambda made: f"create key ({printable(name)!r}, {' '.join(wanted)}, {made['key']['id']})",
        )
    else:
        made = connection.api().create_key(name, wanted, days)
    secret = str(made["secret"])
    told = f"{secret}\n\nIt is shown this once. {printable(name)} may {', '.join(wanted)}."
    connection.show(made, secret if secret_only else told)


@keys.command("revoke")
@connected
@with_database
@click.argument("key_id", metavar="KEY")
def revoke_key(connection: Connection, dsn: str | None, key_id: str) -> None:
    """Make a key worthless at once; KEY is its id. What is open with it is closed within a second."""
    if dsn:
        _in_database(dsn, lambda access: access.revoke_key(key_id), lambda _: f"revoke key {printable(key_id)}")
        answer: Mapping[str, Any] = {"message": "Key revoked"}
    else:
        answer = connection.api().revoke_key(key_id)
    connection.show(answer, "Key revoked.")


def _in_database(dsn: str, work: Callable[[Any], T], action: Callable[[T], str] | None = None) -> T:
    """Do something with the keys in the database behind a DSN, migrating it where needed.

    ``action`` says what a change was, for the audit log.
    """
    try:
        from mission_dashboard import concurrency
        from mission_dashboard.access.audit import Audit
        from mission_dashboard.access.callers import COMMAND_LINE
        from mission_dashboard.access.service import Access
        from mission_dashboard.postgres.access_store import PostgresAccessStore
        from mission_dashboard.postgres.store import PostgresStore
    except ImportError as error:
        raise Told('--dsn needs the server\'s packages: pip install "mission-dashboard[server]"') from error
    concurrency.prepare("threading")  # so that nothing waits for ever
    missions = PostgresStore(dsn)
    missions.open()
    missions.close()
    store = PostgresAccessStore(dsn)
    try:
        done = work(Access(store, None, timedelta(hours=1), _now))
        if action is not None:
            Audit(store, _now).changed(COMMAND_LINE, "-", "-", action(done), 200)
        return done
    finally:
        store.close()


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _create(access: Any, name: str, scopes: Sequence[str], days: float | None) -> Mapping[str, Any]:
    from mission_dashboard.access.scopes import Scope
    from mission_dashboard.reports import KeySaid, understand

    said = understand(KeySaid, {"name": name, "scopes": list(scopes), "expires_in_days": days})
    ends = datetime.now(timezone.utc) + timedelta(days=days) if days else None
    key, secret = access.create_key(said.name, [Scope(scope) for scope in said.scopes], ends, "the command line")
    return {"key": _shown(key), "secret": secret}


def _shown(key: Any) -> Mapping[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [scope.value for scope in key.scopes],
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
        "last_used_from": key.last_used_from,
    }


def _table(known: Sequence[Mapping[str, Any]]) -> str:
    rows = [COLUMNS, *(_row(key) for key in known)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(COLUMNS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(key: Mapping[str, Any]) -> tuple[str, ...]:
    used = f"{key['last_used_at']} from {key['last_used_from']}" if key["last_used_at"] else "never"
    return (key["id"], printable(key["name"]), ",".join(key["scopes"]), _state(key), used)


def _state(key: Mapping[str, Any]) -> str:
    if key["revoked_at"]:
        return "revoked"
    ends = key["expires_at"]
    if not ends:
        return "good"
    is_over = datetime.fromisoformat(ends.replace("Z", "+00:00")) < datetime.now(timezone.utc)
    return "expired" if is_over else f"good until {ends[:10]}"


COMMANDS: Mapping[str, click.Command] = {"keys": keys}
