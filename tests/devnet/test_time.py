"""Time on the local chains goes by their own clock (keeper-spec section 8)."""

import platform

import pytest

from keeper.contracts import Function
from keeper.errors import EndpointDownError, EndpointError, RpcError
from keeper.simulation.anvil import Anvil, binary
from keeper.simulation.build import GENESIS, HARDFORK
from keeper.simulation.devnet import Devnet
from keeper.simulation.jsonrpc import JsonRpc

INTERVAL = 12


def _time(chain: Devnet) -> int:
    return int(chain.block()["timestamp"], 16)


def test_the_first_block_after_loading_adds_exactly_one_interval(fresh_devnet: Devnet) -> None:
    built = fresh_devnet.manifest["block"]
    assert _time(fresh_devnet) == built["timestamp"]
    fresh_devnet.rpc("evm_mine")
    assert _time(fresh_devnet) == built["timestamp"] + INTERVAL
    assert int(fresh_devnet.block()["number"], 16) == built["number"] + 1


def test_a_chain_loaded_without_its_head_time_does_not_go_on_from_it(fresh_devnet: Devnet) -> None:
    """The trap itself: this is why load_args passes the head's time."""
    state = fresh_devnet.path / "state.json"
    with Anvil(31_337, ["--hardfork", HARDFORK, "--load-state", str(state)]) as anvil:
        rpc = JsonRpc(anvil.url)
        before = int(rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        rpc("evm_mine")
        after = int(rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    assert after - before != INTERVAL


def test_every_transaction_adds_one_interval(fresh_devnet: Devnet) -> None:
    before = _time(fresh_devnet)
    for count in range(1, 4):
        fresh_devnet.send(fresh_devnet.key("user1"), fresh_devnet.address("user2"), b"", value=1)
        assert _time(fresh_devnet) == before + count * INTERVAL


def test_a_transaction_that_does_not_wake_the_miner_is_mined_all_the_same(fresh_devnet: Devnet) -> None:
    fresh_devnet.rpc("evm_setAutomine", False)
    before = _time(fresh_devnet)
    receipt = fresh_devnet.send(fresh_devnet.key("user1"), fresh_devnet.address("user2"), b"", value=1)
    assert (receipt["status"], _time(fresh_devnet)) == ("0x1", before + INTERVAL)


def test_warp_moves_time_by_one_block_and_the_interval_goes_on_from_there(fresh_devnet: Devnet) -> None:
    before, number = _time(fresh_devnet), int(fresh_devnet.block()["number"], 16)
    fresh_devnet.warp(86_400)
    assert _time(fresh_devnet) == before + 86_400
    assert int(fresh_devnet.block()["number"], 16) == number + 1
    fresh_devnet.rpc("evm_mine")
    assert _time(fresh_devnet) == before + 86_400 + INTERVAL


def test_a_time_request_that_fails_is_not_swallowed(fresh_devnet: Devnet) -> None:
    with pytest.raises(RpcError):
        fresh_devnet.rpc("evm_setNextBlockTimestamp", GENESIS - 1)


def test_finalized_moves_on_short_chains(fresh_devnet: Devnet) -> None:
    head = int(fresh_devnet.block()["number"], 16)
    finalized = int(fresh_devnet.block("finalized")["number"], 16)
    assert 0 < finalized < head
    fresh_devnet.rpc("evm_mine")
    assert int(fresh_devnet.block("finalized")["number"], 16) == finalized + 1


def test_state_before_the_load_is_still_readable(fresh_devnet: Devnet) -> None:
    usdc = fresh_devnet.manifest["tokens"]["USDC"]["address"]
    request = {"to": usdc, "data": "0x" + Function("totalSupply()").encode().hex()}
    before_creation = fresh_devnet.rpc("eth_call", request, "0x0")
    after_creation = fresh_devnet.rpc("eth_call", request, "0x1")
    assert before_creation == "0x"
    assert int(after_creation, 16) > 0


def test_a_read_pinned_by_block_hash_gives_the_state_of_that_block(fresh_devnet: Devnet) -> None:
    user, pinned = fresh_devnet.address("user1"), fresh_devnet.block()["hash"]
    before = fresh_devnet.rpc("eth_getBalance", user, "latest")
    fresh_devnet.send(fresh_devnet.key("user1"), fresh_devnet.address("user2"), b"", value=10**18)
    at_block = fresh_devnet.rpc("eth_getBalance", user, {"blockHash": pinned, "requireCanonical": True})
    assert at_block == before != fresh_devnet.rpc("eth_getBalance", user, "latest")


def test_anvil_alone_forgets_the_transactions_of_a_reorganisation(fresh_devnet: Devnet) -> None:
    """The trap itself: this is why Devnet.reorganise offers them again."""
    key, to = fresh_devnet.key("user1"), fresh_devnet.address("user2")
    receipt = fresh_devnet.send(key, to, b"", value=1)
    fresh_devnet.rpc("anvil_reorg", 1, [])
    fresh_devnet.rpc("evm_mine")
    assert fresh_devnet.rpc("eth_getTransactionReceipt", receipt["transactionHash"]) is None


def test_a_reorganisation_offers_its_transactions_again_but_for_the_dropped(fresh_devnet: Devnet) -> None:
    to, hashes = fresh_devnet.address("user3"), []
    for role in ("user1", "user2"):
        hashes.append(fresh_devnet.send(fresh_devnet.key(role), to, b"", value=1)["transactionHash"])
    orphaned = fresh_devnet.block()["hash"]
    fresh_devnet.reorganise(2, drop=hashes[:1])
    assert fresh_devnet.rpc("eth_getTransactionReceipt", hashes[0]) is None
    assert fresh_devnet.rpc("eth_getTransactionReceipt", hashes[1])["status"] == "0x1"
    assert fresh_devnet.rpc("eth_getBlockByHash", orphaned, False) is None


def test_the_binary_is_the_platforms_own_and_not_the_npm_shim() -> None:
    path = binary()
    assert path.parents[1].name.startswith(f"anvil-{platform.system().lower()}-")
    assert not path.read_bytes().startswith(b"#!")


def test_a_port_that_is_taken_is_an_error_and_not_another_chain(fresh_devnet: Devnet) -> None:
    port = int(fresh_devnet.url.rpartition(":")[2])
    with pytest.raises(EndpointDownError, match=r"Anvil did not start.*in use"):
        Anvil(31_337, port=port).start()
    assert int(fresh_devnet.rpc("eth_chainId"), 16) == 31_337


def test_what_was_undone_is_not_in_the_pool_either(fresh_devnet: Devnet) -> None:
    sender, receiver = fresh_devnet.key("user1"), fresh_devnet.address("user2")
    head = fresh_devnet.block()["hash"]
    with fresh_devnet.undone():
        fresh_devnet.send(sender, receiver, b"", 1)
        fresh_devnet.rpc("evm_setAutomine", False)
        request = {"from": fresh_devnet.address("user1"), "to": receiver, "value": "0x1"}
        fresh_devnet.rpc("eth_sendTransaction", request)
        # Anvil answers before it takes what it has mined out of its pool: there may be two.
        assert fresh_devnet.rpc("txpool_status")["pending"] != "0x0"
    assert fresh_devnet.block()["hash"] == head
    assert fresh_devnet.rpc("txpool_status") == {"pending": "0x0", "queued": "0x0"}
    with pytest.raises(EndpointError, match="was not put back"):
        fresh_devnet.revert("0x7fff")
