"""A wire to PostgreSQL falls silent: bytes vanish, nothing is closed. Nobody waits long, least of all who stops."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest

from chaos.network import Faulty
from conftest import run_sql
from dashboards import ROOT, Dashboard
from mission_dashboard.errors import StoreUnavailable
from mission_dashboard.postgres.alert_store import PostgresAlertStore
from mission_dashboard.postgres.connections import connect, fetch
from test_frozen_database import outcome_of
from test_outage import _eventually

MODES = ("eventlet", "threading")
STOP_S = 5.0
"""What docs/deployment.md promises."""


@pytest.fixture
def wire(dsn: str, data_dir: Path) -> Iterator[Faulty]:
    with Faulty.before_database(dsn, data_dir) as wire:
        yield wire


@pytest.fixture(params=MODES)
def dashboard(wire: Faulty, data_dir: Path, request: pytest.FixtureRequest) -> Iterator[Dashboard]:
    data = data_dir / "dashboard"
    data.mkdir(mode=0o711)
    dashboard = Dashboard(data, POSTGRES_DSN=wire.dsn, MISSION_DASHBOARD_ASYNC_MODE=request.param).start()
    yield dashboard
    dashboard.kill()


def _evaluates(dsn: str, how: str = "") -> bool:
    """Whether alerts have their connection."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
    return bool(run_sql(dsn, f"{sql} AND application_name = 'mission-dashboard alerts' {how}"))


def _fall_silent(wire: Faulty, dashboard: Dashboard) -> None:
    """Lose all connections that are open, silently, just before alerts look at what was reported."""
    missions = [dashboard.create_running(f"Mission {number}") for number in range(10)]
    for mission_id in missions:
        dashboard.post(f"/api/missions/{mission_id}/fail", error_message="It broke.")
    wire.misbehave("silent")


def _come_back(wire: Faulty, dashboard: Dashboard) -> None:
    """Return once new connections are in use."""
    assert _eventually(lambda: outcome_of(lambda: dashboard.get("/api/health"))[0] == 503, 6)
    wire.behave()
    assert _eventually(lambda: outcome_of(lambda: dashboard.create("After it"))[0] == 200, 6)


def _stop_s(dashboard: Dashboard) -> float:
    began = time.monotonic()
    assert dashboard.stop() == 0
    return time.monotonic() - began


def test_a_server_ends_in_time_after_its_wire_to_postgresql_was_silent_for_a_while(
    dashboard: Dashboard, wire: Faulty, dsn: str
) -> None:
    assert _eventually(lambda: _evaluates(dsn), 5)

    _fall_silent(wire, dashboard)
    _come_back(wire, dashboard)

    assert _stop_s(dashboard) < STOP_S


def test_a_server_ends_in_time_while_its_wire_to_postgresql_is_silent(
    dashboard: Dashboard, wire: Faulty, dsn: str
) -> None:
    assert _eventually(lambda: _evaluates(dsn), 5)

    _fall_silent(wire, dashboard)
    time.sleep(0.5)  # until alerts have begun

    assert _stop_s(dashboard) < STOP_S


def test_a_server_ends_in_time_while_the_database_takes_long_over_an_answer(dashboard: Dashboard, dsn: str) -> None:
    blocking = psycopg2.connect(dsn)
    with contextlib.closing(blocking), blocking.cursor() as cursor:
        cursor.execute("LOCK TABLE mission_minutes IN ACCESS EXCLUSIVE MODE")
        dashboard.post("/api/alerts/rules", name="Dear", signal="cost_per_hour", threshold=1)
        assert _eventually(lambda: _evaluates(dsn, "AND wait_event_type = 'Lock'"), 5)

        assert _stop_s(dashboard) < STOP_S


def test_reads_on_a_silent_wire_are_refused_soon_and_served_once_there_is_another(
    dashboard: Dashboard, wire: Faulty
) -> None:
    events = f"/api/missions/{dashboard.create_running('Alive')}/events"
    with ThreadPoolExecutor(20) as callers:
        list(callers.map(dashboard.get, [events] * 100))
        wire.misbehave("silent")
        refused = list(callers.map(lambda _: outcome_of(lambda: dashboard.get(events)), range(20)))
        wire.behave()
        assert _eventually(lambda: outcome_of(lambda: dashboard.get(events))[0] == 200, 5)
        served = list(callers.map(lambda _: outcome_of(lambda: dashboard.get(events)), range(20)))

    assert {status for status, _, _ in refused} == {503}
    assert max(took_s for _, took_s, _ in refused) < 5
    assert {status for status, _, _ in served} == {200}


def test_alerts_go_on_soon_after_the_wire_fell_silent(dashboard: Dashboard, wire: Faulty, dsn: str) -> None:
    dashboard.post("/api/alerts/rules", name="Failed", signal="failed")
    mission_id = dashboard.create_running("Alive")
    assert _eventually(lambda: _evaluates(dsn), 5)
    _fall_silent(wire, dashboard)
    _come_back(wire, dashboard)

    def has_alert() -> bool:
        # The first reading may still take a connection that died meanwhile.
        status, _, said = outcome_of(lambda: dashboard.get("/api/alerts"))
        return status == 200 and bool(said["alerts"])

    dashboard.post(f"/api/missions/{mission_id}/fail", error_message="It broke.")

    assert _eventually(has_alert, 15)


def test_the_evaluation_of_a_process_that_vanished_lets_go_of_its_turn(wire: Faulty, dsn: str) -> None:
    vanished, other = PostgresAlertStore(wire.dsn), PostgresAlertStore(dsn)

    def may_evaluate() -> bool:
        with other.evaluating() as transaction:
            return transaction is not None

    with contextlib.suppress(StoreUnavailable), vanished.evaluating() as transaction:
        assert transaction is not None
        wire.misbehave("silent")
        waited = not may_evaluate()
        took_turn = _eventually(may_evaluate, 12)
        wire.misbehave("cut")

    assert (waited, took_turn) == (True, True)
    other.close()


CLOSED_BY_ANOTHER = """
import sys, threading, time
from mission_dashboard import concurrency
concurrency.prepare(sys.argv[1])
from mission_dashboard.postgres.connections import LOST, Pool, answers_within, connect, fetch, patience
connection = connect(sys.argv[2])
def ask():
    try:
        with patience(connection, 60):
            fetch(connection, "SELECT pg_sleep(60)")
    except LOST:
        pass
asking = threading.Thread(target=ask, daemon=True)
asking.start()
time.sleep(0.2)
if sys.argv[3] == "closed":
    connection.close()
    asking.join(3)
else:
    with answers_within(0.5):
        asking.join(3)
sys.exit(asking.is_alive() or not connection.closed)
"""


def test_a_stop_that_hangs_says_where_and_ends_nevertheless() -> None:
    hanging = (
        "import threading; from mission_dashboard.mission_dashboard import end_within; end_within(1.2)\n"
        "lock = threading.Lock()\nlock.acquire()\nlock.acquire()\n"
    )

    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run([sys.executable, "-c", hanging], env=environment, timeout=10, capture_output=True, text=True)

    assert ended.returncode == -signal.SIGALRM
    assert 'File "<string>", line 4' in ended.stderr


@pytest.mark.parametrize("why", ["closed", "stopping"])
@pytest.mark.parametrize("mode", MODES)
def test_who_waits_for_postgresql_gives_up_where_another_thread_closes_the_connection_or_all_ends(
    mode: str, why: str, dsn: str
) -> None:
    # A process of its own: the threads are green ones, and what is tested once stopped all of them for ever.
    asking = [sys.executable, "-c", CLOSED_BY_ANOTHER, mode, dsn, why]
    ended = subprocess.run(asking, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, timeout=10)

    assert ended.returncode == 0


def test_both_ends_of_a_connection_ask_their_kernels_for_signs_of_life(dsn: str) -> None:
    usual, own = connect(dsn), connect(psycopg2.extensions.make_dsn(dsn, keepalives_idle=7))

    asked = {name for (name,) in fetch(usual, "SELECT name FROM pg_settings WHERE source = 'client'")}

    assert usual.get_dsn_parameters()["keepalives_idle"] == "15"
    assert usual.get_dsn_parameters()["tcp_user_timeout"] == "20000"
    assert own.get_dsn_parameters()["keepalives_idle"] == "7"
    assert {"tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout"} <= asked
    usual.close()
    own.close()
