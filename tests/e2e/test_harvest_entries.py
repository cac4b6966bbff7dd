"""What a harvest did, as bookkeepers read it."""

from collections import Counter
from typing import Any

from beancount import loader
from eth_hash.auto import keccak
from selling import Selling

from keeper.execution.accounts import Accountant
from keeper.execution.fills import fills_of
from keeper.execution.journal.costs import GasRecord
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import EXECUTED
from keeper.execution.journal.vaults import VaultRecord
from keeper.execution.treasury import GasLimits
from keeper.ops.bookkeeping import as_beancount
from keeper.simulation.proxy import Fault, Proxy
from keeper.simulation.swaps import REWARD

TRANSFER = "0x" + keccak(b"Transfer(address,address,uint256)").hex()


def with_strange_logs(receipt: Any) -> Any:
    """And before its own: one without topics, and what is no token's although it is called a transfer."""
    sample = next(log for log in receipt["logs"] if log["topics"][0] == TRANSFER and len(log["topics"]) == 3)
    to_itself = sample["topics"][1]
    strange = [
        sample | {"topics": [], "data": "0x"},
        sample | {"data": "0x"},
        sample | {"data": sample["data"] + "00" * 32},
        sample | {"topics": [*sample["topics"], to_itself], "data": "0x"},
    ]
    return receipt | {"logs": [*strange, *receipt["logs"]]}


async def test_bookkeepers_get_what_was_harvested_sold_and_kept(selling: Selling) -> None:
    before, stage = await selling.stage.book(), selling.stage
    plan = await selling.propose()
    turn = await selling.carry_out(plan)
    async with Journal(str(selling.folder / "keeper")) as journal, stage.endpoint() as endpoint:
        record = VaultRecord(journal, plan.chain_id, plan.vault)
        record.begin(plan)
        record.end(plan, EXECUTED, turn.receipt.block.number)
        gas = GasRecord(journal, plan.chain_id)
        entries = await Accountant(gas, endpoint, [stage.policy], GasLimits()).entries()
        strange = Fault("eth_getTransactionReceipt", change=with_strange_logs)
        with Proxy([stage.devnet.url], plan.chain_id, faults=[strange]) as proxy:
            async with stage.endpoint(proxy.url) as other:
                assert await Accountant(gas, other, [stage.policy], GasLimits()).entries() == entries
        assert proxy.seen["eth_getTransactionReceipt"]
    assert [each.kind for each in entries] == ["gas", "harvest", "swap", "supply"]
    assert sum(each.amount for each in entries[0].postings[:1]) == turn.receipt.cost
    (fill,) = fills_of(selling.swap, turn.receipt.logs)
    swapped = [each.amount for each in entries[2].postings if each.account[-1] == "idle"]
    assert swapped == [-fill.spent, fill.received]
    idle = Counter[str]()
    for posting in (each for entry in entries for each in entry.postings if each.account[-1] == "idle"):
        idle[posting.unit.name] += posting.amount
    assert idle == {"USDC": turn.book.idle - before.idle, REWARD: 0}
    _, errors, _ = loader.load_string(as_beancount(entries))
    assert errors == []
