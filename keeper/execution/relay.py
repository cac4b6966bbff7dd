"""Puts an approved plan on its chain: the exact signed bytes, simulated, carried out once, and found again.

Anyone may relay; the quorum's signatures are the authority. The key here pays gas and nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keeper.chain.call import Call
from keeper.chain.pool import Replacement
from keeper.chain.rpc import Source
from keeper.events import AccountSeen, EventStream
from keeper.execution.journal.journal import PLAN, Journal
from keeper.execution.look import Receipt
from keeper.execution.sending import Order, Sender
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.quorum.collect import Approval
from keeper.quorum.typed_data import artefact
from keeper.units import Address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


@dataclass(frozen=True)
class Relayer:
    """An account that submits approved plans through one source, and the journal of what it has sent.
    `policies` are those of all vaults that it does so for on the chain: whoever's pass it is, a transaction
    keeps to its own vault's ceilings, and is final where it is for all of them."""

    endpoint: Source
    account: "LocalAccount"
    journal: Journal
    events: EventStream
    replacement: Replacement = field(default_factory=Replacement)
    policies: Sequence[Policy] = ()

    async def submit(self, plan: Plan, approval: Approval, policy: Policy) -> Receipt:
        """Simulates and sends the signed plan and waits until it is mined; once, however often it is asked.

        Raises RevertError when the quorum or the vault refuses it, in the contract's own words; RefusedError
        when it would cost more gas, or at a higher fee, than the policy allows, or has expired; EndpointError
        when it is not mined yet.
        """
        data = artefact(plan).submit_data(approval.signatures)
        call = Call(policy.vault.quorum, data, bytes, plan.kind.value)
        return await self.perform(_order(plan, call, policy.limits.max_gas), policy)

    async def carry_on(self, plan: Plan, policy: Policy) -> Receipt:
        """As `submit`, for a plan that has been submitted: the journal has its signed bytes."""
        written = self.journal.intent(key_of(plan))
        call = Call(Address(written.target), written.data, bytes, plan.kind.value)
        return await self.perform(_order(plan, call, int(written.gas)), policy)

    async def look_after(self, policy: Policy) -> None:
        """Carries on every transaction of the account, as far as it goes now. Raises EndpointError."""
        await self._sender(policy).settle()

    def tell(self) -> None:
        """Emits where the account is, as the journal has it."""
        chain, account = self.endpoint.chain_id, Address(self.account.address)
        groups = self.journal.live(chain, account)
        used = [group[0].nonce + 1 for group in groups]
        self.events.emit(
            AccountSeen(
                chain_id=chain,
                account=account,
                next_nonce=max([self.journal.spent(chain, account), *used]),
                under_way=Counter(row.state for group in groups for row in group),
            )
        )

    async def perform(self, order: Order, policy: Policy) -> Receipt:
        """Simulates and sends a call that needs nothing but its bytes, and waits until it is mined. It is
        simulated at the second from which it is valid or in the next block, whichever is later. Raises as
        `submit`."""
        return await self._sender(policy).send(order)

    def _sender(self, policy: Policy) -> Sender:
        return Sender(
            self.endpoint,
            self.account,
            self.journal,
            self.events,
            self.finality(policy),
            policy,
            self.replacement,
            policies=self.policies,
        )

    def finality(self, policy: Policy) -> int:
        """How many blocks lie on one that stays, by the policy and all others of the chain."""
        return deepest((policy, *self.policies), self.endpoint.chain_id)


def deepest(policies: Iterable[Policy], chain_id: int) -> int:
    """How many blocks of a chain lie on one that stays by all of these policies."""
    return max(each.finality[chain_id] for each in policies)


def key_of(plan: Plan) -> str:
    """The key of the order that carries out a plan."""
    return PLAN + plan.plan_hash.hex()


def _order(plan: Plan, call: Call[bytes], gas: int) -> Order:
    return Order(key_of(plan), call, gas, plan.valid_after, plan.valid_until)
