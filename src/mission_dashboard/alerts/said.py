"""What callers say of alerts: rules, channels, silences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from mission_dashboard.alerts.rules import MEASURES, Severity, Signal
from mission_dashboard.alerts.signing import secret_bytes
from mission_dashboard.missions import MissionPriority, MissionStatus
from mission_dashboard.reports import FilledName, MissionId, Name, Said, Uuid, storable_text

MAX_URL = 2_000
DAY_S = 86_400
Names = Annotated[list[Name], Field(max_length=50)]


def _url(text: str) -> str:
    parts = urlsplit(text)
    try:
        is_good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if not is_good or parts.username or parts.password or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be an address like https://hooks.example.com/alerts, without a user")
    return text


def _secret(text: str) -> str:
    secret_bytes(text)
    return text


def _mail(text: str) -> str:
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or not text.isprintable() or any(sign in text for sign in ' ,;<>"'):
        raise ValueError("must be an address like ops@example.com")
    return text


Url = Annotated[str, Field(max_length=MAX_URL), AfterValidator(_url)]
Mail = Annotated[str, Field(max_length=254), AfterValidator(storable_text), AfterValidator(_mail)]
Text = Annotated[str, Field(max_length=500), AfterValidator(storable_text)]


class AlertFilterSaid(Said):
    """Which missions; what is left out lets all through."""

    type: Names = Field(default_factory=list)
    agent_type: Names = Field(default_factory=list)
    model_used: Names = Field(default_factory=list)
    priority: list[Annotated[MissionPriority, Field(strict=False)]] = Field(default_factory=list, max_length=4)
    status: list[Annotated[MissionStatus, Field(strict=False)]] = Field(
        default_factory=list, max_length=5, description="for count alone; failed, where left out"
    )


class AlertRuleSaid(Said):
    """A rule on events of missions, or on a number measured over many."""

    name: FilledName
    signal: Annotated[Signal, Field(strict=False)] = Field(description="what it watches")
    filter: AlertFilterSaid = Field(default_factory=AlertFilterSaid)
    threshold: Annotated[float, Field(ge=0, le=1e12)] | None = Field(
        None,
        description="of a measure: fires from here on; seconds, percent of failures, US$ an hour, or missions",
    )
    window_s: Annotated[int, Field(ge=60, le=30 * DAY_S)] = Field(
        900, description="of a measure: how far it looks back"
    )
    cooldown_s: Annotated[int, Field(ge=0, le=30 * DAY_S)] = Field(
        300, description="what follows within it is counted and tells nobody again"
    )
    min_count: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        5, description="of shares and percentiles: fewer missions are not judged"
    )
    severity: Annotated[Severity, Field(strict=False)] = Severity.WARNING
    resolves: bool = Field(True, description="whether it ends by itself when it is not true any more")
    notify_resolved: bool = Field(False, description="whether its end is told too")
    enabled: bool = True
    channels: Annotated[list[Uuid], Field(max_length=50)] | None = Field(
        None, description="ids of the channels to tell; all, where left out"
    )

    @model_validator(mode="after")
    def _fits(self) -> AlertRuleSaid:
        if self.signal in MEASURES and self.threshold is None:
            raise ValueError("a rule on a measure needs a threshold")
        if self.signal not in MEASURES and self.threshold is not None:
            raise ValueError("a rule on events has no threshold")
        if self.filter.status and self.signal is not Signal.COUNT:
            raise ValueError("only count takes a status in its filter")
        return self


class WebhookSaid(Said):
    """A webhook as Standard Webhooks has it."""

    url: Url
    secret: Annotated[str, AfterValidator(_secret)] | None = Field(
        None, description="whsec_ and 24 to 64 bytes in base64; needed at first, kept where left out later"
    )


class SlackSaid(Said):
    """An incoming webhook of Slack, or of what takes the same."""

    url: Url | None = Field(None, description="it is a secret; needed at first, kept where left out later")


class EmailSaid(Said):
    """A mail server and whom to write to."""

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._:\[\]-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: Text | None = None
    password: Text | None = Field(None, description="kept where left out later")
    sender: Mail
    recipients: Annotated[list[Mail], Field(min_length=1, max_length=50)]


class AlertChannelSaid(Said):
    """A way to tell people; with the part that its kind needs."""

    name: FilledName
    kind: Literal["webhook", "slack", "email", "browser"]
    enabled: bool = True
    webhook: WebhookSaid | None = None
    slack: SlackSaid | None = None
    email: EmailSaid | None = None

    @model_validator(mode="after")
    def _has_its_part(self) -> AlertChannelSaid:
        for kind in ("webhook", "slack", "email"):
            if (getattr(self, kind) is not None) is not (kind == self.kind):
                needs = "needs" if kind == self.kind else "takes no"
                raise ValueError(f"a channel of the kind {self.kind} {needs} {kind}")
        return self

    def config(self) -> Mapping[str, Any]:
        """Return what its kind needs, without what was left out."""
        part = getattr(self, self.kind, None)
        return {} if part is None else {key: value for key, value in part.model_dump().items() if value is not None}


class AlertSilenceSaid(Said):
    """Tell nobody for a while; of a rule, of a mission, of some missions, or of anything."""

    minutes: Annotated[float, Field(gt=0, le=30 * 24 * 60)] = Field(description="how long")
    rule_id: Uuid | None = None
    mission_id: MissionId | None = None
    filter: AlertFilterSaid = Field(default_factory=AlertFilterSaid)
    reason: Text | None = None
    by: Name | None = Field(None, description="who asks for it")


class AlertAcknowledgeSaid(Said):
    """Somebody looks after it."""

    by: Name | None = Field(None, description="who")
