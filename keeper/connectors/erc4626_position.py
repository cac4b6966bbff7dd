"""Shares of an ERC-4626 vault whose inside is unknown, as of the block they were read at.

Sources: EIP-4626, EIP-7540, and `ERC4626Connector.sol` for the report and for what it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from keeper.config import CheckedAddress
from keeper.connectors.base import EVERYTHING, Leg, PositionRef, Report, Role, StateKey
from keeper.errors import PlanError, ValuationError
from keeper.oracle.quote import Prices, Status
from keeper.units import MAX_UINT256, mul_div_down, mul_div_up

LOSS_DIVISOR: Final = 1000
"""`ERC4626Connector.LOSS_DIVISOR`: the largest part of a deposit that entering may cost is one in so many."""
DUST_UNITS: Final = 1000
"""`ERC4626Connector.DUST_UNITS`: units of the asset, as shares begin, that may be worth nothing."""
_ROUNDINGS: Final = 2


def require_worth(shares: int, worth: int, dust: int, ref: PositionRef) -> None:
    """Raises ValuationError for shares worth nothing, but for a few (`ERC4626Connector._checkWorth`): the
    vault has lost everything, or is made to say so for a moment, and nobody can tell which."""
    if worth == 0 and shares > dust:
        raise ValuationError(
            "The vault says that our shares are worth nothing",
            expected=f"at most {dust:,} shares",
            seen=f"{shares:,} shares",
            where=ref.venue,
            hint="The position counts as impaired until its shares are worth something again.",
        )


class ERC4626Params(BaseModel):
    """The vault, which is the reference's key, and its asset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vault: CheckedAddress
    asset: CheckedAddress


@dataclass(frozen=True)
class Proportion:
    """A vault whose shares are worth their part of its assets, besides virtual ones against inflation."""

    assets: int
    shares: int
    virtual_assets: int
    virtual_shares: int

    def worth(self, shares: int) -> int:
        """Assets of `shares`, rounded down (`previewRedeem`)."""
        return mul_div_down(shares, self.assets + self.virtual_assets, self.shares + self.virtual_shares)

    def minted(self, assets: int) -> int:
        """Shares for `assets`, rounded down (`previewDeposit`)."""
        return mul_div_down(assets, self.shares + self.virtual_shares, self.assets + self.virtual_assets)

    def burnt(self, assets: int) -> int:
        """Shares that `assets` cost, rounded up (`previewWithdraw`)."""
        return mul_div_up(assets, self.shares + self.virtual_shares, self.assets + self.virtual_assets)

    def moved(self, assets: int, shares: int) -> Proportion:
        """After a deposit of `assets` for `shares`; negative for a withdrawal."""
        return replace(self, assets=self.assets + assets, shares=self.shares + shares)


@dataclass(frozen=True)
class Requests:
    """What an asynchronous vault (ERC-7540) holds for us outside our shares.

    `entering` are assets that wait to become shares, `mintable` shares that may be taken, `leaving` shares
    that wait to be redeemed, `ready` assets that may be taken.
    """

    deposits: bool = False
    redemptions: bool = False
    entering: int = 0
    mintable: int = 0
    leaving: int = 0
    ready: int = 0


@dataclass(frozen=True)
class Limits:
    """What the vault says it would let pass: assets in (None where it does not say), shares out, and what
    those are worth."""

    deposit: int | None
    redeem: int
    redeemed: int


@dataclass(frozen=True)
class ERC4626Position:
    """Shares, and what the vault itself said they are worth in the block of time `read_at`.

    Nothing is known of how the vault earns, so nothing is predicted: for every later time the value is that
    of `read_at`, and the rate is 0. `quoted` is what the vault said of all shares, `sound` whether that is
    what leaving pays. `proportion` is None where the vault's answers do not follow from its totals: then only
    a full exit can be foretold, and any other move of shares is refused.
    """

    ref: PositionRef
    params: ERC4626Params
    prices: Prices
    read_at: int
    shares: int
    quoted: int
    sound: bool
    requests: Requests
    limits: Limits
    proportion: Proportion | None

    def report(self, at: int) -> Report:
        """What leaving pays; where the vault does not say, UNAVAILABLE and 10 bps less at the low end."""
        self._require_not_before(at)
        waiting = self.requests.entering + self.requests.ready
        quote = self.prices.worth(self.params.asset, self.quoted + waiting)
        if self.sound:
            return Report(quote.low, quote.high, quote.status)
        least = self.quoted - self.quoted // LOSS_DIVISOR + waiting
        low = self.prices.worth(self.params.asset, least).low
        return Report(low, quote.high, Status.UNAVAILABLE)

    def legs(self, at: int) -> tuple[Leg, ...]:
        """The assets behind the shares, and those that wait at either end of a request."""
        self._require_not_before(at)
        asset, waiting = self.params.asset, self.requests.entering + self.requests.ready
        found = []
        for role, amount in ((Role.SUPPLIED, self.quoted), (Role.HELD, waiting)):
            if amount:
                quote = self.prices.worth(asset, amount)
                found.append(Leg(role, asset, amount, quote.low, quote.high, quote.status))
        return tuple(found)

    def supply_rate(self, delta: int, at: int) -> int:
        """0: none is known. Raises PlanError when the move that is asked about is refused."""
        if delta > 0:
            self.after_supply(delta, at)
        elif delta < 0:
            self.after_withdraw(-delta, at)
        self._require_not_before(at)
        return 0

    def max_supply(self, at: int) -> int:
        """`maxDeposit`, or nothing where a deposit cannot be foretold; requests have no limit."""
        self._require_not_before(at)
        if self.requests.deposits:
            return MAX_UINT256
        if self.proportion is None or not self.sound:
            return 0
        return MAX_UINT256 if self.limits.deposit is None else self.limits.deposit

    def max_withdraw(self, at: int) -> int:
        """What the vault lets go now: nothing while it is locked, and on request what is ready."""
        self._require_not_before(at)
        return self.requests.ready if self.requests.redemptions else self.limits.redeemed

    def after_supply(self, assets: int, at: int) -> ERC4626Position:
        """`deposit` or, where that works on request, `requestDeposit`, of which nothing is lost."""
        most = self.max_supply(at)
        if not 0 < assets <= most:
            hint = "" if most else "This vault's shares do not follow from its totals: see its own mirror."
            raise self._refused("The vault would refuse this supply", f"1 to {most:,} units", assets, hint)
        if self.requests.deposits:
            return replace(self, requests=replace(self.requests, entering=self.requests.entering + assets))
        before = self._known()
        minted = before.minted(assets)
        after = before.moved(assets, minted)
        if not minted or after.worth(minted) + _ROUNDINGS < assets - assets // LOSS_DIVISOR:
            raise self._refused("Entering would cost too much", f"{assets:,} units", after.worth(minted))
        limit = None if self.limits.deposit is None else self.limits.deposit - assets
        limits = replace(self.limits, deposit=limit, redeem=self.limits.redeem + minted)
        return self._with(after, self.shares + minted, limits)

    def after_withdraw(self, assets: int, at: int) -> tuple[ERC4626Position, int]:
        """`withdraw`; on a full exit `redeem` of all shares that the vault lets go; of a vault that redeems
        on request, what is ready."""
        most = self.max_withdraw(at)
        everything = assets == EVERYTHING
        if most == 0 or not (everything or 0 < assets <= most):
            raise self._refused("The vault would refuse this withdrawal", f"1 to {most:,} units", assets)
        if self.requests.redemptions:
            taken = most if everything else assets
            return replace(self, requests=replace(self.requests, ready=self.requests.ready - taken)), taken
        if everything and self._all_may_leave:
            return self._emptied(), self.quoted
        before = self._known()
        burnt = self.limits.redeem if everything else before.burnt(assets)
        taken = self.limits.redeemed if everything else assets
        if burnt > self.shares:
            raise self._refused("The vault would refuse this withdrawal", f"{self.shares:,} shares", burnt)
        limits = replace(self.limits, redeem=max(0, self.limits.redeem - burnt))
        return self._with(before.moved(-taken, -burnt), self.shares - burnt, limits), taken

    def after_request_redeem(self, shares: int, at: int) -> ERC4626Position:
        """`requestRedeem`: shares that still count as the vault converts them; EVERYTHING is all of them."""
        self._require_not_before(at)
        if shares == EVERYTHING:
            shares = self.shares
        if not self.requests.redemptions:
            raise self._refused("This vault does not redeem on request", "an ERC-7540 vault", shares)
        if not 0 < shares <= self.shares:
            raise self._refused("There are not so many shares", f"1 to {self.shares:,}", shares)
        requests = replace(self.requests, leaving=self.requests.leaving + shares)
        return replace(self, shares=self.shares - shares, requests=requests)

    def after_claim(self, at: int) -> tuple[ERC4626Position, int, int]:
        """(state after, shares minted, assets received) of `claim`, which takes what is ready."""
        self._require_not_before(at)
        minted, received = self.requests.mintable, self.requests.ready
        if not minted and not received:
            raise self._refused("No request is ready", "something to claim", 0)
        requests = replace(self.requests, mintable=0, ready=0)
        return replace(self, shares=self.shares + minted, requests=requests), minted, received

    def shared(self) -> Mapping[StateKey, Any]:
        """The vault's totals, as far as its shares follow from them."""
        return {self._key: self.proportion}

    def with_shared(self, states: Mapping[StateKey, Any]) -> ERC4626Position:
        """The same shares of the vault with other totals."""
        proportion = states.get(self._key)
        if proportion is None or proportion == self.proportion:
            return self
        return self._with(proportion, self.shares, self.limits)

    def accrued(self, at: int) -> ERC4626Position:
        """Itself: nothing is known to accrue."""
        self._require_not_before(at)
        return self

    @property
    def _key(self) -> StateKey:
        return "erc4626", self.params.vault

    @property
    def _all_may_leave(self) -> bool:
        """Whether the vault lets all shares go but those that a limit rounded to a unit leaves out."""
        return not self.requests.mintable and self.limits.redeemed + 1 >= self.quoted

    def _emptied(self) -> ERC4626Position:
        proportion = self.proportion and self.proportion.moved(-self.quoted, -self.shares)
        limits = replace(self.limits, redeem=0, redeemed=0)
        return replace(self, shares=0, quoted=0, sound=True, limits=limits, proportion=proportion)

    def _known(self) -> Proportion:
        if self.proportion is None or not self.sound:
            raise self._refused(
                "What part of this vault is worth cannot be foretold",
                "shares that follow from the vault's totals",
                "answers that do not",
                "A full exit works; a mirror of the vault's own protocol knows more.",
            )
        return self.proportion

    def _with(self, proportion: Proportion, shares: int, limits: Limits) -> ERC4626Position:
        """After a move of ours: the limit in shares stays, and is worth what shares now are."""
        total = shares + self.requests.mintable + self.requests.leaving
        redeemed = proportion.worth(min(limits.redeem, shares))
        return replace(
            self,
            shares=shares,
            quoted=proportion.worth(total),
            limits=replace(limits, redeemed=redeemed),
            proportion=proportion,
        )

    def _require_not_before(self, at: int) -> None:
        if at < self.read_at:
            raise PlanError(
                "The vault was read later",
                expected=f"a time from {self.read_at} on",
                seen=at,
                where=self.ref.venue,
            )

    def _refused(self, what: str, expected: str, seen: object, hint: str = "") -> PlanError:
        shown = f"{seen:,}" if isinstance(seen, int) else seen
        return PlanError(what, expected=expected, seen=shown, where=self.ref.venue, hint=hint or None)


def in_a_word(total: int, ref: PositionRef) -> int:
    """`total`, where the chain can count so far. Raises ValuationError where it could not."""
    if total > MAX_UINT256:
        raise ValuationError(
            "The vault's answers add up to more than a word", expected="256 bits", seen=total, where=ref.venue
        )
    return total
