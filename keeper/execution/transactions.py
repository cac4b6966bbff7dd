"""The transactions of one account on one chain, from the nonce to finality.

Everything rests on the journal and on what the chain shows. What an endpoint says to a send (nonce too low,
already known, underpriced, nothing at all) decides nothing: whether a transaction is there is looked up,
under every hash that its nonce has had.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from keeper.chain.block import quantity
from keeper.chain.pool import Replacement
from keeper.chain.rpc import Source
from keeper.chain.transaction import sign
from keeper.errors import DecodeError, EndpointError, KeeperError, RefusedError, StaleHeadError
from keeper.events import EndpointFailed, EventStream, TransactionMined, TransactionSent
from keeper.execution.fees import Fees, bumped, fees
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import INCLUDED, State
from keeper.execution.journal.tables import Intent, Transaction
from keeper.execution.look import Look, Receipt, look, pending, spender
from keeper.planning.policy import Policy
from keeper.units import Address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

P = TypeVar("P", Policy, Policy | None)

TRANSFER_GAS: Final = 21_000
"""Of a transfer to oneself, which cancels what has the same nonce."""
FOREIGN: Final = 16
"""How many transactions of the account may wait that are not in the journal: as many as a node is sure to
keep of one account (geth's `txpool.accountslots`)."""


@dataclass(frozen=True)
class Transactions:
    """What the journal holds for an account, carried on by `advance`. `finality` is how many blocks lie on a
    block that stays; `policy` has the ceilings of the fees, and `policies` those of the account's other
    vaults."""

    source: Source
    account: "LocalAccount"
    journal: Journal
    events: EventStream
    finality: int
    policy: Policy | None
    replacement: Replacement
    policies: Sequence[Policy] = ()
    _offered: dict[bytes | None, int] = field(default_factory=dict)
    """Head at which each was last sent by this process."""
    troubles: dict[int, KeeperError] = field(default_factory=dict)
    """What was last said against a send, by nonce."""

    @property
    def address(self) -> Address:
        return Address(self.account.address)

    async def advance(self, wanted: Intent | None = None) -> Look:
        """One pass at the chain's present: takes note of what is mined, final or reorganised away; offers,
        replaces and cancels what is not; fills holes. Without holes, `wanted` gets its transaction.

        Raises EndpointError, and RefusedError when fees or balance forbid a new transaction.
        """
        chain = self.source.chain_id
        async with self.journal.turns[chain, self.address]:
            groups = self.journal.live(chain, self.address)
            names = [row.hash for group in groups for row in group if row.hash is not None]
            seen = await look(self.source, self.address, names, self.finality)
            self._require_caught_up(seen)
            if not self._fill(groups, seen) and wanted is not None:
                await self._draft(wanted, seen)
            for group in self.journal.live(chain, self.address):
                await self._advance(group, seen)
            return seen

    # NONCES

    def _require_caught_up(self, seen: Look) -> None:
        spent = self.journal.spent(self.source.chain_id, self.address)
        if seen.count < spent:
            raise StaleHeadError(
                "The chain is behind what was final on it",
                expected=f"nonce {spent} or later of {self.address}",
                seen=f"{seen.count}, at block {seen.head.number}",
                where=self.source.public_url,
                hint="Nothing is sent until it is back: the endpoint lags, or the chain is another.",
            )

    def _fill(self, groups: Sequence[Sequence[Transaction]], seen: Look) -> bool:
        """Whether nonces are missing below those of live transactions, which then cannot be mined. They get
        empty transfers, unless somebody else's are on their way, for which it waits as for its own."""
        taken = {group[0].nonce: group for group in groups}
        missing = [nonce for nonce in range(seen.count, max(taken, default=0)) if nonce not in taken]
        for nonce in missing:
            above = min(other for other in taken if other > nonce)
            if seen.head.number - taken[above][-1].since >= self.replacement.blocks:
                key = f"hole/{self.source.chain_id}/{self.address}/{nonce}"
                empty = self.intent(key, "fill a hole", self.address, b"", TRANSFER_GAS)
                empty.vault = None
                offer = fees(self.policy, seen.head.base_fee)
                self.journal.fill(empty, nonce=nonce, fee=offer, since=seen.head.number)
        return bool(missing)

    async def _draft(self, wanted: Intent, seen: Look) -> None:
        offer = fees(self.policy, seen.head.base_fee)
        cost = int(wanted.gas) * offer.max_fee
        balance = quantity(await self.source.rpc("eth_getBalance", [self.address, "latest"]))
        if balance < cost:
            raise RefusedError(
                "The account cannot pay for the gas",
                expected=f"{cost:,} wei",
                seen=f"{balance:,}",
                where=f"{self.address} on chain {self.source.chain_id}",
            )
        nonce = max(seen.count, await self._pending(seen))
        self.journal.draft(wanted, nonce=nonce, fee=offer, since=seen.head.number)

    async def _pending(self, seen: Look) -> int:
        """The account's next nonce behind what waits, be it somebody else's. Every nonce that is skipped gets
        an empty transfer, so an endpoint that shows very many is not believed."""
        found = await pending(self.source, self.address)
        known = max(seen.count, self.journal.next_nonce(self.source.chain_id, self.address))
        if found > known + FOREIGN:
            raise EndpointError(
                "An endpoint shows more waiting transactions of the account than can be believed",
                expected=f"a next nonce of at most {known + FOREIGN}",
                seen=found,
                where=f"{self.address} on chain {self.source.chain_id}",
                hint="Ask other endpoints; and no other program should send from this account.",
            )
        return found

    def intent(
        self, key: str, purpose: str, target: Address, data: bytes, gas: int, valid_until: int | None = None
    ) -> Intent:
        """An intent of this account on this chain, for the policy's vault."""
        return Intent(
            key=key,
            chain_id=self.source.chain_id,
            account=self.address,
            purpose=purpose,
            target=target,
            data=data,
            gas=gas,
            valid_until=valid_until,
            vault=None if self.policy is None else self.policy.vault.vault,
        )

    # ONE NONCE

    async def _advance(self, group: Sequence[Transaction], seen: Look) -> None:
        mined = next((row for row in group if row.hash in seen.receipts), None)
        receipt = None if mined is None or mined.hash is None else seen.receipts[mined.hash]
        if mined is None and any((row.hash, row.block_hash) in seen.shown for row in group):
            # One shows it where it was, and not all that have to.
            return
        for row in group:
            if row.at in INCLUDED and (
                row is not mined or receipt is None or receipt.block.hash != row.block_hash
            ):
                self.journal.move(row, State.REORGED, **_inclusion(None))
                # The head may be the one at which it was offered before.
                self._offered.pop(row.raw, None)
        if mined is not None and receipt is not None:
            self._included(group, mined, receipt, seen)
        elif seen.spent > group[0].nonce and all(
            row.at in {State.BROADCAST, State.REPLACED} for row in group
        ):
            await self._lost(group, seen)
        else:
            await self._pursue(group, seen)

    async def _lost(self, group: Sequence[Transaction], seen: Look) -> None:
        """Its nonce is spent and no receipt is there: gone for good if another transaction is what spent it.
        A node that merely denies a receipt must not have the same done twice."""
        begun = min(row.since for row in group)
        by = await spender(self.source, self.address, group[0].nonce, begun, seen.head.number)
        if by is not None and by not in {row.hash for row in group}:
            for row in group:
                self.journal.move(row, State.DROPPED)

    def _included(
        self, group: Sequence[Transaction], mined: Transaction, receipt: Receipt, seen: Look
    ) -> None:
        others = [row for row in group if row is not mined]
        if mined.at not in INCLUDED:
            after = State.MINED if receipt.succeeded else State.REVERTED
            block, since = receipt.block.number, seen.head.number
            self.journal.include(mined, after, others, block=block, since=since, **_inclusion(receipt))
            self._tell_mined(receipt)
        if seen.head.number - receipt.block.number >= self.finality:
            # Itself last: what a crash leaves undone is found with it.
            for row in others:
                cancelled = mined.cancels and not row.cancels
                self.journal.move(row, State.CANCELLED if cancelled else State.DROPPED)
            self.journal.move(mined, State.FINAL)

    async def _pursue(self, group: Sequence[Transaction], seen: Look) -> None:
        """Offers the transaction that stands for the nonce; puts another in its place where it is too old."""
        (row,) = [row for row in group if row.at is not State.REPLACED]
        if row.at is State.REORGED:
            # It waits again, be it only to be replaced.
            self.journal.move(row, State.BROADCAST, since=seen.head.number)
        intent = self.journal.intent(row.intent)
        until, way = intent.valid_until, self._way(group, row, intent, seen)
        expired = until is not None and not row.cancels and seen.head.timestamp > until
        if expired or way == "cancel":
            if self._supersede(group, intent, seen, cancels=True, unseen=way == "cancel"):
                return
        elif self._is_due(group, row, seen) and self._supersede(group, intent, seen, cancels=row.cancels):
            return
        if row.at is State.DRAFTED:
            self._sign(row, intent)
        if row.at is State.SIGNED:
            self.journal.move(row, State.BROADCAST, since=seen.head.number)
            self._tell_sent(row, intent)
        # After a reorganisation another may stand than the dearest, which is signed as well.
        signed = [each for each in group if each.raw is not None and each.cancels == row.cancels]
        best = max(signed, key=lambda each: (each.max_fee, each.tip, each.attempt))
        await self._send(best, seen, private=way != "public")

    def _way(
        self, group: Sequence[Transaction], row: Transaction, intent: Intent, seen: Look
    ) -> Literal["private", "public", "cancel"]:
        """Where a transaction goes now, or that it is to be given up. It follows from the journal and the
        head, so a restart changes nothing. What was in a block is no secret any more; an empty transfer never
        was."""
        relay = self.source.private
        if relay is None or row.cancels or not intent.data or self.journal.reorganised(group):
            return "public"
        out = [each.since for each in group if each.at in {State.BROADCAST, State.REPLACED}]
        if not out or seen.head.number - min(out) < relay.blocks:
            return "private"
        return relay.fallback

    def _is_due(self, group: Sequence[Transaction], row: Transaction, seen: Look) -> bool:
        bumps = sum(other.cancels == row.cancels for other in group) - 1
        waited = seen.head.number - row.since >= self.replacement.blocks
        return row.at is State.BROADCAST and waited and bumps < self.replacement.times

    def _supersede(
        self,
        group: Sequence[Transaction],
        intent: Intent,
        seen: Look,
        *,
        cancels: bool,
        unseen: bool = False,
    ) -> bool:
        old = dearest(group)
        rules, *_ = payers((self.policy, *self.policies), intent, cancels=cancels)
        offer = bumped(rules, old, seen.head.base_fee)
        if offer is None and unseen and seen.head.base_fee <= old.max_fee:
            # Nodes that do not know what it replaces take it at the same price.
            offer = old
        if offer is None:
            return False
        self.journal.supersede(group, fee=offer, since=seen.head.number, cancels=cancels)
        return True

    def _sign(self, row: Transaction, intent: Intent) -> None:
        signed = sign(
            self.account,
            chain_id=row.chain_id,
            nonce=row.nonce,
            to=self.address if row.cancels else Address(intent.target),
            data=b"" if row.cancels else intent.data,
            gas=TRANSFER_GAS if row.cancels else intent.gas,
            max_fee=row.max_fee,
            tip=row.tip,
        )
        self.journal.sign(row, signed)

    async def _send(self, row: Transaction, seen: Look, *, private: bool) -> None:
        """The same bytes at every new head: a node may have forgotten them."""
        if row.raw is None or self._offered.get(row.raw) == seen.head.number:
            return
        self._offered[row.raw] = seen.head.number
        relay = self.source.private if private else None
        try:
            await (relay or self.source).send_raw(row.raw)
        except (EndpointError, DecodeError) as error:
            # It may be there all the same: the next look tells.
            self.troubles[row.nonce] = error
            if relay is not None:
                where, chain = relay.endpoint.public_url, self.source.chain_id
                self.events.emit(EndpointFailed(chain_id=chain, endpoint=where, reason=str(error)))
        else:
            self.troubles.pop(row.nonce, None)

    # WORDS

    def _tell_sent(self, row: Transaction, intent: Intent) -> None:
        if row.hash is not None:
            purpose = f"cancel {intent.purpose}" if row.cancels else intent.purpose
            self.events.emit(
                TransactionSent(
                    chain_id=self.source.chain_id,
                    account=self.address,
                    nonce=row.nonce,
                    attempt=row.attempt,
                    cancels=row.cancels,
                    transaction=row.hash,
                    purpose=purpose,
                )
            )

    def _tell_mined(self, receipt: Receipt) -> None:
        self.events.emit(
            TransactionMined(
                chain_id=self.source.chain_id,
                account=self.address,
                transaction=receipt.transaction,
                block=receipt.block.number,
                gas_used=receipt.gas_used,
                succeeded=receipt.succeeded,
            )
        )


def payers(policies: Sequence[P], intent: Intent, *, cancels: bool) -> Sequence[P]:
    """Those of an account's policies, in their order, of which one is enough to pay for what replaces an
    intent's transaction: its own vault's; all where that is not known any more, or for what holds up all
    vaults of the account, as it frees the nonce or never expires."""
    own = [each for each in policies if each is not None and each.vault.vault == intent.vault]
    return policies if cancels or intent.valid_until is None or not own else own


def dearest(group: Sequence[Transaction]) -> Fees:
    """The most that any of a nonce's transactions offers, whichever stands for it: the same price twice would
    be the same bytes."""
    return Fees(max(row.max_fee for row in group), max(row.tip for row in group))


def _inclusion(receipt: Receipt | None) -> dict[str, Any]:
    """What the journal keeps of a receipt, and no longer has without one."""
    return {
        "block_hash": receipt and receipt.block.hash,
        "succeeded": receipt and receipt.succeeded,
        "gas_used": receipt and receipt.gas_used,
        "gas_price": receipt and receipt.gas_price,
        "data_fee": receipt and receipt.data_fee,
        "mined_at": receipt and receipt.block.timestamp,
    }
