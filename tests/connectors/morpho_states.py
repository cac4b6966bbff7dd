"""States of Morpho Blue markets, drawn to hurt."""

from dataclasses import dataclass, replace
from typing import Any

from conftest import Walk
from states import FAILURE, FEEDS, FIRST_WORD, NOTHING, ONE_BYTE, Stage, State, magnitude, slot

from keeper.connectors.base import PositionRef
from keeper.connectors.morpho_math import MAX_RATE_AT_TARGET, MIN_RATE_AT_TARGET
from keeper.simulation.vault import deploy_oracle
from keeper.units import WAD, Address

FIELDS = ("loan_token", "collateral_token", "oracle", "irm", "lltv")
SUPPLY_ONLY = "wstETH/USDC"
BORROWABLE = ("WETH/USDC", "WBTC/USDC", "wstETH/WETH", "wstETH/USDT")
MIN_HEALTH = 105 * WAD // 100
POSITION_SLOT, MARKET_SLOT = 2, 3
UINT128 = 2**128 - 1
YEARS = 10**10
"""Longest time without an accrual, in seconds: 300 years."""
MAX_FEE = WAD // 4


@dataclass(frozen=True)
class Lender:
    """Our connector over every market of the local chain."""

    stage: Stage
    morpho: Address
    address: Address

    @classmethod
    def open(cls, stage: Stage) -> "Lender":
        morpho = stage.devnet.manifest["morpho"]
        ids = {name: bytes.fromhex(market["id"][2:]) for name, market in morpho["markets"].items()}
        terms = ([ids[SUPPLY_ONLY]], [ids[name] for name in BORROWABLE], [], MIN_HEALTH)
        # No market is accepted whose report nobody can tell the gas of: one token loses its price afterwards.
        stage.use(deploy_oracle(stage.devnet, FEEDS | {"USDT": "USDT/USD"}).router)
        address = stage.deploy("MorphoBlueConnector", morpho["address"], terms)
        stage.use(stage.router)
        return cls(stage, morpho["address"], address)

    def market(self, name: str) -> dict[str, Any]:
        return {field: self.stage.devnet.manifest["morpho"]["markets"][name][field] for field in FIELDS}

    def ref(self, name: str) -> PositionRef:
        market = self.stage.devnet.manifest["morpho"]["markets"][name]
        params: dict[str, Any] = {"morpho": self.morpho, "market": self.market(name)}
        if name != SUPPLY_ONLY:
            params["borrowable"] = True
        key = bytes.fromhex(market["id"][2:])
        return PositionRef("morpho_blue", self.address, key, f"morpho:{name}", params)


@dataclass
class MarketState:
    """What Morpho and its rate model store of a market, and what one holder has in it."""

    supply_assets: int
    supply_shares: int
    borrow_assets: int
    borrow_shares: int
    last_update: int
    fee: int
    rate_at_target: int
    shares: int = 0
    debt_shares: int = 0
    collateral: int = 0

    def write(self, state: State, morpho: str, irm: str, key: bytes, holder: str) -> None:
        """Lays it over the chain."""
        market, position = slot(MARKET_SLOT, key), slot(POSITION_SLOT, key, holder)
        state.put(morpho, market, self.supply_assets | self.supply_shares << 128)
        state.put(morpho, market + 1, self.borrow_assets | self.borrow_shares << 128)
        state.put(morpho, market + 2, self.last_update | self.fee << 128)
        state.put(morpho, position, self.shares)
        state.put(morpho, position + 1, self.debt_shares | self.collateral << 128)
        state.put(irm, slot(0, key), self.rate_at_target)


def part(walk: Walk, whole: int) -> int:
    """None of it, all of it, or anything between."""
    return (0, whole, magnitude(walk, whole), walk.draw(whole + 1))[walk.draw(4)]


def share_price(walk: Walk, assets: int) -> int:
    """Shares to `assets`: mostly near Morpho's million to one, now and then anything."""
    if walk.draw(5) == 0:
        return magnitude(walk, UINT128)
    return min(UINT128, max(0, assets * 10**6 + walk.draw(assets * 10**5 + 2) - assets * 5 * 10**4))


def elapsed(walk: Walk, at: int) -> int:
    """Seconds since the last accrual."""
    return min(at - 1, magnitude(walk, YEARS))


def draw_market(walk: Walk, at: int) -> MarketState:
    """A market with any totals, utilisation, fee, rate and age; a holder with any part of it."""
    supply_assets = magnitude(walk, (UINT128, 10**30, 10**16)[walk.draw(3)])
    borrow_assets = part(walk, supply_assets)
    if walk.draw(4) == 0:
        borrow_assets = supply_assets * 9 // 10
    drawn = MarketState(
        supply_assets=supply_assets,
        supply_shares=share_price(walk, supply_assets),
        borrow_assets=borrow_assets,
        borrow_shares=share_price(walk, borrow_assets),
        last_update=at - elapsed(walk, at),
        fee=(0, MAX_FEE, walk.draw(MAX_FEE + 1))[walk.draw(3)],
        rate_at_target=(
            0,
            MIN_RATE_AT_TARGET,
            MAX_RATE_AT_TARGET,
            MIN_RATE_AT_TARGET + magnitude(walk, MAX_RATE_AT_TARGET - MIN_RATE_AT_TARGET),
        )[walk.draw(4)],
    )
    return replace(
        drawn,
        shares=part(walk, drawn.supply_shares),
        debt_shares=part(walk, drawn.borrow_shares),
        collateral=part(walk, (UINT128, 10**24)[walk.draw(2)]),
    )


def draw_oracle(walk: Walk, state: State, oracle: str) -> None:
    """The market's own oracle as it is, failing, saying too little, or with any price whatever."""
    kind = walk.draw(4)
    if kind == 1:
        state.code[oracle] = (FAILURE, NOTHING, ONE_BYTE)[walk.draw(3)]
    elif kind > 1:
        state.code[oracle] = FIRST_WORD
        state.put(oracle, 0, magnitude(walk, (2**256 - 1, 10**40)[kind - 2]))


def draw_feeds(walk: Walk, stage: Stage, state: State) -> None:
    """Dollar feeds at any price, some of them stale or without a usable answer."""
    for pair in ("ETH/USD", "BTC/USD", "USDC/USD", "stETH/USD"):
        if walk.draw(3):
            answer = (0, -1, magnitude(walk, 10**16))[max(0, walk.draw(14) - 11)] or 10 ** (6 + walk.draw(7))
            stage.feed(state, pair, answer, min(state.at - 1, magnitude(walk, 10**5)))
