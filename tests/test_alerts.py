"""Alerts, from what happens to what receivers get: real HTTP and mail servers on this machine, real kills."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import requests
from aiosmtpd.controller import Controller

from clients import BlackHole, wait_for
from conftest import FrozenClock, run_sql
from dashboards import Dashboard, free_port
from mission_dashboard import wire
from mission_dashboard.alerts.addresses import Forbidden, checked_address
from mission_dashboard.alerts.engine import MAX_TRIES, Alerts, wait_after
from mission_dashboard.alerts.senders import Senders
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.postgres.alert_store import PostgresAlertStore
from mission_dashboard.steering import LookAfter
from test_viewers import Viewer

HERE = "127.0.0.0/8"


class Receiver:
    """An HTTP server that keeps what it gets and answers as told; the last answer stays."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers = [200]
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def server(module_dsn: str) -> Iterator[Dashboard]:
    """A dashboard for most tests; it starts slower than most of them last."""
    folder = Path(tempfile.mkdtemp(prefix="mdalerts", dir="/tmp"))
    folder.chmod(0o711)
    running = Dashboard(folder, POSTGRES_DSN=module_dsn, MISSION_DASHBOARD_WEBHOOK_NETWORKS=HERE).start()
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def dashboard(server: Dashboard, module_dsn: str) -> Dashboard:
    """The dashboard with the rules it had at first, and nothing found or told."""
    for table in ("alert_deliveries", "alert_firings", "alert_silences", "alert_channels"):
        run_sql(module_dsn, f"DELETE FROM {table}")  # noqa: S608
    run_sql(module_dsn, "DELETE FROM alert_rules WHERE id NOT LIKE 'default-%%'")
    return server


@pytest.fixture
def alone(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    """A dashboard that may be killed."""
    running = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_WEBHOOK_NETWORKS=HERE).start()
    yield running
    running.stop()


def channel(dashboard: Dashboard, target: str, kind: str = "webhook") -> tuple[str, str]:
    """Make a channel; return its id and its secret."""
    made = dashboard.post("/api/alerts/channels", name=f"{kind} {target}", kind=kind, target=target)
    return made["channel"]["id"], str(made["secret"])


def watch(dashboard: Dashboard, kind: str, *channels: str, **said: Any) -> str:
    """Make a rule."""
    made = dashboard.post("/api/alerts/rules", name=f"watch {kind}", kind=kind, channels=list(channels), **said)
    return str(made["rule"]["id"])


def fail(dashboard: Dashboard, title: str = "Broken", **said: Any) -> str:
    mission = dashboard.create_running(title, **said)
    dashboard.post(f"/api/missions/{mission}/fail", error_message="Context window exceeded")
    return mission


def alerts_of(dashboard: Dashboard, rule: str) -> list[dict[str, Any]]:
    return [one for one in dashboard.get("/api/alerts")["alerts"] if one["rule_id"] == rule]


def refusal(dashboard: Dashboard, method: str, path: str, **said: Any) -> tuple[int, str]:
    answer = requests.request(method, dashboard.url + path, json=said, timeout=10)
    return answer.status_code, str(answer.json().get("detail"))


# From what happens to what is told.


def test_a_failure_is_told_once_signed_and_with_what_is_known(dashboard: Dashboard, receiver: Receiver) -> None:
    there, secret = channel(dashboard, receiver.url)
    watch(dashboard, "failed", there, severity="critical")

    mission = fail(dashboard, "Index the corpus")
    wait_for(lambda: receiver.got, 5)
    fail_again_would_come = threading.Event()
    fail_again_would_come.wait(1.5)

    ((headers, body),) = receiver.got
    told = json.loads(body)
    assert told["type"] == "alert.fired"
    assert told["data"]["mission_id"] == mission
    assert told["data"]["severity"] == "critical"
    assert told["data"]["summary"] == "Index the corpus failed: Context window exceeded"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{signature}"
    (delivery,) = dashboard.get("/api/alerts/deliveries")["deliveries"]
    assert (delivery["state"], delivery["tries"], delivery["id"]) == ("sent", 1, headers["webhook-id"])


def test_a_question_fires_and_resolves_when_it_is_answered(dashboard: Dashboard, receiver: Receiver) -> None:
    there, _ = channel(dashboard, receiver.url)
    rule = watch(dashboard, "question", there)
    mission = dashboard.create_running("Refunds")
    asked = dashboard.post(f"/api/missions/{mission}/ask", text="Refund $412?")["mission"]["question"]["id"]
    wait_for(lambda: receiver.got, 5)
    assert alerts_of(dashboard, rule)[0]["state"] == "firing"

    dashboard.post(f"/api/missions/{mission}/answer", question_id=asked, answer="yes")

    wait_for(lambda: len(receiver.got) == 2, 5)
    assert [body["type"] for body in receiver.bodies] == ["alert.fired", "alert.resolved"]
    (alert,) = alerts_of(dashboard, rule)
    assert alert["state"] == "resolved"
    assert alert["summary"] == "Refunds asks: Refund $412?"


def test_what_ends_before_anybody_looked_does_not_fire_for_ever(tracker: MissionTracker, dsn: str) -> None:
    store = PostgresAlertStore(dsn)
    mission = tracker.create(title="Quick")
    tracker.start(mission.id)
    client_rule = "default-question"
    from mission_dashboard.reports import AnswerReport, AskReport, understand
    from mission_dashboard.steering import Answer, Ask

    asked = tracker.execute(Ask(mission.id, understand(AskReport, {"text": "Go on?"}))).mission.question
    assert asked is not None
    said = understand(AnswerReport, {"question_id": asked.id, "answer": "yes"})
    tracker.execute(Answer(mission.id, said))

    store.look_at_events()

    (alert,) = [firing for firing in store.firings(None, 10) if firing.rule_id == client_rule]
    assert alert.state == "resolved"
    assert store.firings(True, 10) == []
    store.close()


def test_budgets_and_unconfirmed_cancels_fire(data_dir: Path, dsn: str) -> None:
    running = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_CONFIRM_WITHIN="1").start()
    try:
        spent = running.create_running("Dear", budget={"cost": 1.0})
        running.post(f"/api/missions/{spent}/progress", cost_estimate=2.0)
        stopped = running.create_running("Deaf")
        running.post(f"/api/missions/{stopped}/cancel")

        def kinds() -> set[str]:
            return {alert["kind"] for alert in running.get("/api/alerts")["alerts"] if alert["mission_id"]}

        wait_for(lambda: {"over_budget", "cancel_unconfirmed"} <= kinds(), 10)
        over = [alert for alert in running.get("/api/alerts")["alerts"] if alert["kind"] == "over_budget"]
        assert [alert["mission_id"] for alert in over] == [spent]
    finally:
        running.stop()


def test_a_stalled_mission_fires_until_it_recovers(
    make_tracker: Callable[..., MissionTracker], clock: FrozenClock, dsn: str
) -> None:
    tracker = make_tracker(clock=clock)
    store = PostgresAlertStore(dsn)
    mission = tracker.create(title="Silent")
    tracker.start(mission.id)
    clock.advance(400)
    tracker.execute(LookAfter(mission.id, listening_since=clock.now.replace(year=2020)))
    assert [what for _, what in store.look_at_events()] == ["fired"]

    tracker.progress(mission.id, progress=5)

    assert [what for _, what in store.look_at_events()] == ["resolved"]
    assert store.look_at_events() == []
    store.close()


def test_filters_let_through_what_they_say(dashboard: Dashboard, receiver: Receiver) -> None:
    there, _ = channel(dashboard, receiver.url)
    watch(dashboard, "failed", there, types=["billing"], priorities=["high", "critical"])

    fail(dashboard, "No type", priority="high")
    fail(dashboard, "Too low", metadata={"type": "billing"}, priority="low")
    meant = fail(dashboard, "Meant", metadata={"type": "billing"}, priority="high")

    wait_for(lambda: receiver.got, 5)
    threading.Event().wait(1.0)
    assert [body["data"]["mission_id"] for body in receiver.bodies] == [meant]


def test_within_its_cooldown_a_rule_tells_once_but_shows_all(dashboard: Dashboard, receiver: Receiver) -> None:
    there, _ = channel(dashboard, receiver.url)
    rule = watch(dashboard, "failed", there, cooldown_s=600)

    for number in range(5):
        fail(dashboard, f"Broken {number}")

    wait_for(lambda: len(alerts_of(dashboard, rule)) == 5, 5)
    threading.Event().wait(1.0)
    assert len(receiver.got) == 1
    assert sorted(alert["is_quiet"] for alert in alerts_of(dashboard, rule)) == [False, True, True, True, True]


def test_silences_are_silent_and_end(dashboard: Dashboard, receiver: Receiver) -> None:
    there, _ = channel(dashboard, receiver.url)
    rule = watch(dashboard, "failed", there)
    silence = dashboard.post("/api/alerts/silences", rule_id=rule, minutes=30, reason="we know")["silence"]
    fail(dashboard, "Silenced")
    wait_for(lambda: alerts_of(dashboard, rule), 5)
    assert alerts_of(dashboard, rule)[0]["is_quiet"]

    assert requests.delete(f"{dashboard.url}/api/alerts/silences/{silence['id']}", timeout=10).ok
    fail(dashboard, "Told")

    wait_for(lambda: receiver.got, 5)
    assert [body["data"]["summary"][:4] for body in receiver.bodies] == ["Told"]


def test_an_acknowledged_alert_waits_for_nobody(dashboard: Dashboard) -> None:
    fail(dashboard)
    (alert,) = wait_for(lambda: dashboard.get("/api/alerts?open=true")["alerts"], 5)

    said = dashboard.post(f"/api/alerts/{alert['id']}/acknowledge", by="Ada")["alert"]

    assert said["acknowledged_by"] == "Ada"
    assert dashboard.get("/api/alerts?open=true")["alerts"] == []
    dashboard.post(f"/api/alerts/{alert['id']}/acknowledge", by="Bob")
    assert dashboard.get("/api/alerts")["alerts"][0]["acknowledged_by"] == "Ada"


def test_viewers_hear_of_alerts(dashboard: Dashboard) -> None:
    viewer = Viewer(dashboard.url)
    mission = fail(dashboard)

    heard = viewer.wait_for("alert", lambda said: said["alert"]["mission_id"] == mission)

    assert heard["alert"]["kind"] == "failed"
    viewer.leave()


# Measures.


@pytest.fixture
def looking(tracker: MissionTracker, dsn: str) -> Iterator[Alerts]:
    store = PostgresAlertStore(dsn)
    alerts = Alerts(store, Senders([], None), wire.now)
    yield alerts
    alerts.close()


def measured(looking: Alerts, dsn: str, kind: str, threshold: float) -> list[str]:
    """Add a rule, measure twice, and return what its alerts are."""
    run_sql(
        dsn,
        "INSERT INTO alert_rules (id, name, kind, threshold, window_s, cooldown_s, severity, channels, created_at) "
        "VALUES ('it', 'it', %s, %s, 3600, 0, 'warning', '{}', now() - interval '1 hour')",
        (kind, threshold),
    )
    looking.measure()
    looking.measure()
    return [firing.summary for firing in looking.store.firings(None, 50) if firing.rule_id == "it"]


def finish(tracker: MissionTracker, ends: str) -> None:
    for end in ends:
        mission = tracker.create(title="m")
        tracker.start(mission.id)
        tracker.progress(mission.id, cost_estimate=2.5)
        (tracker.fail if end == "f" else tracker.complete)(mission.id)


def test_an_error_rate_fires_once_and_resolves(looking: Alerts, tracker: MissionTracker, dsn: str) -> None:
    finish(tracker, "fffc")
    assert measured(looking, dsn, "error_rate", 50) == []  # four are too few to speak of a rate
    finish(tracker, "f")
    looking.measure()
    looking.measure()
    assert [f.state for f in looking.store.firings(None, 9) if f.rule_id == "it"] == ["firing"]
    (said,) = [f.summary for f in looking.store.firings(None, 9) if f.rule_id == "it"]
    assert said == "80% of the missions that finished in 60 min failed (threshold 50%)"

    finish(tracker, "cccc")
    looking.measure()

    assert [f.state for f in looking.store.firings(None, 9) if f.rule_id == "it"] == ["resolved"]


def test_costs_fire(looking: Alerts, tracker: MissionTracker, dsn: str) -> None:
    finish(tracker, "cc")
    assert measured(looking, dsn, "cost", 4) == ["missions of 60 min cost $5.00 (threshold $4)"]


def test_waiting_and_silence_and_slowness_fire(looking: Alerts, tracker: MissionTracker, dsn: str) -> None:
    tracker.create(title="waits")
    finish(tracker, "c")
    run_sql(dsn, "UPDATE missions SET created_at = now() - interval '10 min', updated_at = now() - interval '9 min'")
    run_sql(dsn, "UPDATE missions SET started_at = created_at, duration = 700 WHERE completed_at IS NOT NULL")
    assert measured(looking, dsn, "queue_age", 300)[0].startswith("a mission has waited 60")
    others = (("silence", "no mission has moved for 54"), ("slow", "one mission in twenty took more than 700"))
    for kind, says in others:
        run_sql(dsn, "DELETE FROM alert_rules WHERE id = 'it'")
        run_sql(dsn, "DELETE FROM alert_firings")
        assert measured(looking, dsn, kind, 300)[0].startswith(says)


# What can go wrong on the way.


def test_a_receiver_that_fails_is_tried_again_with_the_same_id(dashboard: Dashboard, receiver: Receiver) -> None:
    receiver.answers = [500, 200]
    there, _ = channel(dashboard, receiver.url)
    watch(dashboard, "failed", there)
    fail(dashboard)

    wait_for(lambda: len(receiver.got) == 2, 15)

    assert receiver.got[0][0]["webhook-id"] == receiver.got[1][0]["webhook-id"]
    wait_for(lambda: dashboard.get("/api/alerts/deliveries")["deliveries"][0]["state"] == "sent", 5)


def test_a_kill_between_finding_and_telling_loses_nothing(alone: Dashboard, receiver: Receiver, dsn: str) -> None:
    hole = BlackHole()
    there, _ = channel(alone, hole.url)
    watch(alone, "failed", there)
    mission = fail(alone)
    wait_for(lambda: hole.connections, 5)

    alone.kill()
    hole.close()
    run_sql(dsn, "UPDATE alert_channels SET target = %s", (receiver.url,))
    # What the dead process took is taken again after a minute: let it be over.
    run_sql(dsn, "UPDATE alert_deliveries SET next_at = now()")
    alone.start()

    wait_for(lambda: receiver.got, 10)
    threading.Event().wait(1.5)
    assert [body["data"]["mission_id"] for body in receiver.bodies] == [mission]


def test_what_happened_while_nobody_looked_is_told_later(
    alone: Dashboard, receiver: Receiver, tracker: MissionTracker
) -> None:
    there, _ = channel(alone, receiver.url)
    watch(alone, "failed", there)
    alone.kill()
    mission = tracker.create(title="Meanwhile")
    tracker.start(mission.id)
    tracker.fail(mission.id, error_message="x")

    alone.start()

    wait_for(lambda: receiver.got, 10)
    assert receiver.bodies[0]["data"]["mission_id"] == mission.id


def test_two_processes_find_each_failure_once(tracker: MissionTracker, dsn: str) -> None:
    run_sql(dsn, "UPDATE alert_rules SET cooldown_s = 0")
    stores = [PostgresAlertStore(dsn), PostgresAlertStore(dsn)]
    done = threading.Event()
    problems: list[BaseException] = []

    def look(store: PostgresAlertStore) -> None:
        try:
            while not done.is_set():
                store.look_at_events()
        except BaseException as problem:
            problems.append(problem)
            raise

    threads = [threading.Thread(target=look, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    finish(tracker, "f" * 60)

    def found() -> list[str | None]:
        return [firing.mission_id for firing in stores[0].firings(None, 500) if firing.kind == "failed"]

    wait_for(lambda: len(found()) == 60, 10)
    done.set()
    for thread in threads:
        thread.join()
    assert not problems
    assert len(set(found())) == len(found()) == 60
    for store in stores:
        store.close()


def test_what_cannot_be_told_is_shown_and_can_be_sent_again(
    dashboard: Dashboard, receiver: Receiver, module_dsn: str
) -> None:
    receiver.answers = [500]
    there, _ = channel(dashboard, receiver.url)
    watch(dashboard, "failed", there)
    fail(dashboard)
    wait_for(lambda: receiver.got, 5)
    run_sql(module_dsn, "UPDATE alert_deliveries SET tries = %s, next_at = now()", (MAX_TRIES - 1,))
    (dead,) = wait_for(lambda: dashboard.get("/api/alerts/deliveries?state=dead")["deliveries"], 10)
    assert dead["problem"] == "it answered 500"
    receiver.answers = [204]

    dashboard.post(f"/api/alerts/deliveries/{dead['id']}/retry")

    wait_for(lambda: dashboard.get("/api/alerts/deliveries?state=sent")["deliveries"], 5)
    assert refusal(dashboard, "POST", f"/api/alerts/deliveries/{dead['id']}/retry")[0] == 404


def test_the_wait_doubles_up_to_an_hour() -> None:
    assert 3.75 <= wait_after(1) <= 6.25
    assert 15 <= wait_after(3) <= 25
    assert 2700 <= wait_after(50) <= 4500


def test_a_redirect_is_not_followed(dashboard: Dashboard, receiver: Receiver) -> None:
    receiver.answers = [302]
    there, _ = channel(dashboard, receiver.url)
    dashboard.post(f"/api/alerts/channels/{there}/test")

    wait_for(lambda: dashboard.get("/api/alerts/deliveries")["deliveries"][0]["problem"] == "it answered 302", 5)
    assert len(receiver.got) == 1


# Other ways to be told.


def test_slack_gets_what_slack_reads(dashboard: Dashboard, receiver: Receiver) -> None:
    there, secret = channel(dashboard, receiver.url, "slack")
    assert secret == "None"
    watch(dashboard, "failed", there)
    fail(dashboard, "Index")

    wait_for(lambda: receiver.got, 5)

    assert receiver.bodies[0]["text"].startswith("*[warning] watch failed*\nIndex failed: Context window exceeded")


def test_mails_are_sent(data_dir: Path, dsn: str) -> None:
    class Mailbox:
        def __init__(self) -> None:
            self.got: list[Any] = []

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            self.got.append(envelope)
            return "250 OK"

    mailbox = Mailbox()
    server = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    server.start()
    running = Dashboard(
        data_dir,
        POSTGRES_DSN=dsn,
        MISSION_DASHBOARD_SMTP_URL=f"smtp://127.0.0.1:{server.port}",
        MISSION_DASHBOARD_MAIL_FROM="alerts@example.com",
    ).start()
    try:
        there, _ = channel(running, "ann@example.com", "email")
        watch(running, "failed", there)
        fail(running, "Line\r\nBcc: evil@example.com")
        wait_for(lambda: mailbox.got, 10)
        (envelope,) = mailbox.got
        text = envelope.content.decode()
        assert envelope.rcpt_tos == ["ann@example.com"]
        assert "Subject: [warning] watch failed" in text
        assert "\r\nBcc:" not in text.split("\r\n\r\n")[0]
    finally:
        running.stop()
        server.stop()


# Who may reach what with it.


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:5002/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://[fd00::1]/",
        "ftp://example.com/",
        "http://user:password@93.184.216.34/",
    ],
)
def test_webhooks_lead_to_the_internet_alone(url: str) -> None:
    with pytest.raises(Forbidden):
        checked_address(url, [])


def test_networks_can_be_allowed() -> None:
    assert checked_address("http://127.0.0.1:1/", [ip_network(HERE)]) == "127.0.0.1"
    with pytest.raises(Forbidden):
        checked_address("http://10.0.0.1/", [ip_network(HERE)])
    assert checked_address("https://93.184.216.34/x", []) == "93.184.216.34"


def test_a_forbidden_webhook_is_told_and_asks_nobody(data_dir: Path, dsn: str, receiver: Receiver) -> None:
    running = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    try:
        there, _ = channel(running, receiver.url)
        running.post(f"/api/alerts/channels/{there}/test")
        wait_for(lambda: running.get("/api/alerts/deliveries")["deliveries"][0]["problem"], 5)
        assert "not on the internet" in running.get("/api/alerts/deliveries")["deliveries"][0]["problem"]
        assert receiver.got == []
    finally:
        running.stop()


def test_secrets_are_shown_once_and_the_audit_log_has_none(dashboard: Dashboard, receiver: Receiver) -> None:
    _, secret = channel(dashboard, receiver.url)

    assert secret not in json.dumps(dashboard.get("/api/alerts/channels"))
    assert secret not in json.dumps(dashboard.get("/api/audit"))


@pytest.mark.parametrize(
    ("path", "said", "status", "says"),
    [
        ("rules", {"name": "x", "kind": "nonsense"}, 422, "kind"),
        ("rules", {"name": "x", "kind": "cost"}, 422, "threshold"),
        ("rules", {"name": "x", "kind": "failed", "channels": ["none"]}, 422, "channel"),
        ("rules", {"name": "x", "kind": "failed", "window_s": 1}, 422, "window_s"),
        ("rules", {"name": "Missions fail", "kind": "failed"}, 409, "another name"),
        ("channels", {"name": "x", "kind": "webhook", "target": "ftp://x"}, 422, "https"),
        ("channels", {"name": "x", "kind": "email", "target": "a@b, c@d"}, 422, "one address"),
        ("silences", {"minutes": 0, "reason": "x"}, 422, "minutes"),
        ("none/acknowledge", {}, 404, "no alert"),
        ("channels/none/test", {}, 404, "no channel"),
    ],
)
def test_what_makes_no_sense_is_told_and_changes_nothing(
    dashboard: Dashboard, path: str, said: dict[str, Any], status: int, says: str
) -> None:
    before = [dashboard.get(f"/api/alerts/{part}") for part in ("rules", "channels", "silences")]

    got, sentence = refusal(dashboard, "POST", f"/api/alerts/{path}", **said)

    after = [dashboard.get(f"/api/alerts/{part}") for part in ("rules", "channels", "silences")]
    assert got == status
    assert says in sentence
    for one, other in zip(before, after, strict=True):
        assert {**one, "timestamp": ""} == {**other, "timestamp": ""}


def test_rules_are_changed_and_deleted(dashboard: Dashboard) -> None:
    rule = watch(dashboard, "failed")
    changed = requests.put(
        f"{dashboard.url}/api/alerts/rules/{rule}", json={"name": "off", "kind": "failed", "is_on": False}, timeout=10
    ).json()["rule"]
    assert changed["is_on"] is False
    fail(dashboard)
    wait_for(lambda: dashboard.get("/api/alerts")["alerts"], 5)
    assert alerts_of(dashboard, rule) == []

    assert requests.delete(f"{dashboard.url}/api/alerts/rules/{rule}", timeout=10).ok
    request = urllib.request.Request(f"{dashboard.url}/api/alerts/rules/{rule}", method="DELETE")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(request, timeout=10)
