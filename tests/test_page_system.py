"""The System page in a real Chromium: reached, live, quiet while nobody looks, and plain about what is wrong."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from dashboards import Dashboard
from test_browser import browser, dashboard, page, pytestmark

__all__ = ["browser", "dashboard", "page", "pytestmark"]

SLOW_MS = 15_000


def show(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.url}/?page=system")
    expect(page.locator(".measure").first).to_be_visible(timeout=SLOW_MS)


def measure(page: Page, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True)


def go_live(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.url)
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live", timeout=SLOW_MS)


def test_the_menu_leads_there_and_back_leads_to_the_missions(page: Page, dashboard: Dashboard) -> None:
    dashboard.create("Still here")
    go_live(page, dashboard)

    page.get_by_role("button", name="Page menu").click()
    page.get_by_role("link", name="System").click()

    expect(page.get_by_role("heading", name="System")).to_be_focused(timeout=SLOW_MS)
    expect(page).to_have_url(re.compile(r"\?page=system$"))
    expect(page.get_by_text("All is within bounds.")).to_be_visible(timeout=SLOW_MS)
    expect(measure(page, "Database")).to_contain_text("Up")
    expect(measure(page, "Sockets")).to_contain_text("1viewer")
    expect(measure(page, "Memory")).to_contain_text(re.compile(r"\d+ MBof [\d.]+ GB"))
    expect(page.locator(".system__facts")).to_contain_text(f":{dashboard.pid}")
    expect(page.locator(".sizes").get_by_role("row", name=re.compile("^missions "))).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".mission-card")).to_have_count(0)
    page.go_back()
    expect(page.locator(".mission-card")).to_contain_text("Still here")


def test_the_palette_leads_there_and_escape_back_with_the_list_as_it_was(page: Page, dashboard: Dashboard) -> None:
    dashboard.create("Pending one")
    page.goto(f"{dashboard.url}/?status=pending")
    expect(page.locator(".mission-card")).to_have_count(1, timeout=SLOW_MS)
    page.keyboard.press("Control+k")
    page.locator(".palette__field").fill("system")
    expect(page.get_by_role("option").first).to_have_text("System: how the server does", timeout=SLOW_MS)
    page.keyboard.press("Enter")
    expect(page.locator(".measure").first).to_be_visible(timeout=SLOW_MS)

    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".measure").first).to_be_visible()
    page.keyboard.press("Escape")

    expect(page).to_have_url(re.compile(r"/\?status=pending$"))
    expect(page.locator(".mission-card")).to_have_count(1)


def test_the_numbers_move_by_themselves(page: Page, dashboard: Dashboard) -> None:
    show(page, dashboard)
    expect(measure(page, "Writes")).to_contain_text("0.0changes / s")

    for number in range(30):
        dashboard.create(f"Mission {number}")

    expect(measure(page, "Writes")).not_to_contain_text("0.0changes / s", timeout=SLOW_MS)
    expect(measure(page, "Throughput")).to_contain_text(re.compile(r"s([3-9]\d|\d{3}) since its start"))
    expect(page.locator(".system__when")).to_contain_text("rates of the last minute")
    expect(measure(page, "Response time p95").locator(".uplot")).to_be_visible()


def test_who_may_not_read_is_not_offered_it(page: Page, dashboard: Dashboard) -> None:
    said = {"session": {"name": "ann", "kind": "person", "scopes": ["report"], "expires_at": None}}
    page.route("**/api/session", lambda route: route.fulfill(json=said))
    go_live(page, dashboard)

    page.get_by_role("button", name="Page menu").click()
    expect(page.get_by_role("button", name="Log out ann")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("link", name="System")).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.locator(".palette__field").fill("daily budgets")
    expect(page.get_by_role("option", name="Daily budgets", exact=True)).to_be_visible()
    page.locator(".palette__field").fill("how the server does")
    expect(page.get_by_role("option", name=re.compile("^System"))).to_have_count(0)


def test_nothing_is_asked_while_nobody_looks(page: Page, dashboard: Dashboard) -> None:
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url) if sent.url.endswith("/api/system") else None)
    page.clock.install()
    show(page, dashboard)
    assert len(asked) == 1
    page.clock.run_for(5_100)
    expect(page.locator(".system__when")).to_be_visible()
    assert len(asked) == 2

    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    page.evaluate(hide % "true" + "document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(60_000)
    assert len(asked) == 2
    page.evaluate(hide % "false" + "document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(0)
    page.clock.run_for(100)
    assert len(asked) == 3
    page.get_by_role("link", name="Back to the missions").click()
    page.clock.run_for(60_000)

    assert len(asked) == 3


SHOWN = {
    "Response time p95": "246 msp50 46 ms · p99 438 ms",
    "Throughput": "20answers / s1,000 since its start",
    "Error rate": "0.3%3 errors · 40 refused",
    "Processor": "30% of a core15 s since its start",
    "Memory": "300 MBof 4.0 GB",
    "Writes": "5.0changes / scommit p95 10 ms",
    "Queue": "7writes waitthe oldest for 500 ms",
    "Sockets": "11viewerstold within 24 ms (p95)",
    "Database": "UpPostgreSQL 99.13 of 8 reading connections busy",
    "Alerts": "6open5 to send · 4 given up",
}


def test_each_number_is_the_one_that_the_server_said(page: Page, dashboard: Dashboard) -> None:
    def numbers(route: Route) -> None:
        said = json.loads(route.fetch().text())
        its = said["system"]
        its |= {"uptime_s": 50, "cpu_s": 15, "memory_bytes": 300_000_000, "memory_limit_bytes": 4_000_000_000}
        its["bucket_bounds_s"] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5]
        its["requests"] |= {"answered": 1000, "failed": 3, "refused": 40, "buckets": [0, 0, 0, 600, 0, 360, 40, 0]}
        its["writes"] |= {"events": 250, "commit_buckets": [0, 100, 0, 0, 0, 0, 0, 0]}
        its["writes"] |= {"queue_depth": 7, "queue_age_s": 0.5}
        its["live"] |= {"viewers": 11, "lag_buckets": [0, 0, 10, 0, 0, 0, 0, 0]}
        its["database"] |= {"version": "99.1", "pool_size": 8, "pool_in_use": 3}
        its["alerts"] |= {"open": 6, "unseen": 2, "critical": 1, "waiting": 5, "dead": 4}
        route.fulfill(json=said)

    page.route("**/api/system", numbers)

    show(page, dashboard)

    for name, text in SHOWN.items():
        expect(measure(page, name)).to_contain_text(text)
    expect(page.locator(".system__facts")).to_contain_text("Up for50 s")


WRONG: list[tuple[str, str, Any, str, str]] = [
    ("database", "up", False, "Database", "The database is away"),
    ("writes", "queue_age_s", 4.2, "Queue", "Writes wait longer than a second"),
    ("alerts", "dead", 2, "Alerts", "2 notifications could not be delivered"),
]


@pytest.mark.parametrize(("part", "field", "value", "name", "text"), WRONG)
def test_what_is_out_of_bounds_is_said_in_words_above_and_at_its_place(
    page: Page, dashboard: Dashboard, part: str, field: str, value: Any, name: str, text: str
) -> None:
    def spoil(route: Route) -> None:
        said = json.loads(route.fetch().text())
        said["system"][part][field] = value
        route.fulfill(json=said)

    page.route("**/api/system", spoil)

    show(page, dashboard)

    expect(page.locator(".system__verdict")).to_contain_text(text)
    expect(measure(page, name)).to_contain_text(text)
    expect(measure(page, name)).not_to_have_attribute("data-level", "none")


def test_a_server_that_is_gone_is_told_and_the_last_numbers_stay(page: Page, dashboard: Dashboard) -> None:
    show(page, dashboard)

    dashboard.kill()

    told = "The server cannot be reached. The numbers are the last that came."
    expect(page.locator(".system .notice")).to_have_text(told, timeout=SLOW_MS)
    expect(measure(page, "Database")).to_contain_text("Up")
    dashboard.start()
    expect(page.locator(".system .notice")).to_have_count(0, timeout=SLOW_MS)
    expect(measure(page, "Throughput")).to_contain_text(re.compile(r"s[1-9]?\d since its start"))
