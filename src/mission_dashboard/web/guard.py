"""Access to this server, put together: keys and sessions, the gate before everything, sockets, the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, request
from flask_socketio import SocketIO

from mission_dashboard import wire
from mission_dashboard.access.audit import Audit
from mission_dashboard.access.service import Access
from mission_dashboard.called import command_name
from mission_dashboard.config import Settings
from mission_dashboard.errors import AccessEnded, StartupError
from mission_dashboard.postgres.access_store import PostgresAccessStore
from mission_dashboard.web.gate import Gate
from mission_dashboard.web.keys import make_keys
from mission_dashboard.web.login import make_login
from mission_dashboard.web.oidc import Provider, make_oidc
from mission_dashboard.web.proxies import Proxies
from mission_dashboard.web.requests_log import Environ, WsgiApp
from mission_dashboard.web.socket_access import SocketAccess
from mission_dashboard.web.waiting import Waiting

Limit = Callable[[Callable[..., Any]], Callable[..., Any]]


class Guard:
    """Everything about access in one server process."""

    def __init__(self, settings: Settings, dsn: str) -> None:
        self._settings = settings
        self._store = PostgresAccessStore(dsn)
        people = repr((settings.oidc_issuer, settings.oidc_client_id, settings.oidc_roles))
        self.access = Access(self._store, settings.admin_key or None, settings.session_hours, wire.now, people)
        self.audit = Audit(self._store, wire.now)
        self._gate: Gate | None = None
        self._sockets: SocketAccess | None = None

    def add_views(self, app: Flask, socketio: SocketIO, waiting: Waiting, limit: Limit) -> None:
        """Add the pages and calls about access, and the look at open sockets and at who is ``waiting``."""
        settings = self._settings
        provider = Provider.of(settings)
        self._sockets = SocketAccess(socketio, self.access, waiting)
        app.register_error_handler(AccessEnded, lambda _: self._the_gate().let_go(request.environ))
        app.register_blueprint(
            make_login(
                self.access,
                self._the_gate,
                limit,
                settings.static_url,
                provider=provider.name if provider else None,
                is_secure=settings.is_production,
            )
        )
        app.register_blueprint(make_keys(app, self.access, self.audit, limit, settings.static_url))
        if provider is not None:
            app.register_blueprint(make_oidc(self.access, provider, settings, limit))

    def wrap(self, app: WsgiApp) -> WsgiApp:
        """Put the gate before the application."""
        settings = self._settings
        self._gate = Gate(
            app,
            self.access,
            self.audit,
            trusts_loopback=not settings.is_production,
            redis_url=settings.redis_url,
            limit=settings.rate_limit,
        )
        return self._gate

    def wrap_outside(self, app: WsgiApp) -> WsgiApp:
        """Put what learns the caller's address before all that asks for it."""
        return Proxies(app, self._settings.trusted_proxies)

    def note_refused(self, environ: Environ, status: int) -> None:
        """Take note of a request that was refused before it came to the gate."""
        self._the_gate().note_refused(environ, status)

    def note_limited(self, environ: Environ) -> None:
        """Take note of a report over a socket that was one too many: the gate saw only the socket's own request."""
        self._the_gate().note_limited(environ)

    def note_refused_operations(self, environ: Environ, refused: str) -> None:
        """Take note of what a caller may not do over a socket."""
        self._the_gate().note_operations(environ, refused)

    def note_done(self, environ: Environ, detail: str) -> None:
        """Take note of what a caller did over a socket."""
        self._the_gate().note_done(environ, detail)

    def _the_gate(self) -> Gate:
        assert self._gate is not None
        return self._gate

    def open(self) -> None:
        """Load keys and sessions; raise `StartupError` where nobody could ever get in."""
        self.access.open()
        if self._settings.is_production and not self.access.has_admin and not self._settings.oidc_issuer:
            raise StartupError(
                "Nobody could log in: set MISSION_DASHBOARD_ADMIN_KEY ('openssl rand -hex 32' makes one) or "
                f"MISSION_DASHBOARD_OIDC_ISSUER, or make a key with '{command_name()} keys create --dsn ...', "
                "when ENVIRONMENT is production."
            )
        self.audit.open()
        if self._sockets is not None:
            self._sockets.start()

    def close(self) -> None:
        """Write what is gathered, and let go of the database."""
        if self._sockets is not None:
            self._sockets.close()
        self.access.close()
        self.audit.close()
        self._store.close()
