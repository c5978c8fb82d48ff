"""Report missions to a Mission Dashboard from Python, in a line, and be steered by it.

    from mission_dashboard.client import MissionClient, MissionCancelled

    client = MissionClient(url="http://127.0.0.1:5002", key="...")     # or MISSION_DASHBOARD_URL, MISSION_DASHBOARD_KEY

    with client.mission("Index corpus", agent_type="RetrievalAgent", model_used="mistral:7b-instruct") as m:
        for chunk in m.track(chunks):                                  # says "item 8 of 20", 35%
            answer = call_model(chunk)
            m.add_tokens(input=900, output=120, cached=300, model="mistral:7b-instruct")
            m.log("chunk done")
        m.result({"chunks": 20})

The block creates and starts the mission, and completes it, or fails it with the exception's type, message and
traceback. Without a client of your own, use the default one: ``mission_dashboard.client.mission("...")``, ``@track``,
``api()``.

**What there is**

- `MissionClient`: ``mission()``, ``track`` (decorator), ``attach(id)``, ``api``, ``async_api()``, ``flush()``,
  ``close()``.
- `Mission` (``with``): ``progress(percent, step)``, ``add_tokens()``, ``add_cost()``, ``log()``, ``result()``,
  ``span()``, ``add_span()``, ``track(items)``, ``ask()``, ``sleep()``, ``checkpoint()``; without a block ``create()``,
  ``start()``, ``complete()``, ``fail()``, ``cancel()``; ``id``, ``title``, ``directive``.
- `AsyncMission` (``async with``): the same. Reports are made when called; await them so that a pause is kept.
- `current_mission()`: the mission that the running code works for; a mission begun within it becomes its child. Tasks
  inherit it; threads do not, unless their function is wrapped: ``executor.map(carry(work), items)``.
- `MissionCancelled`, `BudgetExceeded` (which is one): raised at the next call on a mission that shall stop. They derive
  from BaseException so that ``except Exception`` does not swallow them.
- ``client.api``: every call of the REST API, waiting for its answer: ``client.api.list(status="running")["missions"]``.
  It raises `ServerSaid` (``status``, ``detail``, ``errors``) and `DashboardUnreachable`, both `ClientError`.

Reporting never waits for the dashboard and never raises because of it: a background thread sends. Logged under
``mission_dashboard.client``. docs/client.md says more.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from mission_dashboard.client import tracking
from mission_dashboard.client.calls import Api, AsyncApi
from mission_dashboard.client.client import MissionClient
from mission_dashboard.client.context import carry, current_mission
from mission_dashboard.client.errors import (
    BudgetExceeded,
    ClientError,
    DashboardUnreachable,
    MissionCancelled,
    QuestionExpired,
    QuestionUnanswered,
    ServerSaid,
)
from mission_dashboard.client.missions import AsyncMission, Mission
from mission_dashboard.client.settings import ClientSettings
from mission_dashboard.client.spans import Span

__all__ = [
    "Api",
    "AsyncApi",
    "AsyncMission",
    "BudgetExceeded",
    "ClientError",
    "ClientSettings",
    "DashboardUnreachable",
    "Mission",
    "MissionCancelled",
    "MissionClient",
    "QuestionExpired",
    "QuestionUnanswered",
    "ServerSaid",
    "Span",
    "api",
    "carry",
    "current_mission",
    "default_client",
    "mission",
    "track",
]

_default: MissionClient | None = None
_default_lock = threading.Lock()


def default_client() -> MissionClient:
    """Return the program's client, made at the first use from the environment."""
    global _default
    with _default_lock:
        if _default is None:
            _default = MissionClient()
        return _default


def mission(title: str, **options: Any) -> Mission:
    """Return a new mission of the default client; see `MissionClient.mission`."""
    return default_client().mission(title, **options)


def track(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Decorate a function so that each call is a mission of the default client; see `MissionClient.track`."""
    if function is None:
        return functools.partial(tracking.tracked, default_client, options)
    return tracking.tracked(default_client, options, function)


def api() -> Api:
    """Return the default client's API; see `Api`."""
    return default_client().api
