"""Positions that the portfolio cannot read: named in the book with the reason, counted as the contract counts
them; and what is no impairment but a difference between the contracts and us."""

import pytest
from eth_abi import encode
from staged import Staged
from tampering import VALUE, tampered

from keeper import engine
from keeper.book import Book, open_book
from keeper.connectors.base import Report, load
from keeper.errors import PlanError, ValuationError
from keeper.oracle.quote import Status
from keeper.planning.plan import Kind
from keeper.provenance import trace
from keeper.reads import VaultReads
from keeper.units import Value

AAVE, BLUE, META = "aave:USDC", "morpho:WETH/USDC", "metamorpho:USDC"
TOO_MUCH_GAS = "its report takes more gas than the portfolio gives it"
REVERTS = "0x60006000fd"
LOOP = "62004e205b600190038060045750"
"""20,000 rounds: about 520,000 gas."""


def answers(*words: int) -> str:
    """Code that answers with these words, whatever it is asked."""
    stores = "".join(f"7f{word:064x}60{32 * place:02x}52" for place, word in enumerate(words))
    return f"0x{stores}60{32 * len(words):02x}6000f3"


def put(stage: Staged, address: str, code: str) -> None:
    stage.devnet.rpc("anvil_setCode", address, code)
    stage.devnet.rpc("evm_mine")


def last_good(stage: Staged, venue: str) -> int:
    position = stage.policy.position(venue)
    high: int = stage.read(stage.portfolio, "marks", position.address, position.key)[1]
    return high


def check_impaired(stage: Staged, book: Book, venue: str) -> None:
    """That the venue counts as the contract counts it, and that nothing may be done with it."""
    position = next(each for each in book.positions if each.ref.venue == venue)
    assert position.report(book.at) == Report(0, last_good(stage, venue), Status.UNAVAILABLE)
    assert position.report(book.at).high > 0
    assert (book.caps[venue], position.max_withdraw(book.at), position.max_supply(book.at)) == (0, 0, 0)
    assert not position.legs(book.at)
    with pytest.raises(PlanError, match=f"An impaired position is in no plan \\[{venue}\\]"):
        position.after_withdraw(1, book.at)
    nav, healthy = stage.read(stage.portfolio, "nav")
    assert (book.nav, book.healthy, healthy) == (Value(*nav), False, False)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (REVERTS, "its report reverts with EmptyRevert()"),
        ("0x" + LOOP + answers(0, 0, 0)[2:], TOO_MUCH_GAS),
        (answers(1, 2), "its report has 64 bytes, not 96"),
        (answers(2, 1, 0), "its report has a low end of 2 above a high end of 1"),
        (answers(0, 2**112, 0), f"its report of {2**112:,} is more than a position may be worth"),
        (answers(1, 1, 7), "its report has an unknown state 0x7"),
    ],
)
async def test_a_connector_without_a_report_impairs_its_position_and_no_other(
    stage: Staged, code: str, reason: str
) -> None:
    before = trace(await stage.snapshot(), stage.policy)
    put(stage, stage.policy.position(AAVE).address, code)
    book = await stage.book()
    assert book.impaired == {AAVE: reason}
    check_impaired(stage, book, AAVE)
    assert {venue for venue, cap in book.caps.items() if cap} == {BLUE, META}
    assert trace(await stage.snapshot(), stage.policy)[AAVE].results != before[AAVE].results


async def test_a_report_too_dear_for_the_portfolio_impairs_even_with_the_value_it_would_count(
    stage: Staged,
) -> None:
    code = "0x" + LOOP + answers(0, last_good(stage, AAVE), 0)[2:]
    put(stage, stage.policy.position(AAVE).address, code)
    book = await stage.book()
    assert book.impaired == {AAVE: TOO_MUCH_GAS}
    check_impaired(stage, book, AAVE)


async def test_a_protocol_that_reverts_impairs_every_position_in_it(stage: Staged) -> None:
    put(stage, stage.devnet.manifest["morpho"]["address"], REVERTS)
    book = await stage.book()
    assert set(book.impaired) == {BLUE, META}
    for venue in book.impaired:
        check_impaired(stage, book, venue)
    assert book.nav.low == book.idle + stage.read(stage.portfolio, "positionValue", *place(stage, AAVE))[0][0]


async def test_the_rest_goes_on_and_the_position_comes_back(stage: Staged) -> None:
    connector = stage.policy.position(BLUE).address
    code = stage.devnet.rpc("eth_getCode", connector, "latest")
    put(stage, connector, REVERTS)
    stage.request_redeem("user1", stage.shares("user1") // 10)
    plan = await stage.allocate()
    assert BLUE not in {call.venue for call in plan.batch.calls}
    check_impaired(stage, await stage.book(), BLUE)
    put(stage, connector, code)
    book = await stage.book()
    assert (book.impaired, book.healthy) == ({}, True)
    assert book.allocation[BLUE] > 0


def place(stage: Staged, venue: str) -> tuple[str, bytes]:
    position = stage.policy.position(venue)
    return position.address, position.key


# NO IMPAIRMENT, BUT A DIFFERENCE


async def test_what_the_contract_values_and_we_cannot_is_a_difference_that_names_the_position(
    stage: Staged,
) -> None:
    taken = await stage.snapshot()
    reserve_data, *_ = load("aave_v3").calls(stage.policy.position(AAVE).ref())
    wrong = tampered(taken, reserve_data, b"", success=False)
    with pytest.raises(ValuationError) as caught:
        open_book(wrong, stage.policy)
    assert f"We cannot value a position that the contract values [{AAVE}]" in str(caught.value)
    assert "A read that the value rests on failed" in str(caught.value)
    garbage = tampered(taken, reserve_data, b"\1")
    with pytest.raises(ValuationError, match=f"cannot value a position .*{AAVE}"):
        open_book(garbage, stage.policy)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((0, 0, 1), "status STALE"),
        ((0, 0, 5 << 8 | 7 << 120), "debt 5, health 7"),
        ((-1, 0, 0), "status OK"),
    ],
)
async def test_a_connectors_own_word_that_differs_names_the_position(
    stage: Staged, words: tuple[int, int, int], says: str
) -> None:
    reads, taken = VaultReads(stage.policy), await stage.snapshot()
    position = stage.policy.position(BLUE)
    (low, high), _ = taken.result(stage.devnet.chain_id, reads.position_value(position))
    told = encode(["uint256"] * 3, [low + words[0], high + words[1], words[2]])
    with pytest.raises(
        ValuationError, match=f"Our report differs from the connector's \\[{BLUE}\\]"
    ) as caught:
        open_book(tampered(taken, reads.report(position), told), stage.policy)
    assert says in str(caught.value).partition("saw")[2]


async def test_doubt_that_only_one_side_has_is_refused(stage: Staged) -> None:
    """A value without its health flag, and a net asset value without its own."""
    reads, taken = VaultReads(stage.policy), await stage.snapshot()
    call = reads.position_value(stage.policy.position(META))
    (low, high), _ = taken.result(stage.devnet.chain_id, call)
    with pytest.raises(ValuationError, match=f"Our status differs from the contract's \\[{META}\\]"):
        open_book(tampered(taken, call, encode(VALUE, [(low, high), False])), stage.policy)
    (low, high), _ = taken.result(stage.devnet.chain_id, reads.nav)
    with pytest.raises(ValuationError, match="Our verdict on the net asset value differs"):
        open_book(tampered(taken, reads.nav, encode(VALUE, [(low, high), False])), stage.policy)


async def test_doubt_that_a_connector_tells_with_a_status_is_no_impairment(stage: Staged) -> None:
    """It answers as an impaired position would count, but it does answer: we say something else."""
    good = last_good(stage, BLUE)
    put(stage, stage.policy.position(BLUE).address, answers(0, good, Status.UNAVAILABLE))
    with pytest.raises(ValuationError, match=f"Our valuation differs from the contract's \\[{BLUE}\\]"):
        await stage.book()


async def test_a_forged_impairment_does_not_pass(stage: Staged) -> None:
    """The least that a forger needs is the position's and the whole vault's value: they disagree then."""
    reads, taken = VaultReads(stage.policy), await stage.snapshot()
    call = reads.position_value(stage.policy.position(AAVE))
    wrong = tampered(taken, call, encode(VALUE, [(0, last_good(stage, AAVE)), False]))
    with pytest.raises(ValuationError, match="net asset value"):
        open_book(wrong, stage.policy)
    with pytest.raises(ValuationError):
        engine.derive(wrong, stage.policy, Kind.BATCH)
