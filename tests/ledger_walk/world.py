"""What lies outside the vault in a walk: real positions by their own mirrors, and stated ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data

from keeper.connectors.base import Position, Report, after_move
from keeper.contracts import Function
from keeper.errors import PlanError, RevertError
from keeper.ledger.state import Effect, Permit, PositionId
from keeper.oracle.quote import Status
from keeper.planning.actions import SUPPLY, WITHDRAW
from keeper.units import Address

BECOME = Function("become(bytes32,uint256,uint256,uint256,uint256)")
"""`StatedPosition.become`: key, low, high, state, assets paid."""
CONNECTOR_REFUSED = "ConnectorRefused"
"""Stands for whatever a real connector or its protocol reverts with: the ledger passes it on."""
NAME = "Omnikeeper USDC"
_DEBT_BITS, _HEALTH_BITS = 112, 128


@dataclass(frozen=True)
class Stated:
    """`StatedPosition.Stated`."""

    low: int = 0
    high: int = 0
    state: int = 0

    @property
    def report(self) -> Report | None:
        """The three words unpacked, as `ReportLib` has them; None for a status that does not exist."""
        status, rest = self.state & 0xFF, self.state >> 8
        if status > max(Status) or rest >> (_DEBT_BITS + _HEALTH_BITS):
            return None
        debt = rest & ((1 << _DEBT_BITS) - 1)
        return Report(self.low, self.high, Status(status), debt, rest >> _DEBT_BITS)


def packed(status: int, debt: int, health: int) -> int:
    """The third word of a report."""
    return status | debt << 8 | health << (8 + _DEBT_BITS)


def permit_message(permit: Permit, vault: Address, chain_id: int) -> SignableMessage:
    """What an owner signs (EIP-2612)."""
    types = ("address owner", "address spender", "uint256 value", "uint256 nonce", "uint256 deadline")
    fields = [dict(zip(("type", "name"), each.split(), strict=True)) for each in types]
    domain = {"name": NAME, "version": "1", "chainId": chain_id, "verifyingContract": vault}
    return encode_typed_data(domain, {"Permit": fields}, asdict(permit))


@dataclass(frozen=True)
class Markets:
    """A `keeper.ledger.state.World`. `broken` connectors revert whatever they are asked."""

    portfolio: Address
    positions: tuple[Position, ...]
    stated: Mapping[PositionId, Stated]
    isolation: Mapping[Address, bool]
    broken: frozenset[Address]
    closed: Address
    stray: Mapping[Address, int]
    vault: Address
    chain_id: int

    def report(self, position: PositionId, at: int) -> Report | None:
        if position[0] in self.broken:
            return None
        if position in self.stated:
            return self.stated[position].report
        return self._real(position).report(at)

    def call(self, target: Address, data: bytes, pushed: int, at: int) -> tuple[Markets, Effect]:
        if target in self.broken:
            raise RevertError("EmptyRevert")
        if any(target == connector for connector, _ in self.stated):
            return self._stated_call(target, data)
        function = SUPPLY if data[:4] == SUPPLY.selector else WITHDRAW
        key, assets = function.decode_input(data)
        if not any((each.ref.address, each.ref.key) == (target, key) for each in self.positions):
            raise RevertError(CONNECTOR_REFUSED)
        if assets == 0:
            raise RevertError("ZeroAmount")
        change = assets if function is SUPPLY else -assets
        try:
            moved, received = after_move(self.positions, self._real((target, key)).ref.venue, change, at)
        except PlanError as error:
            raise RevertError(CONNECTOR_REFUSED, (str(error),)) from error
        return replace(self, positions=moved), Effect(received)

    def portfolio_of(self, connector: Address) -> Address:
        if connector in self.broken or connector not in self.isolation:
            raise RevertError("EmptyRevert")
        return self.portfolio

    def isolated(self, connector: Address) -> bool:
        return self.isolation.get(connector, False)

    def loose(self, token: Address) -> int:
        return self.stray.get(token, 0)

    def allows(self, sender: Address, receiver: Address, amount: int) -> bool:
        return self.closed not in (sender, receiver)

    def permit_signer(self, permit: Permit, signature: tuple[int, bytes, bytes]) -> Address:
        v, r, s = signature
        vrs = v, int.from_bytes(r, "big"), int.from_bytes(s, "big")
        return Address(Account.recover_message(permit_message(permit, self.vault, self.chain_id), vrs=vrs))

    def _real(self, position: PositionId) -> Position:
        return next(each for each in self.positions if (each.ref.address, each.ref.key) == position)

    def _stated_call(self, target: Address, data: bytes) -> tuple[Markets, Effect]:
        if data[:4] == BECOME.selector:
            key, low, high, state, paid = BECOME.decode_input(data)
            return self.state(target, key, Stated(low, high, state)), Effect(paid)
        supplies = data[:4] == SUPPLY.selector
        key, assets = (SUPPLY if supplies else WITHDRAW).decode_input(data)
        own = self.stated.get((target, key), Stated())
        change = assets if supplies else -assets
        low, high = own.low + change, own.high + change
        if min(low, high) < 0 or max(low, high) >> 256:
            raise RevertError("Panic", ("arithmetic overflow or underflow",))
        return self.state(target, key, Stated(low, high, own.state)), Effect(0 if supplies else assets)

    def state(self, target: Address, key: bytes, stated: Stated) -> Markets:
        """With a position stated anew."""
        return replace(self, stated={**self.stated, (target, key): stated})
