"""No sessions: nothing here is kept per browser, so no request pays for reading and signing a cookie."""

from __future__ import annotations

from flask import Flask
from flask.sessions import SessionInterface, SessionMixin
from flask.wrappers import Request, Response


class NoSessions(SessionInterface):
    """A session interface without sessions."""

    def open_session(self, app: Flask, request: Request) -> SessionMixin | None:
        """Open none."""
        return None

    def make_null_session(self, app: Flask) -> None:  # type: ignore[override]
        """Make none: views that ask for one fail as they would without a secret key."""

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save nothing."""

    def is_null_session(self, obj: object) -> bool:
        """Tell Flask that whatever there is need not be saved."""
        return True
