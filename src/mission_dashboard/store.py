"""What the tracker needs of a store, in the domain's words; ``postgres/store.py`` is the one there is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol

from mission_dashboard.control import DayBudget, Rules
from mission_dashboard.cursors import Cursor
from mission_dashboard.events import MissionEvent
from mission_dashboard.metrics import Delta, Metrics, Point, Removal, Totals
from mission_dashboard.missions import Mission, Question
from mission_dashboard.otlp.known import Kept, Key, Known, Use
from mission_dashboard.queries import Filters, Query
from mission_dashboard.records import LogLine, RecordPage, Span
from mission_dashboard.retention import State
from mission_dashboard.shared.totals import KeptTotals
from mission_dashboard.spend import Spend, SpendKey
from mission_dashboard.tree import Tree


class Step(NamedTuple):
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
    lines: Sequence[LogLine] = ()
    spans: Sequence[Span] = ()
    kept: Sequence[Kept] = ()
    prepared: Mapping[str, Any] | None = None
    """What the store makes of all this before it is written, where that was done ahead."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """How many connections for reading there may be, and how many are busy."""

    size: int
    in_use: int


@dataclass(frozen=True, slots=True)
class Priceable:
    """Which missions to price anew: those that started since a moment, and those of a model; ``None`` is any."""

    since: datetime | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class TableSize:
    """What one table takes. Rows are PostgreSQL's own estimates; dead ones are reused once vacuumed."""

    name: str
    rows: int
    dead_rows: int
    table_bytes: int
    index_bytes: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What a reader has seen: a snapshot as PostgreSQL writes it, and the transaction before which it saw all."""

    snapshot: str
    horizon: int

    def before(self, transactions: int) -> Sight:
        """Return the sight of some transactions earlier, all of those before it ended."""
        horizon = max(self.horizon - transactions, 1)
        return Sight(f"{horizon}:{horizon}:", horizon)


@dataclass(frozen=True, slots=True)
class News:
    """What others committed since a sight, and the sight that it ends with.

    ``missions`` are those of the events, as they are by now; ``is_all`` is false where there were more events than
    asked for, and then they are only a part. Of the missions in ``missed`` there may be more lines and spans.
    """

    sight: Sight
    events: Sequence[MissionEvent]
    missions: Mapping[str, Mission]
    lines: Sequence[LogLine] = ()
    spans: Sequence[Span] = ()
    is_all: bool = True
    missed: Collection[str] = ()


class Carrier(Protocol):
    """Carries hints between the processes of one database, or some of them, and may be away."""

    def start(self, hear: Callable[[str], None]) -> None:
        """Call ``hear`` with what others carry here, and with empty text when something was missed."""

    def carry(self, said: str) -> int:
        """Tell the other processes; return how many of them heard it."""

    def close(self) -> None:
        """Carry no more."""


class Store(Protocol):
    """Where missions are kept. Every method raises `StoreUnavailable` while the store does not answer."""

    database: str
    """The random name that is in it."""
    server_version: str
    dsn: str

    def open(self) -> None: ...
    def close(self) -> None: ...
    def read_where_written(self) -> None: ...
    def prepared(self, batch: Batch) -> Batch: ...
    def write_batch(self, batch: Batch) -> None: ...
    def sight(self) -> Sight: ...
    def news(self, since: Sight, limit: int, watched: Collection[str] = (), *, own: bool = False) -> News: ...
    def count_others(self) -> int: ...
    def listen(self, hear: Callable[[str], None]) -> None: ...
    def carry_hints(self, carrier: Carrier) -> None: ...
    def keep_totals(self, totals: KeptTotals) -> None: ...
    def tell_others(self, said: str = "") -> None: ...
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
    def events_from(self) -> int: ...
    def sizes(self) -> tuple[int, list[TableSize]]: ...
    def retention(self) -> State: ...
    def removals(self, after: int) -> list[Removal]: ...
    def events_since(self, transaction: int, limit: int) -> tuple[list[MissionEvent], int | None]: ...
    def events(self, mission_id: str, after: int, limit: int) -> list[MissionEvent]: ...
    def question(self, mission_id: str, question_id: str) -> Question | None: ...
    def logs(self, mission_id: str, after: str | None, limit: int) -> RecordPage: ...
    def last_logs(self, mission_id: str, count: int) -> RecordPage: ...
    def spans(self, mission_id: str, after: str | None, limit: int) -> RecordPage: ...
    def tree(self, mission_id: str) -> Tree: ...
    def known_spans(self, keys: Sequence[Key], trace_ids: Sequence[str]) -> dict[Key, Known]: ...
    def kept_spans(self, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]: ...
    def span_uses(self, mission_ids: Sequence[str]) -> list[Use]: ...
    def ancestors(self, mission_ids: Sequence[str]) -> list[str]: ...
    def open_traces(self, at: datetime, limit: int) -> list[str]: ...
    def waiting_spans(self) -> int: ...
    def forget_known_spans(self, before: datetime) -> None: ...
    def totals(self) -> Totals: ...
    def overdue(self, at: datetime, rules: Rules) -> list[Mission]: ...
    def day_budgets(self) -> list[DayBudget]: ...
    def put_day_budget(self, budget: DayBudget) -> None: ...
    def drop_day_budget(self, name: str) -> bool: ...
    def minutes(self, since: datetime) -> list[Point]: ...
    def spend(self, since: date, limit: int) -> list[tuple[SpendKey, Spend]]: ...
    def spend_by_model(self, limit: int) -> list[tuple[str, Spend]]: ...
    def pool_state(self) -> PoolState: ...
    def total_spend(self, since: date) -> Spend: ...
    def priceable(self, wanted: Priceable, after_id: str, limit: int) -> list[Mission]: ...
    def duration_percentiles(self, since: datetime) -> tuple[float, float] | None: ...
    def snapshot_metrics(self, at: datetime, metrics: Metrics) -> None: ...
    def page(self, query: Query, limit: int) -> list[Mission]: ...
    def count(self, filters: Filters) -> int: ...
