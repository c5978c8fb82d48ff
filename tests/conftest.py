"""What the tests share: one throw-away PostgreSQL a run, a fresh database for each test, and servers to talk to."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from folders import make_folder
from mission_dashboard.config import Settings, load_settings
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.postgres.embedded import EmbeddedPostgres
from mission_dashboard.postgres.store import PostgresStore

_numbers = itertools.count(1)

# A server that a test starts would compile the whole program anew each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def dsn_for(dsn: str, database: str) -> str:
    """Return the DSN of another database of the same server."""
    return psycopg2.extensions.make_dsn(dsn, dbname=database)


def run_sql(dsn: str, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


class FrozenClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell why a test needed a second try, too."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"first try of {report.nodeid}")
        terminalreporter.line(report.longreprtext)


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The DSN of a PostgreSQL server for this run, with today's schema in the database 'template'."""
    folder = make_folder("mdtest")
    server = EmbeddedPostgres(folder, durable=False)
    dsn = server.start()
    run_sql(dsn, "CREATE DATABASE template")
    store = PostgresStore(dsn_for(dsn, "template"))
    store.open()
    store.close()
    yield dsn
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder for a server with an embedded database of its own."""
    folder = make_folder("mddata")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_dsn(cluster: str) -> Iterator[str]:
    """A new database with nothing in it."""
    yield from _database(cluster, "template0")


@pytest.fixture
def dsn(cluster: str) -> Iterator[str]:
    """A new database with today's schema."""
    yield from _database(cluster, "template")


def _database(cluster: str, template: str) -> Iterator[str]:
    name = f"t{os.getpid()}_{next(_numbers)}"
    # Copying files costs a fifth of writing each page into the log, and no checkpoint waits for a disk here.
    run_sql(cluster, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield dsn_for(cluster, name)
    run_sql(cluster, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def module_dsn(cluster: str) -> Iterator[str]:
    """A new database with today's schema for all tests of a module."""
    yield from _database(cluster, "template")


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def make_tracker(dsn: str) -> Iterator[Callable[..., MissionTracker]]:
    """Opens trackers on the test's database and closes them afterwards."""
    opened: list[MissionTracker] = []

    def make(**options: Any) -> MissionTracker:
        tracker = MissionTracker(PostgresStore(options.pop("dsn", dsn)), **options)
        tracker.open()
        opened.append(tracker)
        return tracker

    yield make
    for tracker in opened:
        tracker.close()


@pytest.fixture
def tracker(make_tracker: Callable[..., MissionTracker]) -> MissionTracker:
    return make_tracker()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings for an application inside the test's process."""
    return load_settings(
        {
            "MISSION_DASHBOARD_DATA_DIR": str(tmp_path / "data"),
            "MISSION_DASHBOARD_LOG_DIR": str(tmp_path / "logs"),
            "MISSION_DASHBOARD_RATE_LIMIT": "off",
            "MISSION_DASHBOARD_ASYNC_MODE": "threading",
            "MISSION_DASHBOARD_SECRET_KEY": "for tests",
        },
        tmp_path / "no.env",
    )
