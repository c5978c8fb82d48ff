"""What must be true afterwards, whatever was done: asked of PostgreSQL itself, REST, and the viewers' pictures."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from chaos.people import Agents, Viewer, all_missions, get
from conftest import run_sql

LIFE = re.compile(r"created(,started(,progress)*)?(,(completed|failed|cancelled))?")
SETTLE_S = 60.0
"""A viewer whose wire fell silent notices after two pings, 40 s."""
UNTOLD = ("heartbeat_at",)
"""A sign of life alone is no change: it is not pushed."""
HISTORIES = """
    SELECT mission_id, array_agg(version ORDER BY version), string_agg(substr(type, 9), ',' ORDER BY version)
    FROM mission_events
    GROUP BY mission_id"""
SUMS = """
    SELECT count(*), count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'),
        count(*) FILTER (WHERE status = 'cancelled'), coalesce(sum(tokens_used), 0)::bigint,
        coalesce(sum(cost_estimate::text::numeric), 0)::double precision
    FROM missions"""


@dataclass
class Verdict:
    """What was found wrong, in sentences; empty is well."""

    wrong: list[str] = field(default_factory=list)
    missions: int = 0

    def expect(self, is_so: bool, sentence: str) -> None:
        """Note the sentence unless it is so."""
        if not is_so:
            self.wrong.append(sentence)


def eventually(is_so: Callable[[], bool], within_s: float = SETTLE_S) -> bool:
    """Whether it becomes so."""
    ends_at = time.monotonic() + within_s
    while time.monotonic() < ends_at:
        try:
            if is_so():
                return True
        except (requests.RequestException, KeyError, ValueError):
            pass
        time.sleep(0.1)
    return False


def judge(dsn: str, urls: Sequence[str], agents: Agents, viewers: Sequence[Viewer]) -> Verdict:
    """Check all of it, once agents have stopped."""
    verdict = Verdict(list(agents.wrong))
    histories = {row[0]: (row[1], row[2]) for row in run_sql(dsn, HISTORIES)}
    verdict.missions = len(histories)
    for mission_id, version in agents.acknowledged.items():
        versions, _ = histories.get(mission_id, ([0], ""))
        verdict.expect(versions[-1] >= version, f"lost: {mission_id} was acknowledged at {version}, is {versions[-1]}")
    for mission_id, (versions, types) in histories.items():
        verdict.expect(versions == list(range(1, len(versions) + 1)), f"versions of {mission_id}: {versions}")
        verdict.expect(LIFE.fullmatch(types) is not None, f"life of {mission_id}: {types}")
    truth = all_missions(urls[0])
    stored = dict(run_sql(dsn, "SELECT id, version FROM missions"))
    verdict.expect({key: found["version"] for key, found in truth.items()} == stored, "REST is not what is stored")
    for mission_id, status in agents.ended.items():
        found = truth.get(mission_id, {}).get("status")
        verdict.expect(found == status, f"wrong state: {mission_id} ended {status}, is {found}")
    for mission in truth.values():
        verdict.expect((mission["duration"] or 0) >= 0, f"negative duration of {mission['id']}")
    _judge_counts(dsn, urls, verdict)
    for number, viewer in enumerate(viewers):
        _judge_picture(number, viewer, truth, set(agents.acknowledged), verdict)
    return verdict


def _judge_counts(dsn: str, urls: Sequence[str], verdict: Verdict) -> None:
    (expected,) = run_sql(dsn, SUMS)
    names = (
        "total_missions",
        "completed_missions",
        "failed_missions",
        "cancelled_missions",
        "total_tokens",
        "total_cost",
    )
    for url in urls:
        told: list[Any] = []

        def is_true(url: str = url, told: list[Any] = told) -> bool:
            metrics = get(url, "/api/metrics")["metrics"]
            told[:] = [metrics[name] for name in names]
            return all(abs(a - b) < 1e-6 for a, b in zip(told, expected, strict=True))

        verdict.expect(eventually(is_true), f"counts at {url}: {told} are not {list(expected)}")


def _judge_picture(
    number: int, viewer: Viewer, truth: dict[str, dict[str, Any]], written: set[str], verdict: Verdict
) -> None:
    def differing() -> list[str]:
        return [
            mission_id
            for mission_id in written & truth.keys()
            if _told(viewer.picture.get(mission_id, {})) != _told(truth[mission_id])
        ]

    if not eventually(lambda: not differing()):
        stale = differing()
        one = stale[0]
        seen, there = viewer.picture.get(one, {}), truth[one]
        fields = {key: (seen.get(key), there[key]) for key in there if seen.get(key) != there[key]}
        verdict.wrong.append(f"viewer {number} is stale on {len(stale)} missions, as {one}: {str(fields)[:300]}")


def _told(mission: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mission.items() if key not in UNTOLD}
