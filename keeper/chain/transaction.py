"""A `Call` as a signed transaction, which `Source.send_raw` sends once."""

from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount

from keeper.chain.block import quantity
from keeper.chain.call import Call
from keeper.chain.rpc import Source


@dataclass(frozen=True)
class Signed:
    """A signed transaction: its bytes, and the hash it will be found under."""

    raw: bytes
    hash: bytes


async def sign(
    source: Source, account: LocalAccount, call: Call[Any], *, gas: int, max_fee: int, tip: int
) -> Signed:
    """The call from `account`, with its next nonce. `gas` is the limit; `max_fee`, and `tip` within it, are
    in wei per gas. Raises EndpointError."""
    count = await source.rpc("eth_getTransactionCount", [account.address, "pending"])
    signed: Any = account.sign_transaction(
        {
            "type": 2,
            "chainId": source.chain_id,
            "nonce": quantity(count),
            "to": bytes.fromhex(call.target[2:]),
            "value": 0,
            "data": call.data,
            "gas": gas,
            "maxFeePerGas": max_fee,
            "maxPriorityFeePerGas": tip,
        }
    )
    return Signed(bytes(signed.raw_transaction), bytes(signed.hash))
