"""The command `mission-dashboard`: start a dashboard, report to one, read it, watch it, wrap programs as missions.

`main` is the entry point. Commands are loaded when they are called: `serve` must not load what the server's green
threads have to patch first, and `list` needs none of the server's packages.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import click

from mission_dashboard import __version__
from mission_dashboard.cli.outcomes import Exit, as_document, exit_of
from mission_dashboard.errors import MissionDashboardError

COMMANDS: Mapping[str, str] = {
    "serve": "serving",
    "demo": "serving",
    "list": "reading",
    "show": "reading",
    "watch": "watching",
    "run": "running",
    "create": "moves",
    "start": "moves",
    "progress": "moves",
    "complete": "moves",
    "fail": "moves",
    "cancel": "moves",
    "retry": "moves",
    "pause": "moves",
    "resume": "moves",
    "answer": "moves",
    "keys": "keys",
    "doctor": "doctor",
    "backup": "keeping",
    "restore": "keeping",
    "retention": "keeping",
    "storage": "keeping",
    "mcp": "serving",
    "reprice": "serving",
}
"""In the order in which --help lists them, with the module of each."""

EPILOG = """\b
Examples:
  mission-dashboard serve                        start a dashboard here
  mission-dashboard run -- python train.py       wrap a program as a mission
  mission-dashboard watch                        what runs now, live
  ID=$(mission-dashboard create "Nightly index" --start --id-only)
  mission-dashboard progress "$ID" 40 --step "chunk 8 of 20"
  mission-dashboard list --status failed --created-after 1d --json

\b
Exit codes:
  0 done   1 refused, or something is wrong   2 the command line is wrong   3 no dashboard answers
  4 no such mission   5 the dashboard is too busy   6 the mission watched did not end well   130 Ctrl-C   143 SIGTERM
`run` exits with the program's own code; 125, 126, 127 when the program could not be run.

\b
Shell completion:
  bash  eval "$(_MISSION_DASHBOARD_COMPLETE=bash_source mission-dashboard)"
  zsh   eval "$(_MISSION_DASHBOARD_COMPLETE=zsh_source mission-dashboard)"
  fish  _MISSION_DASHBOARD_COMPLETE=fish_source mission-dashboard | source
"""


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if self.get_command(ctx, name) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"mission_dashboard.cli.{COMMANDS[cmd_name]}")
        command: click.Command | None = module.COMMANDS.get(cmd_name)
        return command


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mission-dashboard")
@click.option("--url", help="The dashboard's address, else MISSION_DASHBOARD_URL, else http://127.0.0.1:5002.")
@click.option("--key", help="The key sent with each call, else MISSION_DASHBOARD_KEY.")
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout, errors too.")
@click.pass_context
def command(context: click.Context, url: str | None, key: str | None, as_json: bool) -> None:
    """See and steer what your AI agents do."""
    context.obj = {"url": url, "key": key, "as_json": as_json}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    wants_json = "--json" in given[: given.index("--") if "--" in given else None]
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = command.main(given, prog_name="mission-dashboard", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message(), err=True)
        return Exit.USAGE
    except (MissionDashboardError, click.ClickException) as error:
        return _tell(error, wants_json)
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough of it; nothing more may be written, not even at the interpreter's end.
        sys.stdout = None
        return Exit.OK
    return code if isinstance(code, int) else Exit.OK


def _terminate(number: int, frame: FrameType | None) -> None:
    """End in order, so that what was changed on the terminal is put back."""
    raise SystemExit(Exit.TERMINATED)


def _tell(error: MissionDashboardError | click.ClickException, wants_json: bool) -> int:
    code = exit_of(error)
    if wants_json:
        click.echo(json.dumps(as_document(error), ensure_ascii=False))
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        _tell_person(as_document(error))
    return code


def _tell_person(document: Mapping[str, Any]) -> None:
    click.echo(document["error"], err=True)
    for problem in document["errors"]:
        line = f"  {problem.get('field')}: {problem.get('message')}"
        if str(problem.get("message")) not in document["error"]:
            click.echo(line, err=True)
