"""What proves who somebody is is compared in constant time, and nowhere with ==.

A comparison that stops at the first difference tells, by how long it takes, how much was right.
"""

import ast
import hmac
from pathlib import Path
from typing import Any

import pytest

import tradewind
from tradewind.platform.security import authentication, secrets
from tradewind.platform.security.authentication import (
    Authenticator,
    KeyFacts,
    hash_of_key,
)
from tradewind.platform.security.secrets import Secrets

SOURCE = Path(tradewind.__file__).parent
# Where callers prove something: what is compared elsewhere is no secret of theirs.
PROVING = [
    *SOURCE.glob("platform/security/**/*.py"),
    *SOURCE.glob("platform/gateway/**/*.py"),
    *SOURCE.glob("platform/vault/**/*.py"),
    *SOURCE.glob("contexts/identity/**/*.py"),
]
SECRET_WORDS = frozenset(
    ("secret", "password", "mac", "signature", "token", "bearer", "verifier", "hash", "tag")
)
# Compared with ==, and why that tells nothing.
HARMLESS = {
    # Both sides are the server's own: a hash that is stored, and one that is made from its key.
    ("contexts/identity/rules/keys.py", "secret_hash"),
    # A hash that was read before, and the one that is stored now: whether it changed meanwhile.
    ("contexts/identity/handlers/holders.py", "password_hash"),
    ("contexts/identity/rules/accounts.py", "password_hash"),
    # The one that was found among the account's codes is taken out.
    ("contexts/identity/rules/accounts.py", "recovery_hash"),
    # Numbers: how often the secret of a client was renewed.
    ("contexts/identity/handlers/oauth_clients.py", "secret_generation"),
    ("contexts/identity/routes/oauth_proof.py", "secret_generation"),
}


def name_of(node: ast.expr) -> str:
    """The last word of what is compared."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call):
        return name_of(node.func)
    return ""


def compared(text: str) -> list[tuple[int, str]]:
    """Lines in which something that sounds secret is compared with ==."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare) and any(
            isinstance(o, ast.Eq | ast.NotEq) for o in node.ops
        ):
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) for side in sides):
                continue  # a word of ours
            for side in sides:
                if SECRET_WORDS & set(name_of(side).lower().split("_")):
                    found.append((node.lineno, name_of(side)))
    return found


@pytest.mark.parametrize("path", PROVING, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_secret_is_compared_with_equals(path: Path) -> None:
    """Use hmac.compare_digest; or say above why it is no secret."""
    place = path.relative_to(SOURCE).as_posix()
    wrong = [
        (line, name) for line, name in compared(path.read_text()) if (place, name) not in HARMLESS
    ]
    assert not wrong, f"{place}: compare with hmac.compare_digest: {wrong}"


def test_the_rule_bites() -> None:
    assert compared("if facts.secret_hash == given: pass") == [(1, "secret_hash")]
    assert compared("x = mac != claimed") == [(1, "mac")]
    assert compared("if kind == 'token': pass") == []


class Compared:
    """Stands where hmac.compare_digest does, and remembers what came."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []

    def __call__(self, one: Any, other: Any) -> bool:
        self.pairs.append((one, other))
        return hmac.compare_digest(one, other)


async def test_a_key_and_tokens_are_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A right key, a wrong one, an order token with another signature: each goes through it."""
    watched = Compared()
    stand_in = type(
        "hmac",
        (),
        {"compare_digest": staticmethod(watched), "digest": hmac.digest, "new": hmac.new},
    )
    ours = Secrets([b"k" * 32])
    key_id = "key_" + "0" * 26
    right = ours.api_key(key_id)
    facts = KeyFacts(key_id, hash_of_key(right), ("orders:read",), None)

    class Source:
        async def look_up(self, key_ids: Any) -> Any:
            return [facts]

        async def revoked_within(self, seconds: float) -> Any:
            return []

        async def mark_used(self, used_at: Any) -> None:
            pass

    monkeypatch.setattr(authentication, "hmac", stand_in)
    monkeypatch.setattr(secrets, "hmac", stand_in)
    authenticator = Authenticator(ours, Source())
    try:
        assert await authenticator.authenticate(right) is not None
        assert len(watched.pairs) == 1
        assert await authenticator.authenticate(right[:-1] + "?") is None
        assert len(watched.pairs) == 2
        order_token = ours.order_token("ord_" + "0" * 26)
        assert await authenticator.authenticate(order_token) is not None
        assert await authenticator.authenticate(order_token[:-1] + "?") is None
        assert len(watched.pairs) == 4
    finally:
        await authenticator.close()
