"""Changes that wait in the registry's timelock, from its events, and which of them the policy contains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.history import Log, LogQuery
from keeper.contracts import abi
from keeper.contracts.handle import functions
from keeper.errors import DecodeError
from keeper.grants import Grants
from keeper.ledger.registry import CHANGE_WINDOW
from keeper.planning.policy import Policy
from keeper.units import Address

_SUBMITTED: Final = keccak(b"ChangeSubmitted(address,bytes32,address,bytes,uint256,bool)")
_ACCEPTED: Final = keccak(b"ChangeAccepted(address,bytes32)")
_VETOED: Final = keccak(b"ChangeVetoed(address,bytes32)")


@dataclass(frozen=True)
class Queued:
    """A submitted change: the call `data` on `target`, what it says for people, from when on it can be made,
    and whether it leads to what the policy says."""

    id: bytes
    target: Address
    data: bytes
    says: str
    executable_at: int
    vetoable: bool
    in_policy: bool


def query(policy: Policy, blocks: int) -> LogQuery:
    """The registry's events about the vault in the last `blocks` blocks."""
    vault = bytes(12) + bytes.fromhex(policy.vault.vault[2:])
    return LogQuery(policy.vault.registry, (b"", vault), blocks)


def queued(policy: Policy, logs: Iterable[Log], at: int) -> tuple[Queued, ...]:
    """The changes that can still be made at `at` or later, soonest first; `logs` are `query`'s.

    Raises DecodeError for a log that is not the registry's.
    """
    pending: dict[bytes, Queued] = {}
    for log in sorted(logs):
        kind = log.topics[0]
        if kind == _SUBMITTED:
            change = _parse(policy, log)
            pending[change.id] = change
        elif kind in (_ACCEPTED, _VETOED):
            pending.pop(log.topics[2], None)
    open_ones = (each for each in pending.values() if at <= each.executable_at + CHANGE_WINDOW)
    return tuple(sorted(open_ones, key=lambda each: (each.executable_at, each.id)))


def _parse(policy: Policy, log: Log) -> Queued:
    target, data, executable_at, vetoable = abi.decode(("address", "bytes", "uint256", "bool"), log.data)
    name, args = _decode(policy, target, data)
    said = ", ".join("0x" + each.hex() if isinstance(each, bytes) else str(each) for each in args[1:])
    says = f"{name}({said})" if name else f"0x{data.hex()} on {target}"
    return Queued(
        log.topics[2], target, data, says, executable_at, vetoable, _in_policy(policy, name, args[1:])
    )


def _decode(policy: Policy, target: Address, data: bytes) -> tuple[str, tuple[Any, ...]]:
    """Name and arguments of a call to the registry, the vault first; of another contract's nothing."""
    if target != policy.vault.registry:
        return "", ()
    for function in functions("Registry"):
        if function.selector == data[:4]:
            try:
                return function.name, function.decode_input(data)
            except DecodeError:
                # Announced all the same; it can only revert.
                return "", ()
    return "", ()


_CONTAINED: Final[dict[str, Callable[[Grants, Any], bool]]] = {
    "setCap": lambda grants, args: grants.caps.get(args[0], 0) == args[1],
    "listPosition": lambda grants, args: grants.positions.get((args[0], args[1])) == frozenset(args[2]),
    "abandonPosition": lambda grants, args: (args[0], args[1]) not in grants.positions,
    "setSelector": lambda grants, args: ((args[0], args[1]) in grants.allowed) == args[2],
    "setOracle": lambda grants, args: grants.roles.get("oracle") == args[0],
    "setKeeper": lambda grants, args: grants.roles.get("keeper") == args[0],
    "setGuardian": lambda grants, args: grants.roles.get("guardian") == args[0],
    "setDelay": lambda grants, args: grants.delay == args[0],
    "clearExitOnly": lambda grants, args: any(place[0] == args[0] for place in grants.positions),
}


def _in_policy(policy: Policy, name: str, args: tuple[Any, ...]) -> bool:
    contained = _CONTAINED.get(name)
    return contained is not None and contained(Grants.of(policy), args)
