"""Celery tasks on the dashboard: each task is a mission, tasks sent by a task are its children.

    pip install 'mission-dashboard[celery]'
    python3 examples/celery_tasks.py

MISSION_DASHBOARD_URL says where the dashboard is; http://127.0.0.1:5002 where it is not set. The broker is this
program's memory and the worker one of its threads; for real ones give Celery a broker's address and start
``celery -A celery_tasks worker``.
"""

from __future__ import annotations

from celery import Celery
from celery.contrib.testing.worker import start_worker

from mission_dashboard.client import current_mission, mission
from mission_dashboard.integrations.celery import MissionTask, connect

app = Celery("shop", broker="memory://", backend="cache+memory://", task_cls=MissionTask)
connect(app)


@app.task
def resize(picture: str) -> str:
    """Make a picture small."""
    return f"small {picture}"


@app.task
def publish(pictures: list[str]) -> int:
    """Resize all pictures, each by a task of its own."""
    for picture in current_mission().track(pictures):
        resize.delay(picture)
    return len(pictures)


if __name__ == "__main__":
    worker = start_worker(app, pool="threads", concurrency=4, perform_ping_check=False, shutdown_timeout=30)
    with worker, mission("Publish the album"):
        print(publish.delay(["a.png", "b.png"]).get(timeout=30), "pictures published")
