"""Anyone's answer to "is this plan what it says?": everything derived again, and compared field by field.

Nothing stored is believed: a hash counts as reproduced when its content was read or derived again and has
that hash. What nobody can derive, evidence, is checked by its checker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from keeper import engine
from keeper.chain.rpc import Source
from keeper.chain.snapshot import Snapshot, take_at
from keeper.errors import EndpointError, KeeperError, PlanError, RefusedError
from keeper.planning.comparison import Difference, compare, explain
from keeper.planning.plan import Plan, difference
from keeper.planning.policy import Policy
from keeper.planning.stamps import PinnedBlock


class How(StrEnum):
    """How far an input was verified."""

    REPRODUCED = "reproduced"
    CHECKED = "checked"
    DIFFERS = "differs"


@dataclass(frozen=True)
class Input:
    """One thing the plan rests on, or consists of, and what came of verifying it."""

    name: str
    how: How
    detail: str


@dataclass(frozen=True)
class Verification:
    """The outcome. `differences` has every field in which the plan departs from the one that was derived;
    `reason` says why none could be derived, where that is so."""

    plan_hash: bytes
    inputs: tuple[Input, ...]
    differences: tuple[Difference, ...] = ()
    reason: str = ""

    @property
    def identical(self) -> bool:
        return not self.differences and not self.reason


_FIELDS: Final = (
    ("policy", ("policy_hash",)),
    ("blocks", ("blocks", "reference_time")),
    ("snapshot", ("snapshot_hash",)),
    ("calls", ("kind", "terms", "signer_set_version", "valid_after", "valid_until", "chain_id", "vault")),
)
"""Fields of a plan by the input that they show; of a settlement the "calls" are its terms."""


def require_same_code(plan: Plan, policy: Policy) -> None:
    """Raises RefusedError when the plan was made by other code than this: results say nothing then."""
    own = engine.code_stamp(engine.load_strategy(policy))
    departures = tuple(compare(own.body(), plan.code.body(), "code"))
    if departures:
        raise RefusedError(
            f"Different code, not a different result: {explain(departures)}",
            hint="Install the release, and take the policy, that made the plan.",
        )


async def from_endpoints(endpoints: Mapping[int, Source], plan: Plan, policy: Policy) -> Snapshot:
    """Everything at the plan's blocks, read again. Raises PlanError when a pinned block is not the rule's,
    and the errors of `take_at`."""
    for block in plan.blocks:
        if block.chain_id in endpoints:
            await _require_rule(endpoints[block.chain_id], block, plan, policy)
    return await take_at(endpoints, engine.calls(policy), plan.blocks, plan.reference_time)


async def _require_rule(source: Source, block: PinnedBlock, plan: Plan, policy: Policy) -> None:
    """The last block not later than T that is `finality` deep. How deep it was then, nobody can tell later;
    but had one more than that many blocks come after it by T, it was not the last."""
    depth = policy.finality.get(block.chain_id, 0) + 1
    head = await source.latest(plan.reference_time)
    if head.number < block.number + depth:
        return
    later = await source.get_block(block.number + depth)
    if later.timestamp <= plan.reference_time:
        raise PlanError(
            "The pinned block is not the last final one at the reference time: the proposer chose it",
            expected=f"block {block.number + 1} or later",
            seen=block.number,
            where=f"chain {block.chain_id}",
        )


def verify(
    plan: Plan, policy: Policy, snapshot: Snapshot, *, from_chain: bool, parent: Plan | None
) -> Verification:
    """Derives the plan again from `snapshot` and compares. `from_chain` says whether the snapshot was read
    for this, or is a file; `parent` is the plan that this one says it is a leg of.

    Raises RefusedError for other code; PlanError when the parent is missing, or not that plan's.
    """
    require_same_code(plan, policy)
    _require_parent(plan, parent)
    try:
        engine.require_call_set(snapshot, policy)
        own = engine.derive(snapshot, policy, plan.kind, plan.evidence, plan.parent)
    except EndpointError:
        raise
    except KeeperError as error:
        inputs = (_code(plan), *_shallow(plan, policy, snapshot))
        return Verification(plan.plan_hash, inputs, (), str(error))
    outcome = compared(own, plan, from_chain=from_chain)
    if parent is None:
        return outcome
    above = Input("parent", How.CHECKED, f"0x{parent.plan_hash.hex()}")
    return replace(outcome, inputs=(*outcome.inputs, above))


def compared(own: Plan, plan: Plan, *, from_chain: bool) -> Verification:
    """What `plan` is beside `own`, which was derived from a snapshot for this, by the same code."""
    differences = difference(own, plan)
    inputs = [_code(plan)]
    for name, names in _FIELDS:
        if parts := tuple(each for each in differences if _top(each) in names):
            inputs.append(Input(name, How.DIFFERS, explain(parts)))
        else:
            how = How.CHECKED if name == "blocks" and not from_chain else How.REPRODUCED
            inputs.append(Input(name, how, _detail(name, own)))
    inputs += [
        Input(f"evidence[{i}]", How.CHECKED, f"{each.kind} from {each.source} at {each.observed_at}")
        for i, each in enumerate(plan.evidence)
    ]
    return Verification(plan.plan_hash, tuple(inputs), differences)


def _code(plan: Plan) -> Input:
    return Input("code", How.REPRODUCED, f"{plan.code.engine_version}, {_strategy(plan)}")


def _shallow(plan: Plan, policy: Policy, snapshot: Snapshot) -> list[Input]:
    """What can be compared where no plan follows: the hashes of the policy and the snapshot."""
    pairs = (("policy", policy.hash, plan.policy_hash), ("snapshot", snapshot.hash, plan.snapshot_hash))
    return [
        Input(name, How.REPRODUCED, f"0x{own.hex()}")
        if own == told
        else Input(name, How.DIFFERS, f"expected 0x{own.hex()}, saw 0x{told.hex()}")
        for name, own, told in pairs
    ]


def _require_parent(plan: Plan, parent: Plan | None) -> None:
    if plan.parent is None and parent is None:
        return
    if plan.parent is None or parent is None or parent.plan_hash != plan.parent:
        raise PlanError(
            "The plan's parent is missing, or another plan",
            expected="no parent" if plan.parent is None else plan.parent,
            seen="none" if parent is None else parent.plan_hash,
            where="--parent",
        )
    if (parent.chain_id, parent.vault) != (plan.chain_id, plan.vault):
        raise PlanError("The parent is another vault's", expected=plan.vault, seen=parent.vault)


def _top(each: Difference) -> str:
    return each.path.partition(".")[0].partition("[")[0]


def _strategy(plan: Plan) -> str:
    strategy = plan.code.strategy
    return f"strategy {strategy.name} {strategy.version} of source 0x{strategy.source_digest.hex()}"


def _detail(name: str, own: Plan) -> str:
    if name == "policy":
        return f"0x{own.policy_hash.hex()}"
    if name == "blocks":
        return ", ".join(f"{each.number} of chain {each.chain_id}" for each in own.blocks)
    if name == "snapshot":
        return f"0x{own.snapshot_hash.hex()}"
    if own.kind.value == "settlement":
        return f"epoch {own.settlement.epoch}"
    return f"{len(own.batch.calls)} calls, {own.batch.reason}"
