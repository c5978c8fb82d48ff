"""Log lines, spans and trees: committed with everything else, paged by cursor, live to whoever watches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from flask.testing import FlaskClient

from conftest import FrozenClock, run_sql
from dashboards import Dashboard
from mission_dashboard.config import Settings
from mission_dashboard.control import Rules
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.recording import AddLines
from mission_dashboard.records import MAX_OPEN, LogLine, LogsSaid, Recorded
from mission_dashboard.reports import understand
from mission_dashboard.web.rooms import MAX_WAITING, MAX_WAITING_BYTES, Waiting
from test_viewers import Viewer

MakeTracker = Callable[..., MissionTracker]
LINE = "INSERT INTO mission_logs (mission_id, id, at, level, message) VALUES (%s, %s, now(), 'info', %s)"


@pytest.fixture
def client(tracker: MissionTracker, settings: Settings) -> FlaskClient:
    return create_app(settings, tracker)[0].test_client()


def post(client: FlaskClient, path: str, **said: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/api/missions/{path}", json=said)
    return answer.status_code, answer.get_json()


def get(client: FlaskClient, path: str) -> dict[str, Any]:
    answer = client.get(f"/api/missions/{path}")
    assert answer.status_code == 200, answer.get_json()
    return dict(answer.get_json())


def log(tracker: MissionTracker, mission_id: str, *messages: str) -> None:
    tracker.execute(AddLines(mission_id, understand(LogsSaid, {"lines": [{"message": text} for text in messages]})))


def read_on(client: FlaskClient, mission_id: str, cursor: str) -> tuple[list[str], str]:
    """Return the lines after a cursor, page by page, and where they end."""
    seen: list[str] = []
    while True:
        page = get(client, f"{mission_id}/logs?limit=3" + (f"&after={cursor}" if cursor else ""))
        seen += [line["message"] for line in page["lines"]]
        cursor = page["cursor"]
        if not page["more"]:
            return seen, cursor


def span(**said: Any) -> dict[str, Any]:
    return {"id": "a", "name": "search", "started_at": "2026-01-01T10:00:00Z", **said}


class TestLogs:
    def test_lines_are_kept_in_order_without_touching_the_mission(
        self, client: FlaskClient, tracker: MissionTracker
    ) -> None:
        mission = tracker.create(title="x")

        status, said = post(
            client,
            f"{mission.id}/logs",
            lines=[
                {"message": "first", "at": "2026-01-01T10:00:00.5+02:00", "level": "WARN"},
                {"message": "second"},
            ],
        )

        assert (status, said["mission"]["version"], said["directive"]["action"]) == (200, 1, "continue")
        page = get(client, f"{mission.id}/logs")
        assert [(line["level"], line["message"]) for line in page["lines"]] == [
            ("warning", "first"),
            ("info", "second"),
        ]
        assert page["lines"][0]["at"] == "2026-01-01T08:00:00.500000Z"
        assert page["more"] is False
        assert [event.version for event in tracker.events(mission.id)] == [1]

    def test_missions_in_any_status_take_lines(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission = tracker.create(title="x")
        tracker.cancel(mission.id)

        assert post(client, f"{mission.id}/logs", lines=[{"message": "last words"}])[0] == 200
        assert get(client, f"{mission.id}/logs")["lines"][0]["message"] == "last words"

    def test_pages_of_a_cursor_hold_every_line_once(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission = tracker.create(title="x")
        for number in range(7):
            log(tracker, mission.id, f"{number}a", f"{number}b")
        seen: list[str] = []
        cursor, more = "", True

        while more:
            page = get(client, f"{mission.id}/logs?limit=3" + (f"&after={cursor}" if cursor else ""))
            seen += [line["message"] for line in page["lines"]]
            cursor, more = page["cursor"], page["more"]

        assert seen == [f"{number}{letter}" for number in range(7) for letter in "ab"]
        log(tracker, mission.id, "new")
        assert [line["message"] for line in get(client, f"{mission.id}/logs?after={cursor}")["lines"]] == ["new"]

    def test_the_last_lines_come_with_a_cursor_to_follow(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission = tracker.create(title="x")
        log(tracker, mission.id, *(str(number) for number in range(20)))

        page = get(client, f"{mission.id}/logs?last=3")
        log(tracker, mission.id, "20")

        assert [line["message"] for line in page["lines"]] == ["17", "18", "19"]
        following = get(client, f"{mission.id}/logs?after={page['cursor']}")["lines"]
        assert [line["message"] for line in following] == ["20"]

    def test_a_line_of_a_transaction_that_commits_late_is_not_skipped(
        self, client: FlaskClient, tracker: MissionTracker, dsn: str
    ) -> None:
        mission = tracker.create(title="x")
        other = psycopg2.connect(dsn)
        with other.cursor() as cursor:
            cursor.execute(LINE, (mission.id, str(uuid4()), "late"))
        log(tracker, mission.id, "early")
        first = get(client, f"{mission.id}/logs")
        other.commit()
        other.close()

        second = get(client, f"{mission.id}/logs?after={first['cursor']}")

        assert [line["message"] for line in first["lines"]] == ["early"]
        assert [line["message"] for line in second["lines"]] == ["late"]
        assert get(client, f"{mission.id}/logs?after={second['cursor']}")["lines"] == []

    @pytest.mark.parametrize("count", [1, 12])
    def test_what_somebody_leaves_open_on_the_same_server_keeps_nobody_from_reading_on(
        self, client: FlaskClient, tracker: MissionTracker, dsn: str, count: int
    ) -> None:
        mission = tracker.create(title="x")
        left_open = [psycopg2.connect(dsn) for _ in range(count)]
        for number, connection in enumerate(left_open):
            log(tracker, mission.id, f"{number}a", f"{number}b", f"{number}c")
            connection.cursor().execute(LINE, (mission.id, str(uuid4()), f"late {number}"))
        log(tracker, mission.id, *(f"then {number}" for number in range(7)))
        last = get(client, f"{mission.id}/logs?last=2")
        assert [line["message"] for line in last["lines"]] == ["then 5", "then 6"]

        early, cursor = read_on(client, mission.id, "")
        assert set(early) >= {f"{number}{letter}" for number in range(min(count, MAX_OPEN)) for letter in "abc"}
        assert count > MAX_OPEN or early[-7:] == [f"then {number}" for number in range(7)]
        for connection in left_open:
            connection.commit()
            connection.close()
        log(tracker, mission.id, "new")

        late = {f"late {number}" for number in range(count)}
        for place in (cursor, last["cursor"]):
            found, end = read_on(client, mission.id, place)
            assert set(found) >= late | {"new"}
            assert read_on(client, mission.id, end)[0] == []
        assert set(early) | set(read_on(client, mission.id, cursor)[0]) == set(read_on(client, mission.id, "")[0])

    def test_the_same_line_sent_again_is_there_once(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission = tracker.create(title="x")
        line = {"id": str(uuid4()), "message": "once"}

        for _ in range(2):
            assert post(client, f"{mission.id}/logs", lines=[line, line])[0] == 200

        assert [found["id"] for found in get(client, f"{mission.id}/logs")["lines"]] == [line["id"]]

    def test_a_line_is_a_sign_of_life(self, make_tracker: MakeTracker, clock: FrozenClock) -> None:
        tracker = make_tracker(clock=clock, rules=Rules())
        mission = tracker.create(title="x")
        tracker.start(mission.id)
        clock.advance(5)

        log(tracker, mission.id, "alive")

        assert tracker.get(mission.id).heartbeat_at == clock.now

    def test_lines_written_by_many_at_once_are_all_there(self, tracker: MissionTracker) -> None:
        mission = tracker.create(title="x")
        threads = [
            threading.Thread(target=lambda name=name: [log(tracker, mission.id, f"{name}-{n}") for n in range(25)])
            for name in "abcd"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        found = [line.message for line in tracker.logs(mission.id, limit=1000).records]
        for name in "abcd":
            assert [text for text in found if text.startswith(name)] == [f"{name}-{n}" for n in range(25)]

    def test_the_batch_takes_them_too(self, client: FlaskClient) -> None:
        mission_id = str(uuid4())
        operations = [
            {"op": "create", "id": mission_id, "title": "x"},
            {"op": "log", "mission_id": mission_id, "lines": [{"message": "in a batch"}]},
            {"op": "span", "mission_id": mission_id, "spans": [span()]},
            {"op": "log", "mission_id": mission_id, "lines": []},
        ]

        results = client.post("/api/missions/batch", json={"operations": operations}).get_json()["results"]

        assert [result["status"] for result in results] == [201, 200, 200, 422]
        assert get(client, f"{mission_id}/logs")["lines"][0]["message"] == "in a batch"
        assert get(client, f"{mission_id}/spans")["spans"][0]["name"] == "search"

    @pytest.mark.parametrize(
        ("lines", "field"),
        [
            ([], "lines"),
            ([{"message": "x"}] * 501, "lines"),
            ([{"message": "x" * 16_001}], "lines.0.message"),
            ([{"message": "x" * 15_000}] * 70, "body"),
            ([{"message": "a\x00b"}], "lines.0.message"),
            ([{"message": "x", "level": "loud"}], "lines.0.level"),
            ([{"message": "x", "at": "yesterday"}], "lines.0.at"),
            ([{"message": "x", "at": "0001-01-01T00:00:00+23:00"}], "lines.0.at"),
            ([{"message": "x", "at": 5}], "lines.0.at"),
            ([{"message": "x", "id": "7"}], "lines.0.id"),
            ([{"message": "x", "colour": "red"}], "lines.0.colour"),
            (["x"], "lines.0"),
            ("x", "lines"),
        ],
    )
    def test_wrong_lines_are_refused_with_their_field(
        self, client: FlaskClient, tracker: MissionTracker, lines: Any, field: str
    ) -> None:
        mission = tracker.create(title="x")
        good = {"message": "good"}

        status, said = post(
            client, f"{mission.id}/logs", lines=[good, *lines] if field.startswith("lines.0") else lines
        )

        assert status == 422
        assert said["errors"][0]["field"] == field.replace("lines.0", "lines.1")
        assert get(client, f"{mission.id}/logs")["lines"] == []

    def test_an_unknown_mission_is_404(self, client: FlaskClient) -> None:
        unknown = str(uuid4())

        assert post(client, f"{unknown}/logs", lines=[{"message": "x"}])[0] == 404
        assert post(client, f"{unknown}/spans", spans=[span()])[0] == 404
        for what in ("logs", "spans", "tree"):
            assert client.get(f"/api/missions/{unknown}/{what}").status_code == 404

    @pytest.mark.parametrize("query", ["after=x", "after=12.3", "limit=0", "limit=1001", "last=0", "x=1"])
    def test_wrong_queries_are_refused(self, client: FlaskClient, tracker: MissionTracker, query: str) -> None:
        mission = tracker.create(title="x")

        assert client.get(f"/api/missions/{mission.id}/logs?{query}").status_code == 422

    def test_a_cursor_of_another_database_begins_anew(self, client: FlaskClient, tracker: MissionTracker) -> None:
        mission = tracker.create(title="x")
        log(tracker, mission.id, "first")

        assert len(get(client, f"{mission.id}/logs?after=00000000.99999.3")["lines"]) == 1


class TestSpans:
    def test_a_span_is_replaced_by_the_same_id_and_comes_again(
        self, client: FlaskClient, tracker: MissionTracker
    ) -> None:
        mission = tracker.create(title="x")
        post(client, f"{mission.id}/spans", spans=[span(), span(id="b", name="other")])
        cursor = get(client, f"{mission.id}/spans")["cursor"]

        usage = {"input_tokens": 10, "cached_tokens": 4, "output_tokens": 5, "reasoning_tokens": 1}
        ended = span(ended_at="2026-01-01T10:00:02Z", kind="inference", model="m", usage=usage, attributes={"k": [1]})
        status, _ = post(client, f"{mission.id}/spans", spans=[span(), ended])

        assert status == 200
        changed = get(client, f"{mission.id}/spans?after={cursor}")["spans"]
        assert changed == [{**ended, "parent_id": None, "cost": None, "error": None}]
        assert {found["id"] for found in get(client, f"{mission.id}/spans")["spans"]} == {"a", "b"}
        assert tracker.get(mission.id).version == 1

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"id": ""}, "id"),
            ({"id": "x" * 101}, "id"),
            ({"started_at": None}, "started_at"),
            ({"ended_at": "2025-01-01T00:00:00Z"}, "ended_at"),
            ({"usage": {"input_tokens": -1}}, "usage.input_tokens"),
            ({"usage": {"tokens": 1}}, "usage.tokens"),
            ({"attributes": {"x": "y" * 32_000}}, "attributes"),
            ({"attributes": {"x": "\x00"}}, "attributes"),
            ({"attributes": []}, "attributes"),
            ({"cost": -0.1}, "cost"),
            ({"kind": ""}, "kind"),
        ],
    )
    def test_wrong_spans_are_refused_with_their_field(
        self, client: FlaskClient, tracker: MissionTracker, wrong: dict[str, Any], field: str
    ) -> None:
        mission = tracker.create(title="x")

        status, said = post(client, f"{mission.id}/spans", spans=[span(id="good"), span(**wrong)])

        assert (status, said["errors"][0]["field"]) == (422, f"spans.1.{field}")
        assert get(client, f"{mission.id}/spans")["spans"] == []


class TestTree:
    def test_nothing_is_counted_twice(self, client: FlaskClient, tracker: MissionTracker) -> None:
        def add(parent: str | None, tokens: int, cost: float) -> str:
            mission = tracker.create(title=f"uses {tokens}", parent_id=parent)
            tracker.start(mission.id)
            tracker.complete(mission.id, input_tokens=tokens, output_tokens=1, cost_estimate=cost)
            return mission.id

        root = add(None, 1000, 0.1)
        left, right = add(root, 100, 0.2), add(root, 200, 0.3)
        leaf = add(left, 10, 0.7)
        add(None, 5, 5.0)

        tree = get(client, f"{root}/tree")

        nodes = {node["id"]: node for node in tree["nodes"]}
        assert [node["id"] for node in tree["nodes"]] == [root, left, leaf, right]
        assert [node["depth"] for node in tree["nodes"]] == [0, 1, 2, 1]
        assert nodes[root]["own"] == {"tokens": 1001, "input_tokens": 1000, "output_tokens": 1, "cost": 0.1}
        assert nodes[root]["total"] == {"tokens": 1314, "input_tokens": 1310, "output_tokens": 4, "cost": 1.3}
        assert nodes[left]["total"] == {"tokens": 112, "input_tokens": 110, "output_tokens": 2, "cost": 0.9}
        assert nodes[leaf]["total"] == nodes[leaf]["own"]
        assert tree["truncated"] is False
        assert get(client, f"{left}/tree")["nodes"][0]["parent_id"] == root

    def test_limits_are_told(self, client: FlaskClient, tracker: MissionTracker, dsn: str) -> None:
        root = tracker.create(title="root").id
        insert = (
            "INSERT INTO missions (id, title, status, priority, created_at, updated_at, parent_id, metadata) "
            "SELECT prefix || n, 'part', 'pending', 'low', now(), now(), "
            "CASE WHEN deep AND n > 1 THEN prefix || (n - 1) ELSE %(root)s END, '{}' "
            "FROM (SELECT generate_series(1, %(count)s) AS n, %(prefix)s::text AS prefix, %(deep)s AS deep) AS s"
        )
        run_sql(dsn, insert, {"root": root, "count": 40, "prefix": "deep-", "deep": True})

        deep = get(client, f"{root}/tree")
        run_sql(dsn, insert, {"root": root, "count": 2500, "prefix": "wide-", "deep": False})
        wide = get(client, f"{root}/tree")

        assert (len(deep["nodes"]), deep["truncated"], deep["depth_limit"]) == (33, True, 32)
        assert (len(wide["nodes"]), wide["truncated"], wide["node_limit"]) == (2000, True, 2000)

    def test_a_loop_made_by_hand_ends(self, client: FlaskClient, tracker: MissionTracker, dsn: str) -> None:
        upper = tracker.create(title="upper").id
        lower = tracker.create(title="lower", parent_id=upper).id
        run_sql(dsn, "UPDATE missions SET parent_id = %s WHERE id = %s", (lower, upper))

        tree = get(client, f"{upper}/tree")

        assert [node["id"] for node in tree["nodes"]] == [upper, lower]


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


class TestLive:
    def test_who_watches_a_mission_gets_its_records_and_nobody_else(self, dashboard: Dashboard) -> None:
        mission_id, other_id = dashboard.create("watched"), dashboard.create("other")
        watching, looking = Viewer(dashboard.url), Viewer(dashboard.url)

        assert watching.ask("watch_mission", {"mission_id": mission_id}) == {"ok": True, "error": None}
        dashboard.post(f"/api/missions/{other_id}/logs", lines=[{"message": "not for you"}])
        dashboard.post(f"/api/missions/{mission_id}/logs", lines=[{"message": "hello"}, {"message": "there"}])
        dashboard.post(f"/api/missions/{mission_id}/spans", spans=[span()])
        told = watching.wait_for("mission_spans")

        lines = [line for message in watching.of("mission_logs") for line in message["lines"]]
        assert [line["message"] for line in lines] == ["hello", "there"]
        assert (told["mission_id"], told["spans"][0]["name"], told["missed"]) == (mission_id, "search", False)
        kept = dashboard.get(f"/api/missions/{mission_id}/logs?after={watching.of('mission_logs')[0]['cursor']}")
        assert {line["id"] for line in kept["lines"]} <= {line["id"] for line in lines}

        assert watching.ask("unwatch_mission", {"mission_id": mission_id})["ok"]
        assert watching.ask("watch_mission", {"mission_id": other_id})["ok"]
        dashboard.post(f"/api/missions/{mission_id}/logs", lines=[{"message": "too late"}])
        dashboard.post(f"/api/missions/{other_id}/logs", lines=[{"message": "other"}])
        watching.wait_for("mission_logs", lambda message: message["lines"][0]["message"] == "other")
        assert "too late" not in str(watching.got)
        assert not looking.of("mission_logs") and not looking.of("mission_spans")
        watching.leave()
        looking.leave()

    def test_who_watches_a_mission_hears_of_its_directives(self, dashboard: Dashboard) -> None:
        mission_id, other_id = dashboard.create_running("watched"), dashboard.create_running("other")
        agent = Viewer(dashboard.url)
        agent.ask("watch_mission", {"mission_id": mission_id})

        dashboard.post(f"/api/missions/{other_id}/pause")
        dashboard.post(f"/api/missions/{mission_id}/pause", reason="look first")
        paused = agent.wait_for("mission_directive")
        dashboard.post(f"/api/missions/{mission_id}/resume")
        agent.wait_for("mission_directive", lambda told: told["directive"]["action"] == "continue")
        dashboard.post(f"/api/missions/{mission_id}/cancel", reason="enough")
        cancelled = agent.wait_for("mission_directive", lambda told: told["directive"]["action"] == "cancel")

        assert (paused["mission_id"], paused["directive"]["reason"]) == (mission_id, "look first")
        assert cancelled["directive"]["reason"] == "enough"
        assert {told["mission_id"] for told in agent.of("mission_directive")} == {mission_id}
        agent.leave()

    def test_over_long_polling_too(self, dashboard: Dashboard) -> None:
        mission_id = dashboard.create("watched")
        viewer = Viewer(dashboard.url, "polling")
        viewer.ask("watch_mission", {"mission_id": mission_id})

        dashboard.post(f"/api/missions/{mission_id}/logs", lines=[{"message": "hello"}])

        assert viewer.wait_for("mission_logs")["lines"][0]["message"] == "hello"
        viewer.leave()

    def test_wrong_wishes_are_told(self, dashboard: Dashboard) -> None:
        viewer = Viewer(dashboard.url)

        wrong = [
            viewer.ask("watch_mission", *said) for said in ((), ("x",), ({},), ({"mission_id": 5},), ({"a": "b"},))
        ]
        unknown = viewer.ask("watch_mission", {"mission_id": "unknown"})
        watched = [
            viewer.ask("watch_mission", {"mission_id": mission_id})["ok"]
            for mission_id in [dashboard.create(str(number)) for number in range(51)]
        ]

        assert all(not answer["ok"] and "mission_id" in answer["error"] for answer in wrong)
        assert unknown == {"ok": False, "error": "There is no mission with the id 'unknown'."}
        assert watched == [True] * 50 + [False]
        viewer.leave()


class TestBacklog:
    def test_a_chatty_mission_does_not_fill_the_memory(self) -> None:
        waiting = Waiting()
        at = datetime(2026, 1, 1, tzinfo=timezone.utc)

        for number in range(10_000):
            line = LogLine("m", str(number), at, "info", "x" * (number % 2000))
            waiting.add(Recorded("m", [line], (), "cursor"))

        assert len(waiting.lines.items) <= MAX_WAITING
        assert waiting.lines.size <= MAX_WAITING_BYTES
        ((event, message),) = waiting.messages("m")
        assert (event, message["missed"]) == ("mission_logs", True)
        assert message["lines"][-1]["id"] == "9999"

    def test_viewers_are_told_to_read_on_where_nothing_but_that_is_known(self) -> None:
        waiting = Waiting()

        waiting.add(Recorded("m", (), (), "cursor", missed=True))

        told = {event: (message["missed"], message["cursor"]) for event, message in waiting.messages("m")}
        assert told == {"mission_logs": (True, "cursor"), "mission_spans": (True, "cursor")}
