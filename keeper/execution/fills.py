"""What the swaps of a transaction did, as its receipt tells it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.block import hex_bytes
from keeper.contracts import address
from keeper.contracts.abi import decode
from keeper.planning.outcome import Fill
from keeper.swap.policy import SwapPolicy

SWAPPED: Final = "0x" + keccak(b"Swapped(address,address,uint256,uint256)").hex()
"""Topic of `ISwapHandler.Swapped`; the tokens are indexed."""


def fills_of(swap: SwapPolicy, logs: Iterable[Mapping[str, Any]]) -> tuple[Fill, ...]:
    """The swaps of the vault's handler among `logs`, in order."""
    return tuple(
        Fill(*decode(("uint256", "uint256"), hex_bytes(log["data"])))
        for log in logs
        if address(log["address"]) == swap.handler and log["topics"][:1] == [SWAPPED]
    )
