"""Alerts on the page, in a real Chromium: the count, the panel, rules, channels, and notifications of the browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from clients import wait_for
from conftest import run_sql
from dashboards import Dashboard
from receivers import Receiver
from test_axe import needs_axe, violations
from test_browser import PHONE, WIDE, browser, page, pytestmark

__all__ = ["browser", "page", "pytestmark"]

SLOW_MS = 15_000


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_ALERT_HOSTS="127.0.0.1").start()
    yield dashboard
    dashboard.stop()


def fail(dashboard: Dashboard, title: str) -> str:
    mission_id = dashboard.create_running(title)
    dashboard.post(f"/api/missions/{mission_id}/fail", error_message="out of memory")
    return mission_id


def show(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.url)
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live", timeout=SLOW_MS)
    page.get_by_role("button", name=re.compile("^Alerts")).click()
    expect(page.get_by_role("dialog", name="Alerts")).to_be_visible(timeout=SLOW_MS)


def test_an_alert_is_counted_acknowledged_silenced_opened_and_resolved(page: Page, dashboard: Dashboard) -> None:
    dashboard.post("/api/alerts/rules", name="Failures", signal="failed", severity="critical", cooldown_s=0)
    page.goto(dashboard.url)
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live", timeout=SLOW_MS)
    button = page.get_by_role("button", name=re.compile("^Alerts"))
    expect(button).to_have_attribute("data-level", "none")

    mission_id = fail(dashboard, "<b>Index</b>")
    expect(button).to_have_text(re.compile("1 to look after"), timeout=SLOW_MS)
    expect(button).to_have_attribute("data-level", "critical")
    button.click()
    alert = page.locator(".alert")
    expect(alert).to_contain_text("“<b>Index</b>” failed: out of memory", timeout=SLOW_MS)
    alert.get_by_role("button", name="Acknowledge").click()
    expect(alert).to_contain_text("acknowledged")
    expect(button).to_have_attribute("data-level", "none", timeout=SLOW_MS)
    alert.get_by_role("button", name="Silence rule").click()
    expect(page.get_by_text("Silent for")).to_contain_text("Failures")
    fail(dashboard, "Held back")
    expect(page.locator(".alert").filter(has_text="Held back")).to_contain_text("silenced", timeout=SLOW_MS)
    page.get_by_role("button", name="End silence").click()
    expect(page.get_by_text("Silent for")).to_have_count(0)
    first = page.locator(".alert").filter(has_text="<b>Index</b>")
    first.get_by_role("button", name="Resolve").click()
    expect(first).to_have_count(0)
    page.get_by_label("Show what ended").check()
    first.get_by_role("button", name="Open mission").click()

    expect(page.locator(".drawer")).to_contain_text(mission_id)
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_rules_are_offered_made_changed_and_deleted(page: Page, dashboard: Dashboard) -> None:
    show(page, dashboard)
    page.get_by_role("button", name="Rules").click()
    page.get_by_role("button", name="Add the usual rules").click()
    expect(page.locator(".alert")).to_have_count(7, timeout=SLOW_MS)

    page.get_by_role("button", name="New rule").click()
    page.get_by_label("Name").fill("Billing fails")
    page.get_by_label("Looks for").select_option("error_rate")
    page.get_by_role("button", name="Save rule").click()
    expect(page.get_by_role("alert")).to_contain_text("needs a threshold")
    page.get_by_label("Fires from").fill("20")
    page.get_by_label("Only type").fill("billing, refunds")
    page.get_by_role("button", name="Save rule").click()
    rule = page.locator(".alert").filter(has_text="Billing fails")
    expect(rule).to_contain_text("Error rate: 20 percent in 15 min")
    rule.get_by_role("button", name="Change").click()
    page.get_by_label("Severity").select_option("critical")
    page.get_by_role("button", name="Save rule").click()
    expect(rule).to_contain_text("critical")

    (kept,) = [one for one in dashboard.get("/api/alerts/rules")["rules"] if one["name"] == "Billing fails"]
    assert (kept["filter"]["type"], kept["threshold"], kept["severity"]) == (["billing", "refunds"], 20.0, "critical")
    rule.get_by_role("button", name="Delete").click()
    expect(rule).to_have_count(1)
    rule.get_by_role("button", name="Really delete?").click()
    expect(rule).to_have_count(0)


def test_alerts_that_are_not_listed_are_told(page: Page, dashboard: Dashboard) -> None:
    dashboard.post("/api/alerts/rules", name="Failures", signal="failed", cooldown_s=0)
    made = dashboard.post("/api/missions/batch", operations=[{"op": "create", "title": "Index"}] * 102)["results"]
    for op in ("start", "fail"):
        operations = [{"op": op, "mission_id": one["mission_id"]} for one in made]
        dashboard.post("/api/missions/batch", operations=operations)
    wait_for(lambda: dashboard.get("/api/alerts?limit=1")["counts"]["open"] == 102)

    show(page, dashboard)

    expect(page.locator(".alert")).to_have_count(100, timeout=SLOW_MS)
    expect(page.get_by_role("dialog")).to_contain_text("2 older ones are firing too.")


def test_the_form_of_a_rule_is_in_view_with_what_is_wrong_and_gives_the_focus_back(
    page: Page, dashboard: Dashboard
) -> None:
    for number in range(12):
        dashboard.post("/api/alerts/rules", name=f"Rule {number:02}", signal="failed")
    show(page, dashboard)
    page.get_by_role("button", name="Rules").click()
    change = page.locator(".alert").filter(has_text="Rule 03").get_by_role("button", name="Change")

    change.click()
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    expect(page.get_by_label("Name", exact=True)).to_be_in_viewport()
    page.get_by_label("Name", exact=True).fill("")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    page.get_by_role("button", name="Back").click()

    expect(change).to_be_focused()
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    ("signal", "threshold", "says"),
    [
        ("queue_age", 900, "Longest wait: 900 seconds"),
        ("silence", 1, "Nothing heard for: 1 second"),
        ("count", 1, "Number of missions: 1 mission in 15 min"),
    ],
)
def test_a_rule_says_what_it_looks_for(
    page: Page, dashboard: Dashboard, signal: str, threshold: int, says: str
) -> None:
    dashboard.post("/api/alerts/rules", name="One", signal=signal, threshold=threshold)
    show(page, dashboard)

    page.get_by_role("button", name="Rules").click()

    expect(page.locator(".alert .faint")).to_have_text(says)


def test_a_channel_is_made_tested_and_its_dead_letters_sent_again(page: Page, dashboard: Dashboard, dsn: str) -> None:
    receiver = Receiver(statuses=(200, 410))
    dashboard.post("/api/alerts/rules", name="Failures", signal="failed")
    show(page, dashboard)
    page.get_by_role("button", name="Channels").click()
    page.get_by_role("button", name="New channel").click()
    page.get_by_label("Name").fill("Ops")
    page.get_by_label("Address").fill(receiver.url)
    expect(page.get_by_label("Secret")).to_have_value(re.compile("^whsec_.{44}$"))
    page.get_by_role("button", name="Save channel").click()
    channel = page.locator(".alert").filter(has_text="Ops")
    channel.get_by_role("button", name="Send a test").click()
    expect(channel.get_by_role("status")).to_have_text("It was sent.", timeout=SLOW_MS)
    fail(dashboard, "Index")
    wait_for(lambda: dashboard.get("/api/alerts/deliveries?state=dead")["deliveries"])
    page.get_by_role("button", name="Firing").click()
    page.get_by_role("button", name="Channels").click()
    page.get_by_role("button", name="Send again").click()

    wait_for(lambda: len(receiver.taken) == 3)
    expect(page.get_by_text("Not delivered")).to_have_count(0)
    wait_for(lambda: run_sql(dsn, "SELECT 1 FROM alert_deliveries WHERE delivered_at IS NOT NULL"))
    receiver.close()


def test_the_browser_notifies_whoever_asked_for_it_and_nobody_else(browser: Browser, dashboard: Dashboard) -> None:
    dashboard.post("/api/alerts/rules", name="Failures", signal="failed", cooldown_s=0)
    dashboard.post("/api/alerts/channels", name="Browsers", kind="browser")
    context = browser.new_context(viewport=WIDE, permissions=["notifications"])
    context.add_init_script(
        "window.told = []; window.Notification = class { static permission = 'granted';"
        " static requestPermission() { return Promise.resolve('granted'); }"
        " constructor(title, more) { window.told.push([title, more.body]); } addEventListener() {} close() {} };"
    )
    page = context.new_page()
    show(page, dashboard)
    fail(dashboard, "Not asked for")
    expect(page.locator(".alert")).to_have_count(1, timeout=SLOW_MS)
    wait_for(lambda: dashboard.get("/api/alerts/deliveries?state=delivered")["deliveries"])

    page.get_by_label("Notify me in this browser").check()
    fail(dashboard, "Asked for")

    wait_for(lambda: page.evaluate("window.told"))
    assert page.evaluate("window.told") == [["Failures", "“Asked for” failed: out of memory"]]
    page.reload()
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live", timeout=SLOW_MS)
    page.get_by_role("button", name=re.compile("^Alerts")).click()
    expect(page.get_by_label("Notify me in this browser")).to_be_checked(timeout=SLOW_MS)
    context.close()


@needs_axe
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_serious_in_the_panel(
    browser: Browser, dashboard: Dashboard, size: dict[str, int], theme: str
) -> None:
    dashboard.post("/api/alerts/rules/usual")
    dashboard.post("/api/alerts/channels", name="Browsers", kind="browser")
    fail(dashboard, "Index")
    context = browser.new_context(viewport=size, bypass_csp=True, reduced_motion="reduce")
    context.add_init_script(f"localStorage.setItem('mission-dashboard.theme', '{theme}')")
    page = context.new_page()
    show(page, dashboard)
    expect(page.locator(".alert")).to_have_count(1, timeout=SLOW_MS)

    faults = {"firing": violations(page)}
    for tab, opens in (("Rules", "New rule"), ("Channels", "New channel")):
        page.get_by_role("button", name=tab).click()
        page.get_by_role("button", name=opens).click()
        faults[tab] = violations(page)

    assert faults == {"firing": [], "Rules": [], "Channels": []}
    wide, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room
    context.close()
