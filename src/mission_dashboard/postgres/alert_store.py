"""Rules, alerts and deliveries in PostgreSQL. Method names are the names in alerts.sql."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiosql
import psycopg2

from mission_dashboard.alerts.rules import (
    EVENT_KINDS,
    MEASURE_KINDS,
    Channel,
    Delivery,
    Due,
    Firing,
    Rule,
    Silence,
)
from mission_dashboard.errors import NameTaken
from mission_dashboard.postgres.connections import Pool

QUERIES = Path(__file__).parent / "sql" / "alerts.sql"
POOL_SIZE = 3
MEASURE_TIMEOUT_S = 10.0
MATCHES = """(r.types IS NULL OR m.metadata ->> 'type' = ANY(r.types))
    AND (r.agents IS NULL OR m.agent_type = ANY(r.agents))
    AND (r.models IS NULL OR m.model_used = ANY(r.models))
    AND (r.priorities IS NULL OR m.priority = ANY(r.priorities))"""

Told = list[tuple[str, str]]
"""Ids of alerts, each with 'fired' or 'resolved'."""


class PostgresAlertStore:
    """Everything about alerts; its connections are apart from those that serve missions."""

    def __init__(self, dsn: str) -> None:
        self._pool = Pool(dsn, POOL_SIZE)
        queries = aiosql.from_path(QUERIES, "psycopg2", mandatory_parameters=False)
        names = [name for name in queries.available_queries if not name.endswith("_cursor")]
        self._sql = {
            name: getattr(queries, name).sql.rstrip().rstrip(";").replace("{filter}", MATCHES) for name in names
        }
        self._kinds = json.dumps(
            [
                {
                    "kind": name,
                    "type": kind.event.value,
                    "cause": kind.cause.value if kind.cause else None,
                    "ends": [event.value for event in kind.ends] if kind.ends else None,
                }
                for name, kind in EVENT_KINDS.items()
            ]
        )
        ends = {event.value for kind in EVENT_KINDS.values() for event in kind.ends or ()}
        self._types = sorted({kind.event.value for kind in EVENT_KINDS.values()} | ends)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _fetch(self, query: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._pool.run(self._sql[query], parameters)

    def look_at_events(self) -> Told:
        """Fire and resolve what the events since the last look call for."""
        parameters = {"types": self._types, "kinds": self._kinds}
        return [(row[0], row[1]) for row in self._pool.run(self._sql["look_at_events"], parameters, MEASURE_TIMEOUT_S)]

    def measures(self) -> dict[str, float | None]:
        """Return what each rule about a measure finds, by the rule's id."""
        kinds = {"kinds": list(MEASURE_KINDS)}
        return {row[0]: row[1] for row in self._pool.run(self._sql["measures"], kinds, MEASURE_TIMEOUT_S)}

    def note_measure(self, rule_id: str, value: float | None, summary: str, is_over: bool) -> Told:
        """Fire or resolve one rule about a measure."""
        rows = self._fetch("note_measure", rule_id=rule_id, value=value, summary=summary, is_over=is_over)
        return [(row[0], row[1]) for row in rows]

    def take_deliveries(self, limit: int) -> list[Due]:
        """Take what is due, for a minute."""
        return [Due(*row) for row in self._fetch("take_deliveries", limit=limit)]

    def sent(self, delivery_id: str) -> None:
        """Note that a channel took it."""
        self._fetch("sent", id=delivery_id)

    def not_sent(self, delivery_id: str, problem: str, wait_s: float, is_dead: bool) -> None:
        """Note that a channel did not take it, and when to try again, if ever."""
        self._fetch("not_sent", id=delivery_id, problem=problem, wait_s=wait_s, is_dead=is_dead)

    def send_again(self, delivery_id: str) -> bool:
        """Queue a dead delivery anew; return whether it was one."""
        return bool(self._fetch("send_again", id=delivery_id))

    def queue_test(self, delivery_id: str, channel_id: str) -> None:
        """Queue a message that only tries a channel."""
        self._fetch("queue_test", id=delivery_id, channel_id=channel_id)

    def deliveries(self, state: str | None, limit: int) -> list[Delivery]:
        """Return deliveries, the newest first."""
        return [Delivery(*row) for row in self._fetch("deliveries", state=state, limit=limit)]

    def firings(self, is_open: bool | None, limit: int) -> list[Firing]:
        """Return alerts, the newest first: those that wait for somebody, the others, or all."""
        return [Firing(*row) for row in self._fetch("firings", id=None, is_open=is_open, limit=limit)]

    def firing(self, firing_id: str) -> Firing | None:
        """Return one alert."""
        rows = self._fetch("firings", id=firing_id, is_open=None, limit=1)
        return Firing(*rows[0]) if rows else None

    def acknowledge(self, firing_id: str, by: str) -> bool:
        """Note that somebody looks after an alert; return whether there is one."""
        return bool(self._fetch("acknowledge", id=firing_id, by=by))

    def channels(self) -> list[Channel]:
        """Return all channels, with their secrets."""
        return [Channel(*row) for row in self._fetch("channels")]

    def put_channel(self, channel_id: str, name: str, kind: str, target: str, secret: str | None, is_on: bool) -> None:
        """Keep a new channel; raise `NameTaken`."""
        said = {"id": channel_id, "name": name, "kind": kind, "target": target, "secret": secret, "is_on": is_on}
        self._named(name, "put_channel", said)

    def drop_channel(self, channel_id: str) -> bool:
        """Delete a channel; what waits for it is dead."""
        return bool(self._fetch("drop_channel", id=channel_id))

    def rules(self) -> list[Rule]:
        """Return all rules."""
        return [Rule(*row) for row in self._fetch("rules")]

    def put_rule(self, rule: Rule) -> None:
        """Keep a rule, new or changed; raise `NameTaken`."""
        self._named(rule.name, "put_rule", {name: getattr(rule, name) for name in Rule.__dataclass_fields__})

    def _named(self, name: str, query: str, said: dict[str, Any]) -> None:
        try:
            self._fetch(query, **said)
        except psycopg2.errors.UniqueViolation as error:
            raise NameTaken(name) from error

    def drop_rule(self, rule_id: str) -> bool:
        """Delete a rule; what it found is over."""
        return bool(self._fetch("drop_rule", id=rule_id))

    def silences(self) -> Sequence[Silence]:
        """Return the silences that last."""
        return [Silence(*row) for row in self._fetch("silences")]

    def put_silence(
        self, silence_id: str, rule_id: str | None, mission_id: str | None, reason: str, by: str, seconds: float
    ) -> Silence:
        """Begin a silence, and return it."""
        said = {"id": silence_id, "rule_id": rule_id, "mission_id": mission_id, "reason": reason, "by": by}
        (row,) = self._fetch("put_silence", **said, seconds=seconds)
        return Silence(*row)

    def drop_silence(self, silence_id: str) -> bool:
        """End a silence."""
        return bool(self._fetch("drop_silence", id=silence_id))

    def forget_alerts(self) -> None:
        """Delete what is long over."""
        self._fetch("forget_alerts")
