"""No sessions: nothing here is kept per browser, so no request pays for reading and signing a cookie."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.sessions import SessionInterface, SessionMixin
from flask.wrappers import Request, Response


class EmptySession(dict[str, Any], SessionMixin):
    """What Flask-SocketIO finds when it looks for a session; never saved."""


class NoSessions(SessionInterface):
    """A session interface that keeps nothing."""

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        """Open an empty one."""
        return EmptySession()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save nothing."""

    def is_null_session(self, obj: object) -> bool:
        """Tell Flask that whatever there is need not be saved."""
        return True
