"""With STATIC_URL set, every file of the page comes from another server, and the page works as before."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import expect, sync_playwright

from dashboards import ROOT, Dashboard
from mission_dashboard.config import Settings
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from test_browser import CHROMIUM, HOW_TO_GET_IT, WIDE

CDN = "https://cdn.example.com:8443/dashboard"
HASHED = re.compile(r"^/static/[0-9a-f]{12}/")


def make_app(settings: Settings, tracker: MissionTracker, static_url: str) -> Flask:
    return create_app(replace(settings, static_url=static_url), tracker)[0]


@pytest.mark.parametrize("path", ["/", "/api/docs"])
def test_addresses_and_policy_name_the_other_server_and_nothing_else(
    tracker: MissionTracker, settings: Settings, path: str
) -> None:
    here = make_app(settings, tracker, "").test_client().get(path)
    page = make_app(settings, tracker, CDN).test_client().get(path)

    assert page.text == here.text.replace('"/static/', f'"{CDN}/static/')
    assert page.text.count(CDN) > 0
    policy = dict(rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; "))
    assert policy["script-src"] == policy["style-src"] == policy["font-src"] == "https://cdn.example.com:8443"
    assert policy["img-src"] == "https://cdn.example.com:8443 data:"
    assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")


def test_a_cdn_may_pass_our_own_files_on_with_their_headers(tracker: MissionTracker, settings: Settings) -> None:
    def headers(static_url: str) -> dict[str, str]:
        client = make_app(settings, tracker, static_url).test_client()
        address = re.search(r'/static/[^"]+main\.js', client.get("/").text)
        assert address is not None
        return dict(client.get(address[0]).headers)

    assert headers(CDN)["Access-Control-Allow-Origin"] == "*"
    assert "immutable" in headers(CDN)["Cache-Control"]
    assert "Access-Control-Allow-Origin" not in headers("")


class Cdn(SimpleHTTPRequestHandler):
    """Serves the static folder under its hashed path, with the header that modules and fonts need."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args, directory=str(ROOT / "static"))  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        """Find a file at its hashed address; everything else is missing."""
        return super().translate_path(HASHED.sub("/", path)) if HASHED.match(path) else str(ROOT / "nothing")

    def end_headers(self) -> None:
        """Let pages of other origins load it."""
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def cdn() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cdn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None and os.environ.get("CI") != "true", reason=HOW_TO_GET_IT)
def test_the_page_works_with_its_files_from_another_server(cdn: str, data_dir: Path, dsn: str) -> None:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn, STATIC_URL=cdn).start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport=WIDE)
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
            loaded: list[str] = []
            page.on("request", lambda sent: loaded.append(sent.url))

            page.goto(dashboard.url)
            expect(page.locator(".live-state")).to_have_attribute("data-phase", "live")
            dashboard.create_running("Seen from afar")
            expect(page.locator(".mission-card")).to_contain_text("Seen from afar")
            page.locator(".mission-card__open").click()
            expect(page.locator(".drawer")).to_contain_text("Seen from afar")
            fonts = page.evaluate("document.fonts.ready.then(() => [...document.fonts].map((font) => font.status))")
            browser.close()
    finally:
        dashboard.stop()

    assert "loaded" in fonts and "error" not in fonts
    assert complaints == []
    assert [url for url in loaded if "/static/" in url and not url.startswith(f"{cdn}/static/")] == []
    for kind in (".js", ".css", ".woff2"):
        assert any(url.startswith(cdn) and url.endswith(kind) for url in loaded)
