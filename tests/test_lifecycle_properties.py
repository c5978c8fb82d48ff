"""The tracker against a simple model: whatever is done in whatever order, both must agree."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from conftest import dsn_for, run_sql
from mission_dashboard.errors import IllegalMove, VersionMismatch
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import MissionStatus
from mission_dashboard.queries import Filters, Query

ALLOWED = {
    "start": ("pending",),
    "progress": ("running",),
    "complete": ("running",),
    "fail": ("running",),
    "cancel": ("pending", "running"),
}
LEADS_TO = {"start": "running", "progress": "running", "complete": "completed", "fail": "failed", "cancel": "cancelled"}
FINISHING = ("complete", "fail", "cancel")
_numbers = itertools.count(1)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20).filter(
    lambda text: text.strip()
)
usage = st.fixed_dictionaries(
    {}, optional={"tokens_used": st.integers(0, 10**12), "cost_estimate": st.floats(0, 1000).map(lambda x: round(x, 6))}
)


class Lifecycle(RuleBasedStateMachine):
    """Missions live and end; a dictionary per mission is the model."""

    cluster = ""
    missions = Bundle("missions")

    @initialize()
    def open(self) -> None:
        self.name = f"prop{next(_numbers)}"
        run_sql(self.cluster, f"CREATE DATABASE {self.name} TEMPLATE template STRATEGY file_copy")
        self.dsn = dsn_for(self.cluster, self.name)
        self.tracker = MissionTracker.connect(self.dsn)
        self.model: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.cursors: list[tuple[str, int]] = [(self.tracker.snapshot().cursor, 0)]
        self.log: list[str] = []

    def teardown(self) -> None:
        if hasattr(self, "tracker"):
            self.tracker.close()
            run_sql(self.cluster, f"DROP DATABASE {self.name} WITH (FORCE)")

    @rule(
        target=missions, title=texts, priority=st.sampled_from(["low", "high"]), key=st.sampled_from([None, "a", "b"])
    )
    def create(self, title: str, priority: str, key: str | None) -> Any:
        if key in self.keys:
            return multiple()
        mission = self.tracker.create(title=title, priority=priority, idempotency_key=key)
        if key is not None:
            again = self.tracker.create(title=title, priority=priority, idempotency_key=key)
            assert again == mission
            self.keys[key] = mission.id
        self._learn(mission.id, {"status": "pending", "version": 1, "priority": priority, "tokens": 0, "cost": 0.0})
        return mission.id

    @rule(mission_id=missions, move=st.sampled_from(sorted(ALLOWED)), said=usage, stale=st.booleans())
    def move(self, mission_id: str, move: str, said: dict[str, Any], stale: bool) -> None:
        known = self.model[mission_id]
        body: dict[str, Any] = {} if move == "cancel" else {"step": "working", **said}
        if move == "cancel":
            body = {"reason": "because"}
        elif move == "fail":
            body = {"error_message": "no", **said}
        elif move == "complete":
            body = {"result": said, **said}
        if stale and known.get("finished") != (move, body):
            with pytest.raises(VersionMismatch):
                getattr(self.tracker, move)(mission_id, if_match=(known["version"] + 1,), **body)
            return
        if known.get("finished") == (move, body):
            assert getattr(self.tracker, move)(mission_id, **body).version == known["version"]
            return
        if known["status"] not in ALLOWED[move]:
            with pytest.raises(IllegalMove):
                getattr(self.tracker, move)(mission_id, **body)
            return
        getattr(self.tracker, move)(mission_id, **body)
        changed = {**known, "status": LEADS_TO[move], "version": known["version"] + 1}
        if move != "cancel":
            changed["tokens"] = said.get("tokens_used", known["tokens"])
            changed["cost"] = said.get("cost_estimate", known["cost"])
        if move in FINISHING:
            changed["finished"] = (move, body)
        self._learn(mission_id, changed)

    @rule(target=missions, mission_id=consumes(missions))
    def retry(self, mission_id: str) -> Any:
        known = self.model[mission_id]
        if known["status"] in ("pending", "running"):
            with pytest.raises(IllegalMove):
                self.tracker.retry(mission_id)
            return mission_id
        again = self.tracker.retry(mission_id)
        fresh = {"status": "pending", "version": 1, "priority": known["priority"], "tokens": 0, "cost": 0.0}
        self._learn(again.id, fresh)
        return multiple(mission_id, again.id)

    @rule()
    def restart(self) -> None:
        self.tracker.close()
        self.tracker = MissionTracker.connect(self.dsn)

    @rule()
    def look_away(self) -> None:
        self.cursors.append((self.tracker.snapshot().cursor, len(self.log)))

    def _learn(self, mission_id: str, known: dict[str, Any]) -> None:
        self.model[mission_id] = known
        self.log.append(mission_id)

    @invariant()
    def every_mission_is_as_the_model_says(self) -> None:
        for mission_id, known in getattr(self, "model", {}).items():
            mission = self.tracker.get(mission_id)
            assert (mission.status.value, mission.version) == (known["status"], known["version"])
            assert (mission.tokens_used or 0, mission.cost_estimate or 0.0) == (known["tokens"], known["cost"])

    @invariant()
    def the_numbers_are_a_recount(self) -> None:
        if not hasattr(self, "model"):
            return
        metrics = self.tracker.metrics()
        statuses = [known["status"] for known in self.model.values()]
        assert metrics.total_missions == len(statuses)
        for status in MissionStatus:
            assert getattr(metrics, f"{status.value}_missions") == statuses.count(status.value)
        assert metrics.total_tokens == sum(known["tokens"] for known in self.model.values())
        assert metrics.total_cost == pytest.approx(sum(known["cost"] for known in self.model.values()))

    @invariant()
    def lists_hold_what_their_counts_say(self) -> None:
        if not hasattr(self, "model"):
            return
        for status, priority in (((), ()), (("running",), ()), (("pending", "failed"), ("high",)), ((), ("low",))):
            page = self.tracker.list(Query(Filters(status=status, priority=priority), limit=200))
            wanted = {
                mission_id
                for mission_id, known in self.model.items()
                if (not status or known["status"] in status) and (not priority or known["priority"] in priority)
            }
            assert {mission.id for mission in page.missions} == wanted
            assert page.total == len(wanted)

    @invariant()
    def nobody_who_looked_away_misses_anything(self) -> None:
        for cursor, position in getattr(self, "cursors", [])[-3:]:
            caught_up = self.tracker.changes_since(cursor)
            assert {mission.id for mission in caught_up.missions} >= set(self.log[position:])


@pytest.fixture
def lifecycle(cluster: str) -> type[Lifecycle]:
    Lifecycle.cluster = cluster
    return Lifecycle


def test_missions_live_as_the_model_says(lifecycle: type[Lifecycle]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lifecycle,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
