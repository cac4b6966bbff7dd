"""Tokens that live inside a batch: what is brought, sold and kept, and the policy that allows it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from examples import AT, UNIT, account, example_basis, example_policy, holding, policy_sections

from keeper.config import parse
from keeper.connectors.base import EVERYTHING, Position, PositionRef, key_of
from keeper.connectors.token import TokenPosition
from keeper.errors import ConfigError, PlanError, PolicyError
from keeper.oracle.quote import Prices, RouteRate, Status
from keeper.planning.actions import CLAIM, SUPPLY, SWAP, SWAP_UNISWAP
from keeper.planning.build import build_batch
from keeper.planning.calls import PlannedCall
from keeper.planning.outcome import Fill, after_calls
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.planning.strategy import Allocation
from keeper.swap.deployments import SINGLE, published

ASSET, ETHER, HANDLER, HOLDER = account(6), account(60), account(61), account(62)
VENUE = "held:WETH"
CODE = "0x" + "11" * 32
PRICES = Prices(ASSET, {ETHER: RouteRate(3_000 * 10**28, 3_000 * 10**28, Status.OK)})


@dataclass(frozen=True)
class Hand:
    """A vault that holds some ether, and nothing else."""

    positions: tuple[Position, ...]
    idle: int = 0


def hand(amount: int, loose: int = 0) -> Hand:
    ref = PositionRef("token", HOLDER, key_of(ETHER), VENUE, {"token": ETHER})
    return Hand((TokenPosition(ref, ETHER, PRICES, amount, loose),))


def taken(amount: int) -> PlannedCall:
    return PlannedCall.withdraw(target=HOLDER, token=ETHER, venue=VENUE, key=key_of(ETHER), assets=amount)


def sold(amount: int, least: int) -> PlannedCall:
    args = {"path": b"", "amount_in": amount, "min_out": least}
    return PlannedCall.of(SWAP_UNISWAP.name, target=HANDLER, token=ETHER, venue=SWAP, args=args)


def kept(amount: int = EVERYTHING) -> PlannedCall:
    args = {"key": key_of(ETHER), "assets": amount}
    return PlannedCall.of(SUPPLY.name, target=HOLDER, token=ETHER, venue=VENUE, args=args)


def held(after: tuple[tuple[Position, ...], int]) -> tuple[int, int]:
    (position,), idle = after
    assert isinstance(position, TokenPosition)
    return position.amount, idle


def test_a_sale_brings_its_least_unless_it_is_known_what_it_brought() -> None:
    calls = [taken(10), sold(7, 21_000), kept()]
    assert held(after_calls(hand(10), calls, AT)) == (3, 21_000)
    assert held(after_calls(hand(10), calls, AT, [Fill(6, 20_000)])) == (4, 20_000)


def test_what_lies_loose_where_it_is_kept_is_kept_with_everything() -> None:
    assert held(after_calls(hand(10, loose=5), [taken(10), sold(7, 1), kept()], AT)) == (8, 1)
    assert held(after_calls(hand(10, loose=5), [taken(10), sold(7, 1), kept(3)], AT)) == (3, 1)
    # Of nothing there is nothing to refuse.
    assert held(after_calls(hand(10), [taken(10), sold(10, 1), kept()], AT)) == (0, 1)


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([taken(10), sold(11, 1), kept()], "spends more of a token than the batch brings"),
        ([sold(1, 1)], "spends more of a token than the batch brings"),
        ([taken(10), kept(11)], "spends more of a token than the batch brings"),
        ([taken(10), sold(9, 1)], "Tokens would be left over"),
    ],
)
def test_no_batch_spends_what_it_has_not_brought_or_leaves_what_it_has(
    calls: list[PlannedCall], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        after_calls(hand(10), calls, AT)


# THE POLICY


def sections() -> dict[str, Any]:
    """A policy that may sell ether on Uniswap and through LiFi."""
    found = policy_sections()
    position = {
        "venue": VENUE,
        "connector": "token",
        "address": HOLDER,
        "key": "0x" + key_of(ETHER).hex(),
        "params": {"token": ETHER},
    }
    found["positions"].append(position)
    found["caps"][VENUE] = 1
    found["swap"] = {
        "handler": HANDLER,
        "router": account(63),
        "native": ETHER,
        "slippage_bps": 30,
        "max_loss": 10**9,
        "tokens": {
            "WETH": {
                "address": ETHER,
                "venue": VENUE,
                "max_slippage_bps": 150,
                "path": [{"pool": account(64), "fee": 500, "to": ASSET}],
            }
        },
        "lifi": {
            "diamond": account(65),
            "facets": {"0x" + SINGLE.selector.hex(): CODE},
            "targets": [{"address": account(66), "spender": account(66), "selectors": ["0xc04b8d59"]}],
            "exchanges": ["uniswap"],
            "max_fee_bps": 30,
            "max_age": 60,
        },
    }
    return found


def test_the_section_is_part_of_the_hash_and_a_policy_without_it_has_the_hash_it_always_had() -> None:
    policy = parse(sections(), Policy)
    assert policy.swap is not None
    assert policy.swap.tokens["WETH"].route.hex() == ETHER[2:] + "0001f4" + ASSET[2:]
    other = sections()
    other["swap"]["slippage_bps"] = 31
    without = sections()
    del without["swap"]
    assert len({policy.hash, parse(other, Policy).hash, parse(without, Policy).hash}) == 3
    assert "swap" not in parse(without, Policy)._body()


def batch(*calls: PlannedCall) -> Plan:
    """A plan of exactly these calls, right in everything else."""
    rules = example_policy()
    book = holding(rules, {"morpho:A": 0, "morpho:B": 5_000 * UNIT}, idle=1_000 * UNIT)
    wanted = Allocation.of({"morpho:A": 3_000 * UNIT, "morpho:B": 1_000 * UNIT}, "because")
    made = build_batch(rules, book, wanted, example_basis())
    return replace(made, terms=replace(made.batch, calls=calls, max_loss=0))


def claimed(**changes: Any) -> PlannedCall:
    """A claim of ether under the name of the swap handler."""
    call = PlannedCall.of(CLAIM.name, target=HANDLER, token=ASSET, venue=SWAP, args={"reward": ETHER})
    return replace(call, **changes)


def test_a_sale_that_the_section_allows_is_allowed() -> None:
    path = bytes.fromhex(ETHER[2:] + "0001f4" + ASSET[2:])
    parse(sections(), Policy).check(batch(sold(5, 3).having(path=path)))


@pytest.mark.parametrize(
    "call",
    [
        claimed(),
        claimed(target=account(66), amount=10**12),
        claimed(token=ETHER),
        claimed(token=ETHER, target=account(66)),
        claimed(args={"reward": ASSET}, data=CLAIM.function.encode(ASSET)),
        replace(taken(5), venue=SWAP),
        replace(kept(5), venue=SWAP, token=ASSET),
    ],
)
def test_nothing_but_a_sale_goes_through_under_the_handlers_name(call: PlannedCall) -> None:
    with pytest.raises(PolicyError, match="does not"):
        parse(sections(), Policy).check(batch(call))


def _token(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["swap"]["tokens"]["WETH"]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: _token(body).update(address=ASSET), "not sold for itself"),
        (lambda body: _token(body).update(venue="morpho:A"), "has no place"),
        (lambda body: _token(body).update(max_slippage_bps=301), "max_slippage_bps"),
        (lambda body: _token(body)["path"][0].update(to=account(9)), "does not end in the vault's asset"),
        (
            lambda body: _token(body)["path"].insert(0, {"pool": account(7), "fee": 1, "to": account(8)}),
            "not in tokens",
        ),
        (lambda body: (_token(body).pop("path"), body["swap"].pop("lifi")), "no path, and there is no lifi"),
        (lambda body: body["swap"]["tokens"].update(ETH=_token(body)), "listed twice"),
        (
            lambda body: body["swap"]["lifi"].update(facets={"0x12345678": "0x" + "11" * 32}),
            "no generic swap",
        ),
        (lambda body: body["swap"]["lifi"].update(facets={"0x1234": "0x" + "11" * 32}), "expected 4 bytes"),
        (
            lambda body: body["swap"]["lifi"].update(
                facets={f"0x{name}": CODE for name in (SINGLE.selector.hex(), SINGLE.selector.hex().upper())}
            ),
            "facets: two keys say the same",
        ),
        (
            lambda body: body["swap"]["lifi"]["targets"][0].update(selectors=["0xc04b8d  "]),
            "expected 4 bytes",
        ),
        (lambda body: body["swap"]["lifi"].update(targets=[]), "targets"),
        (lambda body: body["swap"]["lifi"].update(exchanges=[]), "exchanges"),
        (lambda body: body["swap"]["lifi"].update(max_age=0), "max_age"),
        (lambda body: body["swap"].pop("max_loss"), "max_loss"),
        (lambda body: body["positions"][-1].update(venue=SWAP), "not a venue"),
        (lambda body: body["positions"][-1].update(params={}), "Not an address"),
    ],
)
def test_a_section_that_does_not_hold_is_refused(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    body = sections()
    change(body)
    with pytest.raises(ConfigError, match=message):
        parse(body, Policy)


def test_a_diamond_that_is_not_lifis_own_on_a_chain_it_has_published_is_refused() -> None:
    body, known = sections(), published(1)
    assert known is not None
    body["vault"]["chain_id"], body["chains"] = 1, {"1": {"finality": 2}}
    with pytest.raises(ConfigError, match="not LiFi's diamond on chain 1"):
        parse(body, Policy)
    body["swap"]["lifi"]["diamond"] = known.diamond
    assert parse(body, Policy).swap is not None
