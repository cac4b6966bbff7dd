"""A local chain with a contract that counts, and an account that sends to it through a journal.

The contract adds one to the slot that calldata names; while its slot 0 is not zero it reverts.
"""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from keeper.chain.block import quantity
from keeper.chain.call import Call
from keeper.chain.pool import Replacement
from keeper.chain.rpc import Endpoint, Source
from keeper.chain.transaction import Signed, sign
from keeper.contracts import address
from keeper.events import EventStream
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import State
from keeper.execution.journal.tables import Intent, Transaction
from keeper.execution.look import Receipt
from keeper.execution.sending import Order, Sender
from keeper.execution.transactions import Transactions
from keeper.units import Address

COUNTER = address("0x" + "c0" * 20)
CODE = "0x6000546011576000358054600101905500" + "5b60006000fd"
CHAIN = 31_337
GWEI = 10**9
FINALITY = 2
ANYONE = address("0x" + "a1" * 20)


def order(number: int, valid_until: int | None = None) -> Order:
    """To count once under this number, which is not 0."""
    call = Call(COUNTER, number.to_bytes(32, "big"), bytes, f"count {number}")
    return Order(f"count/{number}", call, 100_000, valid_until=valid_until)


@dataclass
class Counting:
    """The chain as tests drive it, and the sender under test."""

    chain: Endpoint
    sender: Sender
    offered: dict[bytes, bytes] = field(default_factory=dict)

    @classmethod
    async def of(
        cls, chain: Endpoint, journal: Journal, key: str, *, source: Source | None = None, **changed: Any
    ) -> "Counting":
        """With the account of that key, which is paid; `source` is where the sender looks and sends."""
        account: LocalAccount = Account.from_key(key)
        sender = Sender(
            source or chain,
            account,
            journal,
            EventStream(),
            FINALITY,
            replacement=Replacement(blocks=2, times=2),
        )
        return cls(chain, replace(sender, **changed))

    async def place(self) -> None:
        await self.chain.rpc("anvil_setCode", [COUNTER, CODE])
        await self.chain.rpc("anvil_setBalance", [self.address, hex(10**20)])
        await self.mine()

    # KEEPER

    @property
    def address(self) -> Address:
        return Address(self.sender.account.address)

    @property
    def journal(self) -> Journal:
        return self.sender.journal

    def desk(self) -> Transactions:
        """As a process that has just started."""
        return self.sender._desk()

    async def advance(self, wanted: Order | None = None) -> None:
        await self.desk().advance(None if wanted is None else self.intent(wanted))

    def intent(self, wanted: Order) -> Intent:
        call = wanted.call
        return self.desk().intent(
            wanted.key, call.label, call.target, call.data, wanted.gas, wanted.valid_until
        )

    def rows(self, wanted: Order) -> list[Transaction]:
        return self.journal.transactions(wanted.key)

    def states(self, wanted: Order) -> list[State]:
        return [row.at for row in self.rows(wanted)]

    # CHAIN

    async def mine(self, blocks: int = 1, *, price: int = GWEI) -> None:
        """Blocks at a base fee: a high one keeps cheap transactions waiting."""
        for _ in range(blocks):
            await self.chain.rpc("anvil_setNextBlockBaseFeePerGas", [hex(price)])
            await self.chain.rpc("evm_mine")

    async def late(self, seconds: int) -> None:
        await self.chain.rpc("evm_increaseTime", [hex(seconds)])

    async def count(self, wanted: Order) -> int:
        slot = "0x" + wanted.call.data.hex()
        return quantity(await self.chain.rpc("eth_getStorageAt", [COUNTER, slot, "latest"]))

    async def reverting(self, yes: bool = True) -> None:
        await self.chain.rpc("anvil_setStorageAt", [COUNTER, "0x0", f"0x{int(yes):064x}"])

    async def nonce(self) -> int:
        return quantity(await self.chain.rpc("eth_getTransactionCount", [self.address, "latest"]))

    async def drop(self, row: Transaction) -> None:
        """Out of the node's pool, as if it had never come."""
        assert row.hash is not None
        await self.chain.rpc("anvil_dropTransaction", ["0x" + row.hash.hex()])

    async def offer(self, row: Transaction) -> None:
        assert row.raw is not None
        await self.chain.send_raw(row.raw)

    async def reorganise(self, depth: int) -> None:
        """Replaces the last blocks; their transactions are lost."""
        await self.chain.rpc("anvil_reorg", [depth, []])

    def foreign(self, nonce: int, *, tip: int = GWEI) -> Signed:
        """A transaction of the same account that is not in the journal."""
        return sign(
            self.sender.account,
            chain_id=CHAIN,
            nonce=nonce,
            to=ANYONE,
            data=b"",
            gas=21_000,
            max_fee=1_000 * GWEI,
            tip=tip,
        )

    async def carried_out(self, wanted: Order) -> Receipt:
        """Sends while the chain goes on."""
        import asyncio

        async def blocks() -> None:
            for _ in itertools.count():
                await self.mine()
                await asyncio.sleep(0.02)

        mining = asyncio.create_task(blocks())
        try:
            return await self.sender.send(wanted)
        finally:
            mining.cancel()
            await asyncio.gather(mining, return_exceptions=True)
