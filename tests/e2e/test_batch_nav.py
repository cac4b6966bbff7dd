"""The mirror of what a batch counts beside the event the contract emits: the same to the unit."""

from collections.abc import Mapping
from typing import Any

from eth_hash.auto import keccak
from staged import USDC, Staged

from keeper.contracts.abi import decode
from keeper.ledger.portfolio import nav_for_batch, touched
from keeper.planning.build import NothingToDoError
from keeper.planning.plan import Kind
from keeper.simulation.market import Draws, MarketAgent

EXECUTED = "0x" + keccak(b"BatchExecuted(bytes32,uint256,uint256,uint256,uint256,uint256)").hex()
STEPS = 24


def counted(receipt: Mapping[str, Any]) -> tuple[int, int]:
    """Low NAV before and after, by the event."""
    (data,) = [log["data"] for log in receipt["logs"] if log["topics"][0] == EXECUTED]
    _, _, before, after, _ = decode(["uint256"] * 5, bytes.fromhex(data[2:]))
    return before, after


async def test_the_nav_of_a_batch_is_the_contracts_on_a_random_walk(stage: Staged) -> None:
    market, draws = MarketAgent(stage.devnet, 11), Draws(11)
    read_some = False
    batches = 0
    for step in range(STEPS):
        market.step()
        stage.devnet.warp(draws.between(1, 5 * 86_400))
        if step % 4 == 3:
            stage.request_deposit("user2", draws.between(50_000, 400_000) * USDC)
            await stage.settle()
        parent = stage.head
        try:
            plan = await stage.propose(Kind.BATCH)
        except NothingToDoError:
            continue
        book = await stage.book(at=parent)
        receipt = stage.submit(plan)
        after = await stage.book()
        calls = [(call.target, call.data) for call in plan.batch.calls]
        read = touched(calls, book.positions, book.isolated)
        at = after.at
        assert counted(receipt) == (
            nav_for_batch(book.idle, book.positions, book.marks, read, at),
            nav_for_batch(after.idle, after.positions, book.marks, read, at),
        )
        # The marks of what was read are what it is worth; the others are as they were.
        for position in after.positions:
            venue = position.ref.venue
            expected = position.report(at).low if venue in read else book.marks[venue]
            assert after.marks[venue] == expected
        read_some = read_some or len(read) < len(after.positions)
        batches += 1
    assert batches >= 4
    assert read_some
