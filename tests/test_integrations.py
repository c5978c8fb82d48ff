"""The integrations on the real libraries and a running dashboard. Programs run in processes of their own.

Their libraries are heavy and install hooks, and an order to stop ends a program.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from clients import Script, wait_for
from dashboards import Dashboard

LIMIT_S = 90.0

DSPY = """
import time
import dspy
from dspy.lm15 import Message, Response, TextPart, Usage
from mission_dashboard.client import MissionCancelled, current_mission, default_client, mission
from mission_dashboard.integrations.dspy import MissionCallback

class Engine:
    def complete(self, request):
        if "explode" in str(request.messages):
            raise ValueError("the model is down")
        time.sleep(0.02)
        text = "[[ ## answer ## ]]\\nVienna\\n\\n[[ ## completed ## ]]"
        usage = Usage(input_tokens=120, cache_read_tokens=20, output_tokens=30, reasoning_tokens=10, total_tokens=150)
        message = Message.assistant([TextPart(text)])
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)
    def close(self):
        pass

class AsyncEngine:
    async def complete(self, request):
        return Engine().complete(request)
    async def aclose(self):
        pass

lm = dspy.LM("openai/gpt-4o-mini", engine=Engine(), async_engine=AsyncEngine(), cache=False, num_retries=0)
dspy.configure(lm=lm, callbacks=[MissionCallback()])
"""

LANGCHAIN = """
import time
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from mission_dashboard.client import MissionCancelled, default_client, mission
from mission_dashboard.integrations.langchain import MissionCallbackHandler

class Model(BaseChatModel):
    old: bool = False

    @property
    def _llm_type(self):
        return "fake"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        if "explode" in messages[0].content:
            raise ValueError("the model is down")
        time.sleep(0.02)
        usage = {"input_tokens": 120, "output_tokens": 30, "total_tokens": 150,
                 "input_token_details": {"cache_read": 20}, "output_token_details": {"reasoning": 10}}
        message = AIMessage("Vienna", usage_metadata=None if self.old else usage,
                            response_metadata={"model_name": "gpt-4o-mini"})
        told = {"token_usage": {"prompt_tokens": 7, "completion_tokens": 3}, "model_name": "gpt-4o-mini"}
        return ChatResult(generations=[ChatGeneration(message=message)], llm_output=told if self.old else None)

@tool
def look(city: str) -> str:
    "Look at a city."
    raise LookupError("no such city")

handler = MissionCallbackHandler()
watched = {"callbacks": [handler]}
"""

AGENTS = """
import asyncio
from agents import (Agent, Model, ModelResponse, Runner, RunConfig, Usage, function_tool, generation_span,
                    set_trace_processors, trace)
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from mission_dashboard.client import MissionCancelled, current_mission, default_client
from mission_dashboard.integrations.openai_agents import MissionTracingProcessor

class Answers(Model):
    def __init__(self, calls=0):
        self.calls = calls

    async def get_response(self, system_instructions, input, *args, **kwargs):
        if "explode" in str(input):
            raise ValueError("the model is down")
        with generation_span(model="gpt-4o-mini") as span:
            await asyncio.sleep(0.02)
            span.span_data.usage = {"input_tokens": 120, "output_tokens": 30,
                                    "input_tokens_details": {"cached_tokens": 20}}
        if self.calls:
            self.calls -= 1
            output = ResponseFunctionToolCall(
                call_id=f"call-{self.calls}", name="look", arguments='{"city": "Vienna"}', type="function_call")
        else:
            text = ResponseOutputText(text="Vienna", type="output_text", annotations=[])
            output = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError

@function_tool
async def look(city: str) -> str:
    "Look at a city."
    current_mission().log(f"looking at {city}")
    await asyncio.sleep(0.01)
    return "a city"

set_trace_processors([MissionTracingProcessor()])
"""

CELERY = """
import sys
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Ignore, TaskRevokedError
from mission_dashboard.client import current_mission, default_client, mission
from mission_dashboard.integrations.celery import MissionTask, connect

app = Celery("shop", broker="memory://", backend="cache+memory://", task_cls=MissionTask)
connect(app, queued=True)
worker = start_worker(app, pool="threads", concurrency=2, perform_ping_check=False, shutdown_timeout=60)
"""


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, module_dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(tmp_path_factory.mktemp("integrations"), POSTGRES_DSN=module_dsn).start()
    yield dashboard
    dashboard.stop()


class Program:
    """A program on a dashboard, and the missions that came while it ran."""

    def __init__(self, dashboard: Dashboard, *code: str) -> None:
        self._dashboard = dashboard
        self._before = {mission["id"] for mission in self._list()}
        whole = "".join(textwrap.dedent(part) for part in code)
        self.script = Script(whole, MISSION_DASHBOARD_URL=dashboard.url)

    def _list(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self._dashboard.get(f"/api/missions?limit=100{cursor}")
            found += page["missions"]
            if not page["next_cursor"]:
                return found
            cursor = f"&cursor={quote(page['next_cursor'])}"

    def missions(self) -> list[dict[str, Any]]:
        return [mission for mission in self._list() if mission["id"] not in self._before]

    def by_title(self) -> dict[str, dict[str, Any]]:
        return {mission["title"]: mission for mission in self.missions()}

    def spans(self, title: str) -> list[dict[str, Any]]:
        return list(self._dashboard.get(f"/api/missions/{self.by_title()[title]['id']}/spans")["spans"])

    def finish(self) -> str:
        code, printed, errors = self.script.finish(LIMIT_S)
        assert code == 0, errors
        assert "could not be reported" not in errors
        assert "Mission Dashboard" not in errors, errors
        return printed

    def wait_for_running(self, title: str) -> dict[str, Any]:
        def running() -> dict[str, Any] | None:
            assert self.script.process.poll() is None, self.script.finish()
            return next((m for m in self.missions() if (m["title"], m["status"]) == (title, "running")), None)

        found = wait_for(running, LIMIT_S)
        assert found is not None
        return found


@pytest.fixture
def run(dashboard: Dashboard) -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def begin(*code: str) -> Program:
        programs.append(Program(dashboard, *code))
        return programs[-1]

    yield begin
    for program in programs:
        program.script.end()


def cancel(dashboard: Dashboard, mission: dict[str, Any]) -> None:
    dashboard.post(f"/api/missions/{mission['id']}/cancel", reason="enough", by="Ada")


def stopped(dashboard: Dashboard, mission: dict[str, Any]) -> dict[str, Any]:
    """Return the mission once its agent has said that nothing runs any more."""

    def receipt() -> dict[str, Any] | None:
        found = dashboard.get(f"/api/missions/{mission['id']}")["mission"]
        return found if found["receipt"]["stopped_at"] else None

    found = wait_for(receipt)
    assert found is not None
    return found


# DSPy


def test_dspy_modules_are_missions_with_tokens_errors_and_parents(run: Callable[..., Program]) -> None:
    program = run(
        DSPY,
        """
        def weigh(city: str) -> str:
            current_mission().log("weighing")
            return "heavy"

        class Good(dspy.Module):
            def __init__(self):
                super().__init__()
                self.inner = dspy.Predict("question -> answer")
                self.tool = dspy.Tool(weigh)
            def forward(self, question):
                self.tool(city="Vienna")
                return self.inner(question=question)

        class Bad(Good):
            pass

        class Spread(Good):
            def forward(self, questions):
                return dspy.Parallel(num_threads=2, disable_progress_bar=True)(
                    [(self.inner, dspy.Example(question=q).with_inputs("question")) for q in questions])

        with mission("Outside"):
            Good()(question="capital?")
        try:
            Bad()(question="explode")
        except Exception as error:
            print(type(error).__name__)
        Spread()(questions=["a", "b", "c"])
        """,
    )

    program.finish()

    made = program.by_title()
    assert made["Good"]["parent_id"] == made["Outside"]["id"]
    assert made["Good"]["status"] == "completed"
    assert [(span["name"], span["kind"]) for span in program.spans("Good")] == [("weigh", "tool")]
    assert made["Bad"]["status"] == "failed" and "the model is down" in made["Bad"]["error_message"]
    predicts = [mission for mission in program.missions() if mission["title"] == "Predict"]
    assert {mission["parent_id"] for mission in predicts} == {made[name]["id"] for name in ("Good", "Bad", "Spread")}
    assert [mission["status"] for mission in predicts].count("failed") == 1
    for mission in (mission for mission in predicts if mission["status"] == "completed"):
        used = mission["usage"]["openai/gpt-4o-mini"]
        assert (used["input_tokens"], used["cached_tokens"]) == (120, 20)
        assert (used["output_tokens"], used["reasoning_tokens"]) == (30, 10)
        assert mission["model_used"] == "openai/gpt-4o-mini"
    assert sum(mission["parent_id"] == made["Spread"]["id"] for mission in predicts) == 3


def test_a_cancel_on_the_dashboard_stops_a_dspy_program(dashboard: Dashboard, run: Callable[..., Program]) -> None:
    program = run(
        DSPY,
        """
        class Endless(dspy.Module):
            def __init__(self):
                super().__init__()
                self.inner = dspy.Predict("question -> answer")
            def forward(self):
                while True:
                    try:
                        self.inner(question="more?")
                    except Exception:
                        pass

        try:
            Endless()()
        except MissionCancelled as order:
            print("stopped:", order.reason)
        """,
    )

    endless = program.wait_for_running("Endless")
    cancel(dashboard, endless)

    assert program.finish() == "stopped: enough\n"
    assert stopped(dashboard, endless)["status"] == "cancelled"
    assert not [mission for mission in program.missions() if mission["status"] in ("running", "failed")]


def test_a_dspy_program_waits_while_it_is_paused(dashboard: Dashboard, run: Callable[..., Program]) -> None:
    program = run(
        DSPY,
        """
        class Endless(dspy.Module):
            def __init__(self):
                super().__init__()
                self.inner = dspy.Predict("question -> answer")
            def forward(self):
                while True:
                    self.inner(question="more?")

        try:
            Endless()()
        except MissionCancelled:
            print("stopped")
        """,
    )
    endless = program.wait_for_running("Endless")

    dashboard.post(f"/api/missions/{endless['id']}/pause", reason="wait", by="Ada")
    path = f"/api/missions/{endless['id']}"
    wait_for(lambda: dashboard.get(path)["mission"]["control"] == "paused")
    count = len(program.missions())
    dashboard.post(f"{path}/resume", by="Ada")
    wait_for(lambda: len(program.missions()) > count)
    cancel(dashboard, endless)

    assert program.finish() == "stopped\n"


def test_dspy_coroutines_tell_contents_only_when_asked(run: Callable[..., Program]) -> None:
    program = run(
        DSPY,
        """
        import asyncio
        class Talk(dspy.Module):
            def __init__(self):
                super().__init__()
                self.inner = dspy.Predict("question -> answer")
            async def aforward(self, question):
                return await self.inner.acall(question=question)

        class Secret(Talk):
            pass

        async def both():
            await asyncio.gather(Talk().acall(question="open"), Talk().acall(question="open"))

        asyncio.run(Secret().acall(question="hidden"))
        dspy.configure(callbacks=[MissionCallback(content=True, priority="high")])
        asyncio.run(both())
        """,
    )

    program.finish()

    secret, *talks = sorted((m for m in program.missions() if m["title"] != "Predict"), key=lambda m: m["title"])
    assert (secret["title"], secret["status"], secret["result"]) == ("Secret", "completed", None)
    assert "hidden" not in str(program.missions())
    assert [(talk["status"], talk["priority"], talk["result"]) for talk in talks] == [
        ("completed", "high", {"answer": "Vienna"})
    ] * 2
    predicts = [mission for mission in program.missions() if mission["title"] == "Predict"]
    assert {mission["parent_id"] for mission in predicts} == {secret["id"], *(talk["id"] for talk in talks)}
    assert all(mission["tokens_used"] == 150 for mission in predicts)


def test_a_paused_mission_around_a_loop_does_not_hold_it_up(dashboard: Dashboard, run: Callable[..., Program]) -> None:
    program = run(
        DSPY,
        """
        import asyncio
        async def talk(outside):
            while outside.action != "pause":
                await lm.acall("more?")
            print(await lm.acall("and more?"), flush=True)

        with mission("Outside") as outside:
            asyncio.run(talk(outside))
        """,
    )

    outside = program.wait_for_running("Outside")
    dashboard.post(f"/api/missions/{outside['id']}/pause", reason="wait", by="Ada")

    assert "Vienna" in program.finish()


# LangChain


def test_langchain_runs_are_missions_with_tokens_errors_and_parents(run: Callable[..., Program]) -> None:
    program = run(
        LANGCHAIN,
        """
        import asyncio
        chain = RunnableParallel(left=Model(), right=Model()).with_config(run_name="Both")
        with mission("Outside"):
            chain.invoke("capital?", config=watched)
        tool_user = RunnableLambda(lambda text: look.invoke(text))
        for name, part in {"Broken model": Model(), "Broken tool": tool_user}.items():
            try:
                (RunnableLambda(lambda text: text) | part).with_config(run_name=name).invoke("explode", config=watched)
            except (ValueError, LookupError) as error:
                print(type(error).__name__)
        (RunnableLambda(lambda text: text) | Model(old=True)).with_config(run_name="Older").invoke("a", config=watched)
        asyncio.run(Model().ainvoke("alone", config={**watched, "run_name": "Alone"}))
        streaming = RunnableLambda(lambda text: text) | GenericFakeChatModel(messages=iter([AIMessage("a b c")]))
        assert len(list(streaming.with_config(run_name="Stream").stream("a", config=watched))) > 1
        """,
    )

    assert program.finish() == "ValueError\nLookupError\n"
    made = program.by_title()
    assert made["Both"]["parent_id"] == made["Outside"]["id"]
    used = made["Both"]["usage"]["gpt-4o-mini"]
    assert [used[name] for name in ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")] == [
        *(240, 40),
        *(60, 20),
    ]
    assert made["Both"]["model_used"] == "gpt-4o-mini"
    assert made["Broken model"]["status"] == "failed"
    assert made["Broken model"]["error_message"].startswith("ValueError: the model is down")
    assert [span["error"].split("\n")[0] for span in program.spans("Broken model") if span["kind"] == "llm"] == [
        "ValueError: the model is down"
    ]
    assert made["Broken tool"]["error_message"].startswith("LookupError: no such city")
    assert (made["Older"]["input_tokens"], made["Older"]["output_tokens"]) == (7, 3)
    (alone,) = (mission for mission in program.missions() if mission["tokens_used"] == 150)
    assert (alone["status"], alone["parent_id"]) == ("completed", None)
    assert made["Stream"]["status"] == "completed"
    assert not [mission for mission in program.missions() if mission["status"] == "running"]


@pytest.mark.parametrize("call", ["chain.invoke('a', watched)", "asyncio.run(chain.ainvoke('a', watched))"])
def test_a_cancel_on_the_dashboard_stops_a_langchain_chain(
    dashboard: Dashboard, run: Callable[..., Program], call: str
) -> None:
    program = run(
        LANGCHAIN,
        f"""
        import asyncio
        def forever(text, config):
            while True:
                try:
                    Model().invoke(text, config)
                except Exception:
                    pass
        async def forever_async(text, config):
            while True:
                try:
                    await Model().ainvoke(text, config)
                except Exception:
                    pass
        chain = RunnableLambda(forever, afunc=forever_async).with_config(run_name="Endless")
        try:
            {call}
        except MissionCancelled as order:
            print("stopped:", order.reason)
        """,
    )

    endless = program.wait_for_running("Endless")
    cancel(dashboard, endless)

    assert program.finish() == "stopped: enough\n"
    assert stopped(dashboard, endless)["status"] == "cancelled"


# OpenAI Agents SDK


def test_agents_are_missions_with_tokens_errors_and_parents(run: Callable[..., Program]) -> None:
    program = run(
        AGENTS,
        """
        agent = Agent(name="Guide", tools=[look], model=Answers(calls=1))
        Runner.run_sync(agent, "where?", run_config=RunConfig(workflow_name="Tour"))
        for name in ("Broken", "Recovered"):
            try:
                with trace(name):
                    try:
                        Runner.run_sync(Agent(name=f"{name} guide", model=Answers()), "explode")
                    except ValueError:
                        if name == "Broken":
                            raise
                        Runner.run_sync(Agent(name="Second guide", model=Answers()), "again")
            except ValueError as error:
                print(error)
        async def both():
            def tour(n):
                config = RunConfig(workflow_name=f"Tour {n}")
                return Runner.run(Agent(name=f"Guide {n}", model=Answers()), "where?", run_config=config)
            await asyncio.gather(tour(1), tour(2))
        asyncio.run(both())
        """,
    )

    assert program.finish() == "the model is down\n"
    made = program.by_title()
    assert made["Guide"]["parent_id"] == made["Tour"]["id"]
    used = made["Guide"]["usage"]["gpt-4o-mini"]
    assert (used["input_tokens"], used["cached_tokens"], used["output_tokens"]) == (240, 40, 60)
    assert [(span["name"], span["kind"]) for span in program.spans("Guide")] == [
        ("LLM gpt-4o-mini", "llm"),
        ("look", "tool"),
        ("LLM gpt-4o-mini", "llm"),
    ]
    assert made["Broken"]["status"] == made["Broken guide"]["status"] == "failed"
    assert made["Broken"]["error_message"].startswith("ValueError: the model is down")
    assert (made["Recovered"]["status"], made["Recovered guide"]["status"]) == ("completed", "failed")
    assert [made[f"Guide {n}"]["parent_id"] for n in (1, 2)] == [made[f"Tour {n}"]["id"] for n in (1, 2)]


def test_a_cancel_on_the_dashboard_stops_an_agent(dashboard: Dashboard, run: Callable[..., Program]) -> None:
    program = run(
        AGENTS,
        """
        try:
            Runner.run_sync(Agent(name="Guide", tools=[look], model=Answers(calls=10**9)), "where?", max_turns=10**9,
                            run_config=RunConfig(workflow_name="Endless"))
        except MissionCancelled as order:
            print("stopped:", order.reason)
        """,
    )

    endless = program.wait_for_running("Endless")
    cancel(dashboard, endless)

    assert program.finish() == "stopped: enough\n"
    assert stopped(dashboard, endless)["status"] == "cancelled"


# Celery


def test_celery_tasks_are_missions_with_outcomes_and_parents(run: Callable[..., Program]) -> None:
    program = run(
        CELERY,
        """
        @app.task
        def inner():
            return 1

        @app.task
        def outer():
            inner.delay()
            return 2

        @app.task
        def broken():
            raise ValueError("no paper")

        @app.task(bind=True, max_retries=2)
        def shaky(self):
            if self.request.retries < 1:
                raise self.retry(countdown=0, exc=ConnectionError("line is dead"))

        @app.task
        def ignored():
            raise Ignore("not today")

        with mission("Outside"):
            sent = [task.delay() for task in (outer, broken)]
            ignored.delay()
        sent.append(shaky.delay())
        late = inner.apply_async(expires=-1)
        with worker:
            for one in [*sent, late]:
                one.get(propagate=False, timeout=60)
        """,
    )

    program.finish()

    made = program.by_title()
    outside = made["Outside"]["id"]
    assert (made["shop.outer"]["status"], made["shop.outer"]["parent_id"]) == ("completed", outside)
    assert made["shop.ignored"]["parent_id"] == outside
    inners = {m["parent_id"]: m["status"] for m in program.missions() if m["title"] == "shop.inner"}
    assert inners == {made["shop.outer"]["id"]: "completed", None: "cancelled"}
    assert (made["shop.broken"]["status"], made["shop.broken"]["parent_id"]) == ("failed", outside)
    assert made["shop.broken"]["error_message"].startswith("ValueError: no paper")
    assert made["shop.shaky"]["status"] == "failed" and "line is dead" in made["shop.shaky"]["error_message"]
    assert made["shop.shaky (attempt 2)"]["status"] == "completed"
    assert made["shop.shaky (attempt 2)"]["parent_id"] is None
    assert made["shop.ignored"]["status"] == "cancelled"


def test_a_celery_task_stops_when_its_mission_is_cancelled(dashboard: Dashboard, run: Callable[..., Program]) -> None:
    program = run(
        CELERY,
        """
        @app.task
        def endless():
            while True:
                current_mission().sleep(0.01)
                current_mission().progress(step="on")

        @app.task
        def next_one():
            return "the worker lives"

        with worker:
            try:
                endless.delay().get(timeout=120)
            except TaskRevokedError:
                print("revoked")
            print(next_one.delay().get(timeout=60))
        """,
    )

    endless = program.wait_for_running("shop.endless")
    cancel(dashboard, endless)

    assert program.finish() == "revoked\nthe worker lives\n"
    assert stopped(dashboard, endless)["status"] == "cancelled"


# Bars and logs


def test_bars_and_logs_belong_to_the_current_mission(dashboard: Dashboard, run: Callable[..., Program]) -> None:
    program = run(
        """
        import io, logging, time
        from mission_dashboard.client import default_client, mission
        from mission_dashboard.integrations.progress import MissionLogHandler, tqdm
        logging.getLogger().addHandler(MissionLogHandler())
        logging.warning("of no mission")
        with mission("Bars"):
            logging.warning("of %s", "a mission")
            try:
                1 / 0
            except ZeroDivisionError:
                logging.exception("odd")
            with tqdm(total=8, desc="outer", file=io.StringIO()) as outer:
                for _ in range(2):
                    outer.update()
                    for _ in tqdm(range(3), desc="inner", file=io.StringIO()):
                        pass
                print("a quarter", flush=True)
                api = default_client().api
                while not api.list(q="Go on")["missions"]:
                    time.sleep(0.02)
        """,
    )

    assert program.script.read_line() == "a quarter"
    bars = program.wait_for_running("Bars")

    def shown() -> bool:
        now = dashboard.get(f"/api/missions/{bars['id']}")["mission"]
        return (now["progress"], now["step"]) == (25.0, "outer: 2 of 8")

    wait_for(shown)
    dashboard.create("Go on")

    program.finish()
    lines = dashboard.get(f"/api/missions/{bars['id']}/logs")["lines"]
    assert [(line["level"], line["message"].split("\n")[0]) for line in lines] == [
        ("warning", "of a mission"),
        ("error", "odd"),
    ]
    assert "ZeroDivisionError" in lines[1]["message"]


# Without


@pytest.mark.parametrize(
    ("module", "library"),
    [("dspy", "dspy"), ("langchain", "langchain_core"), ("openai_agents", "agents"), ("celery", "celery")],
)
def test_a_missing_library_is_told_in_a_sentence(module: str, library: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; import mission_dashboard.integrations.{module}"

    status, _, errors = Script(code).finish()

    assert status == 1
    assert f"mission_dashboard.integrations.{module} needs " in errors.splitlines()[-1]
    assert "pip install 'mission-dashboard[" in errors.splitlines()[-1]


def test_a_program_goes_on_without_a_dashboard() -> None:
    code = textwrap.dedent(LANGCHAIN) + "print(Model().invoke('capital?', config=watched).content)"

    status, printed, _ = Script(code, MISSION_DASHBOARD_URL="http://127.0.0.1:9").finish(LIMIT_S)

    assert (status, printed) == (0, "Vienna\n")


def test_a_fault_of_ours_is_logged_and_the_program_goes_on(dashboard: Dashboard) -> None:
    code = (
        textwrap.dedent(LANGCHAIN)
        + """
broken = MissionCallbackHandler(no_such_option=1)
print(RunnableLambda(lambda text: text).invoke("fine", config={"callbacks": [broken]}))
"""
    )

    status, printed, errors = Script(code, MISSION_DASHBOARD_URL=dashboard.url).finish(LIMIT_S)

    assert (status, printed) == (0, "fine\n")
    assert "MissionCallbackHandler.on_chain_start could not be reported" in errors


def test_integrations_use_the_client_alone() -> None:
    code = """
import sys
import mission_dashboard.integrations.progress, mission_dashboard.integrations.runs
server = {name for name in sys.modules if name.split(".")[0] in ("flask", "psycopg2", "pydantic", "orjson")}
assert not server, server
"""
    status, _, errors = Script(code).finish()

    assert status == 0, errors
