"""The plan: everything that is about to happen and why, as one value with one hash.

A plan is what signers compare. Two plans are the same exactly when their canonical bytes are; when they are
not, `difference` says where. Plans from other machines are untrusted bytes: `Plan.from_bytes` accepts only
the one canonical encoding of a well-formed plan.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from keeper import canonical
from keeper.errors import DecodeError, PlanError
from keeper.planning import fields
from keeper.planning.calls import PlannedCall
from keeper.planning.comparison import Difference, compare
from keeper.planning.evidence import Evidence
from keeper.planning.stamps import CodeStamp, PinnedBlock
from keeper.units import Address

SCHEMA: Final = 2
DOMAIN: Final = "omnikeeper/plan"
MAX_PLAN_BYTES: Final = 256 * 1024
MAX_REASON: Final = 2_048
"""Characters of a strategy's reason."""


class Kind(StrEnum):
    """What a plan asks the quorum to sign."""

    BATCH = "batch"
    SETTLEMENT = "settlement"


@dataclass(frozen=True)
class BatchTerms:
    """What a batch does and must leave behind. Amounts are in the vault's asset.

    `reason` is the strategy's, for people. What each venue, and "idle", is worth (low) right after the calls
    is a function of the inclusion time, `keeper.planning.outcome.predict`, which anyone evaluates from the
    snapshot; `predicted` is its value at the plan's `valid_after`, `predicted_until` at `valid_until`.
    `min_nav_after` holds at every inclusion time between.
    """

    nonce_key: int
    nonce: int
    executor: Address
    calls: tuple[PlannedCall, ...]
    predicted: tuple[tuple[str, int], ...]
    predicted_until: tuple[tuple[str, int], ...]
    min_nav_after: int
    max_loss: int
    reason: str = ""

    def __post_init__(self) -> None:
        if len(self.reason) > MAX_REASON or not self.reason.isprintable():
            raise PlanError(
                "A reason that no plan can carry",
                expected=f"printable text of at most {MAX_REASON:,} characters",
                seen=f"{len(self.reason):,}: {self.reason[:80]!r}",
            )

    def body(self) -> dict[str, Any]:
        return {
            "reason": self.reason,
            "nonce_key": self.nonce_key,
            "nonce": self.nonce,
            "executor": self.executor,
            "calls": [call.body() for call in self.calls],
            "predicted": dict(self.predicted),
            "predicted_until": dict(self.predicted_until),
            "min_nav_after": self.min_nav_after,
            "max_loss": self.max_loss,
        }

    @classmethod
    def parse(cls, value: object, where: str) -> "BatchTerms":
        f = fields.Fields(value, where, _BATCH_FIELDS)
        return cls(
            nonce_key=f.uint("nonce_key"),
            nonce=f.uint("nonce"),
            executor=f.address("executor"),
            calls=tuple(PlannedCall.parse(v, w) for v, w in f.items("calls")),
            predicted=f.amounts("predicted"),
            predicted_until=f.amounts("predicted_until"),
            min_nav_after=f.uint("min_nav_after"),
            max_loss=f.uint("max_loss"),
            reason=f.text("reason", MAX_REASON),
        )


_BATCH_FIELDS: Final = (
    *("reason", "nonce_key", "nonce", "executor", "calls"),
    *("predicted", "predicted_until", "min_nav_after", "max_loss"),
)


@dataclass(frozen=True)
class SettlementTerms:
    """Which epoch may be settled, at which price per share (assets per share scaled by 1e27)."""

    epoch: int
    min_pps: int
    max_pps: int

    def body(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "min_pps": self.min_pps, "max_pps": self.max_pps}

    @classmethod
    def parse(cls, value: object, where: str) -> "SettlementTerms":
        f = fields.Fields(value, where, ("epoch", "min_pps", "max_pps"))
        return cls(f.uint("epoch"), f.uint("min_pps"), f.uint("max_pps"))


Terms = BatchTerms | SettlementTerms
"""The part of a plan that its kind decides."""


@dataclass(frozen=True)
class Plan:
    """One proposal to the quorum. Times are UNIX seconds of the chains' clocks.

    `chain_id` is the hub's. `reference_time` is the snapshot's T. `evidence` is what cannot be recomputed;
    `parent` the hash of the plan of which this is a later leg. Raises PlanError where the parts do not fit
    together.
    """

    vault: Address
    chain_id: int
    snapshot_hash: bytes
    blocks: tuple[PinnedBlock, ...]
    reference_time: int
    policy_hash: bytes
    code: CodeStamp
    signer_set_version: int
    valid_after: int
    valid_until: int
    terms: Terms
    evidence: tuple[Evidence, ...] = ()
    parent: bytes | None = None

    def __post_init__(self) -> None:
        chains = [block.chain_id for block in self.blocks]
        if chains != sorted(set(chains)):
            raise PlanError("Blocks are sorted by chain id, one per chain", seen=chains)
        if self.chain_id not in chains:
            raise PlanError("The plan pins no block of its hub chain", expected=self.chain_id, seen=chains)
        if not self.valid_after <= self.valid_until:
            raise PlanError("A plan ends after it begins", expected=self.valid_after, seen=self.valid_until)

    @property
    def kind(self) -> Kind:
        return Kind.BATCH if isinstance(self.terms, BatchTerms) else Kind.SETTLEMENT

    @property
    def slot(self) -> tuple[int, int]:
        """(nonce key, nonce) that the plan uses up; a settlement's is (0, epoch)."""
        if isinstance(self.terms, BatchTerms):
            return self.terms.nonce_key, self.terms.nonce
        return 0, self.terms.epoch

    @property
    def batch(self) -> BatchTerms:
        """The terms of a batch. Raises PlanError for a settlement."""
        if not isinstance(self.terms, BatchTerms):
            raise PlanError("Not a batch", expected=Kind.BATCH, seen=self.kind)
        return self.terms

    @property
    def settlement(self) -> SettlementTerms:
        """The terms of a settlement. Raises PlanError for a batch."""
        if not isinstance(self.terms, SettlementTerms):
            raise PlanError("Not a settlement", expected=Kind.SETTLEMENT, seen=self.kind)
        return self.terms

    def body(self) -> dict[str, Any]:
        """Plain values only. The order is that in which differences are reported: causes before effects."""
        return {
            "schema": SCHEMA,
            "kind": self.kind.value,
            "chain_id": self.chain_id,
            "vault": self.vault,
            "policy_hash": self.policy_hash,
            "code": self.code.body(),
            "reference_time": self.reference_time,
            "blocks": [block.body() for block in self.blocks],
            "snapshot_hash": self.snapshot_hash,
            "parent": self.parent,
            "evidence": [each.body() for each in self.evidence],
            "signer_set_version": self.signer_set_version,
            "terms": self.terms.body(),
            "valid_after": self.valid_after,
            "valid_until": self.valid_until,
        }

    @cached_property
    def plan_hash(self) -> bytes:
        """The 32 bytes that name the plan, on-chain as `planHash`."""
        return canonical.digest(self.body(), domain=DOMAIN, version=SCHEMA)

    def to_bytes(self) -> bytes:
        return canonical.encode(self.body(), domain=DOMAIN, version=SCHEMA)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Plan":
        """Parses untrusted bytes. Raises PlanError unless they are a well-formed plan's canonical bytes."""
        if len(data) > MAX_PLAN_BYTES:
            raise PlanError("Plan too large", expected=f"at most {MAX_PLAN_BYTES} bytes", seen=len(data))
        try:
            return cls._parse(canonical.decode(data, domain=DOMAIN, version=SCHEMA))
        except DecodeError as error:
            raise PlanError(f"Not a plan: {error}") from error

    @classmethod
    def _parse(cls, value: object) -> "Plan":
        f = fields.Fields(value, "plan", _PLAN_FIELDS)
        if f.uint("schema") != SCHEMA:
            raise PlanError("Plan of another schema", expected=SCHEMA, seen=f.uint("schema"))
        kind = f.choice("kind", [each.value for each in Kind])
        terms = BatchTerms if kind == Kind.BATCH else SettlementTerms
        return cls(
            vault=f.address("vault"),
            chain_id=f.uint("chain_id"),
            snapshot_hash=f.word("snapshot_hash"),
            blocks=tuple(PinnedBlock.parse(v, w) for v, w in f.items("blocks")),
            reference_time=f.uint("reference_time"),
            policy_hash=f.word("policy_hash"),
            code=CodeStamp.parse(f.raw("code"), "plan.code"),
            signer_set_version=f.uint("signer_set_version"),
            valid_after=f.uint("valid_after"),
            valid_until=f.uint("valid_until"),
            terms=terms.parse(f.raw("terms"), "plan.terms"),
            evidence=tuple(Evidence.parse(v, w) for v, w in f.items("evidence")),
            parent=None if f.raw("parent") is None else f.word("parent"),
        )


_PLAN_FIELDS: Final = (
    "schema",
    "kind",
    "chain_id",
    "vault",
    "policy_hash",
    "code",
    "reference_time",
    "blocks",
    "signer_set_version",
    "terms",
    "valid_after",
    "valid_until",
    "evidence",
    "snapshot_hash",
    "parent",
)


def difference(expected: Plan, seen: Plan) -> tuple[Difference, ...]:
    """Every field in which `seen` departs from `expected`, causes first; empty when they are the same."""
    return tuple(compare(expected.body(), seen.body()))
