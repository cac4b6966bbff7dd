"""Who pays for gas, how much, and when it is enough: floats, a day's cap for risk, and what each vault costs.

A day is one of the chain's time, in UTC. The cap is for what may add risk; exits, settlements, the ends of
epochs, cancels and repairs go on whatever they cost.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Annotated, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from keeper.chain.block import BlockRef, quantity
from keeper.chain.rpc import Source
from keeper.config import StrictModel
from keeper.events import EventStream, GasCapReached, GasLow
from keeper.execution.fees import fees
from keeper.execution.journal.costs import Charge, GasRecord
from keeper.execution.journal.journal import PLAN, executed
from keeper.execution.journal.states import ENDED
from keeper.execution.relay import key_of
from keeper.execution.transactions import TRANSFER_GAS
from keeper.planning.bounds import DAY
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy
from keeper.risk.limits import raises_risk
from keeper.units import Address

_UNITS: Final = {"wei": 0, "gwei": 9, "ether": 18}
_AMOUNT: Final = re.compile(r"([0-9]{1,60})(?:\.([0-9]{1,18}))? ?(wei|gwei|ether)", re.ASCII)


def parse_wei(value: object) -> int:
    """Wei: a whole number of them, or text such as "0.05 ether" or "30 gwei", to the last digit.

    Raises ValueError for anything else, as for parts of a wei.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    written = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    if written is None:
        raise ValueError('expected wei, or text such as "0.05 ether" or "30 gwei"')
    whole, part, unit = written[1], (written[2] or "").rstrip("0"), _UNITS[written[3]]
    if len(part) > unit:
        raise ValueError("expected no parts of a wei")
    return int(whole + part.ljust(unit, "0"))


def _field(value: object) -> int:
    try:
        return parse_wei(value)
    except ValueError as error:
        raise PydanticCustomError("wei", "{why}", {"why": str(error)}) from error


Wei = Annotated[int, BeforeValidator(_field), Field(lt=2**256)]


class GasLimits(StrictModel):
    """One chain's gas. Below `low` an alert is told; `daily_cap` is what may be spent in a day on what may
    add risk. `currency` is what the chain's gas is paid in, 10^18 wei each."""

    low: Wei | None = None
    daily_cap: Wei | None = None
    currency: Annotated[str, Field(pattern="^[A-Z][A-Z0-9]{1,9}$")] = "ETH"


@dataclass(frozen=True)
class Spent:
    """What a number of transactions have cost, in wei."""

    transactions: int = 0
    wei: int = 0


@dataclass(frozen=True)
class Day:
    """What a day has cost, and what is under way may still, in wei."""

    spent: int
    under_way: int


def start_of_day(moment: int) -> int:
    return moment - moment % DAY


def day(charges: Iterable[Charge], moment: int) -> Day:
    """What was spent in the day of `moment`; what may still be mined counts with the most that it can cost,
    whichever of a nonce's transactions is the one."""

    def nonce(each: Charge) -> tuple[str, int]:
        return each.row.account, each.row.nonce

    spent = under_way = 0
    for _, group in groupby(sorted(charges, key=nonce), nonce):
        rows = list(group)
        mined = [each.row for each in rows if each.row.cost is not None]
        for row in mined:
            if row.mined_at is not None and start_of_day(row.mined_at) == start_of_day(moment):
                spent += row.cost or 0
        if not mined:
            under_way += max((most(each) for each in rows if each.row.at not in ENDED), default=0)
    return Day(spent, under_way)


def most(charge: Charge) -> int:
    """What a transaction can cost at most, in wei."""
    return (TRANSFER_GAS if charge.row.cancels else charge.intent.gas) * charge.row.max_fee


def by_purpose(charges: Iterable[Charge]) -> Mapping[tuple[str | None, str], Spent]:
    """What was paid for each vault and purpose. Vault None is the account itself: a hole among its nonces, or
    an order that a person gave."""
    found: defaultdict[tuple[str | None, str], Spent] = defaultdict(Spent)
    for each in charges:
        if (cost := each.row.cost) is not None:
            place = each.intent.vault, each.purpose
            found[place] = Spent(found[place].transactions + 1, found[place].wei + cost)
    return found


@dataclass
class Treasury:
    """The account that pays for gas on one chain, watched from pass to pass. What it has said it does not say
    again, over restarts."""

    limits: GasLimits
    source: Source
    account: Address
    record: GasRecord
    events: EventStream
    _head: BlockRef | None = field(default=None, init=False)

    async def look(self) -> None:
        """Takes note of the chain's time and price, and tells when the account has become low.

        Raises EndpointError.
        """
        self._head = await self.source.latest()
        if self.limits.low is None:
            return
        balance = quantity(await self.source.rpc("eth_getBalance", [self.account, "latest"]))
        said = self.record.said(self.account)
        if (balance < self.limits.low) is not said.low:
            said.low = not said.low
            if said.low:
                self.events.emit(
                    GasLow(
                        chain_id=self.record.chain_id,
                        account=self.account,
                        wei=balance,
                        low=self.limits.low,
                    )
                )
            self.record.say(said)

    def allows(self, policy: Policy, plan: Plan | None = None) -> bool:
        """Whether the day's cap leaves room for another batch that may add risk, or for `plan`, at the most
        that it can cost; tells when it does not, once a day."""
        cap, head = self.limits.daily_cap, self._head
        if cap is None or head is None:
            return True
        base_fee = head.base_fee
        if policy.fees is not None:
            base_fee = min(base_fee, policy.fees.max_fee_per_gas)
        one = policy.limits.max_gas * fees(policy, base_fee).max_fee
        charges = self.record.charges(start_of_day(head.timestamp))
        seen = counted(self.record, charges, head.timestamp)
        # Those that nobody has signed yet: each is a batch, too, that has been decided on.
        sent = {each.intent.key for each in charges if each.row.at not in ENDED or executed(each.row)}
        waiting = [
            each
            for each in self.record.open_plans()
            if raises_risk(each) and key_of(each) not in sent and each.valid_until >= head.timestamp
        ]
        reserved = seen.under_way + one * sum(each != plan for each in waiting)
        if seen.spent + reserved + one <= cap:
            return True
        self._tell_capped(head, cap, seen.spent, reserved, one)
        return False

    def _tell_capped(self, head: BlockRef, cap: int, spent: int, reserved: int, needed: int) -> None:
        said, today = self.record.said(self.account), head.timestamp // DAY
        if said.capped_on == today:
            return
        self.events.emit(
            GasCapReached(
                chain_id=self.record.chain_id,
                account=self.account,
                cap=cap,
                spent=spent,
                reserved=reserved,
                needed=needed,
            )
        )
        said.capped_on = today
        self.record.say(said)


def spent_on(record: GasRecord, moment: int) -> Day:
    """What the day of `moment` has cost, and may still, of what counts against the cap."""
    return counted(record, record.charges(start_of_day(moment)), moment)


def counted(record: GasRecord, charges: Sequence[Charge], moment: int) -> Day:
    """Of these charges, those for plans that may add risk."""
    names = {
        bytes.fromhex(key.removeprefix(PLAN)) for each in charges if (key := each.intent.key).startswith(PLAN)
    }
    risky = {key_of(plan) for plan in record.plans(names) if raises_risk(plan)}
    return day((each for each in charges if each.intent.key in risky), moment)
