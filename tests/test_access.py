"""Who gets in and who does not: this machine, keys, people, sockets, proxies; and the record of it all."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
import socketio
from psycopg2.extensions import make_dsn, parse_dsn
from werkzeug.test import create_environ

from clients import wait_for
from conftest import FrozenClock, run_sql
from dashboards import ROOT, Dashboard, free_port
from mission_dashboard.access.audit import LINES_PER_MINUTE, Audit
from mission_dashboard.access.callers import LOCAL, NOBODY, Kind, new_secret
from mission_dashboard.access.networks import place_of
from mission_dashboard.access.scopes import SCOPES, Role, Scope, granted, needed
from mission_dashboard.access.service import MAX_SESSIONS, Access
from mission_dashboard.access.store import Entry, Wanted
from mission_dashboard.errors import AccessEnded, LoginRefused, StoreUnavailable
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.postgres.access_store import PostgresAccessStore
from mission_dashboard.web.gate import FAILURES_PER_MINUTE, Gate, caller_of
from mission_dashboard.web.keys import harmless
from mission_dashboard.web.waiting import Waiting

KEYS = (sys.executable, "-m", "mission_dashboard.cli", "keys")
ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}
"""What makes a request count as from another machine: the proxy on this one, which the settings name, says so."""


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = Path("/tmp") / f"mdaccess{os.getpid()}"
    folder.mkdir(mode=0o711)
    running = Dashboard(folder, MISSION_DASHBOARD_TRUSTED_PROXIES="127.0.0.1", MISSION_DASHBOARD_RATE_LIMIT="off")
    running.start()
    yield running
    running.stop()
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture(scope="module")
def admin_key(dashboard: Dashboard) -> str:
    return "mdk_" + (dashboard.data_dir / "admin_key").read_text().strip()


def ask(dashboard: Dashboard, method: str, path: str, key: str | None = None, **more: Any) -> requests.Response:
    """Call from another machine, with a key or without."""
    headers = {**ELSEWHERE, **({"Authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}
    return requests.request(method, dashboard.url + path, headers=headers, timeout=10, allow_redirects=False, **more)


def plain(port: int, said: str, for_s: float = 5.0) -> str:
    """Send exactly this and return what comes until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=for_s) as connection:
        connection.sendall(said.encode("latin-1"))
        answer = b""
        with contextlib.suppress(TimeoutError):
            while part := connection.recv(65_536):
                answer += part
    return answer.decode("latin-1")


def make_key(dashboard: Dashboard, admin_key: str, *scopes: str, **more: Any) -> tuple[str, str]:
    """Make a key; return its id and its secret."""
    said = {"name": "-".join(scopes), "scopes": list(scopes), **more}
    answer = ask(dashboard, "POST", "/api/keys", admin_key, json=said)
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]["id"], answer.json()["secret"]


# This machine.


def test_this_machine_needs_no_key(dashboard: Dashboard) -> None:
    assert requests.get(f"{dashboard.url}/api/missions", timeout=10).status_code == 200
    assert dashboard.create("From the first curl line")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5002", "localhost.evil.example", "127.0.0.1.nip.io"])
def test_a_name_that_was_made_to_point_here_is_not_this_machine(dashboard: Dashboard, host: str) -> None:
    answer = requests.get(f"{dashboard.url}/api/missions", headers={"Host": host}, timeout=10)

    assert answer.status_code in (400, 401)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", Kind.LOCAL),
        ("::1", Kind.LOCAL),
        ("::ffff:127.0.0.1", Kind.LOCAL),
        ("192.0.2.7", Kind.NOBODY),
        ("10.0.0.1", Kind.NOBODY),
        ("fe80::1%eth0", Kind.NOBODY),
        ("", Kind.NOBODY),
    ],
)
def test_who_comes_from_elsewhere_and_asks_for_localhost_is_a_stranger(dsn: str, address: str, kind: Kind) -> None:
    store = PostgresAccessStore(dsn)
    access = Access(store, None, timedelta(hours=1), FrozenClock())
    found: list[Kind] = []

    def app(environ: dict[str, Any], _: object) -> list[bytes]:
        found.append(caller_of(environ).kind)
        return []

    gate = Gate(app, access, Audit(store, FrozenClock()), trusts_loopback=True)
    gate(create_environ("/api/session", "http://localhost:5002", environ_overrides={"REMOTE_ADDR": address}), list)

    assert found == [kind]
    access.close()
    store.close()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.8.8.8:5002", "[::1]:5002", "a.localhost"])
def test_every_name_of_loopback_is_this_machine(dashboard: Dashboard, host: str) -> None:
    assert requests.get(f"{dashboard.url}/api/missions", headers={"Host": host}, timeout=10).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host"])
def test_what_somebody_passed_on_is_not_this_machine(dashboard: Dashboard, header: str) -> None:
    said = {header: "localhost" if header == "X-Forwarded-Host" else "127.0.0.1"}

    assert requests.get(f"{dashboard.url}/api/missions", headers=said, timeout=10).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example@x.localhost", "evil.example/.localhost", "[::1%25eth0]", "", "localhost:"]
)
def test_a_host_that_is_no_name_is_not_this_machine(dashboard: Dashboard, host: str) -> None:
    answer = plain(dashboard.port, f"GET /api/session HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")

    assert '"kind":"nobody"' in answer


@pytest.mark.parametrize(
    "header", ["X-Forwarded-Proto: https", "CF-Connecting-IP: 203.0.113.9", "X-Client-IP: 10.0.0.1"]
)
def test_no_sign_of_a_proxy_is_overlooked(data_dir: Path, header: str) -> None:
    running = Dashboard(data_dir).start()
    try:
        request = f"GET /api/session HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n"
        assert '"kind":"nobody"' in plain(running.port, request)
    finally:
        running.stop()


def test_a_proxy_that_says_nothing_is_known_by_its_old_http(dashboard: Dashboard) -> None:
    nginx_by_default = f"GET /api/session HTTP/1.0\r\nHost: 127.0.0.1:{dashboard.port}\r\nConnection: close\r\n\r\n"

    assert '"kind":"nobody"' in plain(dashboard.port, nginx_by_default)
    assert '"kind":"local"' in plain(dashboard.port, nginx_by_default.replace("HTTP/1.0", "HTTP/1.1"))


def test_strangers_get_nothing_but_the_login_and_health(dashboard: Dashboard) -> None:
    for path in ("/api/missions", "/api/metrics", "/api/openapi.json", "/api/keys", "/api/audit", "/socket.io/?EIO=4"):
        answer = ask(dashboard, "GET", path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "key" in answer.json()["detail"]
    for method, path in (("POST", "/api/missions"), ("GET", "/ping/x/start"), ("POST", "/v1/traces")):
        assert ask(dashboard, method, path, json={"title": "No"}).status_code == 401, path
    for path in ("/login", "/api/health/live", "/favicon.ico", "/api/session"):
        assert ask(dashboard, "GET", path).status_code < 300, path
    assert not [m for m in dashboard.get("/api/missions")["missions"] if m["title"] in ("No", "x")]


def test_a_stranger_who_opens_the_page_is_shown_the_login_and_comes_back(dashboard: Dashboard) -> None:
    answer = ask(dashboard, "GET", "/?status=failed", headers={"Accept": "text/html"})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=/%3Fstatus%3Dfailed")


# Keys.


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_does_what_its_scope_says_and_nothing_else(dashboard: Dashboard, admin_key: str, scope: str) -> None:
    _, key = make_key(dashboard, admin_key, scope)
    mission = dashboard.create_running("For scopes")
    tried = {
        ("GET", "/api/missions"): "read",
        ("GET", "/api/metrics"): "read",
        ("POST", "/api/missions"): "report",
        ("POST", f"/api/missions/{mission}/progress"): "report",
        ("POST", f"/api/missions/{mission}/pause"): "operate",
        ("POST", f"/api/missions/{mission}/resume"): "operate",
        ("PUT", "/api/budgets/x"): "operate",
        ("GET", "/api/keys"): "admin",
        ("GET", "/api/audit"): "admin",
    }
    mine = {granted_scope.value for granted_scope in granted([Scope(scope)])}
    for (method, path), wanted in tried.items():
        said = {"title": "T"} if path == "/api/missions" else {"cost": 5} if "budgets" in path else {}
        answer = ask(dashboard, method, path, key, **({} if method == "GET" else {"json": said}))
        assert (answer.status_code != 403) == (wanted in mine), (path, answer.text)
        if wanted not in mine:
            assert wanted in answer.json()["detail"]
    assert ask(dashboard, "GET", f"/api/missions/{mission}", key).status_code == 200


@pytest.mark.parametrize("method", ["get", "Get", "head"])
def test_a_method_in_small_letters_is_no_way_around_the_scope(
    dashboard: Dashboard, admin_key: str, method: str
) -> None:
    _, key = make_key(dashboard, admin_key, "report")
    mission = dashboard.create_running("Not for reporters")

    for path in ("/api/missions", f"/api/missions/{mission}/logs", f"/api/missions/{mission}/spans"):
        answer = plain(
            dashboard.port,
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n",
        )
        assert answer.startswith("HTTP/1.1 403"), path


def test_where_webhooks_go_is_shown_to_admins_alone_for_the_path_may_be_a_token(
    dashboard: Dashboard, admin_key: str
) -> None:
    hook = {"url": "https://hooks.example.com/services/token", "secret": "whsec_" + "QUFB" * 8}
    said = {"name": "Hook", "kind": "webhook", "webhook": hook}
    assert ask(dashboard, "POST", "/api/alerts/channels", admin_key, json=said).status_code == 201
    _, operator = make_key(dashboard, admin_key, "operate")

    seen = ask(dashboard, "GET", "/api/alerts/channels", operator)

    assert "token" not in seen.text
    assert seen.json()["channels"][0]["goes_to"] == "hooks.example.com"
    assert "services/token" in ask(dashboard, "GET", "/api/alerts/channels", admin_key).text


def test_a_batch_is_no_way_around_the_scope(dashboard: Dashboard, admin_key: str) -> None:
    _, key = make_key(dashboard, admin_key, "report")
    mission = dashboard.create_running("Batched")
    said = [{"op": "pause", "mission_id": mission}, {"op": "progress", "mission_id": mission, "progress": 7}]

    results = ask(dashboard, "POST", "/api/missions/batch", key, json={"operations": said}).json()["results"]

    assert [result["status"] for result in results] == [403, 200]
    assert dashboard.get(f"/api/missions/{mission}")["mission"]["control"] is None


def test_keys_are_kept_as_digests_only(dashboard: Dashboard, admin_key: str) -> None:
    key_id, key = make_key(dashboard, admin_key, "read")

    listed = ask(dashboard, "GET", "/api/keys", admin_key)
    assert key not in listed.text
    assert next(known for known in listed.json()["keys"] if known["id"] == key_id)["shown"] == key[:12]
    raw = subprocess.run(["grep", "-rl", key, str(dashboard.data_dir)], capture_output=True, text=True, check=False)
    assert raw.stdout == ""


def test_a_revoked_key_is_worthless_at_once(dashboard: Dashboard, admin_key: str) -> None:
    key_id, key = make_key(dashboard, admin_key, "read")
    assert ask(dashboard, "GET", "/api/missions", key).status_code == 200

    assert ask(dashboard, "DELETE", f"/api/keys/{key_id}", admin_key).status_code == 200

    assert ask(dashboard, "GET", "/api/missions", key).status_code == 401
    for nothing in ("keys/nope", "keys/%00", "keys/sessions/nope", "keys/sessions/%00"):
        assert ask(dashboard, "DELETE", f"/api/{nothing}", admin_key).status_code == 404, nothing


def test_a_key_ends_when_its_time_is_over(dashboard: Dashboard, admin_key: str) -> None:
    _, key = make_key(dashboard, admin_key, "read", expires_in_days=1.5 / 86_400)
    assert ask(dashboard, "GET", "/api/missions", key).status_code == 200

    wait_for(lambda: ask(dashboard, "GET", "/api/missions", key).status_code == 401, 5)


def test_when_and_from_where_a_key_was_used_is_shown(dashboard: Dashboard, admin_key: str) -> None:
    key_id, key = make_key(dashboard, admin_key, "read")
    ask(dashboard, "GET", "/api/missions", key)

    known = ask(dashboard, "GET", "/api/keys", admin_key).json()["keys"]
    (shown,) = [key for key in known if key["id"] == key_id]

    assert shown["last_used_from"] == "203.0.113.9"
    assert shown["last_used_at"] > shown["created_at"]


def test_when_a_key_was_used_outlives_the_process(dsn: str) -> None:
    store, clock = PostgresAccessStore(dsn), FrozenClock()
    first = Access(store, None, timedelta(hours=1), clock)
    key, secret = first.create_key("k", [Scope.READ], None, "test")
    assert first.by_secret(secret, "203.0.113.9")
    first.close()

    (known,) = Access(store, None, timedelta(hours=1), clock).all_keys()

    store.close()
    assert (known.id, known.last_used_at, known.last_used_from) == (key.id, clock.now, "203.0.113.9")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"name": "x"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["god"]},
        {"name": "", "scopes": ["read"]},
        {"name": "x", "scopes": ["read"], "expires_in_days": 0},
        {"name": "x", "scopes": ["read"], "expires_in_days": 1e9},
    ],
)
def test_a_key_that_makes_no_sense_is_refused(dashboard: Dashboard, admin_key: str, said: dict[str, Any]) -> None:
    before = len(ask(dashboard, "GET", "/api/keys", admin_key).json()["keys"])

    assert ask(dashboard, "POST", "/api/keys", admin_key, json=said).status_code == 422

    assert len(ask(dashboard, "GET", "/api/keys", admin_key).json()["keys"]) == before


def test_guessing_keys_is_stopped_and_told_in_one_line(dashboard: Dashboard, admin_key: str) -> None:
    guesser = {"X-Forwarded-For": "198.51.100.7"}
    codes = [
        requests.get(
            f"{dashboard.url}/api/missions", headers={**guesser, "Authorization": f"Bearer mdk_{n}"}, timeout=10
        ).status_code
        for n in range(FAILURES_PER_MINUTE + 5)
    ]

    assert codes == [401] * FAILURES_PER_MINUTE + [429] * 5

    def told() -> int:
        entries = ask(dashboard, "GET", "/api/audit?refused=true&limit=50", admin_key).json()["entries"]
        return sum(entry["count"] for entry in entries if entry["address"] == "198.51.100.7")

    wait_for(lambda: told() == FAILURES_PER_MINUTE + 5, 5)


def test_who_shows_no_key_is_limited_too_and_harms_nobody_else(dsn: str, data_dir: Path) -> None:
    limited = Dashboard(
        data_dir,
        POSTGRES_DSN=dsn,
        MISSION_DASHBOARD_TRUSTED_PROXIES="127.0.0.1",
        MISSION_DASHBOARD_RATE_LIMIT="5 per minute",
    ).start()
    try:
        admin_key = "mdk_" + (data_dir / "admin_key").read_text().strip()
        answers = [ask(limited, "GET", "/api/missions") for _ in range(7)]
        other = ask(limited, "GET", "/api/missions", headers={"X-Forwarded-For": "198.51.100.20"})
        known = ask(limited, "GET", "/api/missions", admin_key)
    finally:
        limited.stop()

    assert [one.status_code for one in answers] == [401] * 5 + [429] * 2
    assert answers[-1].headers["Retry-After"] == "60"
    assert "5 per 1 minute" in answers[-1].json()["detail"]
    assert (other.status_code, known.status_code) == (401, 200)


@pytest.mark.parametrize(("named", "without_a_key"), [("*", 401), ("https://ops.example", 201)])
def test_pages_of_any_origin_do_not_speak_for_this_machine(
    dsn: str, data_dir: Path, named: str, without_a_key: int
) -> None:
    """Where any origin may call, every page that somebody opens here could else do what this machine's user may."""
    open_to = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_CORS_ORIGINS=named).start()
    page = {"Origin": "https://ops.example"}
    try:
        key = "mdk_" + (data_dir / "admin_key").read_text().strip()

        def create(**headers: str) -> int:
            return requests.post(
                f"{open_to.url}/api/missions", json={"title": "x"}, headers=headers, timeout=10
            ).status_code

        assert create(**page) == without_a_key
        assert requests.get(f"{open_to.url}/api/missions", headers=page, timeout=10).status_code == (
            401 if named == "*" else 200
        )
        assert (create(), create(Origin=open_to.url), create(**page, Authorization=f"Bearer {key}")) == (201, 201, 201)
    finally:
        open_to.stop()


def test_guessing_keys_at_the_login_is_stopped_too(dashboard: Dashboard, admin_key: str) -> None:
    guesser = {"X-Forwarded-For": "198.51.100.8", "Origin": dashboard.url}

    def log_in_with(key: str) -> requests.Response:
        return ask(dashboard, "POST", "/login", headers=guesser, data={"key": key})

    codes = [log_in_with(f"mdk_{number}").status_code for number in range(FAILURES_PER_MINUTE)]
    then = log_in_with(admin_key)

    assert codes == [401] * FAILURES_PER_MINUTE
    assert (then.status_code, then.headers["Retry-After"]) == (429, "60")
    assert "Set-Cookie" not in then.headers


# Limits.


def test_an_ipv6_network_counts_as_one_address(dashboard: Dashboard) -> None:
    def tries(network: str, count: int) -> list[int]:
        said = [{"X-Forwarded-For": f"{network}::{number:x}"} for number in range(1, count + 1)]
        return [ask(dashboard, "GET", "/api/keys", "mdk_guess", headers=one).status_code for one in said]

    assert tries("2001:db8:1:1", FAILURES_PER_MINUTE + 1) == [401] * FAILURES_PER_MINUTE + [429]
    assert tries("2001:db8:1:2", 1) == [401]
    assert place_of("::ffff:192.0.2.1") == place_of("192.0.2.1") == "192.0.2.1"
    assert place_of("fe80::1%eth0") == "fe80::/64"
    assert place_of("-") == "-"


def test_each_key_has_limits_of_its_own_and_is_told_what_is_left(data_dir: Path) -> None:
    running = Dashboard(
        data_dir,
        MISSION_DASHBOARD_RATE_LIMIT="5 per minute",
        MISSION_DASHBOARD_REPORT_LIMIT="4 per minute",
        MISSION_DASHBOARD_KEY_RATE_LIMIT="8 per minute",
        MISSION_DASHBOARD_KEY_REPORT_LIMIT="6 per minute",
        MISSION_DASHBOARD_TRUSTED_PROXIES="127.0.0.1",
    ).start()
    try:
        admin = "mdk_" + (data_dir / "admin_key").read_text().strip()
        made = [make_key(running, admin, "operate")[1] for _ in range(2)]

        def passed(path: str, key: str | None, method: str = "GET") -> list[requests.Response]:
            said = {"json": {}} if method == "POST" else {}
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            answers = []
            for _ in range(20):
                answers.append(requests.request(method, running.url + path, headers=headers, timeout=10, **said))
                if answers[-1].status_code == 429:
                    return answers
            raise AssertionError("no limit was reached")

        for key in made:
            answers = passed("/api/metrics", key)
            assert len(answers) == 9
            assert answers[0].headers["RateLimit-Policy"] == '"default";q=8;w=60'
            assert answers[0].headers["RateLimit"].startswith('"default";r=7;t=')
            assert answers[-1].headers["RateLimit"].startswith('"default";r=0;t=')
            assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
            assert "Retry-After" not in answers[0].headers
            reports = passed("/api/missions/none/heartbeat", key, "POST")
            assert len(reports) == 7
            assert reports[0].headers["RateLimit"].startswith('"default";r=5;t=')
        assert len(passed("/api/metrics", None)) == 6
        assert len(passed("/api/missions/none/heartbeat", None, "POST")) == 5
        logins = [
            ask(running, "POST", "/login", data={"key": admin}, headers={"Origin": running.url}) for _ in range(6)
        ]
        assert [login.status_code for login in logins] == [303] * 5 + [429]
    finally:
        running.stop()


# People.


def log_in(dashboard: Dashboard, key: str, **more: Any) -> requests.Session:
    """Log in from another machine."""
    browser = requests.Session()
    browser.headers.update({**ELSEWHERE, "Origin": dashboard.url, **more})
    answer = browser.post(f"{dashboard.url}/login", data={"key": key, "next": "/"}, allow_redirects=False, timeout=10)
    assert answer.status_code == 303, answer.text
    return browser


def test_a_person_logs_in_with_a_key_and_out_again(dashboard: Dashboard, admin_key: str) -> None:
    _, key = make_key(dashboard, admin_key, "operate")
    browser = log_in(dashboard, key)

    (cookie,) = browser.cookies
    assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "Lax"
    me = browser.get(f"{dashboard.url}/api/session", timeout=10).json()["session"]
    assert (me["kind"], me["scopes"]) == ("person", ["operate", "read", "report"])
    assert browser.get(f"{dashboard.url}/api/missions", timeout=10).status_code == 200
    assert browser.get(f"{dashboard.url}/api/keys", timeout=10).status_code == 403

    value = cookie.value
    browser.post(f"{dashboard.url}/logout", timeout=10)
    answer = ask(dashboard, "GET", "/api/missions", headers={"Cookie": f"{cookie.name}={value}"})
    assert answer.status_code == 401


def test_over_https_the_cookie_is_for_https_alone(dashboard: Dashboard, admin_key: str) -> None:
    answer = ask(
        dashboard,
        "POST",
        "/login",
        data={"key": admin_key},
        headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "ops.example", "Origin": "https://ops.example"},
    )

    assert answer.status_code == 303
    assert answer.headers["Set-Cookie"].startswith("__Host-mission_dashboard_session=")
    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_a_login_leads_nowhere_else(dashboard: Dashboard, admin_key: str, target: str) -> None:
    answer = ask(
        dashboard, "POST", "/login", data={"key": admin_key, "next": target}, headers={"Origin": dashboard.url}
    )

    assert answer.headers["Location"] == "/"


def test_nobody_logs_in_with_a_wrong_key_or_one_that_only_reports(dashboard: Dashboard, admin_key: str) -> None:
    _, key = make_key(dashboard, admin_key, "report")
    for wrong in ("", "nonsense", key):
        answer = ask(dashboard, "POST", "/login", data={"key": wrong}, headers={"Origin": dashboard.url})
        assert answer.status_code == 401
        assert "Set-Cookie" not in answer.headers


def test_a_cookie_that_a_page_of_the_same_domain_may_set_is_no_session_over_https(
    dashboard: Dashboard, admin_key: str
) -> None:
    _, key = make_key(dashboard, admin_key, "read")
    secret = log_in(dashboard, key).cookies["mission_dashboard_session"]
    plain_name, own_name = f"mission_dashboard_session={secret}", f"__Host-mission_dashboard_session={secret}"
    over_https = {"X-Forwarded-Proto": "https"}

    def kind(cookie: str, **headers: str) -> str:
        answer = ask(dashboard, "GET", "/api/session", headers={"Cookie": cookie, **headers})
        return str(answer.json()["session"]["kind"])

    assert kind(plain_name, **over_https) == "nobody"
    assert kind(own_name, **over_https) == "person"
    assert kind(own_name) == "nobody"
    assert kind(plain_name) == "person"
    assert kind(f'theirs={{"a":1}}; {plain_name}') == "person", "a cookie of another program of this machine"


def test_a_page_of_another_origin_cannot_use_the_cookie(dashboard: Dashboard, admin_key: str) -> None:
    browser = log_in(dashboard, admin_key)
    said = {"name": "stolen", "scopes": ["admin"]}

    for wrong in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": None}):
        answer = browser.post(f"{dashboard.url}/api/keys", json=said, headers=wrong, timeout=10)  # type: ignore[arg-type]
        assert answer.status_code == 403, wrong
    upgrade = browser.get(
        f"{dashboard.url}/socket.io/?EIO=4&transport=polling", headers={"Origin": "https://evil.example"}, timeout=10
    )
    assert upgrade.status_code == 403
    assert "stolen" not in browser.get(f"{dashboard.url}/api/keys", timeout=10).text


@pytest.mark.parametrize("wrong", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_page_of_another_origin_cannot_log_anybody_in_or_out(
    dashboard: Dashboard, admin_key: str, wrong: dict[str, str]
) -> None:
    browser = log_in(dashboard, admin_key)

    logged_in = ask(dashboard, "POST", "/login", data={"key": admin_key}, headers=wrong)
    logged_out = browser.post(f"{dashboard.url}/logout", headers=wrong, timeout=10)

    assert (logged_in.status_code, logged_out.status_code) == (403, 403)
    assert "Set-Cookie" not in logged_in.headers
    assert browser.get(f"{dashboard.url}/api/keys", timeout=10).status_code == 200
    told = wait_for(lambda: dashboard.get("/api/audit?action=POST /logout&refused=true".replace(" ", "%20"))["entries"])
    assert told[0]["status"] == 403


def test_a_link_cannot_make_who_is_logged_in_report_a_mission(dashboard: Dashboard, admin_key: str) -> None:
    browser = log_in(dashboard, admin_key)

    answer = browser.get(f"{dashboard.url}/ping/led-here/start", headers={"Origin": None}, timeout=10)  # type: ignore[arg-type]

    assert answer.status_code == 403
    assert "led-here" not in json.dumps(dashboard.get("/api/missions?limit=200"))


def test_who_is_logged_in_cannot_sign_as_somebody_else(dashboard: Dashboard, admin_key: str) -> None:
    _, key = make_key(dashboard, admin_key, "operate")
    browser = log_in(dashboard, key)
    mission = dashboard.create_running("Signed")

    answer = browser.post(
        f"{dashboard.url}/api/missions/{mission}/pause", json={"by": "Somebody else"}, timeout=10
    ).json()

    assert answer["mission"]["receipt"]["asked_by"] == "operate"


# Sockets.


def connect(dashboard: Dashboard, headers: dict[str, str]) -> socketio.Client:
    client = socketio.Client(reconnection=False)
    client.connect(dashboard.url, headers={**ELSEWHERE, **headers}, transports=["websocket"], wait_timeout=5)
    return client


def test_a_socket_needs_a_key_too(dashboard: Dashboard, admin_key: str) -> None:
    _, reporter = make_key(dashboard, admin_key, "report")
    for headers in ({}, {"Authorization": "Bearer mdk_wrong"}, {"Authorization": f"Bearer {reporter}"}):
        with pytest.raises(socketio.exceptions.ConnectionError):
            connect(dashboard, headers)
    client = connect(dashboard, {"Authorization": f"Bearer {admin_key}"})
    client.disconnect()


@pytest.mark.parametrize("how", ["key", "session", "logout"])
def test_open_sockets_end_within_a_second_of_a_revocation(dashboard: Dashboard, admin_key: str, how: str) -> None:
    key_id, key = make_key(dashboard, admin_key, "read")
    headers = {"Authorization": f"Bearer {key}"}
    browser = log_in(dashboard, key)
    if how != "key":
        (cookie,) = browser.cookies
        headers = {"Cookie": f"{cookie.name}={cookie.value}"}
    client = connect(dashboard, headers)
    ended: list[float] = []
    client.on("disconnect", lambda *_: ended.append(time.monotonic()))
    time.sleep(1.0)
    assert not ended

    began = time.monotonic()
    if how == "logout":
        browser.post(f"{dashboard.url}/logout", timeout=10)
    else:
        ask(dashboard, "DELETE", f"/api/keys/{key_id}", admin_key)
    wait_for(lambda: ended, 5)

    assert ended[0] - began < 1.0


@pytest.mark.parametrize(("asked", "how"), [("directive", "key"), ("directive", "session"), ("question", "logout")])
def test_a_held_long_poll_ends_within_about_a_second_of_a_revocation(
    dashboard: Dashboard, admin_key: str, asked: str, how: str
) -> None:
    key_id, key = make_key(dashboard, admin_key, "operate")
    _, other = make_key(dashboard, admin_key, "report")
    mission_id = dashboard.create_running("Long")
    address = f"/api/missions/{mission_id}/directive?wait=30&known=continue"
    if asked == "question":
        question = dashboard.post(f"/api/missions/{mission_id}/ask", text="Which?")["mission"]["question"]["id"]
        address = f"/api/missions/{mission_id}/questions/{question}?wait=30"
    browser = log_in(dashboard, key)
    cookies = {} if how == "key" else browser.cookies.get_dict()
    shown = key if how == "key" else None

    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(ask, dashboard, "GET", address, shown, cookies=cookies)
        others = pool.submit(ask, dashboard, "GET", address.replace("wait=30", "wait=2"), other)
        time.sleep(0.5)
        assert not held.done()
        began = time.monotonic()
        if how == "logout":
            browser.post(f"{dashboard.url}/logout", timeout=10)
        else:
            ask(dashboard, "DELETE", f"/api/keys/{key_id}", admin_key)
        answer = held.result(5)
        took_s = time.monotonic() - began

    assert took_s < 1.5
    new = ask(dashboard, "GET", address, shown, cookies=cookies)
    assert (answer.status_code, answer.json()) == (new.status_code, new.json()) == (401, new.json())
    assert answer.headers["WWW-Authenticate"] == new.headers["WWW-Authenticate"]
    assert others.result(5).status_code == 200
    line = f"/api/audit?action=GET /api/missions/{mission_id}&actor=operate&refused=true"
    assert wait_for(lambda: dashboard.get(line.replace(" ", "%20"))["entries"], 5)


def test_looking_at_long_polls_reads_no_mission(tracker: MissionTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    mission_id = tracker.create(title="Quiet").id
    waiting = Waiting(tracker, lambda caller: caller is not NOBODY)
    read: list[str] = []
    get = tracker.get
    monkeypatch.setattr(tracker, "get", lambda wanted: (read.append(wanted), get(wanted))[1])

    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(waiting.wait, mission_id, LOCAL, lambda _: False, 0.5)
        ended = pool.submit(waiting.wait, mission_id, NOBODY, lambda _: False, 30)
        wait_for(lambda: len(read) == 2, 5)
        while not held.done():
            waiting.end_unwelcome()
            time.sleep(0.01)

    with pytest.raises(AccessEnded):
        ended.result(5)
    assert len(read) == 3, "once each at the beginning, and once when the time was over"


def test_a_poll_of_a_socket_that_was_ended_is_told_so(dashboard: Dashboard, admin_key: str) -> None:
    key_id, key = make_key(dashboard, admin_key, "read")
    _, other = make_key(dashboard, admin_key, "read")
    polling = "/socket.io/?EIO=4&transport=polling"
    sid = json.loads(ask(dashboard, "GET", polling, key).text[1:])["sid"]
    ask(dashboard, "DELETE", f"/api/keys/{key_id}", admin_key)

    time.sleep(1)  # within which it must have ended

    polled = ask(dashboard, "POST", f"{polling}&sid={sid}", other, data="3")
    assert (polled.status_code, "Invalid session" in polled.text) == (400, True)


def test_a_socket_report_needs_the_scope_to_report(dashboard: Dashboard, admin_key: str) -> None:
    _, key = make_key(dashboard, admin_key, "read")
    client = connect(dashboard, {"Authorization": f"Bearer {key}"})

    answer = client.call("mission_report", {"operations": [{"op": "create", "title": "By socket"}]}, timeout=5)

    client.disconnect()
    assert answer["problem"]["status"] == 403
    assert "By socket" not in json.dumps(dashboard.get("/api/missions"))
    (line,) = wait_for(lambda: dashboard.get("/api/audit?action=SOCKET&actor=read&refused=true")["entries"], 5)
    assert (line["action"], line["address"], line["status"]) == ("SOCKET mission_report (report)", "203.0.113.9", 403)


def test_what_a_batch_may_not_do_is_in_the_audit_log_over_rest_and_sockets(
    dashboard: Dashboard, admin_key: str
) -> None:
    _, key = make_key(dashboard, admin_key, "report", "read", name="batcher")
    said = {"operations": [{"op": "create", "title": "Fine"}, {"op": "pause", "mission_id": "x"}, {"op": "what"}]}
    assert ask(dashboard, "POST", "/api/missions/batch", key, json=said).status_code == 200
    client = connect(dashboard, {"Authorization": f"Bearer {key}"})
    client.call("mission_report", said, timeout=5)
    client.disconnect()

    def actions() -> set[str]:
        return {line["action"] for line in dashboard.get("/api/audit?actor=batcher&refused=true")["entries"]}

    assert wait_for(lambda: actions() if len(actions()) > 1 else None, 5) == {
        "POST /api/missions/batch (pause)",
        "SOCKET mission_report (pause)",
    }


def test_what_a_person_reports_over_a_socket_is_in_the_audit_log(dashboard: Dashboard, admin_key: str) -> None:
    _, key = make_key(dashboard, admin_key, "operate", name="Olga")
    cookie = log_in(dashboard, key).cookies["mission_dashboard_session"]
    client = connect(dashboard, {"Cookie": f"mission_dashboard_session={cookie}"})

    client.call("mission_report", {"operations": [{"op": "create", "title": "By Olga"}]}, timeout=5)

    client.disconnect()
    (line,) = dashboard.get("/api/audit?action=SOCKET&actor=Olga")["entries"]
    assert (line["action"], line["kind"], line["status"]) == ("SOCKET mission_report (1 operations)", "person", 200)


@pytest.mark.parametrize("where", ["polling", "polling&j=0", "websocket"])
def test_a_page_of_another_site_opens_no_socket_on_this_machine(dashboard: Dashboard, where: str) -> None:
    """A script element sends no Origin, and asked with ``j`` the answer is a script that it may read."""
    address = f"{dashboard.url}/socket.io/?EIO=4&transport={where}"

    assert requests.get(address, headers={"Sec-Fetch-Site": "cross-site"}, timeout=5).status_code == 403
    assert requests.get(address, headers={"Sec-Fetch-Site": "same-site"}, timeout=5).status_code == 403


# Proxies.


def test_only_the_proxies_of_the_settings_are_believed(data_dir: Path) -> None:
    running = Dashboard(data_dir, MISSION_DASHBOARD_TRUSTED_PROXIES="10.9.9.9").start()
    try:
        answer = requests.get(
            f"{running.url}/api/session",
            headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"},
            timeout=10,
        )
        assert answer.json()["session"]["kind"] == "nobody"
        key = "mdk_" + (data_dir / "admin_key").read_text().strip()
        requests.get(
            f"{running.url}/api/keys",
            headers={"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer mdk_no"},
            timeout=10,
        )

        def refused() -> list[dict[str, Any]]:
            said = requests.get(
                f"{running.url}/api/audit?action=GET /api/keys", headers={"Authorization": f"Bearer {key}"}, timeout=10
            )
            return list(said.json()["entries"])

        wait_for(refused, 5)
        assert refused()[0]["address"] == "127.0.0.1"
    finally:
        running.stop()


def test_a_name_put_before_that_of_the_proxy_is_not_believed(dashboard: Dashboard, admin_key: str) -> None:
    def leads_home(host: str, proto: str, **more: str) -> bool:
        said = {"X-Forwarded-For": "198.51.100.70", "X-Forwarded-Host": host, "X-Forwarded-Proto": proto, **more}
        said["Origin"] = "https://ops.example"
        answer = ask(dashboard, "POST", "/login", data={"key": admin_key}, headers=said)
        return answer.status_code == 303 and "Secure" in answer.headers["Set-Cookie"]

    assert leads_home("ops.example", "https")
    assert leads_home("evil.example, ops.example", "http, https")
    assert not leads_home("ops.example, evil.example", "https")
    two_proxies = {"X-Forwarded-For": "198.51.100.70, 127.0.0.1"}
    assert leads_home("ops.example, inner", "https, http", **two_proxies)
    assert leads_home("evil.example, ops.example, inner", "http, https, http", **two_proxies)


def test_an_address_put_before_those_of_the_proxies_is_not_believed(dashboard: Dashboard, admin_key: str) -> None:
    said = {"X-Forwarded-For": "1.2.3.4, 198.51.100.99, 127.0.0.1", "Authorization": "Bearer mdk_chain"}
    requests.get(f"{dashboard.url}/api/missions", headers=said, timeout=10)

    def addresses() -> set[str]:
        entries = ask(dashboard, "GET", "/api/audit?refused=true", admin_key).json()["entries"]
        return {entry["address"] for entry in entries}

    wait_for(lambda: "198.51.100.99" in addresses(), 5)
    assert "1.2.3.4" not in addresses()


# The audit log.


def test_no_page_may_be_framed(dashboard: Dashboard, admin_key: str) -> None:
    for path in ("/", "/login", "/access", "/api/docs"):
        answer = ask(dashboard, "GET", path, admin_key)
        assert answer.status_code == 200, path
        assert answer.headers["X-Frame-Options"] == "DENY", path
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path


def test_the_audit_log_tells_who_changed_what_from_where(dashboard: Dashboard, admin_key: str) -> None:
    _, key = make_key(dashboard, admin_key, "operate")
    mission = dashboard.create_running("Audited")
    ask(dashboard, "POST", f"/api/missions/{mission}/pause", key, json={})
    ask(dashboard, "GET", "/api/keys", key)
    browser = log_in(dashboard, key)
    browser.post(f"{dashboard.url}/api/missions/{mission}/cancel", json={}, timeout=10)

    def entries(query: str) -> list[dict[str, Any]]:
        return list(ask(dashboard, "GET", f"/api/audit?{query}", admin_key).json()["entries"])

    (paused,) = entries(f"action=POST /api/missions/{mission}/pause")
    assert (paused["actor"], paused["address"], paused["status"], paused["kind"]) == (
        "operate",
        "203.0.113.9",
        200,
        "key",
    )
    (cancelled,) = entries(f"action=POST /api/missions/{mission}/cancel")
    assert cancelled["kind"] == "person"
    assert entries("action=POST /login")[0]["actor"] == "operate"
    wait_for(lambda: entries("action=GET /api/keys&refused=true&actor=operate"), 5)
    assert "'operate', operate" in entries("action=POST /api/keys")[0]["action"]


def test_a_logout_of_who_is_not_logged_in_is_no_line_of_the_audit_log(dashboard: Dashboard, admin_key: str) -> None:
    _, key = make_key(dashboard, admin_key, "report", name="never logged in")
    for known in (None, key):
        assert ask(dashboard, "POST", "/logout", known, headers={"X-Forwarded-For": "203.0.113.44"}).status_code == 303
    _, reader = make_key(dashboard, admin_key, "read", name="Rita")
    log_in(dashboard, reader).post(f"{dashboard.url}/logout", timeout=10)

    entries = ask(dashboard, "GET", "/api/audit?action=POST /logout", admin_key).json()["entries"]

    assert entries[0]["actor"] == "Rita"
    assert "203.0.113.44" not in {entry["address"] for entry in entries}


def test_nothing_that_callers_named_makes_a_line_or_a_header_of_its_own(dashboard: Dashboard, admin_key: str) -> None:
    ask(dashboard, "GET", "/api/keys/a%0aGET%20/forged%1b[2J", "mdk_wrong")
    answer = ask(dashboard, "GET", "/api/session", headers={"X-Request-ID": "a%0d%0aSet-Cookie: b"})

    def told() -> list[str]:
        entries = ask(dashboard, "GET", "/api/audit?refused=true", admin_key).json()["entries"]
        return [entry["action"] for entry in entries if "forged" in entry["action"]]

    assert wait_for(told, 5) == ["GET /api/keys/a?GET /forged?[2J"]
    assert ":" not in answer.headers["X-Request-ID"]
    assert "Set-Cookie" not in answer.headers


def test_a_mission_remembers_whose_key_reported_what(dashboard: Dashboard, admin_key: str) -> None:
    _, key = make_key(dashboard, admin_key, "report", name="nightly agents")
    mission = ask(dashboard, "POST", "/api/missions", key, json={"title": "Reported"}).json()["mission_id"]
    ask(dashboard, "POST", f"/api/missions/{mission}/start", key, json={})
    _, other = make_key(dashboard, admin_key, "read", "report", name="by socket")
    client = connect(dashboard, {"Authorization": f"Bearer {other}"})
    said = {"operations": [{"op": "progress", "mission_id": mission, "progress": 5}]}
    client.call("mission_report", said, timeout=5)
    client.disconnect()
    dashboard.post(f"/api/missions/{mission}/complete")

    events = dashboard.get(f"/api/missions/{mission}/events")["events"]

    assert [(event["actor"], event["address"]) for event in events] == [
        ("nightly agents", "203.0.113.9"),
        ("nightly agents", "203.0.113.9"),
        ("by socket", "203.0.113.9"),
        (None, None),
    ]


def test_a_flood_beyond_the_limit_is_one_line_a_minute_for_each_key_and_address(dsn: str, data_dir: Path) -> None:
    running = Dashboard(
        data_dir,
        POSTGRES_DSN=dsn,
        MISSION_DASHBOARD_RATE_LIMIT="500 per minute",
        MISSION_DASHBOARD_REPORT_LIMIT="3 per minute",
        MISSION_DASHBOARD_KEY_REPORT_LIMIT="5 per minute",
        MISSION_DASHBOARD_TRUSTED_PROXIES="127.0.0.1",
    ).start()
    try:
        admin = "mdk_" + (data_dir / "admin_key").read_text().strip()
        _, key = make_key(running, admin, "report", "read", name="agents")
        client = connect(running, {"Authorization": f"Bearer {key}"})
        for number in range(20):
            ask(running, "POST", f"/api/missions/m{number}/heartbeat", key, json={})
            ask(running, "GET", f"/ping/nightly{number}/start", key)
            requests.post(f"{running.url}/api/missions/m{number}/progress", json={"progress": 1}, timeout=10)
        refused = client.call("mission_report", {"operations": [{"op": "create", "title": "x"}]}, timeout=10)
        client.disconnect()
    finally:
        running.stop()

    assert refused["problem"]["status"] == 429
    lines = run_sql(dsn, "SELECT actor, address, action, count FROM audit_log WHERE status = 429 ORDER BY actor")
    note = "(over the rate limit; the first of its minute)"
    assert lines == [
        ("agents", "203.0.113.9", f"GET /ping/nightly2/start {note}", 36),
        ("this machine", "127.0.0.1", f"POST /api/missions/m3/progress {note}", 17),
    ]


def test_what_is_counted_is_written_when_its_minute_is_over(dsn: str, clock: FrozenClock) -> None:
    store = PostgresAccessStore(dsn)
    audit = Audit(store, clock)
    audit.open()
    try:
        audit.limited(NOBODY, "203.0.113.9", "r1", "POST /api/missions/a/heartbeat")
        clock.advance(59)
        audit.limited(NOBODY, "203.0.113.9", "r2", "POST /api/missions/b/heartbeat")
        audit.refused(NOBODY, "203.0.113.9", "r3", "GET /api/keys", 401)
        wait_for(lambda: audit.read(Wanted(action="GET /api/keys")), 5)
        assert audit.read(Wanted(action="POST")) == []

        clock.advance(1)

        (line,) = wait_for(lambda: audit.read(Wanted(action="POST")), 5)
        assert (line.count, line.request_id, line.status) == (2, "r1", 429)
    finally:
        audit.close()
        store.close()


def test_what_was_refused_while_the_database_was_away_is_written_once_it_is_back(dsn: str, clock: FrozenClock) -> None:
    class Away(PostgresAccessStore):
        tries = 0

        def add_entries(self, entries: Sequence[Entry]) -> None:
            self.tries += 1
            if self.tries < 3:
                raise StoreUnavailable("The database does not answer.")
            super().add_entries(entries)

    store = Away(dsn)
    audit = Audit(store, clock)
    audit.open()

    audit.refused(NOBODY, "203.0.113.9", "r1", "GET /api/keys", 401)
    wait_for(lambda: store.tries, 5)
    audit.refused(NOBODY, "203.0.113.9", "r2", "GET /api/audit", 401)

    lines = wait_for(lambda: audit.read(Wanted(limit=10)), 5)
    audit.close()
    store.close()
    assert [line.action for line in lines] == ["GET /api/audit", "GET /api/keys"]


def test_the_addresses_of_one_network_are_counted_in_one_line(dsn: str, clock: FrozenClock) -> None:
    store = PostgresAccessStore(dsn)
    audit = Audit(store, clock)
    for number in range(300):
        audit.limited(NOBODY, f"2001:db8::{number:x}", "r", "POST /api/missions/a/heartbeat")
        audit.refused(NOBODY, f"2001:db8:0:1::{number:x}", "r", "GET /api/keys", 401)
    audit.close()

    counts = [line.count for line in audit.read(Wanted(limit=1000))]

    store.close()
    assert sorted(counts)[-2:] == [300 - LINES_PER_MINUTE, 300]
    assert counts.count(1) == LINES_PER_MINUTE == len(counts) - 2


def test_refusals_at_ever_new_addresses_are_told_one_by_one_only_up_to_a_number(dsn: str, clock: FrozenClock) -> None:
    store = PostgresAccessStore(dsn)
    audit = Audit(store, clock)
    for number in range(5000):
        audit.refused(NOBODY, "203.0.113.9", "r", f"GET /api/{number}", 401)
    audit.refused(NOBODY, "203.0.113.10", "r", "GET /api/keys", 401)
    audit.close()

    lines = audit.read(Wanted(limit=1000))

    store.close()
    assert len(lines) == LINES_PER_MINUTE + 2
    assert sum(line.count for line in lines) == 5001
    (counted,) = [line for line in lines if "the first of its minute" in line.action]
    assert counted.action.startswith(f"GET /api/{LINES_PER_MINUTE} (refused")


def test_the_audit_log_is_append_only(dsn: str) -> None:
    store = PostgresAccessStore(dsn)
    access = Access(store, None, timedelta(hours=1), FrozenClock())
    run_sql(
        dsn,
        "INSERT INTO audit_log (at, actor, kind, address, request_id, action, status, count) "
        "VALUES (now(), 'a', 'key', 'b', 'c', 'd', 200, 1)",
    )

    for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(psycopg2.errors.RaiseException, match="append-only"):
            run_sql(dsn, statement)
    access.close()
    store.close()


def test_the_audit_log_is_exported_without_formulas(dashboard: Dashboard, admin_key: str) -> None:
    make_key(dashboard, admin_key, "read", name="=HYPERLINK(1)")
    _, formula = make_key(dashboard, admin_key, "read", name="=cmd|'/c calc'!A0")
    ask(dashboard, "GET", "/api/keys", formula)

    def exported() -> list[dict[str, str]]:
        text = ask(dashboard, "GET", "/api/audit/export?format=csv", admin_key).text
        return [row for row in csv.DictReader(io.StringIO(text)) if "cmd|" in row["actor"]]

    wait_for(exported, 5)
    assert exported()[0]["actor"].startswith("'=cmd")
    lines = ask(dashboard, "GET", "/api/audit/export", admin_key).text.splitlines()
    told = {str(entry["id"]): entry["actor"] for entry in map(json.loads, lines)}
    assert told[exported()[0]["id"]] == "=cmd|'/c calc'!A0"


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\u200b=1", "＝1", "＋1", "＠S"]
)
def test_no_cell_of_an_export_begins_a_formula(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


# The rules themselves.


def test_an_address_that_nobody_thought_of_needs_more_than_reading() -> None:
    assert needed("POST", "/api/something/new") == {Scope.OPERATE}
    assert needed("GET", "/something/new") == {Scope.READ}
    assert needed("DELETE", "/api/missions/x") == {Scope.OPERATE}
    assert needed("POST", "/api/keys/../missions") == {Scope.ADMIN}


def test_a_session_ends_with_the_key_it_was_opened_with_in_every_process(dsn: str) -> None:
    clock = FrozenClock()
    first_store, second_store = PostgresAccessStore(dsn), PostgresAccessStore(dsn)
    clock.now = clock.now.replace(year=2099)
    first, second = (Access(store, None, timedelta(hours=12), clock) for store in (first_store, second_store))
    for access in (first, second):
        access.open()
    key, secret = first.create_key("k", [Scope.READ], None, "test")
    wait_for(lambda: second.by_secret(secret, "-"), 3)
    _, cookie = second.log_in(secret, "192.0.2.1")
    person = wait_for(lambda: first.by_secret(cookie, "-"), 3)
    assert person.kind is Kind.PERSON

    second.revoke_key(key.id)

    assert second.by_secret(cookie, "-") is None
    began = time.monotonic()
    wait_for(lambda: first.by_secret(cookie, "-") is None and not first.is_good(person), 3)
    assert time.monotonic() - began < 1.0
    with pytest.raises(LoginRefused):
        first.log_in(secret, "192.0.2.1")
    for access, store in ((first, first_store), (second, second_store)):
        access.close()
        store.close()


def test_a_secret_made_by_another_process_is_good_at_once(dsn: str) -> None:
    clock = FrozenClock()
    clock.now = clock.now.replace(year=2099)
    stores = [PostgresAccessStore(dsn) for _ in range(2)]
    first, second = (Access(store, None, timedelta(hours=12), clock) for store in stores)
    for access in (first, second):
        access.open()
    for _ in range(20):
        key, secret = first.create_key("k", [Scope.READ], None, "test")
        caller = second.by_secret(secret, "-")
        assert caller
        assert caller.id == f"key:{key.id}"
        _, cookie = second.log_in(secret, "192.0.2.1")
        person = first.by_secret(cookie, "-")
        assert person
        assert person.kind is Kind.PERSON
    for access in (first, second):
        access.close()
    for store in stores:
        store.close()


class _CountedStore(PostgresAccessStore):
    looks = 0
    is_away = False

    def access_version(self) -> int:
        self.looks += 1
        if self.is_away:
            raise StoreUnavailable("away")
        return super().access_version()


def test_who_guesses_keys_does_not_keep_the_database_busy(dsn: str) -> None:
    store = _CountedStore(dsn)
    access = Access(store, None, timedelta(hours=12), FrozenClock())
    access.open()
    began, before = time.monotonic(), store.looks
    found: list[object] = []

    def guess() -> None:
        while time.monotonic() < began + 1.0:
            found.append(access.by_secret(new_secret(), "-"))

    guessing = [threading.Thread(target=guess) for _ in range(8)]
    for thread in guessing:
        thread.start()
    for thread in guessing:
        thread.join()
    assert len(found) > 20
    assert not any(found)
    assert store.looks - before <= 30
    before = store.looks
    access.by_secret("what has not the form of a key", "-")
    assert store.looks - before <= 1, "but for the look that is due anyway"
    access.close()
    store.close()


def test_a_key_that_cannot_be_looked_up_is_not_called_wrong(dsn: str) -> None:
    store = _CountedStore(dsn)
    access = Access(store, "a" * 40, timedelta(hours=12), FrozenClock())
    access.open()
    store.is_away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            access.by_secret(new_secret(), "-")
    assert access.by_secret("a" * 40, "-"), "what is known is known"
    store.is_away = False
    wait_for(lambda: _is_unknown(access), 3)
    access.close()
    store.close()


def _is_unknown(access: Access) -> bool:
    try:
        return access.by_secret(new_secret(), "-") is None
    except StoreUnavailable:
        return False


def test_sessions_end_with_the_settings_that_let_them_in(dsn: str) -> None:
    clock = FrozenClock()
    clock.now = clock.now.replace(year=2099)
    store = PostgresAccessStore(dsn)

    def started(admin_key: str, people: str) -> Access:
        access = Access(store, admin_key, timedelta(hours=12), clock, people)
        access.open()
        return access

    before = started("a-key-that-leaked-some-time-ago-0", "admin=groups:ops")
    _, by_key = before.log_in("a-key-that-leaked-some-time-ago-0", "-")
    _, by_provider = before.log_in_person("oidc:ann", "ann", Role.ADMIN, "-")
    again = started("a-key-that-leaked-some-time-ago-0", "admin=groups:ops")
    assert again.by_secret(by_key, "-")
    assert again.by_secret(by_provider, "-")

    other_key = started("another-key-that-nobody-knows-yet", "admin=groups:ops")
    other_roles = started("a-key-that-leaked-some-time-ago-0", "viewer=groups:ops")

    assert other_key.by_secret(by_key, "-") is None
    assert [session.subject for session in other_key.sessions()] == ["oidc:ann"]
    assert other_roles.by_secret(by_provider, "-") is None
    for access in (before, again, other_key, other_roles):
        access.close()
    store.close()


def test_a_session_is_over_after_its_hours(dsn: str) -> None:
    clock = FrozenClock()
    clock.now = clock.now.replace(year=2099)
    store = PostgresAccessStore(dsn)
    access = Access(store, "a-key-of-the-settings-of-length", timedelta(hours=12), clock)
    access.open()
    _, cookie = access.log_in("a-key-of-the-settings-of-length", "192.0.2.1")
    assert access.by_secret(cookie, "-")

    clock.advance(12 * 3600 + 1)

    assert access.by_secret(cookie, "-") is None
    access.close()
    store.close()


def test_a_login_too_many_ends_the_oldest_of_the_same_person(dsn: str) -> None:
    clock = FrozenClock()
    clock.now = clock.now.replace(year=2099)
    store = PostgresAccessStore(dsn)
    access = Access(store, None, timedelta(hours=12), clock, "viewer=*")
    access.open()

    def log_in(subject: str) -> str:
        clock.advance(1)
        return access.log_in_person(subject, subject, Role.VIEWER, "-")[1]

    other = log_in("oidc:bob")
    cookies = [log_in("oidc:ann") for _ in range(MAX_SESSIONS + 1)]

    good = [access.by_secret(cookie, "-") is not None for cookie in cookies]
    assert good == [False] + [True] * MAX_SESSIONS
    assert access.by_secret(other, "-")
    access.close()
    store.close()


# Production.


def start_production(dsn: str, data_dir: Path, **settings: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "ENVIRONMENT": "production",
        "MISSION_DASHBOARD_PORT": str(free_port()),
        "POSTGRES_DSN": dsn,
        "MISSION_DASHBOARD_SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "MISSION_DASHBOARD_DATA_DIR": str(data_dir),
        "MISSION_DASHBOARD_LOG_DIR": str(data_dir / "logs"),
        **settings,
    }
    return subprocess.Popen(
        [sys.executable, str(ROOT / "src/mission_dashboard/mission_dashboard.py")],
        env=environment,
        cwd=data_dir,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "MISSION_DASHBOARD_ADMIN_KEY"),
        ({"MISSION_DASHBOARD_ADMIN_KEY": "short"}, "MISSION_DASHBOARD_ADMIN_KEY"),
        ({"MISSION_DASHBOARD_SECRET_KEY": "changeme"}, "MISSION_DASHBOARD_SECRET_KEY"),
        ({"MISSION_DASHBOARD_SECRET_KEY": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, "MISSION_DASHBOARD_SECRET_KEY"),
        ({"POSTGRES_DSN": "postgresql://ai_user:ai_password@localhost:5432/ai_agency"}, "sample password"),
        ({"POSTGRES_DSN": "postgresql://ai_user:ai%5Fpassword@localhost:5432/ai_agency"}, "sample password"),
        ({"MISSION_DASHBOARD_OIDC_ISSUER": "https://id.example"}, "MISSION_DASHBOARD_OIDC_CLIENT_ID"),
    ],
)
def test_production_does_not_start_open(dsn: str, data_dir: Path, settings: dict[str, str], says: str) -> None:
    process = start_production(dsn, data_dir, **settings)
    try:
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()

    assert process.returncode == 1
    assert says in output
    assert "Traceback" not in output


@pytest.mark.parametrize("where", ["PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "the DSN, escaped"])
def test_production_does_not_start_with_the_sample_password_wherever_it_is_set(
    dsn: str, data_dir: Path, where: str
) -> None:
    parts = {name: value for name, value in parse_dsn(dsn).items() if name != "password"}
    kept, settings = data_dir / "kept", {where: "ai_password"}
    if where == "PGPASSFILE":
        kept.write_text("*:*:*:*:ai_password\n")
        settings = {where: str(kept)}
    elif where == "PGSERVICEFILE":
        kept.write_text("[missions]\npassword=ai_password\n")
        parts, settings = {**parts, "service": "missions"}, {where: str(kept)}
    elif where == "the DSN, escaped":
        settings = {}
    kept.touch()
    kept.chmod(0o600)
    bare = make_dsn(**parts) + (" password=ai\\_password" if not settings else "")

    process = start_production(bare, data_dir, **settings)
    try:
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()

    assert process.returncode == 1
    assert "the sample password 'ai_password', which comes from" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("is_on_the_path", "says"), [(False, "./mission-dashboard keys"), (True, "mission-dashboard keys")]
)
def test_a_clone_tells_how_the_command_is_called_there(
    dsn: str, data_dir: Path, is_on_the_path: bool, says: str
) -> None:
    (data_dir / "mission-dashboard").symlink_to(ROOT / "mission-dashboard")
    path = os.pathsep.join([*([str(data_dir)] if is_on_the_path else []), "/usr/bin", "/bin"])
    port = str(free_port())
    told = {"MISSION_DASHBOARD_HOST": "127.0.0.2", "MISSION_DASHBOARD_PORT": port, "PATH": path}
    server = start_production(dsn, data_dir, ENVIRONMENT="development", **told)
    try:
        assert server.stdout is not None
        line = next(line for line in server.stdout if "get keys of their own" in line)
    finally:
        server.terminate()
        server.communicate(timeout=30)

    assert line.endswith(f"get keys of their own: {says}\n")


def test_the_first_start_prints_a_link_with_the_key_that_it_made(dsn: str, data_dir: Path) -> None:
    host, port = "127.0.0.2", str(free_port())
    address = {"MISSION_DASHBOARD_HOST": host, "MISSION_DASHBOARD_PORT": port}
    server = start_production(dsn, data_dir, ENVIRONMENT="development", **address)
    try:
        assert server.stdout is not None
        link = next(line.strip() for line in server.stdout if "/login" in line)
    finally:
        server.terminate()
        server.communicate(timeout=30)

    kept = data_dir / "admin_key"
    assert link == f"http://{host}:{port}/login#mdk_{kept.read_text().strip()}"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_in_production_this_machine_needs_a_key_too(dsn: str, data_dir: Path) -> None:
    running = Dashboard(
        data_dir,
        ENVIRONMENT="production",
        POSTGRES_DSN=dsn,
        MISSION_DASHBOARD_SECRET_KEY="0123456789abcdef0123456789abcdef",
        MISSION_DASHBOARD_ADMIN_KEY="an-admin-key-long-enough-to-count",
    ).start()
    try:
        assert requests.get(f"{running.url}/api/missions", timeout=10).status_code == 401
        headers = {"Authorization": "Bearer an-admin-key-long-enough-to-count"}
        assert requests.get(f"{running.url}/api/missions", headers=headers, timeout=10).status_code == 200
        answer = requests.post(
            f"{running.url}/login", data={"key": "an-admin-key-long-enough-to-count"}, allow_redirects=False, timeout=10
        )
        assert "Secure" in answer.headers["Set-Cookie"]
        assert "none is needed" not in requests.get(f"{running.url}/login", timeout=10).text
    finally:
        running.stop()
    assert not (data_dir / "admin_key").exists()


def test_the_first_key_is_made_on_the_command_line(dsn: str, data_dir: Path) -> None:
    made = subprocess.run(
        [*KEYS, "create", "first", "--scope", "admin", "--dsn", dsn, "--secret-only"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout.strip()

    address = {"MISSION_DASHBOARD_PORT": str(free_port()), "MISSION_DASHBOARD_HOST": "127.0.0.1"}
    process = start_production(dsn, data_dir, **address)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(line.split()[-1] for line in lines if "Mission Dashboard is at" in line)
        headers = {"Authorization": f"Bearer {made}"}
        (key,) = requests.get(f"{url}/api/keys", headers=headers, timeout=10).json()["keys"]
        assert key["name"] == "first"
        (line,) = requests.get(f"{url}/api/audit", headers=headers, timeout=10).json()["entries"]
        assert (line["actor"], line["action"]) == ("the command line", f"create key ('first', admin, {key['id']})")
        here = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        listed = subprocess.run([*KEYS, "list", "--dsn", dsn], env=here, capture_output=True, text=True, check=True)
        assert key["id"] in listed.stdout
        subprocess.run([*KEYS, "revoke", key["id"], "--dsn", dsn], env=here, check=True)
        assert run_sql(dsn, "SELECT action FROM audit_log ORDER BY id DESC LIMIT 1") == [(f"revoke key {key['id']}",)]
        wait_for(lambda: requests.get(f"{url}/api/keys", headers=headers, timeout=10).status_code == 401, 5)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)


def test_the_command_does_not_wait_for_ever_in_a_database_that_hangs(dsn: str) -> None:
    here = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([*KEYS, "list", "--dsn", dsn], env=here, check=True, timeout=30)
    locking = psycopg2.connect(dsn)
    locking.cursor().execute("LOCK TABLE access_keys")
    told = subprocess.run([*KEYS, "list", "--dsn", dsn], env=here, capture_output=True, text=True, timeout=20)
    locking.close()

    assert (told.returncode, told.stderr) == (
        1,
        "The database cannot be used: PostgreSQL did not answer within 1.5 s.\n",
    )


def test_the_command_makes_lists_and_revokes_keys(dashboard: Dashboard) -> None:
    def run(*arguments: str) -> str:
        return subprocess.run(
            [*KEYS, *arguments, "--url", dashboard.url],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout

    secret = run("create", "from the shell", "--scope", "read", "--days", "3", "--secret-only").strip()
    assert ask(dashboard, "GET", "/api/missions", secret).status_code == 200
    row = next(line for line in run("list").splitlines() if "from the shell" in line)
    assert "good until" in row
    run("create", "says no scope")
    assert "report" in next(line for line in run("list").splitlines() if "says no scope" in line).split()

    run("revoke", row.split()[0])

    assert ask(dashboard, "GET", "/api/missions", secret).status_code == 401
    assert "revoked" in next(line for line in run("list").splitlines() if "from the shell" in line)


# Where requests end.


@pytest.fixture(scope="module", params=["eventlet", "threading"])
def framed(request: pytest.FixtureRequest) -> Iterator[Dashboard]:
    folder = Path(f"/tmp/mdframed{os.getpid()}{request.param}")
    folder.mkdir(mode=0o711)
    running = Dashboard(folder, MISSION_DASHBOARD_ASYNC_MODE=request.param).start()
    yield running
    running.stop()
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 0\r\nContent-Length: 60",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: +0",
        "Content-Length: 0_0",
        "Content-Length: 0, 60",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "X-Folded: one\r\n Content-Length: 60",
        "Host: elsewhere",
    ],
)
def test_a_request_whose_end_is_doubtful_is_refused_and_nothing_after_it_is_served(
    framed: Dashboard, headers: str
) -> None:
    hidden = "GET /api/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = plain(framed.port, f"POST /api/missions HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{hidden}")

    assert answer.startswith(("HTTP/1.1 400", "HTTP/1.0 400"))
    assert answer.count("HTTP/1.") == 1
    assert "session" not in answer


def test_nothing_that_callers_named_begins_a_line_of_the_log_or_commands_the_terminal(tmp_path: Path) -> None:
    program = (
        "import logging, pathlib, sys; from mission_dashboard.logs import set_up_logging\n"
        "set_up_logging('INFO', pathlib.Path(sys.argv[1]))\n"
        "logging.getLogger('mission_dashboard').info('%s may not', 'a\\n12:00:00 INFO fake \\x1b[2J\\x9b')"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stderr

    assert said.endswith("a?12:00:00 INFO fake ?[2J? may not [-]\n")
    assert said.count("\n") == 1
    assert len((tmp_path / "mission_dashboard.log").read_text().splitlines()) == 1
