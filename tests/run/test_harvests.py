"""Rewards that `keeper run` claims and sells by itself, with LiFi and without."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from running import SCHEDULE, Post, Running, is_a
from staged import USDC, Staged

from keeper.config import parse
from keeper.planning.build import NothingToDoError
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.simulation.cast import cast
from keeper.simulation.devnet import Devnet
from keeper.simulation.lifi_process import LiFiService
from keeper.simulation.swaps import HELD, REWARD, deploy_selling_vault, push_prices
from keeper.simulation.vault import Deployment, table

HOUR = 3_600
MIN_WORTH = USDC // 2


def harvesting(made: Deployment) -> Deployment:
    """The same with a policy under which the keeper harvests by itself."""
    text = made.policy_toml + "\n" + table("harvest", {"min_worth": MIN_WORTH})
    return replace(made, policy_toml=text, policy=parse(tomllib.loads(text), Policy))


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
    swap = made.policy.swap
    assert swap is not None
    pathless = swap.tokens[REWARD].model_copy(update={"path": ()})
    changed = swap.model_copy(update={"tokens": {REWARD: pathless}})
    stage = Staged(devnet, replace(made, policy=made.policy.model_copy(update={"swap": changed})))
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
