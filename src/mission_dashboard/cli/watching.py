"""`watch`: missions as they move. A live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from mission_dashboard.cli import words
from mission_dashboard.cli.connection import Connection, connected
from mission_dashboard.cli.outcomes import Exit
from mission_dashboard.cli.reading import PAGE, filtered, filters_of, make_console, mission_table
from mission_dashboard.client.calls import Api
from mission_dashboard.client.errors import ClientError, DashboardUnreachable, ServerSaid

ALIVE = ("running", "pending")
LINES_AROUND = 5
"""How many lines of the screen are not missions."""
FINISHED_EVERY = 5
"""Every so many looks, finished missions are read anew: the limit of calls is for all programs of this address."""
TICK_S = 1.0


@dataclass
class Picture:
    """What is known of the missions now."""

    missions: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0
    as_of: datetime | None = None
    trouble: str = ""


class Watcher:
    """Looks at a dashboard again and again."""

    def __init__(self, api: Api, ids: Sequence[str], filters: Mapping[str, Any], rows: int) -> None:
        self._api = api
        self._ids = ids
        self._filters = filters
        self._rows = max(1, min(rows, PAGE))
        self._looks = 0
        self._finished: dict[str, Any] = {"missions": [], "total": 0}
        self._alive_before = -1
        self.picture = Picture()

    def look(self) -> None:
        """Read what there is now; trouble leaves the picture as it was and says so in it."""
        try:
            self._read()
        except DashboardUnreachable as error:
            self._trouble(error, "The dashboard does not answer")
        except ServerSaid as error:
            if error.status not in (429, 503):
                raise
            self._trouble(error, "The dashboard is busy")
        else:
            self.picture.as_of = datetime.now().astimezone()
            self.picture.trouble = ""

    def _trouble(self, error: ClientError, sentence: str) -> None:
        if self.picture.as_of is None:
            raise error
        self.picture.trouble = f"{sentence}; this is as of {self.picture.as_of:%H:%M:%S}."

    def _read(self) -> None:
        if self._ids:
            self.picture.missions = [self._api.get(mission_id)["mission"] for mission_id in self._ids]
            self.picture.total = len(self._ids)
            return
        if "status" in self._filters:
            page = self._api.list(**self._filters, limit=self._rows)
            self.picture.missions, self.picture.total = page["missions"], page["total"]
            return
        alive = self._api.list(**self._filters, status=list(ALIVE), limit=self._rows)
        if self._looks % FINISHED_EVERY == 0 or alive["total"] < self._alive_before:
            self._finished = self._api.list(**self._filters, status=list(words.FINISHED), limit=self._rows)
        self._looks += 1
        self._alive_before = alive["total"]
        known = {mission["id"] for mission in alive["missions"]}
        over = [mission for mission in self._finished["missions"] if mission["id"] not in known]
        first = sorted(alive["missions"], key=lambda mission: ALIVE.index(mission["status"]))
        self.picture.missions = (first + over)[: self._rows]
        self.picture.total = alive["total"] + self._finished["total"]

    @property
    def is_over(self) -> bool:
        """Whether all missions that were named have ended."""
        return bool(self._ids) and all(mission["status"] in words.FINISHED for mission in self.picture.missions)

    @property
    def exit_code(self) -> Exit:
        """What to tell a script about the missions that were named."""
        return (
            Exit.OK if all(mission["status"] == "completed" for mission in self.picture.missions) else Exit.ENDED_BADLY
        )


@click.command()
@click.argument("ids", nargs=-1, metavar="[MISSION]...")
@filtered
@click.option("--interval", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, help="Seconds.")
@click.option("--rows", type=click.IntRange(1, PAGE), help="How many missions at most; as many as fit unless given.")
@click.option("--once", is_flag=True, help="Look once, then end.")
@connected
def watch(
    connection: Connection, ids: tuple[str, ...], interval: float, rows: int | None, once: bool, **filters: Any
) -> int:
    """Watch missions live.

    A table on a terminal, else a line for each change; Ctrl-C ends it.

    With missions named it ends when they have ended: exit code 0 if all were completed, else 6. With --json each
    change is a JSON document on a line of its own.

    \b
    Examples:
      mission-dashboard watch
      mission-dashboard watch --type indexing --agent RetrievalAgent
      mission-dashboard watch "$ID" && deploy
      mission-dashboard watch --json | jq -r '.mission.title'
    """
    console = make_console()
    live = console.is_terminal and not connection.as_json and not once
    height = max(1, console.size.height - LINES_AROUND) if live else 50
    watcher = Watcher(connection.api(patience_s=0), ids, filters_of(filters), rows or height)
    watcher.look()
    if once:
        return _show_once(connection, console, watcher)
    if live:
        _follow_on_screen(console, connection.url, watcher, interval)
        console.print(mission_table(watcher.picture.missions, console.width, with_ids=False))
    else:
        _follow_in_lines(connection, watcher, interval)
    return watcher.exit_code if ids else Exit.OK


def _show_once(connection: Connection, console: Console, watcher: Watcher) -> int:
    if connection.as_json:
        click.echo(json.dumps({"missions": watcher.picture.missions, "total": watcher.picture.total}))
    else:
        console.print(mission_table(watcher.picture.missions, console.width, with_ids=False))
    return Exit.OK


def _follow_on_screen(console: Console, url: str, watcher: Watcher, interval_s: float) -> None:
    """Show the table on the terminal's other screen, which gives the first one back whatever ends this."""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        looked_at = time.monotonic()
        while not watcher.is_over:
            live.update(_screen(url, watcher.picture, console.width), refresh=True)
            time.sleep(min(TICK_S, interval_s))
            if time.monotonic() - looked_at >= interval_s:
                watcher.look()
                looked_at = time.monotonic()


def _screen(url: str, picture: Picture, width: int) -> Group:
    running = sum(mission["status"] == "running" for mission in picture.missions)
    head = Text.assemble(("Mission Dashboard", "bold"), f"  {url}   {running} running, {picture.total:,} in all")
    state = Text(
        picture.trouble or f"Live, {picture.as_of:%H:%M:%S}. Ctrl-C ends.", "yellow" if picture.trouble else "dim"
    )
    missions = (
        mission_table(picture.missions, width, with_ids=False) if picture.missions else Text("No missions yet.", "dim")
    )
    return Group(head, "", missions, "", state)


def _follow_in_lines(connection: Connection, watcher: Watcher, interval_s: float) -> None:
    told: dict[str, tuple[Any, ...]] = {}
    trouble = ""
    while True:
        for mission in watcher.picture.missions:
            seen = (mission["version"],) if connection.as_json else _gist(mission)
            if told.get(mission["id"]) != seen:
                told[mission["id"]] = seen
                click.echo(json.dumps({"mission": mission}) if connection.as_json else _line(mission))
        if watcher.picture.trouble and not trouble:
            click.echo(watcher.picture.trouble, err=True)
        trouble = watcher.picture.trouble
        if watcher.is_over:
            return
        time.sleep(interval_s)
        watcher.look()


def _gist(mission: Mapping[str, Any]) -> tuple[Any, ...]:
    return (words.state_of(mission), words.doing(mission), int((mission.get("progress") or 0) // 5))


def _line(mission: Mapping[str, Any]) -> str:
    progress = f"{mission['progress']:3.0f}%" if mission.get("progress") is not None else "    "
    title = words.printable(mission["title"])
    return f"{words.state_of(mission):9} {progress}  {mission['id']}  {title}  {words.doing(mission)}".rstrip()


COMMANDS: Mapping[str, click.Command] = {"watch": watch}
