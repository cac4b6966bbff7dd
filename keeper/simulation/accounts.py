"""The accounts of the local chains. Their keys are public: the mnemonic is the one every test tool uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from eth_account import Account as Keys

from keeper.units import Address

MNEMONIC: Final = "test test test test test test test test test test test junk"

ROLES: Final = (
    "deployer",
    "oracle",
    "treasury",
    "lender",
    "borrower",
    "staker",
    "trader",
    "agent",
    "whale",
    "governor",
    "guardian",
    "relayer",
    "signer1",
    "signer2",
    "signer3",
    "signer4",
    "user1",
    "user2",
    "user3",
    "user4",
    "user5",
    "user6",
)
"""In order of derivation index. The market uses the first nine; the rest are for vaults and their users."""


@dataclass(frozen=True)
class Account:
    """A funded account with its private key as 0x-hex."""

    name: str
    address: Address
    key: str


@cache
def accounts() -> Mapping[str, Account]:
    """All accounts by role."""
    Keys.enable_unaudited_hdwallet_features()
    found = {}
    for index, role in enumerate(ROLES):
        signer = Keys.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
        found[role] = Account(role, Address(signer.address), signer.key.to_0x_hex())
    return found
