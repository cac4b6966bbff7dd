"""Exact bytes for a nonce, which `Source.send_raw` offers to the chain."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keeper.units import Address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


@dataclass(frozen=True)
class Signed:
    """A signed transaction: its bytes, and the hash it will be found under."""

    raw: bytes
    hash: bytes


def sign(
    account: "LocalAccount",
    *,
    chain_id: int,
    nonce: int,
    to: Address,
    data: bytes,
    gas: int,
    max_fee: int,
    tip: int,
) -> Signed:
    """A transaction without value; the same arguments give the same bytes. `gas` is the limit; `max_fee`, and
    `tip` within it, are in wei per gas."""
    signed: Any = account.sign_transaction(
        {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "to": bytes.fromhex(to[2:]),
            "value": 0,
            "data": data,
            "gas": gas,
            "maxFeePerGas": max_fee,
            "maxPriorityFeePerGas": tip,
        }
    )
    return Signed(bytes(signed.raw_transaction), bytes(signed.hash))
