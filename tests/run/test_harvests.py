"""Rewards that `keeper run` claims and sells by itself, with LiFi and without, and never at the cost of those
who leave."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from running import SCHEDULE, Post, Running, is_a
from staged import USDC, Staged

from keeper import engine
from keeper.config import parse
from keeper.ledger.vault import Params
from keeper.planning.actions import CLAIM, SUPPLY, SWAP_UNISWAP, WITHDRAW
from keeper.planning.build import NothingToDoError
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.simulation.cast import cast
from keeper.simulation.devnet import Devnet
from keeper.simulation.lifi_process import LiFiService
from keeper.simulation.swaps import HELD, REWARD, SECOND, deploy_selling_vault, push_prices
from keeper.simulation.vault import Deployment, table

HOUR = 3_600
MIN_WORTH = USDC // 2


def harvesting(made: Deployment) -> Deployment:
    """The same with a policy under which the keeper harvests by itself."""
    text = made.policy_toml + "\n" + table("harvest", {"min_worth": MIN_WORTH})
    return replace(made, policy_toml=text, policy=parse(tomllib.loads(text), Policy))


async def earning(devnet: Devnet, *, dollars: bool = False) -> Staged:
    """A vault at work of which a harvest is due, and a quarter of which is to be paid out."""
    with LiFiService([devnet]) as service:
        made = deploy_selling_vault(devnet, service.contracts[devnet.chain_id], dollars=dollars)
    made = harvesting(made)
    stage = Staged(devnet, made)
    await stage.open(2_000_000 * USDC)
    later(stage)
    stage.request_redeem("user1", stage.shares("user1") // 4)
    devnet.rpc("evm_mine")
    return stage


def under(stage: Staged, policy: Policy) -> Staged:
    """The same vault under another policy."""
    return Staged(stage.devnet, replace(stage.deployment, policy=policy))


def pathless(policy: Policy) -> Policy:
    """The policy without a route of the token's own."""
    swap = policy.swap
    assert swap is not None
    token = swap.tokens[REWARD].model_copy(update={"path": ()})
    return policy.model_copy(update={"swap": swap.model_copy(update={"tokens": {REWARD: token}})})


def later(stage: Staged) -> None:
    """An hour of rewards, and prices that are fresh."""
    stage.devnet.warp(HOUR)
    push_prices(stage.devnet)


async def test_rewards_are_sold_and_kept_when_they_are_worth_it_and_an_outage_of_lifi_stops_nothing(
    devnet: Devnet, tmp_path: Path
) -> None:
    with LiFiService([devnet]) as service:
        made = deploy_selling_vault(devnet, service.contracts[devnet.chain_id])
        stage = Staged(devnet, harvesting(made))
        await stage.open(2_000_000 * USDC)
        service.behave(fee_bps=0)
        (tmp_path / "lifi.toml").write_text(
            f'url = "{service.url}"\nbudget_file = "budget.json"\nwait_milliseconds = 1\nattempts = 1\n'
        )
        post = Post(tmp_path, stage)
        with cast(devnet, stage.deployment, tmp_path / "signers") as players:
            post.vault(stage, players.urls, "selling")
            post.write('lifi = "lifi.toml"\n' + SCHEDULE)
            with Running(post) as keeper:
                keeper.until(is_a("PassFinished"))
                before = (await stage.book()).idle
                later(stage)
                keeper.did(r"batch in block \d+: .*Sells [\d,]+ of WETH through LiFi")
                first = await stage.book()
                assert first.idle >= before + MIN_WORTH
                # What was earned since the plan's block is kept, and is no reason for another harvest.
                assert 0 < first.allocation[HELD] < MIN_WORTH
                nonce = first.nonce
                devnet.rpc("evm_mine")
                keeper.until(is_a("PassFinished"))
                assert (await stage.book()).nonce == nonce
                service.behave(remaining=0)
                keeper.events.clear()
                later(stage)
                keeper.did(r"batch in block \d+: .*Sells [\d,]+ of WETH through Uniswap")
                assert any(said["event"] == "QuoteFailed" for said in keeper.events)
                assert not any(said["event"] == "PassFailed" for said in keeper.events)
                assert (await stage.book()).idle >= first.idle + MIN_WORTH
                assert keeper.terminate() == 0


async def test_what_no_route_sells_is_claimed_and_kept_and_never_stands_in_the_way(devnet: Devnet) -> None:
    with LiFiService([devnet]) as service:
        made = harvesting(deploy_selling_vault(devnet, service.contracts[devnet.chain_id]))
    stage = Staged(devnet, replace(made, policy=pathless(made.policy)))
    await stage.open(2_000_000 * USDC)
    later(stage)
    plan = await stage.allocate()
    assert [call.function for call in plan.batch.calls][-2:] == ["claimRewards", "supply"]
    assert "which no route sells now" in plan.batch.reason
    held = (await stage.book()).allocation[HELD]
    assert held > MIN_WORTH
    # What is there and cannot be sold is no reason to claim again and again.
    with pytest.raises(NothingToDoError):
        await stage.propose(Kind.BATCH)


# WHO LEAVES GOES FIRST


def as_it_is(stage: Staged) -> Staged:
    return stage


def of_few_calls(stage: Staged) -> Staged:
    limits = stage.policy.limits.model_copy(update={"max_calls": 4})
    return under(stage, stage.policy.model_copy(update={"limits": limits}))


def paused(stage: Staged) -> Staged:
    name = stage.policy.vault
    stage.act("guardian", name.registry, "pauseRisk(address)", name.vault)
    return stage


def exit_only(stage: Staged) -> Staged:
    name, held = stage.policy.vault, stage.policy.position(HELD)
    stage.act("guardian", name.registry, "setExitOnly(address,address)", name.vault, held.address)
    return stage


def exits_overdue(stage: Staged) -> Staged:
    stage.close_epoch()
    stage.devnet.warp(Params.from_abi(stage.read(stage.vault, "params")).max_age + 1)
    push_prices(stage.devnet)
    assert stage.read(stage.vault, "overdueExits") > 0
    return stage


def short_of_a_limit(stage: Staged) -> Staged:
    risk = {"R26": {"daily_bps": 10_000, "notice": {"aave:USDC": 200_000}}}
    return under(stage, parse(tomllib.loads(stage.deployment.policy_toml) | {"risk": risk}, Policy))


def with_nowhere_to_keep_it(stage: Staged) -> Staged:
    without = pathless(stage.policy)
    return under(stage, without.model_copy(update={"caps": {**without.caps, HELD: 1}}))


@pytest.mark.parametrize("how", [as_it_is, of_few_calls])
async def test_a_harvest_that_is_due_waits_until_nothing_else_is_to_be_done(
    devnet: Devnet, how: Callable[[Staged], Staged]
) -> None:
    with devnet.undone():
        stage = how(await earning(devnet))
        # A quote is asked for where it is used, and nowhere else: a plan with another one is refused.
        assert engine.quote_requests(await stage.snapshot(), stage.policy) == ()
        first = await stage.allocate()
        assert {call.function for call in first.batch.calls} == {WITHDRAW.name}
        assert len(engine.quote_requests(await stage.snapshot(), stage.policy)) == 1
        second = await stage.allocate()
        assert [call.function for call in second.batch.calls] == [CLAIM.name, SWAP_UNISWAP.name, SUPPLY.name]
        with pytest.raises(NothingToDoError):
            await stage.propose(Kind.BATCH)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (paused, ""),
        (exit_only, ""),
        (exits_overdue, ""),
        (short_of_a_limit, "R26"),
        (with_nowhere_to_keep_it, f"caps.{HELD}"),
    ],
)
async def test_a_harvest_that_the_vault_would_refuse_is_none_and_exits_go_on(
    devnet: Devnet, how: Callable[[Staged], Staged], why: str
) -> None:
    with devnet.undone():
        stage = how(await earning(devnet))
        plan = await stage.allocate()
        assert {call.function for call in plan.batch.calls} == {WITHDRAW.name}
        with pytest.raises(NothingToDoError) as nothing:
            await stage.propose(Kind.BATCH)
        assert why in str(nothing.value)
        assert ("the harvest that is due is not allowed" in str(nothing.value)) is bool(why)


async def test_a_second_reward_at_a_stale_price_waits_and_nothing_waits_for_it(devnet: Devnet) -> None:
    def sold(plan: Plan) -> list[str]:
        tokens = {each.address: name for name, each in (swap.tokens if swap else {}).items()}
        return [tokens[call.token] for call in plan.batch.calls if call.function == SWAP_UNISWAP.name]

    with devnet.undone():
        stage = await earning(devnet, dollars=True)
        swap = stage.policy.swap
        exits = await stage.allocate()
        assert {call.function for call in exits.batch.calls} == {WITHDRAW.name}
        assert sold(await stage.allocate()) == [REWARD]
        with pytest.raises(NothingToDoError):
            await stage.propose(Kind.BATCH)
        push_prices(devnet, f"{SECOND}/USD")
        assert sold(await stage.allocate()) == [SECOND]
