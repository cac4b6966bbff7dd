"""A vault on a local chain that sells what it earns: ether, which Aave pays for supplying, for dollars."""

import tomllib
from dataclasses import replace
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.config import parse
from keeper.connectors.base import key_of
from keeper.contracts import encode_call
from keeper.planning.actions import CLAIM, SUPPLY, SWAP_LIFI, SWAP_UNISWAP, WITHDRAW
from keeper.planning.policy import Policy
from keeper.simulation.devnet import Devnet
from keeper.simulation.lifi_diamond import LocalLiFi
from keeper.simulation.lifi_quotes import EXCHANGE
from keeper.simulation.vault import (
    ETHER_FEED,
    MIN_HEALTH_WAD,
    Core,
    Deployment,
    Listing,
    deploy_connectors,
    deploy_core,
    deploy_oracle,
    govern,
    list_and_seal,
    policy_text,
    table,
)
from keeper.swap.deployments import MULTIPLE, SINGLE
from keeper.swap.permissions import set_up
from keeper.swap.policy import SwapPolicy
from keeper.units import Address

REWARD: Final = "WETH"
HELD: Final = f"held:{REWARD}"
SECOND: Final = "DAI"
POOL: Final = "USDC/WETH"
EMISSION: Final = 3 * 10**13
"""Wei of ether a second, for all suppliers of USDC together."""
_FEEDS: Final = {**ETHER_FEED, SECOND: f"{SECOND}/USD"}
_FUND: Final = 1_000 * 10**18
_ETHER_PRICE: Final = 3_000
_YEAR: Final = 365 * 86_400
_FEE: Final = 3_000
_FULL_RANGE: Final = (-887_220, 887_220)
_CREATE: Final = "createAndInitializePoolIfNecessary(address,address,uint24,uint160)"
_MINT: Final = "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))"
_CONFIGURE: Final = "configureAssets((uint88,uint256,uint32,address,address,address,address)[])"


def pay_rewards(devnet: Devnet) -> None:
    """Aave begins to pay ether to suppliers of USDC, out of the treasury."""
    devnet.send(devnet.key("treasury"), _token(devnet, REWARD), encode_call("deposit()"), _FUND)
    _pay(devnet, REWARD, _FUND, EMISSION)


def _pay_dollars(devnet: Devnet) -> None:
    """And as much in DAI."""
    fund = encode_call("mint(address,uint256)", devnet.address("treasury"), _FUND * _ETHER_PRICE)
    devnet.send(devnet.key("deployer"), _token(devnet, SECOND), fund)
    _pay(devnet, SECOND, _FUND * _ETHER_PRICE, EMISSION * _ETHER_PRICE)


def _pay(devnet: Devnet, symbol: str, fund: int, emission: int) -> None:
    aave, token = devnet.manifest["aave"], _token(devnet, symbol)
    strategy, treasury = aave["reward"]["strategy"], devnet.key("treasury")
    devnet.send(treasury, token, encode_call("approve(address,uint256)", strategy, fund))
    manager, admin = aave["emission_manager"], devnet.address("deployer")
    data = encode_call("setEmissionAdmin(address,address)", token, admin)
    devnet.send(devnet.key("deployer"), manager, data)
    end = int(devnet.block()["timestamp"], 16) + _YEAR
    feed, a_token = devnet.manifest["feeds"][_FEEDS[symbol]]["proxy"], aave["reserves"]["USDC"]["a_token"]
    stream = (emission, 0, end, a_token, token, strategy, feed)
    devnet.send(devnet.key("deployer"), manager, encode_call(_CONFIGURE, [stream]))


def open_pool(devnet: Devnet) -> dict[str, Any]:
    """A second, smaller pool of ether and dollars at the price of the first, with a fee of 0.30 %: the one
    that the policy lets the handler use itself, while LiFi finds the other."""
    deep, manager = (
        devnet.manifest["uniswap"]["pools"][POOL],
        devnet.manifest["uniswap"]["position_manager"],
    )
    trader, pair = devnet.key("trader"), (deep["token0"], deep["token1"])
    root = devnet.call(deep["address"], "slot0()", [], "(uint160,int24,uint16,uint16,uint16,uint8,bool)")[0]
    devnet.send(trader, manager, encode_call(_CREATE, *pair, _FEE, root))
    depth = {_token(devnet, REWARD): 1_000 * 10**18, _token(devnet, "USDC"): 3_000_000 * 10**6}
    now = int(devnet.block()["timestamp"], 16)
    amounts = (*(depth[Address(token)] for token in pair), 0, 0)
    minted = (*pair, _FEE, *_FULL_RANGE, *amounts, devnet.address("trader"), now + _YEAR)
    devnet.send(trader, manager, encode_call(_MINT, minted))
    factory = devnet.manifest["uniswap"]["factory"]
    pool = devnet.call(factory, "getPool(address,address,uint24)", [*pair, _FEE], "(address)")
    return {"address": pool, "fee": _FEE}


def push_prices(devnet: Devnet, *more: str) -> None:
    """A round of the feeds that ether in dollars rests on, and of more, at the answers that they have."""
    for name in ("ETH/USD", "USDC/USD", *more):
        feed = devnet.manifest["feeds"][name]
        answer = devnet.call(feed["proxy"], "latestAnswer()", [], "(int256)")
        devnet.send(devnet.key("oracle"), feed["aggregator"], encode_call("push(int256)", answer))


def deploy_selling_vault(devnet: Devnet, lifi: LocalLiFi, *, dollars: bool = False) -> Deployment:
    """`deploy_vault` with rewards of ether at Aave, a place to hold ether, and a handler that sells it on
    Uniswap and through LiFi; with `dollars` the same of DAI besides. People may decide."""
    pay_rewards(devnet)
    if dollars:
        _pay_dollars(devnet)
    symbols = (REWARD, SECOND) if dollars else (REWARD,)
    core = deploy_core(devnet)
    oracle = deploy_oracle(devnet, {each: _FEEDS[each] for each in symbols})
    govern(devnet, core, "setOracle", core.vault, oracle.router)
    rewards = [_token(devnet, each) for each in symbols]
    connectors = deploy_connectors(devnet, core.portfolio, rewards)
    listings = [
        _rewarded(devnet, each, rewards) if each.connector == "aave_v3" else each for each in connectors
    ]
    for symbol, token in zip(symbols, rewards, strict=True):
        holder = devnet.deploy(devnet.key("deployer"), "TokenConnector", [core.portfolio, [token]])
        listings.append(Listing(f"held:{symbol}", holder, key_of(token), "token", {"token": token}))
    section = _section(devnet, core, lifi)
    if dollars:
        section["tokens"][SECOND] = _second(devnet, core)
    swap = parse(section, SwapPolicy)
    for _, _, data in set_up(swap):
        devnet.send(devnet.key("governor"), swap.handler, data, errors=["SwapHandler", "Registry"])
    for route in (SWAP_UNISWAP, SWAP_LIFI):
        govern(devnet, core, "setSelector", core.vault, swap.handler, route.selector, True)
    list_and_seal(devnet, core, listings)
    policy_toml = "\n".join([policy_text(devnet, core, listings, oracle, intents=True), _text(section)])
    policy = parse(tomllib.loads(policy_toml), Policy)
    return Deployment(**vars(core), oracle=oracle.router, policy=policy, policy_toml=policy_toml)


def _token(devnet: Devnet, symbol: str) -> Address:
    return Address(devnet.manifest["tokens"][symbol]["address"])


def _rewarded(devnet: Devnet, listing: Listing, rewards: list[Address]) -> Listing:
    """The connector at Aave as one whose whole account is read: whoever earns is told apart by reserve."""
    aave = devnet.manifest["aave"]
    asset = listing.params["asset"]
    names = ("asset", "a_token", "variable_debt_token")
    account = {
        "keys": [asset],
        "rewards": rewards,
        "reserves": [
            {name: each[name] for name in names}
            for each in aave["reserves"].values()
            if each["asset"] != asset
        ],
        "addresses_provider": aave["addresses_provider"],
        "oracle": aave["oracle"],
        "rewards_controller": aave["rewards_controller"],
        "min_health": MIN_HEALTH_WAD,
    }
    functions = (SUPPLY.name, WITHDRAW.name, CLAIM.name)
    return replace(listing, params={**listing.params, "account": account}, functions=functions)


def _section(devnet: Devnet, core: Core, lifi: LocalLiFi) -> dict[str, Any]:
    """The policy's section `swap`."""
    pool, weth = open_pool(devnet), _token(devnet, REWARD)
    arguments = [core.portfolio, lifi.router, lifi.deployment.diamond]
    handler = devnet.deploy(devnet.key("deployer"), "SwapHandler", arguments)
    facet = devnet.rpc("eth_getCode", lifi.deployment.generic_swap_facet, "latest")
    code_hash = "0x" + keccak(bytes.fromhex(facet[2:])).hex()
    return {
        "handler": handler,
        "router": lifi.router,
        "native": weth,
        "slippage_bps": 30,
        "max_loss": 1_000 * 10**6,
        "tokens": {
            REWARD: {
                "address": weth,
                "venue": HELD,
                "max_slippage_bps": 150,
                "path": [{"pool": pool["address"], "fee": pool["fee"], "to": core.asset}],
            }
        },
        "lifi": {
            "diamond": lifi.deployment.diamond,
            "facets": {"0x" + each.selector.hex(): code_hash for each in (SINGLE, MULTIPLE)},
            "targets": [
                {
                    "address": address,
                    "spender": target.spender,
                    "selectors": ["0x" + each.hex() for each in sorted(target.selectors)],
                }
                for address, target in lifi.targets
            ],
            "exchanges": [EXCHANGE],
            "max_fee_bps": 30,
            "max_age": 120,
        },
    }


def _second(devnet: Devnet, core: Core) -> dict[str, Any]:
    pool = devnet.manifest["uniswap"]["pools"][f"{SECOND}/USDC"]
    return {
        "address": _token(devnet, SECOND),
        "venue": f"held:{SECOND}",
        "max_slippage_bps": 150,
        "path": [{"pool": pool["address"], "fee": pool["fee"], "to": core.asset}],
    }


def _text(section: dict[str, Any]) -> str:
    plain = {name: each for name, each in section.items() if name not in ("tokens", "lifi")}
    parts = (("swap", plain), ("swap.tokens", section["tokens"]), ("swap.lifi", section["lifi"]))
    return "\n".join(table(name, values) for name, values in parts)
