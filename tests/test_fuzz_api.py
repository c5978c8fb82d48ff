"""The API is fuzzed from its own OpenAPI document: what it says, and what it does not, against the real server.

The same seed each time; ``FUZZ_EXAMPLES=300 FUZZ_SEED=7`` looks longer, at something else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dashboards import Dashboard
from fuzzing import ADMIN_KEY, assert_nothing_stumbled

EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "3")
SEED = os.environ.get("FUZZ_SEED", "20")
WITH_KEY = {"Authorization": f"Bearer {ADMIN_KEY}"}
CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.fixture
def dashboard(data_dir: Path, dsn: str) -> Iterator[Dashboard]:
    """A dashboard that trusts nobody without a key."""
    dashboard = Dashboard(
        data_dir,
        POSTGRES_DSN=dsn,
        ENVIRONMENT="production",
        MISSION_DASHBOARD_SECRET_KEY="5f2c1d9a7b3e4860",
        MISSION_DASHBOARD_ADMIN_KEY=ADMIN_KEY,
        MISSION_DASHBOARD_REPORT_LIMIT="off",
        MISSION_DASHBOARD_TRUSTED_PROXIES="127.0.0.1",
    ).start()
    yield dashboard
    dashboard.stop()


@pytest.mark.slow
def test_the_api_does_what_its_document_says_whatever_it_is_sent(dashboard: Dashboard, data_dir: Path) -> None:
    run = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(CONFIG)),
            *("run", f"{dashboard.url}/api/openapi.json", "--url", dashboard.url),
            *("-H", f"Authorization: Bearer {ADMIN_KEY}"),
            *("--checks", "all"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure"),
            *("--max-examples", EXAMPLES, "--seed", SEED, "--request-timeout", "10", "--no-color"),
        ],
        cwd=data_dir,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )

    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
    assert_nothing_stumbled(data_dir)


def test_nothing_but_what_says_so_is_open_to_those_without_a_key(dashboard: Dashboard) -> None:
    paths = requests.get(f"{dashboard.url}/api/openapi.json", headers=WITH_KEY, timeout=10).json()["paths"]
    asked = {
        (method, path): requests.request(
            method, dashboard.url + path.replace("{", "").replace("}", ""), json={}, timeout=10
        ).status_code
        for path, operations in paths.items()
        for method, operation in operations.items()
        if operation["security"]
    }

    assert len(asked) > 50
    assert set(asked.values()) == {401}, asked
