"""A contract method returns a `Call`: one definition that is read, encoded, simulated or sent.

Read: `keeper.chain.lens.read`. Encoded: `Call.request`. Simulated: `keeper.chain.simulate`. Sent: signed by
`keeper.chain.transaction.sign`, then `Source.send_raw`.
"""

from __future__ import annotations

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

    @property
    def intrinsic_gas(self) -> int:
        """What a transaction of it costs before the target runs (yellow paper, appendix G; EIP-2028)."""
        zeros = self.data.count(0)
        return 21_000 + 4 * zeros + 16 * (len(self.data) - zeros)

    def request(self, *, sender: str | None = None, gas: int | None = None) -> dict[str, str]:
        """The transaction object of JSON-RPC."""
        named = {"from": sender, "to": self.target, "data": "0x" + self.data.hex()}
        return {name: value for name, value in named.items() if value is not None} | (
            {} if gas is None else {"gas": hex(gas)}
        )


@dataclass(frozen=True)
class CallFailure:
    """A read whose call failed on chain: what the target reverted with, in the slot of its result."""

    data: bytes
    label: str = field(default="", compare=False)
