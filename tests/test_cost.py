"""Usage and cost of missions: what agents say, what is computed, sums that stay true, and computing anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest
from flask import Flask
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from conftest import FrozenClock, run_sql
from dashboards import ROOT, Dashboard, free_port
from mission_dashboard import reprice
from mission_dashboard.config import Settings
from mission_dashboard.errors import InvalidValue
from mission_dashboard.events import Change
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import Mission
from mission_dashboard.postgres.store import PostgresStore
from mission_dashboard.prices import PriceBook
from mission_dashboard.store import Priceable
from mission_dashboard.usage import MAX_MODELS, MAX_TOKENS, ModelUsage
from test_viewers import Viewer

MakeTracker = Callable[..., MissionTracker]

PRICES = """
use_genai_prices = false
[[price]]
model = "cheap"
input = 1
output = 2
cached = 0.25
reasoning = 4
[[price]]
model = "dear"
input = 10
output = 30
"""


@pytest.fixture
def price_file(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return path


@pytest.fixture
def book(price_file: Path) -> PriceBook:
    prices = PriceBook(price_file)
    prices.refresh()
    return prices


@pytest.fixture
def costed(make_tracker: MakeTracker, book: PriceBook) -> MissionTracker:
    return make_tracker(prices=book)


def running(tracker: MissionTracker, **said: Any) -> str:
    mission = tracker.create(title="Spends")
    return tracker.start(mission.id, **said).id


def used(**tokens: int) -> dict[str, int]:
    return {f"{name}_tokens": count for name, count in tokens.items()}


# What agents say.


def test_usage_becomes_sums_and_a_cost(costed: MissionTracker) -> None:
    mission_id = running(costed)

    mission = costed.progress(
        mission_id,
        usage={
            "cheap": used(input=1000, cached=400, output=200, reasoning=50),
            "dear": used(input=100, output=10),
        },
    )

    cheap = (600 * 1 + 400 * 0.25 + 150 * 2 + 50 * 4) / 1e6
    assert (mission.input_tokens, mission.output_tokens, mission.tokens_used) == (1100, 210, 1310)
    assert mission.usage == {
        "cheap": ModelUsage(1000, 400, 200, 50, cheap),
        "dear": ModelUsage(100, 0, 10, 0, 0.0013),
    }
    assert mission.cost_computed == mission.cost_estimate == pytest.approx(cheap + 0.0013)
    assert (mission.cost_reported, mission.unpriced_models) == (None, ())
    assert costed.metrics().total_cost == mission.cost_estimate
    assert costed.metrics().total_tokens == 1310


def test_usage_is_merged_model_by_model_and_survives_a_restart(
    costed: MissionTracker, make_tracker: MakeTracker
) -> None:
    mission_id = running(costed, usage={"cheap": used(input=100, output=10), "dear": used(input=5)})

    costed.progress(mission_id, usage={"cheap": used(input=300, output=20)})
    costed.progress(mission_id, progress=50)
    mission = costed.complete(mission_id, result="done")

    assert mission.usage is not None
    assert {model: one.input_tokens for model, one in mission.usage.items()} == {"cheap": 300, "dear": 5}
    assert mission.tokens_used == 325
    assert make_tracker().get(mission_id) == mission


def test_the_sums_of_usage_stand_in_place_of_counts_said_beside_it(costed: MissionTracker) -> None:
    mission_id = running(costed)

    costed.progress(mission_id, usage={"cheap": used(input=10, output=5)}, tokens_used=999, input_tokens=998)
    mission = costed.progress(mission_id, tokens_used=7)

    assert (mission.tokens_used, mission.input_tokens, mission.output_tokens) == (15, 10, 5)


def test_a_reported_cost_counts_and_the_computed_one_stands_beside_it(costed: MissionTracker) -> None:
    mission_id = running(costed)

    mission = costed.complete(mission_id, usage={"cheap": used(input=1_000_000)}, cost_estimate=0.7)

    assert (mission.cost_estimate, mission.cost_reported, mission.cost_computed) == (0.7, 0.7, 1.0)
    assert costed.metrics().total_cost == 0.7


def test_an_unknown_model_is_unpriced_and_the_others_are_priced(costed: MissionTracker) -> None:
    mission = costed.get(running(costed, usage={"mystery": used(input=10), "cheap": used(input=1_000_000)}))

    assert (mission.cost_computed, mission.unpriced_models) == (1.0, ("mystery",))
    assert mission.usage is not None and mission.usage["mystery"].cost is None


def test_where_nothing_can_be_priced_the_cost_is_unknown_rather_than_nothing(costed: MissionTracker) -> None:
    mission = costed.get(running(costed, usage={"mystery": used(input=10)}))

    assert (mission.cost_estimate, mission.cost_computed, mission.unpriced_models) == (None, None, ("mystery",))


def test_plain_counts_are_priced_where_input_and_output_are_known(costed: MissionTracker) -> None:
    both = costed.get(running(costed, model_used="cheap", input_tokens=1_000_000, output_tokens=500_000))
    total = costed.get(running(costed, model_used="cheap", tokens_used=1_000_000))
    more = costed.get(running(costed, model_used="cheap", input_tokens=1, output_tokens=1, tokens_used=5))
    nobody = costed.get(running(costed, input_tokens=1_000_000, output_tokens=0))

    assert (both.cost_estimate, both.cost_computed, both.usage, both.unpriced_models) == (2.0, 2.0, None, ())
    assert (total.cost_estimate, total.unpriced_models) == (None, ("cheap",))
    assert (more.cost_estimate, more.unpriced_models) == (None, ("cheap",))
    assert (nobody.cost_estimate, nobody.unpriced_models) == (None, ())


def test_plain_counts_with_a_reported_cost_are_left_alone(costed: MissionTracker) -> None:
    mission_id = running(costed, model_used="cheap", input_tokens=1_000_000, output_tokens=0)

    mission = costed.progress(mission_id, cost_estimate=0.5)

    assert (mission.cost_estimate, mission.cost_reported, mission.cost_computed) == (0.5, 0.5, None)


def test_the_prices_of_the_day_a_mission_started_hold_to_its_end(
    make_tracker: MakeTracker, book: PriceBook, price_file: Path, clock: FrozenClock
) -> None:
    price_file.write_text(f'{PRICES}[[price]]\nmodel = "cheap"\neffective_from = 2026-01-03\ninput = 5\noutput = 5\n')
    book.refresh()
    tracker = make_tracker(prices=book, clock=clock)
    mission_id = running(tracker)
    clock.advance(2 * 86_400)

    early = tracker.progress(mission_id, usage={"cheap": used(input=1_000_000)})
    late = tracker.get(running(tracker, usage={"cheap": used(input=1_000_000)}))

    assert (early.cost_computed, late.cost_computed) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("usage", "field", "said"),
    [
        ({"m": used(input=1, cached=2)}, "usage.m", "cached_tokens must not be more than input_tokens"),
        ({"m": used(output=1, reasoning=2)}, "usage.m", "reasoning_tokens must not be more than output_tokens"),
        ({"m": used(input=-1)}, "usage.m.input_tokens", "greater than or equal to 0"),
        ({"m": used(input=1, cost=1)}, "usage.m.cost_tokens", "not a known field"),
        ({"m": {"input_tokens": 1.5}}, "usage.m.input_tokens", "integer"),
        ({"": used(input=1)}, "usage", "at least 1 character"),
        ({"a\x00b": used(input=1)}, "usage", "NUL"),
        ({}, "usage", "at least 1 item"),
        ({f"m{n}": used(input=1) for n in range(MAX_MODELS + 1)}, "usage", f"at most {MAX_MODELS}"),
        ([], "usage", "object"),
        ({"a": used(input=10**15), "b": used(output=1)}, "usage", "more than 1,000,000,000,000,000 tokens"),
    ],
)
def test_wrong_usage_is_told_and_changes_nothing(costed: MissionTracker, usage: Any, field: str, said: str) -> None:
    mission_id = running(costed)
    before = costed.get(mission_id)

    with pytest.raises(InvalidValue, match=said) as caught:
        costed.progress(mission_id, progress=10, usage=usage)

    assert caught.value.problems[0].field.startswith(field)
    assert costed.get(mission_id) == before


def test_a_mission_keeps_at_most_fifty_models(costed: MissionTracker) -> None:
    mission_id = running(costed, usage={f"m{n}": used(input=1) for n in range(MAX_MODELS)})

    with pytest.raises(InvalidValue, match="at most 50"):
        costed.progress(mission_id, usage={"one more": used(input=1)})

    assert costed.get(mission_id).version == 2


def test_a_cost_from_before_costs_were_computed_counts_as_reported(make_tracker: MakeTracker, dsn: str) -> None:
    mission_id = running(make_tracker(), cost_estimate=1.5)
    run_sql(dsn, "UPDATE missions SET cost_reported = NULL")

    tracker = make_tracker()
    finished = tracker.complete(mission_id)

    assert (finished.cost_reported, finished.cost_estimate) == (1.5, 1.5)


def test_a_budget_is_kept_by_the_computed_cost(costed: MissionTracker) -> None:
    mission = costed.create(title="Limited", budget={"cost": 1.0})
    costed.start(mission.id)

    stopped = costed.progress(mission.id, usage={"dear": used(input=200_000)})

    assert (stopped.status.value, stopped.cost_computed) == ("cancelled", 2.0)


def test_what_was_spent_until_a_cancel_was_obeyed_is_priced_too(app: Flask, costed: MissionTracker) -> None:
    mission_id = running(costed, usage={"dear": used(input=100_000)})
    costed.cancel(mission_id)

    said = {"directive": "cancel", "stopped": True, "usage": {"dear": used(input=300_000)}}
    answer = app.test_client().post(f"/api/missions/{mission_id}/acknowledge", json=said)

    assert answer.status_code == 200
    assert costed.get(mission_id).cost_estimate == 3.0
    assert costed.metrics().total_cost == 3.0


def test_a_batch_takes_usage_and_refuses_wrong_usage_alone(app: Flask, costed: MissionTracker) -> None:
    mission_id = running(costed)
    said = [
        {"op": "progress", "mission_id": mission_id, "usage": {"cheap": used(input=1_000_000)}},
        {"op": "progress", "mission_id": mission_id, "usage": {"cheap": used(input=1, cached=2)}},
        {"op": "progress", "mission_id": mission_id, "usage": {"dear": used(output=100_000)}},
    ]

    results = app.test_client().post("/api/missions/batch", json={"operations": said}).get_json()["results"]

    assert [one["status"] for one in results] == [200, 422, 200]
    assert costed.get(mission_id).cost_computed == 4.0
    assert costed.spend(1, 10)[1].cost == 4


def test_the_same_finishing_call_again_is_recognised(costed: MissionTracker) -> None:
    mission_id = running(costed)
    said = {"usage": {"cheap": used(input=5)}}

    first = costed.complete(mission_id, **said)
    again = costed.complete(mission_id, **said)

    assert first == again


# Sums that stay true.

MODELS = ("cheap", "dear", "mystery", "другая")
ONE = st.tuples(*(st.integers(0, 10**7) for _ in range(4))).map(
    lambda t: used(input=t[0] + t[1], cached=t[1], output=t[2] + t[3], reasoning=t[3])
)
SAID = st.fixed_dictionaries(
    {},
    optional={
        "usage": st.dictionaries(st.sampled_from(MODELS), ONE, min_size=1, max_size=3),
        "cost_estimate": st.integers(0, 10**6).map(lambda n: n / 10_000),
        "tokens_used": st.integers(0, 10**7),
        "input_tokens": st.integers(0, 10**7),
        "output_tokens": st.integers(0, 10**7),
        "model_used": st.sampled_from(MODELS),
    },
)


def test_sums_agree_whatever_is_said_in_whatever_order(
    make_tracker: MakeTracker, book: PriceBook, price_file: Path, dsn: str, clock: FrozenClock
) -> None:
    tracker = make_tracker(prices=book, clock=clock)
    store = PostgresStore(dsn)
    store.open()

    class Spending(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            self.running: list[str] = []

        @rule(said=SAID, hours=st.integers(0, 30))
        def start(self, said: dict[str, Any], hours: int) -> None:
            clock.advance(hours * 3600.0)
            self.running.append(running(tracker, **said))

        @rule(said=SAID, number=st.integers(0, 5))
        def report(self, said: dict[str, Any], number: int) -> None:
            if self.running:
                tracker.progress(self.running[number % len(self.running)], progress=1.0, **said)

        @rule(said=SAID)
        def finish(self, said: dict[str, Any]) -> None:
            if self.running:
                tracker.complete(self.running.pop(), **said)

        @rule(price=st.integers(0, 50))
        def correct(self, price: int) -> None:
            row = f'[[price]]\nmodel = "mystery"\ninput = 0.{price:02}\noutput = {price}\n'
            price_file.write_text(PRICES + (row if price % 3 else ""))
            book.refresh()
            reprice.reprice_page(tracker, Priceable(), "", dry_run=False)

        @invariant()
        def sums_agree(self) -> None:
            missions = store.missions([row[0] for row in run_sql(dsn, "SELECT id FROM missions")])
            for mission in missions:
                _is_consistent(mission)
            metrics = tracker.metrics()
            assert metrics.total_tokens == sum(one.tokens_used or 0 for one in missions)
            cost = sum((Decimal(repr(one.cost_estimate or 0)) for one in missions), Decimal(0))
            assert Decimal(repr(metrics.total_cost)) == Decimal(repr(float(cost)))
            total = tracker.spend(100_000, 1)[1]
            assert total.input + total.output + total.unsplit == metrics.total_tokens
            assert abs(total.cost - cost) < Decimal("1e-9")
            minutes = run_sql(dsn, "SELECT coalesce(sum(tokens), 0), coalesce(sum(cost), 0) FROM mission_minutes")
            assert minutes == [(metrics.total_tokens, cost)]

    run_state_machine_as_test(
        Spending,
        settings=hypothesis_settings(
            max_examples=12,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    store.close()
    counted = run_sql(dsn, SPEND_SQL)
    assert counted
    run_sql(dsn, "SELECT mission_dashboard_recount()")
    assert run_sql(dsn, SPEND_SQL) == counted


SPEND_SQL = """
    SELECT day, model, sum(input), sum(cached), sum(output), sum(reasoning), sum(unsplit), sum(unpriced),
        sum(cost), sum(cost_reported), sum(cost_computed)
    FROM mission_spend GROUP BY day, model
    HAVING sum(input) <> 0 OR sum(output) <> 0 OR sum(unsplit) <> 0 OR sum(cost) <> 0 OR sum(cost_computed) <> 0
    ORDER BY day, model COLLATE "C"
"""


def _is_consistent(mission: Mission) -> None:
    computed = mission.cost_computed
    assert mission.cost_estimate == (computed if mission.cost_reported is None else mission.cost_reported)
    if mission.usage is None:
        return
    parts = mission.usage.values()
    assert mission.input_tokens == sum(one.input_tokens for one in parts)
    assert mission.output_tokens == sum(one.output_tokens for one in parts)
    assert mission.tokens_used == sum(one.tokens for one in parts)
    costs = [Decimal(repr(one.cost)) for one in parts if one.cost is not None]
    assert computed == (float(sum(costs, Decimal(0))) if costs else None)
    assert set(mission.unpriced_models) == {
        name for name, one in mission.usage.items() if one.cost is None and one.tokens
    }


# Spend by day and model.


@pytest.fixture
def app(settings: Settings, costed: MissionTracker) -> Flask:
    return create_app(settings, costed)[0]


def test_spend_is_listed_by_day_and_model(make_tracker: MakeTracker, book: PriceBook, clock: FrozenClock) -> None:
    tracker = make_tracker(prices=book, clock=clock)
    first = running(tracker, usage={"cheap": used(input=1_000_000, cached=400_000, output=10, reasoning=10)})
    clock.advance(86_400)
    tracker.complete(first, usage={"mystery": used(input=7)})
    running(tracker, usage={"cheap": used(input=5), "dear": used(input=5)}, cost_estimate=3.0)
    running(tracker, tokens_used=11)

    rows, total = tracker.spend(30, 100)

    found = {(key.day.day, key.model): spend for key, spend in rows}
    assert set(found) == {(2, "cheap"), (2, "mystery"), (3, "cheap"), (3, "dear"), (3, "")}
    cheap = found[2, "cheap"]
    assert (cheap.input, cheap.cached, cheap.output, cheap.reasoning) == (1_000_000, 400_000, 10, 10)
    assert cheap.cost == cheap.cost_computed == Decimal("0.70004")
    assert (found[2, "mystery"].unpriced, found[2, "mystery"].cost) == (7, 0)
    assert (found[3, "cheap"].cost, found[3, "cheap"].cost_computed) == (0, Decimal("0.000005"))
    assert (found[3, ""].cost, found[3, ""].cost_reported, found[3, ""].unsplit, found[3, ""].unpriced) == (
        3,
        3,
        11,
        11,
    )
    assert total.cost == Decimal("3.70004")
    assert [key.day.day for key, _ in rows] == [3, 3, 3, 2, 2]
    assert [key.day.day for key, _ in tracker.spend(1, 100)[0]] == [3, 3, 3]


def test_the_api_lists_spend(app: Flask, costed: MissionTracker) -> None:
    mission_id = running(costed, usage={"cheap": used(input=1_000_000)})

    answer = app.test_client().get("/api/metrics/costs?days=2").get_json()

    assert [(row["model"], row["input_tokens"], row["cost"]) for row in answer["costs"]] == [("cheap", 1_000_000, 1.0)]
    assert (answer["total"]["cost"], answer["days"], answer["is_truncated"]) == (1.0, 2, False)
    mission = app.test_client().get(f"/api/missions/{mission_id}").get_json()["mission"]
    assert mission["usage"] == {"cheap": {**used(input=1_000_000, cached=0, output=0, reasoning=0), "cost": 1.0}}
    assert (mission["cost_reported"], mission["cost_computed"], mission["unpriced_models"]) == (None, 1.0, [])
    assert app.test_client().get("/api/metrics/costs?days=0").status_code == 422


def test_spend_is_read_from_few_rows_whatever_the_number_of_missions(costed: MissionTracker, dsn: str) -> None:
    for _ in range(30):
        running(costed, usage={"cheap": used(input=1)})

    assert run_sql(dsn, "SELECT count(*) FROM mission_spend") == [(1,)]


# Computing anew.


def test_a_price_set_later_is_applied_by_repricing(
    costed: MissionTracker, book: PriceBook, price_file: Path, clock: FrozenClock
) -> None:
    finished = running(costed, usage={"mystery": used(input=1_000_000)})
    costed.complete(finished)
    told = running(costed, usage={"mystery": used(input=1_000_000)}, cost_estimate=9.0)
    seen: list[Change] = []
    costed.subscribe(seen.extend)
    price_file.write_text(f'{PRICES}[[price]]\nmodel = "mystery"\ninput = 3\noutput = 3\n')
    book.refresh()

    preview = reprice.reprice_page(costed, Priceable(), "", dry_run=True)
    assert (preview.looked_at, preview.changed, preview.computed.after, preview.counted.after) == (2, 2, 6, 12)
    assert costed.get(finished).cost_computed is None

    reprice.reprice_page(costed, Priceable(), "", dry_run=False)

    after = costed.get(finished)
    assert (after.status.value, after.cost_computed, after.cost_estimate) == ("completed", 3.0, 3.0)
    assert after.unpriced_models == ()
    assert (costed.get(told).cost_reported, costed.get(told).cost_estimate, costed.get(told).cost_computed) == (9, 9, 3)
    assert costed.metrics().total_cost == 12.0
    assert Counter(change.event.type.value for change in seen) == {"mission_repriced": 2}
    assert costed.events(finished)[-1].changes == {"cost_estimate": 3.0, "cost_computed": 3.0}
    assert reprice.reprice_page(costed, Priceable(), "", dry_run=False).changed == 0


def test_repricing_can_be_narrowed(
    make_tracker: MakeTracker, book: PriceBook, price_file: Path, clock: FrozenClock
) -> None:
    tracker = make_tracker(prices=book, clock=clock)
    running(tracker, usage={"mystery": used(input=1)})
    clock.advance(86_400)
    new = running(tracker, usage={"mystery": used(input=1)})
    running(tracker, model_used="other", input_tokens=1, output_tokens=1)
    price_file.write_text(f'{PRICES}[[price]]\nmodel = "*"\ninput = 3\noutput = 3\n')
    book.refresh()

    wanted = reprice.parse_wanted("2026-01-03", "mystery")
    page = reprice.reprice_page(tracker, wanted, "", dry_run=False)

    assert [row["mission_id"] for row in page.largest] == [new]
    assert reprice.reprice_page(tracker, Priceable(), "", dry_run=True).changed == 2


def test_a_correction_is_counted_where_the_mission_ended(
    make_tracker: MakeTracker, book: PriceBook, price_file: Path, clock: FrozenClock
) -> None:
    tracker = make_tracker(prices=book, clock=clock)
    tracker.complete(running(tracker, usage={"dear": used(input=1_000_000)}))
    clock.advance(3600)
    price_file.write_text(PRICES.replace("input = 10", "input = 4"))
    book.refresh()

    reprice.reprice_page(tracker, Priceable(), "", dry_run=False)

    points = {point.at: point.cost for point in tracker.history(90) if point.cost}
    assert points == {datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc): 4.0}
    assert tracker.metrics().total_cost == 4.0


def test_repricing_waits_for_no_one_and_loses_no_race(
    make_tracker: MakeTracker, book: PriceBook, price_file: Path
) -> None:
    agents, corrector = make_tracker(prices=book), make_tracker(prices=book)
    mission_id = running(agents, usage={"dear": used(input=1_000_000)})
    price_file.write_text(PRICES.replace("input = 10", "input = 4"))
    book.refresh()
    corrector.get(mission_id)
    agents.progress(mission_id, progress=50)

    reprice.reprice_page(corrector, Priceable(), "", dry_run=False)
    finished = agents.complete(mission_id)

    assert (finished.progress, finished.cost_estimate, finished.version) == (100.0, 4.0, 5)


def test_repricing_goes_page_by_page(costed: MissionTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [running(costed, usage={"cheap": used(input=1)}) for _ in range(5)]
    monkeypatch.setattr(reprice, "PAGE", 2)

    first = reprice.reprice_page(costed, Priceable(), "", dry_run=True)
    second = reprice.reprice_page(costed, Priceable(), first.next_cursor or "", dry_run=True)
    third = reprice.reprice_page(costed, Priceable(), second.next_cursor or "", dry_run=True)

    assert (first.next_cursor, second.next_cursor, third.next_cursor) == (ids[1], ids[3], None)
    assert (first.looked_at, second.looked_at, third.looked_at) == (2, 2, 1)


@pytest.mark.parametrize("since", ["2026-1-1", "yesterday", "2026-02-30", "2026-01-01T00:00:00Z", ""])
def test_the_api_refuses_what_is_no_day(app: Flask, since: str) -> None:
    answer = app.test_client().post("/api/costs/reprice", json={"since": since})

    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == "since"


def test_the_api_only_tells_unless_it_is_told_to_write(
    app: Flask, costed: MissionTracker, book: PriceBook, price_file: Path
) -> None:
    mission_id = running(costed, usage={"mystery": used(input=1_000_000)})
    price_file.write_text(f'{PRICES}[[price]]\nmodel = "mystery"\ninput = 3\noutput = 3\n')
    book.refresh()
    client = app.test_client()

    looked = client.post("/api/costs/reprice").get_json()
    assert (looked["dry_run"], looked["changed"], costed.get(mission_id).cost_computed) == (True, 1, None)

    wrote = client.post("/api/costs/reprice", json={"dry_run": False}).get_json()
    assert (wrote["changed"], wrote["computed"], costed.get(mission_id).cost_computed) == (
        1,
        {"before": 0.0, "after": 3.0},
        3.0,
    )


def test_repricing_with_a_wrong_price_file_is_refused(app: Flask, price_file: Path) -> None:
    price_file.write_text("[[price]]\n")

    for _ in range(2):
        answer = app.test_client().post("/api/costs/reprice")
        assert answer.status_code == 422
        assert "Row 1 (line 1)" in answer.get_json()["detail"]


class Command:
    """``mission-dashboard reprice`` in a process of its own, with the settings of a dashboard."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "MISSION_DASHBOARD_HOST": "127.0.0.1",
            "MISSION_DASHBOARD_PORT": str(dashboard.port),
            "MISSION_DASHBOARD_DATA_DIR": str(dashboard.data_dir),
        }
        self._folder = dashboard.data_dir

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mission_dashboard.reprice", *arguments],
            env=self.environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def test_the_command_asks_a_running_server_and_else_opens_the_database(data_dir: Path) -> None:
    prices = data_dir / "prices.toml"
    prices.write_text(PRICES)
    dashboard = Dashboard(data_dir).start()
    try:
        command = Command(dashboard)
        mission_id = dashboard.create("\x1b[31mSpends")
        dashboard.post(f"/api/missions/{mission_id}/start", usage={"mystery": used(input=1_000_000)})
        _set_price(prices, 3)

        refused = command()
        assert (refused.returncode, "--yes" in refused.stderr) == (1, True)
        assert "\x1b" not in refused.stdout and mission_id in refused.stdout
        looked = command("--dry-run", "--json")
        assert json.loads(looked.stdout)["preview"]["computed"] == {"before": 0.0, "after": 3.0}
        assert dashboard.get(f"/api/missions/{mission_id}")["mission"]["cost_computed"] is None
        wrote = command("--yes", "--json", "--model", "mystery")
        assert json.loads(wrote.stdout)["written"]["changed"] == 1
        assert dashboard.get(f"/api/missions/{mission_id}")["mission"]["cost_estimate"] == 3.0
        assert dashboard.get("/api/metrics")["metrics"]["total_cost"] == 3.0

        assert dashboard.stop() == 0
        _set_price(prices, 5)
        wrote = command("--yes")
        assert (wrote.returncode, "Written: 1 missions" in wrote.stdout) == (0, True), wrote.stderr
        _set_price(prices, -1)
        wrong = command("--dry-run")
        assert (wrong.returncode, "Row 3" in wrong.stderr) == (1, True)

        _set_price(prices, 5)
        dashboard.start()
        assert dashboard.get(f"/api/missions/{mission_id}")["mission"]["cost_estimate"] == 5.0
        assert dashboard.get("/api/metrics")["metrics"]["total_cost"] == 5.0
    finally:
        dashboard.stop()


def _set_price(prices: Path, dollars: int) -> None:
    prices.write_text(f'{PRICES}[[price]]\nmodel = "mystery"\ninput = {dollars}\noutput = {dollars}\n')


def test_the_command_sends_its_key_and_tells_in_json_what_is_wrong(data_dir: Path, dsn: str) -> None:
    secret = "k3y-of-a-test-" + "0123456789abcdef" * 2
    needs = {"ENVIRONMENT": "production", "POSTGRES_DSN": dsn, "MISSION_DASHBOARD_SECRET_KEY": secret[::-1]}
    dashboard = Dashboard(data_dir, MISSION_DASHBOARD_ADMIN_KEY=secret, **needs).start()
    try:
        command = Command(dashboard)
        refused = command("--url", dashboard.url, "--dry-run", "--json")
        allowed = command("--url", dashboard.url, "--dry-run", "--json", "--key", secret)
    finally:
        dashboard.stop()

    assert "refuses" in json.loads(refused.stdout)["error"] and refused.returncode == 1
    assert (allowed.returncode, json.loads(allowed.stdout)["written"]) == (0, None)


def test_the_command_does_not_wait_for_ever_in_a_database_that_hangs(data_dir: Path, dsn: str) -> None:
    command = Command(Dashboard(data_dir))
    command.environment["POSTGRES_DSN"] = dsn
    locking = psycopg2.connect(dsn)
    locking.cursor().execute("LOCK TABLE missions")
    told = command("--dry-run")
    locking.close()

    assert told.returncode == 1
    assert "did not answer" in told.stderr


def test_the_command_says_what_is_wrong_with_its_arguments() -> None:
    with pytest.raises(SystemExit) as ended:
        reprice.main(["--since", "yesterday"])

    assert ended.value.code == 2
    assert reprice.run(reprice.Options(url="http://127.0.0.1:1", dry_run=True)) == 1


def test_a_wrong_price_file_keeps_the_server_from_starting(data_dir: Path) -> None:
    (data_dir / "prices.toml").write_text('[[price]]\nmodel = "a"\n')

    ended = subprocess.run(
        [sys.executable, str(ROOT / "src/mission_dashboard/mission_dashboard.py")],
        env={
            **os.environ,
            "MISSION_DASHBOARD_PORT": str(free_port()),
            "MISSION_DASHBOARD_DATA_DIR": str(data_dir),
            "MISSION_DASHBOARD_LOG_DIR": str(data_dir / "logs"),
        },
        cwd=data_dir,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "Row 1 (line 1): it needs 'input' and 'output'" in ended.stderr


def test_sums_that_no_64_bits_hold_are_told_exactly_and_stop_nothing(dsn: str, data_dir: Path) -> None:
    with MissionTracker.connect(dsn) as tracker:
        mission = tracker.create(title="Used much")
        tracker.start(mission.id, model_used="m")
        tracker.complete(mission.id, tokens_used=MAX_TOKENS)
    run_sql(dsn, "UPDATE mission_totals SET tokens = tokens * 100000")
    run_sql(dsn, "UPDATE mission_minutes SET tokens = tokens * 100000")
    run_sql(dsn, "UPDATE mission_days SET tokens = tokens * 100000")
    run_sql(dsn, "UPDATE mission_spend SET unsplit = unsplit * 100000")
    whole = MAX_TOKENS * 100_000

    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    try:
        assert dashboard.get("/api/metrics")["metrics"]["total_tokens"] == whole
        assert sum(point["tokens"] for point in dashboard.get("/api/metrics/history")["points"]) == whole
        assert dashboard.get("/api/metrics/costs")["total"]["unsplit_tokens"] == whole
        with urllib.request.urlopen(f"{dashboard.url}/metrics", timeout=10) as answer:
            lines = [
                line for line in answer.read().decode().splitlines() if 'model="m"' in line and "_tokens_total" in line
            ]
        assert [float(line.rsplit(" ", 1)[1]) for line in lines if not line.endswith(" 0.0")] == [1e20]
        viewer = Viewer(dashboard.url)
        assert viewer.wait_for("initial_data")["metrics"]["total_tokens"] == whole
        viewer.leave()
    finally:
        dashboard.stop()


def test_the_kept_metrics_hold_as_many_tokens_as_they_can(dsn: str, tracker: MissionTracker) -> None:
    store = PostgresStore(dsn)
    store.open()
    store.snapshot_metrics(datetime.now(timezone.utc), replace(tracker.metrics(), total_tokens=10**20))
    store.close()
    assert run_sql(dsn, "SELECT max(total_tokens) FROM mission_metrics") == [(2**63 - 1,)]
