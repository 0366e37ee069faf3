"""Master keys, tokens, and who a caller is."""

import asyncio
import base64
import multiprocessing
import os
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.kernel.ids import new_id
from tradewind.platform.security import authentication
from tradewind.platform.security.authentication import (
    Authenticator,
    Credential,
    KeyFacts,
    KeysUnavailable,
    hash_of_key,
    key_id_of_bearer,
)
from tradewind.platform.security.files import write_private_file
from tradewind.platform.security.secrets import KEY_FILE, Secrets, SecretsError, read_secrets

MASTER, NEWER = os.urandom(32), os.urandom(32)
SECRETS = Secrets([MASTER])


# -- the master key


def made_by_a_process(home: str) -> str:
    return read_secrets(Path(home)).key_id


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    home = tmp_path / "hôme with spaces"
    with multiprocessing.get_context("spawn").Pool(4) as processes:
        key_ids = processes.map(made_by_a_process, [str(home)] * 8, chunksize=1)
    assert set(key_ids) == {read_secrets(home).key_id}
    assert [path.name for path in home.iterdir()] == [KEY_FILE]


def test_the_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    first = read_secrets(tmp_path)
    path = tmp_path / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)  # as a careless restore leaves it
    assert read_secrets(tmp_path).key_id == first.key_id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_from_the_environment_needs_no_file(tmp_path: Path) -> None:
    text = base64.b64encode(MASTER).decode()
    assert read_secrets(tmp_path, text).key_id == SECRETS.key_id
    both = read_secrets(tmp_path, f"{base64.b64encode(NEWER).decode()}, {text}")
    assert both.key_ids == (Secrets([NEWER]).key_id, SECRETS.key_id)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "\n", "c2hvcnQ=", "not base64!", "é" * 44, "A" * 44])
def test_an_unusable_key_stops_with_a_sentence(tmp_path: Path, text: str) -> None:
    """A broken file is never replaced: what was sealed under it would be lost."""
    (tmp_path / KEY_FILE).write_text(text)
    with pytest.raises(SecretsError) as error:
        read_secrets(tmp_path)
    assert KEY_FILE in str(error.value)
    assert (tmp_path / KEY_FILE).read_text() == text
    if text.strip():
        assert text not in str(error.value)


def test_secrets_do_not_show_themselves() -> None:
    assert MASTER.hex() not in repr(SECRETS)
    assert repr(SECRETS) == f"Secrets({SECRETS.key_id})"


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "admin.key"
    write_private_file(path, b"one")
    write_private_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(OSError, match="Is a directory"):
        write_private_file(tmp_path / "new", b"")
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


# -- derived keys and tokens


def test_purposes_and_masters_have_keys_of_their_own() -> None:
    both = Secrets([NEWER, MASTER])
    keys = {
        both.purpose_key("a"),
        both.purpose_key("b"),
        both.purpose_key("a", SECRETS.key_id),
        MASTER,
        NEWER,
    }
    assert len(keys) == 5
    assert both.purpose_key("a", SECRETS.key_id) == SECRETS.purpose_key("a")
    assert SECRETS.keyed_hash("a", b"x") != SECRETS.keyed_hash("b", b"x")
    with pytest.raises(SecretsError, match="is missing"):
        SECRETS.purpose_key("a", Secrets([NEWER]).key_id)


def test_derived_keys_stay_the_same_for_ever() -> None:
    """Anyone who changes a derivation locks everybody out: then these values change."""
    secrets = Secrets([bytes(range(32))])
    assert secrets.key_id == "c088df9ede22"
    assert (
        secrets.order_token("ord_" + "0" * 26)
        == "ot_00000000000000000000000000_pRRvqMVVvUwvN9GoNfI_GHMdp53Kb8x2"
    )
    assert (
        secrets.api_key("key_" + "0" * 26)
        == "tw_live_00000000000000000000000000_Zk9vAHtYkX_oFiO--50zaCw_jtU-4F3ez6gwGKes_1g"
    )


def test_an_order_token_opens_its_order_and_outlives_a_new_master() -> None:
    order_id = new_id("ord")
    token = SECRETS.order_token(order_id)
    assert SECRETS.order_of_token(token) == order_id
    assert token == SECRETS.order_token(order_id)
    assert Secrets([NEWER, MASTER]).order_of_token(token) == order_id
    assert Secrets([NEWER]).order_of_token(token) is None


@given(st.data())
def test_a_changed_order_token_opens_nothing(data: st.DataObject) -> None:
    token = SECRETS.order_token("ord_01h455vb4pex5vsknk084sn02q")
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters().filter(lambda c: c != token[place]))
    assert SECRETS.order_of_token(token[:place] + character + token[place + 1 :]) is None
    cut = data.draw(st.integers(0, len(token) - 1))
    assert SECRETS.order_of_token(token[:cut]) is None
    assert SECRETS.order_of_token(token + data.draw(st.text(min_size=1))) is None


@given(st.text() | st.from_regex(r"(ot|tw_live)_.{0,80}"))
def test_nonsense_is_nobody(text: str) -> None:
    assert SECRETS.order_of_token(text) is None
    assert key_id_of_bearer(text) is None or text.startswith("tw_live_")


def test_an_api_key_holds_its_id_and_belongs_to_one_master() -> None:
    key_id = new_id("key")
    key = SECRETS.api_key(key_id)
    assert key.startswith(f"tw_live_{key_id[4:]}_")
    assert len(key) == 8 + 26 + 1 + 43
    assert key_id_of_bearer(key) == key_id
    assert Secrets([NEWER]).api_key(key_id) != key


# -- authentication


class KeyShelf:
    """API keys in memory, and what was asked about them."""

    def __init__(self) -> None:
        self.facts: dict[str, KeyFacts] = {}
        self.revoked: list[str] = []
        self.look_ups: list[list[str]] = []
        self.refreshes = 0
        self.used: dict[str, float] = {}
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.tells = asyncio.Event()  # the answer to what was revoked may come
        self.tells.set()

    def add(self, expires_at: datetime | None = None, scopes: Sequence[str] = ("a",)) -> str:
        key_id = new_id("key")
        key = SECRETS.api_key(key_id)
        self.facts[key_id] = KeyFacts(key_id, hash_of_key(key), scopes, expires_at)
        return key

    def revoke(self, key: str) -> None:
        key_id = key_id_of_bearer(key)
        assert key_id is not None
        del self.facts[key_id]
        self.revoked.append(key_id)

    async def look_up(self, key_ids: Sequence[str]) -> Sequence[KeyFacts]:
        self.look_ups.append(list(key_ids))
        found = [self.facts[k] for k in key_ids if k in self.facts]
        await self.gate.wait()
        self.fail_if_down()
        return found

    async def revoked_within(self, seconds: float) -> Sequence[str]:
        self.refreshes += 1
        self.fail_if_down()
        revoked = list(self.revoked)
        await self.tells.wait()
        return revoked

    async def mark_used(self, used_at: Mapping[str, float]) -> None:
        self.fail_if_down()
        self.used.update(used_at)

    def fail_if_down(self) -> None:
        if self.down:
            raise ConnectionError("no database")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shelf() -> KeyShelf:
    return KeyShelf()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(shelf: KeyShelf, clock: Clock) -> Authenticator:
    return Authenticator(SECRETS, shelf, clock=clock, timer=clock)


async def settle() -> None:
    """Let what runs beside the requests run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_key_is_asked_about_once(door: Authenticator, shelf: KeyShelf) -> None:
    key = shelf.add(scopes=("orders:read", "keys:write"))
    for _ in range(3):
        credential = await door.authenticate(key)
        assert credential is not None
        assert credential.id == key_id_of_bearer(key)
        assert credential.may("orders:read")
        assert not credential.may("orders:write")
        assert credential.order_id is None
    assert len(shelf.look_ups) == 1


async def test_an_order_token_needs_no_database(door: Authenticator, shelf: KeyShelf) -> None:
    shelf.down = True
    order_id = new_id("ord")
    credential = await door.authenticate(SECRETS.order_token(order_id))
    assert credential == Credential(order_id, frozenset(), order_id)
    assert await door.authenticate(f"ot_{order_id[4:]}_{'A' * 32}") is None


async def test_wrong_secrets_and_unknown_keys_are_nobody(
    door: Authenticator, shelf: KeyShelf
) -> None:
    key = shelf.add()
    assert await door.authenticate(key[:-1] + ("A" if key[-1] != "A" else "B")) is None
    assert await door.authenticate(key + "A") is None
    assert await door.authenticate(Secrets([NEWER]).api_key(new_id("key"))) is None
    assert await door.authenticate(key) is not None
    # And the cache does not take a wrong secret for a right one.
    assert await door.authenticate(key[:-1]) is None


async def test_what_has_not_the_shape_of_a_key_costs_no_statement(
    door: Authenticator, shelf: KeyShelf
) -> None:
    for bearer in ("", "x", "tw_live_", "tw_live_x_y", "ot_", "ot_x_y", "\ud800", "é" * 999):
        assert await door.authenticate(bearer) is None
    assert await door.authenticate(f"tw_live_{'0' * 26}_{'x' * 10_000}") is None
    assert shelf.look_ups == []


async def test_first_uses_at_the_same_time_share_a_statement(
    door: Authenticator, shelf: KeyShelf
) -> None:
    keys = [shelf.add() for _ in range(300)]
    found = await asyncio.gather(*(door.authenticate(key) for key in [*keys, *keys]))
    assert [c.id for c in found if c] == [key_id_of_bearer(k) for k in [*keys, *keys]]
    assert [len(batch) for batch in shelf.look_ups] == [256, 44]


async def test_a_revoked_key_is_refused_within_a_second(
    door: Authenticator, shelf: KeyShelf, clock: Clock
) -> None:
    key, other = shelf.add(), shelf.add()
    assert await door.authenticate(key)
    assert await door.authenticate(other)
    shelf.revoke(key)
    clock.now += 0.3
    assert await door.authenticate(key), "memory is still fresh enough"
    clock.now += 0.7
    assert await door.authenticate(key) is None
    assert await door.authenticate(other)
    assert shelf.refreshes == 1


async def test_in_steady_state_nobody_waits_for_the_refresh(
    door: Authenticator, shelf: KeyShelf, clock: Clock
) -> None:
    key = shelf.add()
    assert await door.authenticate(key)
    shelf.revoke(key)
    clock.now += 0.5
    assert await door.authenticate(key), "answered from memory; the question is asked beside it"
    await settle()
    assert shelf.refreshes == 1
    assert await door.authenticate(key) is None


async def test_a_slow_answer_is_fresh_for_who_asked_and_not_for_who_came_later(
    door: Authenticator, shelf: KeyShelf, clock: Clock
) -> None:
    """A busy database refuses nobody, and shows nobody what was revoked before they came."""
    key, other = shelf.add(), shelf.add()
    assert await door.authenticate(key)
    assert await door.authenticate(other)
    clock.now += 5
    shelf.tells.clear()
    first = asyncio.create_task(door.authenticate(key))
    await settle()
    shelf.revoke(key)  # after it was asked
    clock.now += 1.5
    later = asyncio.create_task(door.authenticate(key))
    third = asyncio.create_task(door.authenticate(other))
    await settle()
    shelf.tells.set()
    assert await first is not None, "it came before the revocation"
    assert await later is None
    assert await third is not None
    assert shelf.refreshes == 2


async def test_a_look_up_that_a_refresh_overtook_is_not_remembered(
    door: Authenticator, shelf: KeyShelf, clock: Clock
) -> None:
    """It may be older than a revocation that the refresh has reported already."""
    known, slow = shelf.add(), shelf.add()
    assert await door.authenticate(known)
    shelf.gate.clear()
    looking = asyncio.create_task(door.authenticate(slow))
    await settle()
    shelf.revoke(slow)  # after the look-up read its row
    clock.now += 0.5
    await door.authenticate(known)
    await settle()
    assert shelf.refreshes == 1
    shelf.gate.set()
    assert await looking is not None
    assert await door.authenticate(slow) is None


async def test_without_a_database_known_keys_work_for_a_second_and_no_longer(
    door: Authenticator, shelf: KeyShelf, clock: Clock
) -> None:
    key = shelf.add()
    assert await door.authenticate(key)
    shelf.down = True
    clock.now += 0.9
    assert await door.authenticate(key)
    clock.now += 0.2
    with pytest.raises(KeysUnavailable) as refused:
        await door.authenticate(key)
    assert refused.value.status == 503
    assert isinstance(refused.value.__cause__, ConnectionError)
    shelf.down = False
    assert await door.authenticate(key)


async def test_without_a_database_an_unknown_key_is_not_called_wrong(
    door: Authenticator, shelf: KeyShelf
) -> None:
    key = shelf.add()
    shelf.down = True
    with pytest.raises(KeysUnavailable):
        await door.authenticate(key)
    shelf.down = False
    assert await door.authenticate(key)


async def test_a_key_expires_to_the_second(
    door: Authenticator, shelf: KeyShelf, clock: Clock
) -> None:
    key = shelf.add(expires_at=datetime.fromtimestamp(clock.now + 10, UTC))
    assert await door.authenticate(key)
    clock.now += 9.9
    assert await door.authenticate(key)
    clock.now += 0.1
    assert await door.authenticate(key) is None


async def test_memory_alone_tells_of_keys_that_were_seen_while_it_is_fresh(
    door: Authenticator, shelf: KeyShelf, clock: Clock
) -> None:
    key, short = shelf.add(), shelf.add(expires_at=datetime.fromtimestamp(clock.now + 0.2, UTC))
    assert door.known(key) is None, "nobody was asked about it yet"
    credential = await door.authenticate(key)
    assert door.known(key) == credential is not None
    assert await door.authenticate(short) == door.known(short) is not None
    clock.now += 0.3
    assert door.known(short) is None, "it expired"
    assert door.known(key + "x") is None and door.known("a.b.c") is None
    clock.now += 0.3
    assert door.known(key) is None, "what was revoked meanwhile must be asked for first"
    assert await door.authenticate(key)
    await settle()
    assert door.known(key) == credential
    shelf.revoke(key)
    clock.now += 0.5
    await door.authenticate(key)
    await settle()
    assert door.known(key) is None


async def test_memory_is_bounded(
    door: Authenticator, shelf: KeyShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "CACHED_MAX", 3)
    keys = [shelf.add() for _ in range(5)]
    for key in keys:
        assert await door.authenticate(key)
    shelf.look_ups.clear()
    for key in reversed(keys):
        assert await door.authenticate(key)
    assert len(shelf.look_ups) == 2, "the three newest were still there"


async def test_last_use_is_handed_in_once_a_minute_and_at_the_end(
    door: Authenticator, shelf: KeyShelf, clock: Clock
) -> None:
    key = shelf.add()
    key_id = key_id_of_bearer(key)
    await door.authenticate(key)
    clock.now += 30
    await door.authenticate(key)
    await settle()
    assert shelf.used == {}
    clock.now += 31
    await door.authenticate(key)
    await settle()
    assert shelf.used == {key_id: clock.now - 31}
    await door.close()
    assert shelf.used == {key_id: clock.now}


async def test_a_caller_that_hangs_up_takes_nothing_from_the_others(
    door: Authenticator, shelf: KeyShelf
) -> None:
    key = shelf.add()
    shelf.gate.clear()
    first, second = (asyncio.create_task(door.authenticate(key)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    shelf.gate.set()
    assert await second is not None


async def test_closing_leaves_nobody_waiting(door: Authenticator, shelf: KeyShelf) -> None:
    shelf.gate.clear()
    waiting = asyncio.create_task(door.authenticate(shelf.add()))
    await settle()
    await door.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
