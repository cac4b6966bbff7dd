"""What tests of a Safe in the keeper role share: a plan without a chain, and owners' keys."""

from collections.abc import Awaitable, Callable

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32

from keeper.contracts.abi import address
from keeper.planning.plan import Plan, SettlementTerms
from keeper.planning.stamps import CodeStamp, PinnedBlock, StrategyStamp
from keeper.quorum.typed_data import Signature
from keeper.safe.envelope import Envelope
from keeper.safe.owner import Owner
from keeper.units import Address

DEPOSIT = 2_000_000 * 10**6
CHAIN = 31337
AT = 1_800_000_000
Carry = Callable[..., Awaitable[Envelope]]
MakeOwner = Callable[[str], Owner]
KEYS = tuple(Account.from_key(bytes([number] * 32)) for number in (1, 2, 3))
"""The owners, in no order."""
OWNERS = tuple(Address(each.address) for each in KEYS)


def place(number: int) -> Address:
    return address(f"0x{number:040x}")


SAFE, PORTFOLIO, VAULT, MULTI = (place(number) for number in (0x5A, 0x90, 0x91, 0x3D))


def settlement(epoch: int, *, snapshot: bytes = b"\x0a" * 32) -> Plan:
    """A plan that settles an epoch."""
    strategy = StrategyStamp("yield_allocation", "1", {}, b"\x0c" * 32)
    return Plan(
        vault=VAULT,
        chain_id=CHAIN,
        snapshot_hash=snapshot,
        blocks=(PinnedBlock(CHAIN, 1234, b"\x0b" * 32, AT),),
        reference_time=AT,
        policy_hash=b"\x0f" * 32,
        code=CodeStamp("omnikeeper/0.1.0", b"\x0d" * 32, strategy),
        signer_set_version=0,
        valid_after=AT,
        valid_until=AT + 900,
        terms=SettlementTerms(epoch=epoch, min_pps=10**12, max_pps=10**12 + 5),
    )


def envelope(*epochs: int, nonce: int = 4) -> Envelope:
    """Settlements of these epochs as one transaction."""
    return Envelope(SAFE, PORTFOLIO, MULTI, nonce, tuple(settlement(epoch) for epoch in epochs))


def signed(digest: bytes, account: LocalAccount) -> Signature:
    return Signature(Address(account.address), bytes(account.unsafe_sign_hash(Hash32(digest)).signature))
