"""The client against the local service: its quotes come true, and its lies move nothing."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from stage import AMOUNT, MAX_AGE, SWAP_LIFI, USDC, Stage

from keeper.clock import FixedClock
from keeper.contracts import encode_call
from keeper.errors import DecodeError, EndpointDownError, EndpointError, KeeperError, RefusedError
from keeper.simulation.lifi_lies import LIES
from keeper.simulation.lifi_quotes import EXCHANGE, LIFETIME
from keeper.swap.check import CheckedQuote, check
from keeper.swap.client import LiFi
from keeper.swap.refusals import API_ERRORS, Action, LiFiError, RateBudgetError
from keeper.swap.transfer import Outcome, UnfinishedTransferError, follow

UNSEEN = frozenset({"calldata: another integrator"})
"""A name in a log is the same to the handler."""
FLOOR = 97 * 10**16
"""Ether for 3,000 dollars at 3,000: less by fee, slippage and the pool's own."""


@pytest.mark.parametrize("fee_bps", [0, 25])
async def test_a_checked_quote_brings_through_the_handler_what_it_promises(
    stage: Stage, tmp_path: Path, fee_bps: int
) -> None:
    stage.service.behave(fee_bps=fee_bps)
    async with stage.client(tmp_path) as lifi:
        request = stage.request()
        quote = await lifi.quote(request)
    checked = check(quote.data, stage.expected(request, quote, FLOOR))
    assert checked.fees == AMOUNT * fee_bps // 10_000
    before = stage.balance("WETH", stage.portfolio)
    stage.give("USDC", AMOUNT)
    assert stage.swap(checked)
    received = stage.balance("WETH", stage.portfolio) - before
    assert received == checked.expected_out, "nobody traded in between"
    assert received >= checked.min_out >= FLOOR
    assert stage.balance("USDC", stage.handler) == stage.balance("WETH", stage.handler) == 0


async def test_a_quote_over_two_pools_brings_what_it_promises(stage: Stage, tmp_path: Path) -> None:
    async with stage.client(tmp_path) as lifi:
        request = stage.request(90_000 * USDC, "USDC", "WBTC")
        quote = await lifi.quote(request)
    checked = check(quote.data, stage.expected(request, quote, 98 * 10**6))
    stage.give("USDC", 90_000 * USDC)
    assert stage.swap(checked)
    assert stage.balance("WBTC", stage.portfolio) == checked.expected_out


async def _caught(stage: Stage, lifi: LiFi, signed: CheckedQuote, **mode: object) -> tuple[str, str, str]:
    """Where a quote ends and by what; and what the handler says to its calldata, whatever signers do."""
    request = stage.request()
    stage.service.behave(**mode)
    try:
        quote = await lifi.quote(request)
    except (DecodeError, EndpointError) as error:
        return "client", str(error), ""
    data = bytes.fromhex(json.loads(quote.data)["transactionRequest"]["data"][2:])
    said = stage.refusal(replace(signed, data=data))
    try:
        checked = check(quote.data, stage.expected(request, quote, FLOOR))
    except (DecodeError, RefusedError) as error:
        return "signer", str(error), said
    said = stage.refusal(checked)
    return ("nowhere", "", "") if stage.swap(checked) else ("contract", said, said)


async def test_no_lie_moves_anything(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.give("USDC", AMOUNT)
    held = stage.balance("WETH", stage.portfolio), stage.balance("USDC", stage.handler)
    rows = {}
    async with stage.client(tmp_path) as lifi:
        honest = await lifi.quote(stage.request())
        signed = check(honest.data, stage.expected(stage.request(), honest, FLOOR))
        for lie in LIES:
            rows[lie] = await _caught(stage, lifi, signed, lie=lie)
    async with stage.client(tmp_path / "slow", timeout_seconds=1, attempts=1) as lifi:
        rows["slow"] = await _caught(stage, lifi, signed, slow_milliseconds=5_000)
    async with stage.client(tmp_path / "limited") as lifi:
        rows["no requests left"] = await _caught(stage, lifi, signed, remaining=0)
    stage.service.behave()
    async with stage.client(tmp_path) as lifi:
        await lifi.quote(stage.request())
    stage.devnet.rpc("evm_setNextBlockTimestamp", stage.now() + LIFETIME + 1)
    stage.devnet.rpc("evm_mine")
    async with stage.client(tmp_path) as lifi:
        rows["stale"] = await _caught(stage, lifi, signed, stale=True)
    with capsys.disabled():
        sys.stdout.write(f"\n{'lie':<41}{'caught by':<10}{'and the contract says':<25} by\n")
        for lie, (where, by, handler) in rows.items():
            sys.stdout.write(f"{lie:<41}{where:<10}{handler or '-':<25} {by[:120]}\n")
    assert (stage.balance("WETH", stage.portfolio), stage.balance("USDC", stage.handler)) == held
    assert rows.keys() == {*LIES, "slow", "no requests left", "stale"}
    caught = {lie: where for lie, (where, _, _) in rows.items()}
    assert {lie for lie, where in caught.items() if where == "contract"} == {"both: twice what the pools pay"}
    assert {lie for lie, where in caught.items() if where == "client"} == {
        "json: a minimum that is no number",
        "slow",
        "no requests left",
    }
    assert set(caught.values()) == {"client", "signer", "contract"}
    assert len({by for where, by, _ in rows.values() if where == "signer"}) > 20, "each has its own refusal"
    blind = {
        lie for lie, (_, _, handler) in rows.items() if not handler and lie.startswith(("calld", "both"))
    }
    assert blind == UNSEEN


async def test_what_a_signer_would_refuse_the_handler_refuses_too(stage: Stage, tmp_path: Path) -> None:
    """As if every signer were bribed: calldata that lies, straight to the handler, with what was signed."""
    request = stage.request()
    async with stage.client(tmp_path) as lifi:
        honest = await lifi.quote(request)
        signed = check(honest.data, stage.expected(request, honest, FLOOR))
        held = stage.balance("WETH", stage.portfolio)
        stage.give("USDC", AMOUNT)
        for lie in (each for each in LIES if each.startswith(("calldata", "both"))):
            if lie in UNSEEN:
                continue
            stage.service.behave(lie=lie)
            data = bytes.fromhex(
                json.loads((await lifi.quote(request)).data)["transactionRequest"]["data"][2:]
            )
            order = (signed.token_in, signed.token_out, signed.amount_in, signed.min_out, data)
            assert not stage.act(encode_call(SWAP_LIFI, *order)), lie
        assert stage.balance("WETH", stage.portfolio) == held
        assert stage.act(encode_call(SWAP_LIFI, *order[:4], signed.data))


async def test_a_quote_that_went_stale_is_refused_by_the_deadline_inside(
    stage: Stage, tmp_path: Path
) -> None:
    request = stage.request(1_234 * USDC)
    async with stage.client(tmp_path) as lifi:
        await lifi.quote(request)
    stage.devnet.rpc("evm_setNextBlockTimestamp", stage.now() + LIFETIME + 1)
    stage.devnet.rpc("evm_mine")
    stage.service.behave(stale=True)
    async with stage.client(tmp_path) as lifi:
        old = await lifi.quote(request)
    with pytest.raises(RefusedError, match=r"steps\.1\.callData\.deadline"):
        check(old.data, stage.expected(request, old, 1))


async def test_a_service_that_is_slow_is_given_up(stage: Stage, tmp_path: Path) -> None:
    stage.service.behave(slow_milliseconds=5_000)
    async with stage.client(tmp_path, timeout_seconds=1, attempts=1) as lifi:
        with pytest.raises(EndpointDownError, match="TimeoutError"):
            await lifi.chains()


async def test_a_passing_error_is_asked_again_and_another_is_not(stage: Stage, tmp_path: Path) -> None:
    async with stage.client(tmp_path) as lifi:
        stage.service.behave(error=(500, 1006, "busy"))
        assert (await lifi.chains()).chains[0].id == stage.devnet.chain_id
        stage.service.behave(error=(400, 1011, "no such chain"))
        with pytest.raises(LiFiError, match=r"no such chain.*alert"):
            await lifi.chains()


async def test_an_exhausted_budget_says_when_it_refills_and_is_remembered(
    stage: Stage, tmp_path: Path
) -> None:
    stage.service.behave(remaining=2, reset_seconds=600)
    now = stage.now()
    async with stage.client(tmp_path) as lifi:
        await lifi.tools()
        await lifi.tools()
        with pytest.raises(RateBudgetError, match=r"refills at .* UTC") as refused:
            await lifi.tools()
        assert refused.value.refills_at == now + 600
    stage.service.behave()
    async with stage.client(tmp_path) as another:
        with pytest.raises(RateBudgetError):
            await another.tools()
        # Without a key every endpoint has its own.
        await another.quote(stage.request())


async def test_a_transfer_is_followed_through_a_refund_to_its_end(stage: Stage, tmp_path: Path) -> None:
    receipt = stage.devnet.block()["transactions"]
    hash_ = receipt[0] if receipt else "0x" + "11" * 32
    clock = FixedClock(stage.now())
    steps = [("NOT_FOUND", None), ("PENDING", "WAIT_SOURCE_CONFIRMATIONS"), ("PENDING", "REFUND_IN_PROGRESS")]
    async with stage.client(tmp_path) as lifi:
        for last, outcome in (
            (("DONE", "COMPLETED"), Outcome.COMPLETED),
            (("DONE", "PARTIAL"), Outcome.PARTIAL),
            (("DONE", "REFUNDED"), Outcome.REFUNDED),
            (("FAILED", "UNKNOWN_ERROR"), Outcome.FAILED),
        ):
            stage.service.behave(statuses=[*steps, ("FAILED", "REFUND_IN_PROGRESS"), last])
            ended, status = await follow(lifi, hash_, clock, until=clock.at + 1, pause=0)
            assert (ended, status.status) == (outcome, last[0])
        stage.service.behave(statuses=[("PENDING", None)])
        with pytest.raises(UnfinishedTransferError, match="PENDING"):
            await follow(lifi, hash_, clock, until=clock.at, pause=0)
        stage.service.behave(statuses=[("DONE", "MELTED")])
        with pytest.raises(KeeperError, match="not documented"):
            await follow(lifi, hash_, clock, until=clock.at, pause=0)


async def test_a_transfer_is_followed_while_lifi_has_nothing_to_say(stage: Stage, tmp_path: Path) -> None:
    clock, hash_ = FixedClock(stage.now()), "0x" + "11" * 32
    async with stage.client(tmp_path, attempts=1) as lifi:
        for error in ((503, 1008, "down"), (404, 1003, "no such transaction")):
            stage.service.behave(error=error, statuses=[("DONE", "COMPLETED")])
            ended, _ = await follow(lifi, hash_, clock, until=clock.at + 1, pause=0)
            assert ended is Outcome.COMPLETED
        stage.service.behave(error=(400, 1011, "no hash"))
        with pytest.raises(LiFiError, match="no hash"):
            await follow(lifi, hash_, clock, until=clock.at + 1, pause=0)
        stage.service.behave(remaining=0)
        with pytest.raises(UnfinishedTransferError, match="rate budget"):
            await follow(lifi, hash_, clock, until=clock.at, pause=0)


@pytest.mark.parametrize("code", sorted(API_ERRORS))
async def test_a_documented_error_is_asked_again_or_comes_with_its_action(
    stage: Stage, tmp_path: Path, code: int
) -> None:
    stage.service.behave(error=(500, code, "no"))
    async with stage.client(tmp_path) as lifi:
        if API_ERRORS[code] is Action.RETRY:
            assert (await lifi.chains()).chains
        else:
            with pytest.raises(LiFiError, match=rf"code {code}.*{API_ERRORS[code]}"):
                await lifi.chains()


async def test_every_other_endpoint_is_read(stage: Stage, tmp_path: Path) -> None:
    chain = stage.devnet.chain_id
    async with stage.client(tmp_path) as lifi:
        assert [each.id for each in (await lifi.chains()).chains] == [chain]
        symbols = {each.symbol for each in (await lifi.tokens(chain)).tokens[str(chain)]}
        assert symbols == set(stage.devnet.manifest["tokens"])
        assert [each.key for each in (await lifi.tools()).exchanges] == [EXCHANGE]
        price = await lifi.gas_price(chain)
        assert price.fast > 0
        assert set((await lifi.gas_prices()).root) == {str(chain)}
        suggestion = await lifi.gas_suggestion(chain)
        assert suggestion.available
        assert suggestion.recommended is not None
        assert int(suggestion.recommended.amount) > 0
        assert (await lifi.status("0x" + "11" * 32)).status == "NOT_FOUND"
        assert (await lifi.gas_status("0x" + "11" * 32)).status == "NOT_FOUND"
        with pytest.raises(LiFiError, match="code 1011"):
            await lifi.gas_status("0x11")
        routes = await lifi.routes(stage.request())
        assert int(routes.routes[0].to_amount_min) > FLOOR


async def test_the_transaction_of_a_step_is_checked_alike(stage: Stage, tmp_path: Path) -> None:
    request = stage.request()
    async with stage.client(tmp_path) as lifi:
        honest = json.loads((await lifi.quote(request)).data)
        step = {name: each for name, each in honest.items() if name != "transactionRequest"}
        quote = await lifi.step_transaction(step)
    assert check(quote.data, stage.expected(request, quote, FLOOR)).min_out > FLOOR


async def test_age_minimum_and_tools_are_the_signers_own(stage: Stage, tmp_path: Path) -> None:
    request = stage.request()
    async with stage.client(tmp_path) as lifi:
        quote = await lifi.quote(request)
    expected = stage.expected(request, quote, FLOOR)
    for seconds in (-1, MAX_AGE + 1):
        with pytest.raises(RefusedError, match=rf"\[age\]: expected 0 to {MAX_AGE} s, saw {seconds} s"):
            check(quote.data, replace(expected, now=expected.observed_at + seconds))
    with pytest.raises(RefusedError, match="toAmountMin"):
        check(quote.data, replace(expected, min_out=10**18))
    signed = check(quote.data, expected).min_out
    assert check(quote.data, replace(expected, max_out=signed)).min_out == signed
    with pytest.raises(RefusedError, match=rf"toAmountMin\]: expected at most {signed - 1}, saw {signed}"):
        check(quote.data, replace(expected, max_out=signed - 1))
    with pytest.raises(RefusedError, match=r"tool.*expected one of 1inch"):
        check(quote.data, replace(expected, tools=frozenset({"1inch"})))
