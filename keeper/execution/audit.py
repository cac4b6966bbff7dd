"""Holds a journal against its chain: every plan that was carried out, reconciled again; every transaction
that has ended; and the accounts' nonces. It writes nothing, and a keeper may run meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.chain.block import quantity
from keeper.chain.rpc import Source
from keeper.errors import EndpointError, KeeperError
from keeper.execution.carried import carried_out
from keeper.execution.inclusion import Done, Inclusion
from keeper.execution.journal.journal import Journal, executed
from keeper.execution.journal.states import ENDED, INCLUDED, State
from keeper.execution.journal.tables import PlanRow, Transaction
from keeper.execution.journal.vaults import VaultRecord
from keeper.execution.look import find
from keeper.execution.reconcile import Reconciliation
from keeper.execution.relay import key_of
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy

_UNSENT = frozenset({State.DRAFTED, State.SIGNED})


@dataclass(frozen=True)
class Outcome:
    """Plans of a vault in one block, reconciled again; without a `result` that could not be done."""

    block: int
    plans: tuple[Plan, ...]
    result: Reconciliation | None


@dataclass(frozen=True)
class VaultAudit:
    """What became of a vault's plans, and in what journal and chain differ, in words."""

    outcomes: tuple[Outcome, ...]
    differences: tuple[str, ...]


async def audit_vault(source: Source, policy: Policy, record: VaultRecord, since: int) -> VaultAudit:
    """Every plan that the journal says was carried out in block `since` or later.

    Raises EndpointError; PrunedStateError where a block's or its parent's state is gone.
    """
    found: dict[bytes, list[Done]] = {}
    differences = []
    for row in record.carried_out(since):
        done = await _found(source, policy, record.journal, row)
        if isinstance(done, Done):
            found.setdefault(done.receipt.block.hash, []).append(done)
        else:
            differences.append(f"{row.kind} 0x{row.plan_hash.hex()} in block {row.block}: {done}")
    outcomes = []
    for each in found.values():
        ours = sorted(each, key=lambda done: done.receipt.index)
        block, plans = ours[0].receipt.block, tuple(plan for done in ours for plan in done.plans)
        result = None
        try:
            result, _ = await Inclusion(source, policy, block, ours).reconciled()
            result.require_explained()
        except EndpointError:
            raise
        except KeeperError as error:
            differences.append(f"block {block.number}: {error}")
        outcomes.append(Outcome(block.number, plans, result))
    return VaultAudit(tuple(outcomes), tuple(differences))


async def _found(source: Source, policy: Policy, journal: Journal, row: PlanRow) -> Done | str:
    """Where the chain has the plan; or what is wrong with what the journal says."""
    plan = Plan.from_bytes(row.body)
    if plan.policy_hash != policy.hash:
        return "made by another policy, and so not by this one's positions: look at later plans alone"
    names = [each.hash for each in journal.transactions(key_of(plan)) if executed(each)]
    if not names or names[0] is None:
        return await _of_another(source, policy, plan, row.block or 0)
    receipt = await find(source, names[0])
    if receipt is None:
        return f"its transaction 0x{names[0].hex()} is in no block of the chain"
    if receipt.block.number != row.block:
        return f"its transaction 0x{names[0].hex()} is in block {receipt.block.number}"
    return Done((plan,), receipt)


async def _of_another(source: Source, policy: Policy, plan: Plan, number: int) -> Done | str:
    receipt = await carried_out(source, policy, plan, await source.get_block(number), 1)
    if receipt is None:
        return "neither the journal nor that block has a transaction that carried it out"
    return Done((plan,), receipt)


async def audit_transactions(source: Source, journal: Journal) -> tuple[str, ...]:
    """In what the journal's transactions on a chain, and its accounts' nonces, differ from the chain.

    Raises EndpointError.
    """
    chain = source.chain_id
    rows = journal.every(chain)
    differences = [said for row in rows if (said := await _differs(source, row)) is not None]
    for account in sorted({row.account for row in rows}):
        spent = [row.nonce for row in rows if row.account == account and row.at in ENDED | INCLUDED]
        count = quantity(await source.rpc("eth_getTransactionCount", [account, "latest"]))
        # What is sent is in the journal before, so what it has now bounds what the chain had.
        out = [row.nonce for row in journal.every(chain) if row.account == account and row.at not in _UNSENT]
        low, high = _next(spent), _next(out)
        if out and not low <= count <= high:
            expected = f"{high}" if low == high else f"{low} to {high}"
            differences.append(
                f"{account}: the next nonce on chain {chain} is {count}, and by the journal {expected}"
            )
    return tuple(differences)


def _next(nonces: Sequence[int]) -> int:
    return max(nonces, default=-1) + 1


async def _differs(source: Source, row: Transaction) -> str | None:
    if row.at not in ENDED or row.hash is None:
        return None
    receipt = await find(source, row.hash)
    name = f"0x{row.hash.hex()}, nonce {row.nonce} of {row.account}"
    if row.at is not State.FINAL:
        return None if receipt is None else f"{name}: {row.state}, but block {receipt.block.number} has it"
    if receipt is None:
        return f"{name}: final, but in no block of the chain"
    if receipt.block.hash != row.block_hash:
        there = f"block {receipt.block.number}, 0x{receipt.block.hash.hex()}"
        return f"{name}: final in block 0x{(row.block_hash or b'').hex()}, but the chain has it in {there}"
    if receipt.succeeded != row.succeeded:
        words = {True: "succeeded", False: "reverted", None: "nothing"}
        return f"{name}: the journal says {words[row.succeeded]}, the chain {words[receipt.succeeded]}"
    return None
