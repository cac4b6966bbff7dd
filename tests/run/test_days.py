"""A vault's days by `keeper run` alone, against signers in processes of their own."""

from running import DEAD, SCHEDULE, Post, Running, Said, is_a
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


def sends_a_batch(said: Said) -> bool:
    return said["event"] == "TransactionSent" and said["purpose"] == "batch"


async def test_a_day_is_kept_through_a_stop_in_its_middle(stage: Staged, players: Cast, post: Post) -> None:
    post.vault(stage, players.urls, "day")
    post.write()
    with Running(post) as keeper:
        ask(stage)
        keeper.did("closed epoch 1")
        stage.devnet.rpc("evm_mine")
        # On its way, and not yet seen in a block.
        keeper.until(sends_a_batch)
        assert keeper.terminate() == 0
    assert stage.accounting().settled_epoch == 1
    stage.claim("user1")
    with Running(post) as keeper:
        keeper.until(is_a("PassFinished"))
        assert stage.state().nonce == 1
        assert sum((await stage.book()).allocation.values()) > 0
        stage.request_redeem("user1", stage.shares("user1") // 2)
        keeper.did(r"batch in block \d+: Forced: redemptions need")
        stage.devnet.warp(EPOCH_SECONDS)
        keeper.did("closed epoch 2")
        stage.devnet.rpc("evm_mine")
        keeper.did(r"settlement in block \d+: epoch 2")
        assert keeper.terminate() == 0
    ready = stage.read(stage.vault, "maxWithdraw", stage.devnet.address("user1"))
    assert DEPOSIT * 49 // 100 < ready < DEPOSIT * 51 // 100
    done = post.keeper("run", "--once")
    assert done.returncode == 0, done.stderr
    status = post.status()
    assert status["ok"]
    assert status["keeper"] is None
    assert [each["plans"] for each in status["vaults"]] == [[]]
    journal = Journal(str(post.folder / "data"))
    # Two epochs, each closed and settled once, and as many batches as the chain has seen.
    assert (journal.executions("plan/"), journal.executions("close/")) == (2 + stage.state().nonce, 2)


async def test_risk_stops_at_one_vault_and_exits_do_not_while_another_fails_all_day(
    devnet: Devnet, stage: Staged, players: Cast, post: Post
) -> None:
    broken = Staged(devnet, deploy_vault(devnet))
    name = stage.deployment.vault
    ask(broken)
    post.vault(stage, [DEAD] * 3, "sound")
    post.write(SCHEDULE + "[breakers]\nfailures = 2\n")
    ask(stage)
    with Running(post) as keeper:
        keeper.did("closed epoch 1")
        devnet.rpc("evm_mine")
        assert keeper.until(is_a("BreakerTripped"))["reason"].startswith("2 of the last ")
        assert keeper.terminate() == 0
    post.vaults.clear()
    post.vault(broken, [DEAD] * 3, "broken")
    post.vault(stage, players.urls, "sound")
    post.write()
    with Running(post) as keeper:
        # The plan that nobody had signed.
        keeper.did(r"settlement in block \d+: epoch 1")
        keeper.did("closed epoch 1")
        devnet.rpc("evm_mine")
        failed = keeper.until(is_a("PassFailed"))
        assert failed["vault"] == broken.deployment.vault
        keeper.until(lambda said: said["event"] == "PassFinished" and said["vault"] == name)
        assert (await stage.book()).idle == DEPOSIT
        first, second = post.status()["vaults"]
        assert "Too few signatures" in first["trouble"]
        assert (second["trouble"], [each["breaker"] for each in second["breakers"]]) == ("", ["errors"])
        unseen = post.keeper("resume", name, "--reason", "a fall of the price", "--breaker", "loss")
        assert unseen.returncode == 4
        assert "What has tripped is not what you were shown" in unseen.stderr
        resumed = post.keeper("resume", name, "--reason", "the signers are back", "--breaker", "errors")
        assert resumed.returncode == 0, resumed.stderr
        assert "errors had tripped" in resumed.stdout
        devnet.rpc("evm_mine")
        keeper.did("batch in block")
        assert (await stage.book()).idle < DEPOSIT
        assert keeper.terminate() == 0
    assert broken.accounting().settled_epoch == 0
    again = post.keeper("resume", name, "--reason", "twice")
    assert again.returncode == 4
    assert "No circuit breaker" in again.stderr
