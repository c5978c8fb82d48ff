"""Spans: timed parts of a mission."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mission_dashboard.client import values
from mission_dashboard.client.reporting import BaseMission


class Span:
    """A part of a mission while it runs; say what it used before it ends."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.model: str | None = None
        self.usage: dict[str, int] = {}
        self.attributes: dict[str, Any] = {}

    def tokens(self, input: int = 0, output: int = 0, *, cached: int = 0, reasoning: int = 0) -> None:
        """Say what it used, in all; the mission's own totals are said with its ``add_tokens``."""
        said = {"input_tokens": input, "cached_tokens": cached, "output_tokens": output, "reasoning_tokens": reasoning}
        self.usage = {name: int(count) for name, count in said.items()}


@contextmanager
def timed(mission: BaseMission[Any], name: str, said: Mapping[str, Any]) -> Iterator[Span]:
    span = Span(values.uuid7())
    span.attributes.update(said.get("attributes") or {})
    began = values.now()
    fixed = {key: said[key] for key in ("kind", "model", "parent_id") if said.get(key) is not None}
    mission.add_span(name, id=span.id, started_at=began, attributes=span.attributes, **fixed)
    error: str | None = None
    try:
        yield span
    except BaseException as raised:
        error = values.error_text(raised)
        raise
    finally:
        if span.model is not None:
            fixed["model"] = span.model
        mission.add_span(
            name,
            id=span.id,
            started_at=began,
            ended_at=values.now(),
            usage=span.usage,
            error=error,
            attributes=span.attributes,
            **fixed,
        )
