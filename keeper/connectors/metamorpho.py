"""Shares of a MetaMorpho (ERC-4626) vault, mirrored to the wei through the markets it lends to.

Sources: MetaMorpho 1.0 and 1.1 (`totalAssets`, `_accruedFeeShares`, `_supplyMorpho`, `_withdrawMorpho`), and
`ERC4626Connector.sol` for the report and for what it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from keeper.chain.call import Call, CallFailure
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
from keeper.connectors.erc4626_position import DUST_UNITS, LOSS_DIVISOR, require_worth
from keeper.connectors.metamorpho_vault import Allocated, Vault
from keeper.connectors.morpho_blue import market_calls, market_key, read_market
from keeper.connectors.morpho_market import MarketParams
from keeper.contracts import Function
from keeper.errors import PlanError
from keeper.oracle.quote import Prices
from keeper.units import Address

_BALANCE: Final = Function("balanceOf(address)", "(uint256)")
_TOTAL_SUPPLY: Final = Function("totalSupply()", "(uint256)")
_LAST_TOTAL_ASSETS: Final = Function("lastTotalAssets()", "(uint256)")
_FEE: Final = Function("fee()", "(uint96)")
_DECIMALS_OFFSET: Final = Function("DECIMALS_OFFSET()", "(uint8)")
_SUPPLY_QUEUE_LENGTH: Final = Function("supplyQueueLength()", "(uint256)")
_WITHDRAW_QUEUE_LENGTH: Final = Function("withdrawQueueLength()", "(uint256)")
_SUPPLY_QUEUE: Final = Function("supplyQueue(uint256)", "(bytes32)")
_WITHDRAW_QUEUE: Final = Function("withdrawQueue(uint256)", "(bytes32)")
_CONFIG: Final = Function("config(bytes32)", "(uint184,bool,uint64)")
_TOTAL_ASSETS: Final = Function("totalAssets()", "(uint256)")
_LOST_ASSETS: Final = Function("lostAssets()", "(uint256)")


class MetaMorphoParams(BaseModel):
    """The vault, its Morpho Blue singleton and its markets in the order of its withdraw queue.

    All markets lend the vault's asset.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    vault: CheckedAddress
    morpho: CheckedAddress
    markets: tuple[MarketParams, ...] = Field(min_length=1)

    @property
    def asset(self) -> Address:
        """The vault's asset."""
        return self.markets[0].loan_token


@dataclass(frozen=True)
class MetaMorphoPosition:
    """Vault shares of our connector."""

    ref: PositionRef
    params: MetaMorphoParams
    prices: Prices
    vault: Vault
    shares: int

    def report(self, at: int) -> Report:
        """What `vault.previewRedeem(shares)` at `at` is worth.

        Raises ValuationError where our connector reverts: when more than a few shares are worth nothing.
        """
        assets = self.assets(at)
        require_worth(self.shares, assets, DUST_UNITS * 10**self.vault.decimals_offset, self.ref)
        quote = self.prices.worth(self.params.asset, assets)
        return Report(quote.low, quote.high, quote.status)

    def legs(self, at: int) -> tuple[Leg, ...]:
        """The assets behind the shares."""
        assets = self.assets(at)
        if not assets:
            return ()
        quote = self.prices.worth(self.params.asset, assets)
        return (Leg(Role.SUPPLIED, self.params.asset, assets, quote.low, quote.high, quote.status),)

    def assets(self, at: int) -> int:
        """`vault.previewRedeem(shares)` at `at`; our connector asks the vault nothing about no shares."""
        if not self.shares:
            self.vault.require_not_before(at)
            return 0
        return self.vault.accrue_fee(at).assets_down(self.shares)

    def supply_rate(self, delta: int, at: int) -> int:
        """What the vault's markets pay per year after our move went through its queues, less its fee.

        Weighted by what the vault holds in each market. Raises PlanError when the queues cannot take it.
        """
        vault = self.vault.accrue_fee(at)
        if delta > 0:
            vault = vault.supply_markets(delta, at)
        elif delta < 0:
            vault = vault.withdraw_markets(-delta, at)
        return vault.rate(at)

    def after_supply(self, assets: int, at: int) -> MetaMorphoPosition:
        """`MetaMorpho.deposit`: the shares minted are rounded down.

        Our connector refuses an entry that costs more than 10 bps and two units.
        """
        if assets <= 0:
            raise PlanError("A supply needs an amount", seen=assets, where=self.ref.venue)
        vault, minted = self.vault.deposit(assets, at)
        worth = vault.accrue_fee(at).assets_down(minted)
        if not minted or worth + 2 < assets - assets // LOSS_DIVISOR:
            raise PlanError(
                "Entering the vault would cost too much",
                expected=f"{assets:,} units, 10 bps less",
                seen=f"{worth:,} units",
                where=self.ref.venue,
                hint="Its share price may be inflated.",
            )
        return replace(self, vault=vault, shares=self.shares + minted)

    def after_withdraw(self, assets: int, at: int) -> tuple[MetaMorphoPosition, int]:
        """`MetaMorpho.withdraw`, with the shares burnt rounded up.

        A full exit redeems every share or, where liquidity does not allow that, `maxRedeem`, as our connector
        does; the latter leaves behind the shares that one unit of the asset cannot express, too.
        """
        if not self.shares:
            raise PlanError("There are no shares to leave with", where=self.ref.venue)
        if assets == EVERYTHING:
            return self._emptied(at)
        vault, burnt = self.vault.withdraw(assets, at)
        if assets <= 0 or burnt > self.shares:
            raise PlanError(
                "The vault would refuse this withdrawal",
                expected=f"1 to {self.assets(at):,} units",
                seen=f"{assets:,} units",
                where=self.ref.venue,
            )
        return replace(self, vault=vault, shares=self.shares - burnt), assets

    def max_withdraw(self, at: int) -> int:
        """What our shares are worth, or what the vault can take out of its markets if that is less."""
        return min(self.assets(at), self.vault.withdrawable(at))

    def max_supply(self, at: int) -> int:
        """Room under the caps of the supply queue."""
        return self.vault.suppliable(at)

    def shared(self) -> Mapping[StateKey, Any]:
        """The vault, and every market that it lends to."""
        states: dict[StateKey, Any] = {self._vault_key: self.vault}
        for params, held in zip(self.params.markets, self.vault.markets, strict=True):
            states[market_key(self.params.morpho, params)] = held.market
        return states

    def with_shared(self, states: Mapping[StateKey, Any]) -> MetaMorphoPosition:
        """The same shares on newer states of the vault and of its markets."""
        vault: Vault = states.get(self._vault_key, self.vault)
        markets = tuple(
            replace(held, market=states.get(market_key(self.params.morpho, params), held.market))
            for params, held in zip(self.params.markets, vault.markets, strict=True)
        )
        return replace(self, vault=replace(vault, markets=markets))

    def accrued(self, at: int) -> MetaMorphoPosition:
        """The same shares on the vault and its markets as of `at`."""
        vault = self.vault.accrue_fee(at)
        markets = tuple(replace(held, market=held.market.accrue(at)) for held in vault.markets)
        return replace(self, vault=replace(vault, markets=markets))

    def _emptied(self, at: int) -> tuple[MetaMorphoPosition, int]:
        redeemed = self.shares
        if self.assets(at) > self.vault.withdrawable(at):
            redeemed = self.vault.redeemable(redeemed, at)
        if not redeemed:
            raise PlanError("The vault lets nothing go", expected="a unit to redeem", where=self.ref.venue)
        vault, received = self.vault.redeem(redeemed, at)
        return replace(self, vault=vault, shares=self.shares - redeemed), received

    @property
    def _vault_key(self) -> StateKey:
        return "metamorpho", self.params.vault


class MetaMorpho:
    """Reads a vault, its queues and caps, and its position in every market it lists."""

    name = "metamorpho"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """Nine reads of the vault and, per market, two queue slots, the cap and the market's state.

        `lostAssets` fails where the vault is of version 1.0. A supply queue shorter than the withdraw queue
        makes its last slots revert; only the slots below `supplyQueueLength` are used. `totalAssets` is the
        vault's own accrual and only a check.
        """
        params = parse_params(MetaMorphoParams, ref)
        calls = [*_vault_calls(params.vault, ref.address)]
        calls.append(_LOST_ASSETS.at(params.vault, owner="MetaMorpho"))
        for slot, market in enumerate(params.markets):
            calls += _slot_calls(params.vault, slot, market)
            calls += market_calls(params.morpho, market, params.vault)
        return tuple(calls)

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """The vault's asset."""
        return (parse_params(MetaMorphoParams, ref).asset,)

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> MetaMorphoPosition:
        """The position, the vault's assets at `at` compared with its `totalAssets`."""
        params = parse_params(MetaMorphoParams, ref)
        must_match("Key", key_of(params.vault), ref.key, ref)
        results = [required(read, call, ref) for call in _vault_calls(params.vault, ref.address)]
        shares, total_supply, last_total, fee, offset, supply_length, withdraw_length, total_assets = results
        must_match("Length of the withdraw queue", len(params.markets), withdraw_length, ref)
        lost = read(_LOST_ASSETS.at(params.vault, owner="MetaMorpho"))
        markets = []
        for slot, listed in enumerate(params.markets):
            _, queued, config = _slot_calls(params.vault, slot, listed)
            must_match(f"Withdraw queue at {slot}", listed.id, required(read, queued, ref), ref)
            must_match(f"Loan token of market {slot}", params.asset, listed.loan_token, ref)
            market, (held, _, _) = read_market(params.morpho, listed, params.vault, read, ref)
            markets.append(Allocated(market, held, required(read, config, ref)[0]))
        vault = Vault(
            total_supply=total_supply,
            last_total_assets=last_total,
            fee=fee,
            decimals_offset=offset,
            supply_queue=_supply_queue(params, supply_length, read, ref),
            markets=tuple(markets),
            lost_assets=None if isinstance(lost, CallFailure) else lost,
        )
        must_match("Total assets at the block's time", total_assets, vault.total_assets(at), ref)
        return MetaMorphoPosition(ref, params, prices, vault, shares)


def _vault_calls(vault: Address, holder: Address) -> tuple[Call[Any], ...]:
    views = (
        _TOTAL_SUPPLY,
        _LAST_TOTAL_ASSETS,
        _FEE,
        _DECIMALS_OFFSET,
        _SUPPLY_QUEUE_LENGTH,
        _WITHDRAW_QUEUE_LENGTH,
        _TOTAL_ASSETS,
    )
    balance = _BALANCE.at(vault, holder, owner="MetaMorpho")
    return (balance, *(view.at(vault, owner="MetaMorpho") for view in views))


def _slot_calls(vault: Address, slot: int, market: MarketParams) -> tuple[Call[Any], ...]:
    return (
        _SUPPLY_QUEUE.at(vault, slot, owner="MetaMorpho"),
        _WITHDRAW_QUEUE.at(vault, slot, owner="MetaMorpho"),
        _CONFIG.at(vault, market.id, owner="MetaMorpho"),
    )


def _supply_queue(params: MetaMorphoParams, length: int, read: Read, ref: PositionRef) -> tuple[int, ...]:
    """Positions, in the withdraw queue, of the supply queue's markets.

    ValuationError when it is longer than the withdraw queue, as its end has not been read.
    """
    must_match(
        "A supply queue as long as the withdraw queue at most", True, length <= len(params.markets), ref
    )
    order = {market.id: slot for slot, market in enumerate(params.markets)}
    queue = []
    for slot, market in enumerate(params.markets[:length]):
        queued = required(read, _slot_calls(params.vault, slot, market)[0], ref)
        # A market that was removed keeps its place here; it has lost its cap, and is passed over.
        if queued in order:
            queue.append(order[queued])
    return tuple(queue)
