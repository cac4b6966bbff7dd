"""Books of stated numbers for the limits, and the example policy with a `[risk]` table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from planning.examples import AT, account, policy_sections

from keeper.book import Book
from keeper.config import parse
from keeper.connectors.base import Leg, Position, PositionRef, Report
from keeper.ledger.vault import Accounting, Params
from keeper.oracle.quote import Status
from keeper.planning.policy import Policy

MILLION = 10**12
"""A million of the vault's asset, which has six decimals."""


@dataclass(frozen=True)
class Stated:
    """A position that is worth what a test says, whatever the time."""

    ref: PositionRef
    stated: Report
    free: int

    def report(self, at: int) -> Report:
        return self.stated

    def legs(self, at: int) -> tuple[Leg, ...]:
        return ()

    def supply_rate(self, delta: int, at: int) -> int:
        return 0

    def after_supply(self, assets: int, at: int) -> "Stated":
        return self._moved(assets)

    def after_withdraw(self, assets: int, at: int) -> "tuple[Stated, int]":
        taken = min(assets, self.stated.low)
        return self._moved(-taken), taken

    def _moved(self, change: int) -> "Stated":
        stated = replace(self.stated, low=self.stated.low + change, high=self.stated.high + change)
        return replace(self, stated=stated, free=max(0, self.free + min(change, 0)))

    def max_withdraw(self, at: int) -> int:
        return self.free

    def max_supply(self, at: int) -> int:
        return 2**128

    def shared(self) -> Mapping[Any, Any]:
        return {}

    def with_shared(self, states: Mapping[Any, Any]) -> "Stated":
        return self

    def accrued(self, at: int) -> "Stated":
        return self


def policy(**slots: Any) -> Policy:
    """The example policy with these slots of `[risk]`."""
    sections = policy_sections()
    sections["caps"] = dict.fromkeys(sections["caps"], 10**9 * MILLION)
    return parse(sections | {"risk": slots}, Policy)


def position(
    rules: Policy, venue: str, low: int, debt: int = 0, free: int | None = None, **said: Any
) -> Stated:
    """A position of the policy worth `low`, of which `free` can be taken out, all unless stated."""
    return Stated(
        rules.position(venue).ref(), Report(low, low, debt=debt, **said), low if free is None else free
    )


def book(*positions: Position, idle: int = 0, claimed: int | None = None, reserve: int = 0) -> Book:
    """A book of these positions; it claims what it is worth unless stated."""
    net = idle + sum(each.report(AT).low for each in positions)
    accounting = Accounting(*([0] * 19))
    return Book(
        at=AT,
        idle=idle,
        positions=tuple(sorted(positions, key=lambda each: each.ref.venue)),
        marks={each.ref.venue: each.report(AT).low for each in positions},
        caps={},
        reserve=reserve,
        accounting=replace(accounting, stored_nav=net if claimed is None else claimed),
        params=Params(account(0), 0, 0, 0, 0, 0, 0, 0, account(0), 0, 0, 0, 0),
        nonce=0,
        signer_set_version=1,
        healthy=all(each.report(AT).status is Status.OK for each in positions),
        risk_paused_until=0,
    )
