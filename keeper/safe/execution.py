"""From plans to a Safe transaction that waits for signatures, and from signatures to a mined block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keeper.chain.call import Call
from keeper.chain.rpc import Source
from keeper.errors import DecodeError, PolicyError, QuorumError
from keeper.execution.look import Receipt
from keeper.execution.relay import Relayer
from keeper.execution.sending import Order
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.quorum.typed_data import Signature
from keeper.safe.account import SafeReads
from keeper.safe.envelope import Envelope, safe_policy
from keeper.safe.nested import assembled
from keeper.safe.nonces import Queued, check_nonce, check_slots, next_nonce
from keeper.safe.owner import State, read_state


async def propose(
    plans: Sequence[Plan],
    policy: Policy,
    hub: Source,
    queue: Sequence[Queued] = (),
    *,
    nonce: int | None = None,
    replacing: bool = False,
) -> Envelope:
    """The plans as one transaction of the policy's Safe, in their order, under `nonce`, or the next that is
    free by the chain and by the `queue` of a service.

    Raises PolicyError for a plan that is not the policy's, and RefusedError for a nonce or slot that is
    taken.
    """
    if not plans:
        raise PolicyError("Nothing to propose", expected="one plan or more", seen=0)
    safe = safe_policy(policy)
    state = await read_state(hub, SafeReads(policy.vault.quorum))
    made = Envelope(
        policy.vault.quorum,
        policy.vault.portfolio,
        safe.multi_send,
        next_nonce(state.nonce, queue) if nonce is None else nonce,
        tuple(plans),
    )
    made.require(policy)
    check_nonce(made.transaction, state.nonce, queue, replace=replacing)
    check_slots(made.transaction, made.plans, made.portfolio, made.multi_send, queue)
    return made


def countable(envelope: Envelope, state: State) -> Envelope:
    """The envelope with the signatures of the Safe's present owners only."""
    present = tuple(each for each in envelope.signatures if each.signer in state.owners)
    return replace(envelope, signatures=present)


async def _of_contracts(envelope: Envelope, state: State, hub: Source) -> tuple[Signature, ...]:
    """Signatures of the Safe's owners that are Safes, as far as enough of their own present owners signed."""
    named = {each.safe for each in envelope.members} & set(state.contracts)
    quorums = {}
    for safe in sorted(named):
        try:
            inner = await read_state(hub, SafeReads(safe))
        except DecodeError:
            # Another kind of contract: anyone may have written such a member into the file.
            continue
        quorums[safe] = (inner.owners, inner.threshold)
    return assembled(envelope.members, quorums)


async def send(envelope: Envelope, policy: Policy, relayer: Relayer) -> Receipt:
    """Simulates `execTransaction` with the signatures, sends it and waits until it is mined.

    Raises PolicyError, RefusedError for a nonce that is spent or not yet due, QuorumError when too few
    present owners have signed, and as `Relayer.perform`.
    """
    envelope.require(policy)
    state = await read_state(relayer.endpoint, SafeReads(envelope.safe))
    check_nonce(envelope.transaction, state.nonce, ())
    usable = countable(envelope, state).signatures
    contracts = await _of_contracts(envelope, state, relayer.endpoint)
    signed = {each.signer for each in (*usable, *contracts)}
    if len(signed) < state.threshold:
        missing = [owner for owner in state.owners if owner not in signed]
        raise QuorumError(
            "Too few of the Safe's owners have signed",
            expected=state.threshold,
            seen=len(signed),
            where=f"0x{envelope.hash.hex()}",
            hint=f"Without a signature: {', '.join(missing)}",
        )
    data = envelope.transaction.execute_data(usable, state.threshold, contracts)
    call = Call(envelope.safe, data, bytes, "+".join(plan.kind.value for plan in envelope.plans))
    order = Order(
        f"safe/{envelope.hash.hex()}",
        call,
        policy.limits.max_gas,
        max(plan.valid_after for plan in envelope.plans),
        min(plan.valid_until for plan in envelope.plans),
    )
    return await relayer.perform(order, policy)
