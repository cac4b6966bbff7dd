import socket
from typing import Any

import pytest
from aiohttp import web
from eth_account import Account
from local_http import serving
from local_programs import CHAIN, mine

from keeper.chain.lens import read
from keeper.chain.rpc import READ_ATTEMPTS, Endpoint
from keeper.contracts import Contract, address, artifact
from keeper.errors import (
    ConfigError,
    EndpointDownError,
    EndpointError,
    ReorganisedError,
    RpcError,
    StaleHeadError,
    UnknownBlockError,
    WrongChainError,
)
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Proxy


async def test_endpoint_on_the_wrong_chain_says_which_was_expected_and_which_was_seen(anvil: Anvil) -> None:
    async with Endpoint(anvil.url, 1) as endpoint:
        with pytest.raises(WrongChainError, match=f"expected 1, saw {CHAIN}"):
            await endpoint.rpc("eth_blockNumber")
        with pytest.raises(WrongChainError, match=f"expected 1, saw {CHAIN}"):
            await endpoint.get_block(7)


async def test_complaint_08_the_chain_id_is_asked_once_and_a_read_is_one_request(anvil: Anvil) -> None:
    with Proxy([anvil.url], CHAIN) as proxy:
        async with Endpoint(proxy.url, CHAIN) as endpoint:
            await endpoint.check()
            await endpoint.check()
            head = await endpoint.latest()
            for _ in range(5):
                await endpoint.rpc("eth_getBalance", [address("0x" + "11" * 20), hex(head.number)])
    assert proxy.seen == {"eth_chainId": 1, "eth_getBlockByNumber": 1, "eth_getBalance": 5}


async def test_endpoint_that_is_down_is_named_without_the_key_in_its_url() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with Endpoint(f"http://user:word@127.0.0.1:{port}/v2/topsecret?key=hidden", CHAIN) as endpoint:
            with pytest.raises(EndpointDownError) as caught:
                await endpoint.latest()
    shown = str(caught.value) + repr(endpoint) + str(caught.value.as_dict())
    assert f"http://127.0.0.1:{port}" in shown
    assert not any(secret in shown for secret in ("topsecret", "hidden", "word@"))
    assert endpoint.requests == READ_ATTEMPTS
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("url", ["ftp://host/secret", "secret", "http://", "http://[secret"])
def test_url_that_is_no_endpoint_is_refused_without_printing_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Endpoint(url, CHAIN)
    assert "secret" not in str(caught.value)


async def test_unopened_endpoint_says_how_to_open_it(anvil: Anvil) -> None:
    with pytest.raises(EndpointError, match="async with"):
        await Endpoint(anvil.url, CHAIN).latest()


async def test_endpoint_behind_says_where_its_head_is(endpoint: Endpoint) -> None:
    with pytest.raises(StaleHeadError, match="expected block 7, saw head 0"):
        await endpoint.get_block(7)


async def test_unknown_hash_is_an_unknown_block(endpoint: Endpoint) -> None:
    with pytest.raises(UnknownBlockError, match="0x" + "77" * 32):
        await endpoint.get_block(b"\x77" * 32)


async def test_block_is_the_same_by_number_hash_and_tag(endpoint: Endpoint) -> None:
    await endpoint.rpc("anvil_mine", ["0x3"])
    block = await endpoint.latest()
    assert block.number == 3
    assert block == await endpoint.get_block(3) == await endpoint.get_block(block.hash)
    assert block.parent_hash == (await endpoint.get_block(2)).hash


async def test_reorganised_block_names_both_hashes(endpoint: Endpoint) -> None:
    before = await endpoint.rpc("evm_snapshot")
    await endpoint.rpc("evm_mine")
    orphan = await endpoint.latest()
    await endpoint.rpc("evm_revert", [before])
    await endpoint.rpc("evm_increaseTime", [100])
    await endpoint.rpc("evm_mine")
    winner = await endpoint.latest()
    assert (winner.number, winner.hash != orphan.hash) == (orphan.number, True)
    with pytest.raises(ReorganisedError) as caught:
        await endpoint.canonical(orphan)
    assert (caught.value.expected, caught.value.seen) == (orphan.hash, winner.hash)


async def test_json_rpc_error_keeps_code_and_message_and_is_not_repeated(endpoint: Endpoint) -> None:
    await endpoint.check()
    with pytest.raises(RpcError, match="-32601") as caught:
        await endpoint.rpc("eth_getNothing")
    assert (caught.value.code, endpoint.requests) == (-32601, 2)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_reads_survive_a_short_outage_and_sends_are_never_repeated(status: int) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(body["method"])
        if body["method"] != "eth_chainId" and asked.count(body["method"]) == 1:
            return web.Response(status=status)
        return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": hex(CHAIN)})

    async with serving(answer) as url, Endpoint(url, CHAIN) as endpoint:
        assert await endpoint.rpc("eth_blockNumber") == hex(CHAIN)
        with pytest.raises(EndpointDownError, match=f"HTTP {status}"):
            await endpoint.send_raw(b"\x01")
    assert asked == ["eth_chainId", "eth_blockNumber", "eth_blockNumber", "eth_sendRawTransaction"]


async def test_answer_that_is_not_json_rpc_is_refused_at_once() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="<html>login</html>")

    async with serving(answer) as url, Endpoint(url, CHAIN) as endpoint:
        with pytest.raises(EndpointError, match="does not speak JSON-RPC"):
            await endpoint.check()
    assert endpoint.requests == 1


async def test_silent_endpoint_is_down_after_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with Endpoint(url, CHAIN, timeout=0.05) as endpoint:
            with pytest.raises(EndpointDownError, match="TimeoutError"):
                await endpoint.check()


async def test_contract_deployed_by_raw_transaction_is_read_through_its_handle(endpoint: Endpoint) -> None:
    account = Account.create()
    await endpoint.rpc("anvil_setBalance", [account.address, hex(10**18)])

    async def send(nonce: int, to: str | None, data: bytes, value: int = 0) -> dict[str, Any]:
        fields = {"nonce": nonce, "data": data, "value": value, "chainId": CHAIN, "gas": 3_000_000}
        fees = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 1, **({"to": to} if to else {})}
        signed = Account.sign_transaction({**fields, **fees}, account.key)
        return await mine(endpoint, "0x" + (await endpoint.send_raw(signed.raw_transaction)).hex())

    deployed = await send(0, None, artifact("WETH9").creation_code())
    weth = Contract(address(deployed["contractAddress"]), "WETH9")
    await send(1, weth.address, weth.encode("deposit"), value=12_345)
    calls = [weth.call("balanceOf", account.address), weth.call("symbol"), weth.call("totalSupply")]
    assert await read(endpoint, await endpoint.latest(), calls) == (12_345, "WETH", 12_345)
