"""The log, the spans and the tree of a mission on the page, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dashboards import Dashboard
from test_browser import browser, page, pytestmark

__all__ = ["browser", "page", "pytestmark"]

HOSTILE = "<img src=x onerror=alert(1)> \u202egnirts \u001b[31mred"


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    """A dashboard on the test's own database."""
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


def _open(page: Page, dashboard: Dashboard, mission_id: str, tab: str) -> None:
    page.goto(f"{dashboard.url}/?mission={mission_id}&tab={tab}")
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live")


def _log(dashboard: Dashboard, mission_id: str, *messages: str, level: str = "info") -> None:
    dashboard.post(f"/api/missions/{mission_id}/logs", lines=[{"message": text, "level": level} for text in messages])


def _wait_at_end(page: Page, at_end: bool) -> None:
    page.wait_for_function(
        """wanted => {
            const body = document.querySelector('.drawer__body');
            return (body.scrollHeight - body.scrollTop - body.clientHeight < 24) === wanted;
        }""",
        arg=at_end,
    )


def test_the_log_follows_what_is_written_until_the_reader_scrolls_up(page: Page, dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Writes")
    _log(dashboard, mission_id, *(f"line {number}" for number in range(80)))
    _open(page, dashboard, mission_id, "logs")
    lines = page.locator(".logs__line")
    expect(lines).to_have_count(80)
    _wait_at_end(page, True)

    _log(dashboard, mission_id, HOSTILE, level="error")
    expect(lines).to_have_count(81)
    _wait_at_end(page, True)
    expect(lines.last).to_have_attribute("data-level", "error")
    expect(lines.last).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator(".drawer img").count() == 0

    page.locator(".drawer__body").evaluate("element => element.scrollTo(0, 0)")
    expect(page.locator(".logs__live")).to_be_visible()
    _log(dashboard, mission_id, "written meanwhile")
    expect(lines).to_have_count(82)
    _wait_at_end(page, False)
    page.locator(".logs__live").click()
    _wait_at_end(page, True)

    page.get_by_label("Level").select_option("error")
    expect(lines).to_have_count(1)
    page.get_by_label("Level").select_option("debug")
    page.get_by_label("Find in the log").fill("Meanwhile")
    expect(lines).to_have_count(1)


def test_after_the_server_was_away_no_line_is_missing(page: Page, dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Goes on")
    _log(dashboard, mission_id, "before")
    _open(page, dashboard, mission_id, "logs")
    expect(page.locator(".logs__line")).to_have_count(1)

    dashboard.kill()
    expect(page.locator(".live-state")).not_to_have_attribute("data-phase", "live", timeout=15_000)
    dashboard.start()
    _log(dashboard, mission_id, "while nobody looked", "and more")

    expect(page.locator(".logs__message")).to_have_text(["before", "while nobody looked", "and more"], timeout=30_000)
    _log(dashboard, mission_id, "live again")
    expect(page.locator(".logs__message").last).to_have_text("live again")


def test_spans_are_a_waterfall_that_grows_live(page: Page, dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Traced")
    whole = {"id": "a", "name": "answer", "kind": "agent", "started_at": "2026-01-01T12:00:00Z"}
    call = {
        "id": "b",
        "parent_id": "a",
        "name": "chat",
        "kind": "llm",
        "model": "yi-coder",
        "started_at": "2026-01-01T12:00:01Z",
        "ended_at": "2026-01-01T12:00:03Z",
        "usage": {"input_tokens": 900, "output_tokens": 100},
        "attributes": {"note": HOSTILE},
    }
    dashboard.post(f"/api/missions/{mission_id}/spans", spans=[call, whole])
    _open(page, dashboard, mission_id, "spans")
    rows = page.locator(".spans__row")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("answer")
    expect(rows.nth(0)).to_contain_text("running")
    expect(rows.nth(1)).to_contain_text("1.0k tok · 2 s")

    failed = {"id": "c", "parent_id": "a", "name": "tool", "started_at": "2026-01-01T12:00:03Z"}
    failed |= {"ended_at": "2026-01-01T12:00:04Z", "error": "Timeout: no answer"}
    dashboard.post(f"/api/missions/{mission_id}/spans", spans=[{**whole, "ended_at": "2026-01-01T12:00:04Z"}, failed])
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("4 s")
    expect(rows.nth(2)).to_have_attribute("data-status", "failed")
    rows.nth(2).get_by_role("button").click()
    expect(rows.nth(2)).to_contain_text("Timeout: no answer")
    rows.nth(1).get_by_role("button").click()
    expect(rows.nth(1)).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator(".drawer img").count() == 0


def test_the_tree_shows_all_below_with_its_sums(page: Page, dashboard: Dashboard) -> None:
    root = dashboard.create_running("Root")
    part = dashboard.create_running("Part", parent_id=root)
    deep = dashboard.create_running("Deep", parent_id=part)
    for mission_id, tokens in ((root, 100), (part, 20), (deep, 3)):
        dashboard.post(f"/api/missions/{mission_id}/progress", progress=50, tokens_used=tokens)
    _open(page, dashboard, root, "sub")
    parts = page.locator(".sub-missions__item")

    expect(parts).to_have_count(2)
    expect(page.locator(".drawer__body")).to_contain_text("2 parts; together 123 tokens")
    expect(parts.nth(0)).to_contain_text("Σ 23")
    expect(parts.nth(1)).to_contain_text("Deep")
    dashboard.post(f"/api/missions/{deep}/progress", progress=60, tokens_used=7)
    expect(page.locator(".drawer__body")).to_contain_text("together 127 tokens", timeout=20_000)
    parts.nth(1).get_by_role("button", name="Deep").click()
    expect(page.locator(".drawer__title")).to_have_text("Deep")
