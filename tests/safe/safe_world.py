"""What tests of a Safe in the keeper role share: a plan without a chain, and owners' keys."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from staged import Staged
from typer.testing import CliRunner

from keeper.contracts.abi import address
from keeper.errors import KeeperError
from keeper.ops.commands.safe import app
from keeper.planning.plan import Plan, SettlementTerms
from keeper.planning.stamps import CodeStamp, PinnedBlock, StrategyStamp
from keeper.quorum.typed_data import Signature
from keeper.safe.envelope import Envelope
from keeper.safe.owner import Owner
from keeper.safe.transaction import SafeTransaction
from keeper.simulation.vault import SIGNERS
from keeper.units import Address

DEPOSIT = 2_000_000 * 10**6
CHAIN = 31337
AT = 1_800_000_000
Carry = Callable[..., Awaitable[Envelope]]
MakeOwner = Callable[..., Owner]
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


async def command(environment: dict[str, str], *arguments: object) -> tuple[int, str]:
    """`keeper safe …`: exit code, and stdout or the error's words."""
    words = [*(str(each) for each in arguments), "--json"]
    done = await asyncio.to_thread(lambda: CliRunner().invoke(app, words, env=environment))
    if isinstance(done.exception, KeeperError):
        return done.exception.exit_code, str(done.exception)
    return done.exit_code, done.stdout


def own_folder(folder: Path, stage: Staged) -> Path:
    """The files of an owner or a relayer."""
    folder.mkdir()
    (folder / "policy.toml").write_text(stage.deployment.policy_toml)
    (folder / "endpoints.toml").write_text(
        f'clock = "chain"\n\n[[chains.{stage.devnet.chain_id}.endpoints]]\nurl = "{stage.devnet.url}"\n'
    )
    (folder / "own.toml").write_text(
        'policy = "policy.toml"\nendpoints = "endpoints.toml"\nrecord = "promises.sqlite"\ndata = "data"\n'
        '\n[key]\nenv = "OWN_KEY"\n'
    )
    return folder


def exec_as_safe(stage: Staged, data: bytes, nonce: int, to: Address | None = None) -> None:
    """A call of the Safe, by default to itself, by its owners' keys alone."""
    safe = stage.policy.vault.quorum
    made = SafeTransaction(stage.devnet.chain_id, safe, to or safe, data, nonce)
    accounts = [Account.from_key(stage.devnet.key(role)) for role in SIGNERS[:2]]
    signatures = [signed(made.hash, account) for account in accounts]
    stage.devnet.send(stage.devnet.key("user6"), safe, made.execute_data(signatures, 2))
