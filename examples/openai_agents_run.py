"""An OpenAI Agents SDK run on the dashboard: the run and its agents are missions, models and tools their spans.

    pip install 'mission-dashboard[openai-agents]'
    python3 examples/openai_agents_run.py

MISSION_DASHBOARD_URL says where the dashboard is; http://127.0.0.1:5002 where it is not set.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from agents import (
    Agent,
    Model,
    ModelResponse,
    RunConfig,
    Runner,
    Usage,
    function_tool,
    generation_span,
    set_trace_processors,
)
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from mission_dashboard.integrations.openai_agents import MissionTracingProcessor


class FakeModel(Model):
    """Answers without a network: first it calls the tool. The real one: leave out ``model=`` and set OPENAI_API_KEY."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        """Return what a provider would, tokens and all."""
        has_hotels = isinstance(input, list) and any(item.get("type") == "function_call_output" for item in input)
        with generation_span(model="gpt-4o-mini") as span:  # as the SDK's own models do
            usage = Usage(
                requests=1,
                input_tokens=120,
                output_tokens=30,
                total_tokens=150,
                input_tokens_details=InputTokensDetails.model_construct(cached_tokens=20, cache_write_tokens=0),
                output_tokens_details=OutputTokensDetails(reasoning_tokens=10),
            )
            span.span_data.usage = {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "input_tokens_details": {"cached_tokens": 20},
                "output_tokens_details": {"reasoning_tokens": 10},
            }
        output: Any = ResponseFunctionToolCall(
            call_id="call-1", name="find_hotels", arguments='{"city": "Vienna"}', type="function_call"
        )
        if has_hotels:
            text = ResponseOutputText(text="Hotel Astoria.", type="output_text", annotations=[])
            output = ResponseOutputMessage(
                id="message-1", content=[text], role="assistant", status="completed", type="message"
            )
        return ModelResponse(output=[output], usage=usage, response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Not needed here."""
        raise NotImplementedError


@function_tool
def find_hotels(city: str) -> str:
    """Find hotels of a city."""
    return f"Hotel Astoria and Hotel Bristol in {city}"


if __name__ == "__main__":
    # add_trace_processor() keeps the SDK's own tracing, which sends traces to OpenAI.
    set_trace_processors([MissionTracingProcessor()])
    agent = Agent(name="TravelAgent", instructions="Recommend a hotel.", tools=[find_hotels], model=FakeModel())
    run = Runner.run_sync(agent, "Where shall I stay in Vienna?", run_config=RunConfig(workflow_name="Hotel advice"))
    print(run.final_output)
