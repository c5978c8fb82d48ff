"""Believes what proxies say of the caller, but only those that the settings name.

Werkzeug's ProxyFix counts how many proxies there are; it does not look who they are, so that whoever reaches the port
directly could say anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from mission_dashboard.web.requests_log import Environ, StartResponse, WsgiApp

Network = IPv4Network | IPv6Network
FORWARDED = "mission_dashboard.forwarded"
"""Set in the environ of requests that somebody passed on, whether we believe them or not."""
_SIGNS = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_HOST", "HTTP_VIA")
MAX_HOPS = 20


class Proxies:
    """The WSGI wrapper; ``trusted`` are the networks of the proxies."""

    def __init__(self, app: WsgiApp, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if any(sign in environ for sign in _SIGNS):
            environ[FORWARDED] = True
            if self._is_trusted(environ.get("REMOTE_ADDR", "")):
                self._believe(environ)
        return self._app(environ, start_response)

    def _believe(self, environ: Environ) -> None:
        hops = [hop.strip() for hop in environ.get("HTTP_X_FORWARDED_FOR", "").split(",")][-MAX_HOPS:]
        for hop in reversed(hops):
            if not _is_address(hop):
                break
            environ["REMOTE_ADDR"] = hop
            if not self._is_trusted(hop):
                break
        scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").strip().lower()
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        host = environ.get("HTTP_X_FORWARDED_HOST", "").partition(",")[0].strip()
        if host:
            environ["HTTP_HOST"] = host

    def _is_trusted(self, text: str) -> bool:
        if not self._trusted or not _is_address(text):
            return False
        address = ip_address(text)
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
