"""The client of a Safe transaction service, against one that keeps the rules and one that lies."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from eth_account import Account
from safe_service import KEY, Service, running
from safe_world import CHAIN, KEYS, OWNERS, SAFE, envelope, place, signed

from keeper.config import EndpointUrl
from keeper.errors import (
    ConfigError,
    DecodeError,
    DisagreementError,
    EndpointDownError,
    EndpointError,
    KeeperError,
    RefusedError,
)
from keeper.safe.nonces import next_nonce
from keeper.safe.service import TransactionService
from keeper.safe.transaction import transaction_hash

STRANGER = Account.from_key(b"\x09" * 32)


@pytest.fixture
def service() -> Service:
    return Service(CHAIN, SAFE, OWNERS, nonce=4)


@pytest_asyncio.fixture
async def client(service: Service) -> AsyncIterator[TransactionService]:
    async with (
        running(service) as url,
        TransactionService(EndpointUrl(url), CHAIN, api_key=KEY) as opened,
    ):
        yield opened


async def test_two_owners_leave_their_signatures_and_anyone_collects_them(
    client: TransactionService,
) -> None:
    made = envelope(1, 2)
    assert not await client.known(made.transaction)
    await client.propose(made.transaction, signed(made.hash, KEYS[0]), "settlement")
    assert await client.known(made.transaction)
    await client.confirm(made.transaction, signed(made.hash, KEYS[1]))
    found, dropped = await client.confirmations(made.transaction, OWNERS)
    assert made.with_signatures(found) == made.with_signatures([signed(made.hash, key) for key in KEYS[:2]])
    assert dropped == ()
    queue = await client.queue(SAFE, 4)
    assert [(each.nonce, each.hash, each.transaction) for each in queue] == [(4, made.hash, made.transaction)]
    assert next_nonce(4, queue) == 5
    assert await client.queue(SAFE, 5) == ()


@pytest.mark.parametrize(
    ("nonce", "key", "words"),
    [(3, KEYS[0], "already executed"), (4, STRANGER, "is not an owner")],
)
async def test_what_the_service_refuses_is_said_in_its_words(
    client: TransactionService, nonce: int, key: Any, words: str
) -> None:
    made = envelope(1, nonce=nonce)
    with pytest.raises(RefusedError, match=words):
        await client.propose(made.transaction, signed(made.hash, key), "")


async def test_a_note_that_is_too_long_is_never_sent(client: TransactionService, service: Service) -> None:
    made = envelope(1)
    with pytest.raises(ConfigError, match="too long"):
        await client.propose(made.transaction, signed(made.hash, KEYS[0]), "x" * 201)
    assert service.requests == []
    await client.propose(made.transaction, signed(made.hash, KEYS[0]), "x" * 200)


@pytest.mark.parametrize("first", [0.0, 0.3])
async def test_the_documented_rate_is_kept_however_long_one_is_on_its_way(
    client: TransactionService, service: Service, first: float
) -> None:
    service.first_seconds = first
    for _ in range(8):
        assert await client.queue(SAFE, 4) == ()
    assert len(service.requests) == 8, "none was refused for coming too soon"


async def test_reads_are_tried_again_and_nothing_else_is(
    client: TransactionService, service: Service
) -> None:
    made = envelope(1)
    service.failures = 1
    assert await client.queue(SAFE, 4) == ()
    assert len(service.requests) == 2
    service.failures = 1
    with pytest.raises(EndpointDownError):
        await client.propose(made.transaction, signed(made.hash, KEYS[0]), "")
    assert len(service.requests) == 3
    assert service.entries == {}


async def test_a_wrong_key_is_refused_and_never_shown(service: Service) -> None:
    async with (
        running(service) as url,
        TransactionService(EndpointUrl(f"{url}/?secret=hidden"), CHAIN, api_key="wrong-key") as client,
    ):
        with pytest.raises(EndpointError) as caught:
            await client.queue(SAFE, 4)
    assert "wrong-key" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "lie",
    [
        lambda entry: entry | {"to": place(0x66)},
        lambda entry: entry | {"data": entry["data"][:-2] + "ff"},
        lambda entry: entry | {"operation": 1},
        lambda entry: entry | {"nonce": "5"},
        lambda entry: entry | {"value": "1"},
        lambda entry: entry | {"safeTxHash": "0x" + "11" * 32},
        lambda entry: entry | {"safe": place(0x5B)},
    ],
)
async def test_other_data_under_a_hash_is_noticed(
    client: TransactionService, service: Service, lie: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    made = envelope(1)
    await client.propose(made.transaction, signed(made.hash, KEYS[0]), "")
    service.lie = lie
    with pytest.raises(DisagreementError, match="other data"):
        await client.queue(SAFE, 4)
    with pytest.raises(DisagreementError, match="other data"):
        await client.confirmations(made.transaction, OWNERS)


async def test_a_whole_other_transaction_is_not_taken_for_ours(
    client: TransactionService, service: Service
) -> None:
    ours, other = envelope(1), envelope(2)
    for made in (ours, other):
        await client.propose(made.transaction, signed(made.hash, KEYS[0]), "")
    service.lie = lambda entry: service.entries["0x" + other.hash.hex()]
    with pytest.raises(DisagreementError, match="another transaction"):
        await client.confirmations(ours.transaction, OWNERS)


async def test_foreign_and_false_signatures_do_not_count(
    client: TransactionService, service: Service
) -> None:
    made = envelope(1)
    await client.propose(made.transaction, signed(made.hash, KEYS[0]), "")
    foreign = signed(made.hash, STRANGER)
    another = signed(envelope(2).hash, KEYS[1])
    false = [
        {"owner": foreign.signer, "signature": "0x" + foreign.data.hex()},
        {"owner": OWNERS[2], "signature": "0x" + foreign.data.hex()},
        {"owner": OWNERS[1], "signature": "0x" + another.data.hex()},
        {"owner": OWNERS[1], "signature": None},
        {"owner": "nobody", "signature": "0x"},
        "nonsense",
    ]
    service.lie = lambda entry: entry | {"confirmations": [*false, *entry["confirmations"]]}
    found, dropped = await client.confirmations(made.transaction, OWNERS)
    assert [each.signer for each in found] == [OWNERS[0]]
    assert len(dropped) == len(false)


@pytest.mark.parametrize(
    "lie",
    [
        lambda entry: [],
        lambda entry: {},
        lambda entry: entry | {"nonce": -1},
        lambda entry: entry | {"nonce": True},
        lambda entry: entry | {"nonce": "9" * 100},
        lambda entry: entry | {"operation": 2},
        lambda entry: entry | {"to": None},
        lambda entry: entry | {"data": "0x0"},
        lambda entry: entry | {"gasPrice": 1.5},
        lambda entry: "[" * 200,
    ],
)
async def test_nonsense_is_an_error_of_ours(
    client: TransactionService, service: Service, lie: Callable[[dict[str, Any]], Any]
) -> None:
    made = envelope(1)
    await client.propose(made.transaction, signed(made.hash, KEYS[0]), "")
    service.lie = lie
    with pytest.raises((DecodeError, EndpointError)):
        await client.queue(SAFE, 4)
    with pytest.raises(KeeperError):
        await client.confirmations(made.transaction, OWNERS)


async def test_others_transactions_in_the_queue_take_their_nonce_and_are_not_ours(
    client: TransactionService, service: Service
) -> None:
    made = envelope(1)
    await client.propose(made.transaction, signed(made.hash, KEYS[0]), "")
    name = "0x" + made.hash.hex()
    # A transaction with value, honestly hashed: not of the kind that is made here.
    entry = service.entries.pop(name)
    digest = transaction_hash(CHAIN, SAFE, made.transaction.message | {"value": 7})
    service.entries["0x" + digest.hex()] = entry | {"value": "7", "safeTxHash": "0x" + digest.hex()}
    (seen,) = await client.queue(SAFE, 4)
    assert (seen.nonce, seen.hash, seen.transaction) == (4, digest, None)


async def test_a_service_that_is_not_there_says_so() -> None:
    async with TransactionService(EndpointUrl("http://127.0.0.1:9"), CHAIN, api_key=KEY) as client:
        with pytest.raises(EndpointDownError, match="does not answer"):
            await client.confirm(envelope(1).transaction, signed(envelope(1).hash, KEYS[0]))
