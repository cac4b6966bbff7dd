"""A real vault on a local chain whose only position is the connector under test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from keeper.chain.call import Call, CallFailure
from keeper.conformance.kit import Kit, Move
from keeper.conformance.score import MissError
from keeper.connectors import base
from keeper.connectors.base import Position, Report
from keeper.contracts import Artifact, Contract, Function, artifact, encode_call, parse_revert
from keeper.contracts.abi import type_of
from keeper.errors import ConfigError, RevertError, RpcError
from keeper.exposures import risk_id
from keeper.oracle.quote import Prices, Quote, Status
from keeper.simulation.deploy import created_address
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import TIMELOCK, Core, deploy_core, govern
from keeper.units import WAD, Address, Value

KEEPER: Final = "relayer"
"""The account with the keeper role: the suite is about connectors, not about signatures."""

REPORT_GAS: Final = 300_000
"""`IPortfolio.REPORT_GAS`: what a report may use when nothing has been read before."""

DEPOSIT: Final = 300_000
"""Whole tokens that the vault has at hand when it opens: of 27 decimals about as many as it takes."""

_EPOCH: Final = 600
_NOBODY: Final = Address("0x" + "0" * 40)
_ERRORS: Final = ("Portfolio", "Vault", "Registry")
_REPORT: Final = Function("report(bytes32)", "(uint256,uint256,uint256)")
_INTRINSIC_GAS: Final = 21_000
_BYTE_GAS: Final = (4, 16)
_READING: Final = ("pure", "view")
_VALUE: Final = Function("value(address,address,uint256)", "(uint256,uint256,uint8)")
_NAV: Final = Function("nav()", "((uint256,uint256),bool)")
_DEBT_BITS: Final = 112


class World:
    """The chain, the vault and the venue; draws are the same in every run with the same seed."""

    def __init__(self, devnet: Devnet, kit: Kit, decimals: int, seed: str) -> None:
        self.devnet = devnet
        self.kit = kit
        self.decimals = decimals
        self.unit = int(10**decimals)
        self._seed = f"{seed}/{decimals}"
        self._draws = 0
        self.tried: set[str] = set()
        self.asset = kit.asset(self, decimals)
        self.core = self._deploy()
        self.venue = kit.deploy(self)
        self._list()
        self._check_empty()
        self._fund()

    # SET-UP

    def _deploy(self) -> Core:
        most = 2**128 - 1
        rules = (0, 0, 0, WAD, WAD, WAD // 200, _EPOCH, _NOBODY, self.unit, most, 1, 172_800)
        core = deploy_core(self.devnet, rules, self.asset)
        govern(self.devnet, core, "setKeeper", core.vault, self.devnet.address(KEEPER))
        return core

    def govern(self, function: str, *args: Any) -> None:
        """A change of the vault's rules, while it is being set up: `govern("setOracle", router)`."""
        govern(self.devnet, self.core, function, self.core.vault, *args)

    def _list(self) -> None:
        venue = self.venue
        self.govern("listPosition", venue.address, venue.ref.key, [risk_id(venue.ref.venue)])
        self.govern("setCap", risk_id(venue.ref.venue), 2**128 - 1)
        for function in changing(venue.artifact):
            self.govern("setSelector", venue.address, function.selector, True)
        self.govern("seal", TIMELOCK)

    def _check_empty(self) -> None:
        """The vault takes no deposits while a position is in doubt: nothing could be tried."""
        value, healthy = self.nav(self.now())
        if not healthy or value.high:
            raise MissError(
                "The vault cannot value the empty position",
                expected=f"0 to 0 with at most {REPORT_GAS:,} gas",
                seen=f"{value.low:,} to {value.high:,} with {self.report_gas():,} gas",
                where=self.venue.ref.venue,
            )

    def _fund(self) -> None:
        user, vault = self.devnet.address("user1"), self.core.vault
        assets = DEPOSIT * self.unit
        self.mint("user1", assets)
        self.must("user1", self.asset, "approve(address,uint256)", vault, assets)
        self.must("user1", vault, "requestDeposit(uint256,address,address)", assets, user, user)
        self.devnet.warp(_EPOCH)
        self.must("user1", vault, "closeEpoch()")
        self.devnet.warp(1)
        terms = (vault, 1, 0, 2**256 - 1, 0, 2**64, bytes(32))
        data = Contract(vault, "Vault").encode("settle", terms)
        self.devnet.send(self.devnet.key(KEEPER), vault, data, errors=_ERRORS)

    # DRAWS

    def draw(self, bound: int) -> int:
        """A number from 0 to `bound` - 1."""
        self._draws += 1
        digest = hashlib.sha256(f"{self._seed}/{self._draws}".encode()).digest()
        return int.from_bytes(digest) % bound

    def amount(self, most: int, least: int = 1) -> int:
        """From `least` to `most`, each order of magnitude as likely as the next."""
        if most <= least:
            return least
        bits = self.draw((most - least).bit_length() + 1)
        return least + self.draw(min(most - least, 1 << bits) + 1)

    # OTHERS

    def account(self, role: str) -> Address:
        """Address of an account of the local chain: lender, borrower, deployer, …"""
        return self.devnet.address(role)

    def new_token(self, symbol: str, decimals: int) -> Address:
        """A plain ERC-20 whose issuer is the deployer."""
        return self.create(artifact("TestToken"), symbol, symbol, decimals, self.account("deployer"))

    def create(self, contract: Artifact, *args: Any, role: str = "deployer") -> Address:
        """Deploys a contract and returns its address. Raises RevertError in the contract's own words."""
        sender = self.account(role)
        nonce = int(self.devnet.rpc("eth_getTransactionCount", sender, "latest"), 16)
        try:
            self.devnet.send(self.devnet.key(role), None, contract.creation_code(*args))
        except RevertError as error:
            raise _named(error, contract) from error
        return created_address(sender, nonce)

    def mint(self, role: str, amount: int, token: Address | None = None) -> None:
        """Gives an account units of a token, by default of the vault's asset."""
        to = self.account(role)
        self.must("deployer", token or self.asset, "mint(address,uint256)", to, amount)

    def act(self, role: str, to: Address, signature: str, *args: Any) -> bool:
        """A transaction of somebody else; false when the protocol refuses it."""
        try:
            self.must(role, to, signature, *args)
        except RevertError:
            return False
        return True

    def must(self, role: str, to: Address, signature: str, *args: Any) -> None:
        """As `act`, for what has to pass. Raises RevertError."""
        self.devnet.send(self.devnet.key(role), to, encode_call(signature, *args), errors=_ERRORS)

    # TIME AND STATE

    def now(self) -> int:
        """Time of the head."""
        return int(self.devnet.block()["timestamp"], 16)

    def later(self) -> int:
        """A time for the next block: from a second to months after the head."""
        return self.now() + 1 + self.draw(10 ** (1 + self.draw(6)))

    # READS

    def view(self, to: Address, signature: str, args: Sequence[Any] = (), outputs: str = "(uint256)") -> Any:
        """Decoded answer at the head. Raises RevertError."""
        return self.devnet.call(to, signature, args, outputs)

    def balance(self, token: Address, holder: Address) -> int:
        """Units that an account holds."""
        return int(self.view(token, "balanceOf(address)", [holder]))

    def idle(self) -> int:
        """Assets the vault has at hand, by its own ledger."""
        return int(self.view(self.core.portfolio, "idle()"))

    def nav(self, at: int) -> tuple[Value, bool]:
        """Net asset value and whether every term of it is healthy, in a block of time `at` on the state of
        the head."""
        (low, high), healthy = _NAV.decode(self.answer(self.core.portfolio, _NAV.encode(), at))
        return Value(low, high), healthy

    def report(self, at: int) -> Report:
        """The connector's own report in a block of time `at` on the state of the head.

        Raises RevertError, and ConfigError when the third word has a status that does not exist.
        """
        venue = self.venue
        low, high, word = _REPORT.decode(self.answer(venue.address, _REPORT.encode(venue.ref.key), at))
        status, debt = word & 0xFF, word >> 8 & (1 << _DEBT_BITS) - 1
        if status not in set(Status):
            raise ConfigError("The report has a status that does not exist", seen=status)
        return Report(low, high, Status(status), debt, word >> 8 + _DEBT_BITS)

    def report_gas(self) -> int:
        """What a report takes as the first thing in a transaction, when nothing of it has been read.

        Raises RevertError.
        """
        data = _REPORT.encode(self.venue.ref.key)
        request = {"from": self.core.portfolio, "to": self.venue.address, "data": "0x" + data.hex()}
        try:
            estimate = int(self.devnet.rpc("eth_estimateGas", request), 16)
        except RpcError as error:
            raise self.revert_of(error) from error
        return estimate - _INTRINSIC_GAS - sum(_BYTE_GAS[byte != 0] for byte in data)

    def answer(self, to: Address, data: bytes, at: int) -> bytes:
        """Answer of a call in a block of time `at` on the state of the head. Raises RevertError."""
        request = {"to": to, "data": "0x" + data.hex()}
        try:
            answer = self.devnet.rpc("eth_call", request, "latest", {}, {"time": hex(at)})
        except RpcError as error:
            raise self.revert_of(error) from error
        return bytes.fromhex(answer[2:])

    def position(self) -> Position:
        """The mirror's position at the head, read by the installed connector."""
        connector = base.load(self.venue.ref.connector)
        return connector.position(self.venue.ref, self._read, self.kit.prices(self), self.now())

    def prices(self) -> Prices:
        """What the vault's router says at the head, of the tokens that the mirror names."""
        tokens = base.load(self.venue.ref.connector).tokens(self.venue.ref)
        router = Address(self.view(self.core.registry, "oracle(address)", [self.core.vault], "(address)"))
        others = [token for token in tokens if token != self.asset]
        return Prices(self.asset, {token: _RouterRate(self, router, token) for token in others})

    def _read(self, call: Call[Any]) -> Any:
        request = {"to": call.target, "data": "0x" + call.data.hex()}
        try:
            answer = self.devnet.rpc("eth_call", request, "latest")
        except RpcError as error:
            data = error.data if isinstance(error.data, str) else "0x"
            return CallFailure(bytes.fromhex(data[2:]), call.label)
        return call.decode(bytes.fromhex(answer[2:]))

    # THE VAULT

    def supply(self, assets: int) -> Move:
        """The vault's assets into the position."""
        return Move("supply", (self.venue.ref.key, assets), assets)

    def invest(self, assets: int) -> Sequence[Move]:
        """The same, and what puts them to work there."""
        return [self.supply(assets), *self.kit.employ(self, assets)]

    def withdraw(self, assets: int) -> Move:
        """Assets out of the position, or all of them."""
        return Move("withdraw", (self.venue.ref.key, assets))

    def batch(self, moves: Sequence[Move], at: int | None = None) -> dict[str, Any]:
        """Executes the moves as one batch of the vault in a block of time `at`; returns the receipt.

        Raises RevertError in the words of the vault or the connector.
        """
        calls = [
            (self.venue.address, move.token or self.asset, move.amount, self._encoded(move)) for move in moves
        ]
        nonce = self.view(self.core.portfolio, "nextNonce(uint256)", [0])
        terms = (self.core.vault, 0, nonce, 1, _NOBODY, 0, 2**64, bytes(32), calls, 0, 2**128 - 1)
        data = Contract(self.core.portfolio, "Portfolio").encode("execute", terms)
        if at is not None:
            self.devnet.rpc("evm_setNextBlockTimestamp", at)
        try:
            receipt = self.devnet.send(self.devnet.key(KEEPER), self.core.portfolio, data, errors=_ERRORS)
        except RevertError as error:
            raise _named(error, self.venue.artifact) from error
        self.tried |= {move.function.partition("(")[0] for move in moves}
        return receipt

    def _encoded(self, move: Move) -> bytes:
        found = [
            function
            for function in changing(self.venue.artifact)
            if move.function in (function.name, function.signature)
        ]
        if len(found) != 1:
            raise ConfigError(
                "The connector has no such function, or more than one",
                expected=" or ".join(each.signature for each in found or changing(self.venue.artifact)),
                seen=move.function,
            )
        return found[0].encode(*move.args)

    def revert_of(self, error: RpcError) -> RevertError:
        """What an answer of the chain says, in the words of the vault or the connector."""
        data = bytes.fromhex(error.data[2:]) if isinstance(error.data, str) else b""
        return _named(parse_revert(data, *_ERRORS).as_error(where=error.message), self.venue.artifact)


@dataclass(frozen=True)
class _RouterRate:
    """`OracleRouter.value` of a token in the vault's asset, asked of the chain."""

    world: World
    router: Address
    token: Address

    def worth(self, amount: int) -> Quote:
        args = (self.token, self.world.asset, amount)
        answer = self.world.view(self.router, _VALUE.signature, args, "(uint256,uint256,uint8)")
        return Quote(answer[0], answer[1], Status(answer[2]))


def changing(contract: Artifact) -> tuple[Function, ...]:
    """Its functions that may change state."""
    found = []
    for entry in contract.abi:
        if entry["type"] == "function" and entry["stateMutability"] not in _READING:
            inputs, outputs = (",".join(type_of(p) for p in entry[side]) for side in ("inputs", "outputs"))
            found.append(Function(f"{entry['name']}({inputs})", f"({outputs})"))
    return tuple(found)


def _named(error: RevertError, contract: Artifact) -> RevertError:
    """The error without what the node adds; one that our own contracts do not know, in another's words."""
    data = error.arguments[0] if error.name == "UnknownError" else None
    if isinstance(data, bytes):
        return parse_revert(data, contract).as_error()
    return RevertError(error.name, error.arguments)
