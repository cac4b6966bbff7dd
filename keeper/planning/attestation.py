"""What someone saw when they simulated a plan: a record beside the plan, never part of it.

A plan's hash covers its body only; what a simulation shows depends on the head it ran on. The digest is that
of `keeper.chain.simulate`: status, return data and logs of the call, and the state after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keeper import canonical
from keeper.chain import archive
from keeper.chain.block import BlockRef
from keeper.chain.call import Call
from keeper.chain.rpc import Source
from keeper.chain.simulate import Scene, simulate
from keeper.errors import DecodeError, PlanError
from keeper.planning.fields import Fields
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.planning.stamps import PinnedBlock
from keeper.planning.validity import require_valid
from keeper.quorum.typed_data import artefact

DOMAIN: Final = "omnikeeper/attestation"
SCHEMA: Final = 1
_NAMES: Final = ("plan_hash", "head", "time", "succeeded", "digest", "by")


@dataclass(frozen=True)
class Attestation:
    """`by` simulated the plan in the block after `head` at `time` (seconds), and this came of it."""

    plan_hash: bytes
    head: PinnedBlock
    time: int
    succeeded: bool
    digest: bytes
    by: str

    @property
    def outcome(self) -> dict[str, Any]:
        """Plain values, for the encoding and for people."""
        return {
            "plan_hash": self.plan_hash,
            "head": self.head.body(),
            "time": self.time,
            "succeeded": self.succeeded,
            "digest": self.digest,
            "by": self.by,
        }

    def to_bytes(self) -> bytes:
        return canonical.encode(self.outcome, domain=DOMAIN, version=SCHEMA)

    @classmethod
    def from_bytes(cls, data: bytes) -> Attestation:
        """Raises PlanError unless `data` is the canonical encoding of an attestation."""
        try:
            f = Fields(canonical.decode(data, domain=DOMAIN, version=SCHEMA), "attestation", _NAMES)
        except DecodeError as error:
            raise PlanError(f"Not an attestation: {error}") from error
        return cls(
            plan_hash=f.word("plan_hash"),
            head=PinnedBlock.parse(f.raw("head"), "attestation.head"),
            time=f.uint("time"),
            succeeded=f.flag("succeeded"),
            digest=f.word("digest"),
            by=f.text("by"),
        )

    def save(self, path: Path) -> bytes:
        """Writes it to a file that begins with its hash; returns the hash."""
        return archive.write(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Attestation:
        """A saved one. Raises DecodeError when the file is damaged, PlanError when it holds none."""
        return cls.from_bytes(archive.read(path, "attestation"))


async def attest(
    source: Source, plan: Plan, policy: Policy, head: BlockRef, post: Sequence[Call[Any]], *, by: str
) -> Attestation:
    """Simulates the very call that the quorum would make after `head`, and reads `post` after it.

    Raises RefusedError for a plan whose time is over, KeeperError where the endpoint cannot see logs, and the
    errors of `simulate`.
    """
    require_valid(plan, head.timestamp + 1)
    time = max(head.timestamp + 1, plan.valid_after)
    return await _seen(source, plan, policy, head, time, post, by)


async def again(
    source: Source, told: Attestation, plan: Plan, policy: Policy, post: Sequence[Call[Any]]
) -> Attestation:
    """The same simulation made here. Raises PlanError when the attestation is another plan's, or when it says
    something else than this one."""
    if told.plan_hash != plan.plan_hash:
        raise PlanError("The attestation is another plan's", expected=plan.plan_hash, seen=told.plan_hash)
    await source.canonical(told.head)
    head = await source.get_block(told.head.number)
    own = await _seen(source, plan, policy, head, told.time, post, told.by)
    if own != told:
        raise PlanError(
            "The simulation shows something else than the attestation says",
            expected=_said(own),
            seen=_said(told),
            where=f"after block {told.head.number}",
        )
    return own


async def _seen(
    source: Source,
    plan: Plan,
    policy: Policy,
    head: BlockRef,
    time: int,
    post: Sequence[Call[Any]],
    by: str,
) -> Attestation:
    vault = policy.vault
    target = vault.portfolio if plan.kind is Kind.BATCH else vault.vault
    call = Call(target, artefact(plan).execute_data(), bytes, plan.kind.value)
    scene = Scene(head, time, vault.quorum, (call,), tuple(post), gas=policy.limits.max_gas)
    performance = await simulate(source, scene)
    return Attestation(
        plan_hash=plan.plan_hash,
        head=PinnedBlock(head.chain_id, head.number, head.hash, head.timestamp),
        time=time,
        succeeded=performance.calls[0].success,
        digest=performance.digest(),
        by=by,
    )


def _said(each: Attestation) -> str:
    return f"{'success' if each.succeeded else 'failure'}, digest 0x{each.digest.hex()}"
