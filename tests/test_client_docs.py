"""The examples of docs/client.md run as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from clients import Script
from dashboards import ROOT, Dashboard

EXAMPLES = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "client.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, module_dsn: str) -> Iterator[Dashboard]:
    dashboard = Dashboard(tmp_path_factory.mktemp("docs"), POSTGRES_DSN=module_dsn).start()
    yield dashboard
    dashboard.stop()


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs_without_a_complaint(dashboard: Dashboard, example: str) -> None:
    before = dashboard.get("/api/missions")["total"]

    code, _, errors = Script(example, MISSION_DASHBOARD_URL=dashboard.url).finish()

    assert (code, errors) == (0, "")
    assert dashboard.get("/api/missions")["total"] > before
    assert not dashboard.get("/api/missions?status=running&status=failed")["missions"]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6
