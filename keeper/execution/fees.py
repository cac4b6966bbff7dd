"""What a transaction offers for its gas: enough to be mined soon, never more than the policy allows."""

from typing import Final, NamedTuple

from keeper.errors import RefusedError
from keeper.planning.policy import Policy

PRIORITY_FEE: Final = 10**9
"""Tip in wei per gas, where the policy allows as much."""


class FeeCeilingError(RefusedError):
    """The base fee is above the policy's ceiling."""


class Fees(NamedTuple):
    """EIP-1559's two figures, in wei per gas: the most that is paid in all, and the tip within it."""

    max_fee: int
    tip: int


def fees(policy: Policy | None, base_fee: int) -> Fees:
    """What to offer at a block's base fee, in wei per gas. There is room for it to double, up to the policy's
    ceiling; without a policy, or its section `fees`, no ceiling.

    Raises FeeCeilingError when the base fee alone is above the ceiling.
    """
    if policy is None or policy.fees is None:
        return Fees(2 * base_fee + PRIORITY_FEE, PRIORITY_FEE)
    ceiling = policy.fees.max_fee_per_gas
    if base_fee > ceiling:
        raise FeeCeilingError(
            "The base fee is above the policy's ceiling, and nothing was sent",
            expected=f"at most {ceiling:,} wei per gas",
            seen=f"{base_fee:,}",
            where="fees.max_fee_per_gas",
            hint="Wait until it has fallen; a plan that expires meanwhile is proposed again.",
        )
    tip = min(PRIORITY_FEE, policy.fees.max_priority_fee_per_gas)
    return Fees(min(2 * base_fee + tip, ceiling), tip)


def bumped(policy: Policy | None, previous: Fees, base_fee: int) -> Fees | None:
    """What to offer in the place of a transaction that waits: 12.5 % more of both figures, and no less than a
    new one would (nodes take a replacement from 10 % on). None where the policy's ceilings forbid it."""
    ceilings = None if policy is None else policy.fees
    if ceilings and base_fee > ceilings.max_fee_per_gas:
        return None
    fresh = fees(policy, base_fee)
    tip = max(_raised(previous.tip), fresh.tip)
    max_fee = max(_raised(previous.max_fee), fresh.max_fee, tip)
    if ceilings and (max_fee > ceilings.max_fee_per_gas or tip > ceilings.max_priority_fee_per_gas):
        return None
    return Fees(max_fee, tip)


def _raised(fee: int) -> int:
    return -(-fee * 9 // 8)
