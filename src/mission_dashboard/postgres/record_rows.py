"""Log lines, spans and trees as PostgreSQL rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from mission_dashboard.otlp.known import Kept, Key
from mission_dashboard.postgres.rows import Row, as_json
from mission_dashboard.records import MAX_OPEN, LogLine, Place, RecordPage, Span, SpanUsage
from mission_dashboard.tree import Node, Use


def line_of(row: Row) -> LogLine:
    """Build a line from mission_id, id, at, level, message."""
    return LogLine(*row[:5])


def span_of(row: Row) -> Span:
    """Build a span from the columns of span_rows."""
    values = list(row[:12])
    values[8] = SpanUsage(**values[8]) if values[8] is not None else None
    return Span(*values)


def record_page(rows: Sequence[Row], build: Callable[[Row], Any], start: Place, limit: int) -> RecordPage:
    """Build a page of rows that end with committed_in, number and which transactions had not ended.

    The cursor names those of them that are older than its place, because they may still add rows before it. Where they
    are too many the cursor stays before the newer ones, and what came after comes again.
    """
    place, is_full = start, len(rows) == limit
    for *_, transaction, number, running in rows:
        if len(running) > MAX_OPEN and transaction >= running[MAX_OPEN]:
            break
        # A page that ends among what came late goes on from there.
        if is_full or (transaction, number) > (start.transaction, start.number):
            place = Place(start.database, transaction, number)
    if rows:
        place = replace(place, open=tuple(older for older in rows[0][-1] if older < place.transaction))
    return RecordPage([build(row) for row in rows], str(place), is_full and place != start)


def node_of(row: Row) -> Node:
    """Build a node of a tree from the columns of tree_rows."""
    use = Use(row[12] or 0, row[13] or 0, row[14] or 0, row[15] or Use().cost)
    removed = Use(int(row[17] or 0), int(row[18] or 0), int(row[19] or 0), row[20] or Use().cost)
    values = [*row[:12], use, Use(), removed, row[16] or 0]
    return Node(*values)


def kept_row(kept: Kept) -> dict[str, Any]:
    """Return what is kept of a span of a trace."""
    return {**asdict(kept.known), "span": kept.span}


def key_rows(keys: Sequence[Key]) -> str:
    """Return the ids of spans for json_to_recordset."""
    return as_json([{"trace_id": trace_id, "span_id": span_id} for trace_id, span_id in keys])
