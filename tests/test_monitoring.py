"""What Prometheus reads, what the rules and the Grafana dashboard make of it, and what people see of the server."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from flask import Flask
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from clients import wait_for
from dashboards import ROOT, Dashboard
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.monitoring.counters import MAX_TYPES, Counters, route_of
from mission_dashboard.monitoring.exposition import TOP_MODELS, TOP_TYPES, Exposition, _capped
from mission_dashboard.monitoring.histogram import Histogram
from mission_dashboard.postgres.store import POOL_SIZE
from mission_dashboard.store import PoolState
from mission_dashboard.web.monitoring import make_monitoring
from mission_dashboard.writer import QueueState
from test_viewers import Viewer

DEPLOY = ROOT / "deploy"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None and os.environ.get("CI") != "true", reason="promtool is missing: apt-get install prometheus"
)
NAME = re.compile(r"\b(?:mission_dashboard|process|python)_[a-z0-9_]+")


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    running = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield running
    running.stop()


def scraped(dashboard: Dashboard) -> str:
    with urllib.request.urlopen(f"{dashboard.url}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(dashboard: Dashboard, name: str, **labels: str) -> float:
    return samples(scraped(dashboard))[f"mission_dashboard_{name}", tuple(sorted(labels.items()))]


def live_through(dashboard: Dashboard) -> None:
    """Make one mission of each end, one that waits for a person and one that is paused."""
    for end in ("complete", "fail", "cancel"):
        mission = dashboard.create_running(end, metadata={"type": "analysis"})
        dashboard.post(f"/api/missions/{mission}/progress", input_tokens=100, output_tokens=7, cost_estimate=0.25)
        dashboard.post(f"/api/missions/{mission}/{end}")
    asking = dashboard.create_running("asks")
    dashboard.post(f"/api/missions/{asking}/ask", text="Go on?")
    dashboard.create("waits")


def test_the_numbers_are_those_of_the_missions(dashboard: Dashboard) -> None:
    live_through(dashboard)

    for status in ("completed", "failed", "cancelled"):
        assert value(dashboard, "missions_total", type="analysis", status=status) == 1
    assert value(dashboard, "missions_in_state", state="running") == 1
    assert value(dashboard, "missions_in_state", state="pending") == 1
    assert value(dashboard, "missions_in_state", state="question") == 1
    model = "yi-coder:9b-chat-q6_k"
    assert value(dashboard, "tokens_total", model=model, direction="input") == 300
    assert value(dashboard, "tokens_total", model=model, direction="output") == 21
    assert value(dashboard, "cost_usd_total", model=model) == pytest.approx(0.75)
    assert value(dashboard, "mission_duration_seconds_count", type="analysis", status="completed") == 1
    assert value(dashboard, "database_up") == 1


def test_answers_are_counted_by_route_and_never_by_id(dashboard: Dashboard) -> None:
    mission = dashboard.create_running("Counted")
    for _ in range(3):
        dashboard.post(f"/api/missions/{mission}/heartbeat")
    with pytest.raises(urllib.error.HTTPError):
        dashboard.get("/api/missions/none")
    with pytest.raises(urllib.error.HTTPError):
        dashboard.get("/wp-admin/setup.php")

    route = "http_request_duration_seconds_count"
    assert value(dashboard, route, method="POST", route="/api/missions/{id}/heartbeat", status="2xx") == 3
    assert value(dashboard, route, method="GET", route="/api/missions/{id}", status="4xx") == 1
    assert value(dashboard, route, method="GET", route="other", status="4xx") == 1
    assert mission not in scraped(dashboard)


def test_commits_viewers_and_how_late_they_hear_are_counted(dashboard: Dashboard) -> None:
    viewer = Viewer(dashboard.url)
    mission = dashboard.create("Watched")
    viewer.wait_for("mission_update", lambda update: update["mission_id"] == mission)

    assert value(dashboard, "ws_clients") == 1
    assert value(dashboard, "commit_events_sum") == 1
    assert value(dashboard, "event_lag_seconds_count") == 1
    assert value(dashboard, "event_lag_seconds_sum") < 5
    viewer.leave()


def test_what_waits_for_the_database_is_told_while_it_waits_and_how_late_it_was(dashboard: Dashboard, dsn: str) -> None:
    viewer = Viewer(dashboard.url)
    mission = dashboard.create("Read")
    blocker = psycopg2.connect(dsn)
    blocker.cursor().execute("LOCK TABLE mission_events")
    waiting = [
        threading.Thread(target=dashboard.get, args=(f"/api/missions/{mission}/events",)),
        *(threading.Thread(target=dashboard.create, args=(title,)) for title in ("Committed", "Queued", "Queued too")),
    ]
    for thread in waiting[:2]:
        thread.start()
    wait_for(lambda: value(dashboard, "db_pool_in_use") >= 1, 1)
    for thread in waiting[2:]:
        thread.start()
    wait_for(lambda: value(dashboard, "write_queue_depth") == 2, 1)
    wait_for(lambda: value(dashboard, "write_queue_age_seconds") > 0.1, 1)
    blocker.close()
    for thread in waiting:
        thread.join()

    viewer.wait_for("mission_update", lambda update: update["mission"]["title"] == "Queued too")
    assert value(dashboard, "event_lag_seconds_sum") > 0.1
    assert (value(dashboard, "write_queue_depth"), value(dashboard, "db_pool_in_use")) == (0, 0)
    viewer.leave()


def test_people_see_the_same(dashboard: Dashboard) -> None:
    live_through(dashboard)

    system = dashboard.get("/api/system")["system"]

    assert system["requests"]["answered"] >= 12
    assert system["requests"]["failed"] == 0
    assert 0 < system["requests"]["seconds"]["p50"] <= system["requests"]["seconds"]["p99"]
    assert system["writes"]["events"] == 16
    assert system["database"]["up"] is True
    assert system["memory_bytes"] > 10_000_000
    assert system["memory_bytes"] < system["memory_limit_bytes"]
    assert system["missions"] == {"stalled": 0, "paused": 0, "question": 1}
    assert system["alerts"] == {"open": 0, "unseen": 0, "critical": 0, "waiting": 0, "dead": 0}
    assert system["process"].endswith(f":{dashboard.pid}")


def test_people_see_refusals_processor_pool_and_sockets(dashboard: Dashboard) -> None:
    viewer = Viewer(dashboard.url)
    dashboard.create("One")
    for _ in range(3):
        with pytest.raises(urllib.error.HTTPError):
            dashboard.get("/api/missions/none")

    before = dashboard.get("/api/system")["system"]
    after = dashboard.get("/api/system")["system"]
    viewer.leave()

    assert after["requests"]["answered"] == before["requests"]["answered"] + 1
    assert (after["requests"]["refused"], after["requests"]["failed"]) == (3, 0)
    assert after["cpu_s"] > 0.1
    assert after["live"]["viewers"] == 1
    assert after["database"]["pool_size"] == value(dashboard, "db_pool_size") == POOL_SIZE
    assert after["writes"]["queue_depth"] == value(dashboard, "write_queue_depth") == 0


def test_throughput_errors_pool_and_queue_are_told_as_they_are(tracker: MissionTracker, monkeypatch: Any) -> None:
    counters = Counters(started_at=time.time() - 100)
    for status, took_s in (("200 OK", 0.2), ("404 NOT FOUND", 0.2), ("500 INTERNAL", 0.2), ("503 AWAY", 0.2)):
        counters.request("GET", "/api/missions", status, took_s)
    monkeypatch.setattr(tracker, "queue_state", lambda: QueueState(7, 2.5))
    monkeypatch.setattr(tracker.store, "pool_state", lambda: PoolState(4, 3))
    app = Flask("system")
    app.register_blueprint(make_monitoring(tracker, counters, lambda: 5, dict, lambda view: view))

    shown = app.test_client().get("/api/system").get_json()["system"]
    told = samples(app.test_client().get("/metrics").text)

    assert (shown["requests"]["answered"], shown["requests"]["failed"], shown["requests"]["refused"]) == (4, 2, 1)
    assert shown["requests"]["per_second"] == pytest.approx(0.04, abs=0.01)
    assert shown["requests"]["seconds"]["p50"] == pytest.approx(0.2, rel=0.5)
    assert (shown["writes"]["queue_depth"], shown["writes"]["queue_age_s"]) == (7, 2.5)
    assert (shown["database"]["pool_size"], shown["database"]["pool_in_use"], shown["live"]["viewers"]) == (4, 3, 5)
    gauges = ("write_queue_depth", "write_queue_age_seconds", "db_pool_size", "db_pool_in_use", "ws_clients")
    assert [told[f"mission_dashboard_{name}", ()] for name in gauges] == [7, 2.5, 4, 3, 5]
    seconds = "mission_dashboard_http_request_duration_seconds_sum"
    labels = {"method": "GET", "route": "/api/missions", "status": "5xx"}
    assert told[seconds, tuple(sorted(labels.items()))] == pytest.approx(0.4)


def test_each_label_is_capped_in_what_is_told(make_tracker: Callable[..., MissionTracker]) -> None:
    tracker, counters = make_tracker(), Counters()
    tracker.watch_commits(counters.committed)
    for number in range(TOP_MODELS + 5):
        mission = tracker.create(title="One", metadata={"type": f"type {number}"})
        tracker.start(mission.id, model_used=f"model {number}")
        tracker.complete(mission.id, input_tokens=1, output_tokens=1, cost_estimate=0.1)
    for method in ("GET", "BREW", "WHEN"):
        counters.request(method, "/", "200 OK", 0.1)

    registry = Exposition(tracker, counters, lambda: 0).registry()
    found = samples(generate_latest(registry).decode())

    def labels(metric: str, label: str) -> set[str]:
        return {dict(its)[label] for name, its in found if name == f"mission_dashboard_{metric}"}

    assert len(labels("missions_total", "type")) == TOP_TYPES + 1
    assert len(labels("mission_duration_seconds_count", "type")) == MAX_TYPES + 1
    assert len(labels("cost_usd_total", "model")) == TOP_MODELS + 1
    assert labels("http_request_duration_seconds_count", "method") == {"GET", "other"}
    assert sum(count for (name, _), count in found.items() if name == "mission_dashboard_cost_usd_total") == (
        pytest.approx(0.1 * (TOP_MODELS + 5))
    )


def test_a_reader_can_tell_what_happened_between_two_answers(dashboard: Dashboard) -> None:
    before = dashboard.get("/api/system")["system"]
    live_through(dashboard)
    after = dashboard.get("/api/system")["system"]

    def passed(part: str, buckets: str) -> int:
        assert len(after[part][buckets]) == len(after["bucket_bounds_s"]) + 1
        return sum(after[part][buckets]) - sum(before[part][buckets])

    # What is asked is counted when it is answered: the first of the two, not the second.
    assert passed("requests", "buckets") == after["requests"]["answered"] - before["requests"]["answered"] == 16 + 1
    assert passed("writes", "commit_buckets") == after["writes"]["commits"] - before["writes"]["commits"] > 0


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/api/health/live", "/api/health/ready"])
def test_probes_need_no_key(dashboard: Dashboard, path: str) -> None:
    request = urllib.request.Request(dashboard.url + path, headers={"Host": "elsewhere.example"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_metrics_are_not_for_strangers(dashboard: Dashboard) -> None:
    request = urllib.request.Request(f"{dashboard.url}/metrics", headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=10)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/missions", "/api/missions"),
        ("/api/missions/0191-x", "/api/missions/{id}"),
        ("/api/missions/batch", "/api/missions/batch"),
        ("/api/missions/0191-x/progress", "/api/missions/{id}/progress"),
        ("/api/missions/0191-x/questions/q1", "/api/missions/{id}/questions/{question_id}"),
        ("/api/missions/a/b/c/d", "other"),
        ("/api/missions/", "other"),
        ("/api/budgets/team", "/api/budgets/{id}"),
        ("/api/alerts", "/api/alerts"),
        ("/api/alerts/0191-x/acknowledge", "/api/alerts/{id}/acknowledge"),
        ("/api/alerts/channels/0191-x/test", "/api/alerts/channels/{id}/test"),
        ("/api/alerts/rules/usual", "/api/alerts/rules/usual"),
        ("/api/alerts/channels/0191-x/nonsense", "other"),
        ("/ping/backup/start", "/ping/*"),
        ("/static/abc/js/main.js", "/static/*"),
        ("/.env", "other"),
        ("/" + "x" * 5000, "other"),
        ("/api/missions/x/../../etc", "other"),
    ],
)
def test_routes_are_few(path: str, route: str) -> None:
    assert route_of(path) == route


def test_labels_stay_few_whatever_comes(dashboard: Dashboard) -> None:
    counters = Counters()
    kinds = {counters.type_of(f"type {number}") for number in range(1000)}
    assert len(kinds) == MAX_TYPES + 1

    capped = _capped({(f"type {number}", "failed"): number for number in range(1, 101)}, 20)
    assert len(capped) == 21
    assert sum(capped.values()) == 5050

    histogram = Histogram((1.0,), most=3)
    for number in range(10):
        histogram.add(0.5, (str(number),))
    assert len(list(histogram.items())) == 4


def test_quantiles_are_those_of_prometheus() -> None:
    histogram = Histogram((1.0, 2.0, 4.0))
    for number in (0.5, 1.5, 1.5, 3.0):
        histogram.add(number)

    assert histogram.quantiles((0.5, 1.0)) == {0.5: 1.5, 1.0: 4.0}
    assert Histogram((1.0,)).quantiles((0.5,)) == {0.5: None}
    assert histogram.cumulative(next(histogram.items())[1]) == [("1.0", 1), ("2.0", 3), ("4.0", 4), ("+Inf", 4)]


# What is shipped for other tools.


def promtool(*arguments: str, said: str | None = None) -> None:
    assert PROMTOOL is not None, "promtool is missing: apt-get install prometheus"
    done = subprocess.run([PROMTOOL, *arguments], input=said, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_itself_finds_no_fault_with_the_metrics(dashboard: Dashboard) -> None:
    live_through(dashboard)
    promtool("check", "metrics", said=scraped(dashboard))


@needs_promtool
def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    folder = shutil.copytree(DEPLOY / "prometheus", tmp_path / "prometheus")
    (folder / "mission_dashboard_key").write_text("mdk_x")
    promtool("check", "config", str(folder / "prometheus.yml"))
    promtool("test", "rules", str(folder / "alerts_test.yml"))
    tests = yaml.safe_load((folder / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    (group,) = yaml.safe_load((folder / "alerts.yml").read_text())["groups"]
    assert fired == {rule["alert"] for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    return list(json.loads((DEPLOY / "grafana/dashboards/mission-dashboard.json").read_text())["panels"])


def queries() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    return [target["expr"] for panel in panels() for target in panel["targets"]] + [rule["expr"] for rule in rules]


def test_queries_ask_for_metrics_that_there_are(dashboard: Dashboard) -> None:
    viewer = Viewer(dashboard.url)
    live_through(dashboard)
    there = {name for name, _ in samples(scraped(dashboard))}
    viewer.leave()

    asked = {name for query in queries() for name in NAME.findall(query)}

    assert asked
    assert asked - there == set()


@needs_promtool
def test_every_query_of_the_grafana_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries())]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    promtool("check", "rules", str(file))


@needs_promtool
def test_two_processes_show_the_same_missions_once_and_their_own_work_added_up(tmp_path: Path) -> None:
    of_the_database = {
        'missions_in_state{state="running"': "3x1500",
        'cost_usd_total{model="x"': "0+1x1500",
        'cost_usd_total{model="y"': "0+2x1500",
        'tokens_total{model="x", direction="input"': "0+60x1500",
        'missions_total{type="review", status="completed"': "0+5x1500",
        'missions_total{type="index", status="completed"': "0+1x1500",
    }
    of_a_process = {
        'http_request_duration_seconds_count{instance="a", status="2xx"': "0+60x1500",
        'http_request_duration_seconds_count{instance="b", status="2xx"': "0+120x1500",
        'http_request_duration_seconds_bucket{instance="a", le="1"': "0+60x1500",
        'http_request_duration_seconds_bucket{instance="a", le="+Inf"': "0+60x1500",
        'http_request_duration_seconds_bucket{instance="b", le="1"': "0x1500",
        'http_request_duration_seconds_bucket{instance="b", le="2"': "0+60x1500",
        'http_request_duration_seconds_bucket{instance="b", le="+Inf"': "0+60x1500",
        'http_request_duration_seconds_bucket{instance="a", le="2"': "0+60x1500",
    }
    shown = {
        "Running": [("{}", 3)],
        "Cost today": [("{}", 1440 * (1 + 2))],
        "Missions finished": [('{status="completed"}', 5 + 1)],
        "Missions by type": [('{type="review"}', 5), ('{type="index"}', 1)],
        "Tokens": [('{direction="input"}', 1)],
        "Cost by model": [('{model="x"}', 60), ('{model="y"}', 120)],
        "Answers": [('{status="2xx"}', 1 + 2)],
        "How long answers take": [("{}", 1)],
    }
    series = [(f'{name}, instance="{one}"}}', values) for name, values in of_the_database.items() for one in "ab"]
    series += [(f"{name}}}", values) for name, values in of_a_process.items()]
    first = {panel["title"]: panel["targets"][0]["expr"] for panel in panels()}
    case = {
        "interval": "1m",
        "input_series": [{"series": f"mission_dashboard_{name}", "values": values} for name, values in series],
        "promql_expr_test": [
            {
                "expr": first[title],
                "eval_time": "25h",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in wanted],
            }
            for title, wanted in shown.items()
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [case]}))

    promtool("test", "rules", str(file))


def test_grafanas_own_schema_reads_the_dashboard_whole() -> None:
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard

    plugins.register_default_plugins()
    given = json.loads((DEPLOY / "grafana/dashboards/mission-dashboard.json").read_text())

    read = GrafanaDashboard.from_json(given)

    assert [panel.title for panel in read.panels or []] == [panel["title"] for panel in given["panels"]]
    understood = [target.expr for panel in read.panels or [] for target in panel.targets or []]
    assert understood == [target["expr"] for panel in panels() for target in panel["targets"]]
    assert read.uid == "mission-dashboard"


def test_the_grafana_dashboard_is_whole() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["type"] in ("timeseries", "stat")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_the_shippers_own_language_reads_the_log_lines(dashboard: Dashboard) -> None:
    """`vector validate` needs the program itself; what can be wrong is in the transform, and its engine is here."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("vrl_python", reason="there are wheels for Linux on x86-64 alone")
    vrl = importlib.import_module("vrl_python")
    configuration = yaml.safe_load((DEPLOY / "vector/vector.yaml").read_text())
    source = configuration["transforms"]["parsed"]["source"]
    dashboard.create("Logged")
    with contextlib.suppress(urllib.error.HTTPError):
        dashboard.get("/api/missions/there-is-none")

    lines = (dashboard.data_dir / "logs/mission_dashboard.log").read_text().splitlines()

    assert lines
    for line in lines:
        found = vrl.VRLRuntime().execute(source, {"message": line, "file": "x.log"}).processed_event
        said = json.loads(line)
        assert found["message"] == said["message"]
        assert found["level"] == said["level"]
        assert found["file"] == "x.log"
        assert "at" not in found
        read = str(found["timestamp"]).replace(" UTC", "+00:00")
        assert datetime.fromisoformat(read) == datetime.fromisoformat(said["at"].replace("Z", "+00:00"))
