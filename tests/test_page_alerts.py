"""Alerts on the page: told at once, counted, looked after, and only shouted where wished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboards import Dashboard
from test_axe import needs_axe, violations
from test_browser import PHONE, WIDE, browser, page, pytestmark

__all__ = ["browser", "page", "pytestmark"]


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    running = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield running
    running.stop()


def fail(dashboard: Dashboard, title: str) -> str:
    mission = dashboard.create_running(title)
    dashboard.post(f"/api/missions/{mission}/fail", error_message="<b>Context</b> window exceeded")
    return mission


def live(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.url)
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live")


def test_an_alert_is_told_counted_and_looked_after(page: Page, dashboard: Dashboard) -> None:
    live(page, dashboard)
    expect(page.locator(".top-bar__alerts")).to_have_count(0)

    mission = fail(dashboard, "Index <i>it</i>")

    toast = page.locator(".toast").filter(has_text="Missions fail")
    expect(toast).to_contain_text("Index <i>it</i> failed: <b>Context</b> window exceeded")
    button = page.get_by_role("button", name="1 alert")
    expect(button).to_be_visible()
    button.click()
    alert = page.locator(".alerts__one")
    expect(alert).to_contain_text("Index <i>it</i> failed")
    alert.get_by_role("button", name="Open the mission").click()
    expect(page).to_have_url(f"{dashboard.url}/?mission={mission}")
    page.keyboard.press("Escape")
    button.click()
    alert.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("dialog")).to_contain_text("No alert waits for anybody.")
    page.keyboard.press("Escape")
    expect(page.locator(".top-bar__alerts")).to_have_count(0)


def test_alerts_from_before_are_there_when_the_page_opens(page: Page, dashboard: Dashboard) -> None:
    fail(dashboard, "Earlier")
    page.wait_for_timeout(1500)

    live(page, dashboard)

    expect(page.get_by_role("button", name="1 alert")).to_be_visible()


def test_the_browser_notifies_only_who_wishes_it(browser: Browser, dashboard: Dashboard) -> None:
    context = browser.new_context(viewport=WIDE, permissions=["notifications"])  # type: ignore[arg-type]
    context.add_init_script(
        "window.told = []; class Told { constructor(title, more) { window.told.push([title, more.body]); } "
        "static permission = 'granted'; static requestPermission() { return Promise.resolve('granted'); } } "
        "window.Notification = Told; Object.defineProperty(document, 'hidden', {get: () => window.away === true});"
    )
    page = context.new_page()
    try:
        live(page, dashboard)
        page.evaluate("window.away = true")
        fail(dashboard, "Unwished")
        expect(page.get_by_role("button", name="1 alert")).to_be_visible()
        assert page.evaluate("window.told") == []

        page.get_by_role("button", name="1 alert").click()
        page.get_by_label("Notify me in this browser").check()
        stopped = dashboard.create_running("Dear", budget={"cost": 1.0})
        dashboard.post(f"/api/missions/{stopped}/progress", cost_estimate=2.0)

        expect(page.locator(".alerts__one")).to_have_count(2)
        page.wait_for_timeout(300)
        assert [title for title, _ in page.evaluate("window.told")] == ["Budgets are used up"]
    finally:
        context.close()


@needs_axe
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_serious_in_the_alerts(
    browser: Browser, dashboard: Dashboard, viewport: dict[str, int], theme: str
) -> None:
    context = browser.new_context(viewport=viewport, bypass_csp=True, reduced_motion="reduce")  # type: ignore[arg-type]
    context.add_init_script(f"localStorage.setItem('mission-dashboard.theme', '{theme}')")
    page = context.new_page()
    try:
        fail(dashboard, "For axe")
        live(page, dashboard)
        page.get_by_role("button", name="1 alert").click()
        expect(page.locator(".alerts__one")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    finally:
        context.close()
