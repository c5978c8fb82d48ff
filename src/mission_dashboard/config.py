"""The settings: read once, from the environment and a ``.env`` file, all problems told at once.

The only module that looks at the environment.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from dotenv import dotenv_values

from mission_dashboard.errors import StartupError

ASYNC_MODES = ("eventlet", "gevent", "threading")
ENVIRONMENTS = ("development", "production")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
PERIODS = ("second", "minute", "hour", "day")
OFF = "off"
FINAL = ("completed", "failed", "cancelled")
# Goes into the Content-Security-Policy and into addresses, so nothing that means something there may be in it.
STATIC_URL = re.compile(
    r"https?://[a-z0-9.-]*[a-z0-9](?::(?P<port>\d{1,5}))?(?:/[\w.~%/-]*)?", re.ASCII | re.IGNORECASE
)
TRACES_PATH = "/v1/traces"
_HEADER = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~-]+", re.ASCII)
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.ASCII)
SECRET = ("postgres_dsn", "secret_key", "admin_key", "oidc_client_secret", "traces_headers", "redis_url")
"""Settings whose values are never repeated."""


Network = IPv4Network | IPv6Network
MIN_SECRET = 16
MIN_ADMIN_KEY = 24
SAMPLE_PASSWORD = "ai_password"
ROLES = ("viewer", "operator", "admin")


@dataclass(frozen=True, slots=True)
class RoleRule:
    """Who of those that an identity provider knows has a role: where ``claim`` has ``value``; ``*`` is everybody."""

    role: str
    claim: str
    value: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its default as text, what it means, and how its text becomes a value."""

    name: str
    default: str | None
    meaning: str
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """What was set. Paths are absolute; a limit of ``None`` is off."""

    port: int
    host: str
    secret_key: str
    postgres_dsn: str | None
    redis_url: str
    environment: str
    data_dir: Path
    rate_limit: str | None
    report_limit: str | None
    key_rate_limit: str | None
    key_report_limit: str | None
    cors_origins: tuple[str, ...]
    static_url: str
    async_mode: str
    log_level: str
    log_dir: Path
    prices: Path | None
    """The price file; ``None``: prices.toml in the data folder, if it is there."""
    stall_after: Mapping[str, timedelta]
    """By mission type; the empty type is for all others."""
    lost_after: timedelta | None
    confirm_within: timedelta
    alert_hosts: tuple[tuple[str, ...], tuple[Network, ...]]
    """Hosts, and networks, inside that alerts may be sent to."""
    admin_key: str
    trusted_proxies: tuple[Network, ...]
    session_hours: timedelta
    oidc_issuer: str
    oidc_client_id: str
    oidc_client_secret: str
    oidc_roles: tuple[RoleRule, ...]
    keep_missions: Mapping[str, timedelta | None]
    """By final status; ``None`` is for ever."""
    keep_events: timedelta | None
    keep_logs: timedelta | None
    keep_spans: timedelta | None
    traces: str
    """Where traces of this server are sent; empty: nowhere."""
    traces_headers: Mapping[str, str]
    traces_share: float

    @property
    def is_production(self) -> bool:
        """Whether strangers may reach this server."""
        return self.environment == "production"


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError("must be a whole number from 1 to 65535")
    return int(text)


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        found = next((value for value in allowed if value.lower() == text.lower()), None)
        if found is None:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return found

    return read


def _limit(text: str) -> str | None:
    if text.lower() == OFF:
        return None
    count, _, period = text.partition(" per ")
    if not (count.isascii() and count.isdigit() and int(count) > 0 and period in PERIODS):
        raise ValueError("must read like '100 per minute' (second, minute, hour, day), or 'off'")
    return text


def _dsn(text: str) -> str | None:
    if text and "://" not in text and "=" not in text:
        raise ValueError("must read like postgresql://user:password@host:5432/database")
    return text or None


def _redis(text: str) -> str:
    if text and not re.fullmatch(r"rediss?://[^\s/?#]+(?:/\d*)?", text):
        raise ValueError("must read like redis://:password@host:6379/0, or rediss://")
    return text


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for origin in origins:
        if origin != "*" and not origin.startswith(("http://", "https://")):
            raise ValueError("must be a list of origins like https://ops.example.com, separated by commas")
    return origins


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError("must be a list of addresses or networks like 10.0.0.5, 172.16.0.0/12") from error


def _admin_key(text: str) -> str:
    if text and not (len(text) >= MIN_ADMIN_KEY and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError(f"must have at least {MIN_ADMIN_KEY} characters, no spaces; 'openssl rand -hex 32' makes it")
    return text


def _hours(text: str) -> timedelta:
    try:
        hours = float(text)
    except ValueError as error:
        raise ValueError("must be a number of hours") from error
    if not 0 < hours <= 24 * 366:
        raise ValueError("must be a number of hours, more than 0 and at most a year")
    return timedelta(hours=hours)


def _split(text: str) -> SplitResult:
    """Return the parts of an address; none where it cannot be one."""
    try:
        parts = urlsplit(text)
        return parts if parts.port != 0 else urlsplit("")
    except ValueError:
        return urlsplit("")


def _issuer(text: str) -> str:
    is_fit = text.startswith(("https://", "http://localhost", "http://127.0.0.1")) and _split(text).hostname
    if text and not is_fit:
        raise ValueError("must be the provider's address, beginning with https://")
    return text.rstrip("/")


def _role_rules(text: str) -> tuple[RoleRule, ...]:
    rules = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, _, who = part.partition("=")
        claim, colon, value = who.strip().rpartition(":")
        if role.strip() not in ROLES or not value:
            raise ValueError(
                "must read like admin=groups:ops, operator=email:ann@example.com, viewer=* (viewer, operator, admin)"
            )
        rules.append(RoleRule(role.strip(), claim if colon else "", value))
        if not colon and value != "*":
            raise ValueError(f"must name the claim that holds {value!r}, like email:{value}")
    return tuple(rules)


def _static_url(text: str) -> str:
    found = STATIC_URL.fullmatch(text)
    if text and not (found and int(found["port"] or 443) in range(1, 65536)):
        raise ValueError("must be an address like https://cdn.example.com, without user, query or fragment")
    return text.rstrip("/")


def _filled(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _path(text: str) -> Path:
    try:
        return Path(_filled(text)).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError("begins with the home of a user that this machine does not have") from error


def _file_or_none(text: str) -> Path | None:
    if not text:
        return None
    if not os.path.isfile(_path(text)):  # which is false too where we may not look
        raise ValueError("must name a file that exists and that this user may reach")
    return _path(text)


MAX_SPAN_S = 366 * 24 * 3600.0
MAX_DAYS = 36_500


def _span(text: str) -> timedelta:
    try:
        seconds = float(text)
    except ValueError as error:
        raise ValueError("must be a number of seconds") from error
    if not 0 < seconds <= MAX_SPAN_S:
        raise ValueError("must be a number of seconds, more than 0 and at most a year")
    return timedelta(seconds=seconds)


def _span_or_off(text: str) -> timedelta | None:
    return None if text.lower() == OFF else _span(text)


def _spans_by_type(text: str) -> Mapping[str, timedelta]:
    spans: dict[str, timedelta] = {}
    for part in text.split(","):
        kind, equals, seconds = part.rpartition("=")
        if equals and not kind.strip():
            raise ValueError("must read like 180 or 180, indexing=900 (seconds, and by mission type)")
        spans[kind.strip()] = _span(seconds.strip())
    if "" not in spans:
        raise ValueError("must begin with the seconds for all types, like 180, indexing=900")
    return spans


def _days_or_off(text: str) -> timedelta | None:
    if text.lower() == OFF:
        return None
    try:
        days = float(text)
    except ValueError as error:
        raise ValueError("must be a number of days, or off") from error
    if not 1 <= days <= MAX_DAYS:
        raise ValueError(f"must be a number of days from 1 to {MAX_DAYS:,}, or off")
    return timedelta(days=days)


def _days_by_status(text: str) -> Mapping[str, timedelta | None]:
    first, *others = (part.strip() for part in text.split(","))
    days: dict[str, timedelta | None] = dict.fromkeys(FINAL, _days_or_off(first))
    for part in others:
        status, _, its_days = part.partition("=")
        if status.strip() not in days:
            raise ValueError(f"must read like 90 or 90, failed=180 (days, and by status: {', '.join(FINAL)})")
        days[status.strip()] = _days_or_off(its_days.strip())
    return days


def _hosts_and_networks(text: str) -> tuple[tuple[str, ...], tuple[Network, ...]]:
    hosts: list[str] = []
    networks: list[Network] = []
    for part in (part.strip().lower() for part in text.split(",") if part.strip()):
        if re.fullmatch(r"[0-9a-f:.]+(/\d+)?", part) and (":" in part or part[0].isdigit()):
            networks.append(ip_network(part, strict=False))
        elif _HOST.fullmatch(part):
            hosts.append(part)
        else:
            raise ValueError("must be a list of hosts and networks like relay.internal, 10.0.0.0/8")
    return tuple(hosts), tuple(networks)


def _collector(text: str) -> str:
    parts = _split(text)
    is_fit = parts.scheme in ("http", "https") and parts.hostname
    if text and (not is_fit or parts.username or parts.query or parts.fragment or not text.isascii() or " " in text):
        raise ValueError("must be an address like http://collector:4318, without user, query or fragment")
    base = text.rstrip("/")
    return base if not base or base.endswith(TRACES_PATH) else base + TRACES_PATH


def _headers(text: str) -> Mapping[str, str]:
    headers = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        value = unquote(value.strip())
        if not (equals and _HEADER.fullmatch(name.strip()) and value.isascii() and value.isprintable()):
            raise ValueError("must read like Authorization=Bearer%20abc, X-Team=ops (spaces and commas as %20 and %2C)")
        headers[name.strip()] = value
    return headers


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError as error:
        raise ValueError("must be a number from 0 to 1") from error
    if not 0 <= share <= 1:
        raise ValueError("must be a number from 0 to 1")
    return share


# README's table of settings is compared with this one by a test.
SETTINGS: Mapping[str, Setting] = {
    "port": Setting("MISSION_DASHBOARD_PORT", "5002", "TCP port of the page and the API", _port),
    "host": Setting("MISSION_DASHBOARD_HOST", "0.0.0.0", "address to listen on", _filled),
    "secret_key": Setting(
        "MISSION_DASHBOARD_SECRET_KEY",
        None,
        "signs sessions; development: made at random and kept in the data folder; production: required",
        str,
    ),
    "postgres_dsn": Setting(
        "POSTGRES_DSN", None, "PostgreSQL server to use; unset: an embedded one; production: required", _dsn
    ),
    "redis_url": Setting(
        "MISSION_DASHBOARD_REDIS_URL",
        "",
        "Redis by which several processes count calls together and tell each other things; none: each its own",
        _redis,
    ),
    "environment": Setting("ENVIRONMENT", "development", "development or production", _one_of(*ENVIRONMENTS)),
    "data_dir": Setting("MISSION_DASHBOARD_DATA_DIR", "data", "where the embedded database and keys lie", _path),
    "rate_limit": Setting(
        "MISSION_DASHBOARD_RATE_LIMIT", "100 per minute", "REST calls per address; off: no limits at all", _limit
    ),
    "report_limit": Setting(
        "MISSION_DASHBOARD_REPORT_LIMIT",
        "6000 per minute",
        "agents' reports (start, progress, complete, fail, heartbeat, batch) per address, counted apart; or off",
        _limit,
    ),
    "key_rate_limit": Setting(
        "MISSION_DASHBOARD_KEY_RATE_LIMIT", "1000 per minute", "REST calls per key or logged-in person; or off", _limit
    ),
    "key_report_limit": Setting(
        "MISSION_DASHBOARD_KEY_REPORT_LIMIT", "60000 per minute", "agents' reports per key; or off", _limit
    ),
    "cors_origins": Setting(
        "MISSION_DASHBOARD_CORS_ORIGINS",
        "",
        "other origins whose pages may call the API, or * for any, which then need a key; none: same origin",
        _origins,
    ),
    "static_url": Setting(
        "STATIC_URL", "", "CDN from which browsers load the page's files; none: from here", _static_url
    ),
    "async_mode": Setting(
        "MISSION_DASHBOARD_ASYNC_MODE", "eventlet", "eventlet, gevent or threading", _one_of(*ASYNC_MODES)
    ),
    "stall_after": Setting(
        "MISSION_DASHBOARD_STALL_AFTER",
        "180",
        "seconds without a sign of life after which a running mission is stalled; by type: 180, indexing=900",
        _spans_by_type,
    ),
    "lost_after": Setting(
        "MISSION_DASHBOARD_LOST_AFTER",
        "off",
        "seconds without a sign of life after which it fails as lost; or off",
        _span_or_off,
    ),
    "confirm_within": Setting(
        "MISSION_DASHBOARD_CONFIRM_WITHIN", "30", "seconds an agent has to acknowledge a cancel or a pause", _span
    ),
    "alert_hosts": Setting(
        "MISSION_DASHBOARD_ALERT_HOSTS",
        "",
        "hosts and networks inside that alerts may be sent to, like relay.internal, 10.0.0.0/8; none: public ones only",
        _hosts_and_networks,
    ),
    "keep_missions": Setting(
        "MISSION_DASHBOARD_KEEP_MISSIONS",
        "90, failed=180",
        "days after their end for which finished missions are kept; by status: 90, failed=180, cancelled=off; or off",
        _days_by_status,
    ),
    "keep_events": Setting(
        "MISSION_DASHBOARD_KEEP_EVENTS", "30", "days for which the history of missions is kept; or off", _days_or_off
    ),
    "keep_logs": Setting(
        "MISSION_DASHBOARD_KEEP_LOGS", "30", "days for which log lines are kept; or off", _days_or_off
    ),
    "keep_spans": Setting("MISSION_DASHBOARD_KEEP_SPANS", "30", "days for which spans are kept; or off", _days_or_off),
    "traces": Setting(
        "MISSION_DASHBOARD_TRACES",
        "",
        "OpenTelemetry collector that gets traces of this server, like http://collector:4318; none: nobody does",
        _collector,
    ),
    "traces_headers": Setting(
        "MISSION_DASHBOARD_TRACES_HEADERS", "", "headers sent to it, like Authorization=Bearer%20abc", _headers
    ),
    "traces_share": Setting(
        "MISSION_DASHBOARD_TRACES_SHARE", "1", "share of requests traced where the caller does not say, 0 to 1", _share
    ),
    "log_level": Setting("MISSION_DASHBOARD_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR", _one_of(*LOG_LEVELS)),
    "log_dir": Setting("MISSION_DASHBOARD_LOG_DIR", "logs", "where mission_dashboard.log is written", _path),
    "prices": Setting(
        "MISSION_DASHBOARD_PRICES", "", "price file for models; unset: prices.toml in the data folder", _file_or_none
    ),
    "admin_key": Setting(
        "MISSION_DASHBOARD_ADMIN_KEY",
        "",
        "a key that may do everything; development: made at random and kept in the data folder",
        _admin_key,
    ),
    "trusted_proxies": Setting(
        "MISSION_DASHBOARD_TRUSTED_PROXIES",
        "",
        "addresses or networks of proxies whose X-Forwarded-For, -Proto and -Host count; none: nobody's",
        _networks,
    ),
    "session_hours": Setting(
        "MISSION_DASHBOARD_SESSION_HOURS", "12", "hours until a person who logged in must do so again", _hours
    ),
    "oidc_issuer": Setting(
        "MISSION_DASHBOARD_OIDC_ISSUER", "", "OpenID Connect provider with which people log in; none: by key", _issuer
    ),
    "oidc_client_id": Setting("MISSION_DASHBOARD_OIDC_CLIENT_ID", "", "what the provider calls this dashboard", str),
    "oidc_client_secret": Setting("MISSION_DASHBOARD_OIDC_CLIENT_SECRET", "", "its secret there", str),
    "oidc_roles": Setting(
        "MISSION_DASHBOARD_OIDC_ROLES",
        "",
        "who of them may what, by claim: admin=groups:ops, operator=email:ann@example.com, viewer=*; the first counts",
        _role_rules,
    ),
}


def prefer_system_dns() -> None:
    """Keep eventlet from loading a resolver of its own: 0.2 s of each start, and libpq resolves for itself."""
    os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")


def load_settings(
    environ: Mapping[str, str] | None = None, dotenv: Path | None = None, *, make_keys: bool = True
) -> Settings:
    """Read all settings; raise `StartupError` with a line for each that is wrong.

    Without ``make_keys`` no key is made or read in the data folder: for who only looks.
    """
    given = _given(os.environ if environ is None else environ, Path(".env") if dotenv is None else dotenv)
    values: dict[str, Any] = {}
    problems = []
    for field, setting in SETTINGS.items():
        text = given.get(setting.name, setting.default)
        try:
            values[field] = None if text is None else setting.read(text.strip())
        except ValueError as error:
            shown = "" if field in SECRET else f" (it is {text!r})"
            problems.append(f"{setting.name} {error}{shown}.")
    problems += _wrong_together(values)
    if problems:
        raise StartupError("\n".join(problems))
    if values["rate_limit"] is None:
        values.update(report_limit=None, key_rate_limit=None, key_report_limit=None)
    values["secret_key"] = values["secret_key"] or ""
    if make_keys and not values["secret_key"]:
        values["secret_key"] = _kept_secret(values["data_dir"], "secret_key")
    if make_keys and values["environment"] != "production":
        values["admin_key"] = values["admin_key"] or f"mdk_{_kept_secret(values['data_dir'], 'admin_key')}"
    return Settings(**values)


def _given(environ: Mapping[str, str], dotenv: Path) -> Mapping[str, str]:
    try:
        from_file = dotenv_values(dotenv) if dotenv.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"The file {dotenv} cannot be read: {error}.") from error
    filled = {name: value for name, value in from_file.items() if value is not None}
    return {**filled, **environ}


def _wrong_together(values: Mapping[str, Any]) -> list[str]:
    problems = []
    oidc = [field for field in ("oidc_issuer", "oidc_client_id", "oidc_roles") if values.get(field)]
    if oidc and len(oidc) < 3 and all(field in values for field in ("oidc_issuer", "oidc_client_id", "oidc_roles")):
        missing = [SETTINGS[f].name for f in ("oidc_issuer", "oidc_client_id", "oidc_roles") if not values[f]]
        problems.append(f"{SETTINGS[oidc[0]].name} needs {' and '.join(missing)} too.")
    if values.get("environment") != "production":
        return problems
    problems += [
        f"{SETTINGS[field].name} must be set when ENVIRONMENT is production."
        for field in ("secret_key", "postgres_dsn")
        if not values.get(field) and field in values
    ]
    secret = values.get("secret_key")
    if secret and (len(secret) < MIN_SECRET or len(set(secret)) < MIN_SECRET // 2):
        problems.append(
            f"{SETTINGS['secret_key'].name} must be a real secret of at least {MIN_SECRET} characters "
            "when ENVIRONMENT is production; 'openssl rand -hex 32' makes one."
        )
    if (admin_key := values.get("admin_key")) and len(set(admin_key)) < MIN_SECRET // 2:
        problems.append(
            f"{SETTINGS['admin_key'].name} must be a real secret when ENVIRONMENT is production; "
            "'openssl rand -hex 32' makes one."
        )
    if SAMPLE_PASSWORD in unquote(values.get("postgres_dsn") or ""):
        problems.append(
            f"POSTGRES_DSN has the sample password {SAMPLE_PASSWORD!r}: "
            "give the database another when ENVIRONMENT is production."
        )
    return problems


def _kept_secret(data_dir: Path, name: str) -> str:
    """Return the random key kept in the data folder under this name, making it at the first start."""
    path = data_dir / name
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists() or not path.read_text(encoding="ascii").strip():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
        if path.stat().st_mode & 0o077:  # a copy, or a restored folder: nobody else shall read it
            path.chmod(0o600)
        return path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError as error:
        raise StartupError(f"{path} under MISSION_DASHBOARD_DATA_DIR is no key; delete it.") from error
    except OSError as error:
        raise StartupError(
            f"MISSION_DASHBOARD_DATA_DIR cannot be used: {error.strerror} ({error.filename or path})."
        ) from error
