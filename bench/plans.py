"""From a snapshot in memory to a plan and its hash: what keeper and signers compute, without any I/O,
in processor time.

The vault's funds are spread evenly over three positions; the plan moves them to where they earn most.
"""

from bench.registry import Group, Metric, Number
from bench.timing import cpu_seconds, milliseconds
from bench.vaults import demo_vault, snapshot
from keeper import engine
from keeper.book import open_book
from keeper.chain.snapshot import Snapshot
from keeper.planning.plan import Kind

WARMUPS, REPEATS = 2, 15


def measure() -> dict[str, Number]:
    """All figures, on the demo's vault."""
    with demo_vault() as (stage, deployment):
        taken = snapshot(stage, deployment)
    policy = deployment.policy
    data = taken.to_bytes()

    # From bytes each time: a snapshot keeps what it has computed once.
    def book() -> None:
        open_book(Snapshot.from_bytes(data), policy)

    def derive() -> None:
        plan = engine.derive(Snapshot.from_bytes(data), policy, Kind.BATCH)
        if len(plan.plan_hash) != 32:
            raise RuntimeError("a plan without a hash")

    return {
        "plans.book_ms": milliseconds(cpu_seconds(book, warmups=WARMUPS, repeats=REPEATS)),
        "plans.derive_ms": milliseconds(cpu_seconds(derive, warmups=WARMUPS, repeats=REPEATS)),
    }


GROUP = Group(
    metrics=(Metric("plans.book_ms", "ms"), Metric("plans.derive_ms", "ms")),
    measure=measure,
)
