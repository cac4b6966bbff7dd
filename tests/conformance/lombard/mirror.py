"""A pledge and a debt at one house, mirrored to the wei (`solidity/Lombard.sol`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

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
from keeper.contracts import Function
from keeper.errors import PlanError
from keeper.oracle.quote import Prices, Status
from keeper.units import WAD, Address, mul_div_down, mul_div_up

STORED = tuple(Function(f"{name}()", "(uint256)") for name in ("index", "rate", "lastUpdate", "threshold"))
HELD = tuple(Function(f"{name}(address)", "(uint256)") for name in ("pledgeOf", "scaledDebtOf"))
MOST = 2**112 - 1


class LombardParams(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    house: CheckedAddress
    asset: CheckedAddress


@dataclass(frozen=True)
class LombardPosition:
    ref: PositionRef
    params: LombardParams
    index: int
    rate: int
    last_update: int
    threshold: int
    pledged: int
    scaled_debt: int

    def debt(self, at: int) -> int:
        """`Lombard.debtOf`."""
        if at < self.last_update:
            raise PlanError("The state is of a later time", expected=f"from {self.last_update}", seen=at)
        index = self.index + self.index * self.rate * (at - self.last_update) // WAD
        return mul_div_up(self.scaled_debt, index, WAD)

    def report(self, at: int) -> Report:
        owed = self.debt(at)
        net = max(0, self.pledged - owed)
        health = mul_div_down(self.pledged, self.threshold, owed) if owed else 0
        return Report(net, net, Status.OK, owed, health)

    def legs(self, at: int) -> tuple[Leg, ...]:
        owed, token = self.debt(at), self.params.asset
        pledged = Leg(Role.COLLATERAL, token, self.pledged, self.pledged, self.pledged, Status.OK)
        borrowed = Leg(Role.BORROWED, token, owed, owed, owed, Status.OK)
        return tuple(leg for leg in (pledged, borrowed) if leg.amount)

    def supply_rate(self, delta: int, at: int) -> int:
        return 0

    def after_supply(self, assets: int, at: int) -> LombardPosition:
        return replace(self, pledged=self.pledged + assets)

    def after_withdraw(self, assets: int, at: int) -> tuple[LombardPosition, int]:
        taken = self.max_withdraw(at) if assets == EVERYTHING else assets
        if not 0 < taken <= self.max_withdraw(at):
            raise PlanError("The house keeps what secures a debt", seen=assets, where=self.ref.venue)
        return replace(self, pledged=self.pledged - taken), taken

    def max_withdraw(self, at: int) -> int:
        return 0 if self.scaled_debt else self.pledged

    def max_supply(self, at: int) -> int:
        return MOST

    def shared(self) -> Mapping[StateKey, Any]:
        return {}

    def with_shared(self, states: Mapping[StateKey, Any]) -> LombardPosition:
        return self

    def accrued(self, at: int) -> LombardPosition:
        return self


class Lombard:
    name = "lombard"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        house = parse_params(LombardParams, ref).house
        stored = (function.at(house, owner="Lombard") for function in STORED)
        return *stored, *(function.at(house, ref.address, owner="Lombard") for function in HELD)

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        return ()

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> LombardPosition:
        params = parse_params(LombardParams, ref)
        must_match("Key", key_of(params.house), ref.key, ref)
        return LombardPosition(ref, params, *(required(read, call, ref) for call in self.calls(ref)))
