"""The dashboard as MCP tools: AI agents report their missions, ask people, and learn from earlier missions.

Twelve tools over stdin and stdout, with the official SDK. A refusal of the dashboard is a result with `isError` and the
dashboard's own sentence, which a model can act on; JSON-RPC errors are for faults of the protocol. While the host keeps
this process, the missions begun here are said to live, however long the model thinks.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field

from mission_dashboard import __version__
from mission_dashboard.client.calls import AsyncApi
from mission_dashboard.client.errors import ClientError, ServerSaid
from mission_dashboard.client.transport import Transport
from mission_dashboard.client.values import now, uuid7

TIMEOUT_S = 10.0
PATIENCE_S = 20.0
HEARTBEAT_S = 10.0
MAX_HOLD_S = 30
MAX_WAIT_S = 50
"""Hosts give a tool about a minute."""
MAX_TEXT = 2_000
SIMILAR = 200
INSTRUCTIONS = """\
Mission Dashboard shows people what AI agents do, live, and lets them steer it. For work that takes more than a moment:
create_mission, then report_progress after each step, then complete_mission or fail_mission. Obey the directive in each
answer: on cancel stop at once and call check_directive with obeyed="cancel"; on pause wait with check_directive. Before
something that cannot be undone, ask_person. Before a second try at something that failed, find_similar_failures."""

MissionId = Annotated[str, Field(description="the mission's id, a UUID")]
Status = Literal["pending", "running", "completed", "failed", "cancelled"]
Priority = Literal["low", "medium", "high", "critical"]
Tokens = Annotated[int | None, Field(description="tokens so far, a total", ge=0)]
Cost = Annotated[float | None, Field(description="US dollars so far, a total", ge=0)]


class _Output(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Budget(BaseModel):
    """The most a mission may use; at 80% people are warned, at 100% it is cancelled."""

    cost: float | None = Field(None, ge=0, description="US dollars")
    tokens: int | None = Field(None, ge=0)
    seconds: float | None = Field(None, ge=0, description="run time")


class Directive(_Output):
    """What the agent shall do now."""

    action: Literal["continue", "pause", "cancel"] = "continue"
    reason: str | None = None
    cause: str | None = Field(None, description="person or budget")
    budget_left: dict[str, float] | None = Field(None, description="what is left of the limits that are set")
    deadline: str | None = None


class Mission(_Output):
    """A mission."""

    id: str
    title: str
    status: Status
    priority: str
    description: str | None = None
    progress: float | None = None
    step: str | None = None
    error_message: str | None = None
    result: Any = None
    metadata: dict[str, Any] | None = None
    agent_type: str | None = None
    model_used: str | None = None
    tokens_used: int | None = None
    cost_estimate: float | None = None
    created_at: str
    started_at: str | None = None
    completed_at: str | None = None
    duration: float | None = Field(None, description="seconds")
    parent_id: str | None = None
    retry_of: str | None = None
    stalled: bool = False
    control: str | None = None
    question: dict[str, Any] | None = None
    budget: dict[str, Any] | None = None


class Reported(_Output):
    """What a report was answered."""

    mission: Mission
    message: str
    directive: Directive


class Directed(_Output):
    """What a mission shall do."""

    mission_id: str
    directive: Directive


class Asked(_Output):
    """A question to people and what became of it."""

    mission_id: str
    question_id: str
    state: Literal["open", "answered", "expired", "withdrawn"]
    answer: str | None = None
    answered_by: str | None = None
    hint: str = Field(description="what to do now")


class Found(_Output):
    """A page of missions."""

    missions: list[Mission]
    total: int
    next_cursor: str | None = None


class Logged(_Output):
    """How many lines were written."""

    mission_id: str
    lines: int


class Failure(_Output):
    """An earlier failure, and how a later try of the same mission ended."""

    mission_id: str
    title: str
    error_message: str
    likeness: float = Field(description="0 to 1")
    failed_at: str | None = None
    agent_type: str | None = None
    model_used: str | None = None
    solved_by: str | None = Field(None, description="the id of a retry that was completed")
    solved_result: Any = None


class Failures(_Output):
    """Failures like the one that was asked about, the likest first."""

    failures: list[Failure]
    looked_at: int


READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
REPORTS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
ENDS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)

Function = Callable[..., Awaitable[Any]]


class Tools:
    """The tools; each is one call of the dashboard, or two."""

    def __init__(self, api: AsyncApi) -> None:
        self._api = api
        self._alive: set[str] = set()

    async def create_mission(
        self,
        title: Annotated[str, Field(description="what the mission is, in one line")],
        description: str | None = None,
        type: Annotated[str | None, Field(description="the kind of work, like code_generation")] = None,
        priority: Priority | None = None,
        agent_type: Annotated[str | None, Field(description="your name as an agent")] = None,
        model_used: Annotated[str | None, Field(description="the model you are")] = None,
        parent_id: Annotated[str | None, Field(description="the mission this one is a part of")] = None,
        budget: Budget | None = None,
        start: Annotated[bool, Field(description="say at once that it runs; false leaves it pending")] = True,
    ) -> Reported:
        """Create a mission, so that people see what you work on. Returns its id, which the other tools need."""
        said: dict[str, Any] = {
            "description": description,
            "priority": priority,
            "metadata": {"type": type} if type else None,
            "agent_type": agent_type,
            "model_used": model_used,
            "parent_id": parent_id,
            "budget": budget.model_dump(exclude_none=True) or None if budget else None,
        }
        answer = await self._api.create(title, **said)
        if start:
            answer = await self._api.start(answer["mission"]["id"])
            self._alive.add(answer["mission"]["id"])
        return _reported(answer)

    async def start_mission(
        self, mission_id: MissionId, agent_type: str | None = None, model_used: str | None = None
    ) -> Reported:
        """Say that you begin to work on a pending mission."""
        answer = await self._api.start(mission_id, agent_type=agent_type, model_used=model_used)
        self._alive.add(mission_id)
        return _reported(answer)

    async def report_progress(
        self,
        mission_id: MissionId,
        progress: Annotated[
            float | None, Field(description="percent; leave it out where unknown", ge=0, le=100)
        ] = None,
        step: Annotated[str | None, Field(description="what you do now, in one line")] = None,
        input_tokens: Tokens = None,
        output_tokens: Tokens = None,
        cost_estimate: Cost = None,
    ) -> Reported:
        """Say how far a running mission is and what you do now. Obey the directive in the answer."""
        used = {"input_tokens": input_tokens, "output_tokens": output_tokens, "cost_estimate": cost_estimate}
        answer = await self._api.progress(mission_id, progress, step=step, **used)
        self._alive.add(mission_id)
        return _reported(answer)

    async def complete_mission(
        self,
        mission_id: MissionId,
        result: Annotated[Any, Field(description="what came of it: text, or any JSON")] = None,
        input_tokens: Tokens = None,
        output_tokens: Tokens = None,
        cost_estimate: Cost = None,
    ) -> Reported:
        """Say that a running mission ended well."""
        used = {"input_tokens": input_tokens, "output_tokens": output_tokens, "cost_estimate": cost_estimate}
        answer = await self._api.complete(mission_id, result=result, **used)
        self._alive.discard(mission_id)
        return _reported(answer)

    async def fail_mission(
        self,
        mission_id: MissionId,
        error_message: Annotated[str, Field(description="what went wrong; the error itself in the first line")],
        result: Annotated[Any, Field(description="what there is nevertheless")] = None,
    ) -> Reported:
        """Say that a running mission ended badly, and why."""
        answer = await self._api.fail(mission_id, error_message, result=result)
        self._alive.discard(mission_id)
        return _reported(answer)

    async def cancel_mission(
        self,
        mission_id: MissionId,
        reason: Annotated[str | None, Field(description="why; shown to people and to its agent")] = None,
    ) -> Reported:
        """Stop a pending or running mission, yours or another's. This cannot be undone."""
        answer = await self._api.cancel(mission_id, reason, by="an agent")
        self._alive.discard(mission_id)
        return _reported(answer)

    async def check_directive(
        self,
        mission_id: MissionId,
        obeyed: Annotated[
            Literal["pause", "cancel", "continue"] | None,
            Field(description="confirm what you did: you wait now, you stopped for good, you go on"),
        ] = None,
        wait_s: Annotated[int, Field(description="while paused, wait so long", ge=0, le=MAX_WAIT_S)] = 0,
    ) -> Directed:
        """Learn whether to continue, pause or cancel, and what is left of the budget; wait out a pause."""
        if obeyed is not None:
            answer = await self._api.acknowledge(mission_id, obeyed, stopped=True if obeyed == "cancel" else None)
            if obeyed == "cancel":
                self._alive.discard(mission_id)
        else:
            answer = await self._api.directive(mission_id)
        ends_at = _now() + wait_s
        while answer["directive"]["action"] == "pause" and (hold_s := min(int(ends_at - _now()), MAX_HOLD_S)) > 0:
            answer = await self._api.directive(mission_id, hold_s, "pause")
        return Directed(mission_id=mission_id, directive=answer["directive"])

    async def ask_person(
        self,
        mission_id: MissionId,
        question: Annotated[str | None, Field(description="the question; leave it out with question_id")] = None,
        options: Annotated[list[str] | None, Field(description="what may be answered; any text without")] = None,
        question_id: Annotated[str | None, Field(description="go on waiting for the answer to this one")] = None,
        wait_s: Annotated[int, Field(description="how long to wait for the answer", ge=0, le=MAX_WAIT_S)] = MAX_WAIT_S,
    ) -> Asked:
        """Ask a person and wait for the answer. If none came in time, call again with the question_id to go on."""
        if question_id is None:
            if question is None:
                raise _Refused("Give a question, or the question_id of one that you asked.")
            question_id = uuid7()
            await self._api.ask(mission_id, question, options=options, question_id=question_id)
            self._alive.add(mission_id)
        ends_at = _now() + wait_s
        found = (await self._api.question(mission_id, question_id))["question"]
        while found["state"] == "open" and (hold_s := min(int(ends_at - _now()), MAX_HOLD_S)) > 0:
            found = (await self._api.question(mission_id, question_id, hold_s))["question"]
        hints = {
            "open": "Nobody answered yet. Call ask_person again with this question_id.",
            "answered": "Act on the answer.",
            "expired": "Nobody answered in time. Take the careful way.",
            "withdrawn": "The mission ended or was cancelled. Call check_directive.",
        }
        return Asked(
            mission_id=mission_id,
            question_id=question_id,
            state=found["state"],
            answer=found.get("answer"),
            answered_by=found.get("answered_by"),
            hint=hints[found["state"]],
        )

    async def add_log(
        self,
        mission_id: MissionId,
        message: Annotated[str, Field(description="one line, or several")],
        level: Literal["debug", "info", "warning", "error"] = "info",
    ) -> Logged:
        """Write into a mission's log what people may want to read later."""
        lines = [{"level": level, "message": line} for line in message.splitlines() if line.strip()][:500]
        if not lines:
            raise _Refused("The message is empty.")
        try:
            await self._api.add_logs(mission_id, [{"at": now(), **line} for line in lines])
        except ServerSaid as error:
            if error.status == 404 and "mission" not in error.detail.lower():
                raise _Refused("This dashboard keeps no logs; use report_progress with a step.") from error
            raise
        return Logged(mission_id=mission_id, lines=len(lines))

    async def search_missions(
        self,
        query: Annotated[str | None, Field(description="words in title, description, type, agent, model")] = None,
        status: list[Status] | None = None,
        type: str | None = None,
        agent_type: str | None = None,
        parent_id: Annotated[str | None, Field(description="parts of this mission")] = None,
        created_after: Annotated[str | None, Field(description="RFC 3339, like 2026-01-31T12:00:00Z")] = None,
        limit: Annotated[int, Field(ge=1, le=50)] = 10,
        cursor: Annotated[str | None, Field(description="next_cursor of the page before")] = None,
    ) -> Found:
        """Find missions, the newest first: what runs, what was done before, what failed."""
        filters = {"q": query, "status": status, "type": type, "agent_type": agent_type, "parent_id": parent_id}
        page = await self._api.list(**filters, created_after=created_after, limit=limit, cursor=cursor)
        return Found(
            missions=[_short(mission) for mission in page["missions"]],
            total=page["total"],
            next_cursor=page["next_cursor"],
        )

    async def get_mission(self, mission_id: MissionId) -> Mission:
        """Read one mission whole: its state, result, error, cost."""
        return Mission.model_validate((await self._api.get(mission_id))["mission"])

    async def find_similar_failures(
        self,
        error_message: Annotated[str, Field(description="the error you got, or fear")],
        type: Annotated[str | None, Field(description="only missions of this type")] = None,
        agent_type: Annotated[str | None, Field(description="only missions of this agent")] = None,
        limit: Annotated[int, Field(ge=1, le=20)] = 5,
    ) -> Failures:
        """Find earlier missions that failed like this, and whether a later try succeeded and with what result."""
        page = await self._api.list(status=["failed"], type=type, agent_type=agent_type, limit=SIMILAR)
        wanted = _words(error_message)
        ranked = sorted(
            ((_likeness(wanted, _words(mission["error_message"] or "")), mission) for mission in page["missions"]),
            key=lambda pair: pair[0],
            reverse=True,
        )
        alike = [(likeness, mission) for likeness, mission in ranked[:limit] if likeness > 0]
        retries = await self._completed_retries() if alike else {}
        failures = [_failure(likeness, mission, retries.get(mission["id"])) for likeness, mission in alike]
        return Failures(failures=failures, looked_at=len(page["missions"]))

    async def _completed_retries(self) -> dict[str, Mapping[str, Any]]:
        page = await self._api.list(status=["completed"], limit=SIMILAR)
        return {mission["retry_of"]: mission for mission in page["missions"] if mission.get("retry_of")}

    async def beat(self) -> None:
        """Say for ever that the missions begun here live."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            beats = [{"op": "heartbeat", "mission_id": mission_id} for mission_id in self._alive]
            if not beats:
                continue
            with suppress(ClientError):
                answer = await self._api.batch(beats)
                for beat, result in zip(beats, answer["results"], strict=True):
                    if result["status"] >= 400:
                        self._alive.discard(beat["mission_id"])


class _Refused(ClientError):
    """A tool was called in a way that cannot be done; the message says what to do."""


def make_server(url: str, key: str | None) -> MCPServer[None]:
    """Return the MCP server for a dashboard."""
    transport = Transport(url, key, TIMEOUT_S)
    api = AsyncApi(transport, PATIENCE_S)
    tools = Tools(api)
    offered = _offered(tools)

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        async with api:
            beating = asyncio.create_task(tools.beat())
            try:
                yield
            finally:
                beating.cancel()

    return MCPServer(
        "mission-dashboard",
        title="Mission Dashboard",
        instructions=INSTRUCTIONS,
        version=__version__,
        tools=[
            _strict(Tool.from_function(_told(call), title=title, annotations=hints)) for call, title, hints in offered
        ],
        lifespan=lifespan,
        log_level="WARNING",
    )


def _strict(tool: Tool) -> Tool:
    """Return the tool such that arguments it does not know are refused rather than ignored."""
    known = tool.fn_metadata.arg_model
    tool.fn_metadata.arg_model = type(known.__name__, (known,), {"model_config": ConfigDict(extra="forbid")})
    tool.parameters = tool.fn_metadata.arg_model.model_json_schema(by_alias=True)
    return tool


def _offered(tools: Tools) -> list[tuple[Function, str, ToolAnnotations]]:
    return [
        (tools.create_mission, "Create a mission", ADDS),
        (tools.start_mission, "Start a mission", REPORTS),
        (tools.report_progress, "Report progress", REPORTS),
        (tools.complete_mission, "Complete a mission", REPORTS),
        (tools.fail_mission, "Fail a mission", REPORTS),
        (tools.cancel_mission, "Cancel a mission", ENDS),
        (tools.check_directive, "Check directive and budget", REPORTS),
        (tools.ask_person, "Ask a person", ADDS),
        (tools.add_log, "Write to a mission's log", ADDS),
        (tools.search_missions, "Search missions", READS),
        (tools.get_mission, "Read a mission", READS),
        (tools.find_similar_failures, "Find similar failures", READS),
    ]


def serve(url: str, key: str | None) -> None:
    """Serve over stdin and stdout until the host closes them."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    make_server(url, key).run("stdio")


def _told(tool: Function) -> Function:
    """Return the tool such that what the dashboard refuses is a result with its sentence."""

    @functools.wraps(tool)
    async def told(**arguments: Any) -> Any:
        try:
            return await tool(**arguments)
        except ClientError as error:
            return CallToolResult(content=[TextContent(type="text", text=_sentence(error))], is_error=True)

    return told


def _sentence(error: ClientError) -> str:
    text = str(error)
    for problem in getattr(error, "errors", ()):
        if str(problem.get("message")) not in text:
            text += f" {problem.get('field')}: {problem.get('message')}"
    directive = getattr(error, "answer", {}).get("directive") or {}
    if directive.get("action") == "cancel":
        why = f" ({directive['reason']})" if directive.get("reason") else ""
        text += f' The mission was cancelled{why}: stop working on it, then call check_directive with obeyed="cancel".'
    return text


def _reported(answer: Mapping[str, Any]) -> Reported:
    directive = Directive.model_validate(answer.get("directive") or {})
    return Reported(mission=_short(answer["mission"]), message=answer["message"], directive=directive)


def _short(mission: Mapping[str, Any]) -> Mission:
    """Return a mission without what could fill a model's context; get_mission has all of it."""
    found = Mission.model_validate(mission)
    if found.result is not None and len(str(found.result)) > MAX_TEXT:
        found.result = str(found.result)[:MAX_TEXT] + "…"
    for name in ("description", "error_message"):
        text = getattr(found, name)
        if text and len(text) > MAX_TEXT:
            setattr(found, name, text[:MAX_TEXT] + "…")
    return found


def _failure(likeness: float, mission: Mapping[str, Any], solved: Mapping[str, Any] | None) -> Failure:
    return Failure(
        mission_id=mission["id"],
        title=mission["title"],
        error_message=(mission["error_message"] or "")[:MAX_TEXT],
        likeness=round(likeness, 2),
        failed_at=mission["completed_at"],
        agent_type=mission["agent_type"],
        model_used=mission["model_used"],
        solved_by=solved["id"] if solved else None,
        solved_result=_short(solved).result if solved else None,
    )


def _words(text: str) -> set[str]:
    """Return the words of an error that tell its kind: numbers and ids differ each time, and so count for nothing."""
    return set(re.findall(r"[^\W\d_]{3,}", text[:MAX_TEXT].lower()))


def _likeness(one: set[str], other: set[str]) -> float:
    both = len(one & other)
    return both / len(one | other) if both else 0.0


def _now() -> float:
    return asyncio.get_running_loop().time()
