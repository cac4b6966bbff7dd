"""A replica makes the origin's blocks itself, hash for hash, and says so when it cannot."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from keeper.errors import RpcError
from keeper.simulation.deploy import signed
from keeper.simulation.devnet import Devnet
from keeper.simulation.jsonrpc import JsonRpc
from keeper.simulation.market import MarketAgent
from keeper.simulation.replica import Replica, ReplicaError

USDC = 10**6


@pytest.fixture
def replica(fresh_devnet: Devnet) -> Iterator[Replica]:
    with Replica(fresh_devnet.url, fresh_devnet.chain_id) as following:
        yield following


def _same_head(origin: Devnet, replica: Replica) -> bool:
    return bool(origin.block()["hash"] == replica.rpc("eth_getBlockByNumber", "latest", False)["hash"])


def test_a_replica_reproduces_every_block(fresh_devnet: Devnet, replica: Replica) -> None:
    agent = MarketAgent(fresh_devnet, 11)
    for _ in range(10):
        agent.step()
    fresh_devnet.warp(86_400)
    agent.step()
    assert not _same_head(fresh_devnet, replica)
    replica.sync()
    assert _same_head(fresh_devnet, replica)


def test_a_block_of_several_transactions_keeps_their_order(fresh_devnet: Devnet, replica: Replica) -> None:
    fresh_devnet.rpc("evm_setAutomine", False)
    for role, other in (("user3", "user1"), ("user1", "user2"), ("user2", "user3")):
        raw = signed(
            fresh_devnet.key(role),
            chain_id=31_337,
            nonce=0,
            to=fresh_devnet.address(other),
            data=b"",
            value=7,
            gas=21_000,
        )
        fresh_devnet.rpc("eth_sendRawTransaction", raw)
    fresh_devnet.rpc("evm_mine")
    replica.sync()
    assert len(fresh_devnet.block()["transactions"]) == 3
    assert _same_head(fresh_devnet, replica)


def test_a_replica_follows_a_reorganisation_it_saw(fresh_devnet: Devnet, replica: Replica) -> None:
    agent = MarketAgent(fresh_devnet, 12)
    for _ in range(4):
        agent.step()
    replica.sync()
    orphaned = fresh_devnet.block()["hash"]
    fresh_devnet.rpc("anvil_reorg", 3, [])
    agent.step()
    replica.sync()
    assert _same_head(fresh_devnet, replica)
    with pytest.raises(RpcError):
        replica.rpc("eth_getBalance", fresh_devnet.address("user1"), {"blockHash": orphaned})


def test_blocks_the_replica_never_saw_do_not_put_it_out_of_step(
    fresh_devnet: Devnet, replica: Replica
) -> None:
    agent = MarketAgent(fresh_devnet, 13)
    for _ in range(3):
        kept = fresh_devnet.rpc("evm_snapshot")
        agent.step()
        fresh_devnet.revert(kept)
    agent.step()
    replica.sync()
    assert _same_head(fresh_devnet, replica)


def test_a_replica_names_the_block_it_cannot_reproduce(fresh_devnet: Devnet, replica: Replica) -> None:
    MarketAgent(fresh_devnet, 14).step()
    replica.sync()
    fresh_devnet.rpc("anvil_setBalance", fresh_devnet.address("user1"), "0x1")
    fresh_devnet.rpc("evm_mine")
    number = int(fresh_devnet.block()["number"], 16)
    with pytest.raises(ReplicaError, match=f"Block {number} .*stateRoot"):
        replica.sync()


def test_an_unsigned_transaction_cannot_be_replayed(fresh_devnet: Devnet, replica: Replica) -> None:
    pool = fresh_devnet.manifest["aave"]["pool"]
    fresh_devnet.rpc("anvil_setBalance", pool, hex(10**18))
    replica.rpc("anvil_setBalance", pool, hex(10**18))
    fresh_devnet.rpc("anvil_impersonateAccount", pool)
    fresh_devnet.rpc("eth_sendTransaction", {"from": pool, "to": pool})
    fresh_devnet.rpc("evm_mine")
    with pytest.raises((ReplicaError, RpcError)):
        replica.sync()


def test_a_replica_that_omits_a_sender_shows_the_chain_without_it(fresh_devnet: Devnet) -> None:
    agent = MarketAgent(fresh_devnet, 15)
    agent.whale_borrow(10_000_000 * USDC)
    agent.step()
    debt = fresh_devnet.manifest["aave"]["reserves"]["USDC"]["variable_debt_token"]
    with Replica(fresh_devnet.url, 31_337, omit=[fresh_devnet.address("whale")]) as without:
        head = without.rpc("eth_getBlockByNumber", "latest", False)
        assert head["number"] == fresh_devnet.block()["number"]
        assert head["timestamp"] == fresh_devnet.block()["timestamp"]
        whale = fresh_devnet.address("whale")[2:].lower().rjust(64, "0")
        owed = without.rpc("eth_call", {"to": debt, "data": "0x70a08231" + whale}, "latest")
    assert int(owed, 16) == 0
    assert agent.aave_debt("whale", "USDC") > 0


def test_a_replica_runs_as_a_process_of_its_own(fresh_devnet: Devnet) -> None:
    agent = MarketAgent(fresh_devnet, 16)
    agent.step()
    command = [sys.executable, "-m", "keeper.simulation.replica"]
    options = ["--origin", fresh_devnet.url, "--chain-id", "31337", "--port", "0"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        rpc = JsonRpc(process.stdout.readline().strip())
        assert rpc("eth_blockNumber") == fresh_devnet.rpc("eth_blockNumber")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_replica_keeps_in_step_from_its_own_thread(fresh_devnet: Devnet, replica: Replica) -> None:
    replica.follow()
    agent = MarketAgent(fresh_devnet, 17)
    for _ in range(5):
        agent.step()
    assert replica.sync() == int(fresh_devnet.block()["number"], 16)
    assert _same_head(fresh_devnet, replica)
