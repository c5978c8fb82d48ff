"""Who calls: this machine's own user, a program with a key, or a person who logged in."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from mission_dashboard.access.scopes import ALL, Role, Scope

KEY_PREFIX = "mdk_"
SECRET_BYTES = 32
SECRET_LENGTH = len(KEY_PREFIX) + 43
"""The bytes in base64, without padding."""
SHOWN_LENGTH = 12
"""So much of a key is kept in clear, to tell keys apart."""


class Kind(str, Enum):
    """How a caller is known."""

    LOCAL = "local"
    KEY = "key"
    PERSON = "person"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Caller:
    """One who calls. ``id`` is unique over all kinds; ``name`` is what people read."""

    id: str
    name: str
    kind: Kind
    scopes: frozenset[Scope]
    expires_at: datetime | None = None


LOCAL = Caller("local", "this machine", Kind.LOCAL, ALL)
COMMAND_LINE = Caller("command line", "the command line", Kind.LOCAL, ALL)
"""Who works in the database itself."""
NOBODY = Caller("nobody", "nobody", Kind.NOBODY, frozenset())


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a program, without its secret."""

    id: str
    name: str
    shown: str
    """The first characters of the secret."""
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A person who logged in; the cookie holds the secret of which only the digest is kept."""

    id: str
    subject: str
    """Who it is: the key's id, or the subject that the identity provider names."""
    name: str
    role: Role | None
    """None: as the key with which the person logged in allows."""
    key_id: str | None
    """What it ends with: the key, or the settings that gave the role."""
    created_at: datetime
    expires_at: datetime
    address: str


def new_secret() -> str:
    """Return a new key: 256 random bits, recognisable to people and to scanners of leaked keys."""
    return KEY_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def is_one_of_ours(secret: str) -> bool:
    """Whether a secret has the form of those that `new_secret` makes."""
    return len(secret) == SECRET_LENGTH and secret.startswith(KEY_PREFIX)


def digest_of(secret: str) -> bytes:
    """Return what is kept of a secret. Its 256 random bits need no slow hash: nobody can try them all."""
    return hashlib.sha256(secret.encode()).digest()
