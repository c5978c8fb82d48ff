"""Alerts in PostgreSQL. Method names follow the names in alerts.sql."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import aiosql
import orjson
import psycopg2
from uuid_utils import uuid7

from mission_dashboard.alerts.firings import Decision, Firing, Happening
from mission_dashboard.alerts.rules import (
    ENDS_WITH_RETRY,
    FILTERS,
    WATCHED,
    Channel,
    Filter,
    Rule,
    Severity,
    Signal,
    Silence,
)
from mission_dashboard.alerts.store import Delivery, Evaluating, Lease, Place, Summary
from mission_dashboard.errors import NameTaken, StoreUnavailable
from mission_dashboard.events import EventType
from mission_dashboard.postgres.connections import (
    LOST,
    Connection,
    Pool,
    connect,
    fetch,
    patience,
)

logger = logging.getLogger(__name__)

QUERIES = Path(__file__).parent / "sql" / "alerts.sql"
POOL_SIZE = 2
EVALUATION_TIMEOUT_S = 5.0
"""How long a statement of an evaluation may take, measures excepted: for so long alerts are blind on a silent wire."""
MEASURE_TIMEOUT_S = 10.0
"""How long one measure may take. Alerts wait meanwhile, so one that cannot be had is given up until the next pass."""
SPARE_S = 5.0
"""How much longer than that the server's own answer to it may take."""
EVALUATION_OPTIONS = "-c idle_in_transaction_session_timeout=10000"
"""Where we are gone without a word, the server ends our evaluation, so that another process can have its own."""
FIRING = (
    "id::text",
    "rule_id::text",
    "rule_name",
    "signal",
    "severity",
    "summary",
    "fired_at",
    "last_at",
    "mission_id",
    "missions",
    "value",
    "threshold",
    "count",
    "resolved_at",
    "acknowledged_at",
    "acknowledged_by",
    "silenced_by",
)
COLUMN_OF = {"type": "mission_type"}
# Whether a mission is meant: one expression for all measures, with names for its parameters.
IS_MEANT = " AND ".join(
    f"(%(f_{name})s::text[] IS NULL OR {COLUMN_OF.get(name, name)} = ANY(%(f_{name})s))" for name in FILTERS
)

# Whether rules look at an event: seen now, after the place, of a kind they watch or a report of a stalled mission, a
# sign of life whatever it says.
IS_WATCHED = """(
    pg_visible_in_snapshot(committed_in, %(now)s::pg_snapshot)
    AND committed_in >= %(transaction)s::text::xid8
    AND (committed_in > %(transaction)s::text::xid8 OR (mission_id, version) > (%(mission_id)s, %(version)s))
    AND (type = ANY(%(types)s) OR changes ? 'stalled_reason')
    AND EXISTS (SELECT 1 FROM missions WHERE id = mission_id)
)"""


class PostgresAlertStore:
    """What `AlertStore` asks for. Its connections are apart from those that serve missions."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool = Pool(dsn, POOL_SIZE)
        self._sql = _read_queries()
        self._turn = threading.Lock()
        self._connection: Connection | None = None

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        with self._turn:
            self._let_go()

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fetch(self, query: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._pool.run(self._sql[query], parameters, name=query)

    @contextmanager
    def evaluating(self) -> Iterator[Evaluating | None]:
        """Open the transaction of one evaluation; nothing where another process has it open."""
        with self._turn:
            try:
                if self._connection is None:
                    self._connection = connect(self._dsn, "mission-dashboard alerts", EVALUATION_OPTIONS)
                    self._connection.timeout_s = EVALUATION_TIMEOUT_S
                yield from self._transaction(self._connection)
            except LOST as error:
                self._let_go()
                raise StoreUnavailable("The database does not answer. Alerts wait for it.") from error
            except BaseException:
                self._let_go()  # which rolls back
                raise

    def _transaction(self, connection: Connection) -> Iterator[Evaluating | None]:
        fetch(connection, "BEGIN")
        ((is_ours,),) = fetch(connection, self._sql["alert_lock"])
        yield _Transaction(connection, self._sql) if is_ours else None
        fetch(connection, "COMMIT")

    # Rules, channels, silences.

    def rules(self) -> list[Rule]:
        """Return all rules, by name."""
        return [_rule_of(row) for row in self._fetch("rule_rows")]

    def put_rule(self, rule: Rule) -> Rule:
        """Set a rule; raise `NameTaken`."""
        row = {**asdict(rule), "filter": _json(asdict(rule.filter)), "signal": rule.signal.value}
        row.update(severity=rule.severity.value, channels=None if rule.channels is None else list(rule.channels))
        with _unique_names(rule.name):
            ((created_at, active_from),) = self._fetch("put_rule", **row)
        return replace(rule, created_at=created_at, active_from=active_from)

    def drop_rule(self, rule_id: str) -> bool:
        """Delete a rule and end what it found; false where there is none."""
        return bool(self._fetch("drop_rule", id=rule_id))

    def channels(self) -> list[Channel]:
        """Return all channels, by name."""
        return [Channel(*row) for row in self._fetch("channel_rows")]

    def put_channel(self, channel: Channel) -> Channel:
        """Set a channel; raise `NameTaken`."""
        with _unique_names(channel.name):
            ((created_at,),) = self._fetch("put_channel", **{**asdict(channel), "config": _json(channel.config)})
        return replace(channel, created_at=created_at)

    def drop_channel(self, channel_id: str) -> bool:
        """Delete a channel with what waits for it; false where there is none."""
        return bool(self._fetch("drop_channel", id=channel_id))

    def silences(self, at: datetime) -> list[Silence]:
        """Return the silences that hold."""
        return [_silence_of(row) for row in self._fetch("silence_rows", at=at)]

    def put_silence(self, silence: Silence) -> Silence:
        """Begin a silence."""
        row = {**asdict(silence), "filter": _json(asdict(silence.filter))}
        ((created_at,),) = self._fetch("put_silence", **row)
        return replace(silence, created_at=created_at)

    def drop_silence(self, silence_id: str) -> bool:
        """End a silence; false where there is none."""
        return bool(self._fetch("drop_silence", id=silence_id))

    # Firings.

    def open_firings(self, limit: int) -> list[Firing]:
        """Return what is open, newest first."""
        return [_firing_of(row) for row in self._fetch("open_firings", limit=limit)]

    def firings(self, after: tuple[datetime, str] | None, limit: int) -> list[Firing]:
        """Return all firings, newest first, after one of them."""
        at, firing_id = after or (None, None)
        return [_firing_of(row) for row in self._fetch("firing_rows", after_at=at, after_id=firing_id, limit=limit)]

    def firing(self, firing_id: str) -> Firing | None:
        """Return one firing."""
        return _first(self._fetch("firing_row", id=firing_id))

    def acknowledge(self, firing_id: str, by: str | None, at: datetime) -> Firing | None:
        """Note that somebody looks after it."""
        return _first(self._fetch("acknowledge_firing", id=firing_id, by=by, at=at))

    def resolve(self, firing_id: str, at: datetime) -> Firing | None:
        """End a firing."""
        return _first(self._fetch("resolve_firing", id=firing_id, at=at))

    def summary(self) -> Summary:
        """Count what is open."""
        return Summary(*self._fetch("firing_summary")[0])

    def forget(self, before: datetime) -> None:
        """Delete what ended before a moment."""
        self._fetch("forget_firings", before=before)

    # Deliveries.

    def lease(self, at: datetime, until: datetime, limit: int, busy: Sequence[str] = ()) -> list[Lease]:
        """Take deliveries that are due, for as long as the lease, other than those of busy channels."""
        return [
            Lease(row[0], row[1], row[2], Channel(*row[3:9]), _firing_of(row[9:]))
            for row in self._fetch("lease_deliveries", at=at, until=until, limit=limit, busy=list(busy))
        ]

    def delivered(self, delivery_id: str, at: datetime) -> None:
        """Note that a receiver took it."""
        self._fetch("delivered", id=delivery_id, at=at)

    def failed(self, delivery_id: str, due_at: datetime, error: str) -> None:
        """Note why it did not arrive, and when it is tried again."""
        self._fetch("delivery_failed", id=delivery_id, due_at=due_at, error=error)

    def dead(self, delivery_id: str, at: datetime, error: str) -> None:
        """Give it up."""
        self._fetch("delivery_dead", id=delivery_id, at=at, error=error)

    def deliveries(self, state: str | None, limit: int) -> list[Delivery]:
        """Return deliveries that are dead, waiting, delivered, or any."""
        return [Delivery(*row) for row in self._fetch("delivery_rows", state=state or "", limit=limit)]

    def undelivered(self) -> tuple[int, int]:
        """Return how many deliveries wait, and how many are dead."""
        ((waiting, dead),) = self._fetch("undelivered")
        return waiting, dead

    def resend(self, delivery_id: str, at: datetime) -> bool:
        """Try a dead letter anew; false where it is none."""
        return bool(self._fetch("resend_delivery", id=delivery_id, at=at))

    def is_dead(self, delivery_id: str) -> bool | None:
        """Return whether a delivery was given up; nothing where there is none."""
        rows = self._fetch("has_delivery", id=delivery_id)
        return bool(rows[0][0]) if rows else None


class _Transaction:
    """What `Evaluating` asks for."""

    def __init__(self, connection: Connection, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql
        self.place = Place(*self._fetch("alert_place")[0])
        if self.place.transaction > self.place.horizon:
            self._fetch("forget_alert_transactions")
            self.place = replace(self.place, seen=self.place.now)

    def _fetch(self, query: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        return fetch(self._connection, self._sql[query], parameters)

    def happenings(self, place: Place, limit: int) -> list[Happening]:
        """Return the next events that rules look at."""
        rows = self._fetch(
            "alert_events",
            transaction=place.transaction,
            mission_id=place.mission_id,
            version=place.version,
            seen=place.seen,
            now=place.now,
            types=[kind.value for kind in WATCHED],
            limit=limit,
        )
        return [_happening_of(row) for row in rows]

    def move(self, seen: str) -> None:
        """Note what was seen of the events: all that a snapshot has."""
        self._fetch("move_alert_place", seen=seen)

    def measured(self, at: datetime) -> None:
        """Note when measures were taken."""
        self._fetch("alert_measured", at=at)

    def measure(self, rule: Rule, at: datetime) -> tuple[float | None, int] | None:
        """Return the number a rule watches, and of how many missions it is; nothing where that takes too long."""
        fetch(self._connection, "SAVEPOINT measure")
        try:
            value, count = self._measured(rule, at)
        except psycopg2.errors.QueryCanceled:
            fetch(self._connection, "ROLLBACK TO SAVEPOINT measure")
            logger.warning("the rule %r could not be measured within %g s", rule.name, MEASURE_TIMEOUT_S)
            return None
        fetch(self._connection, "RELEASE SAVEPOINT measure")
        return (None if value is None else float(value)), int(count)

    def _measured(self, rule: Rule, at: datetime) -> tuple[Any, Any]:
        fetch(
            self._connection, "SELECT set_config('statement_timeout', %s, true)", (f"{MEASURE_TIMEOUT_S * 1000:.0f}",)
        )
        with patience(self._connection, MEASURE_TIMEOUT_S + SPARE_S):
            (measured,) = self._fetch(
                f"measure_{rule.signal.value}",
                at=at,
                since=at - timedelta(seconds=rule.window_s),
                window_s=rule.window_s,
                min_count=rule.min_count,
                rule_since=rule.created_at,
                is_filtered=not rule.filter.is_empty,
                statuses=list(rule.filter.status) or ["failed"],
                **{f"f_{name}": list(getattr(rule.filter, name)) or None for name in FILTERS},
            )
        return measured[0], measured[1]

    def rules(self) -> list[Rule]:
        """Return all rules."""
        return [_rule_of(row) for row in self._fetch("rule_rows")]

    def silences(self, at: datetime) -> list[Silence]:
        """Return the silences that hold."""
        return [_silence_of(row) for row in self._fetch("silence_rows", at=at)]

    def last_firings(self, rule_ids: Sequence[str]) -> list[Firing]:
        """Return the newest firing of each of these rules."""
        return [_firing_of(row) for row in self._fetch("last_firings", rules=list(rule_ids))]

    def open_of_missions(self, mission_ids: Sequence[str]) -> list[Firing]:
        """Return what is open because of these missions."""
        return [_firing_of(row) for row in self._fetch("open_of_missions", missions=list(mission_ids))]

    def silenced(self) -> list[tuple[Firing, Mapping[str, str | None]]]:
        """Return what a silence held back and is open, with the values of its mission, if it has one."""
        rows = self._fetch("silenced_firings")
        return [(_firing_of(row[: len(FIRING)]), dict(zip(FILTERS, row[len(FIRING) :], strict=True))) for row in rows]

    def end_strays(self, at: datetime) -> None:
        """End what rules found that are off, deleted or about something else."""
        self._fetch("end_stray_firings", at=at)

    def quiet_since(self, before: datetime) -> list[Firing]:
        """Return what happened once and was not followed by more."""
        signals = [signal.value for signal in ENDS_WITH_RETRY]
        return [_firing_of(row) for row in self._fetch("quiet_firings", before=before, signals=signals)]

    def channels(self) -> list[Channel]:
        """Return all channels."""
        return [Channel(*row) for row in self._fetch("channel_rows")]

    def write(self, decision: Decision, rules: Sequence[Rule], channels: Sequence[Channel], at: datetime) -> None:
        """Write firings and what is to be delivered because of them."""
        for firing in decision.changed.values():
            row = {**asdict(firing), "missions": list(firing.missions)}
            row["silenced_by"] = list(firing.silenced_by)
            row.update(signal=firing.signal.value, severity=firing.severity.value)
            self._fetch("put_firing", **row)
        wanted = {rule.id: rule.channels for rule in rules}
        for firing, kind in decision.told:
            chosen = wanted.get(firing.rule_id or "")
            for channel in channels:
                if channel.enabled and (chosen is None or channel.id in chosen):
                    self._fetch(
                        "add_delivery",
                        id=str(uuid7()),
                        firing_id=firing.id,
                        channel_id=channel.id,
                        kind=kind,
                        at=at,
                    )


@cache
def _read_queries() -> dict[str, str]:
    queries = aiosql.from_path(QUERIES, "psycopg2", mandatory_parameters=False)
    names = [name for name in queries.available_queries if not name.endswith("_cursor")]
    columns = ", ".join(f"alert_firings.{column}" for column in FIRING)
    statements = {name: getattr(queries, name).sql.rstrip().rstrip(";") for name in names}
    return {
        name: sql.replace("{filter}", f"({IS_MEANT})").replace("{firing}", columns).replace("{watched}", IS_WATCHED)
        for name, sql in statements.items()
    }


@contextmanager
def _unique_names(name: str) -> Iterator[None]:
    try:
        yield
    except psycopg2.errors.UniqueViolation as error:
        raise NameTaken(name) from error


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode()


def _first(rows: Sequence[tuple[Any, ...]]) -> Firing | None:
    return _firing_of(rows[0]) if rows else None


def _firing_of(row: Sequence[Any]) -> Firing:
    firing = Firing(*row)
    return replace(
        firing,
        signal=Signal(firing.signal),
        severity=Severity(firing.severity),
        missions=tuple(firing.missions),
        silenced_by=tuple(firing.silenced_by),
    )


def _rule_of(row: Sequence[Any]) -> Rule:
    rule = Rule(*row)
    return replace(
        rule,
        signal=Signal(rule.signal),
        severity=Severity(rule.severity),
        filter=Filter(**dict(row[3])),
    )


def _silence_of(row: Sequence[Any]) -> Silence:
    return replace(Silence(*row), filter=Filter(**row[3]))


def _happening_of(row: Sequence[Any]) -> Happening:
    (transaction, mission_id, version, kind, at, budget_state, title, mission_type, agent, model, priority) = row[:11]
    error, stalled_reason, question, retry_of, is_unconfirmed, is_recovered = row[11:]
    return Happening(
        transaction,
        mission_id,
        version,
        EventType(kind),
        at,
        budget_state == "exceeded",
        title,
        {"type": mission_type, "agent_type": agent, "model_used": model, "priority": priority},
        error,
        stalled_reason,
        question,
        retry_of,
        bool(is_unconfirmed),
        bool(is_recovered),
    )
