"""Backing up a database into one file of pg_dump's custom format: whole and checked, or not there at all."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2.errors

from mission_dashboard.errors import StartupError, StoreUnavailable, first_line
from mission_dashboard.postgres.clients import Clients, find_clients, open_dsn, run_client
from mission_dashboard.postgres.connections import Unanswered, connect, lost_means_unavailable
from mission_dashboard.postgres.migrate import newest_step
from mission_dashboard.postgres.places import sync_folder

MAGIC = b"PGDMP"
LOCK_WAIT_MS = 60_000
MAX_SILENT = 3


@dataclass(frozen=True)
class BackedUp:
    """What was written."""

    file: Path
    size_bytes: int
    tables: int
    step: int
    """The migration the database had reached."""
    seconds: float


def back_up(dsn: str, file: Path) -> BackedUp:
    """Write the database as it is at one moment to ``file``, while it may be in use; raise `StartupError`.

    An earlier backup of that name is replaced once the new one has been read back.
    """
    began = time.monotonic()
    target = file.expanduser().absolute()
    refuse_to_overwrite(target)
    clients, step = _look(dsn)
    with _beside(target) as unfinished:
        open_part, environment = open_dsn(dsn)
        options = ("--format=custom", f"--lock-wait-timeout={LOCK_WAIT_MS}", f"--file={unfinished}")
        run_client(clients.command("pg_dump", *options, f"--dbname={open_part}"), environment, _watch(dsn))
        tables = read_through(clients, unfinished)
        _make_durable(unfinished, target)
    return BackedUp(target, target.stat().st_size, tables, step, time.monotonic() - began)


def refuse_to_overwrite(target: Path) -> None:
    """Raise `StartupError` unless the file may be written: it is new, or a backup."""
    try:
        if not target.parent.is_dir():
            raise StartupError(f"There is no folder {target.parent}: make it, or name another file.")
        if target.is_dir():
            raise StartupError(f"{target} is a folder: name a file in it.")
        if target.exists() and not is_backup(target):
            raise StartupError(f"{target} is there already and is no backup: name another file.")
    except OSError as error:
        raise StartupError(f"{target} cannot be written: {error.strerror}.") from error


def is_backup(file: Path) -> bool:
    """Whether this file begins as one of pg_dump's custom format does; raises `StartupError` if it cannot be read."""
    try:
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise StartupError(f"{file} is no ordinary file: a backup is read more than once.")
        with file.open("rb") as opened:
            return opened.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise StartupError(f"{file} cannot be read: {error.strerror}.") from error


def _look(dsn: str) -> tuple[Clients, int]:
    connection = connect(dsn, "mission-dashboard backup")
    try:
        with lost_means_unavailable():
            step = newest_step(connection)
        if not step:
            raise StartupError("This database has no missions: no dashboard has used it yet.")
        return find_clients(connection.server_version // 10_000), step
    except psycopg2.errors.InsufficientPrivilege as error:
        raise StartupError(f"The user of the DSN may not read what is to be backed up: {first_line(error)}.") from error
    finally:
        connection.close()


def _watch(dsn: str) -> Callable[[], None]:
    """Return what raises `StartupError` once the server was silent some times: pg_dump itself would wait for ever."""
    silent = 0

    def look() -> None:
        nonlocal silent
        try:
            connect(dsn, "mission-dashboard backup").close()
            silent = 0
        except StoreUnavailable as error:
            silent += isinstance(error.__cause__, Unanswered)
        if silent >= MAX_SILENT:
            raise StartupError("The database does not answer any more: nothing was backed up.")

    return look


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give a new file beside the target that only we may read, and take it away again if it is still there."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StartupError(f"{target.parent} cannot be written: {error.strerror}.") from error
    try:
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def read_through(clients: Clients, file: Path) -> int:
    """Read a backup to its end; return how many tables it holds, or raise `StartupError` where it is damaged."""
    listed = run_client(clients.command("pg_restore", "--list", str(file)))
    tables = re.findall(r"^\d+; \d+ \d+ TABLE DATA \S+ (\S+)", listed, re.MULTILINE)
    if "missions" not in tables or "mission_dashboard_migrations" not in tables:
        raise StartupError(f"{file} is no backup of a Mission Dashboard: it has no missions.")
    # Listing reads the table of contents only; this reads and unpacks every row.
    run_client(clients.command("pg_restore", "--file=/dev/null", str(file)))
    return len(tables)


def _make_durable(unfinished: Path, target: Path) -> None:
    descriptor = os.open(unfinished, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(unfinished, target)
    sync_folder(target.parent)
