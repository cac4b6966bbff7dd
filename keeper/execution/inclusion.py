"""The block that plans were carried out in: its books before, around and after them, read and compared."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from keeper import engine
from keeper.book import Book, open_book
from keeper.chain import snapshot
from keeper.chain.block import BlockRef
from keeper.chain.call import Call
from keeper.chain.replay import replay
from keeper.chain.rpc import Source
from keeper.chain.snapshot import Snapshot
from keeper.errors import DecodeError, NotReplayedError
from keeper.execution.fills import fills_of
from keeper.execution.look import Receipt
from keeper.execution.reconcile import Reconciliation, Step, reconcile
from keeper.execution.worker import Worker
from keeper.planning.outcome import Fill
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy


@dataclass(frozen=True)
class Done:
    """A mined transaction of ours, and the plans that it carried out, in order."""

    plans: tuple[Plan, ...]
    receipt: Receipt


@dataclass(frozen=True)
class Inclusion:
    """A block of the chain, and all that we did to the policy's vault in it, in order; `worker` computes."""

    source: Source
    policy: Policy
    block: BlockRef
    done: Sequence[Done]
    worker: Worker = field(default_factory=Worker)

    async def reconciled(self) -> tuple[Reconciliation, Book]:
        """What became of the vault in the block, and the book after it.

        Raises ReconciliationError where no mirror can follow, and as `open_book` and the reads do;
        PrunedStateError where the block's or its parent's state is gone.
        """
        before = await self.source.get_block(self.block.parent_hash)
        old, new = await asyncio.gather(self._taken(before), self._taken(self.block))
        parent, end = await self._opened(old), await self._opened(new)
        total = await self._size()
        others = total - len(self.done)
        reason = ""
        if others:
            try:
                start, steps = await self._around(total, new)
            except NotReplayedError as error:
                reason = str(error)
            else:
                return await self._compared(parent, start, steps, end, others, ""), end
        plans = tuple(plan for each in self.done for plan in each.plans)
        fills = tuple(fill for each in self.done for fill in self._fills(each))
        alone = (Step(plans, fills, parent, end),)
        return await self._compared(parent, parent, alone, end, others, reason), end

    async def _around(self, total: int, after: Snapshot) -> tuple[Book, tuple[Step, ...]]:
        """The book as the block begins, and ours with the books around them. Raises NotReplayedError, also
        when the replayed block does not end in the state that is `after` it."""
        places = [place for each in self.done for place in (each.receipt.index, each.receipt.index + 1)]
        found = await replay(self.source, self.block, self._calls, [0, *places, total])
        (seen,) = after.results
        if differing := [one for one, two in zip(seen, found[total], strict=True) if one != two]:
            raise NotReplayedError(
                f"Block {self.block.number} of chain {self.block.chain_id}, replayed, ends in another state",
                expected="every read as at the block",
                seen=f"{len(differing)} of {len(seen)} otherwise",
                where=self.source.public_url,
            )
        books = {
            place: await self._opened(Snapshot(self.block.timestamp, (self.block,), (results,)))
            for place, results in found.items()
        }
        steps = tuple(
            Step(each.plans, self._fills(each), books[each.receipt.index], books[each.receipt.index + 1])
            for each in self.done
        )
        return books[0], steps

    async def _compared(
        self, parent: Book, start: Book, steps: Sequence[Step], end: Book, others: int, not_replayed: str
    ) -> Reconciliation:
        place = self.policy.vault.place
        return await self.worker.run(
            place, reconcile, parent, start, steps, end, others=others, not_replayed=not_replayed
        )

    async def _opened(self, taken: Snapshot) -> Book:
        return await self.worker.run(self.policy.vault.place, open_book, taken, self.policy)

    @property
    def _calls(self) -> list[Call[Any]]:
        return snapshot.unique(engine.calls(self.policy)[self.block.chain_id])

    async def _taken(self, block: BlockRef) -> Snapshot:
        source = {block.chain_id: self.source}
        return await snapshot.take_at(source, engine.calls(self.policy), [block], block.timestamp)

    async def _size(self) -> int:
        """How many transactions the block has. Raises DecodeError when ours are not where they were."""
        raw = await self.source.rpc("eth_getBlockByHash", ["0x" + self.block.hash.hex(), False])
        listed = raw["transactions"]
        for each in self.done:
            name, index = "0x" + each.receipt.transaction.hex(), each.receipt.index
            if listed[index : index + 1] != [name]:
                raise DecodeError("The block holds another transaction there", expected=name, where=index)
        return len(listed)

    def _fills(self, each: Done) -> tuple[Fill, ...]:
        swap = self.policy.swap
        return () if swap is None else fills_of(swap, each.receipt.logs)
