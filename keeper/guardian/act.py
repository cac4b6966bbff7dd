"""An intervention from reading to its effect on chain; without a key it ends where the call is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.block import hex_bytes
from keeper.chain.lens import read
from keeper.chain.rpc import Source
from keeper.errors import CheckFailedError
from keeper.execution.look import Receipt
from keeper.execution.sending import Order, Sender, rehearse
from keeper.guardian.powers import Intervention
from keeper.guardian.section import Section
from keeper.units import Address

GAS: Final = 250_000
"""Limit of each of these calls; none needs half of it."""
_DELEGATED: Final = bytes.fromhex("ef0100")
"""Code of an account with a key that has delegated to a contract (EIP-7702)."""


@dataclass(frozen=True)
class Done:
    """A mined intervention, and what was read at its block, in words."""

    receipt: Receipt
    effect: str


async def has_key(source: Source, account: Address) -> bool:
    """Whether an account can send transactions itself; False for a Safe or any other contract."""
    code = hex_bytes(await source.rpc("eth_getCode", [account, "latest"]))
    return not code or code.startswith(_DELEGATED)


async def rehearsed(source: Source, section: Section, intervention: Intervention) -> None:
    """The call by the guardian, in the block after the head. Raises RevertError when it would revert."""
    await rehearse(source, section.guardian, intervention.call, GAS)


async def carry_out(sender: Sender, intervention: Intervention) -> Done:
    """Simulates the call, sends it once, and reads its effect at the block that it was mined in. The same
    that is still under way is followed; one that is done may be done again.

    Raises RevertError, EndpointError, and CheckFailedError when the effect is not there.
    """
    await sender.settle()
    call = intervention.call
    name = f"guardian/{keccak(call.target.encode() + call.data).hex()}/"
    receipt = await sender.send(Order(f"{name}{sender.journal.executions(name)}", call, GAS))
    seen: Any = (await read(sender.source, receipt.block, [intervention.effect]))[0]
    if not intervention.achieved(seen, receipt.block):
        raise CheckFailedError(
            f"The {intervention.name} is mined and has not the effect it should",
            seen=intervention.shown(seen),
            where="0x" + receipt.transaction.hex(),
        )
    return Done(receipt, intervention.shown(seen))
