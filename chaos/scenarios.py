"""What is done, and what is told of it."""

from __future__ import annotations

import http.client
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from chaos.decisive import (
    BACK_S,
    commit_late,
    cut_idle_connections,
    cut_viewers,
    give_logs_room,
    lose_both,
    lose_database,
    lose_server,
    never_read,
    silence_database,
    takes_writes,
)
from chaos.memory import growth_problem, slope_mb_hour, warm
from chaos.network import Faulty
from chaos.people import Agents, Viewer, get
from chaos.places import Clock, Database, Fleet, fill, fleet, folder, mounted, redis
from chaos.sockets import IdleSockets, dribble, unread_viewers
from chaos.verdict import Verdict, eventually, judge
from dashboards import Dashboard

MOST_MB = 250.0
LONG_S = 7.0
"""Longer than any write or read waits for PostgreSQL."""
IDLE_MB = 0.15
"""What an idle socket may take."""
DISK_MB = 200
DISK_MB_S = 10
"""The write-ahead log takes up to a gigabyte: a disk that PostgreSQL fills by itself is not what is meant here."""
UNREAD = 30
SAYS_WHY = re.compile(r"50[37] \S.+")
MOST = "100 per minute"
OTHER_ADDRESS = "127.0.0.2"
OTHER_EVERY_S = 0.7
"""Fewer than a hundred in a minute."""
NOTICED_S = 30.0
"""A wire that fell silent is noticed after 40 s: shorter runs do without."""
LIMITS = {"MISSION_DASHBOARD_RATE_LIMIT": "1000000 per minute", "MISSION_DASHBOARD_REPORT_LIMIT": "1000000 per minute"}


@dataclass(frozen=True)
class Told:
    """What came of a scenario: its figures, and what was wrong."""

    name: str
    figures: Mapping[str, float | str]
    wrong: Sequence[str]


@dataclass
class Size:
    """How long and how much."""

    seconds: float
    seed: int
    idle: int = 1000
    flood: int = 5000
    figures: dict[str, float | str] = field(default_factory=dict)


@contextmanager
def watched(
    running: Fleet,
    urls: Callable[[], Sequence[str]] | None = None,
    viewers: int = 3,
    seed: int = 1,
    pause_s: float = 0.0,
    crowds: int = 0,
) -> Iterator[tuple[Agents, list[Viewer]]]:
    """Agents and viewers for the length of the block; agents have finished afterwards."""
    places = urls or running.urls
    watching = [Viewer(places, seed * 100 + number) for number in range(viewers)]
    agents = Agents(places, seed=seed, pause_s=pause_s, crowds=crowds)
    try:
        yield agents, watching
    finally:
        agents.stop()


def _conclude(
    name: str,
    size: Size,
    running: Fleet,
    dsn: str,
    agents: Agents,
    viewers: Sequence[Viewer],
    wrong: Sequence[str] = (),
    most_mb: float = MOST_MB,
) -> Told:
    are_back = [eventually(takes_writes(dashboard), BACK_S) for dashboard in running.dashboards]
    if not all(are_back):
        return Told(name, {}, [*wrong, f"writes were not taken within {BACK_S:g} s after the last fault"])
    verdict: Verdict = judge(dsn, running.urls(), agents, viewers)
    verdict.expect(running.memory_mb < most_mb, f"memory: {running.memory_mb:.0f} MB")
    for viewer in viewers:
        viewer.leave()
    figures = {
        "missions": verdict.missions,
        "acknowledged": agents.writes,
        "longest pause (s)": round(agents.longest_gap_s, 1),
        "viewers' breaks": sum(viewer.breaks for viewer in viewers),
        "most memory (MB)": round(running.memory_mb),
        **size.figures,
    }
    return Told(name, figures, [*wrong, *verdict.wrong])


def _dsn_of(dashboard: Dashboard) -> str:
    """Return the DSN of a dashboard's own database."""
    lines = (dashboard.data_dir / "postgres/cluster/postmaster.pid").read_text().splitlines()
    return f"host={lines[4]} port={lines[3]} user=mission_dashboard dbname=mission_dashboard"


def kills(size: Size) -> Told:
    """Two dashboards, PostgreSQL and Redis are killed and frozen in random order, again and again."""
    chance = random.Random(size.seed)
    done: dict[str, int] = {}
    with redis() as cache, fleet(2, MISSION_DASHBOARD_REDIS_URL=cache.url, **LIMITS) as (running, database):
        assert database is not None

        def restart(number: int) -> None:
            running.dashboards[number].kill()
            time.sleep(chance.uniform(0, 1))
            database.await_back()  # as a supervisor does that tries again until it starts
            running.dashboards[number].start()

        def kill_database() -> None:
            database.kill()
            database.await_back()

        def kill_redis() -> None:
            cache.kill()
            time.sleep(chance.uniform(0.1, 2))
            cache.start()

        faults: Mapping[str, Callable[[], None]] = {
            "kill -9 of a dashboard": lambda: restart(chance.randrange(2)),
            "kill -9 of PostgreSQL": kill_database,
            "kill -9 of the session that writes": database.kill_writer,
            "kill -9 of Redis": kill_redis,
            "Redis frozen": lambda: cache.freeze(chance.uniform(0.2, 2)),
            "PostgreSQL frozen": lambda: database.freeze(chance.uniform(0.5, 4)),
            "a dashboard frozen": lambda: running.freeze(chance.randrange(2), chance.uniform(0.5, 4)),
        }
        with watched(running, seed=size.seed, crowds=2) as (agents, viewers):
            ends_at = time.monotonic() + size.seconds
            each = chance.sample(list(faults), len(faults))
            while each or time.monotonic() < ends_at:
                time.sleep(chance.uniform(0.3, 1.0 if each else 2.5))
                name = each.pop() if each else chance.choice(list(faults))
                faults[name]()
                done[name] = done.get(name, 0) + 1
            database.await_back()
            time.sleep(1)
        size.figures.update(done)
        return _conclude("kills", size, running, database.dsn, agents, viewers, _without_effect(agents, viewers))


def freezes(size: Size) -> Told:
    """PostgreSQL, or some of its sessions, stand still for so long that writes are given up, and commit late."""
    chance = random.Random(size.seed)
    frozen = 0
    with fleet(1, **LIMITS) as (running, database):
        assert database is not None
        witness = Viewer(running.urls, size.seed)
        wrong = commit_late(running.dashboards[0], database, [witness])
        with watched(running, seed=size.seed, crowds=2) as (agents, viewers):
            ends_at = time.monotonic() + size.seconds
            while time.monotonic() < ends_at:
                time.sleep(chance.uniform(0.3, 1.5))
                seconds = min(chance.choice([0.5, 2, 4, LONG_S]), size.seconds)
                if chance.random() < 0.5:
                    database.freeze(seconds)
                else:
                    database.freeze_sessions(seconds, chance)
                frozen += 1
            time.sleep(1)
        size.figures["times frozen"] = frozen
        return _conclude("freezes", size, running, database.dsn, agents, [witness, *viewers], wrong)


def embedded(size: Size) -> Told:
    """One dashboard with its own PostgreSQL: either is killed, or both at once."""
    chance = random.Random(size.seed)
    wrong: list[str] = []
    with fleet(1, own_database=True, **LIMITS) as (running, _):
        (dashboard,) = running.dashboards
        dsn = _dsn_of(dashboard)
        with watched(running, seed=size.seed, crowds=2) as (agents, viewers):
            ends_at = time.monotonic() + size.seconds
            each: list[Callable[[Dashboard], list[str]]] = [lose_both, lose_server, lose_database]
            while each or time.monotonic() < ends_at:
                time.sleep(chance.uniform(0.5, 1.0 if each else 3))
                lose = each.pop() if each else chance.choice([lose_both, lose_server, lose_database])
                wrong += lose(dashboard)
            time.sleep(1)
        wrong += _without_effect(agents, viewers)
        return _conclude("embedded", size, running, dsn, agents, viewers, wrong)


def networks(size: Size) -> Told:
    """The wires between agents, viewers, dashboard and PostgreSQL get slow, fall silent and break."""
    chance = random.Random(size.seed)
    with ExitStack() as stack:
        path = stack.enter_context(folder())
        database = Database(path / "postgres")
        stack.callback(database.stop)
        behind = stack.enter_context(Faulty.before_database(database.dsn, path))
        running = Fleet(path, behind.dsn, 1, **LIMITS)
        stack.callback(running.close)
        front = stack.enter_context(Faulty.before_port(running.dashboards[0].port))
        (dashboard,) = running.dashboards
        with watched(running, lambda: [f"http://127.0.0.1:{front.port}"], seed=size.seed) as (agents, viewers):
            wrong = cut_viewers(dashboard, front, viewers)
            wrong += cut_idle_connections(dashboard, behind)
            wrong += silence_database(dashboard, behind)
            ends_at = time.monotonic() + size.seconds
            while time.monotonic() < ends_at:
                wire = chance.choice([behind, front])
                faults = ["slow", "silent", "cut", "narrow"] if size.seconds > NOTICED_S else ["slow", "cut", "narrow"]
                wire.misbehave(chance.choice(faults))
                time.sleep(chance.uniform(0.5, 4))
                wire.behave()
                time.sleep(chance.uniform(0.3, 1.5))
            if size.seconds > NOTICED_S:
                # Half-open connections that nobody will ever speak on again: both sides notice after 40 s.
                front.misbehave("silent")
                time.sleep(0.5)
                front.behave()
        wrong += _without_effect(agents, viewers)
        return _conclude("networks", size, running, database.dsn, agents, viewers, wrong)


def sockets(size: Size) -> Told:
    """Very many idle sockets, viewers that never read, headers sent byte by byte: the others are served."""
    with fleet(1, **LIMITS) as (running, database):
        assert database is not None
        (dashboard,) = running.dashboards
        wrong = never_read(dashboard, UNREAD)
        before_mb = _memory_mb(dashboard.pid)
        with IdleSockets(dashboard.port, size.idle) as idle, dribble(dashboard.port, size.idle // 10) as dribbling:
            idle_mb = _memory_mb(dashboard.pid)
            with (
                unread_viewers(dashboard.port, UNREAD) as unread,
                watched(running, seed=size.seed) as (agents, viewers),
            ):
                slowest_s = _slowest_answer(dashboard.url, size.seconds)
                unread_left = unread.still_open()
        size.figures.update(
            {
                "idle sockets": idle.count,
                "kB for each": round(1000 * (idle_mb - before_mb) / size.idle),
                "half-sent requests": dribbling.count,
                "viewers that never read": UNREAD,
                "of them still connected": unread_left,
                "slowest GET (s)": round(slowest_s, 2),
            }
        )
        wrong += [] if slowest_s < 5 else [f"somebody waited {slowest_s:.1f} s"]
        each_mb = (idle_mb - before_mb) / size.idle
        wrong += [] if each_mb < IDLE_MB else [f"an idle socket takes {each_mb:.2f} MB"]
        most_mb = MOST_MB + IDLE_MB * size.idle
        return _conclude("sockets", size, running, database.dsn, agents, viewers, wrong, most_mb)


def flood(size: Size) -> Told:
    """One address asks as fast as it can: it is refused beyond its limit, and others are served."""
    limits = {"MISSION_DASHBOARD_RATE_LIMIT": MOST, "MISSION_DASHBOARD_REPORT_LIMIT": MOST}
    with fleet(1, **limits) as (running, database):
        assert database is not None
        (dashboard,) = running.dashboards
        reported = f"/api/missions/{dashboard.create_running('Reported')}/progress"
        asking: dict[int, int] = {}
        reporting: dict[int, int] = {}
        stopping = threading.Event()

        def ask(method: str, path: str, statuses: dict[int, int]) -> None:
            session = requests.Session()
            while not stopping.is_set():
                answer = session.request(method, dashboard.url + path, json={"progress": 1}, timeout=10)
                kind = answer.status_code if answer.ok or "Retry-After" in answer.headers else 0
                statuses[kind] = statuses.get(kind, 0) + 1

        floods = [threading.Thread(target=ask, args=("GET", "/api/missions", asking)) for _ in range(4)]
        floods += [threading.Thread(target=ask, args=("POST", reported, reporting)) for _ in range(4)]
        for thread in floods:
            thread.start()
        began = time.monotonic()
        slowest_s = 0.0
        others: set[int] = set()
        while time.monotonic() - began < size.seconds:
            asked = time.monotonic()
            others.add(_ask_from(OTHER_ADDRESS, dashboard.port, "/api/missions"))
            slowest_s = max(slowest_s, time.monotonic() - asked)
            time.sleep(OTHER_EVERY_S)
        stopping.set()
        for thread in floods:
            thread.join()
        minutes = 2 + int(size.seconds // 60)
        wrong = []
        for what, statuses in (("asking", asking), ("reporting", reporting)):
            passed = statuses.get(200, 0)
            wrong += [] if set(statuses) == {200, 429} else [f"answers upon {what}: {statuses}"]
            wrong += [] if passed <= 100 * minutes else [f"{passed} times {what} were let in within {minutes} minutes"]
        wrong += [] if others == {200} else [f"another address is answered {sorted(others)}"]
        wrong += [] if slowest_s < 2 else [f"another one waited {slowest_s:.1f} s"]
        wrong += [] if running.memory_mb < MOST_MB else [f"memory: {running.memory_mb:.0f} MB"]
        figures = {
            "served": asking.get(200, 0) + reporting.get(200, 0),
            "refused": asking.get(429, 0) + reporting.get(429, 0),
            "slowest GET of others (s)": round(slowest_s, 2),
            "most memory (MB)": round(running.memory_mb),
        }
        return Told("flood", figures, wrong)


def clocks(size: Size) -> Told:
    """The clock jumps an hour forth and back, of the dashboard and of its PostgreSQL: nobody is lost or late for it."""
    chance = random.Random(size.seed)
    with folder() as path:
        clock = Clock(path)
        settings = {
            **clock.environment,
            "MISSION_DASHBOARD_STALL_AFTER": "60",
            "MISSION_DASHBOARD_LOST_AFTER": "120",
        }
        with fleet(1, own_database=True, **settings, **LIMITS) as (running, _):
            (dashboard,) = running.dashboards
            alone = dashboard.create("Works alone", budget={"seconds": 1800})
            dashboard.post(f"/api/missions/{alone}/start")
            asking = dashboard.create_running("Waits for a person")
            asked = dashboard.post(f"/api/missions/{asking}/ask", text="Go on?", timeout=1800)
            offset_s = 0
            with watched(running, seed=size.seed, pause_s=0.02) as (agents, viewers):
                ends_at = time.monotonic() + size.seconds
                each = [0, -3600, 3600]
                while each or time.monotonic() < ends_at:
                    others = [other for other in (-3600, 0, 3600) if other != offset_s]
                    offset_s = each.pop() if each else chance.choice(others)
                    clock.set(offset_s)
                    time.sleep(chance.uniform(1.5, 2.0 if each else 4))
            wrong = []
            for mission_id in (alone, asking):
                mission = dashboard.get(f"/api/missions/{mission_id}")["mission"]
                if mission["status"] != "running" or mission["stalled_reason"]:
                    wrong.append(f"{mission['title']}: {mission['status']}, {mission['error_message']}")
            question_id = asked["mission"]["question"]["id"]
            question = dashboard.get(f"/api/missions/{asking}/questions/{question_id}")["question"]
            if question["state"] != "open":
                wrong.append(f"the question is {question['state']}")
            told = _conclude("clocks", size, running, _dsn_of(dashboard), agents, viewers)
            # Their lives have questions in them.
            others = [sentence for sentence in told.wrong if alone not in sentence and asking not in sentence]
            return Told(told.name, told.figures, [*others, *wrong])


def disks(size: Size) -> Told:
    """The disk of PostgreSQL and that of the log are full: writes are refused, and go on once there is room."""
    disk_mb = DISK_MB + int(DISK_MB_S * size.seconds)
    with (
        folder() as path,
        mounted(path / "data", disk_mb) as data,
        mounted(path / "logs", 1) as logs,
        ExitStack() as end,
    ):
        (logs / "filler").write_bytes(b"x" * 900_000)
        log_filler = fill(logs)
        running = Fleet(data, None, 1, MISSION_DASHBOARD_LOG_DIR=str(logs), **LIMITS)
        end.callback(running.close)
        (dashboard,) = running.dashboards
        dsn = _dsn_of(dashboard)
        sentences: set[str] = set()
        back_s: list[float] = []
        wrong: list[str] = []
        with watched(running, seed=size.seed) as (agents, viewers):
            ends_at = time.monotonic() + size.seconds
            while time.monotonic() < ends_at:
                time.sleep(1.5)
                filler = fill(data)
                for _ in range(40):
                    answer = requests.post(f"{dashboard.url}/api/missions", json={"title": "No room"}, timeout=10)
                    if not answer.ok:
                        sentences.add(f"{answer.status_code} {answer.json()['detail']}")
                    time.sleep(0.1)
                filler.unlink()
                began = time.monotonic()
                if not eventually(takes_writes(dashboard), BACK_S):
                    wrong.append(f"no write was taken for {BACK_S:g} s after there was room again")
                back_s.append(time.monotonic() - began)
        size.figures["times full"] = len(back_s)
        size.figures["longest until writes go on (s)"] = round(max(back_s), 1)
        size.figures["refused with"] = "; ".join(sorted(sentences))
        if not sentences:
            wrong.append("the disk was never full")
        wrong += [f"refused with {said!r}" for said in sorted(sentences) if not SAYS_WHY.fullmatch(said)]
        wrong += give_logs_room(logs, log_filler, lambda: get(dashboard.url, "/api/missions"))
        told = _conclude("disks", size, running, dsn, agents, viewers, wrong)
        codes = running.close()
        return Told(told.name, told.figures, [*told.wrong, *([] if codes == [0] else [f"exit codes {codes}"])])


def outputs(size: Size) -> Told:
    """What it prints goes to a full disk, or into a pipe that nobody reads: it works on."""
    wrong = []
    with folder() as path, Database(path / "postgres").kept() as database, open("/dev/full", "wb") as full:
        reading, writing = os.pipe()
        session = requests.Session()
        for name, output in (("full", full.fileno()), ("unread", writing)):
            data = path / name
            data.mkdir()
            dashboard = Dashboard(data, POSTGRES_DSN=database.dsn, **LIMITS)
            dashboard.output = output
            dashboard.start()
            # Each is a line of the log: more than any pipe holds.
            asked = 0
            ends_at = time.monotonic() + size.seconds
            try:
                while time.monotonic() < ends_at or asked < 1000:
                    session.get(f"{dashboard.url}/api/missions", timeout=5).raise_for_status()
                    asked += 1
            except requests.RequestException as error:
                wrong.append(f"{name}: after {asked} lines: {error}")
            size.figures[f"lines to {name}"] = asked
            if dashboard.stop() != 0:
                wrong.append(f"{name}: it does not end well")
        os.close(writing)
        os.close(reading)
    return Told("outputs", size.figures, wrong)


def soak(size: Size) -> Told:
    """A steady load for long: memory stays flat."""
    with fleet(1, **LIMITS) as (running, database):
        assert database is not None
        with watched(running, seed=size.seed, pause_s=0.02) as (agents, viewers):
            time.sleep(size.seconds)
        measured = warm(running.samples, size.seconds)
        size.figures["MB at the beginning"] = round(measured[0][1], 1)
        size.figures["MB at the end"] = round(measured[-1][1], 1)
        size.figures["MB more each hour"] = round(slope_mb_hour(measured), 1)
        grows = growth_problem(measured)
        return _conclude("soak", size, running, database.dsn, agents, viewers, [grows] if grows else [])


def _without_effect(agents: Agents, viewers: Sequence[Viewer]) -> list[str]:
    """Return who noticed nothing of what was done."""
    wrong = [] if agents.refused else ["no report was refused"]
    # A viewer reads what was sent before its connection broke first, which here takes seconds.
    was_cut_off = eventually(lambda: any(viewer.breaks for viewer in viewers), BACK_S)
    return wrong if was_cut_off else [*wrong, "no viewer was cut off"]


def _ask_from(address: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(address, 0))
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def _memory_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096 / 1e6


def _slowest_answer(url: str, seconds: float) -> float:
    slowest_s = 0.0
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        began = time.monotonic()
        try:
            get(url, "/api/missions?limit=50")
        except requests.RequestException:
            slowest_s = 60.0
        slowest_s = max(slowest_s, time.monotonic() - began)
        time.sleep(0.05)
    return slowest_s


SCENARIOS: Mapping[str, Callable[[Size], Told]] = {
    "kills": kills,
    "freezes": freezes,
    "embedded": embedded,
    "networks": networks,
    "sockets": sockets,
    "clocks": clocks,
    "disks": disks,
    "outputs": outputs,
    "flood": flood,
    "soak": soak,
}
