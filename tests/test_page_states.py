"""The page when things are not as they should be: hostile text, odd answers, refusals, wrong clocks; its weight."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from dashboards import Dashboard
from test_browser import WIDE, browser, page, pytestmark

__all__ = ["browser", "page", "pytestmark"]

SLOW_MS = 15_000
MAX_WEIGHT_BYTES = 200_000
EVIL = "<img src=x onerror=window.hacked=1><script>window.hacked=2</script>\u202eevil 🚀 "
LIST = re.compile(r"/api/missions\?")


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


def _open(page: Page, dashboard: Dashboard, path: str = "/") -> None:
    page.goto(dashboard.url + path)
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live", timeout=SLOW_MS)


def _answer(route: Route, status: int, body: str, **headers: str) -> None:
    route.fulfill(status=status, body=body, headers={"Content-Type": "application/json", **headers})


def _hostile(dashboard: Dashboard) -> str:
    """Make a mission that says something evil in every field there is."""
    mission_id = dashboard.create(
        EVIL + "title",
        description=EVIL + "description",
        metadata={"type": EVIL + "type", EVIL + "key": {"deep": [EVIL + "value", "w" * 500]}},
    )
    path = f"/api/missions/{mission_id}"
    dashboard.post(f"{path}/start", agent_type=EVIL + "agent", model_used=EVIL + "model")
    dashboard.post(f"{path}/progress", progress=40, step=EVIL + "step", usage={EVIL + "priced": {"input_tokens": 5}})
    dashboard.post(f"{path}/logs", lines=[{"message": EVIL + "line"}])
    span = {"id": "s1", "name": EVIL + "span", "kind": "llm", "started_at": "2026-01-01T00:00:00Z"}
    dashboard.post(f"{path}/spans", spans=[{**span, "error": EVIL + "fault", "attributes": {EVIL: EVIL}}])
    dashboard.create(EVIL + "part", parent_id=mission_id)
    dashboard.post(f"{path}/fail", error_message=EVIL + "error", result={EVIL + "result": [EVIL]})
    return mission_id


def test_hostile_text_in_every_field_shows_as_itself_and_runs_nothing(page: Page, dashboard: Dashboard) -> None:
    mission_id = _hostile(dashboard)
    page.add_init_script(
        "window.violations = [];"
        "document.addEventListener('securitypolicyviolation', (event) => violations.push(event.blockedURI))"
    )
    shown = {
        "overview": ("title", "error", "agent", "model"),
        "timeline": ("step",),
        "spans": ("span",),
        "logs": ("line",),
        "result": ("result",),
        "sub": ("part",),
    }

    for view in ("cards", "table", "timeline"):
        _open(page, dashboard, f"/?view={view}")
        expect(page.locator(".mission-list__items")).to_contain_text(f"{EVIL}title", timeout=SLOW_MS)
    for tab, words in shown.items():
        _open(page, dashboard, f"/?mission={mission_id}&tab={tab}")
        for word in words:
            expect(page.locator(".drawer")).to_contain_text(f"{EVIL}{word}", timeout=SLOW_MS)
        assert page.locator(".drawer img, .drawer script, .mission-list img, .mission-list script").count() == 0
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("window.violations") == []


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, "{not json", "cannot be read"),
        (500, "<h1>oops</h1>", "The server answered 500"),
        (429, json.dumps({"detail": "Too many requests from this address."}), "Too many requests"),
        (401, json.dumps({"detail": "A key is needed."}), "You may not see these missions"),
        (403, json.dumps({"detail": "Your key may not read."}), "Your key may not read."),
    ],
)
def test_a_list_that_cannot_be_had_is_told_and_asked_for_again(
    page: Page, dashboard: Dashboard, status: int, body: str, told: str
) -> None:
    done = dashboard.create_running("Is there")
    dashboard.post(f"/api/missions/{done}/complete")
    page.route(LIST, lambda route: _answer(route, status, body))
    _open(page, dashboard, "/?status=completed&q=there")
    expect(page.locator("main")).to_contain_text(told, timeout=SLOW_MS)

    page.unroute(LIST)
    page.get_by_role("button", name="Try again").click()

    expect(page.locator(".mission-card")).to_contain_text("Is there", timeout=SLOW_MS)


def test_missions_the_page_cannot_read_are_told_and_the_rest_is_shown(page: Page, dashboard: Dashboard) -> None:
    done = dashboard.create_running("Good one")
    dashboard.post(f"/api/missions/{done}/complete")

    def spoil(route: Route) -> None:
        answer = route.fetch()
        said = answer.json()
        if "missions" in said:
            said["missions"] = [*said["missions"], {"id": 7, "status": "exploded"}, None, "nonsense"]
        route.fulfill(response=answer, body=json.dumps(said))

    page.route(LIST, spoil)
    _open(page, dashboard, "/?status=completed&q=good")

    expect(page.locator(".mission-card")).to_contain_text("Good one", timeout=SLOW_MS)
    expect(page.locator(".banner")).to_contain_text("cannot read", timeout=SLOW_MS)


def test_a_refused_action_is_taken_back_with_the_servers_sentence(page: Page, dashboard: Dashboard) -> None:
    dashboard.create("Stubborn")
    _open(page, dashboard)
    card = page.locator(".mission-card").filter(has_text="Stubborn")
    expect(card).to_have_attribute("data-status", "pending", timeout=SLOW_MS)
    held: list[Route] = []
    page.route(re.compile(r"/start$"), lambda route: held.append(route))

    card.hover()
    card.get_by_role("button", name="Start").click()
    expect(card).to_contain_text("Starting", timeout=SLOW_MS)
    expect(page.locator(".toast")).to_have_count(0)
    _answer(held[0], 409, json.dumps({"detail": "Not on a Sunday."}))

    expect(page.locator(".toast")).to_contain_text("Not on a Sunday.", timeout=SLOW_MS)
    expect(card).to_have_attribute("data-status", "pending")
    expect(card).not_to_contain_text("Starting")


def test_a_wrong_clock_of_the_device_does_not_spoil_elapsed_times(browser: Browser, dashboard: Dashboard) -> None:
    dashboard.create_running("Just begun")
    page = browser.new_page(viewport=WIDE)
    # This device is three hours ahead.
    page.add_init_script(
        "const real = Date; const ahead = 3 * 3600 * 1000;"
        "Date = class extends real {"
        " constructor(...given) { given.length ? super(...given) : super(real.now() + ahead); }"
        " static now() { return real.now() + ahead; } };"
    )
    _open(page, dashboard)
    card = page.locator(".mission-card").filter(has_text="Just begun")

    expect(card).to_contain_text(re.compile(r"Running\d+ s"), timeout=SLOW_MS)
    expect(card).not_to_contain_text(re.compile(r"3 ?h"))
    page.close()


def test_the_end_of_the_page_menu_is_within_reach_at_200_percent(page: Page, dashboard: Dashboard) -> None:
    page.set_viewport_size({"width": 720, "height": 450})
    page.goto(dashboard.url)
    page.get_by_role("button", name="Page menu").click()

    last = page.locator(".menu__panel").get_by_role("radio").last
    last.scroll_into_view_if_needed()

    expect(last).to_be_in_viewport()


def test_a_dialog_opened_from_the_menu_gives_the_focus_back_to_the_menu(page: Page, dashboard: Dashboard) -> None:
    _open(page, dashboard)
    menu = page.get_by_role("button", name="Page menu")
    for item in ("Keyboard shortcuts", "Daily budgets", "Command palette"):
        menu.click()
        page.locator(".menu__panel").get_by_role("button", name=item).click()
        expect(page.get_by_role("dialog")).to_be_visible()

        page.keyboard.press("Escape")

        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(menu).to_be_focused()


def test_what_the_page_loads_is_small_lasting_and_its_own(browser: Browser, dashboard: Dashboard) -> None:
    dashboard.create("One")
    page = browser.new_context(viewport=WIDE).new_page()
    network = page.context.new_cdp_session(page)
    kinds: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    network.on("Network.responseReceived", lambda said: kinds.__setitem__(said["requestId"], said))
    network.on("Network.loadingFinished", lambda said: sizes.__setitem__(said["requestId"], said["encodedDataLength"]))
    network.send("Network.enable")
    page.goto(dashboard.url, wait_until="networkidle")
    expect(page.locator(".mission-card")).to_have_count(1, timeout=SLOW_MS)

    weight = sum(size for request, size in sizes.items() if kinds[request]["type"] != "Font")
    files = [said["response"] for said in kinds.values() if "/static/" in said["response"]["url"]]
    assert 50_000 < weight < MAX_WEIGHT_BYTES
    assert len(files) > 20
    for file in files:
        headers = {name.lower(): value for name, value in file["headers"].items()}
        assert headers["cache-control"] == "public, max-age=31536000, immutable"
        assert re.search(r"/static/[0-9a-f]{12}/", file["url"])
        assert file["url"].startswith(dashboard.url)
    page.context.close()
