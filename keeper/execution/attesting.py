"""Attestations made, and made again: the I/O around `keeper.planning.attestation`."""

from collections.abc import Sequence
from typing import Any

from keeper.chain.block import BlockRef
from keeper.chain.call import Call
from keeper.chain.rpc import Source
from keeper.chain.simulate import Scene, simulate
from keeper.errors import PlanError
from keeper.planning.attestation import Attestation
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.planning.stamps import PinnedBlock
from keeper.planning.validity import require_valid
from keeper.quorum.typed_data import artefact


async def attest(
    source: Source, plan: Plan, policy: Policy, head: BlockRef, post: Sequence[Call[Any]], *, by: str
) -> Attestation:
    """Simulates the very call that the quorum would make after `head`, and reads `post` after it.

    Raises RefusedError for a plan whose time is over, KeeperError where the endpoint cannot see logs, and the
    errors of `simulate`.
    """
    require_valid(plan, head.timestamp + 1)
    time = max(head.timestamp + 1, plan.valid_after)
    return await _seen(source, plan, policy, head, time, post, by)


async def again(
    source: Source, told: Attestation, plan: Plan, policy: Policy, post: Sequence[Call[Any]]
) -> Attestation:
    """The same simulation made here. Raises PlanError when the attestation is another plan's, or when it says
    something else than this one."""
    if told.plan_hash != plan.plan_hash:
        raise PlanError("The attestation is another plan's", expected=plan.plan_hash, seen=told.plan_hash)
    await source.canonical(told.head)
    head = await source.get_block(told.head.number)
    own = await _seen(source, plan, policy, head, told.time, post, told.by)
    if own != told:
        raise PlanError(
            "The simulation shows something else than the attestation says",
            expected=_said(own),
            seen=_said(told),
            where=f"after block {told.head.number}",
        )
    return own


async def _seen(
    source: Source,
    plan: Plan,
    policy: Policy,
    head: BlockRef,
    time: int,
    post: Sequence[Call[Any]],
    by: str,
) -> Attestation:
    vault = policy.vault
    target = vault.portfolio if plan.kind is Kind.BATCH else vault.vault
    call = Call(target, artefact(plan).execute_data(), bytes, plan.kind.value)
    scene = Scene(head, time, vault.quorum, (call,), tuple(post), gas=policy.limits.max_gas)
    performance = await simulate(source, scene)
    return Attestation(
        plan_hash=plan.plan_hash,
        head=PinnedBlock(head.chain_id, head.number, head.hash, head.timestamp),
        time=time,
        succeeded=performance.calls[0].success,
        digest=performance.digest(),
        by=by,
    )


def _said(each: Attestation) -> str:
    return f"{'success' if each.succeeded else 'failure'}, digest 0x{each.digest.hex()}"
