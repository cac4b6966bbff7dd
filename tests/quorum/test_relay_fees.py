"""What a relayed plan pays stays under the policy's ceilings, whatever the chain asks."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st
from planning.examples import policy_sections
from vault_world import World

from keeper.chain.block import quantity
from keeper.chain.rpc import Endpoint
from keeper.config import parse
from keeper.errors import RefusedError
from keeper.events import EventStream
from keeper.execution.fees import PRIORITY_FEE, fees
from keeper.execution.journal.journal import Journal
from keeper.execution.relay import Relayer
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.quorum.collect import Approval
from keeper.simulation.vault import SIGNERS

GWEI = 10**9
WEI = st.integers(0, 10**13)


def policy(ceiling: int, tip: int) -> Policy:
    section = {"max_fee_per_gas": ceiling, "max_priority_fee_per_gas": tip}
    return parse(policy_sections() | {"fees": section}, Policy)


@given(base_fee=WEI, ceiling=WEI.map(lambda wei: wei + 1), tip=WEI)
def test_the_offer_covers_the_base_fee_and_keeps_under_both_ceilings(
    base_fee: int, ceiling: int, tip: int
) -> None:
    tip = min(tip, ceiling)
    rules = policy(ceiling, tip)
    if base_fee > ceiling:
        with pytest.raises(
            RefusedError, match=rf"expected at most {ceiling:,} wei per gas, saw {base_fee:,}"
        ):
            fees(rules, base_fee)
        return
    offered = fees(rules, base_fee)
    assert base_fee <= offered.max_fee <= ceiling
    assert offered.tip <= min(tip, offered.max_fee)
    assert offered.max_fee in (ceiling, 2 * base_fee + offered.tip)
    assert offered.tip in (tip, PRIORITY_FEE)


def test_without_ceilings_there_is_room_for_the_base_fee_to_double() -> None:
    rules = parse(policy_sections(), Policy)
    assert fees(rules, 7 * GWEI) == fees(None, 7 * GWEI) == (15 * GWEI, GWEI)


@pytest_asyncio.fixture
async def relayer(settled: World, journal: Journal) -> AsyncIterator[Relayer]:
    async with Endpoint(settled.devnet.url, settled.devnet.chain_id) as endpoint:
        account = Account.from_key(settled.devnet.key("relayer"))
        yield Relayer(endpoint, account, journal, EventStream())


async def test_complaint_11_a_relayed_plan_offers_no_more_than_the_policy_and_carries_nothing(
    settled: World, relayer: Relayer
) -> None:
    base_fee = int(settled.devnet.block()["baseFeePerGas"], 16)
    ceiling = base_fee + base_fee // 2
    kept = settled.under(fees={"max_fee_per_gas": ceiling, "max_priority_fee_per_gas": 3})
    plan = await kept.propose(Kind.BATCH)
    approval = Approval(tuple(kept.sign(plan, *SIGNERS[:2])), ())
    receipt = await relayer.submit(plan, approval, kept.policy)
    sent = await relayer.endpoint.rpc("eth_getTransactionByHash", ["0x" + receipt.transaction.hex()])
    figures = {
        name: quantity(sent[name]) for name in ("maxFeePerGas", "maxPriorityFeePerGas", "gas", "value")
    }
    assert figures == {
        "maxFeePerGas": ceiling,
        "maxPriorityFeePerGas": 3,
        "gas": kept.policy.limits.max_gas,
        "value": 0,
    }


async def test_nothing_is_sent_while_the_base_fee_is_above_the_ceiling_and_it_is_once_it_has_fallen(
    settled: World, relayer: Relayer
) -> None:
    kept = settled.under(fees={"max_fee_per_gas": 50 * GWEI, "max_priority_fee_per_gas": GWEI})
    kept.devnet.rpc("anvil_setNextBlockBaseFeePerGas", hex(51 * GWEI))
    kept.devnet.rpc("evm_mine")
    plan = await kept.propose(Kind.BATCH)
    approval = Approval(tuple(kept.sign(plan, *SIGNERS[:2])), ())
    count = ("eth_getTransactionCount", kept.devnet.address("relayer"), "pending")
    before = kept.devnet.rpc(*count)
    with pytest.raises(RefusedError, match=r"saw 51,000,000,000.*Wait until it has fallen"):
        await relayer.submit(plan, approval, kept.policy)
    assert kept.devnet.rpc(*count) == before
    kept.devnet.rpc("anvil_setNextBlockBaseFeePerGas", hex(50 * GWEI))
    kept.devnet.rpc("evm_mine")
    assert (await relayer.submit(plan, approval, kept.policy)).gas_used
