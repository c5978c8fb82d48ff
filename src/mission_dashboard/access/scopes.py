"""What a caller may do, and what each address of the API asks for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import Enum


class Scope(str, Enum):
    """A permission of a key or a person."""

    REPORT = "report"
    """Report missions: what agents do."""
    READ = "read"
    """See everything but keys and the audit log."""
    OPERATE = "operate"
    """Steer missions: pause, answer, set budgets; includes read and report."""
    ADMIN = "admin"
    """Manage keys, alerts' receivers and read the audit log; includes all."""


class Role(str, Enum):
    """What a person is here."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


SCOPES = tuple(scope.value for scope in Scope)
ROLES = tuple(role.value for role in Role)
ALL = frozenset(Scope)
_INCLUDED: Mapping[Scope, frozenset[Scope]] = {
    Scope.REPORT: frozenset({Scope.REPORT}),
    Scope.READ: frozenset({Scope.READ}),
    Scope.OPERATE: frozenset({Scope.OPERATE, Scope.READ, Scope.REPORT}),
    Scope.ADMIN: ALL,
}
_OF_ROLE: Mapping[Role, Scope] = {
    Role.VIEWER: Scope.READ,
    Role.OPERATOR: Scope.OPERATE,
    Role.ADMIN: Scope.ADMIN,
}

Needed = frozenset[Scope]
"""Any one of these is enough; empty: everybody may."""
PUBLIC: Needed = frozenset()
_REPORT: Needed = frozenset({Scope.REPORT})
_READ: Needed = frozenset({Scope.READ})
_EITHER: Needed = frozenset({Scope.REPORT, Scope.READ})
_OPERATE: Needed = frozenset({Scope.OPERATE})
_ADMIN: Needed = frozenset({Scope.ADMIN})

_PUBLIC_PATHS = frozenset(
    {
        "/favicon.ico",
        "/login",
        "/logout",
        "/api/session",
        "/api/health",
        "/api/health/live",
        "/api/health/ready",
        "/livez",
        "/readyz",
    }
)
_PUBLIC_FOLDERS = ("/static/", "/auth/")
_ADMIN_FOLDERS = ("/api/keys", "/api/audit", "/access")
_ADMIN_WRITES = ("/api/alerts/rules", "/api/alerts/channels")
_SAFE = ("GET", "HEAD")
_MISSION = re.compile(r"/api/missions/[^/]+(/(directive|questions/[^/]+))?", re.ASCII)
_REPORTS = re.compile(
    r"/api/missions(/batch|/[^/]+/(start|progress|complete|fail|cancel|acknowledge|heartbeat|ask|logs|spans))?"
    r"|/v1/(traces|logs|metrics)",
    re.ASCII,
)


def granted(scopes: Collection[Scope]) -> frozenset[Scope]:
    """Return these scopes and those they include."""
    return frozenset().union(*(_INCLUDED[scope] for scope in scopes))


def of_role(role: Role) -> frozenset[Scope]:
    """Return what a person in this role may do."""
    return _INCLUDED[_OF_ROLE[role]]


def needed(method: str, path: str) -> Needed:
    """Return the scopes of which a caller needs one for this call; what nobody named here needs `Scope.OPERATE`."""
    # A browser asks with OPTIONS, and without its key, whether a page of another origin may call.
    if path in _PUBLIC_PATHS or path.startswith(_PUBLIC_FOLDERS) or method == "OPTIONS":
        return PUBLIC
    if _is_below(path, _ADMIN_FOLDERS):
        return _ADMIN
    if path.startswith("/ping/"):
        return _REPORT
    if path.startswith("/socket.io"):
        return _READ
    if method in _SAFE:
        return _EITHER if _MISSION.fullmatch(path) else _READ
    if _REPORTS.fullmatch(path):
        return _REPORT
    return _ADMIN if _is_below(path, _ADMIN_WRITES) else _OPERATE


def _is_below(path: str, folders: Collection[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
