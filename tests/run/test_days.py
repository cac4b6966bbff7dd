"""A vault's days by `keeper run` alone, against signers in processes of their own."""

from running import DEAD, SCHEDULE, Post, Running, is_a
from staged import USDC, Staged

from keeper.execution.journal.journal import Journal
from keeper.simulation.cast import Cast
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import EPOCH_SECONDS, deploy_vault

DEPOSIT = 2_000_000 * USDC


def ask(stage: Staged) -> None:
    """A deposit, and the time that an epoch has to last."""
    stage.request_deposit("user1", DEPOSIT)
    stage.devnet.warp(EPOCH_SECONDS)


def settle(keeper: Running, stage: Staged, epoch: int) -> None:
    """What the keeper does about an epoch that is over."""
    keeper.did(f"closed epoch {epoch}")
    stage.devnet.rpc("evm_mine")
    keeper.did("settlement in block")
    assert stage.accounting().settled_epoch == epoch


async def test_a_day_is_kept_through_a_stop_in_its_middle(stage: Staged, players: Cast, post: Post) -> None:
    post.vault(stage, players.urls, "day")
    post.write()
    with Running(post) as keeper:
        ask(stage)
        settle(keeper, stage, 1)
        stage.claim("user1")
        keeper.until(lambda said: said["event"] == "TransactionSent" and said["purpose"] == "batch")
        assert keeper.terminate() == 0
    held = stage.shares("user1")
    with Running(post) as keeper:
        # Which of the two saw it mined is a matter of moments; that it happened once is not.
        keeper.until(is_a("PassFinished"))
        assert stage.state().nonce == 1
        assert (await stage.book()).allocation["aave:USDC"] > 0
        stage.request_redeem("user1", held // 2)
        keeper.did("batch in block")
        stage.devnet.warp(EPOCH_SECONDS)
        settle(keeper, stage, 2)
        assert keeper.terminate() == 0
    who = stage.devnet.address("user1")
    assert stage.read(stage.vault, "maxWithdraw", who) > DEPOSIT * 49 // 100
    status = post.status()
    assert status["ok"]
    assert status["keeper"] is None
    journal = Journal(str(post.folder / "data"))
    assert journal.executions("plan/") == 4
    assert journal.executions("close/") == 2


async def test_a_vault_that_fails_does_not_keep_another_from_its_day(
    devnet: Devnet, stage: Staged, players: Cast, post: Post
) -> None:
    broken = Staged(devnet, deploy_vault(devnet))
    post.vault(broken, [DEAD] * 3, "broken")
    post.vault(stage, players.urls, "sound")
    post.write(SCHEDULE + "[breakers]\nfailures = 2\n")
    ask(broken)
    ask(stage)
    with Running(post) as keeper:
        settle(keeper, stage, 1)
        keeper.did("batch in block")
        status = post.status()
        assert keeper.terminate() == 0
    first, second = status["vaults"]
    assert "Too few signatures" in first["trouble"]
    assert [each["breaker"] for each in first["breakers"]] == ["errors"]
    assert (second["trouble"], second["breakers"]) == ("", [])
    assert broken.accounting().settled_epoch == 0


async def test_a_tripped_breaker_stops_risk_and_not_exits_until_it_is_resumed(
    stage: Staged, players: Cast, post: Post
) -> None:
    post.vault(stage, [DEAD] * 3, "vault")
    post.write(SCHEDULE + "[breakers]\nfailures = 2\n")
    ask(stage)
    with Running(post) as keeper:
        keeper.did("closed epoch 1")
        stage.devnet.rpc("evm_mine")
        tripped = keeper.until(is_a("BreakerTripped"))
        assert tripped["reason"].startswith("2 of the last ")
    post.vaults.clear()
    post.vault(stage, players.urls, "vault")
    post.write()
    with Running(post) as keeper:
        # The plan that nobody signed is still the one.
        keeper.did("settlement in block")
        stage.claim("user1")
        stage.devnet.rpc("evm_mine")
        keeper.until(is_a("PassFinished"))
        assert (await stage.book()).idle == DEPOSIT
        resumed = post.keeper("resume", stage.deployment.vault, "--reason", "the signers are back")
        assert resumed.returncode == 0, resumed.stderr
        assert "errors had tripped" in resumed.stdout
        stage.devnet.rpc("evm_mine")
        keeper.did("batch in block")
        assert (await stage.book()).idle < DEPOSIT
        assert keeper.terminate() == 0
    again = post.keeper("resume", stage.deployment.vault, "--reason", "twice")
    assert again.returncode == 4
    assert "No circuit breaker" in again.stderr
