"""Daily budgets: what all signed plans together may do in a day, if every one of them is executed.

What is signed is counted, not what was sent: until a plan expires its signatures are as good as executed.
Withdrawals and repayments move nothing here, and neither they nor settlements are refused for a budget that
others used up: a debt's defence that waits for tomorrow comes too late.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keeper.errors import PolicyError
from keeper.planning.actions import REDUCING
from keeper.planning.bounds import DAY, BudgetPolicy
from keeper.planning.plan import BatchTerms, Plan
from keeper.planning.policy import Policy


@dataclass(frozen=True)
class Spent:
    """What plans may do together: `moved` into venues in the vault's asset, `gas` in wei at the ceilings."""

    plans: int
    moved: int
    gas: int
    venues: tuple[tuple[str, int], ...]


def spent(policy: Policy, plans: Iterable[Plan]) -> Spent:
    """The sum over plans; the same plan twice counts once."""
    distinct = {plan.plan_hash: plan for plan in plans}.values()
    venues: dict[str, int] = {}
    for plan in distinct:
        for venue, assets in _pushed(policy, plan):
            venues[venue] = venues.get(venue, 0) + assets
    return Spent(
        len(distinct), sum(venues.values()), len(distinct) * policy.gas_ceiling, tuple(sorted(venues.items()))
    )


def counted(plan: Plan, signed: Iterable[Plan]) -> tuple[Plan, ...]:
    """Of the signed plans those that count beside `plan`: of its vault, and of the day before its reference
    time or not yet expired by then."""
    vault = (plan.chain_id, plan.vault)
    return tuple(
        each
        for each in signed
        if (each.chain_id, each.vault) == vault and _counts_until(each) >= plan.reference_time
    )


def check(policy: Policy, plan: Plan, signed: Iterable[Plan]) -> None:
    """Raises PolicyError, naming the budget, the sum and when it fits, if `plan` and the signed ones exceed
    what a day allows.

    `signed` are the plans whose signatures are out, expired ones of the last day included.
    """
    if policy.budgets is None or not _pushed(policy, plan):
        return
    others = sorted(
        (each for each in counted(plan, signed) if each.plan_hash != plan.plan_hash), key=_counts_until
    )
    found = _exceeded(policy, policy.budgets, (plan, *others))
    if found is None:
        return
    name, limit, seen = found
    raise PolicyError(
        "Above the policy's daily budget, with the plans that are signed already",
        expected=f"at most {limit:,}",
        seen=f"{seen:,}",
        where=f"budgets.{name}",
        hint=_hint(policy, policy.budgets, plan, others),
    )


def _exceeded(policy: Policy, budgets: BudgetPolicy, plans: Sequence[Plan]) -> tuple[str, int, int] | None:
    """The first budget that the plans exceed together: its name, what it is, and their sum."""
    total = spent(policy, plans)
    sums = [("plans", budgets.plans, total.plans), ("moved", budgets.moved, total.moved)]
    if budgets.gas is not None:
        sums.append(("gas", budgets.gas, total.gas))
    if budgets.venues is not None:
        sums += [(f"venues.{name}", budgets.venues.get(name, 0), moved) for name, moved in total.venues]
    return next((each for each in sums if each[2] > each[1]), None)


def _counts_until(plan: Plan) -> int:
    """The last reference time of another plan beside which a signed one counts."""
    return max(plan.valid_until, plan.reference_time + DAY - 1)


def _hint(policy: Policy, budgets: BudgetPolicy, plan: Plan, others: Sequence[Plan]) -> str:
    """When the plan fits. `others` are sorted by when they stop counting."""
    for i, each in enumerate(others, 1):
        if _exceeded(policy, budgets, (plan, *others[i:])) is None:
            return f"Fits from reference time {_counts_until(each) + 1} on, when signed plans stop counting."
    return "The plan alone is above it, so it never fits: move less at once."


def _pushed(policy: Policy, plan: Plan) -> list[tuple[str, int]]:
    """What a plan puts into venues, of the vault's asset, but for what goes against debts."""
    if not isinstance(plan.terms, BatchTerms):
        return []
    asset = policy.vault.asset
    return [
        (call.venue, call.amount)
        for call in plan.terms.calls
        if call.amount and call.token == asset and call.function not in REDUCING
    ]
