"""Computes costs of missions anew, after prices were set or corrected; also runs as a command.

    python -m mission_dashboard.reprice --since 2026-01-01 --dry-run

What agents reported, and how missions ended, never changes. Where a server runs, the command asks it to do the work,
so that viewers see each change; else it opens the database itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from decimal import Decimal
from heapq import nlargest
from typing import TYPE_CHECKING, Any, TextIO

from mission_dashboard.commands import Outcome, Stage
from mission_dashboard.costs import computed
from mission_dashboard.errors import InvalidValue, MissionDashboardError, reason_of
from mission_dashboard.events import EventType
from mission_dashboard.missions import Mission
from mission_dashboard.prices import WrongPriceFile
from mission_dashboard.store import Priceable

if TYPE_CHECKING:
    from mission_dashboard.config import Settings
    from mission_dashboard.mission_tracker import MissionTracker

PAGE = 500
WRITTEN_TOGETHER = 100
LARGEST = 10
REACH_TIMEOUT_S = 2.0
CALL_TIMEOUT_S = 300.0
TRIES = 30

Pair = tuple[Mission, Mission]


@dataclass(frozen=True, slots=True)
class Reprice:
    """Compute the costs of a few missions anew, and record an event for each whose cost changes."""

    mission_ids: Sequence[str]
    keys: Sequence[str] = ()

    def apply(self, stage: Stage) -> Outcome:
        found = [mission for mission_id in self.mission_ids if (mission := stage.find(mission_id)) is not None]
        for mission in found:
            if stage.prices is None or (anew := computed(mission, stage.prices)) is mission:
                continue
            at = max(stage.now, mission.updated_at)
            anew = replace(anew, version=mission.version + 1, updated_at=at)
            stage.put(mission, anew, EventType.REPRICED, counted_at=_last_word(mission))
        return Outcome(stage.get(self.mission_ids[-1]))


def _last_word(mission: Mission) -> datetime:
    """When its agent last spoke: a correction belongs there, not into the minute of the correction."""
    return mission.completed_at or mission.heartbeat_at or mission.updated_at


@dataclass(slots=True)
class Sum:
    """US dollars before and after."""

    before: Decimal = Decimal(0)
    after: Decimal = Decimal(0)

    def add(self, before: float | None, after: float | None) -> None:
        """Add one mission's cost; ``None`` is unknown and adds nothing."""
        self.before += Decimal(repr(before or 0))
        self.after += Decimal(repr(after or 0))

    def to_wire(self) -> dict[str, float]:
        """Return both as numbers."""
        return {"before": float(self.before), "after": float(self.after)}


@dataclass(slots=True)
class Repriced:
    """What computing costs anew changes, or would change."""

    looked_at: int = 0
    changed: int = 0
    computed: Sum = field(default_factory=Sum)
    counted: Sum = field(default_factory=Sum)
    largest: list[dict[str, Any]] = field(default_factory=list)
    unpriced: Counter[str] = field(default_factory=Counter)
    next_cursor: str | None = None

    @classmethod
    def of(cls, pairs: Sequence[Pair], next_cursor: str | None) -> Repriced:
        """Sum up missions before and after."""
        found = cls(looked_at=len(pairs), next_cursor=next_cursor)
        for before, after in pairs:
            found.computed.add(before.cost_computed, after.cost_computed)
            found.counted.add(before.cost_estimate, after.cost_estimate)
            found.unpriced.update(after.unpriced_models)
        changed = [(before, after) for before, after in pairs if before is not after]
        found.changed = len(changed)
        found.largest = _largest(
            {"mission_id": after.id, "title": after.title, "before": before.cost_computed, "after": after.cost_computed}
            for before, after in changed
        )
        return found

    def add(self, page: Mapping[str, Any]) -> None:
        """Add the wire form of a further page."""
        self.looked_at += page["looked_at"]
        self.changed += page["changed"]
        for name, total in (("computed", self.computed), ("counted", self.counted)):
            total.add(page[name]["before"], page[name]["after"])
        self.largest = _largest([*self.largest, *page["largest"]])
        self.unpriced.update(page["unpriced"])

    def to_wire(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "looked_at": self.looked_at,
            "changed": self.changed,
            "computed": self.computed.to_wire(),
            "counted": self.counted.to_wire(),
            "largest": self.largest,
            "unpriced": dict(self.unpriced.most_common()),
            "next_cursor": self.next_cursor,
        }


def _largest(rows: Any) -> list[dict[str, Any]]:
    return nlargest(LARGEST, rows, key=lambda row: abs((row["after"] or 0) - (row["before"] or 0)))


def parse_wanted(since: str | None, model: str | None) -> Priceable:
    """Return which missions are meant; ``since`` is a UTC day like 2026-01-31."""
    day = None if since is None else date.fromisoformat(since)
    return Priceable(None if day is None else datetime(day.year, day.month, day.day, tzinfo=timezone.utc), model)


def reprice_page(tracker: MissionTracker, wanted: Priceable, after_id: str, *, dry_run: bool) -> Repriced:
    """Compute the next missions' costs anew; write what changes, in small batches, unless it is a dry run.

    Raises `InvalidValue` where the price file is wrong: old prices would not be what was asked for.
    """
    try:
        tracker.prices.refresh()
    except WrongPriceFile as error:
        raise InvalidValue.of("prices", f"the price file is wrong, nothing was computed. {error}") from error
    missions = tracker.priceable(wanted, after_id, PAGE)
    pairs = [(mission, computed(mission, tracker.prices)) for mission in missions]
    if not dry_run:
        ids = [after.id for before, after in pairs if before is not after]
        for start in range(0, len(ids), WRITTEN_TOGETHER):
            tracker.execute(Reprice(ids[start : start + WRITTEN_TOGETHER]))
    return Repriced.of(pairs, missions[-1].id if len(missions) == PAGE else None)


# The command.

Door = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Takes the body of POST /api/costs/reprice and returns its answer."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked for."""

    since: str | None = None
    model: str | None = None
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False
    url: str | None = None
    key: str | None = None


class CannotReprice(Exception):
    """The work cannot be done; the message says why."""


def run(options: Options, out: TextIO = sys.stdout, ask: Callable[[str], str] | None = input) -> int:
    """Preview, ask, write; return the exit code. ``ask`` of ``None``: nobody can be asked."""
    try:
        with _door(options) as door:
            preview = _all_pages(door, options, dry_run=True)
            written = None
            if not options.as_json:
                out.write(describe(preview))
            if not options.dry_run and preview.changed and _may_write(options, preview, ask):
                written = _all_pages(door, options, dry_run=False)
                if not options.as_json:
                    out.write(f"Written: {written.changed:,} missions.\n")
    except (CannotReprice, MissionDashboardError) as error:
        _tell(error, options, out)
        return 1
    if options.as_json:
        out.write(json.dumps({"preview": preview.to_wire(), "written": written and written.to_wire()}) + "\n")
    return 0


def _tell(error: Exception, options: Options, out: TextIO) -> None:
    if options.as_json:
        out.write(json.dumps({"error": reason_of(error), "status": None, "errors": [], "exit_code": 1}) + "\n")
    else:
        sys.stderr.write(f"{reason_of(error)}\n")


def _may_write(options: Options, preview: Repriced, ask: Callable[[str], str] | None) -> bool:
    if options.yes:
        return True
    if ask is None or options.as_json:
        raise CannotReprice("Nothing was written. Say --yes to write it, or --dry-run to only look.")
    return ask(f"Write the new cost of {preview.changed:,} missions? [y/N] ").strip().lower() in ("y", "yes")


def describe(found: Repriced) -> str:
    """Return a preview as lines of text."""
    lines = [
        f"{found.looked_at:,} missions have tokens that prices apply to; the cost of {found.changed:,} would change.",
        f"  computed  ${found.computed.before:,.4f} -> ${found.computed.after:,.4f}",
        f"  counted   ${found.counted.before:,.4f} -> ${found.counted.after:,.4f}   (a reported cost counts first)",
    ]
    if found.largest:
        lines.append("The largest changes of the computed cost:")
        lines += [f"  {_dollars(row['before'])} -> {_dollars(row['after'])}  {_shown(row)}" for row in found.largest]
    if found.unpriced:
        lines.append("Without a price, so in no sum:")
        lines += [f"  {_printable(model)}  ({count:,} missions)" for model, count in found.unpriced.most_common(20)]
    return "\n".join(lines) + "\n"


def _dollars(value: float | None) -> str:
    return "unpriced" if value is None else f"${value:,.4f}"


def _shown(row: Mapping[str, Any]) -> str:
    return f"{row['mission_id']}  {_printable(row['title'])[:60]}"


def _printable(text: str) -> str:
    """Titles and names come from agents: nothing of them may steer the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _all_pages(door: Door, options: Options, *, dry_run: bool) -> Repriced:
    total = Repriced()
    said: dict[str, Any] = {"since": options.since, "model": options.model, "dry_run": dry_run}
    while True:
        page = door({name: value for name, value in said.items() if value is not None})
        total.add(page)
        said["cursor"] = page["next_cursor"]
        if page["next_cursor"] is None:
            return total


@contextmanager
def _door(options: Options) -> Iterator[Door]:
    if options.url is not None:
        yield _door_of_server(options.url, options.key)
        return
    from mission_dashboard.config import load_settings

    settings = load_settings()
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    url = f"http://{host}:{settings.port}"
    if _answers(url):
        yield _door_of_server(url, options.key)
    else:
        with _door_of_database(settings) as door:
            yield door


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/health/live", timeout=REACH_TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _door_of_server(url: str, key: str | None) -> Door:
    from mission_dashboard.client.settings import read_key  # the server, which loads this module, must not load it

    address = f"{url.rstrip('/')}/api/costs/reprice"
    headers = {"Content-Type": "application/json"}
    if known := read_key(key):
        headers["Authorization"] = f"Bearer {known}"

    def call(said: Mapping[str, Any]) -> Mapping[str, Any]:
        body = json.dumps(said).encode()
        for tries_left in reversed(range(TRIES)):
            request = urllib.request.Request(address, body, headers)
            try:
                with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S) as response:
                    return dict(json.load(response))
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503) or not tries_left:
                    raise CannotReprice(f"{address} refuses: {_detail(error)}") from error
                time.sleep(_wait(error))
            except (OSError, ValueError) as error:
                raise CannotReprice(f"{address} cannot be asked: {error}") from error
        raise AssertionError  # the last try returned or raised

    return call


def _wait(error: urllib.error.HTTPError) -> float:
    given = error.headers.get("Retry-After", "")
    return min(60.0, float(given)) if given.isascii() and given.isdigit() else 1.0


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error)


@contextmanager
def _door_of_database(settings: Settings) -> Iterator[Door]:
    from mission_dashboard import concurrency
    from mission_dashboard.mission_tracker import MissionTracker
    from mission_dashboard.postgres.embedded import EmbeddedPostgres
    from mission_dashboard.prices import book_for

    concurrency.prepare("threading")  # so that nothing waits for ever
    prices = book_for(settings)
    embedded = None if settings.postgres_dsn else EmbeddedPostgres(settings.data_dir)
    try:
        dsn = settings.postgres_dsn if embedded is None else embedded.start()
        with MissionTracker.connect(str(dsn), prices=prices) as tracker:

            def call(said: Mapping[str, Any]) -> Mapping[str, Any]:
                wanted = parse_wanted(said.get("since"), said.get("model"))
                return reprice_page(tracker, wanted, said.get("cursor", ""), dry_run=said["dry_run"]).to_wire()

            yield call
    finally:
        if embedded is not None:
            embedded.stop()


def make_parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(
        prog="mission-dashboard reprice", description="Compute costs anew, after prices were set or corrected."
    )
    parser.add_argument("--since", metavar="DAY", type=_day, help="missions that started on this UTC day or later")
    parser.add_argument("--model", metavar="NAME", help="missions that used this model")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would change")
    parser.add_argument("--yes", action="store_true", help="write without asking")
    parser.add_argument("--json", action="store_true", dest="as_json", help="answer in JSON")
    parser.add_argument("--url", metavar="URL", help="the server to ask; else the one of the settings, if it runs")
    parser.add_argument("--key", metavar="KEY", help="the key sent to it, else MISSION_DASHBOARD_KEY")
    return parser


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day like 2026-01-31") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = make_parser().parse_args(arguments)
    return run(Options(**vars(given)), ask=input if sys.stdin.isatty() else None)


if __name__ == "__main__":
    sys.exit(main())
