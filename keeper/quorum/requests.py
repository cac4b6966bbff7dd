"""A request to a signer: a plan's bytes, and headers in which a proposer of the policy vouches for them.

The proposer signs (Ed25519) the canonical encoding of path, own public key, time, nonce and the keccak256 of
the body. Every request has a nonce of its own, so that one signer who passes a request on takes nothing away
from another.
"""

import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from eth_hash.auto import keccak

from keeper import canonical
from keeper.clock import Clock
from keeper.errors import ConfigError, DecodeError
from keeper.quorum.private_file import read_private

UNIX: Final = "unix:"
APPROVE: Final = "/v1/approve"
IDENTITY: Final = "/v1/identity"
PROPOSER: Final = "Omnikeeper-Proposer"
TIMESTAMP: Final = "Omnikeeper-Timestamp"
NONCE: Final = "Omnikeeper-Nonce"
SIGNATURE: Final = "Omnikeeper-Signature"
NONCE_BYTES: Final = 16
_DOMAIN: Final = "omnikeeper/request"
_VERSION: Final = 1
_SIZES: Final = {PROPOSER: 32, NONCE: NONCE_BYTES, SIGNATURE: 64}
_MAX_DIGITS: Final = 12


@dataclass(frozen=True)
class Claim:
    """What a request's headers say; nothing is proved before `authentic`. `timestamp` is in UNIX seconds."""

    proposer: bytes
    timestamp: int
    nonce: bytes
    signature: bytes

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> "Claim":
        """Raises DecodeError naming the header that is missing or not what it should be."""
        words = {name: _hex(headers, name, size) for name, size in _SIZES.items()}
        digits = headers.get(TIMESTAMP, "")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS):
            raise DecodeError("Request is not signed", expected="UNIX seconds", seen="none", where=TIMESTAMP)
        return cls(words[PROPOSER], int(digits), words[NONCE], words[SIGNATURE])

    def authentic(self, path: str, body: bytes) -> bool:
        """Whether the claimed proposer signed exactly this."""
        message = _message(path, self.proposer, self.timestamp, self.nonce, body)
        try:
            Ed25519PublicKey.from_public_bytes(self.proposer).verify(self.signature, message)
        except InvalidSignature:
            return False
        return True


def _hex(headers: Mapping[str, str], name: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(headers[name])
    except (KeyError, ValueError):
        value = b""
    if len(value) != size:
        raise DecodeError(
            "Request is not signed", expected=f"{size} bytes in hex", seen=f"{len(value)}", where=name
        )
    return value


def _message(path: str, proposer: bytes, timestamp: int, nonce: bytes, body: bytes) -> bytes:
    content = {
        "path": path,
        "proposer": proposer,
        "timestamp": timestamp,
        "nonce": nonce,
        "body": keccak(body),
    }
    return canonical.encode(content, domain=_DOMAIN, version=_VERSION)


@dataclass(frozen=True)
class Proposer:
    """Asks signers in the name of a key of the policy. `clock` is the one that signers go by; `trust` is for
    https, the system's authorities if left out."""

    key: Ed25519PrivateKey
    clock: Clock
    trust: ssl.SSLContext | None = None

    @property
    def public_key(self) -> bytes:
        """As the policy lists it."""
        return self.key.public_key().public_bytes_raw()

    async def headers(self, body: bytes) -> dict[str, str]:
        """Headers for one request with this body, for one signer. Raises what the clock raises."""
        timestamp, nonce = await self.clock.now(), secrets.token_bytes(NONCE_BYTES)
        signature = self.key.sign(_message(APPROVE, self.public_key, timestamp, nonce, body))
        return {
            PROPOSER: self.public_key.hex(),
            TIMESTAMP: str(timestamp),
            NONCE: nonce.hex(),
            SIGNATURE: signature.hex(),
        }


def load_proposer_key(path: Path, password: bytes | None) -> Ed25519PrivateKey:
    """A proposer's key from a PEM file (PKCS #8, encrypted when there is a password).

    Raises ConfigError, never with a secret in it, also when others may read the file.
    """
    content = read_private(path)
    try:
        key = load_pem_private_key(content, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError("Key file does not open with this password", where=path) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("Not a proposer's key", expected="Ed25519", seen=type(key).__name__, where=path)
    return key
