"""Gas of every step, from receipts: whole transactions, each cold in a block of its own, 21,000 and calldata
included. Targets are those of the vault's specification.

* The users' steps and claims are on the demo's vault (Aave v3, Morpho Blue and MetaMorpho), the others too
  unless the name says two Morpho Blue markets. The fee receiver has been paid before, both fees are charged
  in every measured settlement, and each epoch has other users' requests in it.
* A first request is by an account that the vault has never seen; a repeated one is an epoch later, with the
  first settled and not yet claimed. Allowances are larger than what is taken. Requests are for a part of the
  user's balance, claims for all that is due. The receivers hold the token already, but for the one named
  zero-balance.
* Figures by the number of users and of positions are in `bench.scale`.
* `report_*` is one position's report: the receipt of a transaction that calls it alone, less 21,000 and the
  calldata's gas. The 2,600 of a first call to the connector are not in it.
* `action_*` and `swap_*`, and the reports of positions that the demo does not have, are in `bench.actions`.
"""

from bench import actions, scale
from bench.registry import Group, Metric, Number
from bench.stage import USDC, USERS, Stage, alone, gas, user
from bench.vaults import demo_vault, two_morpho_markets
from keeper.contracts import encode_call
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import Deployment
from keeper.units import Address

HOLDERS = 20
FUNDS = 20_000 * USDC
NEWCOMER = USERS
STRANGER = USERS + 1
MOVED = 50_000 * USDC


def measure() -> dict[str, Number]:
    """Every figure, on four fresh chains."""
    return steps() | scale.by_positions() | actions.measure()


def steps() -> dict[str, Number]:
    """Every step once, and settlements by the number of users, on two fresh chains."""
    with demo_vault() as (stage, deployment):
        stage.mature()
        figures = scale.by_users(stage)
        with stage.devnet.undone():
            figures |= _users(stage)
        figures |= _reports(stage, deployment)
        figures["gas.rebalance_aave_v3_to_morpho_blue"] = scale.rebalance(stage, *_places(deployment), MOVED)
    with Devnet() as devnet:
        stage = Stage(devnet, two_morpho_markets(devnet))
        stage.populate(HOLDERS)
        stage.mature()
        with stage.devnet.undone():
            figures["gas.settle_both_sides_two_morpho_blue"] = scale.settlement(stage, HOLDERS)
        figures["gas.rebalance_morpho_blue_to_morpho_blue"] = scale.rebalance(stage, 0, 1, MOVED)
    return figures


def _users(stage: Stage) -> dict[str, Number]:
    old, other, new = user(1), user(2), user(NEWCOMER)
    stage.fund(new, FUNDS)
    stage.request_both_sides([old], USDC * 1_000)
    first = stage.request_deposit(new, USDC * 500)
    redeem = stage.request_redeem(other, stage.shares(other) // 2)
    close = stage.close_epoch()
    stage.settle()
    stage.request_deposit(old, USDC * 1_000)
    repeat = stage.request_deposit(new, USDC * 500)
    shares = stage.claim_shares(old)
    assets = stage.claim_assets(other, Address(other.address))
    stranger = stage.claim_assets(old, Address(user(STRANGER).address))
    return {
        "gas.request_deposit_first": gas(first),
        "gas.request_deposit_repeat": gas(repeat),
        "gas.request_redeem": gas(redeem),
        "gas.close_epoch": gas(close),
        "gas.claim_shares": gas(shares),
        "gas.claim_assets": gas(assets),
        "gas.claim_assets_zero_balance_receiver": gas(stranger),
    }


def _reports(stage: Stage, deployment: Deployment) -> dict[str, Number]:
    figures: dict[str, Number] = {}
    for each in deployment.policy.positions:
        data = encode_call("report(bytes32)", each.key)
        figures[f"gas.report_{each.connector}"] = alone(stage.relay(each.address, data), data)
    return figures


def _places(deployment: Deployment) -> tuple[int, int]:
    connectors = [each.connector for each in deployment.policy.positions]
    return connectors.index("aave_v3"), connectors.index("morpho_blue")


def _metric(name: str, target: int | None = None) -> Metric:
    return Metric(f"gas.{name}", "gas", target=target)


GROUP = Group(
    metrics=(
        _metric("request_deposit_first", 95_000),
        _metric("request_deposit_repeat", 95_000),
        _metric("request_redeem", 95_000),
        _metric("close_epoch"),
        _metric("settle_both_sides_two_morpho_blue", 310_000),
        _metric("claim_shares", 75_000),
        _metric("claim_assets", 75_000),
        _metric("claim_assets_zero_balance_receiver", 90_000),
        _metric("rebalance_aave_v3_to_morpho_blue"),
        _metric("rebalance_morpho_blue_to_morpho_blue", 300_000),
        _metric("report_aave_v3"),
        _metric("report_morpho_blue", 17_000),
        _metric("report_metamorpho"),
        *scale.METRICS,
        *actions.METRICS,
    ),
    measure=measure,
)
