"""Transactions as the mirror carries them out: which function of it a call's selector names.

`Registry.register` is left out: it opens the section of the vault that calls it, and the ledger begins there
(`keeper.ledger.epochs.registered`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

from keeper.contracts import Function, address
from keeper.errors import DecodeError
from keeper.ledger import batches, epochs, readings, registry, requests, split
from keeper.ledger.batches import Batch
from keeper.ledger.checks import refused
from keeper.ledger.conditions import Action
from keeper.ledger.epochs import Terms
from keeper.ledger.state import Ledger, Message
from keeper.ledger.vault import Params
from keeper.units import Address

Handler: TypeAlias = Callable[..., Ledger]
Table: TypeAlias = Mapping[bytes, tuple[Function, Handler]]


def apply(ledger: Ledger, m: Message, target: Address) -> Ledger:
    """The ledger after the call `m` of one of the vault's contracts, or of its asset.

    Raises RevertError with the name and arguments of the error that the contract reverts with, and
    DecodeError for a call that this mirror does not know.
    """
    tables = _tables(ledger)
    found = tables.get(target, {}).get(m.data[:4])
    if found is None:
        raise DecodeError("The ledger's mirror knows no such call", seen=m.data[:4], where=target)
    function, handler = found
    return handler(ledger, m, *function.decode_input(m.data))


def _tables(ledger: Ledger) -> Mapping[Address, Table]:
    parts = ledger.parts
    return {
        parts.vault: VAULT,
        parts.portfolio: PORTFOLIO,
        parts.registry: REGISTRY,
        parts.asset: ASSET,
        parts.escrow: ESCROW,
    }


def _table(handlers: Mapping[str, Handler]) -> Table:
    functions = {Function(signature): handler for signature, handler in handlers.items()}
    return {function.selector: (function, handler) for function, handler in functions.items()}


# VAULT


def _without_id(function: Handler) -> Handler:
    """Requests have no numbers: the contracts ignore theirs."""
    return lambda ledger, m, _, *args: function(ledger, m, *args)


def _own(function: Handler) -> Handler:
    """Of ERC-4626: the sender is the controller."""
    return lambda ledger, m, amount, receiver: function(ledger, m, amount, receiver, m.sender)


def _settle(ledger: Ledger, m: Message, terms: tuple[Any, ...]) -> Ledger:
    return epochs.settle_signed(ledger, m, Terms(*terms[:6]))


def _set_params(ledger: Ledger, m: Message, values: tuple[Any, ...]) -> Ledger:
    return epochs.set_params(ledger, m, Params.from_abi(values))


def _only_for(error: str, _: Ledger, m: Message, *__: Any) -> NoReturn:
    """What a contract does for another of the vault's own, and nobody else may ask for."""
    raise refused(error, m.sender)


_FOR_PORTFOLIO: Final = partial(_only_for, "NotPortfolio")
_FOR_VAULT: Final = partial(_only_for, "NotVault")
_FOR_REGISTRY: Final = partial(_only_for, "NotRegistry")

VAULT: Final = _table(
    {
        "requestDeposit(uint256,address,address)": requests.request_deposit,
        "requestRedeem(uint256,address,address)": requests.request_redeem,
        "cancelDepositRequest(uint256,address)": _without_id(requests.cancel_deposit_request),
        "cancelRedeemRequest(uint256,address)": _without_id(requests.cancel_redeem_request),
        "claimCancelDepositRequest(uint256,address,address)": _without_id(requests.claim_cancel_deposit),
        "claimCancelRedeemRequest(uint256,address,address)": _without_id(requests.claim_cancel_redeem),
        "setOperator(address,bool)": requests.set_operator,
        "deposit(uint256,address)": _own(requests.deposit),
        "deposit(uint256,address,address)": requests.deposit,
        "mint(uint256,address)": _own(requests.mint),
        "mint(uint256,address,address)": requests.mint,
        "withdraw(uint256,address,address)": requests.withdraw,
        "redeem(uint256,address,address)": requests.redeem,
        "claimResidual(uint256,address,address)": requests.claim_residual,
        "transfer(address,uint256)": requests.transfer,
        "transferFrom(address,address,uint256)": requests.transfer_from,
        "approve(address,uint256)": requests.approve,
        "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)": requests.permit,
        "closeEpoch()": epochs.close_epoch,
        "settle((address,uint256,uint256,uint256,uint256,uint256,bytes32))": _settle,
        "settleUnattended()": epochs.settle_unattended,
        "markDown()": epochs.mark_down,
        "setParams((address,uint64,uint64,uint64,uint64,uint64,uint64,uint32,address,uint128,uint128,"
        "uint128,uint32))": _set_params,
        "lock()": _FOR_PORTFOLIO,
        "unlock()": _FOR_PORTFOLIO,
        "openPocket()": _FOR_PORTFOLIO,
        "closePocket(uint256)": _FOR_PORTFOLIO,
    }
)

# PORTFOLIO

_BATCH: Final = (
    "(address,uint256,uint256,uint256,address,uint256,uint256,bytes32,"
    "(address,address,uint256,bytes)[],uint256,uint256)"
)


def _execute(ledger: Ledger, m: Message, raw: tuple[Any, ...]) -> Ledger:
    vault, nonce_key, nonce, _, _, valid_after, valid_until, _, calls, floor, max_loss = raw
    actions = tuple(Action(*call) for call in calls)
    batch = Batch(vault, nonce_key, nonce, valid_after, valid_until, actions, floor, max_loss)
    return batches.execute(ledger, m, batch)


PORTFOLIO: Final = _table(
    {
        f"execute({_BATCH})": _execute,
        "cancelNonce(uint256)": batches.cancel_nonce,
        "cosign(bytes32)": batches.cosign,
        "forceDeallocate(address,bytes32,uint256)": batches.force_deallocate,
        "skim(address,address)": batches.skim,
        "announce()": readings.announce,
        "splitOff(address,bytes32)": split.split_off,
        "closePocket()": split.close_pocket,
        "release(uint256)": _FOR_VAULT,
        "receiveIdle(uint256)": _FOR_VAULT,
        "checkpoint(bool)": _FOR_VAULT,
        "forget(address,bytes32,bytes32[],bool)": _FOR_REGISTRY,
    }
)
ESCROW: Final = _table({"pay(address,uint256)": _FOR_VAULT})

# ASSET


def _transfer(ledger: Ledger, m: Message, receiver: Address, amount: int) -> Ledger:
    return replace(ledger, asset=ledger.asset.transfer(m.sender, receiver, amount))


def _transfer_from(ledger: Ledger, m: Message, owner: Address, receiver: Address, amount: int) -> Ledger:
    return replace(ledger, asset=ledger.asset.transfer_from(m.sender, owner, receiver, amount))


def _approve(ledger: Ledger, m: Message, spender: Address, amount: int) -> Ledger:
    return replace(ledger, asset=ledger.asset.approve(m.sender, spender, amount))


ASSET: Final = _table(
    {
        "transfer(address,uint256)": _transfer,
        "transferFrom(address,address,uint256)": _transfer_from,
        "approve(address,uint256)": _approve,
    }
)

# REGISTRY


def _of_vault(function: Handler) -> Handler:
    """Every call names the vault whose section it is about."""

    def called(ledger: Ledger, m: Message, vault: str, *args: Any) -> Ledger:
        if address(vault) != ledger.parts.vault:
            raise DecodeError("Section of another vault", expected=ledger.parts.vault, seen=vault)
        return function(ledger, m, *args)

    return called


def _authorise(ledger: Ledger, m: Message, sender: Address, data: bytes) -> Ledger:
    return registry.authorise(ledger, replace(m, sender=sender, data=data), m.sender)


_SECTION: Final[Mapping[str, Handler]] = {
    "seal(address,uint256)": registry.seal,
    "submit(address,address,bytes)": registry.submit,
    "veto(address,bytes32)": registry.veto,
    "authorise(address,address,bytes)": _authorise,
    "listPosition(address,address,bytes32,bytes32[])": registry.list_position,
    "unlistPosition(address,address,bytes32)": registry.unlist_position,
    "abandonPosition(address,address,bytes32)": registry.abandon_position,
    "setSelector(address,address,bytes4,bool)": registry.set_selector,
    "abdicate(address,address,bytes4)": registry.abdicate,
    "setCap(address,bytes32,uint256)": registry.set_cap,
    "lowerCap(address,bytes32,uint256)": registry.lower_cap,
    "setExitOnly(address,address)": registry.set_exit_only,
    "clearExitOnly(address,address)": registry.clear_exit_only,
    "pauseRisk(address)": registry.pause_risk,
    "terminate(address)": registry.terminate,
    "setOracle(address,address)": registry.set_oracle,
    "setKeeper(address,address)": registry.set_keeper,
    "setGuardian(address,address)": registry.set_guardian,
    "setDelay(address,uint256)": registry.set_delay,
    "proposeGovernor(address,address)": registry.propose_governor,
    "acceptGovernor(address)": registry.accept_governor,
}
REGISTRY: Final = _table({signature: _of_vault(handler) for signature, handler in _SECTION.items()})
