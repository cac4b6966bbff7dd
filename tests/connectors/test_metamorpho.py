"""The MetaMorpho mirror against the deployed vault, its queues, caps and fee included."""

from dataclasses import replace
from typing import Any

import pytest
from conftest import Walk
from test_morpho_blue import BORROW, FIELDS, REPAY, SUPPLY, WITHDRAW, words
from test_morpho_blue import reference as market_reference

from keeper.connectors.base import EVERYTHING, Position, PositionRef, after_move, key_of
from keeper.connectors.metamorpho import MetaMorphoPosition
from keeper.errors import PlanError, ValuationError

DEPOSIT = "deposit(uint256,address)"
VAULT_WITHDRAW = "withdraw(uint256,address,address)"
REDEEM = "redeem(uint256,address,address)"


def reference(walk: Walk) -> PositionRef:
    manifest = walk.devnet.manifest
    vault, morpho = manifest["metamorpho"], manifest["morpho"]
    return PositionRef(
        connector="metamorpho",
        address=walk.devnet.address("user1"),
        key=key_of(vault["vault"]),
        venue="metamorpho:USDC",
        params={
            "vault": vault["vault"],
            "morpho": morpho["address"],
            "markets": [
                {field: morpho["markets"][name][field] for field in FIELDS}
                for name in vault["withdraw_queue"]
            ],
        },
    )


def position(walk: Walk, ref: PositionRef) -> MetaMorphoPosition:
    found = walk.position(ref)
    assert isinstance(found, MetaMorphoPosition)
    return found


def disturb(walk: Walk, ref: PositionRef) -> None:
    """A move of somebody else: in one of the vault's markets, in the vault, or in its settings."""
    manifest = walk.devnet.manifest
    names = manifest["metamorpho"]["withdraw_queue"]
    vault = position(walk, ref).vault
    slot = walk.draw(len(names))
    market, held = words(market_reference(walk, names[slot])), vault.markets[slot]
    lender, borrower = walk.devnet.address("lender"), walk.devnet.address("borrower")
    room = held.market.liquidity + 1
    queue = sorted(range(len(names)), key=lambda _: walk.draw(1 << 32))
    ids = [bytes.fromhex(manifest["morpho"]["markets"][names[i]]["id"][2:]) for i in queue]
    address, morpho = ref.params["vault"], ref.params["morpho"]
    total = vault.last_total_assets
    moves: list[tuple[str, str, str, tuple[Any, ...]]] = [
        ("lender", morpho, SUPPLY, (market, walk.amount(room), 0, lender, b"")),
        ("lender", morpho, WITHDRAW, (market, walk.amount(room), 0, lender, lender)),
        ("borrower", morpho, BORROW, (market, walk.amount(room), 0, borrower, borrower)),
        ("borrower", morpho, REPAY, (market, walk.amount(held.market.borrow_assets + 1), 0, borrower, b"")),
        ("lender", address, DEPOSIT, (walk.amount(total // 8), lender)),
        ("lender", address, VAULT_WITHDRAW, (walk.amount(total // 8), lender, lender)),
        ("deployer", address, "setSupplyQueue(bytes32[])", (ids,)),
        ("deployer", address, "updateWithdrawQueue(uint256[])", (list(range(len(names))),)),
        ("deployer", address, "setFee(uint256)", (walk.draw(5 * 10**17),)),
    ]
    role, target, signature, args = moves[walk.draw(len(moves))]
    walk.send(role, target, signature, *args, at=walk.later())


def move(walk: Walk, ref: PositionRef, before: MetaMorphoPosition) -> None:
    """One move of ours, predicted for its block and compared with what vault and markets then store."""
    vault, holder = ref.params["vault"], ref.address
    at = walk.later()
    most = before.max_withdraw(at)
    asset = ref.params["markets"][0]["loan_token"]
    room = min(walk.balance(asset, holder) // 4, before.max_supply(at))
    if room and (most == 0 or walk.draw(2)):
        delta = walk.amount(room)
        predicted: Position = before.after_supply(delta, at)
        assert walk.send("user1", vault, DEPOSIT, delta, holder, at=at)
    elif most == 0:
        return
    elif most > 1 and walk.draw(3) == 0:
        predicted, received = before.after_withdraw(EVERYTHING, at)
        assert isinstance(predicted, MetaMorphoPosition)
        delta, redeemed = -received, before.shares - predicted.shares
        assert received in (most, most - 1)
        assert walk.send("user1", vault, REDEEM, redeemed, holder, holder, at=at)
    else:
        delta = -walk.amount(most)
        predicted, _ = before.after_withdraw(-delta, at)
        assert walk.send("user1", vault, VAULT_WITHDRAW, -delta, holder, holder, at=at)
    after = position(walk, ref)
    # Markets that the queue did not reach are stored as they were: accruing them early would round otherwise.
    assert after == predicted
    assert before.supply_rate(delta, at) == after.supply_rate(0, at)


def check_views(walk: Walk, ref: PositionRef, before: MetaMorphoPosition) -> None:
    """Value and bounds some time later, against what the vault answers then."""
    at = walk.devnet.warp(1 + walk.draw(10**6))
    vault, holder = ref.params["vault"], ref.address
    worth = walk.view(vault, "previewRedeem(uint256)", (before.shares,), "(uint256)")
    assert before.report(at).low == before.report(at).high == worth
    assert before.max_supply(at) == walk.view(vault, "maxDeposit(address)", (holder,), "(uint256)")
    assert before.max_withdraw(at) == walk.view(vault, "maxWithdraw(address)", (holder,), "(uint256)")
    redeemable = before.vault.redeemable(before.shares, at)
    assert redeemable == walk.view(vault, "maxRedeem(address)", (holder,), "(uint256)")


WANTED = {"supply", "withdraw", "borrow", "repay", "deposit", "redeem", "setSupplyQueue", "setFee"}


def run_moves_and_views(walk: Walk) -> set[str]:
    """Random moves of others and of ours, each compared; the functions that were called."""
    ref = reference(walk)
    asset = ref.params["markets"][0]["loan_token"]
    for role in ("user1", "borrower"):
        walk.fund(role, asset, ref.params["vault"], ref.params["morpho"])
    for _ in range(100):
        disturb(walk, ref)
        before = position(walk, ref)
        check_views(walk, ref, before)
        move(walk, ref, before)
    assert walk.refused < 50
    return set(walk.done)


def test_value_rates_and_moves_equal_the_vaults_to_the_wei(walk: Walk) -> None:
    assert run_moves_and_views(walk) >= WANTED


def test_a_move_in_a_shared_market_reaches_the_vault_that_lends_there(walk: Walk) -> None:
    direct, vault = market_reference(walk, "wstETH/USDC"), reference(walk)
    asset = direct.params["market"]["loan_token"]
    walk.fund("user1", asset, direct.params["morpho"], vault.params["vault"])
    positions = (walk.position(direct), walk.position(vault))
    at = walk.now() + 500
    moved, _ = after_move(positions, direct.venue, 5 * 10**12, at)
    args = (words(direct), 5 * 10**12, 0, direct.address, b"")
    assert walk.send("user1", direct.params["morpho"], SUPPLY, *args, at=at)
    assert moved == (walk.position(direct), walk.position(vault))
    moved, _ = after_move(moved, vault.venue, 10**12, at + 700)
    assert walk.send("user1", vault.params["vault"], DEPOSIT, 10**12, vault.address, at=at + 700)
    assert moved == (walk.position(direct), walk.position(vault))
    moved, received = after_move(moved, direct.venue, -EVERYTHING, at + 900)
    shares = walk.position(direct).shares
    args = (words(direct), 0, shares, direct.address, direct.address)
    assert walk.send("user1", direct.params["morpho"], WITHDRAW, *args, at=at + 900)
    assert moved == (walk.position(direct), walk.position(vault))
    assert received > 5 * 10**12


def test_more_than_the_caps_admit_is_refused(walk: Walk) -> None:
    ref = reference(walk)
    before = position(walk, ref)
    at = walk.now() + 60
    with pytest.raises(PlanError, match="caps leave no room"):
        before.after_supply(before.max_supply(at) + 1, at)
    with pytest.raises(PlanError, match="caps leave no room"):
        before.supply_rate(before.max_supply(at) + 1, at)
    before.after_supply(before.max_supply(at), at)


def test_markets_in_another_order_than_the_withdraw_queue_are_refused(walk: Walk) -> None:
    ref = reference(walk)
    turned = replace(ref, params={**ref.params, "markets": ref.params["markets"][::-1]})
    with pytest.raises(ValuationError, match="Withdraw queue at 0 differs"):
        walk.position(turned)
    short = replace(ref, params={**ref.params, "markets": ref.params["markets"][:2]})
    with pytest.raises(ValuationError, match="Length of the withdraw queue differs"):
        walk.position(short)
