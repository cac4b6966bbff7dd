"""Gas by the number of users and of positions: what must not grow, and how much the rest does.

* `settle_*_users` is one settlement on the demo's vault with as many users' deposits and redemptions in it.
* The other figures are on vaults over Morpho Blue markets of equal state, all listed and all funded.
  `settle_*_positions` settles one deposit and one redemption. `rebalance_*_positions` moves assets from the
  first position to the last one (of a single position: out of it and back in), with 2-of-3 signatures.
* `nav_per_morpho_blue_market` is what one more market adds to a transaction that reads the live NAV.
"""

from bench.registry import Metric, Number
from bench.stage import DAY, USDC, Stage, charged_both_fees, gas, user
from bench.vaults import HOLDERS, equal_markets, parts_over
from keeper.contracts import encode_call
from keeper.simulation.devnet import Devnet

USER_COUNTS = (1, 10, 100)
POSITION_COUNTS = (1, 2, 5, 10, 16)
BOTH_SIDES = 10_000 * USDC
MOVED = 100 * USDC


def settlement(stage: Stage, users: int) -> int:
    """Gas of a settlement of that many users' requests on both sides, with both fees charged."""
    stage.request_both_sides([user(number) for number in range(users)], BOTH_SIDES)
    stage.close_epoch()
    receipt = stage.settle()
    if not charged_both_fees(receipt):
        raise RuntimeError("the measured settlement charges no fees")
    return gas(receipt)


def rebalance(stage: Stage, source: int, target: int, assets: int) -> int:
    """Gas of a batch that moves assets between two positions a day after the last one."""
    stage.devnet.warp(DAY)
    return gas(stage.execute([stage.withdraw(source, assets), stage.supply(target, assets)]))


def by_users(stage: Stage) -> dict[str, Number]:
    """Settlements of a vault that has been settled before."""
    measured = {}
    for users in USER_COUNTS:
        with stage.devnet.undone():
            measured[users] = settlement(stage, users)
    return {f"gas.{_plural('settle', users, 'user')}": value for users, value in measured.items()} | {
        "gas.settle_users_ratio_100_to_1": round(measured[100] / measured[1], 6)
    }


def by_positions() -> dict[str, Number]:
    """One fresh chain; each vault is deployed on it, measured and taken back."""
    settled, moved, valued = {}, {}, {}
    with Devnet() as devnet:
        markets = list(equal_markets(devnet, max(POSITION_COUNTS)))
        for count in POSITION_COUNTS:
            stage = Stage(devnet, parts_over(devnet, markets[:count]))
            with stage.devnet.undone():
                stage.populate(HOLDERS)
                stage.mature()
                valued[count] = gas(stage.relay(stage.parts.portfolio, encode_call("nav()")))
                with stage.devnet.undone():
                    settled[count] = settlement(stage, 1)
                moved[count] = rebalance(stage, 0, count - 1, MOVED)
    per_market = (valued[16] - valued[2]) / 14
    return (
        {f"gas.{_plural('settle', count, 'position')}": value for count, value in settled.items()}
        | {f"gas.{_plural('rebalance', count, 'position')}": value for count, value in moved.items()}
        | {
            "gas.settle_positions_ratio_16_to_2": round(settled[16] / settled[2], 6),
            "gas.rebalance_positions_ratio_16_to_2": round(moved[16] / moved[2], 6),
            "gas.nav_per_morpho_blue_market": round(per_market),
        }
    )


def _plural(step: str, count: int, noun: str) -> str:
    return f"{step}_{count}_{noun}{'' if count == 1 else 's'}"


def _gas(step: str, count: int, noun: str) -> Metric:
    return Metric(f"gas.{_plural(step, count, noun)}", "gas")


METRICS = (
    *(_gas("settle", count, "user") for count in USER_COUNTS),
    Metric("gas.settle_users_ratio_100_to_1", "ratio", target=1.01),
    *(_gas("settle", count, "position") for count in POSITION_COUNTS),
    Metric("gas.settle_positions_ratio_16_to_2", "ratio"),
    *(_gas("rebalance", count, "position") for count in POSITION_COUNTS),
    Metric("gas.rebalance_positions_ratio_16_to_2", "ratio", target=1.1),
    Metric("gas.nav_per_morpho_blue_market", "gas", target=17_000),
)
