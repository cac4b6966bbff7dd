"""An owner of the Safe derives every plan itself, rehearses the Safe's very transaction, and only then signs.

The checks of a plan, the record of promises and the key are those of `keeper.quorum.signer`: a Safe's owner
and a quorum's signer differ in the digest alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from keeper.chain import lens
from keeper.chain.block import BlockRef
from keeper.chain.call import Call, CallFailure
from keeper.chain.rpc import Source
from keeper.chain.simulate import Scene, first_revert, simulate
from keeper.contracts import Function, parse_revert
from keeper.errors import DecodeError, EndpointError
from keeper.planning.plan import Plan
from keeper.quorum.signer import REVERTING, PlanRefusedError, Signer
from keeper.quorum.typed_data import Signature
from keeper.safe.account import SafeReads
from keeper.safe.envelope import Envelope
from keeper.safe.nested import message_hash
from keeper.safe.nonces import Queued, check_nonce, check_slots
from keeper.safe.transaction import Operation, SafeTransaction
from keeper.units import Address

SIMULATE: Final = Function("simulateAndRevert(address,bytes)")
"""`StorageAccessible`: a delegate call from the Safe that is always undone, and ends with what it
returned."""


@dataclass(frozen=True)
class State:
    """What the chain says of the Safe at `block`. `contracts` are the owners with code, who sign by EIP-1271;
    those that are Safes do so through their own owners (`keeper.safe.nested`)."""

    block: BlockRef
    nonce: int
    threshold: int
    owners: tuple[Address, ...]
    contracts: tuple[Address, ...]


async def read_state(source: Source, reads: SafeReads) -> State:
    """The Safe at the chain's head. Raises EndpointError, and DecodeError where there is no Safe."""
    head = await source.latest()
    wanted: tuple[Call[Any], ...] = (reads.nonce, reads.threshold, reads.owners)
    answers = await lens.read(source, head, wanted)
    for answer, call in zip(answers, wanted, strict=True):
        if isinstance(answer, CallFailure):
            raise DecodeError("There is no Safe", expected=f"an answer to {call.label}", where=reads.at)
    nonce, threshold, owners = answers
    pinned = {"blockHash": "0x" + head.hash.hex()}
    codes = [await source.rpc("eth_getCode", [owner, pinned]) for owner in owners]
    with_code = tuple(owner for owner, code in zip(owners, codes, strict=True) if code != "0x")
    return State(head, nonce, threshold, tuple(owners), with_code)


@dataclass(frozen=True)
class Owner:
    """An owner of the Safe with its own signer (policy, endpoints, record, key) and the hub's endpoint."""

    signer: Signer
    hub: Source

    async def sign(
        self,
        envelope: Envelope,
        queue: Sequence[Queued] = (),
        *,
        replace: bool = False,
        within: Address | None = None,
    ) -> Signature:
        """A signature over the Safe transaction, after every plan in it is promised on disk; with `within`, a
        Safe that is an owner of this one, over the message by which that one signs it.

        `queue` is what a service says is waiting. Raises PolicyError, RefusedError for a nonce that cannot
        be, and PlanRefusedError with the reason for all else.
        """
        policy = self.signer.policy
        envelope.require(policy)
        state = await read_state(self.hub, SafeReads(envelope.safe))
        transaction = envelope.transaction
        check_nonce(transaction, state.nonce, queue, replace=replace)
        check_slots(transaction, envelope.plans, envelope.portfolio, envelope.multi_send, queue)
        await self._require_owner(state, within)
        own = [await self.signer.examine(plan.to_bytes()) for plan in envelope.plans]
        # What is rehearsed and signed is made of what this owner derived itself.
        mine = Envelope(
            envelope.safe,
            envelope.portfolio,
            envelope.multi_send,
            envelope.nonce,
            tuple(plan for plan, _, _ in own),
        ).transaction
        _, now, head = own[-1]
        await self._rehearse(mine, tuple(plan for plan, _, _ in own), head, now)
        for plan, _, seen in own:
            self.signer.promise(plan, seen)
        if within is None:
            return await self.signer.sign(mine.hash)
        return await self.signer.sign(message_hash(mine.chain_id, within, mine.hash))

    async def _require_owner(self, state: State, within: Address | None) -> None:
        """Raises PlanRefusedError unless the key is an owner's, or one of the Safe's that is an owner."""
        if within is not None:
            if within not in state.contracts:
                raise PlanRefusedError(
                    "stranger",
                    "The Safe to sign for is no owner",
                    expected=state.contracts or "none of the owners is a contract",
                    seen=within,
                )
            state = await read_state(self.hub, SafeReads(within))
        if self.signer.address not in state.owners:
            raise PlanRefusedError(
                "stranger", "This key is no owner's", expected=state.owners, seen=self.signer.address
            )

    async def _rehearse(
        self, transaction: SafeTransaction, plans: Sequence[Plan], head: BlockRef, now: int
    ) -> None:
        time = max(head.timestamp + 1, now, *(plan.valid_after for plan in plans))
        gas = self.signer.policy.limits.max_gas
        try:
            revert = await rehearse(self.hub, transaction, head, time, gas)
        except (EndpointError, DecodeError) as error:
            raise PlanRefusedError("endpoint", str(error)) from error
        if revert is not None:
            raise PlanRefusedError("simulation", f"The Safe's transaction reverts: {revert}")


async def rehearse(
    source: Source, transaction: SafeTransaction, head: BlockRef, time: int, gas: int
) -> object | None:
    """What the Safe's transaction would revert with after `head`, without its signatures; None when it would
    not. Raises as `keeper.chain.simulate.simulate`."""
    if transaction.operation is Operation.CALL:
        call = Call(transaction.to, transaction.data, bytes, "the Safe's call")
        return await first_revert(source, Scene(head, time, transaction.safe, (call,), gas=gas), *REVERTING)
    data = SIMULATE.encode(transaction.to, transaction.data)
    call = Call(transaction.safe, data, bytes, "the Safe's delegate call")
    scene = Scene(head, time, transaction.safe, (call,), gas=gas)
    returned = (await simulate(source, scene)).calls[0].returned
    success, length = int.from_bytes(returned[:32], "big"), int.from_bytes(returned[32:64], "big")
    if len(returned) != 64 + length or success > 1:
        return parse_revert(returned, *REVERTING)
    return None if success else parse_revert(returned[64:], *REVERTING)
