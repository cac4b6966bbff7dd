"""What can be wrong with what a keeper has under way, why, and what a person can do about it.

What the loop puts right by itself is only told. The rest is done through the journal and the one way to send,
so it may be cut off anywhere and be done again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from keeper.chain.block import BlockRef
from keeper.chain.lens import read
from keeper.chain.pool import ChainEndpoints, Pool, Replacement
from keeper.chain.rpc import Endpoint, Source
from keeper.contracts import Contract
from keeper.errors import EndpointError, RefusedError
from keeper.execution.carried import carried_out_by
from keeper.execution.duties import Duties
from keeper.execution.fees import bumped
from keeper.execution.journal.journal import Journal, executed
from keeper.execution.journal.states import OVERTAKEN, State
from keeper.execution.journal.tables import Transaction
from keeper.execution.journal.vaults import VaultRecord
from keeper.execution.look import Look, find, look, spender
from keeper.execution.relay import deepest, key_of
from keeper.execution.transactions import Transactions, dearest, payers
from keeper.ledger.vault import Accounting
from keeper.planning.bounds import FeePolicy
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.units import Address


class Trouble(StrEnum):
    """What can be wrong."""

    STUCK = "stuck"
    HOLE = "hole"
    SPENT = "spent by another"
    UNSHOWN = "receipt not shown"
    EXPIRED = "expired"
    OVERTAKEN = "overtaken"
    ELSEWHERE = "executed by another"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: `what` it is, `why`, and the `cure`. Without `by_itself` it needs a person.

    `group` are the transactions of its nonce, or `plan` what it is about; `shown` is the endpoint that shows
    what others do not.
    """

    trouble: Trouble
    chain_id: int
    what: str
    why: str
    cure: str
    by_itself: bool = False
    group: tuple[Transaction, ...] = ()
    plan: Plan | None = None
    shown: Endpoint | None = None


@dataclass(frozen=True)
class Remedy:
    """What a person allows: replacing, or with `cancel` cancelling, what is stuck, for at most `ceiling` wei
    for each gas; without one the policies' ceilings hold."""

    ceiling: int | None = None
    cancel: bool = False

    @property
    def chosen(self) -> bool:
        return self.cancel or self.ceiling is not None

    def policy(self, policy: Policy) -> Policy:
        if self.ceiling is None:
            return policy
        return policy.model_copy(
            update={"fees": FeePolicy(max_fee_per_gas=self.ceiling, max_priority_fee_per_gas=self.ceiling)}
        )


@dataclass(frozen=True)
class Inspection:
    """A journal, held against one chain. `policies` are those of its vaults there."""

    journal: Journal
    pool: Pool
    settings: ChainEndpoints
    policies: Sequence[Policy]

    async def findings(self) -> list[Finding]:
        """Everything that is wrong there now. Raises EndpointError."""
        chain = self.pool.chain_id
        accounts = sorted({row.account for row in self.journal.under_way() if row.chain_id == chain})
        found = [each for account in accounts for each in await self._account(Address(account))]
        for policy in self.policies:
            for plan in VaultRecord(self.journal, chain, policy.vault.vault).open_plans():
                found += await self._plan(policy, plan)
        return found

    # TRANSACTIONS

    @property
    def finality(self) -> int:
        return deepest(self.policies, self.pool.chain_id)

    async def _account(self, account: Address) -> list[Finding]:
        groups = self.journal.live(self.pool.chain_id, account)
        names = [row.hash for group in groups for row in group if row.hash is not None]
        seen = await look(self.pool, account, names, self.finality)
        taken = {group[0].nonce for group in groups}
        found = [
            self._finding(
                Trouble.HOLE,
                f"nonce {nonce} of {account} has no transaction, and later ones wait for it",
                "a transaction of another program from this account was lost, or its block was",
                f"an empty transfer fills it after {self.settings.replacement.blocks} blocks",
                by_itself=True,
            )
            for nonce in range(seen.count, max(taken))
            if nonce not in taken
        ]
        for group in groups:
            if any(row.hash in seen.receipts for row in group):
                continue
            judged = (
                await self._spent(group, seen) if seen.count > group[0].nonce else self._waiting(group, seen)
            )
            found += [] if judged is None else [judged]
        return found

    async def _spent(self, group: Sequence[Transaction], seen: Look) -> Finding:
        nonce, account = group[0].nonce, Address(group[0].account)
        what = f"nonce {nonce} of {account} is spent, and no endpoint asked first shows a receipt of ours"
        if seen.spent > nonce:
            try:
                begun = min(row.since for row in group)
                by = await spender(self.pool, account, nonce, begun, seen.head.number)
            except EndpointError:
                by = None
            if by is None or by in {row.hash for row in group}:
                return await self._unshown(group, what)
        return self._finding(
            Trouble.SPENT,
            what,
            "another program sends from this account: give each its own",
            "once that is final it is given up, and its order goes on under another nonce",
            by_itself=True,
            group=group,
        )

    async def _unshown(self, group: Sequence[Transaction], what: str) -> Finding:
        showing = [each for each in self.pool.endpoints if await _shows(each, group)]
        enough = len(showing) >= self.settings.agreement
        return self._finding(
            Trouble.UNSHOWN,
            what,
            "an endpoint that has lost its history, or denies it: whether it was carried out is not known",
            f"take note of it as {showing[0].public_url} shows it"
            if enough
            else "nothing, as none of the endpoints shows it: add one that keeps all history, and ask again",
            group=group,
            shown=showing[0] if enough else None,
        )

    def _waiting(self, group: Sequence[Transaction], seen: Look) -> Finding | None:
        """Of a transaction that waits: whether the loop has come to the end of what it may do for it."""
        rules = self.settings.replacement
        row = next((each for each in group if each.at is State.BROADCAST), None)
        if row is None or seen.head.number - row.since < rules.blocks:
            return None
        intent = self.journal.intent(row.intent)
        until = intent.valid_until
        expired = until is not None and seen.head.timestamp > until and not row.cancels
        rules_of = payers(self.policies, intent, cancels=expired or row.cancels)
        offers = [bumped(policy, dearest(group), seen.head.base_fee) for policy in rules_of]
        dear = all(offer is None for offer in offers)
        if not dear and (expired or _bumps(group) < rules.times):
            return None
        return self._finding(
            Trouble.STUCK,
            f"nonce {row.nonce} of {row.account} waits since block {row.since}"
            f" at {dearest(group).max_fee:,} wei per gas, for {intent.purpose}",
            "the policy's ceilings forbid more"
            if dear
            else f"it has been replaced {rules.times} times, and the base fee is {seen.head.base_fee:,}",
            "replace it, up to a --ceiling; or --cancel it",
            group=group,
        )

    # PLANS

    async def _plan(self, policy: Policy, plan: Plan) -> list[Finding]:
        rows = self.journal.transactions(key_of(plan))
        if any(executed(row) for row in rows):
            return []
        head = await self.pool.latest()
        deep = await self.pool.get_block(max(0, head.number - self.finality))
        what = f"{plan.kind} 0x{plan.plan_hash.hex()} of {plan.vault} is under way"
        receipt = await carried_out_by(self.pool, policy, plan, deep)
        if receipt is not None:
            if receipt.transaction in {row.hash for row in rows}:
                return []
            return [
                self._finding(
                    Trouble.ELSEWHERE,
                    what,
                    f"another has relayed it, in block {receipt.block.number}, as anyone may",
                    "that block is reconciled, and the plan noted as executed",
                    by_itself=True,
                    plan=plan,
                )
            ]
        if await self._slot_used(policy, plan, deep):
            return [
                self._finding(
                    Trouble.OVERTAKEN,
                    what,
                    "its slot was used by another plan, or cancelled: it cannot be carried out any more",
                    "note that it was overtaken, so that another may follow",
                    plan=plan,
                )
            ]
        if head.timestamp <= plan.valid_until:
            return []
        return [
            self._finding(
                Trouble.EXPIRED,
                what,
                "it was not carried out while it was valid",
                "it is given up once nothing of it is under way",
                by_itself=True,
                plan=plan,
            )
        ]

    async def _slot_used(self, policy: Policy, plan: Plan, deep: BlockRef) -> bool:
        key, number = plan.slot
        if plan.kind is Kind.BATCH:
            (following,) = await read(
                self.pool, deep, [Contract(policy.vault.portfolio, "Portfolio").call("nextNonce", key)]
            )
            return bool(following > number)
        (raw,) = await read(self.pool, deep, [Contract(policy.vault.vault, "Vault").call("accounting")])
        return Accounting.from_abi(raw).settled_epoch >= number

    def _finding(
        self,
        trouble: Trouble,
        what: str,
        why: str,
        cure: str,
        *,
        by_itself: bool = False,
        group: Iterable[Transaction] = (),
        plan: Plan | None = None,
        shown: Endpoint | None = None,
    ) -> Finding:
        chain = self.pool.chain_id
        return Finding(trouble, chain, what, why, cure, by_itself, tuple(group), plan, shown)


def _bumps(group: Sequence[Transaction]) -> int:
    return sum(row.cancels == group[-1].cancels for row in group) - 1


async def _shows(endpoint: Endpoint, group: Sequence[Transaction]) -> bool:
    try:
        return any([row.hash is not None and await find(endpoint, row.hash) is not None for row in group])
    except EndpointError:
        return False


@dataclass(frozen=True)
class Surgeon:
    """Carries cures out, with what the loop itself has for its vaults."""

    duties: Mapping[Address, Duties]
    remedy: Remedy

    async def cure(self, finding: Finding) -> str:
        """What was done. Raises RefusedError where a person has to choose, or to allow more; and what the way
        to send raises."""
        if finding.plan is not None:
            self.duties[finding.plan.vault].record.end(finding.plan, OVERTAKEN)
            return "noted that it was overtaken"
        row = finding.group[-1]
        duties = next(iter(self.duties.values()))
        if row.account != duties.relayer.account.address:
            raise RefusedError("This needs the key of the account", expected=row.account, where=finding.what)
        if finding.trouble is Trouble.UNSHOWN:
            if finding.shown is None:
                raise RefusedError("No endpoint shows it", where=finding.what, hint="Add one that does.")
            await self._desk(duties, finding.shown, duties.relayer.replacement).advance()
            return f"took note of it as {finding.shown.public_url} shows it"
        return await self._unstick(duties, finding.group)

    async def _unstick(self, duties: Duties, group: Sequence[Transaction]) -> str:
        if not self.remedy.chosen:
            raise RefusedError("Replace it or cancel it", expected="--ceiling or --cancel")
        row, relayer = group[-1], duties.relayer
        head = await relayer.endpoint.latest()
        now = dearest(group)
        if bumped(self.remedy.policy(duties.keeper.policy), now, head.base_fee) is None:
            raise RefusedError(
                "The ceiling is too low for a replacement, which offers an eighth more",
                expected=f"at least {max(-(-now.max_fee * 9 // 8), head.base_fee):,} wei per gas",
                hint="State a higher --ceiling.",
            )
        if self.remedy.cancel and not row.cancels:
            relayer.journal.give_up(row.intent, head.timestamp - 1)
        times = max(_bumps(group) + 1, relayer.replacement.times)
        once_more = relayer.replacement.model_copy(update={"times": times})
        desk = self._desk(duties, relayer.endpoint, once_more)
        # Decided on, and then signed and sent, as ever.
        for _ in range(2):
            await desk.advance()
        made = relayer.journal.transactions(row.intent)[-1]
        return f"{'cancelled' if made.cancels else 'replaced'} at {made.max_fee:,} wei per gas"

    def _desk(self, duties: Duties, source: Source, replacement: Replacement) -> Transactions:
        relayer, policy = duties.relayer, self.remedy.policy(duties.keeper.policy)
        return Transactions(
            source,
            relayer.account,
            relayer.journal,
            relayer.events,
            relayer.finality(policy),
            policy,
            replacement,
            tuple(map(self.remedy.policy, relayer.policies)),
        )
