"""Every view under axe-core, in both themes, on a wide and on a phone screen, and what axe cannot see."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboards import ROOT, Dashboard
from test_browser import PHONE, WIDE, browser, page, pytestmark

__all__ = ["browser", "page", "pytestmark"]

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(
    not AXE.exists() and os.environ.get("CI") != "true", reason="axe-core is missing: run `npm ci`"
)
SERIOUS = ("serious", "critical")
TABS = ("overview", "timeline", "spans", "logs", "result", "sub")
RUN_AXE = "() => axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)"


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    """A dashboard with a mission of each kind."""
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


def fill(dashboard: Dashboard) -> str:
    """Make missions in all states and return the id of the one that has the most to show."""
    shown = dashboard.create_running("Asks a person", budget={"cost": 1.0, "tokens": 1000})
    dashboard.post(f"/api/missions/{shown}/progress", progress=40, step="Reading", cost_estimate=0.85, tokens_used=700)
    dashboard.post(f"/api/missions/{shown}/ask", text="Go on?", options=["yes", "no"])
    dashboard.post(f"/api/missions/{shown}/logs", lines=[{"message": "first line", "level": "warning"}])
    span = {"id": "a1", "name": "call", "kind": "llm", "started_at": "2026-01-01T00:00:00Z"}
    dashboard.post(f"/api/missions/{shown}/spans", spans=[span])
    dashboard.create("A part", parent_id=shown)
    dashboard.create("Waits", priority="critical", metadata={"type": "analysis"})
    paused = dashboard.create_running("Pausing")
    dashboard.post(f"/api/missions/{paused}/pause", reason="look first")
    for title, end, said in (
        ("Went well", "complete", {"result": {"rows": [1, 2]}}),
        ("Went wrong", "fail", {"error_message": "Context window exceeded"}),
        ("Was stopped", "cancel", {"reason": "wrong corpus", "by": "Ada"}),
    ):
        dashboard.post(f"/api/missions/{dashboard.create_running(title)}/{end}", **said)
    return shown


def violations(page: Page) -> list[str]:
    """Return what axe finds that matters, in a line each."""
    page.add_script_tag(path=AXE)
    found: list[dict[str, Any]] = page.evaluate(RUN_AXE)
    return [
        f"{one['id']}: {one['help']} at {[node['target'] for node in one['nodes']][:3]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


@needs_axe
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious_on_any_view(
    browser: Browser, dashboard: Dashboard, size: dict[str, int], theme: str
) -> None:
    # The page forbids scripts like axe: here alone they are let in.
    context = browser.new_context(viewport=size, bypass_csp=True, reduced_motion="reduce")
    context.add_init_script(f"localStorage.setItem('mission-dashboard.theme', '{theme}')")
    page = context.new_page()
    faults: dict[str, list[str]] = {}

    def look(name: str, path: str | None, ready: str, prepare: Callable[[], object] | None = None) -> None:
        if path is not None:
            page.goto(dashboard.url + path)
            expect(page.locator(".live-state")).to_have_attribute("data-phase", "live", timeout=15_000)
        if prepare:
            prepare()
        expect(page.locator(ready).first).to_be_visible(timeout=15_000)
        if found := violations(page):
            faults[name] = found

    look("first run", "/", ".empty code")
    shown = fill(dashboard)
    for view in ("cards", "table", "timeline"):
        look(view, f"/?view={view}", ".mission-list__items")
    for tab in TABS:
        look(f"drawer {tab}", f"/?mission={shown}&tab={tab}", ".drawer")
    look("system", "/?page=system", ".sizes")
    look("no match", "/?q=nothing-is-called-so", ".empty")
    look("new mission", "/", "dialog[open]", lambda: page.keyboard.press("n"))
    look("palette", "/", ".palette__field", lambda: page.keyboard.press("Control+k"))
    look("help", "/", "dialog[open]", lambda: page.keyboard.press("?"))

    def select() -> None:
        page.locator("body").press("j")
        page.keyboard.press("x")

    look("bulk bar", "/", ".bulk-bar", select)
    dashboard.kill()
    look("server away", None, ".live-state[data-phase=offline], .live-state[data-phase=reconnecting]")

    assert faults == {}
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    context.close()


def test_at_320_pixels_nothing_scrolls_sideways(browser: Browser, dashboard: Dashboard) -> None:
    shown = fill(dashboard)
    page = browser.new_page(viewport={"width": 320, "height": 640})
    for path in ("/", "/?view=table", "/?view=timeline", f"/?mission={shown}", "/?page=system"):
        page.goto(dashboard.url + path)
        expect(page.locator(".live-state")).to_have_attribute("data-phase", "live", timeout=15_000)
        expect(page.locator(".sizes, .mission-list__items").first).to_be_visible(timeout=15_000)
        wide, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= room, f"{path} is {wide} px wide"
    page.close()


@pytest.mark.parametrize(
    ("opens", "shown"), [("n", "dialog[open]"), ("Control+k", ".palette__field"), ("?", "dialog[open]")]
)
def test_the_focus_returns_to_where_it_was(page: Page, dashboard: Dashboard, opens: str, shown: str) -> None:
    fill(dashboard)
    page.goto(dashboard.url)
    expect(page.locator(".mission-card").first).to_be_visible(timeout=15_000)
    opener = page.get_by_role("button", name="Completed").first
    opener.focus()

    page.keyboard.press(opens)
    expect(page.locator(shown).first).to_be_visible()
    page.keyboard.press("Escape")

    expect(page.locator(shown)).to_have_count(0)
    expect(opener).to_be_focused()


def test_a_mission_is_created_by_the_keyboard_alone(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.url)
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live", timeout=15_000)

    page.keyboard.press("n")
    expect(page.locator("#new-title")).to_be_focused()
    page.keyboard.type("By keyboard")
    page.keyboard.press("Enter")

    expect(page.locator(".mission-card").filter(has_text="By keyboard").first).to_be_visible(timeout=15_000)
    assert [mission["title"] for mission in dashboard.get("/api/missions")["missions"]] == ["By keyboard"]
