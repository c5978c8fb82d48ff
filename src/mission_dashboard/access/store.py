"""What access needs of a store; ``postgres/access_store.py`` is the one there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mission_dashboard.access.callers import Key, Session


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit log. ``count`` tells how often the same was refused within a moment."""

    at: datetime
    actor: str
    kind: str
    address: str
    request_id: str
    action: str
    status: int
    count: int = 1
    id: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines of the audit log: before an id, by an actor, of an action that begins so, refused ones."""

    before: int | None = None
    limit: int = 100
    actor: str | None = None
    action: str | None = None
    refused: bool | None = None


class AccessStore(Protocol):
    """Where keys, sessions and the audit log are kept. Methods raise `StoreUnavailable` while it does not answer."""

    def access_version(self) -> int: ...
    def live_keys(self) -> list[tuple[bytes, Key]]: ...
    def all_keys(self) -> list[Key]: ...
    def add_key(self, key: Key, digest: bytes) -> None: ...
    def revoke_key(self, key_id: str, at: datetime) -> bool: ...
    def note_use(self, uses: Mapping[str, tuple[datetime, str]]) -> None: ...
    def live_sessions(self) -> list[tuple[bytes, Session]]: ...
    def add_session(self, session: Session, digest: bytes, others: int) -> None: ...
    def end_session(self, session_id: str) -> bool: ...
    def forget_sessions(self, before: datetime) -> None: ...
    def add_entries(self, entries: Sequence[Entry]) -> None: ...
    def entries(self, wanted: Wanted) -> list[Entry]: ...
