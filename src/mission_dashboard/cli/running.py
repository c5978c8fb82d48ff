"""`run -- COMMAND`: any program as a mission, whether the dashboard is there or not.

The program runs in a session of its own, so that all it starts can be stopped together. The main thread waits for what
happens: the program ends, a signal comes, the dashboard wants something. Threads copy the output and ask the dashboard.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from mission_dashboard.cli import environment
from mission_dashboard.cli.connection import Connection, connected
from mission_dashboard.cli.moves import creation_of, with_creation
from mission_dashboard.cli.outcomes import Exit
from mission_dashboard.cli.output import Line, Stream, copy_window_size, open_terminal, percent_in
from mission_dashboard.client import MissionClient
from mission_dashboard.client.calls import Api
from mission_dashboard.client.errors import ClientError, ServerSaid
from mission_dashboard.client.flows import Backoff
from mission_dashboard.client.missions import Mission
from mission_dashboard.client.reporting import BaseMission

MAX_TITLE = 200
HOLD_S = 25
DRAIN_S = 2.0
LOOK_S = 0.02
GLANCE_S = 0.5
"""How long at most a signal that another thread took waits for the main one, which sleeps and alone runs handlers."""
KEPT_LINES = 20
HEAD_START_S = 0.3
"""What `run` waits for the dashboard to know the mission, so that the program's own reports find it."""
REPORT_REFUSED = re.compile(r"refused '(log|progress|heartbeat)'")
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
PASSED_ON = (*STOPPING, signal.SIGUSR1, signal.SIGUSR2)


class Wrapped(BaseMission[None]):
    """A mission whose reports never wait and never raise: what obeys here is not the one who reports."""

    @classmethod
    def like(cls, mission: Mission) -> Wrapped:
        """Return this face of a mission that was not started yet."""
        wrapped = cls(mission._client, mission.id, mission.title, mission.parent)
        wrapped.describe(mission._creation, mission._agent, mission._model, mission._on_directive)
        return wrapped

    def confirm_cancel(self) -> None:
        """Tell the dashboard that the order to stop has arrived."""
        self._confirm_cancel()

    def _pass(self, is_cleanup: bool = False) -> None:
        return None


@dataclass
class Watched:
    """What of the program's output becomes of the mission."""

    mission: Wrapped
    logs: bool
    progress: bool
    last_lines: list[str] = field(default_factory=list)

    def hear(self, lines: list[Line], level: str) -> None:
        """Take in lines of output. Of many at once only the last ones tell how far it is."""
        if self.logs:
            for line, is_redraw in lines:
                if not is_redraw:
                    self.mission.log(line, level)
        newest = [line for line, _ in lines[-KEPT_LINES:]]
        percents = [percent for line in newest if (percent := percent_in(line)) is not None] if self.progress else []
        self.mission.progress(percents[-1] if percents else None, newest[-1].strip())
        self.last_lines = [*self.last_lines, *newest][-KEPT_LINES:]


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--title", help="The mission's title, the command line unless given.")
@with_creation
@click.option(
    "--grace",
    type=click.FloatRange(0, 3600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long after SIGTERM a cancelled program is killed.",
)
@click.option("--logs/--no-logs", default=True, help="Send output lines as the mission's log.")
@click.option("--progress/--no-progress", default=True, help="Take NN% in the output as progress.")
@click.option("--pty/--no-pty", default=None, help="Give the program a terminal; unless said, where there is one.")
@connected
def run(
    connection: Connection,
    command: tuple[str, ...],
    title: str | None,
    grace: float,
    logs: bool,
    progress: bool,
    pty: bool | None,
    **said: Any,
) -> int:
    """Run a program as a mission, and exit with its code.

    Its output passes through, and becomes the mission's log, step and progress. Cancel on the dashboard ends it
    (SIGTERM to all its processes, SIGKILL after --grace), pause stops it, resume lets it go on. Without a dashboard it
    runs all the same. It finds its mission's id in MISSION_DASHBOARD_MISSION; a `run` within it is a part of it.

    \b
    Examples:
      mission-dashboard run -- python train.py --epochs 3
      mission-dashboard run --title "Nightly backup" --type backup -- sh -c 'pg_dump shop | gzip > shop.gz'
      mission-dashboard run --budget-seconds 3600 -- make report
    """
    creation = creation_of(said)
    creation["parent_id"] = creation["parent_id"] or environment.outer_mission()
    logging.getLogger("mission_dashboard.client").addHandler(_Messages())
    logging.getLogger("mission_dashboard.client").propagate = False
    client = MissionClient(connection.url, connection.key, handle_sigterm=False)
    api = connection.api(patience_s=0)
    runner = Runner(client, api, list(command), title or shlex.join(command)[:MAX_TITLE], creation, grace)
    code = runner.run(logs, progress, sys.stdout.isatty() if pty is None else pty)
    if connection.as_json:
        document = {"mission_id": runner.mission.id, "exit_code": code, "outcome": runner.outcome}
        click.echo(json.dumps(document), err=True)
    return code


class _Messages(logging.Handler):
    """Tells on stderr what the client has to say.

    Not that a report is refused: an older dashboard keeps no log lines, and a cancelled program may speak on.
    """

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING and not REPORT_REFUSED.search(message):
            with contextlib.suppress(OSError, ValueError):
                click.echo(f"mission-dashboard: {message}", err=True)


class Runner:
    """One program and its mission."""

    def __init__(
        self,
        client: MissionClient,
        api: Api,
        command: list[str],
        title: str,
        creation: Mapping[str, Any],
        grace_s: float,
    ) -> None:
        self._client = client
        self._api = api
        self._command = command
        self._grace_s = grace_s
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        parent = creation["parent_id"]
        about = {name: value for name, value in creation.items() if name != "parent_id" and value is not None}
        made = client.mission(
            title, **about, parent=parent, on_directive=lambda directive: self._events.put(("directive", directive))
        )
        self.mission = Wrapped.like(made)
        self.outcome = "completed"
        self._watched = Watched(self.mission, True, True)
        self._process: subprocess.Popen[bytes] | None = None
        self._terminal: int | None = None
        self._is_paused = False
        self._is_cancelled = False
        self._was_stopped_by: int | None = None
        self._kill_at: float | None = None

    def run(self, logs: bool, progress: bool, pty: bool) -> int:
        """Run the program to its end and return its exit code."""
        self._watched = Watched(self.mission, logs, progress)
        self._take_signals()
        self.mission.start()
        self._client.flush(HEAD_START_S)
        try:
            streams = self._begin(pty)
        except OSError as error:
            return self._cannot(error)
        self._follow()
        code = self._attend()
        self._sweep()
        for stream in streams:
            stream.join(DRAIN_S)
        self._say_end(code)
        self._client.close()
        return code if code >= 0 else 128 - code

    # The program

    def _begin(self, pty: bool) -> list[Stream]:
        out = self._pipe(pty)
        err = out if pty and sys.stderr.isatty() and sys.stdout.isatty() else self._pipe(False)
        try:
            self._process = subprocess.Popen(
                self._command,
                stdout=out[1],
                stderr=err[1],
                start_new_session=True,
                env=environment.for_program(self.mission.id, self._client.settings.url, self._client.settings.key),
            )
        finally:
            for descriptor in {out[1], err[1]}:
                os.close(descriptor)
        streams = [Stream(out[0], 1, lambda lines: self._watched.hear(lines, "info"))]
        if err is not out:
            streams.append(Stream(err[0], 2, lambda lines: self._watched.hear(lines, "warning")))
        for stream in streams:
            stream.start()
        threading.Thread(target=self._wait, name="waits-for-program", daemon=True).start()
        return streams

    def _pipe(self, pty: bool) -> tuple[int, int]:
        if not pty:
            return os.pipe()
        ours, theirs = open_terminal()
        self._terminal = ours
        copy_window_size(1, ours)
        return ours, theirs

    def _wait(self) -> None:
        assert self._process is not None
        self._events.put(("exit", self._process.wait()))

    def _cannot(self, error: OSError) -> int:
        sentence = f"{self._command[0]} cannot be run: {error.strerror or error}."
        click.echo(f"mission-dashboard: {sentence}", err=True)
        self.outcome = "failed"
        self.mission.fail(sentence)
        self._client.close()
        if isinstance(error, FileNotFoundError):
            return Exit.NOT_FOUND
        return Exit.CANNOT_EXECUTE if isinstance(error, PermissionError) else Exit.CANNOT_WRAP

    # What happens meanwhile

    def _take_signals(self) -> None:
        for number in (*PASSED_ON, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
            if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGWINCH:
                signal.signal(number, lambda received, _: self._events.put(("signal", received)))

    def _follow(self) -> None:
        threading.Thread(target=self._hear_dashboard, name="hears-dashboard", daemon=True).start()

    def _hear_dashboard(self) -> None:
        """Ask what the mission shall do, and be answered when that changes."""
        backoff = Backoff()
        while self.mission.is_live and self.mission.action != "cancel":
            try:
                answer = self._api.directive(self.mission.id, HOLD_S, self.mission.action)
            except ClientError as error:
                # 404 until its creation has arrived.
                is_soon = isinstance(error, ServerSaid) and error.status == 404
                time.sleep(min(backoff.next_s(getattr(error, "retry_after_s", None)), 1.0 if is_soon else 30.0))
            else:
                backoff.reset()
                self.mission.hear(answer.get("directive"))

    def _attend(self) -> int:
        while True:
            try:
                kind, value = self._events.get(timeout=min(GLANCE_S, self._until_kill()))
            except queue.Empty:
                if not self._until_kill():
                    self._kill_at = None
                    self._signal(signal.SIGKILL)
                continue
            if kind == "exit":
                return int(value)
            if kind == "signal":
                self._pass_on(value)
            else:
                self._obey(value)

    def _until_kill(self) -> float:
        return math.inf if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())

    def _pass_on(self, number: int) -> None:
        if number == signal.SIGWINCH:
            if self._terminal is not None:
                copy_window_size(1, self._terminal)
            self._signal(number)
        elif number == signal.SIGTSTP:
            self._signal(signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGSTOP)
        elif number == signal.SIGCONT:
            if not self._is_paused:
                self._signal(number)
        else:
            if number in STOPPING:
                self._was_stopped_by = number
            self._signal(number)
            if self._is_paused and number in STOPPING:
                self._signal(signal.SIGCONT)

    def _obey(self, directive: Mapping[str, Any]) -> None:
        action = directive["action"]
        if action == "cancel":
            self._is_cancelled = True
            self.mission.confirm_cancel()
            self._kill_at = time.monotonic() + self._grace_s
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
        elif action == "pause" and not self._is_paused:
            self._is_paused = True
            self._signal(signal.SIGSTOP)
            self.mission.confirm("pause")
        elif action == "continue" and self._is_paused:
            self._is_paused = False
            self._signal(signal.SIGCONT)
            self.mission.confirm("continue")

    def _signal(self, number: int) -> None:
        """Signal the program and all that it started."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _sweep(self) -> None:
        """After a cancel nothing of it may run on: end what the program left behind."""
        if not self._is_cancelled:
            return
        ends_at = self._kill_at or time.monotonic()
        while self._has_rest() and time.monotonic() < ends_at:
            time.sleep(LOOK_S)
        self._signal(signal.SIGKILL)
        ends_at = time.monotonic() + DRAIN_S
        while self._has_rest() and time.monotonic() < ends_at:
            time.sleep(LOOK_S)

    def _has_rest(self) -> bool:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    # The end

    def _say_end(self, code: int) -> None:
        shown = code if code >= 0 else 128 - code
        how = {"exit_code": shown} if code >= 0 else {"exit_code": shown, "signal": signal.Signals(-code).name}
        self.mission.result(how)
        if self._is_cancelled or self.mission.action == "cancel":
            self.outcome = "cancelled"
            self.mission.end_with_program("")
        elif code == 0:
            self.mission.complete(how)
        elif self._was_stopped_by is not None:
            self.outcome = "cancelled"
            self.mission.cancel(f"The program was stopped by {signal.Signals(self._was_stopped_by).name}.")
        else:
            self.outcome = "failed"
            self.mission.fail("\n".join([self._why(code), "", *self._watched.last_lines]).strip())

    def _why(self, code: int) -> str:
        if code > 0:
            return f"The program ended with exit code {code}."
        return f"The program was ended by {signal.Signals(-code).name}."


COMMANDS: Mapping[str, click.Command] = {"run": run}
