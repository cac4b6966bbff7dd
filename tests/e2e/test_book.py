"""The book beside the contracts: the same to the wei on every block, and an error that names what differs."""

import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from eth_abi import encode
from staged import USDC, Staged
from tampering import VALUE, tampered

from keeper import engine
from keeper.book import Book, open_book
from keeper.config import parse
from keeper.contracts import Contract
from keeper.errors import PolicyError, ValuationError
from keeper.exposures import risk_id
from keeper.planning.actions import SUPPLY, WITHDRAW
from keeper.planning.build import NothingToDoError
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.reads import VaultReads
from keeper.simulation.market import Draws, MarketAgent
from keeper.simulation.vault import CAP, TIMELOCK
from keeper.units import Address, Value

STRANGER = Address("0x00000000000000000000000000000000DeaDBeef")
STEPS = 30
VALIDITY = 900
"""Seconds that a plan of the policy is valid."""


def contract_nav(stage: Staged, number: int, at: int) -> Value:
    """The contract's NAV of a block's state at some time."""
    call = stage.portfolio.call("nav")
    request = {"to": call.target, "data": "0x" + call.data.hex()}
    answer = stage.devnet.rpc("eth_call", request, hex(number), {}, {"time": hex(at)})
    (low, high), healthy = call.decode(bytes.fromhex(answer[2:]))
    assert healthy
    return Value(low, high)


async def test_the_book_is_the_contracts_nav_on_a_random_walk(stage: Staged) -> None:
    market, draws = MarketAgent(stage.devnet, 5), Draws(5)
    navs = set()
    for step in range(STEPS):
        market.step()
        stage.devnet.warp(draws.between(1, 86_400))
        if step % 10 == 9:
            await _rebalance(stage)
        head, book = stage.head, await stage.book()
        assert book.nav == contract_nav(stage, head.number, head.timestamp)
        later = head.timestamp + draws.between(1, 30 * 86_400)
        assert book.nav_at(later) == contract_nav(stage, head.number, later)
        assert book.total == book.idle + sum(book.allocation.values())
        navs.add(book.nav)
    assert len(navs) == STEPS


async def _rebalance(stage: Staged) -> None:
    try:
        await stage.allocate()
    except NothingToDoError:
        stage.devnet.rpc("evm_mine")


async def test_the_reserve_covers_everyone_who_asked_to_leave(stage: Staged) -> None:
    assert (await stage.book()).reserve == 0
    shares = stage.shares("user1") // 3
    stage.request_redeem("user1", shares)
    book = await stage.book()
    owed = stage.read(stage.vault, "convertToAssets", shares)
    assert owed <= book.reserve <= owed + owed // 1_000
    plan = await stage.allocate()
    await stage.settle()
    assert plan.batch.calls
    assert stage.accounting().queued_shares == 0


# DISAGREEMENTS


def drop_a_position(body: dict[str, Any]) -> None:
    body["positions"] = [each for each in body["positions"] if each["venue"] != "aave:USDC"]
    del body["caps"]["aave:USDC"]


def another_key(body: dict[str, Any]) -> None:
    for each in body["positions"]:
        if each["venue"] == "morpho:WETH/USDC":
            each["key"] = "0x" + "11" * 32


def another_signer(body: dict[str, Any]) -> None:
    body["signers"]["addresses"][0] = STRANGER


def another_threshold(body: dict[str, Any]) -> None:
    body["signers"]["threshold"] = 3


def another_escrow(body: dict[str, Any]) -> None:
    body["vault"]["escrow"] = STRANGER


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            drop_a_position,
            ("the listed positions: expected metamorpho:USDC, morpho:WETH/USDC, saw", "key 0x"),
        ),
        (another_key, ("the listed positions", "saw 0x", "aave:USDC, metamorpho:USDC.")),
        (another_signer, ("the signers", STRANGER)),
        (another_threshold, ("the threshold: expected 3, saw 2",)),
        (another_escrow, ("the escrow", f"expected {STRANGER}")),
    ],
)
async def test_a_policy_the_chain_does_not_share_is_refused_naming_it(
    stage: Staged, change: Callable[[dict[str, Any]], None], says: tuple[str, ...]
) -> None:
    body = tomllib.loads(stage.deployment.policy_toml)
    change(body)
    policy = parse(body, Policy)
    with pytest.raises(PolicyError) as caught:
        open_book(await stage.snapshot(policy=policy), policy)
    told = str(caught.value)
    assert "The chain and the policy disagree on" in told
    assert not [part for part in says if part not in told], told


async def test_another_keeper_role_is_refused(stage: Staged) -> None:
    """The registry's governor names another keeper, through the timelock."""
    registry, governor = stage.deployment.registry, "governor"
    data = _call(stage, "setKeeper", stage.deployment.vault, STRANGER)
    stage.act(governor, registry, "submit(address,address,bytes)", stage.deployment.vault, registry, data)
    stage.devnet.warp(3 * 86_400)
    stage.devnet.send(stage.devnet.key(governor), registry, data, errors=("Registry",))
    with pytest.raises(PolicyError, match="disagree on the keeper role") as caught:
        await stage.book()
    assert STRANGER in str(caught.value)


# THE WHOLE SECTION OF THE REGISTRY

NOBODY = "0x" + "00" * 20


def test_every_power_on_chain_is_one_that_was_deployed(stage: Staged) -> None:
    """`policy` lists what governs the vault: nothing more, nothing less, than its deployment gave out."""
    deployed, vault = stage.deployment, stage.deployment.vault
    roles = [deployed.portfolio, stage.devnet.address("governor"), NOBODY]
    roles += [stage.devnet.address("guardian"), deployed.quorum, deployed.oracle]
    listed = {each.address: (each.key, risk_id(each.venue)) for each in stage.policy.positions}
    registry = Contract(deployed.registry, "Registry")

    *settings, positions, allowed, caps, exit_only, abdicated = stage.read(registry, "policy", vault)
    assert settings == [*roles, TIMELOCK, 0]
    assert sorted(positions) == sorted((at, key, (risk,)) for at, (key, risk) in listed.items())
    assert sorted(allowed) == sorted((at, each.selector) for at in listed for each in (SUPPLY, WITHDRAW))
    assert sorted(caps) == sorted((risk, CAP) for _, risk in listed.values())
    assert (exit_only, abdicated) == ((), ())

    connector = stage.policy.positions[0].address
    stage.act("guardian", deployed.registry, "setExitOnly(address,address)", vault, connector)
    assert stage.read(registry, "policy", vault)[-2] == (connector,)


def _call(stage: Staged, function: str, *args: Any) -> bytes:
    return Contract(stage.deployment.registry, "Registry").encode(function, *args)


@pytest.mark.parametrize("venue", ["aave:USDC", "metamorpho:USDC", "morpho:WETH/USDC"])
async def test_a_value_that_differs_by_one_unit_names_the_position(stage: Staged, venue: str) -> None:
    reads, taken = VaultReads(stage.policy), await stage.snapshot()
    call = reads.position_value(stage.policy.position(venue))
    (low, high), healthy = taken.result(stage.devnet.chain_id, call)
    wrong = tampered(taken, call, encode(VALUE, [(low, high + 1), healthy]))
    with pytest.raises(ValuationError) as caught:
        open_book(wrong, stage.policy)
    told = str(caught.value)
    assert f"Our valuation differs from the contract's [{venue}]" in told
    assert f"expected {low:,} to {high:,}, saw {low:,} to {high + 1:,}" in told
    with pytest.raises(ValuationError):
        engine.derive(wrong, stage.policy, Kind.BATCH)


async def test_a_nav_that_differs_is_named(stage: Staged) -> None:
    reads, taken = VaultReads(stage.policy), await stage.snapshot()
    (low, high), healthy = taken.result(stage.devnet.chain_id, reads.nav)
    wrong = tampered(taken, reads.nav, encode(VALUE, [(low - 1, high), healthy]))
    with pytest.raises(ValuationError, match="net asset value"):
        open_book(wrong, stage.policy)


async def test_a_read_that_failed_is_named(stage: Staged) -> None:
    reads, taken = VaultReads(stage.policy), await stage.snapshot()
    wrong = tampered(taken, reads.idle, b"", success=False)
    with pytest.raises(ValuationError, match=r"A read of the vault failed \[Portfolio\.idle"):
        open_book(wrong, stage.policy)


# LIMITS FROM THE CHAIN


def under_cap(book: Book) -> dict[str, int]:
    """What each venue may hold: its cap, less the interest until a plan expires."""
    return {
        each.ref.venue: CAP - (each.report(book.at + VALIDITY).high - each.report(book.at).low)
        for each in book.positions
    }


async def test_an_exit_only_connector_has_no_cap(stage: Staged) -> None:
    venue = "metamorpho:USDC"
    before = await stage.book()
    assert before.caps == under_cap(before)
    connector = stage.policy.position(venue).address
    guard = (stage.deployment.vault, connector)
    stage.act("guardian", stage.deployment.registry, "setExitOnly(address,address)", *guard)
    after = await stage.book()
    assert after.caps == under_cap(after) | {venue: 0}


async def test_a_plan_beside_an_exit_only_connector_adds_nothing_to_it(stage: Staged) -> None:
    venue = "metamorpho:USDC"
    guard = (stage.deployment.vault, stage.policy.position(venue).address)
    stage.act("guardian", stage.deployment.registry, "setExitOnly(address,address)", *guard)
    stage.request_deposit("user2", 300_000 * USDC)
    await stage.settle()
    plan = await stage.allocate()
    assert venue not in {call.venue for call in plan.batch.calls if call.function == SUPPLY.name}


async def test_while_risk_is_paused_every_cap_is_zero(stage: Staged) -> None:
    stage.request_deposit("user2", 300_000 * USDC)
    await stage.settle()
    stage.act("guardian", stage.deployment.registry, "pauseRisk(address)", stage.deployment.vault)
    assert set((await stage.book()).caps.values()) == {0}
    with pytest.raises(NothingToDoError):
        await stage.propose(Kind.BATCH)
    stage.devnet.warp(7 * 86_400)
    assert all((await stage.book()).caps.values())
    assert (await stage.propose(Kind.BATCH)).batch.calls
