"""The tracker's store in PostgreSQL: writes batches, answers queries. Method names are the names in queries.sql."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import aiosql
import psycopg2

from mission_dashboard.control import DayBudget, Rules
from mission_dashboard.cursors import Cursor
from mission_dashboard.errors import Busy, StartupError, first_line
from mission_dashboard.events import MissionEvent
from mission_dashboard.metrics import Facet, Metrics, Point, Removal, Spent, Totals
from mission_dashboard.missions import Mission, Question
from mission_dashboard.otlp.known import Key, Known, Use
from mission_dashboard.postgres import searches
from mission_dashboard.postgres.connections import (
    SLOW_STATEMENT_TIMEOUT_S,
    Connection,
    Pool,
    connect,
    fetch,
    lost_means_unavailable,
    patience,
)
from mission_dashboard.postgres.hints import Hints
from mission_dashboard.postgres.migrate import LOOK_S, migrate
from mission_dashboard.postgres.record_rows import key_rows, line_of, node_of, record_page, span_of
from mission_dashboard.postgres.retention import QUERIES as RETENTION_QUERIES
from mission_dashboard.postgres.retention import state_of
from mission_dashboard.postgres.rows import (
    COLUMNS,
    event_of,
    mission_of,
    question_of,
    removal_of,
)
from mission_dashboard.postgres.searches import (
    filter_parameters,
    is_search,
    page_parameters,
    page_sql,
    with_filters,
)
from mission_dashboard.postgres.writing import NO_SHARD, WritingConnection, batch_parameters
from mission_dashboard.queries import Filters, Query
from mission_dashboard.records import LogLine, Place, RecordPage, Span, parse_place
from mission_dashboard.retention import State
from mission_dashboard.shared.totals import KeptTotals
from mission_dashboard.spend import Spend, SpendKey
from mission_dashboard.store import Batch, Carrier, News, PoolState, Priceable, Sight, StoredKey, TableSize
from mission_dashboard.tree import MAX_TREE_DEPTH, MAX_TREE_NODES, Tree, roll_up
from mission_dashboard.usage import MAX_TOKENS

logger = logging.getLogger(__name__)

QUERIES = Path(__file__).parent / "sql" / "queries.sql"
POOL_SIZE = 8


class PostgresStore:
    """Missions in PostgreSQL, behind a DSN. One connection writes, a pool reads."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._sql = {**_read_queries(QUERIES), **_read_queries(RETENTION_QUERIES)}
        self._pool = Pool(dsn, POOL_SIZE)
        self._writing = WritingConnection(dsn, self._sql)
        self._writing_thread: int | None = None
        self._searches = threading.BoundedSemaphore(searches.MAX_SEARCHES)
        self._slow_totals = KeptTotals()
        self._hints = Hints(dsn, lambda payload: self._fetch("tell_others", payload=payload))
        self.server_version = ""
        self.database = ""

    def open(self) -> None:
        """Connect, migrate, and learn the database's name; raise `StoreUnavailable` or `StartupError`."""
        connection = connect(self.dsn)
        try:
            with lost_means_unavailable():
                migrate(connection)
                with patience(connection, LOOK_S):
                    self._adopt_after_restore(connection)
                    self.database = fetch(connection, self._sql["database_name"])[0][0]
                    self.server_version = fetch(connection, self._sql["server_version"])[0][0].split()[0]
        except psycopg2.Error as error:
            raise StartupError(
                f"The database refuses what a dashboard needs ({first_line(error)}): it must take writes, and its "
                "schema and tables must belong to the user of POSTGRES_DSN."
            ) from error
        finally:
            connection.close()

    def close(self) -> None:
        """Close every connection."""
        self._hints.close()
        self._writing.close()
        self._pool.close()

    def _adopt_after_restore(self, connection: Connection) -> None:
        stored, current = fetch(connection, self._sql["stored_horizon"])[0]
        if stored is not None and stored >= current:
            logger.warning("the database was restored from another server: viewers will load everything anew")
            with patience(connection, SLOW_STATEMENT_TIMEOUT_S):
                fetch(connection, self._sql["forget_transactions"])
            fetch(connection, self._sql["rename_database"])

    # Writing: only the tracker's writer calls these, and another thread `prepared`.

    def prepared(self, batch: Batch) -> Batch:
        """Do ahead what `write_batch` would do before it talks to the server."""
        batch.prepared = batch_parameters(batch)
        return batch

    def read_where_written(self) -> None:
        """Let this thread read on the connection that writes: it must not wait for readers with slow searches."""
        self._writing_thread = threading.get_ident()

    def write_batch(self, batch: Batch) -> None:
        """Commit the batch.

        Raises `StoreUnavailable` (whether it was committed is then unknown), `VersionConflict` when another
        process was first, `WriteRefused` when a row breaks a rule of the database.
        """
        self._writing.write(batch.prepared or batch_parameters(batch))

    def ping(self) -> None:
        """Ask the server for a sign of life, on the connection that writes; raise `StoreUnavailable` for none."""
        self._writing.ping()

    def news(self, since: Sight, limit: int, watched: Collection[str] = (), *, own: bool = False) -> News:
        """Return what was committed since a sight by others, and, with ``own``, by this process too.

        Log lines and spans are those of the watched missions. Raises `StoreUnavailable`.
        """
        self._writing.open()
        read = self._writing.fetch
        seen = {"seen": since.snapshot, "shard": NO_SHARD if own else self._writing.shard, "limit": limit}
        rows = read("news", seen)
        sight = Sight(*rows[0][-2:])
        events = [event_of(row[:-2]) for row in rows if row[0] is not None]
        ids = list({event.mission_id for event in events})
        found = read("mission_rows", {"ids": ids}) if ids else []
        lines: Sequence[LogLine] = ()
        spans: Sequence[Span] = ()
        if watched and sight.snapshot != since.snapshot:
            seen.update(ids=list(watched), now=sight.snapshot)
            lines = [line_of(row) for row in read("new_lines", seen)]
            spans = [span_of(row) for row in read("new_spans", seen)]
        missions = {mission.id: mission for mission in map(mission_of, found)}
        missed = watched if limit in (len(lines), len(spans)) else ()
        return News(sight, events, missions, lines, spans, len(events) < limit, missed)

    # Reading.

    def _fetch(self, query: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        if threading.get_ident() == self._writing_thread:
            return self._writing.fetch(query, parameters)
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
        self._hints.others = int(self._fetch("other_writers", shard=self._writing.shard)[0][0])
        return self._hints.others

    def listen(self, hear: Callable[[str], None]) -> None:
        """Call ``hear`` with what other processes tell, from now on; see `Hints`."""
        self._hints.start(hear)

    def carry_hints(self, carrier: Carrier) -> None:
        """Let ``carrier`` bring what processes tell each other, as far as it reaches them."""
        self._hints.use(carrier)

    def keep_totals(self, totals: KeptTotals) -> None:
        """Keep totals that take long to count there."""
        self._slow_totals = totals

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
        sql, parameters = page_sql(self._sql, query), page_parameters(query, limit)
        run = self._search if is_search(query) else self._pool.run
        return [mission_of(row) for row in run(sql, parameters, name="page")]

    def count(self, filters: Filters) -> int:
        """Count the missions the filters let through; a count that takes long is used again for a while."""
        sql, parameters = with_filters(self._sql, "page_total"), filter_parameters(filters)

        def count() -> int:
            return int(self._search(sql, parameters, name="page_total")[0][0])

        return self._slow_totals.of(parameters, count)

    def _search(self, sql: str, parameters: Mapping[str, Any], *, name: str) -> list[tuple[Any, ...]]:
        if not self._searches.acquire(timeout=searches.SEARCH_TIMEOUT_S):
            raise Busy("Too many searches that take long are being made. Try again shortly.")
        try:
            return self._pool.run(sql, parameters, name=name, limit_s=searches.SEARCH_TIMEOUT_S)
        finally:
            self._searches.release()


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
