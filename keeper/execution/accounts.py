"""Everything that happened, as double entries: what gas cost, and what executed plans moved.

Amounts are those of the chain's receipts, in smallest units. Each entry balances in each of its units.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.block import hex_bytes
from keeper.chain.rpc import Source
from keeper.contracts import address
from keeper.contracts.abi import decode
from keeper.errors import EndpointError
from keeper.execution.carried import SETTLED, carried_out
from keeper.execution.journal.costs import Charge, GasRecord
from keeper.execution.journal.tables import PlanRow
from keeper.execution.journal.vaults import VaultRecord
from keeper.execution.look import Receipt, find
from keeper.execution.treasury import GasLimits
from keeper.planning.actions import CLAIM, SUPPLY, SWAPS, WITHDRAW
from keeper.planning.calls import PlannedCall
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.units import Address

_TRANSFER: Final = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
GAS_DECIMALS: Final = 18


@dataclass(frozen=True)
class Unit:
    """What is counted: a name, and how many decimals its smallest part is away."""

    name: str
    decimals: int


@dataclass(frozen=True)
class Posting:
    """A change of one account. `amount` is in the unit's smallest part."""

    account: tuple[str, ...]
    amount: int
    unit: Unit


@dataclass(frozen=True)
class Entry:
    """One thing that happened, at a second of the chain's time."""

    moment: int
    chain_id: int
    vault: str | None
    kind: str
    what: str
    transaction: bytes
    postings: tuple[Posting, ...]
    plan: bytes | None = None


@dataclass(frozen=True)
class Accountant:
    """Of one chain. `policies` are those of its vaults: what the plans of others moved is left out, and not
    what gas they cost."""

    record: GasRecord
    source: Source
    policies: Sequence[Policy]
    limits: GasLimits

    async def entries(self) -> list[Entry]:
        """All of it, oldest first. Raises EndpointError where a receipt is missing."""
        found = [await self._gas(each) for each in self.record.charges() if each.row.block_hash is not None]
        for policy in self.policies:
            vault = VaultRecord(self.record.journal, policy.vault.chain_id, policy.vault.vault)
            for row in vault.carried_out(since=0):
                found += await self._plan(policy, row)
        return sorted(found, key=lambda each: each.moment)

    # GAS

    async def _gas(self, charge: Charge) -> Entry:
        row, vault = charge.row, charge.intent.vault
        cost, moment, name = row.cost, row.mined_at, row.hash or b""
        if cost is None or moment is None:
            # From before the journal kept it.
            receipt = self._required(await find(self.source, name), "0x" + name.hex())
            cost, moment = receipt.cost, receipt.block.timestamp
        unit, chain = Unit(self.limits.currency, GAS_DECIMALS), f"Chain{row.chain_id}"
        payer = next((_name(each) for each in self.policies if each.vault.vault == vault), vault or "Keeper")
        return Entry(
            moment,
            row.chain_id,
            vault,
            "gas",
            charge.purpose,
            name,
            (
                Posting(("Expenses", "Gas", chain, payer, charge.purpose), cost, unit),
                Posting(("Assets", "Gas", chain, row.account), -cost, unit),
            ),
        )

    # PLANS

    async def _plan(self, policy: Policy, row: PlanRow) -> list[Entry]:
        plan, number = Plan.from_bytes(row.body), row.block or 0
        block = await self.source.get_block(number)
        where = f"plan 0x{plan.plan_hash.hex()} in block {number}"
        receipt = self._required(await carried_out(self.source, policy, plan, block, 1), where)
        if plan.kind is Kind.SETTLEMENT:
            return [_settlement(policy, plan, receipt)]
        return list(_batch(policy, plan, receipt))

    def _required(self, receipt: Receipt | None, where: str) -> Receipt:
        if receipt is None:
            raise EndpointError(
                "The endpoint shows no receipt",
                where=where,
                seen=self.source.public_url,
                hint="Ask one that keeps all history.",
            )
        return receipt


@dataclass(frozen=True)
class _Flow:
    """A token that came to the portfolio, or left it."""

    token: Address
    amount: int


def _settlement(policy: Policy, plan: Plan, receipt: Receipt) -> Entry:
    (data,) = [
        hex_bytes(log["data"])
        for log in receipt.logs
        if address(log["address"]) == plan.vault and log["topics"][:1] == ["0x" + SETTLED.hex()]
    ]
    _, _, accepted, _, _, paid, _ = decode(("uint256",) * 7, data)
    unit, idle = _unit(policy, policy.vault.asset), _idle(policy)
    moved = [
        Posting(idle, accepted, unit),
        Posting(("Equity", "Vault", _name(policy), "Deposits"), -accepted, unit),
        Posting(idle, -paid, unit),
        Posting(("Equity", "Vault", _name(policy), "Redemptions"), paid, unit),
    ]
    return _entry(plan, receipt, "settlement", f"epoch {plan.settlement.epoch}", moved)


def _batch(policy: Policy, plan: Plan, receipt: Receipt) -> Iterator[Entry]:
    flows = _flows(policy, receipt.logs)
    calls = plan.batch.calls
    for index, call in enumerate(calls):
        following = calls[index + 1] if index + 1 < len(calls) else None
        moved = [each for flow in _of_call(call, following, flows) for each in _counted(policy, call, flow)]
        yield _entry(plan, receipt, _KINDS.get(call.function, call.function), call.explain(), moved)


def _flows(policy: Policy, logs: Iterable[dict[str, Any]]) -> list[_Flow]:
    """What came to the portfolio and left it, in order."""
    found, here = [], policy.vault.portfolio
    for log in logs:
        data = hex_bytes(log["data"])
        # Anyone's contract may call anything a transfer.
        if log["topics"][:1] != [_TRANSFER] or (len(log["topics"]), len(data)) != (3, 32):
            continue
        (amount,) = decode(("uint256",), data)
        giver, taker = (address("0x" + topic[-40:]) for topic in log["topics"][1:])
        if here in (giver, taker) and giver != taker and amount:
            found.append(_Flow(address(log["address"]), amount if taker == here else -amount))
    return found


def _of_call(call: PlannedCall, following: PlannedCall | None, flows: list[_Flow]) -> Iterator[_Flow]:
    """Takes a call's flows off the front: what is pushed, then what comes back. What comes back ends with the
    next push; where the next call pushes nothing, each call has one."""
    if call.pushed and flows and flows[0].amount < 0:
        yield flows.pop(0)
    if call.function == SUPPLY.name and following is not None:
        return
    last = following is None or following.pushed > 0
    while flows and flows[0].amount > 0:
        yield flows.pop(0)
        if not last:
            break


_KINDS: Final = {
    SUPPLY.name: "supply",
    WITHDRAW.name: "withdraw",
    CLAIM.name: "harvest",
    **{each.name: "swap" for each in SWAPS},
}


def _counted(policy: Policy, call: PlannedCall, flow: _Flow) -> tuple[Posting, Posting]:
    unit, kind = _unit(policy, flow.token), _KINDS.get(call.function)
    other = {
        "harvest": ("Income", "Vault", _name(policy), "Rewards", call.venue),
        "swap": ("Equity", "Vault", _name(policy), "Swaps"),
    }.get(kind or "", ("Assets", "Vault", _name(policy), call.venue))
    return Posting(_idle(policy), flow.amount, unit), Posting(other, -flow.amount, unit)


def _entry(plan: Plan, receipt: Receipt, kind: str, what: str, moved: Sequence[Posting]) -> Entry:
    postings = tuple(each for each in moved if each.amount)
    name, moment = receipt.transaction, receipt.block.timestamp
    return Entry(moment, plan.chain_id, plan.vault, kind, what, name, postings, plan.plan_hash)


def _name(policy: Policy) -> str:
    """Of a vault: two may be called the same."""
    return f"{policy.name} {policy.vault.vault[:8]}"


def _idle(policy: Policy) -> tuple[str, ...]:
    return ("Assets", "Vault", _name(policy), "idle")


def _unit(policy: Policy, token: Address) -> Unit:
    """By the names of the policy; what it does not name counts in its smallest part, under its address."""
    if token == policy.vault.asset:
        return Unit(policy.vault.symbol, policy.vault.decimals)
    for symbol, known in policy.oracle.tokens.items() if policy.oracle else ():
        if known.address == token and known.decimals is not None:
            return Unit(symbol, known.decimals)
    return Unit(f"T{token[2:18].upper()}", 0)
