"""Finding missions on the page: filters and their addresses, brush, views, pill, pausing, bulk, palette, keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from dashboards import Dashboard
from test_browser import PHONE, browser, page, pytestmark

__all__ = ["browser", "page", "pytestmark"]

SLOW_MS = 15_000


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


def _open(page: Page, dashboard: Dashboard, path: str = "/") -> None:
    page.goto(dashboard.url + path)
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live", timeout=SLOW_MS)


def _cards(page: Page) -> Locator:
    return page.locator(".mission-card")


def _shows(page: Page, *titles: str) -> None:
    """Wait until exactly these missions are listed."""
    expect(_cards(page)).to_have_count(len(titles), timeout=SLOW_MS)
    for title in titles:
        expect(_cards(page).filter(has_text=title)).to_have_count(1, timeout=SLOW_MS)


def _query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def _mixed(dashboard: Dashboard) -> dict[str, str]:
    """Make four missions that differ in everything one can filter by."""

    def make(title: str, kind: str, agent: str, model: str, **said: Any) -> str:
        mission_id = dashboard.create(title, metadata={"type": kind}, **said)
        dashboard.post(f"/api/missions/{mission_id}/start", agent_type=agent, model_used=model)
        return mission_id

    ids = {
        "Alpha": make("Alpha", "code_generation", "CodeAgent", "yi-coder:9b", priority="high"),
        "Beta": make("Beta", "analysis", "DataAgent", "qwen:14b", priority="low"),
        "Gamma": make("Gamma", "analysis", "DataAgent", "yi-coder:9b", priority="low"),
    }
    ids["Delta"] = dashboard.create("Delta waits", priority="critical")
    dashboard.post(f"/api/missions/{ids['Beta']}/complete")
    dashboard.post(f"/api/missions/{ids['Gamma']}/fail", error_message="no")
    return ids


@pytest.mark.parametrize(
    ("chip", "choice", "said", "titles"),
    [
        ("Priority", "low", ("priority", "low"), ("Beta", "Gamma")),
        ("Type", "code generation", ("type", "code_generation"), ("Alpha",)),
        ("Agent", "DataAgent", ("agent", "DataAgent"), ("Beta", "Gamma")),
        ("Model", "yi-coder:9b", ("model", "yi-coder:9b"), ("Alpha", "Gamma")),
        ("Time", "Last 15 min", ("since", "15m"), ("Alpha", "Beta", "Gamma", "Delta")),
    ],
)
def test_each_chip_narrows_the_list_and_stands_in_the_address(
    page: Page, dashboard: Dashboard, chip: str, choice: str, said: tuple[str, str], titles: tuple[str, ...]
) -> None:
    _mixed(dashboard)
    _open(page, dashboard)
    _shows(page, "Alpha", "Beta", "Gamma", "Delta")

    page.locator(".filters__chips").get_by_role("button", name=chip).click()
    page.locator(".menu__panel").get_by_text(choice, exact=True).click()

    _shows(page, *titles)
    assert _query(page)[said[0]] == [said[1]]
    page.reload()
    _shows(page, *titles)
    page.go_back()
    _shows(page, "Alpha", "Beta", "Gamma", "Delta")
    page.go_forward()
    _shows(page, *titles)
    page.get_by_role("button", name="Clear filters").first.click()
    _shows(page, "Alpha", "Beta", "Gamma", "Delta")


def test_tabs_count_what_their_lists_hold_under_other_filters(page: Page, dashboard: Dashboard) -> None:
    _mixed(dashboard)
    _open(page, dashboard, "/?type=analysis")

    for name, titles in (("All", ("Beta", "Gamma")), ("Completed", ("Beta",)), ("Failed", ("Gamma",)), ("Running", ())):
        tab = page.locator(".tabs").first.get_by_role("button", name=re.compile(f"^{name}"))
        expect(tab.locator(".tab__count")).to_have_text(str(len(titles)), timeout=SLOW_MS)
        tab.click()
        _shows(page, *titles)


def test_the_brush_over_the_bars_lists_what_finished_then(page: Page, dashboard: Dashboard) -> None:
    _mixed(dashboard)
    _open(page, dashboard)
    bars = page.locator(".minute-bars .u-over")
    expect(bars).to_be_visible(timeout=SLOW_MS)
    box = bars.bounding_box()
    assert box is not None

    # The last minutes are at the right end. Hovering waits until the bars no longer move.
    bars.hover(position={"x": box["width"] * 0.8, "y": box["height"] / 2})
    page.mouse.down()
    bars.hover(position={"x": box["width"] * 0.9, "y": box["height"] / 2})
    bars.hover(position={"x": box["width"] - 1, "y": box["height"] / 2})
    page.mouse.up()

    _shows(page, "Beta", "Gamma")
    assert {"from", "to"} <= _query(page).keys()
    page.locator(".chip", has_text="Finished").click()
    _shows(page, "Alpha", "Beta", "Gamma", "Delta")


def test_the_same_missions_as_cards_table_and_timeline(page: Page, dashboard: Dashboard) -> None:
    _mixed(dashboard)
    _open(page, dashboard)

    for view, item in (("Table", ".mission-table__row"), ("Timeline", ".mission-list__items [data-mission]")):
        page.locator(".filters__views").get_by_role("button", name=view).click()
        expect(page.locator(item)).to_have_count(4, timeout=SLOW_MS)
        assert _query(page)["view"] == [view.lower()]
    page.go_back()
    page.get_by_role("button", name="Created").click()
    expect(page.locator(".mission-table__row").first).to_contain_text("Delta waits", timeout=SLOW_MS)
    page.get_by_role("button", name="Created").click()
    expect(page.locator(".mission-table__row").first).to_contain_text("Alpha", timeout=SLOW_MS)
    assert _query(page)["sort"] == ["created_at"]


def test_new_missions_gather_behind_a_pill_while_one_reads_further_down(page: Page, dashboard: Dashboard) -> None:
    for number in range(40):
        dashboard.create(f"Old {number}")
    _open(page, dashboard)
    expect(_cards(page).first).to_be_visible(timeout=SLOW_MS)
    page.mouse.wheel(0, 1500)
    expect(_cards(page).filter(has_text="Old 39")).to_have_count(0, timeout=SLOW_MS)
    # Not all of its text: its age goes on.
    in_sight = _cards(page).first.get_by_role("heading").inner_text()

    dashboard.create("Brand new")
    pill = page.get_by_role("button", name=re.compile("1 new"))
    expect(pill).to_be_visible(timeout=SLOW_MS)
    assert _cards(page).first.get_by_role("heading").inner_text() == in_sight
    pill.click()

    expect(_cards(page).filter(has_text="Brand new")).to_be_visible(timeout=SLOW_MS)
    expect(pill).to_have_count(0)


def test_paused_updates_wait_and_come_all_at_once(page: Page, dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Goes on")
    _open(page, dashboard)
    _shows(page, "Goes on")

    page.locator("body").press("p")
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "paused")
    dashboard.post(f"/api/missions/{mission_id}/progress", progress=77)
    dashboard.create("Came meanwhile")
    expect(page.locator(".live-state")).to_contain_text("2 changes waiting", timeout=SLOW_MS)
    _shows(page, "Goes on")
    expect(_cards(page).first).not_to_contain_text("77%")
    page.locator(".live-state").click()

    _shows(page, "Goes on", "Came meanwhile")
    expect(_cards(page).filter(has_text="Goes on")).to_contain_text("77%")


def test_a_list_that_was_being_read_when_updates_were_paused_brings_nothing_newer(
    page: Page, dashboard: Dashboard
) -> None:
    mission_id = dashboard.create_running("Goes on")
    reading: list[Route] = []
    page.route(re.compile(r"/api/missions\?status=running"), lambda route: reading.append(route))
    _open(page, dashboard)
    _shows(page, "Goes on")
    page.locator("body").press("p")
    dashboard.post(f"/api/missions/{mission_id}/progress", progress=77)
    expect(page.locator(".live-state")).to_contain_text("1 change waiting", timeout=SLOW_MS)

    # Once it has taken in this part of the list, the page reads the next.
    with page.expect_response(re.compile(r"/api/missions\?status=completed")):
        reading[0].continue_()

    expect(_cards(page).first).not_to_contain_text("77%")
    page.locator(".live-state").click()
    expect(_cards(page).first).to_contain_text("77%")


def test_a_page_that_stayed_paused_for_long_holds_no_more_than_so_much_and_then_begins_anew(
    page: Page, dashboard: Dashboard
) -> None:
    dashboard.create("From before")
    _open(page, dashboard)
    _shows(page, "From before")
    page.locator("body").press("p")
    for _ in range(21):
        dashboard.post("/api/missions/batch", operations=[{"op": "create", "title": "Came meanwhile"}] * 100)
    expect(page.locator(".live-state")).to_contain_text("over 2,000 changes waiting", timeout=SLOW_MS)
    last = dashboard.create("Came last of all")

    page.locator(".live-state").click()

    expect(page.get_by_role("button", name="All 2,102")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(f'[data-mission="{last}"]')).to_be_visible(timeout=SLOW_MS)
    expect(_cards(page).filter(has_text="Came meanwhile").first).to_be_visible()
    dashboard.post(f"/api/missions/{last}/start")
    expect(_cards(page).filter(has_text="Came last of all")).to_have_attribute("data-status", "running")


def test_a_bulk_cancel_names_its_count_first_and_acts_on_exactly_those(page: Page, dashboard: Dashboard) -> None:
    ids = {title: dashboard.create_running(title) for title in ("One", "Two", "Three")}
    _open(page, dashboard)
    _shows(page, *ids)
    for title in ("One", "Two"):
        _cards(page).filter(has_text=title).get_by_role("checkbox").check(force=True)
    expect(page.locator(".bulk-bar")).to_contain_text("2 missions selected")

    page.locator(".bulk-bar").get_by_role("button", name="Cancel 2").click()
    question = page.locator("dialog[open]")
    expect(question).to_contain_text("Cancel 2 missions?")
    assert {dashboard.get(f"/api/missions/{one}")["mission"]["status"] for one in ids.values()} == {"running"}
    question.get_by_role("button", name="Cancel 2 missions").click()

    for title, status in (("One", "cancelled"), ("Two", "cancelled"), ("Three", "running")):
        expect(_cards(page).filter(has_text=title)).to_have_attribute("data-status", status, timeout=SLOW_MS)
        assert dashboard.get(f"/api/missions/{ids[title]}")["mission"]["status"] == status


def test_the_palette_finds_missions_and_runs_commands(page: Page, dashboard: Dashboard) -> None:
    _mixed(dashboard)
    _open(page, dashboard)
    _shows(page, "Alpha", "Beta", "Gamma", "Delta")

    page.keyboard.press("Control+k")
    page.keyboard.type("show failed")
    page.keyboard.press("Enter")
    _shows(page, "Gamma")
    page.keyboard.press("Control+k")
    page.keyboard.type("gamma")
    page.locator(".palette__entry", has_text="Gamma").first.click()

    expect(page.locator(".drawer")).to_contain_text("Gamma", timeout=SLOW_MS)
    assert "mission" in _query(page)


def test_what_is_typed_right_after_a_dialog_was_called_goes_into_it(page: Page, dashboard: Dashboard) -> None:
    _open(page, dashboard)
    focused = page.evaluate(
        """async () => {
          const key = { key: 'k', ctrlKey: true, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new KeyboardEvent('keydown', key));
          for (let turn = 0; turn < 10; turn += 1) await null;  // before the next key, or any frame, can come
          return document.activeElement.className;
        }"""
    )
    assert focused == "palette__field"


def test_the_keyboard_moves_opens_selects_and_closes(page: Page, dashboard: Dashboard) -> None:
    _mixed(dashboard)
    _open(page, dashboard)
    _shows(page, "Alpha", "Beta", "Gamma", "Delta")
    body = page.locator("body")

    body.press("?")
    expect(page.locator("dialog[open]")).to_contain_text("Command palette")
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    body.press("j")
    expect(page.locator(".mission-card[data-current=true]")).to_have_count(1)
    page.keyboard.press("x")
    expect(page.locator(".bulk-bar")).to_contain_text("1 mission selected")
    page.keyboard.press("Escape")
    expect(page.locator(".bulk-bar")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator(".drawer")).to_be_visible(timeout=SLOW_MS)
    page.keyboard.press("Escape")
    expect(page.locator(".drawer")).to_have_count(0)
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("delta")
    _shows(page, "Delta")


def test_a_phone_can_change_the_view_too(browser: Any, dashboard: Dashboard) -> None:
    _mixed(dashboard)
    page = browser.new_page(viewport=PHONE)
    _open(page, dashboard)

    switch = page.locator(".filters__views").get_by_role("button", name="Table")
    expect(switch).to_be_visible(timeout=SLOW_MS)
    box = switch.bounding_box()
    assert box is not None and box["height"] >= 44
    switch.click()

    expect(page.locator(".mission-table__row")).to_have_count(4, timeout=SLOW_MS)
    page.close()


def test_what_needs_a_person_is_told_whichever_list_is_looked_at(page: Page, dashboard: Dashboard) -> None:
    asking = dashboard.create_running("Asks since long")
    dashboard.post(f"/api/missions/{asking}/ask", text="May I?")
    dashboard.post("/api/missions/batch", operations=[{"op": "create", "title": "Queued since"}] * 150)

    _open(page, dashboard, "/?status=completed")
    expect(page.locator(".attention")).to_contain_text("1 question", timeout=SLOW_MS)
    page.keyboard.press("q")

    expect(page.locator(".drawer__title")).to_have_text("Asks since long")
