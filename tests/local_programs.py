"""Small programs for the local chain, each answering any calldata.

`SLOT_ZERO` answers its slot 0 and stores calldata of one word there; `WIDE` answers 60,000 zero bytes.
"""

from typing import Any, Final

from keeper.chain.rpc import Endpoint
from keeper.contracts import Function, address
from keeper.units import Address

CHAIN: Final = 31_337
VALUE: Final = Function("value()", "(uint256)")

SLOT_ZERO: Final = address("0x" + "10" * 20)
REVERTS: Final = address("0x" + "20" * 20)
BURNS: Final = address("0x" + "30" * 20)
FLOODS: Final = address("0x" + "40" * 20)
GAS_LEFT: Final = address("0x" + "50" * 20)
TIMESTAMP: Final = address("0x" + "60" * 20)
WIDE: Final = address("0x" + "65" * 20)
NOTHING: Final = address("0x" + "70" * 20)

CODE: Final[dict[Address, str]] = {
    SLOT_ZERO: "0x3660201460125760005460005260206000f35b60003560005500",
    REVERTS: "0x63deadbeef6000526004601cfd",
    BURNS: "0x5b600056",
    FLOODS: "0x620111706000f3",
    GAS_LEFT: "0x5a60005260206000f3",
    TIMESTAMP: "0x4260005260206000f3",
    WIDE: "0x61ea606000f3",
}

CALLS: Final = {CHAIN: [VALUE.at(SLOT_ZERO), VALUE.at(REVERTS), VALUE.at(TIMESTAMP), VALUE.at(SLOT_ZERO)]}


async def place_programs(endpoint: Endpoint) -> None:
    for place, code in CODE.items():
        await endpoint.rpc("anvil_setCode", [place, code])
    await set_slot_zero(endpoint, 1)


async def set_slot_zero(endpoint: Endpoint, value: int) -> None:
    """Mines a block with a transaction that stores the value."""
    (sender, *_) = await endpoint.rpc("eth_accounts")
    transaction = {"from": sender, "to": SLOT_ZERO, "data": f"0x{value:064x}"}
    await mine(endpoint, await endpoint.rpc("eth_sendTransaction", [transaction]))


async def mine(endpoint: Endpoint, transaction: str) -> dict[str, Any]:
    """Mines one block and returns the receipt of a transaction in it, which must have succeeded."""
    await endpoint.rpc("evm_mine")
    receipt: dict[str, Any] = await endpoint.rpc("eth_getTransactionReceipt", [transaction])
    assert receipt["status"] == "0x1"
    return receipt
