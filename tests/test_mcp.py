"""`mission-dashboard mcp` as an MCP host uses it: the official client, over stdio, against a running dashboard."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp import Client, StdioServerParameters, stdio_client
from mcp_types import CallToolResult

from commands import environment, wait_for
from dashboards import ROOT, Dashboard, free_port

TOOLS = {
    "create_mission",
    "start_mission",
    "report_progress",
    "complete_mission",
    "fail_mission",
    "cancel_mission",
    "check_directive",
    "ask_person",
    "add_log",
    "search_missions",
    "get_mission",
    "find_similar_failures",
}


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, module_dsn: str) -> Iterator[Dashboard]:
    running = Dashboard(tmp_path_factory.mktemp("data"), POSTGRES_DSN=module_dsn).start()
    yield running
    running.stop()


class Host:
    """A session with the MCP server; refusals are told apart from results."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that shall succeed, and return what it says."""
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        assert not result.is_error, result.content
        assert result.structured_content is not None
        return result.structured_content

    async def refusal(self, tool: str, **arguments: Any) -> str:
        """Call a tool that shall be refused, and return the sentence."""
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        assert result.is_error
        return str(result.content[0].text)  # type: ignore[union-attr]


def as_host(url: str, story: Callable[[Host], Awaitable[Any]], mode: str = "auto") -> Any:
    """Start the MCP server as a host does, and play a story with it."""
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "mission_dashboard.cli", "mcp", "--url", url], env=environment()
    )

    async def play() -> Any:
        async with Client(stdio_client(parameters), mode=mode) as client:
            return await story(Host(client))

    return asyncio.run(asyncio.wait_for(play(), 120))


def test_the_document_lists_the_tools_there_are() -> None:
    listed = re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "mcp.md").read_text(), re.MULTILINE)

    assert set(listed) == TOOLS


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_at_most_twelve_tools_that_say_what_they_do(dashboard: Dashboard, mode: str) -> None:
    async def story(host: Host) -> Any:
        return (await host.client.list_tools()).tools

    tools = as_host(dashboard.url, story, mode)

    assert {tool.name for tool in tools} == TOOLS
    assert len(tools) <= 12
    for tool in tools:
        assert tool.title and tool.description
        assert tool.input_schema["additionalProperties"] is False
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema)
        assert tool.annotations.open_world_hint is False
    reading = {tool.name for tool in tools if tool.annotations.read_only_hint}
    destructive = {
        tool.name for tool in tools if not tool.annotations.read_only_hint and tool.annotations.destructive_hint
    }
    assert reading == {"search_missions", "get_mission", "find_similar_failures"}
    assert destructive == {"cancel_mission"}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_reports_a_mission_from_its_creation_to_its_end(dashboard: Dashboard, mode: str) -> None:
    async def story(host: Host) -> Any:
        created = await host.call(
            "create_mission", title="By MCP", type="indexing", agent_type="A1", budget={"cost": 1.5}
        )
        mission_id = created["mission"]["id"]
        progress = await host.call(
            "report_progress", mission_id=mission_id, progress=40, step="chunk 8", output_tokens=9
        )
        done = await host.call("complete_mission", mission_id=mission_id, result={"chunks": 20}, cost_estimate=0.5)
        return created, progress, done

    created, progress, done = as_host(dashboard.url, story, mode)

    mission = dashboard.get(f"/api/missions/{created['mission']['id']}")["mission"]
    assert created["mission"]["status"] == "running"
    assert progress["directive"]["action"] == "continue"
    assert progress["directive"]["budget_left"]["cost"] == 1.5
    assert done["mission"]["status"] == mission["status"] == "completed"
    assert (mission["result"], mission["output_tokens"], mission["cost_estimate"]) == ({"chunks": 20}, 9, 0.5)
    assert (mission["metadata"], mission["agent_type"]) == ({"type": "indexing"}, "A1")


def test_a_pending_mission_is_started_and_fails(dashboard: Dashboard) -> None:
    async def story(host: Host) -> Any:
        created = await host.call("create_mission", title="Pending first", start=False)
        mission_id = created["mission"]["id"]
        started = await host.call("start_mission", mission_id=mission_id, model_used="m1")
        failed = await host.call("fail_mission", mission_id=mission_id, error_message="No index there")
        return created, started, failed, await host.call("get_mission", mission_id=mission_id)

    created, started, failed, read = as_host(dashboard.url, story)

    assert [step["mission"]["status"] for step in (created, started, failed)] == ["pending", "running", "failed"]
    assert (read["error_message"], read["model_used"]) == ("No index there", "m1")


def test_refusals_are_results_with_the_dashboards_sentence(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Over")
    dashboard.post(f"/api/missions/{mission_id}/complete")

    async def story(host: Host) -> Any:
        return (
            await host.refusal("report_progress", mission_id=mission_id, progress=1),
            await host.refusal("get_mission", mission_id="nope"),
            await host.refusal("report_progress", mission_id=mission_id, progress=101),
            await host.refusal("report_progress", mission_id=mission_id, percent=1),
            await host.refusal("create_mission", title=""),
            await host.refusal("ask_person", mission_id=mission_id),
        )

    over, unknown, too_far, misnamed, untitled, no_question = as_host(dashboard.url, story)

    assert "its status is 'completed'" in over
    assert unknown == "There is no mission with the id 'nope'."
    assert "100" in too_far
    assert "percent" in misnamed
    assert "title" in untitled
    assert no_question.startswith("Give a question")


def test_a_missing_dashboard_is_told_and_the_server_lives_on(dashboard: Dashboard) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"

    async def story(host: Host) -> Any:
        return await host.refusal("search_missions"), await host.refusal("create_mission", title="Lost")

    for sentence in as_host(nowhere, story):
        assert sentence.startswith(f"There is no dashboard at {nowhere}")


def test_a_person_answers_the_agents_question(dashboard: Dashboard) -> None:
    async def story(host: Host) -> Any:
        created = await host.call("create_mission", title="Asks")
        mission_id = created["mission"]["id"]
        asked = await host.call(
            "ask_person", mission_id=mission_id, question="Refund?", options=["approve", "deny"], wait_s=0
        )
        path = f"/api/missions/{mission_id}"
        question = (await asyncio.to_thread(dashboard.get, path))["mission"]["question"]
        waiting = asyncio.create_task(
            host.call("ask_person", mission_id=mission_id, question_id=asked["question_id"], wait_s=50)
        )
        await asyncio.to_thread(
            dashboard.post, f"{path}/answer", question_id=asked["question_id"], answer="approve", by="ana"
        )
        return asked, question, await waiting

    asked, question, answered = as_host(dashboard.url, story)

    assert asked["state"] == "open" and "again" in asked["hint"]
    assert (question["text"], question["options"]) == ("Refund?", ["approve", "deny"])
    assert (answered["state"], answered["answer"], answered["answered_by"]) == ("answered", "approve", "ana")


def test_a_cancel_reaches_the_agent_and_is_confirmed(dashboard: Dashboard) -> None:
    async def story(host: Host) -> Any:
        created = await host.call("create_mission", title="Is stopped")
        mission_id = created["mission"]["id"]
        path = f"/api/missions/{mission_id}"
        await asyncio.to_thread(dashboard.post, f"{path}/pause")
        waiting = asyncio.create_task(host.call("check_directive", mission_id=mission_id, wait_s=50))
        await asyncio.to_thread(dashboard.post, f"{path}/cancel", reason="Wrong data", by="ana")
        directed = await waiting
        late = await host.refusal("report_progress", mission_id=mission_id, progress=50)
        obeyed = await host.call("check_directive", mission_id=mission_id, obeyed="cancel")
        return mission_id, directed, late, obeyed

    mission_id, directed, late, obeyed = as_host(dashboard.url, story)

    receipt = dashboard.get(f"/api/missions/{mission_id}")["mission"]["receipt"]
    assert (directed["directive"]["action"], directed["directive"]["reason"]) == ("cancel", "Wrong data")
    assert "Wrong data" in late and "stop working on it" in late
    assert obeyed["directive"]["action"] == "cancel"
    assert receipt["asked_by"] == "ana" and receipt["stopped_at"]


def test_a_pause_is_confirmed_and_waited_out(dashboard: Dashboard) -> None:
    async def story(host: Host) -> Any:
        created = await host.call("create_mission", title="Pauses")
        mission_id = created["mission"]["id"]
        path = f"/api/missions/{mission_id}"
        await asyncio.to_thread(dashboard.post, f"{path}/pause", reason="Maintenance")
        paused = await host.call("check_directive", mission_id=mission_id, obeyed="pause")
        control = (await asyncio.to_thread(dashboard.get, path))["mission"]["control"]
        waiting = asyncio.create_task(host.call("check_directive", mission_id=mission_id, wait_s=50))
        await asyncio.to_thread(dashboard.post, f"{path}/resume")
        return paused, control, await waiting

    paused, control, resumed = as_host(dashboard.url, story)

    assert (paused["directive"]["action"], control) == ("pause", "paused")
    assert resumed["directive"]["action"] == "continue"


def test_missions_are_searched_page_by_page(dashboard: Dashboard) -> None:
    for number in range(3):
        dashboard.create(f"Searched {number}", metadata={"type": "searched"})

    async def story(host: Host) -> Any:
        first = await host.call("search_missions", query="searched", type="searched", status=["pending"], limit=2)
        rest = await host.call(
            "search_missions",
            type="searched",
            status=["pending"],
            query="searched",
            limit=2,
            cursor=first["next_cursor"],
        )
        return first, rest

    first, rest = as_host(dashboard.url, story)

    titles = [mission["title"] for mission in first["missions"] + rest["missions"]]
    assert titles == ["Searched 2", "Searched 1", "Searched 0"]
    assert (first["total"], rest["next_cursor"]) == (3, None)


def test_similar_failures_are_found_with_what_solved_them(dashboard: Dashboard) -> None:
    kind = {"type": "similar"}
    alike = dashboard.create_running("Summarise July", metadata=kind)
    dashboard.post(f"/api/missions/{alike}/fail", error_message="Context window exceeded: thread 87 has 41880 tokens")
    other = dashboard.create_running("Deploy", metadata=kind)
    dashboard.post(f"/api/missions/{other}/fail", error_message="Permission denied: /var/lib")
    again = dashboard.post(f"/api/missions/{alike}/retry")["mission_id"]
    dashboard.post(f"/api/missions/{again}/start")
    dashboard.post(f"/api/missions/{again}/complete", result="Split long threads")

    async def story(host: Host) -> Any:
        error = "Context window exceeded: thread 12 has 99 tokens"
        return (
            await host.call("find_similar_failures", error_message=error, type="similar"),
            await host.call("find_similar_failures", error_message="zebra", type="similar"),
        )

    found, none = as_host(dashboard.url, story)

    assert [failure["mission_id"] for failure in found["failures"]] == [alike]
    assert found["failures"][0]["likeness"] == 1.0
    assert (found["failures"][0]["solved_by"], found["failures"][0]["solved_result"]) == (again, "Split long threads")
    assert (none["failures"], none["looked_at"]) == ([], 2)


def test_an_agent_cancels_a_mission(dashboard: Dashboard) -> None:
    mission_id = dashboard.create("Not wanted any more")

    async def story(host: Host) -> Any:
        return await host.call("cancel_mission", mission_id=mission_id, reason="Done otherwise")

    assert as_host(dashboard.url, story)["mission"]["status"] == "cancelled"
    assert dashboard.get(f"/api/missions/{mission_id}")["mission"]["error_message"] == "Done otherwise"


def test_logs_are_written_line_by_line(dashboard: Dashboard) -> None:
    mission_id = dashboard.create_running("Logs")

    async def story(host: Host) -> Any:
        result = await host.client.call_tool("add_log", {"mission_id": mission_id, "message": "one\n\ntwo"})
        return result, await host.refusal("add_log", mission_id=mission_id, message=" ")

    result, empty = as_host(dashboard.url, story)

    assert empty == "The message is empty."
    lines = dashboard.get(f"/api/missions/{mission_id}/logs")["lines"]
    assert result.structured_content == {"mission_id": mission_id, "lines": 2}
    assert [line["message"] for line in lines] == ["one", "two"]


@pytest.mark.slow
def test_missions_begun_here_live_while_the_model_thinks(dashboard: Dashboard) -> None:
    async def story(host: Host) -> Any:
        created = await host.call("create_mission", title="Thinks")
        path = f"/api/missions/{created['mission']['id']}"
        before = (await asyncio.to_thread(dashboard.get, path))["mission"]["heartbeat_at"]
        await asyncio.to_thread(wait_for, lambda: dashboard.get(path)["mission"]["heartbeat_at"] > before)

    as_host(dashboard.url, story)
