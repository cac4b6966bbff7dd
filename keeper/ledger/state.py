"""Everything one vault's contracts count, as immutable values, and what they are called with.

The functions on these values are in the modules beside this one, each named after the contract or library it
mirrors. They take a `Ledger` and a `Message` and return the ledger afterwards; where a contract reverts they
raise RevertError with its error's name and arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeAlias

from keeper.connectors.base import Report
from keeper.ledger.bucket import Bucket
from keeper.ledger.checks import require
from keeper.ledger.pocket import Pocket
from keeper.ledger.queue import Queue
from keeper.ledger.token import ZERO, Token
from keeper.ledger.vault import PPS_ONE, VIRTUAL_SHARES, Accounting, Params, overdue
from keeper.units import MAX_UINT256, Address, mul_div_down

PositionId: TypeAlias = tuple[Address, bytes]
"""Connector and the connector's own key: what the contracts know a position by."""

EVERYTHING: Final = MAX_UINT256


# WHAT LIES OUTSIDE


@dataclass(frozen=True)
class Effect:
    """What a call left at the portfolio: more of the vault's asset, and of other tokens by address."""

    received: int = 0
    brought: Mapping[Address, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Permit:
    """What an owner signs to approve by signature (EIP-2612), in the order of its type."""

    owner: Address
    spender: Address
    value: int
    nonce: int
    deadline: int


class World(Protocol):
    """What the contracts ask of others: connectors, tokens and the compliance hook. Immutable."""

    def report(self, position: PositionId, at: int) -> Report | None:
        """What the connector reports at `at`; None when it reverts or answers nonsense."""
        ...

    def call(self, target: Address, data: bytes, pushed: int, at: int) -> tuple[World, Effect]:
        """The world after the portfolio pushed so much of its asset to `target` and called it. Raises
        RevertError when the call reverts."""
        ...

    def portfolio_of(self, connector: Address) -> Address:
        """`IConnector.portfolio`. Raises RevertError when it is no connector."""
        ...

    def isolated(self, connector: Address) -> bool:
        """Whether the connector promises that its positions do not touch each other."""
        ...

    def loose(self, token: Address) -> int:
        """Balance of the portfolio in a token other than the vault's asset."""
        ...

    def allows(self, sender: Address, receiver: Address, amount: int) -> bool:
        """The compliance hook's answer."""
        ...

    def permit_signer(self, permit: Permit, signature: tuple[int, bytes, bytes]) -> Address:
        """Who signed a permit of the vault's shares. Raises RevertError when nobody can have."""
        ...


@dataclass(frozen=True)
class Message:
    """`msg.sender`, `block.timestamp`, `msg.data`, and the world that is found then."""

    sender: Address
    at: int
    world: World
    data: bytes = b""


# REGISTRY


@dataclass(frozen=True, slots=True)
class Change:
    """A submitted change, and from when it may be made."""

    executable_at: int
    vetoable: bool


@dataclass(frozen=True)
class Section:
    """`Registry.Section` of the vault. Sets are tuples in the order in which the contract lists them."""

    portfolio: Address
    governor: Address
    guardian: Address
    keeper: Address
    pending_governor: Address = ZERO
    oracle: Address = ZERO
    delay: int = 0
    risk_paused_until: int = 0
    connectors: tuple[Address, ...] = ()
    keys: Mapping[Address, tuple[bytes, ...]] = field(default_factory=dict)
    risk_ids: Mapping[PositionId, tuple[bytes, ...]] = field(default_factory=dict)
    isolated: Mapping[Address, bool] = field(default_factory=dict)
    allowed: tuple[tuple[Address, bytes], ...] = ()
    abdicated: tuple[tuple[Address, bytes], ...] = ()
    exit_only: tuple[Address, ...] = ()
    caps: Mapping[bytes, int] = field(default_factory=dict)
    cap_order: tuple[bytes, ...] = ()
    changes: Mapping[bytes, Change] = field(default_factory=dict)

    @property
    def positions(self) -> tuple[PositionId, ...]:
        """Every listed position, in the registry's order."""
        return tuple((each, key) for each in self.connectors for key in self.keys[each])


# PORTFOLIO


@dataclass(frozen=True, slots=True)
class Mark:
    """What a position counted when it was last looked at; `high` and `debt` as of the last batch."""

    low: int = 0
    high: int = 0
    debt: int = 0


@dataclass(frozen=True, slots=True)
class FirstReading:
    """A position as announced; `worthless` then, whatever a batch found since."""

    low: int = 0
    high: int = 0
    healthy: bool = False
    worthless: bool = False


@dataclass(frozen=True)
class Announcement:
    """The first of two readings. Without one `positions` is None."""

    at: int = 0
    positions: tuple[PositionId, ...] | None = None
    first: Mapping[PositionId, FirstReading] = field(default_factory=dict)

    def of(self, position: PositionId) -> FirstReading:
        return self.first.get(position, FirstReading())

    def put(self, position: PositionId, reading: FirstReading) -> Announcement:
        return replace(self, first={**self.first, position: reading})


@dataclass(frozen=True, slots=True)
class Pocketed:
    """The position that is split off, since when, and the assets that came out of it."""

    position: PositionId
    since: int
    cash: int = 0


@dataclass(frozen=True)
class Portfolio:
    """`PortfolioState`, nonces, co-signatures and loss buckets. Exposures are by risk id."""

    idle: int = 0
    total_low: int = 0
    pocketed: Pocketed | None = None
    announcement: Announcement = field(default_factory=Announcement)
    marks: Mapping[PositionId, Mark] = field(default_factory=dict)
    exposures: Mapping[bytes, int] = field(default_factory=dict)
    nonces: Mapping[int, int] = field(default_factory=dict)
    cosigners: Mapping[bytes, Address] = field(default_factory=dict)
    raising: Bucket = field(default_factory=Bucket)
    reducing: Bucket = field(default_factory=Bucket)

    def mark(self, position: PositionId) -> Mark:
        return self.marks.get(position, Mark())

    def is_pocketed(self, position: PositionId) -> bool:
        return self.pocketed is not None and self.pocketed.position == position


# VAULT


@dataclass(frozen=True, slots=True)
class Deposits:
    """A controller's deposits as of its last touch, in `epoch`."""

    committed: int = 0
    open: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Redemptions:
    """A controller's redemptions as of its last touch."""

    queued: int = 0
    open: int = 0
    queued_at: int = 0
    open_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Claimable:
    """Assets and shares of what was priced, filled or cancelled."""

    assets: int = 0
    shares: int = 0


@dataclass(frozen=True, slots=True)
class Controller:
    """What one controller is entitled to."""

    deposits: Deposits = Deposits()
    redemptions: Redemptions = Redemptions()
    bought: Claimable = Claimable()
    redeemed: Claimable = Claimable()
    cancelled: Claimable = Claimable()


@dataclass(frozen=True)
class Vault:
    """`VaultState`, controllers, operators as (controller, operator), and the share token.

    `accounting` counts total supply and queued shares, too, as the contract's view does; `deposit_pps` has
    (epoch, price) of every settlement that accepted deposits.
    """

    params: Params
    accounting: Accounting
    queue: Queue
    shares: Token = field(default_factory=Token)
    claimable_assets: int = 0
    deposit_pps: tuple[tuple[int, int], ...] = ()
    pockets: tuple[Pocket, ...] = ()
    controllers: Mapping[Address, Controller] = field(default_factory=dict)
    operators: frozenset[tuple[Address, Address]] = frozenset()
    permits: Mapping[Address, int] = field(default_factory=dict)

    def controller(self, who: Address) -> Controller:
        return self.controllers.get(who, Controller())

    def put(self, who: Address, controller: Controller) -> Vault:
        return replace(self, controllers={**self.controllers, who: controller})

    def in_window(self, at: int) -> bool:
        return at < self.accounting.window_ends_at

    @property
    def priced_nav(self) -> int:
        """`Vault.pricedNav`: the lesser of stored NAV and all shares at the last sound price."""
        a = self.accounting
        return min(a.stored_nav, mul_div_down(a.total_supply + VIRTUAL_SHARES, a.last_pps_low, PPS_ONE))

    def overdue_exits(self, at: int) -> int:
        """`Vault.overdueExits`: what the queue is worth, once it is older than it may be."""
        a = self.accounting
        if not overdue(a, self.params, at):
            return 0
        return mul_div_down(self.queue.shares, a.stored_nav + 1, a.total_supply + VIRTUAL_SHARES)

    def mint(self, to: Address, shares: int) -> Vault:
        """`Vault._mintSome`: nothing is minted to nobody."""
        if shares == 0:
            return self
        require(to != ZERO, "ERC20InvalidReceiver", ZERO)
        return self.supplied(shares, self.shares.credit(to, shares))

    def burn(self, holder: Address, shares: int) -> Vault:
        return self.supplied(-shares, self.shares.debit(holder, shares))

    def supplied(self, change: int, shares: Token) -> Vault:
        """With another supply, held as `shares` says."""
        total = self.accounting.total_supply + change
        return replace(self, shares=shares, accounting=replace(self.accounting, total_supply=total))


# ALL OF IT


@dataclass(frozen=True)
class Parts:
    """Who is who."""

    vault: Address
    portfolio: Address
    registry: Address
    escrow: Address
    asset: Address


@dataclass(frozen=True)
class Ledger:
    """One vault, whole. `asset` is followed for everyone who deals with it."""

    parts: Parts
    registry: Section
    portfolio: Portfolio
    vault: Vault
    asset: Token
