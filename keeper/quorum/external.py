"""Where a signature is made: in this process, or by something that never hands out its key."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from eth_typing import Hash32

from keeper.errors import KeeperError
from keeper.units import Address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


class KeyUnavailableError(KeeperError):
    """A key that is kept elsewhere cannot be used now."""

    exit_code = 3


class ExternalSigner(Protocol):
    """A secp256k1 key somewhere: a cloud's key service, a hardware module, a wallet's daemon."""

    @property
    def address(self) -> Address:
        """Whose signatures these are."""
        ...

    async def sign(self, digest: bytes) -> bytes:
        """65 bytes r ‖ s ‖ v over 32 bytes, with low s and v of 27 or 28. Raises KeyUnavailableError."""
        ...


@dataclass(frozen=True)
class LocalKey:
    """A key in this process's memory, as an `ExternalSigner`."""

    account: "LocalAccount"

    @property
    def address(self) -> Address:
        return Address(self.account.address)

    async def sign(self, digest: bytes) -> bytes:
        return bytes(self.account.unsafe_sign_hash(Hash32(digest)).signature)


def signing(key: "LocalAccount | ExternalSigner") -> ExternalSigner:
    """Either kind of key as the one that a signer uses."""
    # Imported where there is a key: its package builds the tables of several curves.
    from eth_account.signers.local import LocalAccount

    return LocalKey(key) if isinstance(key, LocalAccount) else key
