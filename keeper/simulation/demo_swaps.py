"""The demo's rewards: a lying quote that no signer signs, then an honest one, in a batch that sells them."""

import json
from dataclasses import replace

from keeper import engine
from keeper.execution.cycle import Keeper
from keeper.planning.actions import SWAP_LIFI
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.intents import Harvest, Intents
from keeper.planning.plan import Kind, Plan
from keeper.swap.client import LiFi


async def harvest(keeper: Keeper, venue: str) -> Plan:
    """The plan that somebody's wish to harvest `venue` comes to. Raises as `Keeper.propose`."""
    now = await keeper.clock.now()
    intents = Intents(
        intents=(Harvest(venue=venue),),
        reason="A day of rewards is worth its gas.",
        author="operator",
        issued_at=now,
    )
    wish = Evidence(EvidenceKind.INTENT, intents.author, now, intents.to_bytes())
    return await keeper.propose(Kind.BATCH, (wish,))


async def requoted(keeper: Keeper, lifi: LiFi, plan: Plan) -> Plan:
    """The plan with whatever LiFi quotes now for its sale."""
    wishes = tuple(each for each in plan.evidence if each.kind is EvidenceKind.INTENT)
    (request,) = engine.quote_requests(await keeper.snapshot(), keeper.policy, wishes)
    return passed_on(plan, (await lifi.quote(request)).data)


def passed_on(plan: Plan, quote: bytes) -> Plan:
    """The plan with other bytes for its quote, and with their calldata and minimum for its swap: what a
    proposer sends who checks nothing."""
    said = json.loads(quote)
    data = bytes.fromhex(said["transactionRequest"]["data"][2:])
    least = int(said["estimate"]["toAmountMin"])
    calls = tuple(
        call.having(data=data, min_out=least) if call.function == SWAP_LIFI.name else call
        for call in plan.batch.calls
    )
    evidence = tuple(
        replace(each, data=quote) if each.kind is EvidenceKind.QUOTE else each for each in plan.evidence
    )
    return replace(plan, terms=replace(plan.batch, calls=calls), evidence=evidence)
