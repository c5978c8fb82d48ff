"""The tracker's store in PostgreSQL: writes batches, answers queries. Method names are the names in queries.sql."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import aiosql
import psycopg2

from mission_dashboard.control import DayBudget, Rules
from mission_dashboard.cursors import Cursor
from mission_dashboard.errors import StoreUnavailable, VersionConflict, WriteRefused
from mission_dashboard.events import MissionEvent
from mission_dashboard.metrics import Facet, Metrics, Point, Removal, Spent, Totals
from mission_dashboard.missions import Mission, Question
from mission_dashboard.otlp.known import Key, Known, Use
from mission_dashboard.postgres.connections import (
    LOST,
    SLOW_STATEMENT_TIMEOUT_S,
    STATEMENT_TIMEOUT_S,
    Connection,
    Pool,
    connect,
    fetch,
    patience,
)
from mission_dashboard.postgres.hints import Hints
from mission_dashboard.postgres.migrate import migrate
from mission_dashboard.postgres.record_rows import kept_row, key_rows, line_of, node_of, record_page, span_of
from mission_dashboard.postgres.retention import QUERIES as RETENTION_QUERIES
from mission_dashboard.postgres.retention import state_of
from mission_dashboard.postgres.rows import (
    COLUMNS,
    as_json,
    created_row,
    delta_rows,
    event_of,
    has_new_seldom_values,
    mission_of,
    moved_row,
    question_of,
    removal_of,
    rewritten_row,
    touched_row,
)
from mission_dashboard.queries import ALL_STATUSES, Filters, Query
from mission_dashboard.records import LogLine, Place, RecordPage, Span, parse_place
from mission_dashboard.retention import State
from mission_dashboard.spend import Spend, SpendKey
from mission_dashboard.store import Batch, News, PoolState, Priceable, Sight, StoredKey, TableSize
from mission_dashboard.tree import MAX_TREE_DEPTH, MAX_TREE_NODES, Tree, roll_up
from mission_dashboard.usage import MAX_TOKENS

logger = logging.getLogger(__name__)

QUERIES = Path(__file__).parent / "sql" / "queries.sql"
POOL_SIZE = 8
# The batch statement must find missions by their key however small the table was when its plan was made.
WRITER_OPTIONS = (
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan"
)
BATCH_PARAMETERS = {
    "created": "json",
    "moved": "json",
    "rewritten": "json",
    "events": "json",
    "facets": "json",
    "totals": "json",
    "minutes": "json",
    "spend": "json",
    "days": "json",
    "keys": "json",
    "touched": "json",
    "lines": "json",
    "spans": "json",
    "kept": "json",
    "shard": "smallint",
}
OTHER_WAS_FIRST = (
    psycopg2.errors.SerializationFailure,
    psycopg2.errors.UniqueViolation,
    # Two writers waited for each other, and this one was chosen to give way.
    psycopg2.errors.DeadlockDetected,
)
NO_SHARD = -1
"""The shard of no process that writes events."""
MAX_SEARCH_WORDS = 6
SEARCH_TIMEOUT_S = 10.0
"""For what no index serves: a search with short words, an order by cost, over a million missions."""

# The expressions by which pages may be ordered; never made from input.
SORT_KEYS: Mapping[str, str] = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "completed_at": "coalesce(completed_at, 'epoch'::timestamptz)",
    "title": 'title COLLATE "C"',
    "priority": "CASE priority WHEN 'low' THEN 1 WHEN 'medium' THEN 2 WHEN 'high' THEN 3 ELSE 4 END",
    "duration": "coalesce(duration, -1)",
    "tokens_used": "coalesce(tokens_used, -1)",
    "cost_estimate": "coalesce(cost_estimate, -1)",
}


class PostgresStore:
    """Missions in PostgreSQL, behind a DSN. One connection writes, a pool reads."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._sql = {**_read_queries(QUERIES), **_read_queries(RETENTION_QUERIES)}
        self._pool = Pool(dsn, POOL_SIZE)
        self._writer: Connection | None = None
        self._writing_thread: int | None = None
        self._shard = 0
        self._hints = Hints(dsn, lambda payload: self._fetch("tell_others", payload=payload))
        self.server_version = ""
        self.database = ""

    def open(self) -> None:
        """Connect, migrate, and learn the database's name; raise `StoreUnavailable` or `StartupError`."""
        connection = connect(self.dsn)
        try:
            with _lost_means_unavailable():
                migrate(connection)
                with patience(connection, SLOW_STATEMENT_TIMEOUT_S):
                    self._adopt_after_restore(connection)
                self.database = fetch(connection, self._sql["database_name"])[0][0]
                self.server_version = fetch(connection, self._sql["server_version"])[0][0].split()[0]
        finally:
            connection.close()

    def close(self) -> None:
        """Close every connection."""
        self._hints.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._pool.close()

    def _adopt_after_restore(self, connection: Connection) -> None:
        stored, current = fetch(connection, self._sql["stored_horizon"])[0]
        if stored is not None and stored >= current:
            logger.warning("the database was restored from another server: viewers will load everything anew")
            fetch(connection, self._sql["forget_transactions"])
            fetch(connection, self._sql["rename_database"])

    # Writing: only the tracker's writer calls these, and another thread `prepared`.

    def prepared(self, batch: Batch) -> Batch:
        """Do ahead what `write_batch` would do before it talks to the server."""
        batch.prepared = self._parameters(batch)
        return batch

    def read_where_written(self) -> None:
        """Let this thread read on the connection that writes: it must not wait for readers with slow searches."""
        self._writing_thread = threading.get_ident()

    def write_batch(self, batch: Batch) -> None:
        """Commit the batch.

        Raises `StoreUnavailable` (whether it was committed is then unknown), `VersionConflict` when another
        process was first, `WriteRefused` when a row breaks a rule of the database.
        """
        connection = self._writing()
        with _lost_means_unavailable(self._drop_writer):
            try:
                parameters = batch.prepared or self._parameters(batch)
                fetch(connection, self._execute_write, {**parameters, "shard": self._shard})
            except OTHER_WAS_FIRST as error:
                raise VersionConflict(str(error)) from error
            except psycopg2.errors.ReadOnlySqlTransaction as error:
                self._drop_writer()  # the next connection may lead to a server that writes
                raise StoreUnavailable("The database is read-only. Nothing was written; try again later.") from error
            except (psycopg2.DataError, psycopg2.IntegrityError) as error:
                raise WriteRefused("The database refused the values.") from error

    def ping(self) -> None:
        """Ask the server for a sign of life, on the connection that writes; raise `StoreUnavailable` for none."""
        with _lost_means_unavailable(self._drop_writer):
            ((read_only,),) = fetch(self._writing(), "SELECT current_setting('transaction_read_only')")
        if read_only == "on":
            self._drop_writer()
            raise StoreUnavailable("The database is read-only. Try again later.")

    def news(self, since: Sight, limit: int, watched: Collection[str] = (), *, own: bool = False) -> News:
        """Return what was committed since a sight by others, and, with ``own``, by this process too.

        Log lines and spans are those of the watched missions. Raises `StoreUnavailable`.
        """
        connection = self._writing()
        seen = {"seen": since.snapshot, "shard": NO_SHARD if own else self._shard, "limit": limit}
        with _lost_means_unavailable(self._drop_writer):
            rows = fetch(connection, self._sql["news"], seen)
            sight = Sight(*rows[0][-2:])
            events = [event_of(row[:-2]) for row in rows if row[0] is not None]
            ids = list({event.mission_id for event in events})
            found = fetch(connection, self._sql["mission_rows"], {"ids": ids}) if ids else []
            lines: Sequence[LogLine] = ()
            spans: Sequence[Span] = ()
            if watched and sight.snapshot != since.snapshot:
                seen.update(ids=list(watched), now=sight.snapshot)
                lines = [line_of(row) for row in fetch(connection, self._sql["new_lines"], seen)]
                spans = [span_of(row) for row in fetch(connection, self._sql["new_spans"], seen)]
        missions = {mission.id: mission for mission in map(mission_of, found)}
        missed = watched if limit in (len(lines), len(spans)) else ()
        return News(sight, events, missions, lines, spans, len(events) < limit, missed)

    def _parameters(self, batch: Batch) -> dict[str, str]:
        moved: list[dict[str, Any]] = []
        rewritten: list[dict[str, Any]] = []
        for before, after in batch.steps:
            if before is not None and has_new_seldom_values(before, after):
                rewritten.append(rewritten_row(before, after))
            elif before is not None:
                moved.append(moved_row(before, after))
        parts: dict[str, Sequence[Any]] = {
            "created": [created_row(step.after) for step in batch.steps if step.before is None],
            "moved": moved,
            "rewritten": rewritten,
            "events": batch.events,
            "keys": batch.keys,
            "touched": [touched_row(mission) for mission in batch.touched],
            "lines": batch.lines,
            "spans": batch.spans,
            "kept": [kept_row(kept) for kept in batch.kept],
            **delta_rows(batch.delta),
        }
        return {name: as_json(rows) for name, rows in parts.items()}

    def _writing(self) -> Connection:
        if self._writer is None:
            with _lost_means_unavailable():
                connection = connect(self.dsn, "mission-dashboard writer", WRITER_OPTIONS)
                try:
                    self._shard = fetch(connection, self._sql["claim_shard"])[0][0]
                    fetch(connection, self._sql["skip_transactions"])
                    fetch(connection, self._prepare_write)
                except BaseException:
                    connection.close()
                    raise
                self._writer = connection
        return self._writer

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    @property
    def _prepare_write(self) -> str:
        numbered = {name: f"${number}" for number, name in enumerate(BATCH_PARAMETERS, 1)}
        types = ", ".join(BATCH_PARAMETERS.values())
        return f"PREPARE write_batch ({types}) AS {self._sql['write_batch'] % numbered}"

    @property
    def _execute_write(self) -> str:
        return f"EXECUTE write_batch ({', '.join(f'%({name})s' for name in BATCH_PARAMETERS)})"

    # Reading.

    def _fetch(self, query: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        if threading.get_ident() == self._writing_thread:
            connection = self._writing()
            with _lost_means_unavailable(self._drop_writer):
                return fetch(connection, self._sql[query], parameters)
        return self._pool.run(self._sql[query], parameters, name=query)

    def missions(self, ids: Sequence[str]) -> list[Mission]:
        """Return the missions with these ids, as far as they exist."""
        return [mission_of(row) for row in self._fetch("mission_rows", ids=list(ids))]

    def alive(self, limit: int) -> list[Mission]:
        """Return the newest missions that have not finished."""
        return [mission_of(row) for row in self._fetch("alive_rows", limit=limit)]

    def running(self, limit: int) -> list[Mission]:
        """Return the running missions, newest first."""
        return [mission_of(row) for row in self._fetch("running_rows", limit=limit)]

    def newest_ping(self, key: str) -> Mission | None:
        """Return the newest mission that a script speaks of by this name."""
        rows = self._fetch("ping_rows", key=key)
        return mission_of(rows[0]) if rows else None

    def finished(self, limit: int) -> list[Mission]:
        """Return the missions that finished last."""
        return [mission_of(row) for row in self._fetch("finished_rows", limit=limit)]

    def keys(self, keys: Sequence[str]) -> list[StoredKey]:
        """Return what these idempotency keys were used for."""
        return [StoredKey(*row) for row in self._fetch("key_rows", keys=list(keys))]

    def forget_keys(self) -> None:
        """Delete idempotency keys older than a day."""
        self._fetch("forget_keys")

    def sight(self) -> Sight:
        """Return what can be seen now."""
        return Sight(*self._fetch("sight")[0])

    def count_others(self) -> int:
        """Return how many other processes write to this database."""
        return int(self._fetch("other_writers", shard=self._shard)[0][0])

    def listen(self, hear: Callable[[str], None]) -> None:
        """Call ``hear`` with what other processes tell, from now on; see `Hints`."""
        self._hints.start(hear)

    def tell_others(self, said: str = "") -> None:
        """Tell the other processes something soon; nothing is that there is something to read."""
        self._hints.tell(said)

    def horizon(self) -> int:
        """Return the transaction before which everything has ended and is visible."""
        return int(self._fetch("horizon")[0][0])

    def cursor(self, transaction: int) -> Cursor:
        """Return the place before this transaction in this database's stream."""
        return Cursor(self.database, transaction)

    def events_since(self, transaction: int, limit: int) -> tuple[list[MissionEvent], int | None]:
        """Return up to ``limit`` changes since a transaction, and the horizon they reach (none without changes)."""
        rows = self._fetch("events_since", transaction=transaction, limit=limit)
        return [event_of(row) for row in rows], (int(rows[0][-1]) if rows else None)

    def events_from(self) -> int:
        """Return the transaction from which on every event is there: retention removed some before."""
        return int(self._fetch("events_from")[0][0])

    def retention(self) -> State:
        """Return what retention did so far."""
        return state_of(self._fetch("retention_row")[0])

    def sizes(self) -> tuple[int, list[TableSize]]:
        """Return the bytes of the whole database, and what each of our tables takes, the largest first."""
        return int(self._fetch("database_size")[0][0]), [TableSize(*row) for row in self._fetch("table_sizes")]

    def removals(self, after: int) -> list[Removal]:
        """Return what retention removed after a removal, in order, perhaps not yet all."""
        return [removal_of(row) for row in self._fetch("removal_rows", after=after)]

    def events(self, mission_id: str, after: int, limit: int) -> list[MissionEvent]:
        """Return one mission's history after a version."""
        return [event_of(row) for row in self._fetch("event_rows", mission_id=mission_id, after=after, limit=limit)]

    def question(self, mission_id: str, question_id: str) -> Question | None:
        """Return the last that was heard of an earlier question."""
        rows = self._fetch("question_row", mission_id=mission_id, question_id=question_id)
        return question_of(rows[0][0]) if rows else None

    def logs(self, mission_id: str, after: str | None, limit: int) -> RecordPage:
        """Return a mission's log from a cursor on, or from its beginning."""
        place = parse_place(after, self.database)
        return record_page(self._records("log_rows", mission_id, place, limit), line_of, place, limit)

    def last_logs(self, mission_id: str, count: int) -> RecordPage:
        """Return the last lines of a mission's log."""
        rows = self._fetch("last_log_rows", mission_id=mission_id, limit=count)
        # Before what may still come, but not at the beginning.
        start = Place(self.database, min(rows[0][-3], *rows[0][-1]) if rows and rows[0][-1] else 0)
        return replace(record_page(rows, line_of, start, count), more=False)

    def spans(self, mission_id: str, after: str | None, limit: int) -> RecordPage:
        """Return a mission's spans from a cursor on, or from the beginning, in the order of their last change."""
        place = parse_place(after, self.database)
        return record_page(self._records("span_rows", mission_id, place, limit), span_of, place, limit)

    def _records(self, query: str, mission_id: str, place: Place, limit: int) -> list[tuple[Any, ...]]:
        still_open = list(map(str, place.open))
        parameters = {"transaction": place.transaction, "number": place.number, "open": still_open, "limit": limit}
        return self._fetch(query, mission_id=mission_id, **parameters)

    def tree(self, mission_id: str) -> Tree:
        """Return a mission and all below it; no nodes where there is no such mission."""
        parameters = {"mission_id": mission_id, "depth_limit": MAX_TREE_DEPTH, "limit": MAX_TREE_NODES + 1}
        return roll_up([node_of(row) for row in self._fetch("tree_rows", **parameters)])

    # Spans of traces whose missions are being found.

    def known_spans(self, keys: Sequence[Key], trace_ids: Sequence[str]) -> dict[Key, Known]:
        """Return what is known of these spans, of all in these traces that are open, and of the parents of those."""
        rows = self._fetch("known_span_rows", keys=key_rows(keys), trace_ids=list(trace_ids))
        return {known.key: known for known in (Known(*row) for row in rows)}

    def kept_spans(self, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
        """Return those of these spans that wait for their mission, as they were kept."""
        return {(row[0], row[1]): row[2] for row in self._fetch("kept_span_rows", keys=key_rows(keys))}

    def span_uses(self, mission_ids: Sequence[str]) -> list[Use]:
        """Return what the spans of these missions used, by mission and model."""
        rows = self._fetch("span_use_rows", mission_ids=list(mission_ids), most=MAX_TOKENS)
        return [Use(*row) for row in rows]

    def ancestors(self, mission_ids: Sequence[str]) -> list[str]:
        """Return these missions and all above them."""
        return [row[0] for row in self._fetch("ancestor_rows", mission_ids=list(mission_ids))]

    def open_traces(self, at: datetime, limit: int) -> list[str]:
        """Return traces in which something should be looked at again."""
        return [row[0] for row in self._fetch("open_trace_rows", at=at, limit=limit)]

    def waiting_spans(self) -> int:
        """Count the spans that wait."""
        return int(self._fetch("waiting_span_count")[0][0])

    def forget_known_spans(self, before: datetime) -> None:
        """Forget the spans of traces that came before a moment and are settled."""
        self._fetch("forget_known_spans", before=before)

    def totals(self) -> Totals:
        """Return the totals over all missions."""
        totals = Totals()
        for kind, *facet, count in self._fetch("facet_rows"):
            if kind == "last removal":
                totals.last_removal = count
            elif kind == "removed":
                totals.removed[facet[0]] = count
            else:
                totals.facets[Facet(*facet)] = count
                totals.by_status[facet[0]] += count
        tokens, totals.cost, totals.duration, totals.ran = self._fetch("total_row")[0]
        totals.tokens = int(tokens)
        for day, agent_type, tokens, cost in self._fetch("day_rows"):
            totals.days[day, agent_type] = Spent(int(tokens), cost)
        return totals

    def overdue(self, at: datetime, rules: Rules) -> list[Mission]:
        """Return the missions that something may be due of: silence, a time budget, a question, a cancel."""
        silent_since = at - rules.shortest_grace
        loses = rules.lost_after is not None
        return [mission_of(row) for row in self._fetch("overdue_rows", at=at, silent_since=silent_since, loses=loses)]

    def day_budgets(self) -> list[DayBudget]:
        """Return the daily budgets, by name."""
        return [DayBudget(*row) for row in self._fetch("day_budget_rows")]

    def put_day_budget(self, budget: DayBudget) -> None:
        """Set a daily budget."""
        self._fetch("put_day_budget", **asdict(budget))

    def drop_day_budget(self, name: str) -> bool:
        """Delete a daily budget; false where there is none."""
        return bool(self._fetch("drop_day_budget", name=name))

    def minutes(self, since: datetime) -> list[Point]:
        """Return what happened in each minute since a moment; ``running`` is the net change."""
        return [
            Point(at, created, started, completed, failed, cancelled, running, int(tokens), float(cost))
            for at, created, started, completed, failed, cancelled, running, tokens, cost in self._fetch(
                "minute_rows", since=since
            )
        ]

    def spend(self, since: date, limit: int) -> list[tuple[SpendKey, Spend]]:
        """Return what each model used and cost on each day since one, the newest and dearest first."""
        return [(SpendKey(*row[:2]), _spend_of(row[2:])) for row in self._fetch("spend_rows", since=since, limit=limit)]

    def spend_by_model(self, limit: int) -> list[tuple[str, Spend]]:
        """Return what each model used and cost on all days, the dearest first."""
        return [(row[0], _spend_of(row[1:])) for row in self._fetch("spend_by_model", limit=limit)]

    def pool_state(self) -> PoolState:
        """Return how busy the connections for reading are."""
        return PoolState(self._pool.size, self._pool.in_use)

    def total_spend(self, since: date) -> Spend:
        """Return what all models used and cost since a day."""
        return _spend_of(self._fetch("spend_total", since=since)[0])

    def priceable(self, wanted: Priceable, after_id: str, limit: int) -> list[Mission]:
        """Return the next missions whose cost follows from prices, in the order of their ids."""
        parameters = {"after_id": after_id, "since": wanted.since, "model": wanted.model, "limit": limit}
        rows = self._pool.run(self._sql["priceable_rows"], parameters, SLOW_STATEMENT_TIMEOUT_S, name="priceable_rows")
        return [mission_of(row) for row in rows]

    def duration_percentiles(self, since: datetime) -> tuple[float, float] | None:
        """Return median and 95th percentile, in seconds, of missions that finished since a moment."""
        found = self._fetch("duration_percentiles", since=since)[0][0]
        return (found[0], found[1]) if found else None

    def snapshot_metrics(self, at: datetime, metrics: Metrics) -> None:
        """Keep the metrics of this moment in mission_metrics."""
        names = (
            "total_missions",
            "completed_missions",
            "failed_missions",
            "running_missions",
            "average_duration",
            "success_rate",
            "total_tokens",
            "total_cost",
        )
        self._fetch("snapshot_metrics", at=at, **{name: getattr(metrics, name) for name in names})

    def page(self, query: Query, limit: int) -> list[Mission]:
        """Return up to ``limit`` missions of this query's order after its cursor."""
        after_key, after_id = query.after if query.after else (None, None)
        sql = self._with_filters("page_rows")
        sql = sql.replace("{key}", SORT_KEYS[query.sort])
        sql = sql.replace("{direction}", "DESC" if query.descending else "ASC")
        sql = sql.replace("{comes_after}", "<" if query.descending else ">")
        parameters = {**_filter_parameters(query.filters), "after_key": after_key, "after_id": after_id, "limit": limit}
        is_indexed = query.sort == "created_at" and not query.filters.q
        timeout_s = STATEMENT_TIMEOUT_S if is_indexed else SEARCH_TIMEOUT_S
        return [mission_of(row) for row in self._pool.run(sql, parameters, timeout_s, name="page")]

    def count(self, filters: Filters) -> int:
        """Count the missions the filters let through."""
        sql = self._with_filters("page_total")
        rows = self._pool.run(sql, _filter_parameters(filters), SEARCH_TIMEOUT_S, name="page_total")
        return int(rows[0][0])

    def _with_filters(self, name: str) -> str:
        condition = self._sql["filters"].partition("WHERE ")[2]
        return self._sql[name].replace("{filters}", f"({condition})")


@contextmanager
def _lost_means_unavailable(after: Any = None) -> Iterator[None]:
    try:
        yield
    except LOST as error:
        if after is not None:
            after()
        raise StoreUnavailable("The database does not answer. Nothing was confirmed; try again shortly.") from error


def _spend_of(sums: Sequence[Any]) -> Spend:
    """Return token counts and costs; PostgreSQL adds both up as numeric, without an end."""
    given, cached, output, reasoning, unsplit, unpriced = map(int, sums[:6])
    return Spend(given, cached, output, reasoning, unsplit, unpriced, *sums[6:])


@cache
def _read_queries(path: Path) -> dict[str, str]:
    """Read the statements; ``{columns}`` stands for the columns of a mission, in their order."""
    queries = aiosql.from_path(path, "psycopg2", mandatory_parameters=False)
    names = [name for name in queries.available_queries if not name.endswith("_cursor")]
    statements = {name: getattr(queries, name).sql.rstrip().rstrip(";") for name in names}
    columns, page_columns = ", ".join(COLUMNS), ", ".join(f"page.{name}" for name in COLUMNS)
    return {
        name: sql.replace("{page_columns}", page_columns).replace("{columns}", columns)
        for name, sql in statements.items()
    }


def _filter_parameters(filters: Filters) -> dict[str, Any]:
    words = [f"%{_literal_pattern(word)}%" for word in filters.words]
    prefix = filters.id_prefix
    numbered = {f"word{n + 1}": words[n] if n < len(words) else None for n in range(MAX_SEARCH_WORDS)}
    return {
        "statuses": list(filters.status or ALL_STATUSES),
        "priority": list(filters.priority) or None,
        "type": list(filters.type) or None,
        "agent_type": list(filters.agent_type) or None,
        "model_used": list(filters.model_used) or None,
        "id_prefix": f"{_literal_pattern(prefix)}%" if prefix else None,
        "needs": list(filters.needs) or None,
        "parent_id": filters.parent_id,
        "created_after": filters.created_after,
        "created_before": filters.created_before,
        "finished_after": filters.finished_after,
        "finished_before": filters.finished_before,
        **numbered,
    }


def _literal_pattern(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
