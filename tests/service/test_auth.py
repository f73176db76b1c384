"""Keys, signatures, replays and rights."""

from __future__ import annotations

import gc
import json
import logging
import sys
import tracemalloc
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from multidict import MultiDict
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.service import OpenStore, create, listed, wired
from trio_dispatch import clock
from trio_dispatch.api.signing import request_metadata, signature
from trio_dispatch.client.client import DispatchClient, DispatchStream
from trio_dispatch.client.errors import ServiceError
from trio_dispatch.grpc import GRPCError, Status
from trio_dispatch.service import Authenticator, Key, Keys, Right, Store, StoreFullError, auth
from trio_dispatch.service.auth import SharedNonces
from trio_dispatch.service.store.memory import MemoryStore

GOLDEN = json.loads((Path(__file__).parent / "data/golden_signatures.json").read_text())
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
METHOD = "/frequenz.api.dispatch.v1.MicrogridDispatchService/GetMicrogridDispatch"
SIGNED = Key("open", "sesame", "signed")


def guard(*keys: Key) -> Authenticator:
    return Authenticator(Keys(keys), MemoryStore())


def passes(
    authenticator: Authenticator,
    metadata: dict[str, Any],
    now: datetime = NOW,
    method: str = METHOD,
) -> bool:
    return trio.run(let_in, authenticator, metadata, now, method)


async def let_in(
    authenticator: Authenticator,
    metadata: dict[str, Any],
    now: datetime = NOW,
    method: str = METHOD,
) -> bool:
    try:
        key = await authenticator.authenticate(cast(Any, MultiDict(metadata)), method, now)
    except GRPCError as exc:
        refusal = exc
    else:
        assert key is not None
        return True
    assert refusal.status is Status.UNAUTHENTICATED
    assert refusal.message == "the request is not authenticated"
    return False


def signed(now: datetime = NOW, number: int = 0, **changes: str) -> dict[str, str]:
    metadata = request_metadata(
        "open", "sesame", "GetMicrogridDispatch", now, number.to_bytes(16, "big")
    )
    return {**metadata, **changes}


def test_nonces_of_a_removed_key_are_forgotten_and_no_replay_succeeds() -> None:
    authenticator = guard(SIGNED)
    assert passes(authenticator, signed(number=1))
    nonces = len(find_nonces())
    authenticator.keys = Keys.of("other")
    assert len(find_nonces()) == nonces - 1
    authenticator.keys = Keys([SIGNED])
    assert not passes(authenticator, signed(number=1))
    assert not passes(authenticator, signed(number=2))
    assert passes(authenticator, signed(NOW + timedelta(seconds=1), number=3))


def find_nonces() -> list[object]:
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, auth._Nonces)]


@pytest.mark.parametrize("golden", GOLDEN)
def test_golden_signatures(golden: dict[str, Any]) -> None:
    authenticator = guard(Key(golden["key"], golden["secret"]))
    now = datetime.fromtimestamp(golden["unix_time"], UTC)
    method = f"/frequenz.api.dispatch.v1.MicrogridDispatchService/{golden['method']}"
    assert passes(authenticator, golden["metadata"], now, method)
    assert not passes(authenticator, golden["metadata"], now, method)
    other = guard(Key(golden["key"], golden["secret"]))
    assert not passes(other, golden["metadata"], now, METHOD)


def test_a_key_without_a_secret_needs_no_signature() -> None:
    authenticator = guard(Key("k1"), Key("k2"))
    assert passes(authenticator, {"key": "k1"})
    assert passes(authenticator, {"key": "k2"})
    assert passes(authenticator, {"key": "k2", "ts": "0", "nonce": "x", "sig": "y"})
    for wrong in ({}, {"key": ""}, {"key": "k"}, {"key": "k11"}, {"Key ": "k1"}):
        assert not passes(authenticator, wrong)
    double = MultiDict([("key", "k1"), ("key", "k1")])
    assert not passes(authenticator, double)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"sig": "A" * 43},
        {"sig": ""},
        {"sig": "ü"},
        {"ts": str(int(NOW.timestamp()) + 1)},
        {"ts": "1e9"},
        {"nonce": urlsafe_b64encode(bytes(15) + b"x").decode()},
        {"key": "close"},
    ],
)
def test_an_altered_request_is_refused(changes: dict[str, Any]) -> None:
    authenticator = guard(SIGNED, Key("close", "other"))
    assert not passes(authenticator, signed(**changes))
    assert passes(authenticator, signed())


@pytest.mark.parametrize("missing", ["key", "ts", "nonce", "sig"])
def test_a_request_with_missing_metadata_is_refused(missing: str) -> None:
    metadata = signed()
    del metadata[missing]
    assert not passes(guard(SIGNED), metadata)


def test_a_signature_with_another_secret_is_refused() -> None:
    forged = request_metadata("open", "guess", "GetMicrogridDispatch", NOW)
    assert not passes(guard(SIGNED), forged)


@pytest.mark.parametrize(
    ("ts", "nonce"),
    [
        ("", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("+1767268800", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("1767268800.0", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("9" * 5000, "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("1767268800", ""),
        ("1767268800", "AAAAAAAAAAAAAAAAAAAAAA"),
        ("1767268800", "AAAAAAAAAAAAAAAAAAAAAB=="),
        ("1767268800", "AAAAAAAAAAAAAAAAAAAAA\n=="),
        ("1767268800", "AAAA"),
    ],
)
def test_a_signed_request_in_the_wrong_form_is_refused(ts: str, nonce: str) -> None:
    sig = signature("open", "sesame", ts, nonce, "GetMicrogridDispatch")
    metadata = {"key": "open", "ts": ts, "nonce": nonce, "sig": sig}
    assert not passes(guard(SIGNED), metadata)


@pytest.mark.parametrize(("seconds", "good"), [(300, True), (301, False), (86_400, False)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_signatures_are_accepted_within_the_window(seconds: int, good: bool, sign: int) -> None:
    when = NOW + sign * timedelta(seconds=seconds)
    assert passes(guard(SIGNED), signed(when)) is good


def test_a_replay_within_the_window_is_refused() -> None:
    authenticator = guard(SIGNED, Key("other", "sesame"))
    ahead = NOW + timedelta(seconds=300)
    assert passes(authenticator, signed(ahead))
    for seconds in (0, 1, 299, 600, 601, 86_400):
        assert not passes(authenticator, signed(ahead), NOW + timedelta(seconds=seconds))
    # Another key may use the same nonce.
    own = request_metadata("other", "sesame", "GetMicrogridDispatch", NOW, bytes(16))
    assert passes(authenticator, own)
    assert passes(authenticator, signed())


def test_many_nonces_make_the_window_narrower_but_permit_no_replay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auth, "REMEMBERED_NONCES", 10)
    authenticator = guard(SIGNED)
    used = []
    for number in range(100):
        metadata = signed(NOW + timedelta(seconds=number), number)
        assert passes(authenticator, metadata, NOW + timedelta(seconds=number))
        used.append(metadata)
    for metadata in used:
        assert not passes(authenticator, metadata, NOW + timedelta(seconds=100))
    (nonces,) = authenticator._nonces.values()
    assert nonces._count == sum(map(len, nonces._by_second.values())) == 10


async def test_trying_keys_uses_no_memory() -> None:
    authenticator = guard(SIGNED)
    stranger = signed()

    async def try_keys(numbers: range) -> None:
        for number in numbers:
            assert not await let_in(authenticator, {**stranger, "key": f"{number:032x}"})
            if number % 10 == 0:
                assert not await let_in(authenticator, signed(number=number, sig="x"))

    await try_keys(range(1000))
    gc.collect()
    blocks = sys.getallocatedblocks()
    await try_keys(range(1000, 21_000))
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 1000
    tracemalloc.start()
    try:
        await try_keys(range(21_000, 22_000))
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await try_keys(range(22_000, 24_000))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()
    assert not authenticator._nonces


# After a restart.


@pytest.mark.parametrize("ahead", [-299, -1, 0, 1, 299])
async def test_a_replay_after_a_restart_is_refused(store: Store, ahead: int) -> None:
    """Also if it was signed ahead of the service's clock, or behind it."""
    keys = Keys([SIGNED, Key("other", "sesame")])
    moment = NOW + timedelta(seconds=ahead)
    assert await let_in(Authenticator(keys, store), signed(moment))
    again = Authenticator(keys, store)
    assert not await let_in(again, signed(moment))
    # Other signatures of that second are refused too, unless it is known that they are new.
    known = isinstance(store, SharedNonces)
    assert await let_in(again, signed(moment, 1)) == known
    if abs(ahead - 1) <= 300:
        assert await let_in(again, signed(moment - timedelta(seconds=1), 2)) == known
    assert await let_in(again, signed(moment + timedelta(seconds=1), 3))
    # Other keys are not affected.
    own = request_metadata("other", "sesame", "GetMicrogridDispatch", moment, bytes(16))
    assert await let_in(again, own)


async def test_the_time_of_a_signature_is_kept_on_disk(
    open_any_store: OpenStore, autojump_clock: MockClock
) -> None:
    keys = Keys([SIGNED])
    async with open_any_store() as store:
        assert await let_in(Authenticator(keys, store), signed())
        if isinstance(store, MemoryStore):
            return
    async with open_any_store() as store:
        assert not await let_in(Authenticator(keys, store), signed())
        later = NOW + timedelta(seconds=1)
        assert await let_in(Authenticator(keys, store), signed(later, number=1))


async def test_a_signature_whose_time_cannot_be_stored_is_refused() -> None:
    class Broken(MemoryStore):
        async def raise_stamp(self, key: bytes, second: int) -> None:
            await trio.lowlevel.checkpoint()
            raise StoreFullError("full")

    authenticator = Authenticator(Keys([SIGNED]), Broken())
    for number in range(2):
        with pytest.raises(StoreFullError):
            await let_in(authenticator, signed(number=number))


async def test_only_newer_seconds_are_stored(autojump_clock: MockClock) -> None:
    noted: list[int] = []

    class Counting(MemoryStore):
        async def raise_stamp(self, key: bytes, second: int) -> None:
            await trio.sleep(1)
            noted.append(second)
            await super().raise_stamp(key, second)

    authenticator = Authenticator(Keys([SIGNED]), Counting())
    async with trio.open_nursery() as nursery:
        for number in range(50):
            moment = NOW - timedelta(seconds=number % 5)
            nursery.start_soon(let_in, authenticator, signed(moment, number))
    assert noted == sorted(set(noted))
    assert noted[-1] == int(NOW.timestamp())
    assert len(noted) <= 5


def test_keys_and_secrets_are_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys([SIGNED])
    shown = f"{keys!r} {keys} {SIGNED!r} {SIGNED}"
    with caplog.at_level(logging.DEBUG):
        passes(Authenticator(keys, MemoryStore()), signed())
        passes(Authenticator(keys, MemoryStore()), signed(sig="x"))
    shown += caplog.text
    assert "open" not in shown
    assert "sesame" not in shown
    with pytest.raises(ValueError, match="are the same") as caught:
        Keys([SIGNED, Key("open")])
    assert "open" not in str(caught.value)


@pytest.mark.parametrize("key", ["", " k", "ü", "a\nb"])
def test_a_key_that_metadata_cannot_carry_is_invalid(key: str) -> None:
    with pytest.raises(ValueError, match="the key"):
        Key(key)


# Files.


def load(tmp_path: Path, text: str) -> Keys:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    return Keys.load(path)


def test_a_keys_file_is_loaded(tmp_path: Path) -> None:
    keys = load(
        tmp_path,
        """
        [[keys]]
        key = "all"

        [[keys]]
        name = "site 1"
        key = "some"
        secret = "s3cret"
        microgrids = [1, 2]
        rights = ["read"]
        """,
    )
    assert len(keys) == 2
    assert keys.find("all") == Key("all", name="key 1")
    assert keys.find("some") == Key(
        "some", "s3cret", "site 1", frozenset({1, 2}), frozenset({Right.READ})
    )
    assert keys.find("none") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no tables"),
        ("keys = []", "no tables"),
        ("keys = [1]", "key 1 is not a table"),
        ('x = 1\n[[keys]]\nkey = "s3cret"', "'x' is unknown"),
        ('[[keys]]\nsecret = "s3cret"', "key 1: key is not a string"),
        ('[[keys]]\nkey = "s3cret"\nsecret = 5', "key 1: secret is not a string"),
        ('[[keys]]\nkey = "s3cret"\nsecret = ""', "the secret of the key 'key 1' is empty"),
        ('[[keys]]\nkey = "s3cret"\nmicrogrid = [1]', "key 1: 'microgrid' is unknown"),
        ('[[keys]]\nkey = "s3cret"\nmicrogrids = 1', "key 1: microgrids is not a list"),
        ('[[keys]]\nkey = "s3cret"\nmicrogrids = [true]', "key 1: microgrids is not a list"),
        ('[[keys]]\nkey = "s3cret"\nrights = ["admin"]', "key 1: rights is not a list"),
        ('[[keys]]\nkey = "s3cret"\nrights = "read"', "key 1: rights is not a list"),
        ('[[keys]]\nkey = "s3cret"\n[[keys]]\nkey = "s3cret"', "'key 1' and 'key 2' are the same"),
        ('[[keys]]\nkey = "s3cret', "Unterminated string"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "{x = " * 100_000, "nested too deeply"),
    ],
)
def test_an_invalid_keys_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, text)
    assert "keys.toml" in str(caught.value)
    assert "s3cret" not in str(caught.value)


# Over the wire.


async def refused(call: Any, status: Status) -> str | None:
    with pytest.raises(ServiceError) as caught:
        await call
    assert caught.value.status is status
    return caught.value.message


async def first_event(client: DispatchClient) -> None:
    async with client.stream(1) as events:
        async for _ in events:
            break


async def test_calls_without_a_valid_key_are_refused(autojump_clock: MockClock) -> None:
    async with wired(keys=Keys([Key("good"), SIGNED])) as service:
        async with service.client("good") as client:
            made = await create(client)
        for key, secret in (("bad", None), ("open", None), ("open", "guess")):
            async with service.client(key, secret) as client:
                for call in (
                    create(client),
                    listed(client),
                    client.get(1, made.id),
                    client.update(1, made.id, active=False),
                    client.delete(1, made.id),
                    first_event(client),
                ):
                    message = await refused(call, Status.UNAUTHENTICATED)
                    assert message == "the request is not authenticated"
        async with service.client("open", "sesame") as client:
            assert await listed(client) == [made.id]


async def test_calls_without_the_right_are_refused(autojump_clock: MockClock) -> None:
    keys = Keys(
        [
            Key("all"),
            Key("reader", microgrids=frozenset({1}), rights=frozenset({Right.READ})),
            Key("writer", rights=frozenset({Right.WRITE})),
        ]
    )
    async with wired(keys=keys) as service:
        async with service.client("all") as client:
            made = await create(client)
        messages = set()
        async with service.client("reader") as client:
            assert await client.get(1, made.id) == made
            assert await listed(client) == [made.id]
            for call in (
                listed(client, 2),
                client.get(2, made.id),
                create(client),
                client.update(1, made.id, active=False),
                client.delete(1, made.id),
            ):
                messages.add(await refused(call, Status.PERMISSION_DENIED))
        async with service.client("writer") as client:
            await client.update(1, made.id, active=False)
            for call in (listed(client), client.get(1, made.id), first_event(client)):
                messages.add(await refused(call, Status.PERMISSION_DENIED))
        assert messages == {"the key does not permit this"}


async def test_new_keys_apply_to_later_calls(autojump_clock: MockClock) -> None:
    async with wired(keys=Keys.of("old")) as service, service.client("old") as client:
        assert await listed(client) == []
        service.service.keys = Keys.of("new")
        await refused(listed(client), Status.UNAUTHENTICATED)
        async with service.client("new") as other:
            assert await listed(other) == []


async def test_changed_keys_end_all_streams(autojump_clock: MockClock) -> None:
    async with wired(keys=Keys.of("old")) as service, service.client("old") as client:
        for keys, ends in ((Keys.of("old"), False), (Keys.of("new"), True)):
            ended = trio.Event()
            async with client.stream(1) as events, trio.open_nursery() as nursery:

                async def read(events: DispatchStream = events, ended: trio.Event = ended) -> None:
                    assert [event async for event in events] == []
                    ended.set()

                nursery.start_soon(read)
                await events.started.wait()
                service.service.keys = keys
                await wait_all_tasks_blocked()
                assert ended.is_set() is ends
                nursery.cancel_scope.cancel()


async def test_a_stale_signature_is_refused_by_the_service(autojump_clock: MockClock) -> None:
    async with wired(keys=Keys([SIGNED])) as service:
        authenticator = service.service._authenticator
        stale = signed(clock.now() - timedelta(seconds=301))
        assert not await let_in(authenticator, stale, clock.now())
