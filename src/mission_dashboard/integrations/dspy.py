"""DSPy programs as missions: each call of a module is one, nested calls are its children, LM calls and tools its spans.

import dspy
from mission_dashboard.integrations.dspy import MissionCallback

dspy.configure(lm=dspy.LM("openai/gpt-4o-mini"), callbacks=[MissionCallback()])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mission_dashboard.client import MissionClient, values
from mission_dashboard.integrations.runs import Runs, harmless, shown
from mission_dashboard.integrations.usage import Tokens, read_tokens

try:
    from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback
except ImportError as missing:
    raise ImportError(
        "mission_dashboard.integrations.dspy needs DSPy: pip install 'mission-dashboard[dspy]'"
    ) from missing

RECENT = 100
"""How far back in an LM's history the entry of a call is looked for; others may have been added meanwhile."""


class MissionCallback(BaseCallback):  # type: ignore[misc]
    """Reports a DSPy program. ``content=True`` sends inputs and outputs as well."""

    def __init__(self, client: MissionClient | None = None, *, content: bool = False, **options: Any) -> None:
        """``options`` are those of `MissionClient.mission` for every mission, as ``priority`` and ``budget``."""
        self.runs = Runs(client)
        self._content = content
        self._options = options

    @harmless
    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin(call_id, type(instance).__name__, inputs)

    @harmless
    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.runs.end(call_id, exception, self._result(outputs))

    @harmless
    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin(call_id, type(instance).__name__, inputs)

    @harmless
    def on_evaluate_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        score = getattr(outputs, "score", None)
        self.runs.end(call_id, exception, {"score": score} if score is not None else values.UNSAID)

    @harmless
    def on_compile_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin(call_id, f"Compile with {type(instance).__name__}", {})

    @harmless
    def on_compile_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.runs.end(call_id, exception)

    @harmless
    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        model = values.name(getattr(instance, "model", None))
        said = {"input": shown(inputs.get("messages") or inputs.get("prompt"))} if self._content else {}
        run = self.runs.begin_span(call_id, ACTIVE_CALL_ID.get(), f"LM {model}", "llm", model, **said)
        if run is not None:
            run.notes["lm"] = instance

    @harmless
    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        run = self.runs.get(call_id)
        entry = _history_entry(run.notes.get("lm"), outputs) if run is not None else None
        said = {"output": shown(outputs)} if self._content else {}
        tokens, model = _read_entry(entry)
        self.runs.end_span(call_id, exception, model=model, tokens=tokens, **said)

    @harmless
    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        name = str(getattr(instance, "name", None) or type(instance).__name__)
        said = {"input": shown(inputs.get("kwargs", inputs))} if self._content else {}
        self.runs.begin_span(call_id, ACTIVE_CALL_ID.get(), name, "tool", **said)

    @harmless
    def on_tool_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        said = {"output": shown(outputs)} if self._content else {}
        self.runs.end_span(call_id, exception, **said)

    def _begin(self, call_id: str, title: str, inputs: Mapping[str, Any]) -> None:
        options = {"agent_type": title, "type": "dspy", **self._options}
        if self._content and inputs:
            options["metadata"] = {**(options.get("metadata") or {}), "inputs": shown(inputs.get("kwargs", inputs))}
        self.runs.begin(call_id, ACTIVE_CALL_ID.get(), title, activates=True, **options)

    def _result(self, outputs: Any) -> Any:
        if not self._content or outputs is None:
            return values.UNSAID
        items = getattr(outputs, "items", None)
        return shown(dict(items()) if callable(items) else outputs)


def _history_entry(lm: Any, outputs: Any) -> Mapping[str, Any] | None:
    """Return what the LM noted of the call that gave these very outputs; threads may share the LM."""
    history = list(getattr(lm, "history", None) or ())
    return next((entry for entry in reversed(history[-RECENT:]) if entry.get("outputs") is outputs), None)


def _read_entry(entry: Mapping[str, Any] | None) -> tuple[Tokens | None, str | None]:
    if entry is None:
        return None, None
    model = values.name(entry.get("model"))
    if getattr(entry.get("response"), "cache_hit", False):
        return None, model
    return read_tokens(entry.get("usage")), model
