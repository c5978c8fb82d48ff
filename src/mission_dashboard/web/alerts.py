"""Alerts over REST: what is open, rules, channels, silences, and what became of notifications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from flask import Blueprint, Response, request

from mission_dashboard.access.callers import Kind
from mission_dashboard.access.scopes import Scope
from mission_dashboard.alerts.firings import OTHERS, Firing
from mission_dashboard.alerts.rules import USUAL_RULES, Channel, Rule, Silence
from mission_dashboard.alerts.said import AlertAcknowledgeSaid, AlertChannelSaid, AlertRuleSaid, AlertSilenceSaid
from mission_dashboard.alerts.service import MAX_FIRINGS, Alerts
from mission_dashboard.alerts.store import Delivery
from mission_dashboard.errors import AlertNotFound
from mission_dashboard.reports import understand
from mission_dashboard.web import inputs
from mission_dashboard.web.addresses import IdConverter
from mission_dashboard.web.answers import answer
from mission_dashboard.web.gate import caller_of

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]


def make_alerts(alerts: Alerts, limit: Limit) -> Blueprint:
    """Return the blueprint; ``limit`` decorates its views."""
    api = Blueprint("alerts", __name__, url_prefix="/api/alerts")
    api.record_once(lambda state: state.app.url_map.converters.update(id=IdConverter))
    views = Views(alerts)
    for method, path, view in (
        ("GET", "", views.firings),
        ("POST", "/<firing_id>/acknowledge", views.acknowledge),
        ("POST", "/<firing_id>/resolve", views.resolve),
        ("GET", "/rules", views.rules),
        ("POST", "/rules", views.create_rule),
        ("POST", "/rules/usual", views.add_usual_rules),
        ("PUT", "/rules/<id:rule_id>", views.put_rule),
        ("DELETE", "/rules/<id:rule_id>", views.drop_rule),
        ("GET", "/channels", views.channels),
        ("POST", "/channels", views.create_channel),
        ("PUT", "/channels/<channel_id>", views.put_channel),
        ("DELETE", "/channels/<channel_id>", views.drop_channel),
        ("POST", "/channels/<channel_id>/test", views.test_channel),
        ("GET", "/silences", views.silences),
        ("POST", "/silences", views.create_silence),
        ("DELETE", "/silences/<silence_id>", views.drop_silence),
        ("GET", "/deliveries", views.deliveries),
        ("POST", "/deliveries/<delivery_id>/resend", views.resend),
    ):
        api.add_url_rule(path, view.__name__, limit(view), methods=[method])
    return api


class Views:
    """One method for each call."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def firings(self) -> Response:
        state, limit, after = inputs.alerts_query(MAX_FIRINGS)
        store = self._alerts.store
        found = store.open_firings(limit) if state == "open" else store.firings(after, limit + 1)
        shown = found[:limit]
        more = len(found) > limit
        cursor = f"{shown[-1].fired_at.isoformat()}_{shown[-1].id}" if more else None
        payload = {"alerts": [firing_to_wire(firing) for firing in shown], "next_cursor": cursor}
        return answer({**payload, "counts": self._alerts.counts()})

    def acknowledge(self, firing_id: str) -> Response:
        said = understand(AlertAcknowledgeSaid, inputs.json_object(request))
        firing = self._alerts.acknowledge(_id("alert", firing_id), _who(said.by))
        return answer({"alert": firing_to_wire(firing), "message": "Acknowledged"})

    def resolve(self, firing_id: str) -> Response:
        firing = self._alerts.resolve(_id("alert", firing_id))
        return answer({"alert": firing_to_wire(firing), "message": "Resolved"})

    def rules(self) -> Response:
        inputs.no_query()
        rules = self._alerts.store.rules()
        known = {rule.name for rule in rules}
        usual = [rule["name"] for rule in USUAL_RULES if rule["name"] not in known]
        return answer({"rules": [rule_to_wire(rule) for rule in rules], "usual": usual})

    def create_rule(self) -> Response:
        rule = self._alerts.put_rule(None, understand(AlertRuleSaid, inputs.json_object(request)))
        payload = {"rule": rule_to_wire(rule), "message": "Rule created"}
        return answer(payload, 201, {"Location": f"/api/alerts/rules/{rule.id}"})

    def add_usual_rules(self) -> Response:
        rules = self._alerts.add_usual_rules()
        return answer({"rules": [rule_to_wire(rule) for rule in rules], "usual": []})

    def put_rule(self, rule_id: str) -> Response:
        said = understand(AlertRuleSaid, inputs.json_object(request))
        rule = self._alerts.put_rule(_id("rule", rule_id), said)
        return answer({"rule": rule_to_wire(rule), "message": "Rule changed"})

    def drop_rule(self, rule_id: str) -> Response:
        self._alerts.drop_rule(_id("rule", rule_id))
        return answer({"message": "Rule deleted"})

    def channels(self) -> Response:
        inputs.no_query()
        may_change = Scope.ADMIN in caller_of(request.environ).scopes
        channels = self._alerts.store.channels()
        return answer({"channels": [channel_to_wire(channel, whole=may_change) for channel in channels]})

    def create_channel(self) -> Response:
        channel = self._alerts.put_channel(None, understand(AlertChannelSaid, inputs.json_object(request)))
        payload = {"channel": channel_to_wire(channel), "message": "Channel created"}
        return answer(payload, 201, {"Location": f"/api/alerts/channels/{channel.id}"})

    def put_channel(self, channel_id: str) -> Response:
        said = understand(AlertChannelSaid, inputs.json_object(request))
        channel = self._alerts.put_channel(_id("channel", channel_id), said)
        return answer({"channel": channel_to_wire(channel), "message": "Channel changed"})

    def drop_channel(self, channel_id: str) -> Response:
        self._alerts.drop_channel(_id("channel", channel_id))
        return answer({"message": "Channel deleted"})

    def test_channel(self, channel_id: str) -> Response:
        problem = self._alerts.test_channel(_id("channel", channel_id))
        return answer({"sent": problem is None, "detail": problem or "It was sent."})

    def silences(self) -> Response:
        inputs.no_query()
        return answer({"silences": [silence_to_wire(silence) for silence in self._alerts.silences()]})

    def create_silence(self) -> Response:
        said = understand(AlertSilenceSaid, inputs.json_object(request))
        silence = self._alerts.put_silence(said, _who(said.by))
        return answer({"silence": silence_to_wire(silence), "message": "Silence begun"}, 201)

    def drop_silence(self, silence_id: str) -> Response:
        self._alerts.drop_silence(_id("silence", silence_id))
        return answer({"message": "Silence ended"})

    def deliveries(self) -> Response:
        state, limit = inputs.deliveries_query(MAX_FIRINGS)
        found = self._alerts.deliveries(state, limit)
        return answer({"deliveries": [delivery_to_wire(delivery) for delivery in found]})

    def resend(self, delivery_id: str) -> Response:
        self._alerts.resend(_id("delivery", delivery_id))
        return answer({"message": "It is sent again"})


def _id(what: str, text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise AlertNotFound(what, text[:100]) from error


def _who(said: str | None) -> str | None:
    """Return who does it: a person who is logged in cannot name somebody else."""
    caller = caller_of(request.environ)
    if caller.kind in (Kind.LOCAL, Kind.NOBODY) or (caller.kind is Kind.KEY and said is not None):
        return said
    return caller.name


def firing_to_wire(firing: Firing) -> dict[str, Any]:
    """Return an alert as it is sent."""
    row = asdict(firing)
    row["silenced"] = bool(row.pop("silenced_by"))
    row["missions"] = [mission_id for mission_id in firing.missions if mission_id != OTHERS]
    return {**row, "state": "firing" if firing.resolved_at is None else "resolved"}


def rule_to_wire(rule: Rule) -> dict[str, Any]:
    """Return a rule as it is sent."""
    row = asdict(rule)
    del row["active_from"]
    return row


def channel_to_wire(channel: Channel, *, whole: bool = True) -> dict[str, Any]:
    """Return a channel without its secrets; ``whole`` for who may change it."""
    shown = {"id": channel.id, "name": channel.name, "kind": channel.kind, "enabled": channel.enabled}
    settings = _shown(channel) if whole else {}
    return {**shown, "created_at": channel.created_at, "goes_to": _where(channel), "settings": settings}


def _shown(channel: Channel) -> Mapping[str, Any]:
    """Return what of its configuration an admin sees. The path is part of it: with many receivers it is a token."""
    if channel.kind == "webhook":
        return {"url": _plain_url(channel.config["url"])}
    if channel.kind == "email":
        return {key: value for key, value in channel.config.items() if key != "password"}
    return {}


def _where(channel: Channel) -> str:
    if channel.kind == "email":
        return ", ".join(channel.config["recipients"])
    if channel.kind == "browser":
        return "open pages whose readers turned notifications on"
    return str(urlsplit(channel.config["url"]).hostname)


def _plain_url(url: str) -> str:
    """Return an address without its query, which may hold a token."""
    return url.partition("?")[0].partition("#")[0]


def silence_to_wire(silence: Silence) -> dict[str, Any]:
    """Return a silence as it is sent."""
    return asdict(silence)


def delivery_to_wire(delivery: Delivery) -> dict[str, Any]:
    """Return what became of a notification."""
    state = "delivered" if delivery.delivered_at else "dead" if delivery.dead_at else "waiting"
    return {**asdict(delivery), "state": state}
