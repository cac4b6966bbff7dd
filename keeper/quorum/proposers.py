"""Who may propose: Ed25519 keys in the policy, in order, and how long each next one waits.

Default-deny: signers of a policy without this section refuse every request.

Whose turn it is follows from the chain alone. The vault is quiet since the later of two moments that the
snapshot has: the last epoch's close, and the last settlement. The first proposer may always propose; the
second for reference times at least `patience` seconds into the quiet, the third at twice that, and so on.
Every signer computes the same answer from the plan's own blocks, whatever it has or has not heard.
"""

from collections.abc import Sequence
from typing import Annotated, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BeforeValidator, Field, model_validator

from keeper.config import StrictModel, exact_bytes
from keeper.ledger.vault import Accounting

MAX_PROPOSERS: Final = 16


def _public_key(value: object) -> bytes:
    if (raw := exact_bytes(value, 32)) is None:
        raise ValueError("expected an Ed25519 public key as 0x and 64 hex digits")
    Ed25519PublicKey.from_public_bytes(raw)
    return raw


PublicKey = Annotated[bytes, BeforeValidator(_public_key)]


class ProposerPolicy(StrictModel):
    """`keys` in order of precedence; `patience` in seconds on the hub chain's clock."""

    keys: tuple[PublicKey, ...] = Field(min_length=1, max_length=MAX_PROPOSERS)
    patience: Annotated[int, Field(strict=True, gt=0)]

    @model_validator(mode="after")
    def _once_each(self) -> "ProposerPolicy":
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("a proposer is named twice")
        return self

    def rank(self, key: bytes) -> int | None:
        """Place in the order, 0 for the first; None for a stranger."""
        return self.keys.index(key) if key in self.keys else None

    def turn(self, rank: int, accounting: Accounting) -> int:
        """The earliest reference time, in UNIX seconds, for which the proposer of that rank may propose."""
        return 0 if rank == 0 else quiet_since(accounting) + rank * self.patience


def quiet_since(accounting: Accounting) -> int:
    """When the quorum last had, or finished, something that everyone can see, in UNIX seconds."""
    return max(accounting.epoch_closed_at, accounting.settled_at)


def listed(keys: Sequence[bytes]) -> str:
    """Public keys for an error message."""
    return " or ".join("0x" + key.hex() for key in keys)
