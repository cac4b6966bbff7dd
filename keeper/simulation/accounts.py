"""The accounts of the local chains. Their keys are public: the mnemonic is the one every test tool uses.

`eth_account` is imported where there is a key: it builds the tables of several curves, which takes as long as
everything else that a replica imports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

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
    from eth_account import Account as Keys

    Keys.enable_unaudited_hdwallet_features()
    found = {}
    for index, role in enumerate(ROLES):
        signer = Keys.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
        found[role] = Account(role, Address(signer.address), signer.key.to_0x_hex())
    return found


def address_of(key: str) -> Address:
    """The account whose key that is."""
    from eth_account import Account as Keys

    return Address(Keys.from_key(key).address)


def sign_transaction(fields: Mapping[str, Any], key: str) -> str:
    """The transaction of those fields, signed, as 0x-hex."""
    from eth_account import Account as Keys

    return str(Keys.sign_transaction(dict(fields), key).raw_transaction.to_0x_hex())
