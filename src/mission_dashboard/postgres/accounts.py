"""Whom PostgreSQL runs as: it refuses to run as root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from mission_dashboard.errors import StartupError

ACCOUNT_NAMES = ("mission-dashboard", "postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """The unprivileged user that root runs PostgreSQL as."""

    name: str
    uid: int
    gid: int


def choose_account(cluster: Path) -> Account | None:
    """Say whom root runs PostgreSQL as, an existing cluster's owner first; None for an ordinary user."""
    if os.geteuid() != 0:
        return None
    if cluster.is_dir() and cluster.stat().st_uid != 0:
        owner = cluster.stat()
        return Account(_name_of(owner.st_uid), owner.st_uid, owner.st_gid)
    for name in ACCOUNT_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise StartupError(
        "PostgreSQL does not run as root and this machine has none of the users "
        f"{', '.join(ACCOUNT_NAMES)}: start the server as an ordinary user, or set POSTGRES_DSN."
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
