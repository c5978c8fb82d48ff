"""Knows every key and session, in memory; the store is asked twice a second whether another process changed them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from uuid_utils import uuid7

from mission_dashboard.access.callers import (
    SHOWN_LENGTH,
    Caller,
    Key,
    Kind,
    Session,
    digest_of,
    is_one_of_ours,
    new_secret,
)
from mission_dashboard.access.scopes import Role, Scope, granted, of_role
from mission_dashboard.access.store import AccessStore
from mission_dashboard.errors import KeyNotFound, LoginRefused, SessionNotFound, StoreUnavailable, Unavailable

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 0.5
LOOK_REST_S = 0.05
"""Between two looks that unknown secrets bring about: whoever guesses keys must not keep the database busy."""
USE_INTERVAL_S = 5.0
FORGET_INTERVAL_S = 3600.0
MAX_USES = 10_000
MAX_SESSIONS = 200
"""Of one person or key. Each login makes every process read all sessions: one without end must not slow them down."""
SETTINGS_KEY = "settings"
"""How the id of the key begins that the settings name; it is in no table and cannot be revoked here."""
NUL = "\x00"
"""No text of PostgreSQL has it, so nothing there is called so."""

Clock = Callable[[], datetime]


class Access:
    """All who may call.

    ``admin_key`` is the key that the settings name, if they do. Sessions last ``session_for``, but no longer than what
    they were opened by: a key, or the settings that give people their roles, of which ``people`` is the text.
    """

    def __init__(
        self, store: AccessStore, admin_key: str | None, session_for: timedelta, clock: Clock, people: str = ""
    ) -> None:
        self._store = store
        self._admin = digest_of(admin_key) if admin_key else None
        # Another key in the settings is another id: sessions that were opened with the one before end.
        self._settings_key_id = f"{SETTINGS_KEY}-{self._admin.hex()[:12]}" if self._admin else SETTINGS_KEY
        self._roles_id = f"roles-{digest_of(people).hex()[:12]}"
        self._session_for = session_for
        self._clock = clock
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._looked_at = self._failed_at = -LOOK_INTERVAL_S
        self._version = -1
        self._keys: Mapping[bytes, Key] = {}
        self._sessions: Mapping[bytes, Session] = {}
        self._callers: dict[bytes, Caller] = {}
        self._live: frozenset[str] = frozenset()
        self._uses: dict[str, tuple[datetime, str]] = {}
        self._closed = threading.Event()

    def open(self) -> None:
        """Load what there is, and begin to look for changes."""
        self._look()
        threading.Thread(target=self._run, name="access", daemon=True).start()

    def close(self) -> None:
        """Stop looking, and keep when keys were used last."""
        self._closed.set()
        try:
            self._keep_uses()
        except Unavailable as error:
            logger.warning("the last use of %d keys is not kept: %s", len(self._uses), error)

    # Who calls.

    def by_secret(self, secret: str, address: str) -> Caller | None:
        """Return the caller who has this key or this session's secret, if it is good.

        A secret that is not known here may be a moment old and another process's: raises `Unavailable` where the
        store does not say.
        """
        digest = digest_of(secret)
        caller = self._callers.get(digest)
        if caller is None and is_one_of_ours(secret):
            self._look_again()
            caller = self._callers.get(digest)
        if caller is None or not self._is_in_time(caller):
            return None
        if caller.kind is Kind.KEY and len(self._uses) < MAX_USES:
            self._uses[caller.id] = (self._clock(), address)
        return caller

    def is_good(self, caller: Caller) -> bool:
        """Whether a caller who was let in may stay."""
        if caller.kind is Kind.LOCAL:
            return True
        return caller.id in self._live and self._is_in_time(caller)

    def _is_in_time(self, caller: Caller) -> bool:
        return caller.expires_at is None or self._clock() < caller.expires_at

    @property
    def has_admin(self) -> bool:
        """Whether anybody with a key may manage access."""
        return any(Scope.ADMIN in caller.scopes for caller in self._callers.values())

    # Keys.

    def all_keys(self) -> Sequence[Key]:
        """Return all keys, revoked ones too, the newest first."""
        uses = dict(self._uses)
        return [_with_use(key, uses.get(f"key:{key.id}")) for key in self._store.all_keys()]

    def create_key(
        self, name: str, scopes: Sequence[Scope], expires_at: datetime | None, created_by: str
    ) -> tuple[Key, str]:
        """Make a key; return it with its secret, which is not kept and cannot be shown again."""
        secret = new_secret()
        key = Key(
            id=str(uuid7()),
            name=name,
            shown=secret[:SHOWN_LENGTH],
            scopes=tuple(scope for scope in Scope if scope in scopes),
            created_at=self._clock(),
            created_by=created_by,
            expires_at=expires_at,
        )
        self._store.add_key(key, digest_of(secret))
        self._look()
        return key, secret

    def revoke_key(self, key_id: str) -> None:
        """Make a key worthless at once, with the sessions that were opened with it; raise `KeyNotFound`."""
        if NUL in key_id or not self._store.revoke_key(key_id, self._clock()):
            raise KeyNotFound(key_id)
        self._look()

    # People.

    def log_in(self, secret: str, address: str) -> tuple[Session, str]:
        """Open a session with a key; return it with the cookie's secret, or raise `LoginRefused`."""
        caller = self.by_secret(secret, address)
        if caller is None or caller.kind is not Kind.KEY:
            raise LoginRefused("This key is not known, or not good any more.")
        if Scope.READ not in caller.scopes:
            raise LoginRefused("This key may only report. Log in with one that may read.")
        key_id = caller.id.removeprefix("key:")
        return self._open_session(f"key:{key_id}", caller.name, None, key_id, address, caller.expires_at)

    def log_in_person(self, subject: str, name: str, role: Role, address: str) -> tuple[Session, str]:
        """Open a session for a person whom an identity provider knows."""
        return self._open_session(subject, name, role, self._roles_id, address, None)

    def _open_session(
        self, subject: str, name: str, role: Role | None, key_id: str | None, address: str, until: datetime | None
    ) -> tuple[Session, str]:
        now = self._clock()
        ends = now + self._session_for
        secret = new_secret()
        session = Session(
            id=str(uuid7()),
            subject=subject,
            name=name,
            role=role,
            key_id=key_id,
            created_at=now,
            expires_at=min(ends, until) if until else ends,
            address=address,
        )
        self._store.add_session(session, digest_of(secret), others=MAX_SESSIONS - 1)
        self._look()
        return session, secret

    def log_out(self, caller: Caller) -> None:
        """End a caller's session, if it is one."""
        if caller.kind is Kind.PERSON:
            self.end_session(caller.id.removeprefix("session:"))

    def end_session(self, session_id: str) -> None:
        """End a session at once; raise `SessionNotFound`."""
        if NUL in session_id or not self._store.end_session(session_id):
            raise SessionNotFound(session_id)
        self._look()

    def sessions(self) -> Sequence[Session]:
        """Return the sessions there are, the newest first."""
        now = self._clock()
        live = (session for session in self._sessions.values() if session.expires_at > now)
        return sorted(live, key=lambda session: session.created_at, reverse=True)

    # Following the store.

    def _look_again(self) -> None:
        """Take over what changed until now; those who ask at once are served by one look."""
        asked_at = time.monotonic()
        with self._turn:
            if self._looked_at >= asked_at:
                return
            if time.monotonic() - self._failed_at < LOOK_INTERVAL_S:
                raise StoreUnavailable("The database does not answer, so this key cannot be looked up. Try again.")
            time.sleep(max(0.0, self._looked_at + LOOK_REST_S - time.monotonic()))
            try:
                self._look()
            except Unavailable:
                self._failed_at = time.monotonic()
                raise

    def _look(self) -> None:
        """Take over what changed in the store."""
        with self._lock:
            began_at = time.monotonic()
            version = self._store.access_version()
            self._looked_at = began_at
            if version == self._version:
                return
            self._keys = dict(self._store.live_keys())
            sessions = dict(self._store.live_sessions())
            callers = {digest: _caller_of(key) for digest, key in self._keys.items()}
            by_key = {key.id: key for key in self._keys.values()}
            if self._admin is not None:
                key = by_key[self._settings_key_id] = _settings_key(self._settings_key_id, self._clock())
                callers[self._admin] = _caller_of(key)
            self._sessions = {digest: one for digest, one in sessions.items() if self._may_stay(one, by_key)}
            for digest, session in self._sessions.items():
                callers[digest] = _person_of(session, by_key)
            self._callers = callers
            self._live = frozenset(caller.id for caller in callers.values())
            self._version = version

    def _may_stay(self, session: Session, by_key: Mapping[str, Key]) -> bool:
        """Whether what a session was opened by still holds."""
        return session.key_id == self._roles_id if session.role is not None else session.key_id in by_key

    def _run(self) -> None:
        waited_s = 0.0
        while not self._closed.wait(LOOK_INTERVAL_S):
            waited_s += LOOK_INTERVAL_S
            try:
                self._look()
                if waited_s % USE_INTERVAL_S == 0:
                    self._keep_uses()
                if waited_s % FORGET_INTERVAL_S == 0:
                    self._store.forget_sessions(self._clock())
            except Unavailable as error:
                logger.debug("keys and sessions wait for the database: %s", error)
            except Exception:  # the top of a thread: the next look may go well
                logger.exception("looking for new keys failed")

    def _keep_uses(self) -> None:
        uses, self._uses = self._uses, {}
        kept = {caller_id.removeprefix("key:"): use for caller_id, use in uses.items()}
        kept.pop(self._settings_key_id, None)
        if kept:
            self._store.note_use(kept)


def _caller_of(key: Key) -> Caller:
    return Caller(f"key:{key.id}", key.name, Kind.KEY, granted(key.scopes), key.expires_at)


def _person_of(session: Session, by_key: Mapping[str, Key]) -> Caller:
    scopes = of_role(session.role) if session.role is not None else granted(by_key[str(session.key_id)].scopes)
    return Caller(f"session:{session.id}", session.name, Kind.PERSON, scopes, session.expires_at)


def _settings_key(key_id: str, now: datetime) -> Key:
    return Key(key_id, "admin key of the settings", "", (Scope.ADMIN,), now, "the settings")


def _with_use(key: Key, use: tuple[datetime, str] | None) -> Key:
    return replace(key, last_used_at=use[0], last_used_from=use[1]) if use else key
