"""A day's cap of gas stops batches that may add risk, and nothing else; over restarts, until the next day."""

from pathlib import Path

from passes import Keepers
from staged import USDC, Staged

from keeper.execution.treasury import DAY, Day, by_purpose
from keeper.simulation.cast import Cast
from keeper.simulation.vault import EPOCH_SECONDS


async def test_beyond_the_cap_people_get_out_and_nothing_else_is_begun_until_the_next_day(
    stage: Staged, players: Cast, tmp_path: Path
) -> None:
    devnet, keepers = stage.devnet, Keepers(stage, players.urls, str(tmp_path / "data"))
    # Little is left of the day in which the vault is opened, and all of the next.
    stage.request_deposit("user1", 2_000_000 * USDC)
    devnet.warp(2 * DAY + EPOCH_SECONDS - stage.head.timestamp % DAY)
    start = keepers.balance

    assert await keepers.one_pass(1) == ["closed epoch 1"]
    devnet.rpc("evm_mine")
    assert await keepers.one_pass(1) == ["settlement"]
    stage.claim("user1")
    assert (keepers.alerts, keepers.today) == (1, Day(0, 0))
    assert await keepers.one_pass(1) == []
    assert keepers.alerts == 1

    def one() -> int:
        """The most that a batch can cost now."""
        return stage.policy.limits.max_gas * (2 * stage.head.base_fee + 10**9)

    devnet.rpc("evm_mine")
    assert await keepers.one_pass(one()) == ["batch"]
    (batch,) = [each.row for each in keepers.gas.charges() if each.intent.purpose == "batch"]
    spent = keepers.today.spent
    assert keepers.today == Day(batch.cost or 0, 0)
    assert 0 < spent < one()

    # What is left is a wei too little for another; people who leave are let out all the same.
    stage.request_redeem("user1", stage.shares("user1") // 2)
    devnet.rpc("evm_mine")
    assert await keepers.one_pass(spent + one() - 1) == ["batch"]
    assert stage.state().nonce == 2
    assert keepers.today.spent == spent

    devnet.warp(DAY)
    assert keepers.today == Day(0, 0)
    await keepers.one_pass(1)
    assert keepers.alerts == 2
    paid = by_purpose(keepers.gas.charges())
    assert sum(each.wei for each in paid.values()) == start - keepers.balance
    assert {vault for vault, _ in paid} == {stage.deployment.vault}
