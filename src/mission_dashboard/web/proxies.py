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
_SIGNS = frozenset(
    f"HTTP_{name}"
    for name in (
        "CDN_LOOP",
        "CF_CONNECTING_IP",
        "CLIENT_IP",
        "FASTLY_CLIENT_IP",
        "FLY_CLIENT_IP",
        "FORWARDED",
        "FORWARDED_FOR",
        "TRUE_CLIENT_IP",
        "VIA",
        "X_CLIENT_IP",
        "X_CLUSTER_CLIENT_IP",
        "X_ENVOY_EXTERNAL_ADDRESS",
        "X_FORWARDED",
        "X_FORWARDED_BY",
        "X_FORWARDED_FOR",
        "X_FORWARDED_HOST",
        "X_FORWARDED_PORT",
        "X_FORWARDED_PREFIX",
        "X_FORWARDED_PROTO",
        "X_FORWARDED_SCHEME",
        "X_FORWARDED_SERVER",
        "X_FORWARDED_SSL",
        "X_ORIGINAL_FORWARDED_FOR",
        "X_ORIGINAL_HOST",
        "X_REAL_IP",
        "X_SCHEME",
    )
)
"""What one proxy or another adds: nobody sends it who comes directly."""
_OLD = "HTTP/1.0"
"""What nginx speaks to servers, without a word of its own, unless told otherwise; browsers, curl and clients do not."""
MAX_HOPS = 20


class Proxies:
    """The WSGI wrapper; ``trusted`` are the networks of the proxies."""

    def __init__(self, app: WsgiApp, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if not _SIGNS.isdisjoint(environ) or environ.get("SERVER_PROTOCOL") == _OLD:
            environ[FORWARDED] = True
            if self._is_trusted(environ.get("REMOTE_ADDR", "")):
                self._believe(environ)
        return self._app(environ, start_response)

    def _believe(self, environ: Environ) -> None:
        proxies = 0
        for hop in reversed(_listed(environ, "HTTP_X_FORWARDED_FOR")[-MAX_HOPS:]):
            if not _is_address(hop):
                break
            proxies += 1
            environ["REMOTE_ADDR"] = hop
            if not self._is_trusted(hop):
                break
        scheme = _said_by_the_first(proxies, _listed(environ, "HTTP_X_FORWARDED_PROTO")).lower()
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        host = _said_by_the_first(proxies, _listed(environ, "HTTP_X_FORWARDED_HOST"))
        if host:
            environ["HTTP_HOST"] = host

    def _is_trusted(self, text: str) -> bool:
        if not self._trusted or not _is_address(text):
            return False
        address = ip_address(text)
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._trusted)


def _listed(environ: Environ, header: str) -> list[str]:
    return [part.strip() for part in environ.get(header, "").split(",")]


def _said_by_the_first(proxies: int, listed: Sequence[str]) -> str:
    """Return what the first of so many proxies said, where each adds to the end: callers may have begun the list."""
    return listed[-min(max(proxies, 1), len(listed))]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
