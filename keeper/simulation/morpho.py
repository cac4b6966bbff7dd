"""Morpho Blue, its rate model, its markets and a MetaMorpho vault on a local chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.simulation.accounts import Account
from keeper.simulation.deploy import Builder, encoded
from keeper.simulation.oracles import Oracles
from keeper.simulation.tokens import Token
from keeper.units import WAD, Address

_MAX: Final = 2**256 - 1
_PARAMS: Final = "(address,address,address,address,uint256)"
_BPS: Final = 10_000


@dataclass(frozen=True)
class Listing:
    """A market and its first state; dollars are whole dollars, `direct` is supply outside the vault."""

    loan: str
    collateral: str
    lltv_bps: int
    direct: int
    utilisation_bps: int
    fee_bps: int = 0


LISTINGS: Final = {
    "wstETH/USDC": Listing("USDC", "wstETH", 8600, 40_000_000, 9050),
    "WBTC/USDC": Listing("USDC", "WBTC", 8600, 25_000_000, 8900),
    "WETH/USDC": Listing("USDC", "WETH", 8600, 20_000_000, 8600, fee_bps=500),
    "wstETH/WETH": Listing("WETH", "wstETH", 9450, 30_000_000, 9000),
    "wstETH/USDT": Listing("USDT", "wstETH", 8600, 15_000_000, 8800),
}

_VAULT_CAPS: Final = {"wstETH/USDC": 20_000_000, "WBTC/USDC": 15_000_000, "WETH/USDC": 5_000_000}
"""Dollars that the vault's first deposit puts in each market, in the order of its supply queue."""

_CAP_GROWTH: Final = 4
VAULT_FEE_WAD: Final = WAD // 10


@dataclass(frozen=True)
class Market:
    """A market's parameters as Morpho hashes them."""

    name: str
    listing: Listing
    params: tuple[Address, Address, Address, Address, int]

    @property
    def id(self) -> bytes:
        """keccak256 of the five encoded words (MarketParamsLib.id)."""
        return keccak(encoded("address,address,address,address,uint256", *self.params))


@dataclass(frozen=True)
class Morpho:
    """Addresses and markets."""

    address: Address
    irm: Address
    markets: Mapping[str, Market]
    vault: Address


def deploy(
    builder: Builder, people: Mapping[str, Account], oracles: Oracles, tokens: Mapping[str, Token]
) -> Morpho:
    """Queues Morpho, the rate model, an oracle per pair and the markets."""
    owner = people["deployer"].address
    morpho = builder.create(owner, "Morpho", owner)
    irm = builder.create(owner, "AdaptiveCurveIrm", morpho)
    builder.send(owner, morpho, "enableIrm(address)", irm)
    builder.send(owner, morpho, "setFeeRecipient(address)", people["treasury"].address)
    for lltv in sorted({listing.lltv_bps for listing in LISTINGS.values()}):
        builder.send(owner, morpho, "enableLltv(uint256)", lltv * WAD // _BPS)
    markets = {}
    for name, listing in LISTINGS.items():
        loan, collateral = tokens[listing.loan], tokens[listing.collateral]
        oracle = builder.create(
            owner,
            "MorphoFeedOracle",
            oracles.sources[collateral.symbol],
            collateral.decimals,
            oracles.sources[loan.symbol],
            loan.decimals,
        )
        params = (loan.address, collateral.address, oracle, irm, listing.lltv_bps * WAD // _BPS)
        markets[name] = Market(name, listing, params)
        builder.send(owner, morpho, f"createMarket({_PARAMS})", params)
        if listing.fee_bps:
            fee = listing.fee_bps * WAD // _BPS
            builder.send(owner, morpho, f"setFee({_PARAMS},uint256)", params, fee)
    usdc = tokens["USDC"].address
    vault = builder.create(owner, "MetaMorpho", owner, morpho, usdc, "Prime USDC", "primeUSDC")
    return Morpho(morpho, irm, markets, vault)


def supply(
    builder: Builder, people: Mapping[str, Account], morpho: Morpho, tokens: Mapping[str, Token]
) -> None:
    """Queues direct supplies, the vault's configuration and its first deposit."""
    lender, borrower = people["lender"].address, people["borrower"].address
    for role in ("lender", "borrower", "agent"):
        for token in tokens.values():
            who = people[role].address
            builder.send(who, token.address, "approve(address,uint256)", morpho.address, _MAX)
    for market in morpho.markets.values():
        amount = tokens[market.listing.loan].worth(market.listing.direct)
        _supply(builder, morpho, market, lender, amount)
        loan, collateral = _borrowed(market), tokens[market.listing.collateral]
        # Collateral for twice the loan's limit: prices move by the hour here, and nobody liquidates.
        pledged = collateral.worth(2 * loan * _BPS // market.listing.lltv_bps)
        signature = f"supplyCollateral({_PARAMS},uint256,address,bytes)"
        builder.send(borrower, morpho.address, signature, market.params, pledged, borrower, b"")
    for name in _VAULT_CAPS:
        market = morpho.markets[name]
        signature = f"supplyCollateral({_PARAMS},uint256,address,bytes)"
        agent, pledged = people["agent"].address, tokens[market.listing.collateral].worth(30_000_000)
        builder.send(agent, morpho.address, signature, market.params, pledged, agent, b"")
    _open_vault(builder, people, morpho, tokens["USDC"])


def _supply(builder: Builder, morpho: Morpho, market: Market, who: Address, amount: int) -> None:
    signature = f"supply({_PARAMS},uint256,uint256,address,bytes)"
    builder.send(who, morpho.address, signature, market.params, amount, 0, who, b"")


def _borrowed(market: Market) -> int:
    """Dollars borrowed at the target utilisation of direct and vault supply together."""
    supplied = market.listing.direct + _VAULT_CAPS.get(market.name, 0)
    return supplied * market.listing.utilisation_bps // _BPS


def _open_vault(builder: Builder, people: Mapping[str, Account], morpho: Morpho, usdc: Token) -> None:
    owner, lender = people["deployer"].address, people["lender"].address
    vault = morpho.vault
    markets = [morpho.markets[name] for name in _VAULT_CAPS]
    for market in markets:
        cap = usdc.worth(_VAULT_CAPS[market.name]) + 1
        builder.send(owner, vault, f"setCap({_PARAMS},uint184)", market.params, cap)
    builder.send(owner, vault, "setSupplyQueue(bytes32[])", [market.id for market in markets])
    builder.send(owner, vault, "setFeeRecipient(address)", people["treasury"].address)
    builder.send(owner, vault, "setFee(uint256)", VAULT_FEE_WAD)
    builder.send(lender, usdc.address, "approve(address,uint256)", vault, _MAX)
    amount = usdc.worth(sum(_VAULT_CAPS.values()))
    builder.send(lender, vault, "deposit(uint256,address)", amount, lender)
    for market in markets:
        cap = usdc.worth(_CAP_GROWTH * _VAULT_CAPS[market.name])
        builder.send(owner, vault, f"setCap({_PARAMS},uint184)", market.params, cap)


def borrow(
    builder: Builder, people: Mapping[str, Account], morpho: Morpho, tokens: Mapping[str, Token]
) -> None:
    """Queues the loans that bring each market to its utilisation."""
    borrower = people["borrower"].address
    for market in morpho.markets.values():
        amount = tokens[market.listing.loan].worth(_borrowed(market))
        signature = f"borrow({_PARAMS},uint256,uint256,address,address)"
        builder.send(borrower, morpho.address, signature, market.params, amount, 0, borrower, borrower)


def describe(morpho: Morpho) -> dict[str, Any]:
    """Manifest sections "morpho" and "metamorpho"."""
    markets = {
        name: {
            "id": "0x" + market.id.hex(),
            "loan_token": market.params[0],
            "collateral_token": market.params[1],
            "oracle": market.params[2],
            "irm": market.params[3],
            "lltv": market.params[4],
            "loan": market.listing.loan,
            "collateral": market.listing.collateral,
            "fee_wad": market.listing.fee_bps * WAD // _BPS,
        }
        for name, market in morpho.markets.items()
    }
    return {
        "morpho": {"address": morpho.address, "irm": morpho.irm, "markets": markets},
        "metamorpho": {
            "vault": morpho.vault,
            "asset": "USDC",
            "fee_wad": VAULT_FEE_WAD,
            "supply_queue": list(_VAULT_CAPS),
            "withdraw_queue": list(_VAULT_CAPS),
        },
    }
