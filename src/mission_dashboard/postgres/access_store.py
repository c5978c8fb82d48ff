"""Keys, sessions and the audit log in PostgreSQL. Method names are the names in access.sql."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import aiosql

from mission_dashboard.access.callers import Key, Session
from mission_dashboard.access.scopes import Role, Scope
from mission_dashboard.access.store import Entry, Wanted
from mission_dashboard.postgres.connections import Pool
from mission_dashboard.postgres.rows import as_json

QUERIES = Path(__file__).parent / "sql" / "access.sql"
POOL_SIZE = 2


class PostgresAccessStore:
    """What `AccessStore` asks for; its connections are apart from those that serve missions."""

    def __init__(self, dsn: str) -> None:
        self._pool = Pool(dsn, POOL_SIZE)
        queries = aiosql.from_path(QUERIES, "psycopg2", mandatory_parameters=False)
        names = [name for name in queries.available_queries if not name.endswith("_cursor")]
        self._sql = {name: getattr(queries, name).sql.rstrip().rstrip(";") for name in names}

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _fetch(self, query: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._pool.run(self._sql[query], parameters, name=query)

    def access_version(self) -> int:
        """Return the number that rises with every change of keys and sessions."""
        return int(self._fetch("access_version")[0][0])

    def live_keys(self) -> list[tuple[bytes, Key]]:
        """Return the keys that are good, with their digests."""
        return [(bytes(row[0]), _key_of(row[1:])) for row in self._fetch("live_keys")]

    def all_keys(self) -> list[Key]:
        """Return all keys that ever were, the newest first."""
        return [_key_of(row) for row in self._fetch("all_keys")]

    def add_key(self, key: Key, digest: bytes) -> None:
        """Keep a new key."""
        self._fetch(
            "add_key",
            id=key.id,
            name=key.name,
            shown=key.shown,
            digest=digest,
            scopes=[scope.value for scope in key.scopes],
            created_at=key.created_at,
            created_by=key.created_by,
            expires_at=key.expires_at,
        )

    def revoke_key(self, key_id: str, at: datetime) -> bool:
        """Revoke a key and end its sessions; return whether there is one of this id."""
        return bool(self._fetch("revoke_key", id=key_id, at=at))

    def note_use(self, uses: Mapping[str, tuple[datetime, str]]) -> None:
        """Keep when and from where keys were used last."""
        times, addresses = zip(*uses.values(), strict=True)
        self._fetch("note_use", ids=list(uses), times=list(times), addresses=list(addresses))

    def live_sessions(self) -> list[tuple[bytes, Session]]:
        """Return the sessions that are good, with the digests of their secrets."""
        return [(bytes(row[0]), _session_of(row[1:])) for row in self._fetch("live_sessions")]

    def add_session(self, session: Session, digest: bytes, others: int) -> None:
        """Keep a new session, and so many others of the same subject, the newest; end the rest of them."""
        self._fetch(
            "add_session",
            others=others,
            id=session.id,
            digest=digest,
            subject=session.subject,
            name=session.name,
            role=session.role.value if session.role else None,
            key_id=session.key_id,
            created_at=session.created_at,
            expires_at=session.expires_at,
            address=session.address,
        )

    def end_session(self, session_id: str) -> bool:
        """End a session; return whether there is one of this id."""
        return bool(self._fetch("end_session", id=session_id))

    def forget_sessions(self, before: datetime) -> None:
        """Delete sessions that ended before a moment."""
        self._fetch("forget_sessions", before=before)

    def add_entries(self, entries: Sequence[Entry]) -> None:
        """Write lines of the audit log."""
        self._fetch("add_entries", entries=as_json(entries))

    def entries(self, wanted: Wanted) -> list[Entry]:
        """Return lines of the audit log, the newest first."""
        rows = self._fetch(
            "entries",
            before=wanted.before,
            actor=wanted.actor,
            action=wanted.action,
            refused=wanted.refused,
            limit=wanted.limit,
        )
        return [Entry(*row) for row in rows]


def _key_of(row: Sequence[Any]) -> Key:
    key_id, name, shown, scopes, *rest = row
    return Key(key_id, name, shown, tuple(Scope(scope) for scope in scopes), *rest)


def _session_of(row: Sequence[Any]) -> Session:
    session_id, subject, name, role, *rest = row
    return Session(session_id, subject, name, Role(role) if role else None, *rest)
