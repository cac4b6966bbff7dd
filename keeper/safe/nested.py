"""Owners of a Safe that are Safes themselves: such a one signs by EIP-1271, through enough of its own owners.

`Safe.checkContractSignature` (1.5) asks the owner's `isValidSignature(hash, data)`. A Safe answers by its
fallback handler (`CompatibilityFallbackHandler.isValidSignature`), for which its owners sign the EIP-712
struct `SafeMessage` around the hash, in the domain of their own Safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keeper.quorum import eip712
from keeper.quorum.typed_data import Signature, check
from keeper.units import Address

TYPES: Final[eip712.Types] = {"SafeMessage": (("bytes", "message"),)}


@dataclass(frozen=True)
class Member:
    """A signature by an owner of the Safe `safe`, which is itself an owner, over its message hash."""

    safe: Address
    signature: Signature

    @property
    def order(self) -> tuple[int, int]:
        """Members are listed by their Safe, then by who signed."""
        return int(self.safe, 16), int(self.signature.signer, 16)

    def check(self, chain_id: int, digest: bytes) -> None:
        """Raises QuorumError unless it is over that digest in its Safe's name."""
        check(message_hash(chain_id, self.safe, digest), self.signature)


def message_hash(chain_id: int, safe: Address, digest: bytes) -> bytes:
    """What owners of `safe` sign so that it signs `digest` (32 bytes): `getMessageHashForSafe`."""
    separator = eip712.domain_separator({"chainId": chain_id, "verifyingContract": safe})
    return eip712.digest(separator, eip712.hash_struct(TYPES, "SafeMessage", {"message": digest}))


def assembled(
    members: Sequence[Member], quorums: Mapping[Address, tuple[Sequence[str], int]]
) -> tuple[Signature, ...]:
    """The signatures of the Safes in `quorums` (their present owners and threshold) for which enough members
    have signed: `data` is what each takes as its own."""
    made = []
    for safe, (owners, threshold) in quorums.items():
        signed = [
            each.signature for each in sorted(members, key=lambda each: each.order) if each.safe == safe
        ]
        present = [each.data for each in signed if each.signer in owners]
        if len(present) >= threshold:
            made.append(Signature(safe, b"".join(present[:threshold])))
    return tuple(made)
