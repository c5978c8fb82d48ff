"""Where the embedded database lies: under the data folder, or in a folder of ours that its user can reach.

PostgreSQL refuses to run as root. A server started by root therefore gives the database to an unprivileged user, and
if that user may not enter the data folder (a clone in /root, say), the database and a copy of the programs live in a
folder of ours elsewhere, which a file in the data folder remembers.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mission_dashboard.errors import StartupError
from mission_dashboard.postgres.accounts import Account, choose_account

SETTING = "MISSION_DASHBOARD_DATA_DIR"


# Not /tmp or /var/tmp: what is not touched for some days is deleted there.
ELSEWHERE = tuple(Path(root) / "mission-dashboard" for root in ("/var/lib", "/var/opt", "/srv", "/opt"))


# sockaddr_un holds 108 bytes, the last of them a zero.
SOCKET_PATH_BYTES = 107


SOCKET_NAME = ".s.PGSQL.5432"


@dataclass(frozen=True)
class Place:
    """The folder of ours that holds the cluster, its log and, if root had to copy them, the programs."""

    folder: Path
    is_elsewhere: bool = False

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.folder / "cluster"

    @property
    def log(self) -> Path:
        """Where postgres writes its log."""
        return self.folder / "postgres.log"


def known_place(data_dir: Path) -> Place:
    """Say where the database of ``data_dir`` lies, or would lie, without creating anything."""
    home = data_dir / "postgres"
    try:
        remembered = Path((home / "location").read_text().strip())
    except FileNotFoundError:
        return Place(home)
    if remembered.parent not in ELSEWHERE or not remembered.is_dir():
        raise StartupError(
            f"The database of {data_dir} was kept in {remembered}, which is not there: bring it back, or "
            f"delete {home / 'location'} to begin anew, or set {SETTING} to another folder."
        )
    return Place(remembered, is_elsewhere=True)


def make_place(data_dir: Path) -> Place:
    """Return the place of ``data_dir``'s database; choose and remember one elsewhere if root has to."""
    place = known_place(data_dir)
    account = choose_account(place.cluster)
    if account is None or may_enter(account, place.folder):
        return place
    if place.cluster.exists():
        raise StartupError(
            f"The database in {place.cluster} belongs to the user '{account.name}', who may not enter that "
            f"folder: let the user in, or set {SETTING} to another folder."
        )
    elsewhere = _make_folder_elsewhere(data_dir)
    _write_durably(data_dir / "postgres" / "location", f"{elsewhere}\n")
    return Place(elsewhere, is_elsewhere=True)


def make_own_folder(folder: Path) -> None:
    """Create a folder of ours: closed to others, save that root lets its unprivileged user pass through."""
    if _make_if_absent(folder):
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _make_if_absent(folder: Path) -> bool:
    """Create a folder; False if it is there, perhaps since a moment ago, made by a process that starts beside us."""
    try:
        folder.mkdir()
    except FileExistsError:
        if folder.is_dir():
            return False
        raise
    return True


def _make_folder_elsewhere(data_dir: Path) -> Path:
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    for root in ELSEWHERE:
        try:
            if _is_ours(root):
                return _make_new_folder(root, name)
        except OSError:  # read-only, or not there: the next one may do
            continue
    raise StartupError(
        f"PostgreSQL does not run as root, other users may not enter {data_dir}, and {ELSEWHERE[0]} cannot "
        f"be made: set {SETTING} to a folder others may enter, or start the server as an ordinary user."
    )


def _is_ours(root: Path) -> bool:
    if _make_if_absent(root):
        root.chmod(0o755)
    status = root.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _make_new_folder(root: Path, name: str) -> Path:
    """Make a folder that was not there: whoever deleted the data folder meant to begin anew."""
    number = 1
    while True:
        folder = root / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        folder.chmod(0o711)
        return folder


def _write_durably(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with unfinished.open("x") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(unfinished, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names created in or moved to ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def may_enter(account: Account, folder: Path) -> bool:
    real = folder.resolve()
    return all(has_x(account, step) for step in (real, *real.parents))


def has_x(account: Account, path: Path) -> bool:
    status = path.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def make_socket_dir(place: Place, account: Account | None) -> Path:
    """Make a folder for the socket which only the database's user may enter (and root)."""
    beside = place.folder / "socket"
    if _fits(beside):
        return _make_private_dir(beside, account)
    base = Path("/run") if account is not None and os.access("/run", os.W_OK) else Path("/tmp")
    key = hashlib.sha256(os.fsencode(place.cluster)).hexdigest()[:12]
    return _make_private_dir(base / f"mission-dashboard-{key}", account)


def _fits(folder: Path) -> bool:
    """Whether libpq can be told this folder: its length, and no character that means something in a list."""
    longest = f"{folder}-12345678/{SOCKET_NAME}"
    is_short = len(os.fsencode(longest)) <= SOCKET_PATH_BYTES
    return is_short and re.fullmatch(r"[\w./+=:@~ -]+", longest) is not None


def _make_private_dir(folder: Path, account: Account | None) -> Path:
    """Make ``folder``, or take it if it is private already; never change what someone else put there."""
    owner = account.uid if account is not None else os.geteuid()
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077:
            return folder
        # Someone else took the name, in /tmp perhaps on purpose: a name nobody can foresee, then.
        folder = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    give_to(account, folder)
    return folder


def give_to(account: Account | None, folder: Path) -> None:
    """Make the account the owner of a folder that we just created."""
    if account is not None:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)
