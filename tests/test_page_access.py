"""Getting in with a real Chromium from another machine, and managing who else does."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboards import Dashboard
from test_axe import needs_axe, violations
from test_browser import CHROMIUM, HOW_TO_GET_IT, PHONE, WIDE, pytestmark

__all__ = ["pytestmark"]

NAME = "dash.test"
"""A name that leads here and is not loopback's: the browser counts as on another machine."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, HOW_TO_GET_IT
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", f"--host-resolver-rules=MAP {NAME} 127.0.0.1"],
        )
        yield browser
        browser.close()


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=WIDE, bypass_csp=False)
    yield context.new_page()
    context.close()


def address(dashboard: Dashboard) -> str:
    return f"http://{NAME}:{dashboard.port}"


def admin_key(dashboard: Dashboard) -> str:
    return "mdk_" + (dashboard.data_dir / "admin_key").read_text().strip()


def live(page: Page) -> None:
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live")


def test_the_link_that_the_start_prints_logs_in_and_leaves_no_key_behind(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{address(dashboard)}/login#{admin_key(dashboard)}")

    live(page)
    assert page.url == f"{address(dashboard)}/"
    page.go_back()
    assert "mdk_" not in page.url


def test_a_link_with_somebody_elses_key_does_not_replace_who_is_logged_in(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{address(dashboard)}/login#{admin_key(dashboard)}")
    live(page)
    before = page.context.cookies()[0]["value"]

    page.goto("about:blank")
    page.goto(f"{address(dashboard)}/login#{admin_key(dashboard)}")

    expect(page.get_by_text("You are logged in as admin key of the settings")).to_be_visible()
    expect(page.get_by_label("Key")).to_have_value(admin_key(dashboard))
    assert page.url == f"{address(dashboard)}/login"
    assert page.context.cookies()[0]["value"] == before
    page.get_by_role("button", name="Log in").click()
    live(page)


def test_a_person_logs_in_where_it_wanted_to_go_and_out_again(page: Page, dashboard: Dashboard) -> None:
    dashboard.create("Seen by who may")
    page.goto(f"{address(dashboard)}/?q=seen")
    expect(page).to_have_title("Log in · Mission Dashboard")

    page.get_by_label("Key").fill("mdk_wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("Key").fill(admin_key(dashboard))
    page.get_by_role("button", name="Log in").click()

    live(page)
    assert page.url.endswith("/?q=seen")
    expect(page.locator(".mission-card")).to_have_count(1)
    page.get_by_role("button", name="Page menu").click()
    page.get_by_role("button", name=re.compile("Log out")).click()
    expect(page).to_have_title("Log in · Mission Dashboard")
    page.goto(address(dashboard))
    expect(page).to_have_title("Log in · Mission Dashboard")


def test_an_admin_makes_a_key_and_revokes_it_and_sees_both_recorded(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{address(dashboard)}/login#{admin_key(dashboard)}")
    live(page)
    page.get_by_role("button", name="Page menu").click()
    page.get_by_role("link", name="Keys and audit log").click()

    page.get_by_role("textbox", name="Name").fill("nightly <b>agents</b>")
    page.get_by_role("button", name="Make the key").click()
    made = page.locator(".access__made")
    expect(made.locator("code")).to_have_text(re.compile(r"^mdk_\S{43}$"))
    keys = page.get_by_role("region", name="Keys", exact=True)
    row = keys.get_by_role("row").filter(has_text="nightly <b>agents</b>")
    expect(row).to_contain_text("good")
    row.get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("good")
    row.get_by_role("button", name="Really revoke?").click()
    expect(row).to_contain_text("revoked")

    log = page.get_by_role("region", name="Audit log")
    expect(log).to_contain_text("DELETE /api/keys/")
    expect(log).to_contain_text("'nightly <b>agents</b>', report")
    with page.expect_download() as exported:
        page.get_by_role("link", name="JSON lines").click()
    lines = [json.loads(line) for line in exported.value.path().read_text().splitlines()]
    assert any("'nightly <b>agents</b>', report" in line["action"] for line in lines)


def test_who_may_only_look_finds_no_way_to_the_keys(page: Page, dashboard: Dashboard) -> None:
    secret = str(dashboard.post("/api/keys", name="Vera", scopes=["read"])["secret"])
    page.goto(f"{address(dashboard)}/login#{secret}")
    live(page)

    page.get_by_role("button", name="Page menu").click()
    expect(page.get_by_role("button", name="Log out Vera")).to_be_visible()
    expect(page.get_by_role("link", name="Keys and audit log")).to_have_count(0)
    page.goto(f"{address(dashboard)}/access")
    expect(page.get_by_text("You are logged in as Vera, who may not see what you asked for.")).to_be_visible()
    refused = page.goto(f"{address(dashboard)}/api/keys")
    assert refused is not None and refused.status == 403, "the API answers a browser as it answers anybody"
    page.go_back()
    page.get_by_label("Key").fill(admin_key(dashboard))
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("region", name="Keys", exact=True)).to_contain_text("Vera")
    page.evaluate("fetch('/logout', {method: 'POST'})")
    page.get_by_label("only what was refused").check()
    expect(page.get_by_role("alert")).to_contain_text("You are not logged in any more")
    expect(page.get_by_role("alert").get_by_role("link", name="Log in")).to_have_attribute(
        "href", "/login?next=/access"
    )


def test_what_one_may_not_do_is_not_offered(page: Page, dashboard: Dashboard) -> None:
    secret = str(dashboard.post("/api/keys", name="Vera", scopes=["read"])["secret"])
    dashboard.post("/api/alerts/rules", name="Failures", signal="failed")
    dashboard.post("/api/alerts/channels", name="Browsers", kind="browser")
    dashboard.post("/api/missions/" + dashboard.create_running("Asking") + "/ask", text="May I?")
    failed = dashboard.create_running("Failing")
    dashboard.post(f"/api/missions/{failed}/fail", error_message="out of memory")
    page.goto(f"{address(dashboard)}/login#{secret}")
    live(page)

    expect(page.locator(".mission-card")).to_have_count(2)
    expect(page.get_by_role("button", name="New mission")).to_have_count(0)
    page.get_by_role("button", name="Asking", exact=True).click()
    expect(page.locator(".drawer")).to_contain_text("May I?")
    expect(page.get_by_role("button", name=re.compile("^(Pause|Cancel|Retry|Say why|Send)\b"))).to_have_count(0)
    page.get_by_role("button", name="Page menu").click()
    expect(page.locator(".menu__panel .person-name")).to_have_text(re.compile("recorded as from Vera$"))
    page.get_by_role("button", name="Daily budgets").click()
    expect(page.get_by_role("dialog")).to_contain_text("No daily budget is set.")
    expect(page.get_by_role("button", name="Set budget")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Alerts")).click()
    expect(page.locator(".alert")).to_contain_text("out of memory")
    expect(page.locator(".alert").get_by_role("button")).to_have_text(["Open mission"])
    for tab in ("Rules", "Channels"):
        page.get_by_role("button", name=tab, exact=True).click()
        expect(page.locator(".alert")).to_have_count(1)
        expect(page.get_by_role("dialog").get_by_role("button")).to_have_text(["Close", "Firing", "Rules", "Channels"])


def test_the_line_that_creates_the_first_mission_works_from_elsewhere_too(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{address(dashboard)}/login#{admin_key(dashboard)}")
    live(page)

    expect(page.locator(".empty__line code")).to_contain_text("-H 'Authorization: Bearer mdk_...'")
    line = page.locator(".empty__line code").inner_text()
    expect(page.locator(".empty")).to_contain_text("a key that may report")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    line = line.replace("mdk_...", admin_key(dashboard)).replace(NAME, "127.0.0.1")
    subprocess.run(shlex.split(line), check=True, capture_output=True)

    expect(page.locator(".mission-card")).to_contain_text("My first mission")


def test_a_page_whose_key_is_revoked_stops_and_offers_the_login(page: Page, dashboard: Dashboard) -> None:
    made = dashboard.post("/api/keys", name="Vera", scopes=["read"])
    page.goto(f"{address(dashboard)}/login?next=/%3Fq%3Dseen#{made['secret']}")
    live(page)

    page.request.delete(f"{dashboard.url}/api/keys/{made['key']['id']}")

    expect(page.locator(".live-state")).not_to_have_attribute("data-phase", "live", timeout=3000)
    expect(page.locator(".live-state")).to_contain_text("Logged out")
    expect(page.locator(".banner")).to_contain_text("You are not logged in any more")
    page.locator(".banner").get_by_role("link", name="Log in").click()
    expect(page).to_have_title("Log in · Mission Dashboard")
    page.get_by_label("Key").fill(admin_key(dashboard))
    page.get_by_role("button", name="Log in").click()
    live(page)
    assert page.url.endswith("/?q=seen")


def test_a_page_that_was_logged_out_asks_no_more_and_goes_on_once_its_person_is_back(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(f"{address(dashboard)}/login?next=/%3Fpage%3Dsystem#{admin_key(dashboard)}")
    live(page)

    page.evaluate("fetch('/logout', {method: 'POST'})")
    expect(page.locator(".live-state")).to_contain_text("Logged out", timeout=10_000)
    tries: list[str] = []
    page.on("request", lambda request: tries.append(request.url))
    page.wait_for_timeout(6_000)
    assert tries == []
    other = page.context.new_page()
    other.goto(f"{address(dashboard)}/login#{admin_key(dashboard)}")
    live(other)
    page.evaluate("window.dispatchEvent(new Event('pageshow'))")

    live(page)


def test_a_key_is_copied_without_tls_too(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{address(dashboard)}/login#{admin_key(dashboard)}")
    live(page)
    page.goto(f"{address(dashboard)}/access")
    page.get_by_role("textbox", name="Name").fill("For the clipboard")
    page.get_by_role("button", name="Make the key").click()
    made = page.locator(".access__made")
    assert page.evaluate("!navigator.clipboard"), "browsers have none on such a page"

    made.get_by_role("button", name="Copy").click()

    expect(made).to_contain_text("Copied.")
    page.get_by_role("textbox", name="Name").focus()
    page.keyboard.press("Control+V")
    expect(page.get_by_role("textbox", name="Name")).to_have_value(made.locator("code").inner_text())


@needs_axe
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_serious_where_people_get_in(
    browser: Browser, dashboard: Dashboard, viewport: dict[str, int], theme: str
) -> None:
    context = browser.new_context(viewport=viewport, bypass_csp=True)  # type: ignore[arg-type]
    context.add_init_script(f"localStorage.setItem('mission-dashboard.theme', '{theme}')")
    page = context.new_page()
    try:
        page.goto(f"{address(dashboard)}/login")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        page.get_by_label("Key").fill(admin_key(dashboard))
        page.get_by_role("button", name="Log in").click()
        live(page)
        page.goto(f"{address(dashboard)}/access")
        expect(page.get_by_role("region", name="Audit log")).to_contain_text("POST /login")
        page.get_by_role("textbox", name="Name").fill("For axe")
        page.get_by_role("button", name="Make the key").click()
        expect(page.locator(".access__made")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    finally:
        context.close()


def test_keys_that_cannot_be_read_are_not_taken_for_none(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{address(dashboard)}/login#{admin_key(dashboard)}")
    live(page)
    said = {"error": "The database cannot be reached. Try again shortly."}
    page.route(re.compile("/api/(keys|audit)"), lambda route: route.fulfill(status=503, json=said))
    page.goto(f"{address(dashboard)}/access")

    expect(page.get_by_role("alert")).to_have_text("The database cannot be reached. Try again shortly.")
    for words in ("No keys yet", "Nobody is logged in", "Nothing yet"):
        expect(page.get_by_text(words)).to_have_count(0)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_long_names_neither_widen_the_page_of_keys_nor_push_its_buttons_away(
    browser: Browser, dashboard: Dashboard, viewport: dict[str, int]
) -> None:
    dashboard.post("/api/keys", name="Unbroken" * 24, scopes=["report", "read", "operate", "admin"])
    context = browser.new_context(viewport=viewport)  # type: ignore[arg-type]
    page = context.new_page()
    try:
        page.goto(f"{address(dashboard)}/login#{admin_key(dashboard)}")
        live(page)
        page.goto(f"{address(dashboard)}/access")
        page.get_by_role("textbox", name="Name").fill("Z" * 200)
        page.get_by_role("button", name="Make the key").click()

        expect(page.locator(".access__made")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        if viewport == WIDE:
            widths = "[...document.querySelectorAll('.access__scroll')].map((box) => box.scrollWidth - box.clientWidth)"
            assert page.evaluate(widths) == [0, 0, 0]
    finally:
        context.close()


def test_a_key_that_may_nothing_is_refused_in_view(browser: Browser, dashboard: Dashboard) -> None:
    context = browser.new_context(viewport=PHONE)  # type: ignore[arg-type]
    page = context.new_page()
    try:
        page.goto(f"{address(dashboard)}/login#{admin_key(dashboard)}")
        live(page)
        page.goto(f"{address(dashboard)}/access")
        page.get_by_role("textbox", name="Name").fill("For nothing")
        page.get_by_role("checkbox", name="report").first.uncheck()
        page.get_by_role("button", name="Make the key").click()

        expect(page.get_by_role("alert")).to_have_text("Choose what the key may do.")
        page.mouse.wheel(0, 400)
        expect(page.get_by_role("alert")).to_be_in_viewport()
    finally:
        context.close()
