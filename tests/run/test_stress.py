"""A day on which everybody wants out and a market cannot pay: `keeper run` pays what there is."""

from levered import lend_out
from running import Post, Running
from staged import USDC, Staged

from keeper.contracts import encode_call
from keeper.simulation.cast import Cast
from keeper.simulation.vault import EPOCH_SECONDS

DEPOSIT = 2_000_000 * USDC
REPAY = "repay(address,uint256,uint256,address)"
LONG = 2**255


def pay_back(stage: Staged) -> None:
    """And pays them back."""
    devnet, aave = stage.devnet, stage.devnet.manifest["aave"]
    who, pool, usdc = devnet.address("user2"), aave["pool"], aave["reserves"]["USDC"]["asset"]
    stage.act("deployer", usdc, "mint(address,uint256)", who, 10**8 * USDC)
    stage.act("user2", usdc, "approve(address,uint256)", pool, LONG)
    devnet.send(devnet.key("user2"), pool, encode_call(REPAY, usdc, 2**256 - 1, 2, who))


def ready(stage: Staged, role: str) -> int:
    return int(stage.read(stage.vault, "maxWithdraw", stage.devnet.address(role)))


async def test_a_queue_larger_than_what_markets_can_pay_is_paid_in_parts_by_the_same_part(
    stage: Staged, players: Cast, post: Post
) -> None:
    for role in ("user1", "user3"):
        stage.request_deposit(role, DEPOSIT)
    await stage.settle()
    for role in ("user1", "user3"):
        stage.claim(role)
    await stage.allocate()
    lend_out(stage)
    stuck = (await stage.book()).allocation["aave:USDC"]
    assert stuck > DEPOSIT // 4
    post.vault(stage, players.urls, "stress")
    post.write()
    # One wants all of it, the other half.
    for role, part in (("user1", 1), ("user3", 2)):
        stage.request_redeem(role, stage.shares(role) // part)
    with Running(post) as keeper:
        keeper.did(r"batch in block \d+: Forced: redemptions need")
        stage.devnet.warp(EPOCH_SECONDS)
        keeper.did("closed epoch 2")
        stage.devnet.rpc("evm_mine")
        keeper.did(r"settlement in block \d+: epoch 2")
        first, second = (ready(stage, role) for role in ("user1", "user3"))
        assert first + second < 3 * DEPOSIT // 2
        assert abs(first - 2 * second) <= 2
        assert (await stage.book()).accounting.queued_shares > 0
        pay_back(stage)
        keeper.events.clear()
        keeper.did(r"batch in block \d+: Forced: redemptions need")
        stage.devnet.warp(EPOCH_SECONDS)
        keeper.did("closed epoch 3")
        stage.devnet.rpc("evm_mine")
        keeper.did(r"settlement in block \d+: epoch 3")
        assert ready(stage, "user1") > DEPOSIT * 99 // 100
        assert not any(said["event"] == "PassFailed" for said in keeper.events)
        assert keeper.terminate() == 0
