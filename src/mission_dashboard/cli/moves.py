"""The commands that change a mission: create it, report to it, steer it, answer its question."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from mission_dashboard.cli.connection import Connection, connected
from mission_dashboard.cli.outcomes import Told
from mission_dashboard.cli.words import printable

F = TypeVar("F", bound=Callable[..., Any])
PRIORITIES = ("low", "medium", "high", "critical")
mission_argument = click.argument("mission_id", metavar="MISSION")


def json_value(text: str | None) -> Any:
    """Return what --result says: JSON, else text; `@file` reads a file, `-` reads stdin."""
    if text is None:
        return None
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            with open(text[1:], encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"{text[1:]} cannot be read: {error}.") from error
    try:
        return json.loads(text)
    except ValueError:
        return text


def json_pairs(pairs: Sequence[str]) -> dict[str, Any] | None:
    """Return what --metadata says, each `name=value`, the value JSON or else text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--metadata must read like name=value, not {pair!r}.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found or None


def with_usage(function: F) -> F:
    """Give a command the options that say what was used so far."""
    for option in (
        click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="Merged into the metadata; repeatable."),
        click.option("--cost", "cost_estimate", type=float, help="US dollars so far."),
        click.option("--output-tokens", type=int, help="Output tokens so far."),
        click.option("--input-tokens", type=int, help="Input tokens so far."),
        click.option("--tokens", "tokens_used", type=int, help="Tokens so far, all together."),
    ):
        function = option(function)
    return function


def usage_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was said with the metadata as an object."""
    return {**said, "metadata": json_pairs(said.get("metadata") or ())}


def with_creation(function: F) -> F:
    """Give a command the options that describe a new mission."""
    for option in (
        click.option("--budget-seconds", type=float, help="The most seconds it may run."),
        click.option("--budget-tokens", type=int, help="The most tokens it may use."),
        click.option("--budget-cost", type=float, help="The most US dollars it may cost."),
        click.option("--parent", "parent_id", metavar="MISSION", help="The mission this one is a part of."),
        click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="Metadata, repeatable."),
        click.option("--model", "model_used", help="The model it uses."),
        click.option("--agent", "agent_type", help="Which agent runs it."),
        click.option("--type", "mission_type", help="The mission's type, as metadata.type."),
        click.option("--priority", type=click.Choice(PRIORITIES), help="medium unless said."),
        click.option("--description", help="What it is about, at length."),
    ):
        function = option(function)
    return function


def creation_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `with_creation` as fields of a new mission."""
    metadata = json_pairs(said["metadata"]) or {}
    if said["mission_type"]:
        metadata["type"] = said["mission_type"]
    budget = {name: said[f"budget_{name}"] for name in ("cost", "tokens", "seconds")}
    fields = ("description", "priority", "agent_type", "model_used", "parent_id")
    return {
        **{name: said[name] for name in fields},
        "metadata": metadata or None,
        "budget": {name: limit for name, limit in budget.items() if limit is not None} or None,
    }


def said_of(answer: Mapping[str, Any]) -> str:
    """Return an answer as one line, and what the dashboard wants of the agent if that is not to go on."""
    mission = answer["mission"]
    line = f"{answer['message']}: {mission['id']}  {mission['status']}  {printable(mission['title'])}"
    directive = answer.get("directive") or {}
    if directive.get("action", "continue") == "continue":
        return line
    why = f": {printable(directive['reason'])}" if directive.get("reason") else ""
    return f"{line}\nThe agent shall {directive['action']}{why}."


@click.command()
@click.argument("title")
@with_creation
@click.option("--id", "mission_id", metavar="UUID", help="The mission's id; made here unless given.")
@click.option("--start", "starts", is_flag=True, help="Say at once that it runs.")
@click.option("--id-only", is_flag=True, help="Print the id alone.")
@connected
def create(
    connection: Connection, title: str, mission_id: str | None, starts: bool, id_only: bool, **said: Any
) -> None:
    """Create a mission.

    \b
    Examples:
      mission-dashboard create "Index the corpus" --type indexing --priority high
      ID=$(mission-dashboard create "Nightly backup" --start --id-only)
      mission-dashboard create "Try the new prompt" --budget-cost 0.50 --budget-seconds 600
    """
    api = connection.api()
    answer = api.create(title, id=mission_id, **creation_of(said))
    if starts:
        answer = {"mission_id": answer["mission_id"], **api.start(answer["mission_id"])}
    connection.show(answer, answer["mission_id"] if id_only else said_of(answer))


@click.command()
@mission_argument
@click.option("--agent", "agent_type", help="Which agent runs it.")
@click.option("--model", "model_used", help="The model it uses.")
@click.option("--step", help="What it does now, in one line.")
@connected
def start(connection: Connection, mission_id: str, **said: Any) -> None:
    """Say that a pending mission runs now.

    \b
    Example:
      mission-dashboard start "$ID" --agent RetrievalAgent --model mistral:7b-instruct
    """
    answer = connection.api().start(mission_id, **said)
    connection.show(answer, said_of(answer))


@click.command()
@mission_argument
@click.argument("percent", type=float, required=False)
@click.option("--step", help="What it does now, in one line.")
@click.option("--result", help="What there is so far: JSON or text, @file, - for stdin.")
@with_usage
@connected
def progress(connection: Connection, mission_id: str, percent: float | None, result: str | None, **said: Any) -> None:
    """Say how far a running mission is. Tokens and cost are totals, not increments.

    \b
    Examples:
      mission-dashboard progress "$ID" 40 --step "chunk 8 of 20"
      mission-dashboard progress "$ID" --input-tokens 900 --output-tokens 120
    """
    answer = connection.api().progress(mission_id, percent, result=json_value(result), **usage_of(said))
    connection.show(answer, said_of(answer))


@click.command()
@mission_argument
@click.option("--result", help="The result: JSON or text, @file, - for stdin.")
@with_usage
@connected
def complete(connection: Connection, mission_id: str, result: str | None, **said: Any) -> None:
    """Say that a running mission ended well.

    \b
    Examples:
      mission-dashboard complete "$ID" --result '{"chunks": 20}' --tokens 3000
      make report | mission-dashboard complete "$ID" --result -
    """
    answer = connection.api().complete(mission_id, result=json_value(result), **usage_of(said))
    connection.show(answer, said_of(answer))


@click.command()
@mission_argument
@click.argument("error_message", metavar="ERROR", required=False)
@click.option("--result", help="What there is so far: JSON or text, @file, - for stdin.")
@with_usage
@connected
def fail(connection: Connection, mission_id: str, error_message: str | None, result: str | None, **said: Any) -> None:
    """Say that a running mission ended badly, and why.

    \b
    Example:
      mission-dashboard fail "$ID" "The index is locked"
    """
    answer = connection.api().fail(mission_id, error_message, result=json_value(result), **usage_of(said))
    connection.show(answer, said_of(answer))


@click.command()
@mission_argument
@click.option("--reason", help="Why.")
@click.option("--by", help="Who says so.")
@connected
def cancel(connection: Connection, mission_id: str, **said: Any) -> None:
    """Stop a pending or running mission.

    \b
    Example:
      mission-dashboard cancel "$ID" --reason "Superseded"
    """
    answer = connection.api().cancel(mission_id, **said)
    connection.show(answer, said_of(answer))


@click.command()
@mission_argument
@connected
def retry(connection: Connection, mission_id: str) -> None:
    """Create a new pending mission like a finished one.

    \b
    Example:
      mission-dashboard retry "$ID"
    """
    answer = connection.api().retry(mission_id)
    connection.show(answer, said_of(answer))


@click.command()
@mission_argument
@click.option("--reason", help="Why.")
@click.option("--by", help="Who says so.")
@connected
def pause(connection: Connection, mission_id: str, **said: Any) -> None:
    """Ask a running mission's agent to pause.

    \b
    Example:
      mission-dashboard pause "$ID" --reason "The database is being moved"
    """
    answer = connection.api().pause(mission_id, **said)
    connection.show(answer, said_of(answer))


@click.command()
@mission_argument
@click.option("--by", help="Who says so.")
@connected
def resume(connection: Connection, mission_id: str, **said: Any) -> None:
    """Let a paused mission go on.

    \b
    Example:
      mission-dashboard resume "$ID"
    """
    answer = connection.api().resume(mission_id, **said)
    connection.show(answer, said_of(answer))


@click.command()
@mission_argument
@click.argument("text", metavar="ANSWER")
@click.option("--question", "question_id", metavar="ID", help="Which question; the one that is open unless given.")
@click.option("--by", help="Who answers.")
@connected
def answer(connection: Connection, mission_id: str, text: str, question_id: str | None, by: str | None) -> None:
    """Answer the question that a mission waits for.

    \b
    Examples:
      mission-dashboard list --status running --asking
      mission-dashboard answer "$ID" approve --by ana
    """
    api = connection.api()
    if question_id is None:
        question = api.get(mission_id)["mission"].get("question")
        if question is None:
            raise Told("This mission waits for no answer.")
        question_id = question["id"]
    told = api.answer(mission_id, question_id, text, by)
    connection.show(told, said_of(told))


COMMANDS: Mapping[str, click.Command] = {
    found.name: found
    for found in (create, start, progress, complete, fail, cancel, retry, pause, resume, answer)
    if found.name is not None
}
