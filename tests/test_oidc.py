"""Logging in with an identity provider: a real one on this machine, asked over HTTP as by a browser."""

from __future__ import annotations

import json
import shutil
import threading
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from dashboards import Dashboard
from folders import make_folder
from mission_dashboard.access.scopes import Role
from mission_dashboard.config import RoleRule
from mission_dashboard.web.oidc import Provider, ProviderFailed, role_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import oidc_provider_mock

ROLES = "admin=groups:ops, operator=email:ann@example.com, viewer=email:vera@example.com, viewer=groups:everybody"
PEOPLE: Mapping[str, Mapping[str, Any]] = {
    "ada": {"email": "ada@example.com", "email_verified": True, "groups": ["dev", "ops"]},
    "ann": {"email": "ann@example.com", "email_verified": True},
    "vera": {"email": "vera@example.com", "email_verified": True},
    "mallory": {"email": "ann@example.com", "email_verified": False},
    "eve": {
        "email": "ada@example.com",
        "email_verified": False,
        "preferred_username": "eve\nof the log",
        "groups": ["everybody"],
    },
    "nobody": {"email": "nobody@example.com", "email_verified": True},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The address of a provider that knows these people."""
    users = [oidc_provider_mock.User(sub=name, claims=dict(claims)) for name, claims in PEOPLE.items()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with oidc_provider_mock.run_server_in_thread(user_claims=users, require_nonce=True) as server:
            yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def dashboard(provider: str) -> Iterator[Dashboard]:
    folder = make_folder("mdoidc")
    running = Dashboard(
        folder,
        MISSION_DASHBOARD_TRUSTED_PROXIES="127.0.0.1",
        MISSION_DASHBOARD_OIDC_ISSUER=provider,
        MISSION_DASHBOARD_OIDC_CLIENT_ID="dashboard",
        MISSION_DASHBOARD_OIDC_CLIENT_SECRET="kept",
        MISSION_DASHBOARD_OIDC_ROLES=ROLES,
    ).start()
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def browser_elsewhere() -> requests.Session:
    browser = requests.Session()
    browser.headers.update({"X-Forwarded-For": "203.0.113.5", "Sec-Fetch-Site": "same-origin"})
    return browser


def come_back(browser: requests.Session, dashboard: Dashboard, person: str) -> str:
    """Go to the provider and log in there; return the address with which it sends the browser back."""
    there = browser.get(f"{dashboard.url}/auth/oidc/start?next=/?status=failed", allow_redirects=False, timeout=10)
    assert there.status_code == 303, there.text
    assert "code_challenge_method=S256" in there.headers["Location"]
    agreed = browser.post(there.headers["Location"], data={"sub": person}, allow_redirects=False, timeout=10)
    assert agreed.status_code == 302, agreed.text
    return agreed.headers["Location"]


def log_in(browser: requests.Session, dashboard: Dashboard, person: str) -> requests.Response:
    return browser.get(come_back(browser, dashboard, person), allow_redirects=False, timeout=10)


@pytest.mark.parametrize(("person", "most"), [("ada", "admin"), ("ann", "operate"), ("vera", "read")])
def test_a_person_is_what_the_provider_and_the_settings_say(dashboard: Dashboard, person: str, most: str) -> None:
    browser = browser_elsewhere()
    back = log_in(browser, dashboard, person)

    assert (back.status_code, back.headers["Location"]) == (303, "/?status=failed")
    me = browser.get(f"{dashboard.url}/api/session", timeout=10).json()["session"]
    assert (me["name"], me["kind"]) == (f"{person}@example.com", "person")
    scopes = {"read": ["read"], "operate": ["operate", "read", "report"]}
    assert me["scopes"] == scopes.get(most, ["admin", "operate", "read", "report"])
    keys = browser.get(f"{dashboard.url}/api/keys", timeout=10)
    assert (keys.status_code == 200) == (most == "admin")
    entry = dashboard.get("/api/audit?action=GET%20/auth/oidc/callback")["entries"][0]
    assert (entry["actor"], entry["address"]) == (f"{person}@example.com", "203.0.113.5")


@pytest.mark.parametrize("person", ["nobody", "mallory"])
def test_who_has_no_role_gets_no_session(dashboard: Dashboard, person: str) -> None:
    browser = browser_elsewhere()
    back = log_in(browser, dashboard, person)

    assert back.status_code == 403
    assert browser.get(f"{dashboard.url}/api/missions", timeout=10).status_code == 401


def test_an_answer_that_belongs_to_another_login_is_refused(dashboard: Dashboard) -> None:
    victim, attacker = browser_elsewhere(), browser_elsewhere()
    theirs = come_back(attacker, dashboard, "ada")

    assert victim.get(theirs, allow_redirects=False, timeout=10).status_code == 400  # no login began here
    come_back(victim, dashboard, "vera")
    assert victim.get(theirs, allow_redirects=False, timeout=10).status_code == 400  # another one did
    assert victim.get(f"{dashboard.url}/api/missions", timeout=10).status_code == 401


def test_the_same_answer_of_the_provider_works_once(dashboard: Dashboard) -> None:
    browser = browser_elsewhere()
    back = come_back(browser, dashboard, "ada")
    flow = {"Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies)}

    assert browser.get(back, allow_redirects=False, timeout=10).status_code == 303
    assert requests.get(back, headers=flow, allow_redirects=False, timeout=10).status_code == 502


def test_a_provider_that_is_away_is_told(data_dir: Path) -> None:
    running = Dashboard(
        data_dir,
        MISSION_DASHBOARD_OIDC_ISSUER="http://127.0.0.1:9",
        MISSION_DASHBOARD_OIDC_CLIENT_ID="dashboard",
        MISSION_DASHBOARD_OIDC_ROLES="viewer=*",
    ).start()
    try:
        answer = requests.get(f"{running.url}/auth/oidc/start", allow_redirects=False, timeout=20)
        assert answer.status_code == 502
        assert "does not answer" in answer.json()["detail"]
        assert "Log in with 127.0.0.1" in requests.get(f"{running.url}/login", timeout=10).text
    finally:
        running.stop()


def test_a_provider_that_calls_itself_something_else_is_not_gone_to(data_dir: Path, tmp_path: Path) -> None:
    said = tmp_path / "provider/.well-known/openid-configuration"
    said.parent.mkdir(parents=True)
    elsewhere = "https://elsewhere.example"
    said.write_text(json.dumps({"issuer": elsewhere, "authorization_endpoint": f"{elsewhere}/authorize"}))
    serve = partial(SimpleHTTPRequestHandler, directory=tmp_path / "provider")
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running = Dashboard(
            data_dir,
            MISSION_DASHBOARD_OIDC_ISSUER=f"http://127.0.0.1:{server.server_port}",
            MISSION_DASHBOARD_OIDC_CLIENT_ID="dashboard",
            MISSION_DASHBOARD_OIDC_ROLES="viewer=*",
        ).start()
        try:
            answer = requests.get(f"{running.url}/auth/oidc/start", allow_redirects=False, timeout=20)
            assert answer.status_code == 502
            assert f"calls itself '{elsewhere}'" in answer.json()["detail"]
        finally:
            running.stop()
            server.shutdown()


NO_TOKENS: Mapping[str, tuple[int, str]] = {
    "a page": (200, "<html>"),
    "a list": (200, "[1]"),
    "an odd time": (200, '{"access_token": "a", "expires_in": "soon"}'),
    "an error": (500, "{}"),
    "elsewhere": (302, ""),
}
"""What a provider answers to a code that is called so; to any other it says nothing and ends the connection."""


@pytest.fixture(scope="module")
def confused() -> Iterator[tuple[Dashboard, list[str]]]:
    """A dashboard whose provider gives no tokens, and what that provider was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            addresses = {name: f"{address}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
            self.say(200, json.dumps({"issuer": address, **addresses}))

        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            found = NO_TOKENS.get(parse_qs(asked[-1]).get("code", [""])[0])
            if found is not None:
                self.say(*found)

        def say(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    folder = make_folder("mdoidc")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running = Dashboard(
            folder,
            MISSION_DASHBOARD_OIDC_ISSUER=address,
            MISSION_DASHBOARD_OIDC_CLIENT_ID="dashboard",
            MISSION_DASHBOARD_OIDC_CLIENT_SECRET="kept",
            MISSION_DASHBOARD_OIDC_ROLES="viewer=*",
        ).start()
        yield running, asked
        running.stop()
        server.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def back_with(dashboard: Dashboard, **answer: str) -> requests.Response:
    """Begin a login and come back from the provider with an answer."""
    browser = requests.Session()
    there = browser.get(f"{dashboard.url}/auth/oidc/start", allow_redirects=False, timeout=10)
    (state,) = parse_qs(urlsplit(there.headers["Location"]).query)["state"]
    return browser.get(
        f"{dashboard.url}/auth/oidc/callback", params={"state": state, **answer}, allow_redirects=False, timeout=10
    )


@pytest.mark.parametrize("code", [*NO_TOKENS, "nothing"])
def test_a_provider_that_gives_no_token_is_told(confused: tuple[Dashboard, list[str]], code: str) -> None:
    answer = back_with(confused[0], code=code)

    assert (answer.status_code, answer.json()["title"]) == (502, "The identity provider failed")


@pytest.mark.parametrize("answer", [{"error": "access_denied"}, {}, {"code": ""}])
def test_who_comes_back_without_a_code_is_not_let_in_and_the_provider_is_not_asked(
    confused: tuple[Dashboard, list[str]], answer: dict[str, str]
) -> None:
    dashboard, asked = confused
    before = len(asked)

    assert back_with(dashboard, **answer).status_code == 400

    assert len(asked) == before


def test_over_https_a_login_that_a_neighbouring_domain_began_ends_nowhere(dashboard: Dashboard) -> None:
    attacker = browser_elsewhere()
    attacker.headers["X-Forwarded-Proto"] = "https"
    attacker.headers["X-Forwarded-Host"] = "dashboard.example"
    there = attacker.get(f"{dashboard.url}/auth/oidc/start", allow_redirects=False, timeout=10)
    name, _, sealed = there.headers["Set-Cookie"].partition(";")[0].partition("=")
    agreed = requests.post(there.headers["Location"], data={"sub": "ann"}, allow_redirects=False, timeout=10)
    back = f"{dashboard.url}/auth/oidc/callback?{urlsplit(agreed.headers['Location']).query}"

    def come_with(cookie: str) -> int:
        answer = attacker.get(back, headers={"Cookie": f"{cookie}={sealed}"}, allow_redirects=False, timeout=10)
        return answer.status_code

    assert name == "__Host-mission_dashboard_oidc"
    attacker.cookies.clear()
    assert come_with("mission_dashboard_oidc") == 400
    assert come_with(name) == 303


def test_a_token_that_somebody_else_signed_is_not_believed(provider: str) -> None:
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    ours = Provider(provider, "dashboard", "kept")
    forged = RSAKey.generate_key(2048, parameters={"kid": "1"})
    claims = {"iss": provider, "aud": "dashboard", "sub": "ada", "nonce": "n", "exp": 4_000_000_000}
    for header in ({"alg": "RS256", "kid": "1"}, {"alg": "RS256"}):
        with pytest.raises(ProviderFailed, match="cannot be believed"):
            ours._person(jwt.encode(header, claims, forged), "n")
    for nothing in ("", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."):
        with pytest.raises(ProviderFailed, match="cannot be believed"):
            ours._person(nothing, "n")


@pytest.mark.parametrize("claim", ["nonce", "aud", "iss", "exp"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_token_for_another_login_client_or_time_is_not_believed(
    provider: str, monkeypatch: pytest.MonkeyPatch, claim: str, is_there: bool
) -> None:
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    ours = Provider(provider, "dashboard", "kept")
    key = RSAKey.generate_key(2048, parameters={"kid": "1"})
    right = {"iss": ours._known("issuer"), "aud": "dashboard", "sub": "ada", "nonce": "n", "exp": 4_000_000_000}
    wrong = {**right, claim: 1_000 if claim == "exp" else "another"}
    if not is_there:
        del wrong[claim]
    monkeypatch.setattr(ours, "_fetch", lambda _: {"keys": [key.as_dict(private=False)]})

    def person(claims: dict[str, Any]) -> str:
        return ours._person(jwt.encode({"alg": "RS256", "kid": "1"}, claims, key), "n").subject

    assert person(right) == "oidc:ada"
    with pytest.raises(ProviderFailed, match="cannot be believed"):
        person(wrong)


def test_the_first_rule_that_fits_gives_the_role() -> None:
    rules = (RoleRule("admin", "groups", "ops"), RoleRule("operator", "email", "a@x"), RoleRule("viewer", "", "*"))

    assert role_of({"groups": ["ops"], "email": "a@x"}, rules) is Role.ADMIN
    assert role_of({"groups": "ops"}, rules) is Role.ADMIN
    assert role_of({"groups": "devops", "email": "a@x"}, rules) is Role.OPERATOR
    assert role_of({"email": "a@x", "email_verified": False}, rules) is Role.VIEWER
    assert role_of({"email": "a@x", "email_verified": "false"}, rules) is Role.VIEWER
    assert role_of({"email": "a@x", "email_verified": "true"}, rules) is Role.OPERATOR
    assert role_of({"email": "b@x"}, rules[:2]) is None


def test_nobody_is_called_after_an_address_that_anybody_could_have_typed(dashboard: Dashboard) -> None:
    browser = browser_elsewhere()
    log_in(browser, dashboard, "eve")

    me = browser.get(f"{dashboard.url}/api/session", timeout=10).json()["session"]
    assert (me["name"], me["kind"]) == ("eve?of the log", "person")


def test_the_provider_is_not_asked_without_end_by_who_is_not_logged_in(provider: str, data_dir: Path) -> None:
    running = Dashboard(
        data_dir,
        MISSION_DASHBOARD_OIDC_ISSUER=provider,
        MISSION_DASHBOARD_OIDC_CLIENT_ID="dashboard",
        MISSION_DASHBOARD_OIDC_ROLES=ROLES,
        MISSION_DASHBOARD_RATE_LIMIT="3 per minute",
    ).start()
    try:
        answers = [
            requests.get(f"{running.url}/auth/oidc/start", allow_redirects=False, timeout=10).status_code
            for _ in range(5)
        ]
        assert answers == [303, 303, 303, 429, 429]
    finally:
        running.stop()
