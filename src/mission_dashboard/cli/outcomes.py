"""Exit codes, and how errors are told: one table for all commands."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import click

from mission_dashboard.errors import MissionDashboardError, reason_of


class Exit(IntEnum):
    """What the command's exit code says to a script."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNKNOWN_MISSION = 4
    BUSY = 5
    ENDED_BADLY = 6
    CANNOT_WRAP = 125
    CANNOT_EXECUTE = 126
    NOT_FOUND = 127
    INTERRUPTED = 130
    TERMINATED = 143


class Told(MissionDashboardError):
    """The command cannot go on; the sentence says why, and what to do."""

    def __init__(self, sentence: str, code: Exit = Exit.REFUSED) -> None:
        self.code = code
        super().__init__(sentence)


BY_STATUS = {404: Exit.UNKNOWN_MISSION, 429: Exit.BUSY, 503: Exit.BUSY}


def exit_of(error: Exception) -> Exit:
    """Return the exit code for an error."""
    if isinstance(error, Told):
        return error.code
    if isinstance(error, click.ClickException):
        return Exit.USAGE
    status = getattr(error, "status", None)
    if status is not None:
        return BY_STATUS.get(status, Exit.REFUSED)
    return Exit.UNREACHABLE if hasattr(error, "url") else Exit.REFUSED


def as_document(error: Exception) -> dict[str, Any]:
    """Return an error as the JSON document that --json answers with."""
    sentence = error.format_message() if isinstance(error, click.ClickException) else reason_of(error)
    return {
        "error": sentence,
        "status": getattr(error, "status", None),
        "errors": [dict(problem) for problem in getattr(error, "errors", ())],
        "exit_code": int(exit_of(error)),
    }
