"""The page in a real Chromium, against the real server and database."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboards import Dashboard

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOW_TO_GET_IT = "Chromium is missing: on Debian, `apt-get install chromium` (as root `make test` does it)"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and os.environ.get("CI") != "true", reason=HOW_TO_GET_IT),
]

WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, HOW_TO_GET_IT
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    """A dashboard on the test's own database."""
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


@pytest.fixture
def page(browser: Browser, dashboard: Dashboard) -> Iterator[Page]:
    """A wide page, which fails the test if the browser complained or anything came from another host."""
    page = browser.new_page(viewport=WIDE)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    strangers: list[str] = []
    page.on("request", lambda sent: None if _is_ours(sent.url, dashboard) else strangers.append(sent.url))
    yield page
    # An answer that a test holds back must not fail the next one.
    page.unroute_all(behavior="ignoreErrors")
    page.close()
    assert strangers == []
    assert [said for said in complaints if "Failed to load resource" not in said and "WebSocket" not in said] == []


def _is_ours(url: str, dashboard: Dashboard) -> bool:
    return url.startswith((dashboard.url, dashboard.url.replace("http", "ws"), "data:", "blob:"))


def _open(page: Page, dashboard: Dashboard, path: str = "/") -> None:
    page.goto(dashboard.url + path)
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live")


def test_the_empty_page_shows_the_curl_line_and_ticks_when_the_first_mission_comes(
    page: Page, dashboard: Dashboard
) -> None:
    _open(page, dashboard)
    expect(page.locator(".empty code")).to_contain_text(f"curl -X POST {dashboard.url}/api/missions")

    dashboard.create("The very first")

    expect(page.locator(".mission-card")).to_contain_text("The very first")
    expect(page.locator(".mission-card")).to_have_attribute("data-status", "pending")


def test_a_mission_is_created_by_the_form(page: Page, dashboard: Dashboard) -> None:
    _open(page, dashboard)
    page.locator(".top-bar__new").click()
    page.get_by_role("button", name="Create mission").click()
    expect(page.locator(".form__problem").first).to_be_visible()

    page.locator("#new-title").fill("Made by hand")
    page.get_by_role("radio", name="critical").check(force=True)
    page.get_by_role("button", name="Create mission").click()

    expect(page.locator(".mission-card").filter(has_text="Made by hand").first).to_be_visible()
    missions = dashboard.get("/api/missions")["missions"]
    assert [(mission["title"], mission["priority"]) for mission in missions] == [("Made by hand", "critical")]


def test_anothers_mission_moves_on_the_page_by_itself(page: Page, dashboard: Dashboard) -> None:
    _open(page, dashboard)
    mission_id = dashboard.create_running("Moves by itself")
    card = page.locator(".mission-card").filter(has_text="Moves by itself")
    expect(card).to_have_attribute("data-status", "running")

    dashboard.post(f"/api/missions/{mission_id}/progress", progress=62, step="Writing tests", tokens_used=18420)
    expect(card).to_contain_text("62%")
    expect(card).to_contain_text("Writing tests")
    expect(card.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "62")

    dashboard.post(f"/api/missions/{mission_id}/fail", error_message="Context window exceeded")
    expect(card).to_have_attribute("data-status", "failed")
    expect(card).to_contain_text("Context window exceeded")


def test_filters_and_search_narrow_the_list_and_live_in_the_url(page: Page, dashboard: Dashboard) -> None:
    dashboard.create_running("Runs now", priority="high")
    dashboard.create("Waits", priority="low")
    done = dashboard.create_running("Is done", priority="low")
    dashboard.post(f"/api/missions/{done}/complete")
    _open(page, dashboard)
    expect(page.locator(".mission-card")).to_have_count(3)

    page.get_by_role("button", name=re.compile("^Completed")).first.click()
    expect(page.locator(".mission-card")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"status=completed"))
    page.go_back()
    expect(page.locator(".mission-card")).to_have_count(3)

    page.locator("#search").fill("waits")
    expect(page.locator(".mission-card")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"q=waits"))
    page.reload()
    expect(page.locator(".mission-card")).to_have_count(1)
    expect(page.locator("#search")).to_have_value("waits")

    page.locator("#search").fill("nothing like this")
    expect(page.get_by_text("No mission matches")).to_be_visible()

    page.goto(f"{dashboard.url}/?priority=low&status=pending")
    expect(page.locator(".mission-card")).to_have_count(1)
    expect(page.locator(".mission-card")).to_contain_text("Waits")


def test_status_tabs_count_what_their_lists_hold(page: Page, dashboard: Dashboard) -> None:
    for number in range(3):
        dashboard.create_running(f"Running {number}")
    dashboard.create("Pending")
    _open(page, dashboard)

    for name, number in (("All", 4), ("Running", 3), ("Pending", 1), ("Failed", 0)):
        tab = page.locator(".tabs[aria-label=Status] .tab", has_text=name)
        expect(tab.locator(".tab__count")).to_have_text(str(number))
        tab.click()
        expect(page.locator(".mission-card")).to_have_count(number)


def test_details_open_from_a_card_and_from_a_link(page: Page, dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Look closer", metadata={"type": "code_generation"})
    dashboard.post(f"/api/missions/{mission_id}/progress", progress=10, step="Reading")
    _open(page, dashboard)

    page.locator(".mission-card__open").click()
    drawer = page.locator(".drawer")
    expect(drawer).to_contain_text("Look closer")
    expect(drawer).to_contain_text("CodeAgent")
    drawer.get_by_role("tab", name="Timeline").click()
    expect(drawer).to_contain_text("Started")
    link = page.url
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)

    page.goto(link)
    expect(drawer).to_contain_text("Look closer")


def test_a_mission_is_started_cancelled_and_run_again_from_the_page(page: Page, dashboard: Dashboard) -> None:
    mission_id = dashboard.create("Steered by hand")
    _open(page, dashboard)
    page.locator(".mission-card__open").click()
    foot = page.locator(".drawer__foot")

    foot.get_by_role("button", name=re.compile("^Start")).click()
    expect(page.locator(".mission-card").first).to_have_attribute("data-status", "running")
    foot.get_by_role("button", name=re.compile("^Cancel")).click()
    expect(page.locator(".mission-card").first).to_have_attribute("data-status", "cancelled")
    foot.get_by_role("button", name=re.compile("Retry|Run again")).click()

    expect(page.locator(".mission-card")).to_have_count(2)
    statuses = {mission["status"] for mission in dashboard.get("/api/missions")["missions"]}
    assert statuses == {"cancelled", "pending"}
    assert dashboard.get(f"/api/missions/{mission_id}")["mission"]["status"] == "cancelled"


def test_text_from_outside_is_shown_as_itself(page: Page, dashboard: Dashboard) -> None:
    title = "<img src=x onerror=alert(1)><script>document.title='owned'</script> \u202egnirts 😀"
    mission_id = dashboard.create_running(title)
    dashboard.post(f"/api/missions/{mission_id}/fail", error_message="</div><b>not bold</b>", result={"a": "<i>x</i>"})
    _open(page, dashboard, f"/?mission={mission_id}")

    expect(page.locator(".mission-card__title")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.locator(".mission-card__saying")).to_contain_text("</div><b>not bold</b>")
    assert page.locator(".mission-card img, .mission-card b b, .drawer i").count() == 0
    assert "owned" not in page.title()


def test_after_the_server_was_killed_and_started_nothing_is_missing_and_no_reload_was_needed(
    page: Page, dashboard: Dashboard
) -> None:
    mission_id = dashboard.create_running("Survives")
    _open(page, dashboard)
    page.evaluate("window.same = true")

    dashboard.kill()
    expect(page.locator(".live-state")).not_to_have_attribute("data-phase", "live", timeout=15_000)
    dashboard.start()
    dashboard.post(f"/api/missions/{mission_id}/complete")
    dashboard.create("Made while nobody looked")

    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live", timeout=20_000)
    expect(page.locator(".mission-card").filter(has_text="Survives")).to_have_attribute("data-status", "completed")
    expect(page.get_by_text("Made while nobody looked").first).to_be_visible()
    assert page.evaluate("window.same")


def test_the_page_tells_when_the_database_is_away_and_when_it_is_back(browser: Browser, data_dir: Path) -> None:
    dashboard = Dashboard(data_dir).start()
    page = browser.new_page(viewport=WIDE)
    try:
        dashboard.create_running("Still readable")
        _open(page, dashboard)
        frozen = _database_processes(dashboard.pid)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        expect(page.locator(".banner")).to_be_visible(timeout=10_000)
        expect(page.locator(".mission-card")).to_contain_text("Still readable")
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        expect(page.locator(".banner")).to_have_count(0, timeout=10_000)
    finally:
        page.close()
        dashboard.stop()


def _database_processes(server: int) -> list[int]:
    found: list[int] = []
    waiting = [server]
    while waiting:
        children = Path(f"/proc/{waiting[0]}/task/{waiting.pop(0)}/children").read_text().split()
        found += [int(child) for child in children]
        waiting += [int(child) for child in children]
    return found


def test_the_keyboard_is_enough(page: Page, dashboard: Dashboard) -> None:
    dashboard.create("First")
    dashboard.create("Second")
    _open(page, dashboard)
    expect(page.locator(".mission-card")).to_have_count(2)

    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".drawer")).to_contain_text("Second")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("First")
    expect(page.locator(".mission-card")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator("#new-title")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard")


def test_a_key_right_after_escape_is_not_lost(page: Page, dashboard: Dashboard) -> None:
    _open(page, dashboard)
    for _ in range(10):
        page.keyboard.press("n")
        expect(page.locator("#new-title")).to_be_focused()
        page.evaluate(
            "document.querySelector('dialog').addEventListener('cancel', () => document.body.dispatchEvent("
            "new KeyboardEvent('keydown', {key: '?', bubbles: true})), {once: true})"
        )
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_contain_text("Keyboard")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_phone_has_everything_without_scrolling_sideways(browser: Browser, dashboard: Dashboard) -> None:
    dashboard.create_running("On the phone with a title that is much too long for such a narrow screen, by far")
    page = browser.new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    try:
        _open(page, dashboard)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.locator(".mission-card__open").tap()
        expect(page.locator(".drawer")).to_contain_text("On the phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        size = page.locator(".drawer__foot button").first.bounding_box()
        assert size is not None and size["height"] >= 40
    finally:
        page.close()


HELD_BY = """button => {
  const { left, top, width, height } = button.getBoundingClientRect();
  const spots = [[0, 0], [0, -21.5], [0, 21.5], [-21.5, 0], [21.5, 0]];
  return spots.map(([x, y]) => button.contains(document.elementFromPoint(left + width / 2 + x, top + height / 2 + y)));
}"""


def test_fingers_have_44_pixels_for_each_button_of_a_card(browser: Browser, dashboard: Dashboard) -> None:
    dashboard.create_running("Runs")
    asking = dashboard.create_running("Asks")
    dashboard.post(f"/api/missions/{asking}/ask", text="Go on?", options=["yes", "no"])
    page = browser.new_page(viewport={"width": 1024, "height": 1366}, has_touch=True, is_mobile=True)
    try:
        _open(page, dashboard)
        expect(page.locator(".mission-card")).to_have_count(2)
        buttons = page.locator(".mission-card .button").all()
        assert len(buttons) >= 4
        for button in buttons:
            assert button.evaluate(HELD_BY) == [True] * 5, button.inner_text()
    finally:
        page.close()


def test_the_page_forbids_inline_scripts_and_other_hosts(dashboard: Dashboard, page: Page) -> None:
    answer = page.goto(dashboard.url)
    assert answer is not None
    policy = answer.headers["content-security-policy"]

    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live")
