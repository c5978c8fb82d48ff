"""Celery tasks as missions: each attempt of a task is one, the child of what sent it, in whatever process that was.

from celery import Celery
from mission_dashboard.integrations.celery import MissionTask, connect

app = Celery("shop", broker="...", task_cls=MissionTask)
connect(app)                                          # in the workers and in what sends tasks
"""

from __future__ import annotations

import logging
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

from mission_dashboard.client import MissionCancelled, MissionClient, current_mission, values
from mission_dashboard.integrations.runs import Runs, harmless, shown

try:
    from celery import Celery, Task, signals
    from celery.exceptions import Ignore
except ImportError as missing:
    raise ImportError(
        "mission_dashboard.integrations.celery needs Celery: pip install 'mission-dashboard[celery]'"
    ) from missing

logger = logging.getLogger(__name__)

PARENT = "mission_dashboard_parent"
"""The message header that takes the sender's mission to the worker."""
ENTERED = "mission_dashboard_entered"
NAMESPACE = uuid.UUID("6f1c2a52-6f0b-4f6e-8d5e-2f6f0c7f6a10")


class MissionTask(Task):  # type: ignore[misc]
    """A task that ends as revoked when its mission is cancelled, at its next call on ``current_mission()``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task."""
        request = self.request
        if request.called_directly or getattr(request, ENTERED, False):
            return super().__call__(*args, **kwargs)
        setattr(request, ENTERED, True)
        try:
            # Not super().__call__, which makes a request of its own: the task could not retry then.
            return self.run(*args, **kwargs)
        except MissionCancelled as order:
            if not request.is_eager:
                self.backend.mark_as_revoked(request.id, str(order), request=request)
            raise Ignore(str(order)) from order


class CeleryMissions:
    """Reports the tasks of a Celery app; made by `connect`."""

    def __init__(
        self,
        app: Celery,
        client: MissionClient | None = None,
        *,
        content: bool = False,
        queued: bool = False,
        terminate: bool = False,
        **options: Any,
    ) -> None:
        """See `connect`."""
        self.runs = Runs(client)
        self._app = app
        self._content = content
        self._queued = queued
        self._terminate = terminate
        self._options = options
        self._listeners: list[tuple[Any, Callable[..., None]]] = [
            (signals.before_task_publish, self.on_publish),
            (signals.task_prerun, self.on_prerun),
            (signals.task_success, self.on_success),
            (signals.task_failure, self.on_failure),
            (signals.task_retry, self.on_retry),
            (signals.task_postrun, self.on_postrun),
            (signals.task_revoked, self.on_revoked),
        ]

    def connect(self) -> None:
        """Listen to Celery's signals."""
        for signal, listener in self._listeners:
            signal.connect(listener, weak=False)

    def disconnect(self) -> None:
        """Listen no more."""
        for signal, listener in self._listeners:
            signal.disconnect(listener)

    @harmless
    def on_publish(
        self, sender: Any = None, headers: dict[str, Any] | None = None, body: Any = None, **said: Any
    ) -> None:
        """Give the message the sender's mission, and show the task as pending if so wanted."""
        if headers is None:
            return
        parent = current_mission()
        is_first = not (headers.get(PARENT) or headers.get("retries"))
        if is_first and parent is not None and parent.is_at(self.runs.client.settings.url):
            headers[PARENT] = parent.id
        if self._queued and headers.get("id"):
            self._mission(str(sender), headers["id"], headers.get("retries") or 0, headers.get(PARENT)).create()

    @harmless
    def on_prerun(self, task_id: str, task: Any, args: Any = (), kwargs: Any = None, **said: Any) -> None:
        """Begin a mission."""
        request = task.request
        metadata = {"args": shown(args), "kwargs": shown(kwargs)} if self._content else {}
        self.runs.take_in(
            _attempt(request),
            self._mission(
                task.name,
                task_id,
                request.retries or 0,
                _parent(request),
                metadata=metadata,
                is_again=bool((request.delivery_info or {}).get("redelivered")),
                on_directive=lambda directive: self._hear(task_id, directive),
            ),
        )

    @harmless
    def on_success(self, sender: Any = None, result: Any = None, **said: Any) -> None:
        """Keep the result."""
        run = self.runs.get(_attempt(sender.request))
        if run is not None and self._content:
            run.mission.outcome = values.json_value(shown(result))

    @harmless
    def on_failure(self, sender: Any, exception: BaseException, **said: Any) -> None:
        """Keep the error."""
        run = self.runs.get(_attempt(sender.request))
        if run is not None:
            run.notes["error"] = exception

    @harmless
    def on_retry(self, request: Any, reason: Any = None, **said: Any) -> None:
        """Keep why it is tried again: this attempt failed."""
        run = self.runs.get(_attempt(request))
        if run is not None:
            run.notes["retry"] = f"Tried again: {values.text(reason, values.MAX_ERROR // 2)}"

    @harmless
    def on_postrun(self, task: Any, state: str | None = None, **said: Any) -> None:
        """End the mission."""
        attempt = _attempt(task.request)
        run = self.runs.get(attempt)
        if run is None:
            return
        if "retry" in run.notes:
            run.mission.fail(run.notes["retry"])
        elif state in ("IGNORED", "REJECTED") and run.mission.action != "cancel":
            run.mission.cancel(f"The task was {state.lower()}.")
        error = run.notes.get("error") or (sys.exc_info()[1] if state is None else None)
        self.runs.end(attempt, error)

    @harmless
    def on_revoked(self, request: Any, terminated: bool = False, expired: bool = False, **said: Any) -> None:
        """Say that a task will not run, or not to its end; told in the worker's main process."""
        how = "expired before it began" if expired else "was terminated" if terminated else "was revoked"
        name = getattr(request, "name", None) or getattr(request, "task", None) or "task"
        mission = self._mission(str(name), request.id, _retries(request), _parent(request))
        mission.create()
        mission.cancel(f"The task {how}.")

    def _mission(
        self, name: str, task_id: str, retries: int, parent: str | None, *, is_again: bool = False, **said: Any
    ) -> Any:
        """Return the mission of an attempt: any process gives it the same id, so that it is one mission for all."""
        options = {"agent_type": name, "type": "celery", **self._options, **said}
        metadata = {**self._options.get("metadata", {}), **said.get("metadata", {}), "task_id": task_id}
        title = name if not retries else f"{name} (attempt {retries + 1})"
        mission_id = None if is_again else str(uuid.uuid5(NAMESPACE, f"{task_id}/{retries}"))
        return self.runs.client.mission(title, parent=parent, id=mission_id, **{**options, "metadata": metadata})

    def _hear(self, task_id: str, directive: Any) -> None:
        if directive.get("action") == "cancel":
            # The sender's thread must not wait for the broker.
            threading.Thread(target=self._revoke, args=(task_id,), daemon=True).start()

    def _revoke(self, task_id: str) -> None:
        try:
            self._app.control.revoke(task_id, terminate=self._terminate)
        except Exception:
            logger.warning("Task %s could not be revoked", task_id, exc_info=True)


def connect(app: Celery, client: MissionClient | None = None, **options: Any) -> CeleryMissions:
    """Report the tasks of an app.

    ``content=True`` sends arguments and results as well; ``queued=True``, where tasks are sent from, shows them as
    pending until a worker takes them; ``terminate=True`` kills the worker's process of a task whose mission is
    cancelled (prefork pools only). Others are those of `MissionClient.mission`, as ``priority`` and ``budget``.
    """
    missions = CeleryMissions(app, client, **options)
    missions.connect()
    return missions


def _attempt(request: Any) -> tuple[str, int]:
    """Return what tells an attempt from the next, which may begin in another thread before this one is over."""
    return str(request.id), int(request.retries or 0)


def _parent(request: Any) -> str | None:
    found = getattr(request, PARENT, None)
    if found is None:
        found = (getattr(request, "request_dict", None) or {}).get(PARENT)
    return str(found) if found else None


def _retries(request: Any) -> int:
    return int((getattr(request, "request_dict", None) or {}).get("retries") or 0)
