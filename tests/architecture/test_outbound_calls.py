"""Only some files open connections; a URL that somebody else gave us goes through `Outbound`."""

import ast
from pathlib import Path

import pytest

import tradewind

SOURCE = Path(tradewind.__file__).parent
CALLERS = frozenset(
    ("ClientSession", "urlopen", "build_opener", "create_connection", "open_connection", "SMTP")
)
# Who calls without it, and whose address that is.
ALLOWED = {
    "platform/security/outbound.py",  # the rule itself
    "platform/audit/exporting.py",  # TRADEWIND_SECURITY_EXPORT, an address that `Networks` gave
    "platform/vault/transit.py",  # TRADEWIND_TRANSIT_URL
    "platform/gateway/onward.py",  # TRADEWIND_SERVICES
    "contexts/payments/clients.py",  # TRADEWIND_SIMULATOR_URL
    "contexts/notifications/clients.py",  # TRADEWIND_SMTP_URL
}
PARTS = ("platform", "contexts", "kernel")


def calls(text: str) -> list[str]:
    """What in a file opens connections."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            if name in CALLERS:
                found.append(f"{name} in line {node.lineno}")
    return found


@pytest.mark.parametrize("part", PARTS)
def test_who_calls_out_is_known(part: str) -> None:
    """A new client takes `Outbound`, or says above whose address it calls."""
    for path in (SOURCE / part).rglob("*.py"):
        place = path.relative_to(SOURCE).as_posix()
        if place not in ALLOWED:
            assert not calls(path.read_text()), f"{place}: call through platform/security/outbound"


def test_the_rule_bites() -> None:
    assert calls("aiohttp.ClientSession()\nurlopen('x')") == [
        "ClientSession in line 1",
        "urlopen in line 2",
    ]
