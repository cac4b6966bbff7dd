"""Liquidity in Uniswap v3 pools, mirrored to the wei.

The key of a position is the pool. Liquidity counts as what it holds where the pool's price equals the
oracle's, so that the pool's own price has no say; only the accounting of fees asks where the pool stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from keeper.chain.call import Call
from keeper.config import CheckedAddress
from keeper.connectors.base import (
    EVERYTHING,
    Leg,
    PositionRef,
    Read,
    Report,
    Role,
    StateKey,
    key_of,
    must_match,
    parse_params,
    required,
)
from keeper.connectors.uniswap_pool import Nft, Pair, Pool, Range, Ticks, collected, decoded, decreased
from keeper.contracts import Function
from keeper.errors import PlanError
from keeper.oracle.quote import Prices, Quote, Status
from keeper.uniswap_math import MAX_UINT128, liquidity_for_part, root_of_worth
from keeper.units import MAX_UINT256, Address

PRICED: Final = 1 << 144
"""Amount of a token that its price is asked for, so that it keeps its digits (`UniswapV3Holdings`)."""

_SLOT: Final = Function("slot0()", "(uint160,int24,uint16,uint16,uint16,uint8,bool)")
_GROWTH: Final = tuple(Function(f"feeGrowthGlobal{i}X128()", "(uint256)") for i in (0, 1))
_TOKEN: Final = tuple(Function(f"token{i}()", "(address)") for i in (0, 1))
_HOLDINGS: Final = Function("holdings(bytes32)", "(uint256,uint256,uint64[])")
_STORED: Final = Function(
    "stored(bytes32)",
    "((uint64,int24,int24,uint128,uint256[2],uint128[2],uint256[2],uint256[2],uint128,uint256[2],uint128[2])[])",
)
_UNASKED: Final = Quote(0, 0, Status.OK)


class UniswapV3Params(BaseModel):
    """The pool and its tokens, which are checked against its own answer at every read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pool: CheckedAddress
    token0: CheckedAddress
    token1: CheckedAddress


@dataclass(frozen=True, slots=True)
class UniswapV3Position:
    """NFTs that our connector minted in one pool, in its order, and the tokens it holds for that pool.

    `ranges` are the pool's own entries that the NFTs share with every other one of their position manager.
    """

    ref: PositionRef
    params: UniswapV3Params
    prices: Prices
    pool: Pool
    held: Pair
    nfts: tuple[Nft, ...]
    ranges: Mapping[Ticks, Range]

    # VALUE

    def report(self, at: int) -> Report:
        """`UniswapV3Connector.report`: the same at any time, because fees come with swaps alone."""
        tokens = self._tokens()
        quote0, quote1 = self._quotes(tokens)
        status = max(quote0.status, quote1.status)
        if status is Status.UNAVAILABLE:
            return Report(0, MAX_UINT256, status)
        low = self._worth(tokens, quote0.low, quote1.low, up=False)
        high = self._worth(tokens, quote0.high, quote1.high, up=True)
        return Report(low, high, status)

    def legs(self, at: int) -> tuple[Leg, ...]:
        """Of either token what the liquidity holds at the lowest prices, what is held and what is owed: that
        is fees and what has been taken out and not collected.

        Their low ends add up to that of the report, but for a unit each. Their high ends may add up to more:
        at the highest prices the liquidity holds something else.
        """
        tokens = self._tokens()
        quotes = self._quotes(tokens)
        root = root_of_worth(quotes[0].low, quotes[1].low)
        supplied = _total(nft.amounts(root, nft.liquidity) for nft in self.nfts)
        owed = (tokens[0] - self.held[0], tokens[1] - self.held[1])
        return tuple(
            _leg(role, token, amounts[i], quotes[i])
            for role, amounts in ((Role.SUPPLIED, supplied), (Role.HELD, self.held), (Role.FEES, owed))
            for i, token in enumerate(self._pair)
            if amounts[i]
        )

    def supply_rate(self, delta: int, at: int) -> int:
        """0: what is supplied is held, and earns nothing before it is minted with."""
        return 0

    # MOVES

    def after_supply(self, assets: int, at: int) -> UniswapV3Position:
        """`supply`: the asset is held for the pool."""
        if not 0 < assets <= self.max_supply(at):
            raise PlanError(
                "The connector would refuse this supply",
                expected=f"1 to {self.max_supply(at):,} units of one of the pool's tokens",
                seen=f"{assets:,} units of {self.prices.asset}",
                where=self.ref.venue,
            )
        return self._holding(self._asset_index(), assets)

    def after_withdraw(self, assets: int, at: int) -> tuple[UniswapV3Position, int]:
        """`withdraw`: as much liquidity as pays `assets` at the pool's own price, NFT by NFT.

        EVERYTHING leaves no NFT, pays what there is of the asset and leaves the other token held.
        """
        empty = not self.nfts and self.held == (0, 0)
        if assets == EVERYTHING and not empty:
            after = self
            for nft in reversed(self.nfts):
                after = after.after_decrease(nft.token_id, nft.liquidity).after_collect(nft.token_id)
                after = after.after_burn(nft.token_id)
            index = self._asset_index()
            received = 0 if index < 0 else after.held[index]
            return after._holding(index, -received), received
        if empty or not 0 < assets <= self.max_withdraw(at):
            raise PlanError(
                "The connector would refuse this withdrawal",
                expected=f"1 to {self.max_withdraw(at):,} units",
                seen=f"{assets:,} units",
                where=self.ref.venue,
            )
        return self._unwound_for(assets)._holding(self._asset_index(), -assets), assets

    def after_decrease(self, token_id: int, liquidity: int) -> UniswapV3Position:
        """`decrease`, and nothing when `liquidity` is 0: what it gives is owed until it is collected."""
        if liquidity == 0:
            return self
        nft = self._nft(token_id)
        if not 0 < liquidity <= nft.liquidity:
            raise PlanError(
                "The NFT has less liquidity",
                expected=f"1 to {nft.liquidity:,}",
                seen=f"{liquidity:,}",
                where=f"{self.ref.venue}: NFT {token_id}",
            )
        after, entry = decreased(self.pool, nft, self.ranges[nft.ticks], liquidity)
        return self._with(after, entry)

    def after_collect(self, token_id: int) -> UniswapV3Position:
        """`collectFees`: what is owed to the NFT is held."""
        nft = self._nft(token_id)
        after, entry, paid = collected(self.pool, nft, self.ranges[nft.ticks])
        return self._with(after, entry)._holding(0, paid[0])._holding(1, paid[1])

    def after_burn(self, token_id: int) -> UniswapV3Position:
        """`burn`: the last NFT takes the place of the one that is gone."""
        nft = self._nft(token_id)
        if nft.liquidity or any(nft.owed):
            raise PlanError(
                "The NFT is not empty",
                expected="no liquidity and nothing owed",
                seen=f"liquidity {nft.liquidity:,}, owed {nft.owed}",
                where=f"{self.ref.venue}: NFT {token_id}",
            )
        *rest, last = self.nfts
        kept = tuple(last if each.token_id == token_id else each for each in rest)
        return replace(self, nfts=kept, ranges=_used(self.ranges, kept))

    def max_withdraw(self, at: int) -> int:
        """All of the asset that a full exit would pay with the pool where it stands."""
        if self._asset_index() < 0 or not (self.nfts or any(self.held)):
            return 0
        return self.after_withdraw(EVERYTHING, at)[1]

    def max_supply(self, at: int) -> int:
        """What the connector's 128-bit ledger still holds; 0 when the pool does not have the asset."""
        index = self._asset_index()
        return 0 if index < 0 else MAX_UINT128 - self.held[index]

    # SHARED STATE

    def shared(self) -> Mapping[StateKey, Any]:
        """Where the pool stands."""
        return {self._state_key: self.pool}

    def with_shared(self, states: Mapping[StateKey, Any]) -> UniswapV3Position:
        """The same NFTs in a pool that stands elsewhere."""
        return replace(self, pool=states.get(self._state_key, self.pool))

    def accrued(self, at: int) -> UniswapV3Position:
        """Itself: nothing accrues by time alone."""
        return self

    # PARTS

    @property
    def _state_key(self) -> StateKey:
        return "uniswap_v3", self.params.pool

    @property
    def _pair(self) -> tuple[Address, Address]:
        return self.params.token0, self.params.token1

    def _asset_index(self) -> int:
        """Which of the pool's tokens is the asset; -1 when neither is."""
        asset = self.prices.asset
        return self._pair.index(asset) if asset in self._pair else -1

    def _tokens(self) -> Pair:
        """Held and owed."""
        tokens0, tokens1 = self.held
        for nft in self.nfts:
            owed0, owed1 = nft.owed_now(self.pool)
            tokens0 += owed0
            tokens1 += owed1
        return tokens0, tokens1

    def _quotes(self, tokens: Pair) -> tuple[Quote, Quote]:
        """Worth of `PRICED` units of either token; what is not there is not asked for."""
        worth, minted = self.prices.worth, bool(self.nfts)
        return (
            worth(self.params.token0, PRICED) if minted or tokens[0] else _UNASKED,
            worth(self.params.token1, PRICED) if minted or tokens[1] else _UNASKED,
        )

    def _worth(self, tokens: Pair, price0: int, price1: int, *, up: bool) -> int:
        amount0, amount1 = tokens
        if self.nfts:
            root = root_of_worth(price0, price1)
            for nft in self.nfts:
                in0, in1 = nft.amounts(root, nft.liquidity, up=up)
                amount0 += in0
                amount1 += in1
        return min(_product(amount0, price0, up=up) + _product(amount1, price1, up=up), MAX_UINT256)

    def _unwound_for(self, assets: int) -> UniswapV3Position:
        """Holding at least `assets`, if it has as much."""
        after, index = self, self._asset_index()
        for nft in self.nfts:
            wanted = assets - after.held[index]
            if wanted <= 0:
                break
            amount = nft.amounts(self.pool.root, nft.liquidity)[index]
            part = liquidity_for_part(nft.liquidity, amount, wanted) if amount else 0
            after = after.after_decrease(nft.token_id, part).after_collect(nft.token_id)
        return after

    def _nft(self, token_id: int) -> Nft:
        for nft in self.nfts:
            if nft.token_id == token_id:
                return nft
        raise PlanError(
            "The connector has no such NFT",
            expected=" or ".join(str(nft.token_id) for nft in self.nfts) or "none, for it has none",
            seen=token_id,
            where=self.ref.venue,
        )

    def _with(self, nft: Nft, entry: Range) -> UniswapV3Position:
        nfts = tuple(nft if each.token_id == nft.token_id else each for each in self.nfts)
        return replace(self, nfts=nfts, ranges={**self.ranges, nft.ticks: entry})

    def _holding(self, index: int, change: int) -> UniswapV3Position:
        """With so much more, or less, of one token held."""
        if change == 0:
            return self
        held = list(self.held)
        held[index] += change
        if not 0 <= held[index] <= MAX_UINT128:
            raise PlanError(
                "The connector's ledger does not hold this",
                expected=f"0 to {MAX_UINT128:,} units",
                seen=f"{held[index]:,} units of {self._pair[index]}",
                where=self.ref.venue,
            )
        return replace(self, held=(held[0], held[1]))


class UniswapV3:
    """Reads one pool and what our connector has there."""

    name = "uniswap_v3"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """Stored state. NFTs are known to the connector alone: it gathers what the protocol keeps of them."""
        params = parse_params(UniswapV3Params, ref)
        return (
            *(each.at(params.pool, owner="Pool") for each in (*_TOKEN, _SLOT, *_GROWTH)),
            _HOLDINGS.at(ref.address, ref.key, owner="UniswapV3Connector"),
            _STORED.at(ref.address, ref.key, owner="UniswapV3Connector"),
        )

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """Both of the pool's."""
        params = parse_params(UniswapV3Params, ref)
        return params.token0, params.token1

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> UniswapV3Position:
        """The position at the prices given."""
        params = parse_params(UniswapV3Params, ref)
        must_match("Key", key_of(params.pool), ref.key, ref)
        token0, token1, slot, growth0, growth1, holdings, stored = (
            required(read, call, ref) for call in self.calls(ref)
        )
        must_match("Tokens of the pool", (params.token0, params.token1), (token0, token1), ref)
        pairs = tuple(decoded(words) for words in stored)
        must_match("NFTs of the connector", holdings[2], tuple(nft.token_id for nft, _ in pairs), ref)
        return UniswapV3Position(
            ref=ref,
            params=params,
            prices=prices,
            pool=Pool(root=slot[0], tick=slot[1], growth=(growth0, growth1)),
            held=(holdings[0], holdings[1]),
            nfts=tuple(nft for nft, _ in pairs),
            ranges={nft.ticks: entry for nft, entry in pairs},
        )


def _total(amounts: Iterable[Pair]) -> Pair:
    total0 = total1 = 0
    for amount0, amount1 in amounts:
        total0 += amount0
        total1 += amount1
    return total0, total1


def _used(ranges: Mapping[Ticks, Range], nfts: tuple[Nft, ...]) -> Mapping[Ticks, Range]:
    """The entries that NFTs are left for."""
    return {nft.ticks: ranges[nft.ticks] for nft in nfts}


def _product(amount: int, price: int, *, up: bool) -> int:
    """Worth at a price of `PRICED`. The greatest word stands for what does not fit (`PriceMath`)."""
    product = amount * price
    return min(-(-product // PRICED) if up else product // PRICED, MAX_UINT256)


def _leg(role: Role, token: Address, amount: int, quote: Quote) -> Leg:
    if quote.status is Status.UNAVAILABLE:
        return Leg(role, token, amount, 0, MAX_UINT256, quote.status)
    low, high = _product(amount, quote.low, up=False), _product(amount, quote.high, up=True)
    return Leg(role, token, amount, low, high, quote.status)
