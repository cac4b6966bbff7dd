"""A policy over two Morpho Blue markets, their state, and the basis of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keeper.config import parse
from keeper.connectors.morpho_blue import MorphoBlueParams, MorphoBluePosition
from keeper.connectors.morpho_market import Market
from keeper.oracle.quote import Prices
from keeper.planning.build import Basis
from keeper.planning.policy import Policy
from keeper.planning.stamps import CodeStamp, PinnedBlock, StrategyStamp
from keeper.units import Address

CHAIN = 31337
AT = 1_800_000_000
UNIT = 10**6
LOAN = 10**6 * UNIT
"""What others lend in each market."""


def account(number: int) -> Address:
    """A digits-only address, its own checksum."""
    return Address(f"0x{number:040d}")


def position_section(venue: str, number: int) -> dict[str, Any]:
    market = {
        "loan_token": account(6),
        "collateral_token": account(100 + number),
        "oracle": account(200 + number),
        "irm": account(300),
        "lltv": 86 * 10**16,
    }
    return {
        "venue": venue,
        "connector": "morpho_blue",
        "address": account(10 + number),
        "key": "0x" + bytes([number] * 32).hex(),
        "params": {"morpho": account(7), "market": market},
    }


def policy_sections() -> dict[str, Any]:
    """What a policy file holds."""
    return {
        "name": "example",
        "vault": {
            "chain_id": CHAIN,
            "vault": account(1),
            "portfolio": account(2),
            "escrow": account(3),
            "registry": account(4),
            "quorum": account(5),
            "asset": account(6),
            "decimals": 6,
            "symbol": "USDC",
        },
        "chains": {str(CHAIN): {"finality": 2}},
        "time": {"validity": 900, "max_reference_age": 300, "max_clock_skew": 30},
        "limits": {
            "max_calls": 4,
            "max_gas": 3_000_000,
            "rounding_loss_per_call": 3,
            "pps_tolerance_bps": 25,
            "min_move": UNIT,
        },
        "signers": {"threshold": 2, "addresses": [account(n) for n in (21, 22, 23)]},
        "strategy": {"name": "yield_allocation", "params": {}},
        "caps": {"morpho:A": 900_000 * UNIT, "morpho:B": 900_000 * UNIT},
        "positions": [position_section("morpho:B", 2), position_section("morpho:A", 1)],
    }


def example_policy() -> Policy:
    return parse(policy_sections(), Policy)


@dataclass(frozen=True)
class Holding:
    """A book as far as the builder reads it."""

    positions: tuple[MorphoBluePosition, ...]
    idle: int
    marks: Mapping[str, int]
    reserve: int = 0
    at: int = AT
    isolated: frozenset[Address] = frozenset()


def holding(
    policy: Policy, assets: dict[str, int], idle: int, *, lent_out: int = 0, reserve: int = 0
) -> Holding:
    """Positions worth `assets` by venue; `lent_out` of every market's assets are borrowed."""
    positions = []
    for ref in policy.refs():
        params = MorphoBlueParams(**ref.params)
        prices = Prices(params.market.loan_token, {})
        market = Market(LOAN, LOAN * 10**6, lent_out, lent_out * 10**6, AT, 0, 10**9)
        position = MorphoBluePosition(ref, params, prices, market, 0)
        if assets[ref.venue]:
            position = position.after_supply(assets[ref.venue], AT)
        positions.append(position)
    marks = {each.ref.venue: each.report(AT).low for each in positions}
    return Holding(tuple(positions), idle, marks, reserve)


def example_basis() -> Basis:
    strategy = StrategyStamp("yield_allocation", "1", {"grid": 64}, b"\x0c" * 32)
    return Basis(
        snapshot_hash=b"\x0a" * 32,
        blocks=(PinnedBlock(CHAIN, 1234, b"\x0b" * 32, AT),),
        reference_time=AT + 5,
        code=CodeStamp("omnikeeper/0.1.0", b"\x0d" * 32, strategy),
        signer_set_version=1,
        nonce=7,
    )
