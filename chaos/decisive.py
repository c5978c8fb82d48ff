"""The fault that a scenario exists for, done once for certain before others come in random order.

Each returns what was wrong, in sentences, one of them being that the fault had no effect.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import psutil
import psycopg2
import requests

from chaos.network import Faulty
from chaos.people import Viewer, get
from chaos.places import WRITERS, Database
from chaos.sockets import unread_viewers
from chaos.verdict import eventually
from conftest import run_sql
from dashboards import Dashboard

BACK_S = 20.0
HEARD_S = 4.0
"""A caller hears of an outage within two seconds, and the rest is for a busy machine."""
TOLD_S = 15.0
ENDS_S = 5.0
READERS = 8
TITLE = {"title": "Room"}
BALLAST_BYTES = 200_000
KEPT_MB = 24.0
"""What waits for viewers is the same for all of them: 8 MB twice, as text and as frames."""
MOST_BALLAST = 200
"""So many pictures with ballast are 40 MB, five times what may wait for a viewer."""


def takes_writes(dashboard: Dashboard) -> Callable[[], bool]:
    """Return what tells whether a dashboard takes a write."""
    return lambda: requests.post(f"{dashboard.url}/api/missions", json=TITLE, timeout=5).ok


def postmaster(dashboard: Dashboard) -> int:
    """Return the process id of a dashboard's own PostgreSQL."""
    return int((dashboard.data_dir / "postgres/cluster/postmaster.pid").read_text().split()[0])


def commit_late(dashboard: Dashboard, database: Database, viewers: Sequence[Viewer]) -> list[str]:
    """A write is given up, its session stands still, and commits once all have gone on: everybody hears of it.

    For a dashboard to which nobody else writes: an agent that tries again would be first.
    """
    late = dashboard.create_running("Commits late")
    with closing(psycopg2.connect(database.dsn)) as blocking, ThreadPoolExecutor(1) as agent:
        with blocking.cursor() as cursor:
            cursor.execute("SELECT 1 FROM missions WHERE id = %s FOR UPDATE", (late,))
        report = agent.submit(_refusal, f"{dashboard.url}/api/missions/{late}/progress", {"progress": 50})
        sessions: list[int] = []

        def is_held_up() -> bool:
            sessions[:] = [pid for (pid,) in run_sql(database.dsn, f"{WRITERS} AND wait_event_type = 'Lock'")]
            return bool(sessions)

        if not eventually(is_held_up, HEARD_S):
            return ["no write was held up"]
        os.kill(sessions[0], signal.SIGSTOP)
        try:
            blocking.rollback()
            wrong = report.result()
            if not eventually(takes_writes(dashboard), BACK_S):
                return [*wrong, "no write was taken while one session stood still"]
            later = dashboard.create("Goes on")
            if not eventually(lambda: _all_have(viewers, later, 1), TOLD_S):
                wrong.append("viewers were told nothing while one session stood still")
            if _version(database, late) != 2:
                wrong.append("the write did not commit late")
        finally:
            os.kill(sessions[0], signal.SIGCONT)
    if not eventually(lambda: _version(database, late) == 3, TOLD_S):
        wrong.append("the write never committed")
    if not eventually(lambda: _all_have(viewers, late, 3), TOLD_S):
        wrong.append("viewers were not told what committed late")
    return wrong


def lose_database(dashboard: Dashboard) -> list[str]:
    """The PostgreSQL that a dashboard runs is killed: the dashboard, which goes on, starts another."""
    before = postmaster(dashboard)
    os.kill(before, signal.SIGKILL)

    def is_back() -> bool:
        with suppress(FileNotFoundError, IndexError):
            return postmaster(dashboard) != before and takes_writes(dashboard)()
        return False

    if not eventually(is_back, BACK_S):
        return [f"PostgreSQL was not started again within {BACK_S:g} s"]
    return []


def lose_server(dashboard: Dashboard) -> list[str]:
    """A dashboard is killed: the PostgreSQL that it ran ends too, and the next dashboard starts its own."""
    before = psutil.Process(postmaster(dashboard))
    dashboard.kill()
    wrong = [] if eventually(lambda: not before.is_running(), ENDS_S) else ["PostgreSQL outlived its dashboard"]
    dashboard.start()
    return wrong


def lose_both(dashboard: Dashboard) -> list[str]:
    """PostgreSQL and the dashboard that runs it are killed together."""
    os.kill(postmaster(dashboard), signal.SIGKILL)
    dashboard.kill()
    dashboard.start()
    return []


def silence_database(dashboard: Dashboard, wire: Faulty) -> list[str]:
    """All connections to PostgreSQL fall silent for ever: readers and writers hear it soon, and others are made."""
    history = f"{dashboard.url}/api/missions/{dashboard.create('Asked for')}/events"
    wire.misbehave("silent")
    with ThreadPoolExecutor(2) as callers:
        asked = [callers.submit(_refusal, history), callers.submit(_refusal, f"{dashboard.url}/api/missions", TITLE)]
        wrong = [sentence for refusal in asked for sentence in refusal.result()]
    wire.behave()
    if not eventually(takes_writes(dashboard), BACK_S):
        wrong.append("no write was taken on another connection")
    return wrong


def cut_idle_connections(dashboard: Dashboard, wire: Faulty) -> list[str]:
    """All connections to PostgreSQL break while most of them lie idle: no reader hears of it afterwards."""
    with ThreadPoolExecutor(READERS) as readers:
        list(readers.map(lambda _: get(dashboard.url, "/api/missions"), range(READERS * 4)))
    wire.misbehave("cut")
    wire.behave()
    if not eventually(takes_writes(dashboard), BACK_S):
        return ["no write was taken after a cut"]
    pages = [get(dashboard.url, "/api/missions") for _ in range(READERS)]
    return ["a reader got a connection that had broken"] if any(page.get("degraded") for page in pages) else []


def cut_viewers(dashboard: Dashboard, wire: Faulty, viewers: Sequence[Viewer]) -> list[str]:
    """The viewers' wire is cut while missions are written: they come back and learn of them by their cursors."""
    if not eventually(lambda: all(viewer.has_picture for viewer in viewers), TOLD_S):
        return ["viewers got no picture"]
    before = [viewer.breaks for viewer in viewers]
    wire.misbehave("cut")
    broke = eventually(lambda: all(viewer.breaks > then for viewer, then in zip(viewers, before, strict=True)), TOLD_S)
    missed = [dashboard.create(f"Missed {number}") for number in range(3)]
    wire.behave()
    wrong = [] if broke else ["no wire broke"]
    if not eventually(lambda: all(_all_have(viewers, mission_id, 1) for mission_id in missed), TOLD_S):
        wrong.append("viewers did not learn what they had missed")
    return wrong


def never_read(dashboard: Dashboard, count: int) -> list[str]:
    """Viewers read nothing while much is sent to them: they are let go, and nothing is kept for them."""
    server = psutil.Process(dashboard.pid)
    heavy = dashboard.create_running("Heavy", metadata={"ballast": "x" * BALLAST_BYTES})
    report = f"/api/missions/{heavy}/progress"
    wrong = _let_go(dashboard, report, count)
    before_mb = server.memory_info().rss / 1e6
    for _ in range(2):
        wrong += _let_go(dashboard, report, count)
    growth_mb = server.memory_info().rss / 1e6 - before_mb
    return wrong if growth_mb < KEPT_MB else [*wrong, f"{growth_mb:.0f} MB are kept for viewers that were let go"]


def _let_go(dashboard: Dashboard, report: str, count: int) -> list[str]:
    server = psutil.Process(dashboard.pid)
    before = server.num_fds()
    with unread_viewers(dashboard.port, count):
        if not eventually(lambda: _viewers(dashboard) == count, TOLD_S):
            return [f"of {count} viewers {_viewers(dashboard)} were let in"]
        for step in range(MOST_BALLAST):
            dashboard.post(report, progress=step % 100)
            if not _viewers(dashboard):
                break
        else:
            return [f"of {count} viewers that never read {_viewers(dashboard)} were not let go"]
        # Readers of the database may have opened some of their own.
        if not eventually(lambda: server.num_fds() < before + count // 2, TOLD_S):
            return [f"{server.num_fds() - before} more files are open after viewers were let go"]
    return []


def give_logs_room(logs: Path, filler: Path, write: Callable[[], object]) -> list[str]:
    """There is room for logs again: they go on with whole lines."""
    (log,) = logs.glob("*.log")
    before = log.stat().st_size
    filler.unlink()
    write()
    return [] if eventually(lambda: log.stat().st_size > before, TOLD_S) else ["the log did not go on"]


def _refusal(url: str, said: object = None) -> list[str]:
    """Ask while the database is away; return what is wrong with how that is told."""
    began = time.monotonic()
    try:
        answer = requests.get(url, timeout=30) if said is None else requests.post(url, json=said, timeout=30)
    except requests.RequestException as error:
        return [f"while the database was away: {error}"]
    waited_s = time.monotonic() - began
    told = "" if answer.status_code == 503 and answer.json()["detail"] else f"{answer.status_code} {answer.text[:100]}"
    wrong = [f"while the database was away: {told}"] if told else []
    return wrong if waited_s < HEARD_S else [*wrong, f"that the database was away was told after {waited_s:.1f} s"]


def _version(database: Database, mission_id: str) -> int:
    ((version,),) = run_sql(database.dsn, "SELECT version FROM missions WHERE id = %s", (mission_id,))
    return int(version)


def _all_have(viewers: Sequence[Viewer], mission_id: str, version: int) -> bool:
    return all(viewer.versions().get(mission_id, 0) >= version for viewer in viewers)


def _viewers(dashboard: Dashboard) -> int:
    return int(dashboard.get("/api/health")["viewers"])
