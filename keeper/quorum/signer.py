"""A signer recomputes a plan from its own reading of the chains, and signs only what it would have proposed.

Nothing of the proposer's is trusted but the choice of blocks, and that choice has to be the rule's.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from keeper.chain.block import BlockRef
from keeper.chain.call import Call, CallFailure
from keeper.chain.rpc import Source
from keeper.chain.simulate import Scene, first_revert
from keeper.chain.snapshot import Snapshot, take_at
from keeper.clock import Clock
from keeper.errors import (
    DecodeError,
    EndpointError,
    KeeperError,
    PlanError,
    PolicyError,
    RefusedError,
)
from keeper.ledger.vault import Accounting
from keeper.planning.comparison import compare, explain
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.plan import Kind, Plan, difference
from keeper.planning.policy import Policy
from keeper.planning.stamps import CodeStamp
from keeper.planning.strategy import Strategy
from keeper.quorum.external import ExternalSigner, KeyUnavailableError, signing
from keeper.quorum.record import Promises
from keeper.quorum.typed_data import Artefact, Signature, artefact, check
from keeper.reads import VaultReads

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

REVERTING: Final = ("IPortfolio", "IVault", "IRegistry", "IEscrow", "ISwapHandler", "GenericSwapFacet")
"""Contracts whose errors a simulation may end with; the last is LiFi's."""


class PlanRefusedError(RefusedError):
    """A signer's no, with a `code` for programs: see `keeper.quorum.signer_service`."""

    def __init__(
        self, code: str, message: str, *, expected: object = None, seen: object = None, where: object = None
    ) -> None:
        super().__init__(message, expected=expected, seen=seen, where=where)
        self.code = code


class Engine(Protocol):
    """The pure middle as a signer uses it; the module `keeper.engine` is one."""

    def load_strategy(self, policy: Policy) -> Strategy:
        """The policy's strategy. Raises ConfigError when there is none."""
        ...

    def code_stamp(self, strategy: Strategy) -> CodeStamp:
        """Which code this is."""
        ...

    def calls(self, policy: Policy) -> Mapping[int, tuple[Call[Any], ...]]:
        """Every read of a snapshot, by chain id."""
        ...

    def derive(
        self,
        snapshot: Snapshot,
        policy: Policy,
        kind: Kind,
        evidence: tuple[Evidence, ...] = (),
    ) -> Plan:
        """The one plan of that kind. Raises PlanError where there is none, and the errors of valuation."""
        ...


class Signer:
    """One independent keeper: its own endpoints (open ones), clock, policy, record of promises and key."""

    def __init__(
        self,
        *,
        policy: Policy,
        engine: Engine,
        endpoints: Mapping[int, Source],
        clock: Clock,
        promises: Promises,
        account: "LocalAccount | ExternalSigner",
    ) -> None:
        self.policy: Final = policy
        self._key: Final = signing(account)
        self.address: Final = self._key.address
        self._engine: Final = engine
        self._code: Final = engine.code_stamp(engine.load_strategy(policy))
        self._endpoints: Final = endpoints
        self._clock: Final = clock
        self._promises: Final = promises

    def identity(self) -> dict[str, str]:
        """Who this is, by which policy and code; nothing secret."""
        code = self._code
        return {
            "signer": self.address,
            "policy_hash": "0x" + self.policy.hash.hex(),
            "engine_version": code.engine_version,
            "strategy": f"{code.strategy.name} {code.strategy.version}",
        }

    async def approve(self, data: bytes, rank: int = 0) -> Signature:
        """A signature over the plan in `data` (canonical bytes), promised on disk before it is returned.

        `rank` is the proposer's place in the policy, whose request has been admitted; 0 may always propose.

        Raises PlanRefusedError with the reason; every other outcome is a defect.
        """
        own, now, head = await self.examine(data, rank)
        # From here on only what this signer derived itself is used.
        struct = artefact(own)
        await self._simulate(own, struct, head, now)
        self.promise(own, head)
        digest = struct.digest(own.chain_id, self.policy.vault.quorum)
        return await self.sign(digest)

    async def examine(self, data: bytes, rank: int = 0) -> tuple[Plan, int, BlockRef]:
        """The plan as this signer derives it itself, the present in seconds, and the plan's chain's head.

        Raises PlanRefusedError for a plan in `data` (canonical bytes) that is any other, or is not allowed.
        """
        plan = self._decode(data)
        self._check_identity(plan)
        now, head = await self._check_blocks(plan)
        self._check_time(plan, now)
        own = await self._recompute(plan, rank)
        self._check_same(own, plan)
        return own, now, head

    def promise(self, own: Plan, head: BlockRef) -> None:
        """Gives the plan its slot, on disk. Raises PlanRefusedError when another has it, or when the budgets
        do not allow it beside what this signer has promised before."""
        try:
            # By the chain's time, as only that ends what was signed.
            other = self._promises.promise(own, head.timestamp, self.policy)
        except PolicyError as error:
            raise PlanRefusedError("over_budget", str(error)) from error
        if other is not None:
            raise PlanRefusedError(
                "slot_taken",
                "This signer has signed another plan for the same nonce, which is valid at the same time",
                expected=other,
                seen=own.plan_hash,
                where=f"{own.kind} {own.slot}",
            )

    async def sign(self, digest: bytes) -> Signature:
        """By this signer's key, without any check: for digests of what was examined and promised."""
        try:
            signature = Signature(self.address, await self._key.sign(digest))
        except KeyUnavailableError as error:
            raise PlanRefusedError("key_unavailable", str(error)) from error
        check(digest, signature)
        return signature

    def _decode(self, data: bytes) -> Plan:
        try:
            return Plan.from_bytes(data)
        except PlanError as error:
            raise PlanRefusedError("malformed_plan", str(error)) from error

    def _check_identity(self, plan: Plan) -> None:
        """What needs no chain: whose plan it is, by which rules and which code."""
        vault = self.policy.vault
        if (plan.chain_id, plan.vault) != (vault.chain_id, vault.vault):
            raise PlanRefusedError(
                "unknown_vault",
                "This signer does not keep that vault",
                expected=vault.place,
                seen=f"{plan.vault} on chain {plan.chain_id}",
            )
        if plan.policy_hash != self.policy.hash:
            raise PlanRefusedError(
                "policy_mismatch", "Another policy", expected=self.policy.hash, seen=plan.policy_hash
            )
        departures = tuple(compare(self._code.body(), plan.code.body(), "code"))
        if departures:
            raise PlanRefusedError(
                "different_code", f"Different code, not a different result: {explain(departures)}"
            )
        try:
            self.policy.check(plan)
        except PolicyError as error:
            raise PlanRefusedError("policy_violation", str(error)) from error

    async def _check_blocks(self, plan: Plan) -> tuple[int, BlockRef]:
        """The present and the plan's chain's head, once every pinned block is the one that the reference time
        stands for."""
        try:
            now = await self._clock.now()
            heads = await asyncio.gather(
                *(self._check_block(plan, chain, now) for chain in self.policy.chains)
            )
        except EndpointError as error:
            raise PlanRefusedError("endpoint", str(error)) from error
        return now, next(head for head in heads if head.chain_id == plan.chain_id)

    async def _check_block(self, plan: Plan, chain_id: int, now: int) -> BlockRef:
        endpoint = self._endpoints[chain_id]
        pinned = next(block for block in plan.blocks if block.chain_id == chain_id)
        head = await endpoint.latest(now)
        where = f"chain {chain_id}"
        finality = self.policy.finality[chain_id]
        if head.number - pinned.number < finality:
            raise PlanRefusedError(
                "not_final",
                "Pinned block is not final",
                expected=f"{finality} blocks below the head",
                seen=f"block {pinned.number}, head {head.number}",
                where=where,
            )
        await endpoint.canonical(pinned)
        if head.number - finality <= pinned.number:
            return head
        following = await endpoint.get_block(pinned.number + 1)
        if following.timestamp <= plan.reference_time:
            raise PlanRefusedError(
                "wrong_block",
                "Pinned block is not the last final one at the reference time: the proposer chose it",
                expected=f"block {following.number} or later",
                seen=f"block {pinned.number}",
                where=where,
            )
        return head

    def _check_time(self, plan: Plan, now: int) -> None:
        times = self.policy.time
        if now > plan.valid_until:
            raise PlanRefusedError(
                "expired", "Plan has expired", expected=f"until {plan.valid_until}", seen=now
            )
        if plan.reference_time < now - times.max_reference_age:
            raise PlanRefusedError(
                "stale",
                "Reference time is too old",
                expected=f"at most {times.max_reference_age} s",
                seen=f"{now - plan.reference_time} s",
            )
        if plan.reference_time > now + times.max_clock_skew:
            raise PlanRefusedError(
                "future",
                "Reference time is in the future",
                expected=f"at most {now + times.max_clock_skew}",
                seen=plan.reference_time,
            )
        self._check_quotes(plan, now)

    def _check_quotes(self, plan: Plan, now: int) -> None:
        """By this signer's own clock; how old a quote was at the plan's block everyone can tell."""
        swap = self.policy.swap
        if swap is None or swap.lifi is None:
            return
        for each in plan.evidence:
            if each.kind is EvidenceKind.QUOTE and now - each.observed_at > swap.lifi.max_age:
                raise PlanRefusedError(
                    "stale",
                    "A quote is too old",
                    expected=f"at most {swap.lifi.max_age} s",
                    seen=f"{now - each.observed_at} s",
                    where=each.source,
                )

    async def _recompute(self, plan: Plan, rank: int) -> Plan:
        try:
            snapshot = await take_at(
                self._endpoints, self._engine.calls(self.policy), plan.blocks, plan.reference_time
            )
        except (EndpointError, DecodeError) as error:
            raise PlanRefusedError("endpoint", str(error)) from error
        try:
            # As a leg of nothing: a parent is a hash that no signer can check, and copied from the proposer
            # it would make as many plans of the same terms as there are signers.
            own = self._engine.derive(snapshot, self.policy, plan.kind, plan.evidence)
        except KeeperError as error:
            raise PlanRefusedError(
                "no_plan", f"This signer derives no plan from that snapshot: {error}"
            ) from error
        self._check_turn(snapshot, rank)
        return own

    def _check_turn(self, snapshot: Snapshot, rank: int) -> None:
        """Whether the proposer of that rank may propose, judged from the chain alone."""
        proposers = self.policy.proposers
        if rank == 0 or proposers is None:
            return
        read = snapshot.result(self.policy.vault.chain_id, VaultReads(self.policy).accounting)
        if isinstance(read, CallFailure):
            raise PlanRefusedError("no_plan", "The vault does not answer", where=self.policy.vault.vault)
        earliest = proposers.turn(rank, Accounting.from_abi(read))
        if snapshot.reference_time < earliest:
            raise PlanRefusedError(
                "not_your_turn",
                f"Proposer {rank + 1} of the policy proposes only after silence",
                expected=f"a reference time from {earliest} on",
                seen=snapshot.reference_time,
            )

    def _check_same(self, own: Plan, plan: Plan) -> None:
        differences = difference(own, plan)
        if not differences:
            return
        paths = {each.path for each in differences}
        code = "nonce" if paths & {"terms.nonce", "terms.epoch"} else "different_plan"
        raise PlanRefusedError(code, f"Recomputed another plan: {explain(differences)}")

    async def _simulate(self, plan: Plan, struct: Artefact, head: BlockRef, now: int) -> None:
        """The very call that the quorum will make, after this signer's head, within the policy's gas."""
        vault = self.policy.vault
        target = vault.portfolio if plan.kind is Kind.BATCH else vault.vault
        call = Call(target, struct.execute_data(), bytes, plan.kind.value)
        time = max(head.timestamp + 1, now, plan.valid_after)
        scene = Scene(head, time, vault.quorum, (call,), gas=self.policy.limits.max_gas)
        try:
            revert = await first_revert(self._endpoints[plan.chain_id], scene, *REVERTING)
        except (EndpointError, DecodeError) as error:
            raise PlanRefusedError("endpoint", str(error)) from error
        if revert is not None:
            raise PlanRefusedError("simulation", f"The plan reverts: {revert}")
