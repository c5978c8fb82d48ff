"""`doctor`: looks at everything a dashboard and its agents need, and says what to do about what is wrong."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mission_dashboard import __version__
from mission_dashboard.cli.connection import Connection, connected
from mission_dashboard.cli.outcomes import Exit
from mission_dashboard.cli.serving import SERVER_PACKAGES, missing_of
from mission_dashboard.cli.words import printable, span
from mission_dashboard.client.errors import ClientError, DashboardUnreachable, ServerSaid
from mission_dashboard.errors import StartupError, StoreUnavailable, first_line, reason_of

if TYPE_CHECKING:
    from mission_dashboard.config import Settings
    from mission_dashboard.postgres.connections import Connection as Database

OK, NOTE, WARNING, PROBLEM = "ok", "note", "warning", "problem"
SIGNS = {OK: ("✓", "green"), NOTE: ("·", "cyan"), WARNING: ("!", "yellow"), PROBLEM: ("✕", "red")}
OLDEST_PYTHON = (3, 10)
CLIENT_PACKAGES = ("httpx", "click", "rich")
MAX_CLOCK_DIFFERENCE_S = 5.0
FEW_BYTES = 1_000_000_000
TOO_FEW_BYTES = 100_000_000
TAKES_TABLES = """
SELECT current_setting('transaction_read_only') = 'off',
    coalesce(has_schema_privilege(current_schema()::text, 'CREATE'), false)
"""


@dataclass(frozen=True)
class Finding:
    """What one check found; ``advice`` says what to do."""

    check: str
    state: str
    found: str
    advice: str = ""


@click.command()
@connected
def doctor(connection: Connection) -> int:
    """Check everything and say what to do.

    Python, packages, the dashboard, its version, clock and key, and what `serve` would find here.

    Exit code 0 without problems (warnings are none), 3 if no dashboard answers, 1 for other problems.

    \b
    Examples:
      mission-dashboard doctor
      mission-dashboard doctor --url https://missions.example.com --key "$KEY" --json
    """
    findings = []
    for finding in examine(connection):
        findings.append(finding)
        if not connection.as_json:
            tell(finding)
    problems = [finding for finding in findings if finding.state == PROBLEM]
    if connection.as_json:
        click.echo(json.dumps({"healthy": not problems, "findings": [asdict(finding) for finding in findings]}))
    else:
        click.echo("\nAll is well." if not problems else f"\nProblems: {len(problems)}.")
    if any(finding.check == "dashboard" for finding in problems):
        return Exit.UNREACHABLE
    return Exit.REFUSED if problems else Exit.OK


def tell(finding: Finding) -> None:
    """Print one finding."""
    sign, colour = SIGNS[finding.state]
    click.echo(f"{click.style(sign, fg=colour)} {finding.check:12}{finding.found}")
    if finding.advice:
        click.echo(f"              → {finding.advice}")


def examine(connection: Connection) -> Iterator[Finding]:
    """Make all checks."""
    yield check_python()
    yield from check_packages()
    yield from check_dashboard(connection)
    yield from check_server_here(connection)


def check_python() -> Finding:
    """Whether this Python is new enough."""
    found = f"{sys.version.split()[0]} ({sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", PROBLEM, found, "Install Python 3.10 or newer.")
    return Finding("python", OK, found)


def check_packages() -> Iterator[Finding]:
    """Whether the client's, the server's and the MCP server's packages are there."""
    missing = missing_of(CLIENT_PACKAGES)
    if missing:
        advice = "pip install mission-dashboard"
        yield Finding("client", PROBLEM, f"mission-dashboard {__version__} without {missing}", advice)
    else:
        yield Finding("client", OK, f"mission-dashboard {__version__}, {versions_of(CLIENT_PACKAGES)}")
    missing = missing_of(SERVER_PACKAGES)
    if missing:
        advice = 'To serve from here: pip install "mission-dashboard[server]"'
        yield Finding("server", NOTE, f"its packages are not installed here ({missing})", advice)
    else:
        yield Finding("server", OK, "its packages are installed")
    if missing_of(("mcp",)):
        yield Finding("mcp", NOTE, "not installed", 'To serve MCP hosts: pip install "mission-dashboard[mcp]"')
    else:
        yield Finding("mcp", OK, versions_of(("mcp",)))


def versions_of(packages: Sequence[str]) -> str:
    """Return packages with their versions."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def check_dashboard(connection: Connection) -> Iterator[Finding]:
    """Whether a dashboard answers, is well, speaks as we do, knows the time, and takes our key."""
    api = connection.api(patience_s=0)
    asked_at = time.time()
    try:
        health = api.health()
    except DashboardUnreachable as error:
        advice = "Start one with `mission-dashboard serve`, or name it with --url or MISSION_DASHBOARD_URL."
        yield Finding("dashboard", PROBLEM, str(error).split(". ")[0] + ".", advice)
        return
    except ServerSaid as error:
        if "database" not in error.answer:
            advice = "Is it a Mission Dashboard, and is a proxy before it well?"
            yield Finding("dashboard", PROBLEM, f"{connection.url} answers {error.status}: {error.detail}", advice)
            return
        health = error.answer
    answered_at = time.time()
    yield check_health(connection.url, health)
    yield check_version(health)
    yield check_clock(health, asked_at, answered_at)
    yield check_key(connection)


def check_health(url: str, health: Mapping[str, Any]) -> Finding:
    """Whether the dashboard can take writes."""
    database = health.get("database") or {}
    if health.get("status") == "healthy":
        up_s = span(health.get("uptime_s"))
        return Finding("dashboard", OK, f"{url} is well, up for {up_s}, {database.get('kind')} database")
    if database.get("status") == "down":
        advice = "Look after PostgreSQL; the dashboard takes writes again by itself when it is back."
        return Finding("health", PROBLEM, f"{url} answers, and its database is away", advice)
    return Finding("health", WARNING, f"{url} answers, and is {health.get('status')}", "Its log says more.")


def check_version(health: Mapping[str, Any]) -> Finding:
    """Whether the dashboard is of the same version as this command."""
    version = printable(health.get("version"))
    if version == __version__:
        return Finding("version", OK, f"{version} there and here")
    return Finding("version", WARNING, f"{version} there, {__version__} here", "Upgrade the older one.")


def check_clock(health: Mapping[str, Any], asked_at: float, answered_at: float) -> Finding:
    """Whether both clocks agree, give or take the time the answer took."""
    try:
        there = datetime.fromisoformat(str(health.get("timestamp")).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return Finding("clock", WARNING, "the dashboard does not tell its time", "Is its version too old?")
    difference = max(asked_at - there, there - answered_at, 0.0)
    if difference <= MAX_CLOCK_DIFFERENCE_S:
        return Finding("clock", OK, f"differs by {difference:.1f} s at most")
    advice = "Let both machines take their time from NTP; elapsed times and stalls are judged by it."
    return Finding("clock", WARNING, f"differs by {difference:.0f} s", advice)


def check_key(connection: Connection) -> Finding:
    """Whether the dashboard lets us read with the key we have."""
    said = "a key is sent" if connection.key else "no key is sent"
    try:
        connection.api(patience_s=0).list(limit=1)
    except ServerSaid as error:
        if error.status in (401, 403):
            advice = "Name a key that it knows with --key or MISSION_DASHBOARD_KEY."
            return Finding("key", PROBLEM, f"{said}, and it says: {error.detail}", advice)
        advice = "Wait a minute." if error.status == 429 else "Its log says more."
        return Finding("key", WARNING, f"{said}; the answer was {error.status}: {error.detail}", advice)
    except ClientError as error:
        return Finding("key", WARNING, f"{said}; {error}", "Try again.")
    return Finding("key", OK, f"{said}, and missions can be read")


def check_server_here(connection: Connection) -> Iterator[Finding]:
    """What `mission-dashboard serve` would find in this folder; only where the server's packages are."""
    if missing_of(SERVER_PACKAGES):
        return
    from mission_dashboard.config import load_settings

    try:
        settings = load_settings(make_keys=False)
    except StartupError as error:
        yield Finding("settings", PROBLEM, str(error).replace("\n", " "), "Mend them in the environment or in .env.")
        return
    yield Finding("settings", OK, f"{settings.environment}, {settings.async_mode}")
    yield check_port(settings, connection)
    yield check_folder("data folder", settings.data_dir, "MISSION_DASHBOARD_DATA_DIR")
    yield check_folder("log folder", settings.log_dir, "MISSION_DASHBOARD_LOG_DIR")
    yield check_disk(settings.data_dir)
    yield check_postgres(settings)


def check_port(settings: Settings, connection: Connection) -> Finding:
    """Whether the server could listen, or is what listens already."""
    address = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((settings.host, settings.port))
    except OSError as error:
        if re.search(rf":{settings.port}$", connection.url) and _is_dashboard(connection):
            return Finding("port", OK, f"{address} is taken by the dashboard that runs")
        reason = error.strerror or str(error)
        advice = "Set MISSION_DASHBOARD_PORT or MISSION_DASHBOARD_HOST, or end what listens there."
        return Finding("port", WARNING, f"{address} cannot be listened on: {reason}", advice)
    return Finding("port", OK, f"{address} is free")


def _is_dashboard(connection: Connection) -> bool:
    try:
        connection.api(patience_s=0).health()
    except ServerSaid:
        return True
    except ClientError:
        return False
    return True


def check_folder(name: str, folder: Path, setting: str) -> Finding:
    """Whether the folder can be written, or made."""
    there = nearest(folder)
    state = "can be written" if there == folder else "can be made"
    if os.access(there, os.W_OK | os.X_OK) and os.path.isdir(there):
        return Finding(name, OK, f"{folder} {state}")
    return Finding(name, PROBLEM, f"{folder} cannot be written", f"Give this user the folder, or set {setting}.")


def nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists; what we may not look for counts as missing."""
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))


def check_disk(folder: Path) -> Finding:
    """Whether there is room for the database."""
    free = shutil.disk_usage(nearest(folder)).free
    found = f"{free / 1e9:.1f} GB free for {folder}"
    advice = "Free some space, or set MISSION_DASHBOARD_DATA_DIR to a larger disk."
    if free < TOO_FEW_BYTES:
        return Finding("disk", PROBLEM, found, advice)
    return Finding("disk", WARNING, found, advice) if free < FEW_BYTES else Finding("disk", OK, found)


def check_postgres(settings: Settings) -> Finding:
    """Whether there is a PostgreSQL to keep missions in."""
    if settings.postgres_dsn:
        return _check_dsn(settings.postgres_dsn)
    from mission_dashboard.postgres.binaries import find_binaries

    try:
        found = find_binaries(None)
    except StartupError as error:
        return Finding("postgresql", PROBLEM, "no embedded one", str(error))
    return Finding("postgresql", OK, f"embedded {found.version} in {found.bin_dir}")


def _check_dsn(dsn: str) -> Finding:
    import psycopg2

    from mission_dashboard import concurrency
    from mission_dashboard.postgres.connections import connect

    concurrency.prepare("threading")  # so that nothing waits for ever
    try:
        connection = connect(dsn, "mission-dashboard doctor")
    except (StartupError, StoreUnavailable) as error:
        return Finding("postgresql", PROBLEM, printable(reason_of(error)), "Mend POSTGRES_DSN.")
    try:
        return _check_database(connection)
    except psycopg2.Error as error:
        advice = "Is its user the one who owns the tables, and does nobody lock them? pg_stat_activity tells."
        return Finding("postgresql", PROBLEM, f"POSTGRES_DSN cannot be used: {first_line(error)}", advice)
    finally:
        connection.close()


def _check_database(connection: Database) -> Finding:
    from mission_dashboard.postgres.connections import fetch
    from mission_dashboard.postgres.migrate import newest_step, read_migrations

    version = f"{connection.server_version // 10000}.{connection.server_version % 10000} behind POSTGRES_DSN"
    takes_writes, is_ours = fetch(connection, TAKES_TABLES)[0]
    if not takes_writes:
        advice = "Is it a standby, or its disk full? Name the server that takes writes."
        return Finding("postgresql", PROBLEM, f"{version} is read-only", advice)
    if not is_ours:
        advice = "Let the user of POSTGRES_DSN own the database."
        return Finding("postgresql", PROBLEM, f"{version} lets its user make no tables", advice)
    if newest_step(connection) > read_migrations()[-1].number:
        advice = "Start that version, or put the backup of before back with this one."
        return Finding("postgresql", PROBLEM, f"{version} was migrated by a newer Mission Dashboard", advice)
    return Finding("postgresql", OK, version)


COMMANDS: Mapping[str, click.Command] = {"doctor": doctor}
