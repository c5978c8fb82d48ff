"""LangChain as missions: the outermost run is one, nested chains are its children, models, tools, retrievers its spans.

from mission_dashboard.integrations.langchain import MissionCallbackHandler

chain.invoke({"topic": "bears"}, config={"callbacks": [MissionCallbackHandler()]})
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from mission_dashboard.client import MissionClient, values
from mission_dashboard.integrations.runs import Runs, harmless, shown
from mission_dashboard.integrations.usage import Tokens, read_tokens

try:
    from langchain_core.callbacks import BaseCallbackHandler
except ImportError as missing:
    raise ImportError(
        "mission_dashboard.integrations.langchain needs LangChain: pip install 'mission-dashboard[langchain]'"
    ) from missing

SMALL = ("prompt", "parser")
"""Steps too small for a mission: they are spans."""
MODEL_KEYS = ("model", "model_name", "model_id", "deployment_name")


class MissionCallbackHandler(BaseCallbackHandler):
    """Reports what runs under it. ``content=True`` sends inputs and outputs as well."""

    raise_error = False
    run_inline = False
    """In coroutines LangChain calls it in a thread, so a pause holds up the chain and not the event loop."""

    def __init__(self, client: MissionClient | None = None, *, content: bool = False, **options: Any) -> None:
        """``options`` are those of `MissionClient.mission` for every mission, as ``priority`` and ``budget``."""
        self.runs = Runs(client)
        self._content = content
        self._options = options

    # Chains, and agents, which are chains

    @harmless
    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **said: Any
    ) -> None:
        title = _name(serialized, said, "Chain")
        if said.get("run_type") in SMALL and parent_run_id is not None:
            attributes = {"input": shown(inputs)} if self._content else {}
            self.runs.begin_span(run_id, parent_run_id, title, said["run_type"], **attributes)
            return
        options: dict[str, Any] = {"agent_type": title, "type": "langchain", **self._options}
        if self._content:
            options["metadata"] = {**(options.get("metadata") or {}), "inputs": shown(inputs)}
        self.runs.begin(run_id, parent_run_id, title, **options)

    @harmless
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **said: Any) -> None:
        self._end_chain(run_id, None, shown(outputs) if self._content else values.UNSAID)

    @harmless
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **said: Any) -> None:
        self._end_chain(run_id, error, values.UNSAID)

    def _end_chain(self, run_id: UUID, error: BaseException | None, result: Any) -> None:
        run = self.runs.get(run_id)
        if run is not None and run.span is not None:
            said = {"output": result} if result is not values.UNSAID else {}
            self.runs.end_span(run_id, error, **said)
        else:
            self.runs.end(run_id, error, result)

    # Models

    @harmless
    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **said: Any
    ) -> None:
        self._begin_model(serialized, messages, run_id, parent_run_id, said)

    @harmless
    def on_llm_start(
        self, serialized: Any, prompts: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **said: Any
    ) -> None:
        self._begin_model(serialized, prompts, run_id, parent_run_id, said)

    def _begin_model(
        self, serialized: Any, asked: Any, run_id: UUID, parent: UUID | None, said: dict[str, Any]
    ) -> None:
        model = _model(said.get("invocation_params"), said.get("metadata"))
        name = model or _name(serialized, said, "model")
        attributes = {"input": shown(asked)} if self._content else {}
        self.runs.begin_span(run_id, parent, f"LLM {name}", "llm", model or name, **attributes)

    @harmless
    def on_llm_end(self, response: Any, *, run_id: UUID, **said: Any) -> None:
        tokens, model = _read_result(response)
        attributes = {"output": shown(_texts(response))} if self._content else {}
        self.runs.end_span(run_id, tokens=tokens, model=model, **attributes)

    @harmless
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **said: Any) -> None:
        tokens, model = _read_result(said.get("response"))
        self.runs.end_span(run_id, error, tokens=tokens, model=model)

    # Tools and retrievers

    @harmless
    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: UUID | None = None, **said: Any
    ) -> None:
        attributes = {"input": shown(said.get("inputs") or input_str)} if self._content else {}
        self.runs.begin_span(run_id, parent_run_id, _name(serialized, said, "tool"), "tool", **attributes)

    @harmless
    def on_tool_end(self, output: Any, *, run_id: UUID, **said: Any) -> None:
        self.runs.end_span(run_id, **({"output": shown(output)} if self._content else {}))

    @harmless
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **said: Any) -> None:
        self.runs.end_span(run_id, error)

    @harmless
    def on_retriever_start(
        self, serialized: Any, query: str, *, run_id: UUID, parent_run_id: UUID | None = None, **said: Any
    ) -> None:
        attributes = {"input": shown(query)} if self._content else {}
        self.runs.begin_span(run_id, parent_run_id, _name(serialized, said, "retriever"), "retriever", **attributes)

    @harmless
    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **said: Any) -> None:
        self.runs.end_span(run_id, documents=len(documents))

    @harmless
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **said: Any) -> None:
        self.runs.end_span(run_id, error)

    @harmless
    def on_retry(self, retry_state: Any, *, run_id: UUID, **said: Any) -> None:
        run = self.runs.get(run_id)
        if run is not None:
            run.mission.log(f"Attempt {getattr(retry_state, 'attempt_number', '?')} failed, trying again", "warning")


def _name(serialized: Any, said: dict[str, Any], default: str) -> str:
    known = serialized if isinstance(serialized, dict) else {}
    return str(said.get("name") or known.get("name") or (known.get("id") or [default])[-1])


def _model(*places: Any) -> str | None:
    for place in places:
        if isinstance(place, dict):
            found = next((place[key] for key in (*MODEL_KEYS, "ls_model_name") if place.get(key)), None)
            if found:
                return values.name(found)
    return None


def _read_result(response: Any) -> tuple[Tokens | None, str | None]:
    """Return tokens and model of an LLMResult: from its messages, else from what the provider said of the whole."""
    messages = [message for group in _groups(response) for one in group if (message := getattr(one, "message", None))]
    told = getattr(response, "llm_output", None) or {}
    model = _model(*(getattr(message, "response_metadata", None) for message in messages), told)
    found = [tokens for message in messages if (tokens := read_tokens(getattr(message, "usage_metadata", None)))]
    if found:
        return sum(found, Tokens()), model
    return read_tokens(told.get("token_usage") or told.get("usage")), model


def _groups(response: Any) -> list[Any]:
    return list(getattr(response, "generations", None) or ())


def _texts(response: Any) -> list[str]:
    return [str(getattr(one, "text", "")) for group in _groups(response) for one in group]
