"""Aave v3.6 on a local chain, from its published sources."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.contracts import artifact
from keeper.simulation.accounts import Account
from keeper.simulation.deploy import Builder, encoded
from keeper.simulation.oracles import Oracles
from keeper.simulation.tokens import USD, Token
from keeper.units import Address

_ZERO: Final = Address("0x0000000000000000000000000000000000000000")
_MAX: Final = 2**256 - 1
_INCENTIVES: Final = keccak(b"INCENTIVES_CONTROLLER")
_VARIABLE: Final = 2
_YEAR: Final = 365 * 86_400


@dataclass(frozen=True)
class Reserve:
    """Risk and rate parameters in basis points; an `ltv` of zero is no collateral."""

    ltv: int
    threshold: int
    bonus: int
    factor: int
    optimal: int
    base: int
    slope1: int
    slope2: int


RESERVES: Final = {
    "WETH": Reserve(8050, 8300, 10500, 1500, 9000, 0, 270, 8000),
    "USDC": Reserve(7500, 7800, 10450, 1000, 9000, 0, 550, 6000),
    "USDT": Reserve(7500, 7800, 10450, 1000, 9000, 0, 550, 7500),
    "DAI": Reserve(6300, 7700, 10500, 2500, 9000, 0, 550, 7500),
    "wstETH": Reserve(7850, 8100, 10600, 3500, 8000, 0, 150, 8500),
    "WBTC": Reserve(7300, 7800, 10500, 5000, 8000, 0, 400, 30000),
}
"""Close to those of the Ethereum market."""

_SUPPLIES: Final = (
    ("lender", "USDC", 120_000_000),
    ("lender", "USDT", 60_000_000),
    ("lender", "DAI", 40_000_000),
    ("lender", "WETH", 60_000_000),
    ("borrower", "WETH", 210_000_000),
    ("borrower", "WBTC", 90_000_000),
    ("staker", "wstETH", 240_000_000),
    ("agent", "WETH", 90_000_000),
    ("whale", "WBTC", 900_000_000),
)
"""(role, token, dollars)."""

_BORROWS: Final = (
    ("borrower", "USDC", 88_000_000),
    ("borrower", "USDT", 43_000_000),
    ("borrower", "DAI", 26_000_000),
    ("borrower", "WBTC", 12_000_000),
    ("borrower", "wstETH", 20_000_000),
    ("staker", "WETH", 150_000_000),
    ("agent", "USDC", 2_000_000),
)


@dataclass(frozen=True)
class Core:
    """Contracts of the market that exist before any reserve."""

    provider: Address
    registry: Address
    strategy: Address
    acl: Address
    oracle: Address
    emission_manager: Address
    libraries: Mapping[str, Address]


def deploy(
    builder: Builder, people: Mapping[str, Account], oracles: Oracles, tokens: Mapping[str, Token]
) -> Core:
    """Queues addresses provider, libraries, pool, configurator, ACL, oracle and rewards controller."""
    admin = people["deployer"].address
    provider = builder.create(admin, "PoolAddressesProvider", "Omnikeeper local market", admin)
    registry = builder.create(admin, "PoolAddressesProviderRegistry", admin)
    builder.send(admin, registry, "registerAddressesProvider(address,uint256)", provider, 1)
    strategy = builder.create(admin, "DefaultReserveInterestRateStrategyV2", provider)
    libraries: dict[str, Address] = {}
    pool = _linked(builder, admin, "PoolInstance", libraries, provider, strategy)
    configurator = _linked(builder, admin, "PoolConfiguratorInstance", libraries)
    builder.send(admin, provider, "setACLAdmin(address)", admin)
    acl = builder.create(admin, "ACLManager", provider)
    builder.send(admin, provider, "setACLManager(address)", acl)
    builder.send(admin, acl, "addPoolAdmin(address)", admin)
    symbols = list(RESERVES)
    oracle = builder.create(
        admin,
        "AaveOracle",
        provider,
        [tokens[symbol].address for symbol in symbols],
        [oracles.sources[symbol] for symbol in symbols],
        _ZERO,
        _ZERO,
        USD,
    )
    builder.send(admin, provider, "setPriceOracle(address)", oracle)
    emission = builder.create(admin, "EmissionManager", admin)
    rewards = builder.create(admin, "RewardsController", emission)
    builder.send(admin, provider, "setAddressAsProxy(bytes32,address)", _INCENTIVES, rewards)
    builder.send(admin, provider, "setPoolImpl(address)", pool)
    builder.send(admin, provider, "setPoolConfiguratorImpl(address)", configurator)
    return Core(provider, registry, strategy, acl, oracle, emission, libraries)


def _linked(
    builder: Builder, admin: Address, name: str, libraries: dict[str, Address], *args: Any
) -> Address:
    for library in artifact(name).libraries:
        if library not in libraries:
            libraries[library] = _linked(builder, admin, library, libraries)
    return builder.create(admin, name, *args, libraries=libraries)


def list_reserves(
    builder: Builder, people: Mapping[str, Account], core: Core, tokens: Mapping[str, Token]
) -> dict[str, Any]:
    """Queues the reserves and their parameters; returns manifest section "aave" without its tokens."""
    admin = people["deployer"].address
    pool = builder.view(core.provider, "getPool()", "(address)")
    configurator = builder.view(core.provider, "getPoolConfigurator()", "(address)")
    rewards = builder.view(core.provider, "getAddress(bytes32)", "(address)", _INCENTIVES)
    data_provider = builder.create(admin, "AaveProtocolDataProvider", core.provider)
    builder.send(admin, core.provider, "setPoolDataProvider(address)", data_provider)
    builder.send(admin, core.emission_manager, "setRewardsController(address)", rewards)
    a_token = builder.create(admin, "ATokenInstance", pool, rewards, people["treasury"].address)
    debt_token = builder.create(admin, "VariableDebtTokenInstance", pool, rewards)
    inputs = [_reserve_input(tokens[symbol], a_token, debt_token) for symbol in RESERVES]
    shape = "(address,address,address,string,string,string,string,bytes,bytes)[]"
    for one in inputs:
        builder.send(admin, configurator, f"initReserves({shape})", [one])
    for symbol, reserve in RESERVES.items():
        _configure(builder, admin, configurator, tokens[symbol].address, reserve)
    return {
        "version": "3.6.0",
        "addresses_provider": core.provider,
        "registry": core.registry,
        "pool": pool,
        "configurator": configurator,
        "acl_manager": core.acl,
        "oracle": core.oracle,
        "rate_strategy": core.strategy,
        "data_provider": data_provider,
        "rewards_controller": rewards,
        "emission_manager": core.emission_manager,
        "libraries": dict(core.libraries),
    }


def _reserve_input(token: Token, a_token: Address, debt_token: Address) -> tuple[Any, ...]:
    reserve = RESERVES[token.symbol]
    rate = encoded(
        "uint16,uint32,uint32,uint32", reserve.optimal, reserve.base, reserve.slope1, reserve.slope2
    )
    return (
        a_token,
        debt_token,
        token.address,
        f"Aave {token.symbol}",
        f"a{token.symbol}",
        f"Aave Variable Debt {token.symbol}",
        f"variableDebt{token.symbol}",
        b"",
        rate,
    )


def _configure(
    builder: Builder, admin: Address, configurator: Address, token: Address, reserve: Reserve
) -> None:
    builder.send(admin, configurator, "setReserveBorrowing(address,bool)", token, True)
    builder.send(admin, configurator, "setReserveFactor(address,uint256)", token, reserve.factor)
    builder.send(admin, configurator, "setReserveFlashLoaning(address,bool)", token, True)
    builder.send(
        admin,
        configurator,
        "configureReserveAsCollateral(address,uint256,uint256,uint256)",
        token,
        reserve.ltv,
        reserve.threshold,
        reserve.bonus,
    )


def supply(
    builder: Builder, people: Mapping[str, Account], section: Mapping[str, Any], tokens: Mapping[str, Token]
) -> None:
    """Queues approvals and supplies."""
    pool = section["pool"]
    for role in ("lender", "borrower", "staker", "agent", "whale"):
        for token in tokens.values():
            builder.send(people[role].address, token.address, "approve(address,uint256)", pool, _MAX)
    for role, symbol, dollars in _SUPPLIES:
        who, token = people[role].address, tokens[symbol]
        amount = token.worth(dollars)
        builder.send(who, pool, "supply(address,uint256,address,uint16)", token.address, amount, who, 0)


def borrow(
    builder: Builder, people: Mapping[str, Account], section: Mapping[str, Any], tokens: Mapping[str, Token]
) -> None:
    """Queues the loans that bring utilisation to where it usually is."""
    for role, symbol, dollars in _BORROWS:
        who, token = people[role].address, tokens[symbol]
        builder.send(
            who,
            section["pool"],
            "borrow(address,uint256,uint256,uint16,address)",
            token.address,
            token.worth(dollars),
            _VARIABLE,
            0,
            who,
        )


def reward(
    builder: Builder,
    people: Mapping[str, Account],
    section: Mapping[str, Any],
    tokens: Mapping[str, Token],
    now: int,
) -> dict[str, Any]:
    """Queues a reward in its own token for suppliers of USDC; returns manifest section "reward"."""
    admin, vault = people["deployer"].address, people["treasury"].address
    controller, emission = section["rewards_controller"], section["emission_manager"]
    token = builder.create(admin, "TestToken", "Market Reward", "REWARD", 18, admin)
    feed = builder.create(admin, "PriceAggregator", 8, "REWARD / USD", people["oracle"].address)
    proxy = builder.create(admin, "PriceFeedProxy", feed, admin)
    builder.send(people["oracle"].address, feed, "push(int256)", 2 * USD)
    strategy = builder.create(admin, "PullRewardsTransferStrategy", controller, admin, vault)
    builder.send(admin, token, "mint(address,uint256)", vault, 10_000_000 * 10**18)
    builder.send(vault, token, "approve(address,uint256)", strategy, _MAX)
    builder.send(admin, emission, "setEmissionAdmin(address,address)", token, admin)
    rate, end = 10**15, now + 5 * _YEAR
    a_usdc = section["reserves"]["USDC"]["a_token"]
    shape = "(uint88,uint256,uint32,address,address,address,address)[]"
    builder.send(
        admin, emission, f"configureAssets({shape})", [(rate, 0, end, a_usdc, token, strategy, proxy)]
    )
    return {"token": token, "asset": a_usdc, "emission_per_second": rate, "ends": end, "strategy": strategy}


def reserves(builder: Builder, section: Mapping[str, Any], tokens: Mapping[str, Token]) -> dict[str, Any]:
    """Manifest section "aave.reserves", read from the chain."""
    found = {}
    for symbol, parameters in RESERVES.items():
        a_token, _, debt = builder.view(
            section["data_provider"],
            "getReserveTokensAddresses(address)",
            "(address,address,address)",
            tokens[symbol].address,
        )
        found[symbol] = {
            "asset": tokens[symbol].address,
            "a_token": a_token,
            "variable_debt_token": debt,
            "reserve_factor_bps": parameters.factor,
            "ltv_bps": parameters.ltv,
            "liquidation_threshold_bps": parameters.threshold,
            "optimal_usage_bps": parameters.optimal,
            "base_rate_bps": parameters.base,
            "slope1_bps": parameters.slope1,
            "slope2_bps": parameters.slope2,
        }
    return found
