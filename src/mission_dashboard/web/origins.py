"""Refuses writes, and sockets, that a page of another origin makes a browser ask for.

Browsers say where a request comes from, in ``Sec-Fetch-Site`` and ``Origin``; programs such as curl say neither and
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mission_dashboard.web.answers import problem
from mission_dashboard.web.requests_log import Environ, StartResponse, WsgiApp

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
PING = "/ping/"
"""Addresses that write upon GET too."""
SOCKETS = "/socket.io"
"""A GET here opens a connection, and its answer may be read as a script (JSONP)."""
ANY = "*"
STRANGE = "mission_dashboard.strange_origin"
"""Set where a page of an origin that the settings do not name asks, and any may: it does not speak for this machine."""


class OriginGuard:
    """The WSGI wrapper; ``allowed`` are the other origins whose pages may write.

    ``refused`` is told of each request that is refused, with the status.
    """

    def __init__(
        self, app: WsgiApp, allowed: Sequence[str], refused: Callable[[Environ, int], None] | None = None
    ) -> None:
        self._app = app
        self._refused = refused
        self._allowed = frozenset(allowed)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        is_foreign = self._is_foreign(environ)
        if is_foreign and ANY in self._allowed:
            environ[STRANGE] = True
        elif is_foreign and self._is_for_own_pages(environ):
            if self._refused is not None:
                self._refused(environ, 403)
            refusal = problem(
                403,
                "Another origin",
                "A page of another origin may not write here: "
                "add its origin to MISSION_DASHBOARD_CORS_ORIGINS if it shall.",
            )
            return refusal(environ, start_response)
        return self._app(environ, start_response)

    def _is_for_own_pages(self, environ: Environ) -> bool:
        return environ["REQUEST_METHOD"] not in SAFE_METHODS or environ.get("PATH_INFO", "").startswith((PING, SOCKETS))

    def _is_foreign(self, environ: Environ) -> bool:
        origin, site = environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE")
        if (origin is None and site is None) or origin in self._allowed:
            return False
        if site is not None:
            return site not in ("same-origin", "none")
        host: str = environ.get("HTTP_HOST", "")
        return str(origin).partition("://")[2] != host
