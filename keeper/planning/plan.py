"""The plan: everything that is about to happen and why, as one value with one hash.

A plan is what signers compare. Two plans are the same exactly when their canonical bytes are; when they are
not, `difference` says where. Plans from other machines are untrusted bytes: `Plan.from_bytes` accepts only
the one canonical encoding of a well-formed plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from keeper import canonical
from keeper.contracts import Function
from keeper.errors import DecodeError, PlanError
from keeper.planning import fields
from keeper.planning.comparison import Difference, compare
from keeper.units import MAX_UINT256, Address

SCHEMA: Final = 1
DOMAIN: Final = "omnikeeper/plan"
MAX_PLAN_BYTES: Final = 256 * 1024

SUPPLY: Final = Function("supply(bytes32,uint256)")
"""IConnector.supply(key, assets): the assets have been pushed just before."""
WITHDRAW: Final = Function("withdraw(bytes32,uint256)", "(uint256)")
"""IConnector.withdraw(key, assets): 2**256 - 1 is a full exit."""
ACTIONS: Final[Mapping[str, Function]] = {function.name: function for function in (SUPPLY, WITHDRAW)}


class Kind(StrEnum):
    """What a plan asks the quorum to sign."""

    BATCH = "batch"
    SETTLEMENT = "settlement"


@dataclass(frozen=True)
class PinnedBlock:
    """A block the plan rests on; `timestamp` in UNIX seconds."""

    chain_id: int
    number: int
    hash: bytes
    timestamp: int

    def body(self) -> dict[str, Any]:
        return {
            "chain_id": self.chain_id,
            "number": self.number,
            "hash": self.hash,
            "timestamp": self.timestamp,
        }

    @classmethod
    def parse(cls, value: object, where: str) -> "PinnedBlock":
        f = fields.Fields(value, where, ("chain_id", "number", "hash", "timestamp"))
        return cls(f.uint("chain_id"), f.uint("number"), f.word("hash"), f.uint("timestamp"))


@dataclass(frozen=True)
class StrategyStamp:
    """Which strategy decided: entry point name, version, parameters, and the digest of its source."""

    name: str
    version: str
    params: Mapping[str, Any] = field(hash=False)
    source_digest: bytes

    def body(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "params": dict(self.params),
            "source_digest": self.source_digest,
        }

    @classmethod
    def parse(cls, value: object, where: str) -> "StrategyStamp":
        f = fields.Fields(value, where, ("name", "version", "params", "source_digest"))
        return cls(f.text("name"), f.text("version"), f.mapping("params"), f.word("source_digest"))


@dataclass(frozen=True)
class CodeStamp:
    """Which code derives the plan. Where two of these differ the machines run different code, and comparing
    their results says nothing."""

    engine_version: str
    lens_code_hash: bytes
    strategy: StrategyStamp

    def body(self) -> dict[str, Any]:
        return {
            "engine_version": self.engine_version,
            "lens_code_hash": self.lens_code_hash,
            "strategy": self.strategy.body(),
        }


@dataclass(frozen=True)
class PlannedCall:
    """One action of a batch: push `amount` of `token` to the connector `target`, then call it with `data`.

    `venue`, `function`, `key` and `assets` are what `data` says, for people and for the policy; construction
    raises PlanError when they say anything else than `data` does.
    """

    target: Address
    token: Address
    amount: int
    data: bytes
    venue: str
    function: str
    key: bytes
    assets: int

    def __post_init__(self) -> None:
        action = ACTIONS.get(self.function)
        if action is None:
            raise PlanError("No such action", expected=" or ".join(ACTIONS), seen=self.function)
        if self.data != action.encode(self.key, self.assets):
            raise PlanError(
                "The call's bytes do not say what the plan says they do",
                expected=action.encode(self.key, self.assets),
                seen=self.data,
                where=self.venue,
            )

    @property
    def full_exit(self) -> bool:
        return self.function == WITHDRAW.name and self.assets == MAX_UINT256

    def explain(self) -> str:
        """One line for people; amounts in the vault asset's smallest unit."""
        amount = "everything" if self.full_exit else f"{self.assets:,}"
        preposition = "to" if self.function == SUPPLY.name else "from"
        return f"{self.function} {amount} {preposition} {self.venue}"

    def body(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "token": self.token,
            "amount": self.amount,
            "data": self.data,
            "decoded": {
                "venue": self.venue,
                "function": self.function,
                "key": self.key,
                "assets": self.assets,
            },
        }

    @classmethod
    def parse(cls, value: object, where: str) -> "PlannedCall":
        f = fields.Fields(value, where, ("target", "token", "amount", "data", "decoded"))
        said = fields.Fields(f.raw("decoded"), f"{where}.decoded", ("venue", "function", "key", "assets"))
        return cls(
            target=f.address("target"),
            token=f.address("token"),
            amount=f.uint("amount"),
            data=f.blob("data"),
            venue=said.text("venue"),
            function=said.text("function"),
            key=said.word("key"),
            assets=said.uint("assets"),
        )

    @classmethod
    def supply(cls, *, target: Address, token: Address, venue: str, key: bytes, assets: int) -> "PlannedCall":
        """Pushes `assets` of `token` to the connector, which supplies them."""
        return cls(target, token, assets, SUPPLY.encode(key, assets), venue, SUPPLY.name, key, assets)

    @classmethod
    def withdraw(
        cls, *, target: Address, token: Address, venue: str, key: bytes, assets: int
    ) -> "PlannedCall":
        """Takes `assets` out; nothing is pushed. 2**256 - 1 takes everything."""
        return cls(target, token, 0, WITHDRAW.encode(key, assets), venue, WITHDRAW.name, key, assets)


@dataclass(frozen=True)
class BatchTerms:
    """What a batch does and must leave behind. Amounts are in the vault's asset.

    `predicted` is what each venue, and "idle", is worth (low) right after the calls at the hub block's
    timestamp.
    """

    nonce_key: int
    nonce: int
    executor: Address
    calls: tuple[PlannedCall, ...]
    predicted: tuple[tuple[str, int], ...]
    min_nav_after: int
    max_loss: int

    def body(self) -> dict[str, Any]:
        return {
            "nonce_key": self.nonce_key,
            "nonce": self.nonce,
            "executor": self.executor,
            "calls": [call.body() for call in self.calls],
            "predicted": dict(self.predicted),
            "min_nav_after": self.min_nav_after,
            "max_loss": self.max_loss,
        }

    @classmethod
    def parse(cls, value: object, where: str) -> "BatchTerms":
        names = ("nonce_key", "nonce", "executor", "calls", "predicted", "min_nav_after", "max_loss")
        f = fields.Fields(value, where, names)
        return cls(
            nonce_key=f.uint("nonce_key"),
            nonce=f.uint("nonce"),
            executor=f.address("executor"),
            calls=tuple(PlannedCall.parse(v, w) for v, w in f.items("calls")),
            predicted=f.amounts("predicted"),
            min_nav_after=f.uint("min_nav_after"),
            max_loss=f.uint("max_loss"),
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

    `chain_id` is the hub's. `reference_time` is the snapshot's T. Raises PlanError where the parts do not
    fit together.
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
            "signer_set_version": self.signer_set_version,
            "terms": self.terms.body(),
            "valid_after": self.valid_after,
            "valid_until": self.valid_until,
            "evidence": [],
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
        if f.raw("evidence") != []:
            raise PlanError("This version takes no evidence", expected="an empty list", where="plan.evidence")
        kind = f.choice("kind", [each.value for each in Kind])
        terms = BatchTerms if kind == Kind.BATCH else SettlementTerms
        code = fields.Fields(f.raw("code"), "plan.code", ("engine_version", "lens_code_hash", "strategy"))
        return cls(
            vault=f.address("vault"),
            chain_id=f.uint("chain_id"),
            snapshot_hash=f.word("snapshot_hash"),
            blocks=tuple(PinnedBlock.parse(v, w) for v, w in f.items("blocks")),
            reference_time=f.uint("reference_time"),
            policy_hash=f.word("policy_hash"),
            code=CodeStamp(
                engine_version=code.text("engine_version"),
                lens_code_hash=code.word("lens_code_hash"),
                strategy=StrategyStamp.parse(code.raw("strategy"), "plan.code.strategy"),
            ),
            signer_set_version=f.uint("signer_set_version"),
            valid_after=f.uint("valid_after"),
            valid_until=f.uint("valid_until"),
            terms=terms.parse(f.raw("terms"), "plan.terms"),
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
)


def difference(expected: Plan, seen: Plan) -> tuple[Difference, ...]:
    """Every field in which `seen` departs from `expected`, causes first; empty when they are the same."""
    return tuple(compare(expected.body(), seen.body()))
