"""Reads at the moment the database freezes: answered from memory or refused soon, never left hanging."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dashboards import Dashboard
from mission_dashboard.access.callers import new_secret
from test_outage import _eventually, database_processes


@pytest.fixture
def dashboard(data_dir: Path) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir).start()
    yield dashboard
    dashboard.stop()


@contextlib.contextmanager
def frozen_database(dashboard: Dashboard) -> Iterator[None]:
    """PostgreSQL stands still, as with a hung disk or a network gone silent, for the length of the block."""
    frozen = database_processes(dashboard.pid)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def outcome_of(call: Callable[[], Any]) -> tuple[int, float, Any]:
    """Make one call to the API; return its status (0: no answer in 10 s), how long it took and what it said."""
    began = time.monotonic()
    try:
        said: Any = call()
        status = 200
    except urllib.error.HTTPError as error:
        status, said = error.code, error.headers
    except OSError as error:
        status, said = 0, error
    return status, time.monotonic() - began, said


def test_lists_asked_for_at_the_moment_the_database_freezes_are_answered_from_memory(dashboard: Dashboard) -> None:
    dashboard.create_running("Alive")

    with ThreadPoolExecutor(12) as callers, frozen_database(dashboard):
        answers = list(callers.map(outcome_of, [lambda: dashboard.get("/api/missions")] * 12))

    assert {status for status, _, _ in answers} == {200}
    assert {said["degraded"] for _, _, said in answers} == {True}
    assert max(took_s for _, took_s, _ in answers) < 5


def test_a_frozen_database_is_noticed_soon_though_many_connections_lay_idle(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Alive")
    events = f"/api/missions/{mission_id}/events"
    with ThreadPoolExecutor(16) as callers:
        list(callers.map(dashboard.get, [events] * 200))
    keyed = urllib.request.Request(
        f"{dashboard.url}/api/missions",
        b'{"title": "Once"}',
        {"Content-Type": "application/json", "Idempotency-Key": "k"},
    )

    with frozen_database(dashboard):
        began = time.monotonic()
        write = outcome_of(lambda: urllib.request.urlopen(keyed, timeout=10))
        read = outcome_of(lambda: dashboard.get(events))
        is_told = _eventually(lambda: outcome_of(lambda: dashboard.get("/api/health"))[0] == 503, 15)
        told_after_s = time.monotonic() - began

    assert (write[0], write[1] < 2.3) == (503, True)
    assert (read[0], read[1] < 4) == (503, True)
    assert is_told
    assert told_after_s < 6


def test_a_key_that_is_not_known_is_answered_soon_and_not_called_wrong_while_the_database_is_frozen(
    dashboard: Dashboard,
) -> None:
    known, unknown = ("mdk_" + (dashboard.data_dir / "admin_key").read_text().strip(), new_secret())

    def status_with(secret: str) -> tuple[int, float, Any]:
        def call() -> None:
            asked = urllib.request.Request(
                f"{dashboard.url}/api/missions", headers={"Authorization": f"Bearer {secret}"}
            )
            urllib.request.urlopen(asked, timeout=10).close()

        return outcome_of(call)

    assert status_with(unknown)[0] == 401
    with ThreadPoolExecutor(12) as callers, frozen_database(dashboard):
        answers = list(callers.map(status_with, [unknown] * 24))
        assert status_with(known)[0] == 200

    assert {status for status, _, _ in answers} == {503}
    assert max(took_s for _, took_s, _ in answers) < 5
    assert answers[0][2]["Retry-After"]
    assert _eventually(lambda: status_with(unknown)[0] == 401)
