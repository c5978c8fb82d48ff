"""The client against a running dashboard: what an agent writes, and what the dashboard then has."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mission_dashboard.client
from dashboards import ROOT, Dashboard, free_port
from mission_dashboard.client import (
    DashboardUnreachable,
    Mission,
    MissionClient,
    QuestionUnanswered,
    ServerSaid,
    carry,
    current_mission,
    values,
)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, module_dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(tmp_path_factory.mktemp("client"), POSTGRES_DSN=module_dsn).start()
    yield dashboard
    dashboard.stop()


@pytest.fixture
def client(dashboard: Dashboard) -> Iterator[MissionClient]:
    client = MissionClient(dashboard.url, handle_sigterm=False)
    yield client
    client.close()


def stored(client: MissionClient, mission: Mission | Any) -> dict[str, Any]:
    """Return the mission as the dashboard has it, once it has all that was said."""
    assert client.flush(20)
    return dict(client.api.get(mission.id)["mission"])


def test_a_block_is_a_mission_that_completes_by_itself(client: MissionClient) -> None:
    with client.mission(
        "Index corpus", agent_type="RetrievalAgent", model_used="mistral:7b-instruct", priority="high", type="indexing"
    ) as m:
        m.progress(40, step="chunk 8 of 20")
        m.add_cost(0.25)
        m.add_cost(0.25)
        running = stored(client, m)
        m.result({"chunks": 20})

    done = stored(client, m)
    assert (running["status"], running["progress"], running["step"]) == ("running", 40, "chunk 8 of 20")
    assert (done["status"], done["progress"], done["result"]) == ("completed", 100, {"chunks": 20})
    assert (done["agent_type"], done["model_used"]) == ("RetrievalAgent", "mistral:7b-instruct")
    assert (done["priority"], done["metadata"], done["cost_estimate"]) == ("high", {"type": "indexing"}, 0.5)


def test_an_exception_fails_the_mission_with_type_message_and_traceback(client: MissionClient) -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError("bad chunk")
        deep(levels - 1)

    with pytest.raises(ValueError, match="bad chunk"), client.mission("Fails") as m:
        deep(200)

    failed = stored(client, m)
    assert failed["status"] == "failed"
    assert failed["error_message"].startswith("ValueError: bad chunk\n\nTraceback")
    assert "test_client.py" in failed["error_message"]
    assert failed["error_message"].count("deep(levels - 1)") < 20
    assert len(failed["error_message"]) < 10_000


@pytest.mark.parametrize(
    ("error", "status"),
    [(SystemExit(0), "completed"), (SystemExit(3), "failed"), (KeyboardInterrupt(), "cancelled")],
)
def test_leaving_the_program_ends_the_mission_as_it_was_meant(
    client: MissionClient, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), client.mission("Left") as m:
        raise error

    assert stored(client, m)["status"] == status


def test_tokens_add_up_by_model_and_class(client: MissionClient) -> None:
    with client.mission("Counts", model_used="mistral:7b-instruct") as m:
        m.add_tokens(input=1000, output=100, cached=400, reasoning=30)
        m.add_tokens(input=10, output=1, model="yi-coder:9b-chat-q6_k")
        m.add_tokens(input=None, output="7", cached=-1)  # type: ignore[arg-type]

    done = stored(client, m)
    mistral = {"input_tokens": 1000, "cached_tokens": 400, "output_tokens": 107, "reasoning_tokens": 30}
    assert {name: done["usage"]["mistral:7b-instruct"][name] for name in mistral} == mistral
    assert done["usage"]["yi-coder:9b-chat-q6_k"]["input_tokens"] == 10
    assert (done["input_tokens"], done["output_tokens"], done["tokens_used"]) == (1010, 108, 1118)


def test_what_was_used_before_a_failure_is_kept(client: MissionClient) -> None:
    with pytest.raises(RuntimeError), client.mission("Fails after spending") as m:
        m.add_tokens(500, 50, model="mistral:7b-instruct")
        raise RuntimeError

    assert (stored(client, m)["status"], stored(client, m)["tokens_used"]) == ("failed", 550)


def test_a_mission_may_be_created_before_it_starts(client: MissionClient) -> None:
    m = client.mission("Queued", agent_type="CodeAgent")
    m.create()
    queued = stored(client, m)
    with m:
        running = stored(client, m)

    assert [queued["status"], running["status"], stored(client, m)["status"]] == ["pending", "running", "completed"]


def test_log_lines_and_spans_arrive_in_order(client: MissionClient) -> None:
    with client.mission("Writes a log") as m:
        for number in range(1200):
            m.log(f"line {number}", level="warn" if number % 2 else 10)
        with m.span("load", kind="tool", model="mistral:7b-instruct", attributes={"files": 3}) as span:
            span.tokens(input=30, output=4)
        with pytest.raises(ZeroDivisionError), m.span("divide", attributes={"large": "x" * 100_000}):
            _ = 1 / 0
    assert client.flush(20)

    lines = client.api.logs(m.id, limit=1000)
    lines_after = client.api.logs(m.id, after=lines["cursor"], limit=1000)
    messages = dict.fromkeys(line["message"] for line in lines["lines"] + lines_after["lines"])
    spans = {one["name"]: one for one in client.api.spans(m.id)["spans"]}
    assert list(messages) == [f"line {number}" for number in range(1200)]
    assert [line["level"] for line in lines["lines"][:2]] == ["debug", "warning"]
    assert (spans["load"]["usage"]["input_tokens"], spans["load"]["attributes"]) == (30, {"files": 3})
    assert spans["load"]["ended_at"] is not None
    assert spans["divide"]["error"].startswith("ZeroDivisionError")
    assert spans["divide"]["attributes"]["names"] == ["large"]


def test_a_log_of_many_megabytes_is_sent_in_portions(client: MissionClient, caplog: pytest.LogCaptureFixture) -> None:
    with client.mission("Verbose") as m:
        for number in range(600):
            m.log(f"{number} " + "é" * 7000)
    assert client.flush(30)

    newest = client.api.logs(m.id, last=1)["lines"]
    assert newest[0]["message"].startswith("599 ")
    assert "refused" not in caplog.text


def test_nested_missions_become_children(client: MissionClient) -> None:
    with client.mission("Parent") as parent:
        with client.mission("Child") as child, client.mission("Grandchild") as grandchild:
            assert current_mission() is grandchild
        with client.mission("Alone", parent=None) as alone:
            pass
        assert current_mission() is parent
    with client.mission("Adopted", parent=child.id) as adopted:
        pass

    assert current_mission() is None
    assert stored(client, child)["parent_id"] == parent.id
    assert stored(client, grandchild)["parent_id"] == child.id
    assert stored(client, alone)["parent_id"] is None
    assert stored(client, adopted)["parent_id"] == child.id


def test_threads_get_the_mission_with_carry_and_not_without(client: MissionClient) -> None:
    def work(number: int) -> Mission:
        with client.mission(f"Part {number}") as part:
            return part

    with client.mission("Whole") as whole, ThreadPoolExecutor(2) as pool:
        carried = list(pool.map(carry(work), range(3)))
        lone = pool.submit(work, 9).result()

    assert [stored(client, part)["parent_id"] for part in carried] == [whole.id] * 3
    assert stored(client, lone)["parent_id"] is None


def test_tasks_of_asyncio_get_the_mission_by_themselves(client: MissionClient) -> None:
    async def part(number: int) -> Any:
        async with client.mission(f"Task {number}") as m:
            await m.progress(10 * number)
            await asyncio.sleep(0)
            return m

    async def whole() -> tuple[Any, list[Any]]:
        async with client.mission("Gathering") as m:
            return m, list(await asyncio.gather(part(1), part(2)))

    whole_mission, parts = asyncio.run(whole())

    assert [stored(client, part)["parent_id"] for part in parts] == [whole_mission.id] * 2
    assert stored(client, whole_mission)["status"] == "completed"


def test_a_cancelled_task_cancels_its_mission(client: MissionClient) -> None:
    missions: list[Any] = []

    async def work() -> None:
        async with client.mission("Cancelled task") as m:
            missions.append(m)
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(work())
        while not missions:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert stored(client, missions[0])["status"] == "cancelled"
    assert stored(client, missions[0])["receipt"]["stopped_at"] is not None


def test_tracked_functions_are_missions_of_their_name(client: MissionClient) -> None:
    seen: list[Any] = []

    @client.track
    def plain(number: int) -> int:
        """Doubles."""
        seen.append(current_mission())
        return 2 * number

    @client.track(title="With options", agent_type="CodeAgent", type="code")
    async def coroutine() -> str:
        seen.append(current_mission())
        return "done"

    assert plain(21) == 42
    assert plain.__doc__ == "Doubles."
    assert asyncio.run(coroutine()) == "done"

    first, second = (stored(client, mission) for mission in seen)
    assert first["title"].endswith("plain") and first["result"] == 42
    assert (second["title"], second["agent_type"], second["result"]) == ("With options", "CodeAgent", "done")


def test_a_tracked_generator_is_a_mission_from_its_first_to_its_last_item(client: MissionClient) -> None:
    seen: list[Any] = []

    @client.track
    def count(to: int) -> Iterator[int]:
        seen.append(current_mission())
        for number in range(to):
            with client.mission(f"Item {number}") as item:
                yield number
            seen.append(item)

    consumed = []
    for number in count(2):
        assert current_mission() is None
        consumed.append(number)
    broken_off = count(9)
    next(broken_off)
    broken_off.close()

    whole, first, second, stopped = seen
    assert consumed == [0, 1]
    assert [stored(client, item)["parent_id"] for item in (first, second)] == [whole.id] * 2
    assert stored(client, whole)["status"] == stored(client, stopped)["status"] == "completed"


def test_a_tracked_generator_takes_what_is_sent_and_thrown(client: MissionClient) -> None:
    seen: list[Any] = []

    @client.track
    def echo() -> Any:
        seen.append(current_mission())
        got = yield "ready"
        while True:
            try:
                got = yield got
            except KeyError:
                got = "caught"

    generator = echo()
    heard = [next(generator), generator.send("a"), generator.throw(KeyError("x"))]
    with pytest.raises(ZeroDivisionError):
        generator.throw(ZeroDivisionError("b"))

    assert heard == ["ready", "a", "caught"]
    assert stored(client, seen[0])["error_message"].startswith("ZeroDivisionError: b")


def test_a_tracked_asynchronous_generator_is_a_mission(client: MissionClient) -> None:
    seen: list[Any] = []

    @client.track
    async def count() -> AsyncIterator[int]:
        seen.append(current_mission())
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    async def main() -> list[int]:
        return [number async for number in count() if current_mission() is None]

    assert asyncio.run(main()) == [0, 1, 2]
    assert stored(client, seen[0])["status"] == "completed"


def test_tracking_items_says_how_many_are_done(client: MissionClient) -> None:
    with client.mission("Loop") as m:
        for number in m.track([10, 20, 30, 40]):
            if number == 30:
                middle = stored(client, m)
        for _ in m.track(iter("ab")):
            unknown = stored(client, m)

    assert (middle["progress"], middle["step"]) == (50, "item 3 of 4")
    assert unknown["step"] == "item 2"


def test_coroutines_track_items_of_both_kinds(client: MissionClient) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async def main() -> tuple[Any, list[int]]:
        async with client.mission("Async loop") as m:
            seen = [number async for number in m.track(numbers(), total=3)]
            seen += [number async for number in m.track([7])]
            return m, seen

    m, seen = asyncio.run(main())
    assert seen == [0, 1, 2, 7]
    assert stored(client, m)["step"] == "item 1 of 1"


def test_a_thousand_reports_of_many_threads_arrive_in_order(client: MissionClient) -> None:
    def work(number: int) -> Mission:
        with client.mission(f"Busy {number}") as m:
            for step in range(100):
                m.progress(step, step=f"step {step}")
                m.add_cost(0.01)
        return m

    with ThreadPoolExecutor(8) as pool:
        missions = list(pool.map(work, range(16)))

    for m in missions:
        done = stored(client, m)
        assert (done["status"], done["step"]) == ("completed", "step 99")
        assert done["cost_estimate"] == pytest.approx(1.0)


def test_values_that_json_cannot_hold_are_sent_as_what_can_be_read(client: MissionClient) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    odd = {
        "nan": float("nan"),
        "set": {1},
        "path": Path("/x"),
        7: "seven",
        "big": 2**70,
        "nul": "a\x00b",
        "\ud800": cycle,
    }

    with client.mission("Odd \x00 values \ud800" + "x" * 1000, metadata={"when": object}) as m:
        m.progress(float("nan"), step="s" * 5000)
        m.progress("half", step=b"bytes")  # type: ignore[arg-type]
        m.progress(1e9, step="s" * 5000)
        m.add_cost(float("inf"))
        m.result(odd)

    done = stored(client, m)
    assert done["status"] == "completed"
    assert done["result"]["nan"] is None
    assert (done["result"]["path"], done["result"]["7"], done["result"]["big"]) == ("/x", "seven", str(2**70))
    assert len(done["title"]) == len(done["step"]) == 500


def test_a_refused_result_does_not_keep_the_mission_from_ending(
    client: MissionClient, caplog: pytest.LogCaptureFixture
) -> None:
    with client.mission("Too much to say") as m:
        m.result("x" * 1_500_000)

    assert stored(client, m)["status"] == "completed"
    assert "must not be larger than 1,000,000 bytes" in caplog.text


def test_one_operation_too_large_for_any_batch_does_not_hold_up_the_others(
    client: MissionClient, caplog: pytest.LogCaptureFixture
) -> None:
    with client.mission("Small before") as before:
        pass
    with client.mission("Huge") as huge:
        huge.result("y" * 11_000_000)
    with client.mission("Small after") as after:
        pass

    assert [stored(client, m)["status"] for m in (before, huge, after)] == ["completed"] * 3
    assert "refused 'complete'" in caplog.text


def test_a_refusal_is_logged_once_in_the_dashboards_words_and_raises_nothing(
    client: MissionClient, caplog: pytest.LogCaptureFixture
) -> None:
    with client.mission("Wrong priority", priority="urgent") as m:
        for percent in range(50):
            m.progress(percent)
        client.flush()

    assert client.flush(20)
    with pytest.raises(QuestionUnanswered, match="refused to create"):
        m.ask("Do you know me?")
    refusals = [record.getMessage() for record in caplog.records if m.id in record.getMessage()]
    assert len(refusals) == 1
    assert "priority" in refusals[0] and "'low', 'medium', 'high' or 'critical'" in refusals[0]


def test_an_attached_mission_takes_reports_and_is_not_ended(client: MissionClient) -> None:
    mission_id = client.api.create("Elsewhere")["mission_id"]
    client.api.start(mission_id)

    with client.attach(mission_id) as m:
        m.progress(70)

    assert (stored(client, m)["status"], stored(client, m)["progress"]) == ("running", 70)


def test_without_a_block_a_mission_is_started_and_ended_by_hand(client: MissionClient) -> None:
    completed, failed, never = (client.mission(title) for title in ("By hand", "By hand too", "Never started"))
    completed.start()
    completed.complete({"ok": True})
    completed.fail("too late: it has ended")
    failed.start()
    failed.fail("Ran out of chunks")
    never.complete()

    assert stored(client, completed)["result"] == {"ok": True}
    assert stored(client, failed)["error_message"] == "Ran out of chunks"
    with pytest.raises(ServerSaid):
        client.api.get(never.id)


def test_the_api_waits_and_raises_the_dashboards_sentence(client: MissionClient) -> None:
    mission_id = client.api.create("By call", priority="low", metadata={"type": "calls"})["mission_id"]

    assert client.api.start(mission_id, agent_type="A")["mission"]["status"] == "running"
    assert client.api.progress(mission_id, 30, step="x")["directive"]["action"] == "continue"
    assert client.api.complete(mission_id, result=[1])["mission"]["result"] == [1]
    retried = client.api.retry(mission_id)["mission"]
    assert client.api.cancel(retried["id"], "no need")["mission"]["error_message"] == "no need"
    assert client.api.list(type="calls", status=["completed", "cancelled"])["total"] == 2
    assert [event["type"] for event in client.api.events(mission_id)["events"]][-1] == "mission_completed"
    assert client.api.metrics()["metrics"]["total_missions"] >= 2
    assert client.api.health()["status"] == "healthy"
    with pytest.raises(ServerSaid, match="Cannot start mission") as refused:
        client.api.start(mission_id)
    with pytest.raises(ServerSaid) as wrong:
        client.api.create("", priority="urgent")
    assert refused.value.status == 409
    assert {problem["field"] for problem in wrong.value.errors} == {"title", "priority"}


def test_the_agents_own_log_is_not_filled_with_requests(
    client: MissionClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    with client.mission("Quiet"):
        client.flush()
    client.api.running()

    assert not caplog.records


def test_the_api_can_be_awaited(client: MissionClient) -> None:
    async def main() -> tuple[Any, Any]:
        async with client.async_api() as api:
            created = await api.create("Awaited")
            with pytest.raises(ServerSaid):
                await api.complete(created["mission_id"])
            return await asyncio.gather(api.get(created["mission_id"]), api.running())

    found, running = asyncio.run(main())
    assert found["mission"]["title"] == "Awaited"
    assert running["count"] == len(running["missions"])


def test_an_absent_dashboard_is_named_by_the_api() -> None:
    client = MissionClient(f"http://127.0.0.1:{free_port()}", handle_sigterm=False)

    with pytest.raises(DashboardUnreachable, match=re.escape(client.settings.url)):
        client.api.running()


def test_the_environment_names_dashboard_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_DASHBOARD_URL", "http://example.test:1/")
    monkeypatch.setenv("MISSION_DASHBOARD_KEY", "secret")

    client = MissionClient(handle_sigterm=False)

    assert (client.settings.url, client.settings.key) == ("http://example.test:1", "secret")
    assert MissionClient("http://other:2", handle_sigterm=False).settings.url == "http://other:2"
    with pytest.raises(ValueError, match="http://"):
        MissionClient("localhost:5002")


def test_the_module_has_a_default_client(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISSION_DASHBOARD_URL", dashboard.url)
    monkeypatch.setattr(mission_dashboard.client, "_default", None)
    seen = []

    @mission_dashboard.client.track
    def work() -> None:
        seen.append(current_mission())

    with mission_dashboard.client.mission("By default") as m:
        work()

    client = mission_dashboard.client.default_client()
    assert stored(client, m)["status"] == "completed"
    assert stored(client, seen[0])["parent_id"] == m.id
    assert mission_dashboard.client.api().get(m.id)["mission"]["title"] == "By default"
    client.close()


def test_a_client_that_is_switched_off_says_nothing_and_breaks_nothing() -> None:
    before = set(threading.enumerate())
    client = MissionClient(f"http://127.0.0.1:{free_port()}", enabled=False)

    with client.mission("Unsaid") as m:
        m.progress(1)
        m.log("x")

    with pytest.raises(QuestionUnanswered):
        m.ask("Is anybody there?")
    assert m.ask("Nobody?", default="no") == "no"
    assert client.flush(0)
    assert set(threading.enumerate()) <= before
    client.close()


def test_ids_are_uuids_of_version_7_that_sort_by_time() -> None:
    made = [values.uuid7() for _ in range(5000)]

    parsed = [uuid.UUID(one) for one in made]
    assert {(one.version, one.variant) for one in parsed} == {(7, uuid.RFC_4122)}
    assert len(set(made)) == len(made)
    assert [one[:16] for one in made] == sorted(one[:16] for one in made)


def test_importing_the_client_loads_nothing_of_the_server() -> None:
    server = "{'flask', 'psycopg2', 'pydantic', 'orjson', 'eventlet', 'gevent', 'socketio', 'dotenv'}"
    code = f"import sys, mission_dashboard.client; sys.exit(bool({server} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, check=False)

    assert done.returncode == 0
