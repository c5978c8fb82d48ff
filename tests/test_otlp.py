"""OpenTelemetry: traces of the real SDK become missions and spans, in whatever order and however often they come."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from google.protobuf.internal.encoder import _VarintBytes
from google.protobuf.json_format import MessageToDict
from google.rpc.status_pb2 import Status
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, Tracer

from conftest import run_sql
from dashboards import ROOT, Dashboard
from mission_dashboard.config import Settings
from mission_dashboard.mission_dashboard import create_app
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.missions import MissionStatus
from mission_dashboard.otlp import intake
from mission_dashboard.otlp.known import Known, mission_id_of
from mission_dashboard.otlp.names import ALIASES
from mission_dashboard.otlp.size import _without_texts
from mission_dashboard.otlp.traces import plan
from mission_dashboard.queries import Query
from mission_dashboard.web.otlp import MAX_INFLATED_BYTES

PROTOBUF = "application/x-protobuf"
Spans = Sequence[ReadableSpan]


class Script:
    """A program with the OpenTelemetry SDK, whose spans are kept until the test exports them."""

    def __init__(self) -> None:
        self._memory = InMemorySpanExporter()
        self._provider = TracerProvider(resource=Resource.create({"service.name": "research-app"}))
        self._provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.tracer: Tracer = self._provider.get_tracer("tests")

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """What ended, by name."""
        return {span.name: span for span in self._memory.get_finished_spans()}

    def in_order(self) -> list[ReadableSpan]:
        """What ended, in the order in which it did."""
        return list(self._memory.get_finished_spans())

    def mission_id(self, name: str) -> str:
        """Return the id of the mission that a span is."""
        context = self.spans[name].context
        assert context is not None
        return mission_id_of(f"{context.trace_id:032x}", f"{context.span_id:016x}")


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def client(tracker: MissionTracker, settings: Settings) -> FlaskClient:
    return create_app(settings, tracker)[0].test_client()


def send(client: FlaskClient, *spans: ReadableSpan) -> ExportTraceServiceResponse:
    """Export spans as protobuf and return the answer."""
    answer = client.post("/v1/traces", data=encode_spans(spans).SerializeToString(), content_type=PROTOBUF)
    assert (answer.status_code, answer.content_type) == (200, PROTOBUF), answer.data
    return ExportTraceServiceResponse.FromString(answer.data)


def as_json(spans: Spans) -> dict[str, Any]:
    """Return an export in OTLP's JSON: protobuf's mapping, with ids in hex and enums as numbers."""
    export = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    for resource_spans in export["resourceSpans"]:
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return dict(export)


def chat(tracer: Tracer, name: str, tokens: int, **more: Any) -> Any:
    """Begin a call of a model."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.usage.input_tokens": tokens,
        "gen_ai.usage.output_tokens": 1,
        **more,
    }
    return tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes)


def agent(tracer: Tracer, name: str, **more: Any) -> Any:
    """Begin an agent."""
    attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name, **more}
    return tracer.start_as_current_span(f"invoke_agent {name}", attributes=attributes)


def research(tracer: Tracer) -> None:
    """Run a workflow: two agents, one inside a tool of the other, with calls of models."""
    workflow = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "Research"}
    with tracer.start_as_current_span("invoke_workflow Research", attributes=workflow):
        with agent(tracer, "Planner", **{"gen_ai.usage.input_tokens": 999}):
            cached = {"gen_ai.usage.cache_read.input_tokens": 40}
            with chat(tracer, "chat 1", 100, **cached), tracer.start_as_current_span("POST api.openai.com"):
                pass
            tool = {"gen_ai.operation.name": "execute_tool"}
            with (
                tracer.start_as_current_span("search", attributes=tool),
                agent(tracer, "Reader"),
                chat(tracer, "chat 2", 20),
            ):
                pass
        with chat(tracer, "chat 3", 3):
            pass


def check_research(script: Script, tracker: MissionTracker) -> None:
    """Check what must have become of `research`, whatever way it came."""
    ids = {name: script.mission_id(name) for name in script.spans}
    found = {mission.id: mission for mission in tracker.list(Query()).missions}
    workflow, planner, reader = (
        found[ids[name]] for name in ("invoke_workflow Research", "invoke_agent Planner", "invoke_agent Reader")
    )
    assert len(found) == 3
    assert all(mission.status is MissionStatus.COMPLETED for mission in found.values())
    assert (workflow.title, planner.title, planner.agent_type) == ("Research", "Planner", "Planner")
    assert (workflow.parent_id, planner.parent_id, reader.parent_id) == (None, workflow.id, planner.id)
    assert (workflow.tokens_used, planner.tokens_used, reader.tokens_used) == (4, 101, 21)
    assert (planner.input_tokens, planner.output_tokens, planner.model_used) == (100, 1, "gpt-5")
    assert (planner.type, workflow.type) == ("agent", "workflow")
    names = {
        mission.title: {span.name for span in tracker.spans(mission.id).records}
        for mission in (workflow, planner, reader)
    }
    assert names == {
        "Research": {"invoke_workflow Research", "chat 3"},
        "Planner": {"invoke_agent Planner", "chat 1", "POST api.openai.com", "search"},
        "Reader": {"invoke_agent Reader", "chat 2"},
    }
    tree = tracker.tree(workflow.id)
    assert [node.title for node in tree.nodes] == ["Research", "Planner", "Reader"]
    assert tree.nodes[0].total.tokens == 126
    assert tracker.metrics().total_tokens == 126


def test_more_use_than_can_be_counted_is_refused_with_a_sentence(
    client: FlaskClient, script: Script, tracker: MissionTracker, dsn: str
) -> None:
    with agent(script.tracer, "Planner"):
        for number in range(3):
            with chat(script.tracer, f"chat {number}", 7):
                pass
    *first, last, whole = script.in_order()
    send(client, *first, whole)
    most = '{"input_tokens": 9223372036854775807}'
    run_sql(dsn, "UPDATE mission_spans SET usage = usage || %s::jsonb WHERE usage IS NOT NULL", [most])
    answer = client.post("/v1/traces", data=encode_spans([last]).SerializeToString(), content_type=PROTOBUF)
    assert answer.status_code == 400
    assert b"would add up to more than 1,000,000,000,000,000 tokens" in answer.data


class TestMissions:
    def test_a_trace_becomes_a_tree_of_missions_and_counts_nothing_twice(
        self, client: FlaskClient, tracker: MissionTracker, script: Script
    ) -> None:
        research(script.tracer)

        response = send(client, *script.in_order())

        assert not response.HasField("partial_success")
        check_research(script, tracker)

    @pytest.mark.parametrize("seed", range(6))
    def test_in_any_order_and_any_number_of_exports(
        self, client: FlaskClient, tracker: MissionTracker, script: Script, seed: int
    ) -> None:
        research(script.tracer)
        shuffled = random.Random(seed)
        spans = script.in_order()
        shuffled.shuffle(spans)

        while spans:
            size = shuffled.randint(1, 3)
            send(client, *spans[:size])
            del spans[:size]

        check_research(script, tracker)

    def test_from_many_exporters_at_once(self, client: FlaskClient, tracker: MissionTracker, script: Script) -> None:
        research(script.tracer)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda span: send(client.application.test_client(), span), script.in_order()))

        check_research(script, tracker)

    def test_a_resent_export_changes_nothing(
        self, client: FlaskClient, tracker: MissionTracker, script: Script, dsn: str
    ) -> None:
        research(script.tracer)
        send(client, *script.in_order())
        events = run_sql(dsn, "SELECT mission_id, version FROM mission_events ORDER BY 1, 2")

        send(client, *script.in_order())
        run_sql(dsn, "DELETE FROM otlp_spans")  # as after two days
        send(client, *script.in_order())

        check_research(script, tracker)
        assert run_sql(dsn, "SELECT mission_id, version FROM mission_events ORDER BY 1, 2") == events

    def test_a_mission_has_the_times_of_its_span_and_a_whole_history(
        self, client: FlaskClient, tracker: MissionTracker, script: Script
    ) -> None:
        start = datetime(2026, 3, 4, 5, 6, 7, 250000, tzinfo=timezone.utc)
        ended = start + timedelta(seconds=90)
        span = script.tracer.start_span(
            "invoke_agent Old", attributes={"gen_ai.operation.name": "invoke_agent"}, start_time=_ns(start)
        )
        span.end(_ns(ended))

        send(client, *script.in_order())

        mission = tracker.get(script.mission_id("invoke_agent Old"))
        assert (mission.created_at, mission.started_at, mission.completed_at) == (start, start, ended)
        assert (mission.duration, mission.progress, mission.title) == (90.0, 100.0, "invoke_agent Old")
        assert mission.metadata["otel"]["service"] == "research-app"
        types = [(event.type.value, event.at) for event in tracker.events(mission.id)]
        assert types == [("mission_created", start), ("mission_started", start), ("mission_completed", ended)]
        assert tracker.metrics().average_duration == 90.0

    def test_an_error_is_told_with_its_exception(
        self, client: FlaskClient, tracker: MissionTracker, script: Script
    ) -> None:
        with pytest.raises(ValueError), agent(script.tracer, "Broken"):
            raise ValueError("no such city")

        send(client, *script.in_order())

        mission = tracker.get(script.mission_id("invoke_agent Broken"))
        assert mission.status is MissionStatus.FAILED
        assert mission.error_message is not None
        assert mission.error_message.startswith("ValueError: no such city")
        assert "Traceback" in mission.error_message

    def test_a_root_call_of_a_model_is_a_mission(
        self, client: FlaskClient, tracker: MissionTracker, script: Script
    ) -> None:
        with chat(script.tracer, "chat gpt-5", 7), chat(script.tracer, "the same call, seen by the client library", 7):
            pass

        send(client, *script.in_order())

        (mission,) = tracker.list(Query()).missions
        assert (mission.title, mission.type, mission.tokens_used) == ("chat gpt-5", "inference", 8)
        assert mission.agent_type == "research-app"

    def test_calls_of_models_below_an_ordinary_request_are_missions_once_its_root_is_known(
        self, client: FlaskClient, tracker: MissionTracker, script: Script
    ) -> None:
        with (
            script.tracer.start_as_current_span("POST /ask"),
            script.tracer.start_as_current_span("handler"),
            chat(script.tracer, "chat", 5),
            script.tracer.start_as_current_span("POST model"),
        ):
            pass
        *below, root = script.in_order()

        send(client, *below)
        before = tracker.list(Query()).total
        send(client, root)

        (mission,) = tracker.list(Query()).missions
        assert before == 0
        assert (mission.title, mission.tokens_used) == ("chat", 6)
        assert {span.name for span in tracker.spans(mission.id).records} == {"POST model", "chat"}

    def test_traces_without_any_model_leave_nothing(
        self, client: FlaskClient, tracker: MissionTracker, script: Script, dsn: str
    ) -> None:
        with script.tracer.start_as_current_span("GET /"), script.tracer.start_as_current_span("SELECT"):
            pass

        assert not send(client, *script.in_order()).HasField("partial_success")

        assert tracker.list(Query()).total == 0
        assert run_sql(dsn, "SELECT count(*) FROM otlp_spans WHERE look_at IS NOT NULL OR span IS NOT NULL") == [(0,)]

    def test_use_is_kept_by_model_however_many_there_are(
        self, client: FlaskClient, tracker: MissionTracker, script: Script
    ) -> None:
        with agent(script.tracer, "Curious"):
            for number in range(60):
                with chat(script.tracer, f"chat {number}", 100 - number, **{"gen_ai.request.model": f"m{number}"}):
                    pass
            with chat(script.tracer, "nameless", 1000, **{"gen_ai.request.model": ""}):
                pass

        for _ in range(2):
            send(client, *script.in_order())

        mission = tracker.get(script.mission_id("invoke_agent Curious"))
        assert mission.usage is not None and len(mission.usage) == 50
        assert mission.usage["m0"].input_tokens == 100
        assert mission.usage["(unknown)"].input_tokens == 1000
        assert mission.tokens_used == sum(100 - number for number in range(60)) + 1000 + 61
        assert mission.version == 4

    def test_costs_are_summed_exactly(self, client: FlaskClient, tracker: MissionTracker, script: Script) -> None:
        with agent(script.tracer, "Paid"):
            for _ in range(3):
                with chat(script.tracer, "chat", 1, **{"mission.cost.usd": 0.1}):
                    pass

        for span in script.in_order():
            send(client, span)

        assert tracker.get(script.mission_id("invoke_agent Paid")).cost_estimate == 0.3


class TestWaiting:
    def test_an_agent_is_shown_before_its_parent_ends_and_is_adopted_then(
        self, client: FlaskClient, tracker: MissionTracker, script: Script
    ) -> None:
        research(script.tracer)
        spans = script.spans
        send(client, spans["invoke_agent Reader"], spans["chat 2"])
        alone = tracker.get(script.mission_id("invoke_agent Reader"))

        send(client, *(span for name, span in spans.items() if name not in ("invoke_agent Reader", "chat 2")))

        assert (alone.parent_id, alone.tokens_used) == (None, 21)
        check_research(script, tracker)
        assert tracker.events(alone.id)[-1].type.value == "mission_adopted"

    def test_what_waits_survives_a_restart(
        self, make_tracker: Callable[..., MissionTracker], settings: Settings, script: Script
    ) -> None:
        research(script.tracer)
        spans = script.in_order()
        first = make_tracker()
        send(create_app(settings, first)[0].test_client(), *spans[:3])
        first.close()

        second = make_tracker()
        send(create_app(settings, second)[0].test_client(), *spans[3:])

        check_research(script, second)

    def test_two_processes_that_did_not_see_each_other_are_joined_by_the_next_look(
        self, make_tracker: Callable[..., MissionTracker], settings: Settings, script: Script, dsn: str
    ) -> None:
        with agent(script.tracer, "One"), chat(script.tracer, "chat", 5):
            pass
        tracker = make_tracker()
        client = create_app(settings, tracker)[0].test_client()
        call, mission = script.in_order()
        send(client, call)
        run_sql(dsn, "CREATE TABLE other_process AS SELECT * FROM otlp_spans")
        run_sql(dsn, "DELETE FROM otlp_spans")
        send(client, mission)
        run_sql(dsn, "INSERT INTO otlp_spans SELECT * FROM other_process")

        intake.TraceIntake(tracker).look_at(run_sql(dsn, "SELECT trace_id FROM other_process")[0][0])

        assert tracker.get(script.mission_id("invoke_agent One")).tokens_used == 6

    def test_a_parent_that_never_comes_is_not_waited_for_for_ever(
        self, client: FlaskClient, tracker: MissionTracker, script: Script, dsn: str
    ) -> None:
        elsewhere = SpanContext(random.getrandbits(128), random.getrandbits(64), True, TraceFlags(1))
        with (
            trace.use_span(NonRecordingSpan(elsewhere)),
            script.tracer.start_as_current_span("task"),
            chat(script.tracer, "chat", 5),
        ):
            pass
        send(client, *script.in_order())
        waiting = tracker.list(Query()).total

        run_sql(dsn, "UPDATE otlp_spans SET received_at = received_at - interval '11 minutes'")
        intake.TraceIntake(tracker).look_at(f"{elsewhere.trace_id:032x}")

        (mission,) = tracker.list(Query()).missions
        assert waiting == 0
        assert (mission.title, mission.tokens_used) == ("chat", 6)
        assert run_sql(dsn, "SELECT count(*) FROM otlp_spans WHERE look_at IS NOT NULL") == [(0,)]

    def test_how_many_wait_is_bounded_and_told(
        self, client: FlaskClient, script: Script, dsn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(intake, "MAX_WAITING_OF_TRACE", 3)
        with script.tracer.start_as_current_span("root"):
            for number in range(5):
                with script.tracer.start_as_current_span(f"step {number}"):
                    pass

        partial = send(client, *script.in_order()[:5]).partial_success

        assert (partial.rejected_spans, "wait" in partial.error_message) == (2, True)
        assert run_sql(dsn, "SELECT count(*) FROM otlp_spans") == [(3,)]

    def test_a_forged_loop_of_parents_ends(self, client: FlaskClient, tracker: MissionTracker, script: Script) -> None:
        research(script.tracer)
        export = as_json(script.in_order())
        spans = export["resourceSpans"][0]["scopeSpans"][0]["spans"]
        root = next(span for span in spans if "parentSpanId" not in span)
        deepest = next(span for span in spans if span["name"] == "chat 2")
        root["parentSpanId"] = deepest["spanId"]

        for span in spans:
            alone = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
            assert client.post("/v1/traces", json=alone).status_code == 200

        for mission in tracker.list(Query()).missions:
            assert len({node.id for node in tracker.tree(mission.id).nodes}) == len(tracker.tree(mission.id).nodes)
            above, seen = mission, set()
            while above.parent_id is not None:
                assert above.id not in seen
                seen.add(above.id)
                above = tracker.get(above.parent_id)

    def test_a_chain_of_thousands_is_walked_through(self) -> None:
        now = datetime(2026, 1, 1, tzinfo=timezone.utc)
        first = Known("t", "0", None, False, now, False, False, False, look_at=now)
        chain = [replace(first, span_id=str(n), parent_id=str(n - 1) if n else None) for n in range(20_000)]
        chain[0] = replace(chain[0], is_agent=True)

        planned = plan({}, reversed(chain), now)

        assert (len(planned.missions), len(planned.attached)) == (1, 20_000)


class TestNames:
    def take(self, client: FlaskClient, tracker: MissionTracker, script: Script, attributes: dict[str, Any]) -> Any:
        with agent(script.tracer, "A"), script.tracer.start_as_current_span("call", attributes=attributes):
            pass
        send(client, *script.in_order())
        mission = tracker.get(script.mission_id("invoke_agent A"))
        return mission, next(span for span in tracker.spans(mission.id).records if span.name == "call")

    @pytest.mark.parametrize(
        "attributes",
        [
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "anthropic",
                "gen_ai.response.model": "m-1",
                "gen_ai.request.model": "m",
                "gen_ai.usage.input_tokens": 30,
                "gen_ai.usage.cache_read.input_tokens": 10,
                "gen_ai.usage.output_tokens": 5,
                "gen_ai.usage.reasoning.output_tokens": 2,
            },
            {
                "gen_ai.system": "openai",
                "gen_ai.request.model": "m-1",
                "llm.request.type": "chat",
                "gen_ai.usage.prompt_tokens": 30,
                "gen_ai.usage.completion_tokens": 5,
                "gen_ai.usage.cache_read_input_tokens": 10,
                "gen_ai.usage.reasoning_tokens": 2,
            },
            {
                "openinference.span.kind": "LLM",
                "llm.model_name": "m-1",
                "llm.token_count.prompt": 30,
                "llm.token_count.completion": "5",
                "llm.token_count.prompt_details.cache_read": 10,
                "llm.token_count.completion_details.reasoning": 2,
            },
            {
                "gen_ai.system": "mistral_ai",
                "gen_ai.response.model": "m-1",
                "gen_ai.usage.input_tokens": 30.0,
                "gen_ai.usage.output_tokens": 5,
                "gen_ai.usage.cached_tokens": 10,
                "gen_ai.usage.reasoning_tokens": 2,
            },
        ],
        ids=["current", "older", "openinference", "without an operation"],
    )
    def test_all_dialects_say_the_same(
        self, client: FlaskClient, tracker: MissionTracker, script: Script, attributes: dict[str, Any]
    ) -> None:
        mission, span = self.take(client, tracker, script, attributes)

        usage = span.usage
        assert (span.kind, span.model, mission.tokens_used) == ("inference", "m-1", 35)
        assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens) == (30, 10, 5, 2)
        assert {key: str(value) for key, value in span.attributes.items()} == {k: str(v) for k, v in attributes.items()}

    @pytest.mark.parametrize(
        ("attributes", "kind"),
        [
            ({"openinference.span.kind": "TOOL"}, "tool"),
            ({"openinference.span.kind": "RETRIEVER"}, "retrieval"),
            ({"openinference.span.kind": "CHAIN"}, "step"),
            ({"traceloop.span.kind": "task"}, "step"),
            ({"gen_ai.operation.name": "execute_tool", "gen_ai.usage.input_tokens": 5}, "tool"),
            ({"gen_ai.operation.name": "embeddings"}, "embedding"),
            ({"http.method": "GET"}, "step"),
        ],
    )
    def test_kinds(
        self, client: FlaskClient, tracker: MissionTracker, script: Script, attributes: dict[str, Any], kind: str
    ) -> None:
        mission, span = self.take(client, tracker, script, attributes)

        assert (span.kind, span.usage, mission.tokens_used) == (kind, None, None)

    @pytest.mark.parametrize(
        "attributes",
        [
            {"openinference.span.kind": "AGENT", "agent.name": "Inner"},
            {"traceloop.span.kind": "workflow", "traceloop.entity.name": "Inner"},
            {"gen_ai.operation.name": "handle_conversation_turn", "gen_ai.agent.name": "Inner"},
        ],
    )
    def test_agents_of_every_dialect_are_missions(
        self, client: FlaskClient, tracker: MissionTracker, script: Script, attributes: dict[str, Any]
    ) -> None:
        with agent(script.tracer, "Outer"), script.tracer.start_as_current_span("x", attributes=attributes):
            pass

        send(client, *script.in_order())

        inner = tracker.get(script.mission_id("x"))
        assert (inner.title, inner.agent_type, inner.parent_id) == (
            "Inner",
            "Inner",
            script.mission_id("invoke_agent Outer"),
        )

    def test_odd_values_are_made_storable(self, client: FlaskClient, tracker: MissionTracker, script: Script) -> None:
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": -5,
            "gen_ai.usage.output_tokens": "many",
            "nul": "a\x00b",
            "nan": float("nan"),
            "long": "x" * 20_000,
            **{f"large {number}": [str(number) * 3_000] * 2 for number in range(20)},
        }

        _, span = self.take(client, tracker, script, attributes)

        assert span.usage is None
        assert (span.attributes["nul"], span.attributes["nan"]) == ("a\ufffdb", "nan")
        assert len(span.attributes["long"]) == 4_001
        assert span.attributes["mission_dashboard.attributes_cut"] is True
        assert len(json.dumps(span.attributes)) < 40_000

    def test_the_document_has_the_table_of_names(self) -> None:
        text = (ROOT / "docs" / "opentelemetry.md").read_text()
        rows = re.findall(r"^\| ([a-z_]+) \| (`.+) \|$", text, re.MULTILINE)

        assert {meaning: tuple(re.findall(r"`([^`]+)`", names)) for meaning, names in rows} == dict(ALIASES)


def _nested(content: bytes, *tags: int) -> bytes:
    """Return protobuf fields around a content, the innermost first."""
    for tag in tags:
        content = bytes([tag]) + _VarintBytes(len(content)) + content
    return content


def _json_spans(spans: bytes) -> bytes:
    return b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + spans + b"{}]}]}]}"


class TestProtocol:
    def test_json_says_the_same_as_protobuf(self, client: FlaskClient, tracker: MissionTracker, script: Script) -> None:
        research(script.tracer)

        answer = client.post("/v1/traces", json=as_json(script.in_order()))

        assert (answer.status_code, answer.content_type, answer.get_json()) == (200, "application/json", {})
        check_research(script, tracker)

    @pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
    def test_compressed(
        self,
        client: FlaskClient,
        tracker: MissionTracker,
        script: Script,
        encoding: str,
        pack: Callable[[bytes], bytes],
    ) -> None:
        research(script.tracer)
        body = pack(encode_spans(script.in_order()).SerializeToString())

        answer = client.post("/v1/traces", data=body, content_type=PROTOBUF, headers={"Content-Encoding": encoding})

        assert answer.status_code == 200
        check_research(script, tracker)

    def test_wrong_spans_are_counted_and_the_others_taken(
        self, client: FlaskClient, tracker: MissionTracker, script: Script
    ) -> None:
        for name in ("good", "no id", "backwards", "tomorrow", "long ago"):
            with agent(script.tracer, name):
                pass
        export = encode_spans(script.in_order())
        wrong = {
            span.name.removeprefix("invoke_agent "): span for span in export.resource_spans[0].scope_spans[0].spans
        }
        wrong["no id"].span_id = b"\x00" * 8
        wrong["backwards"].end_time_unix_nano = 1
        wrong["tomorrow"].end_time_unix_nano += 10**9 * 86_400
        wrong["long ago"].start_time_unix_nano = 1

        answer = client.post("/v1/traces", data=export.SerializeToString(), content_type=PROTOBUF)

        partial = ExportTraceServiceResponse.FromString(answer.data).partial_success
        assert (answer.status_code, partial.rejected_spans) == (200, 4)
        for sentence in ("span_id", "before its start", "future", "2000"):
            assert sentence in partial.error_message
        assert [mission.title for mission in tracker.list(Query()).missions] == ["good"]

    def test_json_tells_of_wrong_spans_too(self, client: FlaskClient, script: Script) -> None:
        with agent(script.tracer, "x"):
            pass
        export = as_json(script.in_order())
        export["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = "xyz"

        partial = client.post("/v1/traces", json=export).get_json()["partialSuccess"]

        assert partial == {"rejectedSpans": "1", "errorMessage": "traceId should be 16 bytes, not all zero."}

    @pytest.mark.parametrize(
        ("body", "kind", "encoding", "status"),
        [
            (b"\xff\xff\xff", PROTOBUF, "", 400),
            (b"{", "application/json", "", 400),
            (b"[]", "application/json", "", 400),
            (b'{"resourceSpans": 5}', "application/json", "", 400),
            (b'{"resourceSpans": [{"scopeSpans": [{"spans": 5}]}]}', "application/json", "", 400),
            (b"not gzip", PROTOBUF, "gzip", 400),
            (gzip.compress(b"x" * 1000, mtime=0)[:-9], PROTOBUF, "gzip", 400),
            (b"", PROTOBUF, "br", 415),
            (b"x", "text/plain", "", 415),
            (b"x" * 10_000_001, PROTOBUF, "", 413),
            (gzip.compress(b"\x00" * (MAX_INFLATED_BYTES + 1), mtime=0), PROTOBUF, "gzip", 413),
            (gzip.compress(b"\x00" * (MAX_INFLATED_BYTES // 2 + 1), mtime=0) * 2, PROTOBUF, "gzip", 413),
        ],
    )
    def test_what_cannot_be_taken_is_answered_in_its_own_encoding(
        self, client: FlaskClient, body: bytes, kind: str, encoding: str, status: int
    ) -> None:
        headers = {"Content-Encoding": encoding} if encoding else {}

        answer = client.post("/v1/traces", data=body, content_type=kind, headers=headers)

        assert answer.status_code == status
        if kind == PROTOBUF:
            assert answer.content_type == PROTOBUF
            assert Status.FromString(answer.data).message
        else:
            assert answer.get_json()["message"]

    @pytest.mark.parametrize(
        ("make", "kind", "encoding", "status"),
        [
            (lambda: gzip.compress(b"", mtime=0) * 100_000, PROTOBUF, "gzip", 400),
            (lambda: gzip.compress(b"\x0a\x00" * 5_000_000, mtime=0), PROTOBUF, "gzip", 413),
            (lambda: gzip.compress(_nested(b"\x4a\x00" * 5_000_000, 0x12, 0x12, 0x0A), mtime=0), PROTOBUF, "gzip", 413),
            (lambda: b"\x20\x01" * 4_000_000, PROTOBUF, "", 413),
            (lambda: _json_spans(b"{}," * 3_000_000), "application/json", "", 413),
            (lambda: gzip.compress(_json_spans(b"{}," * 6_000_000), mtime=0), "application/json", "gzip", 413),
            (lambda: _json_spans(b'"a",' * 2_000_000), "application/json", "", 413),
            (lambda: b'["' + b'\\",' * 1_700_000, "application/json", "", 400),
            (lambda: gzip.compress(b'["' + b'\\",' * 6_000_000, mtime=0), "application/json", "gzip", 400),
        ],
        ids=[
            "members",
            "resources",
            "attributes",
            "scalars",
            "spans",
            "packed spans",
            "texts",
            "escapes",
            "packed escapes",
        ],
    )
    def test_what_is_small_on_its_way_and_large_when_decoded_is_refused_at_once(
        self, client: FlaskClient, make: Callable[[], bytes], kind: str, encoding: str, status: int
    ) -> None:
        body, headers = make(), {"Content-Encoding": encoding} if encoding else {}
        began = time.process_time()

        answer = client.post("/v1/traces", data=body, content_type=kind, headers=headers)

        assert answer.status_code == status
        assert time.process_time() - began < 2.5, "everybody else waits for this"

    def test_what_unpacks_to_very_much_is_not_unpacked_beyond_what_is_allowed(self, client: FlaskClient) -> None:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        bomb = b"".join([*(packer.compress(bytes(1_000_000)) for _ in range(300)), packer.flush()])
        tracemalloc.start()

        answer = client.post("/v1/traces", data=bomb, content_type=PROTOBUF, headers={"Content-Encoding": "gzip"})

        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer.status_code == 413
        assert most < 3 * MAX_INFLATED_BYTES

    @pytest.mark.parametrize(
        ("text", "bare"),
        [
            (rb'{"a,":"b\",","c":[1,"\\",{}]}', b"{:,:[1,,{}]}"),
            (rb'["\\\"[",["\\"]]', b"[,[]]"),
            (rb'[["never ends, {[\"', b"[["),
            (b"", b""),
        ],
    )
    def test_what_is_quoted_does_not_count_as_parts(self, text: bytes, bare: bytes) -> None:
        assert _without_texts(text) == bare

    def test_large_texts_full_of_brackets_are_taken(
        self, client: FlaskClient, tracker: MissionTracker, script: Script
    ) -> None:
        with agent(script.tracer, "wordy", prompt='{"a": [1, 2, \\"b\\"]},' * 100_000):
            pass

        for body, kind in (
            (encode_spans(script.in_order()).SerializeToString(), PROTOBUF),
            (json.dumps(as_json(script.in_order())), "application/json"),
        ):
            assert client.post("/v1/traces", data=body, content_type=kind).status_code == 200

        assert [mission.title for mission in tracker.list(Query()).missions] == ["wordy"]

    def test_an_empty_export_is_fine(self, client: FlaskClient) -> None:
        for body, kind in ((b"", PROTOBUF), (b"{}", "application/json")):
            assert client.post("/v1/traces", data=body, content_type=kind).status_code == 200

    def test_too_many_exports_are_told_to_wait(self, tracker: MissionTracker, settings: Settings) -> None:
        limited = replace(settings, rate_limit="100 per minute", report_limit="2 per minute")
        client = create_app(limited, tracker)[0].test_client()

        answers = [client.post("/v1/traces", data=b"", content_type=PROTOBUF) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert int(answers[2].headers["Retry-After"]) > 0
        assert Status.FromString(answers[2].data).code == 8

    def test_while_the_database_is_away_exporters_are_told_to_retry(
        self, client: FlaskClient, tracker: MissionTracker, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with agent(script.tracer, "x"):
            pass
        tracker.close()

        answer = client.post(
            "/v1/traces", data=encode_spans(script.in_order()).SerializeToString(), content_type=PROTOBUF
        )

        assert (answer.status_code, Status.FromString(answer.data).code) == (503, 14)
        assert answer.headers["Retry-After"] == "1"


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    yield dashboard
    dashboard.stop()


class TestRealExporter:
    @pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
    def test_the_sdk_exports_to_a_running_server(self, dashboard: Dashboard, compression: Compression) -> None:
        provider = TracerProvider(resource=Resource.create({"service.name": "research-app"}))
        exporter = OTLPSpanExporter(f"{dashboard.url}/v1/traces", compression=compression)
        provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=2))

        research(provider.get_tracer("tests"))
        assert provider.force_flush()
        provider.shutdown()

        missions = {mission["title"]: mission for mission in dashboard.get("/api/missions")["missions"]}
        assert {title: mission["tokens_used"] for title, mission in missions.items()} == {
            "Research": 4,
            "Planner": 101,
            "Reader": 21,
        }
        nodes = dashboard.get(f"/api/missions/{missions['Research']['id']}/tree")["nodes"]
        assert [(node["title"], node["total"]["tokens"]) for node in nodes] == [
            ("Research", 126),
            ("Planner", 122),
            ("Reader", 21),
        ]
        planner = missions["Planner"]
        assert (
            planner["usage"]["gpt-5"].items() >= {"input_tokens": 100, "cached_tokens": 40, "output_tokens": 1}.items()
        )
        assert planner["cost_estimate"] == planner["cost_computed"] > 0
        spans = dashboard.get(f"/api/missions/{planner['id']}/spans")["spans"]
        assert {span["kind"] for span in spans} == {"agent", "inference", "tool", "step"}

    def test_many_programs_export_at_once(self, dashboard: Dashboard) -> None:
        def run(number: int) -> None:
            provider = TracerProvider(resource=Resource.create({"service.name": f"app-{number}"}))
            provider.add_span_processor(
                BatchSpanProcessor(OTLPSpanExporter(f"{dashboard.url}/v1/traces"), max_export_batch_size=16)
            )
            for _ in range(10):
                research(provider.get_tracer("tests"))
            provider.shutdown()

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        metrics = dashboard.get("/api/metrics")["metrics"]
        assert (metrics["total_missions"], metrics["completed_missions"]) == (120, 120)
        assert metrics["total_tokens"] == 40 * 126

    def test_the_example_runs(self, dashboard: Dashboard) -> None:
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": dashboard.url}
        command = [sys.executable, str(ROOT / "examples" / "opentelemetry_agent.py")]

        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

        # A server whose database is slow just then answers 503, and the exporter says that it sends again.
        complaints = [line for line in done.stderr.splitlines() if not line.startswith("Transient error ")]
        assert (done.returncode, complaints) == (0, [])
        missions = {mission["status"]: mission for mission in dashboard.get("/api/missions")["missions"]}
        completed, failed = missions["completed"], missions["failed"]
        assert (completed["title"], completed["agent_type"]) == ("TravelAgent", "TravelAgent")
        assert (completed["model_used"], completed["metadata"]["otel"]["service"]) == (
            "llama3.1:8b",
            "travel-assistant",
        )
        assert completed["tokens_used"] > 0
        assert failed["error_message"].startswith("LookupError: there are no hotels in Atlantis")

    def test_an_address_that_takes_only_post(self, dashboard: Dashboard) -> None:
        assert requests.get(f"{dashboard.url}/v1/traces", timeout=5).status_code == 405


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
