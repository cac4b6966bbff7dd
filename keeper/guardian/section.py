"""A vault's section of the registry at one block, whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from keeper.chain.block import BlockRef
from keeper.chain.call import Call, CallFailure
from keeper.chain.lens import decoded, read_raw
from keeper.chain.rpc import Source
from keeper.contracts import Contract
from keeper.errors import DecodeError, PolicyError
from keeper.planning.policy import Policy, VaultPolicy
from keeper.reads import VaultReads
from keeper.units import Address

NOBODY: Final = Address("0x" + "0" * 40)
TERMINATED: Final = 2**128 - 1
"""`riskPausedUntil` of a vault that has ended for ever."""


@dataclass(frozen=True)
class Listed:
    """An allow-listed position."""

    connector: Address
    key: bytes
    risk_ids: tuple[bytes, ...]


@dataclass(frozen=True)
class Section:
    """`Registry.policy` and the signers of the keeper role at `block`, and the registry's constants. Times in
    seconds, caps in the vault's asset by risk id; `allowed` and `abdicated` are functions by target and
    selector."""

    block: BlockRef
    portfolio: Address
    governor: Address
    pending_governor: Address
    guardian: Address
    keeper: Address
    oracle: Address
    delay: int
    risk_paused_until: int
    positions: tuple[Listed, ...]
    allowed: tuple[tuple[Address, bytes], ...]
    caps: tuple[tuple[bytes, int], ...]
    exit_only: tuple[Address, ...]
    abdicated: tuple[tuple[Address, bytes], ...]
    pause_length: int
    change_window: int
    max_delay: int
    signers: tuple[Address, ...]
    threshold: int

    @property
    def terminated(self) -> bool:
        return self.risk_paused_until == TERMINATED


def registry(vault: VaultPolicy) -> Contract:
    """The vault's directory."""
    return Contract(vault.registry, "Registry")


async def read_section(source: Source, rules: Policy, block: BlockRef) -> Section:
    """The section at a block.

    Raises PolicyError when the vault is unknown there or names another registry, and the errors of reading.
    """
    vault, reads = rules.vault, VaultReads(rules)
    own = registry(vault)
    calls = (
        reads.parts["registry"],
        own.call("policy", vault.vault),
        *(own.call(name) for name in ("PAUSE_LENGTH", "CHANGE_WINDOW", "MAX_DELAY")),
        reads.signers,
        reads.threshold,
    )
    results = await read_raw(source, block, calls)
    values = [_value(call, result, vault) for call, result in zip(calls, results, strict=True)]
    named, policy, *constants, signers, threshold = values
    if named != vault.registry:
        raise PolicyError(
            "The policy names another registry than the vault", expected=vault.registry, seen=named
        )
    portfolio, governor, pending, guardian, keeper, oracle, *rest = policy
    delay, paused, positions, allowed, caps, exit_only, abdicated = rest
    if portfolio == NOBODY:
        raise PolicyError("The registry does not know the vault", seen=vault.vault, where=vault.registry)
    pause_length, change_window, max_delay = constants
    return Section(
        block=block,
        portfolio=portfolio,
        governor=governor,
        pending_governor=pending,
        guardian=guardian,
        keeper=keeper,
        oracle=oracle,
        delay=delay,
        risk_paused_until=paused,
        positions=tuple(Listed(connector, key, tuple(ids)) for connector, key, ids in positions),
        allowed=tuple((target, selector) for target, selector in allowed),
        caps=tuple((risk_id, assets) for risk_id, assets in caps),
        exit_only=tuple(exit_only),
        abdicated=tuple((target, selector) for target, selector in abdicated),
        pause_length=pause_length,
        change_window=change_window,
        max_delay=max_delay,
        signers=tuple(signers),
        threshold=threshold,
    )


def _value(call: Call[Any], result: Any, vault: VaultPolicy) -> Any:
    try:
        value = decoded(call, result)
    except DecodeError:
        # An account without code answers with nothing at all.
        value = CallFailure(b"", call.label)
    if isinstance(value, CallFailure):
        raise PolicyError(
            "The policy names an unknown vault",
            expected=f"a contract that answers {call.label}",
            seen=f"none at {call.target}",
            where=f"chain {vault.chain_id}",
            hint="Check the address and the chain.",
        )
    return value
