"""Security events in the words of the Elastic Common Schema, and as lines of syslog."""

import json
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from msgspec import Struct

from tradewind.platform.audit.entries import instant
from tradewind.platform.audit.events import SecurityNoticed

ECS_VERSION = "8.11.0"
LOG_AUDIT = 13  # the facility, RFC 5424
NIL = "-"


class Meaning(Struct, frozen=True):
    """How ECS and syslog speak of a notice."""

    category: str
    type: str
    outcome: str
    severity: int  # of syslog: 1 alert, 4 warning, 5 notice, 6 informational


REFUSED = Meaning("web", "denied", "failure", 4)
NOTICES = {
    "credential_refused": Meaning("authentication", "start", "failure", 4),
    "permission_refused": REFUSED,
    "rate_limited": REFUSED,
    "login_succeeded": Meaning("authentication", "start", "success", 6),
    "login_failed": Meaning("authentication", "start", "failure", 4),
    "account_locked": Meaning("iam", "change", "success", 4),
    "password_changed": Meaning("iam", "change", "success", 5),
    "account_changed": Meaning("iam", "change", "success", 5),
    "second_factor_changed": Meaning("iam", "change", "success", 5),
    "key_made": Meaning("iam", "creation", "success", 5),
    "key_revoked": Meaning("iam", "deletion", "success", 5),
    "key_rotated": Meaning("iam", "change", "success", 5),
    "role_changed": Meaning("iam", "change", "success", 5),
    "token_revoked": Meaning("authentication", "end", "success", 5),
    "token_reused": Meaning("authentication", "start", "failure", 1),
    "data_exported": Meaning("database", "access", "success", 5),
    "person_erased": Meaning("database", "deletion", "success", 5),
    "settings_changed": Meaning("configuration", "change", "success", 5),
    "audit_read": Meaning("database", "access", "success", 5),
    "tampering_found": Meaning("intrusion_detection", "info", "success", 1),
}


def document(event: SecurityNoticed, service_version: str) -> dict[str, Any]:
    """An event as an ECS document."""
    meaning = NOTICES[event.notice]
    told: dict[str, Any] = {
        "@timestamp": instant(event.at),
        "ecs": {"version": ECS_VERSION},
        "event": {
            "kind": "alert" if meaning.severity <= 1 else "event",
            "category": [meaning.category],
            "type": [meaning.type],
            "action": event.notice,
            "outcome": meaning.outcome,
            "severity": meaning.severity,
            "id": event.entry_id,
            "sequence": event.position,
            "dataset": "tradewind.audit",
        },
        "service": {"name": "tradewind", "version": service_version},
        "labels": {"count": str(event.count)},
    }
    if event.principal:
        told["user"] = {"id": event.principal}
    if event.address:
        told["source"] = source(event.address)
    if event.request_trace:
        told["trace"] = {"id": event.request_trace}
    if event.object:
        told["labels"]["object"] = event.object
    method, _, path = event.operation.partition(" ")
    if path.startswith("/"):
        told["http"] = {"request": {"method": method}}
        told["url"] = {"path": path}  # of the route: what stands in its place may be personal
    return told


def source(address: str) -> dict[str, str]:
    """Where from: `ip` only where it is one."""
    try:
        ip_address(address)
    except ValueError:
        return {"address": address}
    return {"address": address, "ip": address}


def line(event: SecurityNoticed, service_version: str) -> bytes:
    """An event as a line of JSON, all of it ASCII: every collector reads that."""
    return json.dumps(document(event, service_version), separators=(",", ":")).encode("ascii")


def syslog(event: SecurityNoticed, text: bytes, *, host: str, process: int) -> bytes:
    """An event as a message of RFC 5424, without framing."""
    priority = LOG_AUDIT * 8 + NOTICES[event.notice].severity
    who = f"{host or NIL} tradewind {process} {event.notice} {NIL}"
    head = f"<{priority}>1 {stamp(event.at)} {who} "
    return head.encode("ascii", "replace") + text


def stamp(at: datetime) -> str:
    """A time as RFC 5424 wants it."""
    return instant(at).replace("+00:00", "Z")
