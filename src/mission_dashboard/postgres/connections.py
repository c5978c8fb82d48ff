"""Connections to PostgreSQL: opening them, waiting on them with a deadline, lending them out.

Every statement has a deadline, kept on this side of the wire, because a server that hangs or a network that went
silent answers no timeout of its own. libpq has no such deadline: it is kept by psycopg2's wait callback, which
`install_wait_callback` sets for the whole process and which also lets green threads run meanwhile. `answers_within`
bounds all of these waits together, for a process that ends. The other end of a wire that went silent lets go by itself
too: both kernels are asked to notice (`KEEPALIVES`).
"""

from __future__ import annotations

import logging
import math
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import psycopg2
import psycopg2.extensions
import psycopg2.extras

from mission_dashboard.errors import SearchTooSlow, StartupError, StoreUnavailable, WriteRefused
from mission_dashboard.tracing.spans import child

logger = logging.getLogger(__name__)

WaitForSocket = Callable[[int, bool, float], bool]
"""Waits until a file descriptor can be read (or written, when true) or seconds have passed; whether it can."""

SESSION_OPTIONS = "-c timezone=UTC -c jit=off -c client_min_messages=warning"
CONNECT_TIMEOUT_S = 1.0
STATEMENT_TIMEOUT_S = 1.5
GLANCE_S = 0.25
"""How soon whoever waits notices that it shall not any more."""
SLOW_STATEMENT_TIMEOUT_S = 120.0

KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""After half a minute without a sign of the other machine its kernel counts as gone; a DSN may say otherwise."""
SERVER_KEEPALIVES = (
    "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=20000"
)
"""The same for the server's end, which otherwise keeps a session and its locks for two hours after we are gone."""

LOST = (psycopg2.OperationalError, psycopg2.InterfaceError)
"""What psycopg2 raises when the server is away, ends the session or does not answer in time."""


class Unanswered(psycopg2.OperationalError):
    """The server is there and silent: a statement met its deadline."""


class Connection(psycopg2.extensions.connection):
    """A connection whose statements each have a deadline, in seconds from the moment they begin."""

    timeout_s = CONNECT_TIMEOUT_S
    is_given_up = False

    def close(self) -> None:
        """Close it; where another thread waits on it, that one is told to give up, and closes it.

        psycopg2 waits with a lock of the connection held that `close` takes too: where both are green threads of one
        real one, neither would ever go on, nor anybody else.
        """
        if self in _waited_on:
            self.is_given_up = True
        else:
            super().close()


def password_for(dsn: str) -> str | None:
    """Return the password that libpq takes for a DSN: its own, a service's, ``PGPASSWORD`` or a password file's.

    Nothing waits for the server. None also where the DSN makes no sense: connecting tells why.
    """
    try:
        connection = psycopg2.connect(dsn, async_=True)
    except psycopg2.Error:
        return None
    try:
        return connection.info.password or None
    finally:
        connection.close()


_waited_on: set[psycopg2.extensions.connection] = set()
_last_moment = math.inf


def wait_with_poll(descriptor: int, writing: bool, timeout_s: float) -> bool:
    """Wait as `WaitForSocket` has it, where threads are real ones."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


_wait_for_socket: WaitForSocket = wait_with_poll


def wait_readable(connection: Connection, timeout_s: float) -> bool:
    """Wait until the server says something unasked, or for some seconds; whether it does."""
    return _wait_for_socket(connection.fileno(), False, timeout_s)


def install_wait_callback(wait_for_socket: WaitForSocket) -> None:
    """Make every psycopg2 connection of this process wait through ``wait_for_socket`` and give up in time."""
    global _wait_for_socket
    _wait_for_socket = wait_for_socket

    def is_ready(connection: psycopg2.extensions.connection, writing: bool, ends_at: float) -> bool:
        while (left_s := _left_s(ends_at)) > 0 and not getattr(connection, "is_given_up", False):
            if wait_for_socket(connection.fileno(), writing, min(left_s, GLANCE_S)):
                return True
        return False

    def wait(connection: psycopg2.extensions.connection) -> None:
        timeout_s = getattr(connection, "timeout_s", SLOW_STATEMENT_TIMEOUT_S)
        began = time.monotonic()
        _waited_on.add(connection)
        try:
            while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
                if not is_ready(connection, state == psycopg2.extensions.POLL_WRITE, began + timeout_s):
                    waited_s = min(timeout_s, time.monotonic() - began)
                    raise Unanswered(f"PostgreSQL did not answer within {waited_s:.3g} s")
        finally:
            _waited_on.discard(connection)

    psycopg2.extensions.set_wait_callback(wait)


def _left_s(ends_at: float) -> float:
    return min(ends_at, _last_moment) - time.monotonic()


@contextmanager
def answers_within(seconds: float) -> Iterator[None]:
    """Let nobody in this process wait for PostgreSQL longer than so many seconds from now, whatever else was said.

    For a process that ends: what waits already is meant too, and after these seconds every wait fails at once.
    """
    global _last_moment
    before, _last_moment = _last_moment, time.monotonic() + seconds
    try:
        yield
    finally:
        _last_moment = before


def connect(dsn: str, application: str = "mission-dashboard", options: str = "") -> Connection:
    """Open an autocommit connection in UTC that reads JSON with orjson.

    Raises `StoreUnavailable` where the server cannot be reached, `StartupError` where the DSN cannot be read.
    """
    try:
        given = psycopg2.extensions.parse_dsn(dsn)
    except psycopg2.ProgrammingError as error:
        # Not the driver's own words: they repeat the DSN, password and all.
        raise StartupError(
            "POSTGRES_DSN cannot be read: it must look like postgresql://user:password@host:5432/database."
        ) from error
    if _has_unescaped_sign(dsn):
        # The driver would complain of a host, or a database, that is named by a part of the password.
        raise StartupError("POSTGRES_DSN cannot be used: in its password @ has to be written %40, and / %2F.")
    missing: dict[str, Any] = {name: value for name, value in KEEPALIVES.items() if name not in given}
    try:
        connection = psycopg2.connect(
            psycopg2.extensions.make_dsn(dsn, **missing),
            connection_factory=Connection,
            application_name=application,
            connect_timeout=2,
            options=f"{SERVER_KEEPALIVES} {given.get('options', '')} {SESSION_OPTIONS} {options}".strip(),
        )
        connection.timeout_s = STATEMENT_TIMEOUT_S
        connection.autocommit = True
    except LOST as error:
        raise StoreUnavailable("The database cannot be reached. Try again shortly.") from error
    psycopg2.extras.register_default_json(connection, loads=orjson.loads)
    psycopg2.extras.register_default_jsonb(connection, loads=orjson.loads)
    return connection


def _has_unescaped_sign(dsn: str) -> bool:
    """Whether what stands before the host of an address goes beyond the first ``@``, or beyond a ``/``."""
    address = dsn.partition("://")[2].partition("?")[0]
    return address.count("@") > 1 or "@" in address.partition("/")[2]


def answer_at_once() -> None:
    """Let every wait for PostgreSQL in this process fail from now on, as `answers_within` no time at all."""
    global _last_moment
    _last_moment = time.monotonic()


@contextmanager
def patience(connection: Connection, timeout_s: float) -> Iterator[None]:
    """Let statements on this connection take longer for a while: migrations, counting a large table."""
    before, connection.timeout_s = connection.timeout_s, timeout_s
    try:
        yield
    finally:
        connection.timeout_s = before


@contextmanager
def lost_means_unavailable(after: Callable[[], None] | None = None) -> Iterator[None]:
    """Raise `StoreUnavailable` where the server is lost, having called ``after``."""
    try:
        yield
    except LOST as error:
        if after is not None:
            after()
        raise StoreUnavailable("The database does not answer. Nothing was confirmed; try again shortly.") from error


class Pool:
    """A few connections for reading, lent one caller at a time; a caller waits for its turn, but not forever."""

    def __init__(self, dsn: str, size: int) -> None:
        self._dsn = dsn
        self.size = size
        self.in_use = 0
        self._turns = threading.BoundedSemaphore(size)
        self._idle: list[Connection] = []

    def run(
        self,
        sql: str,
        parameters: Any,
        timeout_s: float = STATEMENT_TIMEOUT_S,
        *,
        name: str = "statement",
        limit_s: float | None = None,
    ) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; raise `StoreUnavailable` when the server is away.

        A connection that went stale while it lay idle (the server was restarted) is replaced once, silently.
        ``name`` is what traces call it; they never have its values. After ``limit_s``, which is for searches, the
        server itself gives the statement up, and `SearchTooSlow` is raised.
        """
        with child(name, **{"db.system.name": "postgresql", "db.query.summary": name}) as span:
            rows = self._run(sql, parameters, timeout_s if limit_s is None else limit_s + timeout_s, limit_s)
            if span is not None:
                span.attributes["db.response.returned_rows"] = len(rows)
            return rows

    def _run(self, sql: str, parameters: Any, timeout_s: float, limit_s: float | None) -> list[tuple[Any, ...]]:
        if not self._turns.acquire(timeout=max(0.0, _left_s(time.monotonic() + timeout_s))):
            raise StoreUnavailable("All database connections are busy. Try again shortly.")
        self.in_use += 1
        try:
            while self._idle:
                try:
                    return self._run_on(self._idle.pop(), sql, parameters, timeout_s, limit_s)
                except Unanswered as error:
                    # The other idle connections would be silent too, each for as long again.
                    self.close()
                    raise StoreUnavailable("The database does not answer. Try again shortly.") from error
                except LOST as error:
                    logger.debug("an idle connection was lost: %s", error)
            try:
                return self._run_on(connect(self._dsn), sql, parameters, timeout_s, limit_s)
            except LOST as error:
                raise StoreUnavailable("The database does not answer. Try again shortly.") from error
        finally:
            self.in_use -= 1
            self._turns.release()

    def _run_on(
        self, connection: Connection, sql: str, parameters: Any, timeout_s: float, limit_s: float | None
    ) -> list[tuple[Any, ...]]:
        try:
            with patience(connection, timeout_s):
                if limit_s is None:
                    rows = fetch(connection, sql, parameters)
                else:
                    rows = _fetch_within(connection, sql, parameters, limit_s)
        except SearchTooSlow:
            self._idle.append(connection)
            raise
        except LOST:
            connection.close()
            raise
        except psycopg2.DataError as error:
            self._idle.append(connection)
            raise WriteRefused("The database cannot read one of the values.") from error
        except psycopg2.Error:
            self._idle.append(connection)
            raise
        self._idle.append(connection)
        return rows

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().close()


def _fetch_within(connection: Connection, sql: str, parameters: Any, limit_s: float) -> list[tuple[Any, ...]]:
    """Fetch with a limit that the server keeps: a statement that only we gave up would go on there."""
    fetch(connection, "SELECT set_config('statement_timeout', %s, false)", (f"{limit_s * 1000:.0f}",))
    try:
        rows = fetch(connection, sql, parameters)
    except psycopg2.errors.QueryCanceled as error:
        fetch(connection, "RESET statement_timeout")
        raise SearchTooSlow(limit_s) from error
    fetch(connection, "RESET statement_timeout")
    return rows


def fetch(connection: Connection, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows, none for a statement without."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []
