"""Proposers of the local chains, in their policy's order. Their keys are as public as the accounts'."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_hash.auto import keccak

PROPOSERS: Final = ("proposer1", "proposer2", "proposer3")


def proposer_key(role: str) -> Ed25519PrivateKey:
    """The key of a role, from its name."""
    return Ed25519PrivateKey.from_private_bytes(keccak(b"omnikeeper local " + role.encode()))
