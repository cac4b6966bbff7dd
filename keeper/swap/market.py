"""What a swap is judged by at one block: prices, the base fee, and where Uniswap's pools stand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keeper.chain.call import Call, CallFailure
from keeper.connectors.base import Read
from keeper.contracts import Function
from keeper.errors import ValuationError
from keeper.oracle.quote import Prices, Status
from keeper.swap.policy import Hop, SoldToken, SwapPolicy
from keeper.uniswap_math import amount0_delta, amount1_delta, next_root_from_input
from keeper.units import Address

_FEE_UNIT: Final = 10**6
_SLOT0: Final = Function("slot0()", "(uint160,int24,uint16,uint16,uint16,uint8,bool)")
_LIQUIDITY: Final = Function("liquidity()", "(uint128)")


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool's root and the liquidity in range."""

    root: int
    liquidity: int

    def after_fee(self, hop: Hop, token_in: Address, amount: int) -> int:
        """What `amount` of a token brings (`SwapMath.computeSwapStep`), as if the liquidity in range went on.

        Exact as long as the swap crosses no tick where liquidity changes; beyond that an estimate, which a
        swap's signed minimum does not rest on alone.
        """
        net = amount * (_FEE_UNIT - hop.fee) // _FEE_UNIT
        if not self.liquidity or not net:
            return 0
        zero_for_one = int(token_in, 16) < int(hop.to, 16)
        root = next_root_from_input(self.root, self.liquidity, net, zero_for_one=zero_for_one)
        delta = amount1_delta if zero_for_one else amount0_delta
        return delta(root, self.root, self.liquidity, up=False)


@dataclass(frozen=True)
class Market:
    """`base_fee` is in wei per gas; `pools` lacks those that did not answer."""

    prices: Prices
    base_fee: int
    pools: Mapping[Address, PoolState]

    def quoted(self, token: SoldToken, amount: int) -> int:
        """What the token's path brings for `amount`; 0 where it has none, or a pool is out of order."""
        at = token.address
        for hop in token.path:
            pool = self.pools.get(hop.pool)
            if pool is None:
                return 0
            amount, at = pool.after_fee(hop, at, amount), hop.to
        return amount if token.path else 0

    def cost(self, native: Address, gas: int, tip: int) -> int:
        """What `gas` costs at the pinned base fee and `tip` wei on top, in the vault's asset, rounded up.

        Raises ValuationError where the coin has no price.
        """
        quote = self.prices.worth(native, gas * (self.base_fee + tip))
        if quote.status is Status.UNAVAILABLE:
            raise ValuationError(
                "Gas has no price in the vault's asset", seen=quote.status.name, where=native
            )
        return quote.high


def calls(policy: SwapPolicy) -> Iterator[Call[Any]]:
    """Every read that `look` makes."""
    for pool in sorted({hop.pool for token in policy.tokens.values() for hop in token.path}):
        yield _SLOT0.at(pool, owner="UniswapV3Pool")
        yield _LIQUIDITY.at(pool, owner="UniswapV3Pool")


def look(policy: SwapPolicy, read: Read, prices: Prices, base_fee: int) -> Market:
    """The market of the block that was read."""
    pools = {}
    for token in policy.tokens.values():
        for hop in token.path:
            slot0 = read(_SLOT0.at(hop.pool, owner="UniswapV3Pool"))
            liquidity = read(_LIQUIDITY.at(hop.pool, owner="UniswapV3Pool"))
            if not isinstance(slot0, CallFailure) and not isinstance(liquidity, CallFailure):
                pools[hop.pool] = PoolState(slot0[0], liquidity)
    return Market(prices, base_fee, pools)
