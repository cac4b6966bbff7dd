"""The tokens of a local chain and what each is worth when the chain begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keeper.simulation.accounts import Account
from keeper.simulation.deploy import Builder
from keeper.units import Address

USD: Final = 10**8
"""One dollar as the feeds write it."""


@dataclass(frozen=True)
class Token:
    """A token, its decimals and its first price in dollars with 8 decimals."""

    symbol: str
    address: Address
    decimals: int
    price: int

    @property
    def _one(self) -> int:
        return int(10**self.decimals)

    def units(self, whole: int) -> int:
        """Smallest units of a number of whole tokens."""
        return whole * self._one

    def worth(self, dollars: int) -> int:
        """Smallest units worth that many whole dollars at the first price, rounded down."""
        return dollars * USD * self._one // self.price


PRICES: Final = {
    "WETH": 3_000 * USD,
    "USDC": 99_990_000,
    "USDT": 100_020_000,
    "DAI": 99_980_000,
    "wstETH": 3_567 * USD,
    "WBTC": 90_000 * USD,
}
"""wstETH is stETH at 2,997.48 dollars (the feed) times the rate of 1.19, rounded."""

_MINTED_DOLLARS: Final = {
    "lender": 2_000_000_000,
    "borrower": 2_000_000_000,
    "staker": 2_000_000_000,
    "trader": 2_000_000_000,
    "agent": 1_000_000_000,
    "whale": 2_000_000_000,
}
"""Market accounts hold this much of each token."""

_USER_DOLLARS: Final = 10_000_000


def deploy(builder: Builder, people: Mapping[str, Account]) -> dict[str, Token]:
    """Queues the creation of all tokens. The deployer is their issuer."""
    issuer = people["deployer"].address
    created = {
        "WETH": (builder.create(issuer, "WETH9"), 18),
        "USDC": (builder.create(issuer, "TestToken", "USD Coin", "USDC", 6, issuer), 6),
        "USDT": (builder.create(issuer, "TetherLikeToken", issuer), 6),
        "DAI": (builder.create(issuer, "TestToken", "Dai Stablecoin", "DAI", 18, issuer), 18),
        "wstETH": (builder.create(issuer, "WrappedStakedEther", issuer), 18),
        "WBTC": (builder.create(issuer, "TestToken", "Wrapped BTC", "WBTC", 8, issuer), 8),
    }
    return {symbol: Token(symbol, *rest, PRICES[symbol]) for symbol, rest in created.items()}


def fund(builder: Builder, people: Mapping[str, Account], tokens: Mapping[str, Token]) -> None:
    """Queues first balances: market accounts hold every token, users hold stablecoins."""
    issuer = people["deployer"].address
    for role, dollars in _MINTED_DOLLARS.items():
        for token in tokens.values():
            _give(builder, issuer, people[role].address, token, token.worth(dollars))
    for role in sorted(people):
        if not role.startswith("user"):
            continue
        for symbol in ("USDC", "USDT", "DAI"):
            _give(builder, issuer, people[role].address, tokens[symbol], tokens[symbol].units(_USER_DOLLARS))


def _give(builder: Builder, issuer: Address, to: Address, token: Token, amount: int) -> None:
    if token.symbol == "WETH":
        builder.send(to, token.address, "deposit()", value=amount)
    else:
        builder.send(issuer, token.address, "mint(address,uint256)", to, amount)


def describe(tokens: Mapping[str, Token]) -> dict[str, Any]:
    """Manifest section "tokens"."""
    return {
        symbol: {"address": token.address, "decimals": token.decimals} for symbol, token in tokens.items()
    }
