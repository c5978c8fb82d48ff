"""The commands that read: `list` and `show`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mission_dashboard.cli import words
from mission_dashboard.cli.connection import Connection, connected
from mission_dashboard.cli.moves import PRIORITIES
from mission_dashboard.client.calls import Api
from mission_dashboard.client.errors import ServerSaid

F = TypeVar("F", bound=Callable[..., Any])
STATUSES = ("pending", "running", "completed", "failed", "cancelled")
PAGE = 200
MOST = 100_000
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
AGO = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
LINES = 20
WIDTHS = {"id": 36, "state": 11, "progress": 17, "title": 16, "doing": 16, "for": 7, "tokens": 6, "cost": 8}
"""The columns and their least widths."""
NUMBERS = ("for", "tokens", "cost")
DISPENSABLE = ("doing", "tokens", "cost", "progress", "for")
"""What a narrow terminal does without, in this order."""
GAP = 2


def moment(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Return a time as the dashboard reads it; `2h` is two hours ago."""
    ago = AGO.fullmatch(text or "")
    if ago is None:
        return text
    return (datetime.now(timezone.utc) - timedelta(seconds=int(ago[1]) * UNITS[ago[2]])).isoformat()


def filtered(function: F) -> F:
    """Give a command the filters of the list."""
    for option in (
        click.option("--created-before", callback=moment, metavar="TIME", help="Like --created-after."),
        click.option(
            "--created-after", callback=moment, metavar="TIME", help="2026-01-31T12:00:00Z, or 30m, 2h, 1d, 1w ago."
        ),
        click.option("--parent", "parent_id", metavar="MISSION", help="Parts of this mission."),
        click.option("-q", "--search", "q", help="Words in title, description, type, agent and model."),
        click.option("--model", "model_used", multiple=True, help="Repeatable."),
        click.option("--agent", "agent_type", multiple=True, help="Repeatable."),
        click.option("--type", "type", multiple=True, help="Repeatable."),
        click.option("--priority", multiple=True, type=click.Choice(PRIORITIES), help="Repeatable."),
        click.option("--status", multiple=True, type=click.Choice(STATUSES), help="Repeatable."),
    ):
        function = option(function)
    return function


def filters_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters that were given."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items() if value}


@click.command("list")
@filtered
@click.option("--asking", is_flag=True, help="Those that wait for a person's answer.")
@click.option("--stalled", is_flag=True, help="Those that run without a sign of life.")
@click.option(
    "--sort", help="created_at, updated_at, completed_at, priority, title, duration, ...; - for largest first."
)
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", help="Go on where the last answer ended (its next_cursor).")
@click.option("--ids", is_flag=True, help="Print the ids alone, one a line.")
@connected
def list_missions(
    connection: Connection,
    asking: bool,
    stalled: bool,
    sort: str | None,
    limit: int,
    cursor: str | None,
    ids: bool,
    **filters: Any,
) -> None:
    """List missions, the newest first.

    \b
    Examples:
      mission-dashboard list --status running
      mission-dashboard list --status failed --created-after 1d --agent CodeAgent
      mission-dashboard list -q "nightly index" --sort -cost_estimate --limit 10
      mission-dashboard list --status pending --ids | xargs -n1 mission-dashboard cancel
      mission-dashboard list --json | jq '.missions[].title'
    """
    query = {**filters_of(filters), "sort": sort}
    if asking or stalled:
        answer = read_pages(connection.api(), {**query, "status": ["running"]}, MOST, cursor)
        wanted = [mission for mission in answer["missions"] if _is_wanted(mission, asking, stalled)]
        answer.update(missions=wanted[:limit], total=len(wanted))
    else:
        answer = read_pages(connection.api(), query, limit, cursor)
    if connection.as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
    elif ids:
        click.echo("".join(f"{mission['id']}\n" for mission in answer["missions"]), nl=False)
    else:
        print_table(answer)


def _is_wanted(mission: Mapping[str, Any], asking: bool, stalled: bool) -> bool:
    """Whether the mission is what the two filters that the dashboard does not have ask for."""
    return bool((asking and mission.get("question")) or (stalled and mission.get("stalled")))


def read_pages(api: Api, query: Mapping[str, Any], limit: int, cursor: str | None) -> dict[str, Any]:
    """Read as many pages as it takes."""
    answer = api.list(**query, limit=min(limit, PAGE), cursor=cursor)
    while answer["next_cursor"] and len(answer["missions"]) < limit:
        left = min(limit - len(answer["missions"]), PAGE)
        page = api.list(**query, limit=left, cursor=answer["next_cursor"])
        answer = {**page, "missions": answer["missions"] + page["missions"]}
    return answer


def print_table(answer: Mapping[str, Any]) -> None:
    """Print missions as a table, and how many there are."""
    missions = answer["missions"]
    if not missions:
        click.echo("No missions.")
        return
    console = make_console()
    console.print(mission_table(missions, console.width, with_ids=True))
    if answer["total"] > len(missions):
        console.print(f"{len(missions):,} of {answer['total']:,}; --limit shows more.", style="dim")


def make_console() -> Console:
    """Return the terminal; where there is none, lines are not cut."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def mission_table(missions: Sequence[Mapping[str, Any]], width: int, with_ids: bool) -> Table:
    """Return missions as a table that fits into so many cells."""
    widths = column_widths(width, with_ids)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for name, cells in widths.items():
        justify: Any = "right" if name in NUMBERS else "left"
        table.add_column(name, width=cells, justify=justify, no_wrap=True, overflow="ellipsis")
    for mission in missions:
        row = mission_row(mission)
        table.add_row(*(row[name] for name in widths))
    return table


def column_widths(width: int, with_ids: bool) -> dict[str, int]:
    """Return the columns that have room, and how much each gets: what is left over goes to the texts."""
    widths = dict(WIDTHS) if with_ids else {name: cells for name, cells in WIDTHS.items() if name != "id"}
    for name in DISPENSABLE:
        if sum(widths.values()) + GAP * len(widths) <= width:
            break
        del widths[name]
    left = max(0, width - sum(widths.values()) - GAP * len(widths))
    widths["title"] += left if "doing" not in widths else left - left * 2 // 5
    if "doing" in widths:
        widths["doing"] += left * 2 // 5
    return widths


def mission_row(mission: Mapping[str, Any]) -> dict[str, str]:
    """Return a mission's cells by column."""
    status, state = mission["status"], words.state_of(mission)
    colour = "bright_magenta" if state == "asking" else "yellow" if state == "stalled" else words.COLOURS[status]
    return {
        "id": mission["id"],
        "state": f"[{colour}]{words.SYMBOLS[status]} {state}[/]",
        "progress": "" if status == "pending" else words.bar(mission["progress"]),
        "title": escape(words.printable(mission["title"])),
        "doing": escape(words.doing(mission)),
        "for": words.span(words.elapsed_s(mission)),
        "tokens": words.count(mission.get("tokens_used")),
        "cost": words.dollars(mission.get("cost_estimate")),
    }


@click.command()
@click.argument("mission_id", metavar="MISSION")
@click.option("--logs", "lines", type=click.IntRange(0, 1000), default=0, help="Show the last so many log lines too.")
@connected
def show(connection: Connection, mission_id: str, lines: int) -> None:
    """Show one mission.

    \b
    Examples:
      mission-dashboard show "$ID"
      mission-dashboard show "$ID" --logs 50
      mission-dashboard show "$ID" --json | jq .mission.result
    """
    api = connection.api()
    answer = api.get(mission_id)
    if lines:
        answer["lines"] = last_lines(api, mission_id, lines)
    if connection.as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
        return
    mission = answer["mission"]
    for name, value in facts_of(mission):
        click.echo(f"{name:12}{value}")
    for line in answer.get("lines", ()):
        click.echo(f"{line.get('at', '')}  {line.get('level', ''):8}{words.printable(line.get('message', ''))}")


def last_lines(api: Api, mission_id: str, count: int) -> list[dict[str, Any]]:
    """Return the last log lines; none where the dashboard keeps none."""
    try:
        return list(api.logs(mission_id, last=count)["lines"])
    except ServerSaid as error:
        if error.status == 404:
            return []
        raise


def facts_of(mission: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a mission's facts as names and values, without those that are unknown."""
    result = mission.get("result")
    question = mission.get("question") or {}
    facts = [
        ("title", words.printable(mission["title"])),
        ("id", mission["id"]),
        ("state", words.state_of(mission)),
        ("progress", f"{mission['progress']:g}%" if mission.get("progress") is not None else ""),
        ("step", words.printable(mission.get("step") or "")),
        ("question", words.printable(question.get("text", ""))),
        ("options", ", ".join(words.printable(option) for option in question.get("options") or ())),
        (
            "error",
            "\n            ".join(map(words.printable, (mission.get("error_message") or "").splitlines()[:LINES])),
        ),
        ("stalled", words.printable(mission.get("stalled_reason") or "")),
        ("type", words.printable((mission.get("metadata") or {}).get("type") or "")),
        ("priority", mission["priority"]),
        ("agent", words.printable(mission.get("agent_type") or "")),
        ("model", words.printable(mission.get("model_used") or "")),
        ("created", mission["created_at"]),
        ("started", mission.get("started_at") or ""),
        ("ended", mission.get("completed_at") or ""),
        ("for", words.span(words.elapsed_s(mission))),
        ("tokens", f"{mission['tokens_used']:,}" if mission.get("tokens_used") else ""),
        ("cost", words.dollars(mission.get("cost_estimate"))),
        ("budget", json.dumps(mission["budget"]) if mission.get("budget") else ""),
        ("parent", mission.get("parent_id") or ""),
        ("retry of", mission.get("retry_of") or ""),
        ("result", words.printable(json.dumps(result, ensure_ascii=False)) if result is not None else ""),
    ]
    return [(name, value) for name, value in facts if value]


COMMANDS: Mapping[str, click.Command] = {"list": list_missions, "show": show}
