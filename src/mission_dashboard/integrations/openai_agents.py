"""OpenAI Agents SDK as missions: a trace is one, agents in it are its children, model calls, tools, handoffs spans.

from agents import add_trace_processor
from mission_dashboard.integrations.openai_agents import MissionTracingProcessor

add_trace_processor(MissionTracingProcessor())
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from mission_dashboard.client import MissionClient, values
from mission_dashboard.integrations.runs import Run, Runs, harmless, shown
from mission_dashboard.integrations.usage import read_tokens

try:
    from agents.tracing import Span, Trace, TracingProcessor
except ImportError as missing:
    raise ImportError(
        "mission_dashboard.integrations.openai_agents needs the OpenAI Agents SDK: "
        "pip install 'mission-dashboard[openai-agents]'"
    ) from missing

KINDS = {"generation": "llm", "response": "llm", "function": "tool", "mcp_tools": "tool"}
TOTALS = ("task", "turn")
"""Spans that group others and repeat their tokens: their children are put under what is above."""


class SpanFailed(Exception):
    """An agent's part failed; the message is what the SDK kept of the error."""


class MissionTracingProcessor(TracingProcessor):
    """Reports traces of agents. ``content=True`` sends inputs and outputs as well."""

    def __init__(self, client: MissionClient | None = None, *, content: bool = False, **options: Any) -> None:
        """``options`` are those of `MissionClient.mission` for every mission, as ``priority`` and ``budget``."""
        self.runs = Runs(client)
        self._content = content
        self._options = options

    @harmless
    def on_trace_start(self, trace: Trace) -> None:
        """Begin a mission."""
        self._begin(trace.trace_id, None, trace.name)

    @harmless
    def on_trace_end(self, trace: Trace) -> None:
        """End the mission as the program left it; a stream leaves without a word, then as its last agent ended."""
        run = self.runs.get(trace.trace_id)
        if run is not None:
            self.runs.end(trace.trace_id, _raised(run) or run.notes.get("error"))

    @harmless
    def on_span_start(self, span: Span[Any]) -> None:
        """Begin an agent's mission, or a span."""
        data, parent = span.span_data, self._above(span)
        above = self.runs.get(parent)
        if data.type in TOTALS and above is not None:
            self.runs.alias(span.span_id, above)
        elif data.type == "agent":
            self._begin(span.span_id, parent, data.name)
        elif data.type not in TOTALS:
            self.runs.begin_span(span.span_id, parent, _name(data), KINDS.get(data.type, data.type), _model(data))

    @harmless
    def on_span_end(self, span: Span[Any]) -> None:
        """End it."""
        data = span.span_data
        if data.type in TOTALS:
            self.runs.forget(span.span_id)
        elif data.type == "agent":
            self._end_agent(span)
        else:
            said = self._content_of(data) if self._content else {}
            self.runs.end_span(
                span.span_id,
                _error(span),
                model=_model(data),
                tokens=read_tokens(_usage(data)),
                name=_name(data),
                **said,
            )

    def _end_agent(self, span: Span[Any]) -> None:
        run = self.runs.get(span.span_id)
        error = (_raised(run) if run is not None else None) or _error(span)
        trace = self.runs.get(span.trace_id)
        if trace is not None:
            trace.notes["error"] = error
        self.runs.end(span.span_id, error)

    def shutdown(self) -> None:
        """Send what waits."""
        self.runs.client.flush()

    def force_flush(self) -> None:
        """Send what waits."""
        self.runs.client.flush()

    def _begin(self, key: str, parent: str | None, title: str) -> None:
        options = {"agent_type": title, "type": "openai-agents", **self._options}
        run = self.runs.begin(key, parent, title, activates=True, **options)
        run.notes["handled"] = sys.exc_info()[1]

    def _above(self, span: Span[Any]) -> str:
        return span.parent_id or span.trace_id

    def _content_of(self, data: Any) -> dict[str, Any]:
        parts = {"input": getattr(data, "input", None), "output": getattr(data, "output", None)}
        return {name: shown(part) for name, part in parts.items() if part is not None}


def _raised(run: Run) -> BaseException | None:
    """Return the exception that is on its way through the program now and was not when the run began."""
    error = sys.exc_info()[1]
    return error if error is not run.notes.get("handled") else None


def _name(data: Any) -> str:
    if data.type == "handoff":
        return f"Handoff to {data.to_agent}"
    if data.type in ("generation", "response"):
        return f"LLM {_model(data) or 'model'}"
    return str(getattr(data, "name", None) or data.type)


def _model(data: Any) -> str | None:
    return values.name(getattr(data, "model", None) or getattr(getattr(data, "response", None), "model", None))


def _usage(data: Any) -> Any:
    return getattr(data, "usage", None) or getattr(getattr(data, "response", None), "usage", None)


def _error(span: Span[Any]) -> BaseException | None:
    error: Mapping[str, Any] | None = span.error
    if error is None:
        return None
    data = error.get("data")
    return SpanFailed(f"{error.get('message')}: {data}" if data else str(error.get("message")))
