"""A Safe in the keeper role: what the policy says of it, and what is read of it.

Facts from `Safe.sol`, `ModuleManager.sol`, `GuardManager.sol`, `FallbackManager.sol` and
`StorageAccessible.sol` of safe-smart-account. A module acts without signatures; a guard may stop anything; a
fallback handler is called by the Safe itself with whatever a stranger sends; the singleton is the Safe's
code. So each is the policy's, or nothing is planned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.call import Call
from keeper.config import CheckedAddress, StrictModel
from keeper.contracts import Function
from keeper.contracts.abi import address
from keeper.errors import DecodeError
from keeper.units import Address

NOBODY: Final = Address("0x" + "0" * 40)
MAX_MODULES: Final = 16
"""As many are read; a Safe with more has some that the policy does not list."""


_SENTINEL: Final = Address("0x" + "0" * 39 + "1")
_OWNERS: Final = Function("getOwners()", "(address[])")
_THRESHOLD: Final = Function("getThreshold()", "(uint256)")
_NONCE: Final = Function("nonce()", "(uint256)")
_VERSION: Final = Function("VERSION()", "(string)")
_MODULES: Final = Function("getModulesPaginated(address,uint256)", "(address[],address)")
_STORAGE: Final = Function("getStorageAt(uint256,uint256)", "(bytes)")
_SLOTS: Final = {
    "singleton": 0,
    "guard": int.from_bytes(keccak(b"guard_manager.guard.address"), "big"),
    "module_guard": int.from_bytes(keccak(b"module_manager.module_guard.address"), "big"),
    "fallback_handler": int.from_bytes(keccak(b"fallback_manager.handler.address"), "big"),
}
"""Storage slots of addresses, by their names in the policy."""


class SafePolicy(StrictModel):
    """The Safe that `vault.quorum` is. Whatever could act for it without its owners' signatures is named
    here, and is nobody where it is left out. `multi_send` is a MultiSendCallOnly; without one a transaction
    makes one call."""

    version: str
    singleton: CheckedAddress
    fallback_handler: CheckedAddress = NOBODY
    modules: tuple[CheckedAddress, ...] = ()
    guard: CheckedAddress = NOBODY
    module_guard: CheckedAddress = NOBODY
    multi_send: CheckedAddress | None = None


@dataclass(frozen=True)
class SafeReads:
    """Every read of the Safe at `at`."""

    at: Address

    @property
    def owners(self) -> Call[Any]:
        return _OWNERS.at(self.at, owner="Safe")

    @property
    def threshold(self) -> Call[Any]:
        return _THRESHOLD.at(self.at, owner="Safe")

    @property
    def nonce(self) -> Call[Any]:
        """That of the next transaction; it changes with every one, so it is no part of a snapshot."""
        return _NONCE.at(self.at, owner="Safe")

    @property
    def version(self) -> Call[Any]:
        return _VERSION.at(self.at, owner="Safe")

    @property
    def modules(self) -> Call[Any]:
        """Enabled modules, and where their list goes on."""
        return _MODULES.at(self.at, _SENTINEL, MAX_MODULES, owner="Safe")

    @property
    def slots(self) -> dict[str, Call[Any]]:
        """Addresses that the Safe keeps in its storage only, by their names in the policy."""
        return {
            name: Call(self.at, _STORAGE.encode(slot, 1), _stored_address, f"Safe {name}")
            for name, slot in _SLOTS.items()
        }

    def all(self) -> tuple[Call[Any], ...]:
        """Those that a plan rests on."""
        return self.owners, self.threshold, self.version, self.modules, *self.slots.values()


def _stored_address(data: bytes) -> Address:
    word = _STORAGE.decode(data)
    if len(word) != 32 or any(word[:12]):
        raise DecodeError("Not an address in storage", expected="32 bytes, 12 of them zero", seen=word)
    return address("0x" + word[12:].hex())


def facts(policy: SafePolicy, reads: SafeReads) -> tuple[tuple[str, object, Call[Any]], ...]:
    """What has to be as the policy says: name, the expected result, and the read that gives it."""
    slots = ((f"Safe's {name}", getattr(policy, name), call) for name, call in reads.slots.items())
    return ("Safe's version", policy.version, reads.version), *slots


def modules_of(answer: tuple[tuple[Address, ...], Address]) -> tuple[Address, ...]:
    """Enabled modules, sorted, from the result of `SafeReads.modules`; with the next one's address where
    there are more than were read."""
    listed, following = answer
    return tuple(sorted((*listed, *(() if following in (_SENTINEL, NOBODY) else (following,)))))
