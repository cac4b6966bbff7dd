"""How many positions one core values in a second of processor time, without any I/O.

Beside the positions of the demo's vault: a loan on Morpho Blue, whose collateral has a price.

`*_positions_per_second` starts from decoded protocol state, as it is in a book, and asks for the value at a
later time, another one each time: interest accrues anew for each. `*_from_reads_per_second` starts from
the raw bytes of a snapshot and includes decoding, the checks and the value. A position in Uniswap v3 has
two NFTs, of the three that a report has gas for; its oracle's prices are given.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count

from bench import lending
from bench.liquidity import read_liquidity
from bench.registry import Group, Metric, Number
from bench.timing import cpu_seconds
from bench.vaults import demo_vault, snapshot
from keeper.chain.snapshot import Snapshot
from keeper.connectors.base import Position, PositionRef, load
from keeper.connectors.morpho_blue import MorphoBlue, MorphoBluePosition
from keeper.oracle.quote import Prices, RouteRate, Status
from keeper.planning.policy import Policy
from keeper.units import Address

LOAN = "valuation.morpho_blue_loan_positions_per_second"
PER_THOUSAND = "valuation.morpho_blue_per_thousand_positions"
THOUSANDS = (1, 16)
PROTOCOLS = {"aave_v3": 20_000, "morpho_blue": 20_000, "metamorpho": None, "uniswap_v3": 5_000}
VALUES_PER_RUN, READS_PER_RUN = 2_000, 50
WARMUPS, REPEATS = 2, 9


def measure() -> dict[str, Number]:
    """Every figure, on positions of the demo's vault."""
    with demo_vault() as (stage, deployment):
        taken = snapshot(stage, deployment.policy)
    figures: dict[str, Number] = {}
    for ref in deployment.policy.refs():
        figures |= _protocol(taken, deployment.policy, ref)
    return figures | lending.figures() | _loan(taken, deployment.policy) | _figures(*read_liquidity(), 0)


def _loan(taken: Snapshot, policy: Policy) -> dict[str, Number]:
    """The demo's supply on Morpho Blue, with a debt of half of it and collateral for that."""
    chain_id = policy.vault.chain_id
    at = taken.block(chain_id).timestamp
    ref = next(each for each in policy.refs() if each.connector == "morpho_blue")
    rates = {
        Address(ref.params["market"]["collateral_token"]): RouteRate(3 * 10**31, 3 * 10**31 + 1, Status.OK)
    }
    prices = Prices(policy.vault.asset, rates)
    supplied = MorphoBlue().position(ref, lambda call: taken.result(chain_id, call), prices, at)
    loan = replace(
        supplied,
        params=supplied.params.model_copy(update={"borrowable": True}),
        debt_shares=supplied.shares // 2,
        collateral=10**21,
        oracle_price=3 * 10**27,
    )
    if not loan.report(at).debt:
        raise RuntimeError("the loan owes nothing: there is nothing to measure")
    later = count(at + 1)
    few, many = (_report_all([loan] * 1_000 * thousands, later) / thousands for thousands in THOUSANDS)
    return {
        LOAN: _per_second(lambda: loan.report(next(later)), VALUES_PER_RUN),
        PER_THOUSAND: round(many / few, 2),
    }


def _report_all(positions: Sequence[MorphoBluePosition], later: Iterator[int]) -> float:
    """Seconds of processor time for a report of each at a new time."""

    def report() -> None:
        for position in positions:
            position.report(next(later))

    return cpu_seconds(report, warmups=WARMUPS, repeats=REPEATS)


def _protocol(taken: Snapshot, policy: Policy, ref: PositionRef) -> dict[str, Number]:
    chain_id = policy.vault.chain_id
    at = taken.block(chain_id).timestamp
    connector, prices = load(ref.connector), Prices(policy.vault.asset, {})

    def make() -> Position:
        return connector.position(ref, lambda call: taken.result(chain_id, call), prices, at)

    return _figures(make(), make, at)


def _figures(position: Position, make: Callable[[], Position], at: int) -> dict[str, Number]:
    if not position.report(at).low:
        raise RuntimeError(f"{position.ref.venue} is worth nothing: there is nothing to measure")
    name, later = position.ref.connector, count(at + 1)
    return {
        f"valuation.{name}_positions_per_second": _per_second(
            lambda: position.report(next(later)), VALUES_PER_RUN
        ),
        f"valuation.{name}_from_reads_per_second": _per_second(
            lambda: make().report(next(later)), READS_PER_RUN
        ),
    }


def _per_second(run: Callable[[], object], times: int) -> int:
    def repeat() -> None:
        for _ in range(times):
            run()

    return round(times / cpu_seconds(repeat, warmups=WARMUPS, repeats=REPEATS))


GROUP = Group(
    metrics=(
        *(
            metric
            for name, target in PROTOCOLS.items()
            for metric in (
                Metric(f"valuation.{name}_positions_per_second", "1/s", "higher", target),
                Metric(f"valuation.{name}_from_reads_per_second", "1/s", "higher"),
            )
        ),
        *lending.METRICS,
        Metric(LOAN, "1/s", "higher", 20_000),
        # The time of a thousand among sixteen thousand, in that of a thousand alone.
        Metric(PER_THOUSAND, "x", "lower", 1.5),
    ),
    measure=measure,
)
