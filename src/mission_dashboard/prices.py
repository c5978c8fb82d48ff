"""What a model's tokens cost, at a date: the user's price file first, then the genai-prices package.

An unknown model has no price; none is ever guessed. Prices are US dollars for a million tokens.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mission_dashboard.errors import StartupError
from mission_dashboard.usage import ModelUsage

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from mission_dashboard.config import Settings

logger = logging.getLogger(__name__)

MILLION = Decimal(1_000_000)
MAX_PRICE = Decimal(1_000_000)
MAX_FILE_BYTES = 1_000_000
MAX_REMEMBERED = 2_000
LOOK_EVERY_S = 2.0

KEYS = ("model", "input", "cached", "output", "reasoning", "effective_from", "priced")
CLASSES = ("input", "cached", "output", "reasoning")


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars for a million tokens of each class; a class of ``None`` has no price."""

    input: Decimal | None
    output: Decimal | None
    cached: Decimal | None = None
    """``None``: what input costs."""
    reasoning: Decimal | None = None
    """``None``: what output costs."""

    def cost(self, usage: ModelUsage) -> Decimal | None:
        """Return what the tokens cost, in dollars; ``None`` where a class that was used has no price."""
        cached = self.input if self.cached is None else self.cached
        reasoning = self.output if self.reasoning is None else self.reasoning
        parts = (
            (usage.input_tokens - usage.cached_tokens, self.input),
            (usage.cached_tokens, cached),
            (usage.output_tokens - usage.reasoning_tokens, self.output),
            (usage.reasoning_tokens, reasoning),
        )
        total = Decimal(0)
        for tokens, rate in parts:
            if tokens:
                if rate is None:
                    return None
                total += tokens * rate
        return total / MILLION


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the price file; rates of ``None`` say that the model shall have no price."""

    pattern: str
    effective_from: date | None
    rates: Rates | None

    @property
    def is_glob(self) -> bool:
        """Whether it names a family of models rather than one."""
        return any(sign in self.pattern for sign in "*?[")

    def matches(self, model: str) -> bool:
        """Whether it is about this model, whose name is in lower case."""
        return fnmatch.fnmatchcase(model, self.pattern) if self.is_glob else model == self.pattern


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What the user set."""

    rows: tuple[Row, ...] = ()
    use_genai_prices: bool = True

    def rows_for(self, model: str) -> tuple[Row, ...]:
        """Return the rows about this model, in the order in which they are asked.

        A row that names the model goes before one with a pattern, and then the longer pattern before the shorter; of
        the same name or pattern the newest goes first.
        """
        found = [row for row in self.rows if row.matches(model)]
        newest_first = sorted(found, key=lambda row: row.effective_from or date.min, reverse=True)
        return tuple(sorted(newest_first, key=lambda row: (row.is_glob, -len(row.pattern), row.pattern)))


class WrongPriceFile(Exception):
    """The price file cannot be used; the message says where and why."""


def parse_price_file(text: str) -> PriceFile:
    """Read the text of a price file; raise `WrongPriceFile` with a sentence for each wrong row."""
    try:
        said = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise WrongPriceFile(f"It is not valid TOML: {error}.") from error
    problems = [f"'{key}' is not known; known are price and use_genai_prices." for key in said if key not in TOP_KEYS]
    uses = said.get("use_genai_prices", True)
    if not isinstance(uses, bool):
        problems.append("use_genai_prices must be true or false.")
    tables = said.get("price", [])
    if not isinstance(tables, list):
        problems.append("Prices must be written as rows that begin with [[price]].")
        tables = []
    lines = [number for number, line in enumerate(text.splitlines(), 1) if _HEADER.match(line)]
    rows: list[Row] = []
    seen: dict[tuple[str, date | None], int] = {}
    for number, table in enumerate(tables, 1):
        where = f"Row {number}" + (f" (line {lines[number - 1]})" if len(lines) == len(tables) else "")
        try:
            row = _row_of(table)
            if (earlier := seen.setdefault((row.pattern, row.effective_from), number)) != number:
                raise ValueError(f"says '{row.pattern}' for the same date as row {earlier}")
            rows.append(row)
        except ValueError as error:
            problems.append(f"{where}: {error}.")
    if problems:
        raise WrongPriceFile("\n".join(problems))
    return PriceFile(tuple(rows), uses)


TOP_KEYS = ("price", "use_genai_prices")
_HEADER = re.compile(r"\s*\[\[\s*[\"']?price[\"']?\s*\]\]")


def _row_of(table: Any) -> Row:
    if not isinstance(table, Mapping):
        raise ValueError("must be a table that begins with [[price]]")
    for key in table:
        if key not in KEYS:
            raise ValueError(f"'{key}' is not known; known are {', '.join(KEYS)}")
    model = table.get("model")
    if not isinstance(model, str) or not 0 < len(model.strip()) <= 200:
        raise ValueError("'model' must be a name or a pattern like 'llama3*', of 1 to 200 characters")
    since = table.get("effective_from")
    if isinstance(since, datetime) or not (since is None or isinstance(since, date)):
        raise ValueError("'effective_from' must be a date without quotes, like 2026-01-31")
    pattern = model.strip().lower()
    if _has_price(table):
        return Row(pattern, since, Rates(**{key: _price(table, key) for key in CLASSES}))
    return Row(pattern, since, None)


def _has_price(table: Mapping[str, Any]) -> bool:
    priced = table.get("priced", True)
    if not isinstance(priced, bool):
        raise ValueError("'priced' must be true or false")
    given = [key for key in CLASSES if key in table]
    if not priced and given:
        raise ValueError(f"it has priced = false and '{given[0]}' too")
    if priced and not {"input", "output"} <= set(given):
        raise ValueError("it needs 'input' and 'output', dollars for a million tokens; 0 where they cost nothing")
    return priced


def _price(table: Mapping[str, Any], key: str) -> Decimal | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError(f"'{key}' must be a number, dollars for a million tokens")
    price = Decimal(value)
    if not price.is_finite() or not 0 <= price <= MAX_PRICE:
        raise ValueError(f"'{key}' must be from 0 to {MAX_PRICE:,} dollars for a million tokens")
    return price


class PriceBook:
    """The prices in force. Looks at the user's file now and then, and keeps the old prices where it is wrong."""

    def __init__(self, path: Path | None = None, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._path = path
        self._look_every_s = look_every_s
        self._lock = threading.Lock()
        self._file = PriceFile()
        self._rows: dict[str, tuple[Row, ...]] = {}
        """The rows about each model that was asked for; renewed together with the file."""
        self._seen: tuple[int, int, int] | None = None
        self._wrong: WrongPriceFile | None = None
        self._told = ""
        self._look_at = 0.0
        self._catalogued: dict[str, Callable[[datetime], Rates | None] | None] = {}

    @classmethod
    def open(cls, path: Path) -> PriceBook:
        """Read the file for the first time, if there is one; raise `StartupError` where it is wrong."""
        book = cls(path)
        try:
            book.refresh()
        except WrongPriceFile as error:
            raise StartupError(f"The price file {path} is wrong.\n{error}") from error
        return book

    def rates(self, model: str, at: datetime) -> Rates | None:
        """Return what a model's tokens cost at a moment; ``None``: it is unpriced."""
        if self._path is not None and time.monotonic() >= self._look_at:
            self._look()
        name = model.strip().lower()
        known = self._rows  # taken before the file: rows of an older file are never kept with a newer one's
        rows = known.get(name)
        if rows is None:
            rows = _remember(known, name, self._file.rows_for(name))
        if rows:
            day = at.astimezone(timezone.utc).date()
            for row in rows:
                if row.effective_from is None or row.effective_from <= day:
                    return row.rates
        return self._from_catalogue(name, at) if self._file.use_genai_prices else None

    def cost(self, model: str, usage: ModelUsage, at: datetime) -> Decimal | None:
        """Return what a model's tokens cost, in dollars; ``None``: it is unpriced."""
        rates = self.rates(model, at)
        return None if rates is None else rates.cost(usage)

    def refresh(self) -> None:
        """Read the file anew if it changed; raise `WrongPriceFile`, and then the prices stay as they were."""
        if self._path is None:
            return
        with self._lock:
            self._look_at = time.monotonic() + self._look_every_s
            try:
                status = self._path.stat()
                stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
                if stamp != self._seen:
                    self._seen, self._wrong = stamp, None
                    self._use(parse_price_file(_read(self._path)))
            except FileNotFoundError:
                self._seen, self._wrong = None, None
                self._use(PriceFile())
            except WrongPriceFile as error:
                self._wrong = error
            except OSError as error:
                self._seen, self._wrong = None, WrongPriceFile(f"It cannot be read: {error.strerror}.")
            if self._wrong is not None:
                raise self._wrong

    def _look(self) -> None:
        before, wrong = self._file, ""
        try:
            self.refresh()
        except WrongPriceFile as error:
            wrong = str(error)
        if wrong and wrong != self._told:
            logger.error("the price file %s is wrong, the prices read before stay: %s", self._path, wrong)
        elif self._file is not before:
            logger.info("the price file %s was read anew: %d rows", self._path, len(self._file.rows))
        self._told = wrong

    def _use(self, file: PriceFile) -> None:
        if file != self._file:
            self._file = file
            self._rows = {}

    def _from_catalogue(self, name: str, at: datetime) -> Rates | None:
        if name not in self._catalogued:
            from mission_dashboard import price_catalogue

            _remember(self._catalogued, name, price_catalogue.find(name))
        found = self._catalogued[name]
        return None if found is None else found(at)


def book_for(settings: Settings) -> PriceBook:
    """Return the price book of these settings; raise `StartupError` where its file is wrong."""
    return PriceBook.open(settings.prices or settings.data_dir / "prices.toml")


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise WrongPriceFile(f"It is larger than {MAX_FILE_BYTES:,} bytes.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WrongPriceFile("It is not UTF-8 text.") from error


def _remember(known: dict[str, Any], name: str, value: Any) -> Any:
    """Keep a looked-up value; names come from callers, so there is an end to how many are kept."""
    if len(known) >= MAX_REMEMBERED:
        known.clear()
    known[name] = value
    return value
