"""Steering from the page, in a real Chromium: questions, pauses, receipts, budgets, and signs of life."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dashboards import ROOT, Dashboard
from mission_dashboard.events import EventType
from test_browser import PHONE, browser, page, pytestmark

__all__ = ["browser", "page", "pytestmark"]

HOSTILE = "<img src=x onerror=alert(1)><script>document.title='owned'</script> \u202egnirts"
QUIET = "quiet"
"""The type of missions that stall after a second; others may be silent for long."""


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    """A dashboard that soon says who is silent, and who does not confirm."""
    dashboard = Dashboard(
        data_dir,
        POSTGRES_DSN=dsn,
        MISSION_DASHBOARD_STALL_AFTER=f"600, {QUIET}=1",
        MISSION_DASHBOARD_CONFIRM_WITHIN="2",
    ).start()
    yield dashboard
    dashboard.stop()


def _open(page: Page, dashboard: Dashboard, path: str = "/") -> None:
    page.goto(dashboard.url + path)
    expect(page.locator(".live-state")).to_have_attribute("data-phase", "live")


def _card(page: Page, title: str) -> Locator:
    return page.locator(".mission-card").filter(has_text=title)


def _mission(dashboard: Dashboard, mission_id: str) -> dict[str, Any]:
    return dict(dashboard.get(f"/api/missions/{mission_id}")["mission"])


def _ask(dashboard: Dashboard, mission_id: str, text: str, **said: Any) -> str:
    answer = dashboard.post(f"/api/missions/{mission_id}/ask", text=text, **said)
    return str(answer["mission"]["question"]["id"])


def _question(dashboard: Dashboard, mission_id: str, question_id: str, wait_s: int = 0) -> dict[str, Any]:
    return dict(dashboard.get(f"/api/missions/{mission_id}/questions/{question_id}?wait={wait_s}")["question"])


def _type_name(page: Page, name: str) -> None:
    page.get_by_role("button", name="Page menu").click()
    page.locator("#person-name").fill(name)
    page.keyboard.press("Escape")
    expect(page.locator("#person-name")).to_have_count(0)


class TestQuestions:
    def test_a_question_shows_at_once_and_is_answered_from_its_card(self, page: Page, dashboard: Dashboard) -> None:
        mission_id = dashboard.create_running("Refund batch")
        _open(page, dashboard)
        _type_name(page, "Ada")
        question_id = _ask(dashboard, mission_id, "Refund $412.00 to 3 customers?", options=["approve", "deny"])
        card = _card(page, "Refund batch")

        expect(card).to_have_attribute("data-status", "question")
        expect(card).to_contain_text("Refund $412.00 to 3 customers?")
        expect(page.locator(".attention")).to_contain_text("1 question")
        expect(page).to_have_title(re.compile(r"^\(1\?\)"))
        expect(page.locator("[role=status][aria-live=polite].visually-hidden")).to_have_text(
            "Refund batch asks: Refund $412.00 to 3 customers?"
        )
        card.get_by_role("button", name="deny").click()

        expect(card).to_have_attribute("data-status", "running")
        expect(page.locator(".attention")).to_have_count(0)
        told = _question(dashboard, mission_id, question_id)
        assert (told["state"], told["answer"], told["answered_by"]) == ("answered", "deny", "Ada")

    def test_a_text_is_sent_from_the_drawer_and_what_was_typed_is_kept(self, page: Page, dashboard: Dashboard) -> None:
        mission_id = dashboard.create_running("Name it")
        question_id = _ask(dashboard, mission_id, "What shall it be called?")
        _open(page, dashboard)
        card = _card(page, "Name it")
        card.get_by_role("textbox").fill("Aurora")
        dashboard.post(f"/api/missions/{mission_id}/progress", progress=30)
        expect(card.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "30")
        expect(card.get_by_role("textbox")).to_have_value("Aurora")
        card.locator(".mission-card__open").click()
        panel = page.locator(".drawer .question")

        expect(panel.get_by_role("textbox", name="Answer to")).to_have_value("Aurora")
        panel.get_by_label("Answering as").fill("Grace")
        panel.get_by_role("button", name="Send").click()

        expect(page.locator(".drawer .question[data-closed=true]")).to_contain_text("Answered Aurora by Grace")
        assert _question(dashboard, mission_id, question_id)["answered_by"] == "Grace"

    def test_who_is_second_hears_who_was_first(self, page: Page, dashboard: Dashboard) -> None:
        mission_id = dashboard.create_running("Contested")
        question_id = _ask(dashboard, mission_id, "Which?", options=["this", "that"])
        _open(page, dashboard)
        card = _card(page, "Contested")
        expect(card.get_by_role("button", name="that")).to_be_visible()
        page.keyboard.press("p")  # what arrives now is not painted
        expect(page.locator(".live-state")).to_have_attribute("data-phase", "paused")
        dashboard.post(f"/api/missions/{mission_id}/answer", question_id=question_id, answer="this", by="Bob")

        card.get_by_role("button", name="that").click()

        expect(page.locator(".toast[data-tone=error]")).to_contain_text("already answered by Bob: this")
        expect(card).to_have_attribute("data-status", "running")
        assert _question(dashboard, mission_id, question_id)["answer"] == "this"

    def test_the_next_question_is_a_key_away_with_the_focus_on_its_answers(
        self, page: Page, dashboard: Dashboard
    ) -> None:
        first, second = dashboard.create_running("Asks first"), dashboard.create_running("Asks second")
        _ask(dashboard, first, "One?", options=["yes", "no"])
        second_question = _ask(dashboard, second, "Two?", options=["yes", "no"])
        _open(page, dashboard)
        expect(page.locator(".mission-card[data-status=question]")).to_have_count(2)

        page.keyboard.press("q")
        expect(page.locator(".drawer__title")).to_have_text("Asks first")
        expect(page.locator(".drawer .answers").get_by_role("button", name="yes")).to_be_focused()
        page.keyboard.press("q")
        expect(page.locator(".drawer__title")).to_have_text("Asks second")
        expect(page.locator(".drawer .answers").get_by_role("button", name="yes")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")

        assert _question(dashboard, second, second_question, wait_s=10)["answer"] == "no"
        page.locator(".attention__item", has_text="1 question").click()
        expect(page.locator(".mission-card")).to_have_count(1)
        expect(page.locator(".mission-card")).to_contain_text("Asks first")

    def test_hostile_text_is_shown_and_answered_as_itself(self, page: Page, dashboard: Dashboard) -> None:
        mission_id = dashboard.create_running("Hostile")
        options = [HOSTILE, "x" * 180, "</button><b>bold</b>", "no", "yes"]
        question_id = _ask(dashboard, mission_id, HOSTILE * 20, options=options)
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        _open(page, dashboard)
        expect(_card(page, "Hostile").locator(".mission-card__saying")).to_contain_text("<img src=x onerror=alert(1)>")

        _card(page, "Hostile").get_by_role("button", name="Choose an answer").click()
        answers = page.locator(".drawer .answers").get_by_role("button")
        expect(answers).to_have_count(5)
        assert answers.all_inner_texts() == options
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        answers.nth(0).click()

        expect(page.locator(".drawer .question[data-closed=true]")).to_contain_text("<img src=x onerror=alert(1)>")
        page.get_by_role("tab", name="Timeline").click()
        expect(page.locator(".event", has_text="Question answered")).to_contain_text("document.title='owned'")
        assert _question(dashboard, mission_id, question_id)["answer"] == HOSTILE
        assert page.locator(".drawer img, .mission-card img, .toast img, .drawer script").count() == 0
        assert "owned" not in page.title()
        assert dialogs == []

    def test_a_phone_answers_with_a_thumb(self, browser: Browser, dashboard: Dashboard) -> None:
        mission_id = dashboard.create_running("On the phone")
        question_id = _ask(dashboard, mission_id, "Go on?", options=["go on", "stop"])
        page = browser.new_page(viewport=PHONE, has_touch=True, is_mobile=True)
        try:
            _open(page, dashboard, f"/?mission={mission_id}")
            button = page.locator(".drawer .answers").get_by_role("button", name="go on")
            expect(button).to_be_visible()
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= 44
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            button.tap()
            expect(page.locator(".drawer .question[data-closed=true]")).to_contain_text("Answered go on")
        finally:
            page.close()
        assert _question(dashboard, mission_id, question_id)["answer"] == "go on"


class TestOrders:
    def test_a_mission_is_held_and_let_go_on(self, page: Page, dashboard: Dashboard) -> None:
        mission_id = dashboard.create_running("Held")
        _open(page, dashboard, f"/?mission={mission_id}")
        foot, badge = page.locator(".drawer__foot"), page.locator(".drawer .status-badge").first
        foot.get_by_role("button", name="Pause").click()

        expect(badge).to_have_text("Pause requested")
        assert _mission(dashboard, mission_id)["control"] == "pause_requested"
        dashboard.post(f"/api/missions/{mission_id}/acknowledge", directive="pause")
        expect(badge).to_have_text("Paused")
        expect(page.locator(".receipt__step", has_text="Paused")).to_have_attribute("data-done", "true")

        page.keyboard.press("h")
        expect(badge).to_have_text("Running")
        assert _mission(dashboard, mission_id)["control"] is None
        page.get_by_role("tab", name="Timeline").click()
        lines = page.locator(".event__what b:first-child")
        expect(lines).to_have_text(["Created", "Started", "Pause requested", "Paused", "Resumed"])

    def test_several_are_held_together(self, page: Page, dashboard: Dashboard) -> None:
        missions = [dashboard.create_running(f"Together {number}") for number in range(3)]
        _open(page, dashboard)
        expect(page.locator(".mission-card")).to_have_count(3)
        for title in ("Together 0", "Together 1"):
            page.get_by_role("checkbox", name=f"Select {title}").check(force=True)
        page.locator(".bulk-bar").get_by_role("button", name="Pause 2").click()

        expect(page.locator(".mission-card[data-status=paused]")).to_have_count(2)
        controls = [_mission(dashboard, mission_id)["control"] for mission_id in missions]
        assert controls == ["pause_requested", "pause_requested", None]

    def test_a_cancel_says_who_and_why_and_shows_its_receipt(self, page: Page, dashboard: Dashboard) -> None:
        mission_id = dashboard.create_running("Stop me")
        _open(page, dashboard, f"/?mission={mission_id}")
        page.locator(".drawer__foot").get_by_role("button", name="Say why").click()
        page.get_by_label("Reason").fill("Superseded by the new plan")
        page.get_by_label("Asked by").fill("Grace")
        page.get_by_role("button", name="Cancel it").click()
        receipt = page.locator(".receipt")

        expect(receipt.locator(".receipt__step", has_text="Asked")).to_contain_text(
            "by Grace: Superseded by the new plan"
        )
        _heartbeat(dashboard, mission_id)
        expect(receipt.locator(".receipt__step", has_text="Delivered")).to_have_attribute("data-done", "true")
        expect(receipt.locator(".receipt__step", has_text="Stopped")).to_have_attribute("data-done", "false")
        dashboard.post(f"/api/missions/{mission_id}/acknowledge", directive="cancel", stopped=True)
        for step in ("Acknowledged", "Stopped"):
            expect(receipt.locator(".receipt__step", has_text=step)).to_have_attribute("data-done", "true")

    def test_a_cancel_that_nobody_confirms_is_told(self, page: Page, dashboard: Dashboard) -> None:
        mission_id = dashboard.create_running("Deaf")
        _open(page, dashboard)
        _card(page, "Deaf").locator(".mission-card__open").focus()
        page.keyboard.press("j")
        page.keyboard.press("c")
        expect(_card(page, "Deaf")).to_have_attribute("data-status", "cancelled")

        expect(_card(page, "Deaf").locator(".flag")).to_have_text("unconfirmed", timeout=20_000)
        strip = page.locator(".attention__item", has_text="1 cancel unconfirmed")
        strip.click()
        expect(page).to_have_url(re.compile("needs=unconfirmed"))
        expect(page.locator(".mission-card")).to_have_count(1)
        page.locator(".mission-card__open").click()
        expect(page.locator(".receipt__warning")).to_contain_text("may still run")
        page.mouse.move(0, 0)  # nothing goes away under the pointer

        dashboard.post(f"/api/missions/{mission_id}/acknowledge", directive="cancel", stopped=True)
        expect(page.locator(".mission-card")).to_have_count(0)
        expect(strip).to_have_count(0, timeout=20_000)


def _heartbeat(dashboard: Dashboard, mission_id: str) -> None:
    dashboard.post(f"/api/missions/{mission_id}/heartbeat")


class TestBudgets:
    def test_a_budget_set_in_the_form_is_gauged_warned_of_and_enforced(self, page: Page, dashboard: Dashboard) -> None:
        _open(page, dashboard)
        page.locator(".top-bar__new").click()
        page.locator("#new-title").fill("Frugal")
        page.locator("#new-cost").fill("1")
        page.locator("#new-tokens").fill("many")
        page.locator("#new-seconds").fill("3600")
        page.get_by_role("button", name="Create mission").click()
        expect(page.locator("#new-tokens")).to_have_attribute("aria-invalid", "true")
        page.locator("#new-tokens").fill("1000")
        page.get_by_role("button", name="Create mission").click()
        gauges = page.locator(".drawer .gauge")
        expect(gauges).to_have_count(3)
        mission_id = dashboard.get("/api/missions")["missions"][0]["id"]
        assert _mission(dashboard, mission_id)["budget"] == {"cost": 1, "tokens": 1000, "seconds": 3600}

        dashboard.post(f"/api/missions/{mission_id}/start")
        dashboard.post(f"/api/missions/{mission_id}/progress", progress=10, tokens_used=850, cost_estimate=0.5)
        expect(page.locator(".gauge[data-kind=tokens]")).to_contain_text("850 of 1,000")
        expect(page.locator(".gauge[data-kind=tokens]")).to_contain_text("85% · near its limit")
        expect(page.locator(".gauge[data-kind=cost]")).to_have_attribute("data-level", "ok")
        expect(_card(page, "Frugal").locator(".flag")).to_have_text("85% of budget")
        expect(page.locator(".attention")).to_contain_text("1 near its budget")

        dashboard.post(f"/api/missions/{mission_id}/progress", progress=20, tokens_used=1200, cost_estimate=0.6)
        expect(page.locator(".gauge[data-kind=tokens]")).to_contain_text("120% · used up")
        expect(_card(page, "Frugal")).to_have_attribute("data-status", "cancelled")
        expect(page.locator(".receipt__step", has_text="Asked")).to_contain_text("by its budget")
        expect(page.locator(".attention")).to_contain_text("1 stopped by budget", timeout=20_000)

    def test_daily_budgets_are_set_changed_deleted_and_brought_back(self, page: Page, dashboard: Dashboard) -> None:
        mission_id = dashboard.create_running("Spends")
        dashboard.post(f"/api/missions/{mission_id}/progress", progress=5, tokens_used=900)
        _open(page, dashboard)
        page.keyboard.press("Control+k")
        page.locator(".palette__field").fill("daily budgets")
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Daily budgets")
        expect(dialog).to_contain_text("No daily budget is set")
        dialog.get_by_label("Name").fill("everything")
        dialog.get_by_role("button", name="Set budget").click()
        expect(dialog.locator(".notice[data-tone=error]")).to_contain_text("et cost or tokens")

        dialog.get_by_label("Tokens a day").fill("1000")
        dialog.get_by_label("Agent").fill("CodeAgent")
        dialog.get_by_role("button", name="Set budget").click()
        expect(dialog.locator(".budget .gauge")).to_contain_text("900 of 1,000")
        expect(dialog.locator(".budget .gauge")).to_contain_text("90% · near its limit")
        dialog.get_by_role("button", name="Change").click()
        dialog.get_by_label("Tokens a day").fill("9000")
        dialog.get_by_role("button", name="Set budget").click()
        expect(dialog.locator(".budget .gauge")).to_contain_text("900 of 9,000")
        dialog.get_by_role("button", name="Delete").click()
        expect(dialog.locator(".budget")).to_have_count(0)
        assert dashboard.get("/api/budgets")["budgets"] == []
        dialog.get_by_role("button", name="Undo").click()
        expect(dialog.locator(".budget")).to_have_count(1)

        [budget] = dashboard.get("/api/budgets")["budgets"]
        assert (budget["name"], budget["agent_type"], budget["cost"], budget["tokens"]) == (
            "everything",
            "CodeAgent",
            None,
            9000,
        )


class TestSignsOfLife:
    def test_a_silent_mission_is_shown_with_the_evidence_until_it_is_heard_of(
        self, page: Page, dashboard: Dashboard
    ) -> None:
        dashboard.create_running("Talks")
        mission_id = dashboard.create_running("Silent", metadata={"type": QUIET})
        _open(page, dashboard)
        card = _card(page, "Silent")

        expect(card).to_have_attribute("data-status", "stalled", timeout=20_000)
        expect(card).to_contain_text("No sign of life for")
        page.locator(".attention__item", has_text="1 stalled").click()
        expect(page.locator(".mission-card")).to_have_count(1)
        page.locator(".mission-card__open").click()
        facts = page.locator(".drawer .facts")
        expect(page.locator(".drawer__why")).to_contain_text("Stalled. No sign of life for")
        expect(facts).to_contain_text("Last heard of")
        expect(facts).to_contain_text("Last moved")

        # Its type's grace is a second: it may be silent again at once, but the history keeps that it was heard of.
        _heartbeat(dashboard, mission_id)
        page.get_by_role("tab", name="Timeline").click()
        expect(page.locator(".event", has_text="Heard of again").first).to_be_visible()
        expect(page.locator(".event", has_text="Stalled").first).to_contain_text("the limit is 1 s")

    def test_a_heartbeat_moves_the_last_sign_of_the_open_mission(self, page: Page, dashboard: Dashboard) -> None:
        mission_id = dashboard.create_running("Beats")
        _open(page, dashboard, f"/?mission={mission_id}")
        heard = page.locator(".drawer .facts dt", has_text="Last heard of").locator(
            "xpath=following-sibling::dd[1]//time"
        )
        before = heard.get_attribute("datetime")
        assert before is not None

        _heartbeat(dashboard, mission_id)

        expect(heard).not_to_have_attribute("datetime", before, timeout=20_000)
        assert _mission(dashboard, mission_id)["version"] == 2


def test_the_timeline_has_words_for_each_kind_of_event() -> None:
    words = (ROOT / "static/js/views/drawer-events.js").read_text()

    assert [kind.value for kind in EventType if f"  {kind.value}: [" not in words] == []


def test_a_list_of_needs_is_the_servers_own(page: Page, dashboard: Dashboard) -> None:
    """A link to what was stopped by a budget shows it though the page has never heard of it."""
    mission_id = dashboard.create_running("Over", budget={"tokens": 10})
    dashboard.post(f"/api/missions/{mission_id}/progress", progress=1, tokens_used=10)
    for number in range(3):
        dashboard.post(f"/api/missions/{dashboard.create_running(f'Other {number}')}/cancel")

    _open(page, dashboard, "/?needs=over_budget")

    expect(page.locator(".mission-card")).to_have_count(1)
    expect(page.locator(".mission-card")).to_contain_text("Over")
    expect(page.locator(".chip[data-set=true]").first).to_contain_text("Stopped by a budget")
