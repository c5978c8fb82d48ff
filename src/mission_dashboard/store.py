"""What the tracker needs of a store, in the domain's words; ``postgres/store.py`` is the one there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from mission_dashboard.control import DayBudget, Rules
from mission_dashboard.cursors import Cursor
from mission_dashboard.events import MissionEvent
from mission_dashboard.metrics import Delta, Metrics, Point, Totals
from mission_dashboard.missions import Mission, Question
from mission_dashboard.queries import Filters, Query
from mission_dashboard.spend import Spend, SpendKey


@dataclass(frozen=True, slots=True)
class Step:
    """From a mission as it is stored (``None``: not yet) to how it shall be stored."""

    before: Mission | None
    after: Mission


@dataclass(frozen=True, slots=True)
class NewKey:
    """An idempotency key to remember, with the digest of the request that used it first."""

    key: str
    digest: str
    mission_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What an idempotency key was used for."""

    key: str
    digest: str
    mission_id: str


@dataclass(slots=True)
class Batch:
    """What is written together: each mission once, every event, and what they add to the totals."""

    steps: Sequence[Step] = ()
    events: Sequence[MissionEvent] = ()
    keys: Sequence[NewKey] = ()
    delta: Delta = field(default_factory=Delta)
    touched: Sequence[Mission] = ()
    """Missions of which only ``heartbeat_at`` is new."""


@dataclass(frozen=True, slots=True)
class Priceable:
    """Which missions to price anew: those that started since a moment, and those of a model; ``None`` is any."""

    since: datetime | None = None
    model: str | None = None


class Store(Protocol):
    """Where missions are kept. Every method raises `StoreUnavailable` while the store does not answer."""

    server_version: str

    def open(self) -> None: ...
    def close(self) -> None: ...
    def write_batch(self, batch: Batch) -> int: ...
    def missions(self, ids: Sequence[str]) -> list[Mission]: ...
    def alive(self, limit: int) -> list[Mission]: ...
    def running(self, limit: int) -> list[Mission]: ...
    def newest_ping(self, key: str) -> Mission | None: ...
    def finished(self, limit: int) -> list[Mission]: ...
    def keys(self, keys: Sequence[str]) -> list[StoredKey]: ...
    def forget_keys(self) -> None: ...
    def ping(self) -> None: ...
    def horizon(self) -> int: ...
    def cursor(self, transaction: int) -> Cursor: ...
    def events_since(self, transaction: int, limit: int) -> tuple[list[MissionEvent], int | None]: ...
    def events(self, mission_id: str, after: int, limit: int) -> list[MissionEvent]: ...
    def question(self, mission_id: str, question_id: str) -> Question | None: ...
    def totals(self) -> Totals: ...
    def overdue(self, at: datetime, rules: Rules) -> list[Mission]: ...
    def day_budgets(self) -> list[DayBudget]: ...
    def put_day_budget(self, budget: DayBudget) -> None: ...
    def drop_day_budget(self, name: str) -> bool: ...
    def minutes(self, since: datetime) -> list[Point]: ...
    def spend(self, since: date, limit: int) -> list[tuple[SpendKey, Spend]]: ...
    def total_spend(self, since: date) -> Spend: ...
    def priceable(self, wanted: Priceable, after_id: str, limit: int) -> list[Mission]: ...
    def duration_percentiles(self, since: datetime) -> tuple[float, float] | None: ...
    def snapshot_metrics(self, at: datetime, metrics: Metrics) -> None: ...
    def page(self, query: Query, limit: int) -> list[Mission]: ...
    def count(self, filters: Filters) -> int: ...
