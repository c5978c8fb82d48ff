"""The dashboard's API call by call, for tools: each waits for the answer, returns it whole, and raises what went wrong.

The answers are those of the OpenAPI document: ``api.get(mission_id)["mission"]``, ``api.list()["missions"]``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from mission_dashboard.client.errors import ServerSaid
from mission_dashboard.client.flows import Backoff, Flow, Nap, run_flow, run_flow_async
from mission_dashboard.client.transport import Call, JsonObject, Transport
from mission_dashboard.client.values import uuid7

Answer = TypeVar("Answer")
BUSY = (429, 503)


class Calls(Generic[Answer]):
    """Every call of the API; `Api` waits for the answers, `AsyncApi` awaits them."""

    def _make(self, call: Call) -> Answer:
        raise NotImplementedError

    def create(self, title: str, *, id: str | None = None, **said: Any) -> Answer:
        """Create a pending mission; the id is made here, so that a create tried again makes no second one."""
        return self._make(Call("POST", "/api/missions", _said({"id": id or uuid7(), "title": title, **said})))

    def start(self, mission_id: str, **said: Any) -> Answer:
        """Say that a pending mission runs now: ``agent_type``, ``model_used``, ``step``."""
        return self.move("start", mission_id, **said)

    def progress(self, mission_id: str, progress: float | None = None, **said: Any) -> Answer:
        """Say how far a running mission is; tokens and cost are totals, not increments."""
        return self.move("progress", mission_id, progress=progress, **said)

    def complete(self, mission_id: str, **said: Any) -> Answer:
        """Say that a running mission ended well: ``result``, tokens, cost."""
        return self.move("complete", mission_id, **said)

    def fail(self, mission_id: str, error_message: str | None = None, **said: Any) -> Answer:
        """Say that a running mission ended badly."""
        return self.move("fail", mission_id, error_message=error_message, **said)

    def cancel(self, mission_id: str, reason: str | None = None, **said: Any) -> Answer:
        """Stop a pending or running mission."""
        return self.move("cancel", mission_id, reason=reason, **said)

    def pause(self, mission_id: str, reason: str | None = None, **said: Any) -> Answer:
        """Ask a running mission to pause."""
        return self.move("pause", mission_id, reason=reason, **said)

    def resume(self, mission_id: str, **said: Any) -> Answer:
        """Let a paused mission go on."""
        return self.move("resume", mission_id, **said)

    def retry(self, mission_id: str) -> Answer:
        """Create a new pending mission like a finished one."""
        return self.move("retry", mission_id)

    def acknowledge(self, mission_id: str, directive: str, **said: Any) -> Answer:
        """Confirm a directive; ``stopped=True`` once nothing runs any more."""
        return self.move("acknowledge", mission_id, directive=directive, **said)

    def heartbeat(self, mission_id: str) -> Answer:
        """Say that the process of a running mission lives."""
        return self.move("heartbeat", mission_id)

    def ask(self, mission_id: str, text: str, **said: Any) -> Answer:
        """Put a question to people: ``options``, ``timeout``, ``question_id``."""
        return self.move("ask", mission_id, text=text, **said)

    def answer(self, mission_id: str, question_id: str, answer: str, by: str | None = None) -> Answer:
        """Answer the question of a mission; the first answer wins."""
        return self.move("answer", mission_id, question_id=question_id, answer=answer, by=by)

    def move(self, name: str, mission_id: str, **said: Any) -> Answer:
        """Make any call that is a verb of a mission."""
        return self._make(Call("POST", f"{_path(mission_id)}/{name}", _said(said)))

    def question(self, mission_id: str, question_id: str, wait: float = 0) -> Answer:
        """Read a question, at most ``wait`` seconds later if it stays open."""
        return self._make(
            Call("GET", f"{_path(mission_id)}/questions/{_quoted(question_id)}", query=_wait(wait), wait_s=wait)
        )

    def directive(self, mission_id: str, wait: float = 0, known: str | None = None) -> Answer:
        """Read what a mission shall do, at most ``wait`` seconds later if it stays ``known``."""
        query = {**_wait(wait), "known": known}
        return self._make(Call("GET", f"{_path(mission_id)}/directive", query=query, wait_s=wait))

    def get(self, mission_id: str) -> Answer:
        """Read one mission."""
        return self._make(Call("GET", _path(mission_id)))

    def list(self, **filters: Any) -> Answer:
        """Read a page of missions: ``status``, ``type``, ``q``, ``limit``, ``cursor`` and the other filters."""
        return self._make(Call("GET", "/api/missions", query=filters))

    def running(self) -> Answer:
        """Read all missions that run."""
        return self._make(Call("GET", "/api/running"))

    def events(self, mission_id: str, **page: Any) -> Answer:
        """Read a page of what happened to a mission."""
        return self._make(Call("GET", f"{_path(mission_id)}/events", query=page))

    def tree(self, mission_id: str) -> Answer:
        """Read a mission and all below it."""
        return self._make(Call("GET", f"{_path(mission_id)}/tree"))

    def logs(self, mission_id: str, **page: Any) -> Answer:
        """Read a page of a mission's log lines: ``after``, ``limit``."""
        return self._make(Call("GET", f"{_path(mission_id)}/logs", query=page))

    def add_logs(self, mission_id: str, lines: Sequence[Mapping[str, Any]]) -> Answer:
        """Write log lines: ``at``, ``level``, ``message``."""
        return self.move("logs", mission_id, lines=list(lines))

    def spans(self, mission_id: str, **page: Any) -> Answer:
        """Read a page of a mission's spans: ``after``, ``limit``."""
        return self._make(Call("GET", f"{_path(mission_id)}/spans", query=page))

    def add_spans(self, mission_id: str, spans: Sequence[Mapping[str, Any]]) -> Answer:
        """Write spans; the same id again replaces."""
        return self.move("spans", mission_id, spans=list(spans))

    def metrics(self) -> Answer:
        """Read the numbers over all missions."""
        return self._make(Call("GET", "/api/metrics"))

    def history(self, minutes: int = 60) -> Answer:
        """Read the numbers minute by minute."""
        return self._make(Call("GET", "/api/metrics/history", query={"minutes": minutes}))

    def keys(self) -> Answer:
        """Read the keys there are; needs one that may admin."""
        return self._make(Call("GET", "/api/keys"))

    def create_key(self, name: str, scopes: Sequence[str], expires_in_days: float | None = None) -> Answer:
        """Make a key; its ``secret`` is in this answer only."""
        said = _said({"name": name, "scopes": list(scopes), "expires_in_days": expires_in_days})
        return self._make(Call("POST", "/api/keys", said))

    def revoke_key(self, key_id: str) -> Answer:
        """Make a key worthless at once."""
        return self._make(Call("DELETE", f"/api/keys/{_quoted(key_id)}"))

    def budgets(self) -> Answer:
        """Read the budgets of a day and what is used of them."""
        return self._make(Call("GET", "/api/budgets"))

    def set_budget(self, name: str, **limits: Any) -> Answer:
        """Limit what all missions, or those of one agent, use in a day."""
        return self._make(Call("PUT", f"/api/budgets/{_quoted(name)}", limits))

    def delete_budget(self, name: str) -> Answer:
        """Take a limit away."""
        return self._make(Call("DELETE", f"/api/budgets/{_quoted(name)}"))

    def health(self) -> Answer:
        """Read whether the dashboard is well."""
        return self._make(Call("GET", "/api/health"))

    def batch(self, operations: Iterable[Mapping[str, Any]]) -> Answer:
        """Make up to 1,000 writes in one commit; each is answered on its own."""
        return self._make(Call("POST", "/api/missions/batch", {"operations": list(operations)}))

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Answer:
        """Make a call that has no name here."""
        return self._make(Call(method, path, body, query))


class Api(Calls[JsonObject]):
    """The API, waiting. A busy dashboard (429, 503) is asked again for at most ``patience_s``."""

    def __init__(self, transport: Transport, patience_s: float) -> None:
        self._transport = transport
        self._patience_s = patience_s

    def _make(self, call: Call) -> JsonObject:
        return run_flow(patiently(call, self._patience_s), self._transport)


class AsyncApi(Calls[Awaitable[JsonObject]]):
    """The API, awaiting: ``async with client.async_api() as api: await api.running()``."""

    def __init__(self, transport: Transport, patience_s: float) -> None:
        self._transport = transport
        self._patience_s = patience_s
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> AsyncApi:
        self._http = self._transport.open_async()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    def _make(self, call: Call) -> Awaitable[JsonObject]:
        return run_flow_async(patiently(call, self._patience_s), self._transport, self._http)


def patiently(call: Call, patience_s: float) -> Flow[JsonObject]:
    """Make a call; where the dashboard is too busy, wait as long as it says and try again."""
    ends_at = time.monotonic() + patience_s
    backoff = Backoff()
    while True:
        try:
            answer: JsonObject = yield call
        except ServerSaid as refusal:
            wait_s = backoff.next_s(refusal.retry_after_s)
            if refusal.status not in BUSY or time.monotonic() + wait_s > ends_at:
                raise
            yield Nap(wait_s)
        else:
            return answer


def _said(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}


def _wait(wait: float) -> dict[str, Any]:
    return {"wait": math.ceil(wait)} if wait else {}


def _path(mission_id: str) -> str:
    return f"/api/missions/{_quoted(mission_id)}"


def _quoted(part: str) -> str:
    return quote(str(part), safe="")
