"""What a signer has signed counts against the policy's budgets, executed or not, and after a restart too."""

import re
from collections.abc import Callable

import pytest
from vault_world import World

from keeper.errors import PolicyError
from keeper.planning import budgets
from keeper.planning.bounds import DAY
from keeper.planning.plan import Kind, Plan
from keeper.quorum.signer import PlanRefusedError, Signer

Make = Callable[..., Signer]


def moved(world: World, plan: Plan) -> int:
    return budgets.spent(world.policy, [plan]).moved


async def once_signed_and_expired(world: World, make_signer: Make) -> tuple[World, Plan]:
    """A budget for one and a half such plans, of which one is signed, never sent, and no longer valid."""
    amount = moved(world, await world.propose(Kind.BATCH))
    kept = world.under(budgets={"moved": amount * 3 // 2, "plans": 5})
    first = await kept.propose(Kind.BATCH)
    assert moved(kept, first) == amount > 0
    await make_signer(policy=kept.policy).approve(first.to_bytes())
    kept.devnet.warp(kept.policy.time.validity + 1)
    return kept, first


async def test_a_signed_plan_counts_though_it_was_never_sent_and_the_signer_restarted(
    settled: World, make_signer: Make
) -> None:
    kept, first = await once_signed_and_expired(settled, make_signer)
    second = await kept.propose(Kind.BATCH)
    assert second.slot == first.slot, "the slot is free again: nothing but the budget is in the way"
    both = moved(kept, first) + moved(kept, second)
    with pytest.raises(PlanRefusedError) as caught:
        await make_signer(policy=kept.policy).approve(second.to_bytes())
    assert caught.value.code == "over_budget"
    budget = kept.policy.budgets
    assert budget is not None
    assert f"budgets.moved]: expected at most {budget.moved:,}, saw {both:,}" in str(caught.value)
    fits = re.search(r"from reference time (\d+) on", str(caught.value))
    assert fits is not None
    assert int(fits[1]) == first.reference_time + DAY
    kept.devnet.warp(int(fits[1]) - kept.now())
    third = await kept.propose(Kind.BATCH)
    assert (await make_signer(policy=kept.policy).approve(third.to_bytes())).signer


async def test_another_signer_counts_only_what_it_signed_itself(settled: World, make_signer: Make) -> None:
    kept, _ = await once_signed_and_expired(settled, make_signer)
    second = await kept.propose(Kind.BATCH)
    assert (await make_signer("signer2", policy=kept.policy).approve(second.to_bytes())).signer


async def test_a_plan_over_budget_takes_no_slot(settled: World, make_signer: Make) -> None:
    kept, _ = await once_signed_and_expired(settled, make_signer)
    refused = await kept.propose(Kind.BATCH)
    with pytest.raises(PlanRefusedError, match="daily budget"):
        await make_signer(policy=kept.policy).approve(refused.to_bytes())
    same_slot = await settled.propose(Kind.BATCH)
    assert (await make_signer(policy=settled.policy).approve(same_slot.to_bytes())).signer


async def test_a_plan_that_no_signer_could_ever_sign_is_not_built(settled: World) -> None:
    amount = moved(settled, await settled.propose(Kind.BATCH))
    with pytest.raises(PolicyError, match=rf"budgets\.moved\]: expected .*, saw {amount:,}.*never fits"):
        await settled.under(budgets={"moved": amount - 1, "plans": 5}).propose(Kind.BATCH)
    assert await settled.under(budgets={"moved": amount, "plans": 1}).propose(Kind.BATCH)
