"""A contract method returns a `Call`; reading, encoding, simulating and sending it happen elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from keeper.units import Address

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Call(Generic[T]):
    """One call: equal to, and sorted as, its (target, data).

    `decode` turns the returned bytes into a value and raises DecodeError; `label` is for people, such as
    "Vault.totalSupply()".
    """

    target: Address
    data: bytes
    decode: Callable[[bytes], T] = field(compare=False, repr=False)
    label: str = field(compare=False)


@dataclass(frozen=True)
class CallFailure:
    """A read whose call failed on chain: what the target reverted with, in the slot of its result."""

    data: bytes
    label: str = field(default="", compare=False)
