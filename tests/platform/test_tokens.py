"""Tokens that prove nothing are refused, whatever they look like; and good ones cost little."""

import asyncio
import base64
import hmac
import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from joserfc import jwk, jws

from tests.platform.gateway.gateway_shop import hostile
from tests.platform.signed_tokens import (
    AUDIENCE,
    HEADER,
    ISSUER,
    KEY,
    KID,
    NOW,
    PUBLIC,
    b64,
    claims,
    signed,
)
from tradewind.kernel.ids import new_id
from tradewind.platform.security import jose
from tradewind.platform.security.access_tokens import (
    AccessTokens,
    Revocations,
    Revoked,
    TokensUnavailable,
    own_tokens,
)
from tradewind.platform.security.handles import handle, opened
from tradewind.platform.security.jose import TokenRefused, VerificationKey
from tradewind.platform.security.keyring import Keyring
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.security.signing import MadeKey, StoredKey, make_key, open_key


class Keys:
    """The one key."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.key = jose.public_key(PUBLIC)

    async def find(self, kid: str) -> VerificationKey | None:
        self.asked.append(kid)
        return self.key if kid == KID else None


def checker(**more: Any) -> AccessTokens:
    return AccessTokens(own_tokens(ISSUER, AUDIENCE), Keys(), None, clock=lambda: NOW, **more)


async def test_a_good_token_is_its_holders() -> None:
    credential = await checker().who(signed(HEADER, claims()))
    assert credential is not None
    assert credential.id == credential.client_id == "cli_" + "0" * 26
    assert credential.scopes == {"orders:read"}
    assert credential.account_id is None
    listed = await checker().who(signed(HEADER, claims(aud=["https://else", AUDIENCE])))
    assert listed is not None


def confused() -> str:
    """HS256 with the public key as the secret."""
    header = b64(json.dumps({**HEADER, "alg": "HS256"}))
    payload = b64(json.dumps(claims()))
    pem = KEY.as_pem(private=False)
    code = hmac.digest(pem, f"{header}.{payload}".encode(), "sha256")
    return f"{header}.{payload}.{b64(code)}"


def with_own_key() -> str:
    """Signed by a key that the header brings along."""
    mine = jwk.ECKey.generate_key("P-256")
    header = {**HEADER, "jwk": mine.as_dict(private=False)}
    return jws.serialize_compact(header, json.dumps(claims()), mine, algorithms=["ES256"])


def by_another() -> str:
    mine = jwk.ECKey.generate_key("P-256")
    return jws.serialize_compact(HEADER, json.dumps(claims()), mine, algorithms=["ES256"])


def plain(header: Mapping[str, Any]) -> str:
    return f"{b64(json.dumps(header))}.{b64(json.dumps(claims()))}."


GOOD = signed(HEADER, claims())
TEXT = json.dumps(claims())
FORGED = {
    "no algorithm": plain({**HEADER, "alg": "none"}),
    "no algorithm, written otherwise": plain({**HEADER, "alg": "nOnE"}),
    "no algorithm with a signature": signed({**HEADER, "alg": "none"}, claims()),
    "a symmetric algorithm with the public key": confused(),
    "a larger curve": signed({**HEADER, "alg": "ES512"}, claims()),
    "RSA for an EC key": signed({**HEADER, "alg": "RS256"}, claims()),
    "alg as a list": signed({**HEADER, "alg": ["ES256"]}, claims()),
    "alg missing": signed({"typ": "at+jwt", "kid": KID}, claims()),
    "a key in the header": with_own_key(),
    "another's key under our kid": by_another(),
    "where to get the key": signed({**HEADER, "jku": "https://evil.example/keys"}, claims()),
    "a certificate chain": signed({**HEADER, "x5c": ["MIIB"]}, claims()),
    "where to get a certificate": signed({**HEADER, "x5u": "https://evil.example/x"}, claims()),
    "crit of nothing": signed({**HEADER, "crit": []}, claims()),
    "crit of what joserfc knows": signed({**HEADER, "crit": ["alg"]}, claims()),
    "an unencoded payload": signed({**HEADER, "b64": False, "crit": ["b64"]}, claims()),
    "compressed": signed({**HEADER, "zip": "DEF"}, claims()),
    "kid missing": signed({"alg": "ES256", "typ": "at+jwt"}, claims()),
    "kid of a path": signed({**HEADER, "kid": "../../../../dev/null"}, claims()),
    "kid of SQL": signed({**HEADER, "kid": "x' UNION SELECT 'secret' --"}, claims()),
    "kid of a URL": signed({**HEADER, "kid": "https://evil.example/key"}, claims()),
    "kid with a NUL": signed({**HEADER, "kid": KID + "\x00"}, claims()),
    "kid as a number": signed({**HEADER, "kid": 1}, claims()),
    "kid as an object": signed({**HEADER, "kid": {"$ne": ""}}, claims()),
    "an endless kid": signed({**HEADER, "kid": KID * 20}, claims()),
    "an ID token": signed({**HEADER, "typ": "JWT"}, claims()),
    "no type": signed({"alg": "ES256", "kid": KID}, claims()),
    "a logout token": signed({**HEADER, "typ": "logout+jwt"}, claims()),
    "expired": signed(HEADER, claims(exp=int(NOW) - 11)),
    "never expires": signed(HEADER, claims(exp=None)),
    "expires as a text": signed(HEADER, claims(exp=str(int(NOW) + 300))),
    "expires as true": signed(HEADER, claims(exp=True)),
    "expires at NaN": signed(HEADER, TEXT.replace(f'"exp": {int(NOW) + 300}', '"exp": NaN')),
    "expires at 1e999": signed(HEADER, TEXT.replace(f'"exp": {int(NOW) + 300}', '"exp": 1e999')),
    "from the future": signed(HEADER, claims(iat=int(NOW) + 11)),
    "not valid yet": signed(HEADER, claims(nbf=int(NOW) + 11)),
    "iat missing": signed(HEADER, claims(iat=None)),
    "another issuer": signed(HEADER, claims(iss="https://evil.example")),
    "the issuer with a slash": signed(HEADER, claims(iss=ISSUER + "/")),
    "no issuer": signed(HEADER, claims(iss=None)),
    "issuers in a list": signed(HEADER, claims(iss=[ISSUER])),
    "another audience": signed(HEADER, claims(aud="cli_1")),
    "no audience": signed(HEADER, claims(aud=None)),
    "an audience that begins alike": signed(HEADER, claims(aud=AUDIENCE + "/x")),
    "audiences that are no texts": signed(HEADER, claims(aud=[AUDIENCE, 1])),
    "no subject": signed(HEADER, claims(sub=None)),
    "an empty subject": signed(HEADER, claims(sub="")),
    "a subject that cannot be stored": signed(HEADER, claims(sub="a\x00b")),
    "no client": signed(HEADER, claims(client_id=None)),
    "no id": signed(HEADER, claims(jti=None)),
    "a claim twice": signed(HEADER, '{"scope": "keys:write", ' + TEXT[1:]),
    "a claim twice, in other letters": signed(HEADER, '{"\\u0073ub": "acc_1", ' + TEXT[1:]),
    "a header twice": signed('{"alg": "none", ' + json.dumps(HEADER)[1:], claims()),
    "claims in a list": signed(HEADER, f"[{TEXT}]"),
    "claims that are no JSON": signed(HEADER, TEXT + "}"),
    "claims that are not UTF-8": signed(HEADER, b'{"sub": "\xff"}'),
    "claims nested without end": signed(HEADER, "[" * 3_000),
    "bound to nothing": signed(HEADER, claims(cnf={"jkt": "x"})),
    "one character more": GOOD + "A",
    "padding": GOOD + "==",
    "a line feed": GOOD + "\n",
    "four parts": GOOD + ".AA",
    "two parts": GOOD.rpartition(".")[0],
    "an empty signature": GOOD.rpartition(".")[0] + ".",
    "zeros as a signature": GOOD.rpartition(".")[0] + "." + b64(bytes(64)),
    "a signature in DER": GOOD.rpartition(".")[0] + "." + b64(bytes.fromhex("3006020101020101")),
    "other claims": ".".join([GOOD.split(".")[0], b64(TEXT.replace("read", "rite")), GOOD[-86:]]),
    "too long": signed(HEADER, claims(x="x" * 9_000)),
    "nothing": "",
    "dots": "..",
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_nobodys(name: str) -> None:
    assert await checker().who(FORGED[name]) is None


async def test_times_have_a_small_leeway() -> None:
    """Clocks differ by seconds; ten of them are forgiven."""
    for more in ({"exp": int(NOW) - 9}, {"iat": int(NOW) + 9}, {"nbf": int(NOW) + 9}):
        assert await checker().who(signed(HEADER, claims(**more))) is not None, more


async def test_a_token_has_one_spelling() -> None:
    """Another last character of the signature may decode to the same bytes; it is refused."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    head, last = GOOD[:-1], GOOD[-1]
    same = [head + c for c in alphabet if c != last]
    lenient = base64.urlsafe_b64decode(GOOD.split(".")[2] + "==")
    twins = [t for t in same if base64.urlsafe_b64decode(t.split(".")[2] + "==") == lenient]
    assert twins, "base64 has several spellings of 64 bytes"
    for twin in twins:
        assert await checker().who(twin) is None


# -- published vectors


def verified(token: str, key: VerificationKey) -> bool:
    """Whether our reading of a signature takes it: with an allow-list, by a key of its own."""
    try:
        header = jose.json_object(jose.segment(token.split(".")[0]))
        parsed = jose.Parsed(str(header.get("alg")), key.kid, "", {})
        if token.count(".") != 2 or header.keys() - jose.HEADERS:
            return False
        for part in token.split("."):
            jose.segment(part)
        jose.verify(token, parsed, key, jose.ALGORITHMS)
    except TokenRefused:
        return False
    return True


def test_published_jws_vectors() -> None:
    """What is invalid is refused; what is valid by an algorithm of ours is taken."""
    taken = refused = 0
    for group in hostile("crypto_vectors.jsonl.gz"):
        if group["file"] not in ("json_web_signature_test", "json_web_crypto_test"):
            continue
        document = group["group"].get("public") or group["group"].get("private") or {}
        for test in group["tests"]:
            if not isinstance(test.get("jws"), str):
                continue
            public = {
                k: v for k, v in document.items() if k not in ("d", "p", "q", "dp", "dq", "qi")
            }
            key = jose.public_key({"kid": "k", **public})
            good = key is not None and verified(test["jws"], key)
            if test["result"] == "invalid":
                assert not good, (group["file"], test["tcId"], test["comment"])
                refused += 1
            elif key is not None and document.get("alg") in jose.ALGORITHMS:
                taken += good
    assert refused >= 20
    assert taken >= 1


def test_published_vectors_of_ecdsa_as_tokens_write_it() -> None:
    """P-256 with SHA-256 in the form of JWS: each vector as the signature of a token's text."""
    algorithm = jws.JWSRegistry.algorithms["ES256"]
    counts = {"valid": 0, "invalid": 0, "acceptable": 0}
    for group in hostile("crypto_vectors.jsonl.gz"):
        if group["file"] != "ecdsa_secp256r1_sha256_p1363_test":
            continue
        facts = group["group"]
        if "publicKeyJwk" in facts:
            document = {**facts["publicKeyJwk"], "kid": "k"}
        else:
            x, y = (
                bytes.fromhex(facts["publicKey"][n]).lstrip(b"\0").rjust(32, b"\0")
                for n in ("wx", "wy")
            )
            document = {"kty": "EC", "crv": "P-256", "kid": "k", "x": b64(x), "y": b64(y)}
        document.pop("use", None)
        key = jose.public_key(document)
        assert key is not None
        for test in group["tests"]:
            good = algorithm.verify(bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]), key.key)
            counts[test["result"]] += 1
            assert good == (test["result"] == "valid"), (test["tcId"], test["comment"])
    assert counts["valid"] >= 20
    assert counts["invalid"] >= 20


def test_published_keys_are_taken_or_refused() -> None:
    """No key that is symmetric, private, weak or of an unknown kind verifies anything."""
    assert jose.public_key({"kty": "oct", "k": "AAAA", "kid": "k"}) is None
    assert jose.public_key({**KEY.as_dict(private=True), "kid": "k"}) is None
    assert jose.public_key({**PUBLIC, "use": "enc"}) is None
    assert jose.public_key({**PUBLIC, "x": PUBLIC["y"]}) is None  # not on the curve
    assert jose.public_key({**PUBLIC, "kid": "../x y"}) is None
    weak = {"kty": "RSA", "n": b64(b"\xc1" * 128), "e": "AQAB", "kid": "k"}
    assert jose.public_key(weak) is None
    assert jose.public_key({**weak, "n": b64(b"\xc1" * 256)}) is not None
    for group in hostile("crypto_vectors.jsonl.gz"):
        if group["file"] == "json_web_key_test":
            for document in group["group"].get("private", {}).get("keys", []):
                assert jose.public_key({"kid": "k", **document}) is None


# -- memory and revocation


class Told:
    """Revocations, as a test makes them."""

    def __init__(self) -> None:
        self.rows: list[Revoked] = []
        self.asked: list[float] = []
        self.broken = False

    async def revoked_within(self, seconds: float) -> Sequence[Revoked]:
        self.asked.append(seconds)
        if self.broken:
            raise ConnectionError("away")
        return self.rows


async def test_a_token_is_verified_once_and_forgotten_when_it_is_void() -> None:
    told, keys, now = Told(), Keys(), [1_000.0]
    tokens = AccessTokens(
        own_tokens(ISSUER, AUDIENCE),
        keys,
        Revocations(told, timer=lambda: now[0]),
        clock=lambda: NOW,
    )
    token = signed(HEADER, claims(sid="gra_1"))
    for _ in range(5):
        assert await tokens.who(token) is not None
    assert len(keys.asked) == 1
    assert len(told.asked) == 1
    told.rows = [Revoked("gra_1", datetime.fromtimestamp(NOW - 100, UTC))]
    now[0] += 1.0
    assert await tokens.who(token) is None
    assert await tokens.who(signed(HEADER, claims())) is not None


async def test_a_slow_answer_about_revocations_is_fresh_for_who_asked() -> None:
    """A busy database refuses nobody; who comes while an older question waits asks again."""
    now, rows, asked = [1_000.0], list[Revoked](), list[float]()
    tells = asyncio.Event()

    class Slow(Told):
        async def revoked_within(self, seconds: float) -> Sequence[Revoked]:
            asked.append(now[0])
            answer = list(rows)
            await tells.wait()
            return answer

    revocations = Revocations(Slow(), timer=lambda: now[0])
    first = asyncio.create_task(revocations.stay_fresh())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rows.append(Revoked("gra_1", datetime.fromtimestamp(NOW, UTC)))
    now[0] += 1.5
    later = asyncio.create_task(revocations.stay_fresh())
    await asyncio.sleep(0)
    tells.set()
    await first
    await later
    assert asked == [1_000.0, 1_001.5]
    assert revocations.voids(["gra_1"], NOW)


async def test_an_account_that_changed_goes_on_with_new_tokens() -> None:
    told = Told()
    account = "acc_" + "0" * 26
    told.rows = [Revoked(account, datetime.fromtimestamp(NOW + 0.5, UTC))]
    tokens = AccessTokens(
        own_tokens(ISSUER, AUDIENCE), Keys(), Revocations(told), clock=lambda: NOW
    )
    later = new_id("tok", at=datetime.fromtimestamp(NOW + 0.8, UTC))
    assert await tokens.who(signed(HEADER, claims(sub=account))) is None
    assert await tokens.who(signed(HEADER, claims(sub=account, jti=later))) is not None


async def test_nobody_is_let_in_while_revocations_cannot_be_asked_for() -> None:
    told = Told()
    told.broken = True
    tokens = AccessTokens(
        own_tokens(ISSUER, AUDIENCE), Keys(), Revocations(told), clock=lambda: NOW
    )
    with pytest.raises(TokensUnavailable):
        await tokens.who(signed(HEADER, claims()))
    told.broken = False
    assert await tokens.who(signed(HEADER, claims())) is not None


async def test_the_memory_of_tokens_is_bounded_and_expires() -> None:
    tokens = checker(verified_max=3)
    made = [signed(HEADER, claims()) for _ in range(5)]
    for token in made:
        assert await tokens.who(token) is not None
    assert len(tokens._verified) == 3
    assert not any(token.encode() in key for key in tokens._verified for token in made)
    now = [NOW]
    tokens = AccessTokens(own_tokens(ISSUER, AUDIENCE), Keys(), None, clock=lambda: now[0])
    assert await tokens.who(made[0]) is not None
    now[0] += 311
    assert await tokens.who(made[0]) is None


# -- signing keys


class Store:
    """Signing keys in memory, with the rule of the context in short."""

    def __init__(self) -> None:
        self.rows: list[StoredKey] = []
        self.offered = 0

    async def load(self) -> Sequence[StoredKey]:
        return list(self.rows)

    async def provide(self, made: MadeKey, readable: Sequence[str]) -> None:
        self.offered += 1
        if any(row.kid in readable for row in self.rows):
            return
        now = datetime.fromtimestamp(NOW, UTC)
        self.rows.append(
            StoredKey(
                made.kid,
                made.public,
                made.master_key_id,
                made.sealed,
                now,
                now + timedelta(days=30),
                now + timedelta(days=31),
            )
        )


async def test_keys_are_made_once_and_sealed() -> None:
    store, secrets = Store(), Secrets([os.urandom(32)])
    rings = [Keyring(store, secrets, clock=lambda: NOW) for _ in range(3)]
    signers = [await ring.signer() for ring in rings]
    assert {signer.kid for signer in signers} == {store.rows[0].kid}
    private = signers[0].key.as_dict(private=True)["d"]
    row = store.rows[0]
    assert private not in row.public
    assert base64.urlsafe_b64decode(private + "=") not in row.sealed
    assert "d" not in json.loads(row.public)
    # Another master opens it not; moved to another row it opens not, either.
    assert open_key(Secrets([os.urandom(32)]), row) is None
    moved = StoredKey(make_key(secrets).kid, *(getattr(row, n) for n in row.__struct_fields__[1:]))
    assert open_key(secrets, moved) is None


async def test_a_server_without_the_old_master_makes_a_key_of_its_own() -> None:
    store = Store()
    first = await Keyring(store, Secrets([os.urandom(32)]), clock=lambda: NOW).signer()
    second = await Keyring(store, Secrets([os.urandom(32)]), clock=lambda: NOW).signer()
    assert first.kid != second.kid
    # Whoever verifies knows both.
    ring = Keyring(store, Secrets([os.urandom(32)]), clock=lambda: NOW)
    assert await ring.find(first.kid) is not None
    assert await ring.find(second.kid) is not None


async def test_unknown_kids_are_asked_for_once_a_second() -> None:
    store, now = Store(), [0.0]
    ring = Keyring(store, Secrets([os.urandom(32)]), clock=lambda: NOW, timer=lambda: now[0])
    await ring.signer()
    asked = []
    load = store.load

    async def counting() -> Sequence[StoredKey]:
        asked.append(now[0])
        return await load()

    store.load = counting  # type: ignore[method-assign]
    for step in range(100):
        now[0] = 10 + step / 50
        assert await ring.find(f"unknown-{step}") is None
    assert len(asked) <= 3


# -- handles


def test_handles_open_what_they_name_and_nothing_else() -> None:
    secrets, newer = Secrets([bytes(32)]), Secrets([os.urandom(32), bytes(32)])
    grant = new_id("gra")
    text = handle(secrets, "rt", grant, 7)
    for opener in (secrets, newer):
        found = opened(opener, "rt", text)
        assert found is not None
        assert (found.id, found.generation) == (grant, 7)
    assert opened(Secrets([os.urandom(32)]), "rt", text) is None
    assert opened(secrets, "ac", text.replace("twrt_", "twac_")) is None
    for broken in (
        text[:-1],
        text + "A",
        text.replace("_7_", "_07_"),
        text.replace("_7_", "_8_"),
        "",
    ):
        assert opened(secrets, "rt", broken) is None
    assert opened(secrets, "rt", "twrt_" + "é" * 40) is None


async def test_a_known_token_costs_no_signature(record_property: Any) -> None:
    """A ratio within one run: memory against verification."""
    tokens = checker()
    made = [signed(HEADER, claims()) for _ in range(200)]
    began = time.perf_counter()
    for token in made:
        await tokens.who(token)
    first_s = time.perf_counter() - began
    began = time.perf_counter()
    for token in made:
        await tokens.who(token)
    again_s = time.perf_counter() - began
    record_property("ratio", first_s / again_s)
    assert first_s / again_s > 5
    await asyncio.sleep(0)
    assert sha256(made[0].encode()).digest() in tokens._verified
