"""Keys, sessions and the audit log over REST, and their page; all of it is for admins only."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, Flask, Response, render_template, request

from mission_dashboard import wire
from mission_dashboard.access.audit import Audit
from mission_dashboard.access.callers import Key, Session
from mission_dashboard.access.scopes import Scope
from mission_dashboard.access.service import Access
from mission_dashboard.access.store import Entry, Wanted
from mission_dashboard.reports import KeySaid, understand
from mission_dashboard.web import inputs
from mission_dashboard.web.answers import answer
from mission_dashboard.web.gate import caller_of, notes_of
from mission_dashboard.web.pages import page_headers

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]
EXPORT_PAGE = 1_000
FIELDS = ("at", "actor", "kind", "address", "request_id", "action", "status", "count")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""The wide ones too: spreadsheets take them for the others where people write Chinese, Japanese or Korean."""


def make_keys(app: Flask, access: Access, audit: Audit, limit: Limit, static_url: str) -> Blueprint:
    """Return the blueprint; ``limit`` decorates its views."""
    keys = Blueprint("keys", __name__)
    headers = page_headers(static_url)

    @keys.get("/access")
    def access_page() -> Response:
        shown = Response(render_template("access.html"))
        shown.headers.update(headers)
        return shown

    @keys.get("/api/keys")
    @limit
    def list_keys() -> Response:
        inputs.no_query()
        return answer({"keys": [_key(key) for key in access.all_keys()]})

    @keys.post("/api/keys")
    @limit
    def create_key() -> Response:
        said = understand(KeySaid, inputs.json_object(request))
        expires_at = _end(said)
        scopes = [Scope(scope) for scope in said.scopes]
        key, secret = access.create_key(said.name, scopes, expires_at, caller_of(request.environ).name)
        notes_of(request.environ).detail = f"{key.name!r}, {' '.join(said.scopes)}, {key.id}"
        payload = {"key": _key(key), "secret": secret, "message": "Key created. It is shown this once."}
        return answer(payload, 201, {"Location": f"/api/keys/{key.id}", "Cache-Control": "no-store"})

    @keys.delete("/api/keys/<id:key_id>")
    @limit
    def revoke_key(key_id: str) -> Response:
        access.revoke_key(key_id)
        return answer({"message": "Key revoked"})

    @keys.get("/api/keys/sessions")
    @limit
    def list_sessions() -> Response:
        inputs.no_query()
        return answer({"sessions": [_session(session) for session in access.sessions()]})

    @keys.delete("/api/keys/sessions/<session_id>")
    @limit
    def end_session(session_id: str) -> Response:
        access.end_session(session_id)
        return answer({"message": "Session ended"})

    @keys.get("/api/audit")
    @limit
    def read_audit() -> Response:
        wanted = inputs.audit_page()
        entries = audit.read(wanted)
        following = entries[-1].id if len(entries) == wanted.limit else None
        return answer({"entries": [_entry(entry) for entry in entries], "next_before": following})

    @keys.get("/api/audit/export")
    @limit
    def export_audit() -> Response:
        kind, wanted = inputs.audit_export()
        lines = _csv(audit, wanted) if kind == "csv" else _jsonl(audit, wanted)
        content_type = "text/csv; charset=utf-8" if kind == "csv" else "application/x-ndjson"
        named = {"Content-Disposition": f'attachment; filename="audit.{kind}"', "Cache-Control": "no-store"}
        return Response(lines, content_type=content_type, headers=named)

    return keys


def _end(said: KeySaid) -> datetime | None:
    return wire.now() + timedelta(days=said.expires_in_days) if said.expires_in_days is not None else None


def _key(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "shown": key.shown,
        "scopes": [scope.value for scope in key.scopes],
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
        "last_used_from": key.last_used_from,
    }


def _session(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "name": session.name,
        "role": session.role.value if session.role else None,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "address": session.address,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {"id": entry.id, **{name: getattr(entry, name) for name in FIELDS}}


def _all(audit: Audit, wanted: Wanted) -> Iterator[Entry]:
    """Yield the log, the newest first, a page at a time."""
    before = wanted.before
    while True:
        page = audit.read(Wanted(before, EXPORT_PAGE, wanted.actor, wanted.action, wanted.refused))
        yield from page
        if len(page) < EXPORT_PAGE:
            return
        before = page[-1].id


def _jsonl(audit: Audit, wanted: Wanted) -> Iterator[bytes]:
    for entry in _all(audit, wanted):
        yield wire.dumps(_entry(entry)) + b"\n"


def _csv(audit: Audit, wanted: Wanted) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("id", *FIELDS))
    for entry in _all(audit, wanted):
        writer.writerow([harmless(value) for value in _entry(entry).values()])
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def harmless(value: object) -> str:
    """Return a cell's text that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    is_odd = not text.isprintable() or text[:1].isspace()
    return f"'{text}" if is_odd or text.startswith(_FORMULA) else text
