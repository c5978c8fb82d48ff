"""The API is fuzzed from its own OpenAPI document: what it says, and what it does not, against the real server.

The same seed each time; ``FUZZ_EXAMPLES=300 FUZZ_SEED=7`` looks longer, at something else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


NUL = "a\x00b"
SHAPES = ("$ref", "anyOf", "type", "enum", "const")


def _texts(document: dict[str, Any], schema: dict[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name of each text in a schema, keys of objects too, and the least that says it with NUL in it."""
    if "$ref" in schema:
        yield from _texts(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], name)
    for other in schema.get("anyOf", ()):
        yield from _texts(document, other, name)
    if "properties" in schema:
        for key, inner in schema["properties"].items():
            for place, said in _texts(document, inner, f"{name}.{key}".strip(".")):
                yield place, {key: said}
    elif schema.get("type") == "array":
        for place, said in _texts(document, schema["items"], f"{name}.0"):
            yield place, [said]
    elif schema.get("type") == "object" or not any(key in schema for key in SHAPES):
        yield from ((name, {"x": NUL}), (name, {NUL: 1}))
    elif schema.get("type") == "string":
        yield name, NUL


def _saying_nul(document: dict[str, Any], ids: dict[str, str]) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Yield method, path, what else to send, and where in the body NUL is; in the path or query where that is empty."""
    for path, method, operation in _operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            for place, said in _texts(document, content["schema"]):
                yield method, path.format_map(ids), {"json": said}, place
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                yield method, path.format_map(ids), {"params": {parameter["name"]: NUL}}, ""
            elif parameter["in"] == "path":
                yield method, path.format_map({**ids, parameter["name"]: "a%00b"}), {"json": {}}, ""


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        yield from ((path, method, operation) for method, operation in operations.items())


def _is_within(place: str, other: str) -> bool:
    return f"{place}.".startswith(f"{other}.")


def _refuses(answer: requests.Response, place: str) -> bool:
    """Whether what is at this place is refused by us, rather than by the database."""
    told = answer.json()
    if answer.status_code == 200 and place.startswith("operations.0"):
        return bool(told["results"][0]["problem"]["errors"])
    if place:
        named = [wrong["field"] for wrong in told.get("errors", ())]
        return any(_is_within(place, field) or _is_within(field, place) for field in named)
    return answer.status_code in (400, 404, 422) and told["title"] != "Refused by the database"


def test_no_text_that_the_document_has_a_place_for_may_hold_nul(dashboard: Dashboard, data_dir: Path) -> None:
    session = requests.Session()
    session.headers.update(WITH_KEY)
    document = session.get(f"{dashboard.url}/api/openapi.json", timeout=10).json()
    alive = session.post(f"{dashboard.url}/api/missions", json={"title": "Alive"}, timeout=10).json()["mission_id"]
    names = {parameter["name"] for _, _, operation in _operations(document) for parameter in operation["parameters"]}
    ids = {**dict.fromkeys(names, "01890a5d-ac96-774b-bcce-b302099a8057"), "mission_id": alive}

    asked = list(_saying_nul(document, ids))
    answers = [(session.request(one[0], dashboard.url + one[1], **one[2], timeout=10), one) for one in asked]

    assert len(asked) > 150
    wrong = [(one, answer.status_code, answer.text) for answer, one in answers if not _refuses(answer, one[3])]
    assert not wrong, wrong[:3]
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
