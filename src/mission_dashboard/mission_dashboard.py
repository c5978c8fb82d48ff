"""The web application: the only module that sees all the others, and the one that is run.

Also runs as a script: ``python3 src/mission_dashboard/mission_dashboard.py``.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

if __name__ == "__main__":
    # As a script this file's folder is on the path, where it would hide the package of the same name.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from mission_dashboard import mission_dashboard

    sys.exit(mission_dashboard.main())

from typing import TYPE_CHECKING, Any

from mission_dashboard.called import command_name
from mission_dashboard.config import SAMPLE_PASSWORD, Settings, load_settings
from mission_dashboard.errors import StartupError, StoreUnavailable, first_line

if TYPE_CHECKING:
    from flask import Flask

    from mission_dashboard.alerts.service import Alerts
    from mission_dashboard.control import Rules
    from mission_dashboard.keep import Keep
    from mission_dashboard.mission_tracker import MissionTracker
    from mission_dashboard.postgres.embedded import EmbeddedPostgres
    from mission_dashboard.retention import Retention
    from mission_dashboard.shared.message_queue import MessageQueue
    from mission_dashboard.tracing.export import Exporter
    from mission_dashboard.web.guard import Guard
    from mission_dashboard.web.live import Live
    from mission_dashboard.web.traced import Traced

PACKAGE = Path(__file__).resolve().parent
PAGE = PACKAGE / "page" if (PACKAGE / "page").is_dir() else PACKAGE.parents[1]
"""Where templates and static files lie: in the package once it is installed, at the root of the repository before."""
SHUTDOWN_POLL_S = 0.05
DRAIN_S = 0.3
STOP_PATIENCE_S = 3.0
"""How long the database may take to answer, in all, while the server stops."""
STOP_DEADLINE_S = 9.0
"""A stop that takes longer hangs: Docker kills after ten seconds, and says nothing of where."""


class Application:
    """Everything that runs in one server process, in the order it is started and stopped."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.embedded: EmbeddedPostgres | None = None
        self.tracker: MissionTracker | None = None
        self.app: Flask | None = None
        self.live: Live | None = None
        self.guard: Guard | None = None
        self.retention: Retention | None = None
        self.alerts: Alerts | None = None
        self.traces: Exporter | None = None
        self.is_open = False
        self.is_hurried = False

    def open(self) -> None:
        """Start the database, open the tracker, build the web application; raise `StartupError`."""
        from mission_dashboard.mission_tracker import MissionTracker
        from mission_dashboard.prices import book_for

        prices = book_for(self.settings)
        if self.settings.postgres_dsn and self.settings.is_production:
            _refuse_sample_password(self.settings.postgres_dsn)
        dsn = self.settings.postgres_dsn or self._start_embedded()
        try:
            self.tracker = MissionTracker.connect(dsn, _rules(self.settings), prices, keep_of(self.settings))
        except StoreUnavailable as error:
            reason = first_line(error.__cause__ or error)
            raise StartupError(f"The database behind POSTGRES_DSN cannot be used: {reason}.") from error
        self.app, self.live = create_app(self.settings, self.tracker)
        self.guard = self.app.extensions["guard"]
        self.guard.open()
        self.traces = self.app.extensions.get("traces")
        if self.traces is not None:
            self.traces.start()
        self.live.start()
        self._share_through_redis()
        self.alerts = self.app.extensions["alerts"]
        self.alerts.start()
        self.retention = _retention(dsn, self.settings, self.tracker)
        self.retention.start()
        self.is_open = True

    def hurry(self) -> None:
        """Let a start that is told to end not wait for the database; for signal handlers."""
        from mission_dashboard.postgres.connections import answer_at_once

        if not self.is_open:
            self.is_hurried = True
            answer_at_once()
            if self.embedded is not None:
                self.embedded.give_up()

    def _share_through_redis(self) -> None:
        """Let other processes on the same database know sooner, and of more, than PostgreSQL alone tells them."""
        if not self.settings.redis_url or self.tracker is None or self.app is None:
            return
        from mission_dashboard.shared.totals import KeptTotals

        store = self.tracker.store
        store.keep_totals(KeptTotals(self.settings.redis_url, store.database))
        store.carry_hints(self.app.extensions["queue"])

    def _start_embedded(self) -> str:
        from mission_dashboard.postgres.embedded import EmbeddedPostgres

        self.embedded = EmbeddedPostgres(self.settings.data_dir)
        if self.is_hurried:  # before there was one to tell
            self.embedded.give_up()
        return self.embedded.start()

    def close(self) -> None:
        """Stop all in the opposite order: what was queued is written, then the database stops.

        Where the database does not answer, that takes little longer: nobody waits for it beyond `STOP_PATIENCE_S`.
        """
        from mission_dashboard.postgres.connections import answers_within

        with answers_within(STOP_PATIENCE_S):
            self._close_what_uses_the_database()
        if self.traces is not None:
            self.traces.close()
        if self.embedded is not None:
            self.embedded.stop()

    def _close_what_uses_the_database(self) -> None:
        if self.alerts is not None:
            self.alerts.close()
        if self.live is not None:
            self.live.close()
        if self.guard is not None:
            self.guard.close()
        if self.retention is not None:
            self.retention.close()
        if self.tracker is not None:
            self.tracker.close()

    @property
    def database(self) -> str:
        """Where missions are kept, in words."""
        return self.embedded.describe() if self.embedded else "the PostgreSQL server behind POSTGRES_DSN"


def _refuse_sample_password(dsn: str) -> None:
    """Raise `StartupError` where the database is reached with the documentation's password, wherever that is set."""
    from mission_dashboard.postgres.connections import password_for

    if password_for(dsn) == SAMPLE_PASSWORD:
        raise StartupError(
            f"The database behind POSTGRES_DSN has the sample password {SAMPLE_PASSWORD!r}, which comes from "
            "PGPASSWORD, a password file, a service file or the DSN: give it another when ENVIRONMENT is production."
        )


def _rules(settings: Settings) -> Rules:
    from mission_dashboard.control import Rules

    by_type = dict(settings.stall_after)
    return Rules(by_type.pop(""), by_type, settings.lost_after, settings.confirm_within)


def keep_of(settings: Settings) -> Keep:
    """Return how long what is kept."""
    from mission_dashboard.keep import Keep

    return Keep(settings.keep_missions, settings.keep_events, settings.keep_logs, settings.keep_spans)


def _retention(dsn: str, settings: Settings, tracker: MissionTracker) -> Retention:
    from mission_dashboard.postgres.retention import PostgresRemover
    from mission_dashboard.retention import Retention

    known = 0

    def is_busy() -> bool:
        """Whether something was written since this was asked last, or waits to be."""
        nonlocal known
        before, known = known, tracker.batches
        return known != before or tracker.queue_state().depth > 0

    keep = keep_of(settings)
    return Retention(PostgresRemover(dsn), keep, lambda: tracker.now, is_busy, tracker.forget_removed)


def create_app(settings: Settings, tracker: MissionTracker) -> tuple[Flask, Live]:
    """Build the Flask application around an open tracker; `Live` and the guard are not yet started."""
    from flask import Flask
    from flask_cors import CORS

    from mission_dashboard.shared.counters import spare_redis

    spare_redis(settings.redis_url)
    from flask_socketio import SocketIO

    from mission_dashboard.alerts.addresses import Reach
    from mission_dashboard.alerts.service import Alerts
    from mission_dashboard.monitoring.counters import Counters
    from mission_dashboard.postgres.alert_store import PostgresAlertStore
    from mission_dashboard.web.addresses import IdConverter
    from mission_dashboard.web.alerts import make_alerts
    from mission_dashboard.web.api import make_api
    from mission_dashboard.web.compression import compress_answers
    from mission_dashboard.web.costs import make_costs
    from mission_dashboard.web.docs import make_docs
    from mission_dashboard.web.errors import register_errors
    from mission_dashboard.web.guard import Guard
    from mission_dashboard.web.health import make_health
    from mission_dashboard.web.inputs import MAX_BODY_BYTES
    from mission_dashboard.web.limits import make_limits
    from mission_dashboard.web.live import Live
    from mission_dashboard.web.monitoring import make_monitoring
    from mission_dashboard.web.origins import OriginGuard
    from mission_dashboard.web.otlp import make_otlp
    from mission_dashboard.web.pages import make_pages
    from mission_dashboard.web.ping import make_ping
    from mission_dashboard.web.report_lane import ReportLane
    from mission_dashboard.web.requests_log import RequestLog
    from mission_dashboard.web.sessions import NoSessions
    from mission_dashboard.web.socket_json import SocketJson
    from mission_dashboard.web.socket_reports import take_reports
    from mission_dashboard.web.storage import make_storage
    from mission_dashboard.web.waiting import Waiting

    app = Flask("mission_dashboard", template_folder=str(PAGE / "templates"), static_folder=None)
    app.session_interface = NoSessions()
    app.url_map.converters["id"] = IdConverter
    app.config.update(SECRET_KEY=settings.secret_key, MAX_CONTENT_LENGTH=MAX_BODY_BYTES)
    register_errors(app)
    compress_answers(app)
    queue = app.extensions["queue"] = _message_queue(settings.redis_url, tracker.store.database)
    socketio = SocketIO(
        app,
        client_manager=queue,
        async_mode=settings.async_mode,
        cors_allowed_origins=list(settings.cors_origins) or None,
        json=SocketJson,
        max_http_buffer_size=100_000,
        ping_interval=20,
        ping_timeout=20,
        manage_session=False,
        logger=False,
        engineio_logger=False,
    )
    counters = Counters()
    live = Live(socketio, tracker, counters.pushes)
    limits = make_limits(app, settings)
    alert_store, reach = PostgresAlertStore(tracker.store.dsn), Reach(*settings.alert_hosts)
    alerts = Alerts(alert_store, tracker, reach, live.tell, live.tell_everywhere)
    app.extensions["alerts"] = alerts
    guard = app.extensions["guard"] = Guard(settings, tracker.store.dsn)
    waiting = Waiting(tracker, guard.access.is_good)
    guard.add_views(app, socketio, waiting, limits.api)
    take_reports(socketio, tracker, limits.report_gate, guard)
    kind = "external" if settings.postgres_dsn else "embedded"
    app.register_blueprint(make_api(tracker, waiting, limits.api, limits.report))
    app.register_blueprint(make_ping(tracker, limits.report))
    app.register_blueprint(make_alerts(alerts, limits.api))
    app.register_blueprint(make_costs(tracker, limits.api))
    app.register_blueprint(make_storage(tracker, keep_of(settings), limits.api))
    app.register_blueprint(make_otlp(tracker, limits.report))
    app.register_blueprint(make_health(tracker, kind, lambda: live.viewers))
    app.register_blueprint(make_monitoring(tracker, counters, lambda: live.viewers, alerts.overview, limits.api))
    app.register_blueprint(make_docs(app, settings.static_url))
    app.register_blueprint(make_pages(app, PAGE / "static", settings.static_url))
    if settings.cors_origins:
        exposed = ["ETag", "Location", "Retry-After", "X-Request-ID", "Idempotency-Replayed"]
        CORS(app, resources={"/api/*": {"origins": list(settings.cors_origins)}}, expose_headers=exposed)
    else:  # a page of another origin needs headers that Flask-CORS adds
        app.wsgi_app = ReportLane(app.wsgi_app, tracker, limits.report_gate)  # type: ignore[method-assign]
    app.wsgi_app = guard.wrap(app.wsgi_app)  # type: ignore[method-assign,assignment]
    app.wsgi_app = OriginGuard(app.wsgi_app, settings.cors_origins, guard.note_refused)  # type: ignore[method-assign]
    if settings.traces:
        app.wsgi_app = _traced(app, settings)  # type: ignore[method-assign]
    app.wsgi_app = RequestLog(app.wsgi_app, counters.request)  # type: ignore[method-assign]
    app.wsgi_app = guard.wrap_outside(app.wsgi_app)  # type: ignore[method-assign,assignment]
    return app, live


def _message_queue(redis_url: str, database: str) -> MessageQueue | None:
    if not redis_url:
        return None
    from mission_dashboard.shared.message_queue import MessageQueue, channel_of

    return MessageQueue(redis_url, channel_of(database))


def _traced(app: Flask, settings: Settings) -> Traced:
    """Wrap the application so that requests are traced; who starts it starts what sends the traces."""
    from mission_dashboard.tracing.export import Exporter
    from mission_dashboard.web.traced import Traced

    exporter = app.extensions["traces"] = Exporter(settings.traces, settings.traces_headers)
    return Traced(app.wsgi_app, exporter.take, settings.traces_share)


def main() -> int:
    """Run the server until SIGTERM, Ctrl-C or the end of its terminal; return the exit code."""
    try:
        settings = load_settings()
    except StartupError as error:
        return _say_no(error)
    from mission_dashboard import concurrency

    concurrency.prepare(settings.async_mode)
    return _run(settings)


def _run(settings: Settings) -> int:
    import signal
    import threading
    import time

    from mission_dashboard import concurrency
    from mission_dashboard.logs import set_up_logging

    stopping: list[int] = []
    application = Application(settings)

    def stop(number: int, _: object) -> None:
        stopping.append(number)
        application.hurry()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup lets it outlive its terminal
        signal.signal(signal.SIGHUP, stop)
    try:
        set_up_logging(settings.log_level, settings.log_dir)
        listener = _listen(settings)
        application.open()
    except StartupError as error:
        application.close()
        return _say_stopped() if stopping else _say_no(error)
    socketio = application.app.extensions["socketio"]  # type: ignore[union-attr]
    server = concurrency.Server(application.app, socketio, listener)  # type: ignore[arg-type]
    serving = threading.Thread(target=server.run, name="web-server", daemon=True)
    serving.start()
    with contextlib.suppress(OSError):
        _say_hello(settings, application)
    _settle_memory()
    while not stopping and serving.is_alive():
        time.sleep(SHUTDOWN_POLL_S)
    end_within(STOP_DEADLINE_S)
    server.stop()
    time.sleep(DRAIN_S)
    application.close()
    _say_stopped()
    return 0 if stopping else 1


def end_within(seconds: float) -> None:
    """Let the kernel end this process after some seconds, a second after it said where it hangs.

    No lock that is held, and no green thread that never yields, can keep either from happening.
    """
    import faulthandler
    import signal

    with contextlib.suppress(OSError, RuntimeError, ValueError):  # there is no standard error
        faulthandler.dump_traceback_later(seconds - 1)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _settle_memory() -> None:
    """Spare the garbage collector what stays for good, and let it look less often: 5% of each request."""
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _listen(settings: Settings) -> Any:
    from mission_dashboard import concurrency

    try:
        return concurrency.listen(settings.host, settings.port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "this is no address"
        raise StartupError(
            f"Cannot listen on {settings.host}:{settings.port}: {reason}. "
            "Set MISSION_DASHBOARD_PORT (or MISSION_DASHBOARD_HOST) to a free one."
        ) from error


def _say_no(error: StartupError) -> int:
    print(f"Mission Dashboard cannot start.\n{error}", file=sys.stderr, flush=True)
    return 1


def _say_stopped() -> int:
    with contextlib.suppress(OSError):  # what it is printed to may be full, or gone
        print("Stopped.", file=sys.stderr, flush=True)
    return 0


def _say_hello(settings: Settings, application: Application) -> None:
    address = f"http://{'localhost' if settings.host in ('0.0.0.0', '::') else settings.host}:{settings.port}"
    print(
        f"\nMission Dashboard is at {address}\n"
        f"Missions are kept in {application.database}\n"
        f"Log: {settings.log_dir / 'mission_dashboard.log'}\n\n"
        "Try it:\n"
        f"  curl -X POST {address}/api/missions -H 'Content-Type: application/json' "
        '-d \'{"title": "My first mission"}\'\n\n'
        f"{_invitation(settings, address)}"
        "Ctrl-C stops it.\n",
        flush=True,
    )


def _invitation(settings: Settings, address: str) -> str:
    """Say how people on other machines get in."""
    if settings.is_production:
        return f"Log in at {address}/login\n\n"
    if settings.host in ("127.0.0.1", "::1", "localhost"):
        return ""
    elsewhere = f"http://{_own_address()}:{settings.port}" if settings.host in ("0.0.0.0", "::") else address
    return (
        "This machine needs no key. From another, open\n"
        f"  {elsewhere}/login#{settings.admin_key}\n"
        f"Programs there send it as 'Authorization: Bearer ...', or get keys of their own: {command_name()} keys\n\n"
    )


def _own_address() -> str:
    """Return the address by which other machines most likely reach this one; no packet is sent to find out."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
