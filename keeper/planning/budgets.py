"""Daily budgets: what all signed plans together may do in a day, if every one of them is executed.

What is signed is counted, not what was sent: until a plan expires its signatures are as good as executed.
Withdrawals move nothing here, and neither they nor settlements are refused for a budget that others used up.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from keeper.errors import PolicyError
from keeper.planning.bounds import DAY
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
    """Of the signed plans those that count beside `plan`: of the day before its reference time, or not yet
    expired by then."""
    since, now = plan.reference_time - DAY, plan.reference_time
    return tuple(each for each in signed if each.valid_until >= now or each.reference_time > since)


def check(policy: Policy, plan: Plan, signed: Iterable[Plan]) -> None:
    """Raises PolicyError, naming the budget, when `plan` and the signed ones exceed what a day allows.

    `signed` are the plans whose signatures are out, expired ones of the last day included.
    """
    budgets = policy.budgets
    if budgets is None or not _pushed(policy, plan):
        return
    total = spent(policy, (plan, *counted(plan, signed)))
    _at_most("plans", budgets.plans, total.plans)
    _at_most("moved", budgets.moved, total.moved)
    if budgets.gas is not None:
        _at_most("gas", budgets.gas, total.gas)
    if budgets.venues is not None:
        for venue, assets in total.venues:
            _at_most(f"venues.{venue}", budgets.venues.get(venue, 0), assets)


def _pushed(policy: Policy, plan: Plan) -> list[tuple[str, int]]:
    """What a plan puts into venues, of the vault's asset."""
    if not isinstance(plan.terms, BatchTerms):
        return []
    asset = policy.vault.asset
    return [(call.venue, call.amount) for call in plan.terms.calls if call.amount and call.token == asset]


def _at_most(name: str, limit: int, seen: int) -> None:
    if seen > limit:
        raise PolicyError(
            "Above the policy's daily budget, with the plans that are signed already",
            expected=f"at most {limit:,}",
            seen=f"{seen:,}",
            where=f"budgets.{name}",
            hint="Wait until signed plans are a day old, or take assets out only.",
        )
