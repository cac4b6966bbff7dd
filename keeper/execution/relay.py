"""Puts an approved plan on its chain: the exact signed bytes, simulated, sent once, and found again.

Anyone may relay; the quorum's signatures are the authority. The key here pays gas and nothing else.
"""

from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount

from keeper.chain.call import Call
from keeper.chain.rpc import Source
from keeper.events import EventStream
from keeper.execution.sending import Receipt, Sender
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.quorum.collect import Approval
from keeper.quorum.typed_data import artefact


@dataclass(frozen=True)
class Relayer:
    """An account that submits approved plans of one policy through one endpoint."""

    endpoint: Source
    account: LocalAccount
    events: EventStream

    async def submit(self, plan: Plan, approval: Approval, policy: Policy) -> Receipt:
        """Simulates and sends the signed plan and waits until it is mined.

        Raises RevertError when the quorum or the vault refuses it, in the contract's own words; RefusedError
        when it would cost more gas, or at a higher fee, than the policy allows; EndpointError when it cannot
        be found again.
        """
        data = artefact(plan).submit_data(approval.signatures)
        call = Call(policy.vault.quorum, data, bytes, plan.kind.value)
        return await self.perform(call, policy, plan.valid_after)

    async def perform(self, call: Call[Any], policy: Policy, valid_after: int) -> Receipt:
        """Simulates and sends a call that needs nothing but its bytes, and waits until it is mined. It is
        simulated at `valid_after` (seconds) or in the next block, whichever is later. Raises as `submit`."""
        sender = Sender(self.endpoint, self.account, self.events)
        return await sender.send(call, policy.limits.max_gas, valid_after, policy=policy)
