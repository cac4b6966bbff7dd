"""The protocols on the local chain are the real ones, and alive."""

from typing import Any

import pytest

from keeper.contracts import encode_call
from keeper.errors import RevertError
from keeper.simulation.devnet import Devnet
from keeper.units import WAD

USDC = 10**6
MARKET = "(uint128,uint128,uint128,uint128,uint128,uint128)"
RESERVE = "(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint40)"
ROUND = "(uint80,int256,uint256,uint256,uint80)"


def _reserve(chain: Devnet, symbol: str) -> tuple[int, ...]:
    """Columns 2: aTokens, 4: debt, 5: supply rate, 6: borrow rate (ray)."""
    aave = chain.manifest["aave"]
    asset = aave["reserves"][symbol]["asset"]
    return tuple(chain.call(aave["data_provider"], "getReserveData(address)", [asset], RESERVE))


def _market(chain: Devnet, name: str) -> tuple[int, ...]:
    morpho = chain.manifest["morpho"]
    id_ = bytes.fromhex(morpho["markets"][name]["id"][2:])
    return tuple(chain.call(morpho["address"], "market(bytes32)", [id_], MARKET))


def _balance(chain: Devnet, token: str, who: str) -> int:
    return int(chain.call(token, "balanceOf(address)", [who], "(uint256)"))


def _act(chain: Devnet, role: str, to: str, signature: str, *args: Any) -> dict[str, Any]:
    return chain.send(chain.key(role), to, encode_call(signature, *args))


@pytest.mark.parametrize("symbol", ["WETH", "USDC", "USDT", "DAI", "wstETH", "WBTC"])
def test_every_aave_reserve_has_suppliers_borrowers_and_rates(devnet: Devnet, symbol: str) -> None:
    reserve = _reserve(devnet, symbol)
    assert reserve[2] > reserve[4] > 0
    assert 0 < reserve[5] < reserve[6]


def test_the_aave_usdc_reserve_is_used_as_it_usually_is(devnet: Devnet) -> None:
    reserve = _reserve(devnet, "USDC")
    assert 70 <= 100 * reserve[4] // reserve[2] <= 80


def test_aave_pays_suppliers_and_lets_them_go(devnet: Devnet) -> None:
    pool, section = devnet.manifest["aave"]["pool"], devnet.manifest["aave"]["reserves"]["USDC"]
    user, asset = devnet.address("user1"), section["asset"]
    before, amount = _balance(devnet, asset, user), 1_000_000 * USDC
    _act(devnet, "user1", asset, "approve(address,uint256)", pool, amount)
    _act(devnet, "user1", pool, "supply(address,uint256,address,uint16)", asset, amount, user, 0)
    devnet.warp(30 * 86_400)
    assert _balance(devnet, section["a_token"], user) > amount
    _act(devnet, "user1", pool, "withdraw(address,uint256,address)", asset, 2**256 - 1, user)
    assert _balance(devnet, section["a_token"], user) == 0
    assert _balance(devnet, asset, user) > before


def test_aave_rewards_suppliers_of_usdc(devnet: Devnet) -> None:
    aave = devnet.manifest["aave"]
    reward = aave["reward"]
    owed = devnet.call(
        aave["rewards_controller"],
        "getUserRewards(address[],address,address)",
        [[reward["asset"]], devnet.address("lender"), reward["token"]],
        "(uint256)",
    )
    assert owed > 0


@pytest.mark.parametrize("name", ["wstETH/USDC", "WBTC/USDC", "WETH/USDC", "wstETH/WETH", "wstETH/USDT"])
def test_every_morpho_market_is_used_between_85_and_92_percent(devnet: Devnet, name: str) -> None:
    market = _market(devnet, name)
    assert 85 <= 100 * market[2] // market[0] <= 92


@pytest.mark.parametrize(("name", "decimals"), [("wstETH/USDC", 18), ("WBTC/USDC", 8), ("WETH/USDC", 18)])
def test_the_morpho_oracle_scales_by_both_tokens_decimals(devnet: Devnet, name: str, decimals: int) -> None:
    market = devnet.manifest["morpho"]["markets"][name]
    price = devnet.call(market["oracle"], "price()", [], "(uint256)")
    sources = devnet.manifest["price_sources"]
    collateral = devnet.call(sources[market["collateral"]], "latestAnswer()", [], "(int256)")
    loan = devnet.call(sources["USDC"], "latestAnswer()", [], "(int256)")
    assert price == collateral * 10 ** (36 + 6 - decimals) // loan


def test_every_uniswap_pool_can_be_asked_for_a_thirty_minute_average(devnet: Devnet) -> None:
    for name, pool in devnet.manifest["uniswap"]["pools"].items():
        ticks, seconds = devnet.call(
            pool["address"], "observe(uint32[])", [[1_800, 0]], "(int56[],uint160[])"
        )
        slot = devnet.call(pool["address"], "slot0()", [], "(uint160,int24,uint16,uint16,uint16,uint8,bool)")
        assert abs((ticks[1] - ticks[0]) // 1_800 - slot[1]) < 100, name
        assert seconds[1] > seconds[0]
        assert slot[4] == devnet.manifest["uniswap"]["observation_cardinality"]
        assert devnet.call(pool["address"], "liquidity()", [], "(uint128)") > 0


def test_uniswap_quotes_what_a_swap_then_gives(fresh_devnet: Devnet) -> None:
    chain, uniswap = fresh_devnet, fresh_devnet.manifest["uniswap"]
    tokens, user = chain.manifest["tokens"], chain.address("user1")
    usdc, weth = tokens["USDC"]["address"], tokens["WETH"]["address"]
    amount, fee = 30_000 * USDC, uniswap["pools"]["USDC/WETH"]["fee"]
    quoted = chain.call(
        uniswap["quoter"],
        "quoteExactInputSingle((address,address,uint256,uint24,uint160))",
        [(usdc, weth, amount, fee, 0)],
        "(uint256,uint160,uint32,uint256)",
    )[0]
    _act(chain, "user1", usdc, "approve(address,uint256)", uniswap["swap_router"], amount)
    signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"
    _act(chain, "user1", uniswap["swap_router"], signature, (usdc, weth, fee, user, 2**40, amount, quoted, 0))
    assert _balance(chain, weth, user) == quoted
    assert 99 * WAD // 10 < quoted < 101 * WAD // 10


def test_safe_contracts_have_code_and_a_safe_can_be_made(devnet: Devnet) -> None:
    section = devnet.manifest["safe"]
    for name, address in section.items():
        if name != "version":
            assert len(devnet.rpc("eth_getCode", address, "latest")) > 500, name
    assert devnet.call(section["singleton"], "VERSION()", [], "(string)") == section["version"]
    owners = [devnet.address(role) for role in ("signer1", "signer2", "signer3")]
    zero = "0x" + "00" * 20
    setup = encode_call(
        "setup(address[],uint256,address,bytes,address,address,uint256,address)",
        *(owners, 2, zero, b"", section["fallback_handler"], zero, 0, zero),
    )
    signature, args = "createProxyWithNonce(address,bytes,uint256)", [section["singleton"], setup, 1]
    made = devnet.call(section["proxy_factory"], signature, args, "(address)")
    _act(devnet, "relayer", section["proxy_factory"], signature, *args)
    assert devnet.call(made, "getThreshold()", [], "(uint256)") == 2


def test_multicall_answers_in_order_and_reports_failures(devnet: Devnet) -> None:
    usdc, multicall = devnet.manifest["tokens"]["USDC"]["address"], devnet.manifest["multicall3"]
    calls = [(usdc, True, encode_call("decimals()")), (usdc, True, encode_call("absent()"))]
    results = devnet.call(multicall, "aggregate3((address,bool,bytes)[])", [calls], "((bool,bytes)[])")
    assert results[0] == (True, (6).to_bytes(32, "big"))
    assert results[1][0] is False
    strict = [(usdc, False, encode_call("absent()"))]
    with pytest.raises(RevertError, match="Multicall3: call failed"):
        devnet.call(multicall, "aggregate3((address,bool,bytes)[])", [strict], "((bool,bytes)[])")


def test_a_feed_takes_rounds_and_keeps_history_across_phases(fresh_devnet: Devnet) -> None:
    chain, feed = fresh_devnet, fresh_devnet.manifest["feeds"]["ETH/USD"]
    first = chain.call(feed["proxy"], "latestRoundData()", [], ROUND)
    _act(chain, "oracle", feed["aggregator"], "push(int256)", 3_100 * 10**8)
    latest = chain.call(feed["proxy"], "latestRoundData()", [], ROUND)
    assert latest[0] == first[0] + 1
    assert latest[1] == 3_100 * 10**8
    assert latest[3] == int(chain.block()["timestamp"], 16)
    replacement = chain.deploy(
        chain.key("deployer"), "PriceAggregator", [8, "ETH / USD", chain.address("oracle")]
    )
    _act(chain, "oracle", replacement, "push(int256)", 3_200 * 10**8)
    _act(chain, "deployer", feed["proxy"], "setAggregator(address)", replacement)
    moved = chain.call(feed["proxy"], "latestRoundData()", [], ROUND)
    assert (moved[0] >> 64, moved[0] & (2**64 - 1), moved[1]) == (2, 1, 3_200 * 10**8)
    assert chain.call(feed["proxy"], "getRoundData(uint80)", [latest[0]], ROUND) == latest


def test_the_sequencer_feed_says_when_its_status_changed(fresh_devnet: Devnet) -> None:
    chain, feed = fresh_devnet, fresh_devnet.manifest["sequencer"]
    assert chain.call(feed, "latestRoundData()", [], ROUND)[1] == 0
    _act(chain, "oracle", feed, "report(bool)", True)
    down = chain.call(feed, "latestRoundData()", [], ROUND)
    assert (down[1], down[2]) == (1, int(chain.block()["timestamp"], 16))
    _act(chain, "oracle", feed, "report(bool)", True)
    again = chain.call(feed, "latestRoundData()", [], ROUND)
    assert (again[2], again[3]) == (down[2], int(chain.block()["timestamp"], 16))


def test_wrapped_staked_ether_grows_by_the_day(fresh_devnet: Devnet) -> None:
    chain, token = fresh_devnet, fresh_devnet.manifest["tokens"]["wstETH"]["address"]
    before = chain.call(token, "stEthPerToken()", [], "(uint256)")
    chain.warp(365 * 86_400)
    after = chain.call(token, "stEthPerToken()", [], "(uint256)")
    assert after == before * 103 // 100


def test_usdt_returns_nothing_and_guards_its_allowance(devnet: Devnet) -> None:
    usdt, spender = devnet.manifest["tokens"]["USDT"]["address"], devnet.address("user2")
    transfer = {
        "from": devnet.address("user1"),
        "to": usdt,
        "data": "0x" + encode_call("transfer(address,uint256)", spender, 1).hex(),
    }
    assert devnet.rpc("eth_call", transfer, "latest") == "0x"
    _act(devnet, "user1", usdt, "approve(address,uint256)", spender, 1)
    with pytest.raises(RevertError):
        _act(devnet, "user1", usdt, "approve(address,uint256)", spender, 2)


def test_the_whale_can_borrow_what_is_left_on_aave(fresh_devnet: Devnet) -> None:
    reserve = fresh_devnet.manifest["aave"]["reserves"]["USDC"]
    left = _balance(fresh_devnet, reserve["asset"], reserve["a_token"])
    before = _reserve(fresh_devnet, "USDC")
    pool, whale = fresh_devnet.manifest["aave"]["pool"], fresh_devnet.address("whale")
    signature = "borrow(address,uint256,uint256,uint16,address)"
    _act(fresh_devnet, "whale", pool, signature, reserve["asset"], left - USDC, 2, 0, whale)
    assert _reserve(fresh_devnet, "USDC")[5] > 5 * before[5]
