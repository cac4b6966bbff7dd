"""What one endpoint says about an account's transactions, all of it from the same endpoint: of two that are
not equally far, one may know that a nonce is spent and the other not by what."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keeper.chain.block import BlockRef, hex_bytes, quantity
from keeper.chain.rpc import Endpoint, Source
from keeper.errors import DecodeError
from keeper.units import Address


@dataclass(frozen=True)
class Receipt:
    """A mined transaction. `index` is its place in `block`; `logs` are as JSON-RPC gives them. It paid
    `gas_price` in wei for each gas, and `data_fee` besides, where a chain charges for its data."""

    transaction: bytes
    block: BlockRef
    index: int
    gas_used: int
    gas_price: int
    data_fee: int
    succeeded: bool
    logs: tuple[dict[str, Any], ...]

    @property
    def cost(self) -> int:
        """What it has cost, in wei."""
        return self.gas_used * self.gas_price + self.data_fee


@dataclass(frozen=True)
class Look:
    """`count` is the account's next nonce at the head, and `spent` where it was when blocks were mined that
    are final now; `receipts` has those transactions, by hash, that are in a block of the chain. `shown` are
    those (hash, block's hash) that one endpoint at least shows."""

    head: BlockRef
    count: int
    spent: int
    receipts: dict[bytes, Receipt]
    shown: frozenset[tuple[bytes, bytes]]


async def look(source: Source, account: Address, hashes: Iterable[bytes], finality: int) -> Look:
    """The account and its transactions now; where endpoints have to agree, as far as all of them say so.

    Raises EndpointError.
    """
    names = tuple(hashes)

    async def ask(endpoint: Endpoint) -> Look:
        head = await endpoint.latest()
        # Before the receipts: a nonce that is spent by then has its receipt when it is asked for.
        count = await _count(endpoint, account, head.number)
        # One block more than finality: a node may know the nonce a moment before the receipt.
        spent = await _count(endpoint, account, head.number - finality - 1)
        found = [await find(endpoint, name) for name in names]
        receipts = {each.transaction: each for each in found if each is not None}
        return Look(head, count, spent, receipts, frozenset(map(_place, receipts.values())))

    seen = [each for _, each in await source.witnessed(ask)]
    behind = min(seen, key=lambda each: each.head.number)
    receipts = {}
    for name in behind.receipts:
        told = [each.receipts.get(name) for each in seen]
        agreed = [each for each in told if each is not None]
        if len(agreed) == len(seen) and len({(each.block, each.succeeded) for each in agreed}) == 1:
            # Of its cost they may know more or less, as of what a rollup charges besides.
            receipts[name] = max(agreed, key=lambda each: each.cost)
    count, spent = min(each.count for each in seen), min(each.spent for each in seen)
    shown = frozenset(place for each in seen for place in each.shown)
    return Look(behind.head, count, spent, receipts, shown)


def _place(receipt: Receipt) -> tuple[bytes, bytes]:
    return receipt.transaction, receipt.block.hash


async def pending(source: Source, account: Address) -> int:
    """The account's next nonce behind what waits in the pool; where endpoints have to agree, the least that
    one says. Raises EndpointError."""

    async def ask(endpoint: Endpoint) -> int:
        return quantity(await endpoint.rpc("eth_getTransactionCount", [account, "pending"]))

    return min(found for _, found in await source.witnessed(ask))


async def find(source: Source, name: bytes) -> Receipt | None:
    """The receipt of a transaction, if it is in a block of the chain. Raises DecodeError, EndpointError."""
    raw = await source.rpc("eth_getTransactionReceipt", ["0x" + name.hex()])
    if raw is None:
        return None
    try:
        number, mined_in, logs = quantity(raw["blockNumber"]), hex_bytes(raw["blockHash"]), tuple(raw["logs"])
        index, used, price, status = (
            quantity(raw[key]) for key in ("transactionIndex", "gasUsed", "effectiveGasPrice", "status")
        )
        # Of a rollup on the OP stack; others have all of it in the gas.
        data_fee = quantity(raw.get("l1Fee") or "0x0")
    except (KeyError, TypeError) as error:
        raise DecodeError("Not a receipt", seen=repr(error), where="0x" + name.hex()) from error
    block = await source.get_block(number)
    if block.hash != mined_in:
        return None
    return Receipt(name, block, index, used, price, data_fee, status == 1, logs)


async def spender(source: Source, account: Address, nonce: int, before: int, after: int) -> bytes | None:
    """The hash of the account's transaction that spent a nonce which is spent at block `after`; it is looked
    for from block `before` on, and earlier if need be. None where the blocks do not show it, or endpoints do
    not agree that have to.

    Raises DecodeError, and EndpointError, as when the states of those blocks are gone.
    """

    async def ask(endpoint: Endpoint) -> bytes | None:
        low, high, step = before, after, 1
        while low > 0 and await _count(endpoint, account, low) > nonce:
            low, high, step = max(0, low - step), low, 2 * step
        while high - low > 1:
            middle = (low + high) // 2
            if await _count(endpoint, account, middle) > nonce:
                high = middle
            else:
                low = middle
        block = await endpoint.rpc("eth_getBlockByNumber", [hex(high), True])
        try:
            sent = [
                (each["from"].lower(), quantity(each["nonce"]), each["hash"])
                for each in block["transactions"]
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise DecodeError("Not a block", seen=repr(error), where=endpoint.public_url) from error
        found = [name for who, number, name in sent if (who, number) == (account.lower(), nonce)]
        return hex_bytes(found[0]) if found else None

    found = {name for _, name in await source.witnessed(ask)}
    return found.pop() if len(found) == 1 else None


async def _count(endpoint: Endpoint, account: Address, block: int) -> int:
    if block < 0:
        return 0
    return quantity(await endpoint.rpc("eth_getTransactionCount", [account, hex(block)]))
