"""Positions that count under several risk ids: counted as the portfolio counts, capped as it caps."""

import asyncio
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_abi import encode
from staged import USDC, Staged
from tampering import tampered

from keeper.book import open_book
from keeper.config import parse
from keeper.contracts import Contract
from keeper.errors import PolicyError, RevertError, ValuationError
from keeper.exposures import risk_id
from keeper.planning.build import NothingToDoError
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.reads import VaultReads
from keeper.simulation.devnet import Devnet
from keeper.simulation.market import Draws, MarketAgent
from keeper.simulation.vault import CAP, deploy_vault

AAVE, BLUE, META = "aave:USDC", "morpho:WETH/USDC", "metamorpho:USDC"
MORPHO = "morpho"
GROUPS = {MORPHO: (BLUE, META)}
DEPOSIT = 2_000_000 * USDC
LOWERED = 1_000_000 * USDC


@pytest.fixture(scope="module")
def grouped(devnet: Devnet) -> Staged:
    """A vault of which both positions in Morpho count under one risk id, too; its funds are at hand."""
    stage = Staged(devnet, deploy_vault(devnet, groups=GROUPS))
    stage.request_deposit("user1", DEPOSIT)
    asyncio.run(stage.settle())
    stage.claim("user1")
    return stage


@pytest.fixture
def stage(grouped: Staged) -> Iterator[Staged]:
    """The same vault, put back after the test."""
    with grouped.devnet.undone():
        yield grouped


def lower(stage: Staged, name: str, cap: int) -> None:
    vault, registry = stage.deployment.vault, stage.deployment.registry
    stage.act("guardian", registry, "lowerCap(address,bytes32,uint256)", vault, risk_id(name), cap)


async def test_every_exposure_is_the_portfolios_on_random_days(stage: Staged) -> None:
    market, draws = MarketAgent(stage.devnet, 11), Draws(11)
    seen = set()
    for day in range(8):
        market.step()
        stage.devnet.warp(draws.between(1, 86_400))
        if day == 3:
            stage.request_redeem("user1", stage.shares("user1") // 3)
        try:
            await stage.allocate()
        except NothingToDoError:
            stage.devnet.rpc("evm_mine")
        book = await stage.book()
        counted = {each.name: each.counted for each in book.exposures}
        assert counted == {
            name: stage.read(stage.portfolio, "exposures", risk_id(name))
            for name in (AAVE, META, MORPHO, BLUE)
        }
        assert counted[MORPHO] == counted[BLUE] + counted[META]
        live = {each.name: each.live for each in book.exposures}
        assert live == book.allocation | {MORPHO: book.allocation[BLUE] + book.allocation[META]}
        assert all((each.allowed, each.granted) == (CAP, CAP) for each in book.exposures)
        seen.add(tuple(counted.values()))
    assert len(seen) > 2


async def test_a_cap_that_the_guardian_lowers_bounds_the_plan_and_not_the_exits(stage: Staged) -> None:
    lower(stage, MORPHO, LOWERED)
    book = await stage.book()
    assert book.caps == {AAVE: CAP, BLUE: LOWERED, META: LOWERED}
    assert not any(book.allocation.values())
    await stage.allocate()
    book = await stage.book()
    held = book.allocation
    # It is where most is earned: all of the room is used, and none beyond.
    assert LOWERED - 10 * USDC < held[BLUE] + held[META] <= LOWERED
    assert held[AAVE] > 0
    lower(stage, MORPHO, 0)
    book = await stage.book()
    assert book.caps[BLUE] == book.caps[META] == 0 < book.caps[AAVE]
    stage.request_redeem("user1", stage.shares("user1"))
    await stage.allocate()
    after = (await stage.book()).allocation
    assert after[BLUE] + after[META] < held[BLUE] + held[META]


async def test_a_plan_above_a_shared_cap_is_refused_by_the_policy_as_by_the_portfolio(stage: Staged) -> None:
    body = tomllib.loads(stage.deployment.policy_toml)
    body["caps"][MORPHO] = LOWERED
    tight = parse(body, Policy)
    plan = await stage.propose(Kind.BATCH)
    assert sum(value for name, value in plan.batch.predicted if name in GROUPS[MORPHO]) > LOWERED
    with pytest.raises(PolicyError, match=f"under caps.{MORPHO}\\]: expected at most 1,000,000,000,000"):
        tight.check(plan)
    stage.policy.check(plan)
    lower(stage, MORPHO, LOWERED)
    with pytest.raises(RevertError, match="CapExceeded"):
        stage.submit(plan)


def other_risk_id(body: dict[str, Any]) -> None:
    body["positions"][0]["risk_ids"].append("more")
    body["caps"]["more"] = 1


def one_risk_id_less(body: dict[str, Any]) -> None:
    for position in body["positions"]:
        position["risk_ids"] = [position["venue"]]
    del body["caps"][MORPHO]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_risk_id, f"risk ids of {AAVE}: expected {AAVE}, more, saw {AAVE}"),
        (one_risk_id_less, f"risk ids of {META}: expected {META}, saw 0x"),
    ],
)
async def test_other_risk_ids_than_the_registrys_are_refused_naming_the_position(
    stage: Staged, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    body = tomllib.loads(stage.deployment.policy_toml)
    change(body)
    policy = parse(body, Policy)
    with pytest.raises(PolicyError) as caught:
        open_book(await stage.snapshot(policy=policy), policy)
    assert says in str(caught.value)


async def test_an_exposure_that_differs_by_one_unit_names_the_risk_id(stage: Staged) -> None:
    await stage.allocate()
    reads, taken = VaultReads(stage.policy), await stage.snapshot()
    call = reads.exposure(MORPHO)
    seen = taken.result(stage.devnet.chain_id, call)
    wrong = tampered(taken, call, encode(["uint256"], [seen + 1]))
    with pytest.raises(ValuationError) as caught:
        open_book(wrong, stage.policy)
    assert f"[risk id {MORPHO}]: expected {seen:,} from {META}, {BLUE}, saw {seen + 1:,}" in str(caught.value)
    marked = reads.marked_debt(stage.policy.position(AAVE))
    with pytest.raises(ValuationError, match=f"risk id {AAVE}"):
        open_book(tampered(taken, marked, encode(["uint256"], [1])), stage.policy)


async def test_a_name_in_hex_is_the_risk_id_itself(stage: Staged) -> None:
    body = tomllib.loads(stage.deployment.policy_toml)
    raw = "0x" + risk_id(MORPHO).hex()
    body["caps"][raw] = body["caps"].pop(MORPHO)
    for position in body["positions"]:
        position["risk_ids"] = [raw if name == MORPHO else name for name in position["risk_ids"]]
    policy = parse(body, Policy)
    book = open_book(await stage.snapshot(policy=policy), policy)
    assert raw in {each.name for each in book.exposures}
    assert Contract(policy.vault.registry, "Registry").call("cap", policy.vault.vault, risk_id(MORPHO)) == (
        VaultReads(policy).cap(raw)
    )


async def test_a_cap_that_is_all_but_reached_is_filled_whatever_interest_comes_before(stage: Staged) -> None:
    await stage.allocate()
    held = (await stage.book()).allocation
    lower(stage, MORPHO, held[BLUE] + held[META] + 50_000 * USDC)
    stage.request_deposit("user2", 400_000 * USDC)
    await stage.settle()
    plan = await stage.propose(Kind.BATCH)
    # Late: interest counts against the cap as well.
    stage.devnet.warp(plan.valid_until - stage.head.timestamp - 60)
    stage.submit(plan)
    book = await stage.book()
    (morpho,) = [each for each in book.exposures if each.name == MORPHO]
    assert morpho.counted <= morpho.cap
    assert morpho.counted > morpho.cap - 1_000 * USDC
