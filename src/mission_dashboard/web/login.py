"""Logging in with a key, logging out, and telling the page who is there."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from mission_dashboard.access.callers import Caller, Kind, Session
from mission_dashboard.access.scopes import needed
from mission_dashboard.access.service import Access
from mission_dashboard.errors import LoginRefused
from mission_dashboard.web.answers import answer
from mission_dashboard.web.gate import COOKIE, SECURE_COOKIE, Gate, caller_of, notes_of
from mission_dashboard.web.pages import page_headers

Limit = Callable[[Callable[..., AnyResponse]], Callable[..., AnyResponse]]


def make_login(
    access: Access,
    gate: Callable[[], Gate],
    limit: Limit,
    static_url: str,
    *,
    provider: str | None,
    is_secure: bool,
) -> Blueprint:
    """Return the blueprint; ``provider`` names the identity provider, ``is_secure`` demands cookies over HTTPS only.

    ``limit`` decorates the login: each makes a session and a line in the audit log.
    """
    login = Blueprint("login", __name__)
    headers = _form_headers(static_url)

    def page(status: int = 200, problem: str = "") -> Response:
        following = _local_path(request.values.get("next", "/"))
        caller = caller_of(request.environ)
        shown = Response(
            render_template(
                "login.html",
                problem=problem,
                next=following,
                provider=provider,
                person=_name_of_person(caller),
                may_follow=_may_see(caller, following),
                is_secure=is_secure,
            ),
            status=status,
        )
        shown.headers.update(headers)
        return shown

    @login.get("/login")
    def show_login() -> Response:
        return page()

    @login.post("/login")
    @limit
    def log_in() -> AnyResponse:
        if not gate().may_log_in(request.environ):
            shown = page(429, "Too many wrong keys came from here. Wait a minute, then try again.")
            shown.headers["Retry-After"] = "60"
            return shown
        secret = request.form.get("key", "").strip()
        try:
            session, cookie = access.log_in(secret, request.remote_addr or "-")
        except LoginRefused as error:
            gate().count_failure(request.environ)
            return page(401, str(error))
        return entered(session, cookie, request.form.get("next", "/"), is_secure=is_secure)

    @login.post("/logout")
    def log_out() -> AnyResponse:
        access.log_out(caller_of(request.environ))
        leaving = redirect("/login", 303)
        for name in (COOKIE, SECURE_COOKIE):
            leaving.delete_cookie(name, secure=name == SECURE_COOKIE, httponly=True, samesite="Lax")
        return leaving

    @login.get("/api/session")
    def who_am_i() -> Response:
        caller = caller_of(request.environ)
        return answer({"session": _as_seen(caller)})

    return login


def entered(session: Session, cookie: str, following: str, *, is_secure: bool) -> AnyResponse:
    """Return the answer that sends a person who logged in to where they wanted to go, with the session's cookie."""
    going = redirect(_local_path(following), 303)
    secure = is_secure or request.is_secure
    going.set_cookie(
        SECURE_COOKIE if secure else COOKIE,
        cookie,
        expires=session.expires_at,
        secure=secure,
        httponly=True,
        samesite="Lax",
        path="/",
    )
    going.headers["Cache-Control"] = "no-store"
    notes_of(request.environ).caller = Caller(f"session:{session.id}", session.name, Kind.PERSON, frozenset())
    return going


def _name_of_person(caller: Caller) -> str:
    return caller.name if caller.kind is Kind.PERSON else ""


def _may_see(caller: Caller, path: str) -> bool:
    wanted = needed("GET", urlsplit(path).path)
    return not wanted or bool(wanted & caller.scopes)


def _as_seen(caller: Caller) -> dict[str, object]:
    return {
        "name": caller.name,
        "kind": caller.kind.value,
        "scopes": sorted(scope.value for scope in caller.scopes),
        "expires_at": caller.expires_at,
    }


def _local_path(text: str) -> str:
    """Return a path of this server, whatever was asked for: a login must not send people elsewhere."""
    is_local = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if is_local and "\\" not in text else "/"


def _form_headers(static_url: str) -> dict[str, str]:
    return {**page_headers(static_url), "Cache-Control": "no-store"}
