"""By which transaction a plan was carried out, whoever has relayed it: the contracts say so, by its hash."""

from typing import Final

from eth_hash.auto import keccak

from keeper.chain.block import BlockRef
from keeper.chain.history import LogQuery, read_history
from keeper.chain.rpc import Source
from keeper.execution.look import Receipt, find
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy

EXECUTED: Final = keccak(b"BatchExecuted(bytes32,uint256,uint256,uint256,uint256,uint256)")
"""Topic of `IPortfolio.BatchExecuted`; the plan's hash is indexed."""
SETTLED: Final = keccak(b"Settled(uint256,bytes32,uint256,uint256,uint256,uint256,uint256,uint256,uint256)")
"""Topic of `IVault.Settled`; epoch and the plan's hash are indexed."""


async def carried_out_by(source: Source, policy: Policy, plan: Plan, last: BlockRef) -> Receipt | None:
    """The transaction, up to the block `last`. Raises EndpointError."""
    (pinned,) = [each.number for each in plan.blocks if each.chain_id == plan.chain_id]
    if last.number <= pinned:
        return None
    return await carried_out(source, policy, plan, last, last.number - pinned)


async def carried_out(
    source: Source, policy: Policy, plan: Plan, last: BlockRef, blocks: int
) -> Receipt | None:
    """The transaction among those of the `blocks` blocks up to `last`. Raises EndpointError."""
    vault, batch = policy.vault, plan.kind is Kind.BATCH
    topics = (EXECUTED, plan.plan_hash) if batch else (SETTLED, b"", plan.plan_hash)
    query = LogQuery(vault.portfolio if batch else vault.vault, topics, blocks)
    history = await read_history(source, last, [query])
    found = [log.transaction for logs in (history.logs if history else ()) for log in logs.found]
    return await find(source, found[0]) if found else None
