"""Rewards claimed at Aave and sold through Uniswap or LiFi, by plans that signers derive for themselves; and
quotes that lie, which none of them signs."""

import json
import sys
import tomllib
from dataclasses import replace
from typing import Any

import pytest
from policy.zodiac import lets
from selling import AAVE, Selling
from staged import USDC, Staged
from typer.testing import CliRunner

from keeper import engine
from keeper.config import parse
from keeper.connectors.base import at_venue
from keeper.connectors.token import TokenPosition
from keeper.contracts import encode_call
from keeper.errors import DecodeError, PlanError, PolicyError
from keeper.events import Event, QuoteFailed, SnapshotTaken
from keeper.ledger.portfolio import nav_for_batch
from keeper.ops.commands.policy import app as policy_app
from keeper.planning.actions import CLAIM, SUPPLY, SWAP, SWAP_LIFI, SWAP_UNISWAP, WITHDRAW
from keeper.planning.bounds import FeePolicy
from keeper.planning.build import NothingToDoError
from keeper.planning.harvest import COMMON_GAS, LIFI_GAS, UNISWAP_GAS, harvest
from keeper.planning.intents import Harvest, Target
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.quorum.signer import PlanRefusedError
from keeper.simulation.cast import cast
from keeper.simulation.demo_swaps import passed_on
from keeper.simulation.devnet import Devnet
from keeper.simulation.lifi_lies import LIES
from keeper.simulation.swaps import HELD, REWARD, push_prices
from keeper.simulation.uniswap import SWAP as EXACT_INPUT
from keeper.simulation.vault import table
from keeper.swap.deployments import MULTIPLE, SINGLE, published
from keeper.swap.models import SwapRequest
from keeper.swap.policy import SoldToken
from keeper.swap.refusals import RateBudgetError
from keeper.units import Address
from keeper.verification import How, verify

HOUR = 3_600
GIFT = 10**15
REFUSED = "Refused what LiFi quotes: "


def weth(selling: Selling) -> Address:
    return selling.swap.tokens[REWARD].address


def changed(policy: Policy, **lifi: Any) -> Policy:
    """The policy with other terms for LiFi."""
    assert policy.swap is not None
    assert policy.swap.lifi is not None
    terms = policy.swap.lifi.model_copy(update=lifi)
    return policy.model_copy(update={"swap": policy.swap.model_copy(update={"lifi": terms})})


def staged(selling: Selling, policy: Policy) -> Staged:
    """The same vault under another policy."""
    return Staged(selling.stage.devnet, replace(selling.stage.deployment, policy=policy))


def sell_into(devnet: Devnet, token: SoldToken, amount: int) -> None:
    """Somebody sells so much into the pool of the token's own path."""
    (hop,), router = token.path, devnet.manifest["uniswap"]["swap_router"]
    trader, who = devnet.key("trader"), devnet.address("trader")
    devnet.send(trader, token.address, encode_call("approve(address,uint256)", router, amount))
    order = (token.address, hop.to, hop.fee, who, 2**64, amount, 0, 0)
    devnet.send(trader, router, encode_call(EXACT_INPUT, order))


# WHAT WORKS


async def test_rewards_are_claimed_and_sold_through_lifi_in_one_signed_batch(selling: Selling) -> None:
    before = await selling.stage.book()
    plan = await selling.propose()
    claim, sale, keep = plan.batch.calls
    assert [each.function for each in plan.batch.calls] == [CLAIM.name, SWAP_LIFI.name, SUPPLY.name]
    assert claim.venue == AAVE
    assert sale.pushed == sale.args["amount_in"] > 0
    assert keep.venue == HELD
    counted = nav_for_batch(before.idle, before.positions, before.marks, {AAVE, HELD}, before.at)
    assert plan.batch.min_nav_after == counted + sale.args["min_out"] - plan.batch.max_loss
    turn = await selling.carry_out(plan)
    result = turn.reconciliation
    assert (result.unexplained, result.others) == (0, 0), "explained to the wei"
    assert turn.book.idle - before.idle >= sale.args["min_out"] == plan.batch.predicted[2][1] - before.idle
    # What was earned between the plan's block and its inclusion is not lost.
    assert turn.book.allocation[HELD] > 0


async def test_the_better_route_is_taken_and_the_plan_says_why(selling: Selling) -> None:
    through_lifi = await selling.propose()
    assert through_lifi.batch.calls[1].function == SWAP_LIFI.name
    assert "through LiFi (uniswap) for at least" in through_lifi.batch.reason
    assert "better after gas than Uniswap for at least" in through_lifi.batch.reason
    selling.service.behave(fee_bps=30)
    direct = await selling.propose()
    assert direct.batch.calls[1].function == SWAP_UNISWAP.name
    assert "better after gas than LiFi (uniswap)" in direct.batch.reason
    turn = await selling.carry_out(direct)
    assert turn.reconciliation.unexplained == 0


async def test_without_lifi_the_direct_route_is_taken(selling: Selling) -> None:
    async with selling.keeper(lifi=False) as keeper:
        plan = await keeper.propose(Kind.BATCH, (await selling.intent(),))
    assert plan.batch.calls[1].function == SWAP_UNISWAP.name
    assert "no usable offer of LiFi" in plan.batch.reason
    assert len(plan.evidence) == 1


async def test_an_honest_quote_that_brings_less_than_its_gas_is_no_failure_of_lifi(selling: Selling) -> None:
    stage = selling.stage
    text = stage.deployment.policy_toml + "\n" + table("harvest", {"min_worth": 1})
    harvesting = parse(tomllib.loads(text), Policy)

    assert harvesting.swap is not None
    token = harvesting.swap.tokens[REWARD].model_copy(update={"path": ()})
    no_route = harvesting.swap.model_copy(update={"tokens": {REWARD: token}})
    keeping = staged(selling, harvesting.model_copy(update={"swap": no_route}))
    await keeping.allocate()
    position = at_venue((await keeping.book()).positions, HELD)
    assert isinstance(position, TokenPosition)
    sell_into(stage.devnet, selling.swap.tokens[REWARD], 20 * 10**18)
    # Worth the gas of Uniswap, whose price is out of bounds now, but not that of LiFi.
    price = position.amount // (COMMON_GAS + (UNISWAP_GAS + LIFI_GAS) // 2)
    fees = FeePolicy(max_fee_per_gas=price, max_priority_fee_per_gas=price - stage.head.base_fee)
    dear = staged(selling, harvesting.model_copy(update={"fees": fees}))
    told: list[Event] = []
    async with replace(selling, stage=dear).keeper() as keeper:
        keeper.events.subscribe(told.append)
        taken = await keeper.snapshot()
        assert len(engine.quote_requests(taken, keeper.policy)) == 1
        with pytest.raises(NothingToDoError):
            await keeper.propose(Kind.BATCH, taken=taken)
    assert [type(each) for each in told] == [SnapshotTaken]


async def test_a_promise_that_no_pool_keeps_is_no_evidence_and_the_direct_route_is_taken(
    selling: Selling,
) -> None:
    text = selling.stage.deployment.policy_toml + "\n" + table("harvest", {"min_worth": 1})
    by_itself = replace(selling, stage=staged(selling, parse(tomllib.loads(text), Policy)))
    selling.service.behave(fee_bps=0, lie="both: twice what the pools pay")
    told: list[Event] = []
    async with by_itself.keeper() as keeper:
        keeper.events.subscribe(told.append)
        plan = await keeper.propose(Kind.BATCH)
    (failed,) = (each for each in told if isinstance(each, QuoteFailed))
    assert "estimate.toAmountMin]: expected at most" in failed.reason
    assert (plan.batch.calls[1].function, plan.evidence) == (SWAP_UNISWAP.name, ())
    assert (await by_itself.carry_out(plan)).reconciliation.unexplained == 0


async def test_what_was_kept_is_sold_with_the_next_harvest(selling: Selling) -> None:
    await selling.carry_out(await selling.propose())
    # A gift to where it is kept is kept as well, and explained.
    stage = selling.stage
    position = stage.policy.position(HELD)
    stage.devnet.send(stage.devnet.key("user1"), weth(selling), encode_call("deposit()"), GIFT)
    stage.act("user1", weth(selling), "transfer(address,uint256)", position.address, GIFT)
    plan = await selling.propose()
    _, taken, sale, _ = plan.batch.calls
    assert (taken.function, taken.venue) == (WITHDRAW.name, HELD)
    assert sale.args["amount_in"] > taken.assets > 0
    turn = await selling.carry_out(plan)
    assert turn.reconciliation.unexplained == 0
    assert turn.book.allocation[HELD] > GIFT * 2_900 // 10**12
    only = await selling.propose(Harvest(venue=HELD))
    assert [each.function for each in only.batch.calls] == [WITHDRAW.name, SWAP_LIFI.name, SUPPLY.name]
    turn = await selling.carry_out(only)
    assert (turn.reconciliation.unexplained, turn.book.allocation[HELD]) == (0, 0)


async def test_a_harvest_goes_with_moves_in_one_batch(selling: Selling) -> None:
    held = (await selling.stage.book()).allocation
    venue = max((each for each in held if each not in (AAVE, HELD)), key=lambda each: held[each])
    move = Target(venue=venue, assets=held[venue] - 1_000 * USDC)
    plan = await selling.propose(Harvest(venue=AAVE), move)
    assert [each.function for each in plan.batch.calls] == [
        *(WITHDRAW.name, CLAIM.name),
        *(SWAP_LIFI.name, SUPPLY.name),
    ]
    turn = await selling.carry_out(plan)
    assert turn.reconciliation.unexplained == 0


async def test_anyone_verifies_a_plan_with_a_quote(selling: Selling) -> None:
    plan = await selling.propose()
    taken = await selling.stage.snapshot(at=None)
    outcome = verify(plan, selling.stage.policy, taken, from_chain=True, parent=None)
    assert outcome.identical, outcome
    found = {each.name: each.how for each in outcome.inputs}
    assert (found["evidence[0]"], found["evidence[1]"]) == (How.CHECKED, How.CHECKED)
    assert {found[name] for name in ("policy", "snapshot", "blocks", "calls", "code")} == {How.REPRODUCED}
    assert selling.derive(taken, selling.stage.policy, *plan.evidence).to_bytes() == plan.to_bytes()


async def test_the_direct_quote_is_what_uniswaps_own_quoter_says(selling: Selling) -> None:
    book = await selling.stage.book()
    assert book.market is not None
    token, quoter = selling.swap.tokens[REWARD], selling.stage.devnet.manifest["uniswap"]["quoter"]
    for amount in (10**9, 10**15, 7 * 10**18, 123_456_789_012_345_678_901):
        outputs = "(uint256,uint160[],uint32[],uint256)"
        theirs = selling.stage.devnet.call(
            quoter, "quoteExactInput(bytes,uint256)", [token.route, amount], outputs
        )
        assert book.market.quoted(token, amount) == theirs[0]


# WHAT IS REFUSED


async def _caught(selling: Selling, honest: Plan, request: SwapRequest, lie: str) -> tuple[str, str]:
    """Where a lie ends, and by what: a proposer who believes everything sends it to a signer."""
    try:
        quote = await selling.quote(request, lie=lie, fee_bps=25)
    except DecodeError as error:
        return "client", str(error)
    refused = await selling.refusal(passed_on(honest, quote.data))
    if refused.code == "no_plan" and REFUSED in str(refused):
        return "signer", str(refused).partition(REFUSED)[2]
    # Nothing in it is wrong on its face: an honest proposer would ask for such a plan too.
    own = selling.derive(await selling.stage.snapshot(), selling.stage.policy, honest.evidence[0], quote)
    assert own.batch.calls == passed_on(honest, quote.data).batch.calls
    refused = await selling.refusal(own)
    return {"simulation": "contract"}.get(refused.code, refused.code), str(refused)


async def test_no_lie_is_signed(selling: Selling, capsys: pytest.CaptureFixture[str]) -> None:
    # A fee that the lies can be about, and an amount at which LiFi is the better route all the same.
    selling.stage.devnet.warp(24 * HOUR)
    push_prices(selling.stage.devnet)
    state = selling.stage.state()
    selling.service.behave(fee_bps=25)
    honest = await selling.propose()
    assert honest.batch.calls[1].function == SWAP_LIFI.name
    request = await selling.request(honest.evidence[0])
    rows = [(lie, *await _caught(selling, honest, request, lie)) for lie in LIES]
    with capsys.disabled():
        lines = [f"{lie:<40} {where:<9} {by[:150]}" for lie, where, by in rows]
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert selling.stage.state() == state
    caught = {lie: where for lie, where, _ in rows}
    assert caught.pop("json: a minimum that is no number") == "client"
    assert set(caught.values()) == {"signer"}
    assert len({by for _, where, by in rows if where == "signer"}) > 20, "each lie has its own refusal"


async def test_a_signer_refuses_a_quote_that_went_stale_after_it_was_planned(selling: Selling) -> None:
    plan = await selling.propose()
    assert selling.swap.lifi is not None
    selling.stage.devnet.warp(selling.swap.lifi.max_age + 1)
    with pytest.raises(PlanRefusedError, match="A quote is too old") as refused:
        await selling.approve(plan)
    assert refused.value.code == "stale"


@pytest.mark.parametrize(
    ("seconds", "message"), [(-121, "expected 0 to 120 s"), (121, "until 120 s after the block")]
)
async def test_a_quote_of_another_time_than_the_plans_block_is_refused(
    selling: Selling, seconds: int, message: str
) -> None:
    plan = await selling.propose()
    intent, quote = plan.evidence
    taken = await selling.stage.snapshot()
    other = replace(quote, observed_at=taken.reference_time + seconds)
    with pytest.raises(PlanError, match=message):
        selling.derive(taken, selling.stage.policy, intent, other)


async def test_what_the_policy_does_not_name_is_refused(selling: Selling) -> None:
    selling.service.behave(fee_bps=25)
    stage = selling.stage
    lifi = selling.swap.lifi
    assert lifi is not None
    stage.devnet.warp(24 * HOUR)
    push_prices(stage.devnet)
    plan = await selling.propose()
    taken = await stage.snapshot()
    hash_of = dict(lifi.facets)
    cases: dict[str, dict[str, Any]] = {
        r"transactionRequest\.to": {"diamond": Address("0x" + "11" * 20)},
        r"calldata\.selector\]: expected 0x" + SINGLE.selector.hex(): {
            "facets": {SINGLE.selector: hash_of[SINGLE.selector]}
        },
        r"tool.*expected one of 1inch": {"exchanges": ("1inch",)},
        r"callTo": {"targets": lifi.targets[:1]},
        r"feeCosts\]: expected at most .* \(10 bps\)": {"max_fee_bps": 10},
    }
    assert plan.batch.calls[1].args["data"][:4] == MULTIPLE.selector
    for message, terms in cases.items():
        with pytest.raises(PlanError, match=message):
            selling.derive(taken, changed(stage.policy, **terms), *plan.evidence)


def test_a_policy_with_another_diamond_than_lifis_own_is_refused(selling: Selling) -> None:
    known = published(1)
    assert known is not None
    with pytest.raises(PolicyError, match="not LiFi's diamond on chain 1"):
        selling.swap.require_fits(1, selling.stage.policy.vault.asset, {HELD: weth(selling)})


async def test_an_exhausted_budget_stops_the_proposal_and_says_when_it_refills(selling: Selling) -> None:
    selling.service.behave(remaining=0, reset_seconds=600)
    with pytest.raises(RateBudgetError, match=r"It refills at .* UTC"):
        await selling.propose()


async def test_a_quote_that_nothing_rests_on_is_refused(selling: Selling) -> None:
    intent, quote = (await selling.propose()).evidence
    taken = await selling.stage.snapshot()
    for evidence in ((quote,), (intent, quote, quote)):
        with pytest.raises(PlanError, match="A quote that nothing rests on"):
            selling.derive(taken, selling.stage.policy, *evidence)


async def test_a_policy_without_a_section_swap_sells_nothing(selling: Selling) -> None:
    intent, quote = (await selling.propose()).evidence
    without = selling.stage.policy.model_copy(update={"swap": None})
    taken = await selling.stage.snapshot()
    for evidence, message in (((intent,), "lets nothing be sold"), ((intent, quote), "no quotes of LiFi's")):
        with pytest.raises(PolicyError, match=message):
            selling.derive(taken, without, *evidence)


async def test_nothing_earned_a_doubtful_price_and_dear_gas_are_refused(selling: Selling) -> None:
    with pytest.raises(PlanError, match="There is nothing to harvest"):
        await selling.propose(Harvest(venue=HELD))
    book = await selling.stage.book()
    assert book.market is not None
    dear = replace(book, market=replace(book.market, base_fee=10**12))
    with pytest.raises(PlanError, match="The sale costs more than it brings"):
        harvest(dear, selling.stage.policy, (AAVE,))
    selling.stage.devnet.warp(2 * HOUR)
    with pytest.raises(PlanError, match=r"A token in doubt is not sold \[WETH\]: expected OK, saw STALE"):
        await selling.propose()


# COMMANDS


def _differences(selling: Selling, **changes: tuple[str, str]) -> list[str]:
    said = CliRunner().invoke(policy_app, ["diff", *selling.files(**changes), "--json"])
    fields = [each["field"] for each in json.loads(said.stdout)["differences"]]
    assert said.exit_code == (1 if fields else 0), said.output
    return fields


def test_policy_and_handler_agree_until_one_says_something_else(selling: Selling) -> None:
    assert _differences(selling) == []
    token = selling.swap.tokens[REWARD]
    slippage = ("max_slippage_bps = 150", "max_slippage_bps = 140")
    assert _differences(selling, slippage=slippage) == [f"slippage of {token.address}"]
    assert selling.swap.lifi is not None
    for code in set(selling.swap.lifi.facets.values()):
        changed = _differences(selling, code=(code.hex(), "11" * 32))
        assert changed == [f"code behind 0x{each.hex()}" for each in sorted(selling.swap.lifi.facets)]
    pools = (token.path[0].pool, "0x" + "11" * 20)
    assert _differences(selling, pool=pools) == [f"pool {each}" for each in sorted(pools)]


def test_the_generated_permissions_are_those_that_the_vault_was_set_up_with(selling: Selling) -> None:
    said = CliRunner().invoke(policy_app, ["permissions", *selling.files()[:2], "--json"])
    calls = json.loads(said.stdout)["calls"]
    own = [each["function"] for each in calls if each["target"] == selling.swap.handler]
    assert own == ["listToken", "allowPool", "allowTarget", "allowTarget", "pinFacet", "pinFacet"]
    permitted = [each["what"] for each in calls if each["function"] == "setSelector"]
    for name in (SWAP_LIFI.name, SWAP_UNISWAP.name):
        assert f"swap handler {selling.swap.handler} {name}" in permitted
    assert f"aave_v3 {selling.stage.policy.position(AAVE).address} {CLAIM.name}" in permitted


async def test_an_operators_harvest_is_followed_to_its_reconciled_block(selling: Selling) -> None:
    with cast(selling.stage.devnet, selling.stage.deployment, selling.folder / "signers") as players:
        await players.caught_up(selling.stage.head.number)
        done = selling.intend(f'kind = "harvest"\nvenue = "{AAVE}"\n', players.urls)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["sent"], said["unexplained"], said["intents"]) == (True, 0, [f"harvest {AAVE}"])
    assert "through LiFi (uniswap)" in said["why"]
    assert len(said["signers"]) == selling.stage.policy.signers.threshold
    assert said["allocation"]["idle"] > 0 < said["allocation"][HELD]


async def test_a_role_of_the_policy_lets_the_harvest_through_and_no_other_sale(selling: Selling) -> None:
    await selling.carry_out(await selling.propose())
    selling.stage.devnet.rpc("evm_mine")
    plan, rules = await selling.propose(), selling.stage.policy
    assert len(plan.batch.calls) == 4
    assert lets(rules, plan)
    stranger = Address("0x" + "11" * 20)
    for i, call in enumerate(plan.batch.calls):
        for wrong in (replace(call, target=stranger), replace(call, token=stranger)):
            calls = (*plan.batch.calls[:i], wrong, *plan.batch.calls[i + 1 :])
            assert not lets(rules, replace(plan, terms=replace(plan.batch, calls=calls))), call.explain()
    claim = plan.batch.calls[0].having(reward=stranger)
    assert not lets(rules, replace(plan, terms=replace(plan.batch, calls=(claim,))))
    lost = replace(plan.batch, max_loss=selling.swap.max_loss + 10**6)
    assert not lets(rules, replace(plan, terms=lost))


async def test_the_policy_itself_refuses_a_swap_that_it_does_not_name(selling: Selling) -> None:
    plan, policy = await selling.propose(), selling.stage.policy
    claim, sale, keep = plan.batch.calls
    stranger = Address("0x" + "11" * 20)
    direct = {"path": selling.swap.tokens[REWARD].route[::-1], "amount_in": sale.amount, "min_out": 1}
    wrong = {
        "does not let this token be sold": replace(
            claim, data=CLAIM.function.encode(stranger), args={"reward": stranger}
        ),
        r"calls\[1\]\.target": replace(sale, target=stranger),
        r"calls\[1\]\.amount": replace(sale, amount=1),
        r"decoded\.token_out": sale.having(token_out=stranger),
        r"decoded\.path": type(sale).of(
            SWAP_UNISWAP.name, target=sale.target, token=sale.token, venue=SWAP, args=direct
        ),
        "for nothing": sale.having(min_out=0),
        r"calls\[1\]\.token": replace(keep, token=policy.vault.asset),
    }
    for message, call in wrong.items():
        terms = replace(plan.batch, calls=(claim, call, keep))
        with pytest.raises(PolicyError, match=message):
            policy.check(replace(plan, terms=terms))
    losing = replace(plan.batch, max_loss=plan.batch.max_loss + selling.swap.max_loss + 1)
    with pytest.raises(PolicyError, match=r"terms\.max_loss"):
        policy.check(replace(plan, terms=losing))
