"""What the page shows of tokens and costs, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dashboards import Dashboard
from test_browser import browser, page, pytestmark

__all__ = ["browser", "page", "pytestmark"]


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    (data_dir / "prices.toml").write_text('[[price]]\nmodel = "mine"\ninput = 10\noutput = 20\n')
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


def test_the_drawer_shows_what_each_model_used_and_what_has_no_price(page: Page, dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Spends")
    strange = "<img src=x onerror=alert(1)>"
    usage = {
        "mine": {"input_tokens": 100_000, "cached_tokens": 40_000, "output_tokens": 5_000},
        strange: {"input_tokens": 7},
    }
    dashboard.post(f"/api/missions/{mission_id}/progress", usage=usage)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.goto(f"{dashboard.url}/?mission={mission_id}")
    drawer = page.locator(".drawer")
    rows = drawer.locator(".cost-table__grid tbody tr")

    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("100,000 (40,000 cached)")
    expect(rows.nth(0).locator(".cost-table__cost")).to_have_text("$1.10")
    expect(rows.nth(1)).to_contain_text(strange)
    expect(rows.nth(1).locator(".cost-table__cost")).to_have_text("unpriced")
    expect(drawer).to_contain_text(f"Unpriced: no price is known for {strange}")

    dashboard.post(f"/api/missions/{mission_id}/complete", cost_estimate=2.2)

    expect(drawer).to_contain_text("Reported $2.20, computed $1.10, 50% less. The reported cost counts.")
    assert drawer.locator("img").count() == 0
    assert dialogs == []
