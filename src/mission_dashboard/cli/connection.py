"""What all commands that talk to a dashboard share: --url, --key, --json, and the calls."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from mission_dashboard.client.calls import Api
from mission_dashboard.client.settings import read_key, read_url
from mission_dashboard.client.transport import Transport

F = TypeVar("F", bound=Callable[..., Any])
TIMEOUT_S = 10.0
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Connection:
    """Which dashboard is meant, and how its answers are shown."""

    url: str
    key: str | None
    as_json: bool

    def api(self, patience_s: float = PATIENCE_S) -> Api:
        """Return the dashboard's API; a busy dashboard is asked again for so long."""
        return Api(Transport(self.url, self.key, TIMEOUT_S), patience_s)

    def show(self, answer: Mapping[str, Any], text: str) -> None:
        """Print an answer: whole as JSON, or as text for people."""
        click.echo(json.dumps(answer, ensure_ascii=False) if self.as_json else text)


def connected(function: F) -> F:
    """Give a command --url, --key and --json, here or before its name, and a `Connection` as first argument."""

    @click.option("--url", help="The dashboard's address, else MISSION_DASHBOARD_URL.")
    @click.option("--key", help="The key sent with each call, else MISSION_DASHBOARD_KEY.")
    @click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout, errors too.")
    @functools.wraps(function)
    def wrapped(url: str | None, key: str | None, as_json: bool, **given: Any) -> Any:
        before = click.get_current_context().obj
        connection = make_connection(url or before["url"], key or before["key"], as_json or before["as_json"])
        return function(connection, **given)

    return wrapped  # type: ignore[return-value]


def make_connection(url: str | None, key: str | None, as_json: bool) -> Connection:
    """Return the connection that options and environment name; raise `click.UsageError` for a wrong address."""
    try:
        return Connection(read_url(url), read_key(key), as_json)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
