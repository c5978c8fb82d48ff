"""An agent instrumented with OpenTelemetry: its runs become missions of the dashboard, its steps their spans.

    pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
    python3 examples/opentelemetry_agent.py

OTEL_EXPORTER_OTLP_ENDPOINT says where the dashboard is; http://localhost:5002 where it is not set. Instrumentations
such as those of OpenTelemetry, OpenInference and OpenLLMetry set the attributes below by themselves.
"""

from __future__ import annotations

import os

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

os.environ.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:5002")
provider = TracerProvider(resource=Resource.create({"service.name": "travel-assistant"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("travel-assistant")


def ask_model(prompt: str) -> str:
    """Stand in for a call of a model; a real one is instrumented by its library."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "llama3.1:8b",
    }
    with tracer.start_as_current_span("chat llama3.1:8b", attributes=attributes) as span:
        answer = f"An answer to: {prompt}"
        span.set_attribute("gen_ai.usage.input_tokens", len(prompt.split()))
        span.set_attribute("gen_ai.usage.output_tokens", len(answer.split()))
        return answer


def find_hotels(city: str) -> list[str]:
    """Stand in for a tool."""
    with tracer.start_as_current_span("execute_tool find_hotels", attributes={"gen_ai.operation.name": "execute_tool"}):
        if city == "Atlantis":
            raise LookupError(f"there are no hotels in {city}")
        return ["Hotel Astoria", "Hotel Bristol"]


def plan_trip(city: str) -> str:
    """Run the agent once."""
    attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "TravelAgent"}
    with tracer.start_as_current_span("invoke_agent TravelAgent", attributes=attributes):
        ask_model(f"What would a guest like to see in {city}?")
        hotels = find_hotels(city)
        return ask_model(f"Recommend one of {', '.join(hotels)}.")


if __name__ == "__main__":
    plan_trip("Vienna")
    try:
        plan_trip("Atlantis")
    except LookupError as error:
        print(f"As it should, one run failed: {error}")
    provider.shutdown()
    print(f"See the missions at {os.environ['OTEL_EXPORTER_OTLP_ENDPOINT']}")
