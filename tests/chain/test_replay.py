"""A block's transactions of every kind, replayed up to each place in it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from eth_account import Account
from local_programs import CHAIN, REVERTS, SLOT_ZERO, TIMESTAMP, VALUE, place_programs

from keeper.chain import lens
from keeper.chain.block import BlockRef
from keeper.chain.call import Call
from keeper.chain.replay import READER, replay
from keeper.chain.rpc import Endpoint
from keeper.errors import ReorganisedError
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Fault, Proxy
from keeper.units import Address

GWEI = 10**9
Mixed = tuple[BlockRef, list[int]]
CALLS: list[Call[Any]] = sorted([VALUE.at(SLOT_ZERO), VALUE.at(TIMESTAMP)])


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with Anvil(CHAIN, ["--hardfork", "prague", "--no-mining"]) as node:
        yield node


@pytest.fixture(scope="module")
def mixed(anvil: Anvil) -> Mixed:
    """A mined block with a transaction of each kind, each of which stores its place but for the last, which
    reverts; and what is stored after none, one, two of them, and so on."""

    async def made() -> Mixed:
        async with Endpoint(anvil.url, CHAIN) as chain:
            return await mine_mixed(chain)

    return asyncio.run(made())


@pytest.fixture
async def chain(anvil: Anvil) -> AsyncIterator[Endpoint]:
    async with Endpoint(anvil.url, CHAIN) as opened:
        yield opened


async def mine_mixed(chain: Endpoint) -> Mixed:
    await place_programs(chain)
    sender, own = Account.create(), Account.create()
    await chain.rpc("anvil_setBalance", [sender.address, hex(10**20)])
    authorised = own.sign_authorization({"chainId": CHAIN, "address": SLOT_ZERO, "nonce": 0})
    legacy = {"gasPrice": 50 * GWEI}
    later = {"maxFeePerGas": 50 * GWEI, "maxPriorityFeePerGas": 2 * GWEI}
    listed = [{"address": SLOT_ZERO, "storageKeys": ["0x" + "00" * 32]}]
    kinds: list[dict[str, Any]] = [
        legacy,
        legacy | {"accessList": listed},
        later,
        later | {"authorizationList": [authorised]},
        later | {"to": REVERTS},
    ]
    for place, fields in enumerate(kinds):
        body = {"chainId": CHAIN, "nonce": place, "gas": 200_000, "to": SLOT_ZERO, "value": 0}
        data = f"0x{place + 7:064x}"
        signed = Account.sign_transaction(body | {"data": data} | fields, sender.key)
        await chain.send_raw(bytes(signed.raw_transaction))
    await chain.rpc("evm_mine")
    block = await chain.latest()
    receipts = await chain.rpc("eth_getBlockReceipts", ["0x" + block.hash.hex()])
    assert [each["type"] for each in receipts] == ["0x0", "0x1", "0x2", "0x4", "0x2"]
    assert [each["status"] for each in receipts] == 4 * ["0x1"] + ["0x0"]
    return block, [1, 7, 8, 9, 10, 10]


async def values(source: Endpoint, block: BlockRef, places: list[int]) -> dict[int, list[int]]:
    found = await replay(source, block, CALLS, places)
    return {
        place: [lens.decoded(call, each) for call, each in zip(CALLS, results, strict=True)]
        for place, results in found.items()
    }


async def test_the_state_after_each_transaction_is_read_in_the_blocks_own_time(
    chain: Endpoint, mixed: Mixed
) -> None:
    block, held = mixed
    # Whatever comes later does not matter.
    await chain.rpc("evm_mine")
    by_call = {
        place: dict(zip([call.target for call in CALLS], found, strict=True))
        for place, found in (await values(chain, block, list(range(6)))).items()
    }
    assert [by_call[place][SLOT_ZERO] for place in range(6)] == held
    assert {each[TIMESTAMP] for each in by_call.values()} == {block.timestamp}
    assert await lens.read(chain, block, CALLS) == tuple(by_call[5][call.target] for call in CALLS)


async def test_transactions_that_ethereum_does_not_know_are_left_out(
    anvil: Anvil, chain: Endpoint, mixed: Mixed
) -> None:
    block, held = mixed

    def rollup(raw: Any) -> Any:
        """The third is a kind of the chain's own."""
        raw["transactions"][2]["type"] = "0x7e"
        return raw

    with Proxy([anvil.url], CHAIN, faults=[Fault("eth_getBlockByHash", change=rollup)]) as proxy:
        async with Endpoint(proxy.url, CHAIN) as endpoint:
            place = CALLS.index(VALUE.at(SLOT_ZERO))
            found = await values(endpoint, block, [0, 2, 3, 4])
    assert [found[each][place] for each in (0, 2, 3, 4)] == [held[0], held[2], held[2], held[4]]


async def test_reads_that_do_not_fit_into_one_pass_are_made_in_several(chain: Endpoint, mixed: Mixed) -> None:
    block, held = mixed
    # Each may take five million of the pass's gas.
    many = [Call(Address(f"0x{n:040x}"), b"", bytes, str(n)) for n in range(1 << 12, (1 << 12) + 4)]
    found = await replay(chain, block, [*many, VALUE.at(SLOT_ZERO)], [3])
    assert VALUE.decode(found[3][-1].returned) == held[3]
    assert len(found[3]) == 5


async def test_a_block_that_is_not_there_is_no_failure_of_the_replay(chain: Endpoint, mixed: Mixed) -> None:
    mark = await chain.rpc("evm_snapshot")
    await chain.rpc("evm_mine")
    gone = await chain.latest()
    await chain.rpc("evm_revert", [mark])
    await chain.rpc("anvil_setNextBlockTimestamp", [gone.timestamp + 5])
    await chain.rpc("evm_mine")
    with pytest.raises(ReorganisedError):
        await replay(chain, gone, CALLS, [0])
    assert int(await chain.rpc("eth_getTransactionCount", [READER, "latest"]), 16) == 0
