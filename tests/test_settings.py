"""Settings are read once, all problems are told at once, and a start that cannot be says why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg2.extensions
import pytest

from conftest import run_sql
from dashboards import ROOT, free_port
from mission_dashboard.config import SETTINGS, load_settings
from mission_dashboard.errors import StartupError
from mission_dashboard.mission_dashboard import keep_of
from mission_dashboard.postgres.connections import connect
from mission_dashboard.postgres.migrate import ADVISORY_LOCK

BAD = {
    "MISSION_DASHBOARD_PORT": ("0", "65536", "http", "-1", "5002.5", ""),
    "MISSION_DASHBOARD_HOST": ("",),
    "POSTGRES_DSN": ("localhost",),
    "MISSION_DASHBOARD_REDIS_URL": ("localhost:6379", "http://localhost", "redis://", "redis://cache/first"),
    "ENVIRONMENT": ("staging",),
    "MISSION_DASHBOARD_DATA_DIR": ("", "~nobody-of-this-name/data"),
    "MISSION_DASHBOARD_RATE_LIMIT": ("many", "0 per minute", "10 per fortnight", "-5 per minute"),
    "MISSION_DASHBOARD_REPORT_LIMIT": ("fast",),
    "MISSION_DASHBOARD_KEY_RATE_LIMIT": ("lots",),
    "MISSION_DASHBOARD_KEY_REPORT_LIMIT": ("60000",),
    "MISSION_DASHBOARD_CORS_ORIGINS": ("ops.example.com",),
    "STATIC_URL": (
        "cdn.example.com",
        "ftp://cdn.example.com",
        "https://",
        "https://cdn.example.com?v=1",
        "https://cdn.example.com#top",
        "https://user@cdn.example.com",
        "https://cdn.example.com:99999",
        "https://cdn.example.com; script-src *",
        "https://cdn.example.com/'unsafe-inline'",
    ),
    "MISSION_DASHBOARD_ASYNC_MODE": ("asyncio",),
    "MISSION_DASHBOARD_STALL_AFTER": ("soon", "0", "nan", "indexing=900", "180, =5"),
    "MISSION_DASHBOARD_LOST_AFTER": ("never", "-1"),
    "MISSION_DASHBOARD_CONFIRM_WITHIN": ("off", "0"),
    "MISSION_DASHBOARD_ALERT_HOSTS": ("10.0.0.0/99", "http://relay"),
    "MISSION_DASHBOARD_KEEP_MISSIONS": (
        "",
        "soon",
        "0",
        "nan",
        "90, running=5",
        "90, failed",
        "failed=90",
        "90, failed=0.5",
    ),
    "MISSION_DASHBOARD_KEEP_EVENTS": ("0", "-1", "inf", "1e9"),
    "MISSION_DASHBOARD_KEEP_LOGS": ("never",),
    "MISSION_DASHBOARD_KEEP_SPANS": ("30 days",),
    "MISSION_DASHBOARD_TRACES": (
        "collector:4318",
        "ftp://collector",
        "http://",
        "http://u@c:4318",
        "http://c:99999",
        "http://[",
    ),
    "MISSION_DASHBOARD_TRACES_HEADERS": ("Bearer abc", "a b=c", "X=%0d%0aY"),
    "MISSION_DASHBOARD_TRACES_SHARE": ("all", "1.5", "-0.1", "nan"),
    "MISSION_DASHBOARD_LOG_LEVEL": ("LOUD",),
    "MISSION_DASHBOARD_LOG_DIR": ("",),
    "MISSION_DASHBOARD_PRICES": ("/nowhere/prices.toml", "/" + "long" * 100),
    "MISSION_DASHBOARD_ADMIN_KEY": ("short", "with spaces in it, though long enough"),
    "MISSION_DASHBOARD_TRUSTED_PROXIES": ("proxy.example.com", "10.0.0.0/40", "all"),
    "MISSION_DASHBOARD_SESSION_HOURS": ("0", "-1", "nan", "long"),
    "MISSION_DASHBOARD_OIDC_ISSUER": ("id.example.com", "http://id.example.com", "https://", "https://[::1"),
    "MISSION_DASHBOARD_OIDC_ROLES": ("ann", "king=*", "admin=", "admin=ann@example.com"),
}


def environment(tmp_path: Path, **given: str) -> dict[str, str]:
    return {"MISSION_DASHBOARD_DATA_DIR": str(tmp_path / "data"), **given}


def test_defaults_are_those_of_the_table(tmp_path: Path) -> None:
    settings = load_settings(environment(tmp_path), tmp_path / "none")

    assert (settings.port, settings.host, settings.environment) == (5002, "0.0.0.0", "development")
    assert (settings.rate_limit, settings.report_limit) == ("100 per minute", "6000 per minute")
    assert (settings.key_rate_limit, settings.key_report_limit) == ("1000 per minute", "60000 per minute")
    days = {"missions": {"completed": 90, "failed": 180, "cancelled": 90}, "events": 30, "logs": 30, "spans": 30}
    assert keep_of(settings).in_days() == days
    assert (settings.trusted_proxies, settings.traces, settings.redis_url) == ((), "", "")
    assert (settings.async_mode, settings.log_level, settings.postgres_dsn) == ("eventlet", "INFO", None)
    assert settings.cors_origins == ()
    assert settings.static_url == ""


@pytest.mark.parametrize("url", ["https://cdn.example.com", "http://127.0.0.1:8080", "https://cdn.example.com/a/b"])
def test_files_may_come_from_another_server(tmp_path: Path, url: str) -> None:
    settings = load_settings(environment(tmp_path, STATIC_URL=f"{url}/"), tmp_path / "none")

    assert settings.static_url == url


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_wrong_value_is_told_with_its_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(StartupError, match=name):
        load_settings(environment(tmp_path, **{name: value}), tmp_path / "none")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    wrong = {name: values[0] for name, values in BAD.items()}

    with pytest.raises(StartupError) as caught:
        load_settings(environment(tmp_path, **wrong), tmp_path / "none")

    assert len(str(caught.value).splitlines()) == len(wrong)


def test_production_needs_a_secret_key_and_a_database(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as caught:
        load_settings(environment(tmp_path, ENVIRONMENT="production"), tmp_path / "none")

    assert "MISSION_DASHBOARD_SECRET_KEY" in str(caught.value)
    assert "POSTGRES_DSN" in str(caught.value)


@pytest.mark.parametrize("secret", ["fifteen-chars-x", "aaaaaaaaaaaaaaaa", "changemechangeme"])
def test_production_takes_no_secret_key_that_is_short_or_made_of_a_few_characters(tmp_path: Path, secret: str) -> None:
    given = environment(
        tmp_path,
        ENVIRONMENT="production",
        POSTGRES_DSN="postgresql://u:p@h/d",
        MISSION_DASHBOARD_SECRET_KEY=secret,
    )

    with pytest.raises(StartupError, match="SECRET_KEY must be a real secret"):
        load_settings(given, tmp_path / "none")
    assert load_settings({**given, "MISSION_DASHBOARD_SECRET_KEY": "4f1e9b07" * 2}, tmp_path / "none").is_production


def test_the_secret_key_is_kept_and_private(tmp_path: Path) -> None:
    first = load_settings(environment(tmp_path), tmp_path / "none").secret_key
    again = load_settings(environment(tmp_path), tmp_path / "none").secret_key

    assert first == again
    assert len(first) == 64
    assert (tmp_path / "data" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_production_takes_no_admin_key_of_a_few_characters_again_and_again(tmp_path: Path) -> None:
    given = environment(
        tmp_path,
        ENVIRONMENT="production",
        POSTGRES_DSN="postgresql://u:p@h/d",
        MISSION_DASHBOARD_SECRET_KEY="0123456789abcdef0123456789abcdef",
        MISSION_DASHBOARD_ADMIN_KEY="admin" * 8,
    )

    with pytest.raises(StartupError, match="ADMIN_KEY must be a real secret"):
        load_settings(given, tmp_path / "none")
    assert load_settings({**given, "MISSION_DASHBOARD_ADMIN_KEY": "4f1e9b07" * 4}, tmp_path / "none").is_production


def test_a_kept_key_that_others_could_read_is_private_again(tmp_path: Path) -> None:
    """A copied or restored data folder has the modes of whoever copied it."""
    first = load_settings(environment(tmp_path), tmp_path / "none")
    for name in ("secret_key", "admin_key"):
        (tmp_path / "data" / name).chmod(0o644)

    again = load_settings(environment(tmp_path), tmp_path / "none")

    assert (again.secret_key, again.admin_key) == (first.secret_key, first.admin_key)
    for name in ("secret_key", "admin_key"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600


def test_a_dotenv_file_is_honoured_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MISSION_DASHBOARD_PORT=6001\nMISSION_DASHBOARD_LOG_LEVEL=debug\n")

    settings = load_settings(environment(tmp_path, MISSION_DASHBOARD_PORT="6002"), tmp_path / ".env")

    assert (settings.port, settings.log_level) == (6002, "DEBUG")


def test_switching_limits_off_switches_both_off(tmp_path: Path) -> None:
    settings = load_settings(environment(tmp_path, MISSION_DASHBOARD_RATE_LIMIT="off"), tmp_path / "none")

    assert (settings.rate_limit, settings.report_limit) == (None, None)


def test_every_setting_of_the_table_is_tried_with_bad_values() -> None:
    assert {setting.name for setting in SETTINGS.values()} - BAD.keys() == {
        "MISSION_DASHBOARD_SECRET_KEY",
        "MISSION_DASHBOARD_OIDC_CLIENT_ID",
        "MISSION_DASHBOARD_OIDC_CLIENT_SECRET",
    }


def start(data_dir: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """Start the real program, which must refuse."""
    return subprocess.run(
        [sys.executable, str(ROOT / "src/mission_dashboard/mission_dashboard.py")],
        env={
            **os.environ,
            "MISSION_DASHBOARD_HOST": "127.0.0.1",
            "MISSION_DASHBOARD_PORT": str(free_port()),
            "MISSION_DASHBOARD_DATA_DIR": str(data_dir),
            "MISSION_DASHBOARD_LOG_DIR": str(data_dir / "logs"),
            **given,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def assert_refused(done: subprocess.CompletedProcess[str], name: str) -> None:
    assert done.returncode != 0
    assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_told(data_dir: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert_refused(start(data_dir, MISSION_DASHBOARD_PORT=port), "MISSION_DASHBOARD_PORT")


def test_a_folder_that_cannot_be_used_is_told(data_dir: Path) -> None:
    (data_dir / "file").write_text("in the way")

    assert_refused(start(data_dir / "file"), "MISSION_DASHBOARD_")
    assert_refused(start(data_dir, MISSION_DASHBOARD_LOG_DIR=str(data_dir / "file")), "MISSION_DASHBOARD_LOG_DIR")


def test_a_file_that_cannot_be_written_is_told_by_its_name(tmp_path: Path) -> None:
    told = subprocess.run(
        [
            "sh",
            "-c",
            'ulimit -f 0; exec "$@"',
            "sh",
            sys.executable,
            str(ROOT / "src/mission_dashboard/mission_dashboard.py"),
        ],
        env={**os.environ, **environment(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert_refused(told, "MISSION_DASHBOARD_DATA_DIR")
    assert f"({tmp_path / 'data' / 'secret_key'})" in told.stderr


@pytest.mark.parametrize("dsn", ["postgresql://nobody@127.0.0.1:1/none", "postgresql://[::1", "nonsense=1"])
def test_a_wrong_dsn_is_told(data_dir: Path, dsn: str) -> None:
    assert_refused(start(data_dir, POSTGRES_DSN=dsn), "POSTGRES_DSN")


@pytest.mark.parametrize("password", ["p@ssw0rd", "p/ssw0rd"])
def test_no_part_of_a_password_is_told_where_it_was_not_escaped(data_dir: Path, password: str) -> None:
    told = start(data_dir, POSTGRES_DSN=f"postgresql://nobody:{password}@127.0.0.1:1/none")

    assert_refused(told, "POSTGRES_DSN")
    assert "ssw0rd" not in told.stderr + told.stdout
    assert "%40" in told.stderr


def test_what_is_escaped_in_a_dsn_is_what_it_says(cluster: str) -> None:
    dsn = psycopg2.extensions.parse_dsn(cluster)
    run_sql(cluster, 'CREATE DATABASE "my@base/1"')
    host = dsn["host"].replace("/", "%2F")

    connect(f"postgresql://{dsn['user']}:p%40ss%2Fw@{host}:{dsn['port']}/my%40base%2F1").close()

    run_sql(cluster, 'DROP DATABASE "my@base/1"')


def test_a_database_that_refuses_its_user_or_any_write_is_told(cluster: str, empty_dsn: str, data_dir: Path) -> None:
    run_sql(cluster, "CREATE ROLE stranger LOGIN")
    strange = psycopg2.extensions.make_dsn(empty_dsn, user="stranger")
    read_only = psycopg2.extensions.make_dsn(empty_dsn, options="-c default_transaction_read_only=on")
    try:
        told = start(data_dir, POSTGRES_DSN=strange)
        assert_refused(told, "POSTGRES_DSN")
        assert "permission denied for schema public" in told.stderr
    finally:
        run_sql(cluster, "DROP ROLE stranger")

    told = start(data_dir, POSTGRES_DSN=read_only)
    assert_refused(told, "POSTGRES_DSN")
    assert "read-only transaction" in told.stderr


@pytest.mark.parametrize("file", ["secret_key", "postgres/owner.lock", "postgres/postgres.log"])
def test_a_start_of_the_embedded_database_ends_when_it_is_told_to(data_dir: Path, file: str) -> None:
    starting = subprocess.Popen(
        [sys.executable, str(ROOT / "src/mission_dashboard/mission_dashboard.py")],
        env={**os.environ, "MISSION_DASHBOARD_DATA_DIR": str(data_dir), "MISSION_DASHBOARD_PORT": str(free_port())},
        cwd=data_dir,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (data_dir / file).exists():
            assert starting.poll() is None
            time.sleep(0.01)
        time.sleep(0.2)  # the file is there some moments before the handlers of signals, or the server, are
        starting.terminate()

        assert starting.wait(15) in (0, -signal.SIGTERM)
    finally:
        starting.kill()
        starting.wait()


def test_a_start_that_waits_for_another_one_ends_when_it_is_told_to(data_dir: Path, dsn: str) -> None:
    migrating = psycopg2.connect(dsn)
    migrating.cursor().execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
    starting = subprocess.Popen(
        [sys.executable, str(ROOT / "src/mission_dashboard/mission_dashboard.py")],
        env={**os.environ, **environment(data_dir, POSTGRES_DSN=dsn), "MISSION_DASHBOARD_PORT": str(free_port())},
        cwd=data_dir,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert starting.stderr is not None
        while "this one waits for it" not in starting.stderr.readline():
            assert starting.poll() is None
        starting.terminate()

        assert starting.wait(5) == 0
        assert starting.stderr.read() == "Stopped.\n"
    finally:
        starting.kill()
        starting.wait()
        migrating.close()
