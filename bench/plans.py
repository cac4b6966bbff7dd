"""From a snapshot in memory to a plan and its hash: what keeper and signers compute, without any I/O,
in processor time.

The demo's funds are spread evenly over three positions; the plan moves them to where they earn most. The
other vault has sixteen positions in equal markets, and the plan spreads over them what is idle.
"""

from collections.abc import Callable

from bench.registry import Group, Metric, Number
from bench.timing import cpu_seconds, milliseconds
from bench.vaults import demo_vault, snapshot, wide_vault
from keeper import engine
from keeper.book import open_book
from keeper.chain.snapshot import Snapshot
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.simulation.devnet import Devnet

WARMUPS, REPEATS = 2, 15
MANY = 16


def measure() -> dict[str, Number]:
    """All figures, on the demo's vault and on the one with many positions."""
    with demo_vault() as (stage, deployment):
        taken, policy = snapshot(stage, deployment.policy), deployment.policy
    with Devnet() as devnet:
        stage, wide = wide_vault(devnet, MANY)
        much = snapshot(stage, wide)
    data = taken.to_bytes()
    plan = engine.derive(much, wide, Kind.BATCH)
    if {call.target for call in plan.batch.calls} != {each.address for each in wide.positions}:
        raise RuntimeError("the plan moves nothing")
    if len(plan.batch.calls) != MANY:
        raise RuntimeError(f"the plan has {len(plan.batch.calls)} calls")
    return {
        "plans.book_ms": _median(lambda: open_book(Snapshot.from_bytes(data), policy)),
        "plans.derive_ms": _median(_deriving(taken, policy)),
        "plans.derive_16_positions_ms": _median(_deriving(much, wide)),
    }


def _deriving(taken: Snapshot, policy: Policy) -> Callable[[], object]:
    data = taken.to_bytes()

    # From bytes each time: a snapshot keeps what it has computed once.
    def derive() -> None:
        plan = engine.derive(Snapshot.from_bytes(data), policy, Kind.BATCH)
        if len(plan.plan_hash) != 32:
            raise RuntimeError("a plan without a hash")

    return derive


def _median(run: Callable[[], object]) -> float:
    return milliseconds(cpu_seconds(run, warmups=WARMUPS, repeats=REPEATS))


GROUP = Group(
    metrics=(
        Metric("plans.book_ms", "ms"),
        Metric("plans.derive_ms", "ms"),
        Metric("plans.derive_16_positions_ms", "ms", target=150),
    ),
    measure=measure,
)
