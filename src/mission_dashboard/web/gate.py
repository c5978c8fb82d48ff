"""Lets nobody in who does not belong: every request and every socket passes here before anything else looks at it.

In development the machine's own user needs no key: a request that comes from loopback, was passed on by nobody, and
asks for a loopback host. The last is what a page elsewhere cannot fake, whose name was made to point here (DNS
rebinding). Everybody else shows a key, or the cookie of a session.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

from limits import RateLimitItemPerMinute, parse
from werkzeug.http import parse_cookie
from werkzeug.wrappers import Response

from mission_dashboard.access.audit import Audit
from mission_dashboard.access.callers import LOCAL, NOBODY, Caller, Kind
from mission_dashboard.access.networks import place_of
from mission_dashboard.access.scopes import PUBLIC, Scope, needed
from mission_dashboard.access.service import Access
from mission_dashboard.acting import Actor, acting
from mission_dashboard.errors import Unavailable
from mission_dashboard.logs import request_id
from mission_dashboard.shared.counters import counter_of_failures
from mission_dashboard.web.answers import problem
from mission_dashboard.web.errors import answer_ours
from mission_dashboard.web.origins import PING, SAFE_METHODS, STRANGE
from mission_dashboard.web.proxies import FORWARDED
from mission_dashboard.web.requests_log import Environ, StartResponse, WsgiApp

logger = logging.getLogger(__name__)

CALLER = "mission_dashboard.caller"
NOTES = "mission_dashboard.notes"
"""What a view tells the audit log: who logged in, what exactly was changed."""
COOKIE = "mission_dashboard_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
BATCH = "/api/missions/batch"
LOGOUT = "/logout"
LOGIN_CALLBACK = "/auth/oidc/callback"
"""A GET that changes something: it opens a session."""
MAX_SECRET = 200
FAILURES_PER_MINUTE = 10
"""So many wrong keys an address may show before it has to wait."""
FAILURES = "wrong-keys"
STRANGERS = "no-key"
"""Under what name they are counted, beside the calls."""
_NAMED = (Kind.KEY, Kind.PERSON)
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?", re.ASCII)
_PLAIN_REPORTS = frozenset({Scope.REPORT})


def caller_of(environ: Environ) -> Caller:
    """Return who makes this request, or opened this socket."""
    caller: Caller = environ.get(CALLER, NOBODY)
    return caller


@dataclass(slots=True)
class Notes:
    """What is only known once a request was served. (Flask-SocketIO copies the environ, so this is shared by all.)"""

    caller: Caller
    detail: str = ""
    refused: str = ""
    """What of a batch its caller may not do."""


def notes_of(environ: Environ) -> Notes:
    """Return where a view tells the audit log what it knows."""
    notes: Notes | None = environ.get(NOTES)
    return notes or Notes(caller_of(environ))


class Gate:
    """The WSGI wrapper. ``trusts_loopback`` is for development; ``limit`` is for who shows no key, by address."""

    def __init__(
        self,
        app: WsgiApp,
        access: Access,
        audit: Audit,
        *,
        trusts_loopback: bool,
        redis_url: str = "",
        limit: str | None = None,
    ) -> None:
        self._app = app
        self._access = access
        self._audit = audit
        self._trusts_loopback = trusts_loopback
        self._failures = counter_of_failures(redis_url)
        self._allowance = RateLimitItemPerMinute(FAILURES_PER_MINUTE)
        self._limit = parse(limit) if limit else None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        # Flask takes methods in any case: "get" must not pass for something that is no reading.
        method = environ["REQUEST_METHOD"] = environ["REQUEST_METHOD"].upper()
        path = environ.get("PATH_INFO", "")
        wanted = needed(method, path)
        try:
            caller, by_cookie = self._identify(environ)
        except Unavailable as error:
            if wanted is not PUBLIC:
                return answer_ours(error)(environ, start_response)
            caller, by_cookie = NOBODY, False
        environ[CALLER] = caller
        act_for(caller, environ)
        if wanted is not PUBLIC and not wanted & caller.scopes:
            refusal = self._refuse(environ, caller)
            return refusal(environ, start_response)
        if by_cookie and path.startswith(PING):
            # A link on any page could lead here, and the cookie would come along.
            self._note(environ, caller, 403)
            refusal = problem(403, "Not allowed", "Pings are for programs: send a key ('Authorization: Bearer').")
            return refusal(environ, start_response)
        if by_cookie and method not in SAFE_METHODS and not _tells_its_origin(environ):
            refusal = problem(
                403,
                "Another origin",
                "A browser that is logged in must say where the request comes from (Origin or Sec-Fetch-Site). "
                "Programs send a key instead: 'Authorization: Bearer mdk_...'.",
            )
            self._note(environ, caller, 403)
            return refusal(environ, start_response)
        if _is_recorded(method, path, wanted, caller):
            return self._app(environ, self._recording(environ, caller, start_response))
        return self._app(environ, self._noting_refusals(environ, caller, path, start_response))

    # Who it is.

    def _identify(self, environ: Environ) -> tuple[Caller, bool]:
        """Return the caller, and whether a cookie made it known; raise `Unavailable` where that cannot be said now."""
        address = environ.get("REMOTE_ADDR") or "-"
        secret = _secret_in(environ)
        if secret is not None:
            return self._access.by_secret(secret, address) or NOBODY, False
        if (cookie := self._cookie_in(environ)) is not None:
            caller = self._access.by_secret(cookie, address)
            if caller is not None and caller.kind is Kind.PERSON:
                return caller, True
        if self._trusts_loopback and STRANGE not in environ and _is_local(environ):
            return LOCAL, False
        return NOBODY, False

    def _cookie_in(self, environ: Environ) -> str | None:
        """Return the session's secret. Where it is for HTTPS, a cookie that any page of the domain can set is none."""
        header = environ.get("HTTP_COOKIE")
        if not header or COOKIE not in header:
            return None
        is_secure = not self._trusts_loopback or environ.get("wsgi.url_scheme") == "https"
        found = parse_cookie(header).get(SECURE_COOKIE if is_secure else COOKIE)
        return found[:MAX_SECRET] if found else None

    # Who may not.

    def _refuse(self, environ: Environ, caller: Caller) -> Response:
        if caller is not NOBODY:
            wanted = needed(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
            scopes = " or ".join(sorted(scope.value for scope in wanted))
            self._note(environ, caller, 403)
            if caller.kind is Kind.PERSON and _wants_page(environ) and not environ["PATH_INFO"].startswith("/api/"):
                return _to_login(environ)
            return problem(403, "Not allowed", f"{caller.name} may not do this: it needs the scope {scopes}.")
        showed_one = _secret_in(environ) is not None
        if showed_one and not self._may_try_again(environ):
            self._note(environ, caller, 429)
            return self.too_many()
        if not showed_one and self._asks_too_often(environ):
            self.note_limited(environ)
            detail = (
                f"More requests without a key came from this address than may ({self._limit}). Send a key, or wait."
            )
            return problem(429, "Too Many Requests", detail, headers={"Retry-After": "60"})
        self._note(environ, caller, 401)
        if not showed_one and _wants_page(environ):
            return _to_login(environ)
        return _who_are_you(showed_one)

    def let_go(self, environ: Environ) -> Response:
        """Answer a request whose caller was let in and may not stay; it is no guess, so it counts as none."""
        self._note(environ, caller_of(environ), 401)
        return _who_are_you(_secret_in(environ) is not None)

    def may_log_in(self, environ: Environ) -> bool:
        """Whether this address may show another key."""
        return bool(self._failures.test(self._allowance, FAILURES, _place(environ)))

    def count_failure(self, environ: Environ) -> None:
        """Count a wrong key shown by this address."""
        self._failures.hit(self._allowance, FAILURES, _place(environ))

    def _may_try_again(self, environ: Environ) -> bool:
        return bool(self._failures.hit(self._allowance, FAILURES, _place(environ)))

    def _asks_too_often(self, environ: Environ) -> bool:
        return self._limit is not None and not self._failures.hit(self._limit, STRANGERS, _place(environ))

    @staticmethod
    def too_many() -> Response:
        """Return the answer to an address that shows one wrong key after the other."""
        detail = f"More than {FAILURES_PER_MINUTE} wrong keys in a minute came from this address. Wait a minute."
        return problem(429, "Too Many Requests", detail, headers={"Retry-After": "60"})

    # What is recorded.

    def note_refused(self, environ: Environ, status: int) -> None:
        """Take note of a request that somebody else refused."""
        try:
            caller, _ = self._identify(environ)
        except Unavailable:
            caller = NOBODY
        self._note(environ, caller, status)

    def note_limited(self, environ: Environ) -> None:
        """Take note of a call that was one too many for its caller's rate limit."""
        address = environ.get("REMOTE_ADDR") or "-"
        self._audit.limited(caller_of(environ), address, request_id.get(), _action(environ))

    def note_operations(self, environ: Environ, refused: str) -> None:
        """Take note of what a caller may not do, of what it sent together."""
        address = environ.get("REMOTE_ADDR") or "-"
        self._audit.refused(caller_of(environ), address, request_id.get(), f"{_action(environ)} ({refused})", 403)

    def note_done(self, environ: Environ, detail: str) -> None:
        """Write to the audit log what a person did over a socket; programs' reports are in each mission's history."""
        caller = caller_of(environ)
        if caller.kind is Kind.PERSON:
            self._changed(caller, environ, f"{_action(environ)} ({_plain(detail)})", 200)

    def _changed(self, caller: Caller, environ: Environ, action: str, status: int) -> None:
        try:
            self._audit.changed(caller, environ.get("REMOTE_ADDR") or "-", request_id.get(), action, status)
        except Unavailable as error:
            logger.error("done but not in the audit log: %s by %s: %s", action, caller.name, error)

    def _note(self, environ: Environ, caller: Caller, status: int) -> None:
        self._audit.refused(caller, environ.get("REMOTE_ADDR") or "-", request_id.get(), _action(environ), status)

    def _recording(self, environ: Environ, caller: Caller, start_response: StartResponse) -> StartResponse:
        """Return a ``start_response`` that writes to the audit log before the caller is answered."""
        notes = environ[NOTES] = Notes(caller)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            code = int(status[:3])
            address = environ.get("REMOTE_ADDR") or "-"
            known = notes.caller
            action = _action(environ) + (f" ({_plain(notes.detail)})" if notes.detail else "")
            if code == 429:
                self._audit.limited(known, address, request_id.get(), action)
            elif code in (401, 403):
                self._audit.refused(known, address, request_id.get(), action, code)
            elif code < 400:
                self._changed(known, environ, action, code)
            if notes.refused:
                self.note_operations(environ, notes.refused)
            return start_response(status, headers, *rest)

        return start

    def _noting_refusals(
        self, environ: Environ, caller: Caller, path: str, start_response: StartResponse
    ) -> StartResponse:
        """Return a ``start_response`` for what is not recorded itself: of that, only what was refused is noted."""
        notes = environ[NOTES] = Notes(caller) if path == BATCH else None

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if status.startswith("429"):
                self.note_limited(environ)
            elif notes is not None and notes.refused:
                self.note_operations(environ, notes.refused)
            return start_response(status, headers, *rest)

        return start


def act_for(caller: Caller, environ: Environ) -> None:
    """Let the writes of this thread be recorded as this caller's."""
    known = caller.kind in _NAMED
    acting.set(Actor(caller.name, environ.get("REMOTE_ADDR") or "-") if known else None)


def _is_recorded(method: str, path: str, wanted: frozenset[Scope], caller: Caller) -> bool:
    """Whether this goes into the audit log: changes, but agents' own reports only where a person makes them.

    Of what agents report each mission's own history tells, who as well.
    """
    if path == LOGIN_CALLBACK:
        return True
    if path == LOGOUT and caller.kind is not Kind.PERSON:
        return False  # it changes nothing, and everybody may ask for it
    if method in SAFE_METHODS or path.startswith("/socket.io"):
        return False
    return wanted != _PLAIN_REPORTS or caller.kind is Kind.PERSON


def _to_login(environ: Environ) -> Response:
    """Return the answer that sends a browser to the login, and from there to where it wanted to go."""
    wanted_page = environ.get("PATH_INFO", "/")
    if query := environ.get("QUERY_STRING"):
        wanted_page += f"?{query}"
    return Response(status=303, headers={"Location": f"/login?next={quote(wanted_page)}"})


def _who_are_you(showed_one: bool) -> Response:
    """Return the answer to a caller who is not known, and who showed a key or none."""
    detail = "This key is not known, or not good any more." if showed_one else "This needs a key."
    return problem(
        401,
        "Who are you?",
        f"{detail} Send one as 'Authorization: Bearer mdk_...', or log in at /login.",
        headers={"WWW-Authenticate": 'Bearer realm="Mission Dashboard"'},
    )


def _action(environ: Environ) -> str:
    return f"{_plain(environ['REQUEST_METHOD'][:10])} {_plain(environ.get('PATH_INFO', ''))}"


def _plain(text: str) -> str:
    """Return text in which nothing can pass for a line of its own."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:300])


def _secret_in(environ: Environ) -> str | None:
    """Return the key that a request shows in its headers."""
    given = environ.get("HTTP_AUTHORIZATION")
    if given:
        scheme, _, secret = given.partition(" ")
        return secret.strip()[:MAX_SECRET] if scheme.lower() == "bearer" else ""
    shown = environ.get("HTTP_X_API_KEY")
    return shown.strip()[:MAX_SECRET] if shown else None


def _place(environ: Environ) -> str:
    return place_of(environ.get("REMOTE_ADDR") or "-")


def _tells_its_origin(environ: Environ) -> bool:
    return "HTTP_ORIGIN" in environ or "HTTP_SEC_FETCH_SITE" in environ


def _wants_page(environ: Environ) -> bool:
    return environ["REQUEST_METHOD"] == "GET" and "text/html" in environ.get("HTTP_ACCEPT", "")


def _is_local(environ: Environ) -> bool:
    return (
        FORWARDED not in environ
        and _is_loopback(environ.get("REMOTE_ADDR", ""))
        and _is_loopback_host(environ.get("HTTP_HOST", ""))
    )


@lru_cache(maxsize=1024)
def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@lru_cache(maxsize=1024)
def _is_loopback_host(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found["name"].lower().strip("[]").rstrip(".")
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)
