"""Builds a local chain from nothing, in few large blocks, and takes its state and manifest.

Everything that enters a block is fixed (genesis time, accounts, order, fees), so that two builds give the
same addresses, state root and block hash.
"""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from keeper.simulation import aave, morpho, oracles, safe, tokens, uniswap
from keeper.simulation.accounts import MNEMONIC, ROLES, Account, accounts
from keeper.simulation.anvil import Anvil
from keeper.simulation.deploy import BLOCK_SECONDS, Builder
from keeper.simulation.jsonrpc import JsonRpc

GENESIS: Final = 1_767_225_600
"""2026-01-01T00:00:00Z."""

GAS_LIMIT: Final = 60_000_000
HARDFORK: Final = "cancun"
_BUILD_GAS_LIMIT: Final = 2_000_000_000
_TRADING_BLOCKS: Final = 10
_TRADING_SECONDS: Final = 480
"""Trades spread over 80 minutes: more than the 30 minutes a TWAP asks for."""

CHAIN_ARGS: Final = (
    *("--hardfork", HARDFORK),
    *("--mnemonic", MNEMONIC),
    *("--accounts", str(len(ROLES))),
    *("--balance", "10000000"),
    *("--order", "fifo"),
    *("--slots-in-an-epoch", "1"),
    "--preserve-historical-states",
)
"""The same for building and loading. `--slots-in-an-epoch 1` keeps `finalized` from staying at zero."""

MANIFEST: Final = "manifest.json"
STATE: Final = "state.json"
ALLOCS: Final = "allocs.json"


def build(chain_id: int, target: Path) -> None:
    """Writes state, manifest and allocs of a new chain into an existing directory."""
    args = [*CHAIN_ARGS, "--timestamp", str(GENESIS), "--gas-limit", str(_BUILD_GAS_LIMIT), "--no-mining"]
    with Anvil(chain_id, args) as anvil:
        rpc = JsonRpc(anvil.url)
        people = accounts()
        builder = Builder(rpc, chain_id, {role: person.key for role, person in people.items()})
        sections = _construct(builder, people)
        state = _dump(rpc)
        head = rpc("eth_getBlockByNumber", "latest", False)
        manifest = {
            "chain_id": chain_id,
            "block": {
                "number": int(head["number"], 16),
                "hash": head["hash"],
                "timestamp": int(head["timestamp"], 16),
                "state_root": head["stateRoot"],
                "base_fee": int(head["baseFeePerGas"], 16),
                "interval": BLOCK_SECONDS,
            },
            "accounts": {role: {"address": one.address, "key": one.key} for role, one in people.items()},
            **sections,
        }
    _write(target / STATE, state)
    _write(target / ALLOCS, _allocs(state["accounts"]))
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1))


def _construct(builder: Builder, people: Mapping[str, Account]) -> dict[str, Any]:
    deployer = people["deployer"].address
    money = tokens.deploy(builder, people)
    tokens.fund(builder, people, money)
    feeds = oracles.deploy(builder, people, money)
    multicall = builder.create(deployer, "Multicall3")
    safes = safe.deploy(builder, people)
    aave_core = aave.deploy(builder, people, feeds, money)
    lending = morpho.deploy(builder, people, feeds, money)
    exchange = uniswap.deploy(builder, people, money)
    builder.mine()

    market = aave.list_reserves(builder, people, aave_core, money)
    uniswap.create_pools(builder, people, exchange, money)
    builder.mine()

    market["reserves"] = aave.reserves(builder, market, money)
    aave.supply(builder, people, market, money)
    morpho.supply(builder, people, lending, money)
    pools = uniswap.add_liquidity(builder, people, exchange, money)
    now = builder.mine()

    aave.borrow(builder, people, market, money)
    morpho.borrow(builder, people, lending, money)
    market["reward"] = aave.reward(builder, people, market, money, now)
    builder.mine()

    for round_ in range(_TRADING_BLOCKS):
        uniswap.trade(builder, people, exchange, money, round_)
        builder.mine(_TRADING_SECONDS)
    oracles.push_first_answers(builder, people, feeds)
    builder.rpc("evm_setBlockGasLimit", hex(GAS_LIMIT))
    builder.mine()
    return {
        "tokens": tokens.describe(money),
        **oracles.describe(feeds),
        "multicall3": multicall,
        "aave": market,
        **morpho.describe(lending),
        "uniswap": pools,
        "safe": safes,
        "abi": ABI_NAMES,
    }


ABI_NAMES: Final = {
    "aave.pool": "PoolInstance",
    "aave.data_provider": "AaveProtocolDataProvider",
    "aave.oracle": "AaveOracle",
    "aave.rate_strategy": "DefaultReserveInterestRateStrategyV2",
    "aave.rewards_controller": "RewardsController",
    "aave.a_token": "ATokenInstance",
    "aave.variable_debt_token": "VariableDebtTokenInstance",
    "morpho.address": "Morpho",
    "morpho.irm": "AdaptiveCurveIrm",
    "morpho.oracle": "MorphoFeedOracle",
    "metamorpho.vault": "MetaMorpho",
    "uniswap.factory": "UniswapV3Factory",
    "uniswap.pool": "UniswapV3Pool",
    "uniswap.swap_router": "SwapRouter",
    "uniswap.position_manager": "NonfungiblePositionManager",
    "uniswap.quoter": "QuoterV2",
    "feeds.proxy": "PriceFeedProxy",
    "feeds.aggregator": "PriceAggregator",
    "sequencer": "SequencerUptimeFeed",
    "multicall3": "Multicall3",
    "safe.singleton": "Safe",
}
"""Which artifact describes which manifest entry."""

CONTRACTS: Final = (
    *ABI_NAMES.values(),
    "WETH9",
    "TestToken",
    "TetherLikeToken",
    "WrappedStakedEther",
    "WrappedStakedEtherFeed",
    "PoolAddressesProvider",
    "PoolAddressesProviderRegistry",
    "PoolConfiguratorInstance",
    "ACLManager",
    "EmissionManager",
    "PullRewardsTransferStrategy",
    "BorrowLogic",
    "ConfiguratorLogic",
    "FlashLoanLogic",
    "LiquidationLogic",
    "PoolLogic",
    "SupplyLogic",
    "NFTDescriptor",
    "NonfungibleTokenPositionDescriptor",
    "SafeL2",
    "SafeProxyFactory",
    "MultiSend",
    "MultiSendCallOnly",
    "CompatibilityFallbackHandler",
)
"""Every contract whose code is on the chain: part of the cache key."""


def _dump(rpc: JsonRpc) -> dict[str, Any]:
    packed = bytes.fromhex(rpc("anvil_dumpState", True)[2:])
    state: dict[str, Any] = json.loads(gzip.decompress(packed))
    return state


def _allocs(state: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Accounts in the form Forge's vm.loadAllocs reads."""
    return {
        address: {
            "balance": account["balance"],
            "nonce": hex(account["nonce"]),
            "code": account["code"],
            "storage": account["storage"],
        }
        for address, account in sorted(state.items())
    }


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")))
