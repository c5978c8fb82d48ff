"""Alerts over REST: what fires, the rules, where it is told, and what is not to be told."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request
from uuid_utils import uuid7

from mission_dashboard.access.callers import Kind
from mission_dashboard.alerts.engine import Alerts
from mission_dashboard.alerts.rules import Channel, Rule
from mission_dashboard.alerts.senders import SECRET_PREFIX
from mission_dashboard.errors import AlertPartNotFound, InvalidValue
from mission_dashboard.reports import AcknowledgeAlertSaid, AlertRuleSaid, ChannelSaid, SilenceSaid, understand
from mission_dashboard.web import inputs
from mission_dashboard.web.answers import answer
from mission_dashboard.web.gate import caller_of

Limit = Callable[[Callable[..., Response]], Callable[..., Response]]


def make_alerts(alerts: Alerts, limit: Limit) -> Blueprint:
    """Return the blueprint; ``limit`` decorates its views."""
    blueprint = Blueprint("alerts", __name__, url_prefix="/api/alerts")
    store = alerts.store

    @blueprint.get("")
    @limit
    def list_alerts() -> Response:
        is_open, count = inputs.alerts_page()
        return answer({"alerts": store.firings(is_open, count)})

    @blueprint.post("/<alert_id>/acknowledge")
    @limit
    def acknowledge_alert(alert_id: str) -> Response:
        said = understand(AcknowledgeAlertSaid, inputs.json_object(request))
        caller = caller_of(request.environ)
        by = caller.name if caller.kind is Kind.PERSON else said.by or caller.name
        _require(store.acknowledge(alert_id, by), "alert", alert_id)
        return answer({"alert": store.firing(alert_id), "message": "Alert acknowledged"})

    @blueprint.get("/rules")
    @limit
    def list_rules() -> Response:
        inputs.no_query()
        return answer({"rules": store.rules()})

    @blueprint.post("/rules")
    @limit
    def create_rule() -> Response:
        rule = _rule(str(uuid7()))
        store.put_rule(rule)
        return answer({"rule": rule, "message": "Rule created"}, 201, {"Location": f"/api/alerts/rules/{rule.id}"})

    @blueprint.put("/rules/<rule_id>")
    @limit
    def change_rule(rule_id: str) -> Response:
        _require(any(rule.id == rule_id for rule in store.rules()), "rule", rule_id)
        rule = _rule(rule_id)
        store.put_rule(rule)
        return answer({"rule": rule, "message": "Rule changed"})

    @blueprint.delete("/rules/<rule_id>")
    @limit
    def drop_rule(rule_id: str) -> Response:
        _require(store.drop_rule(rule_id), "rule", rule_id)
        return answer({"message": "Rule deleted"})

    def _rule(rule_id: str) -> Rule:
        said = understand(AlertRuleSaid, inputs.json_object(request))
        known = {channel.id for channel in store.channels()}
        if unknown := [channel for channel in said.channels if channel not in known]:
            raise InvalidValue.of("channels", f"there is no channel with the id {unknown[0]!r}.")
        return Rule(id=rule_id, **said.model_dump())

    @blueprint.get("/channels")
    @limit
    def list_channels() -> Response:
        inputs.no_query()
        return answer({"channels": [_without_secret(channel) for channel in store.channels()]})

    @blueprint.post("/channels")
    @limit
    def create_channel() -> Response:
        said = understand(ChannelSaid, inputs.json_object(request))
        channel_id = str(uuid7())
        secret = None
        if said.kind == "webhook":
            secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        store.put_channel(channel_id, said.name, said.kind, said.target, secret, said.is_on)
        (made,) = [channel for channel in store.channels() if channel.id == channel_id]
        message = "Channel created. Its secret is shown this once." if secret else "Channel created"
        headers = {"Location": f"/api/alerts/channels/{channel_id}", "Cache-Control": "no-store"}
        return answer({"channel": _without_secret(made), "secret": secret, "message": message}, 201, headers)

    @blueprint.delete("/channels/<channel_id>")
    @limit
    def drop_channel(channel_id: str) -> Response:
        _require(store.drop_channel(channel_id), "channel", channel_id)
        return answer({"message": "Channel deleted"})

    @blueprint.post("/channels/<channel_id>/test")
    @limit
    def test_channel(channel_id: str) -> Response:
        _require(any(channel.id == channel_id for channel in store.channels()), "channel", channel_id)
        delivery_id = str(uuid7())
        store.queue_test(delivery_id, channel_id)
        alerts.wake()
        return answer({"delivery_id": delivery_id, "message": "Test queued"}, 202)

    @blueprint.get("/deliveries")
    @limit
    def list_deliveries() -> Response:
        state, count = inputs.deliveries_page()
        return answer({"deliveries": store.deliveries(state, count)})

    @blueprint.post("/deliveries/<delivery_id>/retry")
    @limit
    def retry_delivery(delivery_id: str) -> Response:
        _require(store.send_again(delivery_id), "dead delivery", delivery_id)
        alerts.wake()
        return answer({"message": "Queued again"})

    @blueprint.get("/silences")
    @limit
    def list_silences() -> Response:
        inputs.no_query()
        return answer({"silences": store.silences()})

    @blueprint.post("/silences")
    @limit
    def create_silence() -> Response:
        said = understand(SilenceSaid, inputs.json_object(request))
        silence_id = str(uuid7())
        name = caller_of(request.environ).name
        made = store.put_silence(silence_id, said.rule_id, said.mission_id, said.reason, name, said.minutes * 60.0)
        headers = {"Location": f"/api/alerts/silences/{silence_id}"}
        return answer({"silence": made, "message": "Silence begun"}, 201, headers)

    @blueprint.delete("/silences/<silence_id>")
    @limit
    def drop_silence(silence_id: str) -> Response:
        _require(store.drop_silence(silence_id), "silence", silence_id)
        return answer({"message": "Silence ended"})

    return blueprint


def _require(is_there: bool, what: str, known_as: str) -> None:
    if not is_there:
        raise AlertPartNotFound(what, known_as)


def _without_secret(channel: Channel) -> dict[str, Any]:
    return {
        "id": channel.id,
        "name": channel.name,
        "kind": channel.kind,
        "target": channel.target,
        "is_on": channel.is_on,
        "created_at": channel.created_at,
    }
