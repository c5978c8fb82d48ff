"""Pages of missions in SQL: the statement and the parameters of a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mission_dashboard.queries import ALL_STATUSES, Filters, Query

MAX_SEARCH_WORDS = 6
SEARCH_TIMEOUT_S = 10.0
"""For what no index serves: a search with short words, an order by cost, over a million missions."""
MAX_SEARCHES = 4
"""How many may be made at once: other reads must find a connection."""

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


def page_sql(sql: Mapping[str, str], query: Query) -> str:
    """Return the statement for a page in this query's order."""
    page = with_filters(sql, "page_rows")
    page = page.replace("{key}", SORT_KEYS[query.sort])
    page = page.replace("{direction}", "DESC" if query.descending else "ASC")
    return page.replace("{comes_after}", "<" if query.descending else ">")


def page_parameters(query: Query, limit: int) -> dict[str, Any]:
    """Return the parameters for up to ``limit`` missions after the query's cursor."""
    after_key, after_id = query.after if query.after else (None, None)
    return {**filter_parameters(query.filters), "after_key": after_key, "after_id": after_id, "limit": limit}


def is_search(query: Query) -> bool:
    """Whether a page may take long, for no index has it."""
    return query.sort != "created_at" or query.filters != Filters(status=query.filters.status)


def with_filters(sql: Mapping[str, str], name: str) -> str:
    """Return a statement by its name, with the conditions of all filters."""
    condition = sql["filters"].partition("WHERE ")[2]
    return sql[name].replace("{filters}", f"({condition})")


def filter_parameters(filters: Filters) -> dict[str, Any]:
    """Return the parameters of the filters' conditions."""
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
