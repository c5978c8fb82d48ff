"""The names under which instrumentations say the same thing: one table.

Current OpenTelemetry GenAI names first, then older ones, then OpenInference and OpenLLMetry. The first that a span has
counts. ``docs/opentelemetry.md`` shows this table; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping

ALIASES: Mapping[str, tuple[str, ...]] = {
    "operation": ("gen_ai.operation.name",),
    "kind": ("openinference.span.kind", "traceloop.span.kind", "llm.request.type"),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "model": (
        "gen_ai.response.model",
        "llm.response.model_name",
        "gen_ai.request.model",
        "llm.request.model_name",
        "llm.model_name",
        "embedding.model_name",
    ),
    "agent": ("gen_ai.agent.name", "agent.name", "gen_ai.agent.id"),
    "workflow": ("gen_ai.workflow.name", "traceloop.entity.name", "traceloop.workflow.name"),
    "tool": ("gen_ai.tool.name", "tool.name"),
    "conversation": ("gen_ai.conversation.id", "session.id"),
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
    ),
    "cached_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cached_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
    ),
    "cost": ("mission.cost.usd", "gen_ai.usage.cost", "llm.cost.total"),
    "output": ("gen_ai.output.messages", "output.value", "traceloop.entity.output"),
    "error": ("error.message", "exception.message", "error.type", "exception.type"),
}

KINDS: Mapping[str, str] = {
    # gen_ai.operation.name
    "invoke_agent": "agent",
    "invoke_workflow": "workflow",
    "handle_conversation_turn": "workflow",
    "chat": "inference",
    "text_completion": "inference",
    "generate_content": "inference",
    "embeddings": "embedding",
    "execute_tool": "tool",
    "retrieval": "retrieval",
    # openinference.span.kind, traceloop.span.kind and llm.request.type, in lower case
    "agent": "agent",
    "workflow": "workflow",
    "llm": "inference",
    "completion": "inference",
    "embedding": "embedding",
    "tool": "tool",
    "retriever": "retrieval",
    "reranker": "retrieval",
    "rerank": "retrieval",
}
MISSION_KINDS = frozenset({"agent", "workflow"})
"""Kinds of span that are missions wherever they stand; other GenAI spans only where no GenAI span is above them."""
MODEL_KINDS = frozenset({"inference", "embedding"})
"""Kinds of span whose tokens count: agents and workflows repeat those of the calls below them."""
STEP = "step"
"""The kind of every other span."""
