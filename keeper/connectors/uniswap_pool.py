"""What a Uniswap v3 pool and its position manager have stored of our NFTs, and what they do when asked.

Two ledgers count what is owed: the position manager's, by NFT, and the pool's own, for all that its manager
has in one range. Each rounds its fees down when it is touched, so that the pool may pay a few units less than
the manager has promised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from keeper.connectors.uniswap_math import (
    MAX_UINT128,
    amounts_for_liquidity,
    growth_inside,
    owed_fees,
    sqrt_price_at_tick,
)

Pair = tuple[int, int]
"""Of token0 and of token1."""

Ticks = tuple[int, int]
"""A range: lower and upper tick."""

NOTHING: Pair = (0, 0)


@dataclass(frozen=True, slots=True)
class Pool:
    """Where a pool stands: its root and tick now, and fees per unit of liquidity since it began (Q128)."""

    root: int
    tick: int
    growth: Pair


@dataclass(frozen=True, slots=True)
class Nft:
    """An NFT in the position manager's ledger. Growth is Q128, and wraps.

    `lower` and `upper` are the roots of its ticks. `outside_*` is what the pool keeps at its ticks, 0 while
    there is no liquidity that fees could rest on.
    """

    token_id: int
    ticks: Ticks
    lower: int
    upper: int
    liquidity: int
    inside_last: Pair
    owed: Pair
    outside_lower: Pair
    outside_upper: Pair

    def inside(self, pool: Pool) -> Pair:
        """Fees per unit of liquidity earned in the range."""
        tick, growth = pool.tick, pool.growth
        low, high = self.outside_lower, self.outside_upper
        return (
            growth_inside(tick, *self.ticks, growth[0], low[0], high[0]),
            growth_inside(tick, *self.ticks, growth[1], low[1], high[1]),
        )

    def owed_now(self, pool: Pool) -> Pair:
        """What touching it would make it owed."""
        if not self.liquidity:
            return self.owed
        return _owed(self.inside(pool), self.inside_last, self.liquidity, self.owed)

    def amounts(self, root: int, liquidity: int, *, up: bool = False) -> Pair:
        """Tokens in so much of its liquidity when the pool is at `root`."""
        return amounts_for_liquidity(root, self.lower, self.upper, liquidity, up=up)


@dataclass(frozen=True, slots=True)
class Range:
    """The pool's entry for all liquidity that the position manager has between two ticks."""

    liquidity: int
    inside_last: Pair
    owed: Pair

    def touched(self, inside: Pair) -> Range:
        """With its fees up to now (`Position.update`)."""
        return Range(self.liquidity, inside, _owed(inside, self.inside_last, self.liquidity, self.owed))


def decoded(words: Sequence[Any]) -> tuple[Nft, Range]:
    """An NFT from what `UniswapV3Connector.stored` answers of it."""
    ticks = (words[1], words[2])
    nft = Nft(
        token_id=words[0],
        ticks=ticks,
        lower=sqrt_price_at_tick(ticks[0]),
        upper=sqrt_price_at_tick(ticks[1]),
        liquidity=words[3],
        inside_last=words[4],
        owed=words[5],
        outside_lower=words[6],
        outside_upper=words[7],
    )
    return nft, Range(liquidity=words[8], inside_last=words[9], owed=words[10])


def decreased(pool: Pool, nft: Nft, entry: Range, liquidity: int) -> tuple[Nft, Range]:
    """After `NonfungiblePositionManager.decreaseLiquidity`: what it gives is owed in both ledgers."""
    inside, paid = nft.inside(pool), nft.amounts(pool.root, liquidity)
    touched, left = entry.touched(inside), nft.liquidity - liquidity
    after = replace(
        nft,
        liquidity=left,
        inside_last=inside,
        owed=_sum(nft.owed_now(pool), paid),
        outside_lower=nft.outside_lower if left else NOTHING,
        outside_upper=nft.outside_upper if left else NOTHING,
    )
    owed = _sum(touched.owed, paid)
    return after, replace(touched, liquidity=touched.liquidity - liquidity, owed=owed)


def collected(pool: Pool, nft: Nft, entry: Range) -> tuple[Nft, Range, Pair]:
    """After `NonfungiblePositionManager.collect` of everything: what was owed, as far as the pool owes it."""
    if nft.liquidity:
        inside = nft.inside(pool)
        entry = entry.touched(inside)
        nft = replace(nft, inside_last=inside, owed=nft.owed_now(pool))
    paid = (min(nft.owed[0], entry.owed[0]), min(nft.owed[1], entry.owed[1]))
    left = (entry.owed[0] - paid[0], entry.owed[1] - paid[1])
    return replace(nft, owed=NOTHING), replace(entry, owed=left), paid


def _owed(inside: Pair, last: Pair, liquidity: int, owed: Pair) -> Pair:
    return (
        owed_fees(inside[0], last[0], liquidity, owed[0]),
        owed_fees(inside[1], last[1], liquidity, owed[1]),
    )


def _sum(owed: Pair, paid: Pair) -> Pair:
    """Both ledgers count in 128 bits that wrap."""
    return (owed[0] + paid[0]) & MAX_UINT128, (owed[1] + paid[1]) & MAX_UINT128
